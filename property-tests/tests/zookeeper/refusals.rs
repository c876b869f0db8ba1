//! What the program must not run with: it says what is wrong, and changes nothing.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fulmar_coordinator::zookeeper::testing;
use fulmar_property_tests::cluster::Cluster;
use fulmar_property_tests::seed;

use crate::{cluster, wordcount};

/// Runs the program with these arguments to its end: its exit code, and what it said on standard error.
fn run(folder: &Path, arguments: &str) -> (Option<i32>, String) {
    let output = Command::new(wordcount())
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), said)
}

/// Runs it and expects this end.
fn expect(folder: &Path, arguments: &str, code: i32, says: &[&str]) {
    let (ended, said) = run(folder, arguments);
    assert_eq!(ended, Some(code), "{arguments}: {said}");
    for word in says {
        assert!(said.contains(word), "{arguments}: no {word:?} in: {said}");
    }
}

/// A folder with a text in it.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("text"), "a b a\n".repeat(100)).unwrap();
    folder
}

/// Everything in the state directory, by name and size.
fn listing(dir: &Path) -> Vec<(String, u64)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|entry| {
            let size = entry.metadata().unwrap().len();
            (entry.file_name().to_string_lossy().into_owned(), size)
        })
        .collect();
    files.sort();
    files
}

#[test]
fn another_topology_of_the_same_name_is_refused_also_before_it_leads() {
    let mut cluster: Cluster = cluster("--batch-time 20 --batch-lines 20");
    cluster.feed(seed(), 2_000);
    let first = cluster.start().unwrap();
    cluster.wait_for_batches(first, 3).unwrap();
    let other = cluster.start_with("--follow --fold").unwrap();
    cluster.member(other).dismiss();
    let run = cluster.member(other).run();
    let (status, said) = (run.wait().unwrap(), run.said());
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(
        said.contains("the ledger belongs to another topology") && said.contains("fold"),
        "{said}"
    );
    // The one that leads has not noticed.
    cluster.wait_for_batches(first, 3).unwrap();
    assert_eq!(cluster.leader(), Some((first, 1)));
    cluster.finish().unwrap();
}

#[test]
fn a_state_directory_that_does_not_fit_the_ledger_is_refused() {
    let (folder, servers) = (folder(), testing::shared_chroot());
    let at = |state: &str| format!("--zookeeper {servers} --state {state} text --output counts");
    expect(folder.path(), &at("first"), 0, &[]);
    // What is sealed is not in an empty directory.
    expect(folder.path(), &at("empty"), 1, &["empty"]);
    // The right one still is.
    fs::write(folder.path().join("text"), "a b a\n".repeat(101)).unwrap();
    expect(folder.path(), &at("first"), 0, &["goes on after batch 1"]);
    let counts = fs::read_to_string(folder.path().join("counts")).unwrap();
    assert_eq!(counts, "a\t202\nb\t101\n");
}

#[test]
fn a_directory_with_an_embedded_ledger_and_one_without_are_not_taken_for_each_other() {
    let (folder, servers) = (folder(), testing::shared_chroot());
    let text = "text --output counts";
    let zookeeper = format!("--zookeeper {servers}");
    expect(folder.path(), &format!("--state plain {text}"), 0, &[]);
    expect(
        folder.path(),
        &format!("--state shared {zookeeper} {text}"),
        0,
        &[],
    );
    let before = ["plain", "shared"].map(|dir| listing(&folder.path().join(dir)));

    let plain = format!("--state plain {zookeeper} --name other {text}");
    expect(folder.path(), &plain, 1, &["plain", "LEDGER"]);
    let shared = format!("--state shared {text}");
    expect(folder.path(), &shared, 1, &["shared", "kept in ZooKeeper"]);
    let after = ["plain", "shared"].map(|dir| listing(&folder.path().join(dir)));
    assert_eq!(before, after);
    // Both still are what they were.
    expect(
        folder.path(),
        &format!("--state plain {text}"),
        0,
        &["nothing new"],
    );
    expect(
        folder.path(),
        &format!("--state shared {zookeeper} {text}"),
        0,
        &["nothing new"],
    );
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_is_told_within_the_timeout() {
    let folder = folder();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let deaf = silent.local_addr().unwrap();
    let gone = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap()
    };
    let timeout = Duration::from_millis(1_500);
    for servers in [
        gone.to_string(),
        deaf.to_string(),
        format!("{gone},{deaf}/chroot"),
    ] {
        let began = Instant::now();
        let hosts = servers.split('/').next().unwrap();
        let says = format!("no ZooKeeper server answered at {hosts} within 1500 ms");
        let arguments = format!("--zookeeper {servers} --session-timeout 1500 --state state text");
        expect(folder.path(), &arguments, 1, &[&says]);
        let took = began.elapsed();
        assert!(
            took < timeout + Duration::from_secs(2),
            "{servers}: {took:?}"
        );
    }
    assert!(!folder.path().join("state").exists());
}

#[test]
fn wrong_usage_is_told_with_exit_code_2() {
    let folder = folder();
    let wrong = |arguments: &str, says: &[&str]| expect(folder.path(), arguments, 2, says);
    wrong("--zookeeper 127.0.0.1:1 text", &["--state"]);
    wrong("--session-timeout 1000 --state s text", &["--zookeeper"]);
    wrong(
        "--zookeeper 127.0.0.1:1 --state s --session-timeout 0 text",
        &["0"],
    );
    for connection in [
        "/chroot",
        "host:",
        "host:0",
        "host:port",
        "host:70000",
        "a:1,,b:2",
        "host:1/a//b",
        "host:1/../b",
        "user@host:1",
    ] {
        wrong(
            &format!("--zookeeper {connection} --state s text"),
            &[connection, "HOST:PORT"],
        );
    }
    assert_eq!(listing(folder.path()).len(), 1, "something was made");
}
