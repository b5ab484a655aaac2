//! `Store`: keys and values as bytes, with the names of Valkey's commands.
//!
//! The methods are in the table of `methods.rs`; those of values with types are in [`crate::cache`].

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use keystead::{Condition, Database, SetOptions, Ttl};
use pyo3::PyClass;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyDict, PyTuple};
use smallvec::SmallVec;

use crate::arguments::{condition, held, integer, raw_value, text_of, ttl};
use crate::engine::PyEngine;
use crate::errors::{Outcome, Raised, raise, usage};
use crate::hot::{Argument, Arguments, Method, NewList, blob, bytes_of, fetched, names};
use crate::memory::{collected, no_memory, with_room_for};
use crate::pipeline;
use crate::reply::Style;
use crate::sessions::{Sessions, argv_of, encode};
use crate::waiting::Later;

/// Bytes of one database of an engine.
#[pyclass(frozen, subclass, module = "keystead._keystead")]
pub struct Store {
    inner: StoreInner,
}

/// As [`Store`], with ready awaitables.
#[pyclass(frozen, subclass, module = "keystead._keystead")]
pub struct AsyncStore {
    inner: StoreInner,
}

/// The part of the two that is the same.
pub struct StoreInner {
    pub db: Database,
    pub sessions: Arc<Sessions>,
}

impl StoreInner {
    /// A numbered database of an engine.
    ///
    /// # Errors
    /// There is no such database.
    pub fn new(py: Python<'_>, engine: &PyEngine, db: usize) -> PyResult<Self> {
        let database = engine.engine.database(db).map_err(|error| usage(py, &error.to_string()))?;
        Ok(Self { db: database, sessions: Arc::new(Sessions::new(engine.engine.clone(), Vec::new(), db)) })
    }
}

macro_rules! store_class {
    ($class:ident, $is_async:literal { $($more:tt)* }) => {
        #[pymethods]
        impl $class {
            #[new]
            #[pyo3(signature = (engine, db=0))]
            fn new(py: Python<'_>, engine: &Bound<'_, PyEngine>, db: usize) -> PyResult<Self> {
                Ok(Self { inner: StoreInner::new(py, engine.get(), db)? })
            }

            fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
                let exists = self.inner.db.contains(bytes_of(key.as_borrowed())?);
                exists.map_err(|error| raise(key.py(), &error))
            }

            fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
                self.inner.db.len().map_err(|error| raise(py, &error))
            }

            /// A store is true even when it is empty.
            fn __bool__(&self) -> bool {
                true
            }

            $($more)*
        }

        impl StoreClass for $class {
            const IS_ASYNC: bool = $is_async;
        }

        impl AsRef<StoreInner> for $class {
            #[inline]
            fn as_ref(&self) -> &StoreInner {
                &self.inner
            }
        }
    };
}

store_class!(AsyncStore, true {});
store_class!(Store, false {
    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let name = bytes_of(key.as_borrowed())?;
        let found = self.inner.db.get_with(name, |found| found.map(|found| blob(py, &found.text)));
        match found.map_err(|error| raise(py, &error))? {
            Some(bytes) => Ok(bytes?),
            None => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let value = raw_value(value.as_borrowed())?;
        let name = bytes_of(key.as_borrowed())?;
        let set = self.inner.db.set(name, value.as_ref());
        set.map(drop).map_err(|error| raise(key.py(), &error))
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        match self.inner.db.delete(bytes_of(key.as_borrowed())?) {
            Ok(true) => Ok(()),
            Ok(false) => Err(PyKeyError::new_err(key.clone().unbind())),
            Err(error) => Err(raise(key.py(), &error)),
        }
    }
});

/// A class with these methods.
pub trait StoreClass: PyClass<Frozen = True> + Sync + AsRef<StoreInner> {
    /// Its methods give awaitables.
    const IS_ASYNC: bool;
}

