//! Values with memory of their own: how they come into entries and out of them.
//!
//! An entry holds the root of such a value, which is numbers. Outside of entries it is an [`Owned`], which gives its memory back when it is
//! dropped. So there is always one owner: [`ShardData::settle`] makes the entry the owner, [`ShardData::unload`] whoever called it.

use super::entry::Head;
use super::shard::ShardData;
use crate::store::HashSeed;
use crate::store::memory::words::Words;
use crate::store::memory::{OutOfMemory, Ref};
use crate::value::hash::{Hash, TableRef};
use crate::value::long::{self, LongString};
use crate::value::{Kind, MAX_IN_ARENA, NewValue, Owned};

/// A value as the bytes of an entry. It owns what it owned before: [`ShardData::settle`] or [`ShardData::abandon`] it.
pub(super) struct Encoded<'v> {
    kind: Kind,
    bytes: Bytes<'v>,
    owned: Option<Owned>,
}

enum Bytes<'v> {
    Borrowed(&'v [u8]),
    Number([u8; 8]),
    Made(Vec<u8>),
}

impl Encoded<'_> {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::Number(bytes) => bytes,
            Bytes::Made(bytes) => bytes,
        }
    }
}

/// Bytes before a root, behind a key of that length: words stand at multiples of their size.
fn padding(key_len: usize) -> usize {
    key_len.wrapping_neg() % 8
}

/// The bytes that stand in the entry of a key of that length.
fn stored(owned: &Owned, key_len: usize) -> Vec<u8> {
    match owned {
        Owned::Str(string) => string.stored().to_vec(),
        Owned::Hash(hash) => {
            let mut bytes = vec![0; padding(key_len)];
            hash.root().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
            bytes
        }
    }
}

