//! A storage in memory, for tests and for topologies that need not survive their process.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{Durable, Family, Scan, Snapshot, SortedSink, StateFamily, Storage, Write, WriteBatch};
use crate::error::{Result, StateError};

type Table = Arc<BTreeMap<Bytes, Bytes>>;
type Tables = BTreeMap<Family, Table>;

/// Families as ordered maps. A clone shares the data: what one handle wrote, another "reopens".
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    tables: Arc<Mutex<Tables>>,
    states: Arc<Vec<StateFamily>>,
}

impl MemoryStorage {
    /// An empty storage for these states.
    #[must_use]
    pub fn new(states: &[StateFamily]) -> MemoryStorage {
        MemoryStorage {
            tables: Arc::default(),
            states: Arc::new(states.to_vec()),
        }
    }

    /// The same data opened for other states.
    #[must_use]
    pub fn reopen(&self, states: &[StateFamily]) -> MemoryStorage {
        MemoryStorage {
            tables: Arc::clone(&self.tables),
            states: Arc::new(states.to_vec()),
        }
    }

    // A panic of another thread cannot leave a table half changed: every change is one assignment at its end.
    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for MemoryStorage {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn write(&self, batch: WriteBatch, _durable: Durable) -> Result<()> {
        let mut tables = self.lock();
        for change in batch.changes {
            match change {
                Write::Put(family, key, value) => {
                    Arc::make_mut(tables.entry(family).or_default())
                        .insert(key.into(), value.into());
                }
                Write::Delete(family, key) => {
                    Arc::make_mut(tables.entry(family).or_default()).remove(key.as_slice());
                }
            }
        }
        Ok(())
    }

    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self
            .lock()
            .get(&family)
            .and_then(|table| table.get(key))
            .map(|value| value.to_vec()))
    }

    fn snapshot(&self) -> Result<Arc<dyn Snapshot>> {
        Ok(Arc::new(MemorySnapshot {
            tables: self.lock().clone(),
        }))
    }

    fn ingest(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<()>,
    ) -> Result<()> {
        let table = self.lock().get(&family).cloned().unwrap_or_default();
        let state = match family {
            Family::Data(state) => self.states.get(usize::from(state.0)),
            Family::Meta | Family::Log => None,
        };
        let mut sink = MemorySink {
            table,
            state,
            last: None,
        };
        fill(&mut sink)?;
        self.lock().insert(family, sink.table);
        Ok(())
    }
}

struct MemorySnapshot {
    tables: Tables,
}

impl Snapshot for MemorySnapshot {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self
            .tables
            .get(&family)
            .and_then(|table| table.get(key))
            .map(|value| value.to_vec()))
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        keys.iter().map(|key| self.get(family, key)).collect()
    }

    fn scan(&self, family: Family, from: &[u8], to: &[u8]) -> Scan<'_> {
        let Some(table) = self.tables.get(&family).filter(|_| from < to) else {
            return Box::new(std::iter::empty());
        };
        let range = table.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        Box::new(range.map(|(key, value)| Ok((key[..].into(), value[..].into()))))
    }
}

struct MemorySink<'a> {
    table: Table,
    state: Option<&'a StateFamily>,
    last: Option<Bytes>,
}

impl MemorySink<'_> {
    fn ascend(&mut self, key: &[u8]) -> Result<Bytes> {
        if self.last.as_ref().is_some_and(|last| last.as_ref() >= key) {
            return Err(StateError::OutOfOrder {
                what: format!("ingested key {key:?} does not ascend"),
            });
        }
        let key = Bytes::copy_from_slice(key);
        self.last = Some(key.clone());
        Ok(key)
    }
}

impl SortedSink for MemorySink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let key = self.ascend(key)?;
        Arc::make_mut(&mut self.table).insert(key, Bytes::copy_from_slice(value));
        Ok(())
    }

    fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<()> {
        let key = self.ascend(key)?;
        let Some(operands) = self.state.and_then(StateFamily::operands) else {
            let state = self
                .state
                .map_or_else(String::new, |state| state.schema().name.clone());
            return Err(StateError::Merge {
                state,
                what: "it is kept as whole values".to_owned(),
            });
        };
        let merged = operands.merge(
            self.table.get(&key).map(AsRef::as_ref),
            &mut std::iter::once(operand),
        )?;
        Arc::make_mut(&mut self.table).insert(key, merged.into());
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        let key = self.ascend(key)?;
        Arc::make_mut(&mut self.table).remove(&key);
        Ok(())
    }
}
