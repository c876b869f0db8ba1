//! Several real WordCounts on one state directory and one ledger in ZooKeeper: who leads, as they say themselves, and whether all that
//! they sealed fits together.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::feeder::Feeder;
use crate::hand::Hand;
pub use crate::member::{Member, Said, Sealed};
use crate::program::Run;
use crate::terms::judge;

/// Far longer than anything takes on a busy machine: what hangs fails.
const PATIENCE: Duration = Duration::from_secs(90);
/// The name that the processes keep their ledger under.
pub const NAME: &str = "counted";
const TEXT: &str = "text";

/// What all processes together have done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Processes started.
    pub processes: usize,
    /// Terms: how often one came to lead.
    pub terms: usize,
    /// Batches that statistics tell of.
    pub told: usize,
}

/// Processes that share a state directory, a name in ZooKeeper, and a text.
pub struct Cluster {
    program: PathBuf,
    folder: TempDir,
    connection: String,
    options: String,
    members: Vec<Member>,
    feeder: Option<Feeder>,
}

impl Cluster {
    /// None yet; all will have this connection string and these options.
    ///
    /// # Errors
    ///
    /// There is no room for their folder.
    pub fn new(program: &Path, connection: &str, options: &str) -> Result<Cluster> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join(TEXT), "")?;
        Ok(Cluster {
            program: program.to_path_buf(),
            folder,
            connection: connection.to_owned(),
            options: options.to_owned(),
            members: Vec::new(),
            feeder: None,
        })
    }

    /// Where the text and the state are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The text's file.
    #[must_use]
    pub fn text(&self) -> PathBuf {
        self.folder().join(TEXT)
    }

    /// A hand in the topology's nodes.
    #[must_use]
    pub fn hand(&self) -> Hand {
        Hand::new(&self.connection, NAME)
    }

    /// Lets the text grow from now on, by about so many lines a second.
    pub fn feed(&mut self, seed: u64, lines_a_second: usize) {
        self.feeder = Some(Feeder::start(&self.text(), seed, lines_a_second));
    }

    /// Starts one more process, which follows the text; answers with its number.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start(&mut self) -> Result<usize> {
        self.start_with("--follow")
    }

    /// Starts one more process with these options beside those of all.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub fn start_with(&mut self, options: &str) -> Result<usize> {
        let number = self.members.len();
        let line = format!(
            "--zookeeper {} --name {NAME} {} {options} {TEXT}",
            self.connection, self.options
        );
        let arguments: Vec<String> = line.split_whitespace().map(String::from).collect();
        let prefix = format!("{number}-");
        let run = Run::start_as(&self.program, self.folder.path(), &prefix, &arguments)?;
        self.members.push(Member::new(run));
        Ok(number)
    }

    /// One of the processes, by its number.
    pub fn member(&mut self, number: usize) -> &mut Member {
        &mut self.members[number]
    }

    /// The numbers of those that live.
    pub fn living(&mut self) -> Vec<usize> {
        let members = self.members.iter_mut().enumerate();
        members
            .filter_map(|(number, member)| matches!(member.run.ended(), Ok(None)).then_some(number))
            .collect()
    }

    /// Who leads, of those that live: of several that believe it the newest. With its epoch.
    pub fn leader(&mut self) -> Option<(usize, u64)> {
        let living = self.living();
        let leaders = living
            .into_iter()
            .filter_map(|number| Some((number, self.members[number].epoch()?)));
        leaders.max_by_key(|(_, epoch)| *epoch)
    }

    /// Waits until one leads.
    ///
    /// # Errors
    ///
    /// None does.
    pub fn wait_for_leader(&mut self) -> Result<(usize, u64)> {
        let mut leader = None;
        self.wait("one of them leads", |cluster| {
            leader = cluster.leader();
            leader.is_some()
        })?;
        leader.context("it was waited for")
    }

    /// Waits until this one has told of so many more batches than by now.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn wait_for_batches(&mut self, number: usize, more: usize) -> Result<()> {
        let enough = self.member(number).told() + more;
        self.wait(&format!("{number} has sealed {more} more"), |cluster| {
            cluster.member(number).told() >= enough
        })
    }

    /// How many batches all of them have told of.
    pub fn told(&mut self) -> usize {
        self.members.iter_mut().map(Member::told).sum()
    }

    /// Waits until they have told of so many more batches than by now, whoever leads meanwhile.
    ///
    /// # Errors
    ///
    /// They do not.
    pub fn wait_for_more(&mut self, more: usize) -> Result<()> {
        let enough = self.told() + more;
        self.wait(&format!("{more} more batches are sealed"), |cluster| {
            cluster.told() >= enough
        })
    }

    /// Waits until this one stands by.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn wait_for_standby(&mut self, number: usize) -> Result<()> {
        self.wait(&format!("{number} stands by"), |cluster| {
            cluster.member(number).has_said(&Said::StandsBy)
        })
    }

    /// Waits until it holds, looking every few milliseconds.
    ///
    /// # Errors
    ///
    /// It does not within a minute and a half, or a process has ended that was not asked to: with what all have said.
    pub fn wait(&mut self, what: &str, mut holds: impl FnMut(&mut Cluster) -> bool) -> Result<()> {
        let since = Instant::now();
        loop {
            if holds(self) {
                return Ok(());
            }
            for (number, member) in self.members.iter_mut().enumerate() {
                if !member.dismissed
                    && let Some(status) = member.run.ended()?
                {
                    bail!(
                        "waiting until {what}: {number} ended by itself with {status}\n{}",
                        self.report()
                    );
                }
            }
            if since.elapsed() > PATIENCE {
                bail!(
                    "waited {PATIENCE:?} in vain until {what}\n{}",
                    self.report()
                );
            }
            std::thread::sleep(Duration::from_millis(4));
        }
    }

    /// Kills one (SIGKILL) and waits until it is gone.
    ///
    /// # Errors
    ///
    /// It had ended by itself.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        self.members[number].dismissed = true;
        let status = self.members[number].run.kill()?;
        ensure!(
            status.code().is_none(),
            "{number} had ended with {status}\n{}",
            self.report()
        );
        Ok(())
    }

    /// Whether all that was told fits together: no batch twice, none missing within a term, epochs that grow, and nothing lost at a
    /// take-over.
    ///
    /// # Errors
    ///
    /// What does not.
    pub fn judge(&mut self) -> Result<Figures> {
        let mut terms = Vec::new();
        let mut all = 0;
        for (number, member) in self.members.iter_mut().enumerate() {
            all += member.sealed()?.len();
            terms.extend(member.terms(number)?);
        }
        let count = terms.len();
        let told = judge(terms).with_context(|| self.report())?;
        ensure!(
            all == told,
            "{all} batches were told, but only {told} in terms that were announced\n{}",
            self.report()
        );
        Ok(Figures {
            processes: self.members.len(),
            terms: count,
            told,
        })
    }

    /// Ends all that live by SIGTERM, counts what is left of the text, and compares the counts with those made by hand.
    ///
    /// # Errors
    ///
    /// They differ, or something does not end as it should, or [`Cluster::judge`]s badly.
    pub fn finish(&mut self) -> Result<Figures> {
        let expected = self.feeder.take().context("there is no text")?.finish()?;
        let living = self.living();
        for &number in &living {
            self.members[number].dismissed = true;
            self.members[number].run.signal("TERM")?;
        }
        for number in living {
            self.members[number].run.succeed()?;
        }
        let last = self.start_with("")?;
        self.members[last].dismissed = true;
        self.members[last].run.succeed()?;
        let found = fs::read(&self.members[last].run.output)?;
        let figures = self.judge()?;
        if found != expected {
            let kept = self.folder.path().with_extension("differs");
            drop(fs::rename(self.folder.path(), &kept));
            bail!(
                "the counts differ; the folder is kept: {}\n{}",
                kept.display(),
                self.report()
            );
        }
        for member in &self.members {
            let said = member.run.said();
            ensure!(!said.contains("panicked"), "a thread panicked: {said}");
        }
        Ok(figures)
    }

    /// What the newest processes have said, for whoever looks for what went wrong.
    #[must_use]
    pub fn report(&self) -> String {
        let members = self.members.iter().enumerate();
        let newest = members.skip(self.members.len().saturating_sub(5));
        let said = newest.map(|(number, member)| {
            let said = member.run.said();
            let lines: Vec<&str> = said.lines().collect();
            let lines = lines[lines.len().saturating_sub(15)..].join("\n  ");
            format!("{number} (pid {}):\n  {lines}", member.run.pid())
        });
        said.collect::<Vec<_>>().join("\n")
    }
}
