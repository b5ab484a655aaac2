//! ZRANGE, ZRANGESTORE, and the older commands that ZRANGE has all of: ZREVRANGE, ZRANGEBYSCORE, ZREVRANGEBYSCORE, ZRANGEBYLEX and ZREVRANGEBYLEX.

use std::ops::{ControlFlow, Range};

use super::bounds::{Bounds, By};
use super::{reply_ranks, store, zset_of};
use crate::command::{Arg, Args, Command, Read, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::value::ZSetRef;
use crate::value::zset::members::Builder;

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum SortBy {
    #[arg(token = "BYSCORE")]
    ByScore,
    #[arg(token = "BYLEX")]
    ByLex,
}

#[derive(Arg, Clone, Copy)]
#[arg(token = "LIMIT")]
struct Limit {
    offset: i64,
    count: i64,
}

/// What a command of the family takes beside what all take, as the name says it.
#[derive(Clone, Copy)]
struct Family {
    /// What it is a range of; `None`: the options say.
    by: Option<By>,
    /// Whether it goes from the highest score down; `None`: the options say.
    reverse: Option<bool>,
    /// Whether members can be replied with their scores.
    replies: bool,
}

/// The options of the family.
#[derive(Clone, Copy)]
struct Options {
    by: By,
    reverse: bool,
    limit: Option<Limit>,
    withscores: bool,
}

impl Options {
    fn parse(args: &mut Args<'_>, family: Family) -> Result<Self> {
        let (mut by, mut reverse) = (family.by, family.reverse);
        let (mut limit, mut withscores) = (None, false);
        while let Some(word) = args.peek() {
            if family.replies && args.skip_token("WITHSCORES") {
                withscores = true;
            } else if Limit::begins(word) && args.remaining() > 2 {
                limit = Some(Limit::parse(args)?);
            } else if reverse.is_none() && args.skip_token("REV") {
                reverse = Some(true);
            } else if by.is_none() && args.skip_token("BYLEX") {
                by = Some(By::Lex);
            } else if by.is_none() && args.skip_token("BYSCORE") {
                by = Some(By::Score);
            } else {
                return Err(Error::syntax());
            }
        }
        let by = by.unwrap_or(By::Rank);
        if limit.is_some() && by == By::Rank {
            return Err(Error::command(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if withscores && by == By::Lex {
            return Err(Error::command("syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        Ok(Self { by, reverse: reverse.unwrap_or(false), limit, withscores })
    }

    fn sort_by(&self) -> Option<SortBy> {
        match self.by {
            By::Rank => None,
            By::Score => Some(SortBy::ByScore),
            By::Lex => Some(SortBy::ByLex),
        }
    }
}

/// A range with its options.
#[derive(Clone, Copy)]
struct Query<'a> {
    options: Options,
    bounds: Bounds<'a>,
}

impl<'a> Query<'a> {
    /// Reads the options behind two bounds, and then these. In reverse the first is the highest, where they are not ranks.
    fn parse(args: &mut Args<'a>, start: &'a [u8], stop: &'a [u8], family: Family) -> Result<Self> {
        let options = Options::parse(args, family)?;
        let is_swapped = options.reverse && options.by != By::Rank;
        let (min, max) = if is_swapped { (stop, start) } else { (start, stop) };
        Ok(Self { options, bounds: Bounds::parse(options.by, min, max)? })
    }

    /// The ranks that it asks for.
    fn ranks(&self, zset: ZSetRef<'_>) -> Range<usize> {
        let Options { reverse, limit, .. } = self.options;
        let ranks = self.bounds.ranks(zset, reverse);
        let Some(Limit { offset, count }) = limit else { return ranks };
        // A large one counts from the end of the range where the offset is negative, as the server's does.
        let offset = match usize::try_from(offset) {
            Ok(offset) => Some(offset),
            Err(_) if zset.is_packed() => None,
            Err(_) => {
                (ranks.len() as i64).checked_add(offset).and_then(|offset| usize::try_from(offset).ok())
            }
        };
        let Some(offset) = offset.filter(|offset| *offset < ranks.len()) else { return 0..0 };
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(ranks.len() - offset);
        if reverse {
            let end = ranks.end - offset;
            end - count..end
        } else {
            let start = ranks.start + offset;
            start..start + count
        }
    }

    fn reply(&self, db: &Db<'_>, key: &Key<'_>, reply: &mut Reply) -> Result<()> {
        let Options { reverse, withscores, .. } = self.options;
        match zset_of(db, key)? {
            Some(zset) => reply_ranks(reply, zset, self.ranks(zset), reverse, withscores),
            None => reply.array(0),
        }
        Ok(())
    }
}

/// Returns the members of a range of a sorted set.
///
/// The range is one of ranks, negative ones counting from the end; with BYSCORE of scores, where `(` leaves out a bound and `-inf` and `+inf` are the ends;
/// with BYLEX of members of one score in the order of their bytes, from `[` or `(` and a member, where `-` and `+` are the ends. REV goes
/// from the highest down, LIMIT leaves out some first ones and bounds the rest, WITHSCORES adds scores.
#[derive(Command)]
#[command(
    name = "ZRANGE", group = SortedSet, since = "1.2.0", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", arity = -4,
    flags(READONLY),
    history(("6.2.0", "Added the `REV`, `BYSCORE`, `BYLEX` and `LIMIT` options.")),
    custom_parse, reply = "array(bulk | double | array(bulk | double))",
)]
pub struct ZRange<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    start: &'a [u8],
    stop: &'a [u8],
    #[arg(oneof, since = "6.2.0")]
    sortby: Option<SortBy>,
    #[arg(token = "REV", since = "6.2.0")]
    rev: bool,
    #[arg(oneof, since = "6.2.0")]
    limit: Option<Limit>,
    #[arg(token = "WITHSCORES")]
    withscores: bool,
    #[arg(hidden)]
    query: Query<'a>,
}

impl<'a> ZRange<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, start, stop) = (Key::parse(args)?, args.required()?, args.required()?);
        let query = Query::parse(args, start, stop, Family { by: None, reverse: None, replies: true })?;
        let options = query.options;
        let Options { reverse: rev, limit, withscores, .. } = options;
        Ok(Self { key, start, stop, sortby: options.sort_by(), rev, limit, withscores, query })
    }
}

impl Read for ZRange<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        self.query.reply(db, &self.key, reply)
    }
}

