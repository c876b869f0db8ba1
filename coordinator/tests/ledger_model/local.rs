//! The ledgers of one machine: in memory, and in a file that a crash leaves between any two of its operations.

use std::collections::BTreeMap;
use std::fs;

use fulmar_coordinator::{
    Durability, Error, FileLedger, Ledger as _, LedgerRecord, MemoryLedger, Version, WriteOutcome,
};
use futures::executor::block_on;
use tempfile::TempDir;

use crate::step::Fault;
use crate::tested::{Heard, Held, Medium};

/// A ledger in memory that its writers reach over something like a network.
pub(crate) struct Memory {
    ledger: MemoryLedger,
    late: Vec<(LedgerRecord, Version)>,
}

impl Medium for Memory {
    fn make(_: usize) -> Memory {
        Memory {
            ledger: MemoryLedger::new(),
            late: Vec::new(),
        }
    }

    fn load(&mut self, _: usize) -> Held {
        block_on(self.ledger.clone().load()).unwrap()
    }

    fn write(
        &mut self,
        _: usize,
        record: &LedgerRecord,
        expected: Version,
        fault: Option<Fault>,
    ) -> Heard {
        let write = || block_on(self.ledger.clone().write(record, expected));
        match fault {
            None => Heard::Answer(write()),
            Some(Fault::Before(_) | Fault::Refused) => Heard::Never,
            Some(Fault::After(_)) => Heard::Untold(write()),
            Some(Fault::Late) => {
                self.late.push((record.clone(), expected));
                Heard::Never
            }
        }
    }

    fn arrive(&mut self) -> Vec<(LedgerRecord, Version, WriteOutcome)> {
        let arrived = self.late.drain(..).map(|(record, expected)| {
            let outcome = self.ledger.write_now(&record, expected);
            (record, expected, outcome)
        });
        arrived.collect()
    }

    fn restart(&mut self, _: usize) {}
}

/// What a directory holds, by name.
type Files = BTreeMap<String, Vec<u8>>;

const LEDGER: &str = "LEDGER";
const FORMAT: &str = "FORMAT";

/// A ledger in a directory, which one writer has at a time.
pub(crate) struct File {
    dir: TempDir,
    holder: Option<(usize, FileLedger)>,
}

fn open(dir: &TempDir) -> Result<FileLedger, Error> {
    // What a sync adds shows only in a power loss, and costs most of the time.
    FileLedger::open(dir.path().join("ledger"), Durability::ProcessCrash)
}

/// A child process that is being started elsewhere in this one has, until its `exec`, all its locks.
fn open_patiently(dir: &TempDir) -> FileLedger {
    for _ in 0..100_000 {
        match open(dir) {
            Err(Error::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
    open(dir).unwrap()
}

impl File {
    fn ledger(&mut self, writer: usize) -> &mut FileLedger {
        if self
            .holder
            .as_ref()
            .is_none_or(|(holder, _)| *holder != writer)
        {
            if let Some((holder, ledger)) = self.holder.take() {
                let refused = open(&self.dir);
                assert!(
                    matches!(refused, Err(Error::Locked { .. })),
                    "{holder} has it: {refused:?}"
                );
                drop(ledger);
            }
            self.holder = Some((writer, open_patiently(&self.dir)));
        }
        &mut self.holder.as_mut().expect("it was just opened").1
    }

    fn files(&self) -> Files {
        let Ok(list) = fs::read_dir(self.dir.path().join("ledger")) else {
            return Files::new();
        };
        let read = list.map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                fs::read(entry.path()).unwrap(),
            )
        });
        read.collect()
    }

    /// Makes the directory what a crash has left.
    fn leave(&self, files: &Files) {
        let dir = self.dir.path().join("ledger");
        for name in self.files().into_keys() {
            fs::remove_file(dir.join(name)).unwrap();
        }
        for (name, bytes) in files {
            fs::write(dir.join(name), bytes).unwrap();
        }
    }

    /// Carries the write out, and then takes back what would have followed the crash.
    ///
    /// The order is that of the code: `LEDGER.tmp`, renamed to `LEDGER`; with the first record `FORMAT.tmp`, renamed to `FORMAT`.
    fn crash(
        &mut self,
        writer: usize,
        record: &LedgerRecord,
        expected: Version,
        fault: Fault,
    ) -> Heard {
        self.ledger(writer);
        let before = self.files();
        let outcome = block_on(self.ledger(writer).write(record, expected));
        self.holder = None;
        let after = self.files();
        if before == after {
            return Heard::Untold(outcome);
        }
        let part = |name: &str, percent: usize| {
            let whole = &after[name];
            whole[..whole.len() * percent / 100].to_vec()
        };
        match fault {
            Fault::Before(percent) => {
                let mut torn = before;
                torn.insert("LEDGER.tmp".to_owned(), part(LEDGER, percent));
                self.leave(&torn);
                Heard::Never
            }
            Fault::After(percent) if before.get(FORMAT) != after.get(FORMAT) => {
                let mut torn = before;
                torn.insert(LEDGER.to_owned(), after[LEDGER].clone());
                if percent > 0 {
                    torn.insert("FORMAT.tmp".to_owned(), part(FORMAT, percent));
                }
                self.leave(&torn);
                Heard::Untold(outcome)
            }
            _ => Heard::Untold(outcome),
        }
    }

    /// The file cannot be made: nothing is tried again, whatever comes.
    fn refuse(&mut self, writer: usize, record: &LedgerRecord, expected: Version) -> Heard {
        let temp = self.dir.path().join("ledger/LEDGER.tmp");
        self.ledger(writer);
        fs::create_dir(&temp).unwrap();
        let outcome = block_on(self.ledger(writer).write(record, expected));
        fs::remove_dir(&temp).unwrap();
        if !matches!(outcome, WriteOutcome::Failed(_)) {
            return Heard::Answer(outcome);
        }
        let again = block_on(self.ledger(writer).write(record, expected));
        assert_eq!(again, outcome, "after a failure nothing is tried again");
        self.holder = None;
        Heard::Never
    }
}

impl Medium for File {
    fn make(debris: usize) -> File {
        let file = File {
            dir: tempfile::tempdir().unwrap(),
            holder: None,
        };
        if debris > 0 {
            drop(open_patiently(&file.dir));
            let mut files = file.files();
            if let Some(format) = files.remove(FORMAT).filter(|_| debris < 100) {
                let torn = format[..format.len() * debris / 100].to_vec();
                files.insert("FORMAT.tmp".to_owned(), torn);
                file.leave(&files);
            }
        }
        file
    }

    fn load(&mut self, writer: usize) -> Held {
        block_on(self.ledger(writer).load()).unwrap()
    }

    fn write(
        &mut self,
        writer: usize,
        record: &LedgerRecord,
        expected: Version,
        fault: Option<Fault>,
    ) -> Heard {
        match fault {
            None => Heard::Answer(block_on(self.ledger(writer).write(record, expected))),
            Some(Fault::Refused) => self.refuse(writer, record, expected),
            Some(fault) => self.crash(writer, record, expected, fault),
        }
    }

    fn arrive(&mut self) -> Vec<(LedgerRecord, Version, WriteOutcome)> {
        Vec::new()
    }

    fn restart(&mut self, writer: usize) {
        self.holder.take_if(|(holder, _)| *holder == writer);
    }
}
