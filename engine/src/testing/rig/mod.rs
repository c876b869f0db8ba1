//! A test's spouts and sinks: what a topology is given in a test instead of those that it has in production.

mod shelf;
mod well;

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex};

pub use shelf::RigSink;
pub(super) use shelf::{DeadSink, Shelf};
pub(super) use well::{AnyWell, Tap};
pub use well::{RigReader, RigSpout};
use well::{Well, lock};

use super::look::Look;
use super::trial::Trial;
use crate::data::ExchangeData;
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::graph::Role;
use crate::stream::Topology;

/// Makes the spouts and sinks of a topology under test: [`Rig::trial`] then runs it, batch by batch.
///
/// ```
/// use fulmar::aggregate::Count;
/// use fulmar::sink::Sink;
/// use fulmar::spout::Spout;
/// use fulmar::testing::Rig;
/// use fulmar::{StateHandle, Topology};
///
/// // Production calls this with the spout and the sink that it has.
/// fn words(words: impl Spout<Record = String>, news: impl Sink<(String, u64)>) -> (Topology, StateHandle<String, u64>) {
///     let topology = Topology::new("words");
///     let counts = topology
///         .spout("words", words)
///         .group_by(|word| word.clone())
///         .persistent_aggregate("counts", Count);
///     counts.new_values().sink("news", news);
///     (topology, counts)
/// }
///
/// let rig = Rig::new();
/// let (topology, counts) = words(rig.spout(), rig.sink());
/// let mut trial = rig.trial(topology)?;
/// trial.feed("words", ["to", "be", "to"].map(String::from));
/// trial.advance();
/// assert_eq!(trial.get(&counts, &"to".into()), Some(2));
/// # Ok::<(), fulmar::Error>(())
/// ```
#[derive(Default)]
pub struct Rig {
    stand: Stand,
    /// Spouts made by now.
    made: Cell<usize>,
}

/// What a closure makes on a rig: a topology, alone or with handles to its states.
pub trait Rigged: 'static {
    /// What is kept of it beside the topology.
    type Handles: 'static;

    /// Parts the two.
    fn into_parts(self) -> (Topology, Self::Handles);
}

impl Rigged for Topology {
    type Handles = ();

    fn into_parts(self) -> (Topology, ()) {
        (self, ())
    }
}

impl<H: 'static> Rigged for (Topology, H) {
    type Handles = H;

    fn into_parts(self) -> (Topology, H) {
        self
    }
}

/// What a rig's spouts and sinks share with the test.
#[derive(Clone, Default)]
pub(super) struct Stand {
    wells: Arc<Mutex<Vec<Stock>>>,
    pub(super) shelf: Shelf,
    /// The topology was made before: no other spouts than then are to be there.
    known: bool,
    mistakes: Arc<Mutex<Vec<String>>>,
}

/// A spout's records, and what the world does to it.
#[derive(Clone)]
pub(super) struct Stock {
    pub(super) well: Arc<dyn AnyWell>,
    pub(super) tap: Arc<Mutex<Tap>>,
}

impl Stock {
    pub(super) fn tap<T>(&self, turn: impl FnOnce(&mut Tap) -> T) -> T {
        turn(&mut lock(&self.tap))
    }
}

impl Rig {
    /// A rig for one topology.
    #[must_use]
    pub fn new() -> Self {
        Rig::default()
    }

    pub(super) fn on(stand: Stand) -> Self {
        let made = Cell::new(0);
        Rig { stand, made }
    }

    pub(super) fn stand(&self) -> Stand {
        self.stand.clone()
    }

    /// A spout that yields what the test gives it: before ([`RigSpout::records`]) or by and by ([`Trial::feed`]).
    pub fn spout<T: ExchangeData>(&self) -> RigSpout<T> {
        let index = self.made.replace(self.made.get() + 1);
        let mut stocks = lock(&self.stand.wells);
        if let Some(stock) = stocks.get(index) {
            let well: Arc<dyn Any + Send + Sync> = stock.well.clone();
            if let Ok(well) = well.downcast::<Well<T>>() {
                let tap = stock.tap.clone();
                let first = false;
                return RigSpout { well, tap, first };
            }
        }
        if self.stand.known {
            let what = format!(
                "spout {} of the rig was not there, or of another type, when the topology was made before: make the same one each time",
                index + 1
            );
            lock(&self.stand.mistakes).push(what);
        }
        let (well, tap) = (Arc::new(Well::new()), Arc::default());
        let stock = Stock {
            well: well.clone(),
            tap: Arc::clone(&tap),
        };
        stocks.push(stock);
        let first = true;
        RigSpout { well, tap, first }
    }

