//! Method: golden files. What format 1 wrote must be written again, bit for bit, and be readable for ever.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod support;

use std::fmt::Write as _;
use std::path::PathBuf;

use fulmar_state::{
    Attempt, Change, DeadLetter, Durable, Family, Generation, MemoryStorage, OutboxPart, Storage,
    TxId, WriteBatch,
};
use support::{Changes, Medium, Model, Worker, memory, rewind};

const FAMILIES: [(&str, Family); 4] = [
    ("meta", Family::Meta),
    ("log", Family::Log),
    ("data.counts", Family::Data(support::COUNTS)),
    ("data.names", Family::Data(support::NAMES)),
];

fn changes(round: u64) -> Changes {
    let key = |name: &str| format!("{name}\0{round}");
    Changes {
        counts: vec![
            ("every".to_owned(), Change::Delta(round * 100)),
            (key("new"), Change::Delta(u64::MAX - round)),
            (key("put"), Change::Put(round)),
            (format!("put\0{}", round - 1), Change::Remove),
        ],
        names: vec![(
            "last".to_owned(),
            Change::Put("näme ".repeat(round as usize * 20)),
        )],
    }
}

/// One batch folded, one sealed, one prepared.
fn build() -> (MemoryStorage, Model) {
    let storage = memory();
    let mut model = Model::default();
    let mut worker = Worker::start(storage.open(), rewind(1, None), 2).unwrap();
    for round in 1..=3 {
        let mut entry = worker.process(&changes(round)).unwrap();
        entry.outbox.push(OutboxPart {
            sink: "out".to_owned(),
            partition: 1,
            records: 2,
            bytes: vec![round as u8; 3],
        });
        entry.dead.push(DeadLetter {
            spout: "lines".to_owned(),
            partition: "a.txt".to_owned(),
            position: vec![0, round as u8],
            cause: "not a number".to_owned(),
            record: b"x".to_vec(),
        });
        worker.store.append(std::slice::from_ref(&entry)).unwrap();
        if round < 3 {
            worker.seal(entry.attempt);
            model.apply(&changes(round));
        }
        if round == 1 {
            worker.fold(|_| Ok(())).unwrap();
        }
    }
    (storage, model)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn dump(storage: &MemoryStorage) -> String {
    let snapshot = storage.snapshot().unwrap();
    let mut text = String::new();
    for (name, family) in FAMILIES {
        for record in snapshot.scan(family, &[], &[0xff; 16]) {
            let (key, value) = record.unwrap();
            writeln!(text, "{name} {} {}", hex(&key), hex(&value)).unwrap();
        }
    }
    text
}

fn load(text: &str) -> MemoryStorage {
    let storage = memory();
    let mut batch = WriteBatch::new();
    for line in text.lines() {
        let [name, key, value] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("a line has three parts");
        };
        let family = FAMILIES.iter().find(|(known, _)| *known == name).unwrap().1;
        batch.put(family, unhex(key), unhex(value));
    }
    storage.write(batch, Durable::Synced).unwrap();
    storage
}

fn golden() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/golden/format-1.txt")
}

#[test]
fn format_1_is_written_as_ever() {
    let written = dump(&build().0);
    if std::env::var_os("FULMAR_WRITE_GOLDEN").is_some() {
        std::fs::write(golden(), &written).unwrap();
    }
    let expected = std::fs::read_to_string(golden()).unwrap();
    assert!(
        written == expected,
        "the format has changed: give it a new version, and keep reading this one"
    );
}

#[test]
fn format_1_is_read_as_ever() {
    let storage = load(&std::fs::read_to_string(golden()).unwrap());
    let sealed = Attempt::new(TxId(2), Generation::new(1, 0));
    let mut worker = Worker::start(storage.open(), rewind(2, Some(sealed)), 3).unwrap();
    assert_eq!(worker.contents(), build().1);
    let entry = worker.store.entry(TxId(2)).unwrap().unwrap();
    assert_eq!(
        (
            entry.outbox[0].bytes.as_slice(),
            entry.dead[0].position.as_slice()
        ),
        (&[2; 3][..], &[0, 2][..])
    );
}
