//! Makes random command sequences from a grammar of templates, over an alphabet small enough that keys and types collide.
//!
//! Running and shrinking them is `hunt.rs`'s work. Sequences are free of races: no deadline falls between two commands. It stays whole: the grammar is one
//! list, beside the words that it draws from.

use crate::quote;
use crate::rng::Rng;
use crate::script::Mode;
use crate::scripted;

/// A command with the connection it is sent on and the way its replies are compared.
#[derive(Clone, Debug)]
pub struct Command {
    /// Connection number, 1 or 2.
    pub client: usize,
    /// The words.
    pub words: Vec<Vec<u8>>,
    /// How replies are compared.
    pub modes: Vec<Mode>,
}

/// What is kept or dropped as a whole when a sequence is shrunk.
#[derive(Clone, Debug)]
pub enum Step {
    /// One command.
    One(Command),
    /// WATCH, MULTI and EXEC (or DISCARD) with what stands between.
    Transaction(Vec<Command>),
    /// A key set to expire at once, a wait, and a look that makes both servers forget it.
    Expire([Command; 2]),
}

/// A wait of that many milliseconds separates the two commands of [`Step::Expire`].
pub const EXPIRY_WAIT_MS: u64 = 4;

/// Weight, comparison, template. `{k}` a key, `{f}` a field, `{v}` a value, `{n}` an integer, `{x}` a float, `{t}` a time to
/// live (good in seconds and milliseconds), `{s}` and `{m}` deadlines in seconds and milliseconds, `{i}` an offset, `{p}` a
/// pattern, `{u}` a member of a set, `{w}` a score, `{o}` degrees, `{r}` a bound of scores, `{l}` a key of members of one score, `{b}` a bound of these, `{z}` the offset of a bit, `{j}` one of an
/// integer of the type `{y}`, `{a}` the ID of a new entry of a stream, `{q}` any ID, `{g}` a group, `{h}` a consumer, `{d}` a database, `{e}` one of NX XX GT LT, `{c}` NX or XX
/// (whether one relative deadline is greater than another can depend on a millisecond).
const GRAMMAR: &[(usize, &str, &str)] = &[
    (4, "", "SETBIT {k} {z} 1"),
    (2, "", "SETBIT {k} {z} 0"),
    (2, "", "GETBIT {k} {z}"),
    (1, "", "BITCOUNT {k}"),
    (1, "", "BITCOUNT {k} {i}"),
    (1, "", "BITCOUNT {k} {i} {i}"),
    (1, "", "BITCOUNT {k} {i} {i} BIT"),
    (1, "", "BITPOS {k} 0"),
    (1, "", "BITPOS {k} 1 {i}"),
    (1, "", "BITPOS {k} 0 {i} {i} BYTE"),
    (1, "", "BITPOS {k} 1 {i} {i} BIT"),
    (1, "", "BITOP AND {k} {k} {k}"),
    (1, "", "BITOP OR {k} {k} {k}"),
    (1, "", "BITOP XOR {k} {k} {k} {k}"),
    (1, "", "BITOP NOT {k} {k}"),
    (1, "", "BITFIELD {k} GET {y} {j}"),
    // Where no bit differs but the string got longer, the server tells no watcher of it, and Keystead does. So the first operation reaches farthest, and
    // always changes something.
    (2, "", "BITFIELD {k} INCRBY u8 800 1 SET {y} {j} {n}"),
    (2, "", "BITFIELD {k} INCRBY u8 800 1 INCRBY {y} {j} {n}"),
    (1, "", "BITFIELD {k} INCRBY u8 800 1 OVERFLOW SAT INCRBY {y} {j} {n}"),
    (1, "", "BITFIELD {k} INCRBY u8 800 1 OVERFLOW FAIL INCRBY {y} {j} {n} GET {y} {j}"),
    (1, "", "BITFIELD {k} INCRBY u8 800 1 OVERFLOW SAT SET {y} {j} {n}"),
    (1, "", "BITFIELD_RO {k} GET {y} {j} GET {y} {j}"),
    (5, "", "PFADD {k} {u}"),
    (3, "", "PFADD {k} {u} {f} {v}"),
    (1, "", "PFADD {k}"),
    (3, "", "PFCOUNT {k}"),
    (1, "", "PFCOUNT {k} {k}"),
    (2, "", "PFMERGE {k} {k}"),
    (1, "", "PFMERGE {k} {k} {k}"),
    (1, "", "PFMERGE {k}"),
    (1, "", "PFDEBUG ENCODING {k}"),
    (1, "", "PFDEBUG DECODE {k}"),
    (8, "", "SET {k} {v}"),
    (2, "", "SET {k} {v} NX"),
    (2, "", "SET {k} {v} XX"),
    (2, "", "SET {k} {v} GET"),
    (1, "", "SET {k} {v} NX GET"),
    (2, "", "SET {k} {v} EX {t}"),
    (2, "", "SET {k} {v} PX {t} KEEPTTL"),
    (2, "", "SET {k} {v} KEEPTTL"),
    (1, "", "SET {k} {v} EXAT {s}"),
    (1, "", "SET {k} {v} PXAT {m} GET"),
    (2, "", "SET {k} {v} IFEQ {v}"),
    (1, "", "SET {k} {v} IFEQ {v} GET EX {t}"),
    (4, "", "GET {k}"),
    (1, "", "GETSET {k} {v}"),
    (2, "", "GETDEL {k}"),
    (1, "", "GETEX {k}"),
    (2, "", "GETEX {k} EX {t}"),
    (1, "", "GETEX {k} PXAT {m}"),
    (2, "", "GETEX {k} PERSIST"),
    (3, "", "APPEND {k} {v}"),
    (2, "", "STRLEN {k}"),
    (2, "", "GETRANGE {k} {i} {i}"),
    (1, "", "SUBSTR {k} {i} {i}"),
    (3, "", "SETRANGE {k} {i} {v}"),
    (3, "", "INCR {k}"),
    (2, "", "DECR {k}"),
    (3, "", "INCRBY {k} {n}"),
    (2, "", "DECRBY {k} {n}"),
    (3, "", "INCRBYFLOAT {k} {x}"),
    (2, "", "MGET {k} {k} {k}"),
    (2, "", "MSET {k} {v} {k} {v}"),
    (1, "", "MSETNX {k} {v} {k} {v}"),
    (1, "", "SETNX {k} {v}"),
    (1, "", "SETEX {k} {t} {v}"),
    (1, "", "PSETEX {k} {t} {v}"),
    (1, "", "LCS {k} {k}"),
    (1, "", "LCS {k} {k} LEN"),
    (1, "", "LCS {k} {k} IDX MINMATCHLEN {n} WITHMATCHLEN"),
    (9, "", "HSET {k} {f} {v}"),
    (5, "", "HSET {k} {f} {v} {f} {v}"),
    (2, "", "HSET {k} {f} {v} {f} {v} {f} {v} {f} {v} {f} {v}"),
    (1, "", "HMSET {k} {f} {v} {f} {v}"),
    (2, "", "HSETNX {k} {f} {v}"),
    (3, "", "HGET {k} {f}"),
    (2, "", "HMGET {k} {f} {f} {f}"),
    (3, "pairs", "HGETALL {k}"),
    (1, "any-order", "HKEYS {k}"),
    (1, "any-order", "HVALS {k}"),
    (2, "", "HLEN {k}"),
    (1, "", "HEXISTS {k} {f}"),
    (1, "", "HSTRLEN {k} {f}"),
    (4, "", "HDEL {k} {f}"),
    (2, "", "HDEL {k} {f} {f} {f}"),
    (3, "", "HINCRBY {k} {f} {n}"),
    (3, "", "HINCRBYFLOAT {k} {f} {x}"),
    (1, "shape", "HRANDFIELD {k}"),
    (1, "shape", "HRANDFIELD {k} 2"),
    (1, "shape", "HRANDFIELD {k} -3 WITHVALUES"),
    (1, "pairs", "HRANDFIELD {k} 10000 WITHVALUES"),
    (1, "deep", "HSCAN {k} 0 COUNT 10000"),
    (1, "deep", "HSCAN {k} 0 COUNT 10000 MATCH {p} NOVALUES"),
    (3, "", "DEL {k}"),
    (1, "", "DEL {k} {k} {k}"),
    (1, "", "UNLINK {k} {k}"),
    (2, "", "EXISTS {k} {k}"),
    (1, "", "TOUCH {k} {k}"),
    (2, "", "TYPE {k}"),
    (3, "", "OBJECT ENCODING {k}"),
    (1, "", "OBJECT FREQ {k}"),
    (1, "seconds", "OBJECT IDLETIME {k}"),
    (1, "shape", "MEMORY USAGE {k}"),
    (2, "", "RENAME {k} {k}"),
    (1, "", "RENAMENX {k} {k}"),
    (2, "", "COPY {k} {k}"),
    (2, "", "COPY {k} {k} REPLACE"),
    (1, "", "COPY {k} {k} DB {d} REPLACE"),
    (1, "", "MOVE {k} {d}"),
    (1, "", "SELECT {d}"),
    (1, "any-order", "KEYS {p}"),
    (1, "deep", "SCAN 0 COUNT 10000"),
    (1, "deep", "SCAN 0 COUNT 10000 MATCH {p} TYPE hash"),
    (1, "shape", "RANDOMKEY"),
    (1, "", "DBSIZE"),
    (2, "", "EXPIRE {k} {t}"),
    (2, "", "EXPIRE {k} {t} {c}"),
    (2, "", "PEXPIRE {k} {t} {c}"),
    (2, "", "EXPIREAT {k} {s} {e}"),
    (2, "", "PEXPIREAT {k} {m} {e}"),
    (1, "", "PEXPIREAT {k} {m} {e} {e}"),
    (3, "", "PERSIST {k}"),
    (2, "seconds", "TTL {k}"),
    (2, "millis", "PTTL {k}"),
    (2, "seconds", "EXPIRETIME {k}"),
    (2, "millis", "PEXPIRETIME {k}"),
    (1, "", "SORT {k}"),
    (1, "", "SORT_RO {k} LIMIT 0 {n} DESC ALPHA"),
    (1, "", "ECHO {v}"),
    (1, "", "PING"),
    (1, "", "DISCARD"),
    (1, "", "EXEC"),
    (1, "", "CLIENT SETNAME {f}"),
    (1, "", "CLIENT GETNAME"),
    (1, "", "COMMAND GETKEYS MSET {k} {v} {k} {v}"),
    (2, "", "MSETEX 2 {k} {v} {k} {v}"),
    (1, "", "MSETEX 2 {k} {v} {k} {v} {c}"),
    (2, "", "MSETEX 2 {k} {v} {k} {v} EX {t}"),
    (1, "", "MSETEX 1 {k} {v} {c} PX {t}"),
    (1, "", "MSETEX 1 {k} {v} EXAT 4102444800 {c}"),
    (1, "", "MSETEX 2 {k} {v} {k} {v} PXAT 4200000000999"),
    (1, "", "MSETEX 3 {k} {v} {k} {v} {k} {v} KEEPTTL"),
    (1, "", "MSETEX {n} {k} {v}"),
    (2, "", "DELIFEQ {k} {v}"),
    (1, "", "GETEX {k} PX {t}"),
    (1, "", "GETEX {k} EXAT {s}"),
    (1, "", "SET {k} {v} XX GET KEEPTTL"),
    (1, "", "LCS {k} {k} IDX WITHMATCHLEN"),
    (2, "", "HSETEX {k} EX {t} FIELDS 1 {f} {v}"),
    (2, "", "HSETEX {k} PXAT {m} FIELDS 2 {f} {v} {f} {v}"),
    (1, "", "HSETEX {k} {c} EXAT {s} FIELDS 1 {f} {v}"),
    (1, "", "HSETEX {k} FNX PX {t} FIELDS 2 {f} {v} {f} {v}"),
    (1, "", "HSETEX {k} FXX KEEPTTL FIELDS 2 {f} {v} {f} {v}"),
    (1, "", "HSETEX {k} {c} FXX FIELDS 1 {f} {v}"),
    (1, "", "HSETEX {k} FIELDS 2 {f} {v}"),
    (1, "", "HGETEX {k} FIELDS 2 {f} {f}"),
    (2, "", "HGETEX {k} EX {t} FIELDS 2 {f} {f}"),
    (1, "", "HGETEX {k} PXAT {m} FIELDS 1 {f}"),
    (1, "", "HGETEX {k} PERSIST FIELDS 2 {f} {f}"),
    (1, "", "HGETDEL {k} FIELDS 2 {f} {f}"),
    (2, "", "HEXPIRE {k} {t} FIELDS 2 {f} {f}"),
    (1, "", "HPEXPIRE {k} {t} {c} FIELDS 1 {f}"),
    (1, "", "HEXPIREAT {k} {s} {e} FIELDS 2 {f} {f}"),
    (1, "", "HPEXPIREAT {k} {m} {e} FIELDS 1 {f}"),
    (1, "", "HPERSIST {k} FIELDS 2 {f} {f}"),
    (1, "seconds", "HTTL {k} FIELDS 2 {f} {f}"),
    (1, "millis", "HPTTL {k} FIELDS 2 {f} {f}"),
    (1, "seconds", "HEXPIRETIME {k} FIELDS 2 {f} {f}"),
    (1, "millis", "HPEXPIRETIME {k} FIELDS 3 {f} {f} {f}"),
    (1, "seconds", "HTTL {k} FIELDS {n} {f} {f}"),
    (1, "shape", "MEMORY USAGE {k} SAMPLES {n}"),
    (1, "shape", "OBJECT REFCOUNT {k}"),
    (1, "deep", "SCAN 0 COUNT 10000 TYPE string"),
    (1, "", "SCAN 0 TYPE {f}"),
    (1, "", "EXPIRE {k} {n} {e}"),
    (1, "", "PEXPIREAT {k} {n} {e}"),
    (5, "", "RPUSH {k} {v}"),
    (4, "", "RPUSH {k} {v} {v} {v}"),
    (4, "", "LPUSH {k} {v}"),
    (4, "", "LPUSH {k} {v} {v} {v} {v}"),
    (1, "", "LPUSHX {k} {v} {v}"),
    (1, "", "RPUSHX {k} {v}"),
    (3, "", "LPOP {k}"),
    (2, "", "RPOP {k}"),
    (1, "", "LPOP {k} {n}"),
    (1, "", "LPOP {k} 2"),
    (1, "", "RPOP {k} 3"),
    (2, "", "LLEN {k}"),
    (2, "", "LINDEX {k} {i}"),
    (3, "", "LRANGE {k} {i} {i}"),
    (1, "", "LRANGE {k} 0 -1"),
    (3, "", "LSET {k} {i} {v}"),
    (4, "", "LINSERT {k} BEFORE {v} {v}"),
    (4, "", "LINSERT {k} AFTER {v} {v}"),
    (2, "", "LREM {k} {n} {v}"),
    (1, "", "LREM {k} 0 {v}"),
    (2, "", "LTRIM {k} {i} {i}"),
    (1, "", "LTRIM {k} 1 -2"),
    (1, "", "LPOS {k} {v}"),
    (1, "", "LPOS {k} {v} RANK {n} COUNT {n} MAXLEN {n}"),
    (1, "", "LPOS {k} {v} RANK -1 COUNT 0"),
    (2, "", "LMOVE {k} {k} LEFT RIGHT"),
    (1, "", "LMOVE {k} {k} RIGHT RIGHT"),
    (2, "", "RPOPLPUSH {k} {k}"),
    (2, "", "LMPOP 2 {k} {k} LEFT"),
    (1, "", "LMPOP 1 {k} RIGHT COUNT 2"),
    (1, "", "LMPOP {n} {k} {k} RIGHT COUNT {n}"),
    (1, "", "BLPOP {k} {k} 0.001"),
    (1, "", "BRPOP {k} 0.001"),
    (1, "", "BLMOVE {k} {k} LEFT LEFT 0.001"),
    (1, "", "BRPOPLPUSH {k} {k} 0.001"),
    (1, "", "BLMPOP 0.001 2 {k} {k} LEFT COUNT 2"),
    (2, "", "OBJECT ENCODING {k}"),
    (1, "deep", "SCAN 0 COUNT 10000 TYPE list"),
    (1, "", "COMMAND GETKEYS LMPOP {n} {k} {k} LEFT"),
    (6, "", "SADD {k} {u}"),
    (4, "", "SADD {k} {u} {u} {u}"),
    (2, "", "SADD {k} {u} {u} {u} {u} {u} {u}"),
    (3, "", "SREM {k} {u}"),
    (2, "", "SREM {k} {u} {u} {u}"),
    (2, "", "SCARD {k}"),
    (1, "", "SISMEMBER {k} {u}"),
    (1, "", "SMISMEMBER {k} {u} {u} {u}"),
    (2, "any-order", "SMEMBERS {k}"),
    (3, "", "SMOVE {k} {k} {u}"),
    (1, "any-order", "SPOP {k} 10000"),
    (1, "", "SPOP {k} 0"),
    (1, "any-order", "SPOP {k} 2 {u}"),
    (1, "shape", "SRANDMEMBER {k}"),
    (1, "shape", "SRANDMEMBER {k} 2"),
    (1, "shape", "SRANDMEMBER {k} -3"),
    (1, "any-order", "SRANDMEMBER {k} 10000"),
    (2, "any-order", "SINTER {k} {k}"),
    (1, "any-order", "SINTER {k} {k} {k}"),
    (1, "", "SINTERCARD 2 {k} {k}"),
    (1, "", "SINTERCARD 2 {k} {k} LIMIT {n}"),
    (1, "", "SINTERCARD {n} {k} {k}"),
    (2, "", "SINTERSTORE {k} {k} {k}"),
    (2, "any-order", "SUNION {k} {k}"),
    (1, "any-order", "SUNION {k} {k} {k}"),
    (2, "", "SUNIONSTORE {k} {k} {k}"),
    (2, "any-order", "SDIFF {k} {k}"),
    (1, "any-order", "SDIFF {k} {k} {k} {k}"),
    (2, "", "SDIFFSTORE {k} {k} {k}"),
    (1, "", "SDIFFSTORE {k} {k} {k} {k} {k}"),
    (1, "deep", "SSCAN {k} 0 COUNT 10000"),
    (1, "deep", "SSCAN {k} 0 COUNT 10000 MATCH {p}"),
    (1, "deep", "SCAN 0 COUNT 10000 TYPE set"),
    (1, "", "COMMAND GETKEYS SINTERCARD {n} {k} {k}"),
    (9, "", "ZADD {k} {w} {f}"),
    (5, "", "ZADD {k} {w} {f} {w} {f} {w} {f}"),
    (3, "", "ZADD {k} {w} {f} {w} {v} {w} {f} {w} {f} {w} {f} {w} {f}"),
    (2, "", "ZADD {k} {e} {w} {f} {w} {f}"),
    (2, "", "ZADD {k} {e} CH {w} {f} {w} {f}"),
    (1, "", "ZADD {k} {e} {e} INCR {w} {f}"),
    (1, "", "ZADD {k} CH {w} {v}"),
    (4, "", "ZINCRBY {k} {w} {f}"),
    (1, "", "ZINCRBY {k} {x} {f}"),
    (4, "", "ZREM {k} {f}"),
    (2, "", "ZREM {k} {f} {v} {f}"),
    (1, "", "ZCARD {k}"),
    (2, "", "ZSCORE {k} {f}"),
    (1, "", "ZMSCORE {k} {f} {v} {f}"),
    (2, "", "ZRANK {k} {f}"),
    (1, "", "ZRANK {k} {f} WITHSCORE"),
    (1, "", "ZREVRANK {k} {f} WITHSCORE"),
    (2, "", "ZCOUNT {k} {r} {r}"),
    (3, "", "ZRANGE {k} {i} {i}"),
    (2, "", "ZRANGE {k} {i} {i} WITHSCORES"),
    (2, "", "ZRANGE {k} {i} {i} REV WITHSCORES"),
    (2, "", "ZRANGE {k} {r} {r} BYSCORE WITHSCORES"),
    (1, "", "ZRANGE {k} {r} {r} BYSCORE REV"),
    (2, "", "ZRANGE {k} {r} {r} BYSCORE LIMIT {i} {i}"),
    (1, "", "ZRANGE {k} {r} {r} REV BYSCORE LIMIT {i} {i} WITHSCORES"),
    (1, "", "ZREVRANGE {k} {i} {i}"),
    (1, "", "ZRANGEBYSCORE {k} {r} {r}"),
    (1, "", "ZRANGEBYSCORE {k} {r} {r} WITHSCORES LIMIT {i} {i}"),
    (1, "", "ZREVRANGEBYSCORE {k} {r} {r} LIMIT {i} {i}"),
    (1, "", "ZRANGESTORE {k} {k} {i} {i}"),
    (1, "", "ZRANGESTORE {k} {k} {r} {r} BYSCORE LIMIT {i} {i}"),
    (2, "", "ZREMRANGEBYRANK {k} {i} {i}"),
    (2, "", "ZREMRANGEBYSCORE {k} {r} {r}"),
    (2, "", "ZPOPMIN {k}"),
    (1, "", "ZPOPMAX {k} {n}"),
    (1, "", "ZMPOP 2 {k} {k} MIN"),
    (1, "", "ZMPOP 2 {k} {k} MAX COUNT {n}"),
    (1, "", "BZPOPMIN {k} {k} 0.001"),
    (1, "", "BZPOPMAX {k} 0.001"),
    (1, "", "BZMPOP 0.001 2 {k} {k} MAX COUNT 2"),
    (1, "shape", "ZRANDMEMBER {k}"),
    (1, "shape", "ZRANDMEMBER {k} 2"),
    (1, "shape", "ZRANDMEMBER {k} -3 WITHSCORES"),
    (1, "pairs", "ZRANDMEMBER {k} 10000 WITHSCORES"),
    (1, "deep", "ZSCAN {k} 0 COUNT 10000"),
    (1, "deep", "ZSCAN {k} 0 COUNT 10000 MATCH {p} NOSCORES"),
    (1, "deep", "SCAN 0 COUNT 10000 TYPE zset"),
    (2, "", "ZUNION 2 {k} {k} WITHSCORES"),
    (1, "", "ZUNION 3 {k} {k} {k} WEIGHTS {w} {w} {w} AGGREGATE MAX WITHSCORES"),
    (1, "", "ZUNION 3 {k} {k} {k} WEIGHTS {w} {w} {w} WITHSCORES"),
    (1, "", "ZINTER 2 {k} {k} WITHSCORES"),
    (1, "", "ZINTER 2 {k} {k} WEIGHTS {w} {w} AGGREGATE MIN WITHSCORES"),
    (1, "", "ZINTER 3 {k} {k} {k} WEIGHTS {w} {w} {w} WITHSCORES"),
    (1, "", "ZDIFF 2 {k} {k} WITHSCORES"),
    (1, "", "ZDIFF 3 {k} {k} {k}"),
    (2, "", "ZUNIONSTORE {k} 2 {k} {k}"),
    (1, "", "ZUNIONSTORE {k} 3 {k} {k} {k} WEIGHTS {w} {w} {w} AGGREGATE MIN"),
    (1, "", "ZINTERSTORE {k} 2 {k} {k} AGGREGATE MAX"),
    (1, "", "ZDIFFSTORE {k} 2 {k} {k}"),
    (1, "", "ZINTERCARD 2 {k} {k}"),
    (1, "", "ZINTERCARD 2 {k} {k} LIMIT {n}"),
    (1, "", "ZUNION {n} {k} {k}"),
    (1, "", "COMMAND GETKEYS ZUNIONSTORE {k} {n} {k} {k}"),
    (2, "", "GEOADD {k} {o} {o} {f} {o} {o} {f}"),
    (1, "", "GEOADD {k} {c} CH {o} {o} {f}"),
    (1, "", "GEOPOS {k} {f} {f}"),
    (1, "", "GEOHASH {k} {f}"),
    (1, "", "GEODIST {k} {f} {f} km"),
    (1, "any-order", "GEOSEARCH {k} FROMLONLAT {o} {o} BYRADIUS 5000 km WITHDIST WITHCOORD ASC"),
    (1, "", "GEOSEARCH {k} FROMLONLAT {o} {o} BYRADIUS 9000 km WITHDIST WITHCOORD"),
    (1, "shape", "GEOSEARCH {k} FROMMEMBER {f} BYBOX 3000 9000 km COUNT {n}"),
    (1, "", "GEOSEARCH {k} BYPOLYGON 3 {o} {o} {o} {o} {o} {o}"),
    (1, "", "GEOSEARCHSTORE {k} {k} FROMLONLAT {o} {o} BYRADIUS 9000 km STOREDIST"),
    (1, "", "GEORADIUS {k} {o} {o} 4000 mi WITHHASH STORE {k}"),
    (1, "", "GEORADIUS {k} {o} {o} 4000 mi STORE {k}"),
    (1, "any-order", "GEORADIUSBYMEMBER {k} {f} 9000 km DESC"),
    (1, "", "GEORADIUSBYMEMBER_RO {k} {f} 1e7 ft COUNT 2 ANY"),
    (4, "", "ZADD {l} 0 {f}"),
    (3, "", "ZADD {l} 0 {f} 0 {v} 0 {u} 0 {u}"),
    (1, "", "ZREM {l} {f} {u}"),
    (1, "", "ZLEXCOUNT {l} {b} {b}"),
    (1, "", "ZRANGE {l} {b} {b} BYLEX"),
    (1, "", "ZRANGE {l} {b} {b} BYLEX REV LIMIT {i} {i}"),
    (1, "", "ZRANGEBYLEX {l} {b} {b} LIMIT {i} {i}"),
    (1, "", "ZREVRANGEBYLEX {l} {b} {b}"),
    (1, "", "ZRANGESTORE {k} {l} {b} {b} BYLEX"),
    (1, "", "ZREMRANGEBYLEX {l} {b} {b}"),
    (9, "", "XADD {k} {a} {f} {v}"),
    (4, "", "XADD {k} {a} {f} {v} {f} {v}"),
    (2, "", "XADD {k} {a} f {v} g {v}"),
    (1, "", "XADD {k} NOMKSTREAM {a} {f} {v}"),
    (1, "", "XADD {k} {q} {f} {v}"),
    (2, "", "XADD {k} MAXLEN {n} {a} {f} {v}"),
    (1, "", "XADD {k} MAXLEN ~ {n} LIMIT {n} {a} {f} {v}"),
    (1, "", "XADD {k} MAXLEN ~ 4 {a} {f} {v}"),
    (1, "", "XADD {k} MINID {q} {a} {f} {v}"),
    (1, "", "XADD {k} MINID ~ {q} {a} {f} {v}"),
    (2, "", "XLEN {k}"),
    (3, "", "XRANGE {k} {q} {q}"),
    (1, "", "XRANGE {k} - + COUNT {n}"),
    (2, "", "XREVRANGE {k} {q} {q}"),
    (1, "", "XREVRANGE {k} + - COUNT {n}"),
    (4, "", "XDEL {k} {q} {q}"),
    (1, "", "XTRIM {k} MAXLEN {n}"),
    (1, "", "XTRIM {k} MAXLEN ~ {n}"),
    (1, "", "XTRIM {k} MAXLEN ~ {n} LIMIT {n}"),
    (1, "", "XTRIM {k} MINID {q}"),
    (1, "", "XTRIM {k} MINID ~ {q}"),
    (1, "", "XSETID {k} {q}"),
    (1, "", "XSETID {k} {q} ENTRIESADDED {n} MAXDELETEDID {q}"),
    (5, "", "XGROUP CREATE {k} {g} {q} MKSTREAM"),
    (2, "", "XGROUP CREATE {k} {g} $ ENTRIESREAD {n}"),
    (2, "", "XGROUP SETID {k} {g} {q}"),
    (1, "", "XGROUP SETID {k} {g} {q} ENTRIESREAD {n}"),
    (1, "", "XGROUP DESTROY {k} {g}"),
    (1, "", "XGROUP CREATECONSUMER {k} {g} {h}"),
    (1, "", "XGROUP DELCONSUMER {k} {g} {h}"),
    (7, "", "XREADGROUP GROUP {g} {h} COUNT 3 STREAMS {k} >"),
    (2, "", "XREADGROUP GROUP {g} {h} STREAMS {k} {k} > >"),
    (1, "", "XREADGROUP GROUP {g} {h} NOACK STREAMS {k} >"),
    (3, "", "XREADGROUP GROUP {g} {h} STREAMS {k} {q}"),
    (1, "", "XREADGROUP GROUP {g} {h} COUNT {n} BLOCK 1 STREAMS {k} {k} > {q}"),
    (3, "", "XREAD COUNT {n} STREAMS {k} {k} {q} {q}"),
    (1, "", "XREAD STREAMS {k} $"),
    (1, "", "XREAD STREAMS {k} +"),
    (1, "", "XREAD BLOCK 1 STREAMS {k} {k} $ {q}"),
    (4, "", "XACK {k} {g} {q} {q}"),
    (1, "", "XPENDING {k} {g}"),
    (2, "ages", "XPENDING {k} {g} - + 10"),
    (1, "ages", "XPENDING {k} {g} IDLE 100000 {q} {q} {n} {h}"),
    (3, "", "XCLAIM {k} {g} {h} 0 {q} {q}"),
    (1, "", "XCLAIM {k} {g} {h} 100000 {q} {q} FORCE JUSTID"),
    (2, "", "XCLAIM {k} {g} {h} 0 {q} TIME 1000 RETRYCOUNT {n} FORCE"),
    (1, "", "XCLAIM {k} {g} {h} 0 {q} IDLE 5000 LASTID {q}"),
    (2, "", "XAUTOCLAIM {k} {g} {h} 0 {q}"),
    (1, "", "XAUTOCLAIM {k} {g} {h} 100000 - COUNT 2 JUSTID"),
    (3, "times", "XINFO STREAM {k}"),
    (2, "times", "XINFO STREAM {k} FULL COUNT 2"),
    (1, "times", "XINFO STREAM {k} FULL"),
    (2, "", "XINFO GROUPS {k}"),
    (1, "times", "XINFO CONSUMERS {k} {g}"),
    (1, "deep", "SCAN 0 COUNT 10000 TYPE stream"),
    (1, "shape", "SORT {k} BY {k} GET # GET {k} LIMIT {i} {i}"),
    (1, "", "SORT missing ALPHA STORE {k}"),
    (2, "", "SORT {k} ALPHA STORE {k}"),
    (1, "", "SORT {k} BY nosort GET # GET key:* STORE {k} LIMIT {i} {i}"),
    (1, "", "SORT {k} ALPHA DESC"),
    (1, "", "SORT {k} ALPHA LIMIT {i} {i} GET # GET key:* GET *"),
    (1, "", "SORT {k} BY key:* GET # GET *->f"),
    (1, "", "SORT_RO {k} BY key:* LIMIT {i} {i} DESC GET # GET key:*"),
    (1, "any-order", "SORT {k} BY key:* ALPHA"),
    (1, "", "CLIENT SETINFO LIB-NAME {f}"),
    (1, "", "CLIENT SETINFO {f} {f}"),
    (1, "outcome", "CLIENT LIST NAME {f} DB {d} NOT-FLAGS {f}"),
    (1, "outcome", "CLIENT LIST {f} {f}"),
    (1, "", "COMMAND GETKEYS MSETEX {n} {k} {v} {k} {v}"),
    (1, "", "COMMAND GETKEYSANDFLAGS SET {k} {v} GET"),
    (1, "", "COMMAND GETKEYSANDFLAGS HSETEX {k} FIELDS 1 {f} {v}"),
    (1, "", "COMMAND GETKEYSANDFLAGS SORT {k} BY {k} STORE {k}"),
    (1, "", "CONFIG GET hash-max-listpack-{f}"),
    (1, "", "CONFIG SET {f} {v}"),
    (1, "", "CONFIG SET lfu-decay-time {v}"),
    (1, "", "CONFIG SET maxmemory-samples {n}"),
    (1, "", "UNWATCH"),
    (1, "", "WATCH {k}"),
    (1, "", "QUIET {k} {v}"),
    (1, "", "OBJECT {f} {k}"),
    (1, "", "CLIENT {f} {k}"),
    (1, "", "AUTH {f} {v}"),
    (1, "", "SELECT {n}"),
    (1, "", "MOVE {k} {n}"),
    (1, "", "COPY {k} {k} DB {n}"),
    (1, "shape", "HRANDFIELD {k} 3 WITHVALUE"),
    (1, "", "SETRANGE {k} -1 {v}"),
    (1, "", "PING {v}"),
    (1, "", "DEBUG {f} {v}"),
    (1, "outcome", "SLOWLOG GET {n} {v}"),
    (1, "", "LATENCY GRAPH {f}"),
];

