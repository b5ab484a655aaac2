//! What a session remembers between two commands: its database, its transaction, the keys it watches.

use std::cell::OnceCell;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{
    Blocking, Channels, ClientInfo, Clients, Standing, SubscriptionKind, Subscriptions, Trait, Transaction,
    Wishes,
};
use crate::alloc;
use crate::error::Result;
use crate::keyspace::{Db, Key, Keyspace};
use crate::stats::{Stats, Stripe};
use crate::sync::Arc;

/// What commands can see and change of a session.
pub(crate) struct SessionState {
    pub(crate) db: usize,
    /// What the client was when the session looked last.
    standing: Standing,
    pub(crate) info: Arc<ClientInfo>,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) watched: Vec<Watched>,
    /// The client asked to end (QUIT).
    pub(crate) quitting: bool,
    /// Nobody reads what would be pushed to it.
    pub(crate) refuses_pushes: bool,
    /// What it is subscribed to.
    subscriptions: Subscriptions,
    /// What it is told of keys that it may keep, if it tracks.
    pub(crate) wishes: Option<Box<Wishes>>,
    /// A command has replied with messages, and not with one reply of its shape.
    pub(crate) has_sent_messages: bool,
    /// The command has no reply.
    pub(crate) has_no_reply: bool,
    /// The client has asked for no replies.
    replies_off: bool,
    /// It has asked for none to its next command.
    skips_next: bool,
    /// The command that runs, or waits, is the one after that.
    skips_this: bool,
    /// The command whose reply it waits for.
    pub(crate) blocked: Option<Blocked>,
    /// Lines about its commands that those who monitor have not got yet.
    pub(crate) shown: Vec<String>,
    /// A script runs in its name.
    pub(crate) in_script: bool,
    /// Follows from `standing`, `transaction`, `blocked`, whether it may only subscribe, which replies it gets, and its traits.
    is_plain: bool,
    /// Where its commands are counted; none before the first.
    stripe: OnceCell<Arc<Stripe>>,
}

/// A command whose reply has yet to come.
pub(crate) struct Blocked {
    pub(crate) wait: Arc<dyn Blocking>,
    /// Its number in the command table.
    pub(crate) command: usize,
    pub(crate) words: Box<[Box<[u8]>]>,
    /// How long it ran until it had to wait.
    pub(crate) elapsed: Duration,
    /// Its time was over when somebody else had ended the wait: the reply is on its way.
    pub(crate) is_coming: bool,
}

/// What the short cuts know nothing of.
const UNUSUAL: Trait = Trait::NO_TOUCH.with(Trait::IMPORT_SOURCE).with(Trait::TRACKING);

/// What tracking comes with.
const TRACKS: Trait =
    Trait::TRACKING.with(Trait::BROADCAST).with(Trait::BROKEN_REDIRECT).with(Trait::NO_LOOP);

/// What RESET takes away.
const RESET: Trait = Trait::NO_EVICT.with(Trait::NO_TOUCH).with(Trait::IMPORT_SOURCE);

/// A key under WATCH.
pub(crate) struct Watched {
    pub(crate) db: usize,
    pub(crate) key: Box<[u8]>,
}

impl SessionState {
    pub(crate) fn new(info: Arc<ClientInfo>) -> Self {
        let standing = info.standing();
        Self {
            db: 0,
            standing,
            info,
            transaction: None,
            watched: Vec::new(),
            quitting: false,
            is_plain: standing.is_free(),
            refuses_pushes: false,
            subscriptions: Subscriptions::default(),
            wishes: None,
            has_sent_messages: false,
            has_no_reply: false,
            replies_off: false,
            skips_next: false,
            skips_this: false,
            blocked: None,
            shown: Vec::new(),
            in_script: false,
            stripe: OnceCell::new(),
        }
    }

    /// Tells the database how the session's commands are to find keys.
    #[inline]
    pub(crate) fn instruct(&self, db: &mut Db<'_>) {
        let traits = &self.info.traits;
        if traits.has(Trait::NO_TOUCH.with(Trait::IMPORT_SOURCE)) {
            let is_importing = traits.has(Trait::IMPORT_SOURCE) && db.keyspace().config.hot().import_mode();
            db.be_told(traits.has(Trait::NO_TOUCH), is_importing);
        }
    }

    /// Its database and its number: whose change it is.
    pub(crate) fn origin(&self) -> (usize, u64) {
        (self.db, self.info.id)
    }

    /// The counters that its commands count in.
    #[inline(always)]
    pub(crate) fn counters(&self, stats: &Stats) -> &Stripe {
        self.stripe.get_or_init(|| stats.stripe(self.info.id))
    }

    /// Whether nothing about the session asks for more than to execute what it is given.
    #[inline(always)]
    pub(crate) fn is_plain(&self) -> bool {
        debug_assert_eq!(self.is_plain, self.would_be_plain());
        self.is_plain
    }

    fn would_be_plain(&self) -> bool {
        self.standing.is_free()
            && self.transaction.is_none()
            && self.blocked.is_none()
            && !self.may_only_subscribe()
            && !self.replies_off
            && !self.skips_next
            && !self.info.traits.has(UNUSUAL)
    }

