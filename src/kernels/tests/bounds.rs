//! Nothing is read outside the weights: they end where memory ends.
#![cfg(unix)]

use std::os::fd::AsRawFd;
use std::ptr;

#[cfg(target_arch = "x86_64")]
use super::pairs;
use super::tiles::{tiled, units};
use super::{ALL_STORED, numbers, product, stored};
use crate::kernels::processor::Path;
use crate::kernels::quantized::multiplier::Multiplier;
use crate::kernels::quantized::weights::QuantizedMatrix;
use crate::kernels::weights::{Stored, Weights};

/// A mapped file between two pages that cannot be read.
struct Fenced {
    start: *mut u8,
    page: usize,
    length: usize,
}

impl Fenced {
    fn new(room: usize) -> Self {
        let file = tempfile::tempfile().unwrap();
        // SAFETY: a new mapping, closed, and the file in place of all but its first and last page; both are checked.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let length = room.next_multiple_of(page) + 2 * page;
            file.set_len((length - 2 * page) as u64).unwrap();
            let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
            let start = libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let (inner, access) = (start.byte_add(page), libc::PROT_READ | libc::PROT_WRITE);
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            assert_eq!(libc::mmap(inner, length - 2 * page, access, flags, file.as_raw_fd(), 0), inner);
            Fenced { start: start.cast(), page, length }
        }
    }

    /// The bytes, right before the last page or right behind the first.
    fn hold(&mut self, bytes: &[u8], at_end: bool) -> &[u8] {
        let room = self.length - 2 * self.page;
        assert!(bytes.len() <= room);
        let offset = self.page + if at_end { room - bytes.len() } else { 0 };
        // SAFETY: within the open pages.
        unsafe {
            let to = self.start.add(offset);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len());
            std::slice::from_raw_parts(to, bytes.len())
        }
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the mapping that `new` made.
        unsafe { libc::munmap(self.start.cast(), self.length) };
    }
}

#[test]
fn nothing_is_read_outside_the_weights() {
    const SIZES: [usize; 9] = [1, 15, 16, 17, 31, 33, 63, 64, 65];
    // Two chunks at a time, one, and what is left of one.
    const LONG: [usize; 2] = [300, 515];
    let mut fenced = Fenced::new(65 * 515 * 4);
    for path in Path::possible() {
        for kind in ALL_STORED {
            for outputs in SIZES {
                for inputs in SIZES.into_iter().chain(LONG) {
                    let (bytes, _) = stored(&numbers(outputs * inputs, 1), kind);
                    // Through registers, and by panels.
                    for rows in [1, 3, 6, 13, 25] {
                        let x = numbers(rows * inputs, 2);
                        let free = product(Weights::new(&bytes, kind, outputs, inputs).unwrap(), None, path, &x, rows);
                        for at_end in [true, false] {
                            let bytes = fenced.hold(&bytes, at_end);
                            let weights = Weights::new(bytes, kind, outputs, inputs).unwrap();
                            assert_eq!(product(weights, None, path, &x, rows), free);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn tiles_read_nothing_outside_the_weights() {
    const SIZES: [usize; 8] = [1, 15, 17, 31, 32, 33, 63, 65];
    let mut fenced = Fenced::new(65 * 65 * 2);
    for unit in units() {
        for (outputs, inputs) in SIZES.into_iter().flat_map(|outputs| SIZES.map(|inputs| (outputs, inputs))) {
            let (bytes, _) = stored(&numbers(outputs * inputs, 1), Stored::Bfloat16);
            for rows in [1, 17] {
                let x = numbers(rows * inputs, 2);
                let of = |bytes: &[u8]| {
                    let weights = Weights::new(bytes, Stored::Bfloat16, outputs, inputs).unwrap();
                    tiled(weights, None, unit, false, &x, rows)
                };
                let free = of(&bytes);
                for at_end in [true, false] {
                    assert_eq!(of(fenced.hold(&bytes, at_end)), free);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn pairs_read_nothing_outside_the_weights() {
    const OUTPUTS: [usize; 8] = [1, 15, 16, 17, 31, 33, 63, 65];
    let mut fenced = Fenced::new(65 * 600 * 2);
    for (path, run) in pairs::runs() {
        for (outputs, inputs) in
            OUTPUTS.into_iter().flat_map(|outputs| [2, 14, 34, 64, 600].map(|inputs| (outputs, inputs)))
        {
            let (bytes, _) = stored(&numbers(outputs * inputs, 1), Stored::Bfloat16);
            let bias = numbers(outputs, 3);
            for rows in [1, 5, 13] {
                let x = numbers(rows * inputs, 2);
                let of = |bytes: &[u8]| {
                    let weights = Weights::new(bytes, Stored::Bfloat16, outputs, inputs).unwrap();
                    pairs::product(weights, &bias, path, run, &x)
                };
                let free = of(&bytes);
                for at_end in [true, false] {
                    assert_eq!(of(fenced.hold(&bytes, at_end)), free);
                }
            }
        }
    }
}

#[test]
fn quantizing_reads_nothing_outside_the_rows() {
    let mut fenced = Fenced::new(65 * 130 * 4);
    for path in Path::possible() {
        for outputs in [1, 15, 17, 33, 64, 65] {
            for inputs in [1, 31, 63, 64, 65, 130] {
                let (bytes, _) = stored(&numbers(outputs * inputs, 1), Stored::Float32);
                for at_end in [true, false] {
                    // SAFETY: any bytes are float32.
                    let (before, rows, after) = unsafe { fenced.hold(&bytes, at_end).align_to::<f32>() };
                    assert_eq!((before.len(), rows.len(), after.len()), (0, outputs * inputs, 0));
                    let mut matrix = QuantizedMatrix::zeros(outputs, inputs, Multiplier::of(path)).unwrap();
                    let each = QuantizedMatrix::OUTPUTS_AT_ONCE;
                    for (index, rows) in rows.chunks(each * inputs).enumerate() {
                        assert_eq!(matrix.fill(index * each, rows), Ok(()));
                    }
                }
            }
        }
    }
}

#[test]
fn weights_need_no_alignment() {
    let (rows, outputs, inputs) = (13, 33, 70);
    let x = numbers(rows * inputs, 3);
    let (bytes, _) = stored(&numbers(outputs * inputs, 4), Stored::Float32);
    for path in Path::possible() {
        let aligned = product(Weights::new(&bytes, Stored::Float32, outputs, inputs).unwrap(), None, path, &x, rows);
        for shift in [1, 2, 3] {
            let shifted = [vec![0; shift], bytes.clone()].concat();
            let weights = Weights::new(&shifted[shift..], Stored::Float32, outputs, inputs).unwrap();
            assert_eq!(product(weights, None, path, &x, rows), aligned);
        }
    }
}
