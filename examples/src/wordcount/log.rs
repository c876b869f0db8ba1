//! `tracing` events on standard error, above the progress line if there is one.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::ProgressBar;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

/// What is shown, for whoever changes it while the program runs; nobody does before [`init`], or if the program has a log of its own.
static SHOWN: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Shows what `RUST_LOG` asks for; warnings and errors unless told.
pub(super) fn init(line: &ProgressBar) {
    let (filter, handle) = reload::Layer::new(own());
    let events = tracing_subscriber::fmt::layer()
        .with_ansi(io::stderr().is_terminal())
        .with_writer(Above(line.clone()));
    let subscriber = tracing_subscriber::registry().with(filter).with(events);
    // A program that embeds this one has its own.
    if subscriber.try_init().is_ok() {
        drop(SHOWN.set(handle));
    }
}

/// Shows what the directive asks for, from now on; what `RUST_LOG` asked for at the start if there is none.
pub(super) fn set(directive: Option<&str>) -> Result<(), String> {
    let filter = match directive {
        None => own(),
        Some(text) => {
            let filter = EnvFilter::builder().parse(text);
            filter.map_err(|error| format!("log={text} is no log directive: {error}"))?
        }
    };
    let Some(shown) = SHOWN.get() else {
        // Then there is nothing to go back from either.
        return match directive {
            None => Ok(()),
            Some(_) => Err("this program's log is not WordCount's to change".to_owned()),
        };
    };
    shown
        .reload(filter)
        .map_err(|error| format!("the log cannot be changed: {error}"))
}

/// The filter of the program itself.
fn own() -> EnvFilter {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::WARN.into())
        .from_env_lossy()
}

/// Writes whole events above a progress line.
#[derive(Clone)]
struct Above(ProgressBar);

impl<'a> MakeWriter<'a> for Above {
    type Writer = Above;

    fn make_writer(&'a self) -> Above {
        self.clone()
    }
}

impl Write for Above {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write_all(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_logged_changes_while_the_program_runs_and_a_mistake_changes_nothing() {
        assert_eq!(set(None), Ok(()), "nothing to go back from");
        assert!(set(Some("info")).is_err(), "no log to change yet");
        init(&ProgressBar::hidden());
        let level = || LevelFilter::current();
        let before = level();
        set(Some("trace")).unwrap();
        assert_eq!(level(), LevelFilter::TRACE);
        set(Some("fulmar=debug,info")).unwrap();
        assert_eq!(level(), LevelFilter::DEBUG);
        let said = set(Some("fulmar=loud")).unwrap_err();
        assert!(said.contains("log=fulmar=loud"), "{said}");
        assert_eq!(level(), LevelFilter::DEBUG);
        set(None).unwrap();
        assert_eq!(level(), before);
    }
}
