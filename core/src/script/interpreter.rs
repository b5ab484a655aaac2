//! Interpreters: one for each thread, made when the thread runs its first script and used for all.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use hashbrown::HashMap;
use mlua::{Function, HookTriggers, Lua, LuaOptions, MultiValue, StdLib, Table, Value, VmState};

use super::libraries::{self, Failure, function};
use super::{call, digest_of, functions};
use crate::clock::Timer;
use crate::error::{Error, Result};
use crate::local::Local;
use crate::scripts::libraries::LibraryFunction;
use crate::scripts::{Digest, Script};
use crate::sync::Arc;

/// What scripts are called in errors.
const NAME: &str = "@user_script";

/// The name of the sandbox, whose functions no error is to point into.
pub(super) const SANDBOX: &str = "=sandbox";

/// Scripts that are kept compiled, and their bytes.
const MOST_COMPILED: usize = 1000;
const MOST_BYTES: usize = 16 << 20;

/// Instructions between two looks at whether a script has to end.
const PATIENCE: u32 = 20_000;

/// A library that takes longer to be loaded is refused.
const LONGEST_LOADING: Duration = Duration::from_millis(500);

/// Runs between two steps of collecting garbage: what few large scripts left behind is not there for ever.
const RUNS_BETWEEN_STEPS: u32 = 50;

thread_local! {
    static OWN: Cell<Option<Interpreter>> = const { Cell::new(None) };
}

/// What functions of the host know of the script that runs.
#[derive(Default)]
pub(super) struct Shared {
    /// The engine, and since when the script runs.
    running: RefCell<Option<(Arc<Local>, Timer)>>,
    /// It is to end: nothing that it raises is caught.
    pub(super) killed: Cell<bool>,
    /// A library is being loaded: what it has registered, and since when.
    pub(super) registering: RefCell<Option<(Vec<Registered>, Timer)>>,
    /// Replies of commands come to it as RESP3 tells them.
    pub(super) resp3: Cell<bool>,
}

impl Shared {
    pub(super) fn begin(&self, engine: &Arc<Local>, timer: Timer) {
        self.killed.set(false);
        self.resp3.set(false);
        *self.running.borrow_mut() = Some((engine.clone(), timer));
    }

    pub(super) fn end(&self) {
        *self.running.borrow_mut() = None;
    }

    pub(super) fn engine(&self) -> Option<Arc<Local>> {
        self.running.borrow().as_ref().map(|(engine, _)| engine.clone())
    }

    /// What a script that has to end is told.
    fn why(&self) -> Vec<u8> {
        if self.registering.borrow().is_some() {
            return b"ERR FUNCTION LOAD timeout".to_vec();
        }
        let is_function = self.engine().is_some_and(|engine| engine.scripts.running_function().is_some());
        let how = if is_function { "FUNCTION" } else { "SCRIPT" };
        format!("ERR Script killed by user with {how} KILL.").into_bytes()
    }

    /// Looks at whether the script has to end, or counts as long or as busy from now on.
    fn look(&self) -> bool {
        if let Ok(registering) = self.registering.try_borrow()
            && let Some((_, timer)) = &*registering
        {
            return timer.elapsed() < LONGEST_LOADING;
        }
        let Ok(running) = self.running.try_borrow() else { return true };
        let Some((engine, timer)) = &*running else { return true };
        if engine.scripts.is_killed() || engine.persistence.is_closed() {
            self.killed.set(true);
        }
        let threshold = engine.config.hot().busy_reply_threshold();
        if threshold != 0 && timer.elapsed() >= Duration::from_millis(threshold) {
            engine.script_is_busy();
        }
        !self.killed.get()
    }
}

/// What a library has registered.
pub(super) struct Registered {
    pub(super) about: LibraryFunction,
    pub(super) callback: Function,
}

/// An interpreter.
pub(super) struct Interpreter {
    pub(super) lua: Lua,
    /// Makes a text a function.
    compile: Function,
    /// Runs one.
    pub(super) run: Function,
    /// The functions of the server, behind what scripts see of them.
    pub(super) server: Table,
    /// The same for functions of libraries.
    pub(super) library_server: Table,
    /// Makes a text the function that loads a library.
    pub(super) compile_library: Function,
    /// Loads one.
    pub(super) load_library: Function,
    /// Runs a function of one.
    pub(super) run_function: Function,
    /// Functions of libraries: by the number of the engine, and the sum of the library.
    pub(super) libraries: HashMap<(u64, Digest), Vec<Function>>,
    pub(super) shared: Rc<Shared>,
    /// Lua's `next`.
    pub(super) next: Function,
    /// What writes replies keeps here what it can't hold itself.
    pub(super) deep: Table,
    compiled: HashMap<Digest, Function>,
    compiled_bytes: usize,
    runs: u32,
}

/// An error of the interpreter itself.
pub(super) fn broken(error: &mlua::Error) -> Error {
    match error {
        mlua::Error::MemoryError(_) => Error::no_memory(),
        error => Error::command(format_args!("the interpreter failed: {error}")),
    }
}

