//! Pipelines of a store: a list of commands at once, or calls that are recorded and then executed.
//!
//! The few commands that the engine recognizes as hot run as typed calls, without a session's replies in between; all others, and whatever must be
//! atomic, through [`crate::sessions`]. It stays whole: the typed calls and the recorded ones are two ways to the same replies.

use keystead::command::spec::Group;
use keystead::commands::table;
use keystead::{Condition, Database, HotCall, Session, SetOptions, Ttl};
use pyo3::Borrowed;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::time::Duration;

use crate::arguments::{Exact, Word, Words, flag, held, integer, raw_value, ttl, word};
use crate::errors::{Outcome, Raised, raise};
use crate::hot::{
    Argument, Arguments, Guarded, Method, ascii, blob, bytes_of, exact, items, items_of, names, protect,
    ready_object,
};
use crate::memory::{collected, list, with_room_for};
use crate::reply::{Style, decode};
use crate::sessions::{Sessions, argv_of, encode, encode_to};
use crate::store::{SetArguments, boolean, delete, expire};
use crate::waiting;

/// No error class of its own: those of `keystead.exceptions`.
const STYLE: Style<'static, 'static> = Style { text: false, error: None };

/// Executes commands, each an iterable of words, one after the other. Errors are exceptions among the replies.
///
/// # Errors
/// Something is no command, before which nothing was executed: what can't be sent must not stop a pipeline half-way.
pub fn execute_all<'py>(
    py: Python<'py>,
    db: &Database,
    sessions: &Sessions,
    commands: Argument<'_, 'py>,
) -> Outcome<'py> {
    let commands = tuples(held(commands)?)?;
    let none = py.None().into_bound(py);
    // All words one behind the other, and where each command's end.
    let mut words = with_room_for(commands.len().saturating_mul(3))?;
    let mut ends = with_room_for(commands.len())?;
    for command in items(&commands) {
        encode_to(&mut words, py, items_of(words_of(command)), &none)?;
        ends.push(words.len());
    }
    let words = collected(words.iter().map(|word| Ok(word.as_ref())))?;
    let starts = std::iter::once(&0).chain(&ends);
    let argvs = collected(starts.zip(&ends).map(|(start, end)| Ok(&words[*start..*end])))?;
    let mut fallback = Fallback { sessions, session: None, is_stateful: false };
    let mut replies = with_room_for(argvs.len())?;
    for few in argvs.chunks(BATCH) {
        let calls: SmallVec<[Option<HotCall<'_>>; BATCH]> =
            few.iter().map(|argv| HotCall::of(argv)).collect();
        db.prefetch(calls.iter().flatten().map(HotCall::key));
        for (argv, call) in few.iter().zip(&calls) {
            replies.push(match call {
                Some(call) if !fallback.is_stateful => match run_hot(py, db, call, false)? {
                    Ok(reply) => reply,
                    Err(error) => raise(py, &error).into_value(py).into_bound(py).into_any(),
                },
                _ => fallback.run(py, argv)?,
            });
        }
    }
    drop(fallback);
    Ok(list(py, replies)?)
}

/// Commands whose keys' memory is fetched at once.
const BATCH: usize = 8;

/// The commands, each in a tuple.
fn tuples<'py>(commands: Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyTuple>> {
    if items(&commands).all(|words| words.cast_exact::<PyTuple>().is_ok()) {
        return Ok(commands);
    }
    let words = collected(items(&commands).map(held))?;
    PyTuple::new(commands.py(), words)
}

fn words_of<'a, 'py>(words: Argument<'a, 'py>) -> Borrowed<'a, 'py, PyTuple> {
    words.cast().expect("each command is a tuple")
}

/// A session for the commands that have no typed form.
struct Fallback<'s> {
    sessions: &'s Sessions,
    session: Option<Session>,
    /// A transaction may be open, or another database chosen: all that follows belongs to the session.
    is_stateful: bool,
}

impl Fallback<'_> {
    fn run<'py>(&mut self, py: Python<'py>, argv: &[&[u8]]) -> PyResult<Bound<'py, PyAny>> {
        let spec = argv.first().and_then(|name| table::by_name(name)).map(|found| found.spec);
        self.is_stateful |=
            spec.is_some_and(|spec| matches!(spec.group, Group::Transactions | Group::Connection));
        let session = self.session.get_or_insert_with(|| self.sessions.take());
        // The session is ours alone: code that decoding runs takes another.
        waiting::execute(py, session, argv)?;
        decode(py, session.replies(), &STYLE)
    }
}

impl Drop for Fallback<'_> {
    fn drop(&mut self) {
        self.session.take().into_iter().for_each(|session| self.sessions.give(session));
    }
}

