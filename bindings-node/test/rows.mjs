// Calls of ioredis's methods for data, in their order, what of their results must be equal on two engines, and the walk over all of them.
// Through which client they are called is the tests' affair.

import assert from "node:assert/strict";
import { outcome, target } from "./oracle.mjs";

/** 1 January 2100, in seconds. */
const FAR = 4_102_444_800;

/** What 9.1.2 dumps of the string "hello". */
const DUMPED = Buffer.from("000568656c6c6f5000ac5816e7fb6647fe", "hex");

/** Stands for the port of the server that keys are moved to. */
export const TARGET = Symbol("target");

/** Calls in their order: a method and its arguments. */
export const ROWS = [
  // strings and keys
  ["set", "s", "größe"], ["set", "s", "x", "NX"], ["set", "s", "value", "XX", "GET"], ["get", "s"], ["append", "s", "!"], ["strlen", "s"], ["getrange", "s", 0, 3],
  ["substr", "s", 1, -2], ["setrange", "s", 2, "xy"], ["getset", "s", "foobar"], ["setnx", "s", 1], ["setex", "timed", 100, "v"], ["psetex", "timed", 100_000, "v"],
  ["ttl", "none"], ["pttl", "s"], ["expire", "s", 100, "NX"], ["pexpire", "s", 1, "GT"], ["persist", "s"], ["expireat", "s", FAR], ["expiretime", "s"],
  ["pexpireat", "s", FAR * 1000], ["pexpiretime", "s"], ["getex", "s", "PERSIST"], ["incr", "n"], ["incrby", "n", 10], ["decr", "n"], ["decrby", "n", 3], ["incr", "s"],
  ["incrbyfloat", "f", 1.5], ["getdel", "f"], ["mset", { a: 1, b: 2, c: Buffer.from([0, 255]) }], ["msetnx", "a", 1, "y", 2], ["msetex", 2, "ma", 1, "mb", 2, "EXAT", FAR],
  ["mget", "a", "none", "c"], ["mset", "other", "fobar"], ["lcs", "s", "other"], ["lcs", "s", "other", "IDX", "WITHMATCHLEN"], ["exists", "a", "b", "none"],
  ["touch", "a", "none"], ["type", "a"], ["keys", "?"], ["rename", "a", "a2"], ["rename", "none", "a"], ["renamenx", "a2", "b"], ["copy", "b", "b2"], ["move", "c", 1],
  ["object", "ENCODING", "n"], ["del", "b", "none"], ["unlink", "b2"], ["wait", 0, 5], ["waitaof", 0, 0, 5],
  ["dump", "none"], ["dump", "n"], ["dumpBuffer", "n"], ["restore", "restored", 0, DUMPED], ["restore", "restored", 0, DUMPED], ["restore", "restored", FAR * 1000, DUMPED, "REPLACE", "ABSTTL"], ["get", "restored"],
  ["pexpiretime", "restored"], ["del", "restored"],
  ["migrate", "127.0.0.1", TARGET, "none", 0, 1000], ["migrate", "127.0.0.1", TARGET, "", 0, 1000, "COPY", "REPLACE", "KEYS", "s", "none"], ["set", "gone", 1],
  ["migrate", "127.0.0.1", TARGET, "gone", 1, 1000, "REPLACE"], ["get", "gone"], ["migrate", "127.0.0.1", TARGET, "", 0, 1000, "KEYS", "none", "s"],
  ["migrate", "127.0.0.1", TARGET, "s", 0, 1000, "AUTH", "x"], ["migrate", "127.0.0.1", 0, "s", 0, 1000],
  // bits
  ["setbit", "bits", 7, 1], ["getbit", "bits", 7], ["getbit", "bits", 100], ["bitcount", "s"], ["bitcount", "s", 3, 20, "BIT"], ["bitpos", "s", 1], ["bitpos", "s", 0, 1, -1],
  ["bitop", "AND", "bd", "s", "bits"], ["bitop", "NOT", "bd", "s"], ["getBuffer", "bd"], ["bitfield", "fields", "SET", "u8", 0, 200, "INCRBY", "i5", 100, 1],
  ["bitfield", "fields", "OVERFLOW", "FAIL", "INCRBY", "u8", 0, 100], ["bitfield_ro", "fields", "GET", "u8", 0],
  // lists
  ["rpush", "l", "a", "b", "c", 1, 2.5], ["lpush", "l", "z"], ["rpushx", "l", "d"], ["lpushx", "none", "d"], ["llen", "l"], ["lrange", "l", 0, -1], ["lindex", "l", 1],
  ["linsert", "l", "BEFORE", "b", "ab"], ["lpos", "l", "b"], ["lpos", "l", "b", "RANK", -1, "COUNT", 0], ["lrem", "l", 0, "ab"], ["lset", "l", 0, "first"], ["lset", "l", 99, "x"],
  ["lmove", "l", "l2", "LEFT", "RIGHT"], ["rpoplpush", "l", "l2"], ["brpoplpush", "l", "l2", 1], ["blmove", "l", "l2", "RIGHT", "LEFT", 1], ["blmove", "none", "l2", "LEFT", "LEFT", 0.01],
  ["blpop", "none", "l2", 1], ["brpop", "l2", 1], ["blpop", "none", 0.01], ["lmpop", 2, "none", "l2", "LEFT", "COUNT", 2], ["blmpop", 1, 2, "none", "l", "RIGHT"],
  ["rpush", "l", 3, 1, 2], ["lpop", "l"], ["lpop", "l", 2], ["rpop", "none"], ["rpop", "l", 1], ["ltrim", "l", 0, 1], ["rpush", "nums", 3, 10, 2], ["sort", "nums", "DESC"],
  ["sort", "nums", "BY", "nosort", "GET", "#", "STORE", "sorted"], ["sort_ro", "nums", "LIMIT", 0, 2],
  // sets
  ["sadd", "s1", "a", "b", "c"], ["sadd", "s2", ["b", "c", "d"]], ["sadd", "s", "a"], ["scard", "s1"], ["sdiff", "s1", "s2"], ["sinter", "s1", "s2"], ["sunion", "s1", "s2"],
  ["sdiffstore", "sd", "s1", "s2"], ["sinterstore", "sd", "s1", "s2"], ["sunionstore", "sd", "s1", "s2"], ["sintercard", 2, "s1", "s2", "LIMIT", 1], ["sismember", "s1", "a"],
  ["smismember", "s1", "a", "x"], ["smembers", "s1"], ["smove", "s1", "s2", "a"], ["srandmember", "s1", 10], ["spop", "s1", 10], ["srem", "s2", "a", "none"],
  // sorted sets
  ["zadd", "z", 1, "a", 2.5, "b", "inf", "c", -3, "d"], ["zadd", "z", "NX", "CH", 2, "a", 4, "e"], ["zadd", "z", "INCR", 7, "a"], ["zadd", "z", "nan", "a"], ["zadd", "z2", 1, "a", 1, "b", 9, "x"],
  ["zcard", "z"], ["zcount", "z", "-inf", "(4"], ["zincrby", "z", 1.25, "b"], ["zscore", "z", "c"], ["zmscore", "z", "a", "none"], ["zrank", "z", "a"], ["zrank", "z", "a", "WITHSCORE"],
  ["zrevrank", "z", "a"], ["zrange", "z", 0, -1, "WITHSCORES"], ["zrange", "z", "-inf", 5, "BYSCORE", "LIMIT", 1, 2], ["zrevrange", "z", 0, 2], ["zrangebyscore", "z", "-inf", "+inf"],
  ["zrevrangebyscore", "z", 5, "-inf", "WITHSCORES"], ["zadd", "lex", 0, "a", 0, "b", 0, "c"], ["zrangebylex", "lex", "-", "[b"], ["zrevrangebylex", "lex", "+", "(a"], ["zlexcount", "lex", "-", "(c"],
  ["zrangestore", "zr", "z", 0, 1], ["zdiff", 2, "z", "z2", "WITHSCORES"], ["zinter", 2, "z", "z2", "WEIGHTS", 2, 3, "WITHSCORES"], ["zunion", 2, "z", "z2", "AGGREGATE", "MIN"],
  ["zdiffstore", "zs", 2, "z", "z2"], ["zinterstore", "zs", 2, "z", "z2"], ["zunionstore", "zs", 2, "z", "z2"], ["zintercard", 2, "z", "z2"], ["zrandmember", "zr", 10], ["zpopmin", "z"], ["zpopmax", "z", 2],
  ["bzpopmin", "none", "z", 1], ["bzpopmax", "z2", 1], ["bzpopmin", "none", 0.01], ["zmpop", 2, "none", "z2", "MIN"], ["bzmpop", 1, 2, "none", "z2", "MAX", "COUNT", 2], ["zrem", "lex", "a"],
  ["zremrangebylex", "lex", "[b", "[b"], ["zremrangebyrank", "zs", 0, 0], ["zremrangebyscore", "zs", "(1", 3],
  // hashes
  ["hset", "h", { f: 1, g: 2.5 }], ["hsetnx", "h", "f", 2], ["hmset", "h", new Map([["j", "x"]])], ["hget", "h", "f"], ["hmget", "h", "f", "none"], ["hgetall", "h"], ["hkeys", "h"], ["hvals", "h"], ["hlen", "h"],
  ["hexists", "h", "none"], ["hstrlen", "h", "j"], ["hincrby", "h", "f", 5], ["hincrby", "h", "j", 5], ["hincrbyfloat", "h", "g", 0.25], ["hrandfield", "h", 10], ["hdel", "h", "g"],
  ["hsetex", "h", "EXAT", FAR, "FIELDS", 1, "t", "v"], ["hgetex", "h", "PERSIST", "FIELDS", 1, "t"], ["hexpire", "h", 100, "FIELDS", 2, "f", "none"], ["hpexpire", "h", 100_000, "NX", "FIELDS", 1, "f"],
  ["hexpireat", "h", FAR, "FIELDS", 1, "f"], ["hpexpireat", "h", FAR * 1000, "FIELDS", 1, "t"], ["hexpiretime", "h", "FIELDS", 1, "f"], ["hpexpiretime", "h", "FIELDS", 1, "t"], ["httl", "h", "FIELDS", 1, "j"],
  ["hpttl", "h", "FIELDS", 1, "none"], ["hpersist", "h", "FIELDS", 1, "f"], ["hgetdel", "h", "FIELDS", 2, "t", "none"],
  // streams
  ["xadd", "x", "1-1", "f", 1], ["xadd", "x", "2-*", "f", 2], ["xadd", "x", "NOMKSTREAM", "MAXLEN", "=", 3, "3-3", "f", 3, "g", 4], ["xadd", "x", "3-3", "f", 1], ["xlen", "x"], ["xrange", "x", "-", "+"],
  ["xrevrange", "x", "+", "(1-1", "COUNT", 1], ["xread", "COUNT", 1, "STREAMS", "x", 0], ["xread", "BLOCK", 5, "STREAMS", "x", "$"], ["xgroup", "CREATE", "x", "g", 0], ["xgroup", "CREATE", "x", "g", 0],
  ["xgroup", "CREATECONSUMER", "x", "g", "alice"], ["xreadgroup", "GROUP", "g", "alice", "COUNT", 2, "STREAMS", "x", ">"], ["xreadgroup", "GROUP", "none", "alice", "STREAMS", "x", ">"], ["xpending", "x", "g"],
  ["xpending", "x", "g", "-", "+", 10], ["xclaim", "x", "g", "bob", 0, "1-1"], ["xautoclaim", "x", "g", "bob", 0, 0, "JUSTID"], ["xack", "x", "g", "1-1"], ["xinfo", "STREAM", "x"], ["xinfo", "STREAM", "x", "FULL"],
  ["xinfo", "GROUPS", "x"], ["xinfo", "CONSUMERS", "x", "g"], ["xsetid", "x", "9-9"], ["xdel", "x", "1-1", "8-8"], ["xtrim", "x", "MAXLEN", 1], ["xgroup", "DESTROY", "x", "g"],
  // what counts distinct elements
  ["pfadd", "hll", "a", "b"], ["pfadd", "hll2", "b", "c"], ["pfcount", "hll", "hll2"], ["pfmerge", "hm", "hll", "hll2"], ["getBuffer", "hm"], ["pfdebug", "ENCODING", "hm"], ["pfselftest"],
  // places
  ["geoadd", "geo", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"], ["geodist", "geo", "Palermo", "Catania", "km"], ["geohash", "geo", "Palermo", "none"], ["geopos", "geo", "Palermo", "none"],
  ["georadius", "geo", 15, 37, 200, "km", "WITHDIST", "ASC"], ["georadius_ro", "geo", 15, 37, 200, "km", "WITHCOORD", "ASC"], ["georadiusbymember", "geo", "Palermo", 200, "km", "STORE", "near"],
  ["georadiusbymember_ro", "geo", "Palermo", 200, "km", "DESC"], ["geosearch", "geo", "FROMMEMBER", "Palermo", "BYRADIUS", 200, "km", "ASC"], ["geosearchstore", "near", "geo", "FROMLONLAT", 15, 37, "BYBOX", 400, 400, "km"],
  // publishing
  ["publish", "nobody", "x"], ["spublish", "nobody", "x"], ["pubsub", "NUMPAT"], ["pubsub", "CHANNELS"],
  // scans
  ["scan", 0, "COUNT", 1000], ["scan", "x"], ["sscan", "s2", 0], ["hscan", "h", 0, "NOVALUES"], ["zscan", "zr", 0, "MATCH", "*"],
  // one key is left
  ["flushall"], ["set", "only", 1], ["randomkey"],
];

/** Methods whose words come in no order. */
const UNORDERED = /^(keys|scan|sscan|sdiff|sinter|sunion|smembers|srandmember|spop|zrandmember|hrandfield)$/;

/** Fields of replies that tell how long something took. */
const OWN = /^(idle|inactive|seen-time|active-time)$/;

/** What must be equal of a result. */
export function settled(name, value) {
  if (typeof value === "number" && value > 1_577_836_800_000 && !name.endsWith("time")) return "now";
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    // A field as glide has it.
    if (OWN.test(value.key) && "value" in value) return { key: value.key, value: "its own" };
    return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, OWN.test(field) ? "its own" : settled(name, inner)]));
  }
  if (!Array.isArray(value)) return value;
  const inner = value.map((element, at) => (OWN.test(value[at - 1]) ? "its own" : settled(name, element)));
  // An entry that waits to be acknowledged: its third word is how long it has.
  if (name === "xpending" && inner.length === 4 && typeof inner[3] === "number") inner[2] = "its own";
  return UNORDERED.test(name) ? inner.sort((one, other) => (JSON.stringify(one) < JSON.stringify(other) ? -1 : 1)) : inner;
}

/** Makes each call on two clients with ioredis's methods: what they resolve to must be equal. Ends both. */
export async function walk(real, ours) {
  try {
    await real.flushall();
    for (const [name, ...row] of ROWS) {
      const words = row.map((word) => (word === TARGET ? target : word));
      const [expected, got] = [await outcome(real[name](...words)), await outcome(ours[name](...words))];
      assert.deepEqual(settled(name, got), settled(name, expected), `${name} ${words}`);
    }
  } finally {
    for (const client of [real, ours]) client.disconnect();
  }
}
