//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::exit;
use tokio::sync::watch;

/// Tells when a clean end was asked for.
#[derive(Clone)]
pub(super) struct Interrupt {
    asked: watch::Receiver<bool>,
    temporary: Arc<OnceLock<PathBuf>>,
}

impl Interrupt {
    /// Takes the signals over. They have a thread of their own, so that the second one ends the program whatever
    /// the others do.
    pub(super) fn listen() -> Result<Self> {
        let (ask, asked) = watch::channel(false);
        let temporary = Arc::new(OnceLock::<PathBuf>::new());
        let mut signals =
            Signals::new([SIGINT, SIGTERM]).context("signals cannot be taken over")?;
        let goes = temporary.clone();
        let body = move || {
            let mut signals = signals.forever();
            if signals.next().is_some() {
                // Nobody waits any more: then the program is ending as it is.
                let _ = ask.send(true);
            }
            if let Some(signal) = signals.next() {
                if let Some(dir) = goes.get() {
                    drop(std::fs::remove_dir_all(dir));
                }
                // Not even destructors run: what is saved is saved.
                exit(128 + signal);
            }
        };
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(body)
            .context("no thread can be started")?;
        Ok(Interrupt { asked, temporary })
    }

    /// Names a directory that is to go away at an end at once, too.
    pub(super) fn remove_at_exit(&self, dir: PathBuf) {
        drop(self.temporary.set(dir));
    }

    /// Waits until a clean end is asked for.
    pub(super) async fn asked(&self) {
        let mut asked = self.asked.clone();
        if asked.wait_for(|asked| *asked).await.is_err() {
            // The thread lives as long as the program; without it nobody will ever ask.
            std::future::pending::<()>().await;
        }
    }
}
