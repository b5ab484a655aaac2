//! Pipelines of a store: a list of commands at once, or calls that are recorded and then executed.
//!
//! The few hot commands run as typed calls, without words and replies in between; all others, and whatever must be atomic, through
//! [`crate::sessions`].

use keystead::command::spec::Group;
use keystead::command::table;
use keystead::{Condition, Database, Session, Ttl};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyList, PyTuple};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;
use std::time::Duration;

use crate::arguments::{Word, Words, condition, flag, integer, raw_value, ttl, word};
use crate::errors::raise;
use crate::hot::{
    Argument, Arguments, Exact, Guarded, Method, Outcome, bytes_of, exact, held, items, names, ready_object,
};
use crate::reply::{Style, decode};
use crate::sessions::{Sessions, encode};
use crate::store::{boolean, expire};

/// No error class of its own: those of `keystead.exceptions`.
const STYLE: Style<'static, 'static> = Style { text: false, error: None };

/// Executes commands, each an iterable of words, one after the other. Errors are exceptions among the replies.
///
/// # Errors
/// Something is no command, before which nothing was executed.
pub fn execute_all<'py>(
    py: Python<'py>,
    db: &Database,
    sessions: &Sessions,
    commands: Argument<'_, 'py>,
) -> Outcome<'py> {
    let commands = held(commands)?;
    let commands = items(&commands).map(held).collect::<PyResult<Vec<_>>>()?;
    let none = py.None().into_bound(py);
    // Everything is encoded once before anything runs: what can't be sent must not stop a pipeline half-way.
    for words in commands.iter().filter(|words| !is_plain(words)) {
        encode(py, items(words), &none)?;
    }
    let mut fallback = Fallback { sessions, session: None, is_stateful: false };
    let mut replies = Vec::with_capacity(commands.len());
    for words in &commands {
        let typed = if fallback.is_stateful { None } else { run_typed(py, db, words)? };
        replies.push(match typed {
            Some(Ok(reply)) => reply,
            Some(Err(error)) => raise(py, &error).into_value(py).into_bound(py).into_any(),
            None => fallback.run(py, &encode(py, items(words), &none)?)?,
        });
    }
    drop(fallback);
    Ok(PyList::new(py, replies)?.into_any())
}

/// Whether all words are str or bytes, which always can be sent but for lone surrogates.
fn is_plain(words: &Bound<'_, PyTuple>) -> bool {
    items(words).all(|word| match exact(&word) {
        Exact::Str => bytes_of(word).is_ok(),
        Exact::Bytes => true,
        _ => false,
    })
}

/// A session for the commands that have no typed form.
struct Fallback<'s> {
    sessions: &'s Sessions,
    session: Option<Session>,
    /// A transaction may be open, or another database chosen: all that follows belongs to the session.
    is_stateful: bool,
}

impl Fallback<'_> {
    fn run<'py>(&mut self, py: Python<'py>, words: &Words<'_>) -> PyResult<Bound<'py, PyAny>> {
        let argv: SmallVec<[&[u8]; 8]> = words.iter().map(AsRef::as_ref).collect();
        let spec = argv.first().and_then(|name| table::by_name(name)).map(|found| found.spec);
        self.is_stateful |=
            spec.is_some_and(|spec| matches!(spec.group, Group::Transactions | Group::Connection));
        let session = self.session.get_or_insert_with(|| self.sessions.take());
        // The session is ours alone: code that decoding runs takes another.
        decode(py, session.execute(&argv), &STYLE)
    }
}

impl Drop for Fallback<'_> {
    fn drop(&mut self) {
        self.session.take().into_iter().for_each(|session| self.sessions.give(session));
    }
}

type Typed<'py> = Option<keystead::Result<Bound<'py, PyAny>>>;

