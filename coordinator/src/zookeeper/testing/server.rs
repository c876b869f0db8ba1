//! One real ZooKeeper server.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use std::{env, fmt, fs, process};

use super::java::{self, Run};
use super::{PATIENCE, free_port, poll};

/// How often a server that does not answer within a second is asked.
const ASKS: usize = 5;

/// How a server is configured before it starts; made by [`Server::builder`].
#[derive(Clone, Debug)]
pub struct Builder {
    tick: Duration,
    config: String,
    options: Vec<String>,
    jaas: String,
    secure: bool,
    self_signed: bool,
}

impl Builder {
    /// ZooKeeper's `tickTime` (default 200 ms). Sessions time out after two ticks at least, and 60 s at most,
    /// whatever the client asks for; they are looked at once a tick.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// Adds a line to `zoo.cfg`, such as `snapCount=10`.
    #[must_use]
    pub fn config(mut self, line: impl fmt::Display) -> Self {
        self.config.push_str(&format!("{line}\n"));
        self
    }

    /// Adds an option of the Java machine, such as `-Djute.maxbuffer=4096`.
    #[must_use]
    pub fn java(mut self, option: impl Into<String>) -> Self {
        self.options.push(option.into());
        self
    }

    /// Lets clients sign in as `user` by SASL DIGEST-MD5. Several users may be added. Clients that do not sign in are
    /// served too, unless `sessionRequireClientSASLAuth=true` is added by [`config`](Self::config).
    #[must_use]
    pub fn sasl_digest(mut self, user: &str, password: &str) -> Self {
        if self.jaas.is_empty() {
            self = self.config(
                "authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
            );
        }
        self.jaas
            .push_str(&format!("\n    user_{user}=\"{password}\""));
        self
    }

    /// Also listens for TLS, at [`Server::secure_address`]. `key_store` is a PEM file with the server's private key
    /// (in PKCS 8 form) and its certificates; both files' names must end in `.pem`. With a `trust_store`, a PEM file
    /// of certificates, clients must show one that these signed; without, they need none.
    #[must_use]
    pub fn tls(mut self, key_store: &Path, trust_store: Option<&Path>) -> Self {
        self.secure = true;
        self = self
            .config("serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory")
            .config(format!(
                "ssl.keyStore.location={}\nssl.keyStore.type=PEM",
                key_store.display()
            ));
        match trust_store {
            Some(store) => self.config(format!(
                "ssl.clientAuth=need\nssl.trustStore.location={}\nssl.trustStore.type=PEM",
                store.display()
            )),
            None => self.config("ssl.clientAuth=none"),
        }
    }

    /// As [`tls`](Self::tls), with a key that is made for this server alone, for `127.0.0.1` and `localhost`. Clients
    /// trust it by [`Server::certificate`] and need none themselves.
    #[must_use]
    pub fn tls_self_signed(mut self) -> Self {
        self.secure = true;
        self.self_signed = true;
        self.config("serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory")
            .config("ssl.clientAuth=none")
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Errors
    ///
    /// Java or ZooKeeper's jars are missing, or the server ended or did not serve within a minute: the text holds the
    /// end of its log.
    pub fn start(self) -> io::Result<Server> {
        let mut last = io::Error::other("it was not tried");
        for _ in 0..10 {
            let mut server = self.prepare(free_port()?)?;
            match server.run().and_then(|()| server.wait_until_serving()) {
                Ok(()) => return Ok(server),
                // Somebody was faster; there are others.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
                Err(error) => return Err(error),
            }
        }
        Err(last)
    }

    /// The directory with all that the server needs, so that it can be run at `port`.
    pub(super) fn prepare(&self, port: u16) -> io::Result<Server> {
        let directory = new_directory()?;
        let mut server = Server {
            directory,
            port,
            secure_port: None,
            options: self.options.clone(),
            run: None,
        };
        let data = server.data_dir();
        fs::create_dir(&data)?;
        let mut config = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime={tick}\nminSessionTimeout={least}\n\
             maxSessionTimeout=60000\nmaxClientCnxns=0\nadmin.enableServer=false\n4lw.commands.whitelist=*\n{extra}",
            data.display(),
            tick = self.tick.as_millis(),
            least = 2 * self.tick.as_millis(),
            extra = self.config,
        );
        if self.secure {
            let secure = free_port()?;
            config.push_str(&format!(
                "secureClientPort={secure}\nsecureClientPortAddress=127.0.0.1\n"
            ));
            server.secure_port = Some(secure);
        }
        if self.self_signed {
            let (store, password) = java::make_key(&server.directory)?;
            config.push_str(&format!(
                "ssl.keyStore.location={}\nssl.keyStore.type=PKCS12\nssl.keyStore.password={password}\n",
                store.display()
            ));
        }
        if !self.jaas.is_empty() {
            let file = server.directory.join("jaas.conf");
            let module = "org.apache.zookeeper.server.auth.DigestLoginModule";
            fs::write(
                &file,
                format!("Server {{\n    {module} required{};\n}};\n", self.jaas),
            )?;
            server.options.push(format!(
                "-Djava.security.auth.login.config={}",
                file.display()
            ));
        }
        fs::write(server.directory.join("zoo.cfg"), config)?;
        Ok(server)
    }
}

