//! Wrong input and wrong directories: each is told in one clear line, exits with the right code, and loses nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::support::{Case, Started, counted, is_root, text, until};

#[test]
fn wrong_files_are_named() {
    let case = Case::new();
    fs::create_dir(case.path("folder")).unwrap();
    case.write("fine.txt", "fine\n");
    assert!(
        Command::new("mkfifo")
            .arg(case.path("fifo"))
            .status()
            .unwrap()
            .success()
    );
    for (file, what) in [
        ("missing.txt", "there is no such file"),
        ("folder", "is a directory"),
        ("fifo", "is not a regular file"),
        ("/dev/zero", "is not a regular file"),
        ("fine.txt/x", "cannot be found: Not a directory"),
    ] {
        let told = case.refused(&format!("fine.txt {file}"));
        assert!(told.contains(file) && told.contains(what), "{file}: {told}");
        assert!(
            !case.path("state").exists(),
            "nothing is begun with half of the files"
        );
    }
}

#[test]
fn an_unreadable_file_is_named() {
    let case = Case::new();
    let file = case.write("a.txt", "a\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let Some(command) = as_nobody(&case, "a.txt") else {
        return;
    };
    let told = Started::of(command).wait().failed();
    assert!(
        told.contains("a.txt") && told.contains("Permission denied"),
        "{told}"
    );
}

#[test]
fn standard_input_is_refused_as_not_replayable() {
    let case = Case::new();
    for name in ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let ended = case.run(name);
        assert_eq!(ended.code, Some(2), "{ended:#?}");
        assert!(
            ended.err.contains("standard input cannot be read again"),
            "{}",
            ended.err
        );
    }
}

#[test]
fn wrong_options_are_usage_errors() {
    let case = Case::new();
    for arguments in [
        "--batch-lines 0",
        "--batch-lines x",
        "--batch-lines -1",
        "--max-pending 0",
        "--max-pending 1025",
        "--executors 0",
        "--executors 2000",
        "--memory 1k",
        "--memory many",
        "--memory 512XB",
        "--spout kafka",
        "--batch-time 0",
        "--batch-time -5",
        "--durability maybe",
        "--max-line 0",
        "--max-line 2G",
        "--nonsense",
        "--state",
        "--follow=yes",
    ] {
        let ended = case.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments}: {ended:#?}");
        assert!(
            ended.err.starts_with("error: "),
            "{arguments}: {}",
            ended.err
        );
        assert_eq!(ended.out, "");
    }
    assert!(!case.path("state").exists());
}

#[test]
fn help_names_every_option_and_exit_code() {
    let case = Case::new();
    let ended = Started::of(case.bare("--help")).wait().succeeded();
    for word in [
        "--state",
        "--output",
        "--batch-lines",
        "--max-pending",
        "--executors",
        "--memory",
        "--spout",
        "--batch-time",
        "--follow",
        "--stats",
        "--durability",
        "--fold",
        "--max-line",
        "--explain",
        "Exit codes",
        "130, 143",
    ] {
        assert!(ended.out.contains(word), "{word}");
    }
    Started::of(case.bare("--version")).wait().succeeded();
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let first = case.start("--follow --batch-time 10 a.txt");
    until("the first has counted", || case.read() == 1);
    let told = Started::of(case.bare("--state state a.txt"))
        .wait()
        .failed();
    assert!(
        told.contains("state") && told.contains("in use by another process"),
        "{told}"
    );
    case.append("a.txt", "a\n");
    until("the first goes on", || case.read() == 2);
    first.signal("INT");
    first.wait().succeeded();
    assert_eq!(case.counts("a.txt"), b"a\t2\n");
}

