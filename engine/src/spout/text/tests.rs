//! Text files, read at any pace, opened again at any position, and spoiled in between.
//!
//! Method: oracle (a text cut at its line ends by hand) under generated texts, limits and restarts; then one test for
//! each thing that is refused.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::position::{HEAD, TAIL, TextPosition};
use super::*;
use crate::spout::{Progress, ReadLimit, Reader, Status};

const ALL: ReadLimit = ReadLimit {
    records: u64::MAX,
    bytes: u64::MAX,
};

struct Fixture {
    folder: TempDir,
}

impl Fixture {
    fn of(text: impl AsRef<[u8]>) -> Fixture {
        let fixture = Fixture {
            folder: TempDir::new().unwrap(),
        };
        fs::write(fixture.path(), text).unwrap();
        fixture
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap().join("text")
    }

    fn append(&self, text: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).open(self.path()).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    fn files(&self) -> TextFiles {
        TextFiles::new([self.path()]).unwrap()
    }

    fn name(&self) -> String {
        self.path().to_str().unwrap().to_string()
    }

    fn open(&self, from: Option<&[u8]>) -> Result<TextReader, SpoutError> {
        self.files().open(&self.name(), from)
    }

    fn follow(&self) -> TextReader {
        self.files().follow().open(&self.name(), None).unwrap()
    }
}

/// Reads until there is no more for now.
fn read_all(reader: &mut TextReader) -> Result<(Vec<String>, Status), SpoutError> {
    let mut lines = Vec::new();
    loop {
        let Progress { status, .. } = reader.read(ALL, &mut lines)?;
        if status != Status::More {
            return Ok((lines.iter().map(Line::to_string).collect(), status));
        }
    }
}

#[track_caller]
fn refusal<T>(outcome: Result<T, SpoutError>, fixture: &Fixture, what: &str) {
    let error = outcome.err().expect("it must be refused");
    assert!(error.permanent, "reading again does not help: {error}");
    assert!(
        error.message.contains(&fixture.name()) && error.message.contains(what),
        "{error}"
    );
}

/// The text's lines, by hand.
fn lines_of(text: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect();
    let last = lines.pop().expect("splitting gives one piece at least");
    for line in &mut lines {
        line.pop_if(|byte| *byte == b'\r');
    }
    if !last.is_empty() {
        lines.push(last);
    }
    lines
}

fn texts() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => "[a-z ]{0,12}".prop_map(String::into_bytes),
        3 => Just(b"\n".to_vec()),
        1 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(vec![0xff, 0x80]),
        // Longer than what is read at once.
        1 => (1usize..200_000).prop_map(|len| vec![b'x'; len]),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pace_and_any_restarts_give_the_same_lines(
        text in texts(),
        paces in prop::collection::vec((1u64..5, 1u64..100_000, any::<bool>()), 1..6),
    ) {
        let fixture = Fixture::of(&text);
        let mut reader = fixture.open(None).unwrap();
        let mut lines = Vec::new();
        let mut bytes = 0;
        for (records, limit, restart) in paces.iter().cycle() {
            let before = lines.len();
            let progress = reader.read(ReadLimit { records: *records, bytes: *limit }, &mut lines).unwrap();
            prop_assert!((lines.len() - before) as u64 <= *records);
            bytes += progress.bytes;
            let position = reader.position();
            prop_assert_eq!(TextPosition::decode(&position).unwrap().offset, bytes);
            prop_assert_eq!(reader.lag(), Some(text.len() as u64 - bytes));
            if progress.status == Status::Ended {
                break;
            }
            if *restart {
                reader = fixture.open(Some(&position)).unwrap();
                prop_assert_eq!(reader.position(), position, "opened again, it stands where it stood");
            }
        }
        let found: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
        prop_assert_eq!(found, lines_of(&text));
        prop_assert_eq!(bytes, text.len() as u64);
    }

    #[test]
    fn a_file_that_grows_gives_its_whole_lines_as_they_come(pieces in prop::collection::vec(texts(), 1..4)) {
        let fixture = Fixture::of("");
        let mut reader = fixture.follow();
        let mut text = Vec::new();
        let mut found = Vec::new();
        for piece in pieces {
            fixture.append(&piece);
            text.extend(&piece);
            loop {
                let progress = reader.read(ALL, &mut found).unwrap();
                prop_assert_ne!(progress.status, Status::Ended);
                if progress.status == Status::Waiting {
                    break;
                }
            }
            let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<Vec<u8>> = found.iter().map(|line| line.as_bytes().to_vec()).collect();
            prop_assert_eq!(lines, lines_of(&text[..whole]));
            prop_assert_eq!(reader.lag(), Some((text.len() - whole) as u64));
        }
    }

    #[test]
    fn a_position_survives_its_encoding(offset: u64, unterminated: bool, head: u64, tail: u64) {
        let position = TextPosition { offset, unterminated, head, tail };
        prop_assert_eq!(TextPosition::decode(&position.encode()).unwrap(), position);
    }
}

