//! SCARD, SISMEMBER, SMISMEMBER and SMEMBERS.

use super::{reply_member, set_of};
use crate::command::{Command, Read, Reply};
use crate::error::Result;
use crate::keyspace::{Db, Key};

/// Returns the number of members of a set.
///
/// Returns 0 where there is no such set.
#[derive(Command)]
#[command(
    name = "SCARD", group = Set, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct SCard<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for SCard<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.count(set_of(db, &self.key)?.map_or(0, |set| set.len()));
        Ok(())
    }
}

/// Tells whether something is a member of a set.
///
/// Returns 1 if it is, 0 if it is not or there is no such set.
#[derive(Command)]
#[command(
    name = "SISMEMBER", group = Set, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct SIsMember<'a> {
    #[key(RO)]
    key: Key<'a>,
    member: &'a [u8],
}

impl Read for SIsMember<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(set_of(db, &self.key)?.is_some_and(|set| set.has(self.member)).into());
        Ok(())
    }
}

/// Tells of several things whether they are members of a set.
///
/// Returns 1 or 0 for each, in their order.
#[derive(Command)]
#[command(
    name = "SMISMEMBER", group = Set, since = "6.2.0", complexity = "O(N) where N is the number of elements being checked for membership", arity = -3,
    flags(READONLY, FAST),
    reply = "array(int)",
)]
pub struct SMIsMember<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    member: Vec<&'a [u8]>,
}

impl Read for SMIsMember<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let set = set_of(db, &self.key)?;
        reply.array(self.member.len());
        for member in &self.member {
            reply.integer(set.is_some_and(|set| set.has(member)).into());
        }
        Ok(())
    }
}

/// Returns all members of a set.
///
/// Returns an empty set where there is no such key.
#[derive(Command)]
#[command(
    name = "SMEMBERS", group = Set, since = "1.0.0", complexity = "O(N) where N is the set cardinality.", arity = 2,
    flags(READONLY), tips("nondeterministic_output_order"),
    reply = "set(bulk)",
)]
pub struct SMembers<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
}

impl Read for SMembers<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(set) = set_of(db, &self.key)? else {
            reply.set(0);
            return Ok(());
        };
        reply.set(set.len());
        let _ = set.each_until(|member| {
            reply_member(reply, member);
            super::until_full(reply)
        });
        Ok(())
    }
}
