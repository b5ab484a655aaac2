//! Copies of keys from one engine to another, of which either may stand in a Valkey elsewhere.

use crate::Form;
use crate::engine::Engine;
use crate::engine::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::resp::{Decoder, Value};

/// Keys that are asked for, and sent, together.
const BATCH: usize = 100;

/// What is copied, and how.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CopyOptions {
    /// A pattern as of SCAN: keys that match it are copied. All of them by default.
    pub pattern: Vec<u8>,
    /// The numbers of the databases that are copied from and to; those that the engines begin in by default.
    pub databases: Option<(usize, usize)>,
    /// Whether a key that is there already gets the value of the other side. It does by default.
    pub replaces: bool,
    /// Where to go on: 0, or the cursor of a copy that was ended before.
    pub cursor: u64,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self { pattern: b"*".to_vec(), databases: None, replaces: true, cursor: 0 }
    }
}

/// How far a copy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Keys that were copied.
    pub keys: u64,
    /// Bytes of their values, as DUMP has them.
    pub bytes: u64,
    /// Keys that were there already and have kept their value.
    pub kept: u64,
    /// Where to go on.
    pub cursor: u64,
    /// All keys were seen.
    pub is_complete: bool,
}

/// Copies keys, with their types and times to live, from the server of a URL such as `valkey://host:6379/0` into an engine. `watch` is told how far it is after each hundred keys or so, and says
/// whether to go on. What is written meanwhile on the other side may be copied or not; each key is copied whole. O(keys of the other side).
///
/// # Errors
/// The server can't be reached, or refuses; or a value can't be stored here. What was copied before is there, and the last that `watch` was told says where to go on.
pub fn pull(
    engine: &Engine,
    url: &str,
    options: &CopyOptions,
    watch: &mut dyn FnMut(&Copied) -> bool,
) -> Result<Copied> {
    copy(&other_side(url)?, engine, options, watch)
}

/// As [`pull`], the other way round: from an engine to the server of a URL.
///
/// # Errors
/// As there.
pub fn push(
    engine: &Engine,
    url: &str,
    options: &CopyOptions,
    watch: &mut dyn FnMut(&Copied) -> bool,
) -> Result<Copied> {
    copy(engine, &other_side(url)?, options, watch)
}

/// Reads the strings of an engine that stands elsewhere, of the keys that match a pattern as of SCAN, so that they are near. Returns how many strings there were. Where not all have room near, those that were read last are
/// there. O(keys of the server).
///
/// # Errors
/// The engine stands in this process, or the server can't be reached.
pub fn warm(engine: &Engine, pattern: &[u8]) -> Result<u64> {
    if !engine.stands_elsewhere() {
        return Err(Error::new(ErrorKind::Usage, "ERR the engine stands in this process: all of it is near"));
    }
    let db = engine.default_db();
    let (mut side, database) = (Side::of(engine, db)?, engine.database(db)?);
    let (mut cursor, mut count) = (0, 0);
    loop {
        let (next, keys) = side.page(cursor, pattern)?;
        database.get_many_with(&keys, |_, found| count += u64::from(found.is_some()))?;
        cursor = next;
        if cursor == 0 {
            return Ok(count);
        }
    }
}

fn other_side(url: &str) -> Result<Engine> {
    if !Engine::is_remote(url) {
        return Err(Error::new(ErrorKind::Usage, format!("ERR '{url}' is no URL of a server")));
    }
    Engine::open(url)
}

fn copy(
    from: &Engine,
    to: &Engine,
    options: &CopyOptions,
    watch: &mut dyn FnMut(&Copied) -> bool,
) -> Result<Copied> {
    let (source, target) = options.databases.unwrap_or((from.default_db(), to.default_db()));
    let (mut from, mut to) = (Side::of(from, source)?, Side::of(to, target)?);
    let mut copied = Copied { cursor: options.cursor, ..Copied::default() };
    loop {
        let (next, keys) = from.page(copied.cursor, &options.pattern)?;
        copy_keys(&mut from, &mut to, &keys, options.replaces, &mut copied)?;
        copied.cursor = next;
        copied.is_complete = next == 0;
        if !watch(&copied) || copied.is_complete {
            return Ok(copied);
        }
    }
}

