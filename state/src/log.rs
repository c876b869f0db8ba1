//! Batch log entries: everything a batch does to this worker, in one checksummed record.

use crate::attempt::{Attempt, TxId};
use crate::codec::{self, Reader};
use crate::error::{Result, StateError};
use crate::format::{frame, unframe};
use crate::outbox::{DeadLetter, OutboxPart};

/// The largest log entry, in bytes.
pub const MAX_ENTRY: usize = 1 << 30;

/// What a worker prepares of one batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The attempt.
    pub attempt: Attempt,
    /// The attempt of the batch before, which this one builds on; `None` for the first batch.
    pub base: Option<Attempt>,
    /// The batch's time, as the coordinator fixed it.
    pub time_ms: u64,
    /// What [`AnyShard::encode`](crate::AnyShard::encode) appended, one vector per executor or so.
    pub parts: Vec<Vec<u8>>,
    /// What sinks have to publish.
    pub outbox: Vec<OutboxPart>,
    /// What was given up.
    pub dead: Vec<DeadLetter>,
}

impl Entry {
    /// The record to be logged.
    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        let outbox: usize = self
            .outbox
            .iter()
            .map(|part| part.bytes.len() + part.sink.len() + 32)
            .sum();
        let size = self.parts.iter().map(|part| part.len() + 16).sum::<usize>() + outbox + 128;
        let bytes = frame(size, |out| self.encode_payload(out));
        if bytes.len() > MAX_ENTRY {
            let what = format!("the log entry of batch {}", self.attempt.txid);
            return Err(StateError::TooLarge {
                what,
                size: bytes.len(),
                limit: MAX_ENTRY,
            });
        }
        Ok(bytes)
    }

    fn encode_payload(&self, out: &mut Vec<u8>) {
        codec::put_attempt(out, self.attempt);
        codec::put_attempt_option(out, self.base);
        codec::put_varint(out, self.time_ms);
        codec::put_varint(out, self.parts.len() as u64);
        for part in &self.parts {
            codec::put_bytes(out, part);
        }
        codec::put_varint(out, self.outbox.len() as u64);
        for part in &self.outbox {
            part.encode(out);
        }
        codec::put_varint(out, self.dead.len() as u64);
        for letter in &self.dead {
            letter.encode(out);
        }
    }

    /// The entry of a record.
    pub(crate) fn decode(bytes: &[u8], place: impl Fn() -> String) -> Result<Entry> {
        let decode = |bytes| {
            let EntryRef {
                attempt,
                base,
                time_ms,
                parts,
                mut rest,
            } = EntryRef::read(bytes)?;
            let entry = Entry {
                attempt,
                base,
                time_ms,
                parts: parts.into_iter().map(<[u8]>::to_vec).collect(),
                outbox: list(&mut rest, "outbox parts", OutboxPart::decode)?,
                dead: list(&mut rest, "dead letters", DeadLetter::decode)?,
            };
            rest.finish("log entry")?;
            Ok(entry)
        };
        decode(unframe(bytes, &place)?).map_err(|error: StateError| error.at(place))
    }
}

/// An entry's front, its parts where they lie.
pub(crate) struct EntryRef<'a> {
    pub(crate) attempt: Attempt,
    pub(crate) base: Option<Attempt>,
    time_ms: u64,
    pub(crate) parts: Vec<&'a [u8]>,
    rest: Reader<'a>,
}

impl<'a> EntryRef<'a> {
    /// The front of a record, whose checksum is verified over the whole.
    pub(crate) fn decode(bytes: &'a [u8], place: impl Fn() -> String) -> Result<EntryRef<'a>> {
        EntryRef::read(unframe(bytes, &place)?).map_err(|error| error.at(place))
    }

    fn read(payload: &'a [u8]) -> Result<EntryRef<'a>> {
        let mut reader = Reader::new(payload);
        Ok(EntryRef {
            attempt: reader.attempt()?,
            base: reader.attempt_option()?,
            time_ms: reader.varint("batch time")?,
            parts: list(&mut reader, "parts", |reader| reader.bytes("part"))?,
            rest: reader,
        })
    }
}

/// A list with its length before it. Memory grows with what is really there, not with what the length says.
fn list<'a, T>(
    reader: &mut Reader<'a>,
    what: &str,
    mut each: impl FnMut(&mut Reader<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = reader.varint(what)?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(each(reader)?);
    }
    Ok(items)
}

/// The key of a batch's entry.
pub(crate) fn log_key(txid: TxId) -> [u8; 8] {
    txid.0.to_be_bytes()
}

/// The batch of an entry's key.
pub(crate) fn log_txid(key: &[u8]) -> Result<TxId> {
    match key.try_into() {
        Ok(bytes) => Ok(TxId(u64::from_be_bytes(bytes))),
        Err(_) => Err(StateError::malformed(format!(
            "a log key of {} bytes",
            key.len()
        ))),
    }
}
