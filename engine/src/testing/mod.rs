//! The seeded world: the real cores of coordinator, workers, sources and sinks under simulated time, network, disks and ledger.
//!
//! One seed stands for one [`Plan`]: a topology, its data, and what goes wrong when. [`World::run`] runs it, step by step in one thread,
//! and compares what is sealed, shown and published with a direct recount, by code that shares nothing with the engine's.
//!
//! ```
//! use fulmar::testing::{Plan, World};
//!
//! let plan = Plan::of(7);
//! println!("{plan}");
//! let report = World::run(&plan);
//! assert_eq!(report.violation, None);
//! assert_eq!(report.digest, World::run(&plan).digest);
//! ```

mod bug;
mod disk;
mod draw;
mod fault;
mod ledger;
mod links;
mod oracle;
mod plan;
mod random;
mod report;
mod shape;
mod spout;
mod world;

pub use bug::Bug;
pub use fault::{DiskFault, Fate, Fault, Kind, Process};
pub use plan::{Plan, Poison, Promise, Shape, SpoutPlan};
pub use report::{Figures, Phase, Report, Struck, Violation};
pub use world::World;
