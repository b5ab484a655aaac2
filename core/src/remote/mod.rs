//! An engine that stands in a real Valkey: what is read is kept near, coherently, by the contract in `docs/remote.md`.
//!
//! What is near is in [`near`], how it is fetched and invalidated in [`link`]; everything else goes over plain connections ([`plain`]).

mod address;
mod breaker;
mod cacheable;
mod calling;
mod client;
mod codec;
mod encryption;
mod flight;
mod link;
mod near;
mod plain;
mod reading;
mod sentinel;
#[cfg(test)]
mod tests;
mod transport;

use std::sync::atomic::Ordering;

use arc_swap::ArcSwapOption;
use rustls::ClientConfig;

use crate::backend::{self, Backend, Connection, NearStats};
use crate::command::spec::Flags;
use crate::command::{Reply, keys};
use crate::commands::table::{self, Found};
use crate::error::{Error, Result};
use crate::local::Local;
use crate::os;
use crate::sync::{Arc, Mutex};
pub(crate) use address::parse;
use address::{Address, Endpoint, Options};
use breaker::Breaker;
use calling::Request;
use client::Client;
use link::Link;
use near::{Near, Writing};
use plain::Pool;
use sentinel::Watcher;

/// Further tries of what may be tried again.
const RETRIES: u32 = 2;

/// A remote, as an engine's backend.
pub(crate) struct Remote(Arc<Inner>);

pub(super) struct Inner {
    address: Address,
    options: Options,
    encryption: Option<Arc<ClientConfig>>,
    local: Arc<Local>,
    side: ArcSwapOption<Side>,
    /// Held by who makes a side.
    making: Mutex<()>,
}

/// What of a remote is one process's: a forked child makes its own.
struct Side {
    /// [`os::generation`] of its process.
    process: u64,
    near: Option<Arc<Near>>,
    link: Option<Arc<Link>>,
    watcher: Option<Arc<Watcher>>,
    pool: Pool,
    breaker: Arc<Breaker>,
}

impl Remote {
    /// The remote of a URL, for an engine with these parts, whose clock is leased.
    ///
    /// # Errors
    /// What the URL names of encryption can't be read.
    pub(crate) fn new(address: Address, options: Options, local: Arc<Local>) -> Result<Remote> {
        let encryption = encryption::of(&address)?;
        let side = ArcSwapOption::empty();
        let inner = Inner { address, options, encryption, local, side, making: Mutex::default() };
        let remote = Remote(Arc::new(inner));
        remote.0.side()?;
        Ok(remote)
    }
}

impl Inner {
    /// What of it is this process's.
    fn side(&self) -> Result<Arc<Side>> {
        let process = os::generation();
        if let Some(side) = &*self.side.load()
            && side.process == process
        {
            return Ok(side.clone());
        }
        let _making = self.making.lock();
        if let Some(side) = self.side.load_full()
            && side.process == process
        {
            return Ok(side);
        }
        let side = Arc::new(self.make_side(process)?);
        if let Some(parents) = self.side.swap(Some(side.clone())) {
            // Its locks may be held by threads that this process does not have.
            std::mem::forget(parents);
        }
        Ok(side)
    }

    fn make_side(&self, process: u64) -> Result<Side> {
        let breaker = Arc::new(Breaker::default());
        let (address, options, encryption) = (&self.address, &self.options, &self.encryption);
        let pool = Pool::new(address.clone(), options.clone(), encryption.clone(), breaker.clone());
        if options.near == 0 {
            return Ok(Side { process, near: None, link: None, watcher: None, pool, breaker });
        }
        let near = Arc::new(Near::new(self.local.clone(), address.db, options.near));
        near.lease(0);
        let link =
            Link::open(address.clone(), options.clone(), encryption.clone(), near.clone(), breaker.clone());
        let link = link.map_err(|error| Error::io("Starting the thread of a link", &error))?;
        let watcher = match &address.endpoint {
            Endpoint::Watched(sentinels) => {
                Some(Watcher::open(sentinels.clone(), options.clone(), link.clone()))
            }
            _ => None,
        };
        let watcher = watcher
            .transpose()
            .map_err(|error| Error::io("Starting the thread that hears sentinels", &error))?;
        Ok(Side { process, near: Some(near), link: Some(link), watcher, pool, breaker })
    }

