//! Round trip, golden file, and damage at every byte of the record's text.

use proptest::prelude::*;

use super::*;
use crate::ledger::contract::record;

const GOLDEN: &[u8] = include_bytes!("../../../testdata/golden/LEDGER.1");

#[test]
fn format_1_is_read_and_written_as_it_was_released() {
    let (read, version) = LedgerRecord::decode(GOLDEN).unwrap();
    assert_eq!((&read, version), (&record(3, 0xfeed, 17), Version(21)));
    assert_eq!(
        String::from_utf8(read.encode(version)).unwrap(),
        String::from_utf8(GOLDEN.to_vec()).unwrap()
    );
}

#[test]
fn every_flipped_bit_is_noticed() {
    for at in 0..GOLDEN.len() {
        for bit in 0..8 {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] ^= 1 << bit;
            assert!(
                LedgerRecord::decode(&bytes).is_err(),
                "bit {bit} of byte {at}"
            );
        }
    }
}

#[test]
fn every_shorter_text_is_noticed_as_damage() {
    for len in 0..GOLDEN.len() {
        let error = LedgerRecord::decode(&GOLDEN[..len]).unwrap_err();
        assert!(
            matches!(error, RecordError::Corrupt(_)),
            "{len} bytes: {error:?}"
        );
    }
    let longer = [GOLDEN, b"\n"].concat();
    assert!(matches!(
        LedgerRecord::decode(&longer),
        Err(RecordError::Corrupt(_))
    ));
}

#[test]
fn another_format_and_another_program_are_told_apart() {
    let rest = &GOLDEN["fulmar-ledger 1".len()..GOLDEN.len() - CHECKSUM_LINE];
    let mut other = [b"fulmar-ledger 2".as_slice(), rest].concat();
    let sum = xxh3_64(&other);
    other.extend_from_slice(format!("checksum {sum:016x}\n").as_bytes());
    assert_eq!(
        LedgerRecord::decode(&other),
        Err(RecordError::OtherFormat(2))
    );
    assert!(matches!(
        LedgerRecord::decode(b"#!/bin/sh\nexit\n"),
        Err(RecordError::OtherProgram(_))
    ));
    assert!(matches!(
        LedgerRecord::decode(&[0xff; 200]),
        Err(RecordError::OtherProgram(_))
    ));
}

#[test]
fn a_record_whose_positions_are_elsewhere_is_none_for_who_has_no_elsewhere() {
    let record = record(3, 0xfeed, 17);
    let lines = record.position_lines();
    let elsewhere = Elsewhere {
        name: record.positions_name(),
        parts: 3,
        bytes: lines.len(),
        checksum: xxh3_64(lines.as_bytes()),
    };
    let text = record.with_positions(Version(21), Some(&elsewhere));
    let without = LedgerRecord {
        positions: Positions::default(),
        ..record.clone()
    };
    assert_eq!(
        LedgerRecord::decode_head(&text),
        Ok((without, Version(21), Some(elsewhere.clone())))
    );
    let error = LedgerRecord::decode(&text).unwrap_err();
    assert!(
        matches!(&error, RecordError::Corrupt(what) if what.contains("ZooKeeper") && what.contains(&elsewhere.name)),
        "{error:?}"
    );
    let line = format!(
        "positions {} 3 {} {:016x}",
        elsewhere.name, elsewhere.bytes, elsewhere.checksum
    );
    assert!(std::str::from_utf8(&text).unwrap().contains(&line));
    for (was, is) in [
        (line.as_str(), line.replace("17-3-", "17-4-")),
        (&line, line.replace(" 3 ", " 03 ")),
        (&line, format!("{line} x")),
        (&line, format!("{line}\n{line}")),
        (&line, format!("{line}\nposition a b -")),
        (
            &line,
            line.replace(
                &format!(" {} ", elsewhere.bytes),
                &format!(" {} ", MAX_RECORD + 1),
            ),
        ),
    ] {
        let head = &text[..text.len() - CHECKSUM_LINE];
        let changed = std::str::from_utf8(head).unwrap().replace(was, &is);
        let changed = sealed_with_checksum(changed);
        assert!(
            matches!(
                LedgerRecord::decode_head(&changed),
                Err(RecordError::Corrupt(_))
            ),
            "{is}"
        );
    }
}

