//! Tests that parsing and encoding are twins: a command read from the words of another says the same as the other.
//!
//! What the words mean is tested beside each command.

use std::collections::HashSet;
use std::path::Path;

use super::TWINS;
use crate::command::{Args, Argv, Parse};
use crate::error::Result;
use crate::keyspace::HashSeed;

/// The words that the parsed command encodes itself to.
pub(crate) fn again<'a, C: Parse<'a>>(argv: &'a [&'a [u8]]) -> Result<Argv> {
    let (name, arguments) = argv.split_at(C::NAME_WORDS);
    Ok(C::parse(&mut Args::new(arguments, C::SPEC, HashSeed::random(), 16).named(name))?.encode())
}

/// Words in the order and the case in which commands are encoded.
const LINES: &[&str] = &[
    "BITCOUNT a",
    "BITCOUNT a 1",
    "BITCOUNT a 0 -1 BIT",
    "BITFIELD a",
    "BITFIELD a GET u8 0 OVERFLOW SAT INCRBY i5 #1 -3",
    "BITFIELD_RO a GET u8 0 GET i5 #1",
    "BITOP AND d a b",
    "BITOP NOT d a",
    "BITPOS a 0",
    "BITPOS a 1 2 -1 BYTE",
    "GETBIT a 7",
    "SETBIT a 7 1",
    "CLIENT GETNAME",
    "CLIENT HELP",
    "CLIENT ID",
    "CLIENT INFO",
    "CLIENT KILL 127.0.0.1:6379",
    "CLIENT KILL TYPE normal ID 1 2 NOT-DB 3",
    "CLIENT LIST",
    "CLIENT LIST TYPE normal",
    "CLIENT LIST ID 1 2",
    "CLIENT SETINFO LIB-NAME x",
    "CLIENT SETINFO lib-ver 1",
    "CLIENT SETNAME me",
    "AUTH secret",
    "AUTH user secret",
    "HELLO",
    "HELLO 3",
    "HELLO 3 AUTH user secret",
    "HELLO 2 AUTH user secret SETNAME me",
    "ECHO x",
    "PING",
    "PING x",
    "QUIT",
    "RESET",
    "SELECT 3",
    "DEL a",
    "DEL a b c",
    "EXISTS a b",
    "TOUCH a b",
    "UNLINK a b",
    "EXPIRE a 10",
    "EXPIRE a 10 NX",
    "EXPIRE a 10 XX GT",
    "EXPIREAT a 10 LT",
    "PEXPIRE a -10",
    "PEXPIREAT a 10 XX",
    "OBJECT ENCODING a",
    "OBJECT FREQ a",
    "OBJECT HELP",
    "OBJECT IDLETIME a",
    "OBJECT REFCOUNT a",
    "COPY a b",
    "COPY a b DB 3",
    "COPY a b DB 3 REPLACE",
    "COPY a b REPLACE",
    "MOVE a 3",
    "MIGRATE h 6379 a 0 1000",
    "MIGRATE h 6379 a -1 -5 COPY REPLACE AUTH secret",
    "MIGRATE h 6379 a 0 1000 REPLACE AUTH2 user secret",
    "RENAME a b",
    "RENAMENX a b",
    "KEYS *",
    "RANDOMKEY",
    "SCAN 0 COUNT 10",
    "SCAN 7 MATCH a* COUNT 10",
    "SCAN 7 MATCH a* COUNT 10 TYPE hash",
    "TYPE a",
    "XACK x g 1-1 2",
    "XADD x 1-1 f 1 g 2",
    "XADD x NOMKSTREAM MAXLEN ~ 10 LIMIT 5 * f 1",
    "XADD x MINID = 5 5-* f 1",
    "XAUTOCLAIM x g c 5 0",
    "XAUTOCLAIM x g c 5 (1-1 COUNT 3 JUSTID",
    "XCLAIM x g c 5 1-1 2",
    "XCLAIM x g c 5 1-1 IDLE 3 TIME 5 RETRYCOUNT 2 FORCE JUSTID LASTID 5-5",
    "XDEL x 1-1 2",
    "XGROUP CREATE x g 0",
    "XGROUP CREATE x g $ MKSTREAM ENTRIESREAD 5",
    "XGROUP CREATECONSUMER x g c",
    "XGROUP DELCONSUMER x g c",
    "XGROUP DESTROY x g",
    "XGROUP HELP",
    "XGROUP SETID x g - ENTRIESREAD -1",
    "XINFO CONSUMERS x g",
    "XINFO GROUPS x",
    "XINFO HELP",
    "XINFO STREAM x",
    "XINFO STREAM x FULL",
    "XINFO STREAM x FULL COUNT 5",
    "XLEN x",
    "XPENDING x g",
    "XPENDING x g IDLE 5 - + 10 c",
    "XPENDING x g 1-1 (5 10",
    "XRANGE x - +",
    "XRANGE x (1-1 5 COUNT 3",
    "XREAD STREAMS x y 0 $",
    "XREAD COUNT 3 BLOCK 5 STREAMS x +",
    "XREADGROUP GROUP g c STREAMS x >",
    "XREADGROUP GROUP g c COUNT 3 BLOCK 0 NOACK STREAMS x y > 0",
    "XREVRANGE x + -",
    "XREVRANGE x 5 (1 COUNT 3",
    "XSETID x 5-5",
    "XSETID x 5-5 ENTRIESADDED 10 MAXDELETEDID 3-3",
    "XTRIM x MAXLEN 5",
    "XTRIM x MINID ~ 5 LIMIT 10",
    "SORT a",
    "SORT a ASC",
    "SORT a BY w_* LIMIT 0 10 GET # GET b_* DESC ALPHA STORE c",
    "SORT_RO a",
    "SORT_RO a BY w_* LIMIT 0 10 GET # ALPHA",
    "EXPIRETIME a",
    "PEXPIRETIME a",
    "PTTL a",
    "PERSIST a",
    "TTL a",
    "HGETALL h",
    "HKEYS h",
    "HVALS h",
    "HDEL h f g",
    "HGETDEL h FIELDS 2 f g",
    "HEXPIRE h 10 FIELDS 1 f",
    "HEXPIRE h 10 NX FIELDS 2 f g",
    "HEXPIREAT h 10 GT FIELDS 1 f",
    "HPEXPIRE h 10 LT FIELDS 1 f",
    "HPEXPIREAT h 10 XX FIELDS 1 f",
    "HPERSIST h FIELDS 1 f",
    "HEXISTS h f",
    "HGET h f",
    "HLEN h",
    "HMGET h f g",
    "HSTRLEN h f",
    "HGETEX h FIELDS 1 f",
    "HGETEX h EX 10 FIELDS 1 f",
    "HGETEX h PXAT 10 FIELDS 2 f g",
    "HGETEX h PERSIST FIELDS 1 f",
    "HINCRBY h f 5",
    "HINCRBYFLOAT h f 1.5",
    "HRANDFIELD h",
    "HRANDFIELD h -2",
    "HRANDFIELD h 2 WITHVALUES",
    "HSCAN h 0 COUNT 10",
    "HSCAN h 0 MATCH a* COUNT 10",
    "HSCAN h 0 MATCH a* COUNT 10 NOVALUES",
    "HMSET h f 1 g 2",
    "HSET h f 1 g 2",
    "HSETNX h f 1",
    "HSETEX h FIELDS 1 f 1",
    "HSETEX h FNX EX 10 FIELDS 2 f 1 g 2",
    "HSETEX h FXX KEEPTTL FIELDS 1 f 1",
    "HSETEX h NX PXAT 10 FIELDS 1 f 1",
    "HEXPIRETIME h FIELDS 1 f",
    "HPEXPIRETIME h FIELDS 1 f",
    "HPTTL h FIELDS 1 f",
    "HTTL h FIELDS 2 f g",
    "GEOADD g XX CH 1 2 a 3 4 b",
    "GEODIST g a b",
    "GEODIST g a b KM",
    "GEOHASH g a b",
    "GEOPOS g a",
    "GEORADIUS g 1 2 3 km WITHDIST COUNT 2 ANY STORE d",
    "GEORADIUSBYMEMBER g a 3 km ASC",
    "GEORADIUSBYMEMBER_RO g a 3 km",
    "GEORADIUS_RO g 1 2 3 km DESC",
    "GEOSEARCH g FROMMEMBER a BYBOX 1 2 km ASC",
    "GEOSEARCHSTORE d g FROMLONLAT 1 2 BYRADIUS 1 km STOREDIST",
    "PFADD p",
    "PFADD p a b",
    "PFCOUNT p q",
    "PFDEBUG DECODE p",
    "PFMERGE d",
    "PFMERGE d p q",
    "PFSELFTEST",
    "LINSERT l BEFORE a b",
    "LINSERT l AFTER a b",
    "LREM l -2 a",
    "LSET l -1 a",
    "LTRIM l 0 -1",
    "LINDEX l 0",
    "LLEN l",
    "LRANGE l 0 -1",
    "BLMOVE l m LEFT RIGHT 0.5",
    "BRPOPLPUSH l m 0",
    "LMOVE l m RIGHT LEFT",
    "RPOPLPUSH l m",
    "BLMPOP 0 2 l m LEFT COUNT 3",
    "LMPOP 2 l m RIGHT",
    "LMPOP 1 l LEFT COUNT 2",
    "BLPOP l m 0",
    "BRPOP l 1.5",
    "LPOP l",
    "LPOP l 2",
    "RPOP l",
    "LPOS l a",
    "LPOS l a RANK -1 COUNT 0 MAXLEN 5",
    "LPUSH l a b",
    "LPUSHX l a",
    "RPUSH l a b",
    "RPUSHX l a",
    "SADD s a b",
    "SCARD s",
    "SISMEMBER s a",
    "SMISMEMBER s a b",
    "SMEMBERS s",
    "SINTER s t",
    "SINTERCARD 2 s t",
    "SINTERCARD 2 s t LIMIT 5",
    "SINTERSTORE d s t",
    "SMOVE s t a",
    "SPOP s",
    "SPOP s 2",
    "SRANDMEMBER s",
    "SRANDMEMBER s -2",
    "SREM s a b",
    "SSCAN s 0 COUNT 10",
    "SSCAN s 0 MATCH a* COUNT 10",
    "SDIFF s t",
    "SDIFFSTORE d s t",
    "SUNION s t",
    "SUNIONSTORE d s t",
    "ZADD z 1 a",
    "ZADD z XX GT CH INCR 1.5 a",
    "ZADD z NX 1 a -inf b",
    "ZINCRBY z 1.5 a",
    "ZDIFF 2 a b",
    "ZDIFF 2 a b WITHSCORES",
    "ZDIFFSTORE d 2 a b",
    "ZINTER 2 a b WEIGHTS 1 2 AGGREGATE MAX WITHSCORES",
    "ZINTERCARD 2 a b",
    "ZINTERCARD 2 a b LIMIT 3",
    "ZINTERSTORE d 2 a b AGGREGATE MIN",
    "ZUNION 1 a",
    "ZUNION 2 a b WEIGHTS 1 2",
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2 AGGREGATE SUM",
    "ZCARD z",
    "ZCOUNT z 1 (2",
    "ZLEXCOUNT z [a +",
    "ZMSCORE z a b",
    "ZRANK z a",
    "ZRANK z a WITHSCORE",
    "ZREVRANK z a WITHSCORE",
    "ZSCORE z a",
    "BZMPOP 0.5 2 a b MIN COUNT 3",
    "BZPOPMAX a b 0",
    "BZPOPMIN a 1.5",
    "ZMPOP 2 a b MAX",
    "ZMPOP 1 a MIN COUNT 2",
    "ZPOPMAX z",
    "ZPOPMIN z 3",
    "ZRANDMEMBER z",
    "ZRANDMEMBER z -3 WITHSCORES",
    "ZRANGE z 0 -1",
    "ZRANGE z (1 5 BYSCORE REV LIMIT 1 2 WITHSCORES",
    "ZRANGE z [a + BYLEX LIMIT 0 -1",
    "ZRANGEBYLEX z - + LIMIT 0 1",
    "ZRANGEBYSCORE z 1 2 WITHSCORES LIMIT 0 1",
    "ZRANGESTORE d z 1 2 BYSCORE REV LIMIT 0 1",
    "ZREVRANGE z 0 1 WITHSCORES",
    "ZREVRANGEBYLEX z + -",
    "ZREVRANGEBYSCORE z 2 1",
    "ZREM z a b",
    "ZREMRANGEBYLEX z [a [b",
    "ZREMRANGEBYRANK z 0 1",
    "ZREMRANGEBYSCORE z 1 2",
    "ZSCAN z 0 COUNT 10",
    "ZSCAN z 0 MATCH a* COUNT 10 NOSCORES",
    "COMMAND",
    "COMMAND COUNT",
    "COMMAND DOCS",
    "COMMAND DOCS get set",
    "COMMAND GETKEYS get a",
    "COMMAND GETKEYSANDFLAGS get a",
    "COMMAND HELP",
    "COMMAND INFO",
    "COMMAND INFO get set",
    "COMMAND LIST",
    "COMMAND LIST FILTERBY PATTERN g*",
    "COMMANDLOG GET 5 slow",
    "COMMANDLOG HELP",
    "COMMANDLOG LEN slow",
    "COMMANDLOG RESET slow",
    "CONFIG GET maxmemory",
    "CONFIG GET a b",
    "CONFIG HELP",
    "CONFIG RESETSTAT",
    "CONFIG REWRITE",
    "CONFIG SET a 1",
    "CONFIG SET a 1 b 2",
    "DEBUG SLEEP 0",
    "DBSIZE",
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "FLUSHDB",
    "FLUSHDB SYNC",
    "SWAPDB 0 1",
    "INFO",
    "INFO server clients",
    "LATENCY DOCTOR",
    "LATENCY GRAPH e",
    "LATENCY HELP",
    "LATENCY HISTOGRAM",
    "LATENCY HISTOGRAM get set",
    "LATENCY HISTORY e",
    "LATENCY LATEST",
    "LATENCY RESET",
    "LATENCY RESET e",
    "MEMORY DOCTOR",
    "MEMORY HELP",
    "MEMORY MALLOC-STATS",
    "MEMORY PURGE",
    "MEMORY STATS",
    "MEMORY USAGE a",
    "MEMORY USAGE a SAMPLES 5",
    "SLOWLOG GET",
    "SLOWLOG GET 5",
    "SLOWLOG HELP",
    "SLOWLOG LEN",
    "SLOWLOG RESET",
    "LASTSAVE",
    "BGREWRITEAOF",
    "SHUTDOWN NOSAVE NOW",
    "LOLWUT",
    "LOLWUT VERSION 5",
    "ROLE",
    "TIME",
    "APPEND a x",
    "DECR a",
    "DECRBY a 5",
    "INCR a",
    "INCRBY a -5",
    "GET a",
    "GETDEL a",
    "GETEX a",
    "GETEX a EX 10",
    "GETEX a PERSIST",
    "GETEX a PXAT 10",
    "STRLEN a",
    "INCRBYFLOAT a 1.5",
    "LCS a b",
    "LCS a b LEN",
    "LCS a b IDX MINMATCHLEN 3 WITHMATCHLEN",
    "MGET a b",
    "MSET a 1 b 2",
    "MSETNX a 1 b 2",
    "GETRANGE a 0 -1",
    "SETRANGE a 5 x",
    "SUBSTR a 0 -1",
    "DELIFEQ a x",
    "GETSET a x",
    "PSETEX a 10 x",
    "SET a x",
    "SET a x NX",
    "SET a x XX GET EX 10",
    "SET a x IFEQ y KEEPTTL",
    "SET a x PXAT 10",
    "SETEX a 10 x",
    "SETNX a x",
    "EVAL script 1 a x",
    "EVAL_RO script 1 a x",
    "SCRIPT LOAD script",
    "DISCARD",
    "EXEC",
    "MULTI",
    "UNWATCH",
    "WATCH a b",
];

