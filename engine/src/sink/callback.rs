//! A sink that is a function.

use std::marker::PhantomData;

use super::{Part, Sink, SinkError};

/// Calls a function with each part's records.
///
/// The function is called once for each part while the process lives. After a crash the last parts before it are
/// published again: what the function does outside must be keyed by the part, or is done at least once.
///
/// ```
/// use fulmar::sink::Callback;
///
/// let print = Callback::new(|part, words: Vec<String>| println!("batch {}: {words:?}", part.txid));
/// ```
pub struct Callback<T, F> {
    function: F,
    types: PhantomData<fn(T)>,
}

impl<T, F: FnMut(&Part, Vec<T>) + Send + 'static> Callback<T, F> {
    /// A sink that calls `function`.
    pub fn new(function: F) -> Self {
        Callback {
            function,
            types: PhantomData,
        }
    }
}

impl<T: 'static, F: FnMut(&Part, Vec<T>) + Send + 'static> Sink<T> for Callback<T, F> {
    fn publish(&mut self, part: &Part, records: Vec<T>) -> Result<(), SinkError> {
        (self.function)(part, records);
        Ok(())
    }
}
