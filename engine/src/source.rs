//! A source: reads one spout's share of each batch and deals it out to the executors, as a step from message to messages.

mod standing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fulmar_coordinator::{
    Batch, Cause, CauseKind, Event, Limits, Micros, More, Origin, PartitionMove, ReadReport,
    Replay, Replays, edge_id,
};
use fulmar_state::{Attempt, DeadLetter, Generation, TxId};

use crate::executor::WINDOW;
use crate::message::{Envelope, Party, ToExecutor, ToRecorder, ToSource};
use crate::operator::BatchInfo;
use crate::spout::task::{AnySpout, Fetched, Offer};
use crate::spout::{ReadLimit, SpoutError};

/// So many records make a chunk: enough to spread a batch evenly, and few enough to stay in a processor's cache.
const CHUNK: u64 = 1024;

/// What the shell does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Nothing until a message comes.
    Message,
    /// Pump again at once, if no message is there.
    Now,
    /// Pump again after so long, or when a message comes.
    Poll(Micros),
}

/// How long an idle source waits before it looks for new data again.
const POLL: Micros = Micros::from_ms(20);

/// The batch that is being read.
struct Reading {
    batch: Arc<Batch>,
    info: BatchInfo,
    since: Option<Micros>,
    records: u64,
    bytes: u64,
    /// In the order in which the partitions were first read.
    moves: Vec<PartitionMove>,
    /// Chunks and records sent to each task.
    sent: Vec<(u64, u64)>,
    dealt: u64,
    xor: u64,
    dead: Vec<DeadLetter>,
    /// The ranges that are still to be read again.
    replay: Option<VecDeque<PartitionMove>>,
}

pub(crate) struct Source {
    index: usize,
    name: String,
    spout: Box<dyn AnySpout>,
    edge: usize,
    generation: Generation,
    /// Up to where finished batches have read.
    positions: BTreeMap<String, Vec<u8>>,
    reading: Option<Reading>,
    issued: VecDeque<Arc<Batch>>,
    /// The newest batch of this generation that was issued: one that comes again is not read again.
    newest: TxId,
    /// Read ahead of the next batch, to know whether there is anything for one.
    ahead: Option<Result<Fetched, SpoutError>>,
    /// What the coordinator was told last.
    standing: Option<More>,
    failed: bool,
    /// Nothing new is read any more.
    finishing: bool,
    under_way: Vec<usize>,
    /// The limits of the newest batch, for what is read ahead of the next.
    limits: Limits,
    out: Vec<Envelope>,
}

impl Source {
    pub(crate) fn new(
        index: usize,
        name: String,
        spout: Box<dyn AnySpout>,
        edge: usize,
        tasks: u16,
        limits: Limits,
    ) -> Self {
        Source {
            index,
            name,
            spout,
            edge,
            generation: Generation::ZERO,
            positions: BTreeMap::new(),
            reading: None,
            issued: VecDeque::new(),
            newest: TxId::ZERO,
            ahead: None,
            standing: None,
            failed: false,
            finishing: false,
            under_way: vec![0; tasks.into()],
            limits,
            out: Vec::new(),
        }
    }

    /// Takes one message; what is to be sent comes back in order.
    pub(crate) fn step(&mut self, message: ToSource) -> Vec<Envelope> {
        match message {
            ToSource::Issue(batch)
                if batch.attempt.generation == self.generation
                    && batch.attempt.txid > self.newest =>
            {
                self.newest = batch.attempt.txid;
                self.issued.push_back(batch);
            }
            ToSource::Credit { to, generation } if generation == self.generation => {
                // One that comes twice only widens the window.
                let under_way = &mut self.under_way[usize::from(to)];
                *under_way = under_way.saturating_sub(1);
            }
            ToSource::Issue(_) | ToSource::Credit { .. } => {}
            ToSource::Finish => self.finishing = true,
            ToSource::Rewind {
                generation,
                positions,
            } => self.rewind(generation, positions),
        }
        std::mem::take(&mut self.out)
    }

    /// Reads on for a moment. The shell calls this again as the answer says.
    pub(crate) fn pump(&mut self, now: Micros) -> (Wait, Vec<Envelope>) {
        let wait = if self.failed || self.generation == Generation::ZERO {
            Wait::Message
        } else if self.reading.is_some() || self.begin() {
            self.read(now)
        } else {
            self.look_out()
        };
        (wait, std::mem::take(&mut self.out))
    }

    /// About how many bytes are left to read.
    pub(crate) fn lag(&self) -> u64 {
        self.spout.lag()
    }