/// Rare, since they empty what others built.
const EMPTYING: &[&str] = &["FLUSHDB", "FLUSHALL", "SWAPDB 0 1", "SWAPDB {d} {d}", "FLUSHDB ASYNC", "RESET"];

/// Keys that mostly hold strings, and keys that mostly hold hashes: enough collisions of types, but not mostly errors.
/// The long ones are such that key, deadline and value share Valkey's allocation of a short string, or just do not.
const STRING_KEYS: &[&str] = &[
    "a",
    "b",
    "c",
    "key:1",
    "\"\"",
    "a-key-of-thirty-two-bytes-------",
    "a-key-of-one-hundred-and-four-bytes---------------------------------------------------------------------",
    // Keys of 108 bytes and more are left to scripts. There a deadline fits beside key and value only if the oracle's allocator, which is libc's, has
    // given 16 bytes more than asked for, since what was left of a hole was too small for a block: `embstr` by the heap's history, mostly `raw`.
    "a-key-of-forty-bytes--------------------",
];
const HASH_KEYS: &[&str] = &["h", "i", "\"\\x00\\xff\"", "FIELDS"];
const LIST_KEYS: &[&str] = &["l", "m", "n", "\"\\x03\\xff\""];
const SET_KEYS: &[&str] = &["s", "t", "u", "\"\\x01\\xff\""];
const ZSET_KEYS: &[&str] = &["z", "zz", "scores", "\"\\x02\\xff\""];
/// Mostly for HyperLogLogs: what changes a string otherwise seldom makes one corrupt.
const LOG_KEYS: &[&str] = &["log:1", "log:2", "\"\\x04\\xff\""];
/// Sorted sets all of whose members have one score: what ranges of members are defined for.
const LEX_KEYS: &[&str] = &["lex:1", "lex:2"];
const STREAM_KEYS: &[&str] = &["x", "y", "events", "\"\\x05\\xff\""];
const NEW_IDS: &[&str] = &["1-*", "2-*", "5-*", "9-*", "9-*", "9-*", "10-1", "9-20", "11-*", "3-3"];
const IDS: &[&str] = &[
    "0", "1", "1-1", "2", "2-0", "3-3", "5", "5-0", "5-1", "9-0", "9-1", "9-2", "9-3", "9-4", "9-5", "9-6",
    "9-20", "10-1", "11-0", "12", "-", "+", "(5-0", "(9-1", "(9-3", "0-0",
];
const GROUPS: &[&str] = &["g", "g", "h"];
const CONSUMERS: &[&str] = &["c", "d", "\"\""];
const FIELDS: &[&str] =
    &["f", "g", "h", "i", "j", "k", "10", "\"\"", "\"\\xff\\x00\"", "a-long-field-name-beyond-16"];
