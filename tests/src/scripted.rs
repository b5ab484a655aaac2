//! Has scripts and functions make a call that would be made by itself: what it does and replies must be the server's there, too.

use crate::rng::Rng;

/// What both servers know before calls are made: functions that make the call of their arguments.
pub const LIBRARY: &str = "#!lua name=calls
local function call(keys, args) return redis.call(unpack(args)) end
local function try(keys, args) return redis.pcall(unpack(args)) end
server.register_function('call', call)
server.register_function('try', try)
server.register_function{ function_name = 'look', callback = call, flags = { 'no-writes' } }";

/// The command that loads it.
pub fn load() -> Vec<Vec<u8>> {
    [&b"FUNCTION"[..], b"LOAD", b"REPLACE", LIBRARY.as_bytes()].map(<[u8]>::to_vec).to_vec()
}

/// Scripts whose reply is that of the call, whatever that is.
const SAME: &[&str] = &[
    "return redis.call(unpack(ARGV))",
    "return redis.pcall(unpack(ARGV))",
    "return server.call(ARGV[1], unpack(ARGV, 2))",
    "local reply = redis.pcall(unpack(ARGV)) collectgarbage('step') return reply",
    "#!lua flags=allow-oom\nreturn redis.call(unpack(ARGV))",
    "local run = coroutine.wrap(function() return redis.call(unpack(ARGV)) end) return run()",
];

/// Scripts that reply otherwise: for calls whose replies are compared as they are.
const OTHER: &[&str] = &[
    "local reply = redis.pcall(unpack(ARGV)) return { type(reply), reply }",
    "redis.setresp(3) return redis.call(unpack(ARGV))",
    "redis.setresp(3) local reply = redis.pcall(unpack(ARGV)) return type(reply)",
    "local first = redis.pcall(unpack(ARGV)) return { first, redis.pcall(unpack(ARGV)) }",
    "local fine, reply = pcall(redis.call, unpack(ARGV)) return { tostring(fine), reply }",
    "redis.pcall(unpack(ARGV)) return redis.error_reply('MINE of my own')",
    "redis.pcall(unpack(ARGV)) error({ err = 'MINE raised' })",
    "redis.call(unpack(ARGV)) error('after the call')",
    "return cjson.encode({ redis.pcall(unpack(ARGV)) })",
    "return tostring(redis.acl_check_cmd(unpack(ARGV)))",
];

/// The call of `words`, made by a script. `is_plain`: its reply is compared as it is, so that the script may make of it what it likes.
pub fn wrap(rng: &mut Rng, words: &[Vec<u8>], is_plain: bool) -> Vec<Vec<u8>> {
    let mut call: Vec<Vec<u8>> = Vec::new();
    let add = |word: &str| call.push(word.as_bytes().to_vec());
    // In a map, as RESP3 has it, members stand in no order, and neither do they in JSON.
    let is_map =
        words.first().is_none_or(|name| name.starts_with(b"X") || name.starts_with(b"H") || name == b"LCS");
    match rng.below(12) {
        0 => ["FCALL", "call"].into_iter().for_each(add),
        1 => ["FCALL", "try"].into_iter().for_each(add),
        2 => ["FCALL", "look"].into_iter().for_each(add),
        3 => ["FCALL_RO", rng.pick(&["call", "look"])].into_iter().for_each(add),
        4 => ["EVAL_RO", SAME[0]].into_iter().for_each(add),
        5 => ["EVAL", "#!lua flags=no-writes\nreturn redis.call(unpack(ARGV))"].into_iter().for_each(add),
        6..9 if is_plain && !is_map => ["EVAL", rng.pick(OTHER)].into_iter().for_each(add),
        _ => ["EVAL", rng.pick(SAME)].into_iter().for_each(add),
    }
    // Which keys are declared is no matter to what a script may do.
    let declared = if rng.one_in(3) { words.get(1..2).unwrap_or_default() } else { &[] };
    call.push(declared.len().to_string().into_bytes());
    call.extend_from_slice(declared);
    call.extend_from_slice(words);
    call
}
