//! A provider's name in, an engine that really runs on it out. A provider that was asked for by name is there, has taken
//! the graph, and gives the vectors that the CPU gives (`proof.rs`); else it is an error. "auto" is the CPU.

use std::str::FromStr;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::Arithmetic;
use crate::graph::folding::FloatType;
use crate::model::Spec;
use crate::proof::Proof;
use crate::runtime::Runtime;

/// Tokens of the longer row that CUDA is proven with, unless the model's own limit is less.
const CUDA_PROOF_TOKENS: usize = 512;

/// What runs the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// The CPU: no accelerator has been run yet by those who would have to answer for taking it unasked.
    #[default]
    Auto,
    /// ONNX Runtime's CPU provider.
    Cpu,
    /// NVIDIA's GPUs.
    Cuda,
    /// Apple's GPU and neural engine.
    CoreMl,
    /// CoreML's graphs and buckets on the CPU provider: for tests, on machines without CoreML.
    CoreMlOnCpu,
}

impl Provider {
    /// The name that callers use.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Auto => "auto",
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::CoreMl => "coreml",
            Provider::CoreMlOnCpu => "coreml-on-cpu",
        }
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        use Provider::{Auto, CoreMl, CoreMlOnCpu, Cpu, Cuda};
        let known = [Auto, Cpu, Cuda, CoreMl, CoreMlOnCpu].into_iter().find(|provider| provider.name() == name);
        known.ok_or_else(|| Error::Argument {
            argument: "provider",
            found: format!("{name:?}"),
            expected: "\"auto\", \"cpu\", \"coreml\" or \"cuda\"".to_owned(),
        })
    }
}

/// What runs graphs of fixed shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedShapes {
    /// CoreML.
    CoreMl,
    /// The CPU provider in its stead.
    CoreMlOnCpu,
}

impl FixedShapes {
    /// The provider that callers ask for.
    pub fn provider(self) -> Provider {
        match self {
            FixedShapes::CoreMl => Provider::CoreMl,
            FixedShapes::CoreMlOnCpu => Provider::CoreMlOnCpu,
        }
    }
}

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
    /// Refuses weights in memory where graphs read them from files of the cache.
    pub fn check_copies(self, copies_weights: bool) -> Result<()> {
        match self {
            Plan::FixedShapes(provider, _) if copies_weights => {
                let name = provider.provider().name();
                let expected = format!("True with provider={name:?}, whose graphs read files of the cache");
                Err(Error::Argument { argument: "memory_map", found: "False".to_owned(), expected })
            }
            Plan::FixedShapes(..) | Plan::Cpu(_) | Plan::Cuda => Ok(()),
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
        Arithmetic::Int8 => Err(refused("int8", "the CPU")),
    };
    let plan = match asked {
        Provider::Auto | Provider::Cpu => match arithmetic {
            Arithmetic::Float32 | Arithmetic::Int8 => Ok(Plan::Cpu(arithmetic)),
            Arithmetic::Float16 => Err(refused("float16", "provider=\"coreml\"")),
        },
        Provider::Cuda => match arithmetic {
            Arithmetic::Float32 => Ok(Plan::Cuda),
            Arithmetic::Float16 => Err(refused("float16", "provider=\"coreml\"")),
            Arithmetic::Int8 => Err(refused("int8", "the CPU")),
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
pub fn open_proven(spec: &Spec, runtime: &Runtime, threads: usize, plan: Plan, proof: Proof) -> Result<Engine> {
    match plan {
        Plan::Cpu(arithmetic) => Engine::open(spec, runtime, arithmetic, threads),
        Plan::Cuda => open_on_cuda(spec, runtime, threads, &proof),
        Plan::FixedShapes(provider, element) => {
            Engine::open_bucketed(spec, runtime, threads, (provider, element), proof)
        }
    }
}

/// The CPU's vectors are asked for only where CUDA has opened the model.
fn open_on_cuda(spec: &Spec, runtime: &Runtime, threads: usize, proof: &Proof) -> Result<Engine> {
    let failed = |error: Error| match error {
        Error::Session { source, .. } | Error::Inference { source, .. } | Error::Memory { source, .. } => {
            let problem = source.to_string().trim_end().to_owned();
            Error::ProviderFailed { asked: Provider::Cuda.name().to_owned(), problem }
        }
        other => other,
    };
    let engine = Engine::open(spec, &runtime.on_cuda(), Arithmetic::Float32, threads).map_err(failed)?;
    let longest = spec.max_length.value.min(CUDA_PROOF_TOKENS);
    for row in proof.rows(&[proof.tokens().min(longest), longest])? {
        let found = engine.pooled(&row.batch).map_err(failed)?;
        row.check(&found, FloatType::Float32, Provider::Cuda, "on the first GPU")?;
    }
    Ok(engine)
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
        for arithmetic in [Arithmetic::Float32, Arithmetic::Int8] {
            assert_eq!(choose(Provider::Auto, arithmetic, &there).unwrap(), Plan::Cpu(arithmetic));
        }
        assert_eq!(choose(Provider::Cuda, Arithmetic::Float32, &there).unwrap(), Plan::Cuda);
        let fixed = Plan::FixedShapes(FixedShapes::CoreMl, FloatType::Float16);
        assert_eq!(choose(Provider::CoreMl, Arithmetic::Float16, &there).unwrap(), fixed);
        let refusal = choose(Provider::Cuda, Arithmetic::Float32, &there[..2]).unwrap_err().to_string();
        assert_eq!(refusal, "provider \"cuda\" is not available; available: \"auto\", \"cpu\"");
    }
}
