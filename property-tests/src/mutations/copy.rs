//! A copy of the sources that may be broken, and the worlds that are built of it.

use std::ffi::OsString;
use std::fs;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::{Found, root};

/// What the worlds are built of.
const PACKAGES: [&str; 3] = ["state", "coordinator", "engine"];

/// What runs worlds until one breaks a rule.
const FIRST: &str = include_str!("../../mutations/first.rs");

/// Far more than the worlds of all seeds take: a fault that makes one of them stand still must not make the check do so.
const PATIENCE: Duration = Duration::from_secs(600);

/// The packages that the seeded worlds are built of, in a folder of their own.
pub struct SourceCopy {
    folder: PathBuf,
    /// Removes the folder at the end, unless it is to be kept.
    _temporary: Option<TempDir>,
}

impl SourceCopy {
    /// Copies the sources to `folder`, from where the next copy takes what is compiled; or to a temporary folder.
    ///
    /// # Errors
    ///
    /// What cannot be read or written.
    pub fn new(folder: Option<PathBuf>) -> Result<SourceCopy> {
        let temporary = match folder {
            Some(_) => None,
            None => Some(tempfile::tempdir().context("a temporary folder")?),
        };
        let folder = folder.or_else(|| Some(temporary.as_ref()?.path().to_path_buf()));
        let folder = folder.context("a folder was given or made")?;
        let copy = SourceCopy {
            folder: folder.join("sources"),
            _temporary: temporary,
        };
        copy.fill()
            .with_context(|| format!("copy the sources to {}", copy.folder.display()))?;
        Ok(copy)
    }

    fn fill(&self) -> Result<()> {
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)?;
        for package in PACKAGES {
            copy_folder(&root().join(package), &self.folder.join(package))?;
        }
        fs::copy(root().join("Cargo.lock"), self.folder.join("Cargo.lock"))?;
        let manifest = fs::read_to_string(root().join("Cargo.toml"))?;
        let is_members = |line: &&str| line.starts_with("members = ");
        let members = manifest.lines().find(is_members);
        let members = members.context("Cargo.toml has no line of members")?;
        let manifest = manifest.replace(members, &format!("members = {PACKAGES:?}"));
        fs::write(self.folder.join("Cargo.toml"), manifest)?;
        fs::write(self.folder.join("engine/examples/first.rs"), FIRST)?;
        Ok(())
    }

    /// Whether a patch fits the sources as they are now.
    ///
    /// # Errors
    ///
    /// That it does not, and where.
    pub fn check(&self, patch: &Path) -> Result<()> {
        self.git_apply(&["--check"], patch)
    }

    /// Does something while a patch is applied.
    ///
    /// # Errors
    ///
    /// That the patch does not fit, or what was done.
    pub fn with<T>(
        &mut self,
        patch: &Path,
        work: impl FnOnce(&mut SourceCopy) -> Result<T>,
    ) -> Result<T> {
        self.git_apply(&[], patch)?;
        let outcome = work(self);
        self.git_apply(&["--reverse"], patch)?;
        outcome.with_context(|| patch.display().to_string())
    }

    fn git_apply(&self, options: &[&str], patch: &Path) -> Result<()> {
        let ceiling = self.folder.parent().unwrap_or(&self.folder);
        let output = Command::new("git")
            .arg("apply")
            .args(options)
            .arg(patch)
            .current_dir(&self.folder)
            // Whatever repository the folder may lie in: the paths are the copy's.
            .env("GIT_CEILING_DIRECTORIES", ceiling)
            .env_remove("GIT_DIR")
            .output()
            .context("git cannot be started")?;
        ensure!(
            output.status.success(),
            "{} does not fit the sources any more: make it anew\n{}",
            patch.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Builds the worlds of the copy as it is, and runs them in the order of their seeds until one breaks a rule.
    ///
    /// # Errors
    ///
    /// That it does not compile, or that its worlds stand still.
    pub fn first(&mut self, seeds: u64) -> Result<Option<Found>> {
        let child = Command::new(self.build()?)
            .arg(seeds.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("the worlds cannot be started")?;
        let told = Killed(child).tells()?;
        if told == "nothing\n" {
            return Ok(None);
        }
        let found = told.strip_prefix("found ").and_then(|told| {
            let (seed, what) = told.split_once(' ')?;
            let (seed, what) = (seed.parse().ok()?, what.trim_end().to_owned());
            Some(Found { seed, what })
        });
        let found = found.with_context(|| format!("the worlds ended with {told:?}"))?;
        Ok(Some(found))
    }

    /// The program that runs worlds. Built for many small changes, not for speed.
    fn build(&self) -> Result<PathBuf> {
        let target = self.folder.with_file_name("build");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let output = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--package", "fulmar"])
            .args(["--no-default-features", "--features", "testing"])
            .args(["--example", "first"])
            .current_dir(&self.folder)
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_BUILD_BUILD_DIR", &target)
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_RELEASE_LTO", "off")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "none")
            .output()
            .context("cargo cannot be started")?;
        if !output.status.success() {
            bail!(
                "it does not compile\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(target.join("release/examples/first"))
    }
}

/// A process that does not outlive this.
struct Killed(Child);

impl Killed {
    /// All that it says until it ends.
    fn tells(&mut self) -> Result<String> {
        let out = self.0.stdout.take().context("its output is piped")?;
        let (send, receive) = channel();
        std::thread::spawn(move || {
            let mut told = String::new();
            let read = BufReader::new(out).read_to_string(&mut told);
            drop(send.send(read.map(|_| told)));
        });
        match receive.recv_timeout(PATIENCE) {
            Ok(told) => told.context("the worlds' output"),
            Err(RecvTimeoutError::Timeout) => {
                bail!("the worlds were not through after {} s", PATIENCE.as_secs())
            }
            Err(error) => Err(error).context("the worlds' output"),
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        // Whether it has ended already does not matter.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            copy_folder(&path, &target)?;
        } else {
            // Written anew, so that it is newer than what was compiled of an older copy.
            fs::write(&target, fs::read(&path)?)?;
        }
    }
    Ok(())
}