const VALUES: &[&str] = &[
    "v",
    "w",
    "\"\"",
    "0",
    "1",
    "-5",
    "10",
    "007",
    "3.5",
    "1e3",
    "abc",
    "ohmytext",
    "mynewtext",
    "\" 1\"",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "\"\\x00\\x01\\xff\"",
    "0123456789012345678901234567890123456789abcd",
    "0123456789012345678901234567890123456789abcde",
    "a-value-longer-than-sixteen-bytes",
    "nan",
    "inf",
    "0.1",
    "1.0",
    "-",
    "-0",
    "a-value-of-seventy-nine-bytes--------------------------------------------------",
    "a-value-of-one-hundred-and-twelve-bytes-------------------------------------------------------------------------",
    "a-value-that-is-longer-than-the-sixty-four-bytes-which-a-listpack-takes-by-default",
];
/// Many integers, so that intsets live for a while, of all widths.
const MEMBERS: &[&str] = &[
    "1",
    "2",
    "3",
    "-4",
    "50",
    "40000",
    "-40000",
    "3000000000",
    "-3000000000",
    "1073741823",
    "1073741824",
    "36028797018963968",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "01",
    "a",
    "b",
    "\"\"",
    "\"\\xff\\x00\"",
    "a-member-longer-than-sixteen-bytes",
    "a-member-that-is-longer-than-the-sixty-four-bytes-which-a-listpack-takes-by-default",
];
const INTEGERS: &[&str] =
    &["0", "1", "-1", "2", "7", "-100", "9223372036854775807", "-9223372036854775808", "4294967296"];
