//! One run: from the options over the start, the end or the interruption, to what is shown of it.

use std::io::{self, Write};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use fulmar::{
    BatchReport, Config, Plan, Progress, Running, Standing, StateHandle, Word, ZooKeeper,
};
use indicatif::ProgressBar;

use super::home::Home;
use super::options::Options;
use super::output::Output;
use super::signals::Interrupt;
use super::stats::Stats;
use super::table::{self, Top, Totals};
use super::{log, paths, progress, say, text, topology};

/// How many words the table shows.
const SHOWN: usize = 20;

/// How a run ended that met no error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All was counted, or the files were followed until the user had enough.
    Done,
    /// It was interrupted before all was counted.
    Interrupted,
}

/// Counts as told.
pub(super) fn run(options: Options) -> Result<Outcome> {
    let line = progress::line();
    log::init(&line);
    let (plan, counts) = build(&options)?;
    if options.explain {
        write_out(|out| writeln!(out, "{}", plan.explain()))?;
        return Ok(Outcome::Done);
    }
    let output = options.output.as_deref().map(Output::at).transpose()?;
    paths::refuse_overwriting(&options)?;
    let interrupt = Interrupt::listen()?;
    let home = Home::new(options.state.as_deref(), &interrupt)?;
    let (stats, reports) = options
        .stats
        .as_deref()
        .map(Stats::create)
        .transpose()?
        .unzip();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    let runtime = runtime.context("no asynchronous runtime can be made")?;
    let run = Run {
        options,
        output,
        interrupt,
        home,
        reports,
        line,
    };
    let outcome = runtime.block_on(run.whole(plan, &counts));
    run.line.finish_and_clear();
    let Run { home, reports, .. } = run;
    // By now the engine is gone, and with it the other ends of the statistics.
    drop(reports);
    let finished = stats.map_or(Ok(()), Stats::finish);
    let closed = home.close();
    let outcome = outcome?;
    finished?;
    closed?;
    Ok(outcome)
}

fn build(options: &Options) -> Result<(Plan, StateHandle<Word, u64>)> {
    let lines = topology::lines(options)?;
    Ok(topology::build(&options.name, lines, options.fold)?)
}

struct Run {
    options: Options,
    output: Option<Output>,
    interrupt: Interrupt,
    home: Home,
    reports: Option<Sender<BatchReport>>,
    line: ProgressBar,
}

/// What happened first.
enum First {
    Drained,
    Asked,
}

impl Run {
    /// The run itself; with ZooKeeper as many terms as it takes, since leadership may be lost and won again.
    async fn whole(&self, plan: Plan, counts: &StateHandle<Word, u64>) -> Result<Outcome> {
        let Some(servers) = &self.options.zookeeper else {
            return self.counted(plan, self.config(), counts).await;
        };
        let mut servers = servers.clone().with_env()?;
        if let Some(timeout) = self.options.session_timeout {
            servers = servers.session_timeout(Duration::from_millis(timeout));
        }
        let zookeeper = tokio::select! {
            biased;
            connected = ZooKeeper::connect(servers) => connected?,
            () = self.interrupt.asked() => return Ok(self.interrupted_waiting()),
        };
        let mut plan = plan;
        loop {
            let line = self.line.clone();
            let tell = move |standing: &Standing| line.suspend(|| say(&standing.to_string()));
            let config = self.config().zookeeper(&zookeeper);
            let config = config.on_standing(tell).on_log(log::set);
            match self.counted(plan, config, counts).await {
                Err(error) if lost_leadership(&error) => {
                    self.line
                        .suspend(|| say(&format!("{}; stands by", text::one_line(&error))));
                    plan = build(&self.options)?.0;
                }
                outcome => return outcome,
            }
        }
    }

    fn config(&self) -> Config {
        let options = &self.options;
        let mut config = Config::at(self.home.dir())
            .batch_records(options.batch_lines)
            .batch_time(options.batch_time())
            .max_pending(options.max_pending.into())
            .memory(options.memory)
            .durability(options.durability.into());
        if let Some(executors) = options.executors {
            config = config.executors(executors);
        }
        match self.reports.clone() {
            // Should the statistics' file fail, the run goes on, and tells it at the end.
            Some(reports) => config.on_batch(move |report| drop(reports.send(report.clone()))),
            None => config,
        }
    }

