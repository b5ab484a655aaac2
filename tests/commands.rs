//! Every command is what the real server says it is: arity, flags, keys, categories, arguments. What differs stands in `command_differences.txt` with its reason.
//!
//! `cargo xtask check` runs it.

use keystead_tests::commands::{TABLE, described, differences, unexplained};
use keystead_tests::server::{Binary, Pair, Server};

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
