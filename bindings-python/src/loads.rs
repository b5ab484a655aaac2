//! The steps of loading a missing key, which `keystead/_loads.py` takes, in functions and in coroutines.
//!
//! Who loads and who waits is the engine's affair (`keystead::cache`). Loaders are called by Python, not from here: see invariant 9 of [`crate::hot`].

use std::sync::Arc;
use std::time::Duration;

use keystead::cache::{Caller, Landing, Runner, this_thread};
use keystead::{Begun, Text, Ttl};
use parking_lot::Mutex;
use pyo3::exceptions::{PyException, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};

use crate::arguments::ttl;
use crate::cache::{AsyncCache, Cache, CacheInner};
use crate::errors::{Outcome, Raised, raise};
use crate::exit::{detach, enter};
use crate::hot::{Exact, bytes_of, exact};
use crate::memory::copied;
use crate::value::{Encoded, make};

/// Between two looks for signals, which only Python's own waits are woken by.
const SLICE: Duration = Duration::from_millis(50);

/// The exception that a loader raised, for those who waited for it, and its traceback as it was then.
struct Shared {
    error: Py<PyAny>,
    traceback: Py<PyAny>,
}

impl Shared {
    fn new(py: Python<'_>, error: &PyErr) -> Self {
        let traceback =
            error.traceback(py).map_or_else(|| py.None(), |traceback| traceback.into_any().unbind());
        Self { error: error.value(py).clone().into_any().unbind(), traceback }
    }

    /// The exception to raise once more. Without the frames of those who have raised it meanwhile: they would pile up.
    fn again(&self, py: Python<'_>) -> PyErr {
        let error = self.error.bind(py);
        match error.call_method1("with_traceback", (&self.traceback,)) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    }
}

/// The event loop that a load runs on.
struct Loop(Py<PyAny>);

/// The cache behind either class.
///
/// # Errors
/// TypeError: it is neither.
pub fn cache_of(cache: &Bound<'_, PyAny>) -> PyResult<Arc<CacheInner>> {
    match cache.cast::<Cache>() {
        Ok(cache) => Ok(cache.get().as_ref().clone()),
        Err(_) => Ok(cache.cast::<AsyncCache>()?.get().as_ref().clone()),
    }
}

/// The context variable that holds the numbers of the loads which the code running now belongs to.
pub fn within(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static WITHIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = || {
        let options = PyDict::new(py);
        options.set_item("default", PyTuple::empty(py))?;
        let kind = py.import("contextvars")?.getattr("ContextVar")?;
        Ok::<_, PyErr>(kind.call(("keystead_within",), Some(&options))?.unbind())
    };
    Ok(WITHIN.get_or_try_init(py, make)?.bind(py))
}

/// Whether a load that runs there can go on: its loop runs, in whatever thread.
fn can_run(py: Python<'_>, runner: &Runner) -> bool {
    let Some(Loop(on)) = runner.downcast_ref::<Loop>() else { return true };
    let running = on.bind(py).call_method0("is_running").and_then(|running| running.extract());
    running.unwrap_or(true)
}