#[cfg(feature = "zookeeper")]
#[test]
fn positions_that_are_elsewhere_come_back_and_no_others() {
    let record = record(3, 0xfeed, 17);
    let (text, elsewhere, positions) = record.encode_apart(Version(21), 100);
    assert_eq!(
        (elsewhere.parts, elsewhere.bytes),
        (positions.len().div_ceil(100), positions.len())
    );
    let (mut read, _, named) = LedgerRecord::decode_head(&text).unwrap();
    assert_eq!(named.as_ref(), Some(&elsewhere));
    for at in 0..positions.len() {
        let mut changed = positions.clone();
        changed[at] ^= 1;
        assert!(
            read.clone().take_positions(&elsewhere, &changed).is_err(),
            "byte {at}"
        );
    }
    assert!(
        read.clone()
            .take_positions(&elsewhere, &positions[1..])
            .is_err()
    );
    for lines in [
        "x\n",
        "fingerprint a b\n",
        "position b - -\nposition a - -\n",
        "positions 17-3-0 1 1 1\n",
    ] {
        let checksum = xxh3_64(lines.as_bytes());
        let forged = Elsewhere {
            bytes: lines.len(),
            checksum,
            ..elsewhere.clone()
        };
        assert!(
            read.clone()
                .take_positions(&forged, lines.as_bytes())
                .is_err(),
            "{lines}"
        );
    }
    read.take_positions(&elsewhere, &positions).unwrap();
    assert_eq!(read, record);
}

#[test]
#[should_panic(expected = "I1")]
fn a_gap_is_never_sealed() {
    let mut record = record(1, 1, 2);
    let base = record.sealed;
    let attempt = Attempt {
        txid: TxId(4),
        generation: Generation::ZERO,
    };
    record.seal(attempt, base, u64::MAX, std::iter::empty());
}

#[test]
#[should_panic(expected = "builds on")]
fn a_batch_on_another_base_is_never_sealed() {
    let mut record = record(1, 1, 2);
    let base = Attempt {
        txid: TxId(2),
        generation: Generation {
            epoch: Epoch(1),
            number: 99,
        },
    };
    let attempt = Attempt {
        txid: TxId(3),
        generation: Generation::ZERO,
    };
    record.seal(attempt, Some(base), u64::MAX, std::iter::empty());
}

proptest! {
    #[test]
    fn any_record_comes_back(
        topology: String,
        lines in prop::collection::vec(any::<(String, String)>(), 0..5),
        positions in prop::collection::vec(any::<(String, String, Vec<u8>)>(), 0..8),
        numbers: [u64; 7],
        writer: u128,
        sealed in 0..3,
    ) {
        let attempt = |txid| Attempt { txid: TxId(txid), generation: Generation { epoch: Epoch(numbers[0]), number: numbers[1] } };
        let fingerprint = lines.iter().fold(Fingerprint::new(), |all, (name, value)| all.line(name, value));
        let mut record = LedgerRecord {
            sealed: (sealed > 0).then(|| attempt(numbers[6])),
            base: (sealed > 1).then(|| attempt(numbers[5])),
            epoch: Epoch(numbers[0]),
            writer: WriterId(writer),
            digest: numbers[2],
            time_ms: numbers[3],
            records: numbers[4],
            bytes: numbers[5],
            ..LedgerRecord::new(topology, fingerprint)
        };
        for (spout, partition, to) in positions {
            record.positions.set(&spout, &partition, to);
        }
        let version = Version(numbers[6]);
        prop_assert_eq!(LedgerRecord::decode(&record.encode(version)), Ok((record, version)));
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes: Vec<u8>) {
        prop_assert!(LedgerRecord::decode(&bytes).is_err());
        let framed = [b"fulmar-ledger 1\n".as_slice(), &bytes].concat();
        let sum = format!("checksum {:016x}\n", xxh3_64(&framed));
        prop_assert!(LedgerRecord::decode(&[framed.as_slice(), sum.as_bytes()].concat()).is_err());
    }
}