impl ShardData {
    /// A value as it is to stand in the entry of a key of that length.
    ///
    /// # Errors
    /// There is no memory for a long string.
    #[inline]
    pub(super) fn encode<'v>(
        &mut self,
        value: NewValue<'v>,
        key_len: usize,
    ) -> Result<Encoded<'v>, OutOfMemory> {
        let owned = match value {
            NewValue::Bytes(Kind::Raw | Kind::Embedded, bytes) if bytes.len() > MAX_IN_ARENA => {
                Owned::Str(LongString::new(self.arena.pool(), bytes, 0)?)
            }
            NewValue::Bytes(kind, bytes) => {
                return Ok(Encoded { kind, bytes: Bytes::Borrowed(bytes), owned: None });
            }
            NewValue::Int(number) => {
                let bytes = Bytes::Number(number.to_le_bytes());
                return Ok(Encoded { kind: Kind::Int, bytes, owned: None });
            }
            NewValue::Owned(owned) => owned,
        };
        Ok(self.encode_owned(owned, key_len))
    }

    #[inline(never)]
    fn encode_owned<'v>(&mut self, mut owned: Owned, key_len: usize) -> Encoded<'v> {
        self.keep_wheel(&mut owned, None);
        let bytes = Bytes::Made(stored(&owned, key_len));
        Encoded { kind: owned.kind(), bytes, owned: Some(owned) }
    }

    /// The value stands in an entry now, which owns what it owns.
    #[inline]
    pub(super) fn settle(&mut self, encoded: Encoded<'_>) {
        if let Some(mut owned) = encoded.owned {
            self.owners += 1;
            owned.set_left(true);
        }
    }

    /// The value stands in no entry.
    pub(super) fn abandon(&mut self, encoded: Encoded<'_>) {
        if let Some(Owned::Hash(hash)) = &encoded.owned
            && let Some(place) = hash.as_ref(&self.shared.seed).wheel()
        {
            self.wheels.remove(place);
        }
    }

    /// Keeps the wheel of a hash, if it has one, at the place that it had, and has the hash name that.
    fn keep_wheel(&mut self, owned: &mut Owned, place: Option<usize>) -> Option<usize> {
        let Owned::Hash(hash) = owned else { return None };
        let place = hash.take_wheel().map(|wheel| self.wheels.keep(place, wheel));
        hash.set_wheel_place(place);
        place
    }

    /// The hash of the entry at `at`, to read.
    #[inline]
    pub(super) fn hash_at(&self, at: Ref, head: Head) -> TableRef<'_> {
        TableRef::new(self.root_words(at, head), self.arena.region(), &self.shared.seed)
    }

    fn root_words(&self, at: Ref, head: Head) -> Words<'_> {
        let padding = padding(head.key_len);
        let first = (head.value_at() + padding) / 8;
        self.arena.block(at).words().from(first).first((head.value_len - padding) / 8)
    }

    /// Bytes that an entry owns beside itself.
    pub(super) fn owned_bytes(&self, at: Ref, head: Head) -> usize {
        match head.kind() {
            Kind::Long => long::page_bytes(head.value(&self.arena, at), self.arena.pool()),
            Kind::HashTable => {
                let hash = self.hash_at(at, head);
                let wheel = hash.wheel().and_then(|place| self.wheels.get(place));
                hash.page_bytes() + wheel.map_or(0, |wheel| wheel.bytes())
            }
            _ => 0,
        }
    }

    /// What an entry owns, and goes on owning: a panic of whoever looks at it gives nothing away.
    fn look_at(&self, at: Ref, head: Head) -> Owned {
        let mut owned = match head.kind() {
            Kind::Long => Owned::Str(LongString::of(head.value(&self.arena, at), self.arena.pool())),
            _ => Owned::Hash(Hash::of(self.root_words(at, head), self.arena.pool())),
        };
        owned.set_left(true);
        owned
    }

    /// Takes what an entry owns, which is about to go.
    pub(super) fn unload(&mut self, at: Ref, head: Head) -> Owned {
        let mut owned = self.look_at(at, head);
        if let Owned::Hash(hash) = &mut owned
            && let Some(place) = hash.as_ref(&self.shared.seed).wheel()
        {
            hash.set_wheel(self.wheels.remove(place));
        }
        self.owners -= 1;
        owned.set_left(false);
        owned
    }

    /// Gives an entry back what [`ShardData::unload`] took, unchanged.
    pub(super) fn reload(&mut self, at: Ref, mut owned: Owned) {
        self.keep_wheel(&mut owned, None);
        let head = self.head(at);
        self.arena.write(at, head.value_at(), [&stored(&owned, head.key_len)]);
        self.owners += 1;
        owned.set_left(true);
    }

    /// A copy of what an entry owns, which shares its memory. O(fields with deadlines).
    pub(crate) fn share(&self, at: Ref) -> Owned {
        let mut copy = self.share_without_timers(at);
        if let Owned::Hash(hash) = &mut copy {
            let place = self.hash_at(at, self.head(at)).wheel();
            let wheel =
                place.and_then(|place| self.wheels.get(place)).map(|wheel| Box::new(wheel.duplicate()));
            hash.set_wheel(wheel);
        }
        copy
    }

    /// [`ShardData::share`] without the timers of fields: for whoever takes these from the entry later. O(1).
    pub(crate) fn share_without_timers(&self, at: Ref) -> Owned {
        self.look_at(at, self.head(at)).share()
    }

    /// Edits what the entry at `at` owns. `edit` says whether it changed anything beside what it returns. Returns where the entry is now.
    ///
    /// # Errors
    /// There is no memory for the entry's new size; then it is as it was.
    pub(crate) fn edit_owned<R>(
        &mut self,
        db: usize,
        hash: u64,
        at: Ref,
        edit: impl FnOnce(&mut Owned, &HashSeed) -> (R, bool),
    ) -> Result<(Ref, R, bool), OutOfMemory> {
        let head = self.head(at);
        let mut owned = self.look_at(at, head);
        let mut place = None;
        if let Owned::Hash(hash) = &mut owned {
            place = hash.as_ref(&self.shared.seed).wheel();
            hash.set_wheel(place.and_then(|place| self.wheels.take(place)));
        }
        let (result, changed) = edit(&mut owned, &self.shared.seed);
        let wheel_place = self.keep_wheel(&mut owned, place);
        let bytes = stored(&owned, head.key_len);
        let moved = if bytes.len() == head.value_len {
            // What has pages has a root of fixed size: nothing can go wrong here.
            self.arena.write(at, head.value_at(), [&bytes]);
            Ok(at)
        } else {
            let deadline = head.deadline(&self.arena, at);
            self.rewrite(db, hash, at, head, owned.kind(), &bytes, deadline)
        };
        match moved {
            Ok(at) => {
                if let Some(place) = place.filter(|_| wheel_place.is_none()) {
                    self.wheels.vacate(place);
                }
                owned.set_left(true);
                Ok((at, result, changed))
            }
            Err(error) => {
                // The entry had no pages, or its root would have been of fixed size: those there are now are nobody's.
                owned.set_left(false);
                // The root in the entry still names the place, if it named one; timers of fields that are not there are dropped as they fire.
                match (place, wheel_place) {
                    (Some(place), None) => drop(self.wheels.keep(Some(place), Box::default())),
                    (None, Some(place)) => drop(self.wheels.remove(place)),
                    _ => {}
                }
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use crate::store::key::{Key, SHARDS};
    use crate::store::memory::refusal;
    use crate::{Clock, Engine, Form};

    #[test]
    fn a_panic_in_an_edit_gives_nothing_away() {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let (db, keyspace) = (engine.database(0).unwrap(), &engine.inner.keyspace);
        for number in 0..1_000 {
            db.hset("h", format!("f{number}").as_bytes(), &[b'v'; 50]).unwrap();
        }
        db.set("s", vec![b's'; 100_000], crate::Ttl::None, crate::Condition::Always).unwrap();
        let pages = keyspace.shared.pool.shareable_bytes();
        for name in [b"h", b"s"] {
            let key = Key::new(name, &keyspace.seed);
            let mut shard = keyspace.lock(key.shard());
            let at = shard.find(0, &key).unwrap();
            let edit = || shard.edit_owned(0, key.hash(), at, |_, _| -> ((), bool) { panic!("on purpose") });
            assert!(catch_unwind(AssertUnwindSafe(edit)).is_err());
        }
        assert_eq!(keyspace.shared.pool.shareable_bytes(), pages);
        let value = db.hget_with(b"h", b"f7", |found| found.map(<[u8]>::to_vec)).unwrap();
        assert_eq!(
            (value, db.get("s").unwrap().map(|text| text.len())),
            (Some(vec![b'v'; 50]), Some(100_000))
        );
        assert!(db.delete("h").unwrap() && db.delete("s").unwrap());
        assert_eq!(keyspace.shared.pool.shareable_bytes(), 0);
    }

    #[test]
    fn a_key_that_finds_no_room_under_another_name_keeps_its_own() {
        let clock = Clock::manual(1_000_000);
        let engine = Engine::builder().clock(clock.clone()).open().unwrap();
        let db = engine.database(0).unwrap();
        let mut session = engine.session(Form::Resp);
        let mut run = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            String::from_utf8(session.execute(&words).to_vec()).unwrap()
        };
        for number in 0..1_000 {
            db.hset("h", format!("f{number}").as_bytes(), &[b'v'; 50]).unwrap();
        }
        run("HPEXPIRE h 5000 FIELDS 2 f1 f2");
        db.set("packed", vec![b'p'; 60_000], crate::Ttl::None, crate::Condition::Always).unwrap();
        db.set("long", vec![b'l'; 100_000], crate::Ttl::None, crate::Condition::Always).unwrap();
        let before = run("DEBUG DIGEST");
        for name in ["h", "packed", "long"] {
            refusal::set(true);
            let renamed = [run(&format!("RENAME {name} other")), run(&format!("MOVE {name} 3"))];
            refusal::set(false);
            assert!(renamed.iter().all(|reply| reply.starts_with("-OOM")), "{name}: {renamed:?}");
            assert_eq!(run("EXISTS other h packed long"), ":3\r\n");
        }
        assert_eq!(run("DEBUG DIGEST"), before);
        let pages = engine.inner.keyspace.shared.pool.shareable_bytes();
        for name in ["h", "packed", "long"] {
            assert_eq!(run(&format!("RENAME {name} other-{name}")), "+OK\r\n");
            assert_eq!(run(&format!("MOVE other-{name} 3")), ":1\r\n");
        }
        assert_eq!(engine.inner.keyspace.shared.pool.shareable_bytes(), pages, "one owner each");
        assert_eq!(
            (run("DBSIZE"), run("SELECT 3"), run("DBSIZE")),
            (":0\r\n".into(), "+OK\r\n".into(), ":3\r\n".into())
        );
        assert_eq!(run("HPTTL other-h FIELDS 2 f1 f3"), "*2\r\n:5000\r\n:-1\r\n");
        clock.advance(std::time::Duration::from_secs(6));
        engine.reap();
        assert_eq!(
            (run("HLEN other-h"), run("STRLEN other-long")),
            (":998\r\n".into(), ":100000\r\n".into())
        );
    }

    #[test]
    fn timers_of_fields_are_not_looked_through_at_every_delete() {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let keyspace = &engine.inner.keyspace;
        let mut session = engine.session(Form::Resp);
        let mut run = |line: String| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            session.execute(&words).to_vec()
        };
        for number in 0..20_000 {
            run(format!("HSET h:{number} f v"));
            assert_eq!(run(format!("HPEXPIRE h:{number} 86400000 FIELDS 1 f")), b"*1\r\n:1\r\n");
        }
        for number in 0..8_000 {
            run(format!("SET x:{number} 1 EX 100"));
            run(format!("DEL x:{number}"));
        }
        let mut timers = 0;
        for shard in 0..SHARDS {
            let (armed, allowed) = keyspace.lock(shard).timers(0);
            timers += armed;
            assert!(armed <= allowed, "the next delete would look through {armed} timers again: {allowed}");
        }
        assert!(timers >= 20_000);
    }
}
