//! The ledger in ZooKeeper: of all processes of a topology one leads, the others stand by.
//!
//! The order of a take-over is: win the election, fence the ledger, wait for the directory (the one before has closed when its kernel lock
//! is free), open the state, and only then rewind. Everything that a term stands on is in its [`Seat`], and let go in the
//! opposite order: when the next one hears that it leads, the directory is free.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fulmar_coordinator::zookeeper::{
    Candidate, Election, Identity, Leadership, Member, Membership, Session, TopologyPaths,
    ZooKeeperConfig, ZooKeeperLedger,
};
use fulmar_coordinator::{
    Directory, Durability, Epoch, Error as CoordinatorError, Fingerprint, Keeper, LedgerRecord,
    Retry, Term, Version, WriterId, check_term, open_term,
};
use futures::FutureExt as _;

use super::config::Config;
use super::handle::Running;
use super::live::{Follower, lead};
use super::mailbox::{Mailboxes, ToDriver};
use super::open::{Opened, launch, open_store, settings_of};
use crate::error::{Error, Result};
use crate::plan::Plan;

pub(super) type OnStanding = Arc<dyn Fn(&Standing) + Send + Sync>;
pub(super) type OnLog = Arc<dyn Fn(Option<&str>) -> Result<(), String> + Send + Sync>;

/// How often a directory that another process still has is looked at again.
const LOOK: Duration = Duration::from_millis(20);
/// How long to wait before something that went wrong at the servers is tried again.
const AGAIN: Duration = Duration::from_millis(200);

/// What this process is to its topology, told by [`Config::on_standing`] whenever it changes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Standing {
    /// Another process leads.
    Waiting {
        /// Which one, as far as it said.
        leader: String,
    },
    /// This process leads: the ledger refuses every other one's writes from now on.
    Elected {
        /// Its term.
        epoch: Epoch,
    },
    /// This process leads and waits until the one before has let go of the directory, which is never taken from it.
    DirectoryHeld {
        /// Who has it.
        by: String,
    },
    /// The session was lost, or no server answers; it is tried again.
    Disconnected {
        /// Why.
        error: CoordinatorError,
    },
    /// Live settings count from the next batch on; a process that stands by has noted them.
    Settings {
        /// The version of the node.
        version: i32,
        /// What it says.
        text: String,
    },
    /// Live settings were refused: nothing has changed.
    SettingsRefused {
        /// The version of the node.
        version: i32,
        /// Why.
        what: String,
    },
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Waiting { leader } => write!(f, "stands by; {leader} leads"),
            Standing::Elected { epoch } => write!(f, "leads, epoch {epoch}"),
            Standing::DirectoryHeld { by } => {
                write!(f, "waits for the state directory, which {by} still has")
            }
            Standing::Disconnected { error } => write!(f, "{error}; tries again"),
            Standing::Settings { version, text } => {
                let text = if text.is_empty() { "(none)" } else { text };
                write!(f, "live settings, version {version}: {text}")
            }
            Standing::SettingsRefused { version, what } => {
                write!(f, "live settings, version {version}, are refused: {what}")
            }
        }
    }
}

/// Tells how this process stands; where nobody wants to be told, the log.
#[derive(Clone)]
pub(super) struct Teller {
    on_standing: Option<OnStanding>,
}

impl Teller {
    pub(super) fn tell(&self, standing: &Standing) {
        match &self.on_standing {
            Some(tell) => tell(standing),
            None => tracing::info!(%standing, "standing"),
        }
    }
}

/// The ZooKeeper servers that topologies keep their ledgers at. Clones share one session; when it is lost, the next start opens another.
#[derive(Clone, Debug)]
pub struct ZooKeeper {
    config: ZooKeeperConfig,
    session: Arc<Mutex<Option<Session>>>,
}

impl ZooKeeper {
    /// Opens a session.
    ///
    /// # Errors
    ///
    /// [`fulmar_coordinator::Error::NoServer`] within the session timeout if no server answers; `Denied` if the credentials are wrong.
    pub async fn connect(config: ZooKeeperConfig) -> Result<ZooKeeper> {
        let session = Session::connect(config.clone()).await?;
        Ok(ZooKeeper {
            config,
            session: Arc::new(Mutex::new(Some(session))),
        })
    }

