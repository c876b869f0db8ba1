//! What kills the process: one call of one place.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use super::point::{Death, Moment, Place};

/// Burns down as calls are made; clones are the same fuse.
#[derive(Clone, Debug, Default)]
pub struct Fuse {
    death: Option<Death>,
    calls: Arc<AtomicU64>,
}

impl Fuse {
    /// Dies so, or never.
    #[must_use]
    pub fn new(death: Option<Death>) -> Fuse {
        Fuse {
            death,
            calls: Arc::default(),
        }
    }

    /// Makes a call, unless the process dies of it.
    pub fn around<T>(&self, place: Place, call: impl FnOnce() -> T) -> T {
        let dies = self.begin(place);
        let made = call();
        if dies {
            die();
        }
        made
    }

    /// As [`Fuse::around`], for a call that is awaited.
    pub async fn around_async<T>(&self, place: Place, call: impl Future<Output = T>) -> T {
        let dies = self.begin(place);
        let made = call.await;
        if dies {
            die();
        }
        made
    }

    /// Dies before the call, or is about to die within it; answers whether it dies when the call is done.
    fn begin(&self, place: Place) -> bool {
        let Some(death) = self.death.filter(|death| death.point.place == place) else {
            return false;
        };
        if self.calls.fetch_add(1, SeqCst) + 1 != death.call {
            return false;
        }
        match death.point.moment {
            Moment::Before => die(),
            Moment::Within => {
                thread::spawn(move || {
                    thread::sleep(Duration::from_micros(death.delay_us));
                    die()
                });
            }
            Moment::After => {}
        }
        true
    }
}

/// Kills the process as `kill -9` does: nothing is flushed, nothing is dropped.
fn die() -> ! {
    drop(signal_hook::low_level::raise(signal_hook::consts::SIGKILL));
    // A signal that a thread sends to itself comes before it goes on; this is for the compiler.
    loop {
        thread::park();
    }
}
