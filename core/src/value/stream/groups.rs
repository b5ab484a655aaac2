//! Consumer groups of a stream: what was delivered to whom and is not acknowledged yet.
//!
//! ```text
//! group      last ID delivered (2 words) | entries read | the tree of what is pending (2) | the tree of consumers (2) | length of the name | name
//! consumer   when it was last seen | when it last got something | the tree of what is pending (2) | length of the name | name
//! pending    ID (2 words) | when it was delivered | how often | block of the consumer
//! ```
//! Each stands in a block of the stream's collection that never moves, so references to consumers last. Trees of groups and consumers are ordered by name, those
//! of what is pending by ID; what is pending stands in the group's tree and in its consumer's.

use super::id::Id;
use super::large::Stream;
use super::reading::StreamRef;
use crate::store::collection::View;
use crate::store::collection::tree::{Anchor, Items, Place, Tree, TreeMut};
use crate::store::memory::{OutOfMemory, Ref};

/// Entries read of a group for which nobody can tell.
pub(crate) const UNKNOWN: i64 = -1;
/// The time of what has never happened.
pub(crate) const NEVER: i64 = -1;

const GROUP_WORDS: usize = 8;
const LAST: usize = 0;
const READ: usize = 2;
const PENDING: usize = 3;
const CONSUMERS: usize = 5;

const CONSUMER_WORDS: usize = 5;
const SEEN: usize = 0;
const ACTIVE: usize = 1;
const ITS_PENDING: usize = 2;

const PENDING_WORDS: usize = 5;
const DELIVERED: usize = 2;
const COUNT: usize = 3;
const CONSUMER: usize = 4;

/// Blocks in the order of the names that stand behind so many words, the last of which is the length.
struct Names<const WORDS: usize>;

fn name_of<'a, const WORDS: usize>(view: View<'a>, block: Ref) -> &'a [u8] {
    let len = u64::from_le(view.word_of(block, WORDS - 1)) as usize;
    view.bytes(block, WORDS * 8, len)
}

fn hint_of(name: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = name.len().min(8);
    first[..len].copy_from_slice(&name[..len]);
    u64::from_be_bytes(first)
}

impl<const WORDS: usize> Items for Names<WORDS> {
    const UNIT: bool = true;

    fn hint(view: View<'_>, item: Ref) -> u64 {
        hint_of(name_of::<WORDS>(view, item))
    }
}

/// What is pending, in the order of IDs.
struct Pendings;

impl Items for Pendings {
    const UNIT: bool = true;

    fn hint(view: View<'_>, item: Ref) -> u64 {
        u64::from_le(view.word_of(item, 0))
    }
}

/// Where a name is in a tree, or belongs; and its block, if it is there.
fn find_name<const WORDS: usize>(view: View<'_>, anchor: Anchor, name: &[u8]) -> (Place, Option<Ref>) {
    let tree = Tree::<Names<WORDS>>::anchored(view, anchor);
    let place = tree.seek(hint_of(name), |other| name_of::<WORDS>(view, other) < name);
    let found =
        tree.item(&place).map(|(block, _)| block).filter(|block| name_of::<WORDS>(view, *block) == name);
    (place, found)
}

fn pending_id(view: View<'_>, block: Ref) -> Id {
    Id { ms: u64::from_le(view.word_of(block, 0)), seq: u64::from_le(view.word_of(block, 1)) }
}

/// The place before what is pending from this ID on.
fn seek_pending(view: View<'_>, anchor: Anchor, id: Id) -> Place {
    Tree::<Pendings>::anchored(view, anchor).seek(id.ms, |other| pending_id(view, other) < id)
}

/// The same, and the block of what is pending of this very ID.
fn find_pending(view: View<'_>, anchor: Anchor, id: Id) -> (Place, Option<Ref>) {
    let place = seek_pending(view, anchor, id);
    let found = Tree::<Pendings>::anchored(view, anchor).item(&place);
    (place, found.map(|(block, _)| block).filter(|block| pending_id(view, *block) == id))
}

/// A group of a stream. The number lasts as long as the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupId(Ref);

/// A consumer of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerId(Ref);

impl GroupId {
    fn pending(self) -> Anchor {
        Anchor::In(self.0, PENDING)
    }

    fn consumers(self) -> Anchor {
        Anchor::In(self.0, CONSUMERS)
    }
}

impl ConsumerId {
    fn pending(self) -> Anchor {
        Anchor::In(self.0, ITS_PENDING)
    }
}

