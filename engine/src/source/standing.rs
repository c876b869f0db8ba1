//! Between batches: whether there is anything for another, and what the coordinator is told of it.

use fulmar_coordinator::{Event, More};

use super::{CHUNK, POLL, Source, Wait};
use crate::message::Envelope;
use crate::spout::ReadLimit;
use crate::spout::task::Offer;

impl Source {
    /// Says again how it stands, for shells whose links may lose what it said.
    #[cfg_attr(
        not(feature = "testing"),
        expect(dead_code, reason = "the links within a process lose nothing")
    )]
    pub(crate) fn repeat(&mut self) -> Vec<Envelope> {
        if self.reading.is_none() && self.issued.is_empty() {
            let standing = self.standing;
            self.out.extend(standing.map(|more| self.says(more)));
        }
        std::mem::take(&mut self.out)
    }

    fn says(&self, more: More) -> Envelope {
        let (spout, generation) = (self.index, self.generation);
        Envelope::Coordinator(match more {
            More::Ready => Event::Ready { spout, generation },
            More::Waiting => Event::Waiting { spout, generation },
            More::Exhausted => Event::Exhausted { spout, generation },
        })
    }

    /// Finds out whether there is anything for another batch. An error waits for that batch, which then fails with it.
    pub(super) fn look_ahead(&mut self) -> More {
        if self.ahead.is_none() {
            match self.spout.fetch(ReadLimit {
                records: self.limits.records.clamp(1, CHUNK),
                bytes: self.limits.bytes.max(1),
            }) {
                Ok(Offer::Chunk(fetched)) => self.ahead = Some(Ok(fetched)),
                Ok(Offer::Waiting) => return More::Waiting,
                Ok(Offer::Ended) => return More::Exhausted,
                Err(error) => self.ahead = Some(Err(error)),
            }
        }
        More::Ready
    }

    /// Between batches: tells the coordinator when there is something to read.
    pub(super) fn look_out(&mut self) -> Wait {
        if matches!(self.standing, Some(More::Ready | More::Exhausted)) {
            return Wait::Message;
        }
        let more = self.look_ahead();
        if self.standing != Some(more) {
            self.standing = Some(more);
            let says = self.says(more);
            self.out.push(says);
        }
        if more == More::Waiting {
            Wait::Poll(POLL)
        } else {
            Wait::Message
        }
    }
}
