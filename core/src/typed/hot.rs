//! The hot commands in their plainest form, recognized in their words and run as typed calls: the short way of sessions, whatever face they serve.
//!
//! [`Call`] names them. What has other words, or would end in another way than with the plain reply, is left to [`crate::command::run`].
//!
//! A command that is run here counts as any other, but only one in 256 is timed, by going the long way, since reading the clock twice takes as long as a GET:
//! see [`crate::stats`].

mod call;

use std::time::Duration;

use super::Typed;
use super::edits::{AddEntry, AddMember, Pop, PopScore, Push, RemoveMember, SetScore};
use crate::clients::SessionState;
use crate::command::Reply;
use crate::command::reply::BulkSink;
use crate::commands::LIST;
use crate::commands::zset::pop::End as Extreme;
use crate::error::{Error, Result};
use crate::keyspace::Key;
use crate::keyspace::edits::{Edit, edit_at_once};
use crate::keyspace::read::{read_field_unlocked, read_if_unlocked, send_text};
use crate::local::Local;
use crate::stats::CommandCounters;
use crate::store::memory::words::Scratch;
use crate::value::list::End;
use crate::value::listpack::Element;
pub use call::Call;
use call::{CollectionCall, are_short};

/// The names of the hot commands and their numbers in the command table.
struct Numbers {
    get: usize,
    set: usize,
    hget: usize,
    hset: usize,
    incr: usize,
    incrby: usize,
    del: usize,
    exists: usize,
    expire: usize,
    lpush: usize,
    rpush: usize,
    lpop: usize,
    rpop: usize,
    sadd: usize,
    srem: usize,
    zadd: usize,
    xadd: usize,
    zpopmin: usize,
    zpopmax: usize,
}

/// Found at compile time: a command that is not in the list is an error there.
static NUMBERS: Numbers = Numbers {
    get: number_of("get"),
    set: number_of("set"),
    hget: number_of("hget"),
    hset: number_of("hset"),
    incr: number_of("incr"),
    incrby: number_of("incrby"),
    del: number_of("del"),
    exists: number_of("exists"),
    expire: number_of("expire"),
    lpush: number_of("lpush"),
    rpush: number_of("rpush"),
    lpop: number_of("lpop"),
    rpop: number_of("rpop"),
    sadd: number_of("sadd"),
    srem: number_of("srem"),
    zadd: number_of("zadd"),
    xadd: number_of("xadd"),
    zpopmin: number_of("zpopmin"),
    zpopmax: number_of("zpopmax"),
};

/// The number of a command in the order of the list, subcommands included.
const fn number_of(name: &str) -> usize {
    let (mut at, mut number) = (0, 0);
    while at < LIST.len() {
        if equal(LIST[at].command.spec.name.as_bytes(), name.as_bytes()) {
            return number;
        }
        number += 1 + LIST[at].subcommands.len();
        at += 1;
    }
    panic!("the list has no such command")
}

const fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Executes a command if it is a hot one and nothing about the session, the options or the key asks for the long way. Says whether it did.
#[inline(always)]
pub(crate) fn execute(client: &impl InSession, words: &[&[u8]], reply: &mut Reply) -> bool {
    if !client.state().is_plain() || client.local().measures_all() {
        return false;
    }
    Execution { client, reply }.run(words) == Some(true)
}

/// What runs typed calls for a session.
pub(crate) trait InSession: Typed {
    /// The session.
    fn state(&self) -> &SessionState;
}

/// Each method runs a command, writes its reply and says whether it could; the long way knows otherwise. Two pointers, which are handed on in
/// registers.
struct Execution<'r, C> {
    client: &'r C,
    reply: &'r mut Reply,
}

/// Runs and counts a command: `$run` is an `Option<Result<()>>`, whose `None` leaves it to the long way. A macro and no function: the code has to
/// stand in one piece, and the compiler makes calls of closures.
macro_rules! counted {
    ($execution:expr, $number:expr, |$client:ident, $reply:ident| $run:expr) => {{
        let Execution { client: $client, reply: $reply } = $execution;
        let counters = $client.state().counters(&$client.local().stats).of($number);
        if counters.is_due() {
            // The long way times it.
            return false;
        }
        #[cfg(debug_assertions)]
        let start = $reply.len();
        let result: Option<Result<()>> = $run;
        match result {
            None => return false,
            Some(Ok(())) => {
                #[cfg(debug_assertions)]
                check_shape($number, $reply, start);
            }
            Some(Err(error)) => failed($client.local(), counters, &error, $reply),
        }
        counters.called_untimed();
        $client.state().executed($number, $client.local().keyspace.clock.coarse_ms());
        true
    }};
}

