//! `--follow`, Ctrl-C and SIGTERM: what is counted while files grow, how a run ends, and with which exit code.

use std::fs;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::support::{Case, Started, counted, text, until};

/// Follows `a.txt`, which grows three times, and ends by a signal.
fn follow_until(signal: &str) {
    let case = Case::new();
    let first = text(12_345, 1);
    case.write("a.txt", &first);
    let started = case.start("--follow --batch-time 50 a.txt");
    until("the file is counted", || case.read() == 12_345);
    case.append("a.txt", "one\ntwo\n");
    until("its growth is counted", || case.read() == 12_347);
    case.append("a.txt", "thr");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(case.read(), 12_347, "a last line waits for its end");
    case.append("a.txt", "ee\nhalf");
    until("the line is counted", || case.read() == 12_348);
    started.signal(signal);
    let ended = started.wait().succeeded();
    assert!(ended.err.contains("follows the files"), "{}", ended.err);
    assert_eq!(
        case.written(),
        counted([&first, "one two three"]),
        "half a line is not counted"
    );
    // A run that does not follow counts the half line as well.
    assert_eq!(
        case.counts("a.txt"),
        counted([&first, "one two three half"])
    );
    assert_eq!(case.read(), 1);
}

#[test]
fn growing_files_are_followed_until_sigterm() {
    follow_until("TERM");
}

#[test]
fn growing_files_are_followed_until_ctrl_c() {
    follow_until("INT");
}

#[test]
fn what_is_in_flight_at_a_signal_is_counted_and_shown_at_once() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let started = case.start("--follow --batch-time 60000 a.txt");
    until("the run has begun", || case.path("state/LEDGER").exists());
    // The batch is read by now, and waits for its time to be over.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(case.read(), 0);
    let since = Instant::now();
    started.signal("TERM");
    started.wait().succeeded();
    assert!(
        since.elapsed() < Duration::from_secs(20),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(case.written(), b"a\t1\n");
}

#[test]
fn an_idle_run_seals_nothing() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let started = case.start("--follow --batch-time 10 a.txt");
    until("the file is counted", || case.read() == 1);
    let ledger = fs::read(case.path("state/LEDGER")).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(fs::read(case.path("state/LEDGER")).unwrap(), ledger);
    started.signal("INT");
    started.wait().succeeded();
    assert_eq!(case.stats().len(), 1);
}

#[test]
fn several_files_are_followed_whoever_is_quiet() {
    let case = Case::new();
    case.write("quiet.txt", "quiet\n");
    case.write("busy.txt", "");
    case.write("unended.txt", "never");
    let started = case.start("--follow --batch-time 20 quiet.txt busy.txt unended.txt");
    for round in 1..=5 {
        case.append("busy.txt", "busy\n");
        until("the busy file is counted", || case.read() == round + 1);
    }
    started.signal("INT");
    started.wait().succeeded();
    assert_eq!(case.written(), b"busy\t5\nquiet\t1\n");
}

#[test]
fn without_an_output_the_table_is_shown_at_the_end() {
    let case = Case::new();
    case.write("a.txt", "a b a\n");
    let started = Started::of(case.bare("--follow --batch-time 10 --stats stats.jsonl a.txt"));
    until("the file is counted", || case.read() == 1);
    started.signal("INT");
    let ended = started.wait().succeeded();
    assert!(
        ended.out.starts_with(
            "count  word\n    2  a\n    1  b\n1 line, 3 words, 2 distinct, in 1 batch\n"
        ),
        "{}",
        ended.out
    );
}

#[test]
fn an_interrupted_run_saves_what_it_has_and_the_next_one_goes_on() {
    let case = Case::new();
    let text = text(60_000, 1);
    case.write("a.txt", &text);
    let started = case.start("--batch-lines 20 a.txt");
    until("some batches are sealed", || case.stats_so_far() > 20);
    started.signal("INT");
    let ended = started.wait();
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(
        ended.err.contains("interrupted after batch") && ended.err.contains("run again"),
        "{}",
        ended.err
    );
    assert!(
        !case.path("counts.tsv").exists(),
        "half the counts are not written"
    );
    let sealed = case.read();
    assert!(0 < sealed && sealed < 60_000, "{sealed}");

    let ended = case.run("a.txt").succeeded();
    assert!(ended.err.contains("goes on after batch"), "{}", ended.err);
    assert_eq!(case.written(), counted([&text]));
    assert_eq!(sealed + case.read(), 60_000);
}

#[test]
fn an_interrupted_run_without_a_state_leaves_nothing() {
    let case = Case::new();
    case.write("a.txt", text(60_000, 1));
    let started = Started::of(case.bare("--batch-lines 20 --stats stats.jsonl a.txt"));
    until("some batches are sealed", || case.stats_so_far() > 20);
    started.signal("TERM");
    let ended = started.wait();
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(
        ended.err.contains("with --state DIR it could go on"),
        "{}",
        ended.err
    );
    assert_eq!(ended.out, "");
    assert_eq!(
        fs::read_dir(case.path("")).unwrap().count(),
        2,
        "text and statistics"
    );
}

#[test]
fn a_second_signal_ends_at_once() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let case = Case::new();
        case.write("a.txt", "a\nb\n");
        // A table that nobody takes holds the end up after the first signal.
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut stuffed = writer.try_clone().unwrap();
        let mut command =
            case.bare("--state state --follow --batch-time 10 --stats stats.jsonl a.txt");
        command.stdout(writer);
        let mut started = Started::of(command);
        until("the file is counted", || case.read() == 2);
        std::thread::scope(|scope| {
            // More than the pipe holds: the rest goes out when the pipe is read below.
            scope.spawn(|| stuffed.write_all(&[b'x'; 1 << 20]).unwrap());
            std::thread::sleep(Duration::from_millis(300));
            started.signal(signal);
            std::thread::sleep(Duration::from_millis(500));
            assert!(!started.has_ended(), "it waits for its reader");
            started.signal(signal);
            until("it has ended", || started.has_ended());
            reader.read_exact(&mut vec![0; 1 << 20]).unwrap();
        });
        let ended = started.wait();
        assert_eq!(ended.code, Some(code), "{ended:#?}");
        assert_eq!(
            case.counts("a.txt"),
            b"a\t1\nb\t1\n",
            "nothing is lost by it"
        );
    }
}

#[test]
fn a_followed_file_that_is_spoiled_ends_the_run_with_its_name() {
    type Spoil = fn(&Case);
    let spoils: [(&str, Spoil); 4] = [
        ("gone", |case| fs::remove_file(case.path("a.txt")).unwrap()),
        ("shrank", |case| drop(case.write("a.txt", "a"))),
        ("replaced", |case| {
            case.write("b.txt", "a b c\nd e f\n");
            fs::rename(case.path("b.txt"), case.path("a.txt")).unwrap();
        }),
        ("NUL", |case| case.append("a.txt", "\0")),
    ];
    for (what, spoil) in spoils {
        let case = Case::new();
        case.write("a.txt", "a b c\n");
        let started = case.start("--follow --batch-time 10 a.txt");
        until("the file is counted", || case.read() == 1);
        spoil(&case);
        let told = started.wait().failed();
        assert!(
            told.contains("a.txt") && told.contains(what),
            "{what}: {told}"
        );
        assert!(!case.path("counts.tsv").exists());
    }
}

impl Case {
    /// Lines of statistics so far; the last one may be half written.
    fn stats_so_far(&self) -> usize {
        fs::read(self.path("stats.jsonl"))
            .unwrap_or_default()
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
    }
}