fn encode(words: &[&[u8]]) -> Argv {
    let line = || words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" ");
    let found = crate::commands::table::resolve(words)
        .unwrap_or_else(|unresolved| panic!("{}: {}", line(), unresolved.error));
    let (_, again) = TWINS
        .iter()
        .copied()
        .flatten()
        .find(|(name, _)| *name == found.spec.name)
        .expect("both lists are one");
    again(words).unwrap_or_else(|error| panic!("{}: {error}", line()))
}

/// As [`encode`], twice: what was encoded is parsed again.
fn round_trip(line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    let once = encode(&words);
    let twice = encode(&once.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(once, twice, "{line}");
    String::from_utf8(once.join(&b' ')).expect("the lines are text")
}

#[test]
fn encoded_commands_say_what_was_parsed() {
    let differs = |line: &&&str| !round_trip(line).eq_ignore_ascii_case(line);
    let differing: Vec<_> = LINES.iter().filter(differs).map(|line| (line, round_trip(line))).collect();
    assert!(differing.is_empty(), "{differing:#?}");
}

#[test]
fn defaults_are_written_out() {
    assert_eq!(round_trip("SCAN 0"), "SCAN 0 COUNT 10");
    assert_eq!(round_trip("hscan h 0 novalues"), "HSCAN h 0 COUNT 10 NOVALUES");
}

/// The commands of the compat scripts that are plain words: no quotes, no repetition, nothing that only a directive explains.
fn script_lines(folder: &Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("the scripts are beside the engine").flatten() {
        let path = entry.path();
        if path.is_dir() {
            script_lines(&path, lines);
        } else if path.extension().is_some_and(|extension| extension == "txt") {
            let text = std::fs::read_to_string(&path).expect("a script is text");
            lines.extend(text.lines().filter_map(plain_command).map(str::to_owned));
        }
    }
}

/// The command of a script's line without its connection and its mode of comparison.
fn plain_command(line: &str) -> Option<&str> {
    let mut rest = line.trim();
    if rest.starts_with('@') {
        rest = rest.split_once(' ')?.1;
    }
    if rest.starts_with('[') {
        rest = rest.split_once("] ")?.1;
    }
    let is_command = rest.starts_with(|first: char| first.is_ascii_alphabetic());
    (is_command && !rest.contains(['"', '\'', '\\', '{'])).then_some(rest)
}

#[test]
fn every_command_is_encoded() {
    let mut lines: Vec<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
    script_lines(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/compat"), &mut lines);
    let mut encoded = HashSet::new();
    for line in &lines {
        let words: Vec<&[u8]> = line.split_ascii_whitespace().map(str::as_bytes).collect();
        let Ok(found) = crate::commands::table::resolve(&words) else { continue };
        let (_, again) = TWINS
            .iter()
            .copied()
            .flatten()
            .find(|(name, _)| *name == found.spec.name)
            .expect("both lists are one");
        // Scripts test errors, too: what can't be parsed is not encoded, and what HSCAN and LCS refuse only later loses its options once.
        let encode = |words: &Argv| again(&words.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let Ok(twice) = again(&words).and_then(|once| encode(&once)) else { continue };
        assert_eq!(encode(&twice).as_ref(), Ok(&twice), "{line}");
        encoded.insert(found.spec.name);
    }
    let is_container = |name: &str| {
        crate::commands::table::by_name(name.as_bytes()).is_some_and(|found| found.spec.container)
    };
    let without: Vec<&str> = TWINS
        .iter()
        .copied()
        .flatten()
        .map(|(name, _)| *name)
        .filter(|name| !is_container(name) && !encoded.contains(name))
        .collect();
    assert!(without.is_empty(), "no script and no line above uses {without:?} with arguments that parse");
}
