//! What replies are to scripts, and what scripts reply.

use mlua::{Function, Lua, Table, Value};

use crate::command::Reply;
use crate::command::reply::Open;
use crate::error::{Error, ErrorKind, until_zero};
use crate::num;
use crate::stats::Stats;

/// Deeper tables are no reply: so much room has the stack of the server's interpreter.
const DEEPEST: usize = 7994;

/// Reads a whole reply, in RESP, as a script sees it. Says whether it is an error.
pub(super) fn to_lua(lua: &Lua, reply: &[u8], resp3: bool) -> mlua::Result<Value> {
    Reading { lua, rest: reply, resp3 }.value()
}

struct Reading<'l, 'r> {
    lua: &'l Lua,
    rest: &'r [u8],
    resp3: bool,
}

impl<'r> Reading<'_, 'r> {
    fn line(&mut self) -> &'r [u8] {
        let end = memchr::memchr(b'\r', self.rest).unwrap_or(self.rest.len());
        let line = &self.rest[..end];
        self.rest = self.rest.get(end + 2..).unwrap_or_default();
        line
    }

    fn bytes(&mut self, len: usize) -> &'r [u8] {
        let bytes = &self.rest[..len.min(self.rest.len())];
        self.rest = self.rest.get(len + 2..).unwrap_or_default();
        bytes
    }

    fn table(&self, field: &str, value: Value) -> mlua::Result<Value> {
        let table = self.lua.create_table_with_capacity(0, 1)?;
        table.raw_set(field, value)?;
        Ok(Value::Table(table))
    }

    fn string(&self, bytes: &[u8]) -> mlua::Result<Value> {
        Ok(Value::String(self.lua.create_string(bytes)?))
    }

    fn null(&self) -> Value {
        if self.resp3 { Value::Nil } else { Value::Boolean(false) }
    }

    fn value(&mut self) -> mlua::Result<Value> {
        let kind = self.rest.first().copied().unwrap_or(b'_');
        self.rest = self.rest.get(1..).unwrap_or_default();
        let line = self.line();
        let number = || num::parse_i64(line).unwrap_or(-1);
        Ok(match kind {
            b'+' => {
                let text = self.string(line)?;
                self.table("ok", text)?
            }
            b'-' => {
                let text = self.string(line)?;
                self.table("err", text)?
            }
            b':' => Value::Number(number() as f64),
            b'$' => match usize::try_from(number()) {
                Ok(len) => {
                    let bytes = self.bytes(len);
                    self.string(bytes)?
                }
                Err(_) => self.null(),
            },
            b'*' | b'>' => match usize::try_from(number()) {
                Ok(len) => self.array(len)?,
                Err(_) => self.null(),
            },
            b'%' => {
                let map = self.lua.create_table()?;
                for _ in 0..number().max(0) {
                    let (key, value) = (self.value()?, self.value()?);
                    map.raw_set(key, value)?;
                }
                self.table("map", Value::Table(map))?
            }
            b'~' => {
                let set = self.lua.create_table()?;
                for _ in 0..number().max(0) {
                    let member = self.value()?;
                    set.raw_set(member, true)?;
                }
                self.table("set", Value::Table(set))?
            }
            b',' => {
                let double = std::str::from_utf8(line).ok().and_then(|text| text.parse().ok());
                self.table("double", Value::Number(double.unwrap_or(f64::NAN)))?
            }
            b'#' => Value::Boolean(line == b"t"),
            b'(' => {
                let digits = self.string(line)?;
                self.table("big_number", digits)?
            }
            b'=' => {
                let bytes = self.bytes(usize::try_from(number()).unwrap_or(0));
                let verbatim = self.lua.create_table()?;
                verbatim.raw_set("format", self.string(bytes.get(..3).unwrap_or_default())?)?;
                verbatim.raw_set("string", self.string(bytes.get(4..).unwrap_or_default())?)?;
                self.table("verbatim_string", Value::Table(verbatim))?
            }
            _ => Value::Nil,
        })
    }

    fn array(&mut self, len: usize) -> mlua::Result<Value> {
        let array = self.lua.create_table_with_capacity(len, 0)?;
        for at in 1..=len {
            let element = self.value()?;
            array.raw_set(at as i64, element)?;
        }
        Ok(Value::Table(array))
    }
}

