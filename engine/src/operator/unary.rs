//! Operators over one stream of records: `each`, `map`, `filter` and their like.

use std::sync::Arc;

use super::{BatchInfo, Cx, Operator, OperatorError};
use crate::chunk::Chunk;
use crate::data::Data;

/// So many records are collected before the next operator sees them: small enough for the processor's cache.
const RUN: usize = 1024;

/// Takes the records that a user's function emits.
///
/// ```
/// use fulmar::spout::Collection;
/// use fulmar::{Emitter, Topology};
///
/// let topology = Topology::new("halves");
/// topology
///     .spout("numbers", Collection::of([1u64, 2, 3, 4]))
///     .each(|number: u64, out: &mut Emitter<'_, u64>| if number % 2 == 0 { out.emit(number / 2) });
/// ```
pub struct Emitter<'a, U> {
    buffer: Vec<U>,
    downstream: &'a mut dyn Downstream,
    failed: Result<(), OperatorError>,
}

/// What stands behind an emitter; keeps `Cx` and its lifetimes out of users' sight.
trait Downstream {
    fn push(&mut self, chunk: Chunk) -> Result<(), OperatorError>;
    fn batch(&self) -> BatchInfo;
}

impl Downstream for Cx<'_> {
    fn push(&mut self, chunk: Chunk) -> Result<(), OperatorError> {
        self.emit(chunk)
    }

    fn batch(&self) -> BatchInfo {
        self.env.batch
    }
}

impl<U: Data> Emitter<'_, U> {
    /// Gives a record to the next operator.
    #[inline]
    pub fn emit(&mut self, record: U) {
        if self.buffer.len() == RUN {
            self.flush();
        }
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(RUN);
        }
        self.buffer.push(record);
    }

    /// The batch that the record belongs to: its attempt and its time.
    pub fn batch(&self) -> BatchInfo {
        self.downstream.batch()
    }

    #[cold]
    fn flush(&mut self) {
        let records = std::mem::take(&mut self.buffer);
        if self.failed.is_ok() && !records.is_empty() {
            self.failed = self.downstream.push(Chunk::of(records));
        }
    }
}

/// Runs `body` with an emitter and passes on what it emitted.
pub(super) fn emitting<U: Data>(
    cx: &mut Cx<'_>,
    body: impl FnOnce(&mut Emitter<'_, U>) -> Result<(), OperatorError>,
) -> Result<(), OperatorError> {
    let mut out = Emitter {
        buffer: Vec::new(),
        downstream: cx,
        failed: Ok(()),
    };
    let done = body(&mut out);
    out.flush();
    out.failed.and(done)
}

/// A function over each record, with as many records out as it likes.
pub(crate) struct Unary<F, T, U> {
    function: Arc<F>,
    types: std::marker::PhantomData<fn(T) -> U>,
}

impl<F, T, U> Unary<F, T, U> {
    pub(crate) fn new(function: Arc<F>) -> Self {
        Unary {
            function,
            types: std::marker::PhantomData,
        }
    }
}

impl<T, U, F> Operator for Unary<F, T, U>
where
    T: Data,
    U: Data,
    F: Fn(T, &mut Emitter<'_, U>) -> Result<(), OperatorError> + Send + Sync + 'static,
{
    fn process(&mut self, chunk: Chunk, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let function = &*self.function;
        emitting(cx, |out| {
            chunk
                .open::<Vec<T>>()
                .into_iter()
                .try_for_each(|record| function(record, out))
        })
    }
}

/// Passes chunks on as they are: where streams meet, and behind an exchange.
pub(crate) struct Pass;

impl Operator for Pass {
    fn process(&mut self, chunk: Chunk, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        cx.emit(chunk)
    }
}
