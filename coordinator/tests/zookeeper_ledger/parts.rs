//! Positions that outgrow a node.

use fulmar_coordinator::WriterId;
use fulmar_coordinator::zookeeper::testing::{Proxy, wait_until};

use super::*;

const POSITIONS: &str = "/fulmar/a%20topology/positions";

/// A record with about so many bytes of positions in its text.
fn large(epoch: u64, sealed: u64, bytes: usize) -> LedgerRecord {
    let mut record = contract::record(epoch, epoch.into(), sealed);
    for n in 0..bytes / 2048 {
        let position: Vec<u8> = (0..1024)
            .map(|at| (at * n + sealed as usize) as u8)
            .collect();
        record
            .positions
            .set("lines", &format!("topic/{n}"), position);
    }
    record
}

/// The record whose positions the nodes are, of each node.
fn owners(to: &str) -> Vec<String> {
    let names = children(to, POSITIONS);
    names
        .iter()
        .map(|name| name.rsplit_once('-').unwrap().0.to_owned())
        .collect()
}

/// Waits until all parts that are there belong to that record, and says how many there are.
fn only(to: &str, txid: u64, epoch: u64) -> usize {
    let owner = format!("{txid}-{epoch}-{}", WriterId(epoch.into()));
    wait_until("older parts are gone", LONG, || {
        owners(to).iter().all(|found| *found == owner)
    });
    owners(to).len()
}

#[test]
fn a_record_larger_than_any_request_goes_into_parts_and_comes_back() {
    let past = testing::shared_chroot();
    let proxy = Proxy::start(&testing::shared().address()).unwrap();
    let to = format!("{}{}", proxy.address(), &past[past.find('/').unwrap()..]);
    let session = connect(&to);
    let (id, mut ledger) = (session.id(), open(&session));
    fill(&mut ledger, 1);
    for sealed in 1..5 {
        let large = large(1, sealed, 3 << 20);
        assert!(large.encode(Version(2)).len() > 3 << 20);
        assert_eq!(
            write(&mut ledger, &large, sealed),
            WriteOutcome::Applied(Version(sealed + 1))
        );
        assert_eq!(
            load(&mut open(&session)),
            Some((large.clone(), Version(sealed + 1)))
        );
        let (text, stat) = get(&past, LEDGER);
        assert_eq!(stat.version, sealed as i32);
        assert!(
            text.contains(&format!("\npositions {sealed}-1-{} 7 3", WriterId(1)))
                && text.len() < 2000,
            "{text}"
        );
        assert_eq!(
            only(&past, sealed, 1),
            7,
            "those that the ledger names are all there"
        );
        assert_eq!(load(&mut ledger), Some((large, Version(sealed + 1))));
    }
    // A record that fits needs none, and leaves none.
    applied(&mut ledger, 5);
    wait_until("older parts are gone", LONG, || owners(&past).is_empty());
    assert_eq!(
        (proxy.accepted(), session.id()),
        (1, id),
        "the connection was never dropped"
    );
}

#[test]
fn what_a_crash_leaves_between_parts_and_ledger_goes_in_the_next_term() {
    let past = testing::shared_chroot();
    let proxy = Proxy::start(&testing::shared().address()).unwrap();
    let to = format!("{}{}", proxy.address(), &past[past.find('/').unwrap()..]);
    let session = connect(&to);
    let mut ledger = open(&session);
    assert_eq!(
        write(&mut ledger, &large(1, 1, 1 << 20), 0),
        WriteOutcome::Applied(Version(1))
    );
    let whole = only(&past, 1, 1);
    // Some parts arrive, and then it is over with this process.
    proxy.cut_after_client_bytes(2 << 20);
    let outcome = write(&mut ledger, &large(1, 2, 3 << 20), 1);
    assert!(matches!(outcome, WriteOutcome::Unknown(_)), "{outcome:?}");
    proxy.cut();
    drop((ledger, session));
    assert!(owners(&past).len() > whole, "{:?}", owners(&past));
    // Newer than all that follows: not ours to judge.
    let newer = format!("1-9-{}-0", WriterId(9));
    create(&past, &format!("{POSITIONS}/{newer}"), "");
    create(&past, &format!("{POSITIONS}/note"), "");

    let session = connect(&past);
    let mut ledger = open(&session);
    assert_eq!(load(&mut ledger), Some((large(1, 1, 1 << 20), Version(1))));
    assert!(
        owners_of(&past, &[&newer, "note"]).len() > whole,
        "to load removes nothing"
    );
    let mut fence = large(1, 1, 1 << 20);
    fence.epoch.0 = 2;
    fence.writer = WriterId(2);
    assert_eq!(
        write(&mut ledger, &fence, 1),
        WriteOutcome::Applied(Version(2))
    );
    let owner = format!("1-2-{}", WriterId(2));
    wait_until("older parts are gone", LONG, || {
        owners_of(&past, &[&newer, "note"])
            .iter()
            .all(|found| *found == owner)
    });
    assert_eq!(owners_of(&past, &[&newer, "note"]).len(), whole);
    assert!(
        children(&past, POSITIONS).contains(&newer)
            && children(&past, POSITIONS).contains(&"note".to_owned())
    );
    assert_eq!(load(&mut open(&session)), Some((fence, Version(2))));
}

