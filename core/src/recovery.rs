//! What is on disk when an engine is opened: a snapshot, or a log, whose commands are repeated.
//!
//! **Time.** What the log says was true when it was written: a key that has expired since was there. So the clock stands where the log began while commands are
//! repeated; all their deadlines are absolute. When that is done the keys expire whose time has come.

use std::fs::OpenOptions;
use std::path::Path;

use crate::clients::{ClientAddress, SessionState};
use crate::command::run::{Context, Found, Locked, Unresolved};
use crate::command::spec::Flags;
use crate::command::{Form, Reply};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::{Db, Group};
use crate::local::Local;
use crate::persist::files;
use crate::persist::loading::{self, Time, Twice};
use crate::persist::log_reader::{self, Receiver, Source};
use crate::persist::logging::{self, FoundLog};
use crate::persist::mapped::{Adopted, MappedFile};
use crate::rdb::KeyRecord;
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
    load(engine, resolve)?;
    // The clock of stamps stood still while that of the engine was held.
    engine.keyspace.refresh_stamp();
    Ok(())
}

fn load(engine: &Arc<Local>, resolve: Resolve) -> Result<()> {
    let Local { persistence, keyspace, config, .. } = &**engine;
    if !config.hot().appendonly() {
        persistence.load(keyspace)?;
        return Ok(());
    }
    persistence.lock_log(config)?;
    let Some(log) = persistence.find_log(config)? else {
        let single = logging::single_file(config);
        if single.is_file() {
            repeat(engine, resolve, &[Source::whole(&single)], (End::CutOff, &|_| ()))?;
            persistence.note(format!("{} was imported", single.display()));
        } else if persistence.load(keyspace)? {
            persistence.note("A snapshot was imported, since there was no log yet".to_owned());
        }
        return persistence.begin_logging(keyspace);
    };
    load_log(engine, resolve, &log, None)?;
    persistence.go_on_logging(keyspace, log)
}

/// Repeats a log, in databases whose shards are all locked where such are `held`.
fn load_log(engine: &Arc<Local>, resolve: Resolve, log: &FoundLog, held: Option<&mut Db<'_>>) -> Result<()> {
    let mut repeating = Repeating::new(engine, resolve, held);
    let clock = &engine.keyspace.clock;
    let file = |source: &Source, may_be_cut| repeating.file(source, may_be_cut, (End::CutOff, &|_| ()));
    clock.held_at(LONG_AGO_MS, || log.each_file(file))?;
    repeating.end();
    Ok(())
}

/// What becomes of an end that is no whole command, where it may be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It is cut off, if the options allow it: the log goes on there.
    CutOff,
    /// It stays where it is, unread.
    PassedOver,
}

