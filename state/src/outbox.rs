//! What a batch still has to say to the world outside: records for sinks, and dead letters.

use crate::codec::{self, Reader};
use crate::error::Result;

/// One partition's records of a batch for one sink, published after the seal.
///
/// A sink's idempotence key is (topology, sink, partition, txid).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OutboxPart {
    /// The sink's name in the topology.
    pub sink: String,
    /// The partition of the stream that feeds the sink.
    pub partition: u16,
    /// How many records `bytes` holds.
    pub records: u32,
    /// The records, in the sink's encoding.
    pub bytes: Vec<u8>,
}

/// A record that was taken out of the stream because it cannot be processed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetter {
    /// The spout it came from.
    pub spout: String,
    /// The spout's partition.
    pub partition: String,
    /// The record's position there.
    pub position: Vec<u8>,
    /// Why it was given up.
    pub cause: String,
    /// The record itself, as far as known.
    pub record: Vec<u8>,
}

impl OutboxPart {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        codec::put_bytes(out, self.sink.as_bytes());
        codec::put_varint(out, self.partition.into());
        codec::put_varint(out, self.records.into());
        codec::put_bytes(out, &self.bytes);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<OutboxPart> {
        Ok(OutboxPart {
            sink: reader.str("sink name")?.to_owned(),
            partition: reader.varint_as("sink partition")?,
            records: reader.varint_as("record count")?,
            bytes: reader.bytes("sink records")?.to_vec(),
        })
    }
}

impl DeadLetter {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        codec::put_bytes(out, self.spout.as_bytes());
        codec::put_bytes(out, self.partition.as_bytes());
        codec::put_bytes(out, &self.position);
        codec::put_bytes(out, self.cause.as_bytes());
        codec::put_bytes(out, &self.record);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<DeadLetter> {
        Ok(DeadLetter {
            spout: reader.str("spout name")?.to_owned(),
            partition: reader.str("spout partition")?.to_owned(),
            position: reader.bytes("record position")?.to_vec(),
            cause: reader.str("cause")?.to_owned(),
            record: reader.bytes("dead record")?.to_vec(),
        })
    }
}
