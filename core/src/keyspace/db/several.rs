//! Storing several strings in one step: all of them or, where memory is refused half-way, none.
//!
//! What may need memory is done first, where nobody sees it: new keys are created, and what replaces a value is stored beside it. If memory
//! is refused there, all of that is taken back. The second pass puts everything in its place, which needs no memory.

use std::collections::HashMap;

use super::Db;
use crate::alloc;
use crate::error::{Error, Result};
use crate::evict::Event as Use;
use crate::keyspace::entry;
use crate::keyspace::hooks::EventClass;
use crate::store::key::Key;
use crate::store::memory::Ref;
use crate::value::NewValue;
use crate::value::string::over_deadline;

/// How one of the strings is stored.
#[derive(Clone, Copy)]
enum Stage {
    /// Written over the present value, in its block.
    InPlace,
    /// In an entry of its own, which the table leads to already.
    Created { at: Ref, stamp: u32 },
    /// In an entry that is to take the place of the present one.
    Beside(Ref),
    /// Its deadline has passed: the key goes.
    Expired,
}

/// What is to become of a key that there is already.
#[derive(Clone, Copy)]
struct Staged {
    has_deadline: bool,
    /// Its entry will be another.
    moves: bool,
}

impl Db<'_> {
    /// Stores `count` strings, whatever was there before. `string` gives the key and the value of each, `deadline` its deadline, when it is its
    /// turn; `stored` is called behind each. O(count).
    ///
    /// # Errors
    /// The system has no memory; nothing has changed.
    pub(crate) fn insert_strings<'s>(
        &mut self,
        count: usize,
        string: impl Fn(usize) -> (&'s Key<'s>, &'s [u8]),
        deadline: impl Fn(&Self, &Key<'_>) -> Option<u64>,
        mut stored: impl FnMut(&mut Self, usize, Option<u64>),
    ) -> Result<()> {
        if count == 1 {
            let (key, value) = string(0);
            let deadline = deadline(self, key);
            self.insert(key, self.encode(value), deadline)?;
            stored(self, 0, deadline);
            return Ok(());
        }
        let mut stages = alloc::with_room_for(count)?;
        let mut staged = HashMap::new();
        for number in 0..count {
            let (key, value) = string(number);
            let deadline = deadline(self, key);
            match self.stage(key, self.encode(value), deadline, &mut staged) {
                Ok(stage) => stages.push(stage),
                Err(error) => {
                    for (number, stage) in stages.into_iter().enumerate().rev() {
                        self.unstage(string(number).0, stage);
                    }
                    return Err(error);
                }
            }
        }
        for (number, stage) in stages.into_iter().enumerate() {
            let (key, value) = string(number);
            let deadline = deadline(self, key);
            self.put_in_place(key, self.encode(value), deadline, stage);
            stored(self, number, deadline);
        }
        Ok(())
    }

    fn stage(
        &mut self,
        key: &Key<'_>,
        value: NewValue<'_>,
        deadline: Option<u64>,
        staged: &mut HashMap<u64, Staged>,
    ) -> Result<Stage> {
        if deadline.is_some_and(|deadline| deadline <= self.now()) {
            return Ok(Stage::Expired);
        }
        staged.try_reserve(1).map_err(|_| Error::no_memory())?;
        let db = self.index;
        let Some(at) = self.find_live(key) else {
            let stamp = self.keyspace.first_stamp();
            let at = self.shard_mut(key).create(db, key, value, deadline, stamp)?;
            return Ok(Stage::Created { at, stamp });
        };
        let head = self.shard(key).head(at);
        // A key that is given twice may stand elsewhere when it is its second turn, and has the deadline of its first.
        let before = staged.get(&key.hash());
        let had_deadline = before.map_or(head.has_deadline(), |before| before.has_deadline);
        let moves = before.is_some_and(|before| before.moves);
        let value = if had_deadline { over_deadline(key.bytes().len(), value) } else { value };
        let fits = head.can_hold(&value, deadline) && !moves;
        let now = Staged { has_deadline: deadline.is_some(), moves: !fits };
        if fits {
            staged.insert(key.hash(), now);
            return Ok(Stage::InPlace);
        }
        let beside = self.shard_mut(key).store_beside(key, value, deadline, head)?;
        staged.insert(key.hash(), now);
        Ok(Stage::Beside(beside))
    }

    fn unstage(&mut self, key: &Key<'_>, stage: Stage) {
        let db = self.index;
        let owned = match stage {
            Stage::InPlace | Stage::Expired => None,
            Stage::Created { at, .. } => self.shard_mut(key).delete(db, key.hash(), at),
            Stage::Beside(at) => self.shard_mut(key).discard(at),
        };
        self.effects.discard(owned);
        self.has_changed = true;
    }

    /// As `put`, of what was staged.
    fn put_in_place(&mut self, key: &Key<'_>, value: NewValue<'_>, deadline: Option<u64>, stage: Stage) {
        match stage {
            Stage::Expired => {
                self.expire_now(key);
                return;
            }
            Stage::InPlace => {
                let written = self.insert(key, value, deadline);
                debug_assert!(written.is_ok(), "what fits its block needs no memory");
                return;
            }
            Stage::Created { stamp, .. } => {
                self.keyspace.evictor.note(key.hash(), Use::Created);
                if self.keyspace.evictor.files(deadline.is_some()) {
                    self.file(key, stamp);
                }
                self.notify(EventClass::New, "new", key.bytes());
            }
            Stage::Beside(new) => {
                let Some(at) = self.find_live(key) else {
                    // A deadline that has passed for an earlier string of the same key.
                    let owned = self.shard_mut(key).discard(new);
                    return self.effects.discard(owned);
                };
                self.preserve(key, at);
                let (db, shard) = (self.index, self.locks.shard_mut(key.shard()));
                let head = shard.head(at);
                entry::set_saved(&shard.arena, new, head.is_saved());
                let old = shard.take_place(db, key.hash(), at, new);
                self.effects.discard(old);
                self.stamp(key, new);
                if deadline.is_some() && !head.has_deadline() {
                    self.gained_deadline(key, new);
                }
            }
        }
        self.modified(key);
    }
}

