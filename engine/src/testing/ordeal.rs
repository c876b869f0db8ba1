//! A user's topology through seeded worlds, as one line of a test.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use fulmar_state::{DeadLetter, TxId};

use super::draw;
use super::plan::{Plan, Promise, SpoutPlan};
use super::quiet::quietly;
use super::rehearsal::{End, Make, Rehearsal, difference, tables, unequal};
use super::report::{Figures, Violation};
use super::rig::{Rig, Rigged, Stand};
use super::trial::Trial;
use super::world::World;

/// So many worlds, unless told: without optimisation each takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 100 } else { 500 };

/// Into so many batches the fault-free runs cut the input.
const CUTS: usize = 8;

/// So many messages a batch of a small topology takes, with two executors.
const BATCH: u64 = 30;

/// Runs a topology through some hundreds of seeded worlds in which nearly everything goes wrong, and holds each to what comes of the
/// same batches without faults. This is [`Ordeal::of`] with nothing added.
///
/// ```
/// use fulmar::aggregate::Count;
/// use fulmar::{Topology, testing};
///
/// testing::survives(|rig| {
///     let topology = Topology::new("words");
///     let words = rig.spout().records(["to", "be", "or", "not", "to", "be"].map(String::from));
///     topology
///         .spout("words", words)
///         .group_by(|word: &String| word.clone())
///         .persistent_aggregate("counts", Count)
///         .new_values()
///         .sink("news", rig.sink());
///     topology
/// });
/// ```
///
/// # Panics
///
/// If the topology does not survive: with the seed, the rule that was broken, what had gone wrong, and how to repeat it.
#[track_caller]
pub fn survives<R: Rigged>(make: impl Fn(&Rig) -> R + 'static) -> Figures {
    Ordeal::of(make).run()
}

/// A topology, and the worlds that it has to go through.
///
/// The closure makes the topology on a [`Rig`], together with its input; it is called for every process of every world that starts,
/// and must make the same each time. It may answer the topology alone, or with handles to its states for [`Ordeal::then`].
///
/// ```
/// use fulmar::aggregate::Sum;
/// use fulmar::testing::Ordeal;
/// use fulmar::Topology;
///
/// let figures = Ordeal::of(|rig| {
///     let topology = Topology::new("sums");
///     let sums = topology
///         .spout("numbers", rig.spout().records(0..40u64).partitions(2))
///         .group_by(|number| number % 3)
///         .persistent_aggregate("sums", Sum::by(|number: &u64| *number));
///     (topology, sums)
/// })
/// .seeds(0..20)
/// .then(|end, sums| assert_eq!(end.get(sums, &0), Some((0..40).step_by(3).sum())))
/// .run();
/// assert_eq!(figures.worlds, 20);
/// ```
pub struct Ordeal<R: Rigged> {
    make: Make<R>,
    seeds: Range<u64>,
    then: Option<Then<R>>,
}

type Then<R> = Box<dyn Fn(&mut Trial, &<R as Rigged>::Handles)>;

impl<R: Rigged> Ordeal<R> {
    /// The topology that the closure makes.
    pub fn of(make: impl Fn(&Rig) -> R + 'static) -> Self {
        Ordeal {
            make: Rc::new(make),
            seeds: 0..SEEDS,
            then: None,
        }
    }

    /// The worlds that it goes through: 500 unless told, 100 in a build without optimisation. `FULMAR_SEEDS=A..B` in the environment
    /// overrules it, and `FULMAR_SEED=S` runs that one alone, told step by step.
    #[must_use]
    pub fn seeds(mut self, seeds: Range<u64>) -> Self {
        self.seeds = seeds;
        self
    }

    /// Looks at the end of each world: at states, at what was published, at dead letters.
    #[must_use]
    pub fn then(mut self, look: impl Fn(&mut Trial, &R::Handles) + 'static) -> Self {
        self.then = Some(Box::new(look));
        self
    }

    /// Runs the worlds.
    ///
    /// # Panics
    ///
    /// If a world ends wrongly, or the topology cannot be run in one; the message says which and why.
    #[track_caller]
    pub fn run(self) -> Figures {
        let asked = Asked::of_environment(self.seeds.clone());
        let outcome = asked.and_then(|asked| self.go_through(&asked));
        match outcome {
            Ok(figures) => figures,
            Err(what) => panic!("{what}"),
        }
    }

