//! The hot commands by their words: what sessions run the short way, and what bindings run as typed calls of their own.
//!
//! Nothing else names them. Which session may take a short way is [`super`]'s to say.

use std::time::Duration;

use crate::commands::zset::pop::End as Extreme;
use crate::num;
use crate::value::list::End;

/// A hot command in its plainest form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'w> {
    /// GET.
    Get(&'w [u8]),
    /// SET of a key that is not to expire.
    Set(&'w [u8], &'w [u8]),
    /// SET with EX or PX: milliseconds, from 1 to 2^50.
    SetFor(&'w [u8], &'w [u8], u64),
    /// HGET.
    HGet(&'w [u8], &'w [u8]),
    /// HSET of one field.
    HSet(&'w [u8], &'w [u8], &'w [u8]),
    /// INCR.
    Incr(&'w [u8]),
    /// INCRBY.
    IncrBy(&'w [u8], i64),
    /// DEL of one key.
    Del(&'w [u8]),
    /// EXISTS of one key.
    Exists(&'w [u8]),
    /// EXPIRE, in seconds above 0.
    Expire(&'w [u8], Duration),
}

/// A hot command on a collection, in its plainest form. Sessions run them the short way; for bindings they are as any other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum CollectionCall<'a, 'w> {
    /// LPUSH and RPUSH of one element.
    Push(End, &'w [u8], &'w [u8]),
    /// LPOP and RPOP of one element.
    Pop(End, &'w [u8]),
    /// ZPOPMIN and ZPOPMAX of one member.
    ZPop(Extreme, &'w [u8]),
    /// SADD of one member.
    SAdd(&'w [u8], &'w [u8]),
    /// SREM of one member.
    SRem(&'w [u8], &'w [u8]),
    /// ZADD of one member without options: key, member, and the score as a text and a number.
    ZAdd(&'w [u8], &'w [u8], (&'w [u8], f64)),
    /// XADD of an ID of the time, without options: key, and fields and values in turn.
    XAdd(&'w [u8], &'a [&'w [u8]]),
}

impl<'a, 'w> CollectionCall<'a, 'w> {
    /// Recognizes such a command, the name in any case of letters. `None`: another command, or another form.
    #[inline]
    pub(super) fn of(words: &'a [&'w [u8]]) -> Option<Self> {
        let call = match *words {
            [name, key] => match folded(name) {
                LPOP => Self::Pop(End::Left, key),
                RPOP => Self::Pop(End::Right, key),
                ZPOPMIN => Self::ZPop(Extreme::Min, key),
                ZPOPMAX => Self::ZPop(Extreme::Max, key),
                _ => return None,
            },
            [name, key, word] => match folded(name) {
                LPUSH => Self::Push(End::Left, key, word),
                RPUSH => Self::Push(End::Right, key, word),
                SADD => Self::SAdd(key, word),
                SREM => Self::SRem(key, word),
                _ => return None,
            },
            [name, key, score, member] if folded(name) == ZADD => {
                Self::ZAdd(key, member, (score, num::parse_f64(score)?))
            }
            [name, key, b"*", ref fields @ ..] if folded(name) == XADD && is_in_pairs(fields) => {
                Self::XAdd(key, fields)
            }
            _ => return None,
        };
        are_short(words).then_some(call)
    }
}

fn is_in_pairs(words: &[&[u8]]) -> bool {
    !words.is_empty() && words.len().is_multiple_of(2)
}

/// A name of three to seven letters in one number, small and capital letters alike; 0 for others.
#[inline(always)]
const fn folded(name: &[u8]) -> u64 {
    const CASE: u64 = u64::from_le_bytes([0x20; 8]);
    let word = match name {
        [a, b, c] => u64::from_le_bytes([*a, *b, *c, 0, 0, 0, 0, 3]),
        [a, b, c, d] => u64::from_le_bytes([*a, *b, *c, *d, 0, 0, 0, 4]),
        [a, b, c, d, e] => u64::from_le_bytes([*a, *b, *c, *d, *e, 0, 0, 5]),
        [a, b, c, d, e, f] => u64::from_le_bytes([*a, *b, *c, *d, *e, *f, 0, 6]),
        [a, b, c, d, e, f, g] => u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, 7]),
        _ => return 0,
    };
    word | CASE
}

const GET: u64 = folded(b"get");
const SET: u64 = folded(b"set");
const DEL: u64 = folded(b"del");
const HGET: u64 = folded(b"hget");
const HSET: u64 = folded(b"hset");
const INCR: u64 = folded(b"incr");
const INCRBY: u64 = folded(b"incrby");
const EXISTS: u64 = folded(b"exists");
const EXPIRE: u64 = folded(b"expire");
const LPUSH: u64 = folded(b"lpush");
const RPUSH: u64 = folded(b"rpush");
const LPOP: u64 = folded(b"lpop");
const RPOP: u64 = folded(b"rpop");
const ZPOPMIN: u64 = folded(b"zpopmin");
const ZPOPMAX: u64 = folded(b"zpopmax");
const SADD: u64 = folded(b"sadd");
const SREM: u64 = folded(b"srem");
const ZADD: u64 = folded(b"zadd");
const XADD: u64 = folded(b"xadd");

/// Words longer than this are not hot: time and memory go to the word, which has limits of its own, and logs of large requests may want it.
const LONGEST: usize = 32 * 1024;

pub(super) fn are_short(words: &[&[u8]]) -> bool {
    words.iter().all(|word| word.len() <= LONGEST)
}

/// Seconds that a typed call takes as they are; all else is for the command to judge.
const MOST_SECONDS: i64 = 1 << 40;

/// A whole number of seconds above 0.
fn positive(word: &[u8]) -> Option<u64> {
    num::parse_i64(word).filter(|seconds| (1..MOST_SECONDS).contains(seconds)).map(|seconds| seconds as u64)
}

/// A time to live in milliseconds.
#[inline(never)]
fn time_to_live(unit: &[u8], time: &[u8]) -> Option<u64> {
    let time = positive(time)?;
    match unit {
        [b'E' | b'e', b'X' | b'x'] => Some(time * 1000),
        [b'P' | b'p', b'X' | b'x'] => Some(time),
        _ => None,
    }
}

impl<'w> Call<'w> {
    /// Recognizes a hot command, the name in any case of letters. `None`: another command, or another form. What is asked for most comes first, and its key
    /// may be of any length: what can be done at once has a short one.
    #[inline(always)]
    pub fn of(words: &[&'w [u8]]) -> Option<Self> {
        Some(match *words {
            [name, key] => match *name {
                [_, _, _] if folded(name) == GET => Call::Get(key),
                [_, _, _, _] if folded(name) == INCR => Call::Incr(key),
                _ if !are_short(&[key]) => return None,
                _ => match folded(name) {
                    DEL => Call::Del(key),
                    EXISTS => Call::Exists(key),
                    _ => return None,
                },
            },
            [name, key, word] => match *name {
                _ if word.len() > LONGEST => return None,
                [_, _, _] if folded(name) == SET => Call::Set(key, word),
                [_, _, _, _] if folded(name) == HGET => Call::HGet(key, word),
                _ if !are_short(&[key]) => return None,
                _ => match folded(name) {
                    INCRBY => Call::IncrBy(key, num::parse_i64(word)?),
                    EXPIRE => Call::Expire(key, Duration::from_secs(positive(word)?)),
                    _ => return None,
                },
            },
            [name, key, field, value] if folded(name) == HSET && are_short(&[key, field, value]) => {
                Call::HSet(key, field, value)
            }
            [name, key, value, unit, time] if folded(name) == SET && are_short(&[key, value, time]) => {
                Call::SetFor(key, value, time_to_live(unit, time)?)
            }
            _ => return None,
        })
    }

    /// Its key.
    #[inline]
    pub fn key(&self) -> &'w [u8] {
        match *self {
            Call::Get(key)
            | Call::Set(key, _)
            | Call::SetFor(key, ..)
            | Call::HGet(key, _)
            | Call::HSet(key, ..)
            | Call::Incr(key)
            | Call::IncrBy(key, _)
            | Call::Del(key)
            | Call::Exists(key)
            | Call::Expire(key, _) => key,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<'w>(words: &[&'w str]) -> Option<Call<'w>> {
        Call::of(&words.iter().map(|word| word.as_bytes()).collect::<Vec<_>>())
    }

    #[test]
    fn plain_forms_are_recognized_and_no_others() {
        let second = Duration::from_secs(1);
        let hot = [
            (of(&["get", "k"]), Call::Get(b"k")),
            (of(&["SET", "k", "v"]), Call::Set(b"k", b"v")),
            (of(&["Set", "k", "v", "ex", "2"]), Call::SetFor(b"k", b"v", 2000)),
            (of(&["SET", "k", "v", "PX", "2"]), Call::SetFor(b"k", b"v", 2)),
            (of(&["HGET", "k", "f"]), Call::HGet(b"k", b"f")),
            (of(&["HSET", "k", "f", "v"]), Call::HSet(b"k", b"f", b"v")),
            (of(&["iNCR", "k"]), Call::Incr(b"k")),
            (of(&["INCRBY", "k", "-5"]), Call::IncrBy(b"k", -5)),
            (of(&["DEL", "k"]), Call::Del(b"k")),
            (of(&["exists", "k"]), Call::Exists(b"k")),
            (of(&["EXPIRE", "k", "1"]), Call::Expire(b"k", second)),
        ];
        for (found, expected) in hot {
            assert_eq!((found, found.map(|call| call.key())), (Some(expected), Some(&b"k"[..])));
        }
        let long = "x".repeat(LONGEST + 1);
        let others: [&[&str]; 15] = [
            &[],
            &["GET"],
            &["GET", "k", "l"],
            &["DEL", "k", "l"],
            &["GEX", "k"],
            &["HGE\0", "k", "f"],
            &["SET", "k", "v", "NX"],
            &["SET", "k", "v", "EX", "0"],
            &["SET", "k", "v", "EX", "1.5"],
            &["SET", "k", "v", "XX", "1"],
            &["INCRBY", "k", "+5"],
            &["EXPIRE", "k", "-1"],
            &["SET", "k", &long],
            &["DEL", &long],
            &["HSET", "k", "f", &long],
        ];
        others.iter().for_each(|words| assert_eq!(of(words), None, "{words:?}"));
    }
}
