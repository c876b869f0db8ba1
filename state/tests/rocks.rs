//! Method: examples on real directories: whose they are, what damages them, disks that are full or read-only.
#![cfg(feature = "rocksdb")]
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use fulmar_state::{
    Attempt, Change, Family, Result, RocksOptions, RocksStorage, StateError, StateFamily, Storage,
    Store, TxId,
};
use support::{Add, COUNTS, Changes, Worker, delta, families, identity, rewind, schema, schemas};

fn open(dir: &Path) -> Result<RocksStorage> {
    RocksStorage::open(dir, &families(), RocksOptions::within(16 << 20))
}

fn start(dir: &Path, epoch: u64, sealed: Option<Attempt>) -> Result<Worker> {
    Worker::start(Arc::new(open(dir)?), rewind(epoch, sealed), 2)
}

/// So many batches, all sealed, the first half of them folded.
fn filled(dir: &Path, batches: u64) -> Option<Attempt> {
    let mut worker = start(dir, 1, None).unwrap();
    for txid in 1..=batches {
        let attempt = worker.prepare(&delta("key", txid)).unwrap();
        worker.seal(attempt);
        if txid == batches / 2 {
            worker.store.publish_done(TxId(txid));
            worker.fold(|_| Ok(())).unwrap();
        }
    }
    worker.store.sealed()
}

fn files(dir: &Path, suffix: &str) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file() && path.to_string_lossy().ends_with(suffix))
        .collect()
}

#[test]
fn a_directory_is_private_and_locked() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/b");
    let storage = open(&dir).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(
            fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
            0o700
        );
    }
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, StateError::Locked { .. }), "{error}");
    let snapshot = storage.snapshot().unwrap();
    drop(storage);
    assert!(open(&dir).is_err(), "a snapshot holds the directory");
    drop(snapshot);
    open(&dir).unwrap();
}

#[test]
fn directories_of_others_are_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let foreign = root.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("thesis.txt"), "do not touch").unwrap();
    let error = open(&foreign).unwrap_err();
    assert!(
        matches!(&error, StateError::OtherProgram { found, .. } if found.contains("thesis.txt")),
        "{error}"
    );
    assert_eq!(fs::read_dir(&foreign).unwrap().count(), 1);

    let plain = root.path().join("plain");
    rocksdb::DB::open_default(&plain)
        .unwrap()
        .put("key", "value")
        .unwrap();
    assert!(matches!(open(&plain), Err(StateError::OtherProgram { .. })));

    let named = root.path().join("named");
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(rocksdb::DB::open_cf(&options, &named, ["users"]).unwrap());
    let error = open(&named).unwrap_err();
    assert!(
        matches!(&error, StateError::OtherProgram { found, .. } if found.contains("users")),
        "{error}"
    );
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(open(&file).is_err());
}

#[test]
fn an_interrupted_creation_is_taken_up() {
    let root = tempfile::tempdir().unwrap();
    let early = root.path().join("early");
    fs::create_dir(&early).unwrap();
    for name in ["LOCK", "LOG", "IDENTITY", "000001.dbtmp"] {
        fs::write(early.join(name), "").unwrap();
    }
    open(&early).unwrap();
    let late = root.path().join("late");
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    drop(rocksdb::DB::open_cf(&options, &late, ["meta", "data.counts"]).unwrap());
    assert_eq!(
        start(&late, 1, None).unwrap().contents(),
        support::Model::default()
    );
}

#[test]
fn other_states_are_refused_and_make_nothing() {
    let root = tempfile::tempdir().unwrap();
    let sealed = filled(root.path(), 4);
    let mut more = families();
    more.push(StateFamily::stored(schema("more", 2)));
    let options = RocksOptions::within(16 << 20);
    for states in [&more[..], &families()[..1]] {
        let error = RocksStorage::open(root.path(), states, options).unwrap_err();
        assert!(
            matches!(
                error,
                StateError::SchemaDiffers {
                    what: "presence",
                    ..
                }
            ),
            "{error}"
        );
    }
    let mut changed = schemas();
    changed[1].key_type = "number".to_owned();
    let storage = Arc::new(open(root.path()).unwrap());
    assert!(matches!(
        Store::open(storage, &identity(), &changed),
        Err(StateError::SchemaDiffers { .. })
    ));
    assert_eq!(
        start(root.path(), 2, sealed).unwrap().contents().counts["key"],
        10
    );
}

#[test]
fn what_an_interrupted_fold_left_is_cleaned_up() {
    let root = tempfile::tempdir().unwrap();
    let sealed = filled(root.path(), 4);
    let left = root.path().join("ingest/7-0.sst");
    fs::write(&left, "half a table").unwrap();
    assert_eq!(
        start(root.path(), 2, sealed).unwrap().contents().counts["key"],
        10
    );
    assert!(!left.exists());
}

