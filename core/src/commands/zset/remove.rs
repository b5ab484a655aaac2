//! ZREM, ZREMRANGEBYRANK, ZREMRANGEBYSCORE and ZREMRANGEBYLEX.

use super::bounds::{Bounds, By};
use super::edit;
use crate::command::{Command, Reply, Write};
use crate::error::Result;
use crate::keyspace::{Db, EventClass, Key};

/// Removes members of a sorted set, and the sorted set with its last member.
///
/// Returns how many there were.
#[derive(Command)]
#[command(
    name = "ZREM", group = SortedSet, since = "1.2.0", complexity = "O(M*log(N)) with N being the number of elements in the sorted set and M the number of elements to be removed.", arity = -3,
    flags(WRITE, FAST),
    history(("2.4.0", "Accepts multiple elements.")),
    reply = "int",
)]
pub struct ZRem<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    member: Vec<&'a [u8]>,
}

impl Write for ZRem<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let removed = edit(db, &self.key, |members| {
            members.expect(self.member.len(), || 0);
            Ok(self.member.iter().filter(|member| members.remove(member)).count())
        })?;
        let removed = removed.unwrap_or(0);
        if removed > 0 {
            db.notify_of_edit(EventClass::ZSet, "zrem", self.key.bytes());
        }
        reply.count(removed);
        Ok(())
    }
}

/// Declares one of the three commands that remove a range; they differ in what it is a range of.
macro_rules! remove_range_command {
    ($(#[$attribute:meta])* $name:ident, $start:ident, $stop:ident, $kind:ident, $by:expr, $event:literal) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RW, DELETE)]
            key: Key<'a>,
            #[arg(kind = $kind)]
            $start: &'a [u8],
            #[arg(kind = $kind)]
            $stop: &'a [u8],
        }

        impl Write for $name<'_> {
            fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
                let bounds = Bounds::parse($by, self.$start, self.$stop)?;
                let removed = edit(db, &self.key, |members| {
                    let ranks = bounds.ranks(members.as_ref(), false);
                    members.remove_ranks(ranks.clone());
                    Ok(ranks.len())
                })?;
                let removed = removed.unwrap_or(0);
                if removed > 0 {
                    db.notify_of_edit(EventClass::ZSet, $event, self.key.bytes());
                }
                reply.count(removed);
                Ok(())
            }
        }
    };
}

remove_range_command! {
    /// Removes the members of a range of ranks from a sorted set, and the sorted set with its last member.
    ///
    /// Returns how many there were. Negative ranks count from the highest score.
    #[derive(Command)]
    #[command(
        name = "ZREMRANGEBYRANK", group = SortedSet, since = "2.0.0", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", arity = 4,
        flags(WRITE),
        reply = "int",
    )]
    ZRemRangeByRank, start, stop, Integer, By::Rank, "zremrangebyrank"
}

remove_range_command! {
    /// Removes the members of a range of scores from a sorted set, and the sorted set with its last member.
    ///
    /// Returns how many there were. Bounds are as those of ZRANGE with BYSCORE.
    #[derive(Command)]
    #[command(
        name = "ZREMRANGEBYSCORE", group = SortedSet, since = "1.2.0", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", arity = 4,
        flags(WRITE),
        reply = "int",
    )]
    ZRemRangeByScore, min, max, Double, By::Score, "zremrangebyscore"
}

remove_range_command! {
    /// Removes the members of a range in the order of their bytes from a sorted set, and the sorted set with its last member.
    ///
    /// Returns how many there were. Bounds are as those of ZRANGE with BYLEX; all members must have the same score.
    #[derive(Command)]
    #[command(
        name = "ZREMRANGEBYLEX", group = SortedSet, since = "2.8.9", complexity = "O(log(N)+M) with N being the number of elements in the sorted set and M the number of elements removed by the operation.", arity = 4,
        flags(WRITE),
        reply = "int",
    )]
    ZRemRangeByLex, min, max, String, By::Lex, "zremrangebylex"
}
