//! `Link`: what stands in for the socket of one connection of valkey-py or redis-py, with a session of its own.
//!
//! Pipelines, WATCH and everything else that must stay on one connection go through it. The connection classes are in Python.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keystead::{Form, Item, Outcome, Session, Wake};
use parking_lot::Mutex;
use pyo3::exceptions::{PyConnectionError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use smallvec::SmallVec;

use crate::engine::PyEngine;
use crate::exit::{detach, enter};
use crate::memory::copied;
use crate::readiness::{Bell, Readiness, both};
use crate::reply::{Style, decode};
use crate::sessions::{argv_of, encode};
use crate::waiting;

/// A session and the replies that nobody has read yet.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Link {
    /// `None` once it was closed.
    inner: Mutex<Option<Inner>>,
    /// Wakes the threads that wait.
    bell: Arc<Bell>,
    make_error: Py<PyAny>,
}

struct Inner {
    session: Session,
    replies: VecDeque<Vec<u8>>,
    /// Commands that were sent behind one that has to wait.
    behind: VecDeque<Vec<Vec<u8>>>,
    /// What event loops watch, once one has asked.
    readiness: Option<Arc<Readiness>>,
    /// Who is woken in an event loop of Python.
    in_loop: Option<Arc<dyn Wake>>,
    /// What wakes threads, once one has waited.
    bell: Option<Arc<Bell>>,
}

impl Inner {
    /// Executes a command, or has it wait for those before it.
    fn send(&mut self, argv: &[&[u8]]) -> PyResult<()> {
        if self.session.is_blocked() {
            let words = argv.iter().map(|word| copied(word)).collect::<PyResult<_>>()?;
            self.behind.push_back(words);
            return Ok(());
        }
        if self.session.begin(argv) == Outcome::Replied && !self.session.take_answered_by_messages() {
            self.replies.push_back(copied(self.session.replies())?);
        }
        Ok(())
    }

    /// Takes what has come: the reply of a command that had to wait, with those of the commands behind it, and messages.
    fn look(&mut self) -> PyResult<()> {
        while self.session.is_blocked() {
            if !self.session.try_take() {
                return Ok(());
            }
            self.took()?;
        }
        while self.session.is_pushed_to()
            && let Some(message) = received(&mut self.session, Some(Duration::ZERO))?
        {
            self.replies.push_back(copied(&message)?);
        }
        Ok(())
    }

    /// The reply of a command that had to wait has come.
    fn took(&mut self) -> PyResult<()> {
        self.replies.push_back(copied(self.session.replies())?);
        self.go_on()
    }

    /// Executes the commands behind one that had to wait, until another has to.
    fn go_on(&mut self) -> PyResult<()> {
        while !self.session.is_blocked()
            && let Some(words) = self.behind.pop_front()
        {
            let argv: SmallVec<[&[u8]; 8]> = words.iter().map(Vec::as_slice).collect();
            self.send(&argv)?;
        }
        Ok(())
    }

    /// Has the descriptor be readable if there is something to read, and only then.
    #[inline]
    fn show(&mut self) -> PyResult<()> {
        if self.readiness.is_some() { self.show_in_descriptor() } else { Ok(()) }
    }

    #[cold]
    fn show_in_descriptor(&mut self) -> PyResult<()> {
        let Some(readiness) = self.readiness.clone() else { return Ok(()) };
        if self.replies.is_empty() {
            // In this order: what comes in between is looked at, or raises it again.
            readiness.lower();
            self.look()?;
        }
        if !self.replies.is_empty() {
            readiness.wake();
        }
        // Who watches a descriptor has no clock for us.
        if self.session.is_blocked() {
            self.session.set_alarm();
        }
        Ok(())
    }

    /// Has whoever waits for the session be woken.
    fn set_wakers(&self) {
        let readiness = self.readiness.clone().map(|readiness| readiness as Arc<dyn Wake>);
        let bell = self.bell.clone().map(|bell| bell as Arc<dyn Wake>);
        self.session.set_waker(both(both(readiness, bell), self.in_loop.clone()));
    }

    /// Whether something may come that is not there yet.
    fn may_come(&self) -> bool {
        self.session.is_blocked() || self.session.is_pushed_to()
    }
}

