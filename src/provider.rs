//! A provider's name in, an engine that really runs on it out. A provider that was asked for by name is there, has taken
//! the graph, and gives the vectors that the CPU gives; else it is an error. "auto" takes CUDA where all that holds, and
//! the CPU otherwise.

use std::ops::ControlFlow;
use std::str::FromStr;

use crate::batch::PaddedBatch;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::Arithmetic;
use crate::graph::proto::ElementType;
use crate::model::Spec;
use crate::prefix::Prefix;
use crate::runtime::Runtime;

/// The text whose vector a provider must agree with the CPU on.
pub const PROOF_TEXT: &str = "The ferry to the island leaves twice a day, when the weather allows it.";
/// The least cosine between a provider's vector and the CPU's. Float16 over many layers stays above 0.999; a kernel
/// that computes something else does not come near.
const LEAST_COSINE: f64 = 0.99;

/// What runs the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Provider {
    /// CUDA where it works, else the CPU.
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

/// A row, and the pooled vector that the CPU provider makes of it.
pub struct Proof {
    /// The row, not padded.
    pub batch: PaddedBatch,
    expected: Vec<f32>,
}

impl Proof {
    /// What the CPU makes of the row; its session is closed again.
    fn on_cpu(spec: &Spec, runtime: &Runtime, threads: usize, ids: &[i32]) -> Result<Self> {
        let batch = PaddedBatch::single(ids);
        let expected = pooled(&Engine::open(spec, runtime, Arithmetic::Float32, threads)?, &batch)?;
        Ok(Proof { batch, expected })
    }

    /// Refuses a provider whose vector is not the CPU's. `place` says where it was computed.
    pub fn check(&self, found: &[f32], provider: Provider, place: &str) -> Result<()> {
        match difference(&self.expected, found) {
            None => Ok(()),
            Some(difference) => {
                let problem = format!("its vector of a test text is not the CPU's, {place}: {difference}");
                Err(Error::ProviderFailed { asked: provider.name().to_owned(), problem })
            }
        }
    }
}

fn pooled(engine: &Engine, batch: &PaddedBatch) -> Result<Vec<f32>> {
    let mut vector = Vec::new();
    let heed = &mut || ControlFlow::Continue(());
    engine.run(batch, &Prefix::default(), 0, heed, |rows| vector.extend_from_slice(rows))?;
    Ok(vector)
}

/// How two vectors differ, if they do beyond what rounding explains.
fn difference(expected: &[f32], found: &[f32]) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} components instead of {}", found.len(), expected.len()));
    }
    let broken = found.iter().filter(|value| !value.is_finite()).count();
    if broken > 0 {
        return Some(format!("{broken} of {} components are NaN or infinite", found.len()));
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let cosine = dot(expected, found) / (dot(expected, expected) * dot(found, found)).sqrt();
    // A vector of zeros has no cosine: NaN, which is not at least anything.
    let agrees = cosine >= LEAST_COSINE || expected == found;
    (!agrees).then(|| format!("their cosine is {cosine:.4}, less than {LEAST_COSINE}"))
}

/// The provider to be proven, or nothing where the CPU is to run the graph as always.
pub fn choose(asked: Provider, arithmetic: Arithmetic, runtime: &Runtime) -> Result<Option<Provider>> {
    let on_coreml = matches!(asked, Provider::CoreMl | Provider::CoreMlOnCpu);
    if arithmetic == Arithmetic::Float16 && !on_coreml {
        return Err(Error::Argument {
            argument: "dtype",
            found: "\"float16\"".to_owned(),
            expected: format!("\"float32\" with provider={:?}; float16 is for provider=\"coreml\"", asked.name()),
        });
    }
    if arithmetic == Arithmetic::Int8 && !matches!(asked, Provider::Auto | Provider::Cpu) {
        return Err(Error::Argument {
            argument: "dtype",
            found: "\"int8\"".to_owned(),
            expected: format!("\"float32\" with provider={:?}; int8 is for the CPU", asked.name()),
        });
    }
    let there = runtime.providers();
    match asked {
        Provider::Auto if arithmetic == Arithmetic::Int8 => Ok(None),
        Provider::Cpu => Ok(None),
        Provider::Auto => Ok(there.contains(&Provider::Cuda).then_some(Provider::Cuda)),
        Provider::CoreMlOnCpu => Ok(Some(asked)),
        Provider::Cuda | Provider::CoreMl if there.contains(&asked) => Ok(Some(asked)),
        Provider::Cuda | Provider::CoreMl => {
            let names: Vec<String> = there.iter().map(|provider| format!("{:?}", provider.name())).collect();
            Err(Error::Provider { asked: asked.name().to_owned(), available: names.join(", ") })
        }
    }
}

/// Opens the model on a provider and proves it on a row; falls back to the CPU only where `may_fall_back`.
pub fn open_proven(
    spec: &Spec,
    runtime: &Runtime,
    threads: usize,
    (provider, arithmetic): (Provider, Arithmetic),
    proof_ids: &[i32],
    may_fall_back: bool,
) -> Result<Engine> {
    let element = if arithmetic == Arithmetic::Float16 { ElementType::Float16 } else { ElementType::Float32 };
    let on_cpu = || Proof::on_cpu(spec, runtime, threads, proof_ids);
    let opened = match provider {
        Provider::Cuda => open_on_cuda(spec, runtime, threads, on_cpu),
        _ => Engine::open_bucketed(spec, runtime, threads, (provider, element), on_cpu()?),
    };
    match opened {
        Err(Error::ProviderFailed { .. }) if may_fall_back => Engine::open(spec, runtime, Arithmetic::Float32, threads),
        opened => opened,
    }
}

/// The CPU's vector is asked for only where CUDA has opened the model.
fn open_on_cuda(
    spec: &Spec,
    runtime: &Runtime,
    threads: usize,
    proof: impl FnOnce() -> Result<Proof>,
) -> Result<Engine> {
    let failed = |error: Error| match error {
        Error::Session { source, .. } | Error::Inference { source, .. } => {
            let problem = source.to_string().trim_end().to_owned();
            Error::ProviderFailed { asked: Provider::Cuda.name().to_owned(), problem }
        }
        other => other,
    };
    let engine = Engine::open(spec, &runtime.on_cuda(), Arithmetic::Float32, threads).map_err(failed)?;
    let proof = proof()?;
    let found = pooled(&engine, &proof.batch).map_err(failed)?;
    proof.check(&found, Provider::Cuda, "on the first GPU")?;
    Ok(engine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_passes_and_other_vectors_do_not() {
        let expected = [3.0, 4.0, 0.0];
        assert_eq!(difference(&expected, &[3.01, 3.99, 0.02]), None);
        assert_eq!(difference(&[0.0; 3], &[0.0; 3]), None);
        let message = |found: &[f32]| difference(&expected, found).unwrap();
        assert_eq!(message(&[f32::NAN, 4.0, f32::INFINITY]), "2 of 3 components are NaN or infinite");
        assert_eq!(message(&[4.0, 3.0, 0.0]), "their cosine is 0.9600, less than 0.99");
        assert_eq!(message(&[0.0; 3]), "their cosine is NaN, less than 0.99");
        assert_eq!(message(&[3.0, 4.0]), "2 components instead of 3");
    }

    #[test]
    fn names_come_back() {
        for name in ["auto", "cpu", "cuda", "coreml", "coreml-on-cpu"] {
            assert_eq!(name.parse::<Provider>().unwrap().name(), name);
        }
        assert!("CoreML".parse::<Provider>().unwrap_err().to_string().contains("provider=\"CoreML\": expected"));
    }
}