    /// The session, or a new one. Once there were servers it is tried until they are there again.
    async fn session(&self, teller: &Teller) -> Result<Session> {
        let mut told = false;
        loop {
            let live = self.slot().clone();
            if let Some(session) = live.filter(|session| session.has_ended().is_none()) {
                return Ok(session);
            }
            match Session::connect(self.config.clone()).await {
                Ok(session) => {
                    *self.slot() = Some(session.clone());
                    return Ok(session);
                }
                Err(error) if is_passing(&error) => {
                    if !std::mem::replace(&mut told, true) {
                        teller.tell(&Standing::Disconnected { error });
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What may be better the next time, by itself.
fn is_passing(error: &CoordinatorError) -> bool {
    matches!(
        error,
        CoordinatorError::NoServer { .. }
            | CoordinatorError::Unreachable { .. }
            | CoordinatorError::SessionLost { .. }
            | CoordinatorError::Deposed { .. }
            | CoordinatorError::Fenced { .. }
    )
}

/// Stands by until this process leads, then runs the topology.
pub(super) async fn start(
    plan: Plan,
    config: Config,
    zookeeper: &ZooKeeper,
    dir: &Path,
) -> Result<Running> {
    let wish = Wish {
        topology: plan.name.clone(),
        fingerprint: plan.fingerprint(),
        dir: dir.to_path_buf(),
        durability: config.durability,
        on_log: config.on_log.clone(),
        teller: Teller {
            on_standing: config.on_standing.clone(),
        },
    };
    loop {
        let session = zookeeper.session(&wish.teller).await?;
        match take_over(&wish, &session).await {
            Ok(won) => return won.run(plan, config).await,
            Err(Error::Coordinator(error)) if is_passing(&error) => {
                wish.teller.tell(&Standing::Disconnected { error });
                session.pause(AGAIN).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// What a process wants to lead, and with what.
struct Wish {
    topology: String,
    fingerprint: Fingerprint,
    dir: PathBuf,
    durability: Durability,
    on_log: Option<OnLog>,
    teller: Teller,
}

/// A term that was won, fenced and has its directory.
struct Won {
    ledger: ZooKeeperLedger,
    fenced: (LedgerRecord, Version),
    seat: Seat,
    follower: Follower,
}

/// What a term stands on, in the order in which it is let go.
struct Seat {
    directory: Directory,
    leadership: Arc<Leadership>,
    #[expect(dead_code, reason = "its node is there for as long as it is kept")]
    membership: Membership,
    session: Session,
}

async fn take_over(wish: &Wish, session: &Session) -> Result<Won> {
    let paths = TopologyPaths::new(&wish.topology);
    let teller = &wish.teller;
    let term = Term {
        topology: wish.topology.clone(),
        fingerprint: wish.fingerprint.clone(),
        writer: WriterId::random(),
    };
    let mut ledger = ZooKeeperLedger::open(session, &wish.topology).await?;
    // Another topology of this name is told now, not when this process comes to lead.
    check_term(&mut ledger, &term).await?;
    let who = Identity::of_this_process(env!("CARGO_PKG_VERSION"));
    let membership =
        Membership::publish(session, &paths, term.writer, &member(who.clone())).await?;
    let mut follower =
        Follower::begin(session, &paths, term.writer, wish.on_log.clone(), teller).await?;
    let candidate = Election::join(session, &paths.leader(), &who).await?;
    let leadership = stand_by(candidate, &mut follower, teller).await?;
    let fenced = fence(session, &mut ledger, &term).await?;
    teller.tell(&Standing::Elected {
        epoch: fenced.0.epoch,
    });
    let directory = claim(wish, session, &leadership).await?;
    Ok(Won {
        ledger,
        fenced,
        seat: Seat {
            directory,
            leadership: Arc::new(leadership),
            membership,
            session: session.clone(),
        },
        follower,
    })
}

/// What this process says of itself. It has no address yet: all of a topology runs in the one that leads.
fn member(who: Identity) -> Member {
    Member {
        who,
        address: None,
        capabilities: vec!["coordinate".into(), "work".into()],
    }
}

/// Waits for the election, and takes note of live settings meanwhile.
async fn stand_by(
    mut candidate: Candidate,
    follower: &mut Follower,
    teller: &Teller,
) -> Result<Leadership> {
    let mut told = None;
    while let Some(ahead) = candidate.ahead() {
        let leader = ahead.first.to_string();
        if told.as_ref() != Some(&leader) {
            teller.tell(&Standing::Waiting {
                leader: leader.clone(),
            });
            told = Some(leader);
        }
        tokio::select! {
            biased;
            () = candidate.changed() => {}
            noted = follower.note() => noted?,
        }
    }
    Ok(candidate.elected().await?)
}

/// Fences. A leader that was deposed may still have a write under way, which is then seen and fenced out the next time.
async fn fence(
    session: &Session,
    ledger: &mut ZooKeeperLedger,
    term: &Term,
) -> Result<(LedgerRecord, Version)> {
    loop {
        let mut retry = |sent: u32, what: &str| {
            tracing::warn!(sent, what, "the outcome of the fence is not known");
            let session = session.clone();
            async move {
                session.pause(AGAIN).await;
                Retry::Again
            }
            .boxed()
        };
        match open_term(ledger, term, &mut retry).await {
            Err(CoordinatorError::Fenced { epoch, writer, .. }) => {
                tracing::warn!(%epoch, %writer, "another writer was faster than the fence; it is fenced anew");
            }
            fenced => return Ok(fenced?),
        }
    }
}

/// Waits until the process before has let go of the directory: a stopped one keeps it, and it is never taken from it.
async fn claim(wish: &Wish, session: &Session, leadership: &Leadership) -> Result<Directory> {
    let mut told = false;
    loop {
        match Directory::claim(&wish.dir, wish.durability, Keeper::ZooKeeper) {
            Err(CoordinatorError::Locked { by, .. }) => {
                if !std::mem::replace(&mut told, true) {
                    wish.teller.tell(&Standing::DirectoryHeld { by });
                }
            }
            claimed => return Ok(claimed?),
        }
        tokio::select! {
            biased;
            error = leadership.lost() => return Err(error.into()),
            () = session.pause(LOOK) => {}
        }
    }
}

impl Won {
    async fn run(self, plan: Plan, config: Config) -> Result<Running> {
        let Won {
            ledger,
            fenced,
            seat,
            follower,
        } = self;
        let storage = open_store(seat.directory.dir(), &config, &plan.states())?;
        let base = settings_of(&plan, &config);
        let opened = Opened {
            ledger: Box::new(ledger),
            fenced,
            storage,
            tuning: Some(follower.tuning(&base)),
            seat: Some(Box::new(move |mailboxes| {
                seat.sit(mailboxes, follower, base)
            })),
        };
        launch(plan, config, opened).await
    }
}

/// A task on the session's runtime. Dropped, it is ended, and waited for: it holds the session, which must not outlive its last owner unnoticed.
struct Task {
    task: tokio::task::AbortHandle,
    /// Never sent to; its sender goes with the task.
    gone: std::sync::mpsc::Receiver<()>,
}

impl Task {
    fn start(session: &Session, work: impl Future<Output = ()> + Send + 'static) -> Task {
        let (here, gone) = std::sync::mpsc::channel();
        let work = async move {
            work.await;
            drop(here);
        };
        let task = session.handle().spawn(work).abort_handle();
        Task { task, gone }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.task.abort();
        let _ = self.gone.recv();
    }
}

impl Seat {
    /// From now on the term is told when it is lost, and live settings reach it.
    fn sit(
        self,
        mailboxes: &Mailboxes,
        follower: Follower,
        base: fulmar_coordinator::Settings,
    ) -> super::open::Seat {
        let (leadership, driver) = (self.leadership.clone(), mailboxes.driver.clone());
        let lost = async move {
            let error = leadership.lost().await;
            // Nobody hears it when the term has ended by itself.
            drop(driver.send(ToDriver::Lost(error)));
        };
        let follow = lead(follower, base, mailboxes.driver.clone());
        let tasks = (
            Task::start(&self.session, lost),
            Task::start(&self.session, follow),
        );
        Box::new((Mutex::new(tasks), self))
    }
}
