//! A person with ZooKeeper's own shell.

use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use zookeeper_client as zk;

pub(crate) struct Hand {
    runtime: Handle,
    client: zk::Client,
    /// Dropped to end the runtime's thread.
    _open: oneshot::Sender<()>,
}

impl Hand {
    pub(crate) fn at(to: &str) -> Hand {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (handle, (open, closed)) = (runtime.handle().clone(), oneshot::channel());
        // Heartbeats go on while nobody asks for anything.
        thread::spawn(move || drop(runtime.block_on(closed)));
        let client = handle.block_on(zk::Client::connect(to)).unwrap();
        Hand {
            runtime: handle,
            client,
            _open: open,
        }
    }

    /// The names in `dir`, in the order of the numbers at their ends.
    pub(crate) fn list(&self, dir: &str) -> Vec<String> {
        let mut names = match self.runtime.block_on(self.client.list_children(dir)) {
            Err(zk::Error::NoNode) => Vec::new(),
            names => names.unwrap(),
        };
        names.sort_by_key(|name| name.rsplit_once('-').map(|(_, number)| number.to_owned()));
        names
    }

    pub(crate) fn data(&self, path: &str) -> String {
        String::from_utf8(self.runtime.block_on(self.client.get_data(path)).unwrap().0).unwrap()
    }

    pub(crate) fn is_there(&self, path: &str) -> bool {
        self.runtime
            .block_on(self.client.check_stat(path))
            .unwrap()
            .is_some()
    }

    pub(crate) fn delete(&self, path: &str) {
        self.runtime
            .block_on(self.client.delete(path, None))
            .unwrap();
    }

    pub(crate) fn write(&self, path: &str, data: &str) {
        self.runtime
            .block_on(self.client.set_data(path, data.as_bytes(), None))
            .unwrap();
    }

    pub(crate) fn create(&self, path: &str, data: &str, mode: zk::CreateMode) {
        let options = mode.with_acls(zk::Acls::anyone_all());
        self.runtime
            .block_on(self.client.create(path, data.as_bytes(), &options))
            .unwrap();
    }
}