/// Runs a hot command as a typed call, without words on a session and a reply to decode; the reply is what a session would give, strings as str if
/// `text`.
///
/// # Errors
/// The reply is no UTF-8 where text is wanted.
#[inline]
pub fn run_hot<'py>(
    py: Python<'py>,
    db: &Database,
    call: &HotCall<'_>,
    text: bool,
) -> PyResult<keystead::Result<Bound<'py, PyAny>>> {
    Ok(match *call {
        HotCall::Get(key) => get(py, db, key, text)?,
        HotCall::Set(key, value) => db.set(key, value).map(|()| ok(py, text)),
        HotCall::SetFor(key, value, ttl_ms) => {
            let options = SetOptions::new().expires_in(Duration::from_millis(ttl_ms));
            db.set_with(key, value, options).map(|_| ok(py, text))
        }
        HotCall::HGet(key, field) => hget(py, db, key, field, text)?,
        HotCall::HSet(key, field, value) => {
            db.hset(key, field, value).map(|created| number(py, created.into()))
        }
        HotCall::Incr(key) => db.incr(key, 1).map(|sum| number(py, sum)),
        HotCall::IncrBy(key, by) => db.incr(key, by).map(|sum| number(py, sum)),
        HotCall::Del(key) => db.delete(key).map(|existed| number(py, existed.into())),
        HotCall::Exists(key) => db.contains(key).map(|exists| number(py, exists.into())),
        HotCall::Expire(key, time) => db.expire(key, time).map(|exists| number(py, exists.into())),
    })
}

fn ok(py: Python<'_>, text: bool) -> Bound<'_, PyAny> {
    static OK: PyOnceLock<Py<PyBytes>> = PyOnceLock::new();
    if text {
        return pyo3::intern!(py, "OK").clone().into_any();
    }
    OK.get_or_init(py, || PyBytes::new(py, b"OK").unbind()).bind(py).clone().into_any()
}

fn number(py: Python<'_>, number: i64) -> Bound<'_, PyAny> {
    let Ok(number) = number.into_pyobject(py);
    number.into_any()
}

#[inline]
fn get<'py>(
    py: Python<'py>,
    db: &Database,
    key: &[u8],
    text: bool,
) -> PyResult<keystead::Result<Bound<'py, PyAny>>> {
    let found = db.get_with(key, |found| {
        found.map(|found| {
            if text && found.is_ascii {
                // ASCII always is text: nothing can be raised under the lock.
                ascii(py, &found.text)
            } else {
                blob(py, &found.text)
            }
        })
    });
    finish(py, found.map(Option::transpose), text)
}

#[inline]
fn hget<'py>(
    py: Python<'py>,
    db: &Database,
    key: &[u8],
    field: &[u8],
    text: bool,
) -> PyResult<keystead::Result<Bound<'py, PyAny>>> {
    let found = db.hget_with(key, field, |found| found.map(|bytes| blob(py, bytes)));
    finish(py, found.map(Option::transpose), text)
}

/// None for what is missing, and str for bytes where text is wanted.
#[inline]
fn finish<'py>(
    py: Python<'py>,
    found: keystead::Result<Result<Option<Bound<'py, PyAny>>, Raised>>,
    text: bool,
) -> PyResult<keystead::Result<Bound<'py, PyAny>>> {
    match found {
        Err(error) => Ok(Err(error)),
        Ok(found) => match found? {
            None => Ok(Ok(py.None().into_bound(py))),
            Some(bytes) if text && exact(&bytes) == Exact::Bytes => {
                let decoded = PyString::from_bytes(py, bytes_of(bytes.as_borrowed())?)?;
                Ok(Ok(decoded.into_any()))
            }
            Some(object) => Ok(Ok(object)),
        },
    }
}

/// Calls that are recorded, and executed together.
#[pyclass(frozen, module = "keystead._keystead")]
pub struct Pipeline {
    db: Database,
    sessions: Arc<Sessions>,
    /// Executed at one moment, as MULTI and EXEC do it.
    transaction: bool,
    /// `execute` gives an awaitable.
    is_async: bool,
    calls: Guarded<Vec<Call>>,
}

/// One recorded call. Its objects are immutable.
enum Call {
    Get(Py<PyAny>),
    Set(Py<PyAny>, Py<PyAny>, Ttl, Condition),
    Incr(Py<PyAny>, i64),
    HGet(Py<PyAny>, Py<PyAny>),
    HSet(Py<PyAny>, Py<PyAny>, Py<PyAny>),
    Delete(Py<PyTuple>),
    Expire(Py<PyAny>, Ttl),
    Execute(Py<PyTuple>),
}

