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
    text(client, "XGROUP CREATECONSUMER stream:700 group lazy");
    text(client, "XGROUP CREATE stream:empty group 5-5 MKSTREAM");
    text(client, "SELECT 3");
    text(client, "SET other 1");
    text(client, "SELECT 0");
}

fn options(is_logged: bool) -> &'static [&'static str] {
    if is_logged { LOGGED } else { &["--save", "3600 1"] }
}

const LOGGED: &[&str] = &["--appendonly", "yes", "--save", ""];
/// The log begins with commands.
const LOGGED_AS_COMMANDS: &[&str] = &["--appendonly", "yes", "--save", "", "--aof-use-rdb-preamble", "no"];

/// All that a server holds: its digest, and what that is not of.
fn state(client: &mut Client) -> String {
    let lines = [
        "DEBUG DIGEST",
        "HPEXPIRETIME timed:3 FIELDS 3 f0 f1 f2",
        "HPEXPIRETIME timed:3000 FIELDS 3 f0 f1 f2",
        "PEXPIRETIME late:7",
        "XINFO GROUPS stream:700",
        "XPENDING stream:3000 group",
    ];
    lines.map(|line| text(client, line)).join("\n")
}

fn end(server: Server, client: &mut Client) {
    let ended = client.call(&["SHUTDOWN"]);
    assert!(ended.is_err(), "{ended:?}");
    assert!(server.wait().unwrap());
}

/// All that a server holds that is started in a folder.
fn loaded(binary: &Binary, folder: &Path, options: &[&str]) -> String {
    let server = Server::start_in(folder, binary, options).unwrap();
    let mut client = server.client().unwrap();
    let state = state(&mut client);
    end(server, &mut client);
    state
}

/// What one leaves, the other has.
fn go(from: &Binary, to: &Binary, options: &[&str], folder: &Path) {
    let is_logged = options.contains(&"--appendonly");
    let before = {
        let server = Server::start_in(folder, from, options).unwrap();
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
        let before = state(&mut client);
        end(server, &mut client);
        before
    };
    let server = Server::start_in(folder, to, options).unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(state(&mut client), before, "{from:?} to {to:?}, {options:?}");
    assert!(text(&mut client, "OBJECT ENCODING ints:3").contains("intset"));
}

#[test]
fn snapshots_and_logs_go_both_ways() {
    let Pair { oracle, subject } = Pair::from_env().unwrap();
    for options in [options(false), LOGGED, LOGGED_AS_COMMANDS] {
        for (from, to) in [(&oracle, &subject), (&subject, &oracle), (&subject, &subject)] {
            let folder = tempfile::tempdir().unwrap();
            go(from, to, options, folder.path());
            if options == LOGGED_AS_COMMANDS {
                let base = fs::read_dir(folder.path().join("appendonlydir")).unwrap();
                let mut names = base.map(|entry| entry.unwrap().file_name().into_string().unwrap());
                assert!(names.any(|name| name.ends_with(".base.aof")), "{from:?}");
            }
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

/// Runs the program on files. Returns what it says, and whether all went well.
fn run(subject: &Binary, arguments: &[&str], folder: &Path) -> (String, bool) {
    let (Binary::Keystead(path) | Binary::Valkey(path)) = subject;
    let output = Command::new(path).args(arguments).current_dir(folder).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&said).into_owned(), output.status.success())
}

fn succeeds(subject: &Binary, arguments: &[&str], folder: &Path) -> String {
    let (said, is_well) = run(subject, arguments, folder);
    assert!(is_well, "{arguments:?}: {said}");
    said
}

/// A server's folder with something of everything. Returns what it holds.
fn filled(binary: &Binary, folder: &Path, options: &[&str]) -> String {
    let server = Server::start_in(folder, binary, options).unwrap();
    let mut client = server.client().unwrap();
    fill(&mut client);
    let library = "#!lua name=lib\nserver.register_function('f', function() return 1 end)";
    client.call(&["FUNCTION", "LOAD", library]).unwrap();
    let state = state(&mut client);
    end(server, &mut client);
    state
}

#[test]
fn what_a_server_left_is_imported_and_exported() {
    let Pair { oracle, subject } = Pair::from_env().unwrap();
    let Binary::Keystead(_) = subject else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("snapshot")).unwrap();
    let of_snapshot = filled(&oracle, &folder.join("snapshot"), options(false));
    fs::create_dir(folder.join("log")).unwrap();
    let of_log = filled(&oracle, &folder.join("log"), LOGGED_AS_COMMANDS);
    for (source, app, expected) in [
        ("snapshot/dump.rdb", "1.ks", &of_snapshot),
        ("log/appendonlydir", "2.ks", &of_log),
        ("log", "3.ks", &of_log),
    ] {
        succeeds(&subject, &["import", source, app], folder);
        assert_eq!(loaded(&subject, &folder.join(app), LOGGED), *expected, "{source}");
    }
    let (said, is_well) = run(&subject, &["import", "log", "3.ks"], folder);
    assert!(!is_well && said.contains("holds something already"), "{said}");
    for name in ["rdb", "aof", "commands"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    for (to, options) in [
        (&["--rdb", "rdb/dump.rdb"][..], options(false)),
        (&["--aof", "aof/appendonlydir"], LOGGED),
        (&["--aof", "commands/appendonlydir", "--commands"], LOGGED),
    ] {
        succeeds(&subject, &[&["export", "2.ks"], to].concat(), folder);
        let target = folder.join(to[1]);
        assert_eq!(loaded(&oracle, target.parent().unwrap(), options), of_log, "{to:?}");
        succeeds(&subject, &["check", to[1]], folder);
    }
    succeeds(&subject, &["export", "1.ks", "--rdb", "again.rdb"], folder);
    succeeds(&subject, &["export", "1.ks", "--aof", "again", "--commands"], folder);
    for (name, file) in
        [("valkey-check-rdb", "again.rdb"), ("valkey-check-aof", "again/appendonly.aof.manifest")]
    {
        let output = checker(&oracle, name, folder).arg(folder.join(file)).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stdout));
    }
}