/// Runs a command if it is a hot one in its plainest form; its reply is what a session would give.
#[inline]
fn run_typed<'py>(py: Python<'py>, db: &Database, words: &Bound<'py, PyTuple>) -> PyResult<Typed<'py>> {
    let mut places: SmallVec<[Argument<'_, 'py>; 6]> = SmallVec::new();
    if words.len() > 5 {
        return Ok(None);
    }
    places.extend(items(words));
    let Some((name, rest)) = places.split_first() else { return Ok(None) };
    let Exact::Str = exact(name) else { return Ok(None) };
    let name = bytes_of(*name)?;
    Ok(match (name, rest) {
        (b"SET" | b"set", [key, value]) => Some(set(py, db, *key, *value, Ttl::None)?),
        (b"SET" | b"set", [key, value, option, seconds]) if is_ex(*option) => match positive(*seconds) {
            Some(seconds) => Some(set(py, db, *key, *value, Ttl::After(Duration::from_secs(seconds)))?),
            None => None,
        },
        (b"GET" | b"get", [key]) => Some(get(py, db, raw_value(*key)?.as_ref())),
        (b"INCR" | b"incr", [key]) => Some(db.incr(raw_value(*key)?, 1).map(|sum| number(py, sum))),
        (b"HGET" | b"hget", [key, field]) => {
            Some(hget(py, db, raw_value(*key)?.as_ref(), raw_value(*field)?.as_ref()))
        }
        (b"HSET" | b"hset", [key, field, value]) => {
            let created = db.hset(raw_value(*key)?, raw_value(*field)?.as_ref(), raw_value(*value)?.as_ref());
            Some(created.map(|created| number(py, created.into())))
        }
        (b"DEL" | b"del", [key]) => Some(Ok(number(py, db.delete(raw_value(*key)?).into()))),
        (b"EXPIRE" | b"expire", [key, seconds]) => match positive(*seconds) {
            Some(seconds) => {
                let exists = db.expire(raw_value(*key)?, Duration::from_secs(seconds));
                Some(exists.map(|exists| number(py, exists.into())))
            }
            None => None,
        },
        _ => None,
    })
}

fn is_ex(option: Argument<'_, '_>) -> bool {
    exact(&option) == Exact::Str && bytes_of(option).is_ok_and(|text| text.eq_ignore_ascii_case(b"ex"))
}

/// Seconds that a typed call takes as they are; all else is for the command to judge.
fn positive(object: Argument<'_, '_>) -> Option<u64> {
    let seconds = if exact(&object) == Exact::Int { object.extract::<u64>().ok()? } else { return None };
    (1..1 << 40).contains(&seconds).then_some(seconds)
}

fn set<'py>(
    py: Python<'py>,
    db: &Database,
    key: Argument<'_, 'py>,
    value: Argument<'_, 'py>,
    ttl: Ttl,
) -> PyResult<keystead::Result<Bound<'py, PyAny>>> {
    let set = db.set(raw_value(key)?, raw_value(value)?.as_ref(), ttl, Condition::Always);
    Ok(match set {
        Ok(_) => Ok(ok(py)),
        Err(error) => Err(error),
    })
}

fn ok(py: Python<'_>) -> Bound<'_, PyAny> {
    static OK: PyOnceLock<Py<PyBytes>> = PyOnceLock::new();
    OK.get_or_init(py, || PyBytes::new(py, b"OK").unbind()).bind(py).clone().into_any()
}

fn number(py: Python<'_>, number: i64) -> Bound<'_, PyAny> {
    let Ok(number) = number.into_pyobject(py);
    number.into_any()
}

#[inline]
fn get<'py>(py: Python<'py>, db: &Database, key: &[u8]) -> keystead::Result<Bound<'py, PyAny>> {
    let found = db.get_with(key, |found| found.map(|found| PyBytes::new(py, &found.text).into_any()))?;
    Ok(found.unwrap_or_else(|| py.None().into_bound(py)))
}

