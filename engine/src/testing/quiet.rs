//! Panics that are expected by the hundred are not printed by the hundred.

use std::cell::Cell;
use std::panic::{set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

struct Until(bool);

impl Drop for Until {
    fn drop(&mut self) {
        QUIET.set(self.0);
    }
}

/// Runs something of whose panics, all of them caught, nothing is printed. Those of other threads are, as ever.
pub(super) fn quietly<T>(run: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            if !QUIET.get() {
                before(panic);
            }
        }));
    });
    let _until = Until(QUIET.replace(true));
    run()
}
