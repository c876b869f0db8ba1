//! A hand in ZooKeeper: reads and changes nodes as a person would with its shell, on a session of its own for each act.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result};
use zookeeper_client as zk;

/// Longer than an ensemble takes to elect a leader.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the nodes of one topology are.
#[derive(Clone, Debug)]
pub struct Hand {
    servers: String,
    root: String,
}

impl Hand {
    /// For the topology `name` under a connection string; the name is taken as it is.
    #[must_use]
    pub fn new(connection: &str, name: &str) -> Hand {
        let (servers, chroot) = match connection.find('/') {
            Some(at) => connection.split_at(at),
            None => (connection, ""),
        };
        Hand {
            servers: servers.to_owned(),
            root: format!("{chroot}/fulmar/{name}"),
        }
    }

    /// The whole path of one of the topology's nodes, such as `ledger`.
    #[must_use]
    pub fn path(&self, node: &str) -> String {
        match node {
            "" => self.root.clone(),
            node => format!("{}/{node}", self.root),
        }
    }

    /// A node's data and version; none if it is not there.
    ///
    /// # Errors
    ///
    /// No server answers.
    pub fn get(&self, node: &str) -> Result<Option<(String, i32)>> {
        let path = self.path(node);
        self.act(|client| async move {
            match client.get_data(&path).await {
                Ok((data, stat)) => Ok(Some((
                    String::from_utf8_lossy(&data).into_owned(),
                    stat.version,
                ))),
                Err(zk::Error::NoNode) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// Writes a node's data, whatever it was, and makes it if need be; answers with its version.
    ///
    /// # Errors
    ///
    /// No server answers, or the node above is not there.
    pub fn put(&self, node: &str, data: &str) -> Result<i32> {
        let (path, data) = (self.path(node), data.as_bytes().to_vec());
        self.act(|client| async move {
            match client.set_data(&path, &data, None).await {
                Ok(stat) => Ok(stat.version),
                Err(zk::Error::NoNode) => {
                    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
                    client.create(&path, &data, &options).await.map(|_| 0)
                }
                Err(error) => Err(error),
            }
        })
    }

    /// Deletes a node.
    ///
    /// # Errors
    ///
    /// No server answers, or it is not there.
    pub fn delete(&self, node: &str) -> Result<()> {
        let path = self.path(node);
        self.act(|client| async move { client.delete(&path, None).await })
    }

    /// The names below a node, sorted; none if it is not there.
    ///
    /// # Errors
    ///
    /// No server answers.
    pub fn list(&self, node: &str) -> Result<Vec<String>> {
        let path = self.path(node);
        self.act(|client| async move {
            match client.list_children(&path).await {
                Ok(mut names) => {
                    names.sort();
                    Ok(names)
                }
                Err(zk::Error::NoNode) => Ok(Vec::new()),
                Err(error) => Err(error),
            }
        })
    }

    /// The attempt that the ledger says was sealed last, such as `17@3.17`, and the epoch that may write now.
    ///
    /// # Errors
    ///
    /// There is no ledger, or it does not say so.
    pub fn sealed(&self) -> Result<(String, u64)> {
        let (text, _) = self.get("ledger")?.context("there is no ledger")?;
        let word = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))
        };
        let sealed = word("sealed").with_context(|| format!("nothing is sealed: {text}"))?;
        let epoch = word("epoch").and_then(|epoch| epoch.parse().ok());
        Ok((
            sealed.to_owned(),
            epoch.with_context(|| format!("no epoch: {text}"))?,
        ))
    }

    fn act<T, F>(&self, act: impl FnOnce(zk::Client) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, zk::Error>>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let connected = zk::Client::connector()
                .with_session_timeout(Duration::from_secs(10))
                .connect(&self.servers);
            let acted = async { act(connected.await?).await };
            let acted = tokio::time::timeout(PATIENCE, acted).await;
            Ok(acted
                .with_context(|| format!("no answer from {} in {PATIENCE:?}", self.servers))??)
        })
    }
}
