//! Connections that break around a write: before it, after it, and so that it arrives late.

use std::thread;
use std::time::Instant;

use fulmar_coordinator::WriterId;
use fulmar_coordinator::zookeeper::testing::{Moment, Proxy, wait_until};

use super::*;

/// A connection string by way of the proxy, and one past it.
fn through() -> (Proxy, String, String) {
    let past = testing::shared_chroot();
    let proxy = Proxy::start(&testing::shared().address()).unwrap();
    let chroot = &past[past.find('/').unwrap()..];
    let to = format!("{}{chroot}", proxy.address());
    (proxy, to, past)
}

/// Cuts the connection at each of the first writes, which are all that there are: the first, ordinary ones, those that replace the node.
fn cut_each(moment: Moment) {
    let (proxy, to, past) = through();
    let session = connect(&to);
    let mut ledger = open(&session).rolling_at(2);
    for version in 0..7 {
        proxy.cut_at_next_write(moment);
        let cuts = proxy.cuts();
        let (settled, sent) = settle(&session, &mut ledger, &record(version), version);
        assert_eq!(
            settled,
            Settled::Applied(Version(version + 1)),
            "write {version}"
        );
        assert!(sent > 1, "write {version} was of unknown outcome");
        assert_eq!(proxy.cuts(), cuts + 1);
        // The node begins anew with every third version.
        assert_eq!(
            get(&past, LEDGER).1.version,
            version as i32 % 3,
            "write {version} was applied once"
        );
        assert_eq!(
            load(&mut open(&session)),
            Some((record(version), Version(version + 1)))
        );
    }
}

#[test]
fn a_write_cut_on_its_way_out_is_settled_by_sending_it_again() {
    cut_each(Moment::BeforeForwarding);
}

#[test]
fn a_write_whose_answer_is_cut_is_settled_by_sending_it_again() {
    cut_each(Moment::AfterForwarding);
}

/// Writes up to `version`, then loses the connection with the next write still on its way to the server.
///
/// A server closes a session's old connection when the session comes back to it, so what is late there was sent by a session that has not
/// come back: whoever sends again has another.
fn hold_a_write(proxy: &Proxy, ledger: &mut ZooKeeperLedger, version: u64) {
    fill(ledger, version);
    proxy.hold_client_to_server(true);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write(ledger, &record(version), version));
        wait_until("the write is on its way", LONG, || proxy.held_writes() > 0);
        proxy.cut();
        let outcome = writer.join().unwrap();
        assert!(matches!(outcome, WriteOutcome::Unknown(_)), "{outcome:?}");
    });
    assert_eq!(proxy.held_writes(), 1);
}

/// Lets the late write arrive, and waits until the server has read it.
fn release(proxy: &Proxy) {
    assert!(proxy.release_held() > 0, "the write arrives");
    wait_until("the server has closed the old connection", LONG, || {
        proxy.connections() == 0
    });
}

/// Versions whose following write is the first, an ordinary one, and one that replaces the node.
const KINDS: [u64; 3] = [0, 2, 3];

#[test]
fn a_late_write_is_refused_after_the_same_one_sent_again() {
    for version in KINDS {
        let (proxy, to, past) = through();
        let (session, next) = (connect(&to), connect(&past));
        hold_a_write(&proxy, &mut open(&session).rolling_at(2), version);
        let mut ledger = open(&next).rolling_at(2);
        applied(&mut ledger, version);
        let at = get(&past, LEDGER).1.mzxid;
        release(&proxy);
        assert_eq!(
            load(&mut ledger),
            Some((record(version), Version(version + 1)))
        );
        assert_eq!(get(&past, LEDGER).1.mzxid, at, "it did nothing");
        applied(&mut ledger, version + 1);
    }
}

