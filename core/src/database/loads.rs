//! Loading a missing key once for all who want it: [`Database::begin_load`], and the handles of those who load and of those who wait.
//!
//! Who does what is decided in [`crate::cache::leases`]. How to call a loader, and what to do while waiting, is the language's part:
//!
//! ```
//! use keystead::cache::{Caller, Landing};
//! use keystead::{Begun, Engine, Ttl};
//!
//! let db = Engine::new().database(0)?;
//! match db.begin_load(b"key", &Caller::default()) {
//!     Begun::Lead(load) => {
//!         // Whoever led before may just have ended: look again, and load only then.
//!         let value = b"loaded";
//!         load.store(value, Ttl::None)?;
//!         load.land(Landing::Value(value.as_slice().into()));
//!     }
//!     Begun::Wait(wait) => drop(wait.landing()),
//! }
//! # Ok::<(), keystead::Error>(())
//! ```

use std::time::Duration;

use crate::cache::leases::{Asked, LEASES, Lease, Over, Place};
use crate::cache::{Caller, Landing, Runner};
use crate::commands::string::set::store;
use crate::database::{Database, Ttl};
use crate::error::Result;
use crate::sync::Mutex;
use crate::typed::forward::Watched;
use crate::typed::{Typed, ttl_ms};

/// What asking for a key to be loaded leads to.
pub enum Begun {
    /// It is the caller's to load.
    Lead(Load),
    /// Somebody is at it.
    Wait(Wait),
}

/// The right to load a key. Dropped without [`Load::land`], it goes to another who wants the key.
pub struct Load {
    db: Database,
    key: Box<[u8]>,
    lease: Lease,
    /// Where the engine stands elsewhere, the watch on the key there, or why there is none; taken by whoever stores.
    watched: Option<Mutex<Option<Result<Watched>>>>,
}

/// A wait for a load. Dropped, it ends.
pub struct Wait {
    db: Database,
    key: Box<[u8]>,
    id: u64,
}

impl Database {
    /// Asks for a key that is missing, by whoever can load it. O(1), or O(loads and waits that hang together) if another is at it.
    ///
    /// Who leads looks for the key once more, since it may just have been stored, then loads. Who waits and is told to look again, or has
    /// waited for [`Wait::left`], asks again.
    #[doc(hidden)]
    pub fn begin_load(&self, key: &[u8], caller: &Caller<'_>) -> Begun {
        self.ask(key, caller, Over::Hopeless)
    }

    /// Begins a load whatever is there and whoever else loads it, since the caller wants a newer value.
    #[doc(hidden)]
    pub fn begin_refresh(&self, key: &[u8], caller: &Caller<'_>) -> Load {
        match self.ask(key, caller, Over::Any) {
            Begun::Lead(load) => load,
            Begun::Wait(_) => unreachable!("nobody's lease is in the way"),
        }
    }

    fn ask(&self, key: &[u8], caller: &Caller<'_>, over: Over) -> Begun {
        let inner = self.inner();
        let place = Place { engine: inner.number, db: self.index(), key: key.into() };
        match LEASES.ask(&inner.keyspace.clock, &place, caller, over) {
            Asked::Wait(id) => Begun::Wait(Wait { db: self.clone(), key: place.key, id }),
            Asked::Lead(lease) => {
                let mut shard = inner.keyspace.lock(self.key(key).shard());
                shard.watchers.add_load(&inner.keyspace.hooks, self.index(), key, lease.id, &lease.changed);
                drop(shard);
                let watched =
                    self.elsewhere().map(|elsewhere| Mutex::new(Some(Watched::begin(&elsewhere, key))));
                Begun::Lead(Load { db: self.clone(), key: place.key, lease, watched })
            }
        }
    }
}

impl Load {
    /// Its number, which no other load of this process has.
    pub fn id(&self) -> u64 {
        self.lease.id
    }

    /// The loads under way when this one began that it runs within, and itself: for the [`Caller`]s that its loader may become.
    pub fn within(&self) -> &[u64] {
        &self.lease.within
    }

