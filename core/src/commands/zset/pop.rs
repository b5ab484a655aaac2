//! ZPOPMIN, ZPOPMAX and ZMPOP, and BZPOPMIN, BZPOPMAX and BZMPOP, which wait where there is nothing to take.

use std::ops::{ControlFlow, Range};
use std::time::Duration;

use super::add::{Condition, Rules};
use super::{edit, reply_ranks};
use crate::alloc;
use crate::command::arg::Positive;
use crate::command::block::patience_of_seconds;
use crate::command::spec::FindKeys;
use crate::command::{Arg, Args, Attempt, Block, Command, Reply, Write};
use crate::commands::pops::{MultiPop, blocking_pop_command, most};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;
use crate::value::ZSetRef;

/// Which end members are taken from.
#[derive(Arg, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    #[arg(token = "MIN")]
    Min,
    #[arg(token = "MAX")]
    Max,
}

impl End {
    /// The ranks of so many members at this end, of so many.
    pub(crate) fn ranks(self, count: usize, len: usize) -> Range<usize> {
        let count = count.min(len);
        match self {
            End::Min => 0..count,
            End::Max => len - count..len,
        }
    }

    pub(crate) const fn event(self) -> &'static str {
        match self {
            End::Min => "zpopmin",
            End::Max => "zpopmax",
        }
    }

    /// The command that does it to one key, for the log.
    pub(crate) fn command(self) -> &'static [u8] {
        match self {
            End::Min => b"ZPOPMIN",
            End::Max => b"ZPOPMAX",
        }
    }
}

/// Takes up to so many members out of a sorted set, when `write` has written them. Returns how many; `None` if there is no such key.
///
/// # Errors
/// WRONGTYPE, or no room for the reply; nothing has changed.
fn take(
    db: &mut Db<'_>,
    key: &Key<'_>,
    (end, count): (End, usize),
    reply: &mut Reply,
    write: impl FnOnce(&mut Reply, ZSetRef<'_>, Range<usize>),
) -> Result<Option<usize>> {
    let Some(entry) = db.peek(key) else { return Ok(None) };
    let zset = entry.value().zset()?;
    let ranks = end.ranks(count, zset.len());
    write(reply, zset, ranks.clone());
    reply.check()?;
    // For a waiter that may have gone: what it gets can be given back.
    let given = if db.serves_waiter() {
        Some((alloc::boxed(key.bytes())?, copies(zset, ranks.clone())?))
    } else {
        None
    };
    let count = ranks.len();
    if count > 0 {
        edit(db, key, |members| {
            members.remove_ranks(ranks);
            Ok(())
        })?;
        db.notify_of_edit(EventClass::ZSet, end.event(), key.bytes());
        if let Some((name, given)) = given {
            db.can_undo(key, move |db| give_back(db, &name, &given));
        }
    }
    Ok(Some(count))
}

/// The members of these ranks with their scores.
fn copies(zset: ZSetRef<'_>, ranks: Range<usize>) -> Result<Vec<(Box<[u8]>, f64)>> {
    let mut all = alloc::with_room_for(ranks.len())?;
    let mut copied = Ok(());
    zset.walk(ranks, false, |member, score| {
        match member.with(alloc::boxed) {
            Ok(member) => all.push((member, score)),
            Err(error) => copied = Err(error),
        }
        if copied.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    copied.map(|()| all)
}

/// Puts members back where they were taken, but for those that are there anew.
fn give_back(db: &mut Db<'_>, key: &[u8], taken: &[(Box<[u8]>, f64)]) -> Result<()> {
    let key = db.key(key);
    let pairs = || taken.iter().map(|(member, score)| (&**member, *score));
    let done = Rules::of(Some(Condition::Nx)).apply(db, &key, pairs)?;
    if done.added > 0 {
        let text = |score| {
            let mut text = Vec::new();
            num::write_f64(&mut text, score);
            text
        };
        let scores: Vec<Vec<u8>> = taken.iter().map(|(_, score)| text(*score)).collect();
        let words = || scores.iter().zip(taken).flat_map(|(score, (member, _))| [&**score, &**member]);
        db.propagate(|| [&b"ZADD"[..], key.bytes(), b"NX"].into_iter().chain(words()));
    }
    Ok(())
}

/// As [`take`], out of the first of several sorted sets that there is: replies its name and what was taken. Returns whether there was any.
fn take_first(
    db: &mut Db<'_>,
    keys: &[Key<'_>],
    (end, count): (End, usize),
    reply: &mut Reply,
) -> Result<bool> {
    for key in keys {
        let taken = take(db, key, (end, count), reply, |reply, zset, ranks| {
            reply.array(2);
            reply.bulk(key.bytes());
            reply.array(ranks.len());
            zset.walk(ranks, end == End::Max, |member, score| {
                reply.array(2);
                member.with(|member| reply.bulk(member));
                reply.double(score);
                super::until_full(reply)
            });
        })?;
        if let Some(taken) = taken {
            let taken = taken.to_string();
            db.propagate(|| [end.command(), key.bytes(), taken.as_bytes()]);
            return Ok(true);
        }
    }
    Ok(false)
}

/// As [`take`], one member of the first of several sorted sets that there is: replies key, member and score.
fn take_one(db: &mut Db<'_>, keys: &[Key<'_>], end: End, reply: &mut Reply) -> Result<Attempt> {
    for key in keys {
        let taken = take(db, key, (end, 1), reply, |reply, zset, ranks| {
            reply.array(3);
            reply.bulk(key.bytes());
            zset.walk(ranks, false, |member, score| {
                member.with(|member| reply.bulk(member));
                reply.double(score);
                super::until_full(reply)
            });
        })?;
        if taken.is_some() {
            db.propagate(|| [end.command(), key.bytes()]);
            return Ok(Attempt::Done);
        }
    }
    Ok(Attempt::Wait)
}

/// Declares ZPOPMIN or ZPOPMAX.
macro_rules! pop_command {
    ($(#[$attribute:meta])* $name:ident, $end:expr) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RW, ACCESS, DELETE)]
            key: Key<'a>,
            count: Option<Positive>,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let key = Key::parse(args)?;
                if args.remaining() > 1 {
                    return Err(Error::syntax());
                }
                Ok(Self { key, count: Option::parse(args)? })
            }
        }

        impl Write for $name<'_> {
            fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
                pop(db, &self.key, $end, self.count, reply)
            }
        }
    };
}

