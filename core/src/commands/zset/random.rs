//! ZRANDMEMBER.

use super::{reply_head, reply_member, zset_of};
use crate::command::arg::SignedCount;
use crate::command::{Arg, Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::value::ZSetRef;

#[derive(Arg)]
struct Options {
    #[arg(name = "count")]
    count: SignedCount,
    #[arg(token = "WITHSCORES", once)]
    withscores: bool,
}

/// Returns members of a sorted set drawn at random.
///
/// Without a count one member, or null where there is no such sorted set. A positive count gives that many different members at the most, a
/// negative one exactly as many, with repeats.
#[derive(Command)]
#[command(
    name = "ZRANDMEMBER", group = SortedSet, since = "6.2.0", complexity = "O(N) where N is the number of members returned", arity = -2,
    flags(READONLY), tips("nondeterministic_output"),
    reply = "bulk | null | array(bulk | double | array(bulk | double))",
)]
pub struct ZRandMember<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    options: Option<Options>,
}

impl Read for ZRandMember<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(options) = &self.options else {
            match zset_of(db, &self.key)?.and_then(|zset| zset.random()) {
                Some((member, _)) => member.with(|member| reply.bulk(member)),
                None => reply.null(),
            }
            return Ok(());
        };
        if options.withscores && options.count.0.unsigned_abs() > i64::MAX as u64 / 2 {
            return Err(Error::command("value is out of range"));
        }
        let Some(zset) = zset_of(db, &self.key)? else {
            reply.array(0);
            return Ok(());
        };
        match options.count.0 {
            count @ ..0 => options.reply_repeating(zset, count.unsigned_abs(), reply),
            count => options.reply_different(zset, usize::try_from(count).unwrap_or(usize::MAX), reply)?,
        }
        Ok(())
    }
}

impl Options {
    /// So many members, each drawn from all. Stops where the reply is full: callers choose the count.
    fn reply_repeating(&self, zset: ZSetRef<'_>, count: u64, reply: &mut Reply) {
        reply_head(reply, usize::try_from(count).unwrap_or(usize::MAX), self.withscores);
        for _ in 0..count {
            let Some((member, score)) = zset.random() else { return };
            reply_member(reply, member, score, self.withscores);
            if reply.is_full() {
                return;
            }
        }
    }

    /// So many different members, or all.
    fn reply_different(&self, zset: ZSetRef<'_>, count: usize, reply: &mut Reply) -> Result<()> {
        reply_head(reply, count.min(zset.len()), self.withscores);
        zset.draw(count, |member, score| {
            reply_member(reply, member, score, self.withscores);
            super::until_full(reply)
        })
    }
}
