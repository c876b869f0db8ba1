//! The records that a store keeps about itself.

use crate::attempt::{Attempt, Generation, TxId};
use crate::backend::{Family, WriteBatch};
use crate::codec::{self, CODEC_VERSION, Reader};
use crate::error::{Result, StateError};
use crate::format::{FORMAT_VERSION, frame, unframe};
use crate::schema::StateSchema;

const FORMAT: &[u8] = b"format";
const IDENTITY: &[u8] = b"identity";
const STATES: &[u8] = b"states";
pub(super) const HEAD: &[u8] = b"head";

/// What the format record begins with, outside its frame, so that it can be read whatever its version.
const PROGRAM: &str = "fulmar-state";

/// Whose store it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreIdentity {
    /// The topology's name.
    pub topology: String,
    /// The worker's id.
    pub worker: String,
}

/// How far the store has come. Written whole, in one record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The greatest generation carried out.
    pub(super) highest: Generation,
    /// All data families are folded up to here.
    pub(super) folded: Option<Attempt>,
    /// All outboxes are published up to here.
    pub(super) published: TxId,
}

impl Head {
    pub(super) fn encode(&self) -> Vec<u8> {
        frame(48, |out| {
            codec::put_generation(out, self.highest);
            codec::put_attempt_option(out, self.folded);
            codec::put_varint(out, self.published.0);
        })
    }

    fn read(reader: &mut Reader<'_>) -> Result<Head> {
        Ok(Head {
            highest: reader.generation()?,
            folded: reader.attempt_option()?,
            published: TxId(reader.varint("published")?),
        })
    }
}

/// Everything that a new store begins with.
pub(super) fn first_records(
    identity: &StoreIdentity,
    schemas: &[StateSchema],
    head: &Head,
) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(Family::Meta, FORMAT, format_record());
    let identity = frame(64, |out| {
        codec::put_bytes(out, identity.topology.as_bytes());
        codec::put_bytes(out, identity.worker.as_bytes());
    });
    batch.put(Family::Meta, IDENTITY, identity);
    let states = frame(64 * schemas.len(), |out| {
        codec::put_varint(out, schemas.len() as u64);
        schemas.iter().for_each(|schema| schema.encode(out));
    });
    batch.put(Family::Meta, STATES, states);
    batch.put(Family::Meta, HEAD, head.encode());
    batch
}

fn format_record() -> Vec<u8> {
    format!("{PROGRAM} {FORMAT_VERSION}.{CODEC_VERSION}\n").into_bytes()
}

/// Reads a record of the family `Meta`.
type Get<'a> = dyn Fn(&[u8]) -> Result<Option<Vec<u8>>> + 'a;

/// What a store says of itself.
pub(super) struct Records {
    pub(super) identity: StoreIdentity,
    pub(super) schemas: Vec<StateSchema>,
    pub(super) head: Head,
}

/// Reads a store's records; `None` if there is no format record.
pub(super) fn read_records(get: &Get<'_>, place: &str) -> Result<Option<Records>> {
    let Some(format) = get(FORMAT)? else {
        return Ok(None);
    };
    check_format(&format, place)?;
    let identity = record(get, IDENTITY, place, |reader| {
        let topology = reader.str("topology")?.to_owned();
        Ok(StoreIdentity {
            topology,
            worker: reader.str("worker")?.to_owned(),
        })
    })?;
    let schemas = record(get, STATES, place, |reader| {
        let count = reader.varint("number of states")?;
        (0..count).map(|_| StateSchema::decode(reader)).collect()
    })?;
    Ok(Some(Records {
        identity,
        schemas,
        head: record(get, HEAD, place, Head::read)?,
    }))
}

fn check_format(format: &[u8], place: &str) -> Result<()> {
    if format == format_record() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(format);
    let version = text
        .strip_prefix(PROGRAM)
        .and_then(|rest| rest.trim().split('.').next()?.parse().ok());
    let place = place.to_owned();
    Err(match version {
        Some(found) if found != u32::from(FORMAT_VERSION) => StateError::OtherVersion {
            place,
            found,
            supported: FORMAT_VERSION.into(),
        },
        Some(_) => StateError::Corrupt {
            place,
            what: format!("its format is {:?}", text.trim()),
        },
        None => StateError::OtherProgram {
            place,
            found: format!("its format is {:?}", text.trim()),
        },
    })
}

fn record<T>(
    get: &Get<'_>,
    key: &[u8],
    place: &str,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T>,
) -> Result<T> {
    let place = || format!("record {:?} in {place}", String::from_utf8_lossy(key));
    let Some(bytes) = get(key)? else {
        return Err(StateError::Corrupt {
            place: place(),
            what: "it is missing".to_owned(),
        });
    };
    let mut reader = Reader::new(unframe(&bytes, place)?);
    let value = read(&mut reader).map_err(|error| error.at(place))?;
    reader
        .finish("the record")
        .map_err(|error| error.at(place))?;
    Ok(value)
}
