//! SINTER, SINTERCARD and SINTERSTORE: what several sets have in common.
//!
//! The smallest set is walked, and its members are looked up in the others: O(smallest * sets).

use std::ops::ControlFlow;

use super::{builder, reply_member, set_of, store, until_full};
use crate::alloc;
use crate::command::spec::FindKeys;
use crate::command::{Args, Command, Read, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::SetRef;
use crate::value::listpack::Element;

/// Returns the members that several sets have in common.
///
/// A key that does not exist is an empty set.
#[derive(Command)]
#[command(
    name = "SINTER", group = Set, since = "1.0.0", complexity = "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", arity = -2,
    flags(READONLY), tips("nondeterministic_output_order"),
    reply = "set(bulk)",
)]
pub struct SInter<'a> {
    #[key(RO, ACCESS, last = -1)]
    key: Vec<Key<'a>>,
}

impl Read for SInter<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(sets) = sets_of(db, &self.key)? else {
            reply.set(0);
            return Ok(());
        };
        let open = reply.open_set();
        let mut count = 0;
        each_common(&sets, |member| {
            reply_member(reply, member);
            count += 1;
            until_full(reply)
        });
        reply.close(open, count);
        Ok(())
    }
}

/// Returns how many members several sets have in common.
///
/// With LIMIT it stops counting there; 0 is no limit. A key that does not exist is an empty set.
#[derive(Command)]
#[command(
    name = "SINTERCARD", group = Set, since = "7.0.0", complexity = "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", arity = -3,
    flags(READONLY, MOVABLEKEYS),
    custom_parse, reply = "int",
)]
pub struct SInterCard<'a> {
    #[key(RO, ACCESS, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0)]
    key: Vec<Key<'a>>,
    #[arg(token = "LIMIT")]
    limit: Option<i64>,
}

impl<'a> SInterCard<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let numkeys = num::parse_i64(args.required()?).filter(|count| *count > 0);
        let numkeys = numkeys.ok_or_else(|| Error::command("numkeys should be greater than 0"))?;
        let keys = usize::try_from(numkeys).ok().filter(|count| *count <= args.remaining());
        let keys =
            keys.ok_or_else(|| Error::command("Number of keys can't be greater than number of args"))?;
        let key = alloc::collected(args.take(keys).iter().map(|bytes| args.key(bytes)))?;
        let mut limit = None;
        while args.remaining() > 0 {
            if !args.skip_token("LIMIT") {
                return Err(Error::syntax());
            }
            let given = num::parse_i64(args.value()?).filter(|limit| *limit >= 0);
            limit = Some(given.ok_or_else(|| Error::command("LIMIT can't be negative"))?);
        }
        Ok(Self { numkeys, key, limit })
    }
}

impl Read for SInterCard<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let limit = usize::try_from(self.limit.unwrap_or(0)).unwrap_or(usize::MAX);
        let mut count = 0;
        if let Some(sets) = sets_of(db, &self.key)? {
            each_common(&sets, |_| {
                count += 1;
                if count == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
        }
        reply.count(count);
        Ok(())
    }
}

/// Stores the members that several sets have in common.
///
/// Returns how many there are. Where there is none the destination goes.
#[derive(Command)]
#[command(
    name = "SINTERSTORE", group = Set, since = "1.0.0", complexity = "O(N*M) worst case where N is the cardinality of the smallest set and M is the number of sets.", arity = -3,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct SInterStore<'a> {
    #[key(OW, UPDATE)]
    destination: Key<'a>,
    #[key(RO, ACCESS, last = -1)]
    #[arg(key_spec = 1)]
    key: Vec<Key<'a>>,
}

impl Write for SInterStore<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let mut built = None;
        if let Some(sets) = sets_of(db, &self.key)? {
            // As in the server: a listpack, unless the smallest set is an intset or the result can be one.
            let mut builder = builder(db);
            if !sets[0].is_ints() {
                builder = builder.packed();
            }
            let mut added = Ok(());
            each_common(&sets, |member| {
                added = builder.add(member);
                if added.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            added?;
            builder.pack_ints();
            built = builder.finish();
        }
        store(db, &self.destination, built, "sinterstore", reply)
    }
}

/// The sets of these keys, the smallest first; `None` if one does not exist.
fn sets_of<'d>(db: &'d Db<'_>, keys: &[Key<'_>]) -> Result<Option<Vec<SetRef<'d>>>> {
    let (mut sets, mut is_empty) = (alloc::with_room_for(keys.len())?, false);
    for key in keys {
        match set_of(db, key)? {
            Some(set) => sets.push(set),
            None => is_empty = true,
        }
    }
    sets.sort_by_key(SetRef::len);
    Ok((!is_empty).then_some(sets))
}

/// Visits the members that sets have in common, of which the first is the smallest, until `visit` breaks.
fn each_common<'d>(sets: &[SetRef<'d>], mut visit: impl FnMut(Element<'d>) -> ControlFlow<()>) {
    let Some((smallest, others)) = sets.split_first() else { return };
    let _ = smallest.each_until(|member| {
        if others.iter().all(|set| set.contains(member)) { visit(member) } else { ControlFlow::Continue(()) }
    });
}
