//! The aggregators that come with the engine.

use std::ops::AddAssign;

use fulmar_state::Value;

use super::{CombinerAggregator, ReducerAggregator};

/// Counts records.
///
/// ```
/// use fulmar::aggregate::{CombinerAggregator, Count};
///
/// let mut count = Count.init(&"one");
/// CombinerAggregator::<&str>::combine(&Count, &mut count, 1);
/// assert_eq!(count, 2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Count;

impl<T> CombinerAggregator<T> for Count {
    type Value = u64;

    #[inline]
    fn init(&self, _record: &T) -> u64 {
        1
    }

    #[inline]
    fn combine(&self, into: &mut u64, other: u64) {
        *into = into.wrapping_add(other);
    }
}

/// Adds up what a function reads from each record; integers are exact, floats depend on the order of addition.
///
/// ```
/// use fulmar::aggregate::{CombinerAggregator, Sum};
///
/// let cents = Sum::by(|sale: &(String, u64)| sale.1);
/// let mut sum = cents.init(&("tea".into(), 250));
/// cents.combine(&mut sum, cents.init(&("tea".into(), 150)));
/// assert_eq!(sum, 400);
/// ```
pub struct Sum<F>(F);

impl<F> Sum<F> {
    /// Sums `field(record)`.
    pub fn by<T, V>(field: F) -> Self
    where
        F: Fn(&T) -> V + Send + Sync + 'static,
    {
        Sum(field)
    }
}

impl<T, V, F> CombinerAggregator<T> for Sum<F>
where
    V: Value + AddAssign,
    F: Fn(&T) -> V + Send + Sync + 'static,
{
    type Value = V;

    #[inline]
    fn init(&self, record: &T) -> V {
        (self.0)(record)
    }

    #[inline]
    fn combine(&self, into: &mut V, other: V) {
        *into += other;
    }
}

/// Keeps the smallest of what a function reads from each record.
///
/// ```
/// use fulmar::aggregate::{CombinerAggregator, Min};
///
/// let first = Min::by(|word: &String| word.clone());
/// let mut min = first.init(&"b".to_string());
/// first.combine(&mut min, first.init(&"a".to_string()));
/// assert_eq!(min, "a");
/// ```
pub struct Min<F>(F);

/// Keeps the largest of what a function reads from each record.
///
/// ```
/// use fulmar::aggregate::{CombinerAggregator, Max};
///
/// let longest = Max::by(|word: &String| word.len() as u64);
/// let mut max = longest.init(&"tea".to_string());
/// longest.combine(&mut max, longest.init(&"coffee".to_string()));
/// assert_eq!(max, 6);
/// ```
pub struct Max<F>(F);

macro_rules! extreme {
    ($name:ident, $better:tt) => {
        impl<F> $name<F> {
            /// Compares `field(record)`.
            pub fn by<T, V>(field: F) -> Self
            where
                F: Fn(&T) -> V + Send + Sync + 'static,
            {
                $name(field)
            }
        }

        impl<T, V, F> CombinerAggregator<T> for $name<F>
        where
            V: Value + Ord,
            F: Fn(&T) -> V + Send + Sync + 'static,
        {
            type Value = V;

            #[inline]
            fn init(&self, record: &T) -> V {
                (self.0)(record)
            }

            #[inline]
            fn combine(&self, into: &mut V, other: V) {
                if other $better *into {
                    *into = other;
                }
            }
        }
    };
}

extreme!(Min, <);
extreme!(Max, >);

/// Keeps the first record a key ever had: of the first batch that has one, the first in that batch's fixed order (see
/// [`ReducerAggregator`]), which is not that of the source.
///
/// ```
/// use fulmar::aggregate::{First, ReducerAggregator};
///
/// let value = First.reduce(None, &7u32);
/// assert_eq!(First.reduce(Some(value), &8), 7);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct First;

impl<T: Value> ReducerAggregator<T> for First {
    type Value = T;

    fn reduce(&self, value: Option<T>, record: &T) -> T {
        value.unwrap_or_else(|| record.clone())
    }
}