#[test]
fn directories_of_other_programs_are_refused_and_left_alone() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    fs::create_dir(case.path("state")).unwrap();
    case.write("state/notes.txt", "mine\n");
    let told = case.refused("a.txt");
    assert!(
        told.contains("state") && told.contains("not a Fulmar"),
        "{told}"
    );
    let names: Vec<_> = fs::read_dir(case.path("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["notes.txt"]);

    fs::remove_dir_all(case.path("state")).unwrap();
    case.write("state", "a file\n");
    let told = case.refused("a.txt");
    assert!(told.contains("state"), "{told}");
    assert_eq!(fs::read(case.path("state")).unwrap(), b"a file\n");
}

#[test]
fn a_directory_with_strange_files_in_the_place_of_ours_is_refused() {
    for name in ["LEDGER", "FORMAT", "state/CURRENT"] {
        let case = Case::new();
        case.write("a.txt", "a\n");
        fs::create_dir_all(case.path("state/state")).unwrap();
        case.write(&format!("state/{name}"), "something else\n");
        let told = case.refused("a.txt");
        assert!(told.contains("state"), "{name}: {told}");
        assert_eq!(
            fs::read(case.path(&format!("state/{name}"))).unwrap(),
            b"something else\n",
            "{name}"
        );
    }
}

#[test]
fn a_directory_of_another_version_is_refused() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    case.counts("a.txt");
    let format = fs::read_to_string(case.path("state/FORMAT")).unwrap();
    assert!(format.contains('1'), "{format}");
    case.write("state/FORMAT", format.replace('1', "7"));
    let told = case.refused("a.txt");
    assert!(told.contains('7') && told.contains("format"), "{told}");
    case.write("state/FORMAT", format);
    assert_eq!(case.counts("a.txt"), b"a\t1\n");
}

#[test]
fn a_directory_that_cannot_be_made_or_written_is_named() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let told = Started::of(case.bare("--state a.txt/state a.txt"))
        .wait()
        .failed();
    assert!(told.contains("a.txt/state"), "{told}");
    let told = Started::of(case.bare("--state /proc/fulmar a.txt"))
        .wait()
        .failed();
    assert!(told.contains("/proc/fulmar"), "{told}");
    let mut command = case.bare("a.txt");
    command.env("TMPDIR", case.path("missing"));
    let told = Started::of(command).wait().failed();
    assert!(
        told.contains("temporary directory") && told.contains("--state"),
        "{told}"
    );
}

#[test]
fn a_read_only_directory_is_named_and_nothing_is_lost() {
    let case = Case::new();
    let text = text(500, 1);
    case.write("a.txt", &text);
    case.counts("a.txt");
    case.append("a.txt", "more\n");
    let read_only = |mode: u32| {
        for folder in ["state", "state/state", "state/state/ingest"] {
            fs::set_permissions(case.path(folder), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    read_only(0o555);
    let Some(command) = as_nobody(&case, "--state state a.txt") else {
        return;
    };
    let told = Started::of(command).wait().failed();
    assert!(told.contains("state"), "{told}");
    assert!(
        told.contains("Permission denied") || told.contains("cannot write"),
        "{told}"
    );
    read_only(0o700);
    assert_eq!(case.counts("a.txt"), counted([&text, "more"]));
    assert_eq!(case.read(), 1);
}

/// The program run by one whom permissions stop; `None`, saying why, where that cannot be.
fn as_nobody(case: &Case, arguments: &str) -> Option<Command> {
    if !is_root() {
        return Some(case.bare(arguments));
    }
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--",
        "true",
    ]);
    if !command.status().is_ok_and(|status| status.success()) {
        eprintln!("left out: this is root, and setpriv cannot make it nobody");
        return None;
    }
    // Nobody must get at the program and the folder at all: the program is copied, since it may be in root's home.
    let program = case.path("wordcount");
    fs::copy(env!("CARGO_BIN_EXE_wordcount"), &program).unwrap();
    fs::set_permissions(case.path(""), fs::Permissions::from_mode(0o777)).unwrap();
    if case.path("state").exists() {
        give(&case.path("state"));
    }
    let bare = case.bare(arguments);
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program)
        .args(bare.get_args());
    command
        .current_dir(case.path(""))
        .env("TMPDIR", case.path(""))
        .env_remove("RUST_LOG");
    command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    Some(command)
}

fn give(path: &std::path::Path) {
    std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    if path.is_dir() {
        fs::read_dir(path)
            .unwrap()
            .for_each(|entry| give(&entry.unwrap().path()));
    }
}