#[test]
fn a_strange_position_is_refused() {
    let good = TextPosition {
        offset: 1,
        unterminated: false,
        head: 2,
        tail: 3,
    }
    .encode();
    let mut other = good.clone();
    other[0] = 2;
    let mut flags = good.clone();
    flags[1] = 2;
    for bytes in [
        &b""[..],
        &good[1..],
        &[&good[..], b"x"].concat(),
        &other,
        &flags,
    ] {
        let error = TextPosition::decode(bytes).expect_err("it is none of ours");
        assert!(
            error.permanent && error.message.contains("another program or version"),
            "{error}"
        );
    }
}

#[test]
fn a_last_line_without_its_end_counts_unless_the_file_is_followed() {
    let fixture = Fixture::of("a\nb");
    let mut reader = fixture.open(None).unwrap();
    assert_eq!(
        read_all(&mut reader).unwrap(),
        (vec!["a".into(), "b".into()], Status::Ended)
    );
    let mut reader = fixture.follow();
    assert_eq!(
        read_all(&mut reader).unwrap(),
        (vec!["a".into()], Status::Waiting)
    );
    fixture.append("c");
    assert_eq!(read_all(&mut reader).unwrap(), (vec![], Status::Waiting));
    fixture.append("d\n");
    assert_eq!(
        read_all(&mut reader).unwrap(),
        (vec!["bcd".into()], Status::Waiting)
    );
}

#[test]
fn the_late_end_of_a_counted_line_is_no_line_and_nothing_else_may_come() {
    for (more, lines) in [
        (&["\n"][..], &[][..]),
        (&["\r\n"], &[]),
        (&["\r", "\n"], &[]),
        (&["\nb"], &["b"]),
        (&["\n\n"], &[""]),
        (&["\r\nb\nc"], &["b", "c"]),
    ] {
        let fixture = Fixture::of("a");
        let mut reader = fixture.open(None).unwrap();
        read_all(&mut reader).unwrap();
        let mut found = Vec::new();
        for more in more {
            fixture.append(more);
            reader = fixture.open(Some(&reader.position())).unwrap();
            found.extend(read_all(&mut reader).unwrap().0);
        }
        assert_eq!(found, lines, "{more:?}");
    }
    for more in ["b\n", " \n", "\rb\n", "\r\r\n"] {
        let fixture = Fixture::of("a");
        let mut reader = fixture.open(None).unwrap();
        read_all(&mut reader).unwrap();
        fixture.append(more);
        let mut again = fixture.open(Some(&reader.position())).unwrap();
        refusal(read_all(&mut again), &fixture, "goes on at byte 1");
    }
}

#[test]
fn a_line_may_be_as_long_as_told_and_no_longer() {
    for (text, max, fits) in [
        ("aaaa\n", 4, true),
        ("aaaa\r\n", 4, true),
        ("aaaa", 4, true),
        ("aaaaa\n", 4, false),
        ("aaaaa", 4, false),
        ("a\nbbbbb\n", 4, false),
    ] {
        let fixture = Fixture::of(text);
        let mut reader = fixture
            .files()
            .max_line(max)
            .open(&fixture.name(), None)
            .unwrap();
        match read_all(&mut reader) {
            Ok(_) => assert!(fits, "{text:?}"),
            outcome => {
                assert!(!fits, "{text:?}");
                refusal(outcome, &fixture, "longer than 4 bytes");
            }
        }
    }
}

#[test]
fn an_endless_line_is_refused_before_it_fills_the_memory() {
    let fixture = Fixture::of("");
    let file = OpenOptions::new().write(true).open(fixture.path()).unwrap();
    (&file).write_all(&vec![b'x'; 1 << 20]).unwrap();
    let mut reader = fixture
        .files()
        .max_line(100_000)
        .open(&fixture.name(), None)
        .unwrap();
    refusal(
        read_all(&mut reader),
        &fixture,
        "byte 0 is longer than 100000",
    );
    assert!(
        reader.position() == fixture.open(None).unwrap().position(),
        "nothing of it counts as read"
    );
}

#[test]
fn a_nul_byte_is_named_by_its_offset_in_the_file() {
    for offset in [0, 5, 65_535, 65_536, 200_000] {
        let mut text = b"abcd\n".repeat(50_000);
        text[offset] = 0;
        let fixture = Fixture::of(&text);
        let mut reader = fixture.open(None).unwrap();
        refusal(
            read_all(&mut reader),
            &fixture,
            &format!("NUL byte at offset {offset}:"),
        );
    }
}

