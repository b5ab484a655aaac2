//! `cjson`: what is said of it, and how values are written.

use std::cell::Cell;
use std::rc::Rc;

use mlua::{Lua, MultiValue, Table, Value};

use super::super::interpreter::Shared;
use super::numbers::general;
use super::{Arguments, Failure, function, json_decode, type_name};
use crate::scripts::JsonOptions;

/// Tables are written, and texts read, by a function that calls itself, so that no option goes beyond this depth.
pub(super) const DEEPEST: i32 = 1000;

/// Whose options they are.
#[derive(Clone)]
pub(super) enum Options {
    /// The engine's.
    Engine(Rc<Shared>),
    /// Those of what `cjson.new` has made.
    Own(Rc<Cell<JsonOptions>>),
}

impl Options {
    pub(super) fn get(&self) -> JsonOptions {
        match self {
            Options::Engine(shared) => {
                shared.engine().map_or_else(JsonOptions::default, |engine| engine.scripts.json())
            }
            Options::Own(own) => own.get(),
        }
    }

    fn change(&self, change: impl FnOnce(&mut JsonOptions)) {
        let mut options = self.get();
        change(&mut options);
        match self {
            Options::Engine(shared) => {
                if let Some(engine) = shared.engine() {
                    engine.scripts.set_json(options);
                }
            }
            Options::Own(own) => own.set(options),
        }
    }
}

pub(super) fn library(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    make(lua, Options::Engine(shared.clone()))
}

fn one(value: impl Into<Value>) -> MultiValue {
    MultiValue::from_iter([value.into()])
}

fn make(lua: &Lua, options: Options) -> mlua::Result<Table> {
    let json = lua.create_table()?;
    json.raw_set("_NAME", "cjson")?;
    json.raw_set("_VERSION", "2.1.0")?;
    json.raw_set("null", Value::NULL)?;
    let own = options.clone();
    let encode = function(lua, move |lua, args| {
        if args.len() != 1 {
            return Err(Failure::Argument(1, "expected 1 argument".to_owned()));
        }
        let mut encoding = Encoding { out: Vec::new(), options: own.get() };
        encoding.value(lua, &args.0[0], 0)?;
        Ok(one(Value::String(lua.create_string(&encoding.out)?)))
    })?;
    json.raw_set("encode", encode)?;
    let own = options.clone();
    let decode = function(lua, move |lua, args| {
        if args.len() != 1 {
            return Err(Failure::Argument(1, "expected 1 argument".to_owned()));
        }
        json_decode::decode(lua, &args.text(lua, 0)?, own.get()).map(one)
    })?;
    json.raw_set("decode", decode)?;
    json.raw_set(
        "new",
        function(lua, |lua, _| {
            let options = Options::Own(Rc::new(Cell::new(JsonOptions::default())));
            Ok(one(Value::Table(make(lua, options)?)))
        })?,
    )?;
    let own = options.clone();
    let sparse = function(lua, move |lua, args| {
        limit(args, 3)?;
        let convert = choice(args, 0, &["off", "on"])?;
        let ratio = integer(lua, args, 1, 0, i32::MAX)?;
        let safe = integer(lua, args, 2, 0, i32::MAX)?;
        own.change(|options| {
            let (old_convert, old_ratio, old_safe) = options.sparse;
            options.sparse = (
                convert.map_or(old_convert, |at| at == 1),
                ratio.unwrap_or(old_ratio),
                safe.unwrap_or(old_safe),
            );
        });
        let (convert, ratio, safe) = own.get().sparse;
        Ok(MultiValue::from_iter([
            Value::Boolean(convert),
            Value::Number(f64::from(ratio)),
            Value::Number(f64::from(safe)),
        ]))
    })?;
    json.raw_set("encode_sparse_array", sparse)?;
    number_option(lua, &json, &options, ("encode_max_depth", i32::MAX), |options| &mut options.encode_depth)?;
    number_option(lua, &json, &options, ("decode_max_depth", i32::MAX), |options| &mut options.decode_depth)?;
    number_option(lua, &json, &options, ("encode_number_precision", 14), |options| &mut options.precision)?;
    let own = options.clone();
    let keep = function(lua, move |_, args| {
        limit(args, 1)?;
        if let Some(at) = choice(args, 0, &["off", "on"])? {
            own.change(|options| options.keeps_buffer = at == 1);
        }
        Ok(one(Value::Boolean(own.get().keeps_buffer)))
    })?;
    json.raw_set("encode_keep_buffer", keep)?;
    let own = options.clone();
    let invalid = function(lua, move |lua, args| {
        limit(args, 1)?;
        if let Some(at) = choice(args, 0, &["off", "on", "null"])? {
            own.change(|options| options.encode_invalid = at as u8);
        }
        Ok(one(match own.get().encode_invalid {
            2 => Value::String(lua.create_string("null")?),
            how => Value::Boolean(how == 1),
        }))
    })?;
    json.raw_set("encode_invalid_numbers", invalid)?;
    let invalid = function(lua, move |_, args| {
        limit(args, 1)?;
        if let Some(at) = choice(args, 0, &["off", "on"])? {
            options.change(|options| options.decode_invalid = at == 1);
        }
        Ok(one(Value::Boolean(options.get().decode_invalid)))
    })?;
    json.raw_set("decode_invalid_numbers", invalid)?;
    Ok(json)
}