const FLOATS: &[&str] =
    &["0", "1", "-1", "0.1", "1.5", "-2.25", "3.0", "1e2", "1e-3", "100000000", "0.3333333333333333"];
const SCORES: &[&str] = &[
    "0",
    "1",
    "2",
    "3",
    "-1",
    "1",
    "2",
    "1.5",
    "-0",
    "0.1",
    "0.2",
    "-2.25",
    "100",
    "1e300",
    "-1e300",
    "inf",
    "-inf",
    "nan",
    "9007199254740993",
    "1e-5",
];
/// Degrees, of which few are no latitude.
const DEGREES: &[&str] = &[
    "0",
    "1",
    "1.5",
    "-1",
    "10.25",
    "-33.333333",
    "60",
    "-70.5",
    "84",
    "85.05112878",
    "13.361389",
    "38.115556",
    "86",
];
const SCORE_BOUNDS: &[&str] = &[
    "-inf", "+inf", "-inf", "inf", "0", "1", "(1", "2", "(2", "-1", "(-1", "1.5", "100", "(inf", "(-inf",
    "-0",
];
const LEX_BOUNDS: &[&str] =
    &["-", "+", "-", "+", "[f", "(f", "[h", "(j", "[10", "[", "(", "[a", "(v", "\"[\\xff\"", "f"];
