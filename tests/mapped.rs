//! Mapped snapshots, as docs/snapshot.md describes them: another program reads them, and a file of version 1 is read for ever.
//!
//! The fixture has every type, encoding and kind of deadline, entries that overflow their bucket, and three databases. Beside it are what the reader lists
//! of it, and what DEBUG DIGEST says of an engine that has it.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keystead_tests::resp::{Client, Reply};
use keystead_tests::server::{Binary, Pair, Server};

/// Servers of this test keep what they have in a mapped snapshot.
const OPTIONS: &[&str] = &["--dbfilename", NAME, "--databases", "16"];
const NAME: &str = "snapshot.ks";

fn here(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn fixture(name: &str) -> String {
    fs::read_to_string(here("fixtures").join(name)).unwrap()
}

/// What Python prints.
fn python(arguments: &[&str], files: &[&Path]) -> String {
    let python = std::env::var_os("KEYSTEAD_PYTHON")
        .expect("KEYSTEAD_PYTHON names a Python, as `cargo xtask test compat` has it");
    let output = Command::new(python).args(arguments).args(files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What the reader lists of a file.
fn listing(file: &Path) -> String {
    let reader = here("read_snapshot.py");
    python(&[reader.to_str().unwrap()], &[file])
}

/// The fixture, unpacked into a folder.
fn unpack(folder: &Path) {
    const PROGRAM: &str = "import gzip, sys; open(sys.argv[2], 'wb').write(gzip.open(sys.argv[1]).read())";
    python(&["-c", PROGRAM], &[&here("fixtures/snapshot-1.ks.gz"), &folder.join(NAME)]);
}

fn subject() -> Binary {
    Pair::from_env().unwrap().subject
}

fn call(client: &mut Client, words: &[&[u8]]) -> Reply {
    let reply = client.call(words).unwrap();
    assert!(!matches!(reply, Reply::Error(_)), "{}: {reply}", words[0].escape_ascii());
    reply
}

fn text(client: &mut Client, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    call(client, &words).to_string()
}

/// All keys of a server as the reader lists them, but for their values.
fn keys(client: &mut Client) -> Vec<String> {
    let mut found = Vec::new();
    for db in 0..16 {
        text(client, &format!("SELECT {db}"));
        for key in call(client, &[b"KEYS", b"*"]).items().unwrap() {
            let key = key.text().unwrap();
            let kind = call(client, &[b"TYPE", key]);
            let encoding = call(client, &[b"OBJECT", b"ENCODING", key]);
            let [kind, encoding] =
                [&kind, &encoding].map(|reply| reply.text().unwrap().escape_ascii().to_string());
            let Reply::Int(deadline) = call(client, &[b"PEXPIRETIME", key]) else { panic!("it is a number") };
            let deadline = if deadline < 0 { "-".to_owned() } else { deadline.to_string() };
            found.push(format!("{db} {kind} {encoding} {deadline} {}", key.escape_ascii()));
        }
    }
    text(client, "SELECT 0");
    found.sort();
    found
}

/// A listing without values.
fn without_values(listing: &str) -> Vec<String> {
    let line = |line: &str| line.split(' ').take(5).collect::<Vec<_>>().join(" ");
    let mut lines: Vec<String> = listing.lines().map(line).collect();
    lines.sort();
    lines
}

/// Has a server of such a folder hold the fixture, and returns its keys.
fn expect_fixture(binary: &Binary, folder: &Path, options: &[&str]) -> Vec<String> {
    let server = Server::start_in(folder, binary, options).unwrap();
    let mut client = server.client().unwrap();
    assert_eq!(text(&mut client, "DEBUG DIGEST"), format!("+{}", fixture("snapshot-1.digest").trim()));
    for (line, expected) in [
        ("HPEXPIRETIME hash:fields:late FIELDS 3 a b c", "[:4102444800006 :4102444800006 :-1]"),
        ("HPEXPIRETIME hash:both:late FIELDS 2 a b", "[:-1 :4102444800007]"),
    ] {
        assert_eq!(text(&mut client, line), expected, "{line}");
    }
    keys(&mut client)
}

/// The same without encodings, which depend on options where values are built anew.
fn without_encodings(keys: &[String]) -> Vec<String> {
    let line = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        [words[0], words[1], words[3], words[4]].join(" ")
    };
    let mut lines: Vec<String> = keys.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn another_program_reads_the_fixture() {
    assert_eq!(listing(&here("fixtures/snapshot-1.ks.gz")), fixture("snapshot-1.txt"));
}

#[test]
fn an_engine_goes_on_with_the_fixture() {
    let folder = tempfile::tempdir().unwrap();
    unpack(folder.path());
    let keys = expect_fixture(&subject(), folder.path(), OPTIONS);
    assert_eq!(keys, without_values(&fixture("snapshot-1.txt")));
}

#[test]
fn the_fixture_is_imported_and_exported() {
    let (folder, Pair { oracle, subject }) = (tempfile::tempdir().unwrap(), Pair::from_env().unwrap());
    let Binary::Keystead(program) = &subject else { panic!("mapped snapshots are Keystead's") };
    unpack(folder.path());
    for arguments in [["import", NAME, "app"].as_slice(), &["export", "app", "--rdb", "dump.rdb"]] {
        let done = Command::new(program).args(arguments).current_dir(&folder).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
    let expected = without_encodings(&without_values(&fixture("snapshot-1.txt")));
    let keys = expect_fixture(&subject, &folder.path().join("app"), &["--appendonly", "yes"]);
    assert_eq!(without_encodings(&keys), expected);
    let keys = expect_fixture(&oracle, folder.path(), &[]);
    assert_eq!(without_encodings(&keys), expected);
}

#[test]
fn another_program_reads_what_was_just_written() {
    let folder = tempfile::tempdir().unwrap();
    unpack(folder.path());
    let server = Server::start_in(folder.path(), &subject(), OPTIONS).unwrap();
    let mut client = server.client().unwrap();
    // What has moved since, in larger tables, and values of many pages.
    for db in [0, 9] {
        text(&mut client, &format!("SELECT {db}"));
        for number in 0..2000_u64 {
            let late =
                if number % 3 == 0 { format!(" PXAT {}", 4_102_444_800_000 + number) } else { String::new() };
            text(&mut client, &format!("SET more:{number} {}{late}", "v".repeat(number as usize % 150)));
        }
        let numbers = |prefix: &str| (0..2000).map(|number| format!(" {prefix}{number}")).collect::<String>();
        let pairs =
            |prefix: &str| (0..2000).map(|number| format!(" {number} {prefix}{number}")).collect::<String>();
        text(&mut client, &format!("HSET hash:more{}", pairs("value:")));
        text(&mut client, &format!("RPUSH list:more{}", numbers("element:")));
        text(&mut client, &format!("RPUSH list:listpack:more{}", " element".repeat(700)));
        text(&mut client, &format!("SADD set:more{}", numbers("member:")));
        text(&mut client, &format!("ZADD zset:more{}", pairs("member:")));
        text(&mut client, &format!("SET text:more {}", "text".repeat(50_000)));
        text(&mut client, &format!("SET huge:{} value PXAT 4102444800000", "key".repeat(400_000)));
    }
    text(&mut client, "SELECT 0");
    text(&mut client, "DEL large set:hashtable list:plain");
    text(&mut client, "SAVE");
    let listed = without_values(&listing(&folder.path().join(NAME)));
    let keys = keys(&mut client);
    assert!(keys.len() > 4000);
    // Thousands of lines are more than anybody reads.
    let differs = keys.iter().zip(&listed).find(|(key, listed)| key != listed);
    assert_eq!((keys.len(), differs), (listed.len(), None));
}
