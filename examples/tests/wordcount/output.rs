//! Where the counts go: files replaced as a whole, refusals before anything is counted, a table that ends when its reader does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Stdio;

use super::support::{Case, Ended, Started};

fn run(case: &Case, arguments: &str) -> Ended {
    Started::of(case.bare(arguments)).wait()
}

#[test]
fn an_output_is_replaced_and_keeps_its_permissions_and_its_name() {
    let case = Case::new();
    case.write("a.txt", "b a b\n");
    let file = case.write("out.tsv", "old\n");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&file, case.path("link.tsv")).unwrap();
    let held = fs::File::open(&file).unwrap();
    run(&case, "--output link.tsv a.txt").succeeded();
    assert_eq!(fs::read(&file).unwrap(), b"a\t1\nb\t2\n");
    assert!(case.path("link.tsv").is_symlink());
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o640
    );
    assert_eq!(
        std::io::read_to_string(held).unwrap(),
        "old\n",
        "who had opened the old file still reads it whole"
    );
    let mut names: Vec<_> = fs::read_dir(case.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["a.txt", "link.tsv", "out.tsv"],
        "nothing else stays"
    );
}

#[test]
fn a_new_output_is_readable_as_other_files_are() {
    let case = Case::new();
    let other = case.write("a.txt", "a\n");
    run(&case, "--output out.tsv a.txt").succeeded();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(case.path("out.tsv")), mode(other));
}

#[test]
fn an_output_that_cannot_be_written_is_told_before_anything_is_counted() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    fs::create_dir(case.path("folder")).unwrap();
    for (output, what) in [
        ("missing/out.tsv", "No such file"),
        ("folder", "is a directory"),
        ("/dev/null", "not a regular file"),
        ("a.txt/out.tsv", "Not a directory"),
    ] {
        let told = run(&case, &format!("--state state --output {output} a.txt")).failed();
        assert!(
            told.contains(output) && told.contains(what) && told.contains("--output"),
            "{told}"
        );
        assert!(!case.path("state").exists());
    }
    for option in ["--output", "--stats"] {
        let told = run(&case, &format!("--state state {option} ./a.txt a.txt")).failed();
        assert!(
            told.contains("a.txt") && told.contains("overwritten"),
            "{told}"
        );
    }
    let told = run(&case, "--output x --stats ./x a.txt").failed();
    assert!(told.contains("both"), "{told}");
    let told = run(&case, "--stats missing/stats a.txt").failed();
    assert!(
        told.contains("missing/stats") && told.contains("--stats"),
        "{told}"
    );
    assert_eq!(fs::read(case.path("a.txt")).unwrap(), b"a\n");
}

#[test]
fn a_failed_run_leaves_the_old_output() {
    let case = Case::new();
    case.write("a.txt", "a\0\n");
    case.write("counts.tsv", "old\n");
    case.refused("a.txt");
    assert_eq!(case.written(), b"old\n");
}

#[test]
fn statistics_that_cannot_be_written_are_told_at_the_end() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let told = run(&case, "--output out.tsv --stats /dev/full a.txt").failed();
    assert!(
        told.contains("/dev/full") && told.contains("--stats"),
        "{told}"
    );
    assert_eq!(
        fs::read(case.path("out.tsv")).unwrap(),
        b"a\t1\n",
        "the counts are there all the same"
    );
}

#[test]
fn a_table_whose_reader_has_gone_is_no_error_and_a_full_one_is() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let mut command = case.bare("a.txt");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    Started::of(command).wait().succeeded();

    let mut command = case.bare("a.txt");
    command.stdout(Stdio::from(
        fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap(),
    ));
    let told = Started::of(command).wait().failed();
    assert!(told.contains("standard output"), "{told}");
}

#[test]
fn log_messages_are_shown_on_request() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let mut command = case.bare("a.txt");
    command.env("RUST_LOG", "fulmar=debug");
    let ended = Started::of(command).wait().succeeded();
    assert!(
        ended.err.contains("DEBUG") && ended.err.contains("sealed"),
        "{}",
        ended.err
    );
    assert!(
        !ended.err.contains('\u{1b}'),
        "no colours where there is no terminal"
    );
    let ended = run(&case, "a.txt").succeeded();
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn what_a_killed_run_left_of_its_output_is_taken_over() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    let left = case.write(".out.tsv.wordcount-tmp", "half of something longer\n");
    run(&case, "--output out.tsv a.txt").succeeded();
    assert_eq!(fs::read(case.path("out.tsv")).unwrap(), b"a\t1\n");
    assert!(!left.exists());

    // Only if nobody is at it, and never through a link.
    let held = fs::File::create(&left).unwrap();
    held.lock().unwrap();
    let told = run(&case, "--output out.tsv a.txt").failed();
    assert!(
        told.contains("out.tsv") && told.contains("another process"),
        "{told}"
    );
    drop(held);
    fs::remove_file(&left).unwrap();
    symlink(case.path("a.txt"), &left).unwrap();
    let told = run(&case, "--output out.tsv a.txt").failed();
    assert!(told.contains("is a link"), "{told}");
    assert_eq!(fs::read(case.path("a.txt")).unwrap(), b"a\n");
}