/// Calls `ask` with who the caller is; `on` is the loop that its load would run on, without which waiting blocks the thread.
fn with_caller<R>(
    py: Python<'_>,
    on: Option<&Bound<'_, PyAny>>,
    ask: impl FnOnce(&Caller<'_>) -> R,
) -> PyResult<R> {
    let loads: Vec<u64> = within(py)?.call_method0("get")?.extract()?;
    let runner = on.map(|on| Arc::new(Loop(on.clone().unbind())) as Runner);
    Ok(ask(&Caller { within: &loads, thread: this_thread(), blocks: on.is_none(), runner }))
}

/// Asks for a key, and does not wait for a loop that stands still.
fn begin(py: Python<'_>, cache: &CacheInner, key: &[u8], on: Option<&Bound<'_, PyAny>>) -> PyResult<Begun> {
    with_caller(py, on, |caller| {
        let mut begun = cache.store.db.begin_load(key, caller);
        loop {
            match begun {
                Begun::Wait(wait) if wait.runner().is_some_and(|runner| !can_run(py, &runner)) => {
                    begun = wait.give_up(caller);
                }
                begun => return begun,
            }
        }
    })
}

/// Begins to load a key whatever is there.
fn begin_anew(
    py: Python<'_>,
    cache: &CacheInner,
    key: &[u8],
    on: Option<&Bound<'_, PyAny>>,
) -> PyResult<keystead::Load> {
    with_caller(py, on, |caller| cache.store.db.begin_refresh(key, caller))
}

/// Ends a load with what the loader returned, and returns it as later calls will see it: what was stored, read back.
fn settle<'py>(
    cache: &CacheInner,
    load: keystead::Load,
    key: &[u8],
    result: &Bound<'py, PyAny>,
    ttl: Ttl,
) -> Outcome<'py> {
    let py = result.py();
    let stored = || -> PyResult<(Encoded<'_>, bool)> {
        let encoded = cache.codec.encode(result.as_borrowed())?;
        // A cache that was closed meanwhile writes no more.
        let is_stored = cache.check_open(py).is_ok()
            && load.store(encoded.as_ref(), ttl).map_err(|error| raise(py, &error))?;
        Ok((encoded, is_stored))
    };
    let (encoded, is_stored) = match stored() {
        Ok(stored) => stored,
        Err(error) => {
            fail(py, load, &error);
            return Err(error.into());
        }
    };
    load.land(Landing::Value(encoded.as_ref().into()));
    if is_stored && cache.keeps_objects() {
        // The object that hits will return.
        return Ok(cache.look_up(py, key)?.unwrap_or_else(|| result.clone()));
    }
    if exact(result) == Exact::Other { decode(py, cache, encoded.as_ref()) } else { Ok(result.clone()) }
}

/// Ends a load with an exception. Those that are not `Exception`s are the leader's own affair, as KeyboardInterrupt is.
fn fail(py: Python<'_>, load: keystead::Load, error: &PyErr) {
    load.land(if error.is_instance_of::<PyException>(py) {
        Landing::Failed(Arc::new(Shared::new(py, error)))
    } else {
        Landing::Again
    });
}

fn decode<'py>(py: Python<'py>, cache: &CacheInner, stored: &[u8]) -> Outcome<'py> {
    let found = keystead::Found { text: Text::Bytes(stored), is_ascii: false };
    let object = make(py, &found).finish(py, &cache.codec)?;
    Ok(object.expect("it is there"))
}

/// What a wait comes to: the value, or `None` where one has to look again.
fn answer<'py>(
    py: Python<'py>,
    cache: &CacheInner,
    landing: Option<Landing>,
) -> Result<Option<Bound<'py, PyAny>>, Raised> {
    match landing {
        Some(Landing::Value(stored)) => decode(py, cache, &stored).map(Some),
        Some(Landing::Failed(error)) => match error.downcast_ref::<Shared>() {
            Some(error) => Err(error.again(py).into()),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

/// Waits, and lets signal handlers run meanwhile.
fn block(py: Python<'_>, wait: &keystead::Wait) -> PyResult<Option<Landing>> {
    let threading = py.import("threading")?;
    let is_main = threading.call_method0("main_thread")?.is(&threading.call_method0("current_thread")?);
    loop {
        let left = wait.left();
        let most = if is_main { left.min(SLICE) } else { left };
        let landing = detach(py, || wait.block(most));
        if landing.is_some() || left.is_zero() {
            return Ok(landing);
        }
        py.check_signals()?;
    }
}

/// A lease in the hands of Python.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Load {
    cache: Arc<CacheInner>,
    key: Vec<u8>,
    load: Mutex<Option<keystead::Load>>,
    within: Py<PyTuple>,
}

/// A wait in the hands of Python.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Wait {
    cache: Arc<CacheInner>,
    wait: Mutex<Option<keystead::Wait>>,
}

/// A value that was there after all.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Found {
    value: Py<PyTuple>,
}

/// `load_counts()`: how many loads of this process others began anew because they took too long, and how many callers wait for one at present. For tests.
#[pyfunction]
pub fn load_counts() -> (u64, usize) {
    keystead::cache::load_counts()
}