/// The next message, if one comes within so long.
fn received(session: &mut Session, time: Option<Duration>) -> PyResult<Option<Arc<[u8]>>> {
    session.next_push(time).map_err(|lost| PyConnectionError::new_err(lost.to_string()))
}

#[pymethods]
impl Link {
    #[new]
    fn new(engine: &Bound<'_, PyEngine>, make_error: Py<PyAny>) -> Self {
        let session = engine.get().engine.session(Form::Tape);
        let (replies, behind) = (VecDeque::new(), VecDeque::new());
        let inner = Inner { session, replies, behind, readiness: None, in_loop: None, bell: None };
        Self { inner: Mutex::new(Some(inner)), bell: Arc::default(), make_error }
    }

    /// Begins a packed command; its reply waits for [`Link::read`]. Named after the socket method whose place it takes.
    fn sendall(&self, words: &Bound<'_, PyTuple>) -> PyResult<()> {
        let _inside = enter(words.py())?;
        let objects: SmallVec<[Bound<'_, PyAny>; 8]> = words.iter().collect();
        let none = words.py().None().into_bound(words.py());
        let words = encode(words.py(), objects.iter().map(|object| object.as_borrowed()), &none)?;
        let argv = argv_of(&words)?;
        let mut guard = self.inner.lock();
        let inner = guard.as_mut().ok_or_else(closed)?;
        inner.look()?;
        inner.send(&argv)?;
        // Of what a command has for its own session the engine tells nobody, but another thread may wait here.
        if let Some(bell) = &inner.bell {
            bell.wake();
        }
        inner.show()
    }

    /// The oldest reply or message; errors are returned as exceptions. Waits for one that is to come, so many seconds at most; None: some time.
    ///
    /// With `pushed` the session is one of RESP3: what was pushed is handed to that, and what it returns is the outcome if a push is `wanted`; if not, the
    /// reply behind it is.
    ///
    /// Raises TimeoutError if nothing has come in time.
    #[pyo3(signature = (text, pushed = None, wanted = false, seconds = None))]
    fn read<'py>(
        &self,
        py: Python<'py>,
        text: bool,
        pushed: Option<&Bound<'py, PyAny>>,
        wanted: bool,
        seconds: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = enter(py)?;
        let style = Style { text, error: Some(self.make_error.bind(py)) };
        loop {
            let tape = self.next(py, time(seconds))?;
            let item = decode(py, &tape, &style)?;
            match pushed.filter(|_| Item::is_push(&tape)) {
                None => return Ok(item),
                Some(pushed) => {
                    let outcome = pushed.call1((item,))?;
                    if wanted {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// Whether a reply or a message waits, or comes within so many seconds; None: some time.
    #[pyo3(signature = (seconds = Some(0.0)))]
    fn can_read(&self, py: Python<'_>, seconds: Option<f64>) -> PyResult<bool> {
        let _inside = enter(py)?;
        self.wait_and(py, time(seconds), |inner| !inner.replies.is_empty())
            .map(|found| found.unwrap_or(false))
    }

    /// Whether [`Link::read`] need not wait.
    fn ready(&self) -> PyResult<bool> {
        let mut guard = self.inner.lock();
        let Some(inner) = guard.as_mut() else { return Ok(true) };
        inner.look()?;
        inner.show()?;
        Ok(!inner.replies.is_empty() || !inner.may_come())
    }

    /// A descriptor that is readable while there is something to read, for event loops; -1 once the session has ended.
    fn fileno(&self) -> PyResult<i32> {
        let mut guard = self.inner.lock();
        let Some(inner) = guard.as_mut() else { return Ok(-1) };
        let readiness = match &inner.readiness {
            Some(readiness) => readiness.clone(),
            None => {
                let readiness = Arc::new(Readiness::new()?);
                inner.readiness = Some(readiness.clone());
                inner.set_wakers();
                inner.show()?;
                readiness
            }
        };
        Ok(readiness.descriptor())
    }

    /// Seconds until a reply comes at the latest; None: never.
    fn left(&self) -> Option<f64> {
        self.inner.lock().as_ref()?.session.time_left().map(|left| left.as_secs_f64())
    }

    /// Has `wake(future)` called in the event loop once something has come.
    fn wake(&self, on: Option<Py<PyAny>>, wake: Py<PyAny>, future: Py<PyAny>) {
        if let Some(inner) = &mut *self.inner.lock() {
            inner.in_loop = waiting::in_loop(on, wake, future);
            inner.set_wakers();
        }
    }

    /// Ends the session.
    fn close(&self) {
        let ended = self.inner.lock().take();
        drop(ended);
        self.bell.wake();
    }
}

impl Link {
    /// The oldest reply or message, once there is one.
    fn next(&self, py: Python<'_>, time: Option<Duration>) -> PyResult<Vec<u8>> {
        let look = |inner: &mut Inner| match inner.replies.pop_front() {
            Some(next) => inner.show().map(|()| next),
            None if inner.may_come() => Err(PyTimeoutError::new_err("timed out")),
            None => Err(PyConnectionError::new_err("no command was sent")),
        };
        self.wait_and(py, time, look)?.unwrap_or_else(|| Err(closed()))
    }

    /// Waits until there is something to read, if anything may come, or so long at most, and then looks; `None` once it was closed.
    #[inline]
    fn wait_and<R>(
        &self,
        py: Python<'_>,
        time: Option<Duration>,
        look: impl FnOnce(&mut Inner) -> R,
    ) -> PyResult<Option<R>> {
        if !self.is_over(time)? {
            self.wait(py, time)?;
        }
        Ok(self.inner.lock().as_mut().map(look))
    }

    /// Whether there is nothing to wait for, or no time left.
    #[inline]
    fn is_over(&self, left: Option<Duration>) -> PyResult<bool> {
        let mut guard = self.inner.lock();
        let Some(inner) = guard.as_mut() else { return Ok(true) };
        inner.look()?;
        inner.show()?;
        Ok(!inner.replies.is_empty() || !inner.may_come() || left == Some(Duration::ZERO))
    }

    /// Sleeps until there is nothing to wait for any more, or so long at most. Other threads may send meanwhile, as on a socket, and signal handlers run.
    fn wait(&self, py: Python<'_>, time: Option<Duration>) -> PyResult<()> {
        let start = Instant::now();
        let slice = waiting::slice(py)?;
        loop {
            let rung = self.bell.rung();
            let until = {
                let mut guard = self.inner.lock();
                let Some(inner) = guard.as_mut() else { return Ok(()) };
                if inner.bell.is_none() {
                    inner.bell = Some(self.bell.clone());
                    inner.set_wakers();
                }
                inner.session.time_left()
            };
            let left = time.map(|time| time.saturating_sub(start.elapsed()));
            // What came before the bell was there has rung nothing.
            if self.is_over(left)? {
                return Ok(());
            }
            let within = slice.into_iter().chain(left).chain(until).min();
            detach(py, || self.bell.wait(rung, within));
            if let Err(error) = py.check_signals() {
                return self.give_up().and(Err(error));
            }
        }
    }

    /// Has nobody wait for the reply of a command any more: what it has popped is put back.
    fn give_up(&self) -> PyResult<()> {
        let mut guard = self.inner.lock();
        let Some(inner) = guard.as_mut().filter(|inner| inner.session.is_blocked()) else { return Ok(()) };
        inner.session.abandon();
        inner.go_on()
    }
}

/// A time beyond all times is none.
fn time(seconds: Option<f64>) -> Option<Duration> {
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
}

fn closed() -> PyErr {
    PyConnectionError::new_err("the session was closed")
}

/// The words of a command as a tuple of bytes, checked and encoded as valkey-py does before it sends anything.
#[pyfunction]
pub fn pack<'py>(
    words: &Bound<'py, PyTuple>,
    data_error: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = words.py();
    let objects: SmallVec<[Bound<'_, PyAny>; 8]> = words.iter().collect();
    let words = encode(py, objects.iter().map(|object| object.as_borrowed()), data_error)?;
    PyTuple::new(
        py,
        crate::memory::collected(words.iter().map(|word| crate::memory::bytes(py, word.as_ref())))?,
    )
}
