//! Sessions for clients that many threads share, and the clients that stand behind valkey-py's and redis-py's classes.
//!
//! A session is taken from the idle ones for one command, as those libraries take a connection from their pool. The list of idle
//! sessions is locked only while Python's lock is held, so a process forked by another thread never inherits it locked; sessions that other
//! threads had taken are lost to the child, which opens new ones.

use std::sync::atomic::{AtomicUsize, Ordering};

use keystead::command::spec::Flags;
use keystead::commands::table;
use keystead::{Database, Engine, Form, HotCall, Item, Outcome as Step, Session};
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use smallvec::SmallVec;

use crate::arguments::{Word, Words, word};
use crate::engine::PyEngine;
use crate::errors::{self, Outcome, Raised};
use crate::exit::{detach, enter};
use crate::hot::{Argument, Arguments, Method, bytes_of, call_one, names};
use crate::memory::{Push, collected, copied, no_memory};
use crate::pipeline::run_hot;
use crate::reply::{Style, decode_all, decode_or_raise, is_plain};
use crate::store::boolean;
use crate::waiting::{self, Later};

/// More idle sessions than this are closed.
const MAX_IDLE: usize = 64;

/// Sessions of one engine that begin alike.
pub struct Sessions {
    engine: Engine,
    /// Executed on every new session.
    setup: Vec<Vec<Vec<u8>>>,
    /// The database of all sessions.
    db: AtomicUsize,
    idle: Mutex<Vec<Session>>,
}

impl Sessions {
    /// Sessions in a database on which the commands of `setup` have been executed.
    pub fn new(engine: Engine, setup: Vec<Vec<Vec<u8>>>, db: usize) -> Self {
        Self { engine, setup, db: AtomicUsize::new(db), idle: Mutex::new(Vec::new()) }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// A session, idle or new. Replies of `setup` are not looked at: who must know executes the commands once before.
    #[inline]
    pub fn take(&self) -> Session {
        let idle = self.idle.lock().pop();
        let mut session = idle.unwrap_or_else(|| self.open());
        session.clean(self.db());
        session
    }

    /// The number of the database that all sessions use.
    #[inline]
    fn db(&self) -> usize {
        self.db.load(Ordering::Relaxed)
    }

    /// One without its setup. It takes no messages: sessions are taken for one command each, so nobody could tell whose they are.
    fn new_session(&self) -> Session {
        let mut session = self.engine.session(Form::Tape);
        session.refuse_pushes(true);
        session
    }

    fn open(&self) -> Session {
        let mut session = self.new_session();
        for words in &self.setup {
            let argv: SmallVec<[&[u8]; 8]> = words.iter().map(Vec::as_slice).collect();
            session.execute(&argv);
        }
        session
    }

    /// Gives a session back. Whoever takes it next finds nothing of a transaction that was begun and not ended.
    #[inline]
    pub fn give(&self, mut session: Session) {
        // Of one that messages are pushed to nobody knows who would read them.
        if session.is_quitting() || session.is_pushed_to() {
            return;
        }
        session.clean(self.db());
        let mut idle = self.idle.lock();
        if idle.len() < MAX_IDLE {
            idle.push(session);
        }
    }

    /// Executes a command and returns its reply, or raises it if it is an error.
    ///
    /// # Errors
    /// The reply is an error, or text that is not UTF-8 where text is wanted.
    pub fn execute<'py>(&self, py: Python<'py>, argv: &[&[u8]], style: &Style<'_, 'py>) -> Outcome<'py> {
        let (mut session, step) = self.begin(py, argv);
        if step == Step::Blocked {
            waiting::wait(py, &mut session, None)?;
        }
        self.read(py, session, style)
    }

    /// As [`Sessions::execute`] of a coroutine: of a command that has to wait it gives what is to be awaited, a [`Later`]. `callback` makes of
    /// its reply what the caller gets.
    ///
    /// # Errors
    /// As there.
    pub fn execute_later<'py>(
        &self,
        py: Python<'py>,
        argv: &[&[u8]],
        style: &Style<'_, 'py>,
        callback: impl FnOnce() -> PyResult<Option<Py<PyAny>>>,
    ) -> Outcome<'py> {
        let (session, step) = self.begin(py, argv);
        if step == Step::Blocked {
            return Ok(Bound::new(py, Later::new(session, argv, style, callback()?)?)?.into_any());
        }
        self.read(py, session, style)
    }

    #[inline]
    fn begin(&self, py: Python<'_>, argv: &[&[u8]]) -> (Session, Step) {
        let mut session = self.take();
        let step = if is_long(argv) { detach(py, || session.begin(argv)) } else { session.begin(argv) };
        (session, step)
    }

    /// Decodes the reply of a session, and gives it back.
    #[inline]
    fn read<'py>(&self, py: Python<'py>, session: Session, style: &Style<'_, 'py>) -> Outcome<'py> {
        if is_plain(session.replies()) {
            let outcome = decode_or_raise(py, session.replies(), style);
            self.give(session);
            return Ok(outcome?);
        }
        // Making a container can run the garbage collector, and with it code that comes back to us.
        let tape = copied(session.replies());
        self.give(session);
        let tape = tape?;
        Ok(decode_or_raise(py, &tape, style)?)
    }

    /// Executes commands one after the other and returns a list of their replies, errors among them as exceptions.
    ///
    /// # Errors
    /// Text that is not UTF-8 where text is wanted.
    pub fn pipeline<'py>(
        &self,
        py: Python<'py>,
        commands: &[Words<'_>],
        style: &Style<'_, 'py>,
    ) -> Outcome<'py> {
        let argvs = collected(commands.iter().map(argv_of))?;
        let mut session = self.take();
        session.clear_replies();
        let mut rest = &argvs[..];
        while !rest.is_empty() {
            rest = &rest[session.begin_all(rest)..];
            if session.is_blocked() {
                waiting::wait(py, &mut session, None)?;
            }
        }
        let tape = copied(session.replies());
        session.clear_replies();
        self.give(session);
        let tape = tape?;
        Ok(decode_all(py, &tape, style)?)
    }
}

