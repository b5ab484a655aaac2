//! `cmsgpack`: MessagePack.

use mlua::{Lua, MultiValue, Table, Value};

use super::{Arguments, Failure, function};

/// Tables that stand deeper are written as nil.
const DEEPEST_PACKED: usize = 16;

/// Deeper data are refused: the host holds as many values of Lua's.
const DEEPEST_UNPACKED: usize = 7000;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("_NAME", "cmsgpack")?;
    library.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    library.raw_set("_COPYRIGHT", "Copyright (C) 2012, Redis Ltd.")?;
    library.raw_set("_DESCRIPTION", "MessagePack C implementation for Lua")?;
    library.raw_set("pack", function(lua, pack)?)?;
    library.raw_set("unpack", function(lua, |lua, args| unpack(lua, args, None))?)?;
    let one = function(lua, |lua, args| {
        let offset = optional(lua, args, 1)?;
        unpack(lua, args, Some((1, offset)))
    })?;
    library.raw_set("unpack_one", one)?;
    let limit = function(lua, |lua, args| {
        // The text is looked at first.
        args.text(lua, 0)?;
        let limit = args.number(lua, 1)? as i32;
        let offset = optional(lua, args, 2)?;
        unpack(lua, args, Some((limit, offset)))
    })?;
    library.raw_set("unpack_limit", limit)?;
    Ok(library)
}

fn optional(lua: &Lua, args: &Arguments, at: usize) -> Result<i32, Failure> {
    if args.get(at).is_none_or(Value::is_nil) { Ok(0) } else { Ok(args.number(lua, at)? as i32) }
}

fn pack(lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    if args.len() == 0 {
        return Err(Failure::Argument(0, "MessagePack pack needs input.".to_owned()));
    }
    let mut out = Vec::new();
    for value in args.0.iter() {
        put(&mut out, value, 0)?;
    }
    Ok(MultiValue::from_iter([Value::String(lua.create_string(&out)?)]))
}