const TIMES: &[&str] = &["100000", "200000", "300000", "0", "-1", "-100000", "9223372036854775807"];
const SECONDS: &[&str] = &["4102444800", "4102444801", "4200000000", "1", "0", "-1", "1000000000"];
const MILLIS: &[&str] = &["4102444800123", "4102444800124", "4200000000999", "1", "0", "-1", "1000000000000"];
const OFFSETS: &[&str] = &["0", "1", "2", "3", "-1", "-2", "5", "10", "-100", "100", "43", "45"];
const BIT_OFFSETS: &[&str] =
    &["0", "1", "2", "6", "7", "8", "9", "13", "31", "64", "100", "400", "-1", "#0", "#1", "#3", "#10"];
const BIT_TYPES: &[&str] =
    &["u1", "i1", "u4", "i5", "u8", "i8", "u16", "i16", "u31", "i32", "u63", "i64", "u64"];
const PATTERNS: &[&str] = &["*", "a", "?", "[a-c]", "[^a]*", "key*", "*1", "\\\\*", "\"\"", "*-*"];
const DATABASES: &[&str] = &["0", "1", "2", "0", "16"];
const CONDITIONS: &[&str] = &["NX", "XX", "GT", "LT", "nx", "gt"];
/// Replacements for a well-formed word. None is a small positive number: it could become a deadline a few milliseconds away.
const JUNK: &[&str] = &[
    "\"\"",
    "x",
    "1.5",
    "-1",
    "0",
    "\" 1\"",
    "9223372036854775808",
    "EX",
    "PX",
    "NX",
    "GET",
    "FIELDS",
    "\"a b\"",
    "+",
    "99999999",
    "\"EX\\x00x\"",
    "\"NX\\x00\"",
    "\"1\\x00\"",
    "\"a\\x00b\"",
    "\"a\\nb\"",
];