#[test]
fn an_older_server_loads_what_is_exported_for_it() {
    let Pair { oracle, subject } = Pair::from_env().unwrap();
    let older = Binary::older_from_env().unwrap();
    let Binary::Keystead(_) = subject else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["source", "rdb", "aof", "commands"] {
        fs::create_dir(folder.join(name)).unwrap();
    }
    filled(&oracle, &folder.join("source"), options(false));
    let told = |binary: &Binary, folder: &Path, options: &[&str]| {
        let server = Server::start_in(folder, binary, options).unwrap();
        let mut client = server.client().unwrap();
        let lines = ["DEBUG DIGEST", "DBSIZE", "XPENDING stream:700 group", "TTL timed:3", "FUNCTION LIST"];
        let told = lines.map(|line| text(&mut client, line)).join("\n");
        end(server, &mut client);
        assert!(told.contains("lib"), "{told}");
        told
    };
    let of_now = Server::start_in(&folder.join("source"), &older, options(false));
    assert!(of_now.unwrap_err().to_string().contains("Can't handle RDB format version 80"));
    for (to, options) in [
        (&["--rdb", "rdb/dump.rdb"][..], options(false)),
        (&["--aof", "aof/appendonlydir"], LOGGED),
        (&["--aof", "commands/appendonlydir", "--commands"], LOGGED),
    ] {
        let export = [&["export", "source", "--rdb-version", "11"], to].concat();
        let (said, is_well) = run(&subject, &export, folder);
        assert!(!is_well && said.contains("3 hashes with 6 such fields"), "{said}");
        assert!(!folder.join(to[1]).exists(), "{to:?}");
        let said = succeeds(&subject, &[&export[..], &["--drop-field-ttls"]].concat(), folder);
        assert!(said.contains("3 hashes with 6 such fields") && said.contains("'timed:700' (2)"), "{said}");
        let target = folder.join(to[1]);
        let target = target.parent().unwrap();
        assert_eq!(told(&older, target, options), told(&oracle, target, options), "{to:?}");
    }
}

#[test]
fn snapshots_say_how_large_databases_are() {
    let Pair { oracle, subject } = Pair::from_env().unwrap();
    let [expected, sizes] = [&oracle, &subject].map(|binary| {
        let folder = tempfile::tempdir().unwrap();
        filled(binary, folder.path(), options(false));
        let bytes = fs::read(folder.path().join("dump.rdb")).unwrap();
        // Which database, and how many keys it has, with and without a deadline; the lengths of the first have two bytes each.
        [(0, 4), (3, 2)].map(|(db, len)| {
            let mark = [0xfe, db, 0xfb];
            let at = bytes.windows(3).position(|window| window == mark).expect("the database is there");
            bytes[at + 3..at + 3 + len].to_vec()
        })
    });
    assert_eq!(sizes, expected);
    assert_eq!(sizes[1], [1, 0]);
}
