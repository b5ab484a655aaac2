//! What a command did, for those who must hear of it: collected while its shards are locked, handed to the log before they are unlocked and to
//! observers after. Who listens is [`super::super::hooks`]' affair.

use smallvec::SmallVec;

use super::Db;
use crate::alloc;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::keyspace::evictor::Created;
use crate::keyspace::hearing::log_set;
use crate::keyspace::hooks::{Appended, EventClass, Hooks, Tracked};
use crate::keyspace::journal::Group;
use crate::keyspace::turns::{Batch, Happened, Turn};
use crate::keyspace::waiting::{Place, Ready, Served, Undo, serve_later};
use crate::store::key::Key;
use crate::value::Owned;

/// What a command did, for those who must hear of it.
#[derive(Default)]
pub(in crate::keyspace) struct Effects {
    pub(super) changes: u64,
    /// Keys that the evictor needs a record of.
    pub(super) created: SmallVec<[Created; 1]>,
    /// What few commands have, so that the others need not carry it.
    pub(in crate::keyspace) rare: Option<Box<Rare>>,
}

#[derive(Default)]
pub(in crate::keyspace) struct Rare {
    expired_fields: u64,
    /// The commands that replace the one being executed in the log; `None`: log it as it came.
    rewritten: Option<Group>,
    /// Memory that the log will need, kept until then.
    ballast: Vec<u8>,
    /// Deletions of expired keys met on the way, logged before the command.
    expirations: Group,
    /// What observers are to hear of.
    pub(in crate::keyspace) told: Batch,
    /// How many of its events have been published.
    published: usize,
    pub(in crate::keyspace) garbage: Vec<Owned>,
    /// The garbage is dropped by this thread, whatever it costs.
    pub(in crate::keyspace) drop_here: bool,
    /// Awaited keys that were changed.
    pub(in crate::keyspace) ready: Ready,
    /// Those whose waiters are served after the unlock.
    pub(in crate::keyspace) later: Vec<Place>,
    /// A waiter is being served.
    pub(in crate::keyspace) serves: bool,
    /// How to put back what was taken for it.
    pub(in crate::keyspace) undo: Option<Undo>,
    /// Who was served, and is told so after the unlock.
    pub(in crate::keyspace) served: Vec<Served>,
    /// Keys that have changed, for clients that are told of all that begin like them.
    broadcast: Vec<Tracked>,
    /// What is to be done after the unlock beside all that.
    afterwards: Vec<Box<dyn FnOnce() + Send>>,
}

/// How much a command had recorded at some point.
#[derive(Clone, Copy)]
pub(crate) struct Recorded {
    changes: u64,
    events: usize,
}

/// Events that wait for others to come first.
#[must_use]
pub(crate) struct Held(Vec<Happened>);

/// What is left to do for a piece of work once nothing is locked: observers hear, garbage is dropped.
pub(crate) struct Aftermath<'k> {
    rare: Box<Rare>,
    /// To tell the observers.
    turn: Option<Turn<'k>>,
}

impl<'k> Aftermath<'k> {
    /// Does it. The caller holds no lock.
    pub(crate) fn settle(self, keyspace: &Keyspace) {
        self.settle_by(keyspace, Turn::tell);
    }

    /// Does it for work that nobody asked for: this waits for no other thread.
    pub(crate) fn settle_unasked(self, keyspace: &Keyspace) {
        self.settle_by(keyspace, Turn::leave);
    }

