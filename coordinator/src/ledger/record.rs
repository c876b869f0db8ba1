//! The ledger's record and its text form: one field a line, the first line names the format, the last is a checksum.
//!
//! Text, so that a person can read it with `cat` or with ZooKeeper's own shell. Names are percent-escaped, positions are hex.
//! Where a record's text is bounded, as ZooKeeper's nodes are, its positions may stand elsewhere: one line names them instead ([`Elsewhere`]).

use std::fmt::Write as _;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::fingerprint::Fingerprint;
use crate::ledger::{Version, WriterId};
use crate::position::{PartitionMove, Positions};
use crate::{Attempt, Epoch, Generation, TxId};

/// The format this program writes and reads.
pub const FORMAT: u32 = 1;
/// The largest text of a record that is written or read, in bytes.
pub const MAX_RECORD: usize = 64 << 20;
const MAGIC: &str = "fulmar-ledger";
const CHECKSUM_LINE: usize = "checksum 0123456789abcdef\n".len();

/// What is sealed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LedgerRecord {
    /// The topology's name.
    pub topology: String,
    /// What makes it the same topology.
    pub fingerprint: Fingerprint,
    /// The term that wrote the record.
    pub epoch: Epoch,
    /// The process start that wrote it.
    pub writer: WriterId,
    /// The newest sealed attempt; its txid counts the batches.
    pub sealed: Option<Attempt>,
    /// The sealed attempt before it, on which it builds.
    pub base: Option<Attempt>,
    /// Where the next batch goes on.
    pub positions: Positions,
    /// A digest over all sealed batches' ranges and times, chained.
    pub digest: u64,
    /// The newest sealed batch's time, in milliseconds since 1970.
    pub time_ms: u64,
    /// Records in all sealed batches.
    pub records: u64,
    /// Bytes in all sealed batches.
    pub bytes: u64,
}

impl LedgerRecord {
    /// A record of nothing sealed.
    #[must_use]
    pub fn new(topology: impl Into<String>, fingerprint: Fingerprint) -> LedgerRecord {
        LedgerRecord {
            topology: topology.into(),
            fingerprint,
            ..LedgerRecord::default()
        }
    }

    /// The newest sealed batch; [`TxId::ZERO`] if there is none.
    #[must_use]
    pub fn txid(&self) -> TxId {
        self.sealed.map_or(TxId::ZERO, |sealed| sealed.txid)
    }

