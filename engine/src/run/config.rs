//! Settings of a run. None of them changes what the state means, so they may differ from run to run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fulmar_coordinator::{BatchReport, Failure, Limits, OnPoison};
use fulmar_state::{DeadLetter, Durability};

use crate::error::{Error, Result};
use crate::sink::Sink;

pub(super) type OnBatch = Arc<dyn Fn(&BatchReport) + Send + Sync>;
pub(super) type OnFailure = Arc<dyn Fn(&Failure) + Send + Sync>;

/// How a topology is run: where its state lives, how large batches are, how much memory and how many threads it takes.
///
/// ```no_run
/// use fulmar::Config;
///
/// let config = Config::at("state").batch_records(50_000).executors(8).memory(2 << 30);
/// ```
pub struct Config {
    pub(super) dir: Option<PathBuf>,
    pub(super) executors: Option<u16>,
    pub(super) max_pending: usize,
    pub(super) limits: Limits,
    pub(super) memory: usize,
    pub(super) durability: Durability,
    pub(super) max_attempts: u32,
    pub(super) timeout: Duration,
    pub(super) on_poison: OnPoison,
    pub(super) dead_letters: Option<Box<dyn Sink<DeadLetter>>>,
    pub(super) on_batch: Option<OnBatch>,
    pub(super) on_failure: Option<OnFailure>,
    #[cfg(feature = "zookeeper")]
    pub(super) zookeeper: Option<super::standby::ZooKeeper>,
    #[cfg(feature = "zookeeper")]
    pub(super) on_standing: Option<super::standby::OnStanding>,
    #[cfg(feature = "zookeeper")]
    pub(super) on_log: Option<super::standby::OnLog>,
}

impl Config {
    fn new(dir: Option<PathBuf>) -> Self {
        Config {
            dir,
            executors: None,
            max_pending: 4,
            limits: Limits::default(),
            memory: 512 << 20,
            durability: Durability::Fsync,
            max_attempts: 3,
            timeout: Duration::from_secs(30),
            on_poison: OnPoison::Halt,
            dead_letters: None,
            on_batch: None,
            on_failure: None,
            #[cfg(feature = "zookeeper")]
            zookeeper: None,
            #[cfg(feature = "zookeeper")]
            on_standing: None,
            #[cfg(feature = "zookeeper")]
            on_log: None,
        }
    }

    /// State and ledger live in this directory, which is made if need be. Run again on it, the topology goes on.
    pub fn at(dir: impl AsRef<Path>) -> Self {
        Config::new(Some(dir.as_ref().to_path_buf()))
    }

    /// State and ledger live in memory and end with the run: for tests.
    pub fn in_memory() -> Self {
        Config::new(None)
    }

    /// How many threads process records; as many as there are processors unless told.
    #[must_use]
    pub fn executors(mut self, executors: u16) -> Self {
        self.executors = Some(executors);
        self
    }

    /// How many batches may be in flight; 4 unless told.
    #[must_use]
    pub fn max_pending(mut self, batches: usize) -> Self {
        self.max_pending = batches;
        self
    }

    /// How many records of one spout, over all its partitions, a batch holds at most; 10,000 unless told.
    #[must_use]
    pub fn batch_records(mut self, records: u64) -> Self {
        self.limits.records = records;
        self
    }

    /// After how many bytes of one spout a batch ends; 16 MiB unless told.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: u64) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// A batch ends at the latest after so long, however few records it has; 1 s unless told.
    #[must_use]
    pub fn batch_time(mut self, time: Duration) -> Self {
        self.limits.time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
        self
    }

