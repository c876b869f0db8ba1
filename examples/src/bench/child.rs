//! One run of one contender in a process of its own, which answers with one JSON line.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::contender::{Contender, Input, Measured, contenders};

/// The subcommand by which the bench starts itself; see [`serve`].
pub(super) const SUBCOMMAND: &str = "run-one";

/// Runs the contender `name` in a child process, in the folder `dir`.
pub fn run_child(name: &str, input: &Input, dir: &Path) -> Result<Measured> {
    let servers = input.zookeeper.as_ref();
    let zookeeper = servers.map(|servers| format!("--zookeeper={}", servers.connect_string()));
    let output = Command::new(std::env::current_exe()?)
        .arg(SUBCOMMAND)
        .arg(name)
        .arg(&input.file)
        .arg(dir)
        .args(["--batch-lines", &input.batch_lines.to_string()])
        .args(["--executors", &input.executors.to_string()])
        .args(["--memory", &input.memory.to_string()])
        .args(zookeeper)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start the bench's own program")?;
    ensure!(
        output.status.success(),
        "the contender {name} failed: {}",
        output.status
    );
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the contender {name} gave no result"))
}

/// The child's side: runs the contender and prints what was measured.
pub fn serve(name: &str, input: &Input, dir: &Path) -> Result<()> {
    let measured = find(name)?.run(input, dir)?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

fn find(name: &str) -> Result<Box<dyn Contender>> {
    let mut all = contenders();
    match all.iter().position(|contender| contender.name() == name) {
        Some(index) => Ok(all.swap_remove(index)),
        None => {
            let names: Vec<_> = all.iter().map(|contender| contender.name()).collect();
            bail!(
                "there is no contender {name:?}; there are {}",
                names.join(", ")
            )
        }
    }
}
