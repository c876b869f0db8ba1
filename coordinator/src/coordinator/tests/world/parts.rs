//! The world's sources and workers, as simple as their contract allows.

use super::*;

impl World {
    pub(super) fn rewind_source(
        &mut self,
        index: usize,
        generation: Generation,
        positions: &Positions,
    ) {
        let source = &mut self.sources[index];
        if generation > source.generation {
            let at = positions.get(&self.settings.spouts[index].name, "0");
            source.at = at.map_or(0, |at| u64::from_be_bytes(at.try_into().unwrap()));
            source.generation = generation;
            source.next = TxId::ZERO;
        }
        if generation == source.generation {
            self.stand(index);
        }
    }

    /// A source says how it stands.
    pub(super) fn stand(&mut self, index: usize) {
        let source = &self.sources[index];
        let generation = source.generation;
        if generation > Generation::ZERO {
            let exhausted = source.at == self.ends[index];
            let (spout, epoch) = (index, generation.epoch);
            let event = if exhausted {
                Event::Exhausted { spout, generation }
            } else {
                Event::Ready { spout, generation }
            };
            self.mail.push(Mail::Report(epoch, event));
        }
    }

    pub(super) fn read(&mut self, index: usize, batch: Batch) {
        let wanted = 1 + self.below(4);
        let (end, spout) = (self.ends[index], &self.settings.spouts[index]);
        let source = &mut self.sources[index];
        // Late, repeated, or one before it was lost: the deadline sees to it.
        if batch.attempt.generation != source.generation
            || source.next != TxId::ZERO && batch.attempt.txid != source.next
        {
            return;
        }
        source.next = batch.attempt.txid.next();
        let from = source.at;
        let to = match &batch.replay[index] {
            Some(replay) => from + replay.records,
            None => (from + wanted).min(end),
        };
        source.at = to;
        let position = |at: u64| at.to_be_bytes().to_vec();
        let (partition, before) = ("0".to_owned(), (from > 0).then(|| position(from)));
        let step = PartitionMove {
            partition,
            from: before,
            to: position(to),
            records: to - from,
            digest: Some(from << 32 | to),
        };
        assert!(spout.replays == Replays::Identical || batch.replay[index].is_none());
        let report = ReadReport {
            moves: if from == to { vec![] } else { vec![step] },
            records: to - from,
            bytes: 1,
            more: if to == end {
                More::Exhausted
            } else {
                More::Ready
            },
        };
        let mut xor = 0;
        for worker in 0..self.workers.len() {
            xor ^= edge_id(batch.attempt, 0, index as u32, worker as u32, 0);
            self.mail.push(Mail::Share {
                worker,
                spout: index,
                batch: batch.clone(),
                range: (from, to),
            });
        }
        let attempt = batch.attempt;
        self.mail.push(Mail::Report(
            attempt.generation.epoch,
            Event::Read {
                attempt,
                spout: index,
                report,
                xor,
            },
        ));
    }

    pub(super) fn rewind_worker(
        &mut self,
        index: usize,
        generation: Generation,
        sealed: Option<Attempt>,
    ) {
        let worker = &mut self.workers[index];
        if generation < worker.highest {
            return;
        }
        if generation > worker.highest {
            let newest = sealed.map_or(TxId::ZERO, |sealed| sealed.txid);
            assert_eq!(
                worker.log.get(&newest).map(|entry| entry.attempt),
                sealed,
                "I4: every worker has what is sealed"
            );
            worker.highest = generation;
            worker.log.retain(|txid, _| *txid <= newest);
            worker.shares.clear();
        }
        let event = Event::Rewound {
            worker: WORKERS[index],
            generation,
            outcome: Ok(()),
        };
        self.mail.push(Mail::Report(generation.epoch, event));
    }

    pub(super) fn share(&mut self, index: usize, spout: usize, batch: Batch, range: (u64, u64)) {
        let spouts = self.sources.len();
        let worker = &mut self.workers[index];
        let attempt = batch.attempt;
        if attempt.generation == worker.highest && !worker.log.contains_key(&attempt.txid) {
            worker
                .shares
                .entry(attempt)
                .or_insert_with(|| vec![None; spouts])[spout] = Some((batch, range));
        }
        self.prepare(index);
    }

    /// Prepares whatever is whole, in order; a poison record fails its attempt.
    fn prepare(&mut self, index: usize) {
        loop {
            let worker = &mut self.workers[index];
            let base = worker.log.values().next_back().map(|entry| entry.attempt);
            let next = base.map_or(TxId::ZERO, |base| base.txid).next();
            let found = worker.shares.iter().find(|(attempt, shares)| {
                attempt.txid == next && shares.iter().all(Option::is_some)
            });
            let Some((attempt, shares)) = found.map(|(attempt, shares)| (*attempt, shares.clone()))
            else {
                return;
            };
            worker.shares.remove(&attempt);
            let batch = shares[0].as_ref().expect("whole").0.clone();
            if batch.base != base {
                return;
            }
            let content: Content = shares.iter().flatten().map(|(_, range)| *range).collect();
            let names: Vec<_> = self
                .settings
                .spouts
                .iter()
                .map(|spout| spout.name.clone())
                .collect();
            let at = |spout: usize, position: u64| Origin {
                spout: names[spout].clone(),
                ..origin(position)
            };
            let left_out = |(spout, position): &(usize, u64)| {
                batch
                    .skip
                    .iter()
                    .any(|skip| skip.origin == at(*spout, *position))
            };
            let held = |(spout, position): &&(usize, u64)| {
                (content[*spout].0..content[*spout].1).contains(position)
            };
            let (dead, bad): (Vec<_>, Vec<_>) =
                self.poison.iter().filter(held).copied().partition(left_out);
            let event = match bad.first() {
                Some((spout, position)) => {
                    let origin = batch.careful.then(|| at(*spout, *position));
                    Event::Failed {
                        attempt,
                        cause: Cause {
                            origin: origin.map(Box::new),
                            ..cause(CauseKind::User)
                        },
                    }
                }
                None => {
                    worker.log.insert(
                        attempt.txid,
                        Entry {
                            attempt,
                            base,
                            content,
                            dead,
                        },
                    );
                    let edges = (0..shares.len()).fold(0, |xor, spout| {
                        xor ^ edge_id(attempt, 0, spout as u32, index as u32, 0)
                    });
                    Event::Ack {
                        attempt,
                        xor: edges ^ prepare_id(attempt, WORKERS[index]),
                    }
                }
            };
            self.mail
                .push(Mail::Report(attempt.generation.epoch, event));
        }
    }

    /// A worker forgets what is not durable; with or without a word to the coordinator.
    pub(super) fn crash(&mut self, index: usize, word: bool) {
        self.workers[index].shares.clear();
        if word {
            let event = Event::Restarted {
                worker: WORKERS[index],
                cause: cause(CauseKind::WorkerLost),
            };
            self.mail.push(Mail::Report(self.newest(), event));
        }
    }
}