/// Whether a command may take long enough that other threads should run meanwhile: it is not in constant time, nor declared fast.
#[inline]
fn is_long(argv: &[&[u8]]) -> bool {
    let spec = argv.first().and_then(|name| table::by_name(name)).map(|found| found.spec);
    spec.is_some_and(|spec| !spec.flags.contains(Flags::FAST) && !spec.complexity.starts_with("O(1)"))
}

/// What `execute_command` of a client does: encodes as valkey-py does, executes, decodes.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Client {
    sessions: Sessions,
    text: bool,
    make_error: Py<PyAny>,
    data_error: Py<PyAny>,
    /// Response callbacks by upper-case name: the client's own dict, looked at for every reply.
    callbacks: Py<PyDict>,
    /// For typed calls; `None` if what the sessions may do is not known to be everything.
    db: Option<Database>,
    /// The library's own callback of SET, which makes True of OK.
    set_callback: Option<Py<PyAny>>,
    /// Executes with options: called with this object, the words and the options.
    with_options: Py<PyAny>,
    /// Called with the number of the database that SELECT chose.
    moved: Py<PyAny>,
}

#[pymethods]
impl Client {
    /// `setup`: commands for every new session; `make_error`: text to exception; `data_error`: raised for what can't be sent;
    /// `callbacks`: by upper-case name; `with_options`: called with this object, words and options, where there are any; `moved`: called when SELECT chose a database.
    #[new]
    #[allow(clippy::too_many_arguments, reason = "called in one place, by Python")]
    fn new(
        py: Python<'_>,
        engine: &Bound<'_, PyEngine>,
        setup: Vec<Bound<'_, PyTuple>>,
        text: bool,
        make_error: Py<PyAny>,
        data_error: Py<PyAny>,
        callbacks: Py<PyDict>,
        with_options: Py<PyAny>,
        moved: Py<PyAny>,
    ) -> PyResult<Self> {
        let setup = setup
            .iter()
            .map(|words| {
                let words = words.as_any().try_iter()?.collect::<PyResult<Vec<_>>>()?;
                let encoded = encode(py, words.iter().map(|word| word.as_borrowed()), data_error.bind(py))?;
                Ok(encoded.iter().map(|word| word.as_ref().to_vec()).collect())
            })
            .collect::<PyResult<Vec<Vec<Vec<u8>>>>>()?;
        let sessions = Sessions::new(engine.get().engine.clone(), setup, 0);
        let mut client = Self {
            sessions,
            text,
            make_error,
            data_error,
            set_callback: callbacks.bind(py).get_item("SET")?.map(Bound::unbind),
            callbacks,
            db: None,
            with_options,
            moved,
        };
        client.db = client.check_setup(py)?;
        Ok(client)
    }

