//! Aggregators: how the records of a group become one value.

mod builtin;
mod tuple;

pub use builtin::{Count, First, Max, Min, Sum};
pub use tuple::Reduced;

use fulmar_state::Value;

use crate::data::{ExchangeData, Key};
use crate::stream::{GroupedStream, StateHandle, StateSpec};

/// An aggregator whose partial results can be combined in any order and any grouping.
///
/// `combine` must be associative and commutative: partial results are made on every executor, before the
/// exchange, and merged again in the state. Nobody checks it for you but your own tests.
///
/// ```
/// use fulmar::aggregate::CombinerAggregator;
///
/// /// The longest word of a group.
/// struct Longest;
/// impl CombinerAggregator<String> for Longest {
///     type Value = u64;
///     fn init(&self, word: &String) -> u64 { word.len() as u64 }
///     fn combine(&self, into: &mut u64, other: u64) { *into = (*into).max(other) }
/// }
/// let mut longest = Longest.init(&"fulmar".to_string());
/// Longest.combine(&mut longest, Longest.init(&"storm".to_string()));
/// assert_eq!(longest, 6);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not aggregate records of type `{T}`",
    note = "built in are `Count`, `Sum`, `Min`, `Max`, `First` and tuples of them; or implement `CombinerAggregator<{T}>`"
)]
pub trait CombinerAggregator<T>: Send + Sync + 'static {
    /// What a group's records become.
    type Value: Value;

    /// The value of one record alone.
    fn init(&self, record: &T) -> Self::Value;

    /// Adds another partial result.
    fn combine(&self, into: &mut Self::Value, other: Self::Value);
}

/// An aggregator that needs a group's records one by one, in the batch's fixed order: upstream task, then sequence.
///
/// That order is the same for equal batches on equally many executors. It is not the order of the source, whose chunks
/// are dealt out to the executors; and a batch that is read again in other chunks (a followed file that has grown) may
/// come in another one. The results are exactly-once all the same.
///
/// ```
/// use fulmar::aggregate::ReducerAggregator;
///
/// /// The last record of a group.
/// struct Last;
/// impl ReducerAggregator<String> for Last {
///     type Value = String;
///     fn reduce(&self, value: Option<String>, record: &String) -> String { record.clone() }
/// }
/// assert_eq!(Last.reduce(None, &"a".to_string()), "a");
/// ```
pub trait ReducerAggregator<T>: Send + Sync + 'static {
    /// What a group's records become.
    type Value: Value;

    /// The value after `record`; `value` is `None` for the first record a key ever had.
    fn reduce(&self, value: Option<Self::Value>, record: &T) -> Self::Value;
}

/// What `persistent_aggregate` takes: a combiner or a reducer; `Kind` is inferred and never written.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not aggregate records of type `{T}`",
    note = "`persistent_aggregate` takes a `CombinerAggregator<{T}>` (`Count`, `Sum`, `Min`, `Max`, tuples of them) or a `ReducerAggregator<{T}>` (`First`, `Reduced`, tuples of them)"
)]
pub trait PersistentAggregator<T, Kind>: Sized {
    /// What a group's records become.
    type Value: Value;

    /// Puts the aggregator behind `grouped`, with its results kept in `state`.
    fn persist<K: Key>(
        self,
        grouped: GroupedStream<K, T>,
        state: StateSpec,
    ) -> StateHandle<K, Self::Value>;
}

/// Marks an aggregator that combines; see [`PersistentAggregator`].
pub struct Combines;

/// Marks an aggregator that reduces; see [`PersistentAggregator`].
pub struct Reduces;

impl<T: ExchangeData, C: CombinerAggregator<T>> PersistentAggregator<T, Combines> for C {
    type Value = C::Value;

    fn persist<K: Key>(
        self,
        grouped: GroupedStream<K, T>,
        state: StateSpec,
    ) -> StateHandle<K, C::Value> {
        grouped.combine_into(state, self)
    }
}

impl<T: ExchangeData, R: ReducerAggregator<T>> PersistentAggregator<T, Reduces> for R {
    type Value = R::Value;

    fn persist<K: Key>(
        self,
        grouped: GroupedStream<K, T>,
        state: StateSpec,
    ) -> StateHandle<K, R::Value> {
        grouped.reduce_into(state, self)
    }
}
