//! Which instructions this processor has, and which of them the kernels use.
//!
//! The environment variable `IRONVEC_KERNELS` forces a path, for tests and measurements, or leaves the work to ONNX Runtime;
//! a path that this processor does not have is an error, never another path.

use std::env;

use crate::error::{Error, Result};

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
    /// What the environment forces, or else the fastest.
    pub(crate) fn from_environment() -> Result<Choice> {
        let forced = env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
        Choice::of(forced.as_deref(), &Path::possible())
    }

    /// What a value of the variable means on a processor with these paths. Without one, plain Rust does not compete with
    /// ONNX Runtime, which has instructions for processors that the kernels have none for.
    fn of(forced: Option<&str>, possible: &[Path]) -> Result<Choice> {
        let fastest = possible.first().copied().filter(|&path| path != Path::portable());
        let Some(name) = forced else {
            return Ok(fastest.map_or(Choice::OnnxRuntime, Choice::Kernels));
        };
        if name == "onnxruntime" {
            return Ok(Choice::OnnxRuntime);
        }
        let named = possible.iter().copied().find(|path| path.name() == name);
        named.map(Choice::Kernels).ok_or_else(|| {
            let names: Vec<&str> = possible.iter().map(|path| path.name()).collect();
            Error::Argument {
                argument: VARIABLE,
                found: format!("{name:?}"),
                expected: format!("on this processor {} or onnxruntime", names.join(", ")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_path_is_that_path_or_an_error() {
        let possible = Path::possible();
        for &path in &possible {
            assert_eq!(Choice::of(Some(path.name()), &possible).unwrap(), Choice::Kernels(path));
        }
        assert_eq!(Choice::of(Some("onnxruntime"), &possible).unwrap(), Choice::OnnxRuntime);
        for wrong in ["", "AVX2", "neon"] {
            let message = Choice::of(Some(wrong), &possible).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("IRONVEC_KERNELS={wrong:?}: expected on this processor ")),
                "{message}"
            );
            assert!(message.ends_with("portable or onnxruntime"), "{message}");
        }
        let message = Choice::of(Some("avx2"), &[Path::portable()]).unwrap_err().to_string();
        assert!(message.ends_with("expected on this processor portable or onnxruntime"), "{message}");
    }

    #[test]
    fn without_the_variable_the_fastest_path_is_taken_and_never_plain_rust() {
        assert_eq!(Choice::of(None, &[Path::portable()]).unwrap(), Choice::OnnxRuntime);
        let possible = Path::possible();
        if possible.len() > 1 {
            assert_eq!(Choice::of(None, &possible).unwrap(), Choice::Kernels(possible[0]));
        }
    }
}
