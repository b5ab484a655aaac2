//! What scripts call: commands, and what the server offers beside them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mlua::{BorrowedBytes, Function, LightUserData, Lua, MultiValue, Table, Value};
use smallvec::SmallVec;

use super::convert;
use super::interpreter::{Shared, add_texts};
use super::libraries::{Arguments, Failure, Raised, function};
use crate::acl::{Origin, User};
use crate::clients::SessionState;
use crate::command::Reply;
use crate::command::permit::{self, Denied};
use crate::command::run::{self, Context, Found, Locked, Unresolved};
use crate::command::spec::Flags;
use crate::error::{Error, ErrorKind, until_zero};
use crate::keyspace::{Db, Group};
use crate::local::Local;
use crate::num;
use crate::sync::Arc;

/// Finds a command.
pub(crate) type Resolve = for<'w> fn(&'w [&'w [u8]]) -> Result<&'static Found, Unresolved>;

/// The version that scripts are told.
const VERSION: &str = "9.1.2";
const VERSION_NUMBER: u32 = 0x0009_0102;

/// Commands that read but that the server hands on to replicas, which no script does that only reads.
const MAY_REPLICATE: [&str; 3] = ["pfcount", "publish", "spublish"];

/// A word of a command.
enum Word {
    Text(BorrowedBytes),
    Number(Vec<u8>),
}

impl AsRef<[u8]> for Word {
    fn as_ref(&self) -> &[u8] {
        match self {
            Word::Text(text) => text,
            Word::Number(text) => text,
        }
    }
}

fn words<'v>(values: impl Iterator<Item = &'v Value>) -> Result<SmallVec<[Word; 8]>, Error> {
    let mut values = values.peekable();
    if values.peek().is_none() {
        return Err(Error::command("Please specify at least one argument for this call"));
    }
    let word = |value: &Value| {
        let number = match value {
            Value::String(text) => return Ok(Word::Text(text.as_bytes())),
            Value::Number(number) => *number,
            Value::Integer(number) => *number as f64,
            _ => return Err(Error::command("Command arguments must be strings or integers")),
        };
        let mut text = Vec::new();
        if number.is_nan() && number.is_sign_negative() {
            text.push(b'-');
        }
        num::write_f64(&mut text, number);
        Ok(Word::Number(text))
    };
    values.map(word).collect()
}

/// A script that runs: in whose name, and under which locks.
pub(super) struct Running<'r, 'e> {
    pub(super) engine: &'r Arc<Local>,
    pub(super) session: &'r mut SessionState,
    pub(super) db: &'r mut Db<'e>,
    pub(super) effects: &'r mut Group,
    pub(super) options_changed: &'r mut bool,
    pub(super) resolve: Resolve,
    pub(super) shared: &'r Shared,
    pub(super) sink: Reply,
    /// It may not write.
    pub(super) read_only: bool,
    /// There is no room for more data, and the script has not said that it may go on.
    pub(super) has_no_room: bool,
    pub(super) has_written: bool,
}

/// Whether the user of a session may run a command, by whatever script.
///
/// # Errors
/// Who is refused, and what.
fn may_call(
    engine: &Local,
    session: &SessionState,
    found: &Found,
    argv: &[&[u8]],
) -> Result<(), (Arc<User>, Denied)> {
    if !session.is_restricted() {
        return Ok(());
    }
    let user = session.info.user();
    permit::check(engine, &user, found, argv, session.db).map_err(|denied| (user, denied))
}

impl Running<'_, '_> {
    /// Runs a command and returns its reply, or else its error.
    pub(super) fn call(&mut self, lua: &Lua, values: &MultiValue) -> mlua::Result<Result<Value, Raised>> {
        let words = match words(values.iter()) {
            Ok(words) => words,
            Err(error) => return Ok(Err(raised_by(&error, false))),
        };
        let argv: SmallVec<[&[u8]; 8]> = words.iter().map(Word::as_ref).collect();
        let run = catch_unwind(AssertUnwindSafe(|| self.execute(&argv)));
        let run = run.unwrap_or_else(|_| {
            // Nobody knows what it left behind, so that the script goes no further.
            self.shared.killed.set(true);
            Err(Error::new(ErrorKind::Internal, "ERR internal error: the command panicked"))
        });
        if let Err(error) = run {
            return Ok(Err(raised_by(&error, true)));
        }
        let reply = self.sink.as_bytes();
        if let Some(text) = reply.strip_prefix(b"-") {
            let text = text.strip_suffix(b"\r\n").unwrap_or(text).to_vec();
            return Ok(Err(Raised::Error { text, is_counted: true }));
        }
        convert::to_lua(lua, reply, self.sink.resp3()).map(Ok)
    }

