//! Rows of tokens in, the CPU's vectors of them out, and whether another provider's are the same: what a provider proves
//! itself with before it serves. A row is as long as it is asked for, so that a graph of fixed shape can be proven with
//! one that fills it and one that leaves most of it to the padding: there were kernels that failed at some shapes only,
//! with success reported and finite numbers (https://github.com/microsoft/onnxruntime/issues/32569).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::batches::plan::PaddedBatch;
use crate::error::{Error, Result};
use crate::lowering::onnx::folding::FloatType;
use crate::options::{Arithmetic, Provider};
use crate::sessions::open::open;
use crate::sessions::runtime::Runtime;
use crate::spec::Spec;

/// The text whose tokens the rows are made of.
pub const TEXT: &str = "The ferry to the island leaves twice a day, when the weather allows it.";

/// How far a provider's vector may be from the CPU's float32.
struct Tolerance {
    /// The least cosine.
    cosine: f64,
    /// By how much the vectors' lengths may differ, as a share of the CPU's.
    length: f64,
}

/// A kernel that computes something else does not come near. Rounding leaves room: run on the CPU provider, MiniLM's graphs
/// of fixed shape are within 1e-6 of a cosine of 1 in both types, and within 1e-6 of the length in float32, 5e-4 in
/// float16 (18 to 434 tokens). Accelerators also make the sums in float16, or in an order of their own.
fn tolerance(element: FloatType) -> Tolerance {
    match element {
        FloatType::Float32 => Tolerance { cosine: 0.9999, length: 0.001 },
        FloatType::Float16 => Tolerance { cosine: 0.999, length: 0.01 },
    }
}

/// What providers of one model are proven with.
///
/// The CPU's session takes as much memory as the model and is not needed again, so it is open only while vectors are made,
/// and never beside the session that is to be proven. They are made when a length is first asked for: a model that sees
/// short texts alone never waits for the CPU to run its longest row.
pub struct Proof {
    spec: Spec,
    runtime: Runtime,
    threads: usize,
    /// Of [`TEXT`], one at least.
    ids: Vec<i32>,
    known: Mutex<BTreeMap<usize, Arc<ProofRow>>>,
}

/// A row, and the pooled vector that the CPU makes of it.
pub struct ProofRow {
    /// The row, not padded.
    pub batch: PaddedBatch,
    expected: Vec<f32>,
}

impl Proof {
    /// Takes the ids of [`TEXT`], and computes nothing yet.
    pub fn new(spec: &Spec, runtime: &Runtime, threads: usize, ids: Vec<i32>) -> Self {
        Proof { spec: spec.clone(), runtime: runtime.clone(), threads, ids, known: Mutex::default() }
    }

    /// Tokens of the text.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Rows of these lengths. The CPU computes those that are not known; its session is closed again.
    pub fn rows(&self, lengths: &[usize]) -> Result<Vec<Arc<ProofRow>>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = None;
        let mut rows = Vec::with_capacity(lengths.len());
        for length in lengths {
            let row = match known.get(length) {
                Some(row) => row.clone(),
                None => {
                    let cpu = match session.take() {
                        Some(cpu) => cpu,
                        None => open(&self.spec, &self.runtime, Arithmetic::Float32, self.threads)?,
                    };
                    let batch = PaddedBatch::single(&stretched(&self.ids, *length));
                    let row = Arc::new(ProofRow { expected: cpu.pooled(&batch)?, batch });
                    session = Some(cpu);
                    known.insert(*length, row.clone());
                    row
                }
            };
            rows.push(row);
        }
        Ok(rows)
    }
}

impl ProofRow {
    /// Refuses a provider whose vector is not the CPU's. `place` says where it was computed.
    pub fn check(&self, found: &[f32], element: FloatType, provider: Provider, place: &str) -> Result<()> {
        match difference(&self.expected, found, &tolerance(element)) {
            None => Ok(()),
            Some(difference) => {
                let tokens = self.batch.length;
                let problem =
                    format!("its vector of a test text of {tokens} tokens is not the CPU's, {place}: {difference}");
                Err(Error::ProviderFailed { asked: provider.name().to_owned(), problem })
            }
        }
    }
}

