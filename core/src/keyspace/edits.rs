//! Editing collections: packed ones where they stand, or in the block that they outgrow their own for, and large ones. That is what most writes to
//! collections come to.
//!
//! It is a short cut past [`super::Db`]; logs, observers and whoever watches the key are told here too ([`super::hearing`]). All else is for
//! [`super::Db`], by way of [`super::collection`], whose every effect this must have.

use super::collection::around;
use super::entry::Head;
use super::guard::ShardGuard;
use super::hearing::{Became, Events, Hear, Listeners, Named, Nobody};
use super::insert::create;
use super::overwrite::prefetch_entry;
use super::shard::ShardData;
use super::shared::{Located, Lookup};
use super::{Keyspace, compaction};
use crate::error::Result;
use crate::evict::Event as Used;
use crate::lazyfree;
use crate::store::key::Key;
use crate::store::memory::{OutOfMemory, Ref};
use crate::value::editing::{Collection, Editing, LazyTime, Splice};
use crate::value::listpack;
use crate::value::patch::Patch;
use crate::value::{Kind, NewValue};

/// What is to become of a packed collection. `FRONT`: see [`Patch`].
pub(crate) enum Change<const FRONT: usize = { listpack::COUNT_BYTES }> {
    /// It stays as it is.
    Nothing,
    Patched(Patch<FRONT>),
    /// Nothing would be left: the key goes.
    Gone,
}

/// An edit of a collection.
pub(crate) trait Edit<const FRONT: usize = { listpack::COUNT_BYTES }> {
    /// What the collection is when it is large.
    type Of: Collection;

    /// What the command replies.
    type Done;

    /// Whether there can be listeners, or all is left to the command where there are.
    const IS_HEARD: bool = true;

    /// What it is announced as.
    fn events(&self) -> &'static Events;

    /// The words of the command, as the log gets them.
    fn words<R>(&self, key: &[u8], hand_on: impl FnOnce(&[&[u8]]) -> R) -> R;

