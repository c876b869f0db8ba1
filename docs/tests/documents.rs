//! Method: contract between the documents and the tree. Every chapter, link, heading, file and test that a document names is
//! there.
#![allow(
    clippy::unwrap_used,
    reason = "a test ends where something unexpected happens"
)]

mod markdown;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use markdown::{anchors, code_spans, links};

const AT_THE_ROOT: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
];
const PACKAGES: [&str; 6] = [
    "state",
    "coordinator",
    "engine",
    "examples",
    "property-tests",
    "docs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All files of the packages.
fn sources() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = PACKAGES
        .iter()
        .map(|package| root().join(package))
        .collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.push(path);
            }
        }
    }
    files
}

fn chapters() -> Vec<PathBuf> {
    let book = root().join("docs/src");
    links(&read(&book.join("SUMMARY.md")))
        .iter()
        .map(|link| book.join(link))
        .collect()
}

fn documents() -> Vec<PathBuf> {
    AT_THE_ROOT
        .iter()
        .map(|name| root().join(name))
        .chain(chapters())
        .collect()
}

#[test]
fn the_summary_names_every_chapter_and_no_other() {
    let named: BTreeSet<PathBuf> = chapters().into_iter().collect();
    let there: BTreeSet<PathBuf> = sources()
        .into_iter()
        .filter(|path| path.starts_with(root().join("docs/src")))
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .filter(|path| !path.ends_with("SUMMARY.md"))
        .collect();
    assert!(!named.is_empty());
    assert_eq!(named, there);
}

#[test]
fn the_code_of_every_chapter_is_tested() {
    let tested = read(&root().join("docs/src/lib.rs"));
    for chapter in chapters() {
        let name = chapter.file_name().unwrap().to_str().unwrap();
        assert!(
            tested.contains(&format!("\"{name}\"")),
            "docs/src/lib.rs does not test {name}"
        );
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        for link in links(&text) {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if path.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(path)
            };
            assert!(
                target.exists(),
                "{}: ({link}) leads nowhere",
                document.display()
            );
            assert!(
                anchor.is_empty() || anchors(&read(&target)).contains(anchor),
                "{}: ({link}) names no heading",
                document.display()
            );
        }
    }
}

/// mdBook copies the folder of the book alone: what lies outside is not in the book that is built.
#[test]
fn chapters_link_to_chapters_only() {
    for chapter in chapters() {
        for link in links(&read(&chapter)) {
            assert!(!link.starts_with(".."), "{}: ({link})", chapter.display());
        }
    }
}

#[test]
fn every_file_that_is_named_exists() {
    let root = root();
    let there: Vec<String> = sources()
        .iter()
        .map(|path| format!("/{}", path.strip_prefix(&root).unwrap().display()))
        .collect();
    for document in documents() {
        for span in code_spans(&read(&document)) {
            let in_a_package = PACKAGES
                .iter()
                .any(|package| span.starts_with(&format!("{package}/")));
            let found = if in_a_package {
                root.join(&span).exists()
            } else if span.ends_with(".rs") && !span.starts_with("foo/") {
                let end = format!("/{span}");
                there.iter().any(|path| path.ends_with(&end))
            } else {
                continue;
            };
            assert!(found, "{}: there is no `{span}`", document.display());
        }
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let code: Vec<String> = sources()
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| read(path))
        .collect();
    let mut named = 0;
    for document in documents() {
        for span in code_spans(&read(&document)) {
            let name_like = span
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
            // Names of tests are sentences; settings and verbs are shorter, and variables of the environment are in capitals.
            let capitals = span.starts_with(|letter: char| letter.is_ascii_uppercase());
            if !name_like || capitals || span.matches('_').count() < 3 {
                continue;
            }
            let function = format!("fn {span}(");
            assert!(
                code.iter().any(|code| code.contains(&function)),
                "{}: there is no test `{span}`",
                document.display()
            );
            named += 1;
        }
    }
    assert!(named > 50, "only {named} tests are named");
}

#[test]
fn the_documents_read_by_these_tests_are_read_right() {
    let text = "# A `b` (c), d\n\n[one](x.md#y) `in/code` ``two``\n```sh\n[no](no.md) `no`\n```\n## A `b` (c), d\n";
    assert_eq!(links(text), ["x.md#y"]);
    assert_eq!(code_spans(text), ["b", "in/code", "two", "b"]);
    assert_eq!(
        anchors(text).into_iter().collect::<Vec<_>>(),
        ["a-b-c-d", "a-b-c-d-1"]
    );
}
