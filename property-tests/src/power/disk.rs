//! A file system that knows what is synced: what [`Call`]s did to a folder, and what a power loss leaves of it.
//!
//! Nothing is durable but what was synced: a file's bytes by a sync of the file, a name by a sync of its folder. Of what
//! was not, a power loss may leave nothing, all, or a part: the first so many changes of each folder, each whole, and of each
//! file any of its writes, torn anywhere, or zeros in the place of what was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::trace::Call;

/// How much is left of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// All: the process was killed, and the system was not.
    All,
    /// What chance leaves.
    Chance,
}

type Id = usize;

enum Node {
    File {
        synced: Vec<u8>,
        writes: Vec<Change>,
    },
    Folder {
        synced: BTreeMap<String, Id>,
        changes: Vec<Naming>,
    },
}

#[derive(Clone)]
enum Change {
    Bytes(u64, Vec<u8>),
    Len(u64),
}

#[derive(Clone)]
enum Naming {
    Add(String, Id),
    Remove(String),
    Move(String, String),
}

struct Opened {
    id: Id,
    at: u64,
    path: String,
}

/// The disk of a traced program, beneath one folder.
pub struct Disk {
    root: String,
    nodes: Vec<Node>,
    open: BTreeMap<i32, Opened>,
    /// Syncs of paths that end so are left out: the disk of a program that forgets them.
    forgotten: Vec<String>,
    forgot: u64,
}

const ROOT: Id = 0;

impl Disk {
    /// Of an empty folder that is durably there.
    #[must_use]
    pub fn new(root: &Path) -> Disk {
        Disk {
            root: root.display().to_string(),
            nodes: vec![Node::Folder {
                synced: BTreeMap::new(),
                changes: vec![],
            }],
            open: BTreeMap::new(),
            forgotten: vec![],
            forgot: 0,
        }
    }

    /// Takes syncs of what ends so for not made.
    #[must_use]
    pub fn forgetting(mut self, ends: &[&str]) -> Disk {
        self.forgotten = ends.iter().map(|end| (*end).to_owned()).collect();
        self
    }

    /// How many syncs were left out.
    #[must_use]
    pub fn forgot(&self) -> u64 {
        self.forgot
    }

    /// Whether the call changes something beneath the folder: only after such calls the disk may be another.
    pub fn apply(&mut self, call: &Call) -> bool {
        match call {
            Call::Open {
                fd,
                path,
                create,
                truncate,
            } => self.open(*fd, path, *create, *truncate),
            Call::Close(fd) => {
                self.open.remove(fd);
                false
            }
            Call::Write(fd, at, bytes) => self.write(*fd, *at, bytes),
            Call::Seek(fd, at) => {
                if let Some(opened) = self.open.get_mut(fd) {
                    opened.at = *at;
                }
                false
            }
            Call::SetLen(fd, len) => {
                let id = self.open.get(fd).map(|opened| opened.id);
                id.is_some_and(|id| self.change(id, Change::Len(*len)))
            }
            Call::Sync(fd) => self.sync(*fd),
            Call::MakeDir(path) => self.naming(path, |nodes, name| {
                nodes.push(Node::Folder {
                    synced: BTreeMap::new(),
                    changes: vec![],
                });
                Naming::Add(name, nodes.len() - 1)
            }),
            Call::Link(from, to) => {
                let Some(id) = self.find(from) else {
                    return false;
                };
                self.naming(to, |_, name| Naming::Add(name, id))
            }
            Call::Rename(from, to) => self.rename(from, to),
            Call::Unlink(path) | Call::RemoveDir(path) => {
                self.naming(path, |_, name| Naming::Remove(name))
            }
        }
    }