#[test]
fn a_write_sent_again_knows_the_late_one_for_itself() {
    for version in KINDS {
        let (proxy, to, past) = through();
        let (session, next) = (connect(&to), connect(&past));
        let mut ledger = open(&session).rolling_at(2);
        hold_a_write(&proxy, &mut ledger, version);
        release(&proxy);
        proxy.heal();
        let (settled, _) = settle(&session, &mut ledger, &record(version), version);
        assert_eq!(settled, Settled::Applied(Version(version + 1)));
        let (text, stat) = get(&past, LEDGER);
        assert_eq!(
            text.as_bytes(),
            record(version).encode(Version(version + 1))
        );
        assert_eq!(stat.version, version as i32 % 3, "it was applied once");
        let (settled, _) = settle(&next, &mut open(&next), &record(version), version);
        assert_eq!(
            settled,
            Settled::Applied(Version(version + 1)),
            "whoever sends it"
        );
        applied(&mut ledger, version + 1);
    }
}

#[test]
fn a_late_write_of_an_older_term_is_refused() {
    for version in KINDS {
        let (proxy, to, past) = through();
        let (session, next) = (connect(&to), connect(&past));
        let mut ledger = open(&session).rolling_at(2);
        hold_a_write(&proxy, &mut ledger, version);
        let mut fence = record(version.saturating_sub(1));
        fence.epoch.0 += 1;
        fence.writer = WriterId(8);
        let mut other = open(&next);
        assert_eq!(
            write(&mut other, &fence, version),
            WriteOutcome::Applied(Version(version + 1))
        );
        release(&proxy);
        proxy.heal();
        let (settled, _) = settle(&session, &mut ledger, &record(version), version);
        assert_eq!(
            settled,
            Settled::Fenced(Box::new((fence.clone(), Version(version + 1))))
        );
        assert_eq!(load(&mut other), Some((fence, Version(version + 1))));
    }
}

#[test]
fn a_late_first_write_does_not_make_again_what_was_deleted() {
    let (proxy, to, past) = through();
    let (session, next) = (connect(&to), connect(&past));
    hold_a_write(&proxy, &mut open(&session), 0);
    fill(&mut open(&next), 3);
    delete(&past, LEDGER);
    release(&proxy);
    let error = block_on(open(&next).load()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn without_a_connection_a_write_says_so_in_time_and_goes_on_later() {
    let (proxy, to, _) = through();
    let session = connect(&to);
    let mut ledger = open(&session);
    fill(&mut ledger, 2);
    proxy.cut();
    let start = Instant::now();
    let outcome = write(&mut ledger, &record(2), 2);
    assert!(matches!(outcome, WriteOutcome::Unknown(_)), "{outcome:?}");
    let deadline = session.timeout() / 2;
    assert!(
        start.elapsed() < 2 * deadline,
        "after {:?}",
        start.elapsed()
    );
    proxy.heal();
    let (settled, _) = settle(&session, &mut ledger, &record(2), 2);
    assert_eq!(settled, Settled::Applied(Version(3)));
    applied(&mut ledger, 3);
}

#[test]
fn without_a_lease_nothing_is_sent_neither_now_nor_later() {
    let (proxy, to, past) = through();
    let session = connect(&to);
    let mut ledger = open(&session);
    fill(&mut ledger, 2);
    // The servers hear the client, and keep its session; it hears nothing.
    proxy.drop_server_to_client(true);
    wait_until("the lease is over", LONG, || !session.holds_lease());
    let (writes, start) = (proxy.writes(), Instant::now());
    let outcome = write(&mut ledger, &record(2), 2);
    assert!(
        matches!(&outcome, WriteOutcome::Unknown(what) if what.contains("session timeout")),
        "{outcome:?}"
    );
    assert!(
        start.elapsed() < session.timeout() / 2,
        "it did not wait for an answer"
    );
    proxy.drop_server_to_client(false);
    proxy.cut_once();
    wait_until("the session goes on", LONG, || {
        session.holds_lease() || session.has_ended().is_some()
    });
    assert_eq!(session.has_ended().map(|error| error.to_string()), None);
    assert_eq!(proxy.writes(), writes, "nothing waited to be sent");
    assert_eq!(get(&past, LEDGER).1.version, 1);
    applied(&mut ledger, 2);
}
