//! The ledger on real ZooKeeper servers: the contract, and what servers, networks and people do to it.
//!
//! The ledger's futures run on an executor that is not ZooKeeper's client's; a "hand" is a client of its own that follows no rules.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests are shells: they wait and watch the time; and a panic is how they fail"
)]

mod cuts;
mod hand;
mod keeps;
mod parts;
mod roll;

use std::time::Duration;

use fulmar_coordinator::ledger::{Settled, contract};
use fulmar_coordinator::zookeeper::{Session, ZooKeeperConfig, ZooKeeperLedger, testing};
use fulmar_coordinator::{Error, Ledger as _, LedgerRecord, Version, WriteOutcome};
use futures::executor::block_on;
use zookeeper_client as zk;

const NAME: &str = "a topology";
const ROOT: &str = "/fulmar/a%20topology";
const LEDGER: &str = "/fulmar/a%20topology/ledger";
/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(30);

fn config(to: &str) -> ZooKeeperConfig {
    ZooKeeperConfig::parse(to)
        .unwrap()
        .session_timeout(Duration::from_secs(5))
}

fn connect(to: &str) -> Session {
    block_on(Session::connect(config(to))).unwrap()
}

fn open(session: &Session) -> ZooKeeperLedger {
    block_on(ZooKeeperLedger::open(session, NAME)).unwrap()
}

fn load(ledger: &mut ZooKeeperLedger) -> Option<(LedgerRecord, Version)> {
    block_on(ledger.load()).unwrap()
}

fn write(ledger: &mut ZooKeeperLedger, record: &LedgerRecord, expected: u64) -> WriteOutcome {
    block_on(ledger.write(record, Version(expected)))
}

/// The record of epoch 1 that has sealed so many batches.
fn record(sealed: u64) -> LedgerRecord {
    contract::record(1, 7, sealed)
}

/// Writes records 0, 1, … as versions 1, 2, … up to that version.
fn fill(ledger: &mut ZooKeeperLedger, upto: u64) {
    for version in 0..upto {
        applied(ledger, version);
    }
}

/// Writes the record that follows this version, at once and whole.
fn applied(ledger: &mut ZooKeeperLedger, expected: u64) {
    let outcome = write(ledger, &record(expected), expected);
    assert_eq!(outcome, WriteOutcome::Applied(Version(expected + 1)));
}

/// Sends the same write until its outcome is known, and says after how many sendings.
fn settle(
    session: &Session,
    ledger: &mut ZooKeeperLedger,
    record: &LedgerRecord,
    expected: u64,
) -> (Settled, u32) {
    let expected = Version(expected);
    for sent in 1..200 {
        match block_on(ledger.write(record, expected)).settle(record, expected) {
            Settled::Again(_) => block_on(session.pause(Duration::from_millis(20))),
            settled => return (settled, sent),
        }
    }
    panic!("never settled");
}

fn failed(outcome: WriteOutcome) -> Error {
    match outcome {
        WriteOutcome::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

/// What another client does, which knows no rules.
fn by_hand<T>(to: &str, act: impl AsyncFnOnce(zk::Client) -> Result<T, zk::Error>) -> T {
    let (servers, chroot) = to.split_at(to.find('/').unwrap_or(to.len()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = zk::Client::connector().connect(servers).await.unwrap();
        let client = if chroot.is_empty() {
            client
        } else {
            client.chroot(chroot.to_owned()).unwrap()
        };
        act(client).await.unwrap()
    })
}

fn get(to: &str, path: &str) -> (String, zk::Stat) {
    let (data, stat) = by_hand(to, async |client| client.get_data(path).await);
    (String::from_utf8(data).unwrap(), stat)
}

fn set(to: &str, path: &str, text: &str) {
    by_hand(to, async |client| {
        client.set_data(path, text.as_bytes(), None).await
    });
}

fn delete(to: &str, path: &str) {
    by_hand(to, async |client| client.delete(path, None).await);
}

fn create(to: &str, path: &str, text: &str) {
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    by_hand(to, async |client| {
        client
            .create(path, text.as_bytes(), &options)
            .await
            .map(drop)
    });
}

/// The nodes below one, in order; none if there is no such node.
fn children(to: &str, path: &str) -> Vec<String> {
    let mut names = by_hand(to, async |client| match client.list_children(path).await {
        Err(zk::Error::NoNode) => Ok(Vec::new()),
        names => names,
    });
    names.sort();
    names
}
