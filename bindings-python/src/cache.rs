//! The native base of `keystead.Cache`: keys in a namespace, values with their types.
//!
//! How values look when stored is in [`crate::value`]; decorators, statistics and options are in Python.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keystead::{Condition, Found, SetOptions, Ttl};
use pyo3::PyClass;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyDict, PyString};
use smallvec::SmallVec;

use crate::arguments::{held, integer, ttl};
use crate::engine::PyEngine;
use crate::errors::{Outcome, Raised, closed, raise};
use crate::exit::{detach, enter};
use crate::hot::{Argument, Arguments, Method, blob, bytes_of, items, names};
use crate::live::{Form, Live, Own};
use crate::memory::{collected, joined, with_room_for};
use crate::store::{
    SetArguments, StoreInner, boolean, delete, expire, held_pairs, key_and_default, key_bytes, or_none,
    time_to_live,
};
use crate::value::{Codec, Encoded, Made, make, plain_text};

/// A cache whose methods return values.
#[pyclass(frozen, subclass, weakref, module = "keystead._keystead")]
pub struct Cache {
    inner: Arc<CacheInner>,
}

/// A cache whose methods return ready awaitables.
#[pyclass(frozen, subclass, weakref, module = "keystead._keystead")]
pub struct AsyncCache {
    inner: Arc<CacheInner>,
}

/// The part of the two that is the same.
pub struct CacheInner {
    pub store: StoreInner,
    pub codec: Codec,
    /// What every key begins with.
    namespace: Vec<u8>,
    closed: AtomicBool,
    /// Decoded objects, if the cache was opened to keep any.
    live: Option<Live>,
}

/// A key with its namespace.
pub enum FullKey<'a> {
    /// There is no namespace.
    Bare(&'a [u8]),
    /// Namespace and key.
    Joined(SmallVec<[u8; 128]>),
}

impl AsRef<[u8]> for FullKey<'_> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        match self {
            FullKey::Bare(key) => key,
            FullKey::Joined(key) => key,
        }
    }
}

impl CacheInner {
    /// Namespace and key together.
    ///
    /// # Errors
    /// MemoryError.
    #[inline(always)]
    pub fn full_key<'a>(&self, key: &'a [u8]) -> PyResult<FullKey<'a>> {
        if self.namespace.is_empty() {
            return Ok(FullKey::Bare(key));
        }
        joined([&self.namespace, key]).map(FullKey::Joined)
    }

    /// Calls `work` with the keys behind the namespace.
    ///
    /// # Errors
    /// MemoryError.
    fn with_full_keys<R>(&self, keys: &[&[u8]], work: impl FnOnce(&[&[u8]]) -> R) -> PyResult<R> {
        if self.namespace.is_empty() {
            return Ok(work(keys));
        }
        let sum: usize = keys.iter().map(|key| self.namespace.len() + key.len()).sum();
        let mut joined = with_room_for(sum)?;
        for key in keys {
            joined.extend_from_slice(&self.namespace);
            joined.extend_from_slice(key);
        }
        let mut rest = joined.as_slice();
        let mut full = with_room_for(keys.len())?;
        for key in keys {
            let (one, behind) = rest.split_at(self.namespace.len() + key.len());
            rest = behind;
            full.push(one);
        }
        Ok(work(&full))
    }

    /// Sets a key, unless the value can't fit.
    #[inline]
    fn set(
        &self,
        pair: (FullKey<'_>, Encoded<'_>),
        ttl: Ttl,
        condition: Condition,
    ) -> keystead::Result<bool> {
        self.store.db.check_fit(std::slice::from_ref(&pair))?;
        self.store.db.set_with(pair.0, pair.1, SetOptions::new().ttl(ttl).condition(condition))
    }

    /// Refuses if the cache is closed.
    ///
    /// # Errors
    /// It is.
    #[inline]
    pub fn check_open(&self, py: Python<'_>) -> PyResult<()> {
        if self.closed.load(Ordering::Relaxed) { Err(closed(py)) } else { Ok(()) }
    }

    /// Whether it keeps decoded objects.
    pub fn keeps_objects(&self) -> bool {
        self.live.is_some()
    }

    /// What every key begins with.
    pub fn namespace(&self) -> &[u8] {
        &self.namespace
    }

    /// The value of a key with its namespace: its object in the cache's table if that is current, else what the engine has.
    ///
    /// # Errors
    /// The key holds no string, or the codec can't read it.
    #[inline]
    pub fn look_up<'py>(&self, py: Python<'py>, key: &[u8]) -> Result<Option<Bound<'py, PyAny>>, Raised> {
        if let Some(live) = &self.live {
            let own = live.own(Form::Key, key);
            return match live.get(py, &own) {
                Some(object) => Ok(Some(object)),
                None => self.bring_to_life(py, &own, live, key),
            };
        }
        let free = |found: Found<'_>| match plain_text(py, &found) {
            Some(text) => Ok(text.map(Some)),
            None => Err(make(py, &found)),
        };
        let held = |found: Option<Found<'_>>| Err(found.map_or(Made::Missing, |found| make(py, &found)));
        match self.store.db.get_with_either(key, free, held).map_err(|error| raise(py, &error))? {
            Ok(text) => text,
            Err(made) => made.finish(py, &self.codec),
        }
    }

    /// What the engine has under the name `full`, kept in a table where the key goes by the name `own`.
    ///
    /// # Errors
    /// As [`CacheInner::look_up`].
    #[inline(never)]
    pub fn bring_to_life<'py>(
        &self,
        py: Python<'py>,
        own: &Own<'_>,
        live: &Live,
        full: &[u8],
    ) -> Result<Option<Bound<'py, PyAny>>, Raised> {
        let read = self.store.db.get_versioned_with(live.versions(), full, |found, version| match found {
            Some(found) => (make(py, &found), version),
            None => (Made::Missing, version),
        });
        let (made, version) = read.map_err(|error| raise(py, &error))?;
        let object = made.finish(py, &self.codec)?;
        if let Some(object) = &object {
            live.keep(py, own, object, version);
        }
        Ok(object)
    }

    fn clear(&self, py: Python<'_>, prefix: &[u8]) -> PyResult<usize> {
        let prefix = self.full_key(prefix)?;
        detach(py, || self.store.db.clear(prefix.as_ref())).map_err(|error| raise(py, &error))
    }

    fn count(&self, py: Python<'_>) -> PyResult<usize> {
        let count = if self.namespace.is_empty() {
            self.store.db.len()
        } else {
            detach(py, || self.store.db.count(&self.namespace))
        };
        count.map_err(|error| raise(py, &error))
    }

    /// A key as users see it: without the namespace, str where it is text.
    fn shown_key<'py>(&self, py: Python<'py>, key: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let key = key.strip_prefix(self.namespace.as_slice()).unwrap_or(key);
        match std::str::from_utf8(key) {
            Ok(_) => Ok(PyString::from_bytes(py, key)?.into_any()),
            Err(_) => Ok(blob(py, key)?),
        }
    }
}