/// Stores the members of a range of a sorted set in another key, over whatever is there.
///
/// Returns how many there are. The range is as that of ZRANGE; where it is empty the key is removed.
#[derive(Command)]
#[command(
    name = "ZRANGESTORE", group = SortedSet, since = "6.2.0", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements stored into the destination key.", arity = -5,
    flags(WRITE, DENYOOM),
    custom_parse, reply = "int",
)]
pub struct ZRangeStore<'a> {
    #[key(OW, UPDATE)]
    #[arg(key_spec = 0)]
    dst: Key<'a>,
    #[key(RO, ACCESS)]
    #[arg(key_spec = 1)]
    src: Key<'a>,
    min: &'a [u8],
    max: &'a [u8],
    #[arg(oneof)]
    sortby: Option<SortBy>,
    #[arg(token = "REV")]
    rev: bool,
    #[arg(oneof)]
    limit: Option<Limit>,
    #[arg(hidden)]
    query: Query<'a>,
}

impl<'a> ZRangeStore<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (dst, src) = (Key::parse(args)?, Key::parse(args)?);
        let (min, max) = (args.required()?, args.required()?);
        let query = Query::parse(args, min, max, Family { by: None, reverse: None, replies: false })?;
        let options = query.options;
        let Options { reverse: rev, limit, .. } = options;
        Ok(Self { dst, src, min, max, sortby: options.sort_by(), rev, limit, query })
    }
}

impl Write for ZRangeStore<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let mut new = Builder::new(db.keyspace().config.hot());
        if let Some(zset) = zset_of(db, &self.src)? {
            let keyspace = db.keyspace();
            let ranks = self.query.ranks(zset);
            // The server knows how many there are of a range of ranks alone.
            new.expect(if self.sortby.is_none() { ranks.len() } else { 0 }, 0);
            let mut appended = Ok(());
            zset.walk(ranks, false, |member, score| {
                appended =
                    member.with(|member| new.append(&keyspace.shared.pool, &keyspace.seed, member, score));
                if appended.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            appended?;
        }
        reply.count(store(db, &self.dst, new, "zrangestore")?);
        Ok(())
    }
}

