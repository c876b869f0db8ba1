//! A state directory that runs full: a clear error, nothing lost, and exact counts once there is room.
//! Needs a small file system of its own, and so root.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Case, Started, counted, is_root};

/// A tmpfs of so many bytes; gone with the value.
struct Small(PathBuf);

impl Small {
    fn mount(at: PathBuf, size: &str) -> Option<Small> {
        if !is_root() {
            eprintln!("left out: only root may mount a small file system");
            return None;
        }
        std::fs::create_dir(&at).unwrap();
        let mounted = mount(
            &["-t", "tmpfs", "-o", &format!("size={size}"), "fulmar-test"],
            &at,
        );
        if !mounted {
            eprintln!("left out: this machine does not let root mount a tmpfs");
        }
        mounted.then_some(Small(at))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], &self.0));
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

fn mount(arguments: &[&str], at: &Path) -> bool {
    Command::new("mount")
        .args(arguments)
        .arg(at)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn words(count: u64) -> String {
    (0..count)
        .map(|n| {
            format!(
                "{:016x}{}",
                n.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                if n % 8 == 7 { "\n" } else { " " }
            )
        })
        .collect()
}

#[test]
fn a_full_state_directory_is_named_and_counts_are_exact_once_there_is_room() {
    let case = Case::new();
    let Some(small) = Small::mount(case.path("disk"), "6m") else {
        return;
    };
    let text = words(400_000);
    case.write("a.txt", &text);
    let run = |arguments: &str| {
        Started::of(case.bare(&format!(
            "--state disk/state --output counts.tsv --stats stats.jsonl {arguments}"
        )))
        .wait()
    };
    let told = run("--batch-lines 500 a.txt").failed();
    assert!(
        told.contains("disk/state") && told.contains("the disk is full"),
        "{told}"
    );
    assert!(!case.path("counts.tsv").exists());
    let sealed = case.read();
    assert!(sealed > 0, "something was sealed before");
    // Still full: still told.
    let told = run("a.txt").failed();
    assert!(told.contains("full"), "{told}");
    let sealed = sealed + case.read();

    small.grow("200m");
    run("a.txt").succeeded();
    assert_eq!(case.written(), counted([&text]));
    assert_eq!(sealed + case.read(), 50_000);
}

#[test]
fn a_directory_that_is_full_from_the_beginning_is_named() {
    let case = Case::new();
    let Some(small) = Small::mount(case.path("disk"), "64k") else {
        return;
    };
    case.write("a.txt", "a\n");
    case.write("disk/filler", vec![1; 64 << 10]);
    let told = Started::of(case.bare("--state disk/state a.txt"))
        .wait()
        .failed();
    assert!(
        told.contains("disk/state") && (told.contains("full") || told.contains("No space")),
        "{told}"
    );
    small.grow("50m");
    Started::of(case.bare("--state disk/state --output counts.tsv a.txt"))
        .wait()
        .succeeded();
    assert_eq!(case.written(), b"a\t1\n");
}

#[test]
fn an_output_on_a_full_disk_is_named_and_the_old_one_stays() {
    let case = Case::new();
    let Some(small) = Small::mount(case.path("disk"), "64k") else {
        return;
    };
    case.write("a.txt", words(50_000));
    case.write("disk/counts.tsv", "old\n");
    let told = Started::of(case.bare("--state state --output disk/counts.tsv a.txt"))
        .wait()
        .failed();
    assert!(
        told.contains("disk/counts.tsv") && told.contains("No space"),
        "{told}"
    );
    assert_eq!(
        std::fs::read(case.path("disk/counts.tsv")).unwrap(),
        b"old\n"
    );
    assert_eq!(
        std::fs::read_dir(case.path("disk")).unwrap().count(),
        1,
        "nothing half written stays"
    );
    small.grow("50m");
    Started::of(case.bare("--state state --output disk/counts.tsv a.txt"))
        .wait()
        .succeeded();
    assert_eq!(
        std::fs::read(case.path("disk/counts.tsv")).unwrap(),
        counted([words(50_000)])
    );
}