    fn go_through(&self, asked: &Asked) -> Result<Figures, String> {
        if asked.seeds.is_empty() {
            return Err(format!("there is no seed in {:?}", asked.seeds));
        }
        let known = self.without_faults()?;
        let mut figures = Figures::default();
        for seed in asked.seeds.clone() {
            let plan = draw::around(seed, known.spouts.clone(), known.weight);
            let (of_world, violation) = self.world(&plan, &known, None)?;
            figures.add(&of_world);
            let few = violation.map(|violation| {
                // What there is to say was said the first time.
                quietly(|| self.with_few_faults(&plan, violation, &known))
            });
            let few = few.transpose()?;
            if asked.told {
                let plan = few.as_ref().map_or(&plan, |(plan, _)| plan);
                eprintln!("{}", Told(plan, u32::MAX));
                self.world(plan, &known, Some(Box::new(|line| eprintln!("{line}"))))?;
            }
            if let Some((few, violation)) = few {
                return Err(verdict(&few, &violation, plan.faults.len()));
            }
        }
        Ok(figures)
    }

    /// Runs one world, and looks at its end.
    fn world(
        &self,
        plan: &Plan,
        known: &Known,
        tell: Option<Box<dyn FnMut(String)>>,
    ) -> Result<(Figures, Option<Violation>), String> {
        let end: End<R> = Rc::new(RefCell::new(None));
        let scene = Rehearsal::new(plan, self.make.clone(), &known.stand, end.clone())?;
        let scene = scene.of_weight(known.weight);
        let run = || World::run_scene(plan, Box::new(scene), tell);
        let report = quietly(run);
        let mut violation = report.violation;
        if let (None, Some((trial, handles)), Some(then)) =
            (&violation, &mut *end.borrow_mut(), &self.then)
        {
            let look = catch_unwind(AssertUnwindSafe(|| then(trial, handles)));
            violation = look.err().map(|panic| Violation {
                step: u32::try_from(report.figures.steps).unwrap_or(u32::MAX),
                what: message_of(panic.as_ref()),
            });
        }
        Ok((report.figures, violation))
    }

    /// Leaves faults out of a plan as long as its world still ends wrongly: the fewer there are, the plainer is the cause.
    fn with_few_faults(
        &self,
        plan: &Plan,
        violation: Violation,
        known: &Known,
    ) -> Result<(Plan, Violation), String> {
        let (mut few, mut violation) = (plan.clone(), violation);
        let mut run = few.faults.len();
        while run > 0 {
            let mut at = 0;
            while at < few.faults.len() {
                let mut fewer = few.clone();
                fewer.faults.drain(at..few.faults.len().min(at + run));
                match self.world(&fewer, known, None)?.1 {
                    Some(found) => (few, violation) = (fewer, found),
                    None => at += run,
                }
            }
            run /= 2;
        }
        Ok((few, violation))
    }

    /// Runs the topology twice without faults; both must come to the same.
    fn without_faults(&self) -> Result<Known, String> {
        let (mut one, mut two) = (self.calm_run()?, self.calm_run()?);
        if one.1.input != two.1.input {
            return Err("the topology is made with another input each time: give its spouts the same records, without chance or time".into());
        }
        let name = one.0.props().topology.clone();
        let wrong = |what: String| {
            Err(format!(
                "topology {name:?} is not deterministic: {what} differs between two runs without faults"
            ))
        };
        let states = one.0.props().states.clone();
        let (found, due) = (tables(&mut one.0), tables(&mut two.0));
        for ((state, look), (found, due)) in states.iter().zip(found.iter().zip(&due)) {
            if let Some((key, ..)) = unequal(found, due) {
                return wrong(format!("state {state:?}, key {},", (look.key)(key)));
            }
        }
        let (found, mut due) = (one.0.shelf().batches(), two.0.shelf().batches());
        for ((sink, txid), records) in found {
            let other = due.remove(&(sink.clone(), txid)).unwrap_or_default();
            if difference(other, records).is_some() {
                return wrong(format!("what batch {txid} publishes to sink {sink:?}"));
            }
        }
        if let Some(((sink, txid), _)) = due.pop_first() {
            return wrong(format!("what batch {txid} publishes to sink {sink:?}"));
        }
        if letters(&one.0) != letters(&two.0) {
            return wrong("which records fail".into());
        }
        Ok(one.1)
    }

