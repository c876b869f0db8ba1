//! Seeded worlds as cases of proptest: a seed draws a plan, and what fails is simplified as [`Plan::simpler`] says, so that
//! graph, data and faults shrink together.

use std::fmt;
use std::path::PathBuf;

use fulmar::testing::{Bug, Plan, Shrinking};
use proptest::arbitrary::any;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

/// A world to run: a seed's plan, or a simpler one that came of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Case {
    /// What the first plan was drawn from.
    pub seed: u64,
    /// What is run.
    pub plan: Plan,
}

impl Case {
    /// The file that [`Case::keep`] writes.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        std::env::temp_dir().join(format!("fulmar-world-{}.ron", self.seed))
    }

    /// Writes the plan where the commands that this case prints look for it.
    pub fn keep(&self) {
        std::fs::write(self.file(), format!("{}\n", self.plan)).unwrap();
    }
}

/// The seed, the plan as it can be edited, and the commands that replay both.
impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { seed, plan } = self;
        writeln!(f, "seed {seed}, of which this is left:\n{plan}")?;
        writeln!(
            f,
            "replay it:  ./fulmar sim --plan {} --trace",
            self.file().display()
        )?;
        write!(f, "as drawn:   ./fulmar sim --seed {seed} --trace")
    }
}

/// Worlds of any seed, with a deliberate bug if one is named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worlds {
    /// The rule that the world breaks.
    pub bug: Option<Bug>,
}

impl Strategy for Worlds {
    type Tree = Tree;
    type Value = Case;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        // Short enough to be typed.
        let seed = u64::from(any::<u32>().new_tree(runner)?.current());
        let plan = Plan::of(seed);
        let plan = self.bug.map_or(plan.clone(), |bug| plan.with_bug(bug));
        Ok(Tree {
            seed,
            search: Shrinking::new(plan),
            tries: false,
        })
    }
}

/// A search for a simpler plan, led by proptest.
#[derive(Debug)]
pub struct Tree {
    seed: u64,
    search: Shrinking,
    /// Whether the current plan is the search's candidate, or the best so far.
    tries: bool,
}

impl Tree {
    fn go_on(&mut self) -> bool {
        self.tries = self.search.candidate().is_some();
        self.tries
    }
}

impl ValueTree for Tree {
    type Value = Case;

    fn current(&self) -> Case {
        let candidate = self.search.candidate().filter(|_| self.tries);
        Case {
            seed: self.seed,
            plan: candidate.unwrap_or(self.search.best()).clone(),
        }
    }

    /// The current plan fails: on from there.
    fn simplify(&mut self) -> bool {
        if self.tries {
            self.search.accept();
        }
        self.go_on()
    }

    /// The current plan does not fail: the next of the best plan's.
    fn complicate(&mut self) -> bool {
        if self.tries {
            self.search.refuse();
        }
        self.go_on()
    }
}