    fn execute(&mut self, argv: &[&[u8]]) -> Result<(), Error> {
        let found = self.admit(argv)?;
        if found.spec.flags.contains(Flags::WRITE) {
            self.has_written = true;
            self.engine.scripts.writes();
        }
        self.sink.clear();
        self.sink.set_resp3(self.shared.resp3.get());
        let locked = Locked {
            db: &mut *self.db,
            effects: &mut *self.effects,
            options_changed: &mut *self.options_changed,
        };
        let mut context =
            Context { engine: self.engine, session: &mut *self.session, transaction: Some(locked) };
        run::call(&mut context, found, argv, &mut self.sink)
    }

    /// What is checked before a command runs.
    fn admit(&self, argv: &[&[u8]]) -> Result<&'static Found, Error> {
        let stats = &self.engine.stats;
        let rejected = |found: Option<&Found>, error: Error| {
            if let Some(found) = found {
                self.session.counters(stats).of(found.id).rejected();
            }
            stats.count_error(&error);
            error
        };
        let found = match (self.resolve)(argv) {
            Ok(found) => found,
            Err(Unresolved { id: Some(id), .. }) => {
                self.session.counters(stats).of(id).rejected();
                return Err(rejected(
                    None,
                    Error::command("Wrong number of args calling command from script"),
                ));
            }
            Err(Unresolved { error, .. }) => {
                let is_command = error.as_bytes().starts_with(b"ERR unknown command");
                let unknown = || Error::command("Unknown command called from script");
                return Err(rejected(None, if is_command { unknown() } else { error }));
            }
        };
        let flags = found.spec.flags;
        let refuse = |error| Err(rejected(Some(found), error));
        if flags.contains(Flags::NOSCRIPT) || found.spec.outside {
            return refuse(Error::command("This Valkey command is not allowed from script"));
        }
        if let Err((user, denied)) = may_call(self.engine, self.session, found, argv) {
            self.engine.note_denied(&self.session.info, &user, Origin::Script, &denied);
            return refuse(denied.error_in_script(&user));
        }
        let may_write = flags.contains(Flags::WRITE);
        if self.read_only && (may_write || MAY_REPLICATE.contains(&found.spec.name)) {
            return refuse(Error::command("Write commands are not allowed from read-only scripts."));
        }
        if may_write && let Some(refusal) = self.engine.keyspace.hooks.refusal() {
            return refuse(refusal);
        }
        if self.has_no_room && !self.has_written && flags.contains(Flags::DENYOOM) {
            return refuse(Error::out_of_memory());
        }
        Ok(found)
    }
}

/// A table with a text in one field.
fn table_of(lua: &Lua, field: &str, text: &[u8]) -> Result<MultiValue, Failure> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(field, lua.create_string(text)?)?;
    Ok(MultiValue::from_iter([Value::Table(table)]))
}

fn raised(text: &str) -> Failure {
    Failure::Error(format!("ERR {text}"))
}

/// Adds the functions of the server to those that the sandbox calls.
pub(super) fn add(lua: &Lua, host: &Table, shared: &Rc<Shared>) -> mlua::Result<()> {
    add_texts(lua, host)?;
    host.raw_set("version", VERSION)?;
    host.raw_set("version_number", VERSION_NUMBER)?;
    let wrong = "wrong number or type of arguments";
    let error_reply = function(lua, move |lua, args| {
        let Some(Value::String(text)) = args.get(0).filter(|_| args.len() == 1) else {
            return table_of(lua, "err", format!("ERR {wrong}").as_bytes());
        };
        let text = text.as_bytes();
        let text = until_zero(&text);
        // The mark of an error on the wire may be there or not.
        let text = text.strip_prefix(b"-").unwrap_or(text);
        let has_code = text.contains(&b' ');
        table_of(lua, "err", &if has_code { text.to_vec() } else { [b"ERR ", text].concat() })
    })?;
    host.raw_set("error_reply", error_reply)?;
    let status_reply = function(lua, move |lua, args| match args.get(0).filter(|_| args.len() == 1) {
        Some(Value::String(text)) => table_of(lua, "ok", &text.as_bytes()),
        _ => table_of(lua, "err", format!("ERR {wrong}").as_bytes()),
    })?;
    host.raw_set("status_reply", status_reply)?;
    let own = shared.clone();
    let setresp = function(lua, move |lua, args| {
        if args.len() != 1 {
            return Err(raised("server.setresp() requires one argument."));
        }
        let version = args.number(lua, 0).unwrap_or(0.0);
        if version != 2.0 && version != 3.0 {
            return Err(raised("RESP version must be 2 or 3."));
        }
        own.resp3.set(version == 3.0);
        Ok(MultiValue::new())
    })?;
    host.raw_set("setresp", setresp)?;
    let set_repl = function(lua, |lua, args| {
        if args.len() != 1 {
            return Err(raised("server.set_repl() requires one argument."));
        }
        let flags = args.number(lua, 0).unwrap_or(0.0) as i64;
        if flags & !3 != 0 {
            return Err(raised(
                "Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.",
            ));
        }
        Ok(MultiValue::new())
    })?;
    host.raw_set("set_repl", set_repl)?;
    let own = shared.clone();
    host.raw_set("log", function(lua, move |lua, args| log(&own, lua, args))?)
}