    fn interrupted_waiting(&self) -> Outcome {
        say("interrupted before this process led; nothing was counted by it");
        if self.options.follow {
            Outcome::Done
        } else {
            Outcome::Interrupted
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "showing speeds is a shell's work: it reads the clock"
    )]
    async fn counted(
        &self,
        plan: Plan,
        config: Config,
        counts: &StateHandle<Word, u64>,
    ) -> Result<Outcome> {
        let running = tokio::select! {
            biased;
            running = plan.start(config) => running?,
            () = self.interrupt.asked() => return Ok(self.interrupted_waiting()),
        };
        let began = Instant::now();
        let resumed = running.resumed();
        let from = match resumed.txid.0 {
            0 => "begins".to_string(),
            batch => format!(
                "goes on after batch {} and {}",
                text::grouped(batch),
                text::lines(resumed.records)
            ),
        };
        let until = if self.options.follow {
            "; follows the files until Ctrl-C"
        } else {
            ""
        };
        self.line
            .suspend(|| say(&format!("{from} ({}){until}", self.home.described())));
        let outcome = match self.first(&running).await? {
            First::Asked if !self.options.follow => {
                let watched = running.watch();
                running.stop().await?;
                self.line.finish_and_clear();
                self.tell_interrupted(&watched.borrow());
                return Ok(Outcome::Interrupted);
            }
            First::Asked => running.finish().await.map(|()| Outcome::Done)?,
            First::Drained => Outcome::Done,
        };
        let took = began.elapsed();
        self.line.finish_and_clear();
        let totals = self.give(&running, counts).await?;
        self.tell_totals(&running, totals, took)?;
        running.stop().await?;
        Ok(outcome)
    }

    /// Waits for the end or for the user.
    async fn first(&self, running: &Running) -> Result<First> {
        let end = async {
            if self.options.follow {
                running.ended().await
            } else {
                running.drained().await
            }
        };
        tokio::select! {
            biased;
            end = end => Ok(end.map(|()| First::Drained)?),
            () = self.interrupt.asked() => Ok(First::Asked),
            () = progress::show(&self.line, running.watch()) => unreachable!("the line is shown until something happens"),
        }
    }

    /// Gives the counts: to the file, or the most frequent ones as a table.
    async fn give(&self, running: &Running, counts: &StateHandle<Word, u64>) -> Result<Totals> {
        let view = running.read(counts).await?;
        if let Some(output) = &self.output {
            return output.write(&view);
        }
        let mut totals = Totals::default();
        let mut top = Top::of(SHOWN);
        for record in view.scan() {
            let (word, count) = record?;
            totals.add(count);
            top.add(word, count);
        }
        let top = top.sorted();
        write_out(|out| table::write(out, &top))?;
        Ok(totals)
    }

    /// Beside a table the totals are part of what was asked for; beside a file they are news.
    fn tell_totals(&self, running: &Running, totals: Totals, took: Duration) -> Result<()> {
        let Progress {
            sealed,
            records,
            replays,
            ..
        } = running.progress();
        let new = records - running.resumed().records;
        let all = format!(
            "{}, {}, {} distinct, in {}",
            text::lines(records),
            text::count(totals.words, "word", "words"),
            text::grouped(totals.distinct),
            text::batches(sealed.0),
        );
        let speed = format!(
            "in {:.2} s ({}/s)",
            took.as_secs_f64(),
            text::grouped(text::rate(new, took))
        );
        let read = match new {
            0 => "nothing new".to_string(),
            new => format!("{} {speed}", text::lines(new)),
        };
        let run = format!("this run: {read}, {}", text::replays(replays));
        match &self.output {
            Some(output) => say(&format!(
                "{all}; {run}; counts in {}",
                output.path().display()
            )),
            None => write_out(|out| writeln!(out, "{all}\n{run}"))?,
        }
        Ok(())
    }

    fn tell_interrupted(&self, progress: &Progress) {
        let batch = text::grouped(progress.sealed.0);
        let lines = text::lines(progress.records);
        if self.home.is_kept() {
            say(&format!(
                "interrupted after batch {batch} and {lines}, before all was counted; run again, it goes on from there"
            ));
        } else {
            say(&format!(
                "interrupted after batch {batch} and {lines}, before all was counted; with --state DIR it could go on from there"
            ));
        }
    }
}

fn lost_leadership(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<fulmar::Error>()
        .is_some_and(fulmar::Error::is_lost_leadership)
}

/// Writes to standard output. A reader that has seen enough, like `head`, is no error.
fn write_out(write: impl FnOnce(&mut io::StdoutLock<'_>) -> io::Result<()>) -> Result<()> {
    let mut out = io::stdout().lock();
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("standard output cannot be written")
        }
        _ => Ok(()),
    }
}
