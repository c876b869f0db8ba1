//! `state_query`: asks a state for each record, as of the batch before.

use std::marker::PhantomData;
use std::sync::Arc;

use fulmar_state::{StateId, Value};

use super::unary::emitting;
use super::{Cx, Emitter, KeyedRecords, Operator, OperatorError};
use crate::chunk::Chunk;
use crate::data::{Data, ExchangeData};

/// Runs beside the state's shard, one look-up for a whole chunk.
pub(crate) struct StateQuery<T, V, U, F> {
    state: StateId,
    function: Arc<F>,
    types: PhantomData<fn(T, V) -> U>,
}

impl<T, V, U, F> StateQuery<T, V, U, F> {
    pub(crate) fn new(state: StateId, function: Arc<F>) -> Self {
        StateQuery {
            state,
            function,
            types: PhantomData,
        }
    }
}

impl<T, V, U, F> Operator for StateQuery<T, V, U, F>
where
    T: ExchangeData,
    V: Value,
    U: Data,
    F: Fn(T, Option<V>, &mut Emitter<'_, U>) + Send + Sync + 'static,
{
    fn process(&mut self, chunk: Chunk, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let KeyedRecords { keys, records } = chunk.open::<KeyedRecords<T>>();
        let before = cx.txid().prev().expect("a batch's txid is at least 1");
        let keys: Vec<(u64, &[u8])> = keys.iter().collect();
        let values = cx.shard::<V>(self.state).get_many(before, &keys)?;
        emitting(cx, |out| {
            records
                .into_iter()
                .zip(values)
                .for_each(|(record, value)| (self.function)(record, value, out));
            Ok(())
        })
    }
}