macro_rules! cache_class {
    ($class:ident { $($more:tt)* }) => {
        #[pymethods]
        impl $class {
            /// `codec`: tag, dumps, loads for JSON, loads for the other tags. `live`: how many decoded objects to keep, 0 for none.
            #[new]
            fn new(
                py: Python<'_>,
                engine: &Bound<'_, PyEngine>,
                db: usize,
                namespace: &[u8],
                codec: (u8, Py<PyAny>, Py<PyAny>, Py<PyAny>),
                live: usize,
            ) -> PyResult<Self> {
                let (tag, dumps, loads_json, loads) = codec;
                let codec = Codec { tag, dumps, loads_json, loads };
                let store = StoreInner::new(py, engine.get(), db)?;
                let closed = AtomicBool::new(false);
                let live = (live > 0).then(|| Live::new(&engine.get().engine, live));
                let namespace = namespace.to_vec();
                Ok(Self { inner: Arc::new(CacheInner { store, codec, namespace, closed, live }) })
            }

            fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
                self.inner.check_open(key.py())?;
                let full = self.inner.full_key(bytes_of(key.as_borrowed())?)?;
                self.inner.store.db.contains(full).map_err(|error| raise(key.py(), &error))
            }

            fn _close(&self, py: Python<'_>) {
                self.inner.closed.store(true, Ordering::Relaxed);
                self.inner.live.iter().for_each(|live| live.clear(py));
            }

            fn _check_open(&self, py: Python<'_>) -> PyResult<()> {
                self.inner.check_open(py)
            }

            /// Number of keys. O(shards), O(all keys) in a namespace.
            fn _size(&self, py: Python<'_>) -> PyResult<usize> {
                let _inside = enter(py)?;
                self.inner.check_open(py)?;
                self.inner.count(py)
            }

            #[getter]
            fn closed(&self) -> bool {
                self.inner.closed.load(Ordering::Relaxed)
            }

            /// A page of keys: `(next cursor, keys)`; the cursor is 0 at the beginning and at the end.
            fn _page<'py>(&self, py: Python<'py>, cursor: u64) -> PyResult<(u64, Vec<Bound<'py, PyAny>>)> {
                let _inside = enter(py)?;
                self.inner.check_open(py)?;
                let inner = &self.inner;
                let page = detach(py, || inner.store.db.page(cursor, &inner.namespace));
                let (next, keys) = page.map_err(|error| raise(py, &error))?;
                Ok((next, collected(keys.iter().map(|key| inner.shown_key(py, key)))?))
            }

            $($more)*
        }

        impl AsRef<Arc<CacheInner>> for $class {
            #[inline]
            fn as_ref(&self) -> &Arc<CacheInner> {
                &self.inner
            }
        }
    };
}

