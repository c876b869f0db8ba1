//! The contract test that every ledger passes, whatever it is made of.

use super::{Ledger, LedgerRecord, Settled, Version, WriteOutcome, WriterId};
use crate::error::Result;
use crate::event::{More, ReadReport};
use crate::fingerprint::Fingerprint;
use crate::position::PartitionMove;
use crate::{Attempt, Epoch, Generation, TxId};

/// A record as the writer of `epoch` makes it after sealing `sealed` batches; with names and positions that strain an encoding.
#[must_use]
pub fn record(epoch: u64, writer: u128, sealed: u64) -> LedgerRecord {
    let fingerprint = Fingerprint::new()
        .line("spout lines", "text, \"quoted\" %\n")
        .line("état", "")
        .line("", "x y");
    let mut record = LedgerRecord::new("a topology/with ünicode", fingerprint);
    record.epoch = Epoch(epoch);
    record.writer = WriterId(writer);
    for n in 1..=sealed {
        let attempt = Attempt {
            txid: TxId(n),
            generation: Generation {
                epoch: Epoch(epoch),
                number: n,
            },
        };
        let moves = vec![
            PartitionMove {
                partition: "0".into(),
                from: None,
                to: n.to_be_bytes().to_vec(),
                records: 3,
                digest: Some(n),
            },
            PartitionMove {
                partition: String::new(),
                from: None,
                to: vec![],
                records: 0,
                digest: None,
            },
            PartitionMove {
                partition: "dir/file name.txt".into(),
                from: None,
                to: vec![0xff; 40],
                records: 1,
                digest: None,
            },
        ];
        let read = ReadReport {
            moves,
            records: 4,
            bytes: 99,
            more: More::Ready,
        };
        let base = record.sealed;
        record.seal(
            attempt,
            base,
            1_700_000_000_000 + n,
            [("lines", &read)].into_iter(),
        );
    }
    record
}

/// Runs the contract against ledgers made by `open`, which must show what the ones before have left (each is dropped before the next).
///
/// # Errors
///
/// What the ledger says; a broken promise panics.
pub async fn check<L: Ledger>(mut open: impl AsyncFnMut() -> Result<L>) -> Result<()> {
    let mut ledger = open().await?;
    assert_eq!(ledger.load().await?, None, "a new ledger holds nothing");
    let first = record(1, 7, 0);
    refused(&mut ledger, &first, Version(3), None).await;
    assert_eq!(ledger.load().await?, None, "a refused write leaves nothing");
    let mut version = applied(&mut ledger, &first, Version::ABSENT).await;
    refused(
        &mut ledger,
        &record(1, 8, 0),
        Version::ABSENT,
        Some((&first, version)),
    )
    .await;

    let identical = ledger.write(&first, Version::ABSENT).await;
    assert_eq!(
        identical.settle(&first, Version::ABSENT),
        Settled::Applied(version),
        "an identical write is recognised"
    );

    let mut current = first;
    for n in 1..=20 {
        let next = record(1, 7, n);
        let before = version;
        version = applied(&mut ledger, &next, before).await;
        refused(&mut ledger, &current, before, Some((&next, version))).await;
        current = next;
        if n % 7 == 0 {
            drop(ledger);
            ledger = open().await?;
        }
        assert_eq!(
            ledger.load().await?,
            Some((current.clone(), version)),
            "what was applied is there, after reopening too"
        );
    }
    fence(open, ledger, current, version).await
}

/// A second writer takes over; the first one's writes are refused from then on.
async fn fence<L: Ledger>(
    mut open: impl AsyncFnMut() -> Result<L>,
    old: L,
    current: LedgerRecord,
    version: Version,
) -> Result<()> {
    drop(old);
    let mut ledger = open().await?;
    let mut taken = current.clone();
    taken.epoch = Epoch(2);
    taken.writer = WriterId(9);
    let fenced = applied(&mut ledger, &taken, version).await;
    let late = record(1, 7, 21);
    let outcome = ledger.write(&late, version).await;
    assert_eq!(
        outcome.settle(&late, version),
        Settled::Fenced(Box::new((taken.clone(), fenced))),
        "an older term's write is refused"
    );
    // The same epoch and version by another writer is another record.
    let mut other = taken.clone();
    other.writer = WriterId(10);
    let outcome = ledger.write(&other, version).await;
    assert!(
        matches!(outcome.settle(&other, version), Settled::Fenced(_)),
        "a candidate does not take the other's fence for its own"
    );
    assert_eq!(
        ledger.load().await?,
        Some((taken, fenced)),
        "refused writes change nothing"
    );
    Ok(())
}

async fn applied(ledger: &mut impl Ledger, record: &LedgerRecord, expected: Version) -> Version {
    let outcome = ledger.write(record, expected).await;
    assert_eq!(
        outcome,
        WriteOutcome::Applied(expected.next()),
        "a write on the current version is applied"
    );
    expected.next()
}

async fn refused(
    ledger: &mut impl Ledger,
    record: &LedgerRecord,
    expected: Version,
    current: Option<(&LedgerRecord, Version)>,
) {
    let current = current.map(|(record, version)| Box::new((record.clone(), version)));
    let outcome = ledger.write(record, expected).await;
    assert_eq!(
        outcome,
        WriteOutcome::Refused { current },
        "a write on another version is refused, and shows what is there"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::file::tests::open_patiently;
    use crate::{Durability, MemoryLedger};
    use futures::executor::block_on;

    #[test]
    fn the_memory_ledger_keeps_the_contract() {
        let ledger = MemoryLedger::new();
        block_on(check(async || Ok(ledger.clone()))).unwrap();
    }

    #[test]
    fn the_file_ledger_keeps_the_contract() {
        for durability in [Durability::Fsync, Durability::ProcessCrash] {
            let dir = tempfile::tempdir().unwrap();
            block_on(check(async || {
                open_patiently(&dir.path().join("ledger"), durability)
            }))
            .unwrap();
        }
    }
}