/// Declares one of the older commands; they differ in the order of their bounds and in what their names say.
macro_rules! older_command {
    (
        $(#[$attribute:meta])*
        $name:ident, $start:ident, $stop:ident, $kind:ident, $by:expr, $reverse:literal,
        [$($option:ident),*], { $($options:tt)* }
    ) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RO, ACCESS)]
            key: Key<'a>,
            #[arg(kind = $kind)]
            $start: &'a [u8],
            #[arg(kind = $kind)]
            $stop: &'a [u8],
            $($options)*
            #[arg(hidden)]
            query: Query<'a>,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let (key, $start, $stop) = (Key::parse(args)?, args.required()?, args.required()?);
                let family = Family { by: Some($by), reverse: Some($reverse), replies: true };
                let query = Query::parse(args, $start, $stop, family)?;
                $(let $option = query.options.$option;)*
                Ok(Self { key, $start, $stop, $($option,)* query })
            }
        }

        impl Read for $name<'_> {
            fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
                self.query.reply(db, &self.key, reply)
            }
        }
    };
}

older_command! {
    /// Returns the members of a range of ranks of a sorted set, counted from the highest score.
    ///
    /// It is ZRANGE with REV.
    #[derive(Command)]
    #[command(
        name = "ZREVRANGE", group = SortedSet, since = "1.2.0", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements returned.", arity = -4,
        flags(READONLY),
        custom_parse, reply = "array(bulk | double | array(bulk | double))",
    )]
    ZRevRange, start, stop, Integer, By::Rank, true,
    [withscores], {
        #[arg(token = "WITHSCORES")]
        withscores: bool,
    }
}

older_command! {
    /// Returns the members of a range of scores of a sorted set.
    ///
    /// It is ZRANGE with BYSCORE.
    #[derive(Command)]
    #[command(
        name = "ZRANGEBYSCORE", group = SortedSet, since = "1.0.5", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", arity = -4,
        flags(READONLY),
        history(("2.0.0", "Added the `WITHSCORES` modifier.")),
        custom_parse, reply = "array(bulk | double | array(bulk | double))",
    )]
    ZRangeByScore, min, max, Double, By::Score, false,
    [withscores, limit], {
        #[arg(token = "WITHSCORES", since = "2.0.0")]
        withscores: bool,
        #[arg(oneof)]
        limit: Option<Limit>,
    }
}

older_command! {
    /// Returns the members of a range of scores of a sorted set, from the highest score down.
    ///
    /// It is ZRANGE with BYSCORE and REV.
    #[derive(Command)]
    #[command(
        name = "ZREVRANGEBYSCORE", group = SortedSet, since = "2.2.0", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", arity = -4,
        flags(READONLY),
        history(("2.1.6", "`min` and `max` can be exclusive.")),
        custom_parse, reply = "array(bulk | double | array(bulk | double))",
    )]
    ZRevRangeByScore, max, min, Double, By::Score, true,
    [withscores, limit], {
        #[arg(token = "WITHSCORES")]
        withscores: bool,
        #[arg(oneof)]
        limit: Option<Limit>,
    }
}

older_command! {
    /// Returns the members of a range of a sorted set in the order of their bytes.
    ///
    /// It is ZRANGE with BYLEX.
    #[derive(Command)]
    #[command(
        name = "ZRANGEBYLEX", group = SortedSet, since = "2.8.9", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", arity = -4,
        flags(READONLY),
        custom_parse, reply = "array(bulk)",
    )]
    ZRangeByLex, min, max, String, By::Lex, false,
    [limit], {
        #[arg(oneof)]
        limit: Option<Limit>,
    }
}

older_command! {
    /// Returns the members of a range of a sorted set in the order of their bytes, from the last one back.
    ///
    /// It is ZRANGE with BYLEX and REV.
    #[derive(Command)]
    #[command(
        name = "ZREVRANGEBYLEX", group = SortedSet, since = "2.8.9", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements being returned. If M is constant (e.g. always asking for the first 10 elements with LIMIT), you can consider it O(log(N)).", arity = -4,
        flags(READONLY),
        custom_parse, reply = "array(bulk)",
    )]
    ZRevRangeByLex, max, min, String, By::Lex, true,
    [limit], {
        #[arg(oneof)]
        limit: Option<Limit>,
    }
}
