//! [`Tiles`] in AMX's instructions. The compiler has no stable intrinsics for them, so they are written out.
//!
//! Values stay in the tile registers from one statement to the next. The compiler never uses these registers, for no function
//! here is compiled with the feature that would let it.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use super::{Shapes, Tiles};
use crate::kernels::avx512::Avx512;

/// CPUID leaf 7, EDX: AMX-BF16 and AMX-TILE.
const NEEDED: u32 = 1 << 22 | 1 << 24;
/// The same: AMX-INT8.
const INTEGERS: u32 = 1 << 25;

/// Linux's number of arch_prctl, its request for a part of the processor's state, and the number of the tiles' data.
const ARCH_PRCTL: isize = 158;
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
const XTILEDATA: usize = 18;

/// Whether the processor has AMX for bfloat16, and AVX-512 beside it, and the system lets this process use it. The process
/// asks once; a system that does not know the tiles' state refuses, as do settings of its administrator and a signal stack
/// that is too small for it.
pub(super) fn are_there() -> bool {
    static ARE_THERE: OnceLock<bool> = OnceLock::new();
    *ARE_THERE.get_or_init(|| {
        let lanes = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        lanes && has(NEEDED) && is_permitted()
    })
}

/// Whether tiles that are there multiply 8-bit integers too.
pub(super) fn have_integers() -> bool {
    has(INTEGERS)
}

/// Whether CPUID says so, on a processor with AVX2, which has leaf 7.
fn has(bits: u32) -> bool {
    #[allow(unused_unsafe, reason = "a safe function since Rust 1.94")]
    // SAFETY: every x86-64 processor has the instruction.
    let leaf = unsafe { __cpuid_count(7, 0) };
    leaf.edx & bits == bits
}

/// Asks the system for the tiles' state.
fn is_permitted() -> bool {
    let answer: isize;
    // SAFETY: the call reads and writes no memory of ours; the instruction overwrites rcx and r11.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => answer,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack, nomem),
        );
    }
    answer == 0
}

/// AMX-TILE with AMX-BF16 and AMX-INT8.
pub(in crate::kernels) struct Amx;

impl Tiles for Amx {
    type Lanes = Avx512;

    fn new() -> Self {
        Amx
    }

    #[inline(always)]
    unsafe fn configure(&mut self, shapes: &Shapes) {
        let configuration = shapes.configuration();
        // SAFETY: the trait's; 64 bytes are read.
        unsafe {
            asm!("ldtilecfg [{from}]", from = in(reg) &raw const configuration, options(nostack, readonly, preserves_flags));
        }
    }

    #[inline(always)]
    unsafe fn release(&mut self) {
        // SAFETY: the trait's.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn clear<const TILE: usize>(&mut self) {
        // SAFETY: the trait's.
        unsafe { asm!("tilezero tmm{tile}", tile = const TILE, options(nostack, nomem, preserves_flags)) }
    }

    #[inline(always)]
    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
        // SAFETY: the trait's.
        unsafe {
            asm!(
                "tileloadd tmm{tile}, [{from} + {stride}*1]",
                tile = const TILE,
                from = in(reg) from,
                stride = in(reg) stride,
                options(nostack, readonly, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: usize>(&self, to: *mut u8, stride: usize) {
        // SAFETY: the trait's.
        unsafe {
            asm!(
                "tilestored [{to} + {stride}*1], tmm{tile}",
                tile = const TILE,
                to = in(reg) to,
                stride = in(reg) stride,
                options(nostack, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn multiply<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self) {
        // SAFETY: the trait's.
        unsafe {
            asm!(
                "tdpbf16ps tmm{sums}, tmm{left}, tmm{right}",
                sums = const SUMS,
                left = const LEFT,
                right = const RIGHT,
                options(nostack, nomem, preserves_flags),
            );
        }
    }

    #[inline(always)]
    unsafe fn multiply_integers<const SUMS: usize, const LEFT: usize, const RIGHT: usize>(&mut self) {
        // SAFETY: the trait's.
        unsafe {
            asm!(
                "tdpbsud tmm{sums}, tmm{left}, tmm{right}",
                sums = const SUMS,
                left = const LEFT,
                right = const RIGHT,
                options(nostack, nomem, preserves_flags),
            );
        }
    }
}
