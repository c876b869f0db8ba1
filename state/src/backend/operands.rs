//! How a backend combines encoded values, without knowing their type.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::codec;
use crate::error::{Result, StateError};
use crate::schema::{StateKind, StateSchema};
use crate::value::{Merge, Value};

/// Combines encoded values of one state. Never panics; called from the backend's own threads.
pub trait MergeOperands: Send + Sync + 'static {
    /// The value that `existing` becomes by adding the operands in their order; never called without any operand.
    fn merge(
        &self,
        existing: Option<&[u8]>,
        operands: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<Vec<u8>>;
}

/// A state as a backend keeps it: its schema and, for combined states, how its deltas combine.
#[derive(Clone)]
pub struct StateFamily {
    schema: StateSchema,
    operands: Option<Arc<dyn MergeOperands>>,
}

impl StateFamily {
    /// A state whose deltas are combined by `merge`; sets the schema's kind.
    #[must_use]
    pub fn combined<V: Value, M: Merge<V> + Sync>(
        mut schema: StateSchema,
        merge: M,
    ) -> StateFamily {
        schema.kind = StateKind::Combined;
        let state = schema.name.clone();
        StateFamily {
            schema,
            operands: Some(Arc::new(Typed {
                state,
                merge,
                value: PhantomData,
            })),
        }
    }

    /// A state of whole values; sets the schema's kind.
    #[must_use]
    pub fn stored(mut schema: StateSchema) -> StateFamily {
        schema.kind = StateKind::Stored;
        StateFamily {
            schema,
            operands: None,
        }
    }

    /// The state's schema.
    #[must_use]
    pub fn schema(&self) -> &StateSchema {
        &self.schema
    }

    /// How its deltas combine.
    #[must_use]
    pub fn operands(&self) -> Option<&Arc<dyn MergeOperands>> {
        self.operands.as_ref()
    }
}

impl fmt::Debug for StateFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateFamily").field(&self.schema).finish()
    }
}

struct Typed<V, M> {
    state: String,
    merge: M,
    value: PhantomData<fn() -> V>,
}

impl<V: Value, M: Merge<V>> Typed<V, M> {
    fn combine(
        &self,
        existing: Option<&[u8]>,
        operands: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<Vec<u8>> {
        let first = existing.into_iter().map(codec::decode::<V>);
        let mut values = first.chain(operands.map(codec::decode::<V>));
        let mut sum = values.next().expect("a merge has at least one operand")?;
        for value in values {
            self.merge.merge(&mut sum, value?);
        }
        let mut out = Vec::with_capacity(16);
        codec::encode(&sum, &mut out)?;
        Ok(out)
    }
}

impl<V: Value, M: Merge<V>> MergeOperands for Typed<V, M> {
    fn merge(
        &self,
        existing: Option<&[u8]>,
        operands: &mut dyn Iterator<Item = &[u8]>,
    ) -> Result<Vec<u8>> {
        // A user's merge function that panics must not unwind into a backend's thread.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.combine(existing, operands)));
        let what = match outcome {
            Ok(Ok(merged)) => return Ok(merged),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the merge function panicked".to_owned(),
        };
        Err(StateError::Merge {
            state: self.state.clone(),
            what,
        })
    }
}