/// Makes the steps of one sequence, with about that many commands.
pub fn sequence(rng: &mut Rng, commands: usize) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut count = 0;
    while count < commands {
        let step = step(rng);
        count += step.commands().count();
        steps.push(step);
    }
    steps
}

impl Step {
    /// Its commands in order.
    pub fn commands(&self) -> impl Iterator<Item = &Command> {
        match self {
            Step::One(command) => std::slice::from_ref(command),
            Step::Transaction(commands) => commands.as_slice(),
            Step::Expire(commands) => commands.as_slice(),
        }
        .iter()
    }
}

fn step(rng: &mut Rng) -> Step {
    match rng.below(1000) {
        0..25 => transaction(rng),
        25..30 => expire(rng),
        30..33 => {
            let template = rng.pick(EMPTYING);
            Step::One(command(rng, 1, template, Vec::new()))
        }
        _ => Step::One(free(rng)),
    }
}

/// Any command of the grammar, now and then malformed.
fn free(rng: &mut Rng) -> Command {
    let (mode, template) = template(rng);
    let mut command = command(rng, 1, template, modes(mode));
    if rng.one_in(16) {
        malform(rng, &mut command.words);
    }
    if rng.one_in(8) {
        command.words = scripted::wrap(rng, &command.words, command.modes.is_empty());
    }
    command
}

