//! Files in, a short name out that changes when they do: what caches of compiled models are keyed by. From paths, sizes
//! and times of change, since reading gigabytes to name them would cost more than the cache saves.

use std::fs;
use std::time::UNIX_EPOCH;

use crate::checkpoint::weights::Weights;
use crate::error::{Error, Result};

/// A 128-bit FNV-1a digest: stable over releases and machines, and not for secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

/// Begins every name.
pub const DIGEST_PREFIX: &str = "ironvec";

const OFFSET_BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;

impl Digest {
    /// Of a checkpoint's weight files, and of the release that reads them.
    pub fn of_weights(weights: &Weights) -> Result<Self> {
        let mut digest = Digest(OFFSET_BASIS).and(env!("CARGO_PKG_VERSION").as_bytes());
        for path in weights.files() {
            let facts = fs::metadata(path).map_err(|error| Error::unreadable(path, error))?;
            let changed = facts.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            let nanoseconds = changed.map_or(0, |time| time.as_nanos());
            digest = digest
                .and(path.as_os_str().as_encoded_bytes())
                .and(&facts.len().to_le_bytes())
                .and(&nanoseconds.to_le_bytes());
        }
        Ok(digest)
    }

    /// With more bytes behind it, and their number, so that two lists never run together.
    pub fn and(self, bytes: &[u8]) -> Self {
        let length = (bytes.len() as u64).to_le_bytes();
        Digest(fnv1a(fnv1a(self.0, bytes), &length))
    }

    /// Letters and digits alone.
    pub fn name(self) -> String {
        format!("{DIGEST_PREFIX}{:032x}", self.0)
    }
}

fn fnv1a(hash: u128, bytes: &[u8]) -> u128 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::weights::testing::weights_of;

    #[test]
    fn the_published_vectors() {
        // The empty text, "a" and "foobar": RFC 9923; the other two: the tests of Go's hash/fnv.
        let published: [(&str, u128); 5] = [
            ("", 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d),
            ("a", 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964),
            ("ab", 0x0880_9544_bbab_1be9_5aa0_7330_55b6_9a62),
            ("abc", 0xa68d_622c_ec8b_5822_836d_bc79_77af_7f3b),
            ("foobar", 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18),
        ];
        for (text, hash) in published {
            assert_eq!(fnv1a(OFFSET_BASIS, text.as_bytes()), hash, "{text:?}");
        }
        // The digest is that hash over the bytes and then their number.
        assert_eq!(Digest(OFFSET_BASIS).and(b"ab").0, fnv1a(OFFSET_BASIS, b"ab\x02\0\0\0\0\0\0\0"));
    }

    #[test]
    fn a_changed_file_has_another_name() {
        let (folder, weights) = weights_of(&[("a", &[4])]);
        let before = Digest::of_weights(&weights).unwrap();
        assert_eq!(before, Digest::of_weights(&weights).unwrap());
        assert!(before.name().len() <= 64 && before.name().chars().all(|letter| letter.is_ascii_alphanumeric()));
        let path = folder.path().join("model.safetensors");
        fs::File::options().append(true).open(&path).unwrap().set_len(1000).unwrap();
        assert_ne!(before, Digest::of_weights(&weights).unwrap());
        assert_ne!(before.and(b"ab").and(b"c"), before.and(b"a").and(b"bc"));
    }
}