    /// About how many bytes the state may keep in memory, overlays and caches together; 512 MiB unless told, 16 MiB at least.
    #[must_use]
    pub fn memory(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    /// What a sealed batch survives; a power loss unless told.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// How often a batch may fail before it is tried record by record; 3 unless told.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// After so long without any progress an attempt has failed; 30 s unless told.
    /// Waiting for a batch to fill, which [`Config::batch_time`] bounds, comes on top.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A record that fails its batch every time becomes a dead letter, exactly once, instead of halting the topology.
    #[must_use]
    pub fn dead_letters(mut self, sink: impl Sink<DeadLetter>) -> Self {
        self.on_poison = OnPoison::DeadLetter;
        self.dead_letters = Some(Box::new(sink));
        self
    }

    /// Calls a function for each sealed batch, in order. It runs on the coordinator's thread: it must be quick.
    #[must_use]
    pub fn on_batch(mut self, tell: impl Fn(&BatchReport) + Send + Sync + 'static) -> Self {
        self.on_batch = Some(Arc::new(tell));
        self
    }

    /// Calls a function for each failed attempt, with its cause. Failures are logged in any case.
    #[must_use]
    pub fn on_failure(mut self, tell: impl Fn(&Failure) + Send + Sync + 'static) -> Self {
        self.on_failure = Some(Arc::new(tell));
        self
    }

    /// The ledger is kept in ZooKeeper, and only the process that leads there runs the topology: [`crate::Plan::start`] waits until
    /// this one does. All processes of a topology share the directory; whoever takes over waits until the one before has let go of it.
    ///
    /// A run ends with an error of [`Error::is_lost_leadership`] when leadership is lost; start the topology again then, to stand by.
    ///
    /// ```no_run
    /// use fulmar::coordinator::zookeeper::ZooKeeperConfig;
    /// use fulmar::{Config, Plan, ZooKeeper};
    ///
    /// # fn build() -> fulmar::Result<Plan> { fulmar::Topology::new("counts").build() }
    /// # async fn run() -> fulmar::Result<()> {
    /// let zookeeper = ZooKeeper::connect(ZooKeeperConfig::parse("127.0.0.1:2181/app")?).await?;
    /// loop {
    ///     let config = Config::at("/shared/state").zookeeper(&zookeeper);
    ///     let ended = match build()?.start(config).await {
    ///         Ok(running) => running.drained().await,
    ///         Err(error) => Err(error),
    ///     };
    ///     match ended {
    ///         Err(error) if error.is_lost_leadership() => eprintln!("{error}"),
    ///         ended => return ended,
    ///     }
    /// }
    /// # }
    /// ```
    #[cfg(feature = "zookeeper")]
    #[must_use]
    pub fn zookeeper(mut self, zookeeper: &super::standby::ZooKeeper) -> Self {
        self.zookeeper = Some(zookeeper.clone());
        self
    }

    /// Calls a function whenever it changes what this process is to the topology: waiting, leading, and why. Without one it is logged.
    #[cfg(feature = "zookeeper")]
    #[must_use]
    pub fn on_standing(
        mut self,
        tell: impl Fn(&super::standby::Standing) + Send + Sync + 'static,
    ) -> Self {
        self.on_standing = Some(Arc::new(tell));
        self
    }

    /// Takes the live setting `log`: `None` means the program's own. An `Err` refuses the whole change, with this message.
    #[cfg(feature = "zookeeper")]
    #[must_use]
    pub fn on_log(
        mut self,
        set: impl Fn(Option<&str>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.on_log = Some(Arc::new(set));
        self
    }

    pub(super) fn check(&self) -> Result<u16> {
        let processors =
            std::thread::available_parallelism().map_or(1, |count| count.get().min(256) as u16);
        let executors = self.executors.unwrap_or(processors);
        if executors == 0 || executors > 1024 {
            return Err(Error::config(format!(
                "{executors} executors: give 1 to 1024"
            )));
        }
        if self.memory < 16 << 20 {
            return Err(Error::config(format!(
                "{} bytes of memory: give 16 MiB at least",
                self.memory
            )));
        }
        if self.timeout < Duration::from_millis(1) {
            return Err(Error::config("a timeout of 0: give 1 ms at least"));
        }
        Ok(executors)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("dir", &self.dir)
            .field("executors", &self.executors)
            .field("max_pending", &self.max_pending)
            .field("limits", &self.limits)
            .field("memory", &self.memory)
            .field("durability", &self.durability)
            .finish_non_exhaustive()
    }
}