    fn rewind(&mut self, generation: Generation, positions: BTreeMap<String, Vec<u8>>) {
        if generation < self.generation {
            return;
        }
        let mut outcome = Ok(());
        if generation > self.generation {
            self.generation = generation;
            self.positions = positions;
            self.reading = None;
            self.issued.clear();
            self.newest = TxId::ZERO;
            self.standing = None;
            self.failed = false;
            self.under_way.iter_mut().for_each(|count| *count = 0);
            outcome = self.seek();
        }
        let outcome = outcome.map_err(|error| format!("spout {:?}: {error}", self.name));
        let party = Party::Source(self.index);
        self.out.push(Envelope::Recorder(ToRecorder::Rewound {
            party,
            generation,
            outcome,
        }));
    }

    fn seek(&mut self) -> Result<(), SpoutError> {
        self.ahead = None;
        self.spout.seek(&self.positions)
    }

    /// Begins the next batch, if one was issued.
    fn begin(&mut self) -> bool {
        let Some(batch) = self.issued.pop_front() else {
            return false;
        };
        let replay = batch.replay.get(self.index).cloned().flatten();
        let exact = replay.is_some() || is_careful(&batch);
        let tasks = self.under_way.len();
        self.limits = batch.limits;
        self.reading = Some(Reading {
            info: BatchInfo {
                attempt: batch.attempt,
                base: batch.base,
                time_ms: batch.time_ms,
            },
            since: None,
            records: 0,
            bytes: 0,
            moves: Vec::new(),
            sent: vec![(0, 0); tasks],
            dealt: batch.attempt.txid.0,
            xor: 0,
            dead: Vec::new(),
            replay: replay.map(|Replay { moves, .. }| moves.into()),
            batch,
        });
        // What was read ahead is neither one record nor one range.
        if exact
            && self.ahead.is_some()
            && let Err(error) = self.seek()
        {
            self.fail(error);
            return false;
        }
        true
    }

    fn read(&mut self, now: Micros) -> Wait {
        if self.under_way.iter().any(|count| *count >= WINDOW) {
            return Wait::Message;
        }
        let reading = self
            .reading
            .as_mut()
            .expect("only a batch under way is read");
        let since = *reading.since.get_or_insert(now);
        let limits = reading.batch.limits;
        let elapsed = now.since(since);
        let full =
            self.finishing || reading.records >= limits.records || reading.bytes >= limits.bytes;
        if reading.replay.is_none()
            && (full || (reading.records > 0 && elapsed >= Micros::from_ms(limits.time_ms)))
        {
            return self.complete();
        }
        let most = if is_careful(&reading.batch) { 1 } else { CHUNK };
        let limit = ReadLimit {
            records: limits
                .records
                .saturating_sub(reading.records)
                .clamp(1, most),
            bytes: limits.bytes.saturating_sub(reading.bytes).max(1),
        };
        match self.next(limit) {
            Err(error) => {
                self.fail(error);
                Wait::Message
            }
            Ok(Offer::Chunk(fetched)) => {
                self.add(fetched);
                Wait::Now
            }
            Ok(Offer::Waiting)
                if self
                    .reading
                    .as_ref()
                    .is_some_and(|reading| reading.records > 0 && reading.replay.is_none()) =>
            {
                let left = Micros::from_ms(limits.time_ms).since(elapsed);
                Wait::Poll(left.min(POLL))
            }
            Ok(Offer::Waiting | Offer::Ended) => self.complete(),
        }
    }

    /// The next chunk for the batch: of the range that is read again, read ahead, or new.
    fn next(&mut self, limit: ReadLimit) -> Result<Offer, SpoutError> {
        let reading = self
            .reading
            .as_mut()
            .expect("only a batch under way is read");
        if let Some(replay) = &mut reading.replay {
            let Some(range) = replay.front() else {
                return Ok(Offer::Ended);
            };
            let done = reading
                .moves
                .iter()
                .find(|done| done.partition == range.partition);
            let (records, to) = done.map_or((0, range.from.as_ref()), |done| {
                (done.records, Some(&done.to))
            });
            if records >= range.records && to == Some(&range.to) {
                replay.pop_front();
                return self.next(limit);
            }
            let most = if is_careful(&reading.batch) { 1 } else { CHUNK };
            let limit = ReadLimit {
                records: (range.records.saturating_sub(records)).clamp(1, most),
                bytes: u64::MAX,
            };
            // Less than the first time: the coordinator sees that from the report.
            return Ok(self
                .spout
                .fetch_from(&range.partition, limit)?
                .map_or(Offer::Ended, Offer::Chunk));
        }
        match self.ahead.take() {
            Some(ahead) => ahead.map(Offer::Chunk),
            None => self.spout.fetch(limit),
        }
    }

