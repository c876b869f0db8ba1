//! What of the design a deliberate fault stands for.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

/// An invariant, or one of Storm's flaws, by its number in the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// I1 to I7.
    Invariant(u8),
    /// 1 to 14.
    Flaw(u8),
}

impl Rule {
    /// All that there is to break. The eleventh flaw is of windows, of which there are none.
    pub fn all() -> impl Iterator<Item = Rule> {
        let flaws = (1..=14).filter(|flaw| *flaw != 11).map(Rule::Flaw);
        (1..=7).map(Rule::Invariant).chain(flaws)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Invariant(number) => write!(f, "I{number}"),
            Rule::Flaw(number) => write!(f, "flaw {number}"),
        }
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Rule> {
        let wrong = || format!("{text:?} is neither an invariant (I3) nor a flaw (flaw 5)");
        let number = |text: &str| text.parse().with_context(wrong);
        let rule = match (text.strip_prefix('I'), text.strip_prefix("flaw ")) {
            (Some(invariant), _) => Rule::Invariant(number(invariant)?),
            (_, Some(flaw)) => Rule::Flaw(number(flaw)?),
            _ => bail!(wrong()),
        };
        if Rule::all().any(|known| known == rule) {
            Ok(rule)
        } else {
            bail!(wrong())
        }
    }
}