cache_class!(AsyncCache {});
cache_class!(Cache {
    fn __getitem__<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = key.py();
        let _inside = enter(py)?;
        self.inner.check_open(py)?;
        let full = self.inner.full_key(bytes_of(key.as_borrowed())?)?;
        let found = self.inner.look_up(py, full.as_ref())?;
        found.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = key.py();
        let _inside = enter(py)?;
        self.inner.check_open(py)?;
        let value = self.inner.codec.encode(value.as_borrowed())?;
        let key = self.inner.full_key(bytes_of(key.as_borrowed())?)?;
        let set = self.inner.set((key, value), Ttl::None, Condition::Always);
        set.map(drop).map_err(|error| raise(py, &error))
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner.check_open(key.py())?;
        let full = self.inner.full_key(bytes_of(key.as_borrowed())?)?;
        match self.inner.store.db.delete(full) {
            Ok(true) => Ok(()),
            Ok(false) => Err(PyKeyError::new_err(key.clone().unbind())),
            Err(error) => Err(raise(key.py(), &error)),
        }
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        let _inside = enter(py)?;
        self.inner.check_open(py)?;
        self.inner.count(py)
    }

    /// A cache is true even when it is empty.
    fn __bool__(&self) -> bool {
        true
    }
});

/// A class with these methods.
pub trait CacheClass: PyClass<Frozen = True> + Sync + AsRef<Arc<CacheInner>> {}
impl<C: PyClass<Frozen = True> + Sync + AsRef<Arc<CacheInner>>> CacheClass for C {}