    /// It has a trait from now on, or no longer.
    pub(crate) fn set_trait(&mut self, which: Trait, has: bool) {
        self.info.traits.set(which, has);
        self.is_plain = self.would_be_plain();
    }

    /// Has it track from now on, or otherwise than before. `changed` is told, one change at a time, whether anybody does.
    pub(crate) fn track(
        &mut self,
        clients: &Clients,
        mut wishes: Wishes,
        traits: Trait,
        redirect: u64,
        changed: impl FnOnce(bool),
    ) {
        let info = self.info.clone();
        if let Some(before) = &mut self.wishes {
            wishes.caching = before.caching;
            let kept = std::mem::take(&mut before.prefixes);
            wishes.prefixes.iter().filter(|prefix| !kept.contains(*prefix)).for_each(|prefix| {
                clients.tracking.enter_prefix(prefix, info.id);
            });
            wishes.prefixes.extend(kept);
        } else {
            wishes.prefixes.iter().for_each(|prefix| clients.tracking.enter_prefix(prefix, info.id));
        }
        info.redirects_to.store(redirect, Ordering::Relaxed);
        info.traits.set(TRACKS, false);
        info.traits.set(traits, true);
        clients.tracking.enter(&info, changed);
        self.wishes = Some(Box::new(wishes));
        self.is_plain = self.would_be_plain();
    }

    /// Ends that.
    pub(crate) fn stop_tracking(&mut self, clients: &Clients, changed: impl FnOnce(bool)) {
        let Some(wishes) = self.wishes.take() else { return };
        wishes.prefixes.iter().for_each(|prefix| clients.tracking.leave_prefix(prefix, self.info.id));
        self.info.traits.set(TRACKS, false);
        self.info.redirects_to.store(0, Ordering::Relaxed);
        clients.tracking.leave(self.info.id, changed);
        self.is_plain = self.would_be_plain();
    }

    /// A command has ended, and with it what CLIENT CACHING said of it.
    #[inline]
    pub(crate) fn end_caching(&mut self, is_of_clients: bool) {
        if let Some(wishes) = &mut self.wishes
            && !is_of_clients
            && self.transaction.is_none()
        {
            wishes.caching = false;
        }
    }

    /// Has it get replies from now on, or none.
    pub(crate) fn set_replies(&mut self, are_on: bool) {
        self.replies_off = !are_on;
        (self.skips_next, self.skips_this) = (false, false);
        self.is_plain = self.would_be_plain();
    }

    /// Leaves out the replies of the command that runs and of the next.
    pub(crate) fn skip_next_reply(&mut self) {
        self.skips_next = !self.replies_off;
        self.has_no_reply = true;
        self.is_plain = self.would_be_plain();
    }

    /// A command begins.
    #[inline]
    pub(crate) fn begin_reply(&mut self) {
        (self.has_sent_messages, self.has_no_reply) = (false, false);
        self.skips_this = std::mem::take(&mut self.skips_next);
        if self.skips_this {
            self.is_plain = self.would_be_plain();
        }
    }

    /// The command that waited to begin begins: what was asked for it still holds.
    pub(crate) fn is_begun_anew(&mut self) {
        self.skips_next = self.skips_this;
        self.is_plain = self.would_be_plain();
    }

    /// Whether what the command has replied is left out.
    #[inline]
    pub(crate) fn leaves_reply_out(&self) -> bool {
        self.has_no_reply || self.replies_off || self.skips_this
    }

    /// Whether it is subscribed to anything and speaks RESP2: its client takes all that comes for messages.
    pub(crate) fn reads_messages_alone(&self) -> bool {
        !self.subscriptions.are_none() && !self.info.resp3.load(Ordering::Relaxed)
    }

    /// Whether it may do little but subscribe. Who reads tapes can tell replies from messages.
    pub(crate) fn may_only_subscribe(&self) -> bool {
        self.reads_messages_alone() && !self.info.reads_tape
    }

    /// Chooses the protocol.
    pub(crate) fn set_resp3(&mut self, resp3: bool) {
        self.info.resp3.store(resp3, Ordering::Relaxed);
        self.is_plain = self.would_be_plain();
    }