#[pymethods]
impl Pipeline {
    /// Executes what was recorded and returns a list of the results; then the pipeline is empty again. The first error is raised,
    /// after everything was executed, or stands among the results.
    #[pyo3(signature = (raise_on_error=true))]
    fn execute<'py>(&self, py: Python<'py>, raise_on_error: bool) -> PyResult<Bound<'py, PyAny>> {
        let results = protect(py, || Ok(self.results(py, raise_on_error)?)).map_err(PyErr::from);
        if self.is_async {
            return Ok(ready_object(py, results.map_err(Into::into))?);
        }
        results
    }

    /// Forgets what was recorded.
    fn reset(&self, py: Python<'_>) {
        drop(self.take(py));
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.calls.with(py, |calls| calls.len())
    }

    fn __bool__(&self) -> bool {
        true
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __exit__(&self, py: Python<'_>, _kind: Py<PyAny>, _value: Py<PyAny>, _traceback: Py<PyAny>) {
        self.reset(py);
    }
}

impl Pipeline {
    /// A pipeline without calls.
    pub fn new(db: &Database, sessions: &Arc<Sessions>, transaction: bool, is_async: bool) -> Self {
        let (db, sessions) = (db.clone(), sessions.clone());
        Self { db, sessions, transaction, is_async, calls: Guarded::default() }
    }

    #[inline]
    fn record<'py>(&self, this: Argument<'_, 'py>, call: Call) -> Outcome<'py> {
        self.calls.with(this.py(), |calls| calls.push(call));
        Ok(this.to_owned())
    }

    fn take(&self, py: Python<'_>) -> Vec<Call> {
        self.calls.with(py, std::mem::take)
    }

    fn results<'py>(&self, py: Python<'py>, raise_on_error: bool) -> PyResult<Bound<'py, PyAny>> {
        let calls = self.take(py);
        let results = if self.transaction { self.at_once(py, &calls)? } else { self.in_turn(py, &calls)? };
        let is_error = |result: &&Bound<'py, PyAny>| result.is_instance_of::<pyo3::exceptions::PyException>();
        match results.iter().find(is_error).filter(|_| raise_on_error) {
            Some(error) => Err(PyErr::from_value(error.clone())),
            None => list(py, results),
        }
    }

    fn in_turn<'py>(&self, py: Python<'py>, calls: &[Call]) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let none = py.None().into_bound(py);
        let mut fallback = Fallback { sessions: &self.sessions, session: None, is_stateful: false };
        let mut results = with_room_for(calls.len())?;
        for (at, call) in calls.iter().enumerate() {
            if at % BATCH == 0 {
                let next = calls[at..].iter().take(BATCH);
                let keys: SmallVec<[Word<'_>; BATCH]> = next.filter_map(|call| call.key(py)).collect();
                self.db.prefetch(keys.iter().map(AsRef::as_ref));
            }
            if fallback.is_stateful || matches!(call, Call::Execute(_)) {
                if let Some(held) = call.words_before(py)? {
                    fallback.run(py, &argv_of(&encode(py, items(&held), &none)?)?)?;
                }
                let held = call.words(py)?;
                let reply = fallback.run(py, &argv_of(&encode(py, items(&held), &none)?)?)?;
                results.push(call.result(py, reply)?);
                continue;
            }
            results.push(match call.run(py, &self.db)? {
                Ok(result) => result,
                Err(error) => raise(py, &error).into_value(py).into_bound(py).into_any(),
            });
        }
        Ok(results)
    }

    fn at_once<'py>(&self, py: Python<'py>, calls: &[Call]) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let none = py.None().into_bound(py);
        let mut held = with_room_for(calls.len())?;
        // The place of each call's reply among those of all commands.
        let mut places = with_room_for(calls.len())?;
        for call in calls {
            held.extend(call.words_before(py)?);
            places.push(held.len());
            held.push(call.words(py)?);
        }
        let mut commands: Vec<Words<'_>> = with_room_for(held.len() + 2)?;
        commands.push(smallvec![Word::Borrowed(b"MULTI")]);
        for words in &held {
            commands.push(encode(py, items(words), &none)?);
        }
        commands.push(smallvec![Word::Borrowed(b"EXEC")]);
        let replies = self.sessions.pipeline(py, &commands, &STYLE)?;
        let replies: Vec<Bound<'py, PyAny>> = replies.extract()?;
        let executed = replies.last().expect("EXEC has a reply");
        let Ok(executed) = executed.cast::<PyList>() else {
            return Err(PyErr::from_value(executed.clone()));
        };
        collected(calls.iter().zip(places).map(|(call, place)| call.result(py, executed.get_item(place)?)))
    }
}

