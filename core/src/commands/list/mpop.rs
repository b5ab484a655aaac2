//! LMPOP and BLMPOP.

use std::time::Duration;

use super::Side;
use super::pop::{command_of, reply_popped, take};
use crate::command::spec::FindKeys;
use crate::command::{Args, Attempt, Block, Command, Reply, Write, patience_of_seconds};
use crate::commands::pops::{MultiPop, most};
use crate::error::Result;
use crate::keyspace::{Db, Key};
use crate::value::ListRef;
use crate::value::list::End;

/// Pops elements of the first of these lists that there is; says whether there was one.
fn take_first(
    db: &mut Db<'_>,
    keys: &[Key<'_>],
    (side, count): (Side, Option<i64>),
    reply: &mut Reply,
) -> Result<bool> {
    let (end, most) = (End::from(side), most(count));
    for key in keys {
        let write = |reply: &mut Reply, list: ListRef<'_>, count| {
            reply.array(2);
            reply.bulk(key.bytes());
            reply_popped(reply, list, end, count);
        };
        if let Some(taken) = take(db, key, (end, most), reply, write)? {
            db.propagate(|| [command_of(end), key.bytes(), taken.to_string().as_bytes()].map(<[u8]>::to_vec));
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes elements from an end of the first of several lists that there is.
///
/// Returns the key, and up to COUNT elements or one. Returns null where there is no such list.
#[derive(Command)]
#[command(
    name = "LMPOP", group = List, since = "7.0.0", complexity = "O(N+M) where N is the number of provided keys and M is the number of elements returned.", arity = -4,
    flags(WRITE, MOVABLEKEYS),
    custom_parse, reply = "nullarray | array(bulk | array(bulk))",
)]
pub struct LMPop<'a> {
    #[key(RW, ACCESS, DELETE, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0)]
    key: Vec<Key<'a>>,
    r#where: Side,
    #[arg(token = "COUNT")]
    count: Option<i64>,
}

impl<'a> LMPop<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let MultiPop { numkeys, key, end, count } = MultiPop::parse(args)?;
        Ok(Self { numkeys, key, r#where: end, count })
    }
}

impl Write for LMPop<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        if !take_first(db, &self.key, (self.r#where, self.count), reply)? {
            reply.null_array();
        }
        Ok(())
    }
}

/// Removes elements from an end of the first of several lists that there is, or waits for one.
///
/// Returns as LMPOP, null when the time is over. A time of 0 seconds is for ever.
#[derive(Command)]
#[command(
    name = "BLMPOP", group = List, since = "7.0.0", complexity = "O(N+M) where N is the number of provided keys and M is the number of elements returned.", arity = -5,
    flags(WRITE, BLOCKING, MOVABLEKEYS),
    custom_parse, reply = "nullarray | array(bulk | array(bulk))",
)]
pub struct BLMPop<'a> {
    #[arg(kind = Double)]
    timeout: &'a [u8],
    #[key(RW, ACCESS, DELETE, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0)]
    key: Vec<Key<'a>>,
    r#where: Side,
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(hidden)]
    patience: Option<Duration>,
}

impl<'a> BLMPop<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let timeout = args.required()?;
        // What is wrong with the rest is told first.
        let MultiPop { numkeys, key, end, count } = MultiPop::parse(args)?;
        let patience = patience_of_seconds(timeout)?;
        Ok(Self { timeout, numkeys, key, r#where: end, count, patience })
    }
}

impl Block for BLMPop<'_> {
    const AWAITED: Option<&'static str> = Some("list");

    fn attempt(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<Attempt> {
        let is_done = take_first(db, &self.key, (self.r#where, self.count), reply)?;
        Ok(if is_done { Attempt::Done } else { Attempt::Wait })
    }

    fn patience(&self) -> Option<Duration> {
        self.patience
    }

    fn each_awaited(&self, visit: &mut dyn FnMut(&[u8])) {
        self.key.iter().for_each(|key| visit(key.bytes()));
    }
}