    fn settle_by(self, keyspace: &Keyspace, tell: impl FnOnce(Turn<'k>, Batch)) {
        let Self { mut rare, turn } = self;
        std::mem::take(&mut rare.afterwards).into_iter().for_each(|act| act());
        if let Some(turn) = turn {
            tell(turn, std::mem::take(&mut rare.told));
        }
        let broadcast = std::mem::take(&mut rare.broadcast);
        rare.release(keyspace);
        // Behind the late replies of those who were served.
        if !broadcast.is_empty() {
            keyspace.hooks.broadcast(broadcast);
        }
    }
}

impl Rare {
    /// What is done after the observers have heard: waiters are woken, garbage is dropped.
    fn release(self, keyspace: &Keyspace) {
        keyspace.expired_fields.fetch_add(self.expired_fields, crate::sync::Ordering::Relaxed);
        self.served.into_iter().for_each(|served| served.tell(keyspace));
        self.later.iter().for_each(|place| serve_later(keyspace, place));
        if self.drop_here {
            drop(self.garbage);
        } else {
            crate::lazyfree::discard(self.garbage);
        }
    }
}

impl Effects {
    pub(in crate::keyspace) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Tells clients that may keep a key that it has changed.
    #[cold]
    pub(super) fn track(&mut self, hooks: &Hooks, key: &[u8], client: u64) {
        let rare = self.rare();
        if hooks.track(key, client, &mut rare.afterwards) {
            rare.broadcast.push((key.into(), client));
        }
    }

    /// Tells clients that keys are gone.
    #[cold]
    pub(in crate::keyspace) fn track_flush(&mut self, hooks: &Hooks) {
        hooks.track_flush(&mut self.rare().afterwards);
    }

    /// Values to drop after the unlock.
    pub(in crate::keyspace) fn discard(&mut self, values: impl IntoIterator<Item = Owned>) {
        for mut value in values {
            // What nobody can reach is no reason to evict more.
            value.depart();
            self.rare().garbage.push(value);
        }
    }
}

impl<'e> Db<'e> {
    /// Has the log remove a key before whatever the command does.
    pub(super) fn log_removal(&mut self, command: &[u8], key: &Key<'_>) {
        if self.keyspace.hooks.are_logged() {
            let db = self.index;
            self.effects.rare().expirations.push(db, [command, key.bytes()]);
        }
    }

    /// Announces a keyspace event to whoever subscribed to its class.
    #[inline]
    pub fn notify(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        if self.keyspace.hooks.want_events() || class == EventClass::KeyMiss {
            let (db, client) = (self.index, self.client);
            self.effects.rare().told.events.push(Happened { class, name, db, key: key.into(), client });
        }
    }

    /// Announces what a command did to a collection, ahead of the `del` of a key that went with its last element.
    pub(crate) fn notify_of_edit(&mut self, class: EventClass, name: &'static str, key: &[u8]) {
        self.notify(class, name, key);
        let Some(rare) = &mut self.effects.rare else { return };
        let events = &mut rare.told.events;
        if let [.., before, _] = &events[..]
            && before.name == "del"
            && (before.db, &*before.key) == (self.index, key)
        {
            let last = events.len() - 1;
            events.swap(last - 1, last);
        }
    }

    /// What was recorded so far, for [`Db::hold_events`] and [`Db::forget_since`].
    pub(crate) fn recorded(&self) -> Recorded {
        Recorded { changes: self.effects.changes, events: self.announced() }
    }

    /// How many events were announced so far.
    pub(super) fn announced(&self) -> usize {
        self.effects.rare.as_ref().map_or(0, |rare| rare.told.events.len())
    }

    /// Has the events that were announced after the first `from` come after the first `to`, and returns how many these are.
    pub(super) fn move_events(&mut self, from: usize, to: usize) -> usize {
        let Some(rare) = &mut self.effects.rare else { return 0 };
        let events = &mut rare.told.events;
        let count = events.len() - from;
        events[to.min(from)..].rotate_right(count);
        count
    }

    /// Takes out the events that were announced since: others come first.
    pub(crate) fn hold_events(&mut self, recorded: Recorded) -> Held {
        let events = self.effects.rare.as_mut().map(|rare| rare.told.events.split_off(recorded.events));
        Held(events.unwrap_or_default())
    }

    /// Announces the events that were held.
    pub(crate) fn announce(&mut self, held: Held) {
        if !held.0.is_empty() {
            self.effects.rare().told.events.extend(held.0);
        }
    }

