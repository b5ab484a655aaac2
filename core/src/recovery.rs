//! What is on disk when an engine is opened: a snapshot, or a log, whose commands are repeated.
//!
//! **Time.** What the log says was true when it was written: a key that has expired since was there. So the clock stands where the log began while commands are
//! repeated; all their deadlines are absolute. When that is done the keys expire whose time has come.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek};
use std::path::Path;

use crate::clients::{ClientAddress, SessionState};
use crate::command::run::{Context, Found, Locked, Unresolved};
use crate::command::spec::Flags;
use crate::command::{Form, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::{Db, Group};
use crate::local::Local;
use crate::persist::loading::{self, Time, Twice};
use crate::persist::{files, log_reader, logging};
use crate::sync::Arc;

/// Finds a command.
pub(crate) type Resolve = for<'w> fn(&'w [&'w [u8]]) -> Result<&'static Found, Unresolved>;

/// The clock where nothing says when a log began: all deadlines are later.
const LONG_AGO_MS: u64 = 1;

/// Loads what the options name, and goes on with the log if they ask for one. Nobody uses the engine yet.
///
/// # Errors
/// It is damaged, or can't be read or written.
pub(crate) fn open(engine: &Arc<Local>, resolve: Resolve) -> Result<()> {
    let Local { persistence, keyspace, config, .. } = &**engine;
    if !config.hot().appendonly() {
        persistence.load(keyspace)?;
        return Ok(());
    }
    persistence.lock_log(config)?;
    let Some(log) = persistence.find_log(config)? else {
        let single = logging::single_file(config);
        if single.is_file() {
            let mut log = Repeating::new(engine, resolve);
            keyspace.clock.held_at(LONG_AGO_MS, || log.file(&single, true, None))?;
            log.end();
            persistence.note(format!("{} was imported", single.display()));
        } else if persistence.load(keyspace)? {
            persistence.note("A snapshot was imported, since there was no log yet".to_owned());
        }
        return persistence.begin_logging(keyspace);
    };
    load_log(engine, resolve, &log, None)?;
    persistence.go_on_logging(keyspace, log)
}

/// Repeats a log.
fn load_log(
    engine: &Arc<Local>,
    resolve: Resolve,
    log: &logging::FoundLog,
    mut held: Option<&mut Db<'_>>,
) -> Result<()> {
    let mut repeating = Repeating::new(engine, resolve);
    let last = log.paths.iter().rposition(|path| path.metadata().is_ok_and(|file| file.len() > 0));
    engine.keyspace.clock.held_at(LONG_AGO_MS, || {
        log.paths.iter().enumerate().try_for_each(|(index, path)| {
            repeating.file(path, last.is_none_or(|last| index >= last), held.as_deref_mut())
        })
    })?;
    repeating.end();
    Ok(())
}

/// Loads the log of the engine again, into databases that were emptied, whose shards are all locked. The log must have been written out.
///
/// # Errors
/// As [`open`].
pub(crate) fn reload(engine: &Arc<Local>, resolve: Resolve, db: &mut Db<'_>) -> Result<()> {
    match engine.persistence.find_log(&engine.config)? {
        Some(log) => load_log(engine, resolve, &log, Some(db)),
        None => Ok(()),
    }
}

/// A session that repeats commands.
struct Repeating<'e> {
    engine: &'e Arc<Local>,
    session: SessionState,
    reply: Reply,
    resolve: Resolve,
    keys: loading::Loaded,
    /// Commands that had an error for a reply, and the first of these.
    failed: u64,
    first_failure: String,
}

impl<'e> Repeating<'e> {
    fn new(engine: &'e Arc<Local>, resolve: Resolve) -> Self {
        let now_ms = engine.keyspace.clock.coarse_ms();
        let info = engine.clients.register(ClientAddress::InProcess, None, false, now_ms);
        let session = SessionState::new(info, &engine.config);
        let reply = Reply::new(Form::Resp);
        let (keys, failed, first_failure) = (loading::Loaded::default(), 0, String::new());
        Self { engine, session, reply, resolve, keys, failed, first_failure }
    }

    /// Loads a file, which may begin with a snapshot. The last may have an end that is cut off, if the options allow it.
    fn file(&mut self, path: &Path, is_last: bool, mut held: Option<&mut Db<'_>>) -> Result<()> {
        let told = |error: io::Error| files::told("Reading", path, &error);
        let mut file = File::open(path).map_err(told)?;
        let len = file.metadata().map_err(told)?.len();
        let start = if files::starts_with_snapshot(&mut file).map_err(told)? {
            let keyspace = &self.engine.keyspace;
            let (loaded, rest) =
                loading::read(keyspace, &mut file, Time::OfFile, |record| match &mut held {
                    Some(db) => loading::put_into(db, record, Twice::Refused),
                    None => loading::put(keyspace, record),
                })?;
            self.keys.add(loaded);
            let at = file.stream_position().map_err(told)? - rest.len() as u64;
            (rest, at)
        } else {
            (Vec::new(), 0)
        };
        let end = log_reader::read(&mut file, start, |words| self.repeat(words, held.as_deref_mut()))
            .map_err(|error| files::in_file(path, &error))?;
        if end.is_whole() {
            return Ok(());
        }
        if !is_last || !self.engine.config.hot().aof_load_truncated() {
            return Err(logging::truncated(path, end.whole));
        }
        let cut = OpenOptions::new().write(true).open(path).and_then(|file| {
            file.set_len(end.whole)?;
            file.sync_all()
        });
        cut.map_err(|error| files::told("Cutting off the end of", path, &error))?;
        let lost = len.max(end.len) - end.whole;
        self.engine.persistence.note(format!(
            "The last {lost} bytes of {} were no whole command and have been cut off",
            path.display()
        ));
        Ok(())
    }

    /// Repeats a command.
    fn repeat(&mut self, words: &[&[u8]], held: Option<&mut Db<'_>>) -> Result<()> {
        if let [function, load, options @ .., library] = words
            && function.eq_ignore_ascii_case(b"FUNCTION")
            && load.eq_ignore_ascii_case(b"LOAD")
            && options.len() <= 1
        {
            self.keys.functions.push(library.to_vec());
            return Ok(());
        }
        let found = (self.resolve)(words).map_err(|unresolved| unresolved.error)?;
        if found.spec.flags.contains(Flags::BLOCKING) || found.spec.flags.contains(Flags::ADMIN) {
            let name = String::from_utf8_lossy(words[0]);
            return Err(Error::new(ErrorKind::Io, format!("ERR '{name}' is no command for a log")));
        }
        self.reply.clear();
        let (mut effects, mut options_changed) = (Group::default(), false);
        let transaction =
            held.map(|db| Locked { db, effects: &mut effects, options_changed: &mut options_changed });
        let mut context = Context { engine: self.engine, session: &mut self.session, transaction };
        // The server goes on, too.
        if let Err(error) = (found.run)(&mut context, words, &mut self.reply) {
            if self.failed == 0 {
                self.first_failure = format!("{}: {error}", String::from_utf8_lossy(words[0]));
            }
            self.failed += 1;
        }
        Ok(())
    }

    /// All is there.
    fn end(mut self) {
        let persistence = &self.engine.persistence;
        if self.failed > 0 {
            let Self { failed, first_failure, .. } = &self;
            persistence.note(format!(
                "{failed} commands of the log had errors for replies, the first of them: {first_failure}"
            ));
        }
        persistence.loaded_log(std::mem::take(&mut self.keys));
    }
}

impl Drop for Repeating<'_> {
    fn drop(&mut self) {
        self.engine.clients.forget(self.session.info.id);
    }
}