    /// Makes a chunk part of the batch and sends it to the task whose turn it is.
    fn add(&mut self, fetched: Fetched) {
        if self.spout.replays() == Replays::Identical {
            self.spout.digest(&fetched);
        }
        let reading = self
            .reading
            .as_mut()
            .expect("only a batch under way is read");
        reading.records += fetched.records;
        reading.bytes += fetched.bytes;
        let Fetched {
            partition,
            from,
            to,
            records,
            chunk,
            ..
        } = fetched;
        let one_by_one = is_careful(&reading.batch);
        let origin = one_by_one.then(|| Origin {
            spout: self.name.clone(),
            partition: partition.clone(),
            position: from.clone().unwrap_or_default(),
            end: to.clone(),
            shown: self.spout.describe(&partition, from.as_deref()),
        });
        match reading
            .moves
            .iter_mut()
            .find(|done| done.partition == partition)
        {
            Some(done) => {
                done.to = to;
                done.records += records;
            }
            None => reading.moves.push(PartitionMove {
                partition: partition.clone(),
                from: from.clone(),
                to,
                records,
                digest: None,
            }),
        }
        if records == 0 {
            return;
        }
        if let Some(skip) = reading
            .batch
            .skip
            .iter()
            .find(|skip| Some(&skip.origin) == origin.as_ref())
        {
            let Origin {
                spout,
                partition,
                position,
                ..
            } = skip.origin.clone();
            let record = self.spout.encode(chunk);
            reading.dead.push(DeadLetter {
                spout,
                partition,
                position,
                cause: skip.cause.clone(),
                record,
            });
            return;
        }
        let task = (reading.dealt % self.under_way.len() as u64) as u16;
        reading.dealt += 1;
        let (chunks, sent) = &mut reading.sent[usize::from(task)];
        let seq = *chunks;
        *chunks += 1;
        *sent += records;
        self.under_way[usize::from(task)] += 1;
        reading.xor ^= edge_id(reading.info.attempt, self.edge as u32, 0, task.into(), seq);
        let chunk = chunk.with_origin(origin.map(Box::new));
        let data = ToExecutor::Data {
            edge: self.edge,
            from: 0,
            batch: reading.info,
            seq,
            chunk,
        };
        self.out.push(Envelope::Executor(task, data));
    }

    /// Ends the batch: markers to all tasks, and the report to the coordinator.
    fn complete(&mut self) -> Wait {
        let Some(mut reading) = self.reading.take() else {
            return Wait::Now;
        };
        let attempt = reading.info.attempt;
        let mut dead = std::mem::take(&mut reading.dead);
        for (task, (chunks, records)) in (0u16..).zip(&reading.sent) {
            reading.xor ^= edge_id(attempt, self.edge as u32, 0, task.into(), *chunks);
            let (edge, batch, chunks, records) = (self.edge, reading.info, *chunks, *records);
            let end = ToExecutor::End {
                edge,
                from: 0,
                batch,
                chunks,
                records,
                dead: std::mem::take(&mut dead),
            };
            self.out.push(Envelope::Executor(task, end));
        }
        if self.spout.replays() == Replays::Identical {
            let digests = self.spout.take_digests();
            for done in &mut reading.moves {
                done.digest = digests.get(&done.partition).copied();
            }
        }
        for done in &reading.moves {
            self.positions
                .insert(done.partition.clone(), done.to.clone());
        }
        let more = self.look_ahead();
        self.standing = Some(more);
        let report = ReadReport {
            moves: reading.moves,
            records: reading.records,
            bytes: reading.bytes,
            more,
        };
        self.out.push(Envelope::Coordinator(Event::Read {
            attempt,
            spout: self.index,
            report,
            xor: reading.xor,
        }));
        Wait::Now
    }

    fn fail(&mut self, error: SpoutError) {
        self.failed = true;
        let Some(reading) = &self.reading else { return };
        let attempt: Attempt = reading.info.attempt;
        let cause = Cause {
            kind: CauseKind::Spout,
            operator: Some(format!("spout {:?}", self.name)),
            message: error.message,
            origin: None,
            permanent: error.permanent,
        };
        self.out
            .push(Envelope::Coordinator(Event::Failed { attempt, cause }));
    }
}

/// Whether records go one by one, with their origins.
fn is_careful(batch: &Batch) -> bool {
    batch.careful || !batch.skip.is_empty()
}
