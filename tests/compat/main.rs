//! Runs every script of this folder on a real Valkey and on Keystead, under RESP2 and RESP3, and compares all replies.
//!
//! Names of scripts (or parts of them) on the command line choose; `KEYSTEAD_SHOW=1` prints the transcripts.

use keystead_tests::resp::Reply;
use keystead_tests::run;
use keystead_tests::script::Script;
use keystead_tests::server::{Binary, Pair, Server};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::path::Path;

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let pair = match Pair::from_env() {
        Ok(pair) => pair,
        Err(message) => {
            eprintln!("{message}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("compat");
    let mut trials = Vec::new();
    for (name, path) in scripts(&folder) {
        let text = std::fs::read_to_string(&path).expect("a script of this folder is readable UTF-8");
        match Script::parse(&text) {
            Ok(script) => {
                for protocol in script.protocols.clone() {
                    let (pair, text, name) = (pair.clone(), text.clone(), format!("{name}/resp{protocol}"));
                    trials.push(Trial::test(name.clone(), move || judge(&pair, &name, &text, protocol)));
                }
            }
            Err(message) => trials.push(Trial::test(name, move || Err(Failed::from(message)))),
        }
    }
    if let Binary::Keystead(_) = pair.subject {
        trials.push(Trial::test("every command has a script", move || coverage(&pair, &folder)));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The command table may not outgrow the scripts.
fn coverage(pair: &Pair, folder: &Path) -> Result<(), Failed> {
    let server = Server::start(&pair.subject)?;
    let mut client = server.client()?;
    let list = client.call(&["COMMAND", "LIST"])?;
    let mut missing: BTreeSet<Vec<u8>> =
        list.items().unwrap_or_default().iter().filter_map(Reply::text).map(<[u8]>::to_vec).collect();
    if missing.is_empty() {
        return Err(Failed::from(format!("COMMAND LIST gave {list}")));
    }
    for (_, path) in scripts(folder) {
        let script = Script::parse(&std::fs::read_to_string(path)?)?;
        for words in script.steps.iter().filter_map(|step| step.call()).map(|call| &call.words) {
            let name = words[0].to_ascii_lowercase();
            if let Some(sub) = words.get(1) {
                missing.remove([name.as_slice(), b"|", &sub.to_ascii_lowercase()].concat().as_slice());
            }
            missing.remove(&name);
        }
    }
    let shown: Vec<_> = missing.iter().map(|name| String::from_utf8_lossy(name)).collect();
    if shown.is_empty() { Ok(()) } else { Err(Failed::from(format!("no script uses {}", shown.join(", ")))) }
}

/// All `*.txt` below the folder, with their names relative to it.
fn scripts(folder: &Path) -> Vec<(String, std::path::PathBuf)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the folder of this file exists") {
        let path = entry.expect("the folder stays while it is read").path();
        let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() {
            found.extend(scripts(&path).into_iter().map(|(name, path)| (format!("{stem}/{name}"), path)));
        } else if path.extension().is_some_and(|e| e == "txt") {
            found.push((stem, path));
        }
    }
    found.sort();
    found
}

fn judge(pair: &Pair, name: &str, text: &str, protocol: u8) -> Result<(), Failed> {
    let script = Script::parse(text)?;
    // Fresh servers for each script: configuration, statistics and client ids start equal, and scripts run in parallel.
    let start = |binary| Server::start(binary).map_err(|error| error.to_string());
    let (oracle, mut subject) = (start(&pair.oracle)?, start(&pair.subject)?);
    let transcript = run::run(&script, protocol, &oracle, &subject)?;
    if !subject.is_alive() {
        return Err(Failed::from("the subject's process ended during the script"));
    }
    if std::env::var_os("KEYSTEAD_SHOW").is_some() {
        println!("== {name}\n{}", transcript.join("\n"));
    }
    Ok(())
}
