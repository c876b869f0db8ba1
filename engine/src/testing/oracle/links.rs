//! What links between executors did to attempts: a loss is noticed by the next that comes over the link, and nothing else fails by one.

use std::collections::{BTreeMap, BTreeSet};

use fulmar_coordinator::{CauseKind, Event};
use fulmar_state::{Attempt, Generation, TxId};

use super::super::links::Mail;
use super::Broken;
use crate::message::{Envelope, ToExecutor};

/// A link's part in an attempt: attempt, edge, sender, receiver.
type Stretch = (Attempt, usize, u16, u16);

/// What was lost or repeated, and which attempts each executor still works on.
#[derive(Default)]
pub(in super::super) struct LinkWatch {
    /// Attempts of which something was lost or repeated on its way.
    touched: BTreeSet<Attempt>,
    /// Links of an attempt over which a chunk was lost.
    gaps: BTreeSet<Stretch>,
    /// Chunks that came already when they come again, or are lost.
    copies: BTreeSet<(Stretch, u64)>,
    /// The newest generation that was issued, and the newest when a worker died: what that has cost was not looked at.
    issued: Generation,
    excused: Generation,
    /// The generation of each executor, and the first batch that it has given up.
    executors: BTreeMap<u16, (Generation, Option<TxId>)>,
}

impl LinkWatch {
    /// A coordinator issues an attempt.
    pub(in super::super) fn issued(&mut self, attempt: Attempt) {
        self.issued = self.issued.max(attempt.generation);
    }

    /// A worker's process is gone, with these executors and what was on its way to them.
    pub(in super::super) fn died(&mut self, executors: std::ops::Range<u16>) {
        self.excused = self.issued;
        self.executors
            .retain(|executor, _| !executors.contains(executor));
    }

    /// A message between two processes comes twice.
    pub(in super::super) fn repeated(&mut self, mail: &Mail, to: usize) {
        self.touch(mail);
        self.copies.extend(chunk(mail, to));
    }

    fn touch(&mut self, mail: &Mail) {
        if let Mail::Executor(ToExecutor::Data { batch, .. } | ToExecutor::End { batch, .. }) = mail
        {
            self.touched.insert(batch.attempt);
        }
    }

    /// A message between two processes is lost.
    pub(in super::super) fn lost(&mut self, mail: &Mail, to: usize) {
        self.touch(mail);
        let missing = chunk(mail, to).filter(|chunk| !self.copies.contains(chunk));
        self.gaps.extend(missing.map(|(stretch, _)| stretch));
    }

    /// What an executor is about to take: the attempt that it has to fail, as something before this was lost.
    pub(in super::super) fn takes(
        &mut self,
        executor: u16,
        message: &ToExecutor,
    ) -> Option<Attempt> {
        let (edge, from, attempt) = match message {
            ToExecutor::Rewind { generation, .. } => {
                let known = self.executors.entry(executor).or_default();
                if *generation > known.0 {
                    *known = (*generation, None);
                }
                return None;
            }
            ToExecutor::Data {
                edge, from, batch, ..
            }
            | ToExecutor::End {
                edge, from, batch, ..
            } => (*edge, *from, batch.attempt),
            _ => return None,
        };
        let gap = self.gaps.contains(&(attempt, edge, from, executor));
        let (generation, failed) = self.executors.get(&executor)?;
        let live =
            *generation == attempt.generation && failed.is_none_or(|failed| attempt.txid < failed);
        (gap && live).then_some(attempt)
    }

    /// What an executor made of it.
    pub(in super::super) fn made(
        &mut self,
        executor: u16,
        lost: Option<Attempt>,
        made: &[Envelope],
    ) -> Result<(), Broken> {
        let mut noticed = false;
        for envelope in made {
            let Envelope::Coordinator(Event::Failed { attempt, cause }) = envelope else {
                continue;
            };
            let touched = self.touched.contains(attempt) || attempt.generation <= self.excused;
            if cause.kind == CauseKind::Link && !touched {
                return Err(format!(
                    "I6: executor {executor} fails {attempt}, of which nothing was lost and nothing came twice: {cause}"
                ));
            }
            noticed |= lost.is_some_and(|lost| attempt.txid <= lost.txid);
            if let Some((_, failed)) = self.executors.get_mut(&executor) {
                *failed = Some(failed.map_or(attempt.txid, |failed| failed.min(attempt.txid)));
            }
        }
        match lost.filter(|_| !noticed) {
            None => Ok(()),
            Some(lost) => Err(format!(
                "executor {executor} goes on with {lost}, of which a chunk that it was sent is missing"
            )),
        }
    }
}

/// The chunk that a message carries.
fn chunk(mail: &Mail, to: usize) -> Option<(Stretch, u64)> {
    match mail {
        Mail::Executor(ToExecutor::Data {
            edge,
            from,
            batch,
            seq,
            ..
        }) => Some(((batch.attempt, *edge, *from, to as u16), *seq)),
        _ => None,
    }
}