    #[getter]
    fn callbacks(&self, py: Python<'_>) -> Py<PyDict> {
        self.callbacks.clone_ref(py)
    }

    /// Executes a command and returns its reply without a callback; as bytes, if `raw`.
    fn call<'py>(&self, words: &Bound<'py, PyTuple>, raw: bool) -> PyResult<Bound<'py, PyAny>> {
        let _inside = enter(words.py())?;
        let objects: SmallVec<[Bound<'_, PyAny>; 8]> = words.iter().collect();
        Ok(self.run(words.py(), objects.iter().map(|object| object.as_borrowed()), raw, None)?)
    }
}

impl Client {
    /// Runs a hot command as a typed call, which takes half the time of a session's; `None` for others.
    #[inline]
    fn run_typed<'py>(&self, py: Python<'py>, argv: &[&[u8]]) -> Result<Option<Bound<'py, PyAny>>, Raised> {
        let Some(db) = self.db.as_ref().filter(|db| db.index() == self.sessions.db() && !db.is_monitored())
        else {
            return Ok(None);
        };
        let Some(call) = HotCall::of(argv) else { return Ok(None) };
        match run_hot(py, db, &call, self.text)? {
            Ok(reply) => Ok(Some(reply)),
            Err(error) => {
                Err(PyErr::from_value(self.make_error.bind(py).call1((error.to_string(),))?).into())
            }
        }
    }

    fn is_set_callback(&self, callback: &Bound<'_, PyAny>) -> bool {
        self.set_callback.as_ref().is_some_and(|own| callback.is(own))
    }

    #[inline]
    fn run<'a, 'py: 'a>(
        &self,
        py: Python<'py>,
        words: impl Iterator<Item = Argument<'a, 'py>>,
        raw: bool,
        later: Option<Argument<'a, 'py>>,
    ) -> Outcome<'py> {
        let words = encode(py, words, self.data_error.bind(py))?;
        self.run_words(py, &argv_of(&words)?, raw, later)
    }

    #[inline]
    fn run_words<'py>(
        &self,
        py: Python<'py>,
        argv: &[&[u8]],
        raw: bool,
        later: Option<Argument<'_, 'py>>,
    ) -> Outcome<'py> {
        let style = Style { text: self.text && !raw, error: Some(self.make_error.bind(py)) };
        let reply = match later {
            None => self.sessions.execute(py, argv, &style)?,
            Some(name) => {
                let callback = || Ok(self.callback(py, name)?.map(Bound::unbind));
                self.sessions.execute_later(py, argv, &style, callback)?
            }
        };
        if let [name, db] = *argv
            && name.eq_ignore_ascii_case(b"SELECT")
        {
            self.select(py, db)?;
        }
        Ok(reply)
    }

    /// All calls of a client use one database: that which SELECT chose last, in whatever session.
    #[cold]
    fn select(&self, py: Python<'_>, db: &[u8]) -> PyResult<()> {
        let Some(db) = std::str::from_utf8(db).ok().and_then(|db| db.parse::<usize>().ok()) else {
            return Ok(());
        };
        self.sessions.db.store(db, Ordering::Relaxed);
        self.moved.bind(py).call1((db,)).map(drop)
    }

    /// The response callback of a command, whose name may be in any case of letters.
    #[inline]
    fn callback<'py>(&self, py: Python<'py>, name: Argument<'_, 'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let callbacks = self.callbacks.bind(py);
        if bytes_of(name).is_ok_and(|name| name.iter().any(u8::is_ascii_lowercase)) {
            return callbacks.get_item(name.call_method0("upper")?);
        }
        callbacks.get_item(name)
    }

    /// Executes the setup once, so that a wrong password or database is told at opening.
    /// Returns the database if the session may use it: typed calls ask for no password.
    fn check_setup(&self, py: Python<'_>) -> PyResult<Option<Database>> {
        let mut session = self.sessions.new_session();
        let make = self.make_error.bind(py);
        for words in &self.sessions.setup {
            let argv: SmallVec<[&[u8]; 8]> = words.iter().map(Vec::as_slice).collect();
            decode_or_raise(py, session.execute(&argv), &Style { text: false, error: Some(make) })?;
        }
        self.sessions.db.store(session.db(), Ordering::Relaxed);
        let refused = matches!(Item::read(session.execute(&[b"PING"])), Some((Item::Error { .. }, _)));
        let db = if refused { None } else { self.sessions.engine.database(session.db()).ok() };
        self.sessions.give(session);
        Ok(db)
    }
}

