//! A file that grows by one run of lines a part, each part exactly once.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::{Part, Sink, SinkError};

#[cfg(test)]
mod tests;

/// The parts of so many batches are remembered: more than are published again after a crash.
const REMEMBERED: u64 = 64;
const FORMAT: &str = "fulmar-file-sink 1";

/// Appends each part's records to a file, exactly once, also over crashes and power losses.
///
/// Beside the file stands a small record, `<file>.sealed`, of its length and of the last parts in it. What stands
/// behind that length is half a part of a crash, and is cut off before the next one is written. A part that the
/// record names is not written again. Readers of the file may trust what stands before the recorded length.
///
/// ```no_run
/// use fulmar::sink::FileSink;
///
/// let lines = FileSink::new("counts.tsv", |(word, count): &(String, u64), out| {
///     out.extend_from_slice(format!("{word}\t{count}\n").as_bytes());
/// });
/// ```
pub struct FileSink<F> {
    path: PathBuf,
    format: F,
    open: Option<(File, Sealed)>,
}

/// What is known to be in the file. Names are kept as they stand in the record, on one line each.
#[derive(Clone, Debug)]
struct Sealed {
    topology: String,
    sink: String,
    len: u64,
    /// (txid, partition, digest of the bytes), oldest first.
    parts: VecDeque<(u64, u16, u64)>,
}

impl<F> FileSink<F> {
    /// A sink that appends to `path` what `format` makes of each record.
    pub fn new<T>(path: impl AsRef<Path>, format: F) -> Self
    where
        F: Fn(&T, &mut Vec<u8>) + Send + 'static,
    {
        FileSink {
            path: path.as_ref().to_path_buf(),
            format,
            open: None,
        }
    }

    fn fail(&self, what: &str, error: io::Error) -> SinkError {
        SinkError::retry(format!("{}: {what}: {error}", self.path.display()))
    }

    fn record_path(&self) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(".sealed");
        PathBuf::from(name)
    }

    fn open(&mut self, part: &Part) -> Result<(File, Sealed), SinkError> {
        if let Some(open) = self.open.take() {
            return Ok(open);
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.path);
        let file = file.map_err(|error| self.fail("cannot be opened", error))?;
        let len = file
            .metadata()
            .map_err(|error| self.fail("cannot be looked at", error))?
            .len();
        let shown = self.path.display();
        let sealed = match fs::read(self.record_path()) {
            // What is no text is damaged like what is another: to try again would not help.
            Ok(bytes) => std::str::from_utf8(&bytes).ok().and_then(decode).ok_or_else(|| SinkError::permanent(format!("{}: is damaged or of another program: without it the file cannot be written exactly once", self.record_path().display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound && len == 0 => {
                let empty = Sealed { topology: one_line(&part.topology), sink: one_line(&part.sink), len: 0, parts: VecDeque::new() };
                // Before there is anything in the file, so that half of the first part is known to be ours after a crash.
                self.record(&empty)?;
                empty
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(SinkError::permanent(format!("{shown}: holds data that no sink has written: name another file")));
            }
            Err(error) => return Err(self.fail("its record cannot be read", error)),
        };
        if (&sealed.topology, &sealed.sink) != (&one_line(&part.topology), &one_line(&part.sink)) {
            return Err(SinkError::permanent(format!(
                "{shown}: was written by sink \"{}\" of topology \"{}\": name another file",
                sealed.sink, sealed.topology
            )));
        }
        if len < sealed.len {
            return Err(SinkError::permanent(format!(
                "{shown}: has {len} bytes, but {} were published to it: put it back",
                sealed.len
            )));
        }
        Ok((file, sealed))
    }

    fn append(
        &self,
        file: &mut File,
        sealed: &mut Sealed,
        part: &Part,
        bytes: &[u8],
    ) -> Result<(), SinkError> {
        let write = |file: &mut File| {
            file.set_len(sealed.len)?;
            file.seek(SeekFrom::Start(sealed.len))?;
            file.write_all(bytes)?;
            file.sync_data()
        };
        write(file).map_err(|error| self.fail("cannot be written", error))?;
        sealed.len += bytes.len() as u64;
        sealed
            .parts
            .push_back((part.txid.0, part.partition, xxh3_64(bytes)));
        let newest = part.txid.0;
        sealed.parts.retain(|(txid, ..)| txid + REMEMBERED > newest);
        self.record(sealed)
    }

    fn record(&self, sealed: &Sealed) -> Result<(), SinkError> {
        replace(&self.record_path(), encode(sealed).as_bytes())
            .map_err(|error| self.fail("its record cannot be written", error))
    }
}

impl<T, F> Sink<T> for FileSink<F>
where
    T: 'static,
    F: Fn(&T, &mut Vec<u8>) + Send + 'static,
{
    fn publish(&mut self, part: &Part, records: Vec<T>) -> Result<(), SinkError> {
        let mut bytes = Vec::new();
        records
            .iter()
            .for_each(|record| (self.format)(record, &mut bytes));
        // Taken out and put back only when all went well: after an error the file is looked at anew.
        let (mut file, mut sealed) = self.open(part)?;
        let key = (part.txid.0, part.partition);
        let known = sealed
            .parts
            .iter()
            .find(|(txid, partition, _)| (*txid, *partition) == key);
        match known {
            Some((_, _, digest)) if *digest == xxh3_64(&bytes) => {}
            None if sealed
                .parts
                .back()
                .is_none_or(|(txid, partition, _)| (*txid, *partition) < key) =>
            {
                self.append(&mut file, &mut sealed, part, &bytes)?;
            }
            _ => {
                return Err(SinkError::permanent(format!(
                    "{}: holds another part for batch {}: it belongs to another state directory, name another file",
                    self.path.display(),
                    part.txid
                )));
            }
        }
        self.open = Some((file, sealed));
        Ok(())
    }
}

/// A name as it stands in the record: one line, whatever is in it.
fn one_line(name: &str) -> String {
    name.escape_debug().to_string()
}

fn encode(sealed: &Sealed) -> String {
    let parts = sealed
        .parts
        .iter()
        .map(|(txid, partition, digest)| format!("{txid} {partition} {digest:016x}\n"));
    let body = format!(
        "{FORMAT}\n{}\n{}\n{}\n{}",
        sealed.topology,
        sealed.sink,
        sealed.len,
        parts.collect::<String>()
    );
    format!("{body}{:016x}\n", xxh3_64(body.as_bytes()))
}

fn decode(text: &str) -> Option<Sealed> {
    let (body, digest) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let body = format!("{body}\n");
    if u64::from_str_radix(digest, 16).ok()? != xxh3_64(body.as_bytes()) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != FORMAT {
        return None;
    }
    let (topology, sink, len) = (
        lines.next()?.to_string(),
        lines.next()?.to_string(),
        lines.next()?.parse().ok()?,
    );
    let parts = lines.map(|line| {
        let mut fields = line.split(' ');
        Some((
            fields.next()?.parse().ok()?,
            fields.next()?.parse().ok()?,
            u64::from_str_radix(fields.next()?, 16).ok()?,
        ))
    });
    Some(Sealed {
        topology,
        sink,
        len,
        parts: parts.collect::<Option<_>>()?,
    })
}

/// Replaces a small file atomically and durably.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.to_path_buf().into_os_string();
    temporary.push(".new");
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}