/// Declares methods: their type, and what they do with the store and the arguments.
macro_rules! methods {
    ($( $(#[$doc:meta])* $name:ident($store:ident, $arguments:ident) $body:block )*) => { $(
        $(#[$doc])*
        pub struct $name<C>(PhantomData<C>);

        impl<C: StoreClass> Method for $name<C> {
            type Class = C;

            fn is_awaitable(reply: &Bound<'_, PyAny>) -> bool {
                reply.is_instance_of::<Later>()
            }

            #[inline]
            fn call<'py>(_: Argument<'_, 'py>, class: &C, $arguments: &Arguments<'_, 'py>) -> Outcome<'py> {
                let $store: &StoreInner = class.as_ref();
                $body
            }
        }
    )* };
}

methods! {
    /// `get(key, default=None)`.
    Get(store, arguments) {
        let (key, default) = key_and_default(arguments)?;
        let py = arguments.py();
        let key = bytes_of(key)?;
        let found = store.db.get_with(key, |found| found.map(|found| blob(py, &found.text)));
        match found.map_err(|error| raise(py, &error))? {
            Some(bytes) => bytes,
            None => Ok(or_none(py, default)),
        }
    }

    /// `set(key, value, ttl=None, nx=False, xx=False)`.
    Set(store, arguments) {
        let given = SetArguments::read(arguments)?;
        let key = bytes_of(given.key)?;
        let py = arguments.py();
        let set = match text_of(given.value)? {
            Some(value) => store.db.set_with(key, value, given.options()),
            None => store.db.set_with(key, raw_value(given.value)?, given.options()),
        };
        boolean(py, set.map_err(|error| raise(py, &error))?)
    }

    /// `delete(*keys)`.
    Delete(store, arguments) {
        let keys = arguments.positional().map(bytes_of).collect::<PyResult<SmallVec<[&[u8]; 8]>>>()?;
        let deleted = delete(&store.db, &keys).map_err(|error| raise(arguments.py(), &error))?;
        Ok(deleted.into_pyobject(arguments.py())?.into_any())
    }

    /// `contains(key)`.
    Contains(store, arguments) {
        let [key] = arguments.bind(names!(c"key"), 1)?;
        let exists = store.db.contains(bytes_of(key.expect("required"))?);
        boolean(arguments.py(), exists.map_err(|error| raise(arguments.py(), &error))?)
    }

    /// `incr(key, by=1)`.
    Incr(store, arguments) {
        let (key, by) = match arguments.plain() {
            Some([key]) => (key, 1),
            None => {
                let [key, by] = arguments.bind(names!(c"key", c"by"), 1)?;
                (key.expect("required"), integer(by, 1)?)
            }
        };
        let sum = store.db.incr(bytes_of(key)?, by);
        Ok(sum.map_err(|error| raise(arguments.py(), &error))?.into_pyobject(arguments.py())?.into_any())
    }

    /// `hget(key, field)`.
    HGet(store, arguments) {
        let [key, field] = match arguments.plain() {
            Some(plain) => plain,
            None => arguments.bind(names!(c"key", c"field"), 2)?.map(|place| place.expect("required")),
        };
        let py = arguments.py();
        let (key, field) = (bytes_of(key)?, bytes_of(field)?);
        let found = store.db.hget_with(key, field, |found| found.map(|bytes| blob(py, bytes)));
        match found.map_err(|error| raise(py, &error))? {
            Some(bytes) => bytes,
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// `hset(key, field, value)`.
    HSet(store, arguments) {
        let [key, field, value] = arguments.bind(names!(c"key", c"field", c"value"), 3)?;
        let (key, field) = (bytes_of(key.expect("required"))?, bytes_of(field.expect("required"))?);
        let value = raw_value(value.expect("required"))?;
        let created = store.db.hset(key, field, value.as_ref());
        boolean(arguments.py(), created.map_err(|error| raise(arguments.py(), &error))?)
    }

    /// `mget(keys)`.
    MGet(store, arguments) {
        let keys = match arguments.plain() {
            Some([keys]) => keys,
            None => arguments.bind(names!(c"keys"), 1)?[0].expect("required"),
        };
        let py = arguments.py();
        let held = held(keys)?;
        let keys = key_bytes(&held)?;
        let mut values = NewList::new(py, keys.len())?;
        let mut made = Ok(());
        let read = store.db.get_many_with(&keys, |_, found| match found.filter(|_| made.is_ok()).map(|found| blob(py, &found.text)) {
            Some(Ok(bytes)) => values.push(bytes),
            Some(Err(raised)) => made = Err(raised),
            None => values.push(py.None().into_bound(py)),
        });
        read.map_err(|error| raise(py, &error))?;
        made?;
        Ok(values.finish())
    }

    /// `mset(pairs, ttl=None)`.
    MSet(store, arguments) {
        let [pairs, time] = arguments.bind(names!(c"pairs", c"ttl"), 1)?;
        let held = held_pairs(pairs.expect("required"))?;
        let mut words = with_room_for(held.len())?;
        for (key, value) in &held {
            words.push((bytes_of(key.as_borrowed())?, raw_value(value.as_borrowed())?));
        }
        let set = store.db.set_many(&words, ttl(time)?);
        set.map_err(|error| raise(arguments.py(), &error))?;
        Ok(arguments.py().None().into_bound(arguments.py()))
    }

    /// `expire(key, ttl)`.
    Expire(store, arguments) {
        let [key, time] = arguments.bind(names!(c"key", c"ttl"), 2)?;
        let exists = expire(&store.db, bytes_of(key.expect("required"))?, ttl(time)?);
        boolean(arguments.py(), exists.map_err(|error| raise(arguments.py(), &error))?)
    }

    /// `ttl(key)`.
    TimeToLive(store, arguments) {
        let [key] = arguments.bind(names!(c"key"), 1)?;
        let key = key.expect("required");
        time_to_live(arguments.py(), key, store.db.ttl(bytes_of(key)?))
    }

    /// `execute(*words)`.
    Execute(store, arguments) {
        let py = arguments.py();
        let words = encode(py, arguments.positional(), &py.None().into_bound(py))?;
        let argv = argv_of(&words)?;
        let style = Style { text: false, error: None };
        if C::IS_ASYNC {
            return store.sessions.execute_later(py, &argv, &style, || Ok(None));
        }
        store.sessions.execute(py, &argv, &style)
    }

    /// `pipeline(commands=None, transaction=False)`.
    Pipeline(store, arguments) {
        pipeline::of_store(&store.db, &store.sessions, C::IS_ASYNC, arguments)
    }
}

/// The key and the default of a getter.
///
/// # Errors
/// TypeError, as for any Python function.
#[inline(always)]
pub fn key_and_default<'a, 'py>(
    arguments: &Arguments<'a, 'py>,
) -> Result<(Argument<'a, 'py>, Option<Argument<'a, 'py>>), Raised> {
    if let Some([key]) = arguments.plain() {
        return Ok((key, None));
    }
    let [key, default] = arguments.bind(names!(c"key", c"default"), 1)?;
    Ok((key.expect("required"), default))
}

/// The arguments of `set(key, value, ttl=None, nx=False, xx=False)`.
pub struct SetArguments<'a, 'py> {
    pub key: Argument<'a, 'py>,
    pub value: Argument<'a, 'py>,
    pub ttl: Ttl,
    pub condition: Condition,
}

impl<'a, 'py> SetArguments<'a, 'py> {
    /// Reads them.
    ///
    /// # Errors
    /// TypeError or ValueError.
    #[inline(always)]
    pub fn read(arguments: &Arguments<'a, 'py>) -> Result<Self, Raised> {
        let condition = Condition::Always;
        if let Some([key, value]) = arguments.plain() {
            return Ok(Self { key, value, ttl: Ttl::None, condition });
        }
        if let Some(([key, value], time)) = arguments.plain_and(names!(c"ttl")) {
            return Ok(Self { key, value, ttl: ttl(Some(time))?, condition });
        }
        Self::read_all(arguments)
    }

    fn options(&self) -> SetOptions {
        SetOptions::new().ttl(self.ttl).condition(self.condition)
    }

    #[inline(never)]
    fn read_all(arguments: &Arguments<'a, 'py>) -> Result<Self, Raised> {
        let [key, value, time, nx, xx] = arguments.bind(names!(c"key", c"value", c"ttl", c"nx", c"xx"), 2)?;
        let (key, value) = (key.expect("required"), value.expect("required"));
        Ok(Self { key, value, ttl: ttl(time)?, condition: condition(nx, xx)? })
    }
}

/// The pairs of a dict, of another mapping, or of an iterable of pairs.
///
/// # Errors
/// It is none of these.
pub fn held_pairs<'py>(pairs: Argument<'_, 'py>) -> PyResult<Vec<(Bound<'py, PyAny>, Bound<'py, PyAny>)>> {
    if let Ok(dict) = pairs.cast::<PyDict>() {
        return collected(dict.iter().map(Ok));
    }
    let items =
        if pairs.hasattr("items")? { pairs.call_method0("items")? } else { pairs.to_owned().into_any() };
    collected(items.try_iter()?.map(|pair| pair?.extract()))
}

/// The bytes of keys, borrowed from them.
///
/// # Errors
/// One is neither str nor bytes.
pub fn key_bytes<'a>(keys: &'a Bound<'_, PyTuple>) -> PyResult<SmallVec<[&'a [u8]; 128]>> {
    let mut bytes = SmallVec::new();
    bytes.try_reserve_exact(keys.len()).map_err(|_| no_memory())?;
    for key in fetched(keys)? {
        bytes.push(bytes_of(key)?);
    }
    Ok(bytes)
}

/// True or False.
#[inline]
pub fn boolean(py: Python<'_>, value: bool) -> Outcome<'_> {
    Ok(value.into_pyobject(py)?.to_owned().into_any())
}

/// The default of a getter.
#[inline]
pub fn or_none<'py>(py: Python<'py>, default: Option<Argument<'_, 'py>>) -> Bound<'py, PyAny> {
    default.map_or_else(|| py.None().into_bound(py), |default| default.to_owned())
}

/// Removes keys, all of them at once; how many existed.
///
/// # Errors
/// The engine's.
#[inline]
pub fn delete<K: AsRef<[u8]>>(db: &Database, keys: &[K]) -> keystead::Result<usize> {
    match keys {
        [key] => db.delete(key).map(usize::from),
        _ => db.delete_many(keys),
    }
}

/// A new time to live, or none, for a key; says whether the key exists.
///
/// # Errors
/// The engine's.
pub fn expire(db: &Database, key: &[u8], ttl: Ttl) -> keystead::Result<bool> {
    match ttl {
        Ttl::After(time) => db.expire(key, time),
        Ttl::None | Ttl::Keep => {
            db.persist(key)?;
            db.contains(key)
        }
    }
}

/// Seconds to live as a Python object.
///
/// # Errors
/// KeyError if there is no such key, and the engine's.
pub fn time_to_live<'py>(
    py: Python<'py>,
    key: Argument<'_, 'py>,
    ttl: keystead::Result<Option<Option<Duration>>>,
) -> Outcome<'py> {
    match ttl.map_err(|error| raise(py, &error))? {
        None => Err(PyKeyError::new_err(key.to_owned().unbind()).into()),
        Some(None) => Ok(py.None().into_bound(py)),
        Some(Some(time)) => Ok(time.as_secs_f64().into_pyobject(py)?.into_any()),
    }
}
