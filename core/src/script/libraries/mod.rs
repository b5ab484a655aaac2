//! The libraries of scripts beside Lua's own. Each is written here, as the server's answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use mlua::{Function, Lua, MultiValue, Table, Value};

mod bit;
mod json;
mod json_decode;
mod msgpack;
mod numbers;
pub(super) mod random;
mod structs;

use super::interpreter::Shared;

/// Why a function of the host failed.
pub(in crate::script) enum Failure {
    /// This text is raised as it is.
    Bare(String),
    /// This text is raised behind the place of the call.
    Told(String),
    /// An argument is wrong: its number from 1, and how.
    Argument(usize, String),
    /// A table with this error is raised.
    Error(String),
}

impl Failure {
    pub(in crate::script) fn bare(text: impl Into<String>) -> Self {
        Failure::Bare(text.into())
    }

    pub(in crate::script) fn told(text: impl Into<String>) -> Self {
        Failure::Told(text.into())
    }
}

impl From<mlua::Error> for Failure {
    fn from(error: mlua::Error) -> Self {
        Failure::Bare(match error {
            mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
            error => error.to_string(),
        })
    }
}

/// What a function of the host was called with.
pub(in crate::script) struct Arguments(pub(in crate::script) MultiValue);

/// What Lua calls the type of a value.
pub(in crate::script) fn type_name(value: Option<&Value>) -> &'static str {
    match value {
        None => "no value",
        Some(Value::Integer(_)) => "number",
        Some(Value::LightUserData(_)) => "userdata",
        Some(value) => value.type_name(),
    }
}

impl Arguments {
    pub(in crate::script) fn len(&self) -> usize {
        self.0.len()
    }

    pub(in crate::script) fn get(&self, at: usize) -> Option<&Value> {
        self.0.get(at)
    }

    fn wrong(&self, at: usize, expected: &str) -> Failure {
        Failure::Argument(at + 1, format!("{expected} expected, got {}", type_name(self.get(at))))
    }

    /// A string, or a number as one; nothing for anything else.
    pub(in crate::script) fn text_or_empty(&self, lua: &Lua, at: usize) -> Result<Vec<u8>, Failure> {
        Ok(match self.get(at) {
            Some(value @ (Value::String(_) | Value::Number(_) | Value::Integer(_))) => {
                lua.coerce_string(value.clone())?.map_or_else(Vec::new, |text| text.as_bytes().to_vec())
            }
            _ => Vec::new(),
        })
    }

    /// A string, or a number as one.
    pub(in crate::script) fn text(&self, lua: &Lua, at: usize) -> Result<Vec<u8>, Failure> {
        match self.get(at) {
            Some(Value::String(_) | Value::Number(_) | Value::Integer(_)) => self.text_or_empty(lua, at),
            _ => Err(self.wrong(at, "string")),
        }
    }

    /// A number, or a string that is one.
    pub(in crate::script) fn number(&self, lua: &Lua, at: usize) -> Result<f64, Failure> {
        match self.get(at) {
            Some(Value::Number(number)) => Ok(*number),
            Some(Value::Integer(number)) => Ok(*number as f64),
            Some(value @ Value::String(_)) => {
                lua.coerce_number(value.clone())?.ok_or_else(|| self.wrong(at, "number"))
            }
            _ => Err(self.wrong(at, "number")),
        }
    }
}

/// What a function of the host raises. Lua has it as something of the host's own until the sandbox has it unwrapped.
#[derive(Clone, Debug)]
pub(in crate::script) enum Raised {
    /// A text.
    Text(Vec<u8>),
    /// A table with an error, which may have been counted already.
    Error {
        /// Its text.
        text: Vec<u8>,
        /// Statistics know it.
        is_counted: bool,
    },
}

impl Raised {
    /// As scripts see it.
    pub(in crate::script) fn value(&self, lua: &Lua) -> mlua::Result<Value> {
        match self {
            Raised::Text(text) => Ok(Value::String(lua.create_string(text)?)),
            Raised::Error { text, is_counted } => error_table(lua, text, *is_counted).map(Value::Table),
        }
    }
}

impl std::fmt::Display for Raised {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Raised::Text(text) | Raised::Error { text, .. }) = self;
        f.write_str(&String::from_utf8_lossy(text))
    }
}

impl std::error::Error for Raised {}

/// A function of the host.
pub(in crate::script) fn function(
    lua: &Lua,
    work: impl Fn(&Lua, &Arguments) -> Result<MultiValue, Failure> + 'static,
) -> mlua::Result<Function> {
    lua.create_function(move |lua, args: MultiValue| {
        let args = Arguments(args);
        let result = catch_unwind(AssertUnwindSafe(|| work(lua, &args)));
        let result = result.unwrap_or_else(|_| Err(Failure::bare("internal error: a library panicked")));
        result.map_err(|failure| mlua::Error::external(raised(lua, failure)))
    })
}

fn raised(lua: &Lua, failure: Failure) -> Raised {
    Raised::Text(match failure {
        Failure::Error(text) => return Raised::Error { text: text.into_bytes(), is_counted: false },
        Failure::Bare(text) => text.into_bytes(),
        Failure::Told(text) => (place(lua) + &text).into_bytes(),
        Failure::Argument(at, how) => {
            let name = lua.inspect_stack(0, |debug| debug.names().name.map(|name| name.into_owned()));
            let name = name.flatten().unwrap_or_else(|| "?".to_owned());
            format!("{}bad argument #{at} to '{name}' ({how})", place(lua)).into_bytes()
        }
    })
}

/// What was raised, as scripts are to see it.
pub(in crate::script) fn unwrapped(lua: &Lua, value: Value) -> mlua::Result<Value> {
    let Value::Error(error) = &value else { return Ok(value) };
    match error.downcast_ref::<Raised>() {
        Some(raised) => raised.value(lua),
        None => Ok(Value::String(lua.create_string(error.to_string())?)),
    }
}

/// A table with an error, which may have been counted already.
fn error_table(lua: &Lua, text: &[u8], is_counted: bool) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 2)?;
    table.raw_set("err", lua.create_string(text)?)?;
    if is_counted {
        table.raw_set("ignore_error_stats_update", true)?;
    }
    Ok(table)
}

/// Where the function was called.
fn place(lua: &Lua) -> String {
    let place = lua.inspect_stack(1, |debug| {
        let source = debug.source();
        let line = debug.current_line()?;
        Some(format!("{}:{line}: ", source.short_src.unwrap_or_default()))
    });
    place.flatten().unwrap_or_default()
}

/// All libraries, as tables of functions of the host.
pub(in crate::script) fn all(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let libraries = lua.create_table()?;
    libraries.raw_set("bit", bit::library(lua)?)?;
    libraries.raw_set("cjson", json::library(lua, shared)?)?;
    libraries.raw_set("cmsgpack", msgpack::library(lua)?)?;
    libraries.raw_set("struct", structs::library(lua)?)?;
    Ok(libraries)
}
