//! Opens a directory (or memory), and starts every part of a worker on its thread.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use fulmar_coordinator::{
    FileLedger, Ledger, LedgerRecord, MemoryLedger, Retry, Settings, Term, Tuning, Version,
    WriterId, open_term,
};
use fulmar_state::{FoldJob, MemoryStorage, StateFamily, Storage, TxId};
use futures::FutureExt as _;
use futures::future::ready;
use tokio::sync::{mpsc, oneshot, watch};

use super::config::Config;
use super::driver::{self, Setup};
use super::handle::{Progress, Resumed, Running};
use super::mailbox::{Mail, Mailboxes, ToDriver};
use super::threads;
use crate::error::{Error, Result};
use crate::message::{ToExecutor, ToPublisher, ToRecorder, ToSource};
use crate::plan::Plan;
use crate::recorder::FoldLimits;
use crate::worker::{Share, Worker, WorkerSettings, spouts_of};

/// A third of the log's write buffers is what a restart reloads at most, in less than a second.
const MAX_LOG_BUFFERS: usize = 192 << 20;
const MIN_LOG_BUFFERS: usize = 8 << 20;

/// How often a fence of unknown outcome is sent again before the start gives up.
const FENCE_TRIES: u32 = 20;

struct Inboxes {
    executors: Vec<Receiver<Mail<ToExecutor>>>,
    sources: Vec<Receiver<Mail<ToSource>>>,
    recorder: Receiver<Mail<ToRecorder>>,
    flusher: Receiver<Mail<FoldJob>>,
    publisher: Receiver<Mail<ToPublisher>>,
    driver: mpsc::UnboundedReceiver<ToDriver>,
}

fn mailboxes(executors: u16, sources: usize) -> (Mailboxes, Inboxes) {
    let (to_executors, executors) = (0..executors).map(|_| channel()).unzip();
    let (to_sources, sources) = (0..sources).map(|_| channel()).unzip();
    let (to_recorder, recorder) = channel();
    let (to_flusher, flusher) = channel();
    let (to_publisher, publisher) = channel();
    let (to_driver, driver) = mpsc::unbounded_channel();
    let outward = Mailboxes {
        executors: to_executors,
        sources: to_sources,
        recorder: to_recorder,
        flusher: to_flusher,
        publisher: to_publisher,
        driver: to_driver,
    };
    (
        outward,
        Inboxes {
            executors,
            sources,
            recorder,
            flusher,
            publisher,
            driver,
        },
    )
}

/// Where everything durable lives: the two seams that a run stands on.
pub struct Home {
    /// What is sealed.
    pub ledger: Box<dyn Ledger>,
    /// Batch log and states, opened with [`Plan::states`].
    pub storage: Arc<dyn Storage>,
}

#[cfg(feature = "rocksdb")]
pub(super) fn open_store(
    dir: &Path,
    config: &Config,
    families: &[StateFamily],
) -> Result<Arc<dyn Storage>> {
    use fulmar_state::{RocksOptions, RocksStorage};
    let options = RocksOptions {
        cache_bytes: config.memory / 4,
        log_buffer_bytes: log_buffers(config.memory),
        durability: config.durability,
        ..RocksOptions::default()
    };
    Ok(Arc::new(RocksStorage::open(
        &dir.join("state"),
        families,
        options,
    )?))
}

#[cfg(not(feature = "rocksdb"))]
pub(super) fn open_store(
    dir: &Path,
    _config: &Config,
    _families: &[StateFamily],
) -> Result<Arc<dyn Storage>> {
    Err(Error::Directory {
        path: dir.to_path_buf(),
        what: "the engine was built without RocksDB".into(),
    })
}

/// A term that is fenced, and all it stands on.
pub(super) struct Opened {
    pub(super) ledger: Box<dyn Ledger>,
    /// The ledger's record as the fence wrote it, and its version.
    pub(super) fenced: (LedgerRecord, Version),
    pub(super) storage: Arc<dyn Storage>,
    /// What to begin with, where it differs from the configuration.
    pub(super) tuning: Option<Tuning>,
    /// Called once there is somebody to tell that the term is lost; what it answers is kept until every thread has ended.
    pub(super) seat: Option<TakeSeat>,
}