/// As [`counted`], for a command that writes; `$run` is a `Result<()>`.
macro_rules! written {
    ($execution:expr, $number:expr, |$client:ident, $reply:ident| $run:expr) => {{
        if !$execution.client.local().takes_writes() {
            return false;
        }
        counted!($execution, $number, |$client, $reply| Some($run))
    }};
}

#[cold]
#[inline(never)]
fn failed(local: &Local, counters: &CommandCounters, error: &Error, reply: &mut Reply) {
    counters.failed();
    local.stats.count_error(error);
    reply.error(error);
}

#[cfg(debug_assertions)]
fn check_shape(number: usize, reply: &Reply, start: usize) {
    let spec = crate::commands::table::all()[number].spec;
    crate::command::shape::check(spec, &reply.as_bytes()[start..], reply.form());
}

impl<C: InSession> Execution<'_, C> {
    /// Runs a hot command in its plainest form. `None`: another command, or another form.
    #[inline(always)]
    fn run(self, words: &[&[u8]]) -> Option<bool> {
        let Some(call) = Call::of(words) else { return self.run_on_collection(words) };
        Some(match call {
            Call::Get(key) => self.get(key),
            Call::Set(key, value) => self.set(key, value),
            Call::SetFor(key, value, ttl_ms) => self.set_for(key, value, ttl_ms),
            Call::HGet(key, field) => self.hget(key, field),
            Call::HSet(key, field, value) => self.hset(key, field, value),
            Call::Incr(key) => self.incr(key),
            Call::IncrBy(key, by) => self.incr_by(key, by),
            Call::Del(key) => self.del(key),
            Call::Exists(key) => self.exists(key),
            Call::Expire(key, ttl) => self.expire(key, ttl),
        })
    }

    #[inline(never)]
    fn run_on_collection(self, words: &[&[u8]]) -> Option<bool> {
        let call = CollectionCall::of(words)?;
        let local = self.client.local();
        let options = local.keyspace.config.hot();
        if !local.takes_writes() || self.client.backend().is_some() {
            return None;
        }
        let yes_or_no = |reply: &mut Reply, is_so: bool| reply.integer(is_so.into());
        Some(match call {
            CollectionCall::Push(end, key, element) => {
                let number = if end == End::Left { NUMBERS.lpush } else { NUMBERS.rpush };
                self.edit(number, key, Push::new(end, element, options), Reply::count)
            }
            CollectionCall::Pop(end, key) => {
                let number = if end == End::Left { NUMBERS.lpop } else { NUMBERS.rpop };
                self.edit(number, key, Pop::new(end), |reply, taken| match taken {
                    Some(taken) => taken.write_to(reply),
                    None => reply.null(),
                })
            }
            CollectionCall::ZPop(end, key) => {
                let number = if end == Extreme::Min { NUMBERS.zpopmin } else { NUMBERS.zpopmax };
                self.edit(number, key, PopScore::new(end), |reply, taken| match taken {
                    Some((member, score)) => {
                        reply.array(2);
                        member.write_to(reply);
                        reply.double(score);
                    }
                    None => reply.array(0),
                })
            }
            CollectionCall::SAdd(key, member) => {
                self.edit(NUMBERS.sadd, key, AddMember::new(member, options), yes_or_no)
            }
            CollectionCall::SRem(key, member) => {
                self.edit(NUMBERS.srem, key, RemoveMember::new(member), yes_or_no)
            }
            CollectionCall::ZAdd(key, member, (text, score)) => {
                self.edit(NUMBERS.zadd, key, SetScore::new(member, text, score, options), yes_or_no)
            }
            CollectionCall::XAdd(key, fields) => {
                self.edit(NUMBERS.xadd, key, AddEntry::new(fields, &local.keyspace), |reply, id| {
                    reply.bulk(&id.text())
                })
            }
        })
    }

    /// Edits a collection.
    #[inline]
    fn edit<const FRONT: usize, E: Edit<FRONT>>(
        self,
        number: usize,
        key: &[u8],
        mut edit: E,
        write: impl FnOnce(&mut Reply, E::Done),
    ) -> bool {
        counted!(self, number, |client, reply| {
            let (local, key) = (client.local(), client.key(key));
            local.ensure_background();
            let edited = edit_at_once(&local.keyspace, client.origin(), &key, &mut edit).transpose();
            edited.map(|done| done.map(|done| write(reply, done)))
        })
    }

    #[inline(always)]
    fn get(self, key: &[u8]) -> bool {
        counted!(self, NUMBERS.get, |client, reply| {
            let key = client.key(key);
            let start = reply.len();
            match send_text(&client.local().keyspace, client.db(), &key, BulkSink(reply)) {
                Some(()) => Some(Ok(())),
                None => {
                    reply.truncate(start);
                    get_otherwise(client, &key, reply)
                }
            }
        })
    }

    #[inline(always)]
    fn set(self, key: &[u8], value: &[u8]) -> bool {
        counted!(self, NUMBERS.set, |client, reply| match client.put_at_once(key, value) {
            Ok(()) => {
                reply.ok();
                Some(Ok(()))
            }
            Err(hash) => set_otherwise(client, key, hash, value, None, reply),
        })
    }

    #[inline(never)]
    fn set_for(self, key: &[u8], value: &[u8], ttl_ms: u64) -> bool {
        counted!(self, NUMBERS.set, |client, reply| match client.put_for_at_once(key, value, ttl_ms) {
            Ok(()) => {
                reply.ok();
                Some(Ok(()))
            }
            Err(hash) => set_otherwise(client, key, hash, value, Some(ttl_ms), reply),
        })
    }

    #[inline(always)]
    fn hget(self, key: &[u8], field: &[u8]) -> bool {
        counted!(self, NUMBERS.hget, |client, reply| {
            let (keyspace, key) = (&client.local().keyspace, client.key(key));
            let mut scratch = Scratch::new();
            let value = match read_field_unlocked(keyspace, client.db(), &key, field, &mut scratch) {
                Some(value) => value,
                None => return false,
            };
            match value {
                Some(Element::Bytes(value)) => reply.bulk(value),
                Some(Element::Int(value)) => reply.bulk_integer(value),
                None => reply.null(),
            }
            Some(Ok(()))
        })
    }

    #[inline(never)]
    fn hset(self, key: &[u8], field: &[u8], value: &[u8]) -> bool {
        written!(self, NUMBERS.hset, |client, reply| {
            client.hset(key, field, value).map(|created| reply.integer(created.into()))
        })
    }

    #[inline(always)]
    fn incr(self, key: &[u8]) -> bool {
        counted!(self, NUMBERS.incr, |client, reply| match client.incr_at_once(key, 1) {
            Some(sum) => {
                reply.integer(sum);
                Some(Ok(()))
            }
            None => incr_otherwise(client, key, 1, reply),
        })
    }

    #[inline(never)]
    fn incr_by(self, key: &[u8], by: i64) -> bool {
        counted!(self, NUMBERS.incrby, |client, reply| match client.incr_at_once(key, by) {
            Some(sum) => {
                reply.integer(sum);
                Some(Ok(()))
            }
            None => incr_otherwise(client, key, by, reply),
        })
    }

    #[inline(never)]
    fn del(self, key: &[u8]) -> bool {
        written!(self, NUMBERS.del, |client, reply| {
            client.delete(key).map(|existed| reply.integer(existed.into()))
        })
    }

    #[inline(never)]
    fn exists(self, key: &[u8]) -> bool {
        counted!(self, NUMBERS.exists, |client, reply| {
            let (keyspace, key) = (&client.local().keyspace, client.key(key));
            let exists = read_if_unlocked(keyspace, client.db(), &key, |seen| Some(seen.is_some()));
            exists.map(|exists| {
                reply.integer(exists.into());
                Ok(())
            })
        })
    }

    #[inline(never)]
    fn expire(self, key: &[u8], ttl: Duration) -> bool {
        written!(self, NUMBERS.expire, |client, reply| {
            client.expire(key, ttl).map(|exists| reply.integer(exists.into()))
        })
    }
}