    /// Stores what was loaded, unless the key was set, removed or cleared since the load began, by whoever in whatever way; says whether it
    /// did. A load that began earlier, or one within this one, is no such change. O(1).
    ///
    /// # Errors
    /// As [`Database::set`].
    pub fn store(&self, value: &[u8], ttl: Ttl) -> Result<bool> {
        self.db.admit(value.len().max(self.key.len()))?;
        self.db.check_fit(&[(&self.key, value)])?;
        if let Some(watched) = &self.watched {
            return self.store_elsewhere(watched.lock().take(), value, ttl);
        }
        let ttl_ms = ttl_ms(ttl)?;
        let Lease { id, changed, within } = &self.lease;
        self.db.write(&self.db.key(&self.key), |db, key| {
            if changed.load(std::sync::atomic::Ordering::Acquire) {
                return Ok(false);
            }
            let deadline = match ttl {
                Ttl::None => None,
                Ttl::Keep => db.peek(key).and_then(|entry| entry.deadline()),
                Ttl::After(_) => ttl_ms.map(|ttl| db.now() + ttl),
            };
            db.brace_for(5, key.bytes().len() + value.len())?;
            db.as_load(key, within, *id, |db| store(db, key, value, deadline))?;
            db.propagate_set(key, value, deadline);
            Ok(true)
        })
    }

    fn store_elsewhere(&self, watched: Option<Result<Watched>>, value: &[u8], ttl: Ttl) -> Result<bool> {
        let is_void = || self.lease.changed.load(std::sync::atomic::Ordering::Acquire);
        let Some(watched) = watched else { return Ok(false) };
        if is_void() || !watched?.set(&self.key, value, ttl)? {
            return Ok(false);
        }
        // A missing key that somebody of this process deletes does not change, so the watch does not tell.
        if is_void() {
            self.db.delete(&self.key)?;
            return Ok(false);
        }
        Ok(true)
    }

    /// Ends the load and tells those who wait for it. Their wakers run before this returns.
    pub fn land(self, landing: Landing) {
        self.end(&landing);
        // Its `drop` finds nothing to end.
    }

    fn end(&self, landing: &Landing) {
        let keyspace = &self.db.inner().keyspace;
        let mut shard = keyspace.lock(self.db.key(&self.key).shard());
        shard.watchers.remove_load(&keyspace.hooks, self.db.index(), &self.key, self.lease.id);
        drop(shard);
        LEASES.land(self.lease.id, landing);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end(&Landing::Again);
    }
}

impl Wait {
    /// How the load ended; `None` if it has not.
    pub fn landing(&self) -> Option<Landing> {
        LEASES.landing(self.id)
    }

    /// Has `waker` called when the load has ended, at once if it has, in the thread that ends it. Another waker takes the place of one before.
    pub fn on_landing(&self, waker: impl FnOnce() + Send + 'static) {
        LEASES.on_landing(self.id, Box::new(waker));
    }

    /// Waits until the load has ended, but no longer than `most`.
    pub fn block(&self, most: Duration) -> Option<Landing> {
        let timer = self.db.inner().keyspace.clock.timer();
        let thread = std::thread::current();
        self.on_landing(move || thread.unpark());
        loop {
            let landing = self.landing();
            let left = most.saturating_sub(timer.elapsed());
            if landing.is_some() || left.is_zero() {
                return landing;
            }
            std::thread::park_timeout(left);
        }
    }

    /// The number of the load.
    pub fn target(&self) -> Option<u64> {
        LEASES.target(self.id).map(|(load, _)| load)
    }

    /// What its holder said about where it runs; `None` also if it has ended.
    pub fn runner(&self) -> Option<Runner> {
        LEASES.target(self.id).and_then(|(_, runner)| runner)
    }

    /// How long to wait at most: after that the load is given up, and whoever asks first begins it again.
    pub fn left(&self) -> Duration {
        LEASES.left(self.id)
    }

    /// Asks again in place of this wait, by a caller who knows that the load will not end.
    pub fn give_up(self, caller: &Caller<'_>) -> Begun {
        let over = self.target().map_or(Over::Hopeless, Over::This);
        self.db.ask(&self.key, caller, over)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        LEASES.leave(self.id);
    }
}

#[cfg(test)]
mod tests;
