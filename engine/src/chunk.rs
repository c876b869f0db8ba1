//! Records of one attempt on their way, their type erased: generic per record, `dyn` per chunk.

use std::any::Any;
use std::fmt;

use fulmar_coordinator::Origin;

/// What a chunk carries, as its operators know it: a `Vec<T>`, or keyed deltas.
pub(crate) type Payload = Box<dyn Any + Send>;

/// A run of records between two operators. This file alone names `Any`.
pub(crate) struct Chunk {
    payload: Payload,
    records: u64,
    /// In a careful attempt, the record that all of the chunk descends from. Boxed, since nearly every chunk has none.
    origin: Option<Box<Origin>>,
    to: Option<u16>,
}

impl Chunk {
    /// A chunk of `records` records of one type.
    pub(crate) fn new<P: Send + 'static>(payload: P, records: u64) -> Self {
        Chunk {
            payload: Box::new(payload),
            records,
            origin: None,
            to: None,
        }
    }

    /// A chunk of plain records.
    pub(crate) fn of<T: Send + 'static>(records: Vec<T>) -> Self {
        let count = records.len() as u64;
        Chunk::new(records, count)
    }

    /// In a careful attempt a chunk descends from one record: this one.
    pub(crate) fn with_origin(mut self, origin: Option<Box<Origin>>) -> Self {
        self.origin = origin;
        self
    }

    /// The same, unless the chunk has an origin of its own.
    pub(crate) fn with_origin_or(mut self, origin: &Option<Box<Origin>>) -> Self {
        if self.origin.is_none() {
            self.origin.clone_from(origin);
        }
        self
    }

    /// Names the task that must have it, for exchanges by key.
    pub(crate) fn to(mut self, task: u16) -> Self {
        self.to = Some(task);
        self
    }

    pub(crate) fn task(&self) -> Option<u16> {
        self.to
    }

    pub(crate) fn origin(&self) -> &Option<Box<Origin>> {
        &self.origin
    }

    /// How many records it carries.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// The payload as the type that the plan says it has.
    pub(crate) fn open<P: 'static>(self) -> P {
        match self.payload.downcast::<P>() {
            Ok(payload) => *payload,
            Err(_) => unreachable!(
                "the plan connects operators of equal types; expected {}",
                std::any::type_name::<P>()
            ),
        }
    }

    /// The plain records it carries.
    pub(crate) fn peek<T: 'static>(&self) -> &[T] {
        self.payload
            .downcast_ref::<Vec<T>>()
            .expect("the plan connects operators of equal types")
    }

    /// A copy, for a stream that is read twice.
    pub(crate) fn duplicate<T: Clone + Send + 'static>(&self) -> Self {
        Chunk {
            payload: Box::new(self.peek::<T>().to_vec()),
            records: self.records,
            origin: self.origin.clone(),
            to: self.to,
        }
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records", self.records)
    }
}
