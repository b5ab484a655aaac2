//! The command line: `keystead serve` puts an engine behind a TCP port for Valkey's clients, `keystead check` verifies files.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use keystead::{Config, Engine, Listener};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Keystead: Valkey inside your process.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves an engine over RESP2 and RESP3. Takes valkey-server's arguments.
    Serve {
        /// A valkey.conf, then options as `--name value ...`, such as `--port 7000 --maxmemory 100mb`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        options: Vec<OsString>,
    },
    /// Verifies files: a snapshot (.rdb), a log (.manifest, .aof), or an engine's folder. Changes nothing.
    Check {
        /// The file or folder.
        path: PathBuf,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().verb {
        Verb::Serve { options } => serve(&options),
        Verb::Check { path } => check(&path),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut out = std::io::stdout().lock();
    for found in keystead::check(path)? {
        writeln!(out, "{found}")?;
    }
    Ok(())
}

fn serve(options: &[OsString]) -> Result<(), Box<dyn std::error::Error>> {
    let options: Vec<&[u8]> = options.iter().map(|option| option.as_encoded_bytes()).collect();
    let config = Config::from_arguments(&options)?;
    let engine = Engine::builder().config(config).durable().open()?;
    for note in engine.opening_notes() {
        eprintln!("{note}");
    }
    let listener = Listener::serve(&engine)?;
    for address in listener.addresses() {
        eprintln!("Keystead {} listens on {address}", env!("CARGO_PKG_VERSION"));
    }
    end_on_signals(&engine)?;
    listener.join();
    // Connections have threads of their own, which end with the process.
    engine.end_files();
    Ok(())
}

/// Has the server end as SHUTDOWN ends it when the process is told to by SIGTERM or SIGINT; where that fails it goes on.
fn end_on_signals(engine: &Engine) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let engine = engine.clone();
    std::thread::Builder::new().name("keystead-signal".into()).spawn(move || {
        for _ in &mut signals {
            match engine.shut_down() {
                Ok(()) => return,
                Err(error) => eprintln!("{error}"),
            }
        }
    })?;
    Ok(())
}
