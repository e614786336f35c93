//! Which instructions this processor has, and which of them the kernels use.
//!
//! The environment variable `IRONVEC_KERNELS` forces a path, for tests and measurements, or leaves the work to ONNX Runtime;
//! a path that this processor does not have is an error, never another path.

use std::env;

use crate::error::{Error, Result};
use crate::options::{Arithmetic, Memory};

/// The variable's name.
const VARIABLE: &str = "IRONVEC_KERNELS";

/// Instructions that kernels are written in. A value of this type is the proof that the processor has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path(Instructions);

/// The instructions of a [`Path`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Instructions {
    /// AVX-512F beside AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust.
    Portable,
}

/// Who computes what kernels could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Kernels of ours.
    Kernels(Path),
    /// ONNX Runtime's operators.
    OnnxRuntime,
}

impl Path {
    /// The paths of this processor, the fastest first. The last is [`Path::portable`].
    pub(crate) fn possible() -> Vec<Path> {
        let mut possible = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            if avx2 && is_x86_feature_detected!("avx512f") {
                possible.push(Path(Instructions::Avx512));
            }
            if avx2 {
                possible.push(Path(Instructions::Avx2));
            }
        }
        possible.push(Path::portable());
        possible
    }

    /// The path of every processor.
    pub(crate) fn portable() -> Path {
        Path(Instructions::Portable)
    }

    /// The name that [`VARIABLE`] has for it.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => "avx2",
            Instructions::Portable => "portable",
        }
    }

    /// What it is a proof of.
    pub(super) fn instructions(self) -> Instructions {
        self.0
    }
}

impl Choice {
    /// What the environment forces, or else what fits the arithmetic and the memory that weights may take.
    pub(crate) fn of(memory: Memory, arithmetic: Arithmetic) -> Result<Choice> {
        let forced = env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
        let ours_alone = match (memory, arithmetic) {
            (Memory::Fast | Memory::Low, Arithmetic::Int8) => Some("dtype=\"int8\""),
            (Memory::Low, Arithmetic::Float32 | Arithmetic::Float16) => Some("memory=\"low\""),
            (Memory::Fast, Arithmetic::Float32 | Arithmetic::Float16) => None,
        };
        Choice::among(forced.as_deref(), ours_alone, &Path::possible())
    }

    /// What that means on a processor with these paths, and with what only kernels of ours do. Where nothing is said, ONNX Runtime's kernels: for many rows they are
    /// still ahead (`benches/low_memory.py`).
    fn among(forced: Option<&str>, ours_alone: Option<&str>, possible: &[Path]) -> Result<Choice> {
        let named = forced.and_then(|name| possible.iter().copied().find(|path| path.name() == name));
        match (forced, ours_alone) {
            (None, None) | (Some("onnxruntime"), None) => return Ok(Choice::OnnxRuntime),
            (None, Some(_)) => return Ok(Choice::Kernels(possible.first().copied().unwrap_or(Path::portable()))),
            (Some(_), _) => {}
        }
        named.map(Choice::Kernels).ok_or_else(|| {
            let names: Vec<&str> = possible.iter().map(|path| path.name()).collect();
            let other = ours_alone.map_or(" or onnxruntime".to_owned(), |what| format!(" with {what}"));
            Error::Argument {
                argument: VARIABLE,
                found: format!("{:?}", forced.unwrap_or_default()),
                expected: format!("on this processor {}{other}", names.join(", ")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOW: Option<&str> = Some("memory=\"low\"");

    #[test]
    fn a_forced_path_is_that_path_or_an_error() {
        let possible = Path::possible();
        for ours_alone in [None, LOW] {
            for &path in &possible {
                assert_eq!(Choice::among(Some(path.name()), ours_alone, &possible).unwrap(), Choice::Kernels(path));
            }
            for wrong in ["", "AVX2", "neon", "onnxruntime "] {
                let message = Choice::among(Some(wrong), ours_alone, &possible).unwrap_err().to_string();
                let start = format!("IRONVEC_KERNELS={wrong:?}: expected on this processor ");
                assert!(message.starts_with(&start) && message.contains("portable"), "{message}");
            }
        }
        assert_eq!(Choice::among(Some("onnxruntime"), None, &possible).unwrap(), Choice::OnnxRuntime);
        let message = Choice::among(Some("onnxruntime"), LOW, &possible).unwrap_err().to_string();
        assert!(message.ends_with("portable with memory=\"low\""), "{message}");
        let message = Choice::among(Some("avx2"), None, &[Path::portable()]).unwrap_err().to_string();
        assert!(message.ends_with("expected on this processor portable or onnxruntime"), "{message}");
    }

    #[test]
    fn where_nothing_is_forced_ours_are_taken_where_only_they_can() {
        let possible = Path::possible();
        assert_eq!(Choice::among(None, None, &possible).unwrap(), Choice::OnnxRuntime);
        assert_eq!(Choice::among(None, LOW, &possible).unwrap(), Choice::Kernels(possible[0]));
        assert_eq!(Choice::among(None, LOW, &[Path::portable()]).unwrap(), Choice::Kernels(Path::portable()));
    }
}
