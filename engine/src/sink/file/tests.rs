//! The file sink's contract: each part once, in order, over repetitions and over a crash at any point of a write.
//!
//! Method: contract. A crash is what it leaves: the file and its record as they stood at some moment.

use std::path::PathBuf;
use std::sync::Arc;

use fulmar_state::TxId;
use tempfile::TempDir;

use super::*;

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        Fixture {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("out.txt")
    }

    fn record(&self) -> PathBuf {
        self.folder.path().join("out.txt.sealed")
    }

    /// A sink as a new process opens it.
    fn sink(&self) -> impl Sink<u64> + use<> {
        FileSink::new(self.path(), |n: &u64, out: &mut Vec<u8>| {
            out.extend(format!("{n}\n").bytes())
        })
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }
}

fn part(txid: u64, partition: u16) -> Part {
    Part {
        topology: Arc::from("t"),
        sink: Arc::from("s"),
        partition,
        txid: TxId(txid),
    }
}

#[track_caller]
fn refused(outcome: Result<(), SinkError>, what: &str) {
    let error = outcome.expect_err("it must be refused");
    assert!(error.permanent, "{error}");
    assert!(
        error.message.contains("out.txt") && error.message.contains(what),
        "{error}"
    );
}

#[test]
fn parts_are_appended_in_order_and_repetitions_are_not() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    let parts = [
        (1, 0, vec![10, 11]),
        (1, 3, vec![13]),
        (2, 1, vec![]),
        (4, 0, vec![40]),
    ];
    for (txid, partition, records) in &parts {
        sink.publish(&part(*txid, *partition), records.clone())
            .unwrap();
        sink.publish(&part(*txid, *partition), records.clone())
            .unwrap();
    }
    assert_eq!(fixture.text(), "10\n11\n13\n40\n");
    let mut sink = fixture.sink();
    for (txid, partition, records) in &parts {
        sink.publish(&part(*txid, *partition), records.clone())
            .unwrap();
    }
    sink.publish(&part(5, 0), vec![50]).unwrap();
    assert_eq!(fixture.text(), "10\n11\n13\n40\n50\n");
}

#[test]
fn what_a_crash_left_of_a_part_is_cut_off() {
    for half in [
        "",
        "2",
        "20\n2",
        "20\n21\n",
        "something longer than the part\n",
    ] {
        let fixture = Fixture::new();
        fixture.sink().publish(&part(1, 0), vec![10]).unwrap();
        fs::write(fixture.path(), format!("10\n{half}")).unwrap();
        // Half a record beside it, too.
        fs::write(fixture.folder.path().join("out.txt.sealed.new"), "ful").unwrap();
        let mut sink = fixture.sink();
        sink.publish(&part(1, 0), vec![10]).unwrap();
        sink.publish(&part(2, 0), vec![20, 21]).unwrap();
        assert_eq!(fixture.text(), "10\n20\n21\n", "{half:?}");
    }
}

#[test]
fn a_crash_in_the_very_first_part_is_a_crash_like_others() {
    let fixture = Fixture::new();
    let mut sink = FileSink::new(fixture.path(), |_: &u64, _: &mut Vec<u8>| {});
    sink.open(&part(1, 0)).unwrap();
    assert!(
        fixture.record().exists(),
        "the record stands before there is anything in the file"
    );
    fs::write(fixture.path(), "10\n1").unwrap();
    fixture.sink().publish(&part(1, 0), vec![10, 11]).unwrap();
    assert_eq!(fixture.text(), "10\n11\n");
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let fixture = Fixture::new();
    fs::write(fixture.path(), "mine\n").unwrap();
    refused(
        fixture.sink().publish(&part(1, 0), vec![10]),
        "no sink has written",
    );
    assert_eq!(fixture.text(), "mine\n");
    assert!(!fixture.record().exists());
    // An empty one may be taken.
    fs::write(fixture.path(), "").unwrap();
    fixture.sink().publish(&part(1, 0), vec![10]).unwrap();
}