fn copy_keys(
    from: &mut Side,
    to: &mut Side,
    keys: &[Vec<u8>],
    replaces: bool,
    copied: &mut Copied,
) -> Result<()> {
    let asked: Vec<[&[u8]; 2]> = keys.iter().flat_map(|key| [[&b"DUMP"[..], key], [b"PTTL", key]]).collect();
    let told = from.ask_all(&asked)?;
    let mut found: Vec<(&[u8], Vec<u8>, String)> = Vec::new();
    for (key, pair) in keys.iter().zip(told.chunks(2)) {
        match pair {
            // It has ended by its time, or has been removed, since it was listed.
            [Value::Null, _] | [_, Value::Integer(-2)] => {}
            [Value::Bulk(payload), Value::Integer(-1)] => found.push((key, payload.clone(), "0".into())),
            // None is left of the last millisecond, and 0 would be no end at all.
            [Value::Bulk(payload), Value::Integer(left)] => {
                found.push((key, payload.clone(), left.max(&1).to_string()))
            }
            other => return Err(unexpected(other.first())),
        }
    }
    let words = |(key, payload, ttl): &'_ (&[u8], Vec<u8>, String)| -> Vec<Vec<u8>> {
        let replace = replaces.then(|| b"REPLACE".to_vec());
        [b"RESTORE".to_vec(), key.to_vec(), ttl.clone().into_bytes(), payload.clone()]
            .into_iter()
            .chain(replace)
            .collect()
    };
    let restores: Vec<Vec<Vec<u8>>> = found.iter().map(words).collect();
    let borrowed: Vec<Vec<&[u8]>> =
        restores.iter().map(|words| words.iter().map(|word| &word[..]).collect()).collect();
    for ((_, payload, _), told) in found.iter().zip(to.tell_all(&borrowed)?) {
        match told {
            Value::Simple(_) => {
                copied.keys += 1;
                copied.bytes += payload.len() as u64;
            }
            Value::Error(text) if text.starts_with(b"BUSYKEY") => copied.kept += 1,
            other => return Err(unexpected(Some(&other))),
        }
    }
    Ok(())
}

/// A session of one side.
struct Side(Session);

impl Side {
    fn of(engine: &Engine, db: usize) -> Result<Side> {
        let mut side = Side(engine.session(Form::Resp));
        let number = db.to_string();
        match side.ask_all(&[[&b"SELECT"[..], number.as_bytes()]])?.pop() {
            Some(Value::Simple(_)) => Ok(side),
            other => Err(unexpected(other.as_ref())),
        }
    }

    /// A page of keys, and the next cursor.
    fn page(&mut self, cursor: u64, pattern: &[u8]) -> Result<(u64, Vec<Vec<u8>>)> {
        let (cursor, count) = (cursor.to_string(), BATCH.to_string());
        let words: [&[u8]; 6] = [b"SCAN", cursor.as_bytes(), b"MATCH", pattern, b"COUNT", count.as_bytes()];
        let told = self.ask_all(&[words])?.pop();
        let Some(Value::Array(parts)) = &told else { return Err(unexpected(told.as_ref())) };
        let [Value::Bulk(next), Value::Array(keys)] = &parts[..] else {
            return Err(unexpected(told.as_ref()));
        };
        let text = |key: &Value| if let Value::Bulk(key) = key { Some(key.clone()) } else { None };
        let next = crate::num::parse_u64(next).ok_or_else(|| unexpected(None))?;
        Ok((next, keys.iter().filter_map(text).collect()))
    }

    /// The replies to commands, none of which may be an error.
    fn ask_all<'w, C: AsRef<[&'w [u8]]>>(&mut self, commands: &[C]) -> Result<Vec<Value>> {
        let told = self.tell_all(commands)?;
        match told.iter().find(|reply| matches!(reply, Value::Error(_))) {
            None => Ok(told),
            error => Err(unexpected(error)),
        }
    }

    fn tell_all<'w, C: AsRef<[&'w [u8]]>>(&mut self, commands: &[C]) -> Result<Vec<Value>> {
        self.0.clear_replies();
        self.0.execute_all(commands);
        let (mut decoder, mut told) = (Decoder::default(), Vec::with_capacity(commands.len()));
        decoder.feed(self.0.replies());
        while let Ok(Some(reply)) = decoder.next() {
            told.push(reply);
        }
        self.0.clear_replies();
        if told.len() == commands.len() { Ok(told) } else { Err(unexpected(None)) }
    }
}