    fn calm_run(&self) -> Result<(Trial, Known), String> {
        let rig = Rig::new();
        let stand = rig.stand();
        let made = quietly(|| catch_unwind(AssertUnwindSafe(|| (self.make)(&rig))));
        let made = made.map_err(|panic| {
            format!(
                "the closure that makes the topology panicked: {}",
                message_of(panic.as_ref())
            )
        })?;
        let plan = made
            .into_parts()
            .0
            .build()
            .map_err(|error| error.to_string())?;
        let trial = Trial::new(&stand, plan, 2);
        let mut trial = trial.map_err(|error| error.to_string())?;
        let props = trial.props().clone();
        let lengths = props.spouts.iter().map(|(_, stock)| stock.well.lengths());
        let lengths: Vec<Vec<usize>> = lengths.collect();
        if lengths.iter().flatten().all(|length| *length == 0) {
            return Err(format!(
                "topology {:?} has nothing to read: give its spouts records (RigSpout::records)",
                props.topology
            ));
        }
        for cut in 1..=CUTS {
            for ((_, stock), lengths) in props.spouts.iter().zip(&lengths) {
                let released = lengths.iter().map(|length| length * cut / CUTS).collect();
                stock.tap(|tap| tap.released = Some(released));
            }
            quietly(|| trial.try_advance())
                .map_err(|error| format!("without any fault, {error}"))?;
        }
        let spout =
            |((_, stock), lengths): (&(String, super::rig::Stock), &Vec<usize>)| SpoutPlan {
                promise: match stock.tap(|tap| tap.opaque) {
                    true => Promise::Any,
                    false => Promise::Identical,
                },
                partitions: lengths.iter().map(|length| vec![0; *length]).collect(),
                trickles: false,
            };
        let spouts = props.spouts.iter().zip(&lengths).map(spout).collect();
        let input = props
            .spouts
            .iter()
            .zip(&lengths)
            .map(|((_, stock), lengths)| {
                let all = lengths.iter().enumerate();
                all.map(|(at, length)| stock.well.encoded(at, 0..*length))
                    .collect()
            });
        let a_batch = trial.calm().delivered / CUTS as u64;
        let weight = (a_batch / BATCH).clamp(1, 100);
        let known = Known {
            stand,
            spouts,
            weight: weight as u32,
            input: input.collect(),
        };
        Ok((trial, known))
    }
}

impl<R: Rigged> fmt::Debug for Ordeal<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ordeal({:?})", self.seeds)
    }
}

/// What is known of a topology after a run without faults.
struct Known {
    stand: Stand,
    spouts: Vec<SpoutPlan>,
    /// How many times as large its batches are as those of the world's own topologies, in messages.
    weight: u32,
    /// By spout and partition.
    input: Vec<Vec<Vec<Vec<u8>>>>,
}

fn letters(trial: &Trial) -> Vec<(TxId, DeadLetter)> {
    trial.dead_letters()
}

/// What was asked for.
struct Asked {
    seeds: Range<u64>,
    told: bool,
}

impl Asked {
    fn of_environment(seeds: Range<u64>) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        if let Ok(text) = std::env::var("FULMAR_SEED") {
            let seed = number(&text).ok_or(format!("FULMAR_SEED={text} is not a number"))?;
            let (seeds, told) = (seed..seed + 1, true);
            return Ok(Asked { seeds, told });
        }
        let told = false;
        let Ok(text) = std::env::var("FULMAR_SEEDS") else {
            return Ok(Asked { seeds, told });
        };
        let ends = text.split_once("..");
        let ends = ends.and_then(|(from, to)| number(from).zip(number(to)));
        let (from, to) = ends.ok_or(format!("FULMAR_SEEDS={text} is not A..B, two numbers"))?;
        Ok(Asked {
            seeds: from..to,
            told,
        })
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
    text.unwrap_or_else(|| "a panic without a message".into())
}

/// A plan as far as a user's topology has part in it, up to a step.
struct Told<'a>(&'a Plan, u32);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Told(plan, upto) = self;
        write!(
            f,
            "  workers: {}, executors of each: {}, batches in flight: {}, records a batch and spout: {}",
            plan.workers, plan.executors, plan.max_pending, plan.batch_records
        )?;
        let mut struck = plan.faults.iter().filter(|(step, _)| step <= upto);
        struck.try_for_each(|(step, fault)| write!(f, "\n  step {step}: {fault:?}"))
    }
}

/// What a user is told of a world that ended wrongly, with as few of its faults as do it.
fn verdict(plan: &Plan, violation: &Violation, faults: usize) -> String {
    let Violation { step, what } = violation;
    let thread = std::thread::current();
    let test = thread.name().filter(|name| *name != "main").unwrap_or("");
    let few = match plan.faults.len() {
        0 => "no fault is needed: the order of messages is enough".into(),
        1 => format!("of {faults} faults this one is enough"),
        few => format!("of {faults} faults these {few} are enough"),
    };
    format!(
        "seed {seed}, step {step}: {what}\n{told}\n  ({few})\nrepeat it, told step by step: FULMAR_SEED={seed} cargo test {test} -- --nocapture",
        seed = plan.seed,
        told = Told(plan, *step)
    )
}
