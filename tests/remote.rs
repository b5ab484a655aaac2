//! The contract of `docs/remote.md` against real servers: what the fake one of the engine's own tests can't know.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use keystead::command::spec::Flags;
use keystead::{Database, Engine, ErrorKind, Form};
use keystead_tests::resp::{Client, Reply, encode};
use keystead_tests::server::{Pair, Server};

/// An engine over a server, linked.
fn over(server: &Server, options: &str) -> Engine {
    let engine = Engine::open(format!("valkey://{}/0?{options}", server.address())).unwrap();
    until("a link", || engine.near_stats().is_some_and(|stats| stats.is_linked));
    engine
}

fn started() -> Server {
    Server::start(&Pair::from_env().unwrap().oracle).unwrap()
}

#[track_caller]
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}: still not so");
        thread::sleep(Duration::from_millis(1));
    }
}

fn told(client: &mut Client, words: &[&str]) -> Reply {
    client.call(words).unwrap()
}

fn get(db: &Database, key: &str) -> Option<String> {
    db.get(key).unwrap().map(|value| String::from_utf8(value).unwrap())
}

/// How often the server has executed a command.
fn calls(client: &mut Client, command: &str) -> u64 {
    let info = told(client, &["INFO", "commandstats"]);
    let text = String::from_utf8_lossy(info.text().unwrap()).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")).map(str::to_owned));
    line.and_then(|line| line.split(',').next().and_then(|calls| calls.parse().ok())).unwrap_or(0)
}

#[test]
fn reads_are_near_and_writes_of_others_are_seen() {
    let server = started();
    let mut other = server.client().unwrap();
    let engine = over(&server, "");
    let db = engine.database(0).unwrap();
    told(&mut other, &["SET", "k", "one"]);
    assert_eq!(get(&db, "k").as_deref(), Some("one"));
    let before = calls(&mut other, "get");
    (0..100).for_each(|_| assert_eq!(get(&db, "k").as_deref(), Some("one")));
    assert_eq!(calls(&mut other, "get"), before);
    for (words, value) in [
        (&["SET", "k", "two"][..], Some("two")),
        (&["APPEND", "k", "!"], Some("two!")),
        (&["DEL", "k"], None),
        (&["SET", "k", "three"], Some("three")),
        (&["FLUSHALL"], None),
        (&["EVAL", "redis.call('SET', 'k', 'four')", "0"], Some("four")),
        (&["PEXPIRE", "k", "1"], None),
    ] {
        told(&mut other, words);
        until(&format!("{words:?}"), || get(&db, "k").as_deref() == value);
    }
}

/// R9: what the server no longer tracks is invalidated as anything else.
#[test]
fn r9_a_full_tracking_table_makes_nothing_stale() {
    let server = started();
    let mut other = server.client().unwrap();
    told(&mut other, &["CONFIG", "SET", "tracking-table-max-keys", "100"]);
    let engine = over(&server, "");
    let db = engine.database(0).unwrap();
    let key = |number: usize| format!("key:{number}");
    for number in 0..3_000 {
        told(&mut other, &["SET", &key(number), "old"]);
        assert_eq!(get(&db, &key(number)).as_deref(), Some("old"));
    }
    for number in 0..3_000 {
        told(&mut other, &["SET", &key(number), "new"]);
    }
    // What was said of these keys stands before the reply to this in the link.
    until("the last is new", || get(&db, &key(2_999)).as_deref() == Some("new"));
    db.ttl("nothing").unwrap();
    for number in 0..3_000 {
        assert_eq!(get(&db, &key(number)).as_deref(), Some("new"), "{number}");
    }
    assert!(engine.near_stats().unwrap().invalidations >= 2_900);
}

/// A value of each type.
const VALUES: &[&[&str]] = &[
    &["SET", "s", "text"],
    &["SET", "n", "12"],
    &["RPUSH", "l", "a", "b", "c"],
    &["HSET", "h", "f", "v", "g", "w"],
    &["SADD", "set", "one"],
    &["ZADD", "z", "1.5", "a", "inf", "b", "-0", "c"],
    &["XADD", "x", "1-1", "f", "v"],
    &["GEOADD", "geo", "13.361389", "38.115556", "Palermo"],
    &["SETBIT", "bits", "7", "1"],
    &["PFADD", "hll", "a", "b"],
];

