//! Tests of topologies: run by hand without faults, and run in the seeded world, where nearly everything goes wrong.
//!
//! A [`Rig`] makes the spouts and sinks of a topology of yours; a [`Trial`] runs it batch by batch; [`survives`], or an [`Ordeal`], runs
//! it in hundreds of worlds.
//!
//! The seeded world is the real cores of coordinator, workers, sources and sinks under simulated time, network, disks and ledger. It has
//! topologies of its own, too: one seed stands for one [`Plan`], of a topology, its data, and what goes wrong when. [`World::run`] runs
//! it, step by step in one thread, and compares what is sealed, shown and published with a direct recount, by code that shares nothing
//! with the engine's.
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
//!
//! A plan is its own text, to be changed and read again; [`shrink`] leaves out of a plan that fails whatever does not matter.

mod bug;
mod calm;
mod disk;
mod draw;
mod fault;
mod graph;
mod ledger;
mod links;
mod look;
mod oracle;
mod ordeal;
mod plan;
mod quiet;
mod random;
mod rehearsal;
mod report;
mod rig;
mod scene;
mod shape;
mod shrink;
mod spout;
mod text;
mod trial;
mod world;

pub use bug::Bug;
pub(crate) use look::Look;

pub use fault::{DiskFault, Fate, Fault, Kind, Process};
pub use graph::{Graph, Keeps, Key, Node};
pub use ordeal::{Ordeal, survives};
pub use plan::{Plan, Poison, Promise, SpoutPlan};
pub use report::{Figures, Phase, Report, Struck, Violation};
pub use rig::{Rig, RigReader, RigSink, RigSpout, Rigged};
pub use shrink::{Shrinking, shrink};
pub use text::PlanError;
pub use trial::Trial;
pub use world::World;