/// The bytes of words.
///
/// # Errors
/// MemoryError.
#[inline]
pub fn argv_of<'w>(words: &'w Words<'_>) -> PyResult<SmallVec<[&'w [u8]; 8]>> {
    let mut argv = SmallVec::new();
    argv.try_reserve_exact(words.len()).map_err(|_| no_memory())?;
    argv.extend(words.iter().map(AsRef::as_ref));
    Ok(argv)
}

/// Words as valkey-py encodes them; a first word with spaces is several (`"CONFIG GET"`).
///
/// # Errors
/// An instance of `data_error` for what has no encoding, with valkey-py's text.
#[inline]
pub fn encode<'a, 'py: 'a>(
    py: Python<'py>,
    objects: impl Iterator<Item = Argument<'a, 'py>>,
    data_error: &Bound<'py, PyAny>,
) -> PyResult<Words<'a>> {
    let mut words = Words::new();
    encode_to(&mut words, py, objects, data_error)?;
    Ok(words)
}

/// [`encode`], behind other words.
///
/// # Errors
/// As there.
#[inline]
pub fn encode_to<'a, 'py: 'a>(
    words: &mut impl Push<Word<'a>>,
    py: Python<'py>,
    objects: impl Iterator<Item = Argument<'a, 'py>>,
    data_error: &Bound<'py, PyAny>,
) -> PyResult<()> {
    for (index, object) in objects.enumerate() {
        if index == 0
            && let Ok(name) = bytes_of(object)
            && name.contains(&b' ')
        {
            let mut parts = name.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty());
            parts.try_for_each(|part| words.try_push(Word::Borrowed(part)))?;
            continue;
        }
        match word(object)? {
            Some(word) => words.try_push(word)?,
            None => return Err(no_encoding(py, object, data_error)),
        }
    }
    Ok(())
}

#[cold]
fn no_encoding<'py>(py: Python<'py>, object: Argument<'_, 'py>, data_error: &Bound<'py, PyAny>) -> PyErr {
    let name = object.get_type().name().map(|name| name.to_string()).unwrap_or_default();
    let text = format!("Invalid input of type: '{name}'. Convert to a bytes, string, int or float first.");
    if data_error.is_none() {
        return errors::usage(py, &text);
    }
    data_error.call1((text,)).map_or_else(|error| error, PyErr::from_value)
}

/// `execute(*words)`, of a coroutine or not.
pub struct Execute<const ASYNC: bool>;

impl<const ASYNC: bool> Method for Execute<ASYNC> {
    type Class = Client;

    fn is_awaitable(reply: &Bound<'_, PyAny>) -> bool {
        reply.is_instance_of::<Later>()
    }

    fn call<'py>(this: Argument<'_, 'py>, client: &Client, arguments: &Arguments<'_, 'py>) -> Outcome<'py> {
        let py = arguments.py();
        // Which of the words are keys is told for libraries that cache replies themselves.
        if arguments.has_keywords() && !arguments.is_only(names!(c"keys"))? {
            let words = arguments.tuple()?;
            return Ok(client.with_options.bind(py).call1((this, words, arguments.keywords()?))?);
        }
        let words = encode(py, arguments.positional(), client.data_error.bind(py))?;
        let argv = argv_of(&words)?;
        let (reply, typed) = match client.run_typed(py, &argv)? {
            Some(reply) => (reply, true),
            None => {
                let name = arguments.positional().next().filter(|_| ASYNC);
                (client.run_words(py, &argv, false, name)?, false)
            }
        };
        if ASYNC && Self::is_awaitable(&reply) {
            return Ok(reply);
        }
        let Some(name) = arguments.positional().next() else { return Ok(reply) };
        match client.callback(py, name)? {
            // What a typed SET replies is OK, and the callback's answer is known.
            Some(callback) if typed && client.is_set_callback(&callback) => boolean(py, true),
            Some(callback) => call_one(&callback, &reply),
            None => Ok(reply),
        }
    }
}
