//! Versions and checksums: the frame around every record this crate writes itself.
//!
//! A frame is `version u8 ++ xxh3_64 of the payload, seeded with the version, little-endian ++ payload`.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::{Result, StateError};

/// Version of everything in a store: log entries, meta records, sections, data keys.
pub const FORMAT_VERSION: u8 = 1;

const HEADER: usize = 9;

/// Makes a frame around the payload that `fill` appends.
pub(crate) fn frame(size_hint: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::with_capacity(size_hint + HEADER);
    out.resize(HEADER, 0);
    fill(&mut out);
    let checksum = xxh3_64_with_seed(&out[HEADER..], FORMAT_VERSION.into());
    out[0] = FORMAT_VERSION;
    out[1..HEADER].copy_from_slice(&checksum.to_le_bytes());
    out
}

/// The payload of a frame; `place` names where it was read.
pub(crate) fn unframe(bytes: &[u8], place: impl Fn() -> String) -> Result<&[u8]> {
    let Some((header, payload)) = bytes.split_first_chunk::<HEADER>() else {
        return Err(StateError::Corrupt {
            place: place(),
            what: format!("a record of {} bytes", bytes.len()),
        });
    };
    let [version, checksum @ ..] = *header;
    let intact = xxh3_64_with_seed(payload, version.into()) == u64::from_le_bytes(checksum);
    // The checksum covers the version: an intact record of another version is another version's.
    match (intact, version == FORMAT_VERSION) {
        (true, true) => Ok(payload),
        (true, false) => Err(StateError::OtherVersion {
            place: place(),
            found: version.into(),
            supported: FORMAT_VERSION.into(),
        }),
        (false, _) => Err(StateError::Corrupt {
            place: place(),
            what: "its checksum does not match".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> String {
        "a test".to_owned()
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let whole = frame(8, |out| out.extend_from_slice(b"payload"));
        assert_eq!(unframe(&whole, here).unwrap(), b"payload");
        for bit in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                matches!(unframe(&flipped, here), Err(StateError::Corrupt { .. })),
                "bit {bit}"
            );
        }
        for len in 0..whole.len() {
            assert!(
                matches!(
                    unframe(&whole[..len], here),
                    Err(StateError::Corrupt { .. })
                ),
                "cut at {len}"
            );
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut newer = vec![2];
        newer.extend_from_slice(&xxh3_64_with_seed(b"payload", 2).to_le_bytes());
        newer.extend_from_slice(b"payload");
        let error = unframe(&newer, here).unwrap_err();
        assert_eq!(
            error,
            StateError::OtherVersion {
                place: here(),
                found: 2,
                supported: 1
            }
        );
    }
}
