//! The loops one writes by hand: one thread, a batch counted in a hash map, then one synced RocksDB write per batch.
//!
//! Each write carries the position in the file too, so that the loop could go on where it stopped: in this one process
//! it is as exactly-once as Fulmar. Counting takes a tenth of its time, the store's memtable nearly all of the rest. Kept
//! because they helped or did no harm: keys sorted within a batch, a memtable of 16 MiB, no concurrent memtable writes.
//! Not kept: a vector memtable, 1.5 to 1.8 times faster, in which a point read walks through all that is not yet flushed.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rocksdb::{DB, IteratorMode, MergeOperands, Options, WriteBatch, WriteOptions};

use super::contender::{Contender, Counts, Input, Measured, peak_kib};
use super::words::{Lines, WordTable, for_each_word};

/// Where the position is kept. Words have no whitespace in them, so no word is this key.
const POSITION: &[u8] = b" position";

/// Keeps every count in memory as well and writes the new values.
pub(super) struct CacheLoop;

/// Writes what is to be added and lets RocksDB add it up.
pub(super) struct MergeLoop;

impl Contender for CacheLoop {
    fn name(&self) -> &'static str {
        "loop-cache"
    }

    fn what(&self) -> &'static str {
        "one thread: a batch in a hash map, a write-through cache of all counts, new values by WriteBatch, synced"
    }

    fn run(&self, input: &Input, dir: &Path) -> Result<Measured> {
        let batch = WordTable::default();
        // Complete from the start: the store is new. A loop that starts again loads it whole.
        let mut cache = batch.sibling();
        run(input, dir, options(), batch, |writes, hash, word, count| {
            let total = cache.add(hash, word, count);
            writes.put(word, total.to_le_bytes());
        })
    }
}

impl Contender for MergeLoop {
    fn name(&self) -> &'static str {
        "loop-merge"
    }

    fn what(&self) -> &'static str {
        "one thread: a batch in a hash map, the additions by RocksDB's merge operator, synced"
    }

    fn run(&self, input: &Input, dir: &Path) -> Result<Measured> {
        let mut options = options();
        options.set_merge_operator_associative("add", add);
        run(
            input,
            dir,
            options,
            WordTable::default(),
            |writes, _, word, count| {
                writes.merge(word, count.to_le_bytes());
            },
        )
    }
}

fn options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.increase_parallelism(2);
    options.set_write_buffer_size(16 << 20);
    options.set_max_write_buffer_number(4);
    options.set_allow_concurrent_memtable_write(false);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options
}

fn add(_key: &[u8], base: Option<&[u8]>, operands: &MergeOperands) -> Option<Vec<u8>> {
    let mut total = base.map_or(Some(0), number)?;
    for operand in operands {
        total += number(operand)?;
    }
    Some(total.to_le_bytes().to_vec())
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

/// The loop itself; `write` turns one word of a batch, with its hash and count, into a record of the write batch.
fn run(
    input: &Input,
    dir: &Path,
    options: Options,
    mut batch: WordTable,
    mut write: impl FnMut(&mut WriteBatch, u64, &[u8], u64),
) -> Result<Measured> {
    let db = DB::open(&options, dir.join("db")).context("cannot open RocksDB for the loop")?;
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    let mut lines = Lines::open(&input.file)?;
    let mut size = 0;
    let mut order = Vec::new();
    let mut position = 0_u64;

    let started = Instant::now();
    loop {
        let mut taken = 0;
        while taken < input.batch_lines {
            let Some(line) = lines.next()? else { break };
            taken += 1;
            position += line.len() as u64 + 1;
            for_each_word(line, |word| {
                let hash = batch.hash(word);
                batch.add(hash, word, 1);
            });
        }
        if taken == 0 {
            break;
        }
        let mut writes = WriteBatch::with_capacity_bytes(size);
        batch.for_each_sorted(&mut order, |hash, word, count| {
            write(&mut writes, hash, word, count)
        });
        writes.put(POSITION, position.to_le_bytes());
        size = size.max(writes.size_in_bytes());
        db.write_opt(writes, &synced)?;
        batch.clear();
    }
    let seconds = started.elapsed().as_secs_f64();
    let peak_kib = peak_kib();
    Ok(Measured {
        counts: stored(&db)?,
        seconds,
        peak_kib,
    })
}

/// Reads the final counts back from the store.
fn stored(db: &DB) -> Result<Counts> {
    let mut counts = Counts::default();
    for record in db.iterator(IteratorMode::Start) {
        let (word, value) = record?;
        if *word == *POSITION {
            continue;
        }
        let Some(count) = number(&value) else {
            bail!("the loop stored a count of {} bytes", value.len())
        };
        counts.add(&word, count);
    }
    Ok(counts)
}
