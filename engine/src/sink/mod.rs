//! Where results go outside: published after the seal, retried until done, idempotent by txid.

mod callback;
mod file;

pub use callback::Callback;
pub use file::FileSink;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use fulmar_state::{OutboxPart, TxId, codec};

use crate::data::ExchangeData;

/// One task's records of one sealed batch for one sink: what a sink must take exactly once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    /// The topology's name.
    pub topology: Arc<str>,
    /// The sink's name in it.
    pub sink: Arc<str>,
    /// The task that the records come from.
    pub partition: u16,
    /// The sealed batch.
    pub txid: TxId,
}

/// Takes the records of sealed batches, in the order of their txids.
///
/// Contract: `publish` is called again for the same [`Part`], with the same records, after an error and after a
/// crash, until it has returned `Ok` and that is durably known. All four fields of the part together are the key by which
/// a sink tells a repetition; a sink that does so takes each record exactly once. It runs on a thread of its own and
/// may block.
///
/// ```
/// use fulmar::sink::{Part, Sink, SinkError};
///
/// /// Keeps records by part, so that a repetition replaces what it repeats.
/// struct Table(std::collections::BTreeMap<(u64, u16), Vec<String>>);
///
/// impl Sink<String> for Table {
///     fn publish(&mut self, part: &Part, records: Vec<String>) -> Result<(), SinkError> {
///         self.0.insert((part.txid.0, part.partition), records);
///         Ok(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(message = "`{Self}` is not a sink for records of type `{T}`")]
pub trait Sink<T>: Send + 'static {
    /// Takes a part's records, durably if the sink is to survive a power loss.
    fn publish(&mut self, part: &Part, records: Vec<T>) -> Result<(), SinkError>;
}

/// Why a sink did not take a part. It is offered the part again after a while, unless the error is permanent.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What, where, and what to do.
    pub message: String,
    /// Whether trying again cannot help; the topology then halts. Nothing is lost: the outbox stays in the log.
    pub permanent: bool,
}

impl SinkError {
    /// An error that passes: the part is offered again.
    pub fn retry(message: impl fmt::Display) -> Self {
        SinkError {
            message: message.to_string(),
            permanent: false,
        }
    }

    /// An error that stays: the topology halts.
    pub fn permanent(message: impl fmt::Display) -> Self {
        SinkError {
            message: message.to_string(),
            permanent: true,
        }
    }
}

/// A sink as the publisher sees it.
pub(crate) trait AnySink: Send {
    fn publish(&mut self, part: &Part, outbox: &OutboxPart) -> Result<(), SinkError>;
    /// The user's sink itself, to tell what it is.
    #[cfg(feature = "testing")]
    fn as_any(&self) -> &dyn std::any::Any;
}

pub(crate) struct SinkTask<T, S> {
    sink: S,
    types: PhantomData<fn(T)>,
}

impl<T, S> SinkTask<T, S> {
    pub(crate) fn new(sink: S) -> Self {
        SinkTask {
            sink,
            types: PhantomData,
        }
    }
}

impl<T: ExchangeData, S: Sink<T>> AnySink for SinkTask<T, S> {
    fn publish(&mut self, part: &Part, outbox: &OutboxPart) -> Result<(), SinkError> {
        let mut records = Vec::with_capacity(outbox.records as usize);
        let mut reader = codec::Reader::new(&outbox.bytes);
        while !reader.is_empty() {
            let record = reader
                .bytes("an outbox record")
                .and_then(codec::decode::<T>);
            records.push(record.map_err(|error| {
                SinkError::permanent(format!(
                    "batch {} for sink {:?} cannot be decoded: {error}",
                    part.txid, part.sink
                ))
            })?);
        }
        self.sink.publish(part, records)
    }

    #[cfg(feature = "testing")]
    fn as_any(&self) -> &dyn std::any::Any {
        &self.sink
    }
}