    /// Seals one more batch in this record. Asserts I1 and the base: txids follow each other, attempts build on each other.
    pub(crate) fn seal<'a>(
        &mut self,
        attempt: Attempt,
        base: Option<Attempt>,
        time_ms: u64,
        reads: impl Iterator<Item = (&'a str, &'a crate::ReadReport)>,
    ) {
        assert_eq!(
            attempt.txid,
            self.txid().next(),
            "I1: batches are sealed in order, without gaps, once"
        );
        assert_eq!(
            base, self.sealed,
            "a batch is sealed only on top of the attempt it builds on"
        );
        assert!(
            time_ms >= self.time_ms,
            "a batch's time is never before the one of the batch before"
        );
        let mut hash = Vec::with_capacity(256);
        hash.extend_from_slice(&self.digest.to_le_bytes());
        hash.extend_from_slice(&attempt.txid.0.to_le_bytes());
        hash.extend_from_slice(&time_ms.to_le_bytes());
        for (spout, report) in reads {
            for step in &report.moves {
                digest_move(&mut hash, spout, step);
            }
            self.positions.apply(spout, &report.moves);
            self.records += report.records;
            self.bytes += report.bytes;
        }
        self.base = self.sealed;
        self.sealed = Some(attempt);
        self.time_ms = time_ms;
        self.digest = xxh3_64(&hash);
    }

    /// The text form.
    #[must_use]
    pub fn encode(&self, version: Version) -> Vec<u8> {
        sealed_with_checksum(self.head(version) + &self.position_lines())
    }

    /// The text form of a record whose positions stand elsewhere, and the text that has to stand there.
    #[cfg(feature = "zookeeper")]
    pub(crate) fn encode_apart(
        &self,
        version: Version,
        part_bytes: usize,
    ) -> (Vec<u8>, Elsewhere, Vec<u8>) {
        let positions = self.position_lines().into_bytes();
        let elsewhere = Elsewhere {
            name: self.positions_name(),
            parts: positions.len().div_ceil(part_bytes),
            bytes: positions.len(),
            checksum: xxh3_64(&positions),
        };
        (
            self.with_positions(version, Some(&elsewhere)),
            elsewhere,
            positions,
        )
    }

    /// Reads the text form back, with the version it was written as. What it takes of memory is bounded by the text's size.
    pub fn decode(bytes: &[u8]) -> Result<(LedgerRecord, Version), RecordError> {
        match LedgerRecord::decode_head(bytes)? {
            (record, version, None) => Ok((record, version)),
            (_, _, Some(elsewhere)) => {
                let name = elsewhere.name;
                let what = format!(
                    "its positions are not in it, but in ZooKeeper's nodes positions/{name}-..."
                );
                Err(RecordError::Corrupt(what))
            }
        }
    }

    /// Reads the text form back. If its positions stand elsewhere the record has none yet.
    pub(crate) fn decode_head(
        bytes: &[u8],
    ) -> Result<(LedgerRecord, Version, Option<Elsewhere>), RecordError> {
        let text = checked(bytes)?;
        let (record, version, elsewhere) = Reader(text.lines())
            .record()
            .ok_or_else(|| RecordError::Corrupt("a line is not as expected".into()))?;
        // The form is canonical: whatever does not come out the same was not written by this program.
        if record.with_positions(version, elsewhere.as_ref()) != bytes {
            return Err(RecordError::Corrupt("it is not in canonical form".into()));
        }
        Ok((record, version, elsewhere))
    }

    /// Takes the positions that stood elsewhere.
    #[cfg(feature = "zookeeper")]
    pub(crate) fn take_positions(
        &mut self,
        elsewhere: &Elsewhere,
        text: &[u8],
    ) -> Result<(), RecordError> {
        let corrupt = |what: &str| Err(RecordError::Corrupt(what.to_owned()));
        if text.len() != elsewhere.bytes || xxh3_64(text) != elsewhere.checksum {
            return corrupt(
                "its positions are not those that were written: their checksum does not match",
            );
        }
        let lines = std::str::from_utf8(text).unwrap_or_default().lines();
        if Reader(lines).rest(self) != Some(None) || self.position_lines().as_bytes() != text {
            return corrupt("a line of its positions is not as expected");
        }
        Ok(())
    }

    fn with_positions(&self, version: Version, elsewhere: Option<&Elsewhere>) -> Vec<u8> {
        let positions = match elsewhere {
            None => self.position_lines(),
            Some(Elsewhere {
                name,
                parts,
                bytes,
                checksum,
            }) => {
                format!("positions {name} {parts} {bytes} {checksum:016x}\n")
            }
        };
        sealed_with_checksum(self.head(version) + &positions)
    }

    /// What positions that stand elsewhere are called: no other record has this name.
    fn positions_name(&self) -> String {
        format!("{}-{}-{}", self.txid(), self.epoch, self.writer)
    }

    fn head(&self, version: Version) -> String {
        let mut out = String::with_capacity(512 + 64 * self.fingerprint.lines().len());
        let attempt = |attempt: Option<Attempt>| {
            attempt.map_or_else(|| "none".to_owned(), |attempt| attempt.to_string())
        };
        // Writing to a String cannot fail, so the results are not looked at.
        let _ = writeln!(out, "{MAGIC} {FORMAT}");
        let _ = writeln!(out, "version {version}");
        let _ = writeln!(out, "topology {}", escape(&self.topology));
        let _ = writeln!(out, "epoch {}", self.epoch);
        let _ = writeln!(out, "writer {}", self.writer);
        let _ = writeln!(out, "sealed {}", attempt(self.sealed));
        let _ = writeln!(out, "base {}", attempt(self.base));
        let _ = writeln!(out, "time_ms {}", self.time_ms);
        let _ = writeln!(out, "records {}", self.records);
        let _ = writeln!(out, "bytes {}", self.bytes);
        let _ = writeln!(out, "digest {:016x}", self.digest);
        for (name, value) in self.fingerprint.lines() {
            let _ = writeln!(out, "fingerprint {} {}", escape(name), escape(value));
        }
        out
    }

    fn position_lines(&self) -> String {
        let mut out = String::with_capacity(64 * self.positions.len());
        for (spout, partition, to) in self.positions.iter() {
            let _ = write!(out, "position {} {} ", escape(spout), escape(partition));
            push_hex(&mut out, to);
        }
        out
    }
}

