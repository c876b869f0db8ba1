//! A plan as text that a person can read, change, and give back: RON, a node, spout, poison record or fault on a line.

use std::fmt;
use std::str::FromStr;

use ron::ser::PrettyConfig;

use super::plan::Plan;

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It cannot be read.
    #[error("line {line}, column {column} of the plan: {expected}")]
    Text {
        /// Where, from 1.
        line: usize,
        /// Where in the line, from 1.
        column: usize,
        /// What stands there, and what could.
        expected: String,
    },
    /// It can be read, and no world can be made of it.
    #[error("the plan cannot be run: {0}")]
    Impossible(String),
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = PrettyConfig::new()
            .depth_limit(2)
            .new_line("\n")
            .indentor("  ");
        let text = ron::ser::to_string_pretty(self, config).map_err(|_| fmt::Error)?;
        f.write_str(&text)
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Plan, PlanError> {
        let mut plan: Plan = ron::from_str(text).map_err(|error| PlanError::Text {
            line: error.span.start.line,
            column: error.span.start.col,
            expected: error.code.to_string(),
        })?;
        plan.faults.sort_by_key(|(step, _)| *step);
        plan.check()?;
        Ok(plan)
    }
}

impl Plan {
    /// Whether a world can be made of it, as of every plan that was drawn, read or simplified: for plans that a program changed.
    pub fn check(&self) -> Result<(), PlanError> {
        self.mistake()
            .map_or(Ok(()), |mistake| Err(PlanError::Impossible(mistake)))
    }

    fn mistake(&self) -> Option<String> {
        let numbers = [
            ("workers", u64::from(self.workers), 50),
            ("executors", self.executors.into(), 50),
            ("partitions", self.partitions.into(), 1_000),
            ("spouts", self.spouts.len() as u64, 50),
            ("max_pending", self.max_pending as u64, 1_000),
            ("batch_records", self.batch_records, 1_000_000),
            ("max_attempts", self.max_attempts.into(), u32::MAX.into()),
            ("pace_us", self.pace_us, u32::MAX.into()),
        ];
        for (what, found, most) in numbers {
            if !(1..=most).contains(&found) {
                return Some(format!("{what} are {found}, expected 1 to {most}"));
            }
        }
        if let Some(slow) = self.slow.filter(|slow| *slow >= self.tasks()) {
            let tasks = self.tasks();
            return Some(format!(
                "slow is executor {slow}, expected one below {tasks}"
            ));
        }
        for (index, spout) in self.spouts.iter().enumerate() {
            if !(1..=50).contains(&spout.partitions.len()) {
                return Some(format!(
                    "spout {index} has {} partitions, expected 1 to 50, of which any may be empty",
                    spout.partitions.len()
                ));
            }
        }
        for (at, _) in &self.poison {
            let (spout, partition, offset) = *at;
            let spout = self.spouts.get(usize::from(spout));
            let values = spout.and_then(|spout| spout.partitions.get(usize::from(partition)));
            if values.is_none_or(|values| values.len() <= offset as usize) {
                return Some(format!(
                    "poison at {at:?}, where no spout has a record; expected (spout, partition, offset), each from 0"
                ));
            }
        }
        self.graph.check(self.spouts.len()).err()
    }
}
