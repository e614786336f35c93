//! The few operations that the integer product is written in, and which of them a processor has.
//!
//! As [`Lanes`](crate::kernels::lanes::Lanes), implementations and generic code are `#[inline(always)]`, so that they become
//! part of the `#[target_feature]` function that is called.

use super::block::{BLOCK, Step};
use crate::kernels::processor::{Instructions, Path};

/// Sums of products of 8-bit integers for `OUTPUTS` outputs at once.
///
/// # Safety
/// Every function needs the processor's instructions, which a [`Multiplier`] proves, and pointers to as many values as it
/// reads or writes; none needs an alignment.
pub(super) trait Integers {
    /// An activation as it is stored.
    type Activation: Step;
    /// `GROUP` weights of each output.
    type Weights: Copy;
    /// An integer for each output.
    type Sums: Copy;
    /// A float for each output.
    type Floats: Copy;
    /// Outputs of a panel.
    const OUTPUTS: usize;
    /// Inputs of an output that lie side by side.
    const GROUP: usize;
    /// What stored weights have too much: instructions that take them unsigned want 128.
    const OFFSET: u8;

    /// As [`block::rotate`](super::block::rotate), which it equals to the bit.
    unsafe fn rotate(values: &mut [f32; BLOCK]);
    /// The same integer for each output.
    unsafe fn all(value: i32) -> Self::Sums;
    /// Reads `OUTPUTS` × `GROUP` bytes.
    unsafe fn weights(from: *const u8) -> Self::Weights;
    /// Adds the products with `GROUP` activations, exactly.
    unsafe fn multiply_add(x: *const Self::Activation, weights: Self::Weights, sums: Self::Sums) -> Self::Sums;
    /// Zeros.
    unsafe fn zeros() -> Self::Floats;
    /// Reads `OUTPUTS` bfloat16.
    unsafe fn sizes(from: *const u8) -> Self::Floats;
    /// `total + sums · (sizes · size)`, each operation rounded.
    unsafe fn add_scaled(total: Self::Floats, sums: Self::Sums, sizes: Self::Floats, size: f32) -> Self::Floats;
    /// Writes `OUTPUTS` values.
    unsafe fn store(to: *mut f32, values: Self::Floats);
}

/// Outputs of a panel at most.
pub(super) const MOST_OUTPUTS: usize = 32;

/// Who multiplies. A value of this type is the proof that the processor has the instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Multiplier(Kind);

/// What a [`Multiplier`] multiplies with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
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
}

impl Multiplier {
    /// The fastest of a path.
    pub(crate) fn of(path: Path) -> Multiplier {
        Multiplier(match path.instructions() {
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
        let mut kinds = vec![Kind::Portable, Kind::Emulated];
        #[cfg(target_arch = "x86_64")]
        {
            let has_avx2 = Path::possible().into_iter().any(|path| path.name() == "avx2");
            kinds.extend(has_avx2.then_some(Kind::Avx2));
            kinds.extend((has_avx2 && is_x86_feature_detected!("avxvnni")).then_some(Kind::Vnni256));
            let has_avx512 = Path::possible().into_iter().any(|path| path.name() == "avx512");
            kinds.extend((has_avx512 && is_x86_feature_detected!("avx512vnni")).then_some(Kind::Vnni512));
        }
        kinds.into_iter().map(Multiplier).collect()
    }

    /// What reports call it.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni512 => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Vnni256 => "avx2-vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            Kind::Portable => "portable",
            #[cfg(test)]
            Kind::Emulated => "emulated",
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
            #[cfg(target_arch = "x86_64")]
            crate::kernels::quantized::integers::Kind::Vnni512 => vnni512($($argument),*),
            #[cfg(target_arch = "x86_64")]
            crate::kernels::quantized::integers::Kind::Vnni256 => vnni256($($argument),*),
            #[cfg(target_arch = "x86_64")]
            crate::kernels::quantized::integers::Kind::Avx2 => avx2($($argument),*),
            crate::kernels::quantized::integers::Kind::Portable => {
                $function::<crate::kernels::quantized::portable::Portable>($($argument),*)
            }
            #[cfg(test)]
            crate::kernels::quantized::integers::Kind::Emulated => {
                $function::<crate::kernels::quantized::emulated::Emulated>($($argument),*)
            }
        }
    }};
}
pub(super) use with_integers;