    /// Forgets what was recorded since, of changes that were taken back. Who asked to hear of changes hears of them all the same.
    pub(crate) fn forget_since(&mut self, recorded: Recorded) {
        self.effects.changes = recorded.changes;
        drop(self.hold_events(recorded));
    }

    /// Sees to it that there will be memory for what the log gets of a command of these words: errors come before changes.
    ///
    /// # Errors
    /// There is none.
    #[inline]
    pub(crate) fn brace(&mut self, argv: &[&[u8]]) -> Result<()> {
        if self.keyspace.hooks.are_logged() { self.take_ballast(argv) } else { Ok(()) }
    }

    /// [`Db::brace`] of words that are not there as such: how many, and their bytes.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub(crate) fn brace_for(&mut self, words: usize, bytes: usize) -> Result<()> {
        if self.keyspace.hooks.are_logged() { self.take_ballast_of(words, bytes) } else { Ok(()) }
    }

    fn take_ballast(&mut self, argv: &[&[u8]]) -> Result<()> {
        self.take_ballast_of(argv.len(), argv.iter().map(|word| word.len()).sum())
    }

    fn take_ballast_of(&mut self, words: usize, bytes: usize) -> Result<()> {
        /// What small vectors take is not worth asking for.
        const WORTH: usize = 64 << 10;
        let bytes = bytes.saturating_add(words.saturating_mul(64));
        if bytes > WORTH {
            // Words may be copied, and are encoded then.
            self.effects.rare().ballast = alloc::with_room_for(bytes.saturating_mul(2))?;
        }
        Ok(())
    }

    /// Writes these words to the log in place of the command that is being executed. May be called several times; without a log the words
    /// are never made.
    ///
    /// Commands whose repetition would not have the same effect call it: relative deadlines, random choices, floats.
    pub fn propagate<I: IntoIterator<Item: AsRef<[u8]>>>(&mut self, words: impl FnOnce() -> I) {
        if self.keyspace.hooks.are_logged() {
            let db = self.index;
            let rare = self.effects.rare();
            rare.ballast = Vec::new();
            rare.rewritten.get_or_insert_default().push(db, words());
        }
    }

    /// [`Db::propagate`] of a string that was set, with a deadline in unix milliseconds if it has one.
    pub(crate) fn propagate_set(&mut self, key: &Key<'_>, value: &[u8], deadline: Option<u64>) {
        if self.keyspace.hooks.are_logged() {
            let db = self.index;
            let rare = self.effects.rare();
            rare.ballast = Vec::new();
            let group = rare.rewritten.get_or_insert_default();
            log_set(group, db, key.bytes(), value, deadline);
        }
    }

    /// Logs the removal of expired fields before whatever the command does. `changes` are those it had made by then: expiry is none of
    /// them, or a command that goes on to change nothing would be logged.
    pub(in crate::keyspace) fn log_expired_fields(
        &mut self,
        key: &Key<'_>,
        fields: Vec<Vec<u8>>,
        changes: u64,
    ) {
        self.effects.changes = changes;
        if self.keyspace.hooks.are_logged() {
            let words = [&b"HDEL"[..], key.bytes()].into_iter().chain(fields.iter().map(Vec::as_slice));
            let db = self.index;
            self.effects.rare().expirations.push(db, words);
        }
    }

    /// Has something done once nothing is locked.
    pub(crate) fn after_unlock(&mut self, act: Box<dyn FnOnce() + Send>) {
        self.effects.rare().afterwards.push(act);
    }

    /// Counts fields that have expired.
    pub(crate) fn count_expired_fields(&mut self, count: usize) {
        self.effects.rare().expired_fields += count as u64;
    }

    /// Closes a piece of work that came without words: hands its effects to the log, unlocks, frees, and waits for the log if that has to be.
    ///
    /// # Errors
    /// The log cannot keep the effects. The changes stand.
    pub(crate) fn finish(self, db: usize) -> Result<()> {
        let keyspace = self.keyspace;
        let (appended, aftermath) = self.finish_later(db);
        if let Some(aftermath) = aftermath {
            aftermath.settle(keyspace);
        }
        appended?.map_or(Ok(()), Appended::wait)
    }

