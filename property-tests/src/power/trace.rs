//! Calls of the file system, as `strace` tells them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::program::{kill_traced, wait_for};

/// Far more than any traced run takes.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a program did, in the order in which it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// A file was opened, and perhaps made, emptied, or both; calls name it by this number until it is closed.
    Open {
        /// The number.
        fd: i32,
        /// Its absolute path.
        path: String,
        /// Whether it is made if it is not there.
        create: bool,
        /// Whether its content is dropped.
        truncate: bool,
    },
    /// The number may be given anew.
    Close(i32),
    /// Bytes were written at an offset, or behind what was written before.
    Write(i32, Option<u64>, Vec<u8>),
    /// A file was cut or made longer.
    SetLen(i32, u64),
    /// The place of the next write.
    Seek(i32, u64),
    /// A file or folder was synced.
    Sync(i32),
    /// A folder was made.
    MakeDir(String),
    /// A second name was given.
    Link(String, String),
    /// A name was changed.
    Rename(String, String),
    /// A file's name was taken away.
    Unlink(String),
    /// A folder was taken away.
    RemoveDir(String),
}

/// Beside these, what sends to a socket: [`run`] has it traced unless the program speaks to servers.
const WRITEV: &str = "writev";
const TRACED: &str = "openat,open,creat,close,write,pwrite64,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,fsync,\
fdatasync,sync,syncfs,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,copy_file_range,sendfile,splice,dup,dup2,dup3,symlink,symlinkat";

