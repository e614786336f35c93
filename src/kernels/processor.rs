//! Which instructions this processor has, and which of them the kernels use.
//!
//! The environment variable `IRONVEC_KERNELS` forces a path, for tests and measurements, or leaves the work to ONNX Runtime;
//! a path that this processor does not have is an error, never another path.

use std::env;

#[cfg(target_arch = "x86_64")]
use super::tiles::Unit;
use crate::error::{Error, Result};
use crate::options::{Arithmetic, Memory};

/// The variable's name.
const VARIABLE: &str = "IRONVEC_KERNELS";

/// Instructions that kernels are written in. A value of this type is the proof that the processor has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    name: &'static str,
    lanes: Instructions,
    bfloat16: Bfloat16,
    /// Whether products with 16-bit weights are no slower than ONNX Runtime's (`benches/products.py`).
    leads: bool,
}

/// Instructions for vectors of float32.
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

/// Instructions for products of bfloat16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bfloat16 {
    /// AMX: for float32's results too.
    #[cfg(target_arch = "x86_64")]
    Tiles(Unit),
    /// AVX512-BF16.
    #[cfg(target_arch = "x86_64")]
    Pairs,
    /// None.
    #[cfg(target_arch = "x86_64")]
    Missing,
    /// Plain Rust.
    Emulation,
}

/// Who computes what kernels could.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Kernels of ours.
    Kernels(Path),
    /// Ours for attention, ONNX Runtime's operators for the rest.
    Attention(Path),
    /// ONNX Runtime's operators.
    OnnxRuntime,
}

impl Path {
    /// The paths of this processor, the fastest first. The last is [`Path::portable`].
    #[cfg(test)]
    pub(crate) fn possible() -> Vec<Path> {
        Path::of_processor(true)
    }

    /// The same, without asking the system for tiles where they are not wanted.
    fn of_processor(tiles: bool) -> Vec<Path> {
        let mut possible = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 =
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
            // On Intel's nobody has measured yet.
            let leads = is_amd();
            if avx2 && is_x86_feature_detected!("avx512f") {
                let pairs = is_x86_feature_detected!("avx512bf16");
                let bfloat16 = if pairs { Bfloat16::Pairs } else { Bfloat16::Missing };
                let path = |name, bfloat16| Path { name, lanes: Instructions::Avx512, bfloat16, leads };
                let unit = if tiles { Unit::of_processor() } else { None };
                possible.extend(unit.map(|unit| path("amx", Bfloat16::Tiles(unit))));
                possible.push(path("avx512", bfloat16));
            }
            if avx2 {
                let (lanes, bfloat16) = (Instructions::Avx2, Bfloat16::Missing);
                possible.push(Path { name: "avx2", lanes, bfloat16, leads });
            }
        }
        possible.push(Path::portable());
        possible
    }

    /// The path of every processor.
    pub(crate) fn portable() -> Path {
        Path { name: "portable", lanes: Instructions::Portable, bfloat16: Bfloat16::Emulation, leads: false }
    }

    /// The name that [`VARIABLE`] has for it.
    pub(crate) fn name(self) -> &'static str {
        self.name
    }

    /// What float32 is computed in.
    pub(super) fn instructions(self) -> Instructions {
        self.lanes
    }

    /// What products of bfloat16 are computed in.
    pub(super) fn bfloat16(self) -> Bfloat16 {
        self.bfloat16
    }

    /// Who multiplies tiles, on the path of that name.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    pub(super) fn tiles(self) -> Option<Unit> {
        match self.bfloat16 {
            Bfloat16::Tiles(unit) => Some(unit),
            Bfloat16::Pairs | Bfloat16::Missing | Bfloat16::Emulation => None,
        }
    }

    /// Whether products of bfloat16 are as fast as they should be.
    fn has_bfloat16(self) -> bool {
        match self.bfloat16 {
            #[cfg(target_arch = "x86_64")]
            Bfloat16::Tiles(_) | Bfloat16::Pairs => true,
            #[cfg(target_arch = "x86_64")]
            Bfloat16::Missing => false,
            Bfloat16::Emulation => false,
        }
    }
}

