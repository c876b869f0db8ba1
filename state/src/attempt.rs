//! The names of batches and of tries at them: the only vocabulary shared upward.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A batch's transaction id: 1, 2, 3, … without gaps, for the life of a topology.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TxId(pub u64);

impl TxId {
    /// Before the first batch: nothing is sealed yet.
    pub const ZERO: TxId = TxId(0);

    /// The batch after this one.
    #[must_use]
    pub fn next(self) -> TxId {
        TxId(
            self.0
                .checked_add(1)
                .expect("2^64 batches are never reached"),
        )
    }

    /// The batch before this one; `None` before the first.
    #[must_use]
    pub fn prev(self) -> Option<TxId> {
        self.0.checked_sub(1).map(TxId)
    }
}

/// One coordinator's term; grows with every take-over and fences out older coordinators.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Epoch(pub u64);

/// One rewind: the epoch and, within it, the rewind's number. Ordered by epoch, then number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Generation {
    /// The coordinator's term.
    pub epoch: Epoch,
    /// The rewind within the term.
    pub number: u64,
}

impl Generation {
    /// Before the first rewind.
    pub const ZERO: Generation = Generation {
        epoch: Epoch(0),
        number: 0,
    };

    /// A generation of an epoch.
    #[must_use]
    pub fn new(epoch: u64, number: u64) -> Generation {
        Generation {
            epoch: Epoch(epoch),
            number,
        }
    }
}

/// One try at a batch. Ordered by txid, then generation; never reused, not across restarts either.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Attempt {
    /// The batch.
    pub txid: TxId,
    /// The rewind since which the batch is tried.
    pub generation: Generation,
}

impl Attempt {
    /// A try at `txid` in `generation`.
    #[must_use]
    pub fn new(txid: TxId, generation: Generation) -> Attempt {
        Attempt { txid, generation }
    }
}

/// A fixed share of a state's keys. The number 0xFFFF is never a partition.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Partition(pub u16);

/// A state's position in its topology; on disk its data goes by the state's *name*.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct StateId(pub u16);

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.txid, self.generation)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for StateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_order_by_txid_then_epoch_then_number() {
        let attempt = |t, e, n| Attempt::new(TxId(t), Generation::new(e, n));
        let ascending = [
            attempt(1, 1, 0),
            attempt(1, 1, 9),
            attempt(1, 2, 0),
            attempt(2, 1, 0),
            attempt(2, 1, 1),
        ];
        assert!(ascending.is_sorted());
        assert_eq!(attempt(17, 3, 2).to_string(), "17@3.2");
    }

    #[test]
    fn nothing_comes_before_zero() {
        assert_eq!(TxId::ZERO.prev(), None);
        assert_eq!(TxId(7).prev(), Some(TxId(6)));
        assert_eq!(TxId::ZERO.next(), TxId(1));
    }
}