    /// What a new collection begins as. `None`: it is not packed, or there is none to be.
    fn beginning(&self) -> Option<(Kind, &'static [u8])>;

    /// Works out what becomes of packed bytes of that kind. `None`: that is for the command to do.
    fn plan(&mut self, kind: Kind, packed: &[u8]) -> Option<(Change<FRONT>, Self::Done)>;

    /// What it comes to where there is no key. Asked where there is no [beginning](Self::beginning). `None`: that is for the command to say.
    fn absent(&self) -> Option<Self::Done> {
        None
    }

    /// Whether it edits large collections, too. If not, they are left to the command.
    const EDITS_LARGE: bool = true;

    /// Makes the edit of a large collection. `None`: nothing was done, and the command must do it.
    ///
    /// # Errors
    /// Nothing was done.
    fn edit_large(&mut self, large: &mut Editing<'_, Self::Of>) -> Result<Option<Self::Done>>;
}

/// Edits the collection of a key for a session: the database's number, and the session's. `None`: nothing was done, and the command must do it.
/// O(bytes of a packed collection).
///
/// # Errors
/// The system has no memory, or the log refuses writes: nothing has changed. The log cannot keep this edit: it stands.
#[inline(always)]
pub(crate) fn edit_at_once<const FRONT: usize, E: Edit<FRONT>>(
    keyspace: &Keyspace,
    (db, client): (usize, u64),
    key: &Key<'_>,
    edit: &mut E,
) -> Result<Option<E::Done>> {
    if keyspace.hooks.may_hear() {
        if !E::IS_HEARD {
            return Ok(None);
        }
        return edit_heard(keyspace, (db, client), key, edit);
    }
    run(keyspace, db, key, edit, &mut Nobody)
}

#[inline(never)]
fn edit_heard<const FRONT: usize, E: Edit<FRONT>>(
    keyspace: &Keyspace,
    (db, client): (usize, u64),
    key: &Key<'_>,
    edit: &mut E,
) -> Result<Option<E::Done>> {
    let bytes = edit.words(key.bytes(), |words| words.iter().map(|word| word.len()).sum());
    let Some(mut listeners) = Listeners::of(keyspace, client, bytes, Named::edit(edit.events())) else {
        return Ok(None);
    };
    listeners.log(|group| edit.words(key.bytes(), |words| group.push(db, words)));
    let Some(done) = run(keyspace, db, key, edit, &mut listeners)? else { return Ok(None) };
    listeners.tell(db, key.bytes())?;
    Ok(Some(done))
}

#[inline(always)]
fn run<const FRONT: usize, E: Edit<FRONT>>(
    keyspace: &Keyspace,
    db: usize,
    key: &Key<'_>,
    edit: &mut E,
    listeners: &mut impl Hear,
) -> Result<Option<E::Done>> {
    let prefetched = prefetch_entry(keyspace, db, key);
    let mut shard = keyspace.lock(key.shard());
    if !listeners.stand_for(&keyspace.hooks, &shard, db, *key) {
        return Ok(None);
    }
    let located = prefetched.and_then(|prefetched| prefetched.located(key));
    let Located { at, window, head } =
        match located.map_or_else(|| keyspace.shared.look_up(db, key), Lookup::Found) {
            Lookup::Found(found) => found,
            Lookup::NeedsLock => return Ok(None),
            Lookup::Missing => {
                let Some((kind, empty)) = edit.beginning() else { return Ok(edit.absent()) };
                let Some((Change::Patched(patch), done)) = edit.plan(kind, empty) else { return Ok(None) };
                let value = patch.joined_with(empty)?;
                create(keyspace, shard, db, key, NewValue::Bytes(kind, &value), None, listeners)?;
                return Ok(Some(done));
            }
        };
    let deadline = head.deadline_in(window);
    if head.kind().data_type() != E::Of::TYPE
        || deadline.is_some_and(|deadline| keyspace.has_passed(deadline))
        || shard.visit.is_some() && shard.is_key_needed(db, key.bytes(), key.hash())
    {
        return Ok(None);
    }
    if head.kind().owns() {
        if !E::EDITS_LARGE {
            return Ok(None);
        }
        return edit_large(keyspace, shard, db, key, at, edit, listeners);
    }
    let Some((change, done)) = edit.plan(head.kind(), head.value(&shard.arena, at)) else { return Ok(None) };
    let became = match change {
        Change::Nothing => {
            touch(keyspace, &shard, key, at, head);
            return Ok(Some(done));
        }
        Change::Patched(patch) if head.has_room_for(patch.len_after(head.value_len)) => {
            shard.in_place(|data| {
                patch.apply_to(&mut InPlace { data, at, head });
                touch(keyspace, data, key, at, head);
                data.stats.count_change();
            });
            keyspace.counters.bump(key.hash());
            listeners.changed(&shard, db, key.bytes(), Became::Changed);
            return Ok(Some(done));
        }
        Change::Patched(patch) if !Head::is_short(patch.len_after(head.value_len)) => return Ok(None),
        Change::Patched(patch) => {
            let at = shard.patch(db, key, (at, head), deadline, &patch)?;
            touch(keyspace, &shard, key, at, head);
            Became::Changed
        }
        Change::Gone => {
            touch(keyspace, &shard, key, at, head);
            keyspace.evictor.note(key.hash(), Used::Removed);
            let owned = shard.delete(db, key.hash(), at);
            debug_assert!(owned.is_none(), "what is packed owns nothing");
            Became::Removed
        }
    };
    let data = &mut *shard;
    data.stats.count_change();
    keyspace.counters.bump(key.hash());
    keyspace.report(data);
    listeners.changed(data, db, key.bytes(), became);
    drop(shard);
    compaction::help(keyspace);
    Ok(Some(done))
}

/// Goes on with a large collection.
#[inline(never)]
fn edit_large<const FRONT: usize, E: Edit<FRONT>>(
    keyspace: &Keyspace,
    mut shard: ShardGuard<'_>,
    db: usize,
    key: &Key<'_>,
    at: Ref,
    edit: &mut E,
    listeners: &mut impl Hear,
) -> Result<Option<E::Done>> {
    let time = LazyTime::new(&keyspace.clock, 0);
    let data = &mut *shard;
    let stamp = data.head(at);
    let (at, (done, goes, repacked), has_changed) = data.edit_owned(db, key.hash(), at, |value, _| {
        let large = E::Of::of_owned(value).expect("the type was checked");
        let mut editing = Editing::large(large, around(keyspace, &time));
        let result = editing.run(|editing| edit.edit_large(editing));
        let edited = editing.end();
        ((result, edited.goes, edited.repacked), edited.has_changed)
    })?;
    let Some(done) = done? else { return Ok(None) };
    touch(keyspace, data, key, at, stamp);
    let (mut became, mut old) = (Became::Changed, None);
    if goes {
        keyspace.evictor.note(key.hash(), Used::Removed);
        old = data.delete(db, key.hash(), at);
        became = Became::Removed;
    } else if let Some((kind, bytes)) = repacked {
        let deadline = data.head(at).deadline(&data.arena, at);
        // Without memory for that it stays large.
        if let Ok((_, large)) = data.replace(db, key.hash(), at, NewValue::Bytes(kind, &bytes), deadline) {
            old = large;
        }
    }
    if has_changed {
        data.stats.count_change();
        keyspace.counters.bump(key.hash());
        listeners.changed(data, db, key.bytes(), became);
    }
    // What nobody can reach is no reason to evict more.
    old.iter_mut().for_each(|value| value.depart());
    keyspace.report(data);
    drop(shard);
    if let Some(old) = old {
        lazyfree::discard(vec![old]);
    }
    compaction::help(keyspace);
    Ok(Some(done))
}

/// Stamps an access.
#[inline]
fn touch(keyspace: &Keyspace, shard: &ShardData, key: &Key<'_>, at: Ref, head: Head) {
    if let Some(stamp) = keyspace.present_stamp() {
        if stamp != head.stamp() {
            shard.stamp(at, |_| stamp);
        }
    } else if keyspace.used(key.hash(), head.stamp()) {
        keyspace.stamp(shard, [at]);
    }
}

impl ShardData {
    /// Patches the packed value of an entry with this head and deadline, which needs another block, and returns where the entry is then.
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    #[inline]
    fn patch<const FRONT: usize>(
        &mut self,
        db: usize,
        key: &Key<'_>,
        (at, head): (Ref, Head),
        deadline: Option<u64>,
        patch: &Patch<FRONT>,
    ) -> Result<Ref, OutOfMemory> {
        let len = patch.len_after(head.value_len);
        let new = self.arena.alloc(head.value_at() + len)?;
        head.write_resized(
            &self.arena,
            new,
            len,
            (key.bytes(), deadline),
            patch.applied_to(head.value(&self.arena, at)),
        );
        self.refer(db, key.hash(), at, new);
        self.arena.free(at, head.size());
        Ok(new)
    }
}

/// A packed collection whose block holds what it becomes.
struct InPlace<'d> {
    data: &'d mut ShardData,
    at: Ref,
    head: Head,
}

impl Splice for InPlace<'_> {
    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        self.head.value(&self.data.arena, self.at)
    }

    #[inline(always)]
    fn splice(&mut self, at: usize, removed: usize, new: &[u8]) {
        self.head = self.data.splice(self.at, self.head, at, removed, new);
    }
}