/// A group that is read.
#[derive(Clone, Copy)]
pub(crate) struct GroupRef<'a> {
    stream: StreamRef<'a>,
    pub(crate) id: GroupId,
}

/// A consumer that is read.
#[derive(Clone, Copy)]
pub(crate) struct ConsumerRef<'a> {
    stream: StreamRef<'a>,
    pub(crate) id: ConsumerId,
}

/// An entry that was delivered and is not acknowledged.
#[derive(Clone, Copy)]
pub(crate) struct Pending<'a> {
    stream: StreamRef<'a>,
    pub(crate) id: Id,
    /// Unix milliseconds.
    pub(crate) delivered: i64,
    /// How often it was delivered.
    pub(crate) count: i64,
    pub(crate) consumer: ConsumerId,
}

impl<'a> Pending<'a> {
    fn of(stream: StreamRef<'a>, block: Ref) -> Self {
        Self {
            stream,
            id: pending_id(stream.view(), block),
            delivered: stream.word(block, DELIVERED) as i64,
            count: stream.word(block, COUNT) as i64,
            consumer: ConsumerId(consumer_of(stream.view(), block)),
        }
    }

    /// The name of its consumer.
    pub(crate) fn consumer_name(&self) -> &'a [u8] {
        name_of::<CONSUMER_WORDS>(self.stream.view(), self.consumer.0)
    }
}

fn consumer_of(view: View<'_>, block: Ref) -> Ref {
    Ref::new(u64::from_le(view.word_of(block, CONSUMER)) as u32).expect("all that is pending has a consumer")
}

impl<'a> StreamRef<'a> {
    fn names(self) -> Tree<'a, Names<GROUP_WORDS>> {
        Tree::anchored(self.view(), self.groups_anchor())
    }

    /// Number of groups. O(1).
    pub(crate) fn group_count(self) -> usize {
        if self.is_packed() { 0 } else { self.names().weight() as usize }
    }

    /// The group of a name. O(log groups).
    pub(crate) fn group(self, name: &[u8]) -> Option<GroupRef<'a>> {
        if self.is_packed() {
            return None;
        }
        let (_, found) = find_name::<GROUP_WORDS>(self.view(), self.groups_anchor(), name);
        found.map(|block| GroupRef { stream: self, id: GroupId(block) })
    }

    /// The group of this number.
    pub(crate) fn group_of(self, id: GroupId) -> GroupRef<'a> {
        GroupRef { stream: self, id }
    }

    /// The groups, by name.
    pub(crate) fn groups(self) -> impl Iterator<Item = GroupRef<'a>> {
        let mut walk = (!self.is_packed()).then(|| self.names().walk(self.names().first()));
        std::iter::from_fn(move || walk.as_mut()?.next())
            .map(move |(block, _)| GroupRef { stream: self, id: GroupId(block) })
    }

    /// Visits what is pending in a tree, from an ID on, until `visit` says no.
    fn each_pending(self, anchor: Anchor, from: Id, mut visit: impl FnMut(Pending<'a>) -> bool) {
        let place = seek_pending(self.view(), anchor, from);
        let mut walk = Tree::<Pendings>::anchored(self.view(), anchor).walk(place);
        while let Some((block, _)) = walk.next() {
            if !visit(Pending::of(self, block)) {
                return;
            }
        }
    }

    /// How many entries were ever added up to an ID, as far as that can be told. Numbers wrap as the server's do: XSETID sets any. O(log nodes).
    pub(crate) fn entries_up_to(self, id: Id) -> i64 {
        let (added, len, deleted) = (self.entries_added() as i64, self.len() as i64, self.max_deleted_id());
        if added == 0 {
            return 0;
        }
        if len == 0 && id <= self.last_id() {
            return added;
        }
        if id != Id::MIN && id < deleted {
            return UNKNOWN;
        }
        if id >= self.last_id() {
            return if id == self.last_id() { added } else { UNKNOWN };
        }
        let first = self.first_id();
        let is_whole = deleted == Id::MIN || deleted < first;
        match id.cmp(&first) {
            std::cmp::Ordering::Less if is_whole => added.wrapping_sub(len),
            std::cmp::Ordering::Equal if is_whole => added.wrapping_sub(len).wrapping_add(1),
            _ => UNKNOWN,
        }
    }

    /// Whether an entry behind this ID was deleted by name.
    pub(crate) fn has_holes_from(self, id: Id) -> bool {
        self.len() > 0 && self.max_deleted_id() != Id::MIN && id <= self.max_deleted_id()
    }
}