    /// The path's parts beneath the folder; none if it is elsewhere.
    fn parts<'a>(&self, path: &'a str) -> Option<Vec<&'a str>> {
        let below = path.strip_prefix(&self.root)?;
        if !below.is_empty() && !below.starts_with('/') {
            return None;
        }
        Some(
            below
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .collect(),
        )
    }

    fn names(&self, id: Id) -> BTreeMap<String, Id> {
        let Node::Folder { synced, changes } = &self.nodes[id] else {
            panic!("a file is used as a folder");
        };
        named(synced, changes)
    }

    fn find(&self, path: &str) -> Option<Id> {
        let mut id = ROOT;
        for part in self.parts(path)? {
            id = *self.names(id).get(part)?;
        }
        Some(id)
    }

    fn naming(
        &mut self,
        path: &str,
        change: impl FnOnce(&mut Vec<Node>, String) -> Naming,
    ) -> bool {
        let Some((folder, name)) = path.rsplit_once('/') else {
            return false;
        };
        let Some(folder) = self.find(folder) else {
            return false;
        };
        let change = change(&mut self.nodes, name.to_owned());
        if let Node::Folder { changes, .. } = &mut self.nodes[folder] {
            changes.push(change);
        }
        true
    }

    fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(id) = self.find(from) else {
            return false;
        };
        let (folder, name) = from.rsplit_once('/').expect("it was found by it");
        match to.rsplit_once('/') {
            Some((other, new)) if other == folder => {
                self.naming(from, |_, name| Naming::Move(name, new.to_owned()))
            }
            _ => {
                let name = name.to_owned();
                self.naming(to, |_, new| Naming::Add(new, id));
                self.naming(from, |_, _| Naming::Remove(name))
            }
        }
    }

    fn open(&mut self, fd: i32, path: &str, create: bool, truncate: bool) -> bool {
        self.open.remove(&fd);
        if self.parts(path).is_none() {
            return false;
        }
        let (id, made) = match self.find(path) {
            Some(id) => (id, false),
            None if create => {
                self.naming(path, |nodes, name| {
                    nodes.push(Node::File {
                        synced: vec![],
                        writes: vec![],
                    });
                    Naming::Add(name, nodes.len() - 1)
                });
                (self.nodes.len() - 1, true)
            }
            None => panic!("{path} was opened, and this disk does not have it"),
        };
        let path = path.to_owned();
        self.open.insert(fd, Opened { id, at: 0, path });
        let cut = truncate && !made && matches!(&self.nodes[id], Node::File { .. });
        made || (cut && self.change(id, Change::Len(0)))
    }

    fn write(&mut self, fd: i32, at: Option<u64>, bytes: &[u8]) -> bool {
        let Some(opened) = self.open.get_mut(&fd) else {
            return false;
        };
        let from = at.unwrap_or(opened.at);
        if at.is_none() {
            opened.at += bytes.len() as u64;
        }
        let id = opened.id;
        self.change(id, Change::Bytes(from, bytes.to_vec()))
    }

    fn change(&mut self, id: Id, change: Change) -> bool {
        match &mut self.nodes[id] {
            Node::File { writes, .. } => writes.push(change),
            Node::Folder { .. } => panic!("a folder is written to"),
        }
        true
    }

    fn sync(&mut self, fd: i32) -> bool {
        let Some(opened) = self.open.get(&fd) else {
            return false;
        };
        if self
            .forgotten
            .iter()
            .any(|end| opened.path.ends_with(end.as_str()))
        {
            self.forgot += 1;
            return true;
        }
        match &mut self.nodes[opened.id] {
            Node::File { synced, writes } => writes.drain(..).for_each(|write| put(synced, &write)),
            Node::Folder { synced, changes } => {
                *synced = named(synced, changes);
                changes.clear();
            }
        }
        true
    }

    /// Makes what is left of the folder at another place.
    ///
    /// # Panics
    ///
    /// It cannot be written there.
    pub fn leave(&self, at: &Path, left: Left, rng: &mut ChaCha8Rng) {
        self.leave_folder(ROOT, at, left, rng);
    }

    fn leave_folder(&self, id: Id, at: &Path, left: Left, rng: &mut ChaCha8Rng) {
        fs::create_dir_all(at).unwrap();
        let Node::Folder { synced, changes } = &self.nodes[id] else {
            panic!("a file is used as a folder");
        };
        let kept = some_of(changes.len(), left, rng);
        for (name, id) in named(synced, &changes[..kept]) {
            let path: PathBuf = at.join(name);
            match &self.nodes[id] {
                Node::Folder { .. } => self.leave_folder(id, &path, left, rng),
                Node::File { synced, writes } => {
                    fs::write(&path, content(synced, writes, left, rng)).unwrap();
                }
            }
        }
    }
}

/// How many of so many are left.
fn some_of(all: usize, left: Left, rng: &mut ChaCha8Rng) -> usize {
    match left {
        Left::Nothing => 0,
        Left::All => all,
        Left::Chance => rng.random_range(0..=all),
    }
}

