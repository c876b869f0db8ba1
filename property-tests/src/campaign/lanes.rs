//! Several lives at a time, until all together have done enough.

use std::path::PathBuf;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fulmar_coordinator::zookeeper::testing::Server;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::attack::attack;
use super::board::{Aim, Board, Figures, Quota, Target};
use super::call::{self, SystemCall};
use super::life::{Matter, Programs, Spouts};
use crate::mortal::point::Point;
use crate::quick_folder;

/// Where ledgers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ledgers {
    /// In files.
    Embedded,
    /// In ZooKeeper.
    ZooKeeper,
    /// Some here, some there.
    Both,
}

/// A campaign: kills until it is enough.
pub struct Campaign {
    /// What is killed.
    pub programs: Programs,
    /// What texts and moments are drawn from.
    pub seed: u64,
    /// When it is enough.
    pub quota: Quota,
    /// Where ledgers are.
    pub ledgers: Ledgers,
    /// Which spouts read.
    pub spouts: Spouts,
    /// Whether named points and system calls are aimed at, and have to be hit.
    pub points: bool,
}

/// Lives at a time. With a ledger in ZooKeeper they wait for sessions to end most of their time.
const EMBEDDED: usize = 2;
const ZOOKEEPER: usize = 6;
/// How often somebody is told how far it is.
const TOLD: Duration = Duration::from_secs(3);

struct Lanes<'a> {
    campaign: &'a Campaign,
    board: &'a Board,
    matter: Matter,
    server: Option<Server>,
    lives: AtomicU64,
    failure: Mutex<Option<anyhow::Error>>,
}

impl Campaign {
    /// What has to be hit: all points, and all system calls where programs can be killed at them.
    #[must_use]
    pub fn aims(&self) -> Vec<Aim> {
        if !self.points {
            return Vec::new();
        }
        let kinds: &[bool] = match self.ledgers {
            Ledgers::Embedded => &[false],
            Ledgers::ZooKeeper => &[true],
            Ledgers::Both => &[false, true],
        };
        let calls = call::is_possible();
        let of_kind = |zookeeper: bool| {
            let calls = SystemCall::all(zookeeper)
                .into_iter()
                .filter(move |_| calls);
            let points = Point::all(zookeeper).into_iter().map(Target::Point);
            points
                .chain(calls.map(Target::Call))
                .map(move |target| (target, zookeeper))
        };
        kinds.iter().flat_map(|kind| of_kind(*kind)).collect()
    }

    /// Runs it on a board of [`Campaign::aims`]; tells now and then what was done so far.
    ///
    /// # Errors
    ///
    /// What did not hold first, with the life's number and the folder that is kept; or no ZooKeeper server can be started.
    pub fn run(&self, board: &Board, mut tell: impl FnMut(&Figures, Duration)) -> Result<Figures> {
        let began = Instant::now();
        let (mut lanes, server) = match self.ledgers {
            Ledgers::Embedded => (vec![false; EMBEDDED], None),
            Ledgers::ZooKeeper => (vec![true; ZOOKEEPER], Some(server()?)),
            Ledgers::Both => {
                let lanes = [vec![false; EMBEDDED], vec![true; ZOOKEEPER]].concat();
                (lanes, Some(server()?))
            }
        };
        // Those that wait most begin first.
        lanes.reverse();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let all = Lanes {
            campaign: self,
            board,
            matter: Matter::new(self.programs.clone(), self.spouts, &mut rng),
            server,
            lives: AtomicU64::new(0),
            failure: Mutex::default(),
        };
        let running = AtomicUsize::new(lanes.len());
        thread::scope(|scope| {
            for zookeeper in lanes {
                let (all, running) = (&all, &running);
                scope.spawn(move || {
                    let _last = Leaving(running);
                    all.lane(zookeeper);
                });
            }
            let mut told = Instant::now();
            while running.load(SeqCst) > 0 {
                thread::sleep(Duration::from_millis(20));
                if told.elapsed() >= TOLD {
                    told = Instant::now();
                    tell(&board.figures(), began.elapsed());
                }
            }
        });
        let failure = all.failure.into_inner();
        match failure.unwrap_or_else(PoisonError::into_inner) {
            Some(failure) => Err(failure),
            None => Ok(board.figures()),
        }
    }
}

/// Counts a lane out, however it ends.
struct Leaving<'a>(&'a AtomicUsize);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A server that takes short sessions: two ticks are the shortest.
fn server() -> Result<Server> {
    let server = Server::builder().tick(Duration::from_millis(50)).start();
    server.context("the campaign needs a ZooKeeper server")
}

impl Lanes<'_> {
    /// Life after life, until it is enough or something did not hold.
    fn lane(&self, zookeeper: bool) {
        while !self.board.is_enough() {
            let number = self.lives.fetch_add(1, SeqCst);
            if let Err(error) = self.live(number, zookeeper)
                && !self.board.is_stopped()
            {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                self.board.stop().store(true, SeqCst);
                failure.get_or_insert(error);
            }
        }
    }

    fn live(&self, number: u64, zookeeper: bool) -> Result<()> {
        let seed = self.campaign.seed;
        let mut rng = ChaCha8Rng::seed_from_u64(seed.wrapping_add(number << 32));
        let connection = match (&self.server, zookeeper) {
            (Some(server), true) => Some(format!("{}/life-{number}", server.address())),
            _ => None,
        };
        let folder = quick_folder();
        let variant = self.matter.life(number, connection, &mut rng);
        if let Err(error) = attack(folder.path(), &variant, self.board, &mut rng) {
            if self.board.is_stopped() {
                return Err(error);
            }
            let kept: PathBuf = folder.keep();
            bail!(
                "{}, life {number} of seed {seed}: {error:#}\nthe folder is kept: {}",
                variant.name,
                kept.display()
            );
        }
        Ok(())
    }
}
