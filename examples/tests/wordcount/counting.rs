//! What is counted, run by run: nothing twice, nothing left out, whatever the settings. Method: oracle.

use std::fs;

use super::support::{Case, Started, book, counted, text};

#[test]
fn the_book_is_counted_from_any_folder_and_nothing_stays() {
    let case = Case::new();
    let ended = Started::of(case.bare("")).wait().succeeded();
    let words: Vec<Vec<&str>> = ended
        .out
        .lines()
        .take(21)
        .map(|line| line.split_whitespace().collect())
        .collect();
    // These figures come from other programs: examples/data/README.md.
    let want = "to 4,051 the 4,047 of 3,554 and 3,240 a 1,889 her 1,858 was 1,794 in 1,759 I 1,740 that 1,406 not 1,337 \
        she 1,306 be 1,191 his 1,167 had 1,126 as 1,110 he 1,036 with 994 for 982 it 942";
    let want: Vec<&str> = want.split_whitespace().collect();
    assert_eq!(words[0], ["count", "word"]);
    for (found, want) in words[1..].iter().zip(want.chunks(2)) {
        assert_eq!(found, &[want[1], want[0]]);
    }
    assert!(
        ended
            .out
            .contains("\n13,030 lines, 121,567 words, 13,059 distinct, in 2 batches\n"),
        "{}",
        ended.out
    );
    assert!(
        ended.out.contains("this run: 13,030 lines in "),
        "{}",
        ended.out
    );
    assert!(ended.err.contains("begins (state in "), "{}", ended.err);
    assert!(ended.err.contains("goes away"), "{}", ended.err);
    assert_eq!(
        fs::read_dir(case.path("")).unwrap().count(),
        0,
        "the temporary directory is gone"
    );
}

#[test]
fn the_book_that_the_launcher_names_is_counted() {
    let case = Case::new();
    let file = case.write("other.txt", "one book\n");
    let mut command = case.command("");
    command.env("FULMAR_BOOK", file);
    Started::of(command).wait().succeeded();
    assert_eq!(case.written(), b"book\t1\none\t1\n");
}

#[test]
fn counts_are_sorted_and_exact() {
    let case = Case::new();
    let book = fs::read(book()).unwrap();
    let ended = case.run("").succeeded();
    assert_eq!(case.written(), counted([&book]));
    assert_eq!(ended.out, "", "with --output there is no table");
    assert!(
        ended
            .err
            .contains("13,030 lines, 121,567 words, 13,059 distinct, in 2 batches; this run: "),
        "{}",
        ended.err
    );
}

#[test]
fn a_second_run_counts_nothing_twice_and_a_third_only_what_was_appended() {
    let case = Case::new();
    let first = text(25_000, 1);
    case.write("a.txt", &first);
    assert_eq!(case.counts("a.txt"), counted([&first]));
    assert_eq!(case.read(), 25_000);

    let again = case.run("a.txt").succeeded();
    assert!(
        again.err.contains("goes on after batch 3 and 25,000 lines"),
        "{}",
        again.err
    );
    assert!(again.err.contains("this run: nothing new"), "{}", again.err);
    assert_eq!(case.written(), counted([&first]));
    assert_eq!(case.stats().len(), 0);

    let second = text(500, 2);
    case.append("a.txt", &second);
    assert_eq!(case.counts("a.txt"), counted([&first, &second]));
    assert_eq!(case.read(), 500);
    assert_eq!(case.stats()[0]["txid"], 4);
}

#[test]
fn settings_may_differ_from_run_to_run() {
    let case = Case::new();
    case.write("a.txt", "");
    let mut all = Vec::new();
    let settings = [
        "--batch-lines 1 --executors 1",
        "--batch-lines 7 --executors 3 --max-pending 1",
        "--batch-lines 1000 --executors 2 --spout opaque",
        "--memory 16MiB --executors 5 --durability process-crash",
        "--max-pending 64 --batch-lines 3 --memory 1GB",
        "--max-line 1k --batch-time 1 --spout transactional",
        "",
    ];
    for (salt, settings) in (0..).zip(settings) {
        let more = text(120, salt);
        case.append("a.txt", &more);
        all.push(more);
        assert_eq!(
            case.counts(&format!("{settings} a.txt")),
            counted(&all),
            "{settings}"
        );
        assert_eq!(case.read(), 120, "{settings}");
    }
}

