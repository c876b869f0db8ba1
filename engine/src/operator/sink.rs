//! A sink's half inside the batch: its records go into the outbox, which is sealed with everything else.

use std::marker::PhantomData;

use fulmar_state::{OutboxPart, codec};

use super::{Cx, Operator, OperatorError};
use crate::chunk::Chunk;
use crate::data::ExchangeData;

/// Encodes a batch's records for one sink.
pub(crate) struct ToOutbox<T> {
    sink: String,
    records: u32,
    bytes: Vec<u8>,
    types: PhantomData<fn(T)>,
}

impl<T> ToOutbox<T> {
    pub(crate) fn new(sink: String) -> Self {
        ToOutbox {
            sink,
            records: 0,
            bytes: Vec::new(),
            types: PhantomData,
        }
    }
}

impl<T: ExchangeData> Operator for ToOutbox<T> {
    fn process(&mut self, chunk: Chunk, _cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        for record in chunk.open::<Vec<T>>() {
            // Each record is framed by its length, so that one decode never reads into the next.
            let mut encoded = Vec::new();
            codec::encode(&record, &mut encoded)?;
            codec::put_bytes(&mut self.bytes, &encoded);
            self.records += 1;
        }
        Ok(())
    }

    fn finish(&mut self, cx: &mut Cx<'_>) -> Result<(), OperatorError> {
        let part = OutboxPart {
            sink: self.sink.clone(),
            partition: cx.task,
            records: std::mem::take(&mut self.records),
            bytes: std::mem::take(&mut self.bytes),
        };
        if part.records > 0 {
            cx.env.outbox.push(part);
        }
        Ok(())
    }
}