/// As [`owners`], without these nodes.
fn owners_of(to: &str, but: &[&str]) -> Vec<String> {
    let names = children(to, POSITIONS)
        .into_iter()
        .filter(|name| !but.contains(&name.as_str()));
    names
        .map(|name| name.rsplit_once('-').unwrap().0.to_owned())
        .collect()
}

#[test]
fn parts_that_are_there_already_are_taken_if_they_are_the_same() {
    let to = testing::shared_chroot();
    let session = block_on(Session::connect(config(&to).node_bytes(4096))).unwrap();
    let mut ledger = open(&session);
    let record = large(1, 1, 20_000);
    // Refused, so its parts stay; then the same parts with another condition.
    assert_eq!(
        write(&mut ledger, &record, 5),
        WriteOutcome::Refused { current: None }
    );
    let parts = children(&to, POSITIONS);
    assert!(parts.len() > 3, "{parts:?}");
    assert_eq!(
        write(&mut ledger, &record, 0),
        WriteOutcome::Applied(Version(1))
    );
    assert_eq!(
        write(&mut ledger, &record, 0).settle(&record, Version(0)),
        Settled::Applied(Version(1))
    );
    assert_eq!(load(&mut ledger), Some((record, Version(1))));

    let next = large(1, 2, 20_000);
    let name = format!("2-1-{}-1", WriterId(1));
    create(&to, &format!("{POSITIONS}/{name}"), "something else");
    let error = failed(write(&mut ledger, &next, 1));
    assert!(
        matches!(error, Error::ChangedByHand { .. }) && error.to_string().contains(&name),
        "{error}"
    );
}

#[test]
fn parts_that_are_missing_or_changed_are_a_damage_that_is_named() {
    let to = testing::shared_chroot();
    let session = block_on(Session::connect(config(&to).node_bytes(4096))).unwrap();
    let mut ledger = open(&session);
    assert_eq!(
        write(&mut ledger, &large(1, 1, 20_000), 0),
        WriteOutcome::Applied(Version(1))
    );
    let part = format!("{POSITIONS}/1-1-{}-2", WriterId(1));
    let (text, _) = get(&to, &part);
    for changed in [
        text.replace('7', "8"),
        text.repeat(2),
        text.repeat(100),
        String::new(),
    ] {
        set(&to, &part, &changed);
        let error = block_on(ledger.load()).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("1-1-"), "{error}");
    }
    delete(&to, &part);
    let error = block_on(ledger.load()).unwrap_err();
    assert!(
        matches!(error, Error::Corrupt { .. }) && error.to_string().contains(&part),
        "{error}"
    );
    create(&to, &part, &text);
    assert_eq!(load(&mut ledger), Some((large(1, 1, 20_000), Version(1))));
}

#[test]
fn a_reader_never_sees_parts_of_two_records() {
    let to = testing::shared_chroot();
    let connect = || block_on(Session::connect(config(&to).node_bytes(4096))).unwrap();
    let (session, other) = (connect(), connect());
    let mut ledger = open(&session);
    assert_eq!(
        write(&mut ledger, &large(1, 0, 20_000), 0),
        WriteOutcome::Applied(Version(1))
    );
    let writer = std::thread::spawn(move || {
        for sealed in 1..60 {
            let outcome = write(&mut ledger, &large(1, sealed, 20_000), sealed);
            assert_eq!(outcome, WriteOutcome::Applied(Version(sealed + 1)));
        }
    });
    let mut reader = open(&other);
    let (mut seen, mut distinct) = (Version(1), 0);
    while seen < Version(60) {
        match block_on(reader.load()) {
            Ok(found) => {
                let (record, version) = found.unwrap();
                assert_eq!(record, large(1, version.0 - 1, 20_000));
                assert!(version >= seen);
                distinct += u32::from(version > seen);
                seen = version;
            }
            Err(Error::Unreachable { what }) => assert!(what.contains("moves on"), "{what}"),
            Err(error) => panic!("{error}"),
        }
    }
    writer.join().unwrap();
    assert!(distinct > 3, "it read while the other wrote: {distinct}");
}

#[test]
fn a_record_that_fits_in_no_way_is_refused_before_anything_is_sent() {
    let past = testing::shared_chroot();
    let proxy = Proxy::start(&testing::shared().address()).unwrap();
    let to = format!("{}{}", proxy.address(), &past[past.find('/').unwrap()..]);
    let session = connect(&to);
    let mut ledger = open(&session);
    fill(&mut ledger, 1);
    let writes = proxy.writes();
    let mut lines = fulmar_coordinator::Fingerprint::new();
    for n in 0..40 {
        lines = lines.line(format!("stage {n}"), "x".repeat(50_000));
    }
    let head = LedgerRecord {
        fingerprint: lines,
        ..large(1, 1, 10_000)
    };
    let huge = large(1, 1, 70 << 20);
    for (record, limit) in [(head, 512 << 10), (huge, 64 << 20)] {
        match failed(write(&mut ledger, &record, 1)) {
            Error::TooLarge { bytes, limit: said } => {
                assert!(bytes > limit && said == limit, "{bytes} {said}")
            }
            error => panic!("{error}"),
        }
    }
    assert_eq!(
        (proxy.writes(), proxy.accepted()),
        (writes, 1),
        "nothing was sent"
    );
    applied(&mut ledger, 1);
}