    /// As [`Db::finish`] for work that nobody asked for: nobody waits for the log. That it cannot keep the effects is for the log to remember.
    pub(crate) fn finish_unasked(self, db: usize) {
        let keyspace = self.keyspace;
        if let (_, Some(aftermath)) = self.finish_later(db) {
            aftermath.settle_unasked(keyspace);
        }
    }

    /// As [`Db::finish`], but leaves to the caller what is to be done when no lock is held any more.
    pub(crate) fn finish_later(mut self, db: usize) -> (Result<Option<Appended>>, Option<Aftermath<'e>>) {
        let mut effects = Group::default();
        self.settle(db, &[], &mut effects);
        let appended = self.keyspace.hooks.append(&effects);
        effects.recycle();
        (appended, self.unlock())
    }

    /// How many changes the command has made so far.
    pub fn changes(&self) -> u64 {
        self.effects.changes
    }

    /// Counts changes that no single key stands for, such as FLUSHALL's.
    pub(crate) fn add_changes(&mut self, changes: u64) {
        self.effects.changes += changes;
        self.keyspace.dirty.fetch_add(changes, crate::sync::Ordering::Relaxed);
    }

    /// Publishes the events since the last time. What they are and in which order is final.
    #[inline]
    fn publish_events(&mut self) {
        let hooks = &self.keyspace.hooks;
        if let Some(rare) = &mut self.effects.rare
            && hooks.are_published()
        {
            for happened in &rare.told.events[rare.published..] {
                hooks.publish(&happened.event(), &mut rare.afterwards);
            }
            rare.published = rare.told.events.len();
        }
    }

    /// Closes one command: publishes its events and hands its effects to the log while the shards are still locked.
    pub(crate) fn settle(&mut self, db: usize, argv: &[&[u8]], into: &mut Group) {
        self.settle_met();
        self.publish_events();
        let changes = std::mem::take(&mut self.effects.changes);
        let mut rewritten = None;
        if let Some(rare) = &mut self.effects.rare {
            rare.ballast = Vec::new();
            rewritten = rare.rewritten.take();
            into.append(&mut rare.expirations);
        }
        if changes > 0 {
            self.has_changed = true;
            if self.keyspace.hooks.are_logged() {
                match rewritten {
                    Some(mut effects) => into.append(&mut effects),
                    None => into.push(db, argv),
                }
            }
        }
    }

    /// Whether waiters are to be served when the work ends.
    pub(crate) fn is_to_serve(&self) -> bool {
        self.effects.rare.as_ref().is_some_and(|rare| !rare.ready.is_empty())
    }

    /// Ends the work: accounts memory, unlocks, then drops what was removed and tells the observers.
    pub(crate) fn release(self) {
        let keyspace = self.keyspace;
        if let Some(aftermath) = self.unlock() {
            aftermath.settle(keyspace);
        }
    }

    #[inline]
    fn unlock(mut self) -> Option<Aftermath<'e>> {
        let keyspace = self.keyspace;
        if self.is_to_serve() {
            self.serve_waiters();
        }
        if self.has_changed || self.effects.rare.is_some() {
            self.locks.each_written(|shard| keyspace.report(shard));
        }
        self.publish_events();
        let Self { locks, effects, has_changed, .. } = self;
        let has_told = effects.rare.as_ref().is_some_and(|rare| !rare.told.is_empty());
        let turn = if has_told { keyspace.hooks.turn() } else { None };
        drop(locks);
        if has_changed {
            crate::keyspace::compaction::help(keyspace);
        }
        if !effects.created.is_empty() {
            keyspace.evictor.file(&effects.created);
        }
        effects.rare.map(|rare| Aftermath { rare, turn })
    }
}
