//! What can happen to a store, in words that a shrunk case is read in.

use std::fmt;

use fulmar_state::Change;
use proptest::prelude::*;

use crate::support::{Changes, Moment};

/// One step, and whether the process dies in it.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) op: Op,
    pub(crate) crash: Option<Crash>,
}

/// The process dies at so many writes of the step, or, if there are fewer, at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(crate) write: usize,
    pub(crate) moment: Moment,
}

#[derive(Clone)]
pub(crate) enum Op {
    /// Open what is there with so many executors; `again`: a rewind of the highest generation comes before the new one.
    Start { executors: u16, again: bool },
    /// Process a batch, in memory.
    Process(Changes),
    /// Make the oldest so many processed batches durable, in one write.
    Prepare { count: usize },
    /// Entries that do not continue the log.
    Misfit(Misfit),
    /// The ledger seals all but so many of the acknowledged batches.
    Seal { but: usize },
    /// The worker is told that a batch is sealed; `wrong`: in another attempt.
    Notice { txid: usize, wrong: bool },
    /// Drop what is not sealed, or what looks like it.
    Rewind(To),
    /// Take everything sealed for a fold.
    TakeFold,
    /// Fold the next state.
    Ingest,
    /// Record the fold.
    FinishFold,
    /// Sinks take all but so many of the sealed batches.
    Publish { but: usize },
    /// Write down how far that is.
    RecordPublished,
    /// Pin what is shown.
    Pin,
    /// Let a pinned view go.
    Unpin(usize),
    /// Freeze the overlays.
    Freeze,
    /// Nothing, so that a crash falls between two calls.
    Rest,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Misfit {
    OlderGeneration,
    Gap,
    OtherBase,
    /// The first entry is right, the second is not.
    SecondOfTwo,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum To {
    /// To what is sealed, in a new generation.
    Sealed,
    /// The one that was carried out, once more.
    Again,
    /// By an older coordinator.
    Older,
    /// A ledger that is ahead of this disk.
    Ahead,
    /// A ledger that is behind what was shown.
    Behind,
    /// A ledger that has sealed another attempt.
    OtherAttempt,
}

pub(crate) const KEYS: [&str; 9] = [
    "a",
    "b",
    "",
    "\0",
    "a\0",
    "ab",
    // Alike in their first eight bytes, by which they are sorted first.
    "aaaaaaaa",
    "aaaaaaaa\0",
    "aaaaaaaab",
];

fn key() -> impl Strategy<Value = String> {
    let few = proptest::sample::select(&KEYS[..3]);
    prop_oneof![2 => few, 1 => proptest::sample::select(&KEYS[..])].prop_map(str::to_owned)
}

pub(crate) fn changes() -> impl Strategy<Value = Changes> {
    let count = prop_oneof![
        6 => (1_u64..9).prop_map(Change::Delta),
        1 => (1_u64..9).prop_map(Change::Put),
        1 => Just(Change::Remove)
    ];
    let name = prop_oneof![3 => "[x-z]{0,2}".prop_map(Change::Put), 1 => Just(Change::Remove)];
    let counts = proptest::collection::vec((key(), count), 0..6);
    (counts, proptest::collection::vec((key(), name), 0..3))
        .prop_map(|(counts, names)| Changes { counts, names })
}

pub(crate) fn crash() -> impl Strategy<Value = Option<Crash>> {
    let moment = prop_oneof![Just(Moment::Before), Just(Moment::After)];
    let crash = (0_usize..2, moment).prop_map(|(write, moment)| Some(Crash { write, moment }));
    prop_oneof![12 => Just(None), 1 => crash]
}

fn write_changes<V: fmt::Debug>(
    f: &mut fmt::Formatter<'_>,
    list: &[(String, Change<V>)],
) -> fmt::Result {
    for (key, change) in list {
        match change {
            Change::Delta(delta) => write!(f, " {key:?} += {delta:?};")?,
            Change::Put(value) => write!(f, " {key:?} = {value:?};")?,
            Change::Remove => write!(f, " {key:?} removed;")?,
        }
    }
    Ok(())
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Start { executors, again } => {
                let again = if *again {
                    ", rewound once more first"
                } else {
                    ""
                };
                write!(f, "start with {executors} executors{again}")
            }
            Op::Process(changes) => {
                f.write_str("process counts:")?;
                write_changes(f, &changes.counts)?;
                f.write_str(" names:")?;
                write_changes(f, &changes.names)
            }
            Op::Prepare { count } => write!(f, "prepare {count}"),
            Op::Misfit(misfit) => write!(f, "append a misfit, {misfit:?}"),
            Op::Seal { but } => write!(f, "the ledger seals all but {but}"),
            Op::Notice { txid, wrong: false } => write!(f, "notice that batch {txid} is sealed"),
            Op::Notice { txid, wrong: true } => {
                write!(f, "notice of another attempt of batch {txid}")
            }
            Op::Rewind(to) => write!(f, "rewind, {to:?}"),
            Op::TakeFold => f.write_str("take a fold"),
            Op::Ingest => f.write_str("fold the next state"),
            Op::FinishFold => f.write_str("finish the fold"),
            Op::Publish { but } => write!(f, "publish all but {but}"),
            Op::RecordPublished => f.write_str("record what is published"),
            Op::Pin => f.write_str("pin a view"),
            Op::Unpin(at) => write!(f, "let view {at} go"),
            Op::Freeze => f.write_str("freeze"),
            Op::Rest => f.write_str("rest"),
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}", self.op)?;
        match self.crash {
            None => f.write_str(">"),
            Some(Crash { write, moment }) => write!(f, "; CRASH {moment:?} its write {write}>"),
        }
    }
}
