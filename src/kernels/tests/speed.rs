//! How fast the kernels are, on one thread: `cargo test --release --no-default-features --lib kernels -- --ignored
//! --nocapture`. A machine that others use shows in the distance of the median from the best.

use std::time::Instant;

use super::{ALL_STORED, numbers, product, stored};
use crate::kernels::processor::Path;
use crate::kernels::weights::Weights;

#[test]
#[ignore = "a measurement"]
fn products() {
    let few: &[usize] = &[1, 12, 32, 128, 512, 1024];
    for (outputs, inputs, rows) in [(1024, 3072, few), (384, 1536, &[256, 2048]), (1536, 384, &[256, 2048])] {
        let values = numbers(outputs * inputs, 1);
        for kind in ALL_STORED {
            let (bytes, _) = stored(&values, kind);
            let weights = Weights::new(&bytes, kind, outputs, inputs).unwrap();
            for &rows in rows {
                let x = numbers(rows * inputs, 2);
                let flops = (2 * rows * outputs * inputs) as f64;
                for path in Path::possible() {
                    let mut seconds: Vec<f64> = (0..((2e9 / flops) as usize).clamp(3, 100))
                        .map(|_| {
                            let start = Instant::now();
                            std::hint::black_box(product(weights, None, path, &x, rows));
                            start.elapsed().as_secs_f64()
                        })
                        .collect();
                    seconds.sort_by(f64::total_cmp);
                    let speed = |seconds: f64| flops / seconds / 1e9;
                    let (median, best) = (speed(seconds[seconds.len() / 2]), speed(seconds[0]));
                    println!(
                        "{outputs}x{inputs} {kind:?} {rows} rows, {}: {median:.1} GFLOP/s, best {best:.1}",
                        path.name()
                    );
                }
            }
        }
    }
}