impl<'a> GroupRef<'a> {
    pub(crate) fn name(&self) -> &'a [u8] {
        name_of::<GROUP_WORDS>(self.stream.view(), self.id.0)
    }

    /// The last ID that was delivered.
    pub(crate) fn last_id(&self) -> Id {
        self.stream.id_at(self.id.0, LAST)
    }

    /// How many entries were read, or [`UNKNOWN`].
    pub(crate) fn entries_read(&self) -> i64 {
        self.stream.word(self.id.0, READ) as i64
    }

    /// How many entries are still to be read, if that can be told. O(log nodes).
    pub(crate) fn lag(&self) -> Option<i64> {
        let added = self.stream.entries_added() as i64;
        if added == 0 {
            return Some(0);
        }
        let (read, last) = (self.entries_read(), self.last_id());
        if read != UNKNOWN && !self.stream.has_holes_from(last) {
            return Some(added.wrapping_sub(read));
        }
        Some(self.stream.entries_up_to(last))
            .filter(|read| *read != UNKNOWN)
            .map(|read| added.wrapping_sub(read))
    }

    fn names(&self) -> Tree<'a, Names<CONSUMER_WORDS>> {
        Tree::anchored(self.stream.view(), self.id.consumers())
    }

    fn pendings(&self) -> Tree<'a, Pendings> {
        Tree::anchored(self.stream.view(), self.id.pending())
    }

    /// Number of consumers. O(1).
    pub(crate) fn consumer_count(&self) -> usize {
        self.names().weight() as usize
    }

    /// Number of entries that are pending. O(1).
    pub(crate) fn pending_count(&self) -> usize {
        self.pendings().weight() as usize
    }

    /// The consumer of a name. O(log consumers).
    pub(crate) fn consumer(&self, name: &[u8]) -> Option<ConsumerRef<'a>> {
        let (_, found) = find_name::<CONSUMER_WORDS>(self.stream.view(), self.id.consumers(), name);
        found.map(|block| ConsumerRef { stream: self.stream, id: ConsumerId(block) })
    }

    /// The consumers, by name.
    pub(crate) fn consumers(&self) -> impl Iterator<Item = ConsumerRef<'a>> + use<'a> {
        let (stream, mut walk) = (self.stream, self.names().walk(self.names().first()));
        std::iter::from_fn(move || walk.next())
            .map(move |(block, _)| ConsumerRef { stream, id: ConsumerId(block) })
    }

    /// Visits what is pending from an ID on, until `visit` says no. O(log n), and O(1) each.
    pub(crate) fn each_pending(&self, from: Id, visit: impl FnMut(Pending<'a>) -> bool) {
        self.stream.each_pending(self.id.pending(), from, visit);
    }

    /// What is pending of this ID. O(log n).
    pub(crate) fn pending(&self, id: Id) -> Option<Pending<'a>> {
        let (_, found) = find_pending(self.stream.view(), self.id.pending(), id);
        found.map(|block| Pending::of(self.stream, block))
    }

    /// The first and the last ID that is pending. O(log n).
    pub(crate) fn pending_ends(&self) -> Option<(Id, Id)> {
        let tree = self.pendings();
        let (first, _) = tree.walk(tree.first()).next()?;
        let (last, _) = tree.walk(tree.end()).previous()?;
        Some((pending_id(self.stream.view(), first), pending_id(self.stream.view(), last)))
    }
}

impl<'a> ConsumerRef<'a> {
    pub(crate) fn name(&self) -> &'a [u8] {
        name_of::<CONSUMER_WORDS>(self.stream.view(), self.id.0)
    }

    /// When it last asked for something, in unix milliseconds.
    pub(crate) fn seen(&self) -> i64 {
        self.stream.word(self.id.0, SEEN) as i64
    }

    /// When it last got something, or [`NEVER`].
    pub(crate) fn active(&self) -> i64 {
        self.stream.word(self.id.0, ACTIVE) as i64
    }

    /// Number of entries that are pending. O(1).
    pub(crate) fn pending_count(&self) -> usize {
        Tree::<Pendings>::anchored(self.stream.view(), self.id.pending()).weight() as usize
    }

    /// Visits what is pending from an ID on, until `visit` says no. O(log n), and O(1) each.
    pub(crate) fn each_pending(&self, from: Id, visit: impl FnMut(Pending<'a>) -> bool) {
        self.stream.each_pending(self.id.pending(), from, visit);
    }
}