/// The ids over and over, up to a length; each time they begin one later, so that no two places see the same before them.
fn stretched(ids: &[i32], length: usize) -> Vec<i32> {
    (0..length).filter_map(|at| ids.get((at + at / ids.len().max(1)) % ids.len().max(1)).copied()).collect()
}

/// How two vectors differ, if they do beyond what rounding explains.
fn difference(expected: &[f32], found: &[f32], tolerance: &Tolerance) -> Option<String> {
    if found.len() != expected.len() {
        return Some(format!("{} components instead of {}", found.len(), expected.len()));
    }
    let broken = found.iter().filter(|value| !value.is_finite()).count();
    if broken > 0 {
        return Some(format!("{broken} of {} components are NaN or infinite", found.len()));
    }
    if expected == found {
        return None; // vectors of zeros, too, which have no cosine
    }
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let lengths = [dot(expected, expected).sqrt(), dot(found, found).sqrt()];
    let cosine = dot(expected, found) / (lengths[0] * lengths[1]);
    // NaN is the cosine of a vector of zeros.
    if cosine.is_nan() || cosine < tolerance.cosine {
        return Some(format!("their cosine is {cosine:.6}, less than {}", tolerance.cosine));
    }
    let share = lengths[1] / lengths[0];
    let is_scaled = (share - 1.0).abs() > tolerance.length;
    is_scaled.then(|| format!("it is {share:.4} times as long, more than {} % off", 100.0 * tolerance.length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: [f32; 3] = [3.0, 4.0, 0.0];

    fn compare(found: &[f32], element: FloatType) -> Option<String> {
        difference(&EXPECTED, found, &tolerance(element))
    }

    #[test]
    fn rounding_passes_and_other_vectors_do_not() {
        assert_eq!(compare(&[3.001, 3.999, 0.002], FloatType::Float32), None);
        assert_eq!(compare(&[3.01, 3.99, 0.02], FloatType::Float16), None);
        assert_eq!(difference(&[0.0; 3], &[0.0; 3], &tolerance(FloatType::Float32)), None);
        for element in [FloatType::Float32, FloatType::Float16] {
            let message = |found: &[f32]| compare(found, element).unwrap();
            assert_eq!(message(&[f32::NAN, 4.0, f32::INFINITY]), "2 of 3 components are NaN or infinite");
            assert!(message(&[4.0, 3.0, 0.0]).starts_with("their cosine is 0.960000, less than 0.999"));
            assert!(message(&[0.0; 3]).starts_with("their cosine is NaN, less than 0.999"));
            assert_eq!(message(&[3.0, 4.0]), "2 components instead of 3");
        }
    }

    #[test]
    fn float32_is_held_to_more_than_float16() {
        let turned = [3.06, 3.95, 0.0];
        assert_eq!(compare(&turned, FloatType::Float16), None);
        assert_eq!(compare(&turned, FloatType::Float32).unwrap(), "their cosine is 0.999878, less than 0.9999");
    }

    #[test]
    fn a_scaled_vector_is_another_vector() {
        let scaled = |by: f32| EXPECTED.map(|value| value * by);
        for (element, passes, fails, percent) in
            [(FloatType::Float32, 1.0005, 1.002, "0.1 %"), (FloatType::Float16, 1.005, 0.98, "1 %")]
        {
            assert_eq!(compare(&scaled(passes), element), None);
            let message = compare(&scaled(fails), element).unwrap();
            assert_eq!(message, format!("it is {fails:.4} times as long, more than {percent} off"));
        }
        assert!(compare(&scaled(-1.0), FloatType::Float16).unwrap().starts_with("their cosine is -1"));
    }

    #[test]
    fn rows_fill_any_length_and_do_not_repeat_their_order() {
        assert_eq!(stretched(&[7, 8, 9], 2), [7, 8]);
        assert_eq!(stretched(&[7, 8, 9], 10), [7, 8, 9, 8, 9, 7, 9, 7, 8, 7]);
        assert_eq!(stretched(&[5], 3), [5, 5, 5]);
    }
}
