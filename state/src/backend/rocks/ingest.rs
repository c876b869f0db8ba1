//! Ingestion: sorted records become tables beside the database, which then takes them over in one step.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};

use super::error::translate;
use super::options::TABLE_SIZE;
use super::{Family, RocksStorage, SortedSink};
use crate::error::{Result, StateError};

/// Where the tables are written, within the database's directory; emptied when it is opened.
pub(super) const INGEST: &str = "ingest";

impl RocksStorage {
    pub(super) fn ingest_sorted(
        &self,
        family: Family,
        fill: &mut dyn FnMut(&mut dyn SortedSink) -> Result<()>,
    ) -> Result<()> {
        let options = self
            .tables
            .get(&family)
            .expect("every family has its options");
        let number = self.ingested.fetch_add(1, Ordering::Relaxed);
        let mut sink = TableSink {
            dir: &self.inner.dir,
            options,
            number,
            files: Vec::new(),
            writer: None,
            last: Vec::new(),
        };
        let outcome = fill(&mut sink)
            .and_then(|()| sink.close())
            .and_then(|()| self.take_over(family, &sink.files));
        // What was taken over is gone from here already; what was not must not fill up the disk.
        for file in &sink.files {
            let _ = std::fs::remove_file(file);
        }
        outcome
    }

    fn take_over(&self, family: Family, files: &[PathBuf]) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let handle = self.inner.handle(family);
        let taken = self
            .inner
            .db
            .ingest_external_file_cf_opts(handle, &options, files.to_vec());
        taken.map_err(|error| self.inner.failed("folding", error))
    }
}

struct TableSink<'a> {
    dir: &'a Path,
    options: &'a Options,
    number: u64,
    files: Vec<PathBuf>,
    writer: Option<SstFileWriter<'a>>,
    last: Vec<u8>,
}

impl<'a> TableSink<'a> {
    /// The table for the next key.
    fn writer(&mut self, key: &[u8]) -> Result<&mut SstFileWriter<'a>> {
        let first = self.files.is_empty();
        if !first && self.last.as_slice() >= key {
            return Err(StateError::OutOfOrder {
                what: format!("ingested key {key:?} does not ascend"),
            });
        }
        self.last.clear();
        self.last.extend_from_slice(key);
        if self
            .writer
            .as_ref()
            .is_some_and(|writer| writer.file_size() >= TABLE_SIZE)
        {
            self.close()?;
        }
        if self.writer.is_none() {
            self.open()?;
        }
        Ok(self.writer.as_mut().expect("a writer was opened above"))
    }

    fn open(&mut self) -> Result<()> {
        let name = format!("{}-{}.sst", self.number, self.files.len());
        let path = self.dir.join(INGEST).join(name);
        let writer = SstFileWriter::create(self.options);
        self.files.push(path.clone());
        writer.open(&path).map_err(|error| self.failed(&error))?;
        self.writer = Some(writer);
        Ok(())
    }

    fn close(&mut self) -> Result<()> {
        match self.writer.take() {
            Some(mut writer) => writer.finish().map_err(|error| self.failed(&error)),
            None => Ok(()),
        }
    }

    fn failed(&self, error: &rocksdb::Error) -> StateError {
        translate(self.dir, "folding", error)
    }
}

impl SortedSink for TableSink<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let written = self.writer(key)?.put(key, value);
        written.map_err(|error| self.failed(&error))
    }

    fn merge(&mut self, key: &[u8], operand: &[u8]) -> Result<()> {
        let written = self.writer(key)?.merge(key, operand);
        written.map_err(|error| self.failed(&error))
    }

    fn delete(&mut self, key: &[u8]) -> Result<()> {
        let written = self.writer(key)?.delete(key);
        written.map_err(|error| self.failed(&error))
    }
}
