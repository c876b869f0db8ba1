//! What a line is: ends, missing ends, lengths, bytes that are no text. Method: oracle.

use super::support::{Case, Started, counted};

#[test]
fn an_empty_file_counts_nothing() {
    let case = Case::new();
    case.write("empty.txt", "");
    assert_eq!(case.counts("empty.txt"), b"");
    assert_eq!(case.read(), 0);
    let ended = Started::of(case.bare("empty.txt")).wait().succeeded();
    assert_eq!(
        ended.out,
        "0 lines, 0 words, 0 distinct, in 0 batches\nthis run: nothing new, 0 replays\n"
    );
    case.append("empty.txt", "now not\n");
    assert_eq!(case.counts("empty.txt"), counted(["now not"]));
}

#[test]
fn lines_of_white_space_are_lines_without_words() {
    let case = Case::new();
    case.write("a.txt", "\n \n\t\r\n\x0c\n");
    assert_eq!(case.counts("a.txt"), b"");
    assert_eq!(case.read(), 4);
}

#[test]
fn any_bytes_but_nul_make_words() {
    let case = Case::new();
    let mut text: Vec<u8> = (1..=255u8)
        .flat_map(|byte| [b'x', byte, b'y', b'\n', byte, b' ', 0xff, byte])
        .collect();
    text.extend(b"\r\ncr lf\r\n\xef\xbb\xbfbom \xe2\x80\x93\n");
    case.write("a.txt", &text);
    assert_eq!(case.counts("--batch-lines 3 a.txt"), counted([&text]));
}

#[test]
fn a_last_line_without_its_end_counts_and_may_get_its_end_later() {
    let case = Case::new();
    case.write("a.txt", "one two\nthree");
    assert_eq!(case.counts("a.txt"), counted(["one two three"]));
    assert_eq!(case.read(), 2);
    assert_eq!(case.counts("a.txt"), counted(["one two three"]));
    assert_eq!(case.read(), 0);
    case.append("a.txt", "\n");
    assert_eq!(case.counts("a.txt"), counted(["one two three"]));
    assert_eq!(
        case.read(),
        0,
        "the end of a line that was counted is not a line"
    );
    case.append("a.txt", "four\n");
    assert_eq!(case.counts("a.txt"), counted(["one two three four"]));
    assert_eq!(case.read(), 1);
}

#[test]
fn the_late_end_and_the_next_line_may_come_together() {
    for end in ["\n", "\r\n"] {
        let case = Case::new();
        case.write("a.txt", "one");
        case.counts("a.txt");
        case.append("a.txt", format!("{end}two{end}three"));
        assert_eq!(case.counts("a.txt"), counted(["one two three"]));
        assert_eq!(case.read(), 2);
    }
}

#[test]
fn a_counted_line_that_goes_on_is_refused_and_named() {
    let case = Case::new();
    case.write("a.txt", "one two");
    case.counts("a.txt");
    case.append("a.txt", "fold three\n");
    let told = case.refused("a.txt");
    assert!(
        told.contains("a.txt") && told.contains("byte 7") && told.contains("without its end"),
        "{told}"
    );
    assert_eq!(case.written(), counted(["one two"]));
    // Also by a run that follows, and when other files are fine.
    let told = case.refused("--follow a.txt");
    assert!(
        told.contains("a.txt") && told.contains("without its end"),
        "{told}"
    );
}

#[test]
fn a_nul_byte_is_refused_with_its_offset() {
    let case = Case::new();
    let mut text = "to be or not to be\n".repeat(20_000).into_bytes();
    text[333_333] = 0;
    case.write("a.txt", &text);
    let told = case.refused("--batch-lines 100 a.txt");
    assert!(
        told.contains("a.txt") && told.contains("NUL") && told.contains("offset 333333"),
        "{told}"
    );
    // What was counted before it stays; with the byte mended the rest follows.
    let before = case.read();
    assert!(before > 10_000, "{before} lines were counted before it");
    text[333_333] = b'!';
    case.write("a.txt", &text);
    assert_eq!(case.counts("a.txt"), counted([&text]));
    assert_eq!(case.read(), 20_000 - before);
}

#[test]
fn a_nul_byte_at_either_end_is_refused() {
    for (text, offset) in [("\0", 0), ("a\n\0", 2), ("\0a\n", 0), ("a\nb\0", 3)] {
        let case = Case::new();
        case.write("a.txt", text);
        let told = case.refused("a.txt");
        assert!(
            told.contains(&format!("offset {offset}:")),
            "{text:?}: {told}"
        );
    }
}

#[test]
fn a_line_over_the_longest_is_refused_until_that_is_raised() {
    let case = Case::new();
    let text = format!("short\n{}\nlast\n", "x".repeat(1500));
    case.write("a.txt", &text);
    let told = case.refused("--max-line 1k a.txt");
    assert!(
        told.contains("a.txt")
            && told.contains("byte 6")
            && told.contains("1024")
            && told.contains("--max-line"),
        "{told}"
    );
    let told = case.refused("--max-line 1499 a.txt");
    assert!(told.contains("byte 6"), "{told}");
    assert_eq!(case.counts("--max-line 1500 a.txt"), counted([&text]));
}

#[test]
fn a_long_last_line_without_its_end_is_measured_too() {
    let case = Case::new();
    case.write("a.txt", "x".repeat(300_000));
    let told = case.refused("--max-line 299999 a.txt");
    assert!(told.contains("byte 0"), "{told}");
    assert_eq!(
        case.counts("--max-line 300000 a.txt"),
        format!("{}\t1\n", "x".repeat(300_000)).into_bytes()
    );
}

#[test]
fn a_line_of_sixteen_mebibytes_is_taken_and_one_more_byte_is_not() {
    let case = Case::new();
    let long = format!("{}\n", "word ".repeat((16 << 20) / 5 + 1)).into_bytes();
    let fits = [&long[..16 << 20], b"\n"].concat();
    case.write("fits.txt", &fits);
    assert_eq!(case.counts("fits.txt"), counted([&fits]));
    case.write("over.txt", [&long[..(16 << 20) + 1], b"\n"].concat());
    let told = case.refused("over.txt");
    assert!(
        told.contains("over.txt") && told.contains("16777216"),
        "{told}"
    );
}