    /// What it is subscribed to.
    pub(crate) fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Subscribes, unless it is already. `tell` is called with the number of subscriptions by then, before any message comes of this one; it must wait
    /// for nothing.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn subscribe(
        &mut self,
        channels: &Channels,
        kind: SubscriptionKind,
        name: &[u8],
        tell: impl FnOnce(usize),
    ) -> Result<()> {
        let count = self.subscriptions.count(kind);
        if self.subscriptions.of(kind).contains(name) {
            tell(count);
            return Ok(());
        }
        let own = alloc::boxed(name)?;
        channels.subscribe(kind, name, &self.info, || tell(count + 1))?;
        self.subscriptions.of_mut(kind).insert(own);
        self.subscriptions_changed(kind);
        Ok(())
    }

    /// Ends a subscription, if there is such a one.
    pub(crate) fn unsubscribe(&mut self, channels: &Channels, kind: SubscriptionKind, name: &[u8]) {
        if self.subscriptions.of_mut(kind).remove(name) {
            channels.unsubscribe(kind, name, self.info.id);
            self.subscriptions_changed(kind);
        }
    }

    /// Ends all subscriptions.
    pub(crate) fn unsubscribe_all(&mut self, channels: &Channels) {
        for kind in SubscriptionKind::ALL {
            for name in std::mem::take(self.subscriptions.of_mut(kind)) {
                channels.unsubscribe(kind, &name, self.info.id);
            }
            self.subscriptions_changed(kind);
        }
    }

    fn subscriptions_changed(&mut self, kind: SubscriptionKind) {
        self.info.subscribed.set(kind, self.subscriptions.of(kind).len());
        self.is_plain = self.would_be_plain();
    }

    /// Whether the client has told who it is, or had not to.
    #[inline]
    pub(crate) fn is_authenticated(&self) -> bool {
        !self.standing.is_anonymous
    }

    /// Whether there are commands that its user may not execute.
    #[inline]
    pub(crate) fn is_restricted(&self) -> bool {
        self.standing.is_restricted
    }

    /// Whether the client has become another than the session knows.
    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        self.standing != self.info.standing()
    }

    /// Takes over what the client is by now.
    pub(crate) fn adopt_standing(&mut self, standing: Standing) {
        self.standing = standing;
        self.is_plain = self.would_be_plain();
    }

    /// Begins a transaction.
    pub(crate) fn begin_transaction(&mut self) {
        self.transaction = Some(Transaction::default());
        self.is_plain = false;
    }

    /// The session waits for the reply of a command from now on.
    pub(crate) fn block(&mut self, blocked: Blocked) {
        let held = blocked.words.iter().map(|word| word.len()).sum();
        self.info.held_words.store(held, Ordering::Relaxed);
        self.blocked = Some(blocked);
        self.is_plain = false;
    }

    /// It waits no longer, for what is returned.
    pub(crate) fn unblock(&mut self) -> Option<Blocked> {
        let blocked = self.blocked.take();
        self.info.held_words.store(0, Ordering::Relaxed);
        self.is_plain = self.would_be_plain();
        blocked
    }

    pub(crate) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Keeps the command of this number for EXEC, and whether it may change something.
    ///
    /// # Errors
    /// The system has no memory for it.
    pub(crate) fn queue(&mut self, command: usize, argv: &[&[u8]], may_change: bool) -> Result<()> {
        let transaction = self.transaction.as_mut().expect("queueing happens in a transaction");
        transaction.queue(command, argv)?;
        transaction.may_change |= may_change;
        self.info.last_command.store(command, Ordering::Relaxed);
        self.info.queued.store(transaction.len() as i64, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn poison_transaction(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.poisoned = true;
        }
    }

    /// Ends a transaction and returns it.
    pub(crate) fn end_transaction(&mut self) -> Option<Transaction> {
        let ended = self.transaction.take();
        self.is_plain = self.would_be_plain();
        if ended.is_some() {
            self.info.queued.store(0, Ordering::Relaxed);
            self.info.in_transaction.store(false, Ordering::Relaxed);
        }
        ended
    }

    /// Goes to the database of this number.
    #[inline]
    pub(crate) fn select(&mut self, db: usize) {
        self.db = db;
        self.info.db.store(db, Ordering::Relaxed);
    }

    /// Remembers a command for CLIENT LIST.
    #[inline]
    pub(crate) fn began(&self, command: usize) {
        self.info.last_command.store(command, Ordering::Relaxed);
    }

    /// Counts a command that has ended; the one that asks is not counted yet.
    #[inline]
    pub(crate) fn ended(&self) {
        self.info.commands.store(self.info.commands.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// [`SessionState::began`] and [`SessionState::ended`] at once, at that time.
    #[inline(always)]
    pub(crate) fn executed(&self, command: usize, now_ms: u64) {
        // One look at where the client is: after each store the compiler would look again.
        let info = &*self.info;
        info.last_command.store(command, Ordering::Relaxed);
        info.commands.store(info.commands.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        info.last_seen_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Forgets everything that the client chose, as RESET asks.
    pub(crate) fn reset(&mut self, keyspace: &Keyspace) {
        self.end_transaction();
        self.unwatch(keyspace);
        self.select(0);
        self.set_resp3(false);
        self.set_replies(true);
        self.set_trait(RESET, false);
        self.info.names.lock().name.clear();
    }

    /// Drops all WATCH marks.
    pub(crate) fn unwatch(&mut self, keyspace: &Keyspace) {
        for watched in self.watched.drain(..) {
            let key = Key::new(&watched.key, &keyspace.seed);
            let watchers = &mut keyspace.lock(key.shard()).watchers;
            watchers.remove(&keyspace.hooks, watched.db, &watched.key, &self.info.watch_flag);
        }
        self.info.watch_flag.store(false, Ordering::Release);
        self.info.watching.store(0, Ordering::Relaxed);
    }
}
