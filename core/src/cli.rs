//! The command line: `keystead serve` puts an engine behind ports and Unix sockets for Valkey's clients, `keystead check`, `import`
//! and `export` work on files.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::Config;
use crate::engine::Engine;
use crate::error::Result;
use crate::listener::Listener;
use crate::transfer::{Export, Progress, Stage, Watch};
use crate::{check, transfer};

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
    /// Makes an engine's folder of what valkey-server or redis-server left behind. What is read stays as it is.
    Import {
        /// A snapshot (dump.rdb), a log (appendonlydir, its manifest, or appendonly.aof), or a folder that has one of these.
        source: PathBuf,
        /// The folder: it is made, or is there and holds nothing.
        folder: PathBuf,
    },
    /// Writes what an engine's folder holds as files that valkey-server loads. What is read stays as it is.
    Export {
        /// The folder, or anything that import reads.
        source: PathBuf,
        #[command(flatten)]
        target: Target,
        /// The version of RDB: 80, as Valkey 9 writes it, or 11, for Valkey 7.2 to 8.1 and Redis 7.2.
        #[arg(long, value_name = "NUMBER", default_value_t = 80)]
        rdb_version: u16,
        /// Has fields of hashes, whose time to live version 11 can't hold, stay for good. Without this they are an error.
        #[arg(long)]
        drop_field_ttls: bool,
        /// Has the log begin with commands rather than with an RDB file, as with `aof-use-rdb-preamble no`.
        #[arg(long, requires = "aof")]
        commands: bool,
    },
}

/// What is written.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Target {
    /// A snapshot, which takes the place of the file that is there.
    #[arg(long, value_name = "FILE")]
    rdb: Option<PathBuf>,
    /// A log, as in an `appendonlydir`: a folder that is made, or is there and holds nothing.
    #[arg(long, value_name = "FOLDER")]
    aof: Option<PathBuf>,
}

/// Runs the command line to its end, and returns the exit status. The first of the arguments is the program's name. `serve` ends on SIGINT and SIGTERM, whose
/// handlers it takes.
pub fn main_with(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let verb = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments.verb,
        Err(error) => {
            // Help and version are errors of this kind, too.
            let _ = error.print();
            return error.exit_code().try_into().unwrap_or(1);
        }
    };
    let done = match verb {
        Verb::Serve { options } => serve(&options),
        Verb::Check { path } => shown(|watch| check::check_watched(path, watch)),
        Verb::Import { source, folder } => shown(|watch| transfer::import_watched(source, folder, watch)),
        Verb::Export { source, target, rdb_version, drop_field_ttls, commands } => {
            let export = match target {
                Target { rdb: Some(file), .. } => Export::rdb(file),
                Target { aof, .. } => Export::aof(aof.expect("one of the two is required")),
            };
            let export = export.rdb_version(rdb_version).drop_field_ttls(drop_field_ttls).commands(commands);
            shown(|watch| transfer::export_watched(source, &export, watch))
        }
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    }
}

/// Does work on files, shows how far it is, and then what it says.
fn shown(
    work: impl FnOnce(&mut Watch<'_>) -> Result<Vec<String>>,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut bar = Bar::new();
    let said = work(&mut |progress| bar.show(progress));
    bar.clear();
    let mut out = std::io::stdout().lock();
    for line in said? {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Shows on a terminal how far work is, and nothing elsewhere.
struct Bar {
    bar: ProgressBar,
    stage: Option<Stage>,
}

impl Bar {
    fn new() -> Self {
        Self { bar: ProgressBar::hidden(), stage: None }
    }

    fn show(&mut self, Progress { stage, done, total, .. }: Progress) {
        if self.stage.replace(stage) != Some(stage) {
            let template = match stage {
                Stage::Reading => "Reading {wide_bar} {bytes} of {total_bytes}, {eta} left",
                _ => "Writing {wide_bar} {human_pos} of {human_len} keys, {eta} left",
            };
            // Standard error; it draws nothing where that is no terminal.
            let style = ProgressStyle::with_template(template).expect("these are its names");
            self.clear();
            self.bar = ProgressBar::new(total).with_style(style);
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

fn serve(options: &[OsString]) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let options: Vec<&[u8]> = options.iter().map(|option| option.as_encoded_bytes()).collect();
    let config = Config::from_arguments(&options)?;
    config.warnings().iter().for_each(|warning| eprintln!("{warning}"));
    let engine = Engine::builder().config(config).durable().open()?;
    for note in engine.opening_notes() {
        eprintln!("{note}");
    }
    let listener = Listener::serve(&engine)?;
    for place in listener.places() {
        eprintln!("Keystead {} listens on {place}", env!("CARGO_PKG_VERSION"));
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
