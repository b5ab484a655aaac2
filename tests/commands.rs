//! Every command is what the real server says it is: arity, flags, keys, categories, arguments. What differs stands in `command_differences.txt` with its reason.
//!
//! `cargo xtask check` runs it.

use keystead_tests::commands::{TABLE, described, differences, unexplained};
use keystead_tests::resp::Reply;
use keystead_tests::server::{Binary, Pair, Server};
use std::collections::BTreeSet;

#[test]
fn all_commands_are_the_servers_but_for_what_the_table_explains() {
    let pair = Pair::from_env().expect("the servers are named in the environment");
    let ask = |binary: &Binary| {
        let server = Server::start(binary).expect("it starts");
        described(&mut server.client().expect("it accepts")).expect("it describes its commands")
    };
    let (oracle, subject) = (ask(&pair.oracle), ask(&pair.subject));
    assert!(oracle.len() > 300, "{} commands", oracle.len());
    let complaints = unexplained(&differences(&oracle, &subject), TABLE).expect("the table has rows only");
    assert!(
        complaints.is_empty(),
        "{} differences that tests/command_differences.txt does not explain, or no more:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

#[test]
fn debug_has_the_servers_subcommands_but_for_what_the_table_explains() {
    let pair = Pair::from_env().expect("the servers are named in the environment");
    let rows = |binary: &Binary| -> BTreeSet<String> {
        let server = Server::start(binary).expect("it starts");
        let help = server.client().expect("it accepts").call(&["DEBUG", "HELP"]).expect("it helps");
        let lines = help.items().expect("an array").iter().filter_map(Reply::text);
        let lines = lines.map(|line| String::from_utf8_lossy(line).into_owned()).skip(1);
        let words = lines
            .filter(|line| !line.starts_with(' '))
            .map(|line| line.split(' ').next().unwrap_or_default().to_owned());
        words.collect()
    };
    let (oracle, subject) = (rows(&pair.oracle), rows(&pair.subject));
    let lines = include_str!("debug_differences.txt").lines().filter(|line| !line.starts_with('#'));
    let explained: BTreeSet<String> = lines
        .filter_map(|line| line.split_once(' '))
        .map(|(word, reason)| {
            assert!(!reason.trim().is_empty(), "{word} has no reason");
            word.to_owned()
        })
        .collect();
    assert!(oracle.len() > 40, "{oracle:?}");
    let missing: BTreeSet<String> = oracle.difference(&subject).cloned().collect();
    assert_eq!(
        missing, explained,
        "what is missing has a row in tests/debug_differences.txt, and nothing else has"
    );
    assert!(subject.is_subset(&oracle), "{subject:?}");
}
