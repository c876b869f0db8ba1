//! Opening a store: whose it is, what it holds, and that all of it is intact.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::record::{self, Head, Records, StoreIdentity};
use super::{Logged, Store};
use crate::attempt::{Attempt, StateId, TxId};
use crate::backend::{Durable, Family, Snapshot, Storage};
use crate::base::Base;
use crate::error::{Result, StateError};
use crate::log::{EntryRef, log_txid};
use crate::schema::{self, StateSchema};

impl Store {
    /// Opens a store, or begins one in an empty storage. Every log entry's checksum is verified.
    ///
    /// Serves no batches until the first [`Store::rewind`] says what is sealed.
    pub fn open(
        storage: Arc<dyn Storage>,
        identity: &StoreIdentity,
        schemas: &[StateSchema],
    ) -> Result<Store> {
        check_schemas(schemas)?;
        let place = storage.place();
        let snapshot = storage.snapshot()?;
        let head = match record::read_records(&|key| snapshot.get(Family::Meta, key), &place)? {
            Some(records) => check_records(records, identity, schemas, &place)?,
            None => begin(&*storage, &*snapshot, identity, schemas, &place)?,
        };
        let base = Base::read(&*storage, schemas.len())?;
        let markers = check_markers(&base, schemas, &head, &place)?;
        let log = read_log(&*snapshot, &place)?;
        tracing::debug!(%place, ?head, entries = log.len(), "store opened");
        Ok(Store {
            storage,
            place,
            share: schemas.iter().map(|schema| 0..schema.partitions).collect(),
            schemas: schemas.to_vec(),
            head,
            dirty: false,
            markers,
            folding: None,
            log,
            sealed: None,
            failed: None,
        })
    }
}

fn check_schemas(schemas: &[StateSchema]) -> Result<()> {
    let mut names = BTreeSet::new();
    for schema in schemas {
        schema.check()?;
        if !names.insert(&schema.name) {
            let why = "another state has the same name".to_owned();
            return Err(StateError::BadSchema {
                state: schema.name.clone(),
                why,
            });
        }
    }
    Ok(())
}

fn check_records(
    records: Records,
    identity: &StoreIdentity,
    schemas: &[StateSchema],
    place: &str,
) -> Result<Head> {
    let owner = |what, stored: &str, given: &str| {
        if stored == given {
            return Ok(());
        }
        let (stored, given) = (stored.to_owned(), given.to_owned());
        Err(StateError::OtherOwner {
            place: place.to_owned(),
            what,
            stored,
            given,
        })
    };
    owner("topology", &records.identity.topology, &identity.topology)?;
    owner("worker", &records.identity.worker, &identity.worker)?;
    schema::compare(place, &records.schemas, schemas)?;
    Ok(records.head)
}

/// Begins a store where there is nothing yet.
fn begin(
    storage: &dyn Storage,
    snapshot: &dyn Snapshot,
    identity: &StoreIdentity,
    schemas: &[StateSchema],
    place: &str,
) -> Result<Head> {
    for family in [Family::Meta, Family::Log] {
        if snapshot
            .scan(family, &[], &[0xff; 9])
            .next()
            .transpose()?
            .is_some()
        {
            let found = "it holds records but no format marker".to_owned();
            return Err(StateError::OtherProgram {
                place: place.to_owned(),
                found,
            });
        }
    }
    let head = Head::default();
    storage.write(
        record::first_records(identity, schemas, &head),
        Durable::Synced,
    )?;
    Ok(head)
}

/// Each data family's marker; an error if one is behind the head.
fn check_markers(
    base: &Base,
    schemas: &[StateSchema],
    head: &Head,
    place: &str,
) -> Result<Vec<Option<Attempt>>> {
    let check = |(state, schema): (StateId, &StateSchema)| {
        let marker = base.marker(state);
        let same = marker.map(|marker| marker.txid) == head.folded.map(|folded| folded.txid);
        if marker < head.folded || (same && marker != head.folded) {
            let (name, folded) = (&schema.name, head.folded);
            let what = format!(
                "state {name:?} holds data up to {marker:?}, but {folded:?} was recorded as folded"
            );
            return Err(StateError::Corrupt {
                place: place.to_owned(),
                what,
            });
        }
        Ok(marker)
    };
    (0..).map(StateId).zip(schemas).map(check).collect()
}

fn read_log(snapshot: &dyn Snapshot, place: &str) -> Result<BTreeMap<TxId, Logged>> {
    let mut log = BTreeMap::new();
    for record in snapshot.scan(Family::Log, &[], &[0xff; 9]) {
        let (key, bytes) = record?;
        let txid = log_txid(&key).map_err(|error| error.at(|| format!("the log in {place}")))?;
        let entry_place = || format!("log entry {txid} in {place}");
        let entry = EntryRef::decode(&bytes, entry_place)?;
        let (attempt, base) = (entry.attempt, entry.base);
        if attempt.txid != txid {
            let what = format!("it holds {attempt}");
            return Err(StateError::Corrupt {
                place: entry_place(),
                what,
            });
        }
        log.insert(
            txid,
            Logged {
                attempt,
                base,
                bytes: bytes.len(),
            },
        );
    }
    Ok(log)
}
