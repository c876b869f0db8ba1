//! Oracle: random trees against a plain set of what is under way.

use std::collections::BTreeSet;

use proptest::prelude::*;

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

/// A tree: each node names the earlier node whose message caused it; the last field decides when its report is delivered.
fn tree() -> impl Strategy<Value = Vec<(usize, u16)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u16>()), 1..40).prop_map(|nodes| {
        nodes
            .iter()
            .enumerate()
            .map(|(i, (from, order))| (if i == 0 { 0 } else { from.index(i) }, *order))
            .collect()
    })
}

proptest! {
    /// Every node consumes its own message and sends its children's; reports come in any order, some gathered. Complete comes with the
    /// last report of a tree, never before; and never if one is lost.
    #[test]
    fn random_trees_complete_with_their_last_report_in_any_order(trees in prop::collection::vec(tree(), 1..5), gather: u64, lost: Option<prop::sample::Index>) {
        let mut acker = Acker::new(1000);
        let mut reports = Vec::new();
        for (root, nodes) in trees.iter().enumerate() {
            let id = |node: usize| edge_id(attempt(root as u64), 0, 0, 0, node as u64);
            reports.push((nodes[0].1, root, true, id(0)));
            for (node, (_, order)) in nodes.iter().enumerate() {
                let children = nodes.iter().enumerate().skip(1).filter(|(_, (parent, _))| *parent == node).map(|(child, _)| child).filter(|child| *child != node);
                let sent = children.fold(0, |xor, child| xor ^ id(child));
                // A task may gather what several messages led to in one report.
                match reports.last_mut() {
                    Some((_, of, false, xor)) if gather >> (node % 64) & 1 == 1 && *of == root => *xor ^= id(node) ^ sent,
                    _ => reports.push((*order, root, false, id(node) ^ sent)),
                }
            }
        }
        reports.sort_by_key(|report| report.0);
        if let Some(lost) = lost {
            // A report of nothing may be lost without harm.
            let at = lost.index(reports.len());
            if reports[at].3 != 0 { reports.remove(at); }
        }
        let whole: Vec<_> = (0..trees.len()).map(|root| {
            let of_root = reports.iter().filter(|report| report.1 == root);
            of_root.clone().any(|report| report.2) && of_root.fold(0, |xor, report| xor ^ report.3) == 0
        }).collect();
        let last = |root: usize| reports.iter().rposition(|report| report.1 == root && (report.2 || report.3 != 0));
        let mut done = BTreeSet::new();
        for (at, (_, root, init, xor)) in reports.iter().enumerate() {
            if done.contains(root) { continue; }
            let outcome = if *init { acker.init(*root, *xor) } else { acker.ack(*root, *xor) };
            if outcome == AckOutcome::Complete {
                prop_assert!(whole[*root]);
                prop_assert_eq!(Some(at), last(*root));
                done.insert(*root);
            }
        }
        for (root, whole) in whole.iter().enumerate() {
            prop_assert_eq!(done.contains(&root), *whole, "root {}", root);
        }
    }
}
