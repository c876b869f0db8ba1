//! The progress line: on a terminal it shows how far the run is, elsewhere it shows nothing.

use std::time::{Duration, Instant};

use fulmar::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::text;

const TICK: Duration = Duration::from_millis(200);
/// The rate is that of about so many ticks, so that it follows a change and does not jump.
const SMOOTH: f64 = 10.0;

/// An empty line on standard error; hidden if that is no terminal.
pub(super) fn line() -> ProgressBar {
    let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    line.set_style(
        ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is right"),
    );
    line
}

/// Keeps the line up to date, for as long as it is polled.
#[allow(
    clippy::disallowed_methods,
    reason = "showing speeds is a shell's work: it reads the clock"
)]
pub(super) async fn show(line: &ProgressBar, progress: watch::Receiver<Progress>) {
    if line.is_hidden() {
        return std::future::pending().await;
    }
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: Option<(Instant, u64)> = None;
    let mut rate = None;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let progress = progress.borrow().clone();
        if let Some((then, records)) = last {
            let current = text::rate(progress.records - records, now - then) as f64;
            let smooth = rate.map_or(current, |rate| rate + (current - rate) / SMOOTH);
            rate = Some(smooth);
        }
        last = Some((now, progress.records));
        line.set_message(message(&progress, rate.unwrap_or(0.0) as u64));
        line.tick();
    }
}

fn message(progress: &Progress, rate: u64) -> String {
    format!(
        "batch {} · {} · {}/s · {} left · {}",
        text::grouped(progress.sealed.0),
        text::lines(progress.records),
        text::grouped(rate),
        text::bytes(progress.lag_bytes),
        text::replays(progress.replays),
    )
}
