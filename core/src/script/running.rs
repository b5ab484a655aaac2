//! Running a script: under every lock, as one step, with one group of effects.

use std::cell::RefCell;
use std::sync::atomic::Ordering;

use mlua::{BString, Function, Lua, LuaString, MultiValue, Table, Value};
use smallvec::SmallVec;

use super::call::{self, Resolve, Running};
use super::convert::{Writing, error_of};
use super::functions;
use super::interpreter::{self, Interpreter, Shared, broken};
use crate::command::run::{self, Context, Locked};
use crate::command::{Form, Reply};
use crate::error::{Error, Result, until_zero};
use crate::keyspace::locks::Locks;
use crate::keyspace::{Db, Group, Key};
use crate::local::Local;
use crate::scripts::libraries::Library;
use crate::scripts::{Script, ScriptFlags};
use crate::sync::Arc;

/// What is called.
#[derive(Clone, Copy)]
pub(crate) enum Code<'a> {
    /// A script.
    Script(&'a Script),
    /// A function of a library, by its place there.
    Function(&'a Library, usize),
}

impl Code<'_> {
    fn flags(&self) -> Option<ScriptFlags> {
        match self {
            Code::Script(script) => script.flags,
            Code::Function(library, at) => Some(library.functions[*at].flags),
        }
    }
}

/// A call of a script or a function.
pub(crate) struct Call<'a> {
    pub(crate) code: Code<'a>,
    /// The words of the whole command, for a function.
    pub(crate) words: &'a [&'a [u8]],
    pub(crate) keys: &'a [&'a [u8]],
    pub(crate) arguments: &'a [&'a [u8]],
    /// It came by a command that only reads.
    pub(crate) read_only: bool,
    /// Finds commands.
    pub(crate) resolve: Resolve,
}

/// What a call may do.
#[derive(Clone, Copy)]
struct Rights {
    read_only: bool,
    has_no_room: bool,
}

/// Runs a script and writes its reply. The shards of the keys that it declares are locked meanwhile, and all from when it touches another; unless a
/// transaction holds them all already.
///
/// # Errors
/// The script may not run, is none, or failed. What it has changed by then stands.
pub(crate) fn run(context: &mut Context<'_, '_>, call: &Call<'_>, reply: &mut Reply) -> Result<()> {
    let rights = rights(context, call)?;
    interpreter::with(|interpreter| {
        let function = match call.code {
            Code::Script(script) => interpreter.function_of(script)?,
            Code::Function(library, at) => functions::function_of(interpreter, context.engine, library, at)?,
        };
        let (engine, resolve, shared) = (context.engine, call.resolve, interpreter.shared.clone());
        let mut sink = Reply::new(Form::Resp);
        sink.set_resp3(false);
        let Rights { read_only, has_no_room } = rights;
        if let Some(Locked { db, effects, options_changed }) = &mut context.transaction {
            let session = &mut *context.session;
            let _begun = Begun::new(engine, &shared);
            let running = Running {
                engine,
                session,
                db,
                effects,
                options_changed,
                resolve,
                shared: &shared,
                sink,
                read_only,
                has_no_room,
                has_written: false,
            };
            return execute(interpreter, &function, running, call, reply);
        }
        context.wait_for_script()?;
        let begun = Begun::new(engine, &shared);
        let keyspace = &engine.keyspace;
        let hashes: SmallVec<[u64; 8]> =
            call.keys.iter().map(|key| Key::new(key, &keyspace.seed).hash()).collect();
        let locks = Locks::declared(keyspace, context.session.db, &hashes);
        let mut db = Db::new(keyspace, context.session.origin(), locks);
        context.session.instruct(&mut db);
        let (mut effects, mut options_changed) = (Group::default(), false);
        let running = Running {
            engine,
            session: &mut *context.session,
            db: &mut db,
            effects: &mut effects,
            options_changed: &mut options_changed,
            resolve,
            shared: &shared,
            sink,
            read_only,
            has_no_room,
            has_written: false,
        };
        let result = execute(interpreter, &function, running, call, reply);
        drop(begun);
        if db.is_to_serve() {
            // Waiters may touch other keys.
            db.cover_all();
        }
        let released = run::release(db, &effects);
        effects.recycle();
        if options_changed {
            context.engine.options_changed();
        }
        released.and(result)
    })
}

/// What is checked before a script that tells its flags runs, and what is left to its commands.
fn rights(context: &Context<'_, '_>, call: &Call<'_>) -> Result<Rights> {
    let engine = context.engine;
    // A transaction has made room already, and holds the locks that making more would take.
    let has_room =
        if context.transaction.is_some() { !engine.keyspace.is_over_limit() } else { engine.make_room() };
    let Some(flags) = call.code.flags() else {
        return Ok(Rights { read_only: call.read_only, has_no_room: !has_room });
    };
    let reads_only = flags.contains(ScriptFlags::NO_WRITES);
    if !reads_only {
        if call.read_only {
            return Err(Error::command("Can not execute a script with write flag using *_ro command."));
        }
        if let Some(refusal) = engine.keyspace.hooks.refusal() {
            return Err(refusal);
        }
        if !has_room && !flags.contains(ScriptFlags::ALLOW_OOM) {
            return Err(Error::out_of_memory());
        }
    }
    Ok(Rights { read_only: reads_only || call.read_only, has_no_room: false })
}