/// Writes to where the log of a server goes. Within a program, whose output is its own, there is none.
fn log(shared: &Shared, lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    const LEVELS: [&str; 4] = ["debug", "verbose", "notice", "warning"];
    if args.len() < 2 {
        return Err(raised("server.log() requires two arguments or more."));
    }
    let level = match args.get(0) {
        Some(Value::Number(level)) => *level as i64,
        Some(Value::Integer(level)) => *level,
        _ => return Err(raised("First argument must be a number (log level).")),
    };
    let level = usize::try_from(level).ok().filter(|level| *level < LEVELS.len());
    let level = level.ok_or_else(|| raised("Invalid log level."))?;
    let Some(engine) = shared.engine() else { return Ok(MultiValue::new()) };
    let wanted = engine.config.text("loglevel").unwrap_or_default();
    let least = LEVELS.iter().position(|name| name.as_bytes() == &*wanted).unwrap_or(LEVELS.len());
    if level >= least && !engine.network.listeners().is_empty() {
        let mut words = Vec::new();
        for at in 1..args.len() {
            words.push(String::from_utf8_lossy(&args.text_or_empty(lua, at)?).into_owned());
        }
        eprintln!("{}", words.join(" "));
    }
    Ok(MultiValue::new())
}

/// What `call` finds in front of words when it is only to say whether it would run them. No script has such a value.
pub(super) const ASKS: Value = Value::LightUserData(LightUserData(std::ptr::null_mut()));

/// Adds what is done by means of `call`, which is another function each time a script runs: to make three of them took a tenth of a short script's time.
pub(super) fn add_by_call(lua: &Lua, server: &Table) -> mlua::Result<()> {
    let of_run = |server: &Table| server.raw_get::<Function>("call");
    let own = server.clone();
    let pcall = lua.create_function(move |lua, values: MultiValue| {
        of_run(&own)?.call::<Value>(values).or_else(|error| match error.downcast_ref::<Raised>() {
            Some(raised) => raised.value(lua),
            None => Err(error),
        })
    })?;
    server.raw_set("pcall", pcall)?;
    let own = server.clone();
    let check = lua.create_function(move |_, mut values: MultiValue| {
        values.push_front(ASKS);
        of_run(&own)?.call::<Value>(values).map_err(|error| match error.downcast_ref::<Raised>() {
            Some(raised) => mlua::Error::external(raised.clone()),
            None => error,
        })
    })?;
    server.raw_set("acl_check_cmd", check)
}

/// Whether the user may run a command, as `acl_check_cmd` asks. The words stand behind the mark that it does.
pub(super) fn check_command(
    (engine, session): (&Local, &SessionState),
    resolve: Resolve,
    values: &MultiValue,
) -> Result<bool, Raised> {
    let words = words(values.iter().skip(1)).map_err(|error| raised_by(&error, false))?;
    let argv: SmallVec<[&[u8]; 8]> = words.iter().map(Word::as_ref).collect();
    match resolve(&argv) {
        Ok(found) => Ok(may_call(engine, session, found, &argv).is_ok()),
        // A wrong number of words is no matter here.
        Err(Unresolved { id: Some(_), .. }) => Ok(true),
        Err(_) => {
            let error = Error::command("Invalid command passed to server.acl_check_cmd()");
            Err(raised_by(&error, false))
        }
    }
}

fn raised_by(error: &Error, is_counted: bool) -> Raised {
    Raised::Error { text: error.as_bytes().to_vec(), is_counted }
}
