//! Files go both ways between Keystead and a real Valkey: snapshots and logs, as they are left behind by either, with every type, encoding and kind of time
//! to live. The server's own checkers accept ours.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fs;
use std::path::Path;
use std::process::Command;

use keystead_tests::resp::{Client, Reply};
use keystead_tests::server::{Binary, Pair, Server};

fn text(client: &mut Client, line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let reply = client.call(&words).unwrap();
    assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply}");
    reply.to_string()
}

/// Something of every type and encoding.
fn fill(client: &mut Client) {
    for number in 0..200 {
        for line in ["SET int:N N", "SET text:N value:N", "SETEX late:N 10000 N"] {
            text(client, &line.replace('N', &number.to_string()));
        }
    }
    text(client, &format!("SET long {}", "abc".repeat(50_000)));
    text(client, "SETBIT bits 100000 1");
    text(client, "PFADD hyperloglog a b c");
    for count in [3_u32, 700, 3000] {
        let numbers: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let words = |prefix: &str| {
            numbers.iter().map(|number| format!("{prefix}{number}")).collect::<Vec<_>>().join(" ")
        };
        let pairs = |one: &str, other: &str| {
            numbers
                .iter()
                .map(|number| format!("{one}{number} {other}{number}"))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for line in [
            format!("RPUSH list:{count} {}", words("e")),
            format!("SADD ints:{count} {}", words("")),
            format!("SADD set:{count} {}", words("m")),
            format!("HSET hash:{count} {}", pairs("f", "v")),
            format!("HSET timed:{count} {}", pairs("f", "v")),
            format!("HPEXPIRE timed:{count} 100000000 FIELDS 2 f0 f1"),
            format!("ZADD zset:{count} {}", pairs("", "m")),
        ] {
            text(client, &line);
        }
        for number in &numbers {
            text(client, &format!("XADD stream:{count} {}-1 f {number}", number.parse::<u32>().unwrap() + 1));
        }
        text(client, &format!("XDEL stream:{count} 2-1"));
        text(client, &format!("XGROUP CREATE stream:{count} group 0"));
        text(client, &format!("XREADGROUP GROUP group one COUNT 2 STREAMS stream:{count} >"));
    }
    text(client, "SELECT 3");
    text(client, "SET other 1");
    text(client, "SELECT 0");
}

fn options(is_logged: bool) -> &'static [&'static str] {
    if is_logged { &["--appendonly", "yes", "--save", ""] } else { &["--save", "3600 1"] }
}

/// What one leaves, the other has.
fn go(from: &Binary, to: &Binary, is_logged: bool, folder: &Path) {
    let digest = {
        let server = Server::start_in(folder, from, options(is_logged)).unwrap();
        let mut client = server.client().unwrap();
        fill(&mut client);
        if is_logged {
            text(&mut client, "BGREWRITEAOF");
            text(&mut client, "SET behind the-rewrite");
            text(&mut client, "MULTI");
            text(&mut client, "INCR behind:1");
            text(&mut client, "SPOP set:700");
            text(&mut client, "EXEC");
        }
        let digest = text(&mut client, "DEBUG DIGEST");
        let ended = client.call(&["SHUTDOWN"]);
        assert!(ended.is_err(), "{ended:?}");
        assert!(server.wait().unwrap());
        digest
    };
    let server = Server::start_in(folder, to, options(is_logged)).unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(text(&mut client, "DEBUG DIGEST"), digest, "{from:?} to {to:?}, logged: {is_logged}");
    assert!(text(&mut client, "OBJECT ENCODING ints:3").contains("intset"));
}

#[test]
fn snapshots_and_logs_go_both_ways() {
    let Pair { oracle, subject } = Pair::from_env().unwrap();
    for is_logged in [false, true] {
        for (from, to) in [(&oracle, &subject), (&subject, &oracle), (&subject, &subject)] {
            let folder = tempfile::tempdir().unwrap();
            go(from, to, is_logged, folder.path());
        }
    }
}

/// The server's binary under the name of one of its checkers.
fn checker(oracle: &Binary, name: &str, folder: &Path) -> Command {
    let Binary::Valkey(path) = oracle else { panic!("the oracle is a real server") };
    let link = folder.join(name);
    #[cfg(unix)]
    std::os::unix::fs::symlink(path, &link).unwrap();
    Command::new(link)
}

#[test]
fn the_servers_checkers_accept_what_we_write() {
    let Pair { oracle, subject } = Pair::from_env().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start_in(folder.path(), &subject, options(true)).unwrap();
    let mut client = server.client().unwrap();
    fill(&mut client);
    text(&mut client, "SAVE");
    assert!(client.call(&["SHUTDOWN"]).is_err());
    assert!(server.wait().unwrap());
    let accepts = |name: &str, file: &str| {
        let output = checker(&oracle, name, folder.path()).arg(folder.path().join(file)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{name} {file}: {said}");
        said
    };
    assert!(accepts("valkey-check-rdb", "dump.rdb").contains("RDB looks OK"));
    // Of a whole log, 9.1.2's checker does not know its own server's base either: what it begins with has another name since 9.0.
    fs::remove_file(folder.path().join("valkey-check-rdb")).unwrap();
    accepts("valkey-check-rdb", "appendonlydir/appendonly.aof.1.base.rdb");
    assert!(accepts("valkey-check-aof", "appendonlydir/appendonly.aof.1.incr.aof").contains("is valid"));
    // It can say no.
    let path = folder.path().join("dump.rdb");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let output = Command::new(folder.path().join("valkey-check-rdb")).arg(&path).output().unwrap();
    assert!(!output.status.success());
}