#[test]
fn a_changed_file_is_noticed_in_its_head_and_before_its_position() {
    let text = b"0123456789abcde\n".repeat((HEAD as usize + (1 << 20)) / 16);
    let fixture = Fixture::of(&text);
    let mut reader = fixture.open(None).unwrap();
    read_all(&mut reader).unwrap();
    let position = reader.position();
    for at in [
        0,
        1 << 20,
        HEAD as usize - 1,
        text.len() - TAIL,
        text.len() - 1,
    ] {
        let mut changed = text.clone();
        changed[at] ^= 1;
        fs::write(fixture.path(), &changed).unwrap();
        refusal(
            fixture.open(Some(&position)),
            &fixture,
            "changed before byte",
        );
    }
    fs::write(fixture.path(), &text[..text.len() - 1]).unwrap();
    refusal(fixture.open(Some(&position)), &fixture, "shrank to");
    fs::write(fixture.path(), &text).unwrap();
    fixture.append("more\n");
    let mut again = fixture.open(Some(&position)).unwrap();
    assert_eq!(read_all(&mut again).unwrap().0, ["more"]);
    let mut files = fixture.files();
    fs::remove_file(fixture.path()).unwrap();
    refusal(
        files.open(&fixture.name(), Some(&position)),
        &fixture,
        "cannot be opened",
    );
}

#[test]
fn a_followed_file_must_stay_the_file_it_was() {
    type Spoil = fn(&Fixture);
    let spoils: [(&str, Spoil); 5] = [
        ("is gone", |fixture| {
            fs::remove_file(fixture.path()).unwrap()
        }),
        ("shrank to 1 bytes", |fixture| {
            fs::write(fixture.path(), "a").unwrap()
        }),
        ("was replaced", |fixture| {
            fs::remove_file(fixture.path()).unwrap();
            fs::write(fixture.path(), "a b\nc d\ne f\n").unwrap();
        }),
        // Cut and written anew, as log rotation by copying does: longer than what was read, but not the same.
        ("changed before byte 8", |fixture| {
            fs::write(fixture.path(), "x y\nz z\nmore\n").unwrap()
        }),
        ("changed before byte 8", |fixture| {
            fs::write(fixture.path(), "a b\nc d_more\n").unwrap()
        }),
    ];
    for (what, spoil) in spoils {
        let fixture = Fixture::of("a b\nc d\n");
        let mut reader = fixture.follow();
        assert_eq!(read_all(&mut reader).unwrap().0, ["a b", "c d"]);
        spoil(&fixture);
        refusal(read_all(&mut reader), &fixture, what);
    }
}

#[test]
fn half_a_line_that_was_read_must_stay_as_well() {
    let fixture = Fixture::of("half");
    let mut reader = fixture.follow();
    read_all(&mut reader).unwrap();
    fs::write(fixture.path(), "other line\n").unwrap();
    refusal(read_all(&mut reader), &fixture, "changed before byte 4");
}

#[test]
fn what_cannot_be_read_again_is_refused_by_name() {
    let fixture = Fixture::of("a\n");
    let folder = fixture.folder.path();
    let refused = |path: PathBuf, what: &str| {
        let error = TextFiles::new([&path]).expect_err("it must be refused");
        assert!(
            error.message.starts_with(path.to_str().unwrap()) && error.message.contains(what),
            "{error}"
        );
    };
    refused(folder.join("missing"), "there is no such file");
    refused(folder.to_path_buf(), "is a directory");
    refused("/dev/null".into(), "is not a regular file");
    let error =
        TextFiles::new([fixture.path(), folder.join("./text")]).expect_err("it is named twice");
    assert!(error.message.contains("named twice"), "{error}");
}

#[test]
fn recorded_files_that_are_gone_are_named() {
    let fixture = Fixture::of("a\n");
    let position = TextPosition {
        offset: 7,
        unterminated: false,
        head: 0,
        tail: 0,
    }
    .encode();
    let gone = fixture
        .folder
        .path()
        .join("gone")
        .to_str()
        .unwrap()
        .to_string();
    let mut files = fixture.files();
    files
        .resume(&[(fixture.name(), position.clone())].into())
        .unwrap();
    let error = files
        .resume(&[(gone.clone(), position)].into())
        .expect_err("it is gone");
    assert!(
        error.permanent && error.message.contains(&gone) && error.message.contains("byte 7"),
        "{error}"
    );
    files
        .resume(&[(fixture.name(), b"?".to_vec())].into())
        .expect_err("a strange position");
}

#[test]
fn places_are_described_in_words() {
    let fixture = Fixture::of("a\n");
    let files = fixture.files();
    let position = TextPosition {
        offset: 7,
        unterminated: false,
        head: 0,
        tail: 0,
    }
    .encode();
    assert_eq!(
        files.describe("f", Some(&position)),
        "the line at byte 7 of f"
    );
    assert_eq!(files.describe("f", None), "the line at byte 0 of f");
    assert_eq!(files.replays(), Replays::Identical);
    assert_eq!(files.opaque().replays(), Replays::Any);
}
