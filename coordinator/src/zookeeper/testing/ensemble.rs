//! Several real servers that form a quorum.

use std::io;

use super::server::Builder;
use super::{PATIENCE, Server, free_port, wait_until};

/// ZooKeeper servers that replicate among themselves, all on 127.0.0.1; they end as [`Server`]s do.
///
/// ```
/// use fulmar_coordinator::zookeeper::testing::Ensemble;
///
/// let mut ensemble = Ensemble::start(3)?;
/// let leader = ensemble.leader().expect("a new ensemble has one");
/// ensemble.kill(leader);
/// assert_ne!(ensemble.wait_for_leader(), leader);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Ensemble {
    servers: Vec<Server>,
}

impl Ensemble {
    /// Starts `count` servers and waits until one leads and all others follow.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start(count: usize) -> io::Result<Self> {
        Self::start_with(count, &Server::builder())
    }

    /// As [`start`](Self::start), with other settings for each server.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start_with(count: usize, settings: &Builder) -> io::Result<Self> {
        let mut last = io::Error::other("it was not tried");
        for _ in 0..10 {
            let mut ensemble = Self::prepare(count, settings)?;
            match ensemble.run() {
                Ok(()) => return Ok(ensemble),
                // Each server names the ports of all others, so all begin anew.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    fn prepare(count: usize, settings: &Builder) -> io::Result<Self> {
        // Half a minute to join the quorum, two seconds of silence to leave it.
        let mut settings = settings
            .clone()
            .config("initLimit=150\nsyncLimit=10\nquorumListenOnAllIPs=false");
        for id in 1..=count {
            settings = settings.config(format!(
                "server.{id}=127.0.0.1:{}:{}",
                free_port()?,
                free_port()?
            ));
        }
        let mut servers = Vec::new();
        for id in 1..=count {
            let server = settings.prepare(free_port()?)?;
            std::fs::write(server.data_dir().join("myid"), format!("{id}\n"))?;
            servers.push(server);
        }
        Ok(Self { servers })
    }

    fn run(&mut self) -> io::Result<()> {
        self.servers.iter_mut().try_for_each(Server::run)?;
        self.servers
            .iter_mut()
            .try_for_each(Server::wait_until_serving)
    }

    /// How many servers there are, running or not.
    #[expect(clippy::len_without_is_empty, reason = "an ensemble is never empty")]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// `127.0.0.1:port,127.0.0.1:port,…` of all servers.
    pub fn connection_string(&self) -> String {
        let addresses: Vec<String> = self.servers.iter().map(Server::address).collect();
        addresses.join(",")
    }

    /// One of the servers, counted from 0.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn server(&self, index: usize) -> &Server {
        &self.servers[index]
    }

    /// The index of the server that leads, if one does. Servers that were killed are left out; one that is stopped
    /// takes 5 s.
    pub fn leader(&self) -> Option<usize> {
        self.modes()
            .iter()
            .position(|mode| mode.as_deref() == Some("leader"))
    }

    /// Waits until one server leads and one follows at least, which is when clients are served, and says which leads.
    ///
    /// # Panics
    ///
    /// When it takes longer than a minute.
    pub fn wait_for_leader(&self) -> usize {
        let mut leader = None;
        wait_until("one server of the ensemble leads", PATIENCE, || {
            let modes = self.modes();
            leader = modes
                .iter()
                .position(|mode| mode.as_deref() == Some("leader"));
            leader.is_some() && modes.iter().flatten().count() > modes.len() / 2
        });
        leader.expect("was waited for")
    }

    /// Waits until one server leads and all others follow.
    ///
    /// # Panics
    ///
    /// When it takes longer than a minute, for example because one was killed and not restarted.
    pub fn wait_for_all(&self) {
        wait_until(
            "one server of the ensemble leads and all others follow",
            PATIENCE,
            || self.modes().iter().all(Option::is_some),
        );
    }

    /// Kills one server by SIGKILL, as [`Server::kill`].
    ///
    /// # Panics
    ///
    /// When there is none of this index.
    pub fn kill(&mut self, index: usize) {
        self.servers[index].kill();
    }

    /// Starts one server again at the same ports and with the same data. Waits until it answers, but not until it
    /// serves, since without others it never would; see [`wait_for_all`](Self::wait_for_all).
    ///
    /// # Errors
    ///
    /// As [`Server::restart`].
    ///
    /// # Panics
    ///
    /// When there is none of this index.
    pub fn restart(&mut self, index: usize) -> io::Result<()> {
        self.servers[index].kill();
        self.servers[index].run()?;
        self.servers[index].wait_until_up()
    }

    fn modes(&self) -> Vec<Option<String>> {
        self.servers.iter().map(Server::mode).collect()
    }
}