impl Stream {
    fn names<const WORDS: usize>(&mut self, anchor: Anchor) -> TreeMut<'_, Names<WORDS>> {
        TreeMut::anchored(&mut self.collection, anchor)
    }

    fn pendings(&mut self, anchor: Anchor) -> TreeMut<'_, Pendings> {
        TreeMut::anchored(&mut self.collection, anchor)
    }

    /// A block of these words and a name, in a tree of names. The name is not there.
    fn add_name<const WORDS: usize>(
        &mut self,
        anchor: Anchor,
        mut words: [u64; WORDS],
        name: &[u8],
    ) -> Result<Ref, OutOfMemory> {
        let (place, _) = find_name::<WORDS>(self.collection.view(), anchor, name);
        words[WORDS - 1] = name.len() as u64;
        let mut head = [0; 64];
        head.chunks_exact_mut(8).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_le_bytes()));
        let block = self.collection.store([&head[..WORDS * 8], name])?;
        if let Err(error) = self.names::<WORDS>(anchor).insert(place, block, 1) {
            self.free_name::<WORDS>(block);
            return Err(error);
        }
        Ok(block)
    }

    fn free_name<const WORDS: usize>(&mut self, block: Ref) {
        let len = name_of::<WORDS>(self.collection.view(), block).len();
        self.collection.free(block, (WORDS * 8 + len).div_ceil(8));
    }

    /// Takes a name out of its tree, and gives its block back.
    fn remove_name<const WORDS: usize>(&mut self, anchor: Anchor, block: Ref) -> Result<(), OutOfMemory> {
        let view = self.collection.view();
        let (place, _) = find_name::<WORDS>(view, anchor, name_of::<WORDS>(view, block));
        self.names::<WORDS>(anchor).remove(&place)?;
        self.free_name::<WORDS>(block);
        Ok(())
    }

    /// Adds a group whose name is new. O(log groups).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn add_group(&mut self, name: &[u8], last: Id, read: i64) -> Result<GroupId, OutOfMemory> {
        let words: [u64; GROUP_WORDS] = [last.ms, last.seq, read as u64, 0, 0, 0, 0, 0];
        let anchor = self.as_ref().groups_anchor();
        self.add_name(anchor, words, name).map(GroupId)
    }

    /// Has a group go on from another ID. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn set_group(&mut self, group: GroupId, last: Id, read: i64) -> Result<(), OutOfMemory> {
        self.collection.own(group.0)?;
        self.set_id(group.0, LAST, last);
        self.set_word(group.0, READ, read as u64);
        Ok(())
    }

    /// Removes a group with all that it has. O(n log n) of what is pending.
    ///
    /// # Errors
    /// [`OutOfMemory`]; some of it may have gone.
    pub(crate) fn remove_group(&mut self, group: GroupId) -> Result<(), OutOfMemory> {
        loop {
            let tree = Tree::<Names<CONSUMER_WORDS>>::anchored(self.collection.view(), group.consumers());
            let Some((consumer, _)) = tree.walk(tree.first()).next() else { break };
            self.remove_consumer(group, ConsumerId(consumer))?;
        }
        let anchor = self.as_ref().groups_anchor();
        self.remove_name::<GROUP_WORDS>(anchor, group.0)
    }

    /// Adds a consumer whose name is new. O(log consumers).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn add_consumer(
        &mut self,
        group: GroupId,
        name: &[u8],
        (seen, active): (i64, i64),
    ) -> Result<ConsumerId, OutOfMemory> {
        let words: [u64; CONSUMER_WORDS] = [seen as u64, active as u64, 0, 0, 0];
        self.add_name(group.consumers(), words, name).map(ConsumerId)
    }

    /// Notes when a consumer asked for something, and perhaps when it got something. O(1).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn note_seen(
        &mut self,
        consumer: ConsumerId,
        seen: i64,
        active: Option<i64>,
    ) -> Result<(), OutOfMemory> {
        self.collection.own(consumer.0)?;
        self.set_word(consumer.0, SEEN, seen as u64);
        if let Some(active) = active {
            self.set_word(consumer.0, ACTIVE, active as u64);
        }
        Ok(())
    }

    /// Removes a consumer with what is pending of its. O(n log n) of that.
    ///
    /// # Errors
    /// [`OutOfMemory`]; some of it may have gone.
    pub(crate) fn remove_consumer(
        &mut self,
        group: GroupId,
        consumer: ConsumerId,
    ) -> Result<(), OutOfMemory> {
        loop {
            let tree = Tree::<Pendings>::anchored(self.collection.view(), consumer.pending());
            let Some((block, _)) = tree.walk(tree.end()).previous() else { break };
            let id = pending_id(self.collection.view(), block);
            self.remove_pending(group, id)?;
        }
        self.remove_name::<CONSUMER_WORDS>(group.consumers(), consumer.0)
    }

    /// Notes that an entry was delivered to a consumer at a time, for the how manieth time; it may have been pending before, whoever's it was. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn set_pending(
        &mut self,
        group: GroupId,
        consumer: ConsumerId,
        id: Id,
        (delivered, count): (i64, i64),
    ) -> Result<(), OutOfMemory> {
        let (place, found) = find_pending(self.collection.view(), group.pending(), id);
        let block = match found {
            Some(block) => {
                self.collection.own(block)?;
                self.hand_over(block, consumer, id)?;
                block
            }
            None => self.add_pending(group, (place, id), consumer)?,
        };
        self.set_word(block, DELIVERED, delivered as u64);
        self.set_word(block, COUNT, count as u64);
        self.set_word(block, CONSUMER, consumer.0.get().into());
        Ok(())
    }

    fn add_pending(
        &mut self,
        group: GroupId,
        (place, id): (Place, Id),
        consumer: ConsumerId,
    ) -> Result<Ref, OutOfMemory> {
        let mut bytes = [0; PENDING_WORDS * 8];
        bytes[..8].copy_from_slice(&id.ms.to_le_bytes());
        bytes[8..16].copy_from_slice(&id.seq.to_le_bytes());
        let block = self.collection.store([&bytes])?;
        if let Err(error) = self.pendings(group.pending()).insert(place, block, 1) {
            self.collection.free(block, PENDING_WORDS);
            return Err(error);
        }
        let its_place = seek_pending(self.collection.view(), consumer.pending(), id);
        if let Err(error) = self.pendings(consumer.pending()).insert(its_place, block, 1) {
            let (place, _) = find_pending(self.collection.view(), group.pending(), id);
            let removed = self.pendings(group.pending()).remove(&place);
            debug_assert!(removed.is_ok(), "the way to what was just added is nobody else's");
            self.collection.free(block, PENDING_WORDS);
            return Err(error);
        }
        Ok(block)
    }

    /// Moves what is pending from its consumer's tree to another's, if that is another. The block is not written to.
    fn hand_over(&mut self, block: Ref, to: ConsumerId, id: Id) -> Result<(), OutOfMemory> {
        let from = ConsumerId(consumer_of(self.collection.view(), block));
        if from == to {
            return Ok(());
        }
        let (old_place, _) = find_pending(self.collection.view(), from.pending(), id);
        self.pendings(from.pending()).own(&old_place)?;
        let place = seek_pending(self.collection.view(), to.pending(), id);
        self.pendings(to.pending()).insert(place, block, 1)?;
        let removed = self.pendings(from.pending()).remove(&old_place);
        debug_assert!(removed.is_ok(), "the way there is nobody else's");
        removed
    }

    /// Notes that nothing of this ID is pending any more, and says whether it was. O(log n).
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed.
    pub(crate) fn remove_pending(&mut self, group: GroupId, id: Id) -> Result<bool, OutOfMemory> {
        let (place, Some(block)) = find_pending(self.collection.view(), group.pending(), id) else {
            return Ok(false);
        };
        let consumer = ConsumerId(consumer_of(self.collection.view(), block));
        let (its_place, _) = find_pending(self.collection.view(), consumer.pending(), id);
        self.pendings(group.pending()).own(&place)?;
        self.pendings(consumer.pending()).own(&its_place)?;
        let removed = self
            .pendings(group.pending())
            .remove(&place)
            .and_then(|()| self.pendings(consumer.pending()).remove(&its_place));
        debug_assert!(removed.is_ok(), "both ways are nobody else's");
        self.collection.free(block, PENDING_WORDS);
        Ok(true)
    }

    /// Adds copies of the groups of another stream to one that has none.
    ///
    /// # Errors
    /// [`OutOfMemory`]; some may be there.
    pub(super) fn copy_groups(&mut self, from: StreamRef<'_>) -> Result<(), OutOfMemory> {
        for group in from.groups() {
            let copy = self.add_group(group.name(), group.last_id(), group.entries_read())?;
            for consumer in group.consumers() {
                let its_copy =
                    self.add_consumer(copy, consumer.name(), (consumer.seen(), consumer.active()))?;
                let mut copied = Ok(());
                consumer.each_pending(Id::MIN, |pending| {
                    let told = (pending.delivered, pending.count);
                    copied = self.set_pending(copy, its_copy, pending.id, told);
                    copied.is_ok()
                });
                copied?;
            }
        }
        Ok(())
    }
}