fn template(rng: &mut Rng) -> (&'static str, &'static str) {
    let total: usize = GRAMMAR.iter().map(|(weight, ..)| weight).sum();
    let mut at = rng.below(total);
    for (weight, mode, template) in GRAMMAR {
        if at < *weight {
            return (mode, template);
        }
        at -= weight;
    }
    unreachable!("the weights add up to the total")
}

/// The kinds of comparison that the grammar names.
fn modes(name: &str) -> Vec<Mode> {
    match name {
        "" => Vec::new(),
        "any-order" => vec![Mode::Unordered],
        "pairs" => vec![Mode::Pairs],
        "deep" => vec![Mode::Deep],
        "shape" => vec![Mode::Shape],
        "seconds" => vec![Mode::Within(1)],
        "millis" => vec![Mode::Within(2000)],
        "outcome" => vec![Mode::Outcome],
        "times" => vec![Mode::Times],
        "ages" => vec![Mode::Mask(vec![2])],
        _ => unreachable!("the grammar uses known modes"),
    }
}

fn command(rng: &mut Rng, client: usize, template: &str, modes: Vec<Mode>) -> Command {
    let words = template.split(' ').map(|word| {
        let choices = match word {
            "{k}" => keys(rng, template),
            "{f}" => FIELDS,
            "{v}" => VALUES,
            "{n}" => INTEGERS,
            "{x}" => FLOATS,
            "{t}" => TIMES,
            "{s}" => SECONDS,
            "{m}" => MILLIS,
            "{i}" => OFFSETS,
            "{p}" => PATTERNS,
            "{u}" => MEMBERS,
            "{w}" => SCORES,
            "{o}" => DEGREES,
            "{r}" => SCORE_BOUNDS,
            "{l}" => LEX_KEYS,
            "{b}" => LEX_BOUNDS,
            "{a}" => NEW_IDS,
            "{q}" => IDS,
            "{g}" => GROUPS,
            "{h}" => CONSUMERS,
            "{d}" => DATABASES,
            "{e}" => CONDITIONS,
            "{c}" => &CONDITIONS[..2],
            "{z}" => &BIT_OFFSETS[..BIT_OFFSETS.len() - 4],
            "{j}" => BIT_OFFSETS,
            "{y}" => BIT_TYPES,
            plain => return plain.as_bytes().to_vec(),
        };
        unquoted(rng.pick(choices))
    });
    Command { client, words: words.collect(), modes }
}

/// Beginnings of templates about lists.
const ABOUT_LISTS: &[&str] = &[
    "RPUSH",
    "LPUSH",
    "LPOP",
    "RPOP",
    "LLEN",
    "LINDEX",
    "LRANGE",
    "LSET",
    "LINSERT",
    "LREM",
    "LTRIM",
    "LPOS",
    "LMOVE",
    "LMPOP",
    "BL",
    "BR",
    "COMMAND GETKEYS LMPOP",
];

/// Beginnings of templates about sets.
const ABOUT_SETS: &[&str] = &[
    "SADD",
    "SREM",
    "SCARD",
    "SISMEMBER",
    "SMISMEMBER",
    "SMEMBERS",
    "SMOVE",
    "SPOP",
    "SRANDMEMBER",
    "SINTER",
    "SUNION",
    "SDIFF",
    "SSCAN",
    "SORT",
    "COMMAND GETKEYS SINTER",
];

