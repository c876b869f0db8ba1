//! Whether terms fit together that several processes led one after the other: no batch twice, none lost, epochs that grow.

use anyhow::{Result, ensure};

use crate::member::Sealed;
use crate::program::From;

/// One term, as the process tells it that led.
#[derive(Clone, Debug)]
pub(crate) struct Term {
    /// None if the process was cut before it told.
    pub(crate) epoch: Option<u64>,
    /// The process's number.
    pub(crate) by: usize,
    /// From where it went on, unless it was cut before it said so.
    pub(crate) from: Option<From>,
    /// The batches that it told of, in their order. A process that is killed may lose the last ones.
    pub(crate) sealed: Vec<Sealed>,
}

/// What the terms so far have told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    /// The last term's epoch.
    epoch: u64,
    /// The greatest batch that is known to be sealed.
    pub(crate) told: u64,
    /// From where the last term went on that said so.
    pub(crate) last: From,
    /// How many lines the batches up to the last one told have, where that is known.
    lines: Option<u64>,
    /// How many batches were told of.
    pub(crate) all: usize,
}

impl Default for History {
    fn default() -> Self {
        History {
            epoch: 0,
            told: 0,
            last: From { batch: 0, lines: 0 },
            lines: None,
            all: 0,
        }
    }
}

impl History {
    /// Judges the next term, and takes it in.
    pub(crate) fn add(&mut self, term: &Term) -> Result<()> {
        let Term {
            epoch,
            by,
            from,
            sealed,
        } = term;
        let what = match epoch {
            Some(epoch) => format!("{by} in epoch {epoch}"),
            None => format!("{by}"),
        };
        if let Some(epoch) = *epoch {
            ensure!(epoch > self.epoch, "two led in one epoch: {what}");
            self.epoch = epoch;
        }
        let (told, last, lines) = (self.told, self.last, self.lines);
        if let Some(from) = *from {
            ensure!(
                from.batch >= told && from.batch >= last.batch && from.lines >= last.lines,
                "what was sealed is lost: after {last:?}, batch {told} was told, but it goes on after {from:?}: {what}"
            );
            ensure!(
                from.batch > told || lines.is_none_or(|lines| from.lines == lines),
                "the batches up to {told} had {lines:?} lines, but it goes on after {from:?}: {what}"
            );
            (self.last, self.told, self.lines) = (from, from.batch, Some(from.lines));
        } else if !sealed.is_empty() {
            self.lines = None;
        }
        for (at, batch) in sealed.iter().enumerate() {
            let told = self.told;
            // Of a term that was cut before it said from where it goes on, only the order is known.
            let next = from.is_some() || at > 0;
            ensure!(
                batch.txid > told && (!next || batch.txid == told + 1),
                "batch {} was sealed after batch {told}: {what}",
                batch.txid
            );
            ensure!(
                epoch.is_none_or(|epoch| epoch == batch.epoch),
                "batch {} was sealed in epoch {}: {what}",
                batch.txid,
                batch.epoch
            );
            self.told = batch.txid;
            self.lines = self.lines.map(|lines| lines + batch.records);
        }
        self.all += sealed.len();
        Ok(())
    }
}

/// Judges the terms, which come in any order, and answers how many batches they tell of.
pub(crate) fn judge(mut terms: Vec<Term>) -> Result<usize> {
    terms.sort_by_key(|term| term.epoch);
    let mut history = History::default();
    terms.iter().try_for_each(|term| history.add(term))?;
    Ok(history.all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A term that goes on after a batch with ten lines a batch, and tells of these batches.
    fn term(epoch: u64, after: u64, told: &[u64]) -> Term {
        let sealed = told.iter().map(|txid| Sealed {
            txid: *txid,
            epoch,
            records: 10,
            together: 1,
            attempts: 1,
        });
        Term {
            epoch: Some(epoch),
            by: 0,
            from: Some(From {
                batch: after,
                lines: 10 * after,
            }),
            sealed: sealed.collect(),
        }
    }

    fn refused(terms: Vec<Term>) -> String {
        judge(terms).unwrap_err().to_string()
    }

    #[test]
    fn terms_that_fit_are_taken_in_any_order_and_with_their_last_lines_lost() {
        let terms = vec![term(5, 4, &[5, 6]), term(2, 0, &[1, 2]), term(3, 2, &[3])];
        assert_eq!(judge(terms).unwrap(), 5);
        // One that was cut before it said from where it goes on.
        let mut cut = term(3, 2, &[4]);
        cut.from = None;
        assert_eq!(
            judge(vec![term(2, 0, &[1, 2]), cut, term(4, 5, &[])]).unwrap(),
            3
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let twice = vec![term(1, 0, &[1, 2]), term(2, 1, &[2])];
        assert!(refused(twice).contains("what was sealed is lost"));
        let mut silent = term(2, 1, &[2]);
        silent.from = None;
        let unsaid = vec![term(1, 0, &[1, 2]), silent];
        assert!(refused(unsaid).contains("batch 2 was sealed after batch 2"));
        let gap = vec![term(1, 0, &[1, 3])];
        assert!(refused(gap).contains("batch 3 was sealed after batch 1"));
        let both = vec![term(1, 0, &[1]), term(1, 1, &[2])];
        assert!(refused(both).contains("two led in one epoch"));
        let mut wrong = term(2, 2, &[]);
        wrong.from = Some(From {
            batch: 2,
            lines: 19,
        });
        let lines = vec![term(1, 0, &[1, 2]), wrong];
        assert!(refused(lines).contains("lines"));
    }
}
