//! What clients have asked to be served as, one bit each, for others to see.

use std::sync::atomic::{AtomicU32, Ordering};

/// A set of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trait(u32);

impl Trait {
    /// It is spared where clients take too much memory.
    pub(crate) const NO_EVICT: Self = Self(1);
    /// Its commands are no use of keys.
    pub(crate) const NO_TOUCH: Self = Self(1 << 1);
    /// It sees what has expired while the engine is in import mode.
    pub(crate) const IMPORT_SOURCE: Self = Self(1 << 2);
    /// It would follow to another primary.
    pub(crate) const FOLLOWS_REDIRECTS: Self = Self(1 << 3);
    /// It is told which of the keys that it may keep have changed.
    pub(crate) const TRACKING: Self = Self(1 << 4);
    /// It is told of all keys that begin with its prefixes.
    pub(crate) const BROADCAST: Self = Self(1 << 5);
    /// Whoever should have been told in its place is gone.
    pub(crate) const BROKEN_REDIRECT: Self = Self(1 << 6);
    /// It is told of no keys that it has changed itself.
    pub(crate) const NO_LOOP: Self = Self(1 << 7);
    /// It has asked for its number, by which others can have it told what they track.
    pub(crate) const KNOWS_ITS_NUMBER: Self = Self(1 << 9);
    /// It is told what others track.
    pub(crate) const HEARS_FOR_OTHERS: Self = Self(1 << 8);

    /// Those in either.
    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The traits of a client. The session itself writes them, or whoever ends what it is told by.
#[derive(Debug, Default)]
pub(crate) struct Traits(AtomicU32);

impl Traits {
    /// Whether it has any of these.
    #[inline]
    pub(crate) fn has(&self, any: Trait) -> bool {
        self.0.load(Ordering::Relaxed) & any.0 != 0
    }

    pub(crate) fn set(&self, which: Trait, has: bool) {
        if has {
            self.0.fetch_or(which.0, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!which.0, Ordering::Relaxed);
        }
    }
}