/// Reads of all of them, and what sessions have beside.
const LINES: &[&str] = &[
    "GET s|GET none|GET l|STRLEN s|GETRANGE s 1 2|EXISTS s|TYPE z|LRANGE l 0 -1|LINDEX l 1|LINDEX l 9|LPOS l b|LPOS l z|LPOS l b COUNT 0|LLEN l",
    "HGET h f|HGET h none|HGET none f|HMGET h f none g|HEXISTS h f|HSTRLEN h f|HGETALL h|HLEN h|SCARD set|SMEMBERS set|SISMEMBER set one",
    "SMISMEMBER set one two|ZSCORE z a|ZSCORE z b|ZSCORE z none|ZMSCORE z a none|ZRANGE z 0 -1|ZRANGE z 0 -1 WITHSCORES|ZRANK z b",
    "ZRANK z b WITHSCORE|ZRANK z none WITHSCORE|ZCOUNT z -inf +inf|XRANGE x - +|XLEN x|XRANGE none - +|GEOPOS geo Palermo none",
    "GEODIST geo Palermo none|GEOHASH geo Palermo|GETBIT bits 7|BITCOUNT bits|BITPOS bits 1|PFCOUNT hll|OBJECT ENCODING n|PEXPIRETIME s|MGET s none l",
    "SINTER set|LCS s s|GET|GET s t|NONSENSE a|HGET s f|HMGET s f|LRANGE l x y|SET s text|GET s|INCR n|GET n|TTL s|EXISTS s none|GETEX s|SRANDMEMBER set",
    "MULTI|GET s|INCR n|EXEC|GET n|MULTI|NONSENSE|EXEC|MULTI|SET s no|DISCARD|GET s|SELECT 1|GET s|SET s one|GET s|SELECT 0|GET s|WATCH s|GET s|UNWATCH",
    "MULTI|SELECT 1|SET inner one|EXEC|GET inner|SELECT 0|GET inner|WATCH s|MULTI|SELECT 2|DISCARD|GET s|DBSIZE|SELECT 1|DEL inner|SELECT 0",
    "EVAL return(redis.call('GET',KEYS[1])) 1 s|COPY s s2|GET s2|RENAME s2 s3|GET s2|GET s3|SELECT 999|GET s|CONFIG GET maxclients|RESET|GET s|FLUSHDB|GET s|DBSIZE",
];

/// R13 and R5: what sessions read, near or not, is what a server replies, byte for byte.
#[test]
fn sessions_reply_as_the_server_does() {
    for protocol in ["2", "3"] {
        let (server, twin) = (started(), started());
        for server in [&server, &twin] {
            let mut client = server.client().unwrap();
            VALUES
                .iter()
                .for_each(|words| assert!(!matches!(told(&mut client, words), Reply::Error(_)), "{words:?}"));
        }
        let engine = over(&server, "");
        let (mut session, mut raw) = (engine.session(Form::Resp), Raw::connect(&twin));
        assert!(!session.execute(&[b"HELLO", protocol.as_bytes()]).starts_with(b"-"));
        raw.call(&["HELLO", protocol]);
        for line in LINES.iter().flat_map(|lines| lines.split('|')) {
            let words: Vec<&str> = line.split(' ').collect();
            let argv: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
            let is_read = keystead::commands::table::find(&argv)
                .is_some_and(|found| found.spec.flags.contains(Flags::READONLY));
            // Twice: what is fetched, and what is near.
            for time in 0..if is_read { 2 } else { 1 } {
                let expected = raw.call(&words);
                let got = session.execute(&argv).to_vec();
                let (got, expected) = (String::from_utf8_lossy(&got), String::from_utf8_lossy(&expected));
                assert_eq!(got, expected, "RESP{protocol}, time {time}: {line}");
            }
        }
        assert!(engine.near_stats().unwrap().hits > 30);
    }
}

/// A connection whose replies are bytes.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn connect(server: &Server) -> Raw {
        Raw(BufReader::new(TcpStream::connect(server.address()).unwrap()))
    }

    fn call(&mut self, words: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(words, &mut bytes);
        self.0.get_mut().write_all(&bytes).unwrap();
        let mut reply = Vec::new();
        self.read(&mut reply);
        reply
    }

    fn read(&mut self, reply: &mut Vec<u8>) {
        let start = reply.len();
        self.0.read_until(b'\n', reply).unwrap();
        let line = String::from_utf8_lossy(&reply[start..]).trim_end().to_owned();
        let count = line[1..].parse::<i64>().unwrap_or(0).max(0);
        match line.as_bytes()[0] {
            b'$' | b'=' if line[1..] != *"-1" => {
                let mut text = vec![0; count as usize + 2];
                self.0.read_exact(&mut text).unwrap();
                reply.extend(text);
            }
            b'*' | b'~' => (0..count).for_each(|_| self.read(reply)),
            b'%' => (0..2 * count).for_each(|_| self.read(reply)),
            _ => {}
        }
    }
}

