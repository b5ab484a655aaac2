//! Libraries of functions: how they are loaded, here and in the interpreter of each thread that calls them.
//!
//! What an engine has on disk of them are their texts. What they register is found out when somebody asks for the first time.

use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value};

use super::digest_of;
use super::interpreter::{self, Interpreter, Registered, Shared, broken};
use super::libraries::{Arguments, Failure, function};
use crate::error::{Error, Result, until_zero};
use crate::local::Local;
use crate::resp::split_line;
use crate::scripts::ScriptFlags;
use crate::scripts::libraries::{Libraries, Library, LibraryFunction};
use crate::sync::Arc;

/// What functions are called in errors.
const NAME: &str = "@user_function";

/// Libraries that an interpreter keeps loaded.
const MOST_LOADED: usize = 200;

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn bad_name(what: &str) -> Error {
    Error::command(format_args!(
        "{what} names can only contain letters, numbers, or underscores(_) and must be at least one character long"
    ))
}

/// The name of a library, and where its code begins.
///
/// # Errors
/// The first line of its text does not tell it.
pub(crate) fn name_of(text: &[u8]) -> Result<(Vec<u8>, usize)> {
    if !text.starts_with(b"#!") {
        return Err(Error::command("Missing library metadata"));
    }
    let end = memchr::memchr(b'\n', text).ok_or_else(|| Error::command("Invalid library metadata"))?;
    let words = split_line(&text[..end]).map_err(|_| Error::command("Invalid library metadata"))?;
    let mut name = None;
    for word in words.iter().skip(1) {
        let own = (word.len() >= 5 && word[..5].eq_ignore_ascii_case(b"name=")).then(|| &word[5..]);
        let Some(own) = own else {
            return Err(Error::repeating("Invalid metadata value given: ", word, ""));
        };
        if name.replace(own.to_vec()).is_some() {
            return Err(Error::command("Invalid metadata value, name argument was given multiple times"));
        }
    }
    let name = name.ok_or_else(|| Error::command("Library name was not given"))?;
    if !is_name(&name) {
        return Err(bad_name("Library"));
    }
    let engine = &words[0][2..];
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(Error::repeating("Engine '", engine, "' not found"));
    }
    Ok((name, end))
}

/// Loads a library: runs its code in the interpreter of this thread.
///
/// # Errors
/// The code fails, or what it registers can't be.
pub(crate) fn load(engine: &Local, text: &[u8], (name, code_at): (Vec<u8>, usize)) -> Result<Library> {
    let digest = digest_of(text);
    let registered = interpreter::with(|interpreter| {
        let (registered, callbacks) = registered_by(interpreter, engine, &text[code_at..])?;
        keep(interpreter, engine, digest, callbacks);
        Ok(registered)
    })?;
    let mut names: Vec<Vec<u8>> = Vec::new();
    for function in &registered {
        if !is_name(&function.name) {
            return Err(bad_name("Function"));
        }
        let small = function.name.to_ascii_lowercase();
        if names.contains(&small) {
            return Err(Error::command("Function already exists in the library"));
        }
        names.push(small);
    }
    if registered.is_empty() {
        return Err(Error::command("No functions registered"));
    }
    Ok(Library { name, code: Box::from(text), code_at, digest, functions: registered })
}

fn keep(interpreter: &mut Interpreter, engine: &Local, digest: [u8; 40], callbacks: Vec<Function>) {
    if interpreter.libraries.len() >= MOST_LOADED {
        interpreter.libraries.clear();
    }
    interpreter.libraries.insert((engine.number, digest), callbacks);
}

/// Runs the code of a library, and returns what it registers.
fn registered_by(
    interpreter: &Interpreter,
    engine: &Local,
    code: &[u8],
) -> Result<(Vec<LibraryFunction>, Vec<Function>)> {
    let failed = |error: &mlua::Error| broken(error);
    let text = interpreter.lua.create_string(code).map_err(|error| failed(&error))?;
    let compiled =
        interpreter.compile_library.call::<(Option<Function>, Option<mlua::LuaString>)>((text, NAME));
    let (function, error) = compiled.map_err(|error| failed(&error))?;
    let Some(function) = function else {
        let text = error.map_or_else(Vec::new, |text| text.as_bytes().to_vec());
        return Err(Error::repeating("Error compiling function: ", &text, ""));
    };
    let timer = engine.keyspace.clock.timer();
    *interpreter.shared.registering.borrow_mut() = Some((Vec::new(), timer));
    let outcome = interpreter.load_library.call::<(bool, Value)>(function);
    let registered = interpreter.shared.registering.borrow_mut().take();
    match outcome.map_err(|error| failed(&error))? {
        (true, _) => {
            let registered = registered.map_or_else(Vec::new, |(registered, _)| registered);
            Ok(registered.into_iter().map(|registered| (registered.about, registered.callback)).unzip())
        }
        (false, error) => {
            let text = match &error {
                Value::Table(error) => error.raw_get::<Value>("err").unwrap_or(Value::Nil),
                _ => Value::Nil,
            };
            let text = match text {
                Value::String(text) => until_zero(&text.as_bytes()).to_vec(),
                _ => b"ERR unknown error".to_vec(),
            };
            Err(Error::repeating("Error registering functions: ", &text, ""))
        }
    }
}