fn limit(args: &Arguments, most: usize) -> Result<(), Failure> {
    if args.len() > most {
        return Err(Failure::Argument(most + 1, "found too many arguments".to_owned()));
    }
    Ok(())
}

/// A function that sets and tells an option that is a number from 1.
fn number_option(
    lua: &Lua,
    json: &Table,
    options: &Options,
    (name, most): (&str, i32),
    field: fn(&mut JsonOptions) -> &mut i32,
) -> mlua::Result<()> {
    let own = options.clone();
    let set = function(lua, move |lua, args| {
        limit(args, 1)?;
        if let Some(number) = integer(lua, args, 0, 1, most)? {
            own.change(|options| *field(options) = number);
        }
        let mut now = own.get();
        Ok(one(Value::Number(f64::from(*field(&mut now)))))
    })?;
    json.raw_set(name, set)
}

fn integer(lua: &Lua, args: &Arguments, at: usize, least: i32, most: i32) -> Result<Option<i32>, Failure> {
    if args.get(at).is_none_or(Value::is_nil) {
        return Ok(None);
    }
    let number = args.number(lua, at)? as i64;
    match i32::try_from(number) {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        // The server names the first one, whichever it is.
        _ => Err(Failure::Argument(1, format!("expected integer between {least} and {most}"))),
    }
}

/// Which of these an argument is; a boolean is one of the first two.
fn choice(args: &Arguments, at: usize, names: &[&str]) -> Result<Option<usize>, Failure> {
    let text = match args.get(at) {
        None | Some(Value::Nil) => return Ok(None),
        Some(Value::Boolean(value)) => return Ok(Some(usize::from(*value))),
        Some(Value::String(text)) => String::from_utf8_lossy(&text.as_bytes()).into_owned(),
        Some(Value::Integer(number)) => number.to_string(),
        Some(Value::Number(number)) => general(*number, 14),
        other => return Err(Failure::Argument(at + 1, format!("string expected, got {}", type_name(other)))),
    };
    match names.iter().position(|name| *name == text) {
        Some(at) => Ok(Some(at)),
        None => Err(Failure::Argument(at + 1, format!("invalid option '{text}'"))),
    }
}

/// A text that is being written.
struct Encoding {
    out: Vec<u8>,
    options: JsonOptions,
}

