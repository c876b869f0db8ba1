//! What the parts of a worker say to each other; the same messages would cross a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use fulmar_coordinator::{Batch, Event, Positions};
use fulmar_state::{
    AnyShard, Attempt, Base, DeadLetter, FoldDone, FoldJob, FoldPart, Generation, OutboxPart,
    Partition, StateId, TxId,
};

use crate::chunk::Chunk;
use crate::operator::BatchInfo;

/// Reads one executor's shard of a state, and answers whoever asked.
pub(crate) type ReadState = Box<dyn FnOnce(&mut dyn AnyShard) + Send>;

/// A message with its address. Between two parts messages keep their order; across pairs there is none.
pub(crate) enum Envelope {
    Executor(u16, ToExecutor),
    Source(usize, ToSource),
    Recorder(ToRecorder),
    Flusher(FoldJob),
    Publisher(ToPublisher),
    Coordinator(Event),
    /// Everything sealed up to here is published; for whoever waits for that.
    Published(TxId),
    /// The worker cannot go on: a clear error, told to the user.
    Fatal(String),
}

/// Carries envelopes to where they are addressed. Never blocks and never fails: what it cannot deliver is lost, which
/// the acker notices.
pub(crate) trait Transport {
    fn deliver(&self, envelope: Envelope);
}

pub(crate) enum ToExecutor {
    /// Records of an attempt, the `seq`-th chunk from this sender.
    Data {
        edge: usize,
        from: u16,
        batch: BatchInfo,
        seq: u64,
        chunk: Chunk,
    },
    /// The sender has sent all its records of the attempt.
    End {
        edge: usize,
        from: u16,
        batch: BatchInfo,
        chunks: u64,
        records: u64,
        dead: Vec<DeadLetter>,
    },
    /// A chunk that this executor sent has been taken up.
    Credit {
        edge: usize,
        to: u16,
        generation: Generation,
    },
    /// Part of a sealed batch, from the log: after a start, before the first rewind.
    Restore {
        txid: TxId,
        sections: Vec<(StateId, Partition, Vec<u8>)>,
    },
    Rewind {
        generation: Generation,
        sealed: Option<Attempt>,
    },
    /// The batch is sealed: show it.
    Seal { txid: TxId },
    /// Hand over all that is sealed and not folded.
    Freeze,
    /// What was handed over is folded.
    Folded { upto: TxId, base: Base },
    /// Somebody reads a state as of what is shown.
    Read { state: StateId, read: ReadState },
}

pub(crate) enum ToSource {
    Issue(Arc<Batch>),
    Credit {
        to: u16,
        generation: Generation,
    },
    Rewind {
        generation: Generation,
        positions: BTreeMap<String, Vec<u8>>,
    },
    /// The run is to end: batches end with what was read of them, whatever their limits allow.
    Finish,
}

/// Who has carried a rewind out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    Executor(u16),
    Source(usize),
}

/// One executor's part of a batch: what its shards changed, and what its sinks shall publish.
pub(crate) struct BatchPart {
    pub(crate) executor: u16,
    pub(crate) batch: BatchInfo,
    pub(crate) sections: Vec<u8>,
    pub(crate) outbox: Vec<OutboxPart>,
    pub(crate) dead: Vec<DeadLetter>,
    /// Bytes that the executor's overlays hold.
    pub(crate) overlay: usize,
}

pub(crate) enum ToRecorder {
    Part(Box<BatchPart>),
    Rewind {
        generation: Generation,
        sealed: Option<Attempt>,
        positions: Positions,
    },
    Rewound {
        party: Party,
        generation: Generation,
        outcome: Result<(), String>,
    },
    Announce {
        attempt: Attempt,
    },
    Frozen {
        executor: u16,
        parts: Vec<(StateId, Arc<dyn FoldPart>)>,
    },
    Folded(Result<FoldDone, fulmar_state::StateError>),
    Published {
        txid: TxId,
    },
    Read {
        state: StateId,
        reads: Vec<ReadState>,
    },
    /// One executor's read: the one that owns the partition.
    ReadOne {
        executor: u16,
        state: StateId,
        read: ReadState,
    },
    /// Write what is only remembered, for a clean end.
    Close,
}

pub(crate) enum ToPublisher {
    Publish {
        txid: TxId,
        outbox: Vec<OutboxPart>,
        dead: Vec<DeadLetter>,
    },
}
