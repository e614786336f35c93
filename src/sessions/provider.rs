//! A provider's name in, a session that really runs on it out. A provider that was asked for by name is there, has taken
//! the graph, and gives the vectors that the CPU gives (`proof.rs`); else it is an error. "auto" is the CPU.

use crate::error::{Error, Result};
use crate::lowering::onnx::folding::FloatType;
use crate::options::{Arithmetic, FixedShapes, LoadOptions, Memory, Provider};
use crate::sessions::bucketed::BucketedSession;
use crate::sessions::open::open;
use crate::sessions::proof::Proof;
use crate::sessions::runtime::Runtime;
use crate::sessions::session::Session;
use crate::spec::{Network, Spec};

/// Tokens of the longer row that CUDA is proven with, unless the model's own limit is less.
const CUDA_PROOF_TOKENS: usize = 512;

/// How a model is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// On the CPU provider, which needs no proof.
    Cpu(Arithmetic),
    /// On CUDA, once proven.
    Cuda,
    /// In graphs of fixed shape, each of them proven.
    FixedShapes(FixedShapes, FloatType),
}

impl Plan {
    /// Refuses what callers may ask for elsewhere, but not of this plan for such a network.
    pub fn check(self, options: &LoadOptions, network: &Network) -> Result<()> {
        self.check_copies(options.copies_weights)?;
        self.check_memory(options, network)?;
        self.check_arithmetic(network)
    }

    /// Refuses weights in memory where graphs read them from files of the cache.
    fn check_copies(self, copies_weights: bool) -> Result<()> {
        match self {
            Plan::FixedShapes(provider, _) if copies_weights => {
                let name = provider.provider().name();
                let expected = format!("True with provider={name:?}, whose graphs read files of the cache");
                Err(Error::Argument { argument: "memory_map", found: "False".to_owned(), expected })
            }
            Plan::FixedShapes(..) | Plan::Cpu(_) | Plan::Cuda => Ok(()),
        }
    }

    /// Refuses any other arithmetic than float32 for what is run as it is.
    fn check_arithmetic(self, network: &Network) -> Result<()> {
        match (self, network) {
            (Plan::Cpu(arithmetic), Network::OnnxFile(_)) => arithmetic
                .float32_alone("an ONNX file, which is run as it is; int8 and bfloat16 are made from a checkpoint"),
            (Plan::Cpu(arithmetic), Network::StaticTable(_)) => {
                arithmetic.float32_alone("a static table, which multiplies no matrices")
            }
            (Plan::Cpu(_), Network::Checkpoint(..)) | (Plan::Cuda | Plan::FixedShapes(..), _) => Ok(()),
        }
    }

    /// Refuses weights that stay where they lie for what does not read them so.
    fn check_memory(self, options: &LoadOptions, network: &Network) -> Result<()> {
        match options.memory {
            Memory::Fast => return Ok(()),
            Memory::Low => {}
        }
        let refused = |expected: &str| {
            let (argument, found) = ("memory", "\"low\"".to_owned());
            Err(Error::Argument { argument, found, expected: expected.to_owned() })
        };
        match self {
            Plan::Cpu(Arithmetic::Float32) => {}
            Plan::Cpu(Arithmetic::Bfloat16) => {
                return refused("\"fast\" with dtype=\"bfloat16\", which reads bfloat16 where it lies anyway");
            }
            Plan::Cpu(Arithmetic::Int8 | Arithmetic::Float16) => {
                return refused("\"fast\" but for dtype=\"float32\": other types make weights of their own");
            }
            Plan::Cuda | Plan::FixedShapes(..) => return refused("\"fast\" with any provider but the CPU"),
        }
        if options.copies_weights {
            return refused("\"fast\" with memory_map=False: one maps the weights, the other copies them");
        }
        match network {
            Network::Checkpoint(..) => Ok(()),
            Network::OnnxFile(_) => refused("\"fast\" for an ONNX file, which brings operators of its own"),
            Network::StaticTable(_) => refused("\"fast\" for a static table, which stays mapped anyway"),
        }
    }

    /// What the CPU provider itself is to compute in, where it is the plan.
    pub fn on_cpu(self) -> Option<Arithmetic> {
        match self {
            Plan::Cpu(arithmetic) => Some(arithmetic),
            Plan::Cuda | Plan::FixedShapes(..) => None,
        }
    }
}