#[test]
fn a_file_of_another_sink_or_topology_is_refused() {
    let fixture = Fixture::new();
    fixture.sink().publish(&part(1, 0), vec![10]).unwrap();
    for (topology, sink) in [("other", "s"), ("t", "other"), ("t\ns", "1")] {
        let other = Part {
            topology: Arc::from(topology),
            sink: Arc::from(sink),
            ..part(2, 0)
        };
        refused(
            fixture.sink().publish(&other, vec![20]),
            "was written by sink \"s\" of topology \"t\"",
        );
    }
    assert_eq!(fixture.text(), "10\n");
}

#[test]
fn names_may_be_anything() {
    for name in ["", "two\nlines", "5", "\u{1b}[2J", "\\n"] {
        let fixture = Fixture::new();
        let of = |txid| Part {
            topology: Arc::from(name),
            sink: Arc::from(name),
            ..part(txid, 0)
        };
        fixture.sink().publish(&of(1), vec![10]).unwrap();
        fixture.sink().publish(&of(1), vec![10]).unwrap();
        fixture.sink().publish(&of(2), vec![20]).unwrap();
        assert_eq!(fixture.text(), "10\n20\n", "{name:?}");
    }
}

#[test]
fn a_damaged_record_is_refused_whatever_is_damaged() {
    let fixture = Fixture::new();
    fixture.sink().publish(&part(1, 0), vec![10]).unwrap();
    fixture.sink().publish(&part(2, 0), vec![20]).unwrap();
    let record = fs::read(fixture.record()).unwrap();
    for at in 0..record.len() {
        let mut damaged = record.clone();
        damaged[at] ^= 1;
        fs::write(fixture.record(), &damaged).unwrap();
        refused(fixture.sink().publish(&part(3, 0), vec![30]), "damaged");
        // No text at all.
        damaged[at] = 0xff;
        fs::write(fixture.record(), damaged).unwrap();
        refused(fixture.sink().publish(&part(3, 0), vec![30]), "damaged");
        fs::write(fixture.record(), &record[..at]).unwrap();
        refused(fixture.sink().publish(&part(3, 0), vec![30]), "damaged");
    }
    fs::remove_file(fixture.record()).unwrap();
    refused(
        fixture.sink().publish(&part(3, 0), vec![30]),
        "no sink has written",
    );
    assert_eq!(fixture.text(), "10\n20\n");
}

#[test]
fn a_file_that_shrank_is_refused() {
    let fixture = Fixture::new();
    fixture.sink().publish(&part(1, 0), vec![10, 11]).unwrap();
    fs::write(fixture.path(), "10\n").unwrap();
    refused(
        fixture.sink().publish(&part(2, 0), vec![20]),
        "has 3 bytes, but 6 were published",
    );
}

#[test]
fn another_part_by_a_known_name_is_refused() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    for txid in 1..=3 {
        sink.publish(&part(txid, 1), vec![txid]).unwrap();
    }
    refused(
        fixture.sink().publish(&part(2, 1), vec![99]),
        "another part for batch 2",
    );
    refused(
        fixture.sink().publish(&part(2, 0), vec![99]),
        "another part for batch 2",
    );
    assert_eq!(fixture.text(), "1\n2\n3\n");
}

#[test]
fn as_many_parts_are_remembered_as_may_come_again() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink();
    for txid in 1..=200 {
        for partition in 0..3 {
            sink.publish(&part(txid, partition), vec![txid]).unwrap();
        }
    }
    let text = fixture.text();
    let mut sink = fixture.sink();
    for txid in 200 - REMEMBERED + 1..=200 {
        for partition in 0..3 {
            sink.publish(&part(txid, partition), vec![txid]).unwrap();
        }
    }
    assert_eq!(fixture.text(), text);
    assert!(
        fs::metadata(fixture.record()).unwrap().len() < 10_000,
        "the record stays small"
    );
    refused(
        fixture.sink().publish(&part(1, 0), vec![1]),
        "another part for batch 1",
    );
}

#[test]
fn a_folder_that_is_not_there_yet_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("later/out.txt");
    let mut sink = FileSink::new(&path, |n: &u64, out: &mut Vec<u8>| {
        out.extend(format!("{n}\n").bytes())
    });
    let error = sink
        .publish(&part(1, 0), vec![10])
        .expect_err("there is no such folder");
    assert!(
        !error.permanent && error.message.contains("later/out.txt"),
        "{error}"
    );
    fs::create_dir(folder.path().join("later")).unwrap();
    sink.publish(&part(1, 0), vec![10]).unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "10\n");
}