impl Call {
    /// The key of a call of one key.
    fn key(&self, py: Python<'_>) -> Option<Word<'_>> {
        match self {
            Call::Get(key)
            | Call::Set(key, ..)
            | Call::Incr(key, _)
            | Call::HGet(key, _)
            | Call::HSet(key, ..)
            | Call::Expire(key, _) => of(py, key).ok(),
            Call::Delete(_) | Call::Execute(_) => None,
        }
    }

    #[inline]
    fn run<'py>(&self, py: Python<'py>, db: &Database) -> PyResult<keystead::Result<Bound<'py, PyAny>>> {
        let truth = |value| boolean(py, value).map_err(PyErr::from);
        Ok(match self {
            Call::Get(key) => get(py, db, of(py, key)?.as_ref(), false)?,
            Call::Set(key, value, ttl, condition) => {
                match db.set_with(
                    of(py, key)?,
                    of(py, value)?.as_ref(),
                    SetOptions::new().ttl(*ttl).condition(*condition),
                ) {
                    Ok(set) => Ok(truth(set)?),
                    Err(error) => Err(error),
                }
            }
            Call::Incr(key, by) => db.incr(of(py, key)?, *by).map(|sum| number(py, sum)),
            Call::HGet(key, field) => hget(py, db, of(py, key)?.as_ref(), of(py, field)?.as_ref(), false)?,
            Call::HSet(key, field, value) => {
                match db.hset(of(py, key)?, of(py, field)?.as_ref(), of(py, value)?.as_ref()) {
                    Ok(created) => Ok(truth(created)?),
                    Err(error) => Err(error),
                }
            }
            Call::Delete(keys) => {
                let keys = collected(items(keys.bind(py)).map(raw_value))?;
                delete(db, &keys).map(|deleted| number(py, deleted as i64))
            }
            Call::Expire(key, ttl) => match expire(db, of(py, key)?.as_ref(), *ttl) {
                Ok(exists) => Ok(truth(exists)?),
                Err(error) => Err(error),
            },
            Call::Execute(_) => unreachable!("the caller runs it on a session"),
        })
    }

    /// A command that goes before the call's own, and whose reply tells nothing: without a deadline a call says as with one whether there is the key.
    fn words_before<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        match self {
            Call::Expire(_, Ttl::After(_)) => Ok(None),
            Call::Expire(key, _) => ("PERSIST", key).into_pyobject(py).map(Some),
            _ => Ok(None),
        }
    }

    /// The call as a command.
    fn words<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let milliseconds = |ttl: Duration| ttl.as_millis().min(i64::MAX as u128) as i64;
        match self {
            Call::Get(key) => ("GET", key).into_pyobject(py),
            Call::Set(key, value, ttl, condition) => {
                let words = PyList::new(py, [key, value])?;
                words.insert(0, "SET")?;
                if let Ttl::After(ttl) = ttl {
                    words.append("PX")?;
                    words.append(milliseconds(*ttl))?;
                }
                match condition {
                    Condition::Always => {}
                    Condition::IfAbsent => words.append("NX")?,
                    Condition::IfPresent => words.append("XX")?,
                }
                Ok(words.to_tuple())
            }
            Call::Incr(key, by) => ("INCRBY", key, by).into_pyobject(py),
            Call::HGet(key, field) => ("HGET", key, field).into_pyobject(py),
            Call::HSet(key, field, value) => ("HSET", key, field, value).into_pyobject(py),
            Call::Delete(keys) => {
                let words = PyList::new(py, items(keys.bind(py)))?;
                words.insert(0, "DEL")?;
                Ok(words.to_tuple())
            }
            Call::Expire(key, Ttl::After(ttl)) => ("PEXPIRE", key, milliseconds(*ttl)).into_pyobject(py),
            Call::Expire(key, _) => ("EXISTS", key).into_pyobject(py),
            Call::Execute(words) => Ok(words.bind(py).clone()),
        }
    }

    /// A command's reply as the call gives it.
    fn result<'py>(&self, py: Python<'py>, reply: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Call::Set(..) if !reply.is_instance_of::<pyo3::exceptions::PyException>() => {
                Ok(boolean(py, !reply.is_none())?)
            }
            Call::HSet(..) | Call::Expire(..) if exact(&reply) == Exact::Int => {
                Ok(boolean(py, reply.is_truthy()?)?)
            }
            _ => Ok(reply),
        }
    }
}

#[inline]
fn of<'a>(py: Python<'_>, object: &'a Py<PyAny>) -> PyResult<Word<'a>> {
    raw_value(object.bind_borrowed(py))
}