/// Every kind of file, damaged in its middle, gives an error at the latest when all is read.
#[test]
fn damaged_files_are_noticed() {
    for suffix in [".sst", ".log", "CURRENT", "MANIFEST"] {
        let root = tempfile::tempdir().unwrap();
        let sealed = filled(root.path(), 20);
        let mut paths = files(root.path(), suffix);
        if suffix == "MANIFEST" {
            let all = files(root.path(), "").into_iter();
            paths = all
                .filter(|path| path.to_string_lossy().contains("MANIFEST-"))
                .collect();
        }
        assert!(!paths.is_empty(), "{suffix}");
        for path in paths
            .iter()
            .filter(|path| fs::metadata(path).unwrap().len() > 0)
        {
            let mut bytes = fs::read(path).unwrap();
            let middle = bytes.len() / 2;
            let end = (middle + 64).min(bytes.len());
            bytes[middle..end].iter_mut().for_each(|byte| *byte ^= 0x5a);
            fs::write(path, bytes).unwrap();
        }
        let outcome = start(root.path(), 2, sealed).and_then(|mut worker| {
            let (counts, names) = worker.views();
            counts.count()?;
            names.count()
        });
        let error = outcome.expect_err(suffix);
        let clear = matches!(
            error,
            StateError::Corrupt { .. }
                | StateError::LostData { .. }
                | StateError::Io { .. }
                | StateError::GapInLog { .. }
        );
        assert!(clear, "{suffix}: {error}");
        println!("{suffix}: {error}");
    }
}

/// RocksDB's own reader would never come to an end with these: see where the logs are looked through.
#[test]
fn damage_that_looks_like_a_log_written_again_is_an_error_at_once() {
    for (name, kind) in [
        ("MANIFEST-", 5),
        ("MANIFEST-", 131),
        (".log", 8),
        (".log", 11),
    ] {
        let root = tempfile::tempdir().unwrap();
        let sealed = filled(root.path(), 20);
        let mut paths = files(root.path(), "");
        paths.retain(|path| path.to_string_lossy().contains(name));
        let path = paths
            .into_iter()
            .max_by_key(|path| fs::metadata(path).unwrap().len())
            .unwrap();
        let end = fs::metadata(&path).unwrap().len();
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(&[1, 2, 3, 4, 9, 0, kind, 5, 6, 7, 8])
            .unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let dir = root.path().to_owned();
        let opening = std::thread::Builder::new();
        let opening = opening.spawn(move || tell.send(start(&dir, 2, sealed).err()));
        drop(opening.unwrap());
        let patience = std::time::Duration::from_secs(60);
        let error = told.recv_timeout(patience).expect("the opening hangs");
        let error = error.expect(name).to_string();
        let place = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(error.contains(&place), "{error}");
        assert!(error.contains(&format!("at byte {end}")), "{error}");
    }
}

#[test]
fn a_log_that_was_cut_has_lost_data() {
    let root = tempfile::tempdir().unwrap();
    let sealed = filled(root.path(), 20);
    let log = files(root.path(), ".log")
        .into_iter()
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    let len = fs::metadata(&log).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&log)
        .unwrap()
        .set_len(len - 10)
        .unwrap();
    let error = start(root.path(), 2, sealed).err().unwrap();
    assert!(
        matches!(
            error,
            StateError::LostData {
                newest: TxId(19),
                sealed: TxId(20),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn long_keys_and_values_go_all_the_way() {
    let root = tempfile::tempdir().unwrap();
    let key = "k".repeat(16 << 20);
    let counts = vec![(key.clone(), Change::Delta(7))];
    let names = vec![("n".to_owned(), Change::Put("v".repeat(20 << 20)))];
    let mut worker = start(root.path(), 1, None).unwrap();
    let attempt = worker.prepare(&Changes { counts, names }).unwrap();
    worker.seal(attempt);
    worker.fold(|_| Ok(())).unwrap();
    drop(worker);
    let mut worker = start(root.path(), 2, Some(attempt)).unwrap();
    let contents = worker.contents();
    assert_eq!(
        (contents.counts[&key], contents.names["n"].len()),
        (7, 20 << 20)
    );
}

#[test]
fn a_merge_function_that_panics_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let panics: Add = |_, _| panic!("on purpose");
    let states = [StateFamily::combined::<u64, Add>(
        schema("counts", 8),
        panics,
    )];
    let storage = RocksStorage::open(root.path(), &states, RocksOptions::default()).unwrap();
    for _ in 0..2 {
        storage
            .ingest(Family::Data(COUNTS), &mut |sink| sink.merge(b"k", &[1]))
            .unwrap();
    }
    let error = storage.get(Family::Data(COUNTS), b"k").unwrap_err();
    assert!(
        matches!(error, StateError::Merge { .. } | StateError::Corrupt { .. }),
        "{error}"
    );
}

#[test]
fn many_tables_of_one_ingestion_appear_together() {
    let root = tempfile::tempdir().unwrap();
    let storage = open(root.path()).unwrap();
    let data = Family::Data(support::NAMES);
    // Incompressible, so that more than one table is needed.
    let value = |key: u64| -> Vec<u8> {
        (0..8192_u64)
            .flat_map(|at| fulmar_state::hash_key(&(key * 8192 + at).to_be_bytes()).to_be_bytes())
            .collect()
    };
    storage
        .ingest(data, &mut |sink| {
            (0..1200_u64).try_for_each(|key| sink.put(&key.to_be_bytes(), &value(key)))
        })
        .unwrap();
    assert!(files(root.path(), ".sst").len() > 1);
    let snapshot = storage.snapshot().unwrap();
    assert_eq!(snapshot.scan(data, &[], &[0xff; 9]).count(), 1200);
    assert_eq!(fs::read_dir(root.path().join("ingest")).unwrap().count(), 0);
}

/// A small file system of its own, gone at the end; `None` if this system does not let us have one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Option<SmallDisk> {
        let dir = tempfile::tempdir().unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir.path())
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(SmallDisk(dir)),
            other => {
                println!("skipped: no tmpfs can be mounted here: {other:?}");
                None
            }
        }
    }

    fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        assert!(
            Command::new("mount")
                .args(["-o", &options])
                .arg(self.0.path())
                .status()
                .unwrap()
                .success()
        );
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("db")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