impl Encoding {
    fn value(&mut self, lua: &Lua, value: &Value, depth: i32) -> Result<(), Failure> {
        match value {
            Value::Nil => self.out.extend_from_slice(b"null"),
            Value::LightUserData(data) if data.0.is_null() => self.out.extend_from_slice(b"null"),
            Value::Boolean(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::String(text) => self.string(&text.as_bytes()),
            Value::Table(table) => self.table(lua, table, depth + 1)?,
            other => {
                let kind = type_name(Some(other));
                return Err(Failure::told(format!("Cannot serialise {kind}: type not supported")));
            }
        }
        Ok(())
    }

    fn number(&mut self, number: f64) -> Result<(), Failure> {
        if !number.is_finite() {
            match self.options.encode_invalid {
                0 => return Err(Failure::told("Cannot serialise number: must not be NaN or Inf")),
                2 => {
                    self.out.extend_from_slice(b"null");
                    return Ok(());
                }
                _ if number.is_nan() => {
                    self.out.extend_from_slice(b"nan");
                    return Ok(());
                }
                _ => {}
            }
        }
        let precision = usize::try_from(self.options.precision).unwrap_or(14);
        self.out.extend_from_slice(general(number, precision).as_bytes());
        Ok(())
    }

    fn string(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for byte in text {
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'/' => self.out.extend_from_slice(b"\\/"),
                8 => self.out.extend_from_slice(b"\\b"),
                9 => self.out.extend_from_slice(b"\\t"),
                10 => self.out.extend_from_slice(b"\\n"),
                12 => self.out.extend_from_slice(b"\\f"),
                13 => self.out.extend_from_slice(b"\\r"),
                0..32 | 127 => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                byte => self.out.push(*byte),
            }
        }
        self.out.push(b'"');
    }

    fn table(&mut self, lua: &Lua, table: &Table, depth: i32) -> Result<(), Failure> {
        if depth > self.options.encode_depth.min(DEEPEST) {
            return Err(Failure::told(format!("Cannot serialise, excessive nesting ({depth})")));
        }
        match self.array_length(table)? {
            Some(length) => {
                self.out.push(b'[');
                for at in 1..=length {
                    if at > 1 {
                        self.out.push(b',');
                    }
                    let element: Value = table.raw_get(at)?;
                    self.value(lua, &element, depth)?;
                }
                self.out.push(b']');
            }
            None => self.object(lua, table, depth)?,
        }
        Ok(())
    }

    /// How long a table is that is an array, perhaps one with holes.
    fn array_length(&self, table: &Table) -> Result<Option<i64>, Failure> {
        let (mut most, mut count) = (0_i64, 0_i64);
        for pair in table.pairs::<Value, Value>() {
            let index = match pair?.0 {
                Value::Integer(index) => index,
                Value::Number(number) if number.floor() == number && number < 9e18 => number as i64,
                _ => return Ok(None),
            };
            if index < 1 {
                return Ok(None);
            }
            most = most.max(index);
            count += 1;
        }
        let (converts, ratio, safe) = self.options.sparse;
        if count == 0 {
            return Ok(None);
        }
        if ratio > 0 && most > count.saturating_mul(i64::from(ratio)) && most > i64::from(safe) {
            if !converts {
                return Err(Failure::told("Cannot serialise table: excessively sparse array"));
            }
            return Ok(None);
        }
        Ok(Some(most))
    }

    fn object(&mut self, lua: &Lua, table: &Table, depth: i32) -> Result<(), Failure> {
        self.out.push(b'{');
        let mut is_first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !is_first {
                self.out.push(b',');
            }
            is_first = false;
            match &key {
                Value::String(text) => self.string(&text.as_bytes()),
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.number(match key {
                        Value::Integer(number) => number as f64,
                        Value::Number(number) => number,
                        _ => 0.0,
                    })?;
                    self.out.push(b'"');
                }
                other => {
                    let kind = type_name(Some(other));
                    let text = format!("Cannot serialise {kind}: table key must be a number or string");
                    return Err(Failure::told(text));
                }
            }
            self.out.push(b':');
            self.value(lua, &value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}