/// An error of this text, of the kind that its first word tells.
pub(super) fn error_of(text: &[u8]) -> Error {
    let code = &text[..memchr::memchr(b' ', text).unwrap_or(text.len())];
    let kind = ErrorKind::ALL.iter().find(|kind| kind.code().as_bytes() == code);
    Error::from_bytes(kind.copied().unwrap_or(ErrorKind::Command), text.to_vec())
}

/// Writes what a script returned.
pub(super) struct Writing<'w> {
    pub(super) reply: &'w mut Reply,
    pub(super) stats: &'w Stats,
    /// Booleans are those of RESP3, if the client speaks it.
    pub(super) resp3: bool,
    /// Lua's `next`.
    pub(super) next: &'w Function,
    /// Holds the tables that stand too deep for this side, which can hold only so many values. It is empty before and after.
    pub(super) deep: &'w Table,
}

/// A table that is being written.
struct Level {
    open: Open,
    depth: usize,
    /// The table, unless it is among the deep ones.
    table: Option<Table>,
    rest: Rest,
}

/// What of it has yet to be written.
enum Rest {
    /// An array, of which so many elements are written.
    Array(usize),
    /// The key that was written last, its value if that is next, and how many pairs were begun.
    Map(Value, Option<Value>, usize),
    /// The member that was written last, and how many were.
    Set(Value, usize),
}

/// Levels whose tables this side holds.
const HELD: usize = 1000;

impl Level {
    /// What is written next, and how deep that is; or the number of elements.
    fn next(&mut self, table: &Table, next: &Function) -> mlua::Result<Result<(Value, usize), usize>> {
        // How much of the stack the server's interpreter takes for what is one level down.
        const ELEMENT: usize = 1;
        const KEY: usize = 4;
        const MEMBER: usize = 3;
        Ok(match &mut self.rest {
            Rest::Array(count) => match table.raw_get::<Value>(*count as i64 + 1)? {
                Value::Nil => Err(*count),
                element => {
                    *count += 1;
                    Ok((element, self.depth + ELEMENT))
                }
            },
            Rest::Map(last, value, count) => {
                if let Some(value) = value.take() {
                    return Ok(Ok((value, self.depth + MEMBER)));
                }
                let (key, found): (Value, Value) = next.call((table, &*last))?;
                if key.is_nil() {
                    return Ok(Err(*count));
                }
                (*last, *value, *count) = (key.clone(), Some(found), *count + 1);
                Ok((key, self.depth + KEY))
            }
            Rest::Set(last, count) => {
                let member: Value = next.call((table, &*last))?;
                if member.is_nil() {
                    return Ok(Err(*count));
                }
                (*last, *count) = (member.clone(), *count + 1);
                Ok((member, self.depth + MEMBER))
            }
        })
    }
}

