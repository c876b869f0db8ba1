//! The faults that the seeded world makes by itself, for what only a shell, a link or a disk can break.

use fulmar::testing::Bug;

use super::rule::Rule::{self, Flaw, Invariant};
use super::{How, Mutation};

pub(super) fn mutation(bug: Bug) -> Mutation {
    let (rules, breaks): (&[Rule], &str) = match bug {
        Bug::LedgerIgnoresVersion => (
            &[Invariant(1), Invariant(3)],
            "the ledger applies every write, whatever version it expects",
        ),
        Bug::StorageForgetsSync => (
            &[Invariant(4)],
            "a crash takes the newest synced log entry with it",
        ),
        Bug::SpoutCheats => (
            &[Invariant(2)],
            "spouts that promise identical replays yield other records",
        ),
        Bug::AnnouncesEarly => (
            &[Invariant(5), Flaw(4)],
            "a coordinator's shell announces a seal before its write is applied",
        ),
        Bug::AcksBeforePrepared => (
            &[Invariant(2)],
            "a worker's shell acknowledges that a batch is prepared before it is",
        ),
        Bug::LosesChunk => (
            &[Invariant(2), Flaw(8)],
            "a link loses a chunk, and covers it up",
        ),
        Bug::RepeatsChunk => (
            &[Invariant(2)],
            "a link delivers a chunk twice, and covers it up",
        ),
        Bug::SkipsFence => (
            &[Invariant(3)],
            "a coordinator's shell starts a term without fencing the ledger",
        ),
        Bug::PublishesEarly => (
            &[Invariant(5), Flaw(7)],
            "a worker's shell publishes a batch when it is prepared",
        ),
        Bug::RewindsTooFar => (
            &[Invariant(1), Invariant(4)],
            "a coordinator's shell rewinds workers to the batch before the sealed one",
        ),
        Bug::SinkLies => (
            &[Invariant(5), Invariant(7)],
            "a sink says that it has taken a part which it refuses",
        ),
        Bug::ShowsEarly => (
            &[Invariant(5), Flaw(7)],
            "a worker's shell shows a batch to readers when it is prepared",
        ),
        Bug::SwallowsRewind => (
            &[Invariant(6), Flaw(2)],
            "an executor is not told of rewinds, and somebody answers for it",
        ),
        Bug::RevivesOldChunk => (
            &[Invariant(6), Flaw(1)],
            "a link delivers a chunk of an old attempt as one of the new, and drops the new one",
        ),
    };
    Mutation {
        name: format!("{bug:?}"),
        breaks: breaks.into(),
        rules: rules.to_vec(),
        how: How::Seam(bug),
    }
}
