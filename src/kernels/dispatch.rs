//! From a path, which is known at run time, to vectors, which the compiler knows.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
#[cfg(target_arch = "x86_64")]
use super::avx512::Avx512;
use super::lanes::{Lanes, Work};
use super::portable::Portable;
use super::processor::{Instructions, Path};

impl Path {
    /// Does work in vectors of the path, which is the proof of its instructions.
    ///
    /// # Safety
    /// What the work asks for.
    pub(super) unsafe fn run(self, work: impl Work) {
        // SAFETY: the caller's.
        unsafe {
            match self.instructions() {
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx512 => Avx512::apart(work),
                #[cfg(target_arch = "x86_64")]
                Instructions::Avx2 => Avx2::apart(work),
                Instructions::Portable => Portable::apart(work),
            }
        }
    }
}
