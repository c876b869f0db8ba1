//! Executors stepped by hand: messages lost, repeated, late and in any order, and the tree that the acker sees.

use std::collections::VecDeque;
use std::sync::Arc;

use fulmar_coordinator::{CauseKind, Event, edge_id};
use fulmar_state::{Attempt, Base, DeadLetter, Generation, MemoryStorage, TxId};
use proptest::prelude::*;

use super::{Executor, Layout};
use crate::aggregate::{Count, First};
use crate::chunk::Chunk;
use crate::message::{BatchPart, Envelope, ToExecutor, ToRecorder};
use crate::operator::BatchInfo;
use crate::spout::Collection;
use crate::stream::Topology;

/// Two spouts, a shuffle, a combiner whose new values a reducer keeps, and a query: stages of every kind.
fn world(executors: u16) -> (Vec<Executor>, Arc<Layout>) {
    let topology = Topology::new("steps");
    let left = topology.spout("left", Collection::of([0u64]));
    let right = topology.spout("right", Collection::of([0u64]));
    let all = left.merge(&right.shuffle());
    let counts = all
        .group_by(|n| n % 10)
        .persistent_aggregate("counts", Count);
    counts
        .new_values()
        .group_by(|pair| pair.1 % 3)
        .persistent_aggregate("first", First);
    all.state_query(
        &counts,
        |n| n % 10,
        |n, count: Option<u64>, out| out.emit((n, count)),
    )
    .shuffle()
    .map(|pair| pair.0);
    let mut plan = topology.build().expect("the topology is right");
    let storage = MemoryStorage::new(&plan.states());
    let base = Base::read(&storage, plan.states().len()).expect("an empty store has an empty base");
    let layout = Arc::new(Layout::new(&mut plan, executors));
    let mut all: Vec<Executor> = (0..executors)
        .map(|id| Executor::new(id, layout.clone(), &base))
        .collect();
    let generation = generation(1);
    for executor in &mut all {
        executor.step(ToExecutor::Rewind {
            generation,
            sealed: None,
        });
    }
    (all, layout)
}

fn generation(number: u64) -> Generation {
    Generation::new(1, number)
}

fn batch(txid: u64, number: u64) -> BatchInfo {
    let attempt = |txid| Attempt::new(TxId(txid), generation(number));
    BatchInfo {
        attempt: attempt(txid),
        base: (txid > 1).then(|| attempt(txid - 1)),
        time_ms: 0,
    }
}

fn data(edge: usize, batch: BatchInfo, seq: u64, records: Vec<u64>) -> ToExecutor {
    ToExecutor::Data {
        edge,
        from: 0,
        batch,
        seq,
        chunk: Chunk::of(records),
    }
}

fn end(edge: usize, batch: BatchInfo, chunks: u64, records: u64) -> ToExecutor {
    ToExecutor::End {
        edge,
        from: 0,
        batch,
        chunks,
        records,
        dead: Vec::new(),
    }
}

fn failure(envelopes: &[Envelope]) -> Option<(Attempt, CauseKind, String)> {
    envelopes.iter().find_map(|envelope| match envelope {
        Envelope::Coordinator(Event::Failed { attempt, cause }) => {
            Some((*attempt, cause.kind, cause.message.clone()))
        }
        _ => None,
    })
}