/// Whether the processor is AMD's, as those were on which the kernels have been measured. Intel's AVX-512 does twice as many
/// products at a time.
#[cfg(target_arch = "x86_64")]
fn is_amd() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
}

impl Choice {
    /// What the environment and reports call ONNX Runtime's operators.
    pub(crate) const ONNX_RUNTIME: &str = "onnxruntime";

    /// What the environment forces, or else what fits the arithmetic, the memory that weights may take, and whether they lie
    /// in mapped files in 16 bits.
    pub(crate) fn of(memory: Memory, arithmetic: Arithmetic, are_narrow: bool) -> Result<Choice> {
        let forced = env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
        Choice::among(forced.as_deref(), memory, arithmetic, are_narrow, Path::of_processor)
    }

    /// What that means on a processor with these paths. Where nothing is said, attention is ours and products are those of
    /// whoever is not behind; but products of bfloat16 and int8 are ours alone.
    fn among(
        forced: Option<&str>,
        memory: Memory,
        arithmetic: Arithmetic,
        are_narrow: bool,
        paths: impl FnOnce(bool) -> Vec<Path>,
    ) -> Result<Choice> {
        let ours_alone = match (memory, arithmetic) {
            (Memory::Fast | Memory::Low, Arithmetic::Bfloat16) => return Choice::for_bfloat16(forced, paths(true)),
            (Memory::Fast | Memory::Low, Arithmetic::Int8) => Some(" with dtype=\"int8\""),
            (Memory::Low, Arithmetic::Float32 | Arithmetic::Float16) => Some(" with memory=\"low\""),
            (Memory::Fast, Arithmetic::Float32 | Arithmetic::Float16) => None,
        };
        match (forced, ours_alone) {
            (None, None) => {
                let first = paths(false).into_iter().find(|path| *path != Path::portable());
                return Ok(match first {
                    Some(path) if are_narrow && path.leads => Choice::Kernels(path),
                    Some(path) => Choice::Attention(path),
                    None => Choice::OnnxRuntime,
                });
            }
            (Some(Choice::ONNX_RUNTIME), None) => return Ok(Choice::OnnxRuntime),
            (None, Some(_)) => return Ok(Choice::Kernels(paths(true).first().copied().unwrap_or(Path::portable()))),
            (Some(_), Some(_) | None) => {}
        }
        let other = ours_alone.unwrap_or(" or onnxruntime");
        Choice::named(forced.unwrap_or_default(), &paths(true), other)
    }

    /// The fastest path with products of bfloat16, or the one that is forced: in plain Rust they are for tests.
    fn for_bfloat16(forced: Option<&str>, possible: Vec<Path>) -> Result<Choice> {
        let able = |path: &Path| path.has_bfloat16() || *path == Path::portable();
        let able: Vec<Path> = possible.into_iter().filter(able).collect();
        if let Some(name) = forced {
            return Choice::named(name, &able, " with dtype=\"bfloat16\"");
        }
        let fastest = able.into_iter().find(|path| path.has_bfloat16());
        fastest.map(Choice::Kernels).ok_or_else(|| Error::Argument {
            argument: "dtype",
            found: "\"bfloat16\"".to_owned(),
            expected: "\"float32\" or \"int8\" on this processor, which has neither AVX512-BF16 nor AMX-BF16 \
                       that the system lets this process use"
                .to_owned(),
        })
    }

