//! One of several WordCounts that share a ledger in ZooKeeper: what it says of itself, and the batches that it tells of.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use anyhow::{Context, Result};

use crate::program::{From, Run};
use crate::terms::Term;

/// A line that a process said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Another leads.
    StandsBy,
    /// It leads, in this epoch.
    Leads(u64),
    /// It leads, but the state directory is not free yet.
    Waits,
    /// It counts, from here on.
    Counts(From),
    /// It led, and has lost it.
    GivesUp,
    /// No server answers.
    TriesAgain,
    /// Live settings of this version hold.
    Settings(i64),
    /// Live settings of this version are refused.
    Refused(i64),
    /// Something else.
    Other,
}

impl Said {
    fn parse(line: &str) -> Said {
        let said = line.strip_prefix("wordcount: ").unwrap_or(line);
        let number = |text: &str| -> Option<i64> {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        if let Some(epoch) = said.strip_prefix("leads, epoch ").and_then(number) {
            return Said::Leads(epoch as u64);
        }
        if let Some(rest) = said.strip_prefix("live settings, version ") {
            let version = number(rest).unwrap_or(-1);
            return if rest.contains(" are refused: ") {
                Said::Refused(version)
            } else {
                Said::Settings(version)
            };
        }
        match said {
            said if said.starts_with("stands by; ") => Said::StandsBy,
            said if said.starts_with("waits for the state directory") => Said::Waits,
            said if said.ends_with("; stands by") => Said::GivesUp,
            said if said.ends_with("; tries again") => Said::TriesAgain,
            _ => From::parse(line).map_or(Said::Other, Said::Counts),
        }
    }
}

/// A batch, as a line of statistics tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The batch.
    pub txid: u64,
    /// The epoch that sealed it.
    pub epoch: u64,
    /// Its records.
    pub records: u64,
    /// How many batches the same write sealed.
    pub together: u64,
    /// How many attempts the process made at it, this one included.
    pub attempts: u64,
}

impl Sealed {
    fn parse(line: &str) -> Option<Sealed> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        // txid@epoch.number
        let (_, attempt) = value["attempt"].as_str()?.split_once('@')?;
        Some(Sealed {
            txid: value["txid"].as_u64()?,
            epoch: attempt.split_once('.')?.0.parse().ok()?,
            records: value["records"].as_u64()?,
            together: value["sealed_together"].as_u64()?,
            attempts: value["attempts"].as_u64()?,
        })
    }
}

fn of_epoch(sealed: &[Sealed], epoch: u64) -> Vec<Sealed> {
    let of = |batch: &&Sealed| batch.epoch == epoch;
    sealed.iter().filter(of).copied().collect()
}

/// One process.
pub struct Member {
    pub(crate) run: Run,
    /// It was killed or asked to end by the test; any other end is a failure.
    pub(crate) dismissed: bool,
    sealed: Vec<Sealed>,
    /// How many bytes of its statistics are read.
    read: u64,
}

impl Member {
    pub(crate) fn new(run: Run) -> Member {
        Member {
            run,
            dismissed: false,
            sealed: Vec::new(),
            read: 0,
        }
    }

    /// Its process.
    pub fn run(&mut self) -> &mut Run {
        &mut self.run
    }

    /// Everything that it said, line by line.
    #[must_use]
    pub fn heard(&self) -> Vec<Said> {
        // A line that is not whole yet is not read as another.
        let said = self.run.said();
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(Said::parse).collect()
    }

    /// Whether it said so, ever.
    #[must_use]
    pub fn has_said(&self, what: &Said) -> bool {
        self.heard().contains(what)
    }

    /// The epoch in which it leads, as far as it knows.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        self.heard()
            .iter()
            .rev()
            .find_map(|said| match said {
                Said::Leads(epoch) => Some(Some(*epoch)),
                Said::StandsBy | Said::GivesUp | Said::TriesAgain => Some(None),
                _ => None,
            })
            .flatten()
    }

    /// From where it counts in this epoch, if it does.
    #[must_use]
    pub fn from(&self, epoch: u64) -> Option<From> {
        let heard = self.heard();
        let term = heard
            .iter()
            .skip_while(|said| **said != Said::Leads(epoch))
            .skip(1);
        term.take_while(|said| !matches!(said, Said::Leads(_) | Said::GivesUp))
            .find_map(|said| match said {
                Said::Counts(from) => Some(*from),
                _ => None,
            })
    }

    /// Its terms, as the process of this number, whose ledger is in ZooKeeper.
    pub(crate) fn terms(&mut self, number: usize) -> Result<Vec<Term>> {
        let sealed = self.sealed()?.to_vec();
        let heard = self.heard();
        let epochs = heard.iter().filter_map(|said| match said {
            Said::Leads(epoch) => Some(*epoch),
            _ => None,
        });
        let term = |epoch: u64| Term {
            epoch: Some(epoch),
            by: number,
            from: self.from(epoch),
            sealed: of_epoch(&sealed, epoch),
        };
        Ok(epochs.map(term).collect())
    }

    /// Its only term, as the process of this number, whose ledger is embedded.
    pub(crate) fn term(&mut self, number: usize) -> Result<Term> {
        let sealed = self.sealed()?.to_vec();
        let counts = |said: &Said| match said {
            Said::Counts(from) => Some(*from),
            _ => None,
        };
        Ok(Term {
            epoch: sealed.first().map(|batch| batch.epoch),
            by: number,
            from: self.heard().iter().find_map(counts),
            sealed,
        })
    }

    /// All batches that it told of, in their order.
    ///
    /// # Errors
    ///
    /// A line of its statistics is none.
    pub fn sealed(&mut self) -> Result<&[Sealed]> {
        let Ok(mut file) = File::open(&self.run.stats) else {
            return Ok(&self.sealed);
        };
        file.seek(SeekFrom::Start(self.read))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        // A line that was cut by a kill is left out.
        if let Some((whole, _)) = text.rsplit_once('\n') {
            self.read += whole.len() as u64 + 1;
            for line in whole.lines() {
                let sealed = Sealed::parse(line);
                let sealed = sealed.with_context(|| format!("not a line of statistics: {line}"))?;
                self.sealed.push(sealed);
            }
        }
        Ok(&self.sealed)
    }

    /// How many batches it told of.
    #[must_use]
    pub fn told(&mut self) -> usize {
        self.sealed().map_or(0, <[_]>::len)
    }

    /// Lets it end without that being a failure.
    pub fn dismiss(&mut self) {
        self.dismissed = true;
    }
}