#[cfg(test)]
mod tests {
    use crate::store::memory::refusal;
    use crate::{Clock, Engine, Form, Ttl};

    #[test]
    fn of_several_strings_none_is_stored_where_memory_is_refused() {
        let engine = Engine::builder().clock(Clock::manual(1_000_000)).open().unwrap();
        let mut session = engine.session(Form::Resp);
        let mut run = |words: &[&[u8]]| String::from_utf8_lossy(session.execute(words)).into_owned();
        let long = vec![b'l'; 100_000];
        let text = vec![b't'; 3_000];
        run(&[b"SET", b"kept", b"abc", b"PX", b"5000"]);
        run(&[b"SET", b"short", b"abc"]);
        run(&[b"SET", b"long", &long]);
        run(&[b"HSET", b"hash", b"f", b"v"]);
        run(&[b"CONFIG", b"SET", b"enable-debug-command", b"yes"]);
        let digest = run(&[b"DEBUG", b"DIGEST"]);
        let used = engine.inner.keyspace.shared.pool.shareable_bytes();
        let pairs: [(&[u8], &[u8]); 9] = [
            (b"short", b"xyz"),
            (b"kept", &text),
            (b"new", &long),
            (b"long", b"1"),
            (b"hash", &text),
            (b"kept", b"twice"),
            (b"new", b"twice"),
            (b"other", &text),
            (b"last", &long),
        ];
        let words: Vec<&[u8]> = pairs.iter().flat_map(|(key, value)| [*key, *value]).collect();
        let commands = [
            [&[&b"MSET"[..]][..], &words].concat(),
            [&[&b"MSETEX"[..], b"9"][..], &words, &[b"EX", b"10"]].concat(),
            [&[&b"MSETEX"[..], b"9"][..], &words, &[b"KEEPTTL"]].concat(),
        ];
        for command in &commands {
            let mut refused = 0;
            for allowed in 0.. {
                refusal::after(allowed);
                let reply = run(command);
                refusal::set(false);
                if !reply.starts_with("-OOM") {
                    break;
                }
                refused += 1;
                assert_eq!(run(&[b"DEBUG", b"DIGEST"]), digest, "{allowed}");
                assert_eq!(engine.inner.keyspace.shared.pool.shareable_bytes(), used, "{allowed}");
            }
            assert!(refused >= 2, "some memory was taken before it was refused");
            assert_eq!(run(&[b"MGET", b"kept", b"new", b"long", b"short"]).matches("twice").count(), 2);
            for (key, value) in [(&b"kept"[..], &b"abc"[..]), (b"short", b"abc"), (b"long", &long)] {
                run(&[b"SET", key, value]);
            }
            run(&[b"PEXPIRE", b"kept", b"5000"]);
            run(&[b"DEL", b"new", b"other", b"last", b"hash"]);
            run(&[b"HSET", b"hash", b"f", b"v"]);
            assert_eq!(run(&[b"DEBUG", b"DIGEST"]), digest);
        }
        refusal::after(1);
        let refused = engine.database(0).unwrap().set_many(&pairs, Ttl::Keep);
        refusal::set(false);
        assert!(refused.is_err());
        assert_eq!(run(&[b"DEBUG", b"DIGEST"]), digest);
    }
}
