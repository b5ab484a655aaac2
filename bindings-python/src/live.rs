//! `Live`: decoded objects kept beside the engine, each with the version of its key, so that a hit neither copies nor decodes.
//!
//! Versions are the engine's ([`keystead::Versions`]); who looks here first is [`crate::cache`]'s affair.
//!
//! A table of sets of four places, chosen by the key's hash: bounded by construction, without a list to keep in order. A new object
//! takes the place of its key, an empty one, one that is no longer current, or in turn any of the four. What is no longer current
//! is never served, but keeps its memory until its place is taken.

use keystead::keyspace::HashSeed;
use keystead::{Engine, Version, Versions};
use pyo3::prelude::*;

use crate::hot::Guarded;

/// Places per set.
const WAYS: usize = 4;

/// The most objects that a table may be asked to hold.
pub const MAX_OBJECTS: usize = 1 << 24;

/// Decoded objects of one cache or of one decorated function.
pub struct Live {
    seed: HashSeed,
    versions: Versions,
    table: Guarded<Table>,
}

struct Table {
    places: Vec<Option<Kept>>,
    /// Number of sets minus one; their number is a power of two.
    mask: usize,
    /// Which of four current places goes next.
    turn: usize,
}

struct Kept {
    hash: u64,
    version: Version,
    form: Form,
    key: Box<[u8]>,
    object: Py<PyAny>,
}

/// What the bytes of a key in a table are. Forms keep keys apart that are of the same bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A key of the engine, or a part of one that says the same here.
    Key,
    /// The one argument of a function, a str.
    Text,
    /// The one argument of a function, an integer of eight bytes.
    Integer,
}

/// A key as a table knows it.
pub struct Own<'a> {
    hash: u64,
    form: Form,
    bytes: &'a [u8],
}

impl Live {
    /// The key of these bytes.
    #[inline]
    pub fn own<'a>(&self, form: Form, bytes: &'a [u8]) -> Own<'a> {
        Own { hash: self.seed.hash(bytes), form, bytes }
    }

    /// A table of at least `objects` places.
    pub fn new(engine: &Engine, objects: usize) -> Self {
        let sets = objects.clamp(1, MAX_OBJECTS).div_ceil(WAYS).next_power_of_two();
        let places = std::iter::repeat_with(|| None).take(sets * WAYS).collect();
        let seed = HashSeed::random();
        Self {
            seed,
            versions: engine.versions(),
            table: Guarded::new(Table { places, mask: sets - 1, turn: 0 }),
        }
    }

    /// What the engine must be asked with, so that the answer can be kept.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// The object of a key, if it is still what the engine holds. O(1).
    #[inline]
    pub fn get<'py>(&self, py: Python<'py>, key: &Own<'_>) -> Option<Bound<'py, PyAny>> {
        self.table.with(py, |table| {
            let set = table.set(key.hash);
            let kept = set.iter().flatten().find(|kept| kept.is_of(key))?;
            self.versions.is_current(&kept.version).then(|| kept.object.bind(py).clone())
        })
    }

    /// Keeps an object that was read at this version.
    pub fn keep(&self, py: Python<'_>, key: &Own<'_>, object: &Bound<'_, PyAny>, version: Version) {
        let object = object.clone().unbind();
        let kept = Kept { hash: key.hash, version, form: key.form, key: key.bytes.into(), object };
        let old = self.table.with(py, |table| {
            table.turn = table.turn.wrapping_add(1);
            let turn = table.turn % WAYS;
            let set = table.set(key.hash);
            let own = set.iter().position(|place| place.as_ref().is_some_and(|kept| kept.is_of(key)));
            let free = || {
                let is_free = |place: &Option<Kept>| {
                    place.as_ref().is_none_or(|kept| !self.versions.is_current(&kept.version))
                };
                set.iter().position(is_free)
            };
            let place = own.or_else(free).unwrap_or(turn);
            set[place].replace(kept)
        });
        // Outside: the last reference to an object may be ours, and dropping it may come back here. Bound, or PyO3 would leave it for later.
        drop(old.map(|kept| kept.object.into_bound(py)));
    }

    /// Forgets everything.
    pub fn clear(&self, py: Python<'_>) {
        let old: Vec<Kept> =
            self.table.with(py, |table| table.places.iter_mut().filter_map(Option::take).collect());
        drop(old);
    }
}

impl Table {
    #[inline]
    fn set(&mut self, hash: u64) -> &mut [Option<Kept>] {
        let start = (hash as usize & self.mask) * WAYS;
        &mut self.places[start..start + WAYS]
    }
}

impl Kept {
    #[inline]
    fn is_of(&self, key: &Own<'_>) -> bool {
        self.hash == key.hash && self.form == key.form && *self.key == *key.bytes
    }
}
