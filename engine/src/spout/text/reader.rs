//! Reads one text file in blocks and cuts them into lines that share their block.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};

use bytes::Bytes;
use memchr::{memchr, memrchr};

use super::super::{Position, Progress, ReadLimit, Reader, SpoutError, Status};
use super::position::{Seen, TAIL, TextPosition};
use crate::record::Line;

/// About one chunk of lines: a block's reference count is then touched by one thread at a time.
const BLOCK: usize = 64 << 10;

/// Reads the lines of one file of a [`TextFiles`](super::TextFiles) spout.
pub struct TextReader {
    path: String,
    file: File,
    follow: bool,
    max_line: usize,
    /// All that was yielded, but for the taken part of `block`.
    seen: Seen,
    /// Whole lines that were read from the file; those before `taken` were yielded.
    block: Bytes,
    taken: usize,
    /// The beginning of a line whose end was not yet read.
    carry: Vec<u8>,
    unterminated: bool,
    /// How long the file was when it was last looked at.
    len: u64,
}

impl TextReader {
    pub(super) fn open(
        path: &str,
        from: Option<TextPosition>,
        follow: bool,
        max_line: usize,
    ) -> Result<Self, SpoutError> {
        let fail = |what: String| SpoutError::permanent(format!("{path}: {what}"));
        let mut file =
            File::open(path).map_err(|error| fail(format!("cannot be opened: {error}")))?;
        let len = file
            .metadata()
            .map_err(|error| fail(format!("cannot be looked at: {error}")))?
            .len();
        let mut unterminated = false;
        let mut seen = Seen::nothing();
        if let Some(from) = from {
            if len < from.offset {
                return Err(fail(format!(
                    "shrank to {len} bytes, but was read up to byte {}: put the file back as it was, or start with a new state directory",
                    from.offset
                )));
            }
            let again = Seen::again(&mut file, &from)
                .map_err(|error| fail(format!("cannot be read: {error}")))?;
            seen = again.ok_or_else(|| fail(format!("changed before byte {}, up to which it was read: put the file back as it was, or start with a new state directory", from.offset)))?;
            unterminated = from.unterminated;
        }
        file.seek(SeekFrom::Start(seen.offset()))
            .map_err(|error| fail(format!("cannot be read: {error}")))?;
        Ok(TextReader {
            path: path.to_string(),
            file,
            follow,
            max_line,
            seen,
            block: Bytes::new(),
            taken: 0,
            carry: Vec::new(),
            unterminated,
            len,
        })
    }

    fn fail(&self, what: impl std::fmt::Display) -> SpoutError {
        SpoutError::permanent(format!("{}: {what}", self.path))
    }