/// Repeats files, one after the other, in an engine that nobody uses yet. What is to be said of them are notes of the engine. `heard` is told how many bytes
/// of each have been read, again and again. O(bytes).
///
/// # Errors
/// They are damaged, or can't be read.
pub(crate) fn repeat(
    engine: &Arc<Local>,
    resolve: Resolve,
    sources: &[Source],
    (end, heard): (End, &dyn Fn(u64)),
) -> Result<()> {
    let mut repeating = Repeating::new(engine, resolve, None);
    engine.keyspace.clock.held_at(LONG_AGO_MS, || {
        logging::each_of(sources, &mut |source, may_be_cut| repeating.file(source, may_be_cut, (end, heard)))
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
struct Repeating<'e, 'h, 'k> {
    engine: &'e Arc<Local>,
    session: SessionState,
    reply: Reply,
    resolve: Resolve,
    /// Databases whose shards are all locked; elsewhere nobody uses the engine yet.
    held: Option<&'h mut Db<'k>>,
    /// Libraries of functions, opaque.
    functions: Vec<Vec<u8>>,
    /// Commands that had an error for a reply, and the first of these.
    failed: u64,
    first_failure: String,
}

impl<'e, 'h, 'k> Repeating<'e, 'h, 'k> {
    fn new(engine: &'e Arc<Local>, resolve: Resolve, held: Option<&'h mut Db<'k>>) -> Self {
        let now_ms = engine.keyspace.clock.coarse_ms();
        let info = engine.clients.register(
            engine.users.default_user(),
            ClientAddress::InProcess,
            None,
            false,
            now_ms,
        );
        let session = SessionState::new(info);
        let (reply, functions) = (Reply::new(Form::Resp), Vec::new());
        Self { engine, session, reply, resolve, held, functions, failed: 0, first_failure: String::new() }
    }

    /// Loads a file, which may begin with a snapshot.
    fn file(
        &mut self,
        source: &Source,
        may_be_cut: bool,
        (broken, heard): (End, &dyn Fn(u64)),
    ) -> Result<()> {
        let path = &source.path;
        let (loaded, end) = log_reader::read_file(&self.engine.keyspace, source, Time::OfFile, self, heard)?;
        self.functions.extend(loaded.into_iter().flat_map(|loaded| loaded.functions));
        if let Some(whole) = source.whole {
            let len = path.metadata().map_or(whole, |file| file.len());
            self.pass_over(path, len.saturating_sub(whole));
        }
        if end.is_whole() {
            return Ok(());
        }
        if !may_be_cut || !self.engine.config.hot().aof_load_truncated() {
            return Err(logging::truncated(path, end.whole));
        }
        if broken == End::PassedOver {
            self.pass_over(path, end.len - end.whole);
            return Ok(());
        }
        let cut = OpenOptions::new().write(true).open(path).and_then(|file| {
            file.set_len(end.whole)?;
            file.sync_all()
        });
        cut.map_err(|error| files::told("Cutting off the end of", path, &error))?;
        let lost = end.len - end.whole;
        self.engine.persistence.note(format!(
            "The last {lost} bytes of {} were no whole command and have been cut off",
            path.display()
        ));
        Ok(())
    }

    fn pass_over(&self, path: &Path, bytes: u64) {
        let path = path.display();
        let text = format!("The last {bytes} bytes of {path} are no whole command and were passed over");
        self.engine.persistence.note(text);
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
        persistence.keep_functions(std::mem::take(&mut self.functions));
        // Libraries that were replaced since go with this, so that no file has two of a name.
        #[cfg(feature = "scripting")]
        crate::script::functions::of(self.engine);
    }
}

impl Receiver for Repeating<'_, '_, '_> {
    fn whole(&mut self, file: MappedFile, time: Time) -> Result<Adopted> {
        let Local { persistence, keyspace, .. } = &**self.engine;
        if self.held.is_some() {
            Ok(Adopted::Not(file))
        } else {
            file.adopt(keyspace, time, |file| persistence.verify_later(file))
        }
    }

    fn key(&mut self, record: KeyRecord) -> Result<()> {
        match &mut self.held {
            Some(db) => loading::put_into(db, record, Twice::Refused),
            None => loading::put(&self.engine.keyspace, record),
        }
    }

    fn command(&mut self, words: &[&[u8]]) -> Result<()> {
        if let [function, load, options @ .., library] = words
            && function.eq_ignore_ascii_case(b"FUNCTION")
            && load.eq_ignore_ascii_case(b"LOAD")
            && options.len() <= 1
        {
            self.functions.push(library.to_vec());
            return Ok(());
        }
        // What else is done to libraries is done to those that there are by now.
        let is_about_functions = words.first().is_some_and(|name| name.eq_ignore_ascii_case(b"FUNCTION"));
        if is_about_functions {
            self.engine.persistence.keep_functions(self.functions.clone());
        }
        let found = (self.resolve)(words).map_err(|unresolved| unresolved.error)?;
        if found.spec.flags.contains(Flags::BLOCKING) || found.spec.flags.contains(Flags::ADMIN) {
            let name = String::from_utf8_lossy(words[0]);
            return Err(Error::new(ErrorKind::Io, format!("ERR '{name}' is no command for a log")));
        }
        self.reply.clear();
        let (mut effects, mut options_changed) = (Group::default(), false);
        let transaction = self.held.as_deref_mut().map(|db| Locked {
            db,
            effects: &mut effects,
            options_changed: &mut options_changed,
        });
        let mut context = Context { engine: self.engine, session: &mut self.session, transaction };
        // The server goes on, too.
        if let Err(error) = (found.run)(&mut context, words, &mut self.reply) {
            if self.failed == 0 {
                self.first_failure = format!("{}: {error}", String::from_utf8_lossy(words[0]));
            }
            self.failed += 1;
        }
        if is_about_functions {
            self.functions = self.engine.persistence.functions().0;
        }
        Ok(())
    }
}

impl Drop for Repeating<'_, '_, '_> {
    fn drop(&mut self) {
        self.engine.clients.forget(self.session.info.id);
    }
}
