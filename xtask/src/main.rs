//! The project's one entry point for everything repetitive: `cargo xtask test | check | demo | bench | gen | setup`.
//!
//! This file reads the command line; each subcommand has a file of its own.

mod bench;
mod check;
mod count;
mod demo;
mod fuzz;
mod r#gen;
mod instructions;
mod plugins;
mod setup;
mod sh;
mod soak;
mod table;
mod test;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Everything repetitive, from one place")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
    /// Shows the output of every command as it comes, besides writing it to target/xtask/*.log
    #[arg(long, short, global = true)]
    verbose: bool,
}

#[derive(Subcommand)]
enum Task {
    /// Runs the test stages in order (all but `long` and `soak`, or those named) and prints a table
    Test {
        /// Names of stages; none means all
        stages: Vec<String>,
        /// Fails also when a stage is missing
        #[arg(long)]
        complete: bool,
        /// How often `soak` runs its tests, which no other stage includes
        #[arg(long, default_value_t = soak::ROUNDS)]
        rounds: usize,
    },
    /// Formatting, lints, licences and the house rules
    Check,
    /// Runs the example applications and prints one table
    Demo,
    /// Runs the benchmarks
    Bench {
        /// Passed on to criterion
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<String>,
    },
    /// Writes the generated files: C header, documentation, stubs
    Gen,
    /// Installs what the other tasks need, into target/
    Setup,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    sh::set_verbose(arguments.verbose);
    let outcome = match arguments.task {
        Task::Test { stages, complete, rounds } => test::run(&stages, complete, rounds),
        Task::Check => check::run(),
        Task::Demo => demo::run(),
        Task::Bench { rest } => bench::run(&rest),
        Task::Gen => r#gen::run(),
        Task::Setup => setup::everything(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\nerror: {message}");
            ExitCode::FAILURE
        }
    }
}
