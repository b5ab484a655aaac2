//! Who a client acts as, and what follows for its session: written by whoever changes users, under their lock, and read by the session.

use std::sync::atomic::{AtomicU32, Ordering};

use arc_swap::ArcSwap;

use super::ClientInfo;
use crate::acl::User;
use crate::sync::Arc;

/// What a client is to the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// It has not said who it is.
    pub(crate) is_anonymous: bool,
    /// Its user may not do everything.
    pub(crate) is_restricted: bool,
}

impl Standing {
    /// Whether it may do everything.
    pub(crate) fn is_free(self) -> bool {
        !self.is_anonymous && !self.is_restricted
    }

    fn bits(self) -> u32 {
        (u32::from(self.is_anonymous) * ANONYMOUS) | (u32::from(self.is_restricted) * RESTRICTED)
    }

    fn of(bits: u32) -> Self {
        Self { is_anonymous: bits & ANONYMOUS != 0, is_restricted: bits & RESTRICTED != 0 }
    }
}

const ANONYMOUS: u32 = 1;
const RESTRICTED: u32 = 2;
/// The session does not know it yet, and believes to be free.
const UNSEEN: u32 = 4;

/// The user and the standing of a client.
pub(super) struct Standings {
    user: ArcSwap<User>,
    bits: AtomicU32,
    /// As the session knows it.
    seen: AtomicU32,
}

impl Standings {
    pub(super) fn new(user: Arc<User>) -> Self {
        Self { user: ArcSwap::new(user), bits: AtomicU32::new(0), seen: AtomicU32::new(0) }
    }
}

impl ClientInfo {
    /// Who it acts as.
    pub(crate) fn user(&self) -> Arc<User> {
        self.standings.user.load_full()
    }

    /// It acts as this user from now on. The caller has the users locked.
    pub(crate) fn set_user(&self, user: Arc<User>) {
        self.standings.user.store(user);
    }

    /// What it is now. One load.
    #[inline]
    pub(crate) fn standing(&self) -> Standing {
        Standing::of(self.standings.bits.load(Ordering::Relaxed))
    }

    /// Whether its session believes that it may do more than it may.
    pub(crate) fn is_unaware(&self) -> bool {
        self.standings.bits.load(Ordering::Relaxed) & UNSEEN != 0
    }

    /// Sets what it is; `is_seen` if it is its own session that does. Says whether the session believed to be free before and does now, though it is not.
    /// The caller has the users locked.
    pub(crate) fn set_standing(&self, standing: Standing, is_seen: bool) -> (bool, bool) {
        let Standings { bits, seen, .. } = &self.standings;
        if is_seen {
            seen.store(standing.bits(), Ordering::Relaxed);
        }
        let is_unaware = Standing::of(seen.load(Ordering::Relaxed)).is_free() && !standing.is_free();
        let new = standing.bits() | (u32::from(is_unaware) * UNSEEN);
        (bits.swap(new, Ordering::Relaxed) & UNSEEN != 0, is_unaware)
    }
}