#[test]
fn storm_flaw_8_a_lost_or_repeated_chunk_fails_the_attempt_at_once() {
    for (messages, what) in [
        (
            vec![data(0, batch(1, 1), 1, vec![1])],
            "chunk 1 came, 0 was expected",
        ),
        (
            vec![
                data(0, batch(1, 1), 0, vec![1]),
                data(0, batch(1, 1), 0, vec![1]),
            ],
            "chunk 0 came, 1 was expected",
        ),
        (
            vec![data(0, batch(1, 1), 0, vec![1]), end(0, batch(1, 1), 2, 2)],
            "1 chunks with 1 records came, 2 with 2",
        ),
        (
            vec![data(0, batch(1, 1), 0, vec![1]), end(0, batch(1, 1), 1, 2)],
            "1 chunks with 1 records came, 1 with 2",
        ),
        (
            vec![end(0, batch(1, 1), 0, 0), data(0, batch(1, 1), 0, vec![1])],
            "which was finished",
        ),
        (
            vec![data(
                0,
                BatchInfo {
                    base: Some(batch(9, 1).attempt),
                    ..batch(1, 1)
                },
                0,
                vec![1],
            )],
            "another past",
        ),
    ] {
        let (mut executors, _) = world(1);
        let last = messages
            .into_iter()
            .map(|message| executors[0].step(message))
            .last()
            .expect("messages were sent");
        let (attempt, kind, message) =
            failure(&last).unwrap_or_else(|| panic!("{what}: nothing failed"));
        assert_eq!((attempt, kind), (batch(1, 1).attempt, CauseKind::Link));
        assert!(message.contains(what), "{message}");
    }
}

#[test]
fn i6_what_is_not_of_the_live_generation_is_ignored() {
    let (mut executors, _) = world(1);
    let executor = &mut executors[0];
    executor.step(ToExecutor::Rewind {
        generation: generation(3),
        sealed: None,
    });
    for number in [1, 2, 4] {
        assert!(
            executor
                .step(data(0, batch(1, number), 7, vec![1]))
                .is_empty()
        );
        assert!(executor.step(end(0, batch(1, number), 7, 1)).is_empty());
    }
    let answer = executor.step(ToExecutor::Rewind {
        generation: generation(2),
        sealed: None,
    });
    assert!(
        matches!(
            answer.as_slice(),
            [Envelope::Recorder(ToRecorder::Rewound { .. })]
        ),
        "an older one is only answered"
    );
    assert!(
        failure(&executor.step(data(0, batch(1, 3), 1, vec![1]))).is_some(),
        "generation 3 is live still"
    );
}

#[test]
fn i6_dead_letters_of_an_old_attempt_are_not_the_live_ones() {
    let (mut executors, _) = world(1);
    let executor = &mut executors[0];
    let rewind = ToExecutor::Rewind {
        generation: generation(2),
        sealed: None,
    };
    executor.step(rewind);
    let with_dead = |mut message: ToExecutor, cause: &str| {
        if let ToExecutor::End { dead, .. } = &mut message {
            let cause = cause.into();
            dead.push(DeadLetter {
                cause,
                ..DeadLetter::default()
            });
        }
        message
    };
    let mut queue: VecDeque<ToExecutor> = [
        with_dead(end(0, batch(1, 2), 0, 0), "live"),
        with_dead(end(1, batch(1, 1), 0, 0), "old"),
        end(1, batch(1, 2), 0, 0),
    ]
    .into();
    let mut dead = Vec::new();
    while let Some(message) = queue.pop_front() {
        for envelope in executor.step(message) {
            match envelope {
                Envelope::Executor(_, message) => queue.push_back(message),
                Envelope::Recorder(ToRecorder::Part(part)) => dead.extend(part.dead),
                _ => {}
            }
        }
    }
    let causes: Vec<_> = dead.iter().map(|letter| letter.cause.as_str()).collect();
    assert_eq!(causes, ["live"]);
}

#[test]
fn a_failed_batch_is_dead_until_the_rewind_and_those_before_it_are_not() {
    let (mut executors, layout) = world(1);
    let executor = &mut executors[0];
    assert!(failure(&executor.step(data(0, batch(2, 1), 5, vec![1]))).is_some());
    assert!(executor.step(data(0, batch(3, 1), 0, vec![1])).is_empty());
    let mut queue: VecDeque<ToExecutor> =
        [end(0, batch(1, 1), 0, 0), end(1, batch(1, 1), 0, 0)].into();
    let mut parts = 0;
    while let Some(message) = queue.pop_front() {
        for envelope in executor.step(message) {
            match envelope {
                Envelope::Executor(_, message) => queue.push_back(message),
                Envelope::Recorder(ToRecorder::Part(part)) => {
                    parts += u32::from(part.batch == batch(1, 1))
                }
                _ => {}
            }
        }
    }
    assert_eq!(
        parts,
        1,
        "batch 1 is handed over; {} stages",
        layout.stages.len()
    );
}