/// A batch of half a megabyte that does not compress.
fn large(txid: u64) -> Changes {
    let key = |at: u64| {
        let hash = fulmar_state::hash_key(&(txid * 100_000 + at).to_be_bytes());
        (
            format!(
                "{hash:016x}{:016x}",
                hash.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ),
            Change::Delta(1),
        )
    };
    Changes {
        counts: (0..15_000).map(key).collect(),
        ..Changes::default()
    }
}

#[test]
fn a_full_disk_stops_the_store_and_loses_nothing() {
    let Some(disk) = SmallDisk::mount("12m") else {
        return;
    };
    let mut worker = start(&disk.dir(), 1, None).unwrap();
    let error = loop {
        match worker.prepare(&large(worker.executors[0].counts.newest().0)) {
            Ok(attempt) => worker.seal(attempt),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StateError::DiskFull { .. }), "{error}");
    let sealed = worker.store.sealed().unwrap();
    assert_eq!(worker.store.base().err(), Some(error));
    let expected = worker.contents();
    drop(worker);
    disk.remount("size=200m");
    let mut worker = start(&disk.dir(), 2, Some(sealed)).unwrap();
    assert_eq!(expected.counts.len() as u64, 15_000 * sealed.txid.0);
    assert!(worker.contents() == expected);
    worker.fold(|_| Ok(())).unwrap();
    assert!(worker.contents() == expected);
}

/// A file that takes all but so many bytes of a disk.
fn fill(root: &Path, but: u64) -> PathBuf {
    let path = root.join("filler");
    let mut file = fs::File::create(&path).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    let len = file.metadata().unwrap().len();
    file.set_len(len - but).unwrap();
    path
}

#[test]
fn a_disk_too_full_to_fold_loses_nothing() {
    let Some(disk) = SmallDisk::mount("64m") else {
        return;
    };
    let mut worker = start(&disk.dir(), 1, None).unwrap();
    for txid in 0..4 {
        let attempt = worker.prepare(&large(txid)).unwrap();
        worker.seal(attempt);
    }
    let expected = worker.contents();
    let filler = fill(disk.0.path(), 1 << 20);
    let error = worker.fold(|_| Ok(())).unwrap_err();
    assert!(matches!(error, StateError::DiskFull { .. }), "{error}");
    assert_eq!(
        fs::read_dir(disk.dir().join("ingest")).unwrap().count(),
        0,
        "what is needless takes no space"
    );
    let sealed = worker.store.sealed();
    drop(worker);
    fs::remove_file(filler).unwrap();
    let mut worker = start(&disk.dir(), 2, sealed).unwrap();
    worker.fold(|_| Ok(())).unwrap();
    assert!(worker.contents() == expected);
}

#[test]
fn a_read_only_directory_is_named() {
    let Some(disk) = SmallDisk::mount("64m") else {
        return;
    };
    filled(&disk.dir(), 2);
    disk.remount("ro");
    let error = open(&disk.dir()).unwrap_err();
    assert!(matches!(error, StateError::ReadOnly { .. }), "{error}");
    let error = open(&disk.0.path().join("new")).unwrap_err();
    assert!(matches!(error, StateError::ReadOnly { .. }), "{error}");
}
