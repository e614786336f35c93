//! How fast the kernels are, on one thread: `cargo test --release --no-default-features --lib kernels -- --ignored
//! --nocapture`. Where there is AVX2, in hundredths of what its FMA reaches just before and after: a processor that others
//! use changes its pace.

use std::hint::black_box;
use std::time::Instant;

use super::{ALL_STORED, numbers, stored};
use crate::kernels::linear::Linear;
use crate::kernels::processor::Path;
use crate::kernels::rows::{Rows, RowsMut};
use crate::kernels::weights::Weights;

#[test]
#[ignore = "a measurement"]
fn products() {
    let few: &[usize] = &[1, 12, 32, 128, 512, 1024];
    for (outputs, inputs, rows) in [(1024, 3072, few), (384, 1536, &[1024]), (1536, 384, &[1024]), (384, 384, &[1024])]
    {
        let values = numbers(outputs * inputs, 1);
        for kind in ALL_STORED {
            let (bytes, _) = stored(&values, kind);
            let weights = Weights::new(&bytes, kind, outputs, inputs).unwrap();
            for &rows in rows {
                // Rows that do not lie a multiple of 4 KiB apart, as `Rows::apart` leaves them.
                let (x, mut y) = (numbers(rows * (inputs + 16), 2), vec![0.0; rows * outputs]);
                let flops = (2 * rows * outputs * inputs) as f64;
                for path in Path::possible() {
                    let linear = Linear::new(weights, None, path).unwrap();
                    let mut turn = || {
                        let before = peak();
                        let x = Rows::new(&x, rows, inputs, inputs + 16).unwrap();
                        let call = linear.call(x, RowsMut::new(&mut y, rows, outputs, outputs).unwrap()).unwrap();
                        let start = Instant::now();
                        for item in 0..call.items() {
                            // SAFETY: one thread.
                            unsafe { call.run(item) };
                        }
                        let speed = flops / start.elapsed().as_secs_f64() / 1e9;
                        (speed, 200.0 * speed / (before + peak()))
                    };
                    // Plain Rust takes seconds.
                    let turns = if path == Path::portable() { 1 } else { ((2e9 / flops) as usize).clamp(9, 100) };
                    let (mut speeds, mut shares): (Vec<f64>, Vec<f64>) = (0..turns).map(|_| turn()).unzip();
                    speeds.sort_by(f64::total_cmp);
                    shares.sort_by(f64::total_cmp);
                    println!(
                        "{outputs}x{inputs} {kind:?} {rows} rows, {}: {:.1} GFLOP/s, {:.0} % of the peak",
                        path.name(),
                        speeds[turns / 2],
                        shares[turns / 2],
                    );
                }
            }
        }
    }
}

/// GFLOP/s of AVX2's FMA now, or of nothing.
fn peak() -> f64 {
    const TURNS: usize = 50_000;
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        let start = Instant::now();
        // SAFETY: the instructions are there.
        black_box(unsafe { burn(black_box(TURNS)) });
        return (TURNS * 12 * 16) as f64 / start.elapsed().as_secs_f64() / 1e9;
    }
    f64::NAN
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn burn(turns: usize) -> f32 {
    use std::arch::x86_64::{_mm256_add_ps, _mm256_cvtss_f32, _mm256_fmadd_ps, _mm256_set1_ps};
    let (factor, step) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(1e-3));
    let mut sums = [_mm256_set1_ps(0.0); 12];
    for (at, sum) in sums.iter_mut().enumerate() {
        *sum = _mm256_set1_ps(black_box(at as f32));
    }
    for _ in 0..turns {
        for sum in &mut sums {
            *sum = _mm256_fmadd_ps(*sum, factor, step);
        }
    }
    let total = sums.into_iter().fold(step, |total, sum| _mm256_add_ps(total, sum));
    _mm256_cvtss_f32(total)
}
