//! Which instructions for integers this processor has, and generic code compiled for them.

use crate::kernels::processor::{Instructions, Path};
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
use crate::kernels::tiles::Unit;

/// Who multiplies. A value of this type is the proof that the processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Multiplier(Kind);

/// What a [`Multiplier`] multiplies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// AMX-INT8 where there are many rows, AVX-512 VNNI where there are few.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    Amx,
    /// AVX-512 VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni512,
    /// AVX-VNNI: the same in vectors half as wide.
    #[cfg(target_arch = "x86_64")]
    Vnni256,
    /// AVX2, in 16 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain Rust.
    Portable,
    /// Plain Rust that does what AVX-512 VNNI does.
    #[cfg(test)]
    Emulated,
    /// The same, beside emulated tiles.
    #[cfg(test)]
    EmulatedAmx,
}

impl Multiplier {
    /// The fastest of a path.
    pub(crate) fn of(path: Path) -> Multiplier {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        let has_tiles = path.tiles().is_some_and(Unit::has_integers);
        Multiplier(match path.instructions() {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Instructions::Avx512 if has_tiles && is_x86_feature_detected!("avx512vnni") => Kind::Amx,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 if is_x86_feature_detected!("avx512vnni") => Kind::Vnni512,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 | Instructions::Avx2 if is_x86_feature_detected!("avxvnni") => Kind::Vnni256,
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 | Instructions::Avx2 => Kind::Avx2,
            Instructions::Portable => Kind::Portable,
        })
    }

    /// All that this processor can run.
    #[cfg(test)]
    pub(super) fn possible() -> Vec<Multiplier> {
        let mut kinds = vec![Kind::Portable, Kind::Emulated, Kind::EmulatedAmx];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = Path::possible().into_iter().any(|path| path.name() == "avx2");
            kinds.extend(has_avx2.then_some(Kind::Avx2));
            kinds.extend((has_avx2 && is_x86_feature_detected!("avxvnni")).then_some(Kind::Vnni256));
            let has_avx512 = Path::possible().into_iter().any(|path| path.name() == "avx512");
            kinds.extend((has_avx512 && is_x86_feature_detected!("avx512vnni")).then_some(Kind::Vnni512));
            let fastest = Multiplier::of(Path::possible()[0]).0;
            kinds.extend((!kinds.contains(&fastest)).then_some(fastest));
        }
        kinds.into_iter().map(Multiplier).collect()
    }

    /// What reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Kind::Amx => "amx-int8",
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni512 => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni256 => "avx2-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Portable => "portable",
            #[cfg(test)]
            Kind::Emulated => "emulated",
            #[cfg(test)]
            Kind::EmulatedAmx => "emulated tiles",
        }
    }

    /// What it is a proof of.
    pub(super) fn kind(self) -> Kind {
        self.0
    }
}

/// Runs a generic function over the multiplier's integers, compiled for its instructions. The function's arguments have
/// types without parameters; it is unsafe to call for the reasons that it states.
macro_rules! with_integers {
    ($multiplier:expr, $function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2")]
        unsafe fn vnni512($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's.
            unsafe { $function::<crate::kernels::quantized::vnni::Vnni512>($($argument),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avxvnni,avx2")]
        unsafe fn vnni256($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's.
            unsafe { $function::<crate::kernels::quantized::vnni::Vnni256>($($argument),*) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        unsafe fn avx2($($argument: $type),*) $(-> $result)? {
            // SAFETY: the caller's.
            unsafe { $function::<crate::kernels::quantized::avx2::Avx2>($($argument),*) }
        }
        match $multiplier.kind() {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            crate::kernels::quantized::multiplier::Kind::Amx => vnni512($($argument),*),
            #[cfg(target_arch = "x86_64")]
            crate::kernels::quantized::multiplier::Kind::Vnni512 => vnni512($($argument),*),
            #[cfg(target_arch = "x86_64")]
            crate::kernels::quantized::multiplier::Kind::Vnni256 => vnni256($($argument),*),
            #[cfg(target_arch = "x86_64")]
            crate::kernels::quantized::multiplier::Kind::Avx2 => avx2($($argument),*),
            crate::kernels::quantized::multiplier::Kind::Portable => {
                $function::<crate::kernels::quantized::portable::Portable>($($argument),*)
            }
            #[cfg(test)]
            crate::kernels::quantized::multiplier::Kind::Emulated
            | crate::kernels::quantized::multiplier::Kind::EmulatedAmx => {
                $function::<crate::kernels::quantized::emulated::Emulated>($($argument),*)
            }
        }
    }};
}
pub(super) use with_integers;