/// `begin_load(cache, key, loop, refresh)`: a `Load`, a `Wait`, or a `Found`; with `refresh` a `Load` in any case. `loop` is where the caller runs; without
/// one it is a thread that will block.
#[pyfunction]
#[pyo3(signature = (cache, key, on, refresh))]
pub fn begin_load<'py>(
    cache: &Bound<'py, PyAny>,
    key: &Bound<'py, PyAny>,
    on: Option<&Bound<'py, PyAny>>,
    refresh: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = cache.py();
    let _inside = enter(py)?;
    let cache = cache_of(cache)?;
    cache.check_open(py)?;
    let key = copied(cache.full_key(bytes_of(key.as_borrowed())?)?.as_ref())?;
    let look = || -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(value) = cache.look_up(py, &key)? else { return Ok(None) };
        let value = PyTuple::new(py, [value])?.unbind();
        Ok(Some(Bound::new(py, Found { value })?.into_any()))
    };
    let load = if refresh {
        begin_anew(py, &cache, &key, on)?
    } else {
        if let Some(found) = look()? {
            return Ok(found);
        }
        let load = match begin(py, &cache, &key, on)? {
            Begun::Wait(wait) => {
                return Ok(Bound::new(py, Wait { cache, wait: Mutex::new(Some(wait)) })?.into_any());
            }
            Begun::Lead(load) => load,
        };
        // Whoever led before may just have ended.
        if let Some(found) = look()? {
            return Ok(found);
        }
        load
    };
    let within = PyTuple::new(py, load.within())?.unbind();
    Ok(Bound::new(py, Load { cache, key, load: Mutex::new(Some(load)), within })?.into_any())
}

#[pymethods]
impl Found {
    #[classattr]
    #[allow(non_upper_case_globals, reason = "Python's name")]
    const is_load: bool = false;

    /// A tuple of the value.
    fn block(&self, py: Python<'_>) -> Py<PyTuple> {
        self.value.clone_ref(py)
    }

    /// As the other steps.
    fn end(&self) {}
}

#[pymethods]
impl Load {
    #[classattr]
    #[allow(non_upper_case_globals, reason = "Python's name")]
    const is_load: bool = true;

    /// What the context variable is to be set to while the loader runs.
    #[getter]
    fn within(&self, py: Python<'_>) -> Py<PyTuple> {
        self.within.clone_ref(py)
    }

    /// Ends the load with its result, and returns that as later calls will.
    fn settle<'py>(
        &self,
        result: &Bound<'py, PyAny>,
        ttl: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = enter(result.py())?;
        let load = self.load.lock().take();
        let load = load.ok_or_else(|| PyTypeError::new_err("the load has ended"))?;
        Ok(settle(&self.cache, load, &self.key, result, self::ttl(Some(ttl.as_borrowed()))?)?)
    }

    /// Ends the load with an exception.
    fn fail(&self, py: Python<'_>, error: Bound<'_, PyAny>) {
        let load = self.load.lock().take();
        if let Some(load) = load {
            fail(py, load, &PyErr::from_value(error));
        }
    }

    /// Ends the load if it has not ended.
    fn end(&self) {
        let load = self.load.lock().take();
        drop(load);
    }
}

#[pymethods]
impl Wait {
    #[classattr]
    #[allow(non_upper_case_globals, reason = "Python's name")]
    const is_load: bool = false;

    /// Waits as long as that makes sense, and answers as `answer` does.
    fn block<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let _inside = enter(py)?;
        let Some(wait) = self.wait.lock().take() else { return Ok(None) };
        let landing = block(py, &wait)?;
        let answer = answer(py, &self.cache, landing)?;
        answer.map(|value| PyTuple::new(py, [value])).transpose()
    }

    /// Seconds to wait at most.
    #[getter]
    fn left(&self) -> f64 {
        self.wait.lock().as_ref().map_or(0.0, |wait| wait.left().as_secs_f64())
    }

    /// Has `wake(future)` called in the event loop once the load has ended.
    fn wake(&self, on: Py<PyAny>, wake: Py<PyAny>, future: Py<PyAny>) {
        let call = move || {
            // At the end of Python there is nobody left to wake.
            let _ = Python::try_attach(|py| {
                // A loop that was closed meanwhile has nobody left to wake.
                let called =
                    on.bind(py).call_method1("call_soon_threadsafe", (wake.bind(py), future.bind(py)));
                drop(called);
                drop((on, wake, future));
            });
        };
        let wait = self.wait.lock();
        if let Some(wait) = wait.as_ref() {
            wait.on_landing(call);
        }
    }

    /// A tuple of the value that was loaded; None if it must be looked for again.
    fn answer<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let _inside = enter(py)?;
        let landing = self.wait.lock().as_ref().and_then(keystead::Wait::landing);
        let answer = answer(py, &self.cache, landing)?;
        answer.map(|value| PyTuple::new(py, [value])).transpose()
    }

    /// Ends the wait.
    fn end(&self) {
        let wait = self.wait.lock().take();
        drop(wait);
    }
}
