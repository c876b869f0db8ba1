//! Runs a plan: threads and channels around the cores, a tokio task around the coordinator, and the handle to it all.

mod config;
mod driver;
mod handle;
#[cfg(feature = "zookeeper")]
mod live;
mod mailbox;
mod open;
#[cfg(feature = "zookeeper")]
mod standby;
mod threads;

pub use config::Config;
pub use handle::{Progress, Resumed, Running, StateView};
pub use open::Home;
#[cfg(feature = "zookeeper")]
pub use standby::{Standing, ZooKeeper};

pub use fulmar_coordinator::{BatchReport, Failure, OnPoison, Phases};
pub use fulmar_state::Durability;

use fulmar_state::StateFamily;

use crate::error::Result;
use crate::plan::Plan;

impl Plan {
    /// Runs the topology; answers when it has taken up what was sealed before and begins to read.
    ///
    /// Everything that can be wrong with the directory is told here: another topology, damage, another process.
    ///
    /// ```
    /// use fulmar::aggregate::Count;
    /// use fulmar::spout::Collection;
    /// use fulmar::{Config, Topology};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), fulmar::Error> {
    /// let topology = Topology::new("words");
    /// let counts = topology
    ///     .spout("words", Collection::of(["a", "b", "a"].map(String::from)))
    ///     .group_by(|word| word.clone())
    ///     .persistent_aggregate("counts", Count);
    ///
    /// let running = topology.build()?.start(Config::in_memory()).await?;
    /// running.drained().await?;
    /// assert_eq!(running.get(&counts, &"a".to_string()).await?, Some(2));
    /// running.stop().await
    /// # }
    /// ```
    pub async fn start(self, config: Config) -> Result<Running> {
        open::start(self, config).await
    }

    /// Runs the topology on a ledger and a storage of your own, which the configuration's directory then has no part in.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fulmar::coordinator::MemoryLedger;
    /// use fulmar::state::MemoryStorage;
    /// use fulmar::{Config, Home, Topology, aggregate::Count, spout::Collection};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), fulmar::Error> {
    /// let topology = Topology::new("numbers");
    /// topology.spout("numbers", Collection::of([1u64, 2])).group_by(|n| *n).persistent_aggregate("counts", Count);
    /// let plan = topology.build()?;
    /// let storage = Arc::new(MemoryStorage::new(&plan.states()));
    /// let home = Home { ledger: Box::new(MemoryLedger::new()), storage };
    /// let running = plan.start_on(home, Config::in_memory()).await?;
    /// running.drained().await?;
    /// running.stop().await
    /// # }
    /// ```
    pub async fn start_on(self, home: Home, config: Config) -> Result<Running> {
        open::start_on(self, home, config).await
    }

    /// The states with their schemas, as a storage is opened with.
    pub fn states(&self) -> Vec<StateFamily> {
        self.graph
            .states
            .iter()
            .map(|state| state.family.clone())
            .collect()
    }
}