/// Without a count a member and its score are not nested.
fn pop(db: &mut Db<'_>, key: &Key<'_>, end: End, count: Option<Positive>, reply: &mut Reply) -> Result<()> {
    let most = count.map_or(1, |Positive(count)| usize::try_from(count).unwrap_or(usize::MAX));
    let taken = take(db, key, (end, most), reply, |reply, zset, ranks| {
        if count.is_some() {
            return reply_ranks(reply, zset, ranks, end == End::Max, true);
        }
        reply.array(ranks.len() * 2);
        zset.walk(ranks, false, |member, score| {
            member.with(|member| reply.bulk(member));
            reply.double(score);
            super::until_full(reply)
        });
    })?;
    if taken.is_none() {
        reply.array(0);
    }
    Ok(())
}

pop_command! {
    /// Takes the members with the lowest scores out of a sorted set, and the sorted set with its last member.
    ///
    /// Returns the member and its score, with a count up to so many of them.
    #[derive(Command)]
    #[command(
        name = "ZPOPMIN", group = SortedSet, since = "5.0.0", complexity = "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", arity = -2,
        flags(WRITE, FAST),
        custom_parse, reply = "array(bulk | double | array(bulk | double))",
    )]
    ZPopMin, End::Min
}

pop_command! {
    /// Takes the members with the highest scores out of a sorted set, and the sorted set with its last member.
    ///
    /// Returns the member and its score, with a count up to so many of them.
    #[derive(Command)]
    #[command(
        name = "ZPOPMAX", group = SortedSet, since = "5.0.0", complexity = "O(log(N)*M) with N being the number of elements in the sorted set, and M being the number of elements popped.", arity = -2,
        flags(WRITE, FAST),
        custom_parse, reply = "array(bulk | double | array(bulk | double))",
    )]
    ZPopMax, End::Max
}

