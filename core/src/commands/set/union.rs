//! SUNION, SDIFF and their STORE: the members of several sets taken together, and those of the first that are in none of the others.
//!
//! **Two ways to a difference**, of which the server takes the cheaper, and so does this, since what is stored has the encoding that its way leads to:
//! look up each member of the first set in all others, O(first * sets); or put the first set's members into a set and take those of all
//! others out of it, O(members of all).

use std::ops::ControlFlow;

use hashbrown::HashSet;

use super::{builder, reply_member, set_of, store, until_full};
use crate::alloc;
use crate::command::{Command, Read, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::store::memory::OutOfMemory;
use crate::value::SetRef;
use crate::value::listpack::Element;

/// Returns the members of several sets taken together.
///
/// A key that does not exist is an empty set.
#[derive(Command)]
#[command(
    name = "SUNION", group = Set, since = "1.0.0", complexity = "O(N) where N is the total number of elements in all given sets.", arity = -2,
    flags(READONLY), tips("nondeterministic_output_order"),
    reply = "set(bulk)",
)]
pub struct SUnion<'a> {
    #[key(RO, ACCESS, last = -1)]
    key: Vec<Key<'a>>,
}

impl Read for SUnion<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let sets: Vec<SetRef<'_>> = sets_of(db, &self.key)?.into_iter().flatten().collect();
        match &sets[..] {
            [] => reply.set(0),
            [only] => reply_all(only, reply),
            _ if sets.iter().all(SetRef::is_ints) => reply_ints(&sets, reply)?,
            _ => reply_union(&sets, reply)?,
        }
        Ok(())
    }
}

/// Stores the members of several sets taken together.
///
/// Returns how many there are. Where there is none the destination goes.
#[derive(Command)]
#[command(
    name = "SUNIONSTORE", group = Set, since = "1.0.0", complexity = "O(N) where N is the total number of elements in all given sets.", arity = -3,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct SUnionStore<'a> {
    #[key(OW, UPDATE)]
    destination: Key<'a>,
    #[key(RO, ACCESS, last = -1)]
    #[arg(key_spec = 1)]
    key: Vec<Key<'a>>,
}

impl Write for SUnionStore<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let mut builder = builder(db);
        for set in sets_of(db, &self.key)?.iter().flatten() {
            try_each(set, |member| builder.add(member))?;
        }
        let built = builder.finish();
        store(db, &self.destination, built, "sunionstore", reply)
    }
}

/// Returns the members of a set that are in none of several others.
///
/// A key that does not exist is an empty set.
#[derive(Command)]
#[command(
    name = "SDIFF", group = Set, since = "1.0.0", complexity = "O(N) where N is the total number of elements in all given sets.", arity = -2,
    flags(READONLY), tips("nondeterministic_output_order"),
    reply = "set(bulk)",
)]
pub struct SDiff<'a> {
    #[key(RO, ACCESS, last = -1)]
    key: Vec<Key<'a>>,
}

impl Read for SDiff<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(Difference { first, others, by_removing }) = difference(db, &self.key)? else {
            reply.set(0);
            return Ok(());
        };
        let open = reply.open_set();
        let mut count = 0;
        let mut write = |member| {
            reply_member(reply, member);
            count += 1;
            until_full(reply)
        };
        let _ =
            if by_removing {
                let mut left = HashSet::new();
                left.try_reserve(first.len()).map_err(|_| Error::no_memory())?;
                first.each(|member| {
                    left.insert(member);
                });
                let _ = others.iter().try_for_each(|other| {
                    other.each(|member| {
                        left.remove(&member);
                    });
                    if left.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
                first.each_until(|member| {
                    if left.contains(&member) { write(member) } else { ControlFlow::Continue(()) }
                })
            } else {
                first.each_until(|member| {
                    if is_in_none(&others, member) { write(member) } else { ControlFlow::Continue(()) }
                })
            };
        reply.close(open, count);
        Ok(())
    }
}

/// Stores the members of a set that are in none of several others.
///
/// Returns how many there are. Where there is none the destination goes.
#[derive(Command)]
#[command(
    name = "SDIFFSTORE", group = Set, since = "1.0.0", complexity = "O(N) where N is the total number of elements in all given sets.", arity = -3,
    flags(WRITE, DENYOOM),
    reply = "int",
)]
pub struct SDiffStore<'a> {
    #[key(OW, UPDATE)]
    destination: Key<'a>,
    #[key(RO, ACCESS, last = -1)]
    #[arg(key_spec = 1)]
    key: Vec<Key<'a>>,
}

