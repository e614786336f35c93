//! Texts that lie one after the other in memory, as Arrow lays them out, in; `&str`s into those bytes out, each with its
//! index: nothing is copied. Refused: buffers too short for their rows, offsets that decrease or lead out of the bytes,
//! bytes that are not UTF-8. What a row that is null would hold is not looked at.

use std::str;

use crate::error::{Error, Result};
use crate::texts::tokenize::NumberedText;

/// How wide the offsets of a column are: Arrow's `utf8` and `large_utf8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetWidth {
    /// i32
    Four,
    /// i64
    Eight,
}

/// Some rows of a column. Offsets and bits may lie at any address, so they are read from bytes.
#[derive(Debug, Clone, Copy)]
pub struct Column<'a> {
    /// UTF-8.
    pub data: &'a [u8],
    /// Where in `data` each row begins, and after the last row where it ends; in the machine's byte order.
    pub offsets: &'a [u8],
    /// Of one offset.
    pub width: OffsetWidth,
    /// A bit for each row, the lowest of a byte first, 0 where the row is null. None: no row is.
    pub validity: Option<&'a [u8]>,
    /// The first row that counts.
    pub first: usize,
    /// How many count.
    pub rows: usize,
}

impl<'a> Column<'a> {
    /// Adds the texts to those of a call, of which the first has this index.
    pub fn append_to(&self, texts: &mut Vec<NumberedText<'a>>, first_index: usize) -> Result<()> {
        if self.rows == 0 {
            return Ok(()); // with or without an offset
        }
        self.check_sizes()?;
        let no_memory = |error: std::collections::TryReserveError| Error::Memory {
            purpose: format!("for {} texts", self.rows),
            source: error.into(),
        };
        texts.try_reserve(self.rows).map_err(no_memory)?;
        let mut begin = self.offset(self.first);
        for row in 0..self.rows {
            let place = self.first + row;
            let end = self.offset(place + 1);
            if self.is_there(place) {
                texts.push((first_index + row, self.text(first_index + row, begin, end)?));
            }
            begin = end;
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<()> {
        let size = match self.width {
            OffsetWidth::Four => 4,
            OffsetWidth::Eight => 8,
        };
        let end = self.first.checked_add(self.rows);
        let offsets = self.offsets.len() / size;
        let bits = self.validity.map_or(usize::MAX, |bytes| bytes.len().saturating_mul(8));
        match end {
            Some(end) if end < offsets && end <= bits => Ok(()),
            _ => Err(Error::Texts {
                problem: format!(
                    "a column of {} rows from row {} has {offsets} offsets{}",
                    self.rows,
                    self.first,
                    if self.validity.is_some() { format!(" and {bits} bits of validity") } else { String::new() }
                ),
            }),
        }
    }

    /// The offset at a place that is there; negative ones, as they may be in a broken column, are beyond any data.
    fn offset(&self, place: usize) -> usize {
        fn at<const N: usize>(bytes: &[u8], place: usize) -> [u8; N] {
            bytes.as_chunks().0.get(place).copied().unwrap_or([0xff; N])
        }
        let offset = match self.width {
            OffsetWidth::Four => i64::from(i32::from_ne_bytes(at(self.offsets, place))),
            OffsetWidth::Eight => i64::from_ne_bytes(at(self.offsets, place)),
        };
        usize::try_from(offset).unwrap_or(usize::MAX)
    }

    fn is_there(&self, place: usize) -> bool {
        self.validity.is_none_or(|bits| bits.get(place / 8).is_some_and(|byte| (byte >> (place % 8)) & 1 == 1))
    }

    fn text(&self, index: usize, begin: usize, end: usize) -> Result<&'a str> {
        let Some(bytes) = self.data.get(begin..end) else {
            let [begin, end] = [begin, end].map(|at| if at == usize::MAX { "before 0".into() } else { at.to_string() });
            let problem = format!("texts[{index}] is bytes {begin} to {end} of {}", self.data.len());
            return Err(Error::Texts { problem: format!("{problem}: its column's offsets are broken") });
        };
        str::from_utf8(bytes).map_err(|error| Error::Texts {
            problem: format!(
                "texts[{index}] is not UTF-8: byte {} is not a part of a character",
                error.valid_up_to() + 1
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn offsets(values: &[i32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_ne_bytes()).collect()
    }

    fn read<'a>(column: &Column<'a>) -> Result<Vec<NumberedText<'a>>, String> {
        let mut texts = Vec::new();
        column.append_to(&mut texts, 10).map_err(|error| error.to_string())?;
        Ok(texts)
    }

    fn column<'a>(data: &'a [u8], offsets: &'a [u8], first: usize, rows: usize) -> Column<'a> {
        Column { data, offsets, width: OffsetWidth::Four, validity: None, first, rows }
    }

    #[test]
    fn rows_are_read_where_they_lie() {
        let bytes = offsets(&[0, 3, 3, 8]);
        let whole = column("catZürich".as_bytes(), &bytes, 0, 3);
        assert_eq!(read(&whole).unwrap(), [(10, "cat"), (11, ""), (12, "Züri")]);
        assert_eq!(read(&Column { first: 1, rows: 2, ..whole }).unwrap(), [(10, ""), (11, "Züri")]);
        let wide: Vec<u8> = [0i64, 3, 3, 8].iter().flat_map(|value| value.to_ne_bytes()).collect();
        let wide = Column { offsets: &wide, width: OffsetWidth::Eight, ..whole };
        assert_eq!(read(&wide), read(&whole));
        assert_eq!(read(&column(b"", b"", 0, 0)).unwrap(), []);
    }

    #[test]
    fn null_rows_are_left_out_whatever_they_hold() {
        let bytes = offsets(&[0, 1, 9, 2]);
        let validity = [0b1111_1001];
        let nulls = Column { validity: Some(&validity), ..column(b"ab\xff", &bytes, 0, 3) };
        assert_eq!(read(&nulls).unwrap(), [(10, "a")]);
    }

    /// Bytes, offsets, the first row, rows, and what is said of them.
    type Broken<'a> = (&'a [u8], &'a [i32], usize, usize, &'a str);

    #[test]
    fn what_lies_is_refused() {
        let cases: [Broken<'_>; 9] = [
            (b"ab", &[0, 1], 0, 2, "a column of 2 rows from row 0 has 2 offsets"),
            (b"ab", &[], 0, 1, "a column of 1 rows from row 0 has 0 offsets"),
            (b"ab", &[0, 1, 2], 2, 1, "a column of 1 rows from row 2 has 3 offsets"),
            (b"ab", &[0, 1], usize::MAX, 2, "rows from row 18446744073709551615 has 2 offsets"),
            (b"ab", &[0, 2, 1], 0, 2, "texts[11] is bytes 2 to 1 of 2: its column's offsets are broken"),
            (b"ab", &[0, 3], 0, 1, "texts[10] is bytes 0 to 3 of 2: its column's offsets are broken"),
            (b"ab", &[-1, 1], 0, 1, "texts[10] is bytes before 0 to 1 of 2"),
            (b"a\xc3\xa4\xff", &[0, 1, 4], 0, 2, "texts[11] is not UTF-8: byte 3 is not a part of a character"),
            (b"\xc3\xa4", &[0, 1, 2], 0, 2, "texts[10] is not UTF-8: byte 1 is not a part of a character"),
        ];
        for (data, values, first, rows, expected) in cases {
            let bytes = offsets(values);
            let message = read(&column(data, &bytes, first, rows)).unwrap_err();
            assert!(message.contains(expected), "{message}");
        }
        let bytes = offsets(&[0; 10]);
        let short = Column { validity: Some(&[0xff]), ..column(b"", &bytes, 0, 9) };
        assert!(read(&short).unwrap_err().ends_with("has 10 offsets and 8 bits of validity"));
    }

    proptest! {
        #[test]
        fn nothing_panics(
            data in proptest::collection::vec(any::<u8>(), 0..20),
            values in proptest::collection::vec(-2..25i32, 0..12),
            validity in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..3)),
            first in 0..12usize,
            rows in 0..20usize,
        ) {
            let bytes = offsets(&values);
            let column = Column { validity: validity.as_deref(), ..column(&data, &bytes, first, rows) };
            for width in [OffsetWidth::Four, OffsetWidth::Eight] {
                if let Ok(texts) = read(&(Column { width, ..column })) {
                    prop_assert!(texts.len() <= rows);
                }
            }
        }
    }
}