    /// The path of a name that was forced; `more` ends the list of those that it could have been.
    fn named(name: &str, possible: &[Path], more: &str) -> Result<Choice> {
        let named = possible.iter().copied().find(|path| path.name() == name);
        named.map(Choice::Kernels).ok_or_else(|| {
            let names: Vec<&str> = possible.iter().map(|path| path.name()).collect();
            Error::Argument {
                argument: VARIABLE,
                found: format!("{name:?}"),
                expected: format!("on this processor {}{more}", names.join(", ")),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn among(forced: Option<&str>, memory: Memory, possible: &[Path]) -> Result<Choice> {
        Choice::among(forced, memory, Arithmetic::Float32, false, |_| possible.to_vec())
    }

    #[test]
    fn a_forced_path_is_that_path_or_an_error() {
        let possible = Path::possible();
        for memory in [Memory::Fast, Memory::Low] {
            for &path in &possible {
                assert_eq!(among(Some(path.name()), memory, &possible).unwrap(), Choice::Kernels(path));
            }
            for wrong in ["", "AVX2", "neon", "onnxruntime "] {
                let message = among(Some(wrong), memory, &possible).unwrap_err().to_string();
                let start = format!("IRONVEC_KERNELS={wrong:?}: expected on this processor ");
                assert!(message.starts_with(&start) && message.contains("portable"), "{message}");
            }
        }
        assert_eq!(among(Some("onnxruntime"), Memory::Fast, &possible).unwrap(), Choice::OnnxRuntime);
        let message = among(Some("onnxruntime"), Memory::Low, &possible).unwrap_err().to_string();
        assert!(message.ends_with("portable with memory=\"low\""), "{message}");
        let message = among(Some("avx2"), Memory::Fast, &[Path::portable()]).unwrap_err().to_string();
        assert!(message.ends_with("expected on this processor portable or onnxruntime"), "{message}");
    }

    #[test]
    fn where_nothing_is_forced_the_memory_decides() {
        let possible = Path::possible();
        let attention = among(None, Memory::Fast, &possible).unwrap();
        assert_eq!(attention == Choice::OnnxRuntime, possible == [Path::portable()]);
        assert_eq!(among(None, Memory::Fast, &[Path::portable()]).unwrap(), Choice::OnnxRuntime);
        assert_eq!(among(None, Memory::Low, &possible).unwrap(), Choice::Kernels(possible[0]));
        let int8 = Choice::among(None, Memory::Fast, Arithmetic::Int8, false, |_| vec![Path::portable()]).unwrap();
        assert_eq!(int8, Choice::Kernels(Path::portable()));
        assert_eq!(among(None, Memory::Low, &[Path::portable()]).unwrap(), Choice::Kernels(Path::portable()));
    }

    #[test]
    fn narrow_weights_go_to_whoever_is_not_behind() {
        let path = |leads| Path { name: "ours", leads, ..Path::portable() };
        let of = |are_narrow, leads| {
            let possible = |_| vec![path(leads), Path::portable()];
            Choice::among(None, Memory::Fast, Arithmetic::Float32, are_narrow, possible).unwrap()
        };
        assert_eq!(of(true, true), Choice::Kernels(path(true)));
        assert_eq!(of(false, true), Choice::Attention(path(true)));
        assert_eq!(of(true, false), Choice::Attention(path(false)));
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn bfloat16_wants_instructions_or_the_portable_path_by_name() {
        let path = |name, bfloat16| Path { name, bfloat16, ..Path::portable() };
        let tiles = path("amx", Bfloat16::Tiles(Unit::emulated()));
        let (without, portable) = (path("avx2", Bfloat16::Missing), Path::portable());
        let of = |forced: Option<&str>, possible: &[Path]| {
            Choice::among(forced, Memory::Fast, Arithmetic::Bfloat16, true, |_| possible.to_vec())
        };
        assert_eq!(of(None, &[tiles, without, portable]).unwrap(), Choice::Kernels(tiles));
        assert_eq!(of(Some("portable"), &[tiles, portable]).unwrap(), Choice::Kernels(portable));
        let message = of(None, &[without, portable]).unwrap_err().to_string();
        assert!(
            message.starts_with("dtype=\"bfloat16\": expected \"float32\" or \"int8\" on this processor"),
            "{message}"
        );
        for forced in ["avx2", "onnxruntime"] {
            let message = of(Some(forced), &[tiles, without, portable]).unwrap_err().to_string();
            assert!(message.ends_with("expected on this processor amx, portable with dtype=\"bfloat16\""), "{message}");
        }
    }
}
