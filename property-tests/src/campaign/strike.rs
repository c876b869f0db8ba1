//! How one run is killed: from outside at a moment, by its own hand at a named point, or at a system call.

use std::path::Path;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::board::Target;
use super::call::SystemCall;
use crate::mortal::point::{Death, Place, Point};

/// What is to kill a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strike {
    /// Nothing: it is left to come to its end.
    None,
    /// `kill -9`, when the run has sealed so many lines, or so long after its start, and a little later.
    Moment {
        /// In this run.
        lines: u64,
        /// From its start, whatever it has sealed.
        latest: Duration,
        /// After either.
        spare: Duration,
    },
    /// Its own hand.
    Own(Death),
    /// `strace`, at the call of this number.
    Call(SystemCall, u64),
}

/// So long a run that is killed by what it seals may take to seal that.
pub(crate) const LATEST: Duration = Duration::from_secs(5);

impl Strike {
    /// At a moment within about the next so many lines. A quarter of the kills are by the clock alone, which begins with the start: so
    /// they hit starts, too, and recoveries twice in a row. A start takes about so long.
    pub fn moment(step: u64, start: Duration, rng: &mut ChaCha8Rng) -> Strike {
        let by_clock = rng.random_range(0..4) == 0;
        let most = u64::try_from(start.as_micros()).unwrap_or(u64::MAX).max(1);
        Strike::Moment {
            lines: rng.random_range(0..=step),
            latest: match by_clock {
                true => Duration::from_micros(rng.random_range(0..most)),
                false => LATEST,
            },
            spare: Duration::from_micros(rng.random_range(0..3_000)),
        }
    }

    /// At what was aimed at.
    pub fn at(target: Target, rng: &mut ChaCha8Rng) -> Strike {
        match target {
            Target::Point(point) => Strike::Own(Death {
                point,
                call: rng.random_range(1..=most_calls(point)),
                delay_us: delay(point, rng),
            }),
            Target::Call(call) => Strike::Call(call, rng.random_range(call.numbers())),
        }
    }

    /// What it aims at, if it has a name.
    #[must_use]
    pub fn target(&self) -> Option<Target> {
        match self {
            Strike::None | Strike::Moment { .. } => None,
            Strike::Own(death) => Some(Target::Point(death.point)),
            Strike::Call(call, _) => Some(Target::Call(*call)),
        }
    }

    /// What is put before the program.
    #[must_use]
    pub fn above(&self, folder: &Path) -> Vec<String> {
        match self {
            Strike::Call(call, number) => call.killer(folder, *number),
            _ => Vec::new(),
        }
    }

    /// What is put among its options.
    #[must_use]
    pub fn options(&self) -> String {
        match self {
            Strike::Own(death) => format!("--die {death}"),
            _ => String::new(),
        }
    }
}

/// Up to which call of a place a run is let, so that a state directory takes many deaths before all is counted.
fn most_calls(point: Point) -> u64 {
    match point.place {
        place if place.is_of_a_start() => 1,
        Place::Fold | Place::Folded | Place::Published => 1,
        Place::Work => 100,
        _ => 6,
    }
}

/// As often ten times as long as not.
fn delay(point: Point, rng: &mut ChaCha8Rng) -> u64 {
    let digits = match point.place {
        // A session of the one before has to end first.
        Place::Elect => 2.0..5.5,
        Place::Open | Place::Fold | Place::Claim => 1.0..4.0,
        _ => 0.0..2.7,
    };
    10f64.powf(rng.random_range(digits)) as u64
}
