//! The tables of hot methods, and their installation on the classes.
//!
//! What each does is in the module of its class; how Python reaches them is in [`crate::hot`].

use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::hot;
use crate::{cache, pipeline, sessions, store};

/// Installs methods on a class, as they are or behind a ready awaitable.
macro_rules! install_all {
    ($on:expr, $ready:literal: $( $method:ty = $name:literal, $signature:literal; )*) => {{
        $( hot::install::<$method, $ready>($on, $name, $signature)?; )*
    }};
}

macro_rules! store_methods {
    ($on:expr, $class:ty, $ready:literal) => {
        install_all!($on, $ready:
            store::Get<$class> = c"get", c"get($self, key, default=None)\n--\n\nThe bytes of a key, or the default. O(length).";
            store::Set<$class> = c"set", c"set($self, key, value, ttl=None, nx=False, xx=False)\n--\n\nSets a key; ttl in seconds. Says whether nx or xx let it. O(length).";
            store::Delete<$class> = c"delete", c"delete($self, /, *keys)\n--\n\nRemoves keys and returns how many existed. O(keys).";
            store::Contains<$class> = c"contains", c"contains($self, key)\n--\n\nWhether a key exists. O(1).";
            store::Incr<$class> = c"incr", c"incr($self, key, by=1)\n--\n\nAdds to the integer of a key and returns the sum. O(1).";
            store::HGet<$class> = c"hget", c"hget($self, key, field)\n--\n\nThe bytes of a field of a hash, or None. O(1).";
            store::HSet<$class> = c"hset", c"hset($self, key, field, value)\n--\n\nSets a field of a hash and says whether it is new. O(1).";
            store::MGet<$class> = c"mget", c"mget($self, keys)\n--\n\nThe bytes of several keys, None for each that is missing. O(keys).";
            store::MSet<$class> = c"mset", c"mset($self, pairs, ttl=None)\n--\n\nSets several keys at once, from a dict or a list of pairs. O(keys).";
            store::Expire<$class> = c"expire", c"expire($self, key, ttl)\n--\n\nGives a key a new time to live and says whether it exists. O(1).";
            store::TimeToLive<$class> = c"ttl", c"ttl($self, key)\n--\n\nSeconds to live: None without a deadline; KeyError if there is no such key. O(1).";
            store::Execute<$class> = c"execute", c"execute($self, /, *words)\n--\n\nExecutes any command and returns its reply; strings are bytes.";
        )
    };
}

macro_rules! pipeline_method {
    ($on:expr, $class:ty) => {
        install_all!($on, false:
            store::Pipeline<$class> = c"pipeline", c"pipeline($self, commands=None, transaction=False)\n--\n\nExecutes a list of commands, each a tuple, and returns their replies, errors among them as exceptions. Without commands: a Pipeline to record calls in. A transaction happens at one moment, or not at all if a command is faulty.";
        )
    };
}

macro_rules! cache_methods {
    ($on:expr, $class:ty, $ready:literal) => {
        install_all!($on, $ready:
            cache::Get<$class> = c"get", c"get($self, key, default=None)\n--\n\nThe value of a key, or the default if there is none. O(length).";
            cache::Set<$class> = c"set", c"set($self, key, value, ttl=None, nx=False, xx=False)\n--\n\nSets a key; ttl in seconds or a timedelta. Says whether nx or xx let it. O(length).";
            cache::Delete<$class> = c"delete", c"delete($self, /, *keys)\n--\n\nRemoves keys and returns how many existed. O(keys).";
            cache::Contains<$class> = c"contains", c"contains($self, key)\n--\n\nWhether a key exists. O(1).";
            cache::Pop<$class> = c"pop", c"pop($self, key, default=...)\n--\n\nRemoves a key and returns its value, or the default; KeyError without either. One of many who do it at once gets the value. O(length).";
            cache::GetMany<$class> = c"get_many", c"get_many($self, keys)\n--\n\nA dict of the keys that exist and their values. O(keys).";
            cache::SetMany<$class> = c"set_many", c"set_many($self, mapping, ttl=None)\n--\n\nSets several keys at once. O(keys).";
            cache::Incr<$class> = c"incr", c"incr($self, key, by=1)\n--\n\nAdds to an integer and returns the sum; a missing key counts as 0. O(1).";
            cache::Decr<$class> = c"decr", c"decr($self, key, by=1)\n--\n\nSubtracts from an integer and returns the difference. O(1).";
            cache::Touch<$class> = c"touch", c"touch($self, key, ttl)\n--\n\nGives a key a new time to live, None for no limit; says whether it exists. O(1).";
            cache::TimeToLive<$class> = c"ttl", c"ttl($self, key)\n--\n\nSeconds to live: None without a deadline; KeyError if there is no such key. O(1).";
            cache::Clear<$class> = c"clear", c"clear($self, prefix=None)\n--\n\nRemoves this cache's keys, or those that begin with prefix, and returns how many. O(all keys).";
        )
    };
}

