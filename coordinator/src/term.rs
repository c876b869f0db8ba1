//! The start of a term: read the ledger, compare the topology, fence every older term out.

use futures::future::BoxFuture;

use crate::Epoch;
use crate::error::{Error, Result};
use crate::fingerprint::{Difference, Fingerprint};
use crate::ledger::{Ledger, LedgerRecord, Settled, Version, WriterId};

/// Who wants a term, for which topology.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term {
    /// The topology's name.
    pub topology: String,
    /// What makes it the same topology.
    pub fingerprint: Fingerprint,
    /// This process start ([`WriterId::random`]).
    pub writer: WriterId,
}

/// Whether to send a write of unknown outcome once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Send it again now; the wait, if any, is over.
    Again,
    /// Give up: [`Error::Unreachable`]. Safe at any time, since a fence alone changes nothing that is sealed.
    GiveUp,
}

/// Opens a term: reads the record, refuses another topology with the difference shown, and writes the record back with the next
/// epoch and this writer's name. From then on every write of an older term is refused, since the version has moved (I3).
///
/// A write of unknown outcome is settled by the identical write; `retry` is asked before each, with the number of sendings so far
/// and what was heard, and may wait. The result is for [`crate::Event::Fenced`]; only after it may workers be spoken to.
///
/// # Errors
///
/// [`Error::Fingerprint`]; [`Error::Fenced`] if another candidate was faster; [`Error::Unreachable`] if `retry` gave up; what the ledger says.
pub async fn open_term(
    ledger: &mut dyn Ledger,
    term: &Term,
    retry: &mut (dyn FnMut(u32, &str) -> BoxFuture<'static, Retry> + Send),
) -> Result<(LedgerRecord, Version)> {
    let (mut record, expected) = match ledger.load().await? {
        Some((record, version)) => (compared(record, term)?, version),
        None => (
            LedgerRecord::new(&term.topology, term.fingerprint.clone()),
            Version::ABSENT,
        ),
    };
    record.epoch = Epoch(record.epoch.0 + 1);
    record.writer = term.writer;
    let mut sent = 0;
    loop {
        sent += 1;
        let what = match ledger
            .write(&record, expected)
            .await
            .settle(&record, expected)
        {
            Settled::Applied(version) => return Ok((record, version)),
            Settled::Fenced(other) => {
                let (LedgerRecord { epoch, writer, .. }, version) = *other;
                return Err(Error::Fenced {
                    epoch,
                    writer,
                    version,
                });
            }
            Settled::Gone => {
                return Err(Error::Unreachable {
                    what: "its record vanished while it was fenced".into(),
                });
            }
            Settled::Failed(error) => return Err(error),
            Settled::Again(what) => what,
        };
        if retry(sent, &what).await == Retry::GiveUp {
            return Err(Error::Unreachable { what });
        }
    }
}

/// Refuses another topology with the difference shown, and changes nothing: for whoever opens state before the term.
///
/// # Errors
///
/// [`Error::Fingerprint`]; what the ledger says.
pub async fn check_term(ledger: &mut dyn Ledger, term: &Term) -> Result<()> {
    match ledger.load().await? {
        Some((record, _)) => compared(record, term).map(drop),
        None => Ok(()),
    }
}

/// The record, if it is this topology's.
fn compared(record: LedgerRecord, term: &Term) -> Result<LedgerRecord> {
    let mut differences = record.fingerprint.diff(&term.fingerprint);
    if record.topology != term.topology {
        let (recorded, program) = (Some(record.topology.clone()), Some(term.topology.clone()));
        differences.insert(
            0,
            Difference {
                name: "topology".into(),
                recorded,
                program,
            },
        );
    }
    if differences.is_empty() {
        Ok(record)
    } else {
        Err(Error::Fingerprint { differences })
    }
}

#[cfg(test)]
mod tests;