impl Write for SDiffStore<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let mut built = None;
        if let Some(Difference { first, others, by_removing }) = difference(db, &self.key)? {
            let mut builder = builder(db);
            try_each(&first, |member| {
                if by_removing || is_in_none(&others, member) { builder.add(member) } else { Ok(()) }
            })?;
            for other in others.iter().filter(|_| by_removing) {
                if builder.len() == 0 {
                    break;
                }
                try_each(other, |member| builder.remove(member))?;
            }
            built = builder.finish();
        }
        store(db, &self.destination, built, "sdiffstore", reply)
    }
}

/// The sets of these keys, in their order.
fn sets_of<'d>(db: &'d Db<'_>, keys: &[Key<'_>]) -> Result<Vec<Option<SetRef<'d>>>> {
    let mut sets = alloc::with_room_for(keys.len())?;
    for key in keys {
        sets.push(set_of(db, key)?);
    }
    Ok(sets)
}

/// Visits members until one can't be dealt with.
fn try_each<'d>(
    set: &SetRef<'d>,
    mut visit: impl FnMut(Element<'d>) -> Result<(), OutOfMemory>,
) -> Result<(), OutOfMemory> {
    let mut visited = Ok(());
    let _ = set.each_until(|member| {
        visited = visit(member);
        if visited.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    visited
}

fn reply_all(set: &SetRef<'_>, reply: &mut Reply) {
    reply.set(set.len());
    let _ = set.each_until(|member| {
        reply_member(reply, member);
        until_full(reply)
    });
}

/// Sets of integers give their union in ascending order.
fn reply_ints(sets: &[SetRef<'_>], reply: &mut Reply) -> Result<()> {
    let mut all = alloc::with_room_for(sets.iter().map(SetRef::len).sum())?;
    for set in sets {
        set.each(|member| {
            if let Element::Int(integer) = member {
                all.push(integer);
            }
        });
    }
    all.sort_unstable();
    all.dedup();
    reply.set(all.len());
    all.into_iter().for_each(|integer| reply.bulk_integer(integer));
    Ok(())
}

fn reply_union(sets: &[SetRef<'_>], reply: &mut Reply) -> Result<()> {
    let open = reply.open_set();
    let (mut seen, mut has_memory) = (HashSet::new(), true);
    let _ = sets.iter().try_for_each(|set| {
        set.each_until(|member| {
            has_memory = seen.try_reserve(1).is_ok();
            if !has_memory {
                return ControlFlow::Break(());
            }
            if seen.insert(member) {
                reply_member(reply, member);
            }
            until_full(reply)
        })
    });
    reply.close(open, seen.len());
    if has_memory { Ok(()) } else { Err(Error::no_memory()) }
}

/// A difference to be made.
struct Difference<'d> {
    first: SetRef<'d>,
    others: Vec<SetRef<'d>>,
    /// By the second way.
    by_removing: bool,
}

/// What a difference is made of; `None` if nothing can be left: there is no first set, or it is taken from itself.
fn difference<'d>(db: &'d Db<'_>, keys: &[Key<'_>]) -> Result<Option<Difference<'d>>> {
    let sets = sets_of(db, keys)?;
    let is_from_itself = keys[1..].iter().any(|key| key.bytes() == keys[0].bytes());
    let Some(first) = sets[0].filter(|_| !is_from_itself) else { return Ok(None) };
    let is_there = sets.iter().flatten();
    // Looking up is given an advantage of two.
    let (looking_up, removing) =
        (first.len() * is_there.clone().count() / 2, is_there.map(SetRef::len).sum::<usize>());
    let mut others: Vec<SetRef<'_>> = sets.into_iter().skip(1).flatten().collect();
    let by_removing = looking_up > removing;
    if !by_removing {
        // Large ones first: they are the likeliest to have a member.
        others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    }
    Ok(Some(Difference { first, others, by_removing }))
}

fn is_in_none(sets: &[SetRef<'_>], member: Element<'_>) -> bool {
    !sets.iter().any(|set| set.contains(member))
}