pub(super) type Seat = Box<dyn Any + Send + Sync>;
pub(super) type TakeSeat = Box<dyn FnOnce(&Mailboxes) -> Seat + Send>;

pub(super) async fn start(plan: Plan, config: Config) -> Result<Running> {
    let Some(dir) = config.dir.clone() else {
        let storage = Arc::new(MemoryStorage::new(&plan.states()));
        let ledger = Box::new(MemoryLedger::new());
        return start_on(plan, Home { ledger, storage }, config).await;
    };
    config.check()?;
    #[cfg(feature = "zookeeper")]
    if let Some(zookeeper) = config.zookeeper.clone() {
        return super::standby::start(plan, config, &zookeeper, &dir).await;
    }
    // The ledger's lock is that of the whole directory, and the fence keeps another topology from touching the state.
    let mut ledger: Box<dyn Ledger> = Box::new(FileLedger::open(&dir, config.durability)?);
    let fenced = fence(ledger.as_mut(), &term_of(&plan)).await?;
    let storage = open_store(&dir, &config, &plan.states())?;
    launch(plan, config, Opened::embedded(ledger, fenced, storage)).await
}

/// Starts the topology on a ledger and a storage that are open.
pub(super) async fn start_on(plan: Plan, home: Home, config: Config) -> Result<Running> {
    #[cfg(feature = "zookeeper")]
    if config.zookeeper.is_some() {
        return Err(Error::config(
            "a ledger in ZooKeeper goes with a state directory: use Config::at and Plan::start, or leave Config::zookeeper out",
        ));
    }
    let Home {
        mut ledger,
        storage,
    } = home;
    let fenced = fence(ledger.as_mut(), &term_of(&plan)).await?;
    launch(plan, config, Opened::embedded(ledger, fenced, storage)).await
}

impl Opened {
    fn embedded(
        ledger: Box<dyn Ledger>,
        fenced: (LedgerRecord, Version),
        storage: Arc<dyn Storage>,
    ) -> Opened {
        Opened {
            ledger,
            fenced,
            storage,
            tuning: None,
            seat: None,
        }
    }
}

/// Fences on a ledger whose outcomes are unknown by fault only: such a one has no reason to answer better later.
async fn fence(ledger: &mut dyn Ledger, term: &Term) -> Result<(LedgerRecord, Version)> {
    let mut retry = |sent: u32, what: &str| {
        tracing::warn!(sent, what, "the outcome of the fence is not known");
        let again = if sent >= FENCE_TRIES {
            Retry::GiveUp
        } else {
            Retry::Again
        };
        ready(again).boxed()
    };
    Ok(open_term(ledger, term, &mut retry).await?)
}

fn term_of(plan: &Plan) -> Term {
    Term {
        topology: plan.name.clone(),
        fingerprint: plan.fingerprint(),
        writer: WriterId::random(),
    }
}

/// Starts every thread; answers when the workers stand at what is sealed.
pub(super) async fn launch(plan: Plan, mut config: Config, opened: Opened) -> Result<Running> {
    let executors = config.check()?;
    let (mailboxes, inboxes) = mailboxes(executors, plan.graph.spouts.len());
    let (progress, watched) = watch::channel(Progress::default());
    let (started, resumed) = oneshot::channel();
    let setup = Setup {
        settings: settings_of(&plan, &config),
        tuning: opened.tuning,
        ledger: opened.ledger,
        fenced: opened.fenced,
        mailboxes: mailboxes.clone(),
        inbox: inboxes.driver,
        progress,
        started,
        on_batch: config.on_batch.take(),
        on_failure: config.on_failure.take(),
    };
    let name = plan.name.clone();
    let share = Share::whole(executors, plan.graph.spouts.len());
    let settings = WorkerSettings {
        executors,
        // What is read ahead of the first batch keeps to what counts from the start, too.
        limits: setup.tuning.map_or(config.limits, |tuning| tuning.limits),
        folds: fold_limits(config.memory),
        dead_letters: config.dead_letters.take(),
    };
    let worker = Worker::new(plan, &share, settings, &opened.storage)?;
    let mut running = Running {
        resumed: Resumed {
            txid: TxId::ZERO,
            records: 0,
        },
        executors,
        mailboxes: mailboxes.clone(),
        progress: watched,
        driver: None,
        threads: Vec::new(),
        recorder: None,
        name,
        seat: opened.seat.map(|take| take(&mailboxes)),
    };
    let no_thread =
        |error: std::io::Error| Error::config(format!("no thread can be started: {error}"));
    let boxes = (
        inboxes.executors,
        inboxes.sources,
        inboxes.recorder,
        inboxes.flusher,
        inboxes.publisher,
    );
    let recorder = spawn(
        worker,
        boxes,
        opened.storage,
        &mailboxes,
        &mut running.threads,
    );
    running.recorder = Some(recorder.map_err(no_thread)?);
    let driver = threads::spawn("fulmar-driver".into(), mailboxes, move |_| {
        driver::run(setup)
    });
    running.driver = Some(driver.map_err(no_thread)?);
    running.resumed = resumed.await.unwrap_or(Err(Error::Ended))?;
    Ok(running)
}

