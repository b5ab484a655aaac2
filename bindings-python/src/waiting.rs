//! Commands that have to wait: threads wait without Python's lock, coroutines without their thread.
//!
//! What is waited for is the engine's affair. Coroutines wait in `keystead/_waiting.py`, by the steps of [`Later`], which [`crate::link`] has too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::{Outcome as Step, Session, Wake};
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::exit::{detach, enter};
use crate::hot::call_one;
use crate::memory::copied;
use crate::reply::{Style, decode_or_raise};

/// Between two looks for signals, which no wait but Python's own is woken by.
const SLICE: Duration = Duration::from_millis(50);

/// Executes a command and waits for its reply, which the session shows.
///
/// # Errors
/// What a signal handler raised meanwhile: nothing was done then.
pub fn execute(py: Python<'_>, session: &mut Session, argv: &[&[u8]]) -> PyResult<()> {
    match session.begin(argv) {
        Step::Replied => Ok(()),
        Step::Blocked => wait(py, session, None).map(drop),
    }
}

/// Waits for the reply of a command that has to wait, so long at most, and lets signal handlers run meanwhile; says whether it has come.
///
/// # Errors
/// What one of them raised. The wait is over then.
pub fn wait(py: Python<'_>, session: &mut Session, time: Option<Duration>) -> PyResult<bool> {
    let look = |session: &mut Session, time| Ok::<_, PyErr>(session.wait(time).then_some(()));
    let has_come = while_signals(py, session, time, look);
    // Too late to cancel or not: what was popped for it is not lost.
    has_come.map(|come| come.is_some()).inspect_err(|_| session.abandon())
}

/// How long this thread may wait until it looks for signals, which only the main thread does.
///
/// # Errors
/// Python ends.
pub fn slice(py: Python<'_>) -> PyResult<Option<Duration>> {
    let threading = py.import("threading")?;
    let is_main = threading.call_method0("main_thread")?.is(&threading.call_method0("current_thread")?);
    Ok(is_main.then_some(SLICE))
}

/// Waits for something at a session, so long at most, and lets signal handlers run meanwhile. `look` waits as long as it is told, and returns what has come.
///
/// # Errors
/// What one of them raised, or `look`'s.
pub fn while_signals<R: Send, E: Into<PyErr> + Send>(
    py: Python<'_>,
    session: &mut Session,
    time: Option<Duration>,
    mut look: impl FnMut(&mut Session, Option<Duration>) -> Result<Option<R>, E> + Send,
) -> PyResult<Option<R>> {
    let slice = slice(py)?;
    let start = Instant::now();
    loop {
        let left = time.map(|time| time.saturating_sub(start.elapsed()));
        let within = slice.into_iter().chain(left).min();
        let come = detach(py, || look(session, within)).map_err(Into::into)?;
        if come.is_some() || left == Some(Duration::ZERO) {
            return Ok(come);
        }
        py.check_signals()?;
    }
}

/// Calls a function in an event loop when something has come for a session.
struct InLoop {
    on: Py<PyAny>,
    wake: Py<PyAny>,
    future: Py<PyAny>,
}

impl Wake for InLoop {
    fn wake(&self) {
        // At the end of Python there is nobody left to wake, nor in a loop that was closed.
        let _ = Python::try_attach(|py| {
            let Self { on, wake, future } = self;
            drop(on.bind(py).call_method1("call_soon_threadsafe", (wake.bind(py), future.bind(py))));
        });
    }
}

/// What calls `wake(future)` in an event loop; nothing without a loop.
pub fn in_loop(on: Option<Py<PyAny>>, wake: Py<PyAny>, future: Py<PyAny>) -> Option<Arc<dyn Wake>> {
    on.map(|on| Arc::new(InLoop { on, wake, future }) as Arc<dyn Wake>)
}

/// The reply of a command of a coroutine, which has yet to come. Awaiting it waits for it.
///
/// A command that waits for keys is begun anew when it is awaited, and queues from then on: of a task that is cancelled before it runs nobody knows when
/// this goes, and it would take what others wait for.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Later {
    session: Mutex<Option<Session>>,
    /// The command, if it is still to be begun.
    words: Mutex<Option<Vec<Vec<u8>>>>,
    text: bool,
    make_error: Option<Py<PyAny>>,
    callback: Option<Py<PyAny>>,
}

impl Later {
    /// The reply of a command that a session has begun, as `style` wants it; `callback` makes of it what the caller gets.
    ///
    /// # Errors
    /// There is no memory for its words.
    pub fn new(
        mut session: Session,
        argv: &[&[u8]],
        style: &Style<'_, '_>,
        callback: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let make_error = style.error.map(|error| error.clone().unbind());
        let words = argv.iter().map(|word| copied(word)).collect::<PyResult<Vec<_>>>()?;
        let words = Mutex::new(session.postpone().then_some(words));
        Ok(Self { session: Mutex::new(Some(session)), words, text: style.text, make_error, callback })
    }

    /// Begins the command that is still to be begun.
    fn begin(&self, session: &mut Session) {
        if let Some(words) = self.words.lock().take() {
            let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let _ = session.begin(&argv);
        }
    }
}

fn is_over() -> PyErr {
    PyRuntimeError::new_err("cannot reuse already awaited reply")
}

#[pymethods]
impl Later {
    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let waiting = slf.py().import("keystead._waiting")?;
        waiting.call_method1("reply_of", (slf,))?.call_method0("__await__")
    }

    /// Whether the reply has come.
    fn ready(&self) -> PyResult<bool> {
        let mut guard = self.session.lock();
        let session = guard.as_mut().ok_or_else(is_over)?;
        self.begin(session);
        Ok(session.try_take())
    }

    /// Seconds until the reply comes at the latest; None: never.
    fn left(&self) -> Option<f64> {
        self.session.lock().as_ref()?.time_left().map(|left| left.as_secs_f64())
    }

    /// Has `wake(future)` called in the event loop once it has come.
    fn wake(&self, on: Option<Py<PyAny>>, wake: Py<PyAny>, future: Py<PyAny>) {
        if let Some(session) = &*self.session.lock() {
            session.set_waker(in_loop(on, wake, future));
        }
    }

    /// Nobody waits any more.
    fn cancel(&self) {
        let session = self.session.lock().take();
        drop(session);
    }

    /// The reply, which has come, or its error.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let _inside = enter(py)?;
        let session = self.session.lock().take().ok_or_else(is_over)?;
        let tape = copied(session.replies())?;
        drop(session);
        let make_error = self.make_error.as_ref().map(|error| error.bind(py));
        let reply = decode_or_raise(py, &tape, &Style { text: self.text, error: make_error })?;
        match &self.callback {
            Some(callback) => Ok(call_one(callback.bind(py), &reply)?),
            None => Ok(reply),
        }
    }
}
