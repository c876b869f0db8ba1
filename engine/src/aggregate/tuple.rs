//! Several aggregators in one pass: tuples of combiners, tuples of reducers.

use super::{CombinerAggregator, ReducerAggregator};

/// Runs a combiner as a reducer, so that it can stand in a tuple with one.
///
/// ```
/// use fulmar::aggregate::{Count, First, Reduced, ReducerAggregator};
///
/// let both = (Reduced(Count), First);
/// let value = both.reduce(None, &"a".to_string());
/// assert_eq!(both.reduce(Some(value), &"b".to_string()), (2, "a".to_string()));
/// ```
pub struct Reduced<C>(pub C);

impl<T, C: CombinerAggregator<T>> ReducerAggregator<T> for Reduced<C> {
    type Value = C::Value;

    fn reduce(&self, value: Option<C::Value>, record: &T) -> C::Value {
        let one = self.0.init(record);
        match value {
            None => one,
            Some(mut value) => {
                self.0.combine(&mut value, one);
                value
            }
        }
    }
}

macro_rules! tuples {
    ($($name:ident $at:tt $value:ident),+) => {
        impl<T, $($name: CombinerAggregator<T>),+> CombinerAggregator<T> for ($($name,)+) {
            type Value = ($($name::Value,)+);

            #[inline]
            fn init(&self, record: &T) -> Self::Value {
                ($(self.$at.init(record),)+)
            }

            #[inline]
            fn combine(&self, into: &mut Self::Value, other: Self::Value) {
                $(self.$at.combine(&mut into.$at, other.$at);)+
            }
        }

        impl<T, $($name: ReducerAggregator<T>),+> ReducerAggregator<T> for ($($name,)+) {
            type Value = ($($name::Value,)+);

            fn reduce(&self, value: Option<Self::Value>, record: &T) -> Self::Value {
                let ($($value,)+) = match value {
                    None => ($(None::<$name::Value>,)+),
                    Some(values) => ($(Some(values.$at),)+),
                };
                ($(self.$at.reduce($value, record),)+)
            }
        }
    };
}

tuples!(A 0 a);
tuples!(A 0 a, B 1 b);
tuples!(A 0 a, B 1 b, C 2 c);
tuples!(A 0 a, B 1 b, C 2 c, D 3 d);
tuples!(A 0 a, B 1 b, C 2 c, D 3 d, E 4 e);
tuples!(A 0 a, B 1 b, C 2 c, D 3 d, E 4 e, F 5 f);
