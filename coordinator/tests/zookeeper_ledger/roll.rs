//! Node versions are 32 bits: long before they end, the node is replaced, and the record's version counts on.

use super::*;

#[test]
fn the_records_version_counts_on_over_many_nodes() {
    let to = testing::shared_chroot();
    let session = connect(&to);
    let mut ledger = open(&session).rolling_at(3);
    for version in 0..22 {
        applied(&mut ledger, version);
        assert_eq!(get(&to, LEDGER).1.version, version as i32 % 4);
        if version % 3 == 0 {
            ledger = open(&session).rolling_at(3);
        }
        if version % 2 == 0 {
            assert_eq!(
                load(&mut ledger),
                Some((record(version), Version(version + 1)))
            );
        }
    }
    assert_eq!(get(&to, ROOT).0, "fulmar-topology 1 from 21\n");
}

#[test]
fn a_writer_that_has_missed_the_replacement_is_refused_and_goes_on() {
    let to = testing::shared_chroot();
    let (one, two) = (connect(&to), connect(&to));
    let (mut ledger, mut other) = (open(&one).rolling_at(2), open(&two));
    fill(&mut ledger, 2);
    assert_eq!(load(&mut other), Some((record(1), Version(2))));
    for version in 2..9 {
        applied(&mut ledger, version);
    }
    // Versions that its nodes never had, too.
    for expected in [2, 3, 1, 1 << 40, u64::MAX - 1] {
        let outcome = write(&mut other, &contract::record(1, 8, 2), expected);
        assert_eq!(
            outcome,
            WriteOutcome::Refused {
                current: Some(Box::new((record(8), Version(9))))
            },
            "{expected}"
        );
    }
    applied(&mut other, 9);
}

#[test]
fn a_write_on_a_version_of_the_node_before_is_refused_by_the_node_that_has_it_again() {
    let to = testing::shared_chroot();
    let (one, two) = (connect(&to), connect(&to));
    let (mut ledger, mut other) = (open(&one).rolling_at(2), open(&two).rolling_at(2));
    fill(&mut ledger, 2);
    assert_eq!(load(&mut other), Some((record(1), Version(2))));
    applied(&mut ledger, 2);
    applied(&mut ledger, 3);
    // As version 1 of the record was, so is version 4: version 0 of its node.
    assert_eq!(get(&to, LEDGER).1.version, 0);
    assert_eq!(
        write(&mut other, &contract::record(1, 8, 1), 1),
        WriteOutcome::Refused {
            current: Some(Box::new((record(3), Version(4))))
        }
    );
    assert_eq!(load(&mut ledger), Some((record(3), Version(4))));
}