impl Interpreter {
    fn new() -> mlua::Result<Interpreter> {
        let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::OS;
        let lua = Lua::new_with(libs, LuaOptions::default())?;
        let shared = Rc::new(Shared::default());
        let host = lua.create_table()?;
        let own = shared.clone();
        host.raw_set("killed", lua.create_function(move |_, ()| Ok(own.killed.get()))?)?;
        host.raw_set("unwrap", lua.create_function(libraries::unwrapped)?)?;
        host.raw_set("position", lua.create_function(|lua, ()| Ok(position(lua)))?)?;
        call::add(&lua, &host, &shared)?;
        functions::add(&lua, &host, &shared)?;
        libraries::random::add(&lua, &host, &shared)?;
        let prelude = lua.load(include_str!("sandbox.lua")).set_name(SANDBOX).into_function()?;
        let next = lua.globals().get("next")?;
        let (compile, run, server, library): (_, _, Table, Table) =
            prelude.call((&host, libraries::all(&lua, &shared)?))?;
        let own = shared.clone();
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(PATIENCE), move |_, _| {
            if own.look() {
                return Ok(VmState::Continue);
            }
            Err(mlua::Error::external(libraries::Raised::Error { text: own.why(), is_counted: false }))
        })?;
        let (compiled, compiled_bytes, runs) = (HashMap::new(), 0, 0);
        let (library_server, compile_library): (Table, _) =
            (library.raw_get("server")?, library.raw_get("compile")?);
        call::add_by_call(&lua, &server)?;
        call::add_by_call(&lua, &library_server)?;
        let (load_library, run_function) = (library.raw_get("load")?, library.raw_get("run")?);
        let (libraries, deep) = (HashMap::new(), lua.create_table()?);
        Ok(Interpreter {
            lua,
            compile,
            run,
            server,
            library_server,
            compile_library,
            load_library,
            run_function,
            libraries,
            shared,
            next,
            deep,
            compiled,
            compiled_bytes,
            runs,
        })
    }

    /// The function of a script.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn function_of(&mut self, script: &Script) -> Result<Function> {
        if let Some(function) = self.compiled.get(&script.digest) {
            return Ok(function.clone());
        }
        let code = self.lua.create_string(script.code()).map_err(|error| broken(&error))?;
        let (function, error) = self
            .compile
            .call::<(Option<Function>, Option<mlua::LuaString>)>((code, NAME))
            .map_err(|error| broken(&error))?;
        let Some(function) = function else {
            let text = error.map_or_else(Vec::new, |text| text.as_bytes().to_vec());
            return Err(Error::repeating("Error compiling script (new function): ", &text, ""));
        };
        if self.compiled.len() >= MOST_COMPILED || self.compiled_bytes >= MOST_BYTES {
            self.compiled.clear();
            self.compiled_bytes = 0;
        }
        self.compiled_bytes += script.body.len();
        self.compiled.insert(script.digest, function.clone());
        Ok(function)
    }

    /// A script has ended.
    pub(super) fn tidy(&mut self, engine: &Local) {
        self.runs += 1;
        if self.runs >= RUNS_BETWEEN_STEPS {
            self.runs = 0;
            // An error of a finalizer, of which scripts have none.
            let _ = self.lua.gc_step();
        }
        engine.scripts.set_vm_bytes(self.lua.used_memory());
    }
}

/// Runs `work` with the interpreter of this thread.
///
/// # Errors
/// Those of `work`, or there is no memory for an interpreter.
pub(super) fn with<R>(work: impl FnOnce(&mut Interpreter) -> Result<R>) -> Result<R> {
    // While it is used it is not there, so that nobody else gets it whatever happens.
    let interpreter = OWN.try_with(Cell::take).unwrap_or_default();
    let mut interpreter = match interpreter {
        Some(interpreter) => interpreter,
        None => Interpreter::new().map_err(|error| broken(&error))?,
    };
    let result = work(&mut interpreter);
    // A thread that is ending keeps none.
    let _ = OWN.try_with(|own| own.set(Some(interpreter)));
    result
}

/// Whether a text is a script.
///
/// # Errors
/// It is none.
pub(crate) fn check(script: &Script) -> Result<()> {
    with(|interpreter| interpreter.function_of(script).map(drop))
}

/// Where the script is that raised an error: the source, as Lua has it, and the line.
fn position(lua: &Lua) -> (Option<String>, Option<i64>) {
    // This function, the handler, and then who raised it.
    for level in 2.. {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source();
            let name = source.source.unwrap_or_default().into_owned();
            (source.what != "C" && source.what != "tail" && name != SANDBOX)
                .then(|| (name, debug.current_line()))
        });
        match found {
            Some(Some((source, line))) => return (Some(source), line.map(|line| line as i64)),
            Some(None) => {}
            None => break,
        }
    }
    // Whoever raised it was called in place of the function that did.
    (Some(NAME.to_owned()), Some(1))
}

/// Functions about texts, which need nothing of the engine.
pub(super) fn add_texts(lua: &Lua, host: &Table) -> mlua::Result<()> {
    let sha1hex = function(lua, |lua, args| {
        if args.len() != 1 {
            return Err(Failure::bare("wrong number of arguments"));
        }
        let sum = digest_of(&args.text_or_empty(lua, 0)?);
        Ok(MultiValue::from_iter([Value::String(lua.create_string(sum)?)]))
    })?;
    host.raw_set("sha1hex", sha1hex)
}