#[cold]
fn unexpected(told: Option<&Value>) -> Error {
    match told {
        Some(Value::Error(text)) if text.starts_with(b"ERR the remote") => {
            Error::from_bytes(ErrorKind::Io, text.clone())
        }
        Some(Value::Error(text)) => Error::from_bytes(ErrorKind::Command, text.clone()),
        _ => Error::new(ErrorKind::Protocol, "ERR a side of the copy replies what the command does not"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::tests::Loopback;

    #[test]
    fn keys_are_copied_with_their_types_and_times() {
        let (_, from) = Loopback::open();
        let to = Engine::new();
        let mut session = from.session(Form::Resp);
        for number in 0..250_u32 {
            let name = format!("s:{number}");
            session.execute(&[b"SET", name.as_bytes(), b"value"]);
        }
        session.execute(&[b"SET", b"s:0", b"value", b"PX", b"60000"]);
        session.execute(&[b"HSET", b"h", b"f", b"v"]);
        session.execute(&[b"ZADD", b"z", b"1.5", b"m"]);
        let target = to.database(0).unwrap();
        target.set("s:1", "own").unwrap();
        let options = CopyOptions { pattern: b"s:*".to_vec(), replaces: false, ..CopyOptions::default() };
        let mut steps = 0;
        // It ends after the first step, and goes on from there.
        let first = copy(&from, &to, &options, &mut |_| false).unwrap();
        assert!(!first.is_complete && first.cursor != 0 && first.keys < 200, "{first:?}");
        let rest = CopyOptions { cursor: first.cursor, ..options };
        let second = copy(&from, &to, &rest, &mut |_| {
            steps += 1;
            true
        })
        .unwrap();
        assert!(second.is_complete && steps > 1);
        assert_eq!((first.keys + second.keys, first.kept + second.kept), (249, 1));
        assert_eq!((target.len().unwrap(), target.get("s:1").unwrap()), (250, Some(b"own".to_vec())));
        let left = target.ttl("s:0").unwrap().flatten().unwrap();
        assert!(left <= Duration::from_secs(60) && left > Duration::from_secs(1), "{left:?}");
        let all = copy(&from, &to, &CopyOptions::default(), &mut |_| true).unwrap();
        assert_eq!((all.keys, all.kept), (252, 0));
        assert_eq!(target.hget("h", "f").unwrap().as_deref(), Some(&b"v"[..]));
        assert_eq!(target.get("s:1").unwrap().as_deref(), Some(&b"value"[..]));
        assert_eq!(to.session(Form::Resp).execute(&[b"ZSCORE", b"z", b"m"]), b"$3\r\n1.5\r\n");
    }

    #[test]
    fn strings_are_read_ahead() {
        let (_, elsewhere) = Loopback::open();
        let mut session = elsewhere.session(Form::Resp);
        session.execute(&[b"MSET", b"a:1", b"x", b"a:2", b"y", b"b:1", b"z"]);
        session.execute(&[b"HSET", b"a:h", b"f", b"v"]);
        assert_eq!((warm(&elsewhere, b"a:*"), warm(&elsewhere, b"*")), (Ok(2), Ok(3)));
        assert_eq!(warm(&Engine::new(), b"*").unwrap_err().kind(), ErrorKind::Usage);
    }

    #[test]
    fn what_can_t_be_copied_is_told() {
        let engine = Engine::new();
        let error = pull(&engine, "sessions", &CopyOptions::default(), &mut |_| true).unwrap_err();
        assert_eq!(
            (error.kind(), error.as_bytes()),
            (ErrorKind::Usage, &b"ERR 'sessions' is no URL of a server"[..])
        );
        let nobody = "valkey://127.0.0.1:1?timeout=100ms&connect_timeout=100ms";
        let error = pull(&engine, nobody, &CopyOptions::default(), &mut |_| true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error:?}");
        let options = CopyOptions { databases: Some((0, 99)), ..CopyOptions::default() };
        let error = copy(&engine, &engine, &options, &mut |_| true).unwrap_err();
        assert_eq!(error.as_bytes(), b"ERR DB index is out of range");
    }
}