impl Writing<'_> {
    /// Writes a value. Fields are looked at without metatables. Tables stand on a stack of their own: a thread's may be short.
    ///
    /// # Errors
    /// The interpreter has no memory.
    pub(super) fn value(&mut self, value: &Value) -> mlua::Result<()> {
        let mut has_deep = false;
        let written = self.levels(value, &mut has_deep);
        if has_deep {
            self.deep.clear()?;
        }
        written
    }

    fn levels(&mut self, value: &Value, has_deep: &mut bool) -> mlua::Result<()> {
        let mut levels: Vec<Level> = self.begin(value, 0)?.into_iter().collect();
        while let Some(level) = levels.last_mut() {
            let table = level.table.clone();
            let next = match table {
                Some(table) => level.next(&table, self.next)?,
                None => {
                    let table: Table = self.deep.raw_get(level.depth as i64)?;
                    level.next(&table, self.next)?
                }
            };
            match next {
                Ok(_) if self.reply.is_full() => break,
                Ok((value, depth)) => {
                    if let Some(mut level) = self.begin(&value, depth)? {
                        if levels.len() >= HELD
                            && let Some(table) = level.table.take()
                        {
                            *has_deep = true;
                            self.deep.raw_set(level.depth as i64, table)?;
                        }
                        levels.push(level);
                    }
                }
                Err(count) => {
                    if let Some(level) = levels.pop() {
                        self.reply.close(level.open, count);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes a value, or the beginning of one that has several.
    fn begin(&mut self, value: &Value, depth: usize) -> mlua::Result<Option<Level>> {
        if depth > DEEPEST {
            self.error(&Error::command("reached lua stack limit"), true);
            return Ok(None);
        }
        match value {
            Value::String(text) => self.reply.bulk(&text.as_bytes()),
            Value::Integer(number) => self.reply.integer(*number),
            Value::Number(number) => self.reply.integer(to_integer(*number)),
            Value::Boolean(value) if self.resp3 => self.reply.boolean(*value),
            Value::Boolean(true) => self.reply.integer(1),
            Value::Table(table) => return self.table(table, depth),
            _ => self.reply.null(),
        }
        Ok(None)
    }

    fn error(&mut self, error: &Error, is_counted: bool) {
        if is_counted {
            self.stats.count_error(error);
        }
        self.reply.error(error);
    }

    fn table(&mut self, table: &Table, depth: usize) -> mlua::Result<Option<Level>> {
        let field = |name: &str| table.raw_get::<Value>(name);
        if let Value::String(text) = field("err")? {
            let is_counted = field("ignore_error_stats_update")?.is_nil();
            self.error(&error_of(until_zero(&text.as_bytes())), is_counted);
            return Ok(None);
        }
        if let Value::String(text) = field("ok")? {
            let text = one_line(until_zero(&text.as_bytes()));
            self.reply.status(&text);
            return Ok(None);
        }
        match field("double")? {
            Value::Number(number) => {
                self.reply.double(number);
                return Ok(None);
            }
            Value::Integer(number) => {
                self.reply.double(number as f64);
                return Ok(None);
            }
            _ => {}
        }
        if let Value::Table(map) = field("map")? {
            let open = self.reply.open_map();
            let rest = Rest::Map(Value::Nil, None, 0);
            return Ok(Some(Level { open, depth, table: Some(map), rest }));
        }
        if let Value::Table(set) = field("set")? {
            let open = self.reply.open_set();
            return Ok(Some(Level { open, depth, table: Some(set), rest: Rest::Set(Value::Nil, 0) }));
        }
        if let Value::String(digits) = field("big_number")? {
            let digits = one_line(&digits.as_bytes());
            self.reply.big_number(&String::from_utf8_lossy(&digits));
            return Ok(None);
        }
        if let Value::Table(verbatim) = field("verbatim_string")?
            && let Value::String(format) = verbatim.raw_get("format")?
            && let Value::String(text) = verbatim.raw_get("string")?
        {
            let mut three = [b' '; 3];
            for (to, from) in three.iter_mut().zip(format.as_bytes().iter()) {
                *to = *from;
            }
            self.reply.verbatim(&three, &text.as_bytes());
            return Ok(None);
        }
        let open = self.reply.open_array();
        Ok(Some(Level { open, depth, table: Some(table.clone()), rest: Rest::Array(0) }))
    }
}

/// An integer of a double, as C makes it; what does not fit is the least.
fn to_integer(number: f64) -> i64 {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if number.abs() < BEYOND { number as i64 } else { i64::MIN }
}

/// A text without line ends.
fn one_line(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }).collect()
}