/// R1 and R6 with a real server: no reader ever goes back, and nobody reads what was before a write that has returned.
#[test]
fn readers_and_writers_race() {
    let server = started();
    let engine = over(&server, "");
    let db = engine.database(0).unwrap();
    db.set("own", "0").unwrap();
    db.set("theirs", "0").unwrap();
    let (written, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = 0;
                while !is_over.load(Ordering::Acquire) {
                    let least = written.load(Ordering::Acquire);
                    let own: u64 = get(&db, "own").unwrap().parse().unwrap();
                    assert!(own >= least, "{own} after {least} was written");
                    let theirs: u64 = get(&db, "theirs").unwrap().parse().unwrap();
                    assert!(theirs >= last, "{theirs} after {last}");
                    last = theirs;
                }
            });
        }
        let mut other = server.client().unwrap();
        for number in 1..5_000_u64 {
            db.set("own", number.to_string()).unwrap();
            written.store(number, Ordering::Release);
            told(&mut other, &["SET", "theirs", &number.to_string()]);
        }
        until("the last value", || get(&db, "theirs").as_deref() == Some("4999"));
        is_over.store(true, Ordering::Release);
    });
}

/// R3 and R12: the link is killed, again and again, while another writes; a demoted primary is not served from.
#[test]
fn a_killed_link_and_a_demoted_primary_serve_nothing_old() {
    let server = started();
    let engine = over(&server, "heartbeat=100ms");
    let db = engine.database(0).unwrap();
    let mut other = server.client().unwrap();
    for round in 0..20 {
        let value = format!("value {round}");
        told(&mut other, &["SET", "k", &value]);
        until("the value", || get(&db, "k").as_deref() == Some(&*value));
        let id = told(&mut other, &["CLIENT", "ID"]);
        let Reply::Int(own) = id else { panic!("{id:?}") };
        told(&mut other, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes", "ID", &own.to_string()]);
        told(&mut other, &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        let value = format!("changed {round}");
        told(&mut other, &["SET", "k", &value]);
        // Whatever is lost, no read goes back.
        until("the newer value", || matches!(db.get("k"), Ok(Some(read)) if read == value.as_bytes()));
    }
    let primary = server.another().unwrap();
    let port = primary.address().port().to_string();
    told(&mut other, &["REPLICAOF", "127.0.0.1", &port]);
    until("the link is given up", || !engine.near_stats().unwrap().is_linked);
    assert_eq!(db.set("k", "refused").unwrap_err().code(), b"READONLY");
    told(&mut other, &["REPLICAOF", "NO", "ONE"]);
    until("a link", || engine.near_stats().unwrap().is_linked);
    db.set("k", "again").unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some("again"));
}

/// A user of its own, whom the server lets do as much as the near cache needs, or less.
#[test]
fn users_and_their_rights() {
    let server = started();
    let mut other = server.client().unwrap();
    for (name, rules) in [("able", "+@all"), ("less", "-client|tracking")] {
        told(&mut other, &["ACL", "SETUSER", name, "on", ">pa ss", "~*", "&*", "+@all", rules]);
    }
    told(&mut other, &["SET", "k", "one"]);
    let url = |user: &str, password: &str| format!("valkey://{user}:{password}@{}/0", server.address());
    let able = Engine::open(url("able", "pa%20ss")).unwrap();
    until("a link", || able.near_stats().unwrap().is_linked);
    assert_eq!(get(&able.database(0).unwrap(), "k").as_deref(), Some("one"));
    let less = Engine::open(url("less", "pa%20ss")).unwrap();
    until("the refusal", || less.near_stats().unwrap().is_refused);
    assert_eq!(get(&less.database(0).unwrap(), "k").as_deref(), Some("one"));
    let wrong = Engine::open(url("able", "wrong")).unwrap();
    let error = wrong.database(0).unwrap().get("k").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    assert!(String::from_utf8_lossy(error.as_bytes()).contains("WRONGPASS"), "{error:?}");
}

/// Another database of the URL is where sessions and what is near begin.
#[test]
fn a_url_names_a_database() {
    let server = started();
    let mut other = server.client().unwrap();
    told(&mut other, &["SELECT", "3"]);
    told(&mut other, &["SET", "k", "three"]);
    let engine = Engine::open(format!("redis://{}/3", server.address())).unwrap();
    until("a link", || engine.near_stats().unwrap().is_linked);
    let mut session = engine.session(Form::Resp);
    for _ in 0..2 {
        assert_eq!(session.execute(&[b"GET", b"k"]), b"$5\r\nthree\r\n");
    }
    assert_eq!(session.db(), 3);
    assert_eq!(calls(&mut other, "get"), 1);
}

/// A blocking command waits on a connection of its own, and others go on.
#[test]
fn blocking_commands_hold_up_nobody() {
    let server = started();
    let engine = over(&server, "timeout=200ms");
    let mut waiting = engine.session(Form::Resp);
    let popped = thread::spawn(move || waiting.execute(&[b"BLPOP", b"l", b"0"]).to_vec());
    let db = engine.database(0).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        db.set("k", "one").unwrap();
        assert_eq!(get(&db, "k").as_deref(), Some("one"));
    }
    let mut session = engine.session(Form::Resp);
    assert_eq!(session.execute(&[b"RPUSH", b"l", b"x"]), b":1\r\n");
    assert_eq!(popped.join().unwrap(), b"*2\r\n$1\r\nl\r\n$1\r\nx\r\n");
}