/// Delivers everything in an order that `choices` picks, each link in its own order, and watches the tree.
fn run_batches(executors: u16, batches: u64, choices: &[u8]) -> Result<(), TestCaseError> {
    let (mut all, layout) = world(executors);
    let mut links: Vec<VecDeque<ToExecutor>> = Vec::new();
    let mut index = std::collections::BTreeMap::new();
    let mut post =
        |links: &mut Vec<VecDeque<ToExecutor>>, from: usize, to: u16, message: ToExecutor| {
            let at = *index.entry((from, to)).or_insert_with(|| {
                links.push(VecDeque::new());
                links.len() - 1
            });
            links[at].push_back(message);
            at
        };
    let mut targets: Vec<u16> = Vec::new();
    let mut trees = vec![0u64; batches as usize];
    let mut parts = vec![0u16; batches as usize];
    for txid in 1..=batches {
        for edge in 0..2usize {
            for task in 0..executors {
                let info = batch(txid, 1);
                let tree = &mut trees[txid as usize - 1];
                for seq in 0..2 {
                    *tree ^= edge_id(info.attempt, edge as u32, 0, task.into(), seq);
                    post(
                        &mut links,
                        100 + edge,
                        task,
                        data(edge, info, seq, vec![txid + seq, 7]),
                    );
                }
                *tree ^= edge_id(info.attempt, edge as u32, 0, task.into(), 2);
                let at = post(&mut links, 100 + edge, task, end(edge, info, 2, 4));
                targets.resize(targets.len().max(at + 1), task);
                targets[at] = task;
            }
        }
    }
    let mut choices = choices.iter().cycle();
    loop {
        let ready: Vec<usize> = (0..links.len())
            .filter(|link| !links[*link].is_empty())
            .collect();
        if ready.is_empty() {
            break;
        }
        let link = ready[usize::from(*choices.next().unwrap_or(&0)) % ready.len()];
        let to = targets[link];
        let Some(message) = links[link].pop_front() else {
            continue;
        };
        for envelope in all[usize::from(to)].step(message) {
            match envelope {
                Envelope::Executor(receiver, message) => {
                    let at = post(&mut links, to.into(), receiver, message);
                    targets.resize(targets.len().max(at + 1), receiver);
                    targets[at] = receiver;
                }
                Envelope::Coordinator(Event::Ack { attempt, xor }) => {
                    let at = attempt.txid.0 as usize - 1;
                    trees[at] ^= xor;
                    // The parts' own edges hold the tree until the recorder has made them durable.
                    prop_assert!(
                        trees[at] != 0,
                        "batch {} looks complete before it is prepared",
                        attempt.txid
                    );
                }
                Envelope::Recorder(ToRecorder::Part(part)) => {
                    let BatchPart {
                        executor, batch, ..
                    } = *part;
                    let at = batch.attempt.txid.0 as usize - 1;
                    prop_assert_eq!(executor, to);
                    parts[at] += 1;
                }
                Envelope::Coordinator(event) => prop_assert!(false, "{event:?}"),
                Envelope::Source(..) => {}
                _ => prop_assert!(false, "an executor sends nothing else here"),
            }
        }
    }
    for txid in 1..=batches {
        let at = txid as usize - 1;
        prop_assert_eq!(
            parts[at],
            executors,
            "every executor hands batch {} over once",
            txid
        );
        let durable = (0..executors).fold(0, |xor, id| {
            xor ^ layout.part_id(batch(txid, 1).attempt, id)
        });
        prop_assert_eq!(
            trees[at] ^ durable,
            0,
            "batch {} is complete once its parts are durable",
            txid
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn i2_a_tree_is_complete_when_all_is_prepared_and_never_before(
        executors in 1u16..4, batches in 1u64..5, choices in prop::collection::vec(any::<u8>(), 1..400),
    ) {
        run_batches(executors, batches, &choices)?;
    }
}

#[test]
fn storm_flaw_14_a_single_executor_finishes_every_stage_of_an_empty_batch() {
    run_batches(1, 3, &[0]).expect("every batch is handed over");
}