/// Whether this system lets a program be traced.
#[must_use]
pub fn is_possible() -> bool {
    let traced = Command::new("strace")
        .args(["-f", "-o", "/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    traced.is_ok_and(|status| status.success())
}

/// Runs a program to its end; what it did to files is in the answer.
///
/// # Errors
///
/// It cannot be traced, or fails, or does what is not modelled here.
pub fn run(program: &mut Command) -> Result<Vec<Call>> {
    traced(program, &format!("{TRACED},{WRITEV}"))
}

/// Like [`run`], for a program that also speaks to servers. What it sends is left out; that it does not write so to files is for a run
/// without servers to show.
///
/// # Errors
///
/// As [`run`].
pub fn run_with_servers(program: &mut Command) -> Result<Vec<Call>> {
    traced(program, TRACED)
}

fn traced(program: &mut Command, calls: &str) -> Result<Vec<Call>> {
    let folder = tempfile::tempdir()?;
    let told = folder.path().join("trace");
    let mut traced = Command::new("strace");
    traced
        .args([
            "-f",
            "-q",
            "-xx",
            "-s",
            "100000000",
            "--seccomp-bpf",
            "-e",
            "signal=none",
            "-e",
        ])
        .arg(format!("trace={calls}"))
        .arg("-o")
        .arg(&told)
        .arg(program.get_program())
        .args(program.get_args());
    for (name, value) in program.get_envs() {
        if let Some(value) = value {
            traced.env(name, value);
        }
    }
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    traced
        .stdin(Stdio::null())
        .stdout(File::create(&out)?)
        .stderr(File::create(&err)?);
    let mut child = traced.spawn().context("strace cannot be run")?;
    let ended = wait_for(&mut child, PATIENCE)?;
    let said = || {
        let text = |file| fs::read(file).unwrap_or_default();
        let all = [text(&out), text(&err)].concat();
        String::from_utf8_lossy(&all).into_owned()
    };
    let Some(ended) = ended else {
        kill_traced(&mut child)?;
        bail!("the traced program hung for {PATIENCE:?}: {}", said());
    };
    ensure!(ended.success(), "the traced program failed: {}", said());
    read(&told)
}

fn read(told: &Path) -> Result<Vec<Call>> {
    let text = fs::read_to_string(told)?;
    let mut begun: BTreeMap<&str, String> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in text.lines() {
        let Some((process, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(beginning) = rest.strip_suffix(" <unfinished ...>") {
            // A number that is being closed may be given anew before the call returns.
            if let Some(fd) = beginning.strip_prefix("close(") {
                calls.push(Call::Close(fd.trim_end_matches(')').parse()?));
            } else {
                begun.insert(process, beginning.to_owned());
            }
        } else if let Some(resumed) = rest.strip_prefix("<... ") {
            let (_, end) = resumed
                .split_once(" resumed>")
                .context("a call is resumed without its name")?;
            if let Some(beginning) = begun.remove(process) {
                calls.extend(call(&format!("{beginning}{end}"))?);
            }
        } else if !rest.starts_with("+++") && !rest.starts_with("---") {
            calls.extend(call(rest)?);
        }
    }
    Ok(calls)
}

/// One whole line, without its process; none if it failed or changes nothing.
fn call(line: &str) -> Result<Option<Call>> {
    let short = || line.chars().take(200).collect::<String>();
    let (name, rest) = line.split_once('(').with_context(short)?;
    let (given, answer) = rest.rsplit_once(" = ").with_context(short)?;
    let answer: i64 = answer
        .split(' ')
        .next()
        .unwrap_or_default()
        .parse()
        .unwrap_or(-1);
    if answer < 0 {
        return Ok(None);
    }
    let given = given.trim_end().strip_suffix(')').with_context(short)?;
    let arguments: Vec<&str> = given.split(", ").collect();
    let number = |at: usize| -> Result<i32> {
        let text = arguments.get(at).with_context(short)?;
        text.parse().with_context(short)
    };
    let size = |at: usize| -> Result<u64> {
        let text = arguments.get(at).with_context(short)?;
        text.parse().with_context(short)
    };
    let text = |at: usize| -> Result<String> {
        let bytes = unquote(arguments.get(at).with_context(short)?)?;
        Ok(String::from_utf8(bytes)?)
    };
    let data = |at: usize| unquote(arguments.get(at).with_context(short)?);
    Ok(Some(match name {
        "open" => open(answer, text(0)?, arguments[1]),
        "openat" => open(answer, text(1)?, arguments[2]),
        "creat" => open(answer, text(0)?, "O_CREAT|O_TRUNC"),
        "close" => Call::Close(number(0)?),
        "write" => Call::Write(number(0)?, None, cut(data(1)?, answer)),
        "pwrite64" => Call::Write(number(0)?, Some(size(3)?), cut(data(1)?, answer)),
        "lseek" => Call::Seek(number(0)?, answer as u64),
        "ftruncate" => Call::SetLen(number(0)?, size(1)?),
        // Room that does not show in the file's length.
        "fallocate" if arguments[1].contains("FALLOC_FL_KEEP_SIZE") => return Ok(None),
        "fsync" | "fdatasync" => Call::Sync(number(0)?),
        "rename" => Call::Rename(text(0)?, text(1)?),
        "renameat" | "renameat2" => Call::Rename(text(1)?, text(3)?),
        "link" => Call::Link(text(0)?, text(1)?),
        "linkat" => Call::Link(text(1)?, text(3)?),
        "unlink" => Call::Unlink(text(0)?),
        "unlinkat" if arguments[2].contains("AT_REMOVEDIR") => Call::RemoveDir(text(1)?),
        "unlinkat" => Call::Unlink(text(1)?),
        "mkdir" => Call::MakeDir(text(0)?),
        "mkdirat" => Call::MakeDir(text(1)?),
        "rmdir" => Call::RemoveDir(text(0)?),
        // To a terminal or a pipe; files are written by the calls above.
        "writev" if number(0)? <= 2 => return Ok(None),
        other => bail!("{other} is not modelled: {}", short()),
    }))
}

fn open(fd: i64, path: String, how: &str) -> Call {
    Call::Open {
        fd: fd as i32,
        path,
        create: how.contains("O_CREAT"),
        truncate: how.contains("O_TRUNC"),
    }
}

fn cut(mut bytes: Vec<u8>, written: i64) -> Vec<u8> {
    bytes.truncate(written as usize);
    bytes
}

/// The bytes of a string of `\x..`.
fn unquote(text: &str) -> Result<Vec<u8>> {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .with_context(|| {
            format!(
                "no whole string: {}",
                text.chars().take(80).collect::<String>()
            )
        })?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |group: &[u8]| -> Option<u8> {
        let [b'\\', b'x', high, low] = group else {
            return None;
        };
        Some((digit(*high)? * 16 + digit(*low)?) as u8)
    };
    let bytes: Option<Vec<u8>> = inner.as_bytes().chunks(4).map(byte).collect();
    bytes.context("a string that is not in hexadecimal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_as_they_were_made() {
        let read = |line: &str| call(line).unwrap();
        assert_eq!(
            read(r#"openat(AT_FDCWD, "\x2f\x61", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3"#),
            Some(Call::Open {
                fd: 3,
                path: "/a".into(),
                create: true,
                truncate: true
            })
        );
        assert_eq!(
            read(r#"pwrite64(3, "\x68\x69\x0a", 3, 17)    = 2"#),
            Some(Call::Write(3, Some(17), b"hi".to_vec()))
        );
        assert_eq!(read("fsync(4) = -1 EIO (Input/output error)"), None);
        assert_eq!(read("fdatasync(4)     = 0"), Some(Call::Sync(4)));
        assert!(call(r#"copy_file_range(3, NULL, 4, NULL, 9, 0) = 9"#).is_err());
    }

    #[test]
    fn a_call_that_is_told_in_two_lines_counts_when_it_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("trace");
        let text = "7  fsync(3 <unfinished ...>\n8  close(4 <unfinished ...>\n8  write(5, \"\\x61\", 1) = 1\n\
7  <... fsync resumed>) = 0\n8  <... close resumed>) = 0\n7  +++ exited with 0 +++\n";
        fs::write(&told, text).unwrap();
        let write = Call::Write(5, None, b"a".to_vec());
        assert_eq!(
            super::read(&told).unwrap(),
            [Call::Close(4), write, Call::Sync(3)]
        );
    }
}