fn put(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), Failure> {
    match value {
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => put_number(out, *number as f64),
        Value::Number(number) => put_number(out, *number),
        Value::String(text) => {
            let text = text.as_bytes();
            put_head(out, text.len(), (0xa0, 32), Some(0xd9), 0xda, 0xdb);
            out.extend_from_slice(&text);
        }
        Value::Table(table) if depth < DEEPEST_PACKED => put_table(out, table, depth)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

/// A length behind what it is the length of: in the same byte below a limit, in one byte if there is such a form, in two, or in four.
fn put_head(out: &mut Vec<u8>, len: usize, (short, below): (u8, usize), one: Option<u8>, two: u8, four: u8) {
    if len < below {
        out.push(short | len as u8);
    } else if let (Some(one), Ok(len)) = (one, u8::try_from(len)) {
        out.extend_from_slice(&[one, len]);
    } else if let Ok(len) = u16::try_from(len) {
        out.push(two);
        out.extend_from_slice(&len.to_be_bytes());
    } else {
        out.push(four);
        out.extend_from_slice(&(len as u32).to_be_bytes());
    }
}

fn put_number(out: &mut Vec<u8>, number: f64) {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if number.trunc() != number || !(-BEYOND..BEYOND).contains(&number) {
        let single = number as f32;
        if f64::from(single) == number {
            out.push(0xca);
            out.extend_from_slice(&single.to_be_bytes());
        } else {
            out.push(0xcb);
            out.extend_from_slice(&number.to_be_bytes());
        }
        return;
    }
    let number = number as i64;
    match number {
        0..128 => out.push(number as u8),
        128..0x100 => out.extend_from_slice(&[0xcc, number as u8]),
        0x100..0x1_0000 => {
            out.push(0xcd);
            out.extend_from_slice(&(number as u16).to_be_bytes());
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(0xce);
            out.extend_from_slice(&(number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend_from_slice(&number.to_be_bytes());
        }
        -32..0 => out.push(number as i8 as u8),
        -128..-32 => out.extend_from_slice(&[0xd0, number as i8 as u8]),
        -0x8000..-128 => {
            out.push(0xd1);
            out.extend_from_slice(&(number as i16).to_be_bytes());
        }
        -0x8000_0000..-0x8000 => {
            out.push(0xd2);
            out.extend_from_slice(&(number as i32).to_be_bytes());
        }
        ..-0x8000_0000 => {
            out.push(0xd3);
            out.extend_from_slice(&number.to_be_bytes());
        }
    }
}

fn put_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> Result<(), Failure> {
    let (mut count, mut most, mut is_array) = (0_usize, 0_i64, true);
    for pair in table.pairs::<Value, Value>() {
        count += 1;
        match pair?.0 {
            Value::Integer(index) if index > 0 => most = most.max(index),
            _ => is_array = false,
        }
    }
    if is_array && most == count as i64 {
        put_head(out, count, (0x90, 16), None, 0xdc, 0xdd);
        for at in 1..=most {
            put(out, &table.raw_get(at)?, depth + 1)?;
        }
        return Ok(());
    }
    put_head(out, count, (0x80, 16), None, 0xde, 0xdf);
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        put(out, &key, depth + 1)?;
        put(out, &value, depth + 1)?;
    }
    Ok(())
}

/// Reads all values, or as many as asked for (0: all) from an offset, and then tells where the next one begins, or -1.
fn unpack(lua: &Lua, args: &Arguments, part: Option<(i32, i32)>) -> Result<MultiValue, Failure> {
    let data = args.text(lua, 0)?;
    let (limit, offset) = part.unwrap_or((0, 0));
    let len = data.len();
    if offset < 0 || limit < 0 {
        let text = format!("Invalid request to unpack with offset of {offset} and limit of {len}.");
        return Err(Failure::told(text));
    }
    if offset as usize > len {
        let text = format!("Start offset {offset} greater than input length {len}.");
        return Err(Failure::told(text));
    }
    // As the server's: a limit of none is one of all, and no place is told then.
    let tells_place = limit > 0;
    let mut rest = &data[offset as usize..];
    let mut values = Vec::new();
    while !rest.is_empty() && (limit == 0 || values.len() < limit as usize) {
        values.push(take(lua, &mut rest)?);
    }
    if tells_place {
        let place = if rest.is_empty() { -1 } else { (len - rest.len()) as i64 };
        values.insert(0, Value::Number(place as f64));
    }
    Ok(MultiValue::from_iter(values))
}

fn bytes<'d>(rest: &mut &'d [u8], len: usize) -> Result<&'d [u8], Failure> {
    if rest.len() < len {
        return Err(Failure::told("Missing bytes in input."));
    }
    let (taken, behind) = rest.split_at(len);
    *rest = behind;
    Ok(taken)
}

fn unsigned(rest: &mut &[u8], len: usize) -> Result<u64, Failure> {
    Ok(bytes(rest, len)?.iter().fold(0, |all, byte| all << 8 | u64::from(*byte)))
}

fn signed(rest: &mut &[u8], len: usize) -> Result<i64, Failure> {
    let spare = 64 - 8 * len as u32;
    Ok(((unsigned(rest, len)? << spare) as i64) >> spare)
}

/// What a value stands in.
enum Frame {
    /// An array, how many elements it has already, and how many it is to have.
    Array(Table, usize, usize),
    /// A map, the key that comes next to a value, and how many pairs are to come.
    Map(Table, Option<Value>, usize),
}

/// What begins at a place.
enum Item {
    Value(Value),
    Array(usize),
    Map(usize),
}

/// Reads a value. What it stands in is on a stack of its own: a thread's may be short.
fn take(lua: &Lua, rest: &mut &[u8]) -> Result<Value, Failure> {
    let mut frames: Vec<Frame> = Vec::new();
    loop {
        let mut value = match item(lua, rest)? {
            Item::Value(value) => value,
            Item::Array(0) | Item::Map(0) => Value::Table(lua.create_table()?),
            other => {
                if frames.len() >= DEEPEST_UNPACKED {
                    return Err(Failure::told("stack overflow (in function mp_decode_to_lua_type)"));
                }
                let table = lua.create_table()?;
                frames.push(match other {
                    Item::Array(len) => Frame::Array(table, 0, len),
                    Item::Map(len) => Frame::Map(table, None, len),
                    Item::Value(_) => continue,
                });
                continue;
            }
        };
        // The value is whole, and perhaps what it stands in with it.
        loop {
            match frames.pop() {
                None => return Ok(value),
                Some(Frame::Array(table, count, len)) => {
                    table.raw_set(count as i64 + 1, value)?;
                    if count + 1 < len {
                        frames.push(Frame::Array(table, count + 1, len));
                        break;
                    }
                    value = Value::Table(table);
                }
                Some(Frame::Map(table, None, left)) => {
                    frames.push(Frame::Map(table, Some(value), left));
                    break;
                }
                Some(Frame::Map(table, Some(key), left)) => {
                    match key {
                        Value::Nil => return Err(Failure::bare("table index is nil")),
                        Value::Number(key) if key.is_nan() => {
                            return Err(Failure::bare("table index is NaN"));
                        }
                        key => table.raw_set(key, value)?,
                    }
                    if left > 1 {
                        frames.push(Frame::Map(table, None, left - 1));
                        break;
                    }
                    value = Value::Table(table);
                }
            }
        }
    }
}

fn item(lua: &Lua, rest: &mut &[u8]) -> Result<Item, Failure> {
    let number = |number: f64| Ok(Item::Value(Value::Number(number)));
    let text =
        |rest: &mut &[u8], len: usize| Ok(Item::Value(Value::String(lua.create_string(bytes(rest, len)?)?)));
    let kind = bytes(rest, 1)?[0];
    match kind {
        0x00..=0x7f => number(f64::from(kind)),
        0xe0..=0xff => number(f64::from(kind as i8)),
        0x80..=0x8f => Ok(Item::Map(usize::from(kind & 0xf))),
        0x90..=0x9f => Ok(Item::Array(usize::from(kind & 0xf))),
        0xa0..=0xbf => text(rest, usize::from(kind & 0x1f)),
        0xc0 => Ok(Item::Value(Value::Nil)),
        0xc2 | 0xc3 => Ok(Item::Value(Value::Boolean(kind == 0xc3))),
        0xca => number(f64::from(f32::from_bits(unsigned(rest, 4)? as u32))),
        0xcb => number(f64::from_bits(unsigned(rest, 8)?)),
        0xcc..=0xce => number(unsigned(rest, 1 << (kind - 0xcc))? as f64),
        // The server takes these for signed ones.
        0xcf => number(unsigned(rest, 8)? as i64 as f64),
        0xd0..=0xd3 => number(signed(rest, 1 << (kind - 0xd0))? as f64),
        0xd9..=0xdb => {
            let len = unsigned(rest, 1 << (kind - 0xd9))? as usize;
            text(rest, len)
        }
        0xdc | 0xdd => Ok(Item::Array(unsigned(rest, 2 << (kind - 0xdc))? as usize)),
        0xde | 0xdf => Ok(Item::Map(unsigned(rest, 2 << (kind - 0xde))? as usize)),
        _ => Err(Failure::told("Bad data format in input.")),
    }
}