/// A ZooKeeper server on 127.0.0.1, which ends with this object, or with the process that owns it.
///
/// It writes to disk as in production (`forceSync` is on), and lets in any number of clients.
///
/// ```
/// use fulmar_coordinator::zookeeper::testing::Server;
///
/// let mut server = Server::start()?;
/// assert_eq!(server.four_letter("ruok"), "imok");
/// server.kill();
/// server.restart()?;
/// assert_eq!(server.mntr()["zk_server_state"], "standalone");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    directory: PathBuf,
    port: u16,
    secure_port: Option<u16>,
    options: Vec<String>,
    run: Option<Run>,
}

impl Server {
    /// Starts a server with the default settings.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub fn start() -> io::Result<Self> {
        Self::builder().start()
    }

    /// A server with other settings.
    #[must_use]
    pub fn builder() -> Builder {
        let tick = Duration::from_millis(200);
        Builder {
            tick,
            config: String::new(),
            options: Vec::new(),
            jaas: String::new(),
            secure: false,
            self_signed: false,
        }
    }

    /// `127.0.0.1:port`, where clients connect; the same for ever, also while it does not run.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:port`, where clients connect by TLS.
    ///
    /// # Panics
    ///
    /// When the server was built without [`Builder::tls`].
    pub fn secure_address(&self) -> String {
        format!(
            "127.0.0.1:{}",
            self.secure_port.expect("the server was built with `tls`")
        )
    }

    /// The server's certificate, a PEM file.
    ///
    /// # Panics
    ///
    /// When the server was built without [`Builder::tls_self_signed`].
    pub fn certificate(&self) -> PathBuf {
        let file = self.directory.join(java::CERTIFICATE);
        assert!(
            file.exists(),
            "the server was not built with `tls_self_signed`"
        );
        file
    }

    /// Where the server keeps its snapshots and transaction logs (in `version-2`).
    pub fn data_dir(&self) -> PathBuf {
        self.directory.join("data")
    }

    /// What the server has said since its first start.
    pub fn log(&self) -> String {
        fs::read(self.directory.join("log"))
            .map(|log| String::from_utf8_lossy(&log).into_owned())
            .unwrap_or_default()
    }

    /// The process id of the server itself.
    ///
    /// # Panics
    ///
    /// When it was killed and not restarted.
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    /// Kills the server by SIGKILL and waits until it is gone. Its data stay. Nothing happens if it was killed
    /// before.
    pub fn kill(&mut self) {
        if let Some(run) = self.run.take() {
            run.kill();
        }
    }

    /// Starts the server again at the same port and with the same data, and waits until it serves. If it still runs
    /// it is killed before.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`]; also when the port was taken meanwhile.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill();
        self.run()?;
        self.wait_until_serving()
    }

    /// Stops the process by SIGSTOP: connections stay open, and nothing is answered.
    ///
    /// # Panics
    ///
    /// When the server does not run.
    pub fn stop_process(&self) {
        assert!(
            self.running().signal("STOP"),
            "the server at {} has ended:\n{}",
            self.address(),
            self.log()
        );
    }

    /// Lets a process go on that was stopped (SIGCONT).
    ///
    /// # Panics
    ///
    /// When the server does not run.
    pub fn continue_process(&self) {
        assert!(
            self.running().signal("CONT"),
            "the server at {} has ended:\n{}",
            self.address(),
            self.log()
        );
    }

    /// The answer to a four-letter command, such as `srvr` or `cons`; empty if the server gives none within 5 s.
    pub fn four_letter(&self, command: &str) -> String {
        // A server that is only just coming up may take a connection and forget it: asked again, it answers at once.
        let answers = (0..ASKS).map_while(|_| match self.ask(command) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
            answer => Some(answer.unwrap_or_default()),
        });
        answers
            .into_iter()
            .find(|answer| !answer.is_empty())
            .unwrap_or_default()
    }

    /// The answer to `mntr`: the server's figures by their names, such as `zk_znode_count`; empty if it gives none.
    pub fn mntr(&self) -> BTreeMap<String, String> {
        let words = |line: &str| {
            line.split_once('\t')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        self.four_letter("mntr").lines().filter_map(words).collect()
    }

    /// How many clients are connected, without the connection that asks.
    ///
    /// # Panics
    ///
    /// When the server does not answer.
    pub fn clients(&self) -> usize {
        let mntr = self.mntr();
        let all = mntr
            .get("zk_num_alive_connections")
            .and_then(|count| count.parse::<usize>().ok());
        all.expect("mntr says zk_num_alive_connections")
            .saturating_sub(1)
    }

    /// `standalone`, `leader`, `follower`, or nothing while the server serves no clients.
    pub fn mode(&self) -> Option<String> {
        let answer = self.four_letter("srvr");
        answer
            .lines()
            .find_map(|line| line.strip_prefix("Mode: "))
            .map(str::to_owned)
    }

    /// Starts the process and does not wait for it.
    pub(super) fn run(&mut self) -> io::Result<()> {
        self.run = Some(Run::start(&self.directory, &self.options)?);
        Ok(())
    }

    /// Waits until the server serves clients.
    pub(super) fn wait_until_serving(&mut self) -> io::Result<()> {
        self.wait_for("serves", |server| {
            server.is_this_one() && server.mode().is_some()
        })
    }

    /// Waits until the server answers at all; one without a quorum does.
    pub(super) fn wait_until_up(&mut self) -> io::Result<()> {
        self.wait_for("answers", |server| server.four_letter("ruok") == "imok")
    }

    fn wait_for(&mut self, what: &str, holds: impl Fn(&Self) -> bool) -> io::Result<()> {
        let mut ended = false;
        let came = poll(PATIENCE, || {
            ended = self.run.as_mut().is_none_or(Run::has_ended);
            ended || holds(self)
        });
        if came && !ended {
            return Ok(());
        }
        let log = self.log();
        let taken =
            ended && (log.contains("BindException") || log.contains("Address already in use"));
        let kind = if taken {
            io::ErrorKind::AddrInUse
        } else {
            io::ErrorKind::Other
        };
        let how = if ended {
            "ended before it"
        } else {
            "is not so far in a minute that it"
        };
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(20)..].join("\n");
        Err(io::Error::new(
            kind,
            format!(
                "the ZooKeeper server at {} {how} {what}; its log ends:\n{tail}",
                self.address()
            ),
        ))
    }

    /// Is it this server that answers, rather than another that took the port while this one still starts?
    fn is_this_one(&self) -> bool {
        let own = format!("dataDir={}", self.data_dir().display());
        self.four_letter("conf")
            .lines()
            .any(|line| line.starts_with(&own))
    }

    fn running(&self) -> &Run {
        self.run
            .as_ref()
            .expect("the server was killed and not restarted")
    }

    fn ask(&self, command: &str) -> io::Result<String> {
        let limit = Duration::from_secs(1);
        let mut stream =
            TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], self.port)), limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(command.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // Left over in the temporary folder at worst.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A new directory among the temporary ones.
fn new_directory() -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory = env::temp_dir().join(format!("fulmar-zookeeper-{}-{count}", process::id()));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            // Left by an earlier process of the same id.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
