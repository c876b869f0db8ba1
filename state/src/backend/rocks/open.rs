//! Opening a directory: ours or nobody's, never another program's.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode, Options};

use super::error::{translate, translate_io};
use super::ingest::INGEST;
use super::logs;
use super::options::{self, DATA, RocksOptions};
use super::{Inner, RocksStorage};
use crate::backend::{Family, StateFamily};
use crate::error::{Result, StateError};
use crate::folder::sync_ancestors;

/// What RocksDB leaves behind when it is killed before its directory is complete.
const UNFINISHED: [&str; 5] = ["LOCK", "LOG", "IDENTITY", "MANIFEST-", "OPTIONS-"];

impl RocksStorage {
    /// Opens the database in `dir`, or makes one there; `dir` belongs to the database alone.
    ///
    /// Files of another program, states other than those it was made with, and a second process are refused.
    pub fn open(dir: &Path, states: &[StateFamily], options: RocksOptions) -> Result<RocksStorage> {
        for state in states {
            state.schema().check()?;
        }
        make_dir(dir).map_err(|error| translate_io(dir, "creating the directory", &error))?;
        let names = options::names(states);
        inspect(dir, &names)?;
        let tables = options::families(&options, states);
        let db_options = options::database(&options);
        let given = names
            .iter()
            .map(|(family, name)| ColumnFamilyDescriptor::new(name, tables[family].clone()));
        let db = DB::open_cf_descriptors(&db_options, dir, given);
        let db = db.map_err(|error| translate(dir, "opening the database", &error))?;
        // Only now is the directory locked: nobody else's files are taken away.
        let ingest = dir.join(INGEST);
        let cleaned = match fs::remove_dir_all(&ingest) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => private_dir().create(&ingest),
        };
        cleaned.map_err(|error| translate_io(dir, "cleaning up", &error))?;
        let inner = Arc::new(Inner {
            db,
            dir: dir.to_owned(),
            names,
        });
        Ok(RocksStorage {
            inner,
            durability: options.durability,
            ingested: AtomicU64::new(0),
            tables,
        })
    }
}

/// A maker of directories that only their owner can look into.
fn private_dir() -> DirBuilder {
    #[allow(unused_mut)]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

fn make_dir(dir: &Path) -> std::io::Result<()> {
    if !dir.exists() {
        private_dir().recursive(true).create(dir)?;
    }
    // RocksDB syncs what is in the directory; that it exists is synced here, before there is anything in it to be lost.
    if dir.is_dir() && !dir.join("CURRENT").exists() {
        sync_ancestors(dir)?;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(dir)?.permissions().mode();
        if dir.is_dir() && mode & 0o077 != 0 {
            fs::set_permissions(dir, fs::Permissions::from_mode(mode & !0o077))?;
        }
    }
    Ok(())
}

/// An error if what is in the directory, if anything, is not a database for these states.
fn inspect(dir: &Path, names: &BTreeMap<Family, String>) -> Result<()> {
    let other = |found: String| {
        Err(StateError::OtherProgram {
            place: dir.display().to_string(),
            found,
        })
    };
    if !dir.join("CURRENT").exists() {
        let entries =
            fs::read_dir(dir).and_then(|entries| entries.collect::<std::io::Result<Vec<_>>>());
        let entries =
            entries.map_err(|error| translate_io(dir, "looking into the directory", &error))?;
        let foreign = entries
            .iter()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .find(|name| {
                let ours = name == INGEST || name.ends_with(".dbtmp") || name.ends_with(".log");
                !ours && !UNFINISHED.iter().any(|known| name.starts_with(known))
            });
        return match foreign {
            Some(name) => other(format!("it holds {name:?}")),
            None => Ok(()),
        };
    }
    logs::check(dir)?;
    let listed = DB::list_cf(&Options::default(), dir);
    let listed: BTreeSet<String> = listed
        .map_err(|error| translate(dir, "opening the database", &error))?
        .into_iter()
        .collect();
    let known = |name: &&String| {
        let fixed = ["default", "meta", "log"];
        fixed.contains(&name.as_str()) || name.starts_with(DATA)
    };
    if let Some(foreign) = listed.iter().find(|name| !known(name)) {
        return other(format!(
            "a RocksDB database with a column family {foreign:?}"
        ));
    }
    let given: BTreeSet<String> = names.values().cloned().collect();
    if listed.iter().filter(|name| *name != "default").ne(&given) {
        check_unfinished(dir, &listed, &given)?;
    }
    Ok(())
}

/// Families are made one by one: if some are missing, either the first opening was interrupted, so that there is no
/// record at all, or the states are not those it was made with.
fn check_unfinished(dir: &Path, listed: &BTreeSet<String>, given: &BTreeSet<String>) -> Result<()> {
    let failed = |error| translate(dir, "opening the database", &error);
    let db = DB::open_cf_for_read_only(&Options::default(), dir, listed, false).map_err(failed)?;
    // A store's first records go to "meta"; "default" is never written to.
    for name in ["default", "meta"] {
        let Some(handle) = db.cf_handle(name) else {
            continue;
        };
        let Some(record) = db.iterator_cf(handle, IteratorMode::Start).next() else {
            continue;
        };
        record.map_err(failed)?;
        let place = dir.display().to_string();
        let differs = listed.symmetric_difference(given);
        let differs = differs.filter_map(|name| name.strip_prefix(DATA)).next();
        let Some(state) = differs.filter(|_| name == "meta") else {
            let found = format!("a RocksDB database with records in its column family {name:?}");
            return Err(StateError::OtherProgram { place, found });
        };
        let presence = |names: &BTreeSet<String>| {
            if names.contains(&format!("{DATA}{state}")) {
                "there"
            } else {
                "absent"
            }
            .to_owned()
        };
        let (stored, given) = (presence(listed), presence(given));
        return Err(StateError::SchemaDiffers {
            place,
            state: state.to_owned(),
            what: "presence",
            stored,
            given,
        });
    }
    Ok(())
}
