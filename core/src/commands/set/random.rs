//! SRANDMEMBER.

use super::{reply_member, set_of, until_full};
use crate::command::arg::SignedCount;
use crate::command::{Args, Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::store::random;
use crate::value::SetRef;

/// Returns members of a set drawn at random.
///
/// Without a count one member, or null where there is no such set. A positive count gives that many different members at the most, a
/// negative one exactly as many, with repeats.
#[derive(Command)]
#[command(
    name = "SRANDMEMBER", group = Set, since = "1.0.0", complexity = "Without the count argument O(1), otherwise O(N) where N is the absolute value of the passed count.", arity = -2,
    flags(READONLY), tips("nondeterministic_output"),
    history(("2.6.0", "Added the optional `count` argument.")),
    custom_parse, reply = "bulk | null | array(bulk)",
)]
pub struct SRandMember<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(since = "2.6.0")]
    count: Option<i64>,
}

impl<'a> SRandMember<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = args.required()?;
        let key = args.key(key);
        if args.remaining() > 1 {
            return Err(Error::syntax());
        }
        let count =
            args.next().map(|text| num::parse_i64(text).ok_or_else(Error::not_an_integer)).transpose()?;
        let count = count.map(SignedCount::try_from).transpose()?.map(|count| count.0);
        Ok(Self { key, count })
    }
}

impl Read for SRandMember<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let set = set_of(db, &self.key)?;
        match (self.count, set) {
            (None, None) => reply.null(),
            (None, Some(set)) => reply_member(reply, set.random().expect("a set has a member")),
            (Some(_), None) => reply.array(0),
            (Some(count @ ..0), Some(set)) => reply_repeating(&set, count.unsigned_abs(), reply),
            (Some(count), Some(set)) => {
                let count = usize::try_from(count).unwrap_or(usize::MAX).min(set.len());
                reply.array(count);
                set.draw(count, |member| reply_member(reply, member))?;
            }
        }
        Ok(())
    }
}

/// So many members, each drawn from all. Stops where the reply is full: callers choose the count.
fn reply_repeating(set: &SetRef<'_>, count: u64, reply: &mut Reply) {
    /// From so many draws on, a packed set is read once, so that none of them has to walk it.
    const FEW: u64 = 4;
    reply.array(usize::try_from(count).unwrap_or(usize::MAX));
    let mut all = Vec::new();
    if set.is_packed() && count > FEW {
        set.each(|member| all.push(member));
    }
    for _ in 0..count {
        let drawn = match all.len() as u64 {
            0 => set.random().expect("a set has a member"),
            len => all[(random() % len) as usize],
        };
        reply_member(reply, drawn);
        if until_full(reply).is_break() {
            return;
        }
    }
}