#[test]
fn batches_have_as_many_lines_as_told_over_all_files() {
    let case = Case::new();
    case.write("a.txt", text(2_500, 1));
    case.write("b.txt", text(2_600, 2));
    case.counts("--batch-lines 1000 a.txt b.txt");
    let sizes: Vec<u64> = case
        .stats()
        .iter()
        .map(|line| line["records"].as_u64().unwrap())
        .collect();
    assert!(sizes.iter().all(|size| *size <= 1000), "{sizes:?}");
    assert_eq!(sizes.iter().sum::<u64>(), 5_100);
}

#[test]
fn an_opaque_spout_counts_the_same() {
    let case = Case::new();
    let text = text(20_000, 7);
    case.write("a.txt", &text);
    assert_eq!(
        case.counts("--spout opaque --batch-lines 999 a.txt"),
        counted([&text])
    );
    assert_eq!(case.counts("--spout opaque a.txt"), counted([&text]));
    assert_eq!(case.read(), 0);
}

#[test]
fn state_larger_than_memory_is_counted() {
    let case = Case::new();
    let words: String = (0..600_000u64)
        .map(|n| {
            format!(
                "{:016x}{}",
                n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                if n % 8 == 7 { "\n" } else { " " }
            )
        })
        .collect();
    case.write("a.txt", &words);
    case.write("b.txt", &words);
    assert_eq!(
        case.counts("--memory 16MiB a.txt b.txt"),
        counted([&words, &words])
    );
}

#[test]
fn each_batch_is_told_in_one_line() {
    let case = Case::new();
    let text = text(3_000, 3);
    case.write("a.txt", &text);
    case.counts("--batch-lines 1000 a.txt");
    let stats = case.stats();
    assert_eq!(stats.len(), 3);
    for (txid, line) in (1u64..).zip(&stats) {
        assert_eq!(line["txid"], txid);
        assert_eq!(line["attempt"], format!("{txid}@1.1"));
        assert_eq!(line["attempts"], 1);
        assert_eq!(line["records"], 1000);
        assert!(line["failures"].as_array().unwrap().is_empty());
        for number in [
            "read_us",
            "process_us",
            "seal_us",
            "sealed_together",
            "time_ms",
        ] {
            assert!(line[number].is_u64(), "{number} in {line}");
        }
    }
    let bytes: u64 = stats
        .iter()
        .map(|line| line["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(bytes, text.len() as u64);
}

#[test]
fn folded_words_have_one_spelling_and_a_state_of_their_own() {
    let case = Case::new();
    case.write(
        "a.txt",
        "Don\u{2019}t DON'T -- don't, \"\u{c9}lan\" \u{e9}lan! it's It's 'tis _so_\n",
    );
    let folded = "don't\t3\nit's\t2\nso\t1\ntis\t1\n\u{e9}lan\t2\n";
    assert_eq!(case.counts("--fold a.txt"), folded.as_bytes());
    assert_eq!(case.counts("--fold a.txt"), folded.as_bytes());

    let told = case.refused("a.txt");
    assert!(
        told.contains("fold") && told.contains("another topology or version"),
        "{told}"
    );
    assert_eq!(
        case.written(),
        folded.as_bytes(),
        "a refusal changes nothing"
    );

    let plain = Case::new();
    plain.write("a.txt", "A a.\n");
    plain.counts("a.txt");
    let told = plain.refused("--fold a.txt");
    assert!(told.contains("fold"), "{told}");
    assert_eq!(plain.counts("a.txt"), b"A\t1\na.\t1\n");
}

#[test]
fn the_plan_is_explained_without_a_run() {
    let case = Case::new();
    let ended = case.run("--explain --fold").succeeded();
    assert!(
        ended.out.contains("topology \"wordcount\"") && ended.out.contains("each \"fold\""),
        "{}",
        ended.out
    );
    assert!(!case.path("state").exists());
}