/// A script has begun, or is about to take the locks; when this is dropped it has ended, however it did.
struct Begun<'r>(&'r Arc<Local>, &'r Shared);

impl<'r> Begun<'r> {
    fn new(engine: &'r Arc<Local>, shared: &'r Shared) -> Self {
        engine.script_begins();
        Self(engine, shared)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.1.end();
        self.0.scripts.end();
        self.0.script_is_over();
    }
}

fn execute(
    interpreter: &mut Interpreter,
    function: &Function,
    running: Running<'_, '_>,
    call: &Call<'_>,
    reply: &mut Reply,
) -> Result<()> {
    let (engine, shared) = (running.engine, interpreter.shared.clone());
    let info = running.session.info.clone();
    let before = (
        running.session.db,
        info.last_command.load(Ordering::Relaxed),
        info.commands.load(Ordering::Relaxed),
    );
    let timer = engine.keyspace.clock.timer();
    let function_called = match call.code {
        Code::Script(_) => None,
        Code::Function(library, at) => {
            let words = call.words.iter().map(|word| word.to_vec()).collect();
            Some((library.functions[at].name.clone(), words))
        }
    };
    engine.scripts.begin(timer, info.id, function_called);
    shared.begin(engine, timer);
    running.session.in_script = true;
    running.db.keep_texts(true);
    let running = RefCell::new(running);
    let outcome = evaluate(interpreter, function, &running, call);
    let Running { session, db, .. } = running.into_inner();
    db.keep_texts(false);
    session.in_script = false;
    session.select(before.0);
    info.last_command.store(before.1, Ordering::Relaxed);
    info.commands.store(before.2, Ordering::Relaxed);
    interpreter.tidy(engine);
    match outcome {
        Ok((true, value)) => {
            let (stats, resp3, next) = (&engine.stats, shared.resp3.get(), &interpreter.next);
            let mut writing = Writing { reply: &mut *reply, stats, resp3, next, deep: &interpreter.deep };
            writing.value(&value).map_err(|error| broken(&error))
        }
        Ok((false, Value::Table(error))) => fail(&error, reply).map_err(|error| broken(&error))?,
        Ok((false, _)) => Err(Error::command("unknown error")),
        Err(error) => Err(broken(&error)),
    }
}

/// Runs the function. Returns whether it succeeded, and what it returned, or its error.
fn evaluate(
    interpreter: &Interpreter,
    function: &Function,
    running: &RefCell<Running<'_, '_>>,
    call_words: &Call<'_>,
) -> mlua::Result<(bool, Value)> {
    let lua = &interpreter.lua;
    let (run, server) = match call_words.code {
        Code::Script(_) => (&interpreter.run, &interpreter.server),
        Code::Function(..) => (&interpreter.run_function, &interpreter.library_server),
    };
    let again = || mlua::Error::runtime("a command calls the script that it runs in");
    let execute =
        |lua: &Lua, values: &MultiValue| running.try_borrow_mut().map_err(|_| again())?.call(lua, values);
    lua.scope(|scope| {
        let call = scope.create_function(|lua, values: MultiValue| {
            if values.front() != Some(&call::ASKS) {
                return execute(lua, &values)?.map_err(mlua::Error::external);
            }
            let running = running.try_borrow().map_err(|_| again())?;
            let may = call::check_command((running.engine, running.session), running.resolve, &values);
            may.map(Value::Boolean).map_err(mlua::Error::external)
        })?;
        server.raw_set("call", call)?;
        run.call((function, words(lua, call_words.keys)?, words(lua, call_words.arguments)?))
    })
}

fn words(lua: &Lua, words: &[&[u8]]) -> mlua::Result<Table> {
    lua.create_sequence_from(words.iter().map(|word| BString::from(*word)))
}

/// The error of a script, where it is to be counted; else it is written here.
fn fail(error: &Table, reply: &mut Reply) -> mlua::Result<Result<()>> {
    let text = match error.raw_get("err")? {
        Value::String(text) => until_zero(&text.as_bytes()).to_vec(),
        _ => b"ERR unknown error".to_vec(),
    };
    let mut text = text;
    let (source, line): (Option<LuaString>, Option<i64>) = (error.raw_get("source")?, error.raw_get("line")?);
    if let (Some(source), Some(line)) = (source, line) {
        text.extend_from_slice(b" script: on ");
        text.extend_from_slice(until_zero(&source.as_bytes()));
        text.extend_from_slice(format!(":{line}.").as_bytes());
    }
    let is_counted = error.raw_get::<Value>("ignore_error_stats_update")?.is_nil();
    let error = error_of(&text);
    if is_counted {
        return Ok(Err(error));
    }
    reply.error(&error);
    Ok(Ok(()))
}
