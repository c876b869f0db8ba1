//! Method: examples of every rule; `tests/acker_model.rs` has the model.

use std::collections::BTreeSet;

use super::*;

fn attempt(txid: u64) -> Attempt {
    Attempt {
        txid: TxId(txid),
        generation: Generation {
            epoch: Epoch(1),
            number: 1,
        },
    }
}

#[test]
fn a_root_without_anything_under_way_is_complete_at_once() {
    assert_eq!(Acker::new(0).init(1, 0), AckOutcome::Complete);
}

#[test]
fn reports_may_come_before_the_root_is_known() {
    let mut acker = Acker::new(2);
    assert_eq!(acker.ack(1, 5), AckOutcome::Pending);
    assert_eq!(acker.init(1, 5), AckOutcome::Complete);
    assert!(acker.is_empty());
}

#[test]
fn early_reports_are_bounded_and_the_oldest_gives_way() {
    let mut acker = Acker::new(2);
    for root in 0..5 {
        assert_eq!(acker.ack(root, 1), AckOutcome::Pending);
    }
    assert_eq!(acker.len(), 2);
    assert_eq!(acker.init(4, 1), AckOutcome::Complete);
    assert_eq!(
        acker.init(0, 1),
        AckOutcome::Pending,
        "its early report was given up; its deadline will end it"
    );
    let mut none = Acker::new(0);
    assert_eq!(none.ack(1, 5), AckOutcome::Unknown);
    assert!(none.is_empty());
}

#[test]
fn a_root_that_was_early_and_is_known_is_never_given_up() {
    let mut acker = Acker::new(1);
    acker.ack(1, 5);
    acker.init(1, 6);
    for root in 2..10 {
        acker.ack(root, 1);
    }
    assert_eq!(acker.ack(1, 3), AckOutcome::Complete);
}

#[test]
fn a_report_that_comes_twice_is_as_if_lost_never_as_if_more() {
    let mut acker = Acker::new(0);
    acker.init(1, 5);
    assert_eq!(acker.ack(1, 5 ^ 9), AckOutcome::Pending);
    assert_eq!(acker.ack(1, 5 ^ 9), AckOutcome::Pending);
    assert_eq!(acker.ack(1, 9), AckOutcome::Pending);
    assert_eq!(acker.touched(&1), Some(4));
    assert!(acker.forget(&1));
    assert_eq!(acker.touched(&1), None);
}

#[test]
fn ids_differ_in_every_part_and_are_never_zero() {
    let mut seen = BTreeSet::new();
    for n in 0..4u32 {
        let wide = u64::from(n);
        seen.extend([
            edge_id(attempt(wide), 0, 0, 0, 9),
            edge_id(attempt(9), n, 1, 0, 0),
            edge_id(attempt(9), 0, n, 2, 0),
        ]);
        seen.extend([
            edge_id(attempt(9), 5, 0, n, 0),
            edge_id(attempt(9), 5, 5, 0, wide),
            prepare_id(attempt(9), WorkerId(n)),
        ]);
    }
    assert_eq!(seen.len(), 24);
    assert!(!seen.contains(&0));
    assert_eq!(
        edge_id(attempt(1), 2, 3, 4, 5),
        8_803_527_934_475_650_229,
        "fixed for ever: both ends of a link compute it"
    );
}
