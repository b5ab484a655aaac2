//! The end of the interpreter: no thread may be in our frames when Python goes.
//!
//! Once Python ends, it unwinds every other thread that comes back for its lock, and frames of Rust do not survive that. So the last thing before
//! ([`end`], by `atexit`) is to wait until all calls of other threads are done. Calls that they begin from then on raise SystemExit, which ends
//! a thread without a word; who has given Python's lock away meanwhile does not take it again. The thread that ends Python may go on to call us.
//!
//! Calls are counted where the interpreter's lock is held, so that counting takes two plain moves; who comes back for the lock is counted apart.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ThreadId;
use std::time::Duration;

use pyo3::exceptions::PySystemExit;
use pyo3::prelude::*;
use pyo3::types::PyDict;

static ENDING: AtomicBool = AtomicBool::new(false);
/// The thread in which Python ends.
static LAST: OnceLock<ThreadId> = OnceLock::new();
/// Calls under way in threads that have the lock, or wait for it to run Python code.
static INSIDE: AtomicUsize = AtomicUsize::new(0);
/// Threads that are about to take the lock.
static RETURNING: AtomicUsize = AtomicUsize::new(0);

/// A call that is under way.
pub struct Inside(());

/// Begins a call, which ends when what this returns is dropped.
///
/// # Errors
/// SystemExit: Python ends.
#[inline(always)]
pub fn enter(_: Python<'_>) -> PyResult<Inside> {
    if ENDING.load(Ordering::Relaxed) {
        refuse_others()?;
    }
    count(1);
    Ok(Inside(()))
}

#[cold]
#[inline(never)]
fn refuse_others() -> PyResult<()> {
    if is_last() { Ok(()) } else { Err(PySystemExit::new_err(())) }
}

/// Counts calls under way, with the lock held.
#[inline(always)]
fn count(change: isize) {
    #[cfg(not(Py_GIL_DISABLED))]
    INSIDE.store(INSIDE.load(Ordering::Relaxed).wrapping_add_signed(change), Ordering::Relaxed);
    #[cfg(Py_GIL_DISABLED)]
    INSIDE.fetch_add(change as usize, Ordering::SeqCst);
}

impl Drop for Inside {
    #[inline(always)]
    fn drop(&mut self) {
        count(-1);
    }
}

/// Runs `work` without the interpreter's lock, within a call that has been [begun](enter). Never returns if Python ends meanwhile.
pub fn detach<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    count(-1);
    let result = py.detach(|| {
        let result = work();
        RETURNING.fetch_add(1, Ordering::SeqCst);
        if ENDING.load(Ordering::SeqCst) && !is_last() {
            RETURNING.fetch_sub(1, Ordering::SeqCst);
            loop {
                std::thread::park();
            }
        }
        result
    });
    count(1);
    RETURNING.fetch_sub(1, Ordering::SeqCst);
    result
}

/// Runs a wait of the engine without the interpreter's lock, if this thread has it: what it waits for may be far away.
pub fn outside(work: &mut (dyn FnMut() + Send)) {
    if crate::hot::holds_lock() {
        Python::attach(|py| detach(py, work));
    } else {
        work();
    }
}

fn is_last() -> bool {
    LAST.get().is_none_or(|last| *last == std::thread::current().id())
}

/// Python is about to end in this thread.
#[pyfunction]
fn _end(py: Python<'_>) {
    /// A call that takes longer, in code that a user gave us, is not waited for.
    const LONGEST: Duration = Duration::from_secs(5);
    const STEP: Duration = Duration::from_millis(1);
    let _ = LAST.set(std::thread::current().id());
    ENDING.store(true, Ordering::SeqCst);
    let mut waited = Duration::ZERO;
    while INSIDE.load(Ordering::SeqCst) + RETURNING.load(Ordering::SeqCst) > 0 && waited < LONGEST {
        py.detach(|| std::thread::sleep(STEP));
        waited += STEP;
    }
}

/// This process was forked: calls of other threads have stayed behind.
#[pyfunction]
fn _forked() {
    INSIDE.store(0, Ordering::SeqCst);
    RETURNING.store(0, Ordering::SeqCst);
}

/// Has Python call these two.
///
/// # Errors
/// Python has no memory.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let end = wrap_pyfunction!(_end, module)?;
    py.import("atexit")?.call_method1("register", (end,))?;
    let os = py.import("os")?;
    if os.hasattr("register_at_fork")? {
        let options = PyDict::new(py);
        options.set_item("after_in_child", wrap_pyfunction!(_forked, module)?)?;
        os.call_method("register_at_fork", (), Some(&options))?;
    }
    Ok(())
}