/// How to run what was asked for, where `there` are the runtime's providers.
pub fn choose(asked: Provider, arithmetic: Arithmetic, there: &[Provider]) -> Result<Plan> {
    let refused = |found: &str, is_for: &str| Error::Argument {
        argument: "dtype",
        found: format!("{found:?}"),
        expected: format!("\"float32\" with provider={:?}; {found} is for {is_for}", asked.name()),
    };
    let fixed = |provider: FixedShapes| match arithmetic {
        Arithmetic::Float32 => Ok(Plan::FixedShapes(provider, FloatType::Float32)),
        Arithmetic::Float16 => Ok(Plan::FixedShapes(provider, FloatType::Float16)),
        Arithmetic::Int8 | Arithmetic::Bfloat16 => Err(refused(arithmetic.name(), "the CPU")),
    };
    let plan = match asked {
        Provider::Auto | Provider::Cpu => match arithmetic {
            Arithmetic::Float32 | Arithmetic::Bfloat16 | Arithmetic::Int8 => Ok(Plan::Cpu(arithmetic)),
            Arithmetic::Float16 => Err(refused("float16", "provider=\"coreml\"")),
        },
        Provider::Cuda => match arithmetic {
            Arithmetic::Float32 => Ok(Plan::Cuda),
            Arithmetic::Float16 => Err(refused("float16", "provider=\"coreml\"")),
            Arithmetic::Int8 | Arithmetic::Bfloat16 => Err(refused(arithmetic.name(), "the CPU")),
        },
        Provider::CoreMl => fixed(FixedShapes::CoreMl),
        Provider::CoreMlOnCpu => fixed(FixedShapes::CoreMlOnCpu),
    }?;
    let is_there = match asked {
        Provider::Auto | Provider::Cpu | Provider::CoreMlOnCpu => true,
        Provider::Cuda | Provider::CoreMl => there.contains(&asked),
    };
    match is_there {
        true => Ok(plan),
        false => {
            let names: Vec<String> = there.iter().map(|provider| format!("{:?}", provider.name())).collect();
            Err(Error::Provider { asked: asked.name().to_owned(), available: names.join(", ") })
        }
    }
}

/// Opens the model as planned; what is not the CPU itself proves itself first.
pub fn open_proven(
    spec: &Spec,
    runtime: &Runtime,
    threads: usize,
    plan: Plan,
    proof: Proof,
) -> Result<Box<dyn Session>> {
    match plan {
        Plan::Cpu(arithmetic) => open(spec, runtime, arithmetic, threads),
        Plan::Cuda => open_on_cuda(spec, runtime, threads, &proof),
        Plan::FixedShapes(provider, element) => {
            let session = BucketedSession::open(spec, runtime, threads, (provider, element), proof)?;
            Ok(Box::new(session))
        }
    }
}

/// The CPU's vectors are asked for only where CUDA has opened the model.
fn open_on_cuda(spec: &Spec, runtime: &Runtime, threads: usize, proof: &Proof) -> Result<Box<dyn Session>> {
    let failed = |error: Error| match error {
        Error::Session { source, .. } | Error::Inference { source, .. } | Error::Memory { source, .. } => {
            let problem = source.to_string().trim_end().to_owned();
            Error::ProviderFailed { asked: Provider::Cuda.name().to_owned(), problem }
        }
        other => other,
    };
    let session = open(spec, &runtime.on_cuda(), Arithmetic::Float32, threads).map_err(failed)?;
    let longest = spec.max_length.value.min(CUDA_PROOF_TOKENS);
    for row in proof.rows(&[proof.tokens().min(longest), longest])? {
        let found = session.pooled(&row.batch).map_err(failed)?;
        row.check(&found, FloatType::Float32, Provider::Cuda, "on the first GPU")?;
    }
    Ok(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for name in ["auto", "cpu", "cuda", "coreml", "coreml-on-cpu"] {
            assert_eq!(name.parse::<Provider>().unwrap().name(), name);
        }
        assert!("CoreML".parse::<Provider>().unwrap_err().to_string().contains("provider=\"CoreML\": expected"));
    }

    #[test]
    fn auto_is_the_cpu_whatever_the_runtime_has() {
        let there = [Provider::Auto, Provider::Cpu, Provider::Cuda, Provider::CoreMl];
        for arithmetic in [Arithmetic::Float32, Arithmetic::Bfloat16, Arithmetic::Int8] {
            assert_eq!(choose(Provider::Auto, arithmetic, &there).unwrap(), Plan::Cpu(arithmetic));
        }
        assert_eq!(choose(Provider::Cuda, Arithmetic::Float32, &there).unwrap(), Plan::Cuda);
        let fixed = Plan::FixedShapes(FixedShapes::CoreMl, FloatType::Float16);
        assert_eq!(choose(Provider::CoreMl, Arithmetic::Float16, &there).unwrap(), fixed);
        let refusal = choose(Provider::Cuda, Arithmetic::Float32, &there[..2]).unwrap_err().to_string();
        assert_eq!(refusal, "provider \"cuda\" is not available; available: \"auto\", \"cpu\"");
    }
}
