//! Checks the judge itself: two real servers differ in nothing, and a difference planted on one side is found.
//!
//! Without these, a comparison that compares nothing would look like success.

use keystead_tests::hunt;
use keystead_tests::run;
use keystead_tests::script::Script;
use keystead_tests::server::{Pair, Server};
use keystead_tests::sessions;

fn oracles() -> Pair {
    let mut pair = Pair::from_env().expect("the servers are named in the environment");
    pair.subject = pair.oracle.clone();
    pair
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

/// Runs a script on two oracles, the second of which was told something before.
fn run_planted(script: &str, planted: &str) -> Result<Vec<String>, String> {
    let pair = oracles();
    let (oracle, subject) = (Server::start(&pair.oracle).unwrap(), Server::start(&pair.subject).unwrap());
    if !planted.is_empty() {
        subject.client().unwrap().call(&words(planted)).unwrap();
    }
    run::run(&Script::parse(script).unwrap(), 2, &oracle, &subject)
}

#[test]
fn equal_servers_differ_in_nothing() {
    assert_eq!(run_planted("SET k v\nGET k\n", "").unwrap(), ["SET k v -> +OK", "GET k -> \"v\""]);
    let outcome = hunt::hunt(&oracles(), 1, 2000, Vec::new()).unwrap();
    assert!(outcome.commands >= 2000);
    assert_eq!(outcome.finding, None);
}

#[test]
fn a_script_finds_each_kind_of_difference() {
    let cases = [
        ("GET k", "SET k other", "oracle   nil\nsubject  \"other\""),
        ("[unordered] KEYS *", "SET k v", "oracle   []\nsubject  [\"k\"]"),
        ("[within 5] TTL k", "SET k v", "oracle   :-2\nsubject  :-1"),
        ("[scan] SCAN 0", "SET k v", "subject  [[\"k\"]]"),
        ("HSET k f v", "SET k v", "subject  -WRONGTYPE"),
        ("[fields] INFO keyspace", "SET k v", "\"db0\""),
        ("SET k v\n=> +NO", "", "written  +NO"),
    ];
    for (script, planted, wanted) in cases {
        let report = run_planted(script, planted).expect_err(script);
        assert!(report.contains(wanted), "{script}:\n{report}");
    }
}

#[test]
fn a_hunt_finds_a_planted_key_and_shrinks_it() {
    let outcome = hunt::hunt(&oracles(), 5, 2000, words("HSET b planted 1")).unwrap();
    let finding = outcome.finding.expect("a planted key is found");
    let script = finding.split("Minimal script:\n").nth(1).unwrap();
    assert!(Script::parse(script).is_ok(), "{finding}");
    assert!(script.lines().count() <= 6, "shrunk to a few lines:\n{finding}");
}

#[test]
fn a_hunt_finds_a_planted_setting_in_the_encodings() {
    let planted = words("CONFIG SET hash-max-listpack-entries 1");
    let finding = hunt::hunt(&oracles(), 9, 4000, planted).unwrap().finding.expect("another limit is found");
    assert!(finding.contains("listpack"), "{finding}");
}

#[test]
fn sessions_that_wait_show_a_planted_key() {
    assert_eq!(sessions::hunt(&oracles(), 2, 400, &[]).unwrap(), None);
    for planted in ["LPUSH a planted", "XADD s 5-5 planted 1", "ZADD z 0 planted"] {
        let finding = sessions::hunt(&oracles(), 2, 400, &words(planted)).unwrap();
        assert!(finding.is_some_and(|finding| finding.contains("After:")), "{planted}");
    }
}

#[test]
fn a_hunt_reports_a_subject_that_ends() {
    let finding =
        hunt::hunt(&oracles(), 3, 1000, words("SHUTDOWN NOSAVE")).unwrap().finding.expect("it ended");
    assert!(finding.contains("no longer answers"), "{finding}");
}