/// Takes the members with the lowest or the highest scores out of the first of several sorted sets that there is.
///
/// Returns the key, and members with their scores, up to COUNT of them or one. Returns null where there is no such key.
#[derive(Command)]
#[command(
    name = "ZMPOP", group = SortedSet, since = "7.0.0", complexity = "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", arity = -4,
    flags(WRITE, MOVABLEKEYS),
    custom_parse, reply = "nullarray | array(bulk | array(array(bulk | double)))",
)]
pub struct ZMPop<'a> {
    #[key(RW, ACCESS, DELETE, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0)]
    key: Vec<Key<'a>>,
    r#where: End,
    #[arg(token = "COUNT")]
    count: Option<i64>,
}

impl<'a> ZMPop<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let MultiPop { numkeys, key, end, count } = MultiPop::parse(args)?;
        Ok(Self { numkeys, key, r#where: end, count })
    }
}

impl Write for ZMPop<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if !take_first(db, &self.key, (self.r#where, most(self.count)), reply)? {
            reply.null_array();
        }
        Ok(())
    }
}

/// Takes the members with the lowest or the highest scores out of the first of several sorted sets that there is, or waits for one.
///
/// Returns as ZMPOP, null when the time is over. A time of 0 seconds is for ever.
#[derive(Command)]
#[command(
    name = "BZMPOP", group = SortedSet, since = "7.0.0", complexity = "O(K) + O(M*log(N)) where K is the number of provided keys, N being the number of elements in the sorted set, and M being the number of elements popped.", arity = -5,
    flags(WRITE, BLOCKING, MOVABLEKEYS),
    custom_parse, reply = "nullarray | array(bulk | array(array(bulk | double)))",
)]
pub struct BZMPop<'a> {
    #[arg(kind = Double)]
    timeout: &'a [u8],
    #[key(RW, ACCESS, DELETE, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0)]
    key: Vec<Key<'a>>,
    r#where: End,
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(hidden)]
    patience: Option<Duration>,
}

impl<'a> BZMPop<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let timeout = args.required()?;
        // What is wrong with the rest is told first.
        let MultiPop { numkeys, key, end, count } = MultiPop::parse(args)?;
        let patience = patience_of_seconds(timeout)?;
        Ok(Self { timeout, numkeys, key, r#where: end, count, patience })
    }
}

impl Block for BZMPop<'_> {
    const AWAITED: Option<&'static str> = Some("zset");

    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        let is_done = take_first(db, &self.key, (self.r#where, most(self.count)), reply)?;
        Ok(if is_done { Attempt::Done } else { Attempt::Wait })
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        self.key.iter().for_each(|key| visit(key.bytes()));
    }
}

blocking_pop_command! {
    /// Takes the member with the lowest score out of the first of several sorted sets that there is, or waits for one.
    ///
    /// Returns key, member and score, null when the time is over. A time of 0 seconds is for ever.
    #[derive(Command)]
    #[command(
        name = "BZPOPMIN", group = SortedSet, since = "5.0.0", complexity = "O(log(N)) with N being the number of elements in the sorted set.", arity = -3,
        flags(WRITE, BLOCKING, FAST),
        history(("6.0.0", "`timeout` is interpreted as a double instead of an integer.")),
        custom_parse, reply = "nullarray | array(bulk | double)",
    )]
    BZPopMin, "zset", take_one, End::Min
}

blocking_pop_command! {
    /// Takes the member with the highest score out of the first of several sorted sets that there is, or waits for one.
    ///
    /// Returns key, member and score, null when the time is over. A time of 0 seconds is for ever.
    #[derive(Command)]
    #[command(
        name = "BZPOPMAX", group = SortedSet, since = "5.0.0", complexity = "O(log(N)) with N being the number of elements in the sorted set.", arity = -3,
        flags(WRITE, BLOCKING, FAST),
        history(("6.0.0", "`timeout` is interpreted as a double instead of an integer.")),
        custom_parse, reply = "nullarray | array(bulk | double)",
    )]
    BZPopMax, "zset", take_one, End::Max
}
