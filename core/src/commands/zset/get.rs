//! ZCARD, ZCOUNT, ZLEXCOUNT, ZSCORE, ZMSCORE, ZRANK and ZREVRANK: what a sorted set says of its members.

use super::bounds::{Bounds, By};
use super::{reply_score, zset_of};
use crate::command::{Arg, Args, Command, Read, Reply};
use crate::error::Result;
use crate::keyspace::{Db, Key};

/// Returns the number of members of a sorted set.
///
/// Returns 0 where there is no such sorted set.
#[derive(Command)]
#[command(
    name = "ZCARD", group = SortedSet, since = "1.2.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct ZCard<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for ZCard<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(zset_of(db, &self.key)?.map_or(0, |zset| zset.len()));
        Ok(())
    }
}

/// Counts the members of a range, which is judged before the key.
fn count(db: &Db<'_>, key: &Key<'_>, by: By, min: &[u8], max: &[u8], reply: &mut Reply) -> Result<()> {
    let bounds = Bounds::parse(by, min, max)?;
    reply.count(zset_of(db, key)?.map_or(0, |zset| bounds.ranks(zset, false).len()));
    Ok(())
}

/// Returns how many members of a sorted set have scores in a range.
///
/// Returns their number. Bounds are as those of ZRANGE with BYSCORE.
#[derive(Command)]
#[command(
    name = "ZCOUNT", group = SortedSet, since = "2.0.0", complexity = "O(log(N)) with N being the number of elements in the sorted set.", arity = 4,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct ZCount<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(kind = Double)]
    min: &'a [u8],
    #[arg(kind = Double)]
    max: &'a [u8],
}

impl Read for ZCount<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        count(db, &self.key, By::Score, self.min, self.max, reply)
    }
}

/// Returns how many members of a sorted set are in a range in the order of their bytes.
///
/// Returns their number. Bounds are as those of ZRANGE with BYLEX; all members must have the same score.
#[derive(Command)]
#[command(
    name = "ZLEXCOUNT", group = SortedSet, since = "2.8.9", complexity = "O(log(N)) with N being the number of elements in the sorted set.", arity = 4,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct ZLexCount<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    min: &'a [u8],
    max: &'a [u8],
}

impl Read for ZLexCount<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        count(db, &self.key, By::Lex, self.min, self.max, reply)
    }
}

/// Returns the score of a member of a sorted set.
///
/// Returns null where there is no such member.
#[derive(Command)]
#[command(
    name = "ZSCORE", group = SortedSet, since = "1.2.0", complexity = "O(1)", arity = 3,
    flags(READONLY, FAST),
    reply = "double | null",
)]
pub struct ZScore<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    member: &'a [u8],
}

impl Read for ZScore<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply_score(reply, zset_of(db, &self.key)?.and_then(|zset| zset.score(self.member)));
        Ok(())
    }
}

/// Returns the scores of members of a sorted set.
///
/// Returns null for each that is no member.
#[derive(Command)]
#[command(
    name = "ZMSCORE", group = SortedSet, since = "6.2.0", complexity = "O(N) where N is the number of members being requested.", arity = -3,
    flags(READONLY, FAST),
    reply = "array(double | null)",
)]
pub struct ZMScore<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    member: Vec<&'a [u8]>,
}

impl Read for ZMScore<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, &self.key)?;
        reply.array(self.member.len());
        for member in &self.member {
            reply_score(reply, zset.and_then(|zset| zset.score(member)));
        }
        Ok(())
    }
}

/// Declares ZRANK or ZREVRANK; they differ in where they count from.
macro_rules! rank_command {
    ($(#[$attribute:meta])* $name:ident, $reverse:literal) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RO, ACCESS)]
            key: Key<'a>,
            member: &'a [u8],
            #[arg(token = "WITHSCORE")]
            withscore: bool,
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let (key, member) = (Key::parse(args)?, args.required()?);
                if args.remaining() > 1 {
                    return Err(args.arity_error());
                }
                let withscore = args.skip_token("WITHSCORE");
                args.finish()?;
                Ok(Self { key, member, withscore })
            }
        }

        impl Read for $name<'_> {
            fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
                let zset = zset_of(db, &self.key)?;
                let found = zset.and_then(|zset| Some((zset.len(), zset.rank(self.member)?)));
                let found = found.map(|(len, (rank, score))| {
                    (if $reverse { len - 1 - rank } else { rank }, score)
                });
                match (found, self.withscore) {
                    (Some((rank, _)), false) => reply.count(rank),
                    (Some((rank, score)), true) => {
                        reply.array(2);
                        reply.count(rank);
                        reply.double(score);
                    }
                    (None, false) => reply.null(),
                    (None, true) => reply.null_array(),
                }
                Ok(())
            }
        }
    };
}

rank_command! {
    /// Returns the rank of a member of a sorted set, counted from the lowest score.
    ///
    /// Returns null where there is no such member. WITHSCORE adds its score.
    #[derive(Command)]
    #[command(
        name = "ZRANK", group = SortedSet, since = "2.0.0", complexity = "O(log(N))", arity = -3,
        flags(READONLY, FAST),
        history(("7.2.0", "Added the optional `WITHSCORE` argument.")),
        custom_parse, reply = "int | null | nullarray | array(int | double)",
    )]
    ZRank, false
}

rank_command! {
    /// Returns the rank of a member of a sorted set, counted from the highest score.
    ///
    /// Returns null where there is no such member. WITHSCORE adds its score.
    #[derive(Command)]
    #[command(
        name = "ZREVRANK", group = SortedSet, since = "2.0.0", complexity = "O(log(N))", arity = -3,
        flags(READONLY, FAST),
        history(("7.2.0", "Added the optional `WITHSCORE` argument.")),
        custom_parse, reply = "int | null | nullarray | array(int | double)",
    )]
    ZRevRank, true
}
