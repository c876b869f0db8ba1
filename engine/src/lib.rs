//! Exactly-once stream processing in micro-batches, in the manner of Storm's Trident.
//!
//! A [`Topology`] is written with typed verbs, checked by [`Topology::build`], and run by [`Plan::start`]. What it keeps
//! in its states, what it publishes to sinks, and how far its spouts were read is sealed together, batch by
//! batch, by one write: a crash at any moment changes no result.
//!
//! ```
//! use fulmar::aggregate::Count;
//! use fulmar::spout::Collection;
//! use fulmar::{Config, Line, Topology, Word};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), fulmar::Error> {
//! let topology = Topology::new("wordcount");
//! let counts = topology
//!     .spout("lines", Collection::of(["to be or", "not to be"].map(Line::from)))
//!     .each(|line: Line, out| line.words().for_each(|word| out.emit(word)))
//!     .group_by(|word: &Word| word.clone())
//!     .persistent_aggregate("counts", Count);
//!
//! let running = topology.build()?.start(Config::in_memory()).await?;
//! running.drained().await?;
//! assert_eq!(running.get(&counts, &Word::from("be")).await?, Some(2));
//! running.stop().await
//! # }
//! ```

mod error;

// In the order in which data travels.
pub mod aggregate;
mod chunk;
mod data;
mod executor;
mod message;
mod operator;
mod plan;
mod publisher;
mod record;
mod recorder;
mod run;
pub mod sink;
mod source;
pub mod spout;
mod stream;
#[cfg(feature = "testing")]
pub mod testing;
mod worker;

pub use data::{Data, ExchangeData, Key};
pub use error::{Error, Result};
pub use operator::{BatchInfo, Emitter};
pub use plan::Plan;
pub use record::{Line, Word};
pub use run::{
    BatchReport, Config, Durability, Failure, Home, OnPoison, Phases, Progress, Resumed, Running,
    StateView,
};
#[cfg(feature = "zookeeper")]
pub use run::{Standing, ZooKeeper};
pub use stream::{GroupedStream, StateHandle, StateSpec, Stream, Topology};

pub use fulmar_coordinator as coordinator;
pub use fulmar_state as state;