/// Declares methods: their type, and what they do with the cache and the arguments.
macro_rules! methods {
    ($( $(#[$doc:meta])* $name:ident($cache:ident, $arguments:ident) $body:block )*) => { $(
        $(#[$doc])*
        pub struct $name<C>(PhantomData<C>);

        impl<C: CacheClass> Method for $name<C> {
            type Class = C;

            #[inline]
            fn call<'py>(_: Argument<'_, 'py>, class: &C, $arguments: &Arguments<'_, 'py>) -> Outcome<'py> {
                let $cache: &CacheInner = class.as_ref();
                $cache.check_open($arguments.py())?;
                $body
            }
        }
    )* };
}

methods! {
    /// `get(key, default=None)`.
    Get(cache, arguments) {
        let (key, default) = key_and_default(arguments)?;
        let key = cache.full_key(bytes_of(key)?)?;
        match cache.look_up(arguments.py(), key.as_ref())? {
            Some(value) => Ok(value),
            None => Ok(or_none(arguments.py(), default)),
        }
    }

    /// `set(key, value, ttl=None, nx=False, xx=False)`.
    Set(cache, arguments) {
        let options = SetArguments::read(arguments)?;
        let key = cache.full_key(bytes_of(options.key)?)?;
        let value = cache.codec.encode(options.value)?;
        let set = cache.set((key, value), options.ttl, options.condition);
        boolean(arguments.py(), set.map_err(|error| raise(arguments.py(), &error))?)
    }

    /// `delete(*keys)`.
    Delete(cache, arguments) {
        let keys = arguments.positional().map(bytes_of).collect::<PyResult<SmallVec<[&[u8]; 8]>>>()?;
        let deleted = match keys[..] {
            [key] => cache.store.db.delete(cache.full_key(key)?).map(usize::from),
            _ => cache.with_full_keys(&keys, |keys| delete(&cache.store.db, keys))?,
        };
        let deleted = deleted.map_err(|error| raise(arguments.py(), &error))?;
        Ok(deleted.into_pyobject(arguments.py())?.into_any())
    }

    /// `contains(key)`.
    Contains(cache, arguments) {
        let [key] = arguments.bind(names!(c"key"), 1)?;
        let exists = cache.store.db.contains(cache.full_key(bytes_of(key.expect("required"))?)?);
        boolean(arguments.py(), exists.map_err(|error| raise(arguments.py(), &error))?)
    }

    /// `pop(key, default)`: the value, and the key is gone, at one moment for all threads.
    Pop(cache, arguments) {
        let (key, default) = key_and_default(arguments)?;
        let py = arguments.py();
        let full = cache.full_key(bytes_of(key)?)?;
        let taken = cache.store.db.take_with(full.as_ref(), |found| {
            let made = found.map_or(Made::Missing, |found| make(py, &found));
            let is_read = !matches!(made, Made::Missing | Made::Failed(_) | Made::Unreadable);
            (made, is_read)
        });
        match (taken.map_err(|error| raise(py, &error))?.finish(py, &cache.codec)?, default) {
            (Some(value), _) => Ok(value),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(PyKeyError::new_err(key.to_owned().unbind()).into()),
        }
    }

    /// `get_many(keys)`.
    GetMany(cache, arguments) {
        let [keys] = arguments.bind(names!(c"keys"), 1)?;
        let py = arguments.py();
        let held = held(keys.expect("required"))?;
        let mut made = with_room_for(held.len())?;
        let keys = key_bytes(&held)?;
        let read = cache.with_full_keys(&keys, |keys| cache.store.db.get_many_with(keys, |_, found| {
            made.push(found.map_or(Made::Missing, |found| make(py, &found)));
        }))?;
        read.map_err(|error| raise(py, &error))?;
        let values = PyDict::new(py);
        for (key, made) in items(&held).zip(made) {
            if let Some(value) = made.finish(py, &cache.codec)? {
                values.set_item(key, value)?;
            }
        }
        Ok(values.into_any())
    }

    /// `set_many(mapping, ttl=None)`.
    SetMany(cache, arguments) {
        let [mapping, time] = arguments.bind(names!(c"mapping", c"ttl"), 1)?;
        let held = held_pairs(mapping.expect("required"))?;
        let mut pairs = with_room_for(held.len())?;
        for (key, value) in &held {
            pairs.push((cache.full_key(bytes_of(key.as_borrowed())?)?, cache.codec.encode(value.as_borrowed())?));
        }
        let time = ttl(time)?;
        let set = cache.store.db.check_fit(&pairs).and_then(|()| cache.store.db.set_many(&pairs, time));
        set.map_err(|error| raise(arguments.py(), &error))?;
        Ok(arguments.py().None().into_bound(arguments.py()))
    }

    /// `incr(key, by=1)`.
    Incr(cache, arguments) {
        let [key, by] = arguments.bind(names!(c"key", c"by"), 1)?;
        add(cache, arguments.py(), key.expect("required"), integer(by, 1)?)
    }

    /// `decr(key, by=1)`.
    Decr(cache, arguments) {
        let [key, by] = arguments.bind(names!(c"key", c"by"), 1)?;
        let Some(by) = integer(by, 1)?.checked_neg() else {
            return Err(pyo3::exceptions::PyOverflowError::new_err("by is out of range").into());
        };
        add(cache, arguments.py(), key.expect("required"), by)
    }

    /// `touch(key, ttl)`.
    Touch(cache, arguments) {
        let [key, time] = arguments.bind(names!(c"key", c"ttl"), 2)?;
        let key = cache.full_key(bytes_of(key.expect("required"))?)?;
        let exists = expire(&cache.store.db, key.as_ref(), ttl(time)?);
        boolean(arguments.py(), exists.map_err(|error| raise(arguments.py(), &error))?)
    }

    /// `ttl(key)`.
    TimeToLive(cache, arguments) {
        let [key] = arguments.bind(names!(c"key"), 1)?;
        let key = key.expect("required");
        time_to_live(arguments.py(), key, cache.store.db.ttl(cache.full_key(bytes_of(key)?)?))
    }

    /// `clear(prefix=None)`.
    Clear(cache, arguments) {
        let [prefix] = arguments.bind(names!(c"prefix"), 0)?;
        let prefix = match prefix.filter(|prefix| !prefix.is_none()) {
            Some(prefix) => bytes_of(prefix)?,
            None => &[],
        };
        Ok(cache.clear(arguments.py(), prefix)?.into_pyobject(arguments.py())?.into_any())
    }
}

fn add<'py>(cache: &CacheInner, py: Python<'py>, key: Argument<'_, 'py>, by: i64) -> Outcome<'py> {
    let sum = cache.store.db.incr(cache.full_key(bytes_of(key)?)?, by);
    Ok(sum.map_err(|error| raise(py, &error))?.into_pyobject(py)?.into_any())
}