/// GET of what is no short text, or not there.
#[inline(never)]
fn get_otherwise(typed: &impl Typed, key: &Key<'_>, reply: &mut Reply) -> Option<Result<()>> {
    if !are_short(&[key.bytes()]) {
        return None;
    }
    read_if_unlocked(&typed.local().keyspace, typed.db(), key, |seen| {
        match seen {
            Some(seen) => reply.bulk(&seen.value.text().ok()?),
            None => reply.null(),
        }
        Some(Ok(()))
    })
}

/// SET that could not be done at once.
#[inline(never)]
fn set_otherwise(
    typed: &impl Typed,
    key: &[u8],
    hash: u64,
    value: &[u8],
    ttl_ms: Option<u64>,
    reply: &mut Reply,
) -> Option<Result<()>> {
    let is_hot = are_short(&[key]) && typed.local().takes_writes();
    is_hot.then(|| typed.put_otherwise(key, hash, value, ttl_ms).map(|()| reply.ok()))
}

/// INCR and INCRBY that could not be done at once.
#[inline(never)]
fn incr_otherwise(typed: &impl Typed, key: &[u8], by: i64, reply: &mut Reply) -> Option<Result<()>> {
    let is_hot = are_short(&[key]) && typed.local().takes_writes();
    is_hot.then(|| typed.incr_otherwise(key, by).map(|sum| reply.integer(sum)))
}

#[cfg(test)]
mod tests;