/// Where the lines of a record's positions stand if they are not in its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Elsewhere {
    /// Begins the names of the parts.
    pub name: String,
    /// How many there are.
    pub parts: usize,
    /// The size of them all.
    pub bytes: usize,
    /// Over them all.
    pub checksum: u64,
}

fn sealed_with_checksum(mut text: String) -> Vec<u8> {
    let _ = writeln!(text, "checksum {:016x}", xxh3_64(text.as_bytes()));
    text.into_bytes()
}

/// Why a text is no record; the ledger that read it adds where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// The first line is another program's.
    OtherProgram(String),
    /// A record of another format.
    OtherFormat(u32),
    /// A damaged record.
    Corrupt(String),
}

impl RecordError {
    /// The error, with the place the record was read from.
    #[must_use]
    pub fn at(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            RecordError::OtherProgram(found) => Error::OtherProgram { path, found },
            RecordError::OtherFormat(found) => Error::OtherFormat { path, found },
            RecordError::Corrupt(what) => Error::Corrupt { path, what },
        }
    }
}

fn digest_move(hash: &mut Vec<u8>, spout: &str, step: &PartitionMove) {
    let mut part = |bytes: &[u8]| {
        hash.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        hash.extend_from_slice(bytes);
    };
    part(spout.as_bytes());
    part(step.partition.as_bytes());
    part(step.from.as_deref().unwrap_or_default());
    part(&step.to);
    part(&step.records.to_le_bytes());
    part(&step.digest.unwrap_or_default().to_le_bytes());
}

/// The text between first line and checksum, if program, format and checksum are right.
fn checked(bytes: &[u8]) -> Result<&str, RecordError> {
    let corrupt = |what: &str| Err(RecordError::Corrupt(what.to_owned()));
    if bytes.is_empty() {
        return corrupt("it is empty");
    }
    if bytes.len() > MAX_RECORD {
        return corrupt("it is larger than any ledger record");
    }
    let first = bytes
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let first = String::from_utf8_lossy(&first[..first.len().min(80)]).into_owned();
    let Some(format) = first
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.strip_prefix(' '))
    else {
        // A prefix of the first line, or zeros, is what a torn write leaves.
        if MAGIC.starts_with(first.trim_end_matches('\0').trim_end()) {
            return corrupt("it ends in its first line");
        }
        return Err(RecordError::OtherProgram(format!(
            "it begins with {first:?}"
        )));
    };
    let Some(body) = bytes.len().checked_sub(CHECKSUM_LINE) else {
        return corrupt("it ends too early");
    };
    if bytes[body..] != *format!("checksum {:016x}\n", xxh3_64(&bytes[..body])).as_bytes() {
        return corrupt("its checksum does not match");
    }
    match format.parse::<u32>() {
        Ok(FORMAT) => {}
        Ok(other) => return Err(RecordError::OtherFormat(other)),
        Err(_) => return corrupt("its format is not a number"),
    }
    let skip = MAGIC.len() + 1 + format.len() + 1;
    match std::str::from_utf8(&bytes[skip..body]) {
        Ok(text) => Ok(text),
        Err(_) => corrupt("it is not text"),
    }
}

