//! Named crash points: where the mortal WordCount can be made to kill itself.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

/// What a program is at, of all that leaves a trace outside it or is told to anyone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// It joins the queue of candidates in ZooKeeper, and waits until it leads.
    Elect,
    /// The ledger is read.
    Load,
    /// The ledger is fenced.
    Fence,
    /// The state directory is taken, whose ledger is in ZooKeeper.
    Claim,
    /// The store is opened.
    Open,
    /// The store's first records are written.
    Begin,
    /// A rewind is made durable.
    Rewind,
    /// The spout reads.
    Read,
    /// An operator works on a record.
    Work,
    /// Batches are appended to the log.
    Prepare,
    /// Batches are sealed by the ledger.
    Seal,
    /// Whoever runs the topology is told of a sealed batch.
    Announce,
    /// A part is given to a sink.
    Publish,
    /// It is written down what was published.
    Published,
    /// A state's fold is ingested.
    Fold,
    /// A fold is recorded, and log entries are removed.
    Folded,
}

/// When of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing is done yet.
    Before,
    /// It is under way: a drawn time after it has begun, at the latest when it is done.
    Within,
    /// All is done, and nobody has heard of it.
    After,
}

/// A place and a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    /// What it is at.
    pub place: Place,
    /// When of that.
    pub moment: Moment,
}

const PLACES: [(Place, &str); 16] = [
    (Place::Elect, "elect"),
    (Place::Load, "load"),
    (Place::Fence, "fence"),
    (Place::Claim, "claim"),
    (Place::Open, "open"),
    (Place::Begin, "begin"),
    (Place::Rewind, "rewind"),
    (Place::Read, "read"),
    (Place::Work, "work"),
    (Place::Prepare, "prepare"),
    (Place::Seal, "seal"),
    (Place::Announce, "announce"),
    (Place::Publish, "publish"),
    (Place::Published, "published"),
    (Place::Fold, "fold"),
    (Place::Folded, "folded"),
];

const MOMENTS: [(Moment, &str); 3] = [
    (Moment::Before, "before"),
    (Moment::Within, "within"),
    (Moment::After, "after"),
];

impl Place {
    /// Whether it comes once in a start, rather than again and again.
    #[must_use]
    pub fn is_of_a_start(self) -> bool {
        self < Place::Read
    }

    /// Whether it takes any time, so that something can happen within.
    fn takes_time(self) -> bool {
        !matches!(self, Place::Read | Place::Work | Place::Announce)
    }

    fn is_of_zookeeper(self) -> bool {
        matches!(self, Place::Elect | Place::Claim)
    }
}

impl Point {
    /// All that a program has, with its ledger in ZooKeeper or embedded, in the order in which a run comes to them.
    #[must_use]
    pub fn all(zookeeper: bool) -> Vec<Point> {
        let places = PLACES.iter().map(|(place, _)| *place);
        let there = places.filter(|place| zookeeper || !place.is_of_zookeeper());
        let moments = |place: Place| {
            let moments = MOMENTS.iter().map(|(moment, _)| *moment);
            let there = moments.filter(move |at| place.takes_time() || *at != Moment::Within);
            there.map(move |moment| Point { place, moment })
        };
        there.flat_map(moments).collect()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = PLACES.iter().find(|(place, _)| *place == self.place);
        let moment = MOMENTS.iter().find(|(moment, _)| *moment == self.moment);
        let name = |name: Option<&'static str>| name.unwrap_or("?");
        f.pad(&format!(
            "{}:{}",
            name(place.map(|(_, name)| *name)),
            name(moment.map(|(_, name)| *name))
        ))
    }
}

impl FromStr for Point {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Point> {
        let points = Point::all(true);
        let found = points.iter().find(|point| point.to_string() == text);
        let known = || points.iter().map(Point::to_string).collect::<Vec<_>>();
        found
            .copied()
            .with_context(|| format!("{text} is no crash point; there are {:?}", known()))
    }
}

/// At which call of a place to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Death {
    /// Where and when.
    pub point: Point,
    /// At the call of this number, from 1.
    pub call: u64,
    /// How long after a call has begun, for [`Moment::Within`].
    pub delay_us: u64,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}+{}", self.point, self.call, self.delay_us)
    }
}

impl FromStr for Death {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Death> {
        let shape = "a death is PLACE:MOMENT@CALL+MICROSECONDS";
        let (point, rest) = text.split_once('@').context(shape)?;
        let (call, delay) = rest.split_once('+').context(shape)?;
        let call = call.parse().context(shape)?;
        ensure!(call > 0, "calls are counted from 1");
        Ok(Death {
            point: point.parse()?,
            call,
            delay_us: delay.parse().context(shape)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_and_death_is_read_as_it_is_written() {
        for point in Point::all(true) {
            let death = Death {
                point,
                call: 7,
                delay_us: 250,
            };
            assert_eq!(death.to_string().parse::<Death>().unwrap(), death);
        }
        assert!("seal:never".parse::<Point>().is_err());
        assert!("seal:before@0+1".parse::<Death>().is_err());
    }

    #[test]
    fn an_embedded_ledger_has_all_points_but_those_of_zookeeper() {
        let (embedded, zookeeper) = (Point::all(false), Point::all(true));
        assert!(embedded.iter().all(|point| zookeeper.contains(point)));
        assert_eq!(zookeeper.len() - embedded.len(), 6);
    }
}
