//! `Engine`: a handle to an engine, from which stores, caches and clients are made.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use keystead::cache::check_options;
use keystead::{Config, Copied, CopyOptions, Engine};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::errors::{raise, usage};
use crate::exit::{detach, enter};
use crate::listener::PyListener;

/// An engine: private to its handle, shared by everyone in this process who opens its name, or kept in the folder `path` and shared by everyone in this
/// process who opens that.
///
/// `config` is text as in `valkey.conf`, `options` are pairs of names and values. Both count only for whoever opens a name or a path first.
///
/// Raises ConnectionError if another process has the folder, which the text names, or if what is in it is damaged or can't be read or written; ValueError
/// if there are a name and a path, or an option is not valid.
#[pyclass(frozen, name = "Engine", module = "keystead", weakref)]
pub struct PyEngine {
    pub engine: Engine,
    name: Option<String>,
    path: Option<PathBuf>,
    closed: AtomicBool,
}

impl Drop for PyEngine {
    fn drop(&mut self) {
        // What was made of it may live on.
        if !self.closed.load(Ordering::Relaxed) {
            self.engine.drop_opening();
        }
    }
}

/// A copy in one of its directions.
type CopyWay = fn(&Engine, &str, &CopyOptions, &mut dyn FnMut(&Copied) -> bool) -> keystead::Result<Copied>;

impl PyEngine {
    fn copy<'py>(
        &self,
        py: Python<'py>,
        way: CopyWay,
        (url, pattern): (&str, &str),
        (replace, cursor, most): (bool, u64, Option<u64>),
    ) -> PyResult<Bound<'py, PyDict>> {
        let _inside = enter(py)?;
        let mut options = CopyOptions::default();
        (options.pattern, options.replaces, options.cursor) = (pattern.into(), replace, cursor);
        let mut goes_on = |copied: &Copied| most.is_none_or(|most| copied.keys + copied.kept < most);
        let copied = detach(py, || way(&self.engine, url, &options, &mut goes_on));
        let copied = copied.map_err(|error| raise(py, &error))?;
        let told = PyDict::new(py);
        told.set_item("keys", copied.keys)?;
        told.set_item("bytes", copied.bytes)?;
        told.set_item("kept", copied.kept)?;
        told.set_item("cursor", copied.cursor)?;
        told.set_item("complete", copied.is_complete)?;
        Ok(told)
    }
}

#[pymethods]
impl PyEngine {
    /// `is_cache`: there is a least memory limit.
    #[new]
    #[pyo3(signature = (name=None, *, path=None, config=None, options=None, is_cache=false))]
    fn new(
        py: Python<'_>,
        name: Option<String>,
        path: Option<PathBuf>,
        config: Option<&str>,
        options: Option<Vec<(String, String)>>,
        is_cache: bool,
    ) -> PyResult<Self> {
        let _inside = enter(py)?;
        if name.is_some() && path.is_some() {
            return Err(usage(py, "ERR an engine is opened by its name or by its path, not by both"));
        }
        let chosen = || -> keystead::Result<Config> {
            let chosen = Config::from_text(config.unwrap_or_default().as_bytes())?;
            for (name, value) in options.iter().flatten() {
                chosen.set_option(name, value)?;
            }
            if is_cache {
                check_options(&chosen)?;
            }
            Ok(chosen)
        };
        let mut builder = Engine::builder().config(chosen().map_err(|error| raise(py, &error))?);
        if let Some(name) = &name {
            builder = builder.name(name);
        }
        if let Some(path) = &path {
            builder = builder.path(path);
        }
        let engine = detach(py, || builder.open()).map_err(|error| raise(py, &error))?;
        Ok(Self { engine, name, path, closed: AtomicBool::new(false) })
    }

    /// The name it was opened by, or None.
    #[getter]
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The folder it was opened by, as it was given, or None.
    #[getter]
    fn path(&self) -> Option<String> {
        self.path.as_ref().map(|path| path.to_string_lossy().into_owned())
    }