/// Installs the table of a class on it, or on a class that extends it.
macro_rules! install_on {
    ($on:expr; $( $table:ident($class:ty, $ready:literal) $(+ $more:ident)? ;)*) => {
        $( if $on.is_subclass_of::<$class>()? {
            $table!($on, $class, $ready);
            $( $more!($on, $class); )?
        } )*
    };
}

fn install_on(class: &Bound<'_, PyType>) -> PyResult<()> {
    // What a pipeline without commands is recorded in is no result to await.
    install_on!(class;
        store_methods(store::Store, false) + pipeline_method;
        store_methods(store::AsyncStore, true) + pipeline_method;
        cache_methods(cache::Cache, false);
        cache_methods(cache::AsyncCache, true););
    Ok(())
}

/// Gives a class its native methods as its own, instead of by inheritance: CPython has a shorter way to methods of the very class that an
/// object is of. A decorator, so it returns the class. It replaces what the class defines under these names.
#[pyfunction]
pub fn own_methods<'py>(class: Bound<'py, PyType>) -> PyResult<Bound<'py, PyType>> {
    install_on(&class)?;
    Ok(class)
}

/// Installs all tables.
///
/// # Errors
/// Python has no memory.
pub fn install(py: Python<'_>) -> PyResult<()> {
    install_on(&py.get_type::<store::Store>())?;
    install_on(&py.get_type::<store::AsyncStore>())?;
    install_on(&py.get_type::<cache::Cache>())?;
    install_on(&py.get_type::<cache::AsyncCache>())?;
    install_all!(&py.get_type::<pipeline::Pipeline>(), false:
        pipeline::Get = c"get", c"get($self, key)\n--\n\nRecords Store.get.";
        pipeline::Set = c"set", c"set($self, key, value, ttl=None, nx=False, xx=False)\n--\n\nRecords Store.set.";
        pipeline::Incr = c"incr", c"incr($self, key, by=1)\n--\n\nRecords Store.incr.";
        pipeline::HGet = c"hget", c"hget($self, key, field)\n--\n\nRecords Store.hget.";
        pipeline::HSet = c"hset", c"hset($self, key, field, value)\n--\n\nRecords Store.hset.";
        pipeline::Delete = c"delete", c"delete($self, /, *keys)\n--\n\nRecords Store.delete.";
        pipeline::Expire = c"expire", c"expire($self, key, ttl)\n--\n\nRecords Store.expire.";
        pipeline::Command = c"command", c"command($self, /, *words)\n--\n\nRecords any command.";);
    install_all!(&py.get_type::<sessions::Client>(), false:
        sessions::Execute<false> = c"execute", c"execute($self, /, *words, **options)\n--\n\nExecutes a command and returns the parsed response.";);
    install_all!(&py.get_type::<sessions::Client>(), true:
        sessions::Execute<true> = c"execute_ready", c"execute_ready($self, /, *words, **options)\n--\n\nAs execute, behind a ready awaitable.";);
    Ok(())
}
