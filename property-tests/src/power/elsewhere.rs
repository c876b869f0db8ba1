//! The topology that loses its power while its ledger, a real one in ZooKeeper, loses nothing.
//!
//! A run tells what it is about to write to the ledger, and what the ledger has taken; so it is known what the ledger held at any call
//! of the file system, and [`put`] makes another that holds it.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use fulmar::coordinator::{Error, Ledger, LedgerRecord, Version, WriteOutcome};
use fulmar::state::{Durability, RocksOptions};
use fulmar::{Config, Home};
use fulmar_coordinator::zookeeper::{Session, ZooKeeperConfig, ZooKeeperLedger};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::counted::{self, Outcome, THIRD, settings, state, to_the_end};
use crate::mortal::fuse::Fuse;
use crate::mortal::seams::{MortalStorage, Opening};

const NAME: &str = "powerless";
const MAY_HOLD: &str = "the ledger may hold: ";
const HOLDS: &str = "the ledger holds: ";

/// What a run tells of its ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// This write is about to be sent.
    MayHold(LedgerRecord),
    /// The last one was taken.
    Holds,
}

impl Told {
    /// Reads a line that a run told.
    #[must_use]
    pub fn parse(line: &str) -> Option<Told> {
        if line.starts_with(HOLDS) {
            return Some(Told::Holds);
        }
        let text: String = serde_json::from_str(line.strip_prefix(MAY_HOLD)?).ok()?;
        let (record, _) = LedgerRecord::decode(text.as_bytes()).ok()?;
        Some(Told::MayHold(record))
    }
}

/// Tells each write before it is sent, and when it is taken, before anyone else may know it.
struct Telling {
    inner: ZooKeeperLedger,
    tell: fn(&str),
}

impl Ledger for Telling {
    fn load(&mut self) -> BoxFuture<'_, Result<Option<(LedgerRecord, Version)>, Error>> {
        self.inner.load()
    }

    fn write<'a>(
        &'a mut self,
        record: &'a LedgerRecord,
        expected: Version,
    ) -> BoxFuture<'a, WriteOutcome> {
        async move {
            let text = record.encode(expected.next());
            let text = serde_json::json!(String::from_utf8_lossy(&text));
            (self.tell)(&format!("{MAY_HOLD}{text}\n"));
            let outcome = self.inner.write(record, expected).await;
            if let WriteOutcome::Applied(version) = &outcome {
                (self.tell)(&format!("{HOLDS}{version}\n"));
            }
            outcome
        }
        .boxed()
    }
}

async fn open(connection: &str) -> Result<ZooKeeperLedger> {
    let session = Session::connect(ZooKeeperConfig::parse(connection)?).await?;
    Ok(ZooKeeperLedger::open(&session, NAME).await?)
}

/// Makes a ledger that holds this record, where there is none yet.
///
/// # Errors
///
/// No server answers, or there is one.
pub async fn put(connection: &str, record: &LedgerRecord) -> Result<()> {
    let mut ledger = open(connection).await?;
    match ledger.write(record, Version::ABSENT).await {
        WriteOutcome::Applied(_) => Ok(()),
        other => bail!("the ledger at {connection} could not be made: {other:?}"),
    }
}

/// As [`counted::run`] to the end, with the ledger at this connection string; tells each batch that is sealed, and what the ledger holds.
///
/// # Errors
///
/// As [`counted::run`].
pub async fn run(
    root: &Path,
    connection: &str,
    tell_sealed: fn(u64),
    tell: fn(&str),
) -> Result<(u64, Outcome)> {
    let (plan, handles) = counted::build(root, THIRD)?;
    let inner = open(connection).await.context("the ledger")?;
    let opening = Opening {
        dir: state(root),
        families: plan.states(),
        options: RocksOptions {
            cache_bytes: 4 << 20,
            log_buffer_bytes: 8 << 20,
            durability: Durability::Fsync,
            ..RocksOptions::default()
        },
        claims: true,
    };
    let home = Home {
        ledger: Box::new(Telling { inner, tell }),
        storage: Arc::new(MortalStorage::new(opening, Fuse::default())),
    };
    let config = settings(Config::in_memory(), tell_sealed);
    to_the_end(plan.start_on(home, config).await?, handles, root).await
}