    /// Has the engine listen at `address` for Valkey's clients, over RESP2 and RESP3: "127.0.0.1:6379", "[::1]:6379"; port 0 lets the system choose. Options
    /// such as `requirepass`, `maxclients` and `timeout` count as on a server.
    ///
    /// Raises ConnectionError if there is no such address or it is taken.
    fn listen(&self, py: Python<'_>, address: &str) -> PyResult<PyListener> {
        let _inside = enter(py)?;
        PyListener::new(py, self, address)
    }

    /// Whether this process was forked after the engine was opened, so that it has a copy.
    #[getter]
    fn _is_copy(&self) -> bool {
        self.engine.is_copy()
    }

    /// Where an engine that has a name or a path is unpickled, that is opened there.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyTuple>> {
        let (py, this) = (slf.py(), slf.get());
        if this.name.is_none() && this.path.is_none() {
            return Err(PyTypeError::new_err("an engine without a name or a path can't be pickled"));
        }
        let arguments = (this.name.as_deref(), this.path.as_deref(), std::process::id());
        (py.import("keystead._engine")?.getattr("reopen")?, arguments).into_pyobject(py)
    }

    /// The engine's number: no other of this process has it.
    #[getter]
    fn _number(&self) -> u64 {
        self.engine.number()
    }

    /// Whether it stands in a Valkey, whose URL its name is.
    #[getter]
    fn _is_remote(&self) -> bool {
        self.engine.stands_elsewhere()
    }

    /// The database of whoever names none.
    #[getter]
    fn _default_db(&self) -> usize {
        self.engine.default_db()
    }

    /// What is known of what is kept near of a remote: a dict, or None for an engine in this process, and where nothing is kept.
    ///
    /// `hits` and `misses` are of commands, fast reads aside; `fills` values that were kept, `fills_dropped` those that were written meanwhile; `joined`
    /// reads that waited for another's fetch; `generation` counts links, `linked` says whether there is one, `refused` that the remote does not
    /// track; `bytes` is what is near; `staleness_bound` the seconds that a value can be behind if the link breaks unnoticed; `breaker` is "closed",
    /// "half-open" or "open".
    fn near_stats<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let Some(stats) = self.engine.near_stats() else { return Ok(None) };
        let told = PyDict::new(py);
        for (name, count) in [
            ("hits", stats.hits),
            ("misses", stats.misses),
            ("fills", stats.fills),
            ("fills_dropped", stats.fills_dropped),
            ("invalidations", stats.invalidations),
            ("flushes", stats.flushes),
            ("joined", stats.joined),
            ("generation", stats.generation),
            ("bytes", stats.bytes as u64),
        ] {
            told.set_item(name, count)?;
        }
        told.set_item("linked", stats.is_linked)?;
        told.set_item("refused", stats.is_refused)?;
        told.set_item("staleness_bound", stats.staleness_bound.as_secs_f64())?;
        told.set_item("breaker", stats.breaker.name())?;
        Ok(Some(told))
    }

    /// Copies keys, with their types and times to live, from the Valkey of a URL into this engine: those that match `pattern`, from `cursor` on, and no more than about
    /// `most`, if that is given. Other threads go on meanwhile.
    ///
    /// Returns a dict: `keys` that were copied and `bytes` of their values, `kept`, keys that were here already and have kept their value since `replace` is false, and `cursor`, to go on with
    /// unless it is `complete`.
    ///
    /// Raises ConnectionError if the server can't be reached; ResponseError if it refuses, or a value can't be stored.
    #[pyo3(signature = (url, pattern="*", *, replace=true, cursor=0, most=None))]
    fn pull<'py>(
        &self,
        py: Python<'py>,
        url: &str,
        pattern: &str,
        replace: bool,
        cursor: u64,
        most: Option<u64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.copy(py, keystead::pull, (url, pattern), (replace, cursor, most))
    }

    /// As `pull`, the other way round: from this engine to the Valkey of a URL.
    #[pyo3(signature = (url, pattern="*", *, replace=true, cursor=0, most=None))]
    fn push<'py>(
        &self,
        py: Python<'py>,
        url: &str,
        pattern: &str,
        replace: bool,
        cursor: u64,
        most: Option<u64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.copy(py, keystead::push, (url, pattern), (replace, cursor, most))
    }

    /// Reads the strings whose keys match `pattern`, so that they are near; for an engine that stands in a Valkey. Other threads go on meanwhile. Returns how many strings there were.
    ///
    /// Raises ConnectionError if the server can't be reached; ValueError if the engine stands in this process.
    #[pyo3(signature = (pattern="*"))]
    fn warm(&self, py: Python<'_>, pattern: &str) -> PyResult<u64> {
        let _inside = enter(py)?;
        detach(py, || keystead::warm(&self.engine, pattern.as_bytes())).map_err(|error| raise(py, &error))
    }

    /// Drops what is kept near of a remote: the next read of each key asks it. O(keys that are near).
    fn flush_near(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = enter(py)?;
        detach(py, || self.engine.flush_near());
        Ok(())
    }

    /// Bytes in use by data, tables and timers.
    #[getter]
    fn used_bytes(&self) -> usize {
        self.engine.used_bytes()
    }

    /// What whoever opened the engine should know of what was on disk: what was imported, completed or cut off.
    #[getter]
    fn opening_notes(&self) -> Vec<String> {
        self.engine.opening_notes()
    }

    /// Writes all databases, as they are now, to a file, which takes the place of what was there: of Valkey's format (RDB), or of Keystead's own if its name ends in
    /// `.ks`. Other threads go on meanwhile.
    ///
    /// Raises ConnectionError if it can't be written: what was there is there.
    fn snapshot(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let _inside = enter(py)?;
        detach(py, || self.engine.snapshot(path)).map_err(|error| raise(py, &error))
    }

    /// Has all databases hold what a file of Valkey's format (RDB) or of Keystead's own holds, and nothing else. Other threads go on meanwhile; nobody sees a part of it.
    ///
    /// Raises ConnectionError if it is damaged or can't be read: nothing has changed. OutOfMemoryError: there is no memory for it.
    fn restore(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let _inside = enter(py)?;
        detach(py, || self.engine.restore(path)).map_err(|error| raise(py, &error))
    }

    /// Gives this opening up. With the last one an engine that is kept on disk ends, whatever was made of it: what was acknowledged is on the disk, another
    /// process can open it, and writes raise ConnectionError. An engine in memory goes on for as long as anybody has it.
    ///
    /// Raises ResponseError if the log can't be written; what was acknowledged is there again all the same when the folder is opened.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let _inside = enter(py)?;
        if self.closed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        if !self.engine.is_kept() {
            self.engine.drop_opening();
            return Ok(());
        }
        detach(py, || self.engine.close_opening()).map_err(|error| raise(py, &error))
    }

    /// Closing it may have to wait for a disk.
    #[getter]
    fn _is_kept(&self) -> bool {
        self.engine.is_kept()
    }

    /// This opening was given up.
    #[getter]
    fn closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exc))]
    fn __exit__(&self, py: Python<'_>, _exc: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        match (&self.name, &self.path) {
            (Some(name), _) => format!("<keystead.Engine {name:?}>"),
            (None, Some(path)) => format!("<keystead.Engine in {}>", path.display()),
            (None, None) => "<keystead.Engine, private>".into(),
        }
    }
}

/// Panics, for the tests that show that panics stay inside.
#[pyfunction]
#[pyo3(name = "_panic")]
pub fn panic_for_test(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(crate::hot::protect(py, || panic!("asked for"))?)
}