pub(super) fn settings_of(plan: &Plan, config: &Config) -> Settings {
    Settings {
        topology: plan.name.clone(),
        max_pending: config.max_pending,
        max_attempts: config.max_attempts,
        timeout_ms: u64::try_from(config.timeout.as_millis()).unwrap_or(u64::MAX),
        limits: config.limits,
        spouts: spouts_of(plan),
        on_poison: config.on_poison,
        ..Settings::default()
    }
}

type Boxes = (
    Vec<Receiver<Mail<ToExecutor>>>,
    Vec<Receiver<Mail<ToSource>>>,
    Receiver<Mail<ToRecorder>>,
    Receiver<Mail<FoldJob>>,
    Receiver<Mail<ToPublisher>>,
);

/// Starts every thread; the recorder's is answered, since it ends last.
fn spawn(
    worker: Worker,
    boxes: Boxes,
    storage: Arc<dyn Storage>,
    mailboxes: &Mailboxes,
    threads: &mut Vec<JoinHandle<()>>,
) -> std::io::Result<JoinHandle<()>> {
    let (to_executors, to_sources, to_recorder, to_flusher, to_publisher) = boxes;
    for (id, (executor, inbox)) in worker.executors.into_iter().zip(to_executors).enumerate() {
        let run = move |mailboxes: &Mailboxes| threads::run_executor(executor, &inbox, mailboxes);
        threads.push(threads::spawn(
            format!("fulmar-exec-{id}"),
            mailboxes.clone(),
            run,
        )?);
    }
    for (index, (source, inbox)) in worker.sources.into_iter().zip(to_sources).enumerate() {
        let run =
            move |mailboxes: &Mailboxes| threads::run_source(source, index, &inbox, mailboxes);
        threads.push(threads::spawn(
            format!("fulmar-spout-{index}"),
            mailboxes.clone(),
            run,
        )?);
    }
    let (recorder, publisher) = (worker.recorder, worker.publisher);
    let run =
        move |mailboxes: &Mailboxes| threads::run_publisher(publisher, &to_publisher, mailboxes);
    threads.push(threads::spawn(
        "fulmar-publish".into(),
        mailboxes.clone(),
        run,
    )?);
    let run = move |mailboxes: &Mailboxes| threads::run_flusher(&storage, &to_flusher, mailboxes);
    threads.push(threads::spawn(
        "fulmar-flush".into(),
        mailboxes.clone(),
        run,
    )?);
    let run = move |mailboxes: &Mailboxes| threads::run_recorder(recorder, &to_recorder, mailboxes);
    threads::spawn("fulmar-record".into(), mailboxes.clone(), run)
}

/// Half of the memory is for overlays, a quarter for the log's write buffers, and the rest for the block cache.
fn fold_limits(memory: usize) -> FoldLimits {
    FoldLimits {
        log_bytes: log_buffers(memory) / 3,
        overlay_bytes: memory / 2,
    }
}

fn log_buffers(memory: usize) -> usize {
    (memory / 4).clamp(MIN_LOG_BUFFERS, MAX_LOG_BUFFERS)
}
