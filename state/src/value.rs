//! Values, how deltas combine, and what a batch does to a key.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a state may hold: anything serde can carry. Implemented for all such types.
pub trait Value: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static> Value for T {}

/// How a delta joins a value. Must be associative and commutative: deltas of several batches are combined before
/// they meet the value, and in any grouping. A delta that meets no value becomes the value.
pub trait Merge<V>: Clone + Send + Sync + 'static {
    /// Adds `delta` to `into`.
    fn merge(&self, into: &mut V, delta: V);
}

impl<V, F: Fn(&mut V, V) + Clone + Send + Sync + 'static> Merge<V> for F {
    fn merge(&self, into: &mut V, delta: V) {
        self(into, delta);
    }
}

/// What a batch does to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<V> {
    /// Adds to whatever the value is; becomes the value if there is none.
    Delta(V),
    /// Replaces whatever the value is.
    Put(V),
    /// Takes the key out.
    Remove,
}

impl<V> Change<V> {
    /// This change followed by a newer one, as one change.
    #[must_use]
    pub fn then(mut self, newer: Change<V>, merge: &impl Merge<V>) -> Change<V> {
        self.extend(newer, merge);
        self
    }

    /// Makes this change end in a newer one.
    pub fn extend(&mut self, newer: Change<V>, merge: &impl Merge<V>) {
        match (&mut *self, newer) {
            (Change::Delta(old) | Change::Put(old), Change::Delta(delta)) => {
                merge.merge(old, delta)
            }
            (Change::Remove, Change::Delta(delta)) => *self = Change::Put(delta),
            (_, whole) => *self = whole,
        }
    }

    /// The value after this change, given the value before it.
    #[must_use]
    pub fn apply(self, before: Option<V>, merge: &impl Merge<V>) -> Option<V> {
        match (self, before) {
            (Change::Delta(delta), Some(mut value)) => {
                merge.merge(&mut value, delta);
                Some(value)
            }
            (Change::Delta(value), None) | (Change::Put(value), _) => Some(value),
            (Change::Remove, _) => None,
        }
    }
}

/// A change looked at where it lies.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a, V> {
    /// See [`Change::Delta`].
    Delta(&'a V),
    /// See [`Change::Put`].
    Put(&'a V),
    /// See [`Change::Remove`].
    Remove,
}

impl<V> Clone for Found<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for Found<'_, V> {}

impl<V: Clone> Found<'_, V> {
    /// The change itself.
    #[must_use]
    pub fn to_change(self) -> Change<V> {
        match self {
            Found::Delta(value) => Change::Delta(value.clone()),
            Found::Put(value) => Change::Put(value.clone()),
            Found::Remove => Change::Remove,
        }
    }
}

impl<'a, V> From<&'a Change<V>> for Found<'a, V> {
    fn from(change: &'a Change<V>) -> Self {
        match change {
            Change::Delta(value) => Found::Delta(value),
            Change::Put(value) => Found::Put(value),
            Change::Remove => Found::Remove,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn add(into: &mut i64, delta: i64) {
        *into += delta;
    }

    fn change() -> impl Strategy<Value = Change<i64>> {
        prop_oneof![
            (-9_i64..9).prop_map(Change::Delta),
            (-9_i64..9).prop_map(Change::Put),
            Just(Change::Remove)
        ]
    }

    proptest! {
        #[test]
        fn combined_changes_do_what_they_do_one_by_one(
            before in proptest::option::of(-9_i64..9), a in change(), b in change(), c in change(),
        ) {
            let one_by_one = c.clone().apply(b.clone().apply(a.clone().apply(before, &add), &add), &add);
            let left = a.clone().then(b.clone(), &add).then(c.clone(), &add);
            let right = a.then(b.then(c, &add), &add);
            prop_assert_eq!(left.apply(before, &add), one_by_one);
            prop_assert_eq!(right.apply(before, &add), one_by_one);
        }
    }
}
