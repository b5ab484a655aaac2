//! SPOP.

use super::{remove, reply_member, set_to_change};
use crate::alloc::{self, Texts};
use crate::command::{Args, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;

/// Removes members of a set drawn at random, and the set with its last member.
///
/// Without a count returns the member, or null where there is no such set. With one returns that many members, or all.
#[derive(Command)]
#[command(
    name = "SPOP", group = Set, since = "1.0.0", complexity = "Without the count argument O(1), otherwise O(N) where N is the value of the passed count.", arity = -2,
    flags(WRITE, FAST), tips("nondeterministic_output"),
    history(("3.2.0", "Added the `count` argument.")),
    custom_parse, reply = "bulk | null | set(bulk)",
)]
pub struct SPop<'a> {
    #[key(RW, ACCESS, DELETE)]
    key: Key<'a>,
    #[arg(since = "3.2.0")]
    count: Option<i64>,
}

impl<'a> SPop<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = args.required()?;
        let key = args.key(key);
        if args.remaining() > 1 {
            return Err(Error::syntax());
        }
        let positive = |text| num::parse_i64(text).filter(|count| *count >= 0);
        let wrong = || Error::command("value is out of range, must be positive");
        let count = args.next().map(|text| positive(text).ok_or_else(wrong)).transpose()?;
        Ok(Self { key, count })
    }
}

impl Write for SPop<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        match self.count {
            None => self.pop_one(db, reply),
            Some(count) => self.pop(db, usize::try_from(count).unwrap_or(usize::MAX), reply),
        }
    }
}

impl SPop<'_> {
    fn pop_one(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(set) = set_to_change(db, &self.key)? else {
            reply.null();
            return Ok(());
        };
        let drawn = set.random().expect("a set has a member");
        reply_member(reply, drawn);
        reply.check()?;
        let name = drawn.with(alloc::copied)?;
        self.remove(db, std::iter::once(&name[..]))
    }

    fn pop(&self, db: &mut Db<'_>, count: usize, reply: &mut Reply) -> Result<()> {
        let set = set_to_change(db, &self.key)?;
        let Some(set) = set.filter(|_| count > 0) else {
            reply.set(0);
            return Ok(());
        };
        reply.set(count.min(set.len()));
        if count >= set.len() {
            // The server reads the whole as SUNION does, which counts.
            db.lookup(&self.key);
            set.each(|member| reply_member(reply, member));
            reply.check()?;
            self.remove_all(db);
            return Ok(());
        }
        let (mut names, mut named) = (Texts::default(), Ok(()));
        set.draw(count, |member| {
            reply_member(reply, member);
            if named.is_ok() && !reply.is_full() {
                named = member.with(|name| names.push(name));
            }
        })?;
        named?;
        reply.check()?;
        db.brace_for(names.len() + 2, names.bytes())?;
        self.remove(db, names.iter())
    }

    /// Removes members, which are some of those there are. The log gets them by name.
    fn remove<'n>(
        &self,
        db: &mut Db<'_>,
        names: impl ExactSizeIterator<Item = &'n [u8]> + Clone,
    ) -> Result<()> {
        /// Members of one command in the log.
        const BATCH: usize = 1024;
        remove::remove(db, &self.key, names.clone())?;
        db.notify_of_edit(EventClass::Set, "spop", self.key.bytes());
        for start in (0..names.len()).step_by(BATCH) {
            let batch = names.clone().skip(start).take(BATCH);
            db.propagate(|| {
                [&b"SREM"[..], self.key.bytes()].into_iter().chain(batch.map(|name| -> &[u8] { name }))
            });
        }
        Ok(())
    }

    fn remove_all(&self, db: &mut Db<'_>) {
        db.remove(&self.key);
        db.notify(EventClass::Set, "spop", self.key.bytes());
        db.notify(EventClass::Generic, "del", self.key.bytes());
        let command = db.keyspace().implied_delete_command();
        db.propagate(|| [command, self.key.bytes()]);
    }
}