struct Reader<'a>(std::str::Lines<'a>);

impl<'a> Reader<'a> {
    /// The value of the next line, which must be the field `name`.
    fn field(&mut self, name: &str) -> Option<&'a str> {
        self.0.next()?.strip_prefix(name)?.strip_prefix(' ')
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.field(name)?.parse().ok()
    }

    fn attempt(&mut self, name: &str) -> Option<Option<Attempt>> {
        let text = self.field(name)?;
        if text == "none" {
            return Some(None);
        }
        let (txid, generation) = text.split_once('@')?;
        let (epoch, number) = generation.split_once('.')?;
        let generation = Generation {
            epoch: Epoch(epoch.parse().ok()?),
            number: number.parse().ok()?,
        };
        Some(Some(Attempt {
            txid: TxId(txid.parse().ok()?),
            generation,
        }))
    }

    fn record(&mut self) -> Option<(LedgerRecord, Version, Option<Elsewhere>)> {
        let version = Version(self.number("version")?);
        let mut record = LedgerRecord {
            topology: unescape(self.field("topology")?)?,
            epoch: Epoch(self.number("epoch")?),
            writer: WriterId(u128::from_str_radix(self.field("writer")?, 16).ok()?),
            sealed: self.attempt("sealed")?,
            base: self.attempt("base")?,
            time_ms: self.number("time_ms")?,
            records: self.number("records")?,
            bytes: self.number("bytes")?,
            digest: u64::from_str_radix(self.field("digest")?, 16).ok()?,
            ..LedgerRecord::default()
        };
        let elsewhere = self.rest(&mut record)?;
        Some((record, version, elsewhere))
    }

    /// The lines of which there are as many as the topology has of what they tell.
    fn rest(&mut self, record: &mut LedgerRecord) -> Option<Option<Elsewhere>> {
        let mut elsewhere = None;
        for line in self.0.by_ref() {
            let mut words = line.split(' ');
            match (words.next()?, words.next(), words.next(), words.next()) {
                ("fingerprint", Some(name), Some(value), None) => {
                    let lines = std::mem::take(&mut record.fingerprint);
                    record.fingerprint = lines.line(unescape(name)?, unescape(value)?);
                }
                ("position", Some(spout), Some(partition), Some(to)) => {
                    record
                        .positions
                        .set(&unescape(spout)?, &unescape(partition)?, parse_hex(to)?);
                }
                ("positions", Some(name), Some(parts), Some(bytes)) => {
                    elsewhere = Some(Elsewhere {
                        name: (name == record.positions_name()).then(|| name.to_owned())?,
                        parts: parts.parse().ok()?,
                        bytes: bytes.parse().ok().filter(|bytes| *bytes <= MAX_RECORD)?,
                        checksum: u64::from_str_radix(words.next()?, 16).ok()?,
                    });
                }
                _ => return None,
            }
        }
        Some(elsewhere)
    }
}

/// Printable ASCII as it is, everything else as `%xx`; the empty text as `%e`.
fn escape(text: &str) -> String {
    if text.is_empty() {
        return "%e".to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02x}");
        }
    }
    out
}

fn unescape(text: &str) -> Option<String> {
    if text == "%e" {
        return Some(String::new());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' {
            digit(bytes.next()?)? << 4 | digit(bytes.next()?)?
        } else {
            byte
        });
    }
    String::from_utf8(out).ok()
}

/// Hex and a line end; no bytes are written as `-`.
fn push_hex(out: &mut String, bytes: &[u8]) {
    if bytes.is_empty() {
        out.push('-');
    }
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out.push('\n');
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    if text == "-" {
        return Some(Vec::new());
    }
    if !text.len().is_multiple_of(2) {
        return None;
    }
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?))
        .collect()
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