#[inline]
fn hget<'py>(
    py: Python<'py>,
    db: &Database,
    key: &[u8],
    field: &[u8],
) -> keystead::Result<Bound<'py, PyAny>> {
    let found = db.hget_with(key, field, |found| found.map(|bytes| PyBytes::new(py, bytes).into_any()))?;
    Ok(found.unwrap_or_else(|| py.None().into_bound(py)))
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
        let results = self.results(py, raise_on_error);
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
            None => Ok(PyList::new(py, results)?.into_any()),
        }
    }

    fn in_turn<'py>(&self, py: Python<'py>, calls: &[Call]) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let none = py.None().into_bound(py);
        let mut fallback = Fallback { sessions: &self.sessions, session: None, is_stateful: false };
        let mut results = Vec::with_capacity(calls.len());
        for call in calls {
            if fallback.is_stateful || matches!(call, Call::Execute(_)) {
                let held = call.words(py)?;
                let reply = fallback.run(py, &encode(py, items(&held), &none)?)?;
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
        let held = calls.iter().map(|call| call.words(py)).collect::<PyResult<Vec<_>>>()?;
        let mut commands: Vec<Words<'_>> = vec![smallvec![Word::Borrowed(b"MULTI")]];
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
        calls.iter().zip(executed.iter()).map(|(call, reply)| call.result(py, reply)).collect()
    }
}

impl Call {
    #[inline]
    fn run<'py>(&self, py: Python<'py>, db: &Database) -> PyResult<keystead::Result<Bound<'py, PyAny>>> {
        let truth = |value| boolean(py, value).map_err(PyErr::from);
        Ok(match self {
            Call::Get(key) => get(py, db, of(py, key)?.as_ref()),
            Call::Set(key, value, ttl, condition) => {
                match db.set(of(py, key)?, of(py, value)?.as_ref(), *ttl, *condition) {
                    Ok(set) => Ok(truth(set)?),
                    Err(error) => Err(error),
                }
            }
            Call::Incr(key, by) => db.incr(of(py, key)?, *by).map(|sum| number(py, sum)),
            Call::HGet(key, field) => hget(py, db, of(py, key)?.as_ref(), of(py, field)?.as_ref()),
            Call::HSet(key, field, value) => {
                match db.hset(of(py, key)?, of(py, field)?.as_ref(), of(py, value)?.as_ref()) {
                    Ok(created) => Ok(truth(created)?),
                    Err(error) => Err(error),
                }
            }
            Call::Delete(keys) => {
                let mut deleted = 0;
                for key in items(keys.bind(py)) {
                    deleted += i64::from(db.delete(raw_value(key)?));
                }
                Ok(number(py, deleted))
            }
            Call::Expire(key, ttl) => match expire(db, of(py, key)?.as_ref(), *ttl) {
                Ok(exists) => Ok(truth(exists)?),
                Err(error) => Err(error),
            },
            Call::Execute(_) => unreachable!("the caller runs it on a session"),
        })
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
            Call::Expire(key, _) => ("PERSIST", key).into_pyobject(py),
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
        Some(Word::Owned(bytes)) => Ok(PyBytes::new(object.py(), &bytes).into_any().unbind()),
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
        let [key, value, time, nx, xx] = arguments.bind(names!(c"key", c"value", c"ttl", c"nx", c"xx"), 2)?;
        let (key, value) = (kept(key.expect("required"))?, kept(value.expect("required"))?);
        Call::Set(key, value, ttl(time)?, condition(nx, xx)?)
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
        let keys = arguments.positional().map(kept).collect::<PyResult<Vec<_>>>()?;
        Call::Delete(PyTuple::new(arguments.py(), keys)?.unbind())
    }

    /// `expire(key, ttl)`.
    Expire(arguments) {
        let [key, time] = arguments.bind(names!(c"key", c"ttl"), 2)?;
        Call::Expire(kept(key.expect("required"))?, ttl(time)?)
    }

    /// `command(*words)`.
    Command(arguments) {
        let words = arguments.positional().map(kept).collect::<PyResult<Vec<_>>>()?;
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
        let words = items(&words).map(kept).collect::<PyResult<Vec<_>>>()?;
        let call = Call::Execute(PyTuple::new(py, words)?.unbind());
        pipeline.calls.with(py, |calls| calls.push(call));
    }
    Ok(pipeline.results(py, false)?)
}