    /// Reads until there is a whole line in `block`, or says why there is none.
    fn fill(&mut self) -> Result<Option<Status>, SpoutError> {
        loop {
            let carried = self.carry.len();
            let mut buffer = std::mem::take(&mut self.carry);
            buffer.reserve(BLOCK.max(carried));
            buffer.resize(buffer.capacity().min(carried + BLOCK.max(carried)), 0);
            let read = loop {
                match self.file.read(&mut buffer[carried..]) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(error) => {
                        return Err(SpoutError::retry(format!(
                            "{}: cannot be read: {error}",
                            self.path
                        )));
                    }
                    Ok(read) => break read,
                }
            };
            buffer.truncate(carried + read);
            let offset = self.seen.offset() + carried as u64;
            if offset + read as u64 > self.len {
                self.has_grown(&buffer[..carried])?;
            }
            if let Some(at) = memchr(0, &buffer[carried..]) {
                return Err(self.fail(format!(
                    "has a NUL byte at offset {}: it is not text",
                    offset + at as u64
                )));
            }
            if read == 0 {
                self.carry = buffer;
                return self.at_end();
            }
            self.goes_on(&buffer)?;
            match memrchr(b'\n', &buffer[carried..]) {
                Some(end) => {
                    self.carry = buffer.split_off(carried + end + 1);
                    self.block = Bytes::from(buffer);
                    return Ok(None);
                }
                None if buffer.len() > self.max_line => return Err(self.too_long()),
                None => self.carry = buffer,
            }
        }
    }

    /// There is more than when the file was last looked at. It must stand behind what was read, and not be another text
    /// in its place: a file that was cut and written anew is longer than before, too.
    fn has_grown(&mut self, carry: &[u8]) -> Result<(), SpoutError> {
        let read = self.seen.offset() + carry.len() as u64;
        let want = [self.seen.tail(), &carry[carry.len().saturating_sub(TAIL)..]].concat();
        let want = &want[want.len().saturating_sub(TAIL)..];
        let mut found = vec![0; want.len()];
        match self
            .file
            .read_exact_at(&mut found, read - want.len() as u64)
        {
            Ok(()) if found == want => {}
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                return Err(SpoutError::retry(format!(
                    "{}: cannot be read: {error}",
                    self.path
                )));
            }
            _ => {
                return Err(self.fail(format!(
                    "changed before byte {read}, up to which it was read: put the file back as it was, or start with a new state directory"
                )));
            }
        }
        let metadata = self.file.metadata();
        self.len = metadata
            .map_err(|error| self.fail(format!("cannot be looked at: {error}")))?
            .len();
        Ok(())
    }

    /// A line that was counted without its end may still get its end, but nothing before it.
    fn goes_on(&mut self, next: &[u8]) -> Result<(), SpoutError> {
        if !self.unterminated {
            return Ok(());
        }
        match next {
            [b'\n', ..] | [b'\r', b'\n', ..] => Ok(()),
            [b'\r'] => Ok(()),
            _ => Err(self.fail(format!(
                "goes on at byte {} in a line that was counted without its end: start with a new state directory, and with --follow, which waits for the ends of lines",
                self.seen.offset()
            ))),
        }
    }

    fn too_long(&self) -> SpoutError {
        self.fail(format!("the line at byte {} is longer than {} bytes: raise the longest line that is taken (--max-line)", self.seen.offset(), self.max_line))
    }

    fn at_end(&mut self) -> Result<Option<Status>, SpoutError> {
        if self.follow {
            self.still_the_file()?;
            return Ok(Some(Status::Waiting));
        }
        if self.carry.is_empty() {
            return Ok(Some(Status::Ended));
        }
        self.block = Bytes::from(std::mem::take(&mut self.carry));
        Ok(None)
    }

    /// A followed file must not shrink or be replaced.
    fn still_the_file(&mut self) -> Result<(), SpoutError> {
        let read = self.seen.offset() + self.carry.len() as u64;
        let open = self
            .file
            .metadata()
            .map_err(|error| self.fail(format!("cannot be looked at: {error}")))?;
        let named = std::fs::metadata(&self.path).map_err(|error| {
            self.fail(format!(
                "is gone after it was read up to byte {read}: {error}"
            ))
        })?;
        if (open.dev(), open.ino()) != (named.dev(), named.ino()) {
            return Err(self.fail(format!(
                "was replaced by another file after it was read up to byte {read}"
            )));
        }
        if open.len() < read {
            return Err(self.fail(format!(
                "shrank to {} bytes, but was read up to byte {read}",
                open.len()
            )));
        }
        self.len = open.len();
        Ok(())
    }

    /// Takes the next line off the block, which has one.
    fn next_line(&mut self) -> Result<Option<Line>, SpoutError> {
        let start = self.taken;
        let end = memchr(b'\n', &self.block[start..]).map(|end| start + end);
        let mut line_end = end.unwrap_or(self.block.len());
        if end.is_some() && line_end > start && self.block[line_end - 1] == b'\r' {
            line_end -= 1;
        }
        if line_end - start > self.max_line {
            self.settle();
            return Err(self.too_long());
        }
        self.taken = end.map_or(self.block.len(), |end| end + 1);
        let completes = std::mem::replace(&mut self.unterminated, end.is_none());
        // The late end of a line that was counted already is not a line of its own.
        Ok((!completes).then(|| Line::from(self.block.slice(start..line_end))))
    }

    /// Adds what was taken to what was seen: once a call, not once a line.
    fn settle(&mut self) -> u64 {
        let taken = self.block.split_to(std::mem::take(&mut self.taken));
        self.seen.add(&taken);
        taken.len() as u64
    }
}

impl Reader for TextReader {
    type Record = Line;

    fn read(&mut self, limit: ReadLimit, out: &mut Vec<Line>) -> Result<Progress, SpoutError> {
        if self.block.is_empty()
            && let Some(status) = self.fill()?
        {
            return Ok(Progress { bytes: 0, status });
        }
        // One block a call at most, so that a chunk's lines share a block of their own.
        let mut records = 0;
        while records < limit.records
            && (self.taken as u64) < limit.bytes
            && self.taken < self.block.len()
        {
            if let Some(line) = self.next_line()? {
                out.push(line);
                records += 1;
            }
        }
        Ok(Progress {
            bytes: self.settle(),
            status: Status::More,
        })
    }

    fn position(&self) -> Position {
        self.seen.position(self.unterminated).encode()
    }

    fn lag(&self) -> Option<u64> {
        Some(self.len.saturating_sub(self.seen.offset()))
    }
}
