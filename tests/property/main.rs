//! The property test: random commands on a real Valkey and on Keystead must differ in nothing, final state included.
//!
//! `KEYSTEAD_COMMANDS` sets how many (100,000), `KEYSTEAD_SEED` where to begin (a number, or `random`).

use keystead_tests::hunt;
use keystead_tests::server::Pair;
use keystead_tests::{sessions, users};
use libtest_mimic::{Arguments, Failed, Trial};
use std::time::{SystemTime, UNIX_EPOCH};

/// Commands of one trial, which has its own servers and its own seed.
const TRIAL: usize = 10_000;
/// Commands of one trial of several sessions that wait and hear of messages: each waits until all has come to rest.
const INTERLEAVED: usize = 2_500;
/// Changes of a user's rules in one trial, behind each of which some ten calls are made.
const CHANGES: usize = 1_000;
/// Other trials for each of these.
const SHARE: usize = 5;
const DEFAULT_COMMANDS: usize = 100_000;
/// Fixed, so that the gate says the same twice; long runs look further with `KEYSTEAD_SEED=random`.
const DEFAULT_SEED: u64 = 20_261_121;

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let pair = match Pair::from_env() {
        Ok(pair) => pair,
        Err(message) => {
            eprintln!("{message}");
            return std::process::ExitCode::FAILURE;
        }
    };
    let commands = number("KEYSTEAD_COMMANDS").unwrap_or(DEFAULT_COMMANDS as u64) as usize;
    let seed = match std::env::var("KEYSTEAD_SEED").as_deref() {
        Ok("random") => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_nanos() as u64),
        _ => number("KEYSTEAD_SEED").unwrap_or(DEFAULT_SEED),
    };
    let trials = (0..commands.div_ceil(TRIAL) as u64).map(|at| {
        let (pair, seed) = (pair.clone(), seed.wrapping_add(at));
        Trial::test(format!("seed {seed}"), move || trial(&pair, seed, commands.min(TRIAL)))
    });
    let interleaved = (0..commands.div_ceil(TRIAL * SHARE) as u64).map(|at| {
        let (pair, seed) = (pair.clone(), seed.wrapping_add(at));
        let run = move || {
            sessions::hunt(&pair, seed, commands.min(INTERLEAVED), &[])?
                .map_or(Ok(()), |finding| Err(finding.into()))
        };
        Trial::test(format!("sessions, seed {seed}"), run)
    });
    let restricted = (0..commands.div_ceil(TRIAL * SHARE) as u64).map(|at| {
        let (pair, seed) = (pair.clone(), seed.wrapping_add(at));
        let run = move || {
            users::hunt(&pair, seed, commands.min(CHANGES))?.map_or(Ok(()), |finding| Err(finding.into()))
        };
        Trial::test(format!("users, seed {seed}"), run)
    });
    libtest_mimic::run(&arguments, trials.chain(interleaved).chain(restricted).collect()).exit_code()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.replace('_', "").parse().ok()
}

fn trial(pair: &Pair, seed: u64, commands: usize) -> Result<(), Failed> {
    let outcome = hunt::hunt(pair, seed, commands, Vec::new())?;
    outcome.finding.map_or(Ok(()), |finding| Err(Failed::from(finding)))
}