    /// A sink that keeps what it is given, whatever its type, for the test to look at by the name that the topology gives it
    /// ([`Trial::published`]).
    pub fn sink(&self) -> RigSink {
        RigSink(self.stand.shelf.clone())
    }

    /// Makes a topology whose spouts and sinks are the rig's ready to run: without threads, disks or faults, under virtual time.
    pub fn trial(&self, topology: Topology) -> Result<Trial> {
        let plan = topology.build()?;
        Trial::new(&self.stand, plan, 1)
    }
}

impl fmt::Debug for Rig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rig({} spouts)", self.made.get())
    }
}

/// A topology as a test knows it.
#[derive(Clone)]
pub(super) struct Props {
    pub(super) topology: String,
    /// In the order of the plan, with their names there.
    pub(super) spouts: Vec<(String, Stock)>,
    /// Names and how they are read.
    pub(super) states: Vec<(String, Look)>,
    /// Names and types.
    pub(super) sinks: Vec<(String, &'static str)>,
}

impl Stand {
    /// The same records for another run: nothing read, nothing taken.
    pub(super) fn again(&self) -> Stand {
        let again = |stock: &Stock| Stock {
            well: stock.well.clone(),
            tap: Arc::default(),
        };
        let wells = lock(&self.wells).iter().map(again).collect();
        Stand {
            wells: Arc::new(Mutex::new(wells)),
            shelf: Shelf::default(),
            known: true,
            mistakes: Arc::default(),
        }
    }

    /// What a plan uses of this rig; all its spouts and sinks must be the rig's.
    pub(super) fn props(&self, plan: &Plan) -> Result<Props> {
        let mut mistakes = std::mem::take(&mut *lock(&self.mistakes));
        let stocks = lock(&self.wells);
        let mut spouts = Vec::new();
        for spout in &plan.graph.spouts {
            let own = stocks
                .iter()
                .find(|stock| stock.well.feeds(spout.spout.as_any()));
            match own {
                Some(stock) => spouts.push((spout.name.clone(), stock.clone())),
                None => mistakes.push(format!(
                    "spout {:?} is not one of this test: give the topology one that its rig makes (Rig::spout)",
                    spout.name
                )),
            }
        }
        for sink in &plan.graph.sinks {
            if !sink.sink.as_any().is::<RigSink>() {
                mistakes.push(format!(
                    "sink {:?} is not one of this test: give the topology one that its rig makes (Rig::sink)",
                    sink.name
                ));
            }
        }
        if !mistakes.is_empty() {
            let name = plan.name.clone();
            return Err(Error::InvalidTopology { name, mistakes });
        }
        let states = plan.graph.states.iter();
        let states = states.map(|state| (state.family.schema().name.clone(), state.look));
        let sinks = plan.graph.nodes.iter();
        let sinks = sinks.filter(|node| node.role == Role::Sink);
        Ok(Props {
            topology: plan.name.clone(),
            spouts,
            states: states.collect(),
            sinks: sinks
                .filter_map(|node| Some((node.name.clone()?, node.output)))
                .collect(),
        })
    }
}

impl Props {
    pub(super) fn feed<T: ExchangeData>(
        &self,
        spout: &str,
        records: impl IntoIterator<Item = T>,
    ) -> std::result::Result<(), String> {
        let found = self.spouts.iter().find(|(name, _)| name == spout);
        let Some((_, stock)) = found else {
            let names: Vec<&str> = self.spouts.iter().map(|(name, _)| name.as_str()).collect();
            return Err(format!(
                "topology {:?} has no spout {spout:?}; it has {names:?}",
                self.topology
            ));
        };
        let well: Arc<dyn Any + Send + Sync> = stock.well.clone();
        let Ok(well) = well.downcast::<Well<T>>() else {
            return Err(format!(
                "spout {spout:?} yields records of type {}, not {}",
                stock.well.record_type(),
                std::any::type_name::<T>()
            ));
        };
        well.add(records);
        Ok(())
    }
}
