//! A topology of many parts: two spouts, states of both kinds, one state fed by another's new values, a query, sinks, and records
//! that cannot be processed.

use std::collections::BTreeMap;
use std::time::Duration;

use fulmar::aggregate::{Count, ReducerAggregator, Sum};
use fulmar::sink::{Part, Sink, SinkError};
use fulmar::spout::Collection;
use fulmar::state::DeadLetter;
use fulmar::{Config, Error, Plan, Running, StateHandle, Topology};

use crate::oracle::Evaluated;
use crate::seams::{Disk, SeamSink, World};

/// What a topology is given, and how it is run.
#[derive(Clone, Debug)]
pub struct Script {
    /// The partitions of the spout that promises identical replays.
    pub left: Vec<Vec<u64>>,
    /// The records of the spout that does not.
    pub right: Vec<u64>,
}

/// How one run of a script is set.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Threads.
    pub executors: u16,
    /// Records of one spout in a batch.
    pub batch_records: u64,
    /// Batches in flight.
    pub max_pending: usize,
}

/// What a script has come to.
#[derive(Clone, Debug)]
pub struct Found {
    /// The records of each sealed batch, as the first sink took them.
    pub batches: BTreeMap<u64, Vec<u64>>,
    /// The dead letters of each sealed batch.
    pub dead: BTreeMap<u64, Vec<u64>>,
    /// States as they were read at the end, and what the other sinks took.
    pub states: Evaluated,
    /// What sinks were given that they must not be given.
    pub complaints: Vec<String>,
}

/// Records that no attempt can process.
#[must_use]
pub fn is_poison(id: u64) -> bool {
    id % 50 == 23
}

/// So long a text for a record that a few batches of them make a fold.
#[must_use]
pub fn padding(id: u64) -> String {
    let tail = char::from(b'a' + (id % 26) as u8).to_string();
    format!("{id}:{}", tail.repeat(200_000))
}

/// Number, sum, and the padding of the greatest: the same in any order of the records.
struct Bulk;

impl ReducerAggregator<u64> for Bulk {
    type Value = (u64, u64, String);

    fn reduce(&self, value: Option<Self::Value>, id: &u64) -> Self::Value {
        let Some((count, sum, text)) = value else {
            return (1, *id, padding(*id));
        };
        let greatest = text.split(':').next().and_then(|id| id.parse::<u64>().ok());
        let text = if greatest.is_some_and(|greatest| greatest > *id) {
            text
        } else {
            padding(*id)
        };
        (count + 1, sum + id, text)
    }
}

/// Dead letters, by the ids in them.
struct Letters(SeamSink);

impl Sink<DeadLetter> for Letters {
    fn publish(&mut self, part: &Part, letters: Vec<DeadLetter>) -> Result<(), SinkError> {
        let id = |letter: &DeadLetter| fulmar::state::codec::decode::<u64>(&letter.record);
        let ids: Result<Vec<u64>, _> = letters.iter().map(id).collect();
        Sink::<u64>::publish(&mut self.0, part, ids.map_err(SinkError::permanent)?)
    }
}

/// The handles of a built script.
pub struct Built {
    plan: Plan,
    counts: StateHandle<u64, u64>,
    bulk: StateHandle<u64, (u64, u64, String)>,
    sums: StateHandle<u64, u64>,
}

impl Script {
    /// Numbers from 0 over three partitions, some of them poison.
    #[must_use]
    pub fn of(records: u64) -> Script {
        let third = records / 3;
        Script {
            left: vec![(0..third).collect(), (1000..1000 + third).rev().collect()],
            right: (2000..2000 + records - 2 * third).collect(),
        }
    }

    /// All records.
    #[must_use]
    pub fn input(&self) -> Vec<u64> {
        self.left
            .iter()
            .flatten()
            .chain(&self.right)
            .copied()
            .collect()
    }

