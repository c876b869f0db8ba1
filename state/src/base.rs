//! What is folded: a snapshot of the data families and, for each, up to which batch it reaches.

use std::fmt;
use std::sync::Arc;

use crate::attempt::{Attempt, Partition, StateId, TxId};
use crate::backend::{Family, Snapshot, Storage};
use crate::codec::{self, Reader};
use crate::error::Result;
use crate::format::{frame, unframe};

/// A data family's own record of the attempt it is folded up to, written by the same ingestion as the data. Its first
/// two bytes are no partition.
const MARKER: &[u8] = b"\xff\xfffolded";

/// Folded data that layers and overlay lie upon. Cheap to clone; clones share one snapshot.
#[derive(Clone)]
pub struct Base {
    snapshot: Arc<dyn Snapshot>,
    folded: Arc<[Option<Attempt>]>,
}

impl Base {
    /// The folded data of `states` states as it is now.
    pub fn read(storage: &dyn Storage, states: usize) -> Result<Base> {
        let snapshot = storage.snapshot()?;
        let marker = |state: usize| {
            let state =
                StateId(u16::try_from(state).expect("a topology has fewer than 2^16 states"));
            match snapshot.get(Family::Data(state), MARKER)? {
                Some(bytes) => decode_marker(&bytes, &storage.place()).map(Some),
                None => Ok(None),
            }
        };
        let folded = (0..states).map(marker).collect::<Result<_>>()?;
        Ok(Base { snapshot, folded })
    }

    /// The last batch that this state's folded data holds.
    #[must_use]
    pub fn folded(&self, state: StateId) -> TxId {
        self.marker(state)
            .map_or(TxId::ZERO, |attempt| attempt.txid)
    }

    /// The attempt of [`Base::folded`]; `None` if nothing was ever folded.
    #[must_use]
    pub fn marker(&self, state: StateId) -> Option<Attempt> {
        self.folded.get(usize::from(state.0)).copied().flatten()
    }

    /// The data itself.
    #[must_use]
    pub fn snapshot(&self) -> &dyn Snapshot {
        &*self.snapshot
    }
}

impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("folded", &self.folded)
            .finish_non_exhaustive()
    }
}

/// Key and value of the marker for a fold up to `attempt`.
pub(crate) fn marker(attempt: Attempt) -> (&'static [u8], Vec<u8>) {
    (MARKER, frame(24, |out| codec::put_attempt(out, attempt)))
}

fn decode_marker(bytes: &[u8], place: &str) -> Result<Attempt> {
    let place = || format!("the fold marker in {place}");
    let mut reader = Reader::new(unframe(bytes, place)?);
    let attempt = reader.attempt().map_err(|error| error.at(place))?;
    reader
        .finish("fold marker")
        .map_err(|error| error.at(place))?;
    Ok(attempt)
}

/// Replaces `out` by the key in a data family.
pub(crate) fn data_key(partition: Partition, key: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&partition.0.to_be_bytes());
    out.extend_from_slice(key);
}