    fn stats(&self, side: &Side) -> Option<NearStats> {
        let (near, link) = (side.near.as_ref()?, side.link.as_ref()?);
        let get = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
        let counts = &near.counts;
        Some(NearStats {
            hits: get(&counts.hits),
            misses: get(&counts.misses),
            fills: get(&counts.fills),
            fills_dropped: get(&counts.fills_dropped),
            invalidations: get(&counts.invalidations),
            flushes: get(&counts.flushes),
            joined: get(&counts.joined),
            generation: get(&link.generation),
            is_linked: link.is_live(),
            is_refused: link.is_refused.load(Ordering::Relaxed),
            bytes: self.local.keyspace.used_bytes(),
            staleness_bound: self.options.bound(),
            breaker: side.breaker.state(),
        })
    }
}

/// What a command writes, as far as the near cache goes.
enum Written<'w> {
    Nothing,
    Keys(Vec<&'w [u8]>),
    Everything,
}

impl Side {
    /// Ends the connections that there are: their server is the primary no longer.
    fn leave(&self) {
        if let Some(link) = &self.link {
            link.reset();
        }
        self.pool.clear();
    }

    fn written_by<'w>(&self, db: usize, found: &Found, argv: &[&'w [u8]]) -> Written<'w> {
        let (Some(near), spec) = (&self.near, found.spec) else { return Written::Nothing };
        if spec.flags.contains(Flags::READONLY) {
            return Written::Nothing;
        }
        // These are about databases, whichever the caller is in.
        if matches!(spec.name, "flushall" | "flushdb" | "swapdb") {
            return Written::Everything;
        }
        if db != near.db {
            // It may bring a key here all the same.
            let is_move = matches!(spec.name, "copy" | "move");
            return if is_move {
                Written::Keys(argv.iter().skip(1).copied().collect())
            } else {
                Written::Nothing
            };
        }
        // What the options name is among them, such as where SORT stores.
        let keys = keys::of_call(spec, argv).unwrap_or_default();
        let written: Vec<&[u8]> =
            keys.into_iter().filter_map(|(position, _)| argv.get(position).copied()).collect();
        if written.is_empty() { Written::Nothing } else { Written::Keys(written) }
    }

    /// A write is about to be sent, if this is one that the near cache has to know of.
    fn begin_write(&self, db: usize, found: &Found, argv: &[&[u8]]) -> Option<Writing<'_>> {
        let near = self.near.as_ref()?;
        match self.written_by(db, found, argv) {
            Written::Nothing => None,
            Written::Keys(written) => Some(near.begin_write(written)),
            Written::Everything => Some(near.begin_flush()),
        }
    }
}

impl Backend for Remote {
    fn execute(&self, db: usize, argv: &[&[u8]], reply: &mut Reply) {
        let side = match self.0.side() {
            Ok(side) => side,
            Err(error) => return reply.error(&error),
        };
        let found = table::find(argv);
        if let Some(found) = found {
            let is_many = found.spec.name == "mget";
            if self.0.read_near(&side, db, found, argv, reply)
                || is_many && self.0.read_many(&side, db, argv, reply)
            {
                return;
            }
        }
        let writing = found.and_then(|found| side.begin_write(db, found, argv));
        let request = Request { db, argv, found, resp3: false, is_bound: false };
        if !self.0.call_on_link(&side, &request, reply) {
            backend::wait(|| self.0.execute_plain(&side, &request, &mut None, false, reply));
        }
        drop(writing);
    }

    fn connect(&self) -> Box<dyn Connection> {
        Box::new(Client::new(self.0.clone()))
    }

    fn close(&self) -> Result<()> {
        let Some(side) = self.0.side.load_full().filter(|side| side.process == os::generation()) else {
            return Ok(());
        };
        if let Some(watcher) = &side.watcher {
            watcher.close();
        }
        if let Some(link) = &side.link {
            link.close();
        }
        side.pool.clear();
        Ok(())
    }

    fn default_db(&self) -> usize {
        self.0.address.db
    }

    fn near_stats(&self) -> Option<NearStats> {
        self.0.side().ok().and_then(|side| self.0.stats(&side))
    }

    fn flush_near(&self) {
        if let Ok(side) = self.0.side()
            && let Some(near) = &side.near
        {
            near.drop_all();
        }
    }
}
