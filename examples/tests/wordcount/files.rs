//! Files between runs: added, grown, gone, shrunk, changed. Method: oracle.

use std::fs;

use super::support::{Case, counted, text};

#[test]
fn files_may_be_added_between_runs() {
    let case = Case::new();
    let texts = [text(300, 1), text(400, 2), text(500, 3)];
    case.write("a.txt", &texts[0]);
    case.write("b.txt", &texts[1]);
    case.write("c.txt", &texts[2]);
    assert_eq!(case.counts("b.txt"), counted([&texts[1]]));
    assert_eq!(case.counts("a.txt b.txt"), counted(&texts[..2]));
    assert_eq!(case.read(), 300);
    assert_eq!(case.counts("c.txt b.txt a.txt"), counted(&texts));
    assert_eq!(case.read(), 500);
    // One that is not named is not read, and what was counted of it stays.
    case.append("a.txt", "more\n");
    case.append("b.txt", "less\n");
    assert_eq!(
        case.counts("b.txt"),
        counted([texts.concat(), "less".into()])
    );
    assert_eq!(
        case.counts("a.txt"),
        counted([texts.concat(), "less more".into()])
    );
}

#[test]
fn one_file_by_two_names_is_one_file() {
    let case = Case::new();
    let file = case.write("a.txt", "a b\n");
    fs::create_dir(case.path("folder")).unwrap();
    std::os::unix::fs::symlink(&file, case.path("folder/link.txt")).unwrap();
    assert_eq!(case.counts("a.txt"), counted(["a b"]));
    assert_eq!(case.counts("folder/../a.txt"), counted(["a b"]));
    assert_eq!(case.counts("folder/link.txt"), counted(["a b"]));
    assert_eq!(case.counts(file.to_str().unwrap()), counted(["a b"]));
    let told = case.refused("a.txt folder/link.txt");
    assert!(told.contains("a.txt") && told.contains("twice"), "{told}");
}

#[test]
fn names_with_blanks_and_other_letters_are_names() {
    let case = Case::new();
    let file = case.write("ä b\n'c.txt", "a\n");
    let mut command = case.command("");
    command.arg(&file);
    super::support::Started::of(command).wait().succeeded();
    assert_eq!(case.written(), b"a\t1\n");
}

/// Counts a text, spoils it, and answers with the refusal; with the text put back, and more behind it, all is right.
#[track_caller]
fn spoiled(before: &str, spoil: impl Fn(&Case)) -> String {
    let case = Case::new();
    case.write("a.txt", before);
    case.write("fine.txt", "fine\n");
    let counts = case.counts("a.txt fine.txt");
    spoil(&case);
    fs::remove_file(case.path("stats.jsonl")).unwrap();
    let told = case.refused("a.txt fine.txt");
    assert!(told.contains("a.txt"), "{told}");
    assert_eq!(case.written(), counts);
    assert_eq!(case.read(), 0);
    let after = format!("{before}more\n");
    drop(fs::remove_dir(case.path("a.txt")));
    case.write("a.txt", &after);
    assert_eq!(case.counts("a.txt fine.txt"), counted([&after, "fine"]));
    told
}

#[test]
fn a_file_that_vanished_is_named() {
    let told = spoiled(&text(100, 1), |case| {
        fs::remove_file(case.path("a.txt")).unwrap()
    });
    assert!(told.contains("no such file"), "{told}");
}

#[test]
fn a_file_that_vanished_is_named_even_if_it_is_not_asked_for() {
    let case = Case::new();
    case.write("a.txt", "a\n");
    case.write("b.txt", "b\n");
    case.counts("a.txt b.txt");
    fs::remove_file(case.path("a.txt")).unwrap();
    let told = case.refused("b.txt");
    assert!(
        told.contains("a.txt") && told.contains("byte 2") && told.contains("gone"),
        "{told}"
    );
}

#[test]
fn a_file_that_became_a_directory_is_named() {
    let told = spoiled("a\n", |case| {
        fs::remove_file(case.path("a.txt")).unwrap();
        fs::create_dir(case.path("a.txt")).unwrap();
    });
    assert!(told.contains("directory"), "{told}");
}

#[test]
fn a_file_that_shrank_is_named() {
    let before = text(100, 1);
    let told = spoiled(&before, |case| {
        drop(case.write("a.txt", &before[..before.len() - 1]))
    });
    assert!(
        told.contains(&format!("byte {}", before.len())) && told.contains("shrank"),
        "{told}"
    );
    let told = spoiled(&before, |case| drop(case.write("a.txt", "")));
    assert!(told.contains("shrank to 0 bytes"), "{told}");
}

#[test]
fn a_file_that_changed_is_named() {
    let before = text(3_000, 1);
    let change = |at: usize| {
        spoiled(&before, |case| {
            let mut bytes = before.clone().into_bytes();
            bytes[at] ^= 1;
            case.write("a.txt", bytes);
        })
    };
    // At the beginning, in the middle, and just before the position.
    for at in [0, before.len() / 2, before.len() - 2] {
        let told = change(at);
        assert!(told.contains("changed before byte"), "{told}");
    }
}

#[test]
fn a_change_is_found_far_behind_the_checked_beginning() {
    let case = Case::new();
    let line = format!("{}\n", "0123456789abcde ".repeat(64));
    let mut text = line.repeat((20 << 20) / line.len()).into_bytes();
    case.write("a.txt", &text);
    let counts = case.counts("a.txt");
    let at = text.len() - 100;
    text[at] ^= 1;
    case.write("a.txt", &text);
    let told = case.refused("a.txt");
    assert!(told.contains("a.txt") && told.contains("changed"), "{told}");
    text[at] ^= 1;
    case.write("a.txt", &text);
    assert_eq!(case.counts("a.txt"), counts);
    assert_eq!(case.read(), 0);
}

#[test]
fn another_file_by_the_same_name_is_refused() {
    let told = spoiled(&text(50, 1), |case| drop(case.write("a.txt", text(500, 2))));
    assert!(told.contains("changed"), "{told}");
}