/// A process that ends with this value.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three sentinels of the server's own program that watch a primary by the name "mymaster", and their ports.
fn sentinels(folder: &Path, primary: &Server) -> Vec<(Running, u16)> {
    let program = std::env::var_os("KEYSTEAD_ORACLE").unwrap();
    let start = |number: usize| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let file = folder.join(format!("sentinel-{number}.conf"));
        let watched = primary.address().port();
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor mymaster 127.0.0.1 {watched} 2\n\
             sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n",
            folder.display()
        );
        std::fs::write(&file, text).unwrap();
        let log = std::fs::File::create(folder.join(format!("sentinel-{number}.log"))).unwrap();
        let child = Command::new(&program).arg(&file).arg("--sentinel").stdout(log).spawn().unwrap();
        (Running(child), port)
    };
    (0..3).map(start).collect()
}

/// R12: sentinels make a replica the primary: the link and the writes go there, and what is near is what it says.
#[test]
fn r12_a_failover_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (primary, replica) = (started(), started());
    // A connection each time: those of clients are closed when a server changes its part.
    let ask = |server: &Server, words: &[&str]| server.client().and_then(|mut client| client.call(words));
    let has = |server: &Server, value: &str| {
        ask(server, &["GET", "k"]).is_ok_and(|reply| reply.text() == Some(value.as_bytes()))
    };
    let port = primary.address().port().to_string();
    ask(&replica, &["REPLICAOF", "127.0.0.1", &port]).unwrap();
    let watching = sentinels(folder.path(), &primary);
    let mut sentinel = Client::connect(([127, 0, 0, 1], watching[0].1).into());
    until("a sentinel", || {
        sentinel = Client::connect(([127, 0, 0, 1], watching[0].1).into());
        sentinel.is_ok()
    });
    let mut sentinel = sentinel.unwrap();
    let field = |sentinel: &mut Client, name: &str| {
        let Reply::Array(parts) = told(sentinel, &["SENTINEL", "MASTER", "mymaster"]) else {
            return String::new();
        };
        let texts: Vec<String> = parts
            .iter()
            .map(|part| String::from_utf8_lossy(part.text().unwrap_or_default()).into_owned())
            .collect();
        texts.chunks(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone()).unwrap_or_default()
    };
    until("the sentinels know each other and the replica", || {
        field(&mut sentinel, "num-slaves") == "1" && field(&mut sentinel, "num-other-sentinels") == "2"
    });
    let hosts: Vec<String> = watching.iter().map(|(_, port)| format!("127.0.0.1:{port}")).collect();
    let engine = Engine::open(format!("sentinel://{}/mymaster?timeout=1s", hosts.join(","))).unwrap();
    until("a link", || engine.near_stats().unwrap().is_linked);
    let db = engine.database(0).unwrap();
    db.set("k", "before").unwrap();
    assert_eq!(get(&db, "k").as_deref(), Some("before"));
    until("the replica has it", || has(&replica, "before"));
    let generation = engine.near_stats().unwrap().generation;
    until("the failover begins", || {
        matches!(told(&mut sentinel, &["SENTINEL", "FAILOVER", "mymaster"]), Reply::Simple(_))
    });
    until("another link", || {
        engine.near_stats().is_some_and(|stats| stats.is_linked && stats.generation > generation)
    });
    until("the new primary takes writes", || db.set("k", "after").is_ok());
    assert!(has(&replica, "after"));
    until("another writes", || {
        ask(&replica, &["SET", "k", "theirs"]).is_ok_and(|reply| matches!(reply, Reply::Simple(_)))
    });
    until(
        "the value of another, by the new link",
        || matches!(db.get("k"), Ok(Some(value)) if value == b"theirs"),
    );
    // What the old one says by now is what the new one has said.
    until("the old one follows", || has(&primary, "theirs"));
}