fn named(synced: &BTreeMap<String, Id>, changes: &[Naming]) -> BTreeMap<String, Id> {
    let mut names = synced.clone();
    for change in changes {
        match change {
            Naming::Add(name, id) => {
                names.insert(name.clone(), *id);
            }
            Naming::Remove(name) => {
                names.remove(name);
            }
            Naming::Move(from, to) => {
                if let Some(id) = names.remove(from) {
                    names.insert(to.clone(), id);
                }
            }
        }
    }
    names
}

fn put(into: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Len(len) => into.resize(*len as usize, 0),
        Change::Bytes(at, bytes) => {
            let (at, end) = (*at as usize, *at as usize + bytes.len());
            if into.len() < end {
                into.resize(end, 0);
            }
            into[at..end].copy_from_slice(bytes);
        }
    }
}

/// A file's bytes, of those that were not synced only what is left.
fn content(synced: &[u8], writes: &[Change], left: Left, rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = synced.to_vec();
    if left != Left::Chance {
        let kept = some_of(writes.len(), left, rng);
        writes[..kept]
            .iter()
            .for_each(|write| put(&mut bytes, write));
        return bytes;
    }
    // In order up to somewhere, where a write is torn; or in any order, with zeros where one is missing.
    let in_order = rng.random_bool(0.6);
    let kept = some_of(writes.len(), left, rng);
    for (at, write) in writes.iter().enumerate() {
        match write {
            Change::Bytes(from, data) if in_order && at == kept => {
                let torn = data[..rng.random_range(0..=data.len())].to_vec();
                put(&mut bytes, &Change::Bytes(*from, torn));
            }
            _ if in_order && at >= kept => break,
            Change::Bytes(from, data) if !in_order && rng.random_bool(0.4) => {
                // The length has grown, and the bytes have not come.
                let end = *from + data.len() as u64;
                if bytes.len() < end as usize && rng.random_bool(0.5) {
                    put(&mut bytes, &Change::Len(end));
                }
            }
            _ => put(&mut bytes, write),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn open(fd: i32, path: &str, create: bool) -> Call {
        Call::Open {
            fd,
            path: path.into(),
            create,
            truncate: create,
        }
    }

    fn left(calls: &[Call], left: Left) -> BTreeMap<String, Vec<u8>> {
        let mut disk = Disk::new(Path::new("/d"));
        calls.iter().for_each(|call| {
            disk.apply(call);
        });
        let folder = tempfile::tempdir().unwrap();
        disk.leave(folder.path(), left, &mut ChaCha8Rng::seed_from_u64(1));
        let entries = fs::read_dir(folder.path()).unwrap();
        entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read(path).unwrap())
            })
            .collect()
    }

    #[test]
    fn a_file_without_its_folders_sync_is_gone_and_a_folder_does_not_sync_its_files() {
        let write = Call::Write(3, None, b"abc".to_vec());
        let mut calls = vec![open(3, "/d/a", true), write, Call::Sync(3)];
        assert!(left(&calls, Left::Nothing).is_empty());
        assert_eq!(left(&calls, Left::All)["a"], b"abc");
        calls.extend([open(4, "/d", false), Call::Sync(4)]);
        assert_eq!(left(&calls, Left::Nothing)["a"], b"abc");
        calls.extend([Call::Write(3, None, b"de".to_vec()), Call::Sync(4)]);
        assert_eq!(left(&calls, Left::Nothing)["a"], b"abc");
        assert_eq!(left(&calls, Left::All)["a"], b"abcde");
    }

    #[test]
    fn a_renaming_is_there_whole_or_not_at_all() {
        let calls = [
            open(3, "/d/a", true),
            Call::Write(3, None, b"old".to_vec()),
            Call::Sync(3),
            open(4, "/d", false),
            Call::Sync(4),
            open(5, "/d/b", true),
            Call::Write(5, None, b"new".to_vec()),
            Call::Sync(5),
            Call::Rename("/d/b".into(), "/d/a".into()),
        ];
        assert_eq!(
            left(&calls, Left::Nothing),
            [("a".into(), b"old".to_vec())].into()
        );
        assert_eq!(
            left(&calls, Left::All),
            [("a".into(), b"new".to_vec())].into()
        );
    }
}