    /// The topology on a world's sinks.
    ///
    /// # Errors
    ///
    /// The engine refuses it.
    pub fn build(&self, world: &World) -> Result<Built, Error> {
        let topology = Topology::new("scripted");
        let left = topology.spout("left", Collection::partitioned(self.left.clone()));
        let right = topology.spout("right", Collection::of(self.right.clone()).opaque());
        let all = left.merge(&right);
        all.sink("raw", world.sink());
        let checked = all.try_each(|id: u64, out| match is_poison(id) {
            true => Err("poison"),
            false => {
                out.emit(id);
                Ok(())
            }
        });
        let counts = checked
            .group_by(|id| id % 13)
            .persistent_aggregate("counts", Count);
        let bulk = checked
            .group_by(|id| id % 5)
            .persistent_aggregate("bulk", Bulk);
        counts.new_values().sink("news", world.sink());
        let sums = counts.new_values().map(|(key, count)| (key % 3, count));
        let sums = sums
            .group_by(|(key, _)| *key)
            .persistent_aggregate("sums", Sum::by(|(_, count): &(u64, u64)| *count));
        checked
            .state_query(
                &counts,
                |id| id % 13,
                |id, count, out| out.emit((id, count.unwrap_or_default())),
            )
            .sink("seen", world.sink());
        Ok(Built {
            plan: topology.build()?,
            counts,
            bulk,
            sums,
        })
    }

    /// Starts it on a world; errors are those of a world that dies at once.
    ///
    /// # Errors
    ///
    /// The engine's, also after the world's death.
    pub async fn start(&self, world: &World, setting: Setting) -> Result<Live, Error> {
        let Built {
            plan,
            counts,
            bulk,
            sums,
        } = self.build(world)?;
        let config = Config::in_memory()
            .executors(setting.executors)
            .batch_records(setting.batch_records)
            .max_pending(setting.max_pending)
            .memory(16 << 20)
            .max_attempts(1)
            .timeout(Duration::from_secs(20))
            .dead_letters(Letters(world.sink()));
        let home = world.home(&plan.states());
        let running = plan.start_on(home, config).await?;
        Ok(Live {
            running,
            counts,
            bulk,
            sums,
        })
    }
}

/// A script that runs.
pub struct Live {
    /// The topology.
    pub running: Running,
    counts: StateHandle<u64, u64>,
    bulk: StateHandle<u64, (u64, u64, String)>,
    sums: StateHandle<u64, u64>,
}

impl Live {
    /// Runs on to the end, and reads everything.
    ///
    /// # Errors
    ///
    /// The engine's: the run could not come to its end.
    pub async fn finish(self, disk: &Disk, input: &[u64]) -> Result<Found, Error> {
        let running = &self.running;
        running.drained().await?;
        let states = Evaluated {
            counts: running
                .read(&self.counts)
                .await?
                .scan()
                .collect::<Result<_, _>>()?,
            bulk: running
                .read(&self.bulk)
                .await?
                .scan()
                .collect::<Result<_, _>>()?,
            sums: running
                .read(&self.sums)
                .await?
                .scan()
                .collect::<Result<_, _>>()?,
            ..Evaluated::default()
        };
        // What is sealed is published by and by, or by the next run; these sinks are quick.
        let published = || {
            let count = |sink| {
                disk.taken::<u64>(sink)
                    .values()
                    .map(Vec::len)
                    .sum::<usize>()
            };
            let seen = disk
                .taken::<(u64, u64)>("seen")
                .values()
                .map(Vec::len)
                .sum::<usize>();
            count("raw") == seen && seen + count("dead letters") >= input.len()
        };
        for _ in 0..2_000 {
            if published() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.running.stop().await?;
        Ok(Found {
            batches: disk.taken("raw"),
            dead: disk.taken("dead letters"),
            states: Evaluated {
                news: disk.taken("news"),
                seen: disk.taken("seen"),
                ..states
            },
            complaints: disk.complaints(),
        })
    }
}