/// A function of a library in this interpreter.
///
/// # Errors
/// The library can't be loaded here.
pub(super) fn function_of(
    interpreter: &mut Interpreter,
    engine: &Local,
    library: &Library,
    at: usize,
) -> Result<Function> {
    if !interpreter.libraries.contains_key(&(engine.number, library.digest)) {
        let (_, callbacks) = registered_by(interpreter, engine, &library.code[library.code_at..])?;
        keep(interpreter, engine, library.digest, callbacks);
    }
    let callbacks = interpreter.libraries.get(&(engine.number, library.digest));
    let callback = callbacks.and_then(|callbacks| callbacks.get(at).cloned());
    callback.ok_or_else(|| Error::command("Function not found"))
}

/// The libraries of an engine. What was loaded from disk since is looked at now: what is no library is kept as it is, and a note tells so.
pub(crate) fn of(engine: &Local) -> Arc<Libraries> {
    if let Some(libraries) = engine.scripts.libraries(engine.persistence.functions_version()) {
        return libraries;
    }
    let (codes, version) = engine.persistence.functions();
    let mut libraries = Libraries::default();
    for code in &codes {
        let put = name_of(code).and_then(|name| {
            // A later one replaces what came before it, as the log says.
            libraries.remove(&name.0);
            load(engine, code, name).and_then(|library| insert(&mut libraries, library))
        });
        if let Err(error) = put {
            engine.persistence.note(format!("A library of functions can't be loaded: {error}"));
            libraries.keep_opaque(code.clone());
        }
    }
    let libraries = Arc::new(libraries);
    let kept = libraries.kept();
    if kept.len() != codes.len() {
        engine.persistence.set_functions(kept);
    }
    engine.scripts.set_libraries(version, libraries.clone());
    libraries
}

/// Replaces the libraries of an engine. The caller holds every shard.
pub(crate) fn replace(engine: &Local, libraries: Libraries) {
    engine.persistence.set_functions(libraries.kept());
    engine.scripts.set_libraries(engine.persistence.functions_version(), Arc::new(libraries));
}

/// Puts a library in.
///
/// # Errors
/// Another one has a function of the same name.
pub(crate) fn insert(libraries: &mut Libraries, library: Library) -> Result<()> {
    let inserted = libraries.insert(Arc::new(library));
    inserted.map_err(|name| Error::repeating("Function ", &name, " already exists"))
}

fn raised(text: &str) -> Failure {
    Failure::Error(format!("ERR {text}"))
}

/// Adds what libraries register functions with.
pub(super) fn add(lua: &Lua, host: &Table, shared: &Rc<Shared>) -> mlua::Result<()> {
    let own = shared.clone();
    let register = function(lua, move |lua, args| {
        let registered = read(lua, args)?;
        if let Some((all, _)) = &mut *own.registering.borrow_mut() {
            all.push(registered);
        }
        Ok(MultiValue::new())
    })?;
    host.raw_set("register_function", register)
}

fn text(lua: &Lua, value: &Value) -> Result<Option<Vec<u8>>, Failure> {
    match value {
        Value::String(_) | Value::Number(_) | Value::Integer(_) => {
            Ok(lua.coerce_string(value.clone())?.map(|text| text.as_bytes().to_vec()))
        }
        _ => Ok(None),
    }
}

fn read(lua: &Lua, args: &Arguments) -> Result<Registered, Failure> {
    match (args.len(), args.get(0), args.get(1)) {
        (1, Some(Value::Table(table)), _) => read_named(lua, table),
        (1, ..) => Err(raised(
            "calling server.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        )),
        (2, Some(name), Some(callback)) => {
            let name = text(lua, name)?;
            let name =
                name.ok_or_else(|| raised("first argument to server.register_function must be a string"))?;
            let Value::Function(callback) = callback else {
                return Err(raised("second argument to server.register_function must be a function"));
            };
            let about = LibraryFunction { name, description: None, flags: ScriptFlags::default() };
            Ok(Registered { about, callback: callback.clone() })
        }
        _ => Err(raised("wrong number of arguments to server.register_function")),
    }
}

fn read_named(lua: &Lua, table: &Table) -> Result<Registered, Failure> {
    let (mut name, mut callback, mut description, mut flags) = (None, None, None, ScriptFlags::default());
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = match &key {
            Value::String(key) => key.as_bytes().to_vec(),
            _ => Vec::new(),
        };
        let must = |what: &str| {
            raised(&format!("{what} argument given to server.register_function must be a string"))
        };
        match &key[..] {
            b"function_name" => name = Some(text(lua, &value)?.ok_or_else(|| must("function_name"))?),
            b"description" => description = Some(text(lua, &value)?.ok_or_else(|| must("description"))?),
            b"callback" => match value {
                Value::Function(function) => callback = Some(function),
                _ => {
                    return Err(raised(
                        "callback argument given to server.register_function must be a function",
                    ));
                }
            },
            b"flags" => {
                let Value::Table(names) = value else {
                    return Err(raised(
                        "flags argument to server.register_function must be a table representing function flags",
                    ));
                };
                flags = flags_in(&names)?;
            }
            _ => return Err(raised("unknown argument given to server.register_function")),
        }
    }
    let name = name.ok_or_else(|| raised("server.register_function must get a function name argument"))?;
    let callback = callback.ok_or_else(|| raised("server.register_function must get a callback argument"))?;
    Ok(Registered { about: LibraryFunction { name, description, flags }, callback })
}

fn flags_in(names: &Table) -> Result<ScriptFlags, Failure> {
    let mut flags = ScriptFlags::default();
    for at in 1.. {
        let flag = match names.raw_get::<Value>(at)? {
            Value::Nil => break,
            Value::String(name) => ScriptFlags::from_name(&name.as_bytes()),
            _ => None,
        };
        flags = flags.with(flag.ok_or_else(|| raised("unknown flag given"))?);
    }
    Ok(flags)
}