/// One in six keys is of another kind.
fn keys(rng: &mut Rng, template: &str) -> &'static [&'static str] {
    const KINDS: [&[&str]; 6] = [STRING_KEYS, HASH_KEYS, LIST_KEYS, SET_KEYS, ZSET_KEYS, STREAM_KEYS];
    if rng.one_in(6) {
        return rng.pick(&KINDS);
    }
    if template.starts_with("PF") {
        LOG_KEYS
    } else if ABOUT_SETS.iter().any(|name| template.starts_with(name)) {
        SET_KEYS
    } else if ABOUT_LISTS.iter().any(|name| template.starts_with(name)) {
        LIST_KEYS
    } else if ["ZUNION", "ZINTER", "ZDIFF"].iter().any(|name| template.starts_with(name)) && rng.one_in(4) {
        SET_KEYS
    } else if ["Z", "BZ", "GEO", "COMMAND GETKEYS Z"].iter().any(|name| template.starts_with(name)) {
        ZSET_KEYS
    } else if template.starts_with('X') {
        STREAM_KEYS
    } else if template.starts_with('H') {
        HASH_KEYS
    } else if ["DEL", "RENAME", "COPY", "MOVE", "OBJECT", "EXPIRE"]
        .iter()
        .any(|name| template.starts_with(name))
    {
        if rng.one_in(6) { LOG_KEYS } else { rng.pick(&KINDS) }
    } else {
        STRING_KEYS
    }
}

fn unquoted(word: &str) -> Vec<u8> {
    quote::split(word).expect("the alphabets are well quoted").concat()
}

/// Drops, doubles or replaces a word, or changes the letters' case.
fn malform(rng: &mut Rng, words: &mut Vec<Vec<u8>>) {
    let at = rng.below(words.len());
    // A cursor from the middle would show each server's own order.
    if words[0].ends_with(b"SCAN") && (1..=2).contains(&at) {
        return;
    }
    // Another count would show what each server draws.
    let draws = [&b"HRANDFIELD"[..], b"ZRANDMEMBER"].contains(&&words[0][..]);
    if draws && at == 2 {
        return;
    }
    // By another pattern, or none, members of a set come in the order of a table.
    if words[0].starts_with(b"SORT") {
        return;
    }
    // For a number of keys that is none the server reads the words by other rules.
    if words[0] == b"COMMAND"
        && words
            .get(2)
            .is_some_and(|name| [&b"ZUNIONSTORE"[..], b"LMPOP", b"SINTERCARD"].contains(&&name[..]))
    {
        return;
    }
    // Another time might be for ever.
    if [&b"BL"[..], b"BR", b"BZ", b"XREAD"].iter().any(|blocking| words[0].starts_with(blocking)) {
        return;
    }
    // Another score, and the order of members would be that of scores.
    if words[0] == b"ZADD" && words[1].starts_with(b"lex") {
        return;
    }
    if [&b"SRANDMEMBER"[..], b"SPOP"].contains(&&words[0][..]) {
        if words.len() > 2 {
            words.push(unquoted(rng.pick(JUNK)));
        }
        return;
    }
    let mut junk = unquoted(rng.pick(JUNK));
    // Members that differ behind a zero alone are alike to SORT: they come in the order of a table, or as a sort leaves them that keeps no order.
    if [&b"SADD"[..], b"SMOVE", b"ZADD", b"ZINCRBY"].contains(&&words[0][..]) {
        junk.retain(|byte| *byte != 0);
    }
    match rng.below(5) {
        // Without WITHVALUES what comes back are no pairs.
        0 if words.len() > 1 && !draws => {
            words.remove(words.len() - 1);
        }
        1 => words.push(junk),
        2 if at > 0 => words[at] = junk,
        3 => words.insert(at, words[at].clone()),
        _ => words[at] = words[at].to_ascii_lowercase(),
    }
}

/// WATCH, writes of oneself and of another client, then MULTI ... EXEC, whose reply must not depend on order or time.
fn transaction(rng: &mut Rng) -> Step {
    let mut commands = Vec::new();
    if rng.one_in(2) {
        commands.push(command(rng, 1, "WATCH {k} {k}", Vec::new()));
        for _ in 0..rng.below(3) {
            let client = 1 + rng.below(2);
            let made = plain(rng);
            commands.push(Command { client, ..made });
        }
    }
    commands.push(command(rng, 1, "MULTI", Vec::new()));
    for _ in 0..rng.below(6) {
        commands.push(plain(rng));
    }
    let end = if rng.one_in(6) { "DISCARD" } else { "EXEC" };
    commands.push(command(rng, 1, end, Vec::new()));
    Step::Transaction(commands)
}

/// A command whose reply is compared as it is, also inside EXEC's array.
fn plain(rng: &mut Rng) -> Command {
    loop {
        let made = free(rng);
        let name = made.words.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        if made.modes.is_empty() && ![&b"EXEC"[..], b"DISCARD", b"SELECT"].contains(&name.as_slice()) {
            return made;
        }
    }
}

fn expire(rng: &mut Rng) -> Step {
    let kind = rng.pick(&[HASH_KEYS, STRING_KEYS, LIST_KEYS, SET_KEYS, ZSET_KEYS]);
    let key = rng.pick(kind);
    let make = |rng: &mut Rng, template: &str| command(rng, 1, &template.replace("{key}", key), Vec::new());
    let set = if rng.one_in(2) { "PEXPIRE {key} 1" } else { "SET {key} {v} PX 1" };
    let mut commands = [make(rng, set), make(rng, "EXISTS {key}")];
    for command in &mut commands {
        command.words = command
            .words
            .iter()
            .map(|w| if w == key.as_bytes() { unquoted(key) } else { w.clone() })
            .collect();
    }
    Step::Expire(commands)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_sequence() {
        let lines = |seed| {
            let steps = sequence(&mut Rng::new(seed), 300);
            steps.iter().flat_map(Step::commands).map(|c| quote::line(&c.words)).collect::<Vec<_>>()
        };
        assert_eq!(lines(1), lines(1));
        assert_ne!(lines(1), lines(2));
    }

    #[test]
    fn every_template_can_be_made() {
        let mut rng = Rng::new(3);
        for (_, mode, template) in GRAMMAR {
            let made = command(&mut rng, 1, template, modes(mode));
            assert!(made.words.iter().all(|word| !word.starts_with(b"{")), "{template}");
        }
    }
}
