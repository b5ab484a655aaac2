//! Keystead and the peers that live in this process, behind one trait: each used as its documentation says is quickest.
//!
//! Keys are boxed slices, as a store of keys of any length needs; what a look-up clones is behind an `Arc`. How they are timed is `measure.rs`'s
//! affair, the peer behind a socket `valkey.rs`'s.

use std::sync::Arc;

use keystead::Engine;

use crate::measure::Clock;

/// The key of every case.
pub type Key = [u8; 16];
/// The value of every case.
pub type Value = [u8; 64];
/// Keys of one MGET.
pub const BATCH: usize = 16;

/// A store under test.
pub trait Store: Sync {
    /// What its operations are timed by.
    const CLOCK: Clock = Clock::Thread;
    /// It is given one operation where others get so many: what takes microseconds needs no million.
    const SLOWNESS: usize = 1;
    /// Two threads may use it at once here, and filling it says something about it.
    const SHARED: bool = true;

    /// An empty store with room for so many keys.
    fn open(keys: usize) -> Self;
    /// Copies the value of a key; false if it is missing.
    fn get(&self, key: &Key, buffer: &mut Value) -> bool;
    /// Sets a key that may exist.
    fn set(&self, key: &Key, value: &Value);

    /// Copies the values of a batch; how many there were.
    fn get_many(&self, keys: &[Key; BATCH], buffers: &mut [Value; BATCH]) -> usize {
        keys.iter().zip(buffers).map(|(key, buffer)| usize::from(self.get(key, buffer))).sum()
    }

    /// Sets many.
    fn fill(&self, keys: &[Key], value: &Value) {
        keys.iter().for_each(|key| self.set(key, value));
    }
}

/// Ours.
pub struct Keystead(keystead::Database);

impl Store for Keystead {
    fn open(_: usize) -> Self {
        Self(Engine::new().database(0).expect("there is a first database"))
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        matches!(self.0.get_into(key, buffer), Ok(Some(64)))
    }

    fn set(&self, key: &Key, value: &Value) {
        self.0.set(key, value).expect("there is memory");
    }

    fn get_many(&self, keys: &[Key; BATCH], buffers: &mut [Value; BATCH]) -> usize {
        let mut hits = 0;
        let read = self.0.get_many_with(keys, |at, found| {
            if let Some(found) = found {
                buffers[at].copy_from_slice(&found.text);
                hits += 1;
            }
        });
        read.expect("the engine is in this process");
        hits
    }
}

type Boxed = Box<[u8]>;

/// dashmap with ahash; overwrites in place.
pub struct DashMap(dashmap::DashMap<Boxed, Boxed, ahash::RandomState>);

impl Store for DashMap {
    fn open(_: usize) -> Self {
        Self(dashmap::DashMap::with_hasher(ahash::RandomState::new()))
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        self.0.get(&key[..]).map(|value| buffer.copy_from_slice(&value)).is_some()
    }

    fn set(&self, key: &Key, value: &Value) {
        match self.0.get_mut(&key[..]) {
            Some(mut old) => old.copy_from_slice(value),
            None => drop(self.0.insert(Box::from(&key[..]), Box::from(&value[..]))),
        }
    }
}

/// scc with ahash; overwrites in place.
pub struct Scc(scc::HashMap<Boxed, Boxed, ahash::RandomState>);

impl Store for Scc {
    fn open(_: usize) -> Self {
        Self(scc::HashMap::with_hasher(ahash::RandomState::new()))
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        self.0.read_sync(&key[..], |_, value| buffer.copy_from_slice(value)).is_some()
    }

    fn set(&self, key: &Key, value: &Value) {
        if self.0.update_sync(&key[..], |_, old| old.copy_from_slice(value)).is_none() {
            drop(self.0.upsert_sync(Box::from(&key[..]), Box::from(&value[..])));
        }
    }
}

/// papaya with ahash; its values cannot be overwritten.
pub struct Papaya(papaya::HashMap<Boxed, Boxed, ahash::RandomState>);

impl Store for Papaya {
    fn open(_: usize) -> Self {
        Self(papaya::HashMap::with_hasher(ahash::RandomState::new()))
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        self.0.pin().get(&key[..]).map(|value| buffer.copy_from_slice(value)).is_some()
    }

    fn set(&self, key: &Key, value: &Value) {
        self.0.pin().insert(Box::from(&key[..]), Box::from(&value[..]));
    }
}

/// quick_cache, its capacity twice the keys.
pub struct QuickCache(quick_cache::sync::Cache<Boxed, Arc<[u8]>>);

impl Store for QuickCache {
    fn open(keys: usize) -> Self {
        Self(quick_cache::sync::Cache::new(keys * 2))
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        self.0.get(&key[..]).map(|value| buffer.copy_from_slice(&value)).is_some()
    }

    fn set(&self, key: &Key, value: &Value) {
        self.0.insert(Box::from(&key[..]), Arc::from(&value[..]));
    }
}

/// moka with ahash, its capacity twice the keys.
pub struct Moka(moka::sync::Cache<Boxed, Arc<[u8]>, ahash::RandomState>);

impl Store for Moka {
    const SLOWNESS: usize = 4;

    fn open(keys: usize) -> Self {
        let builder = moka::sync::Cache::builder().max_capacity(keys as u64 * 2);
        Self(builder.build_with_hasher(ahash::RandomState::new()))
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        self.0.get(&key[..]).map(|value| buffer.copy_from_slice(&value)).is_some()
    }

    fn set(&self, key: &Key, value: &Value) {
        self.0.insert(Box::from(&key[..]), Arc::from(&value[..]));
    }
}

/// foyer's cache in memory, its capacity twice the keys.
pub struct Foyer(foyer_memory::Cache<Boxed, Boxed>);

impl Store for Foyer {
    const SLOWNESS: usize = 4;

    fn open(keys: usize) -> Self {
        Self(foyer_memory::CacheBuilder::new(keys * 2).build())
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        self.0.get(&key[..]).map(|entry| buffer.copy_from_slice(entry.value())).is_some()
    }

    fn set(&self, key: &Key, value: &Value) {
        self.0.insert(Box::from(&key[..]), Box::from(&value[..]));
    }
}

/// kevy without its network and files, in sixteen shards: one lock, its default, would be compared on two threads.
#[cfg(feature = "kevy")]
pub struct Kevy(kevy_embedded::Store);

#[cfg(feature = "kevy")]
impl Store for Kevy {
    fn open(_: usize) -> Self {
        Self(
            kevy_embedded::Store::open(kevy_embedded::Config::default().with_shards(16))
                .expect("a store in memory opens"),
        )
    }

    fn get(&self, key: &Key, buffer: &mut Value) -> bool {
        let copied = self.0.get_with(key, |value| value.map(|value| buffer.copy_from_slice(value)).is_some());
        copied.expect("the key holds a string")
    }

    fn set(&self, key: &Key, value: &Value) {
        self.0.set(key, value).expect("there is memory");
    }
}
