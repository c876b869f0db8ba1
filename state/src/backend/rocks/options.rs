//! How the database is tuned: for a log whose entries are deleted before they are ever flushed to a table, and for
//! states that grow by few large sorted files.

use std::collections::BTreeMap;
use std::sync::Arc;

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, LogLevel, Options};

use crate::attempt::StateId;
use crate::backend::{Durability, Family, MergeOperands, StateFamily};

const MIB: usize = 1 << 20;

/// Tables of about this size are written, so that their index and filter blocks stay small parts of the cache.
pub(super) const TABLE_SIZE: u64 = 64 << 20;

/// Memory and durability of a [`RocksStorage`](super::RocksStorage).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of the block cache, index and filter blocks included.
    pub cache_bytes: usize,
    /// Bytes of the log's write buffers, all together. A fold that begins when a third of this is unfolded keeps log
    /// entries from ever reaching a table.
    pub log_buffer_bytes: usize,
    /// What a synced write survives.
    pub durability: Durability,
    /// Threads that flush and compact.
    pub background_jobs: i32,
}

impl RocksOptions {
    /// Options that keep the database within about so many bytes of memory.
    #[must_use]
    pub fn within(memory: usize) -> RocksOptions {
        let log_buffer_bytes = (memory / 3).clamp(8 * MIB, 128 * MIB);
        RocksOptions {
            cache_bytes: memory.saturating_sub(log_buffer_bytes).max(4 * MIB),
            log_buffer_bytes,
            durability: Durability::Fsync,
            background_jobs: 2,
        }
    }
}

impl Default for RocksOptions {
    fn default() -> Self {
        RocksOptions::within(256 * MIB)
    }
}

/// The name of a family's column family.
pub(super) fn names(states: &[StateFamily]) -> BTreeMap<Family, String> {
    let fixed = [
        (Family::Meta, "meta".to_owned()),
        (Family::Log, "log".to_owned()),
    ];
    let data = |(state, family): (u16, &StateFamily)| {
        (
            Family::Data(StateId(state)),
            format!("{DATA}{}", family.schema().name),
        )
    };
    fixed
        .into_iter()
        .chain((0..).zip(states).map(data))
        .collect()
}

/// What the names of states' column families begin with.
pub(super) const DATA: &str = "data.";

pub(super) fn database(options: &RocksOptions) -> Options {
    let mut db = Options::default();
    db.create_if_missing(true);
    db.create_missing_column_families(true);
    db.set_max_background_jobs(options.background_jobs);
    db.set_max_open_files(512);
    // The family "meta" never fills its buffer; without this bound it would keep every log file alive.
    db.set_max_total_wal_size(4 * options.log_buffer_bytes as u64);
    db.set_bytes_per_sync(MIB as u64);
    db.set_log_level(LogLevel::Warn);
    db.set_max_log_file_size(MIB);
    db.set_keep_log_file_num(2);
    db.set_stats_dump_period_sec(0);
    db
}

/// Options of every family, which all share one cache.
pub(super) fn families(
    options: &RocksOptions,
    states: &[StateFamily],
) -> BTreeMap<Family, Options> {
    let cache = Cache::new_lru_cache(options.cache_bytes);
    let fixed = [
        (Family::Meta, meta(&cache)),
        (Family::Log, log(options, &cache)),
    ];
    let data =
        |(state, family): (u16, &StateFamily)| (Family::Data(StateId(state)), data(family, &cache));
    fixed
        .into_iter()
        .chain((0..).zip(states).map(data))
        .collect()
}

fn meta(cache: &Cache) -> Options {
    let mut family = Options::default();
    family.set_write_buffer_size(MIB);
    family.set_block_based_table_factory(&tables(cache));
    family
}

/// Entries are large, come in the order of their keys and are deleted soon. Two full buffers are flushed together: what
/// was put into the first and deleted in the second is never written to a table.
fn log(options: &RocksOptions, cache: &Cache) -> Options {
    let mut family = Options::default();
    family.set_write_buffer_size(options.log_buffer_bytes / 4);
    family.set_min_write_buffer_number_to_merge(2);
    family.set_max_write_buffer_number(4);
    family.set_compression_type(DBCompressionType::None);
    family.set_block_based_table_factory(&tables(cache));
    family
}

/// Written by ingestion only: its write buffer stays empty.
fn data(state: &StateFamily, cache: &Cache) -> Options {
    let mut family = Options::default();
    family.set_write_buffer_size(MIB);
    family.set_compression_type(DBCompressionType::Lz4);
    family.set_target_file_size_base(TABLE_SIZE);
    let mut tables = tables(cache);
    tables.set_block_size(8 << 10);
    tables.set_bloom_filter(10.0, false);
    family.set_block_based_table_factory(&tables);
    if let Some(operands) = state.operands() {
        set_merge_operator(&mut family, &state.schema().name, Arc::clone(operands));
    }
    family
}

fn set_merge_operator(family: &mut Options, state: &str, operands: Arc<dyn MergeOperands>) {
    let state = state.to_owned();
    family.set_merge_operator_associative(
        "fulmar",
        move |_key, existing, added: &rocksdb::MergeOperands| match operands
            .merge(existing, &mut added.iter())
        {
            Ok(merged) => Some(merged),
            Err(error) => {
                tracing::error!(%state, %error, "a merge failed");
                None
            }
        },
    );
}

fn tables(cache: &Cache) -> BlockBasedOptions {
    let mut tables = BlockBasedOptions::default();
    tables.set_block_cache(cache);
    tables.set_cache_index_and_filter_blocks(true);
    tables.set_cache_index_and_filter_blocks_with_high_priority(true);
    tables.set_pin_l0_filter_and_index_blocks_in_cache(true);
    tables
}
