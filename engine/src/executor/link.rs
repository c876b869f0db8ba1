//! One numbered, first-in-first-out link into a task.

use std::collections::VecDeque;

use crate::chunk::Chunk;

pub(super) enum Item {
    /// A chunk; `credited` when its sender was told already that it is taken up.
    Data {
        seq: u64,
        chunk: Chunk,
        credited: bool,
    },
    End {
        chunks: u64,
        records: u64,
    },
}

/// What came over one link for one batch.
#[derive(Default)]
pub(super) struct Link {
    waiting: VecDeque<Item>,
    chunks: u64,
    records: u64,
    /// The end marker came.
    told: bool,
    /// The end marker was taken up.
    pub(super) ended: bool,
}

impl Link {
    /// Adds what came; an error says what is missing or too much.
    pub(super) fn push(&mut self, item: Item) -> Result<(), String> {
        match &item {
            _ if self.told => return Err("something came after the end of the batch".into()),
            Item::Data { seq, chunk, .. } => {
                if *seq != self.chunks {
                    return Err(format!(
                        "chunk {} came, {} was expected: one was lost or came twice",
                        seq, self.chunks
                    ));
                }
                self.chunks += 1;
                self.records += chunk.records();
            }
            Item::End { chunks, records } => {
                if (*chunks, *records) != (self.chunks, self.records) {
                    return Err(format!(
                        "{} chunks with {} records came, {chunks} with {records} were sent",
                        self.chunks, self.records
                    ));
                }
                self.told = true;
            }
        }
        self.waiting.push_back(item);
        Ok(())
    }

    /// Makes it new, for another batch.
    pub(super) fn clear(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.clear();
        *self = Link {
            waiting,
            ..Link::default()
        };
    }

    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.waiting.pop_front()?;
        self.ended = matches!(item, Item::End { .. });
        Some(item)
    }
}