/// An object whose bytes can't change until the pipeline is executed.
#[inline]
fn kept(object: Argument<'_, '_>) -> PyResult<Py<PyAny>> {
    if matches!(exact(&object), Exact::Str | Exact::Bytes | Exact::Int | Exact::Float) {
        return Ok(object.to_owned().unbind());
    }
    match word(object)? {
        Some(Word::Borrowed(_)) => Ok(object.to_owned().unbind()),
        Some(Word::Owned(bytes)) => Ok(blob(object.py(), &bytes)?.unbind()),
        None => raw_value(object).map(|_| unreachable!("what is no word is no value")),
    }
}

/// Declares methods that record a call.
macro_rules! recorders {
    ($( $(#[$doc:meta])* $name:ident($arguments:ident) $body:block )*) => { $(
        $(#[$doc])*
        pub struct $name;

        impl Method for $name {
            type Class = Pipeline;

            #[inline]
            fn call<'py>(
                this: Argument<'_, 'py>,
                pipeline: &Pipeline,
                $arguments: &Arguments<'_, 'py>,
            ) -> Outcome<'py> {
                let call = $body;
                pipeline.record(this, call)
            }
        }
    )* };
}

recorders! {
    /// `get(key)`.
    Get(arguments) {
        let [key] = arguments.bind(names!(c"key"), 1)?;
        Call::Get(kept(key.expect("required"))?)
    }

    /// `set(key, value, ttl=None, nx=False, xx=False)`.
    Set(arguments) {
        let options = SetArguments::read(arguments)?;
        Call::Set(kept(options.key)?, kept(options.value)?, options.ttl, options.condition)
    }

    /// `incr(key, by=1)`.
    Incr(arguments) {
        let [key, by] = arguments.bind(names!(c"key", c"by"), 1)?;
        Call::Incr(kept(key.expect("required"))?, integer(by, 1)?)
    }

    /// `hget(key, field)`.
    HGet(arguments) {
        let [key, field] = arguments.bind(names!(c"key", c"field"), 2)?;
        Call::HGet(kept(key.expect("required"))?, kept(field.expect("required"))?)
    }

    /// `hset(key, field, value)`.
    HSet(arguments) {
        let [key, field, value] = arguments.bind(names!(c"key", c"field", c"value"), 3)?;
        let (key, field) = (kept(key.expect("required"))?, kept(field.expect("required"))?);
        Call::HSet(key, field, kept(value.expect("required"))?)
    }

    /// `delete(*keys)`.
    Delete(arguments) {
        let keys = collected(arguments.positional().map(kept))?;
        Call::Delete(PyTuple::new(arguments.py(), keys)?.unbind())
    }

    /// `expire(key, ttl)`.
    Expire(arguments) {
        let [key, time] = arguments.bind(names!(c"key", c"ttl"), 2)?;
        Call::Expire(kept(key.expect("required"))?, ttl(time)?)
    }

    /// `command(*words)`.
    Command(arguments) {
        let words = collected(arguments.positional().map(kept))?;
        Call::Execute(PyTuple::new(arguments.py(), words)?.unbind())
    }
}

/// `pipeline(commands=None, transaction=False)` of a store.
pub fn of_store<'py>(
    db: &Database,
    sessions: &Arc<Sessions>,
    is_async: bool,
    arguments: &Arguments<'_, 'py>,
) -> Outcome<'py> {
    let py = arguments.py();
    let [commands, transaction] = arguments.bind(names!(c"commands", c"transaction"), 0)?;
    let transaction = flag(transaction)?;
    let Some(commands) = commands.filter(|commands| !commands.is_none()) else {
        let pipeline = Pipeline::new(db, sessions, transaction, is_async);
        return Ok(Bound::new(py, pipeline)?.into_any());
    };
    let replies = if transaction {
        all_at_once(py, db, sessions, commands)
    } else {
        execute_all(py, db, sessions, commands)
    };
    if is_async { ready_object(py, replies) } else { replies }
}

fn all_at_once<'py>(
    py: Python<'py>,
    db: &Database,
    sessions: &Arc<Sessions>,
    commands: Argument<'_, 'py>,
) -> Outcome<'py> {
    let pipeline = Pipeline::new(db, sessions, true, false);
    for command in items(&held(commands)?) {
        let words = held(command)?;
        let words = collected(items(&words).map(kept))?;
        let call = Call::Execute(PyTuple::new(py, words)?.unbind());
        pipeline.calls.with(py, |calls| calls.push(call));
    }
    Ok(pipeline.results(py, false)?)
}
