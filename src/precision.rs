//! Float rows in, quantized rows out, as sentence-transformers' `quantize_embeddings` defines them without calibration
//! data: int8 and uint8 spread each dimension's own range, minimum to maximum over the rows given, over 255 steps;
//! binary and ubinary keep one bit per component.

use crate::error::{Error, Result};

/// What `encode` returns its rows as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Unchanged.
    Float32,
    /// -128…127 over each dimension's range.
    Int8,
    /// 0…255 over each dimension's range.
    Uint8,
    /// Eight components a byte, the byte shifted by -128 into int8.
    Binary,
    /// Eight components a byte, first component in the highest bit.
    Ubinary,
}

impl Precision {
    /// The name that callers use.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Float32 => "float32",
            Precision::Int8 => "int8",
            Precision::Uint8 => "uint8",
            Precision::Binary => "binary",
            Precision::Ubinary => "ubinary",
        }
    }

    /// Whether each dimension's range is taken from the rows of the call.
    pub fn is_calibrated(self) -> bool {
        match self {
            Precision::Int8 | Precision::Uint8 => true,
            Precision::Float32 | Precision::Binary | Precision::Ubinary => false,
        }
    }
}

impl std::str::FromStr for Precision {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "float32" => Precision::Float32,
            "int8" => Precision::Int8,
            "uint8" => Precision::Uint8,
            "binary" => Precision::Binary,
            "ubinary" => Precision::Ubinary,
            _ => {
                return Err(Error::Argument {
                    argument: "precision",
                    found: format!("{name:?}"),
                    expected: "one of float32, int8, uint8, binary, ubinary".to_owned(),
                });
            }
        })
    }
}

/// uint8 steps of each component into `target`, both (rows, dimension); int8 is the same less 128. The scale is float32 as
/// NumPy's is, so that the steps fall where sentence-transformers' do.
pub fn to_steps(values: &[f32], dimension: usize, target: &mut [u8]) {
    let mut low = vec![f32::INFINITY; dimension];
    let mut high = vec![f32::NEG_INFINITY; dimension];
    for row in values.chunks_exact(dimension.max(1)) {
        for ((value, low), high) in row.iter().zip(&mut low).zip(&mut high) {
            *low = low.min(*value);
            *high = high.max(*value);
        }
    }
    let steps: Vec<f32> = low.iter().zip(&high).map(|(low, high)| (high - low) / 255.0).collect();
    for (row, slots) in values.chunks_exact(dimension.max(1)).zip(target.chunks_exact_mut(dimension.max(1))) {
        for ((value, slot), (low, step)) in row.iter().zip(slots).zip(low.iter().zip(&steps)) {
            // A dimension that never varies has no range: its only value is the lowest step.
            *slot = if *step > 0.0 { ((value - low) / step) as u8 } else { 0 };
        }
    }
}

/// One bit per component, 1 where it is positive; `numpy.packbits` along the last axis. `target`: (rows,
/// ceil(dimension / 8)).
pub fn to_bits(values: &[f32], dimension: usize, target: &mut [u8]) {
    let byte = |group: &[f32]| {
        group.iter().enumerate().fold(0, |byte, (at, value)| byte | (u8::from(*value > 0.0) << (7 - at)))
    };
    let bytes = values.chunks_exact(dimension.max(1)).flat_map(|row| row.chunks(8).map(byte));
    target.iter_mut().zip(bytes).for_each(|(slot, byte)| *slot = byte);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_as_packbits() {
        let mut bits = [0; 2];
        to_bits(&[1.0, -1.0, 0.0, 2.0, -3.0, 1.0, 1.0, -1.0, 5.0], 9, &mut bits);
        assert_eq!(bits, [0b1001_0110, 0b1000_0000]);
    }

    #[test]
    fn steps_span_each_dimension() {
        let mut steps = [9; 6];
        to_steps(&[0.0, 5.0, 255.0, 5.0, 100.5, 5.0], 2, &mut steps);
        assert_eq!(steps, [0, 0, 255, 0, 100, 0]);
        to_steps(&[], 2, &mut []);
    }
}
