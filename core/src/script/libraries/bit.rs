//! `bit`: operations on numbers of 32 bits.

use mlua::{Lua, MultiValue, Table, Value};

use super::{Arguments, Failure, function};

type Unary = fn(u32) -> u32;
type Binary = fn(u32, u32) -> u32;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let bit = lua.create_table()?;
    let one: [(&str, Unary); 3] =
        [("tobit", |value| value), ("bnot", |value| !value), ("bswap", u32::swap_bytes)];
    for (name, operate) in one {
        bit.raw_set(name, function(lua, move |lua, args| Ok(result(operate(bits(lua, args, 0)?))))?)?;
    }
    let many: [(&str, Binary); 3] = [("band", |a, b| a & b), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)];
    for (name, operate) in many {
        let fold = move |lua: &Lua, args: &Arguments| {
            let mut value = bits(lua, args, 0)?;
            for at in 1..args.len() {
                value = operate(value, bits(lua, args, at)?);
            }
            Ok(result(value))
        };
        bit.raw_set(name, function(lua, fold)?)?;
    }
    let shifts: [(&str, Binary); 5] = [
        ("lshift", |value, by| value << by),
        ("rshift", |value, by| value >> by),
        ("arshift", |value, by| ((value as i32) >> by) as u32),
        ("rol", u32::rotate_left),
        ("ror", u32::rotate_right),
    ];
    for (name, operate) in shifts {
        let shift = move |lua: &Lua, args: &Arguments| {
            Ok(result(operate(bits(lua, args, 0)?, bits(lua, args, 1)? & 31)))
        };
        bit.raw_set(name, function(lua, shift)?)?;
    }
    bit.raw_set("tohex", function(lua, tohex)?)?;
    Ok(bit)
}

/// A number modulo 2^32. What is no number of 51 bits, or fractional, is rounded as the magic constant of the reference does.
fn bits(lua: &Lua, args: &Arguments, at: usize) -> Result<u32, Failure> {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    let number = args.number(lua, at)?;
    Ok((number + MAGIC).to_bits() as u32)
}

fn result(bits: u32) -> MultiValue {
    MultiValue::from_iter([Value::Number(f64::from(bits as i32))])
}

fn tohex(lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    let value = bits(lua, args, 0)?;
    let count = if args.get(1).is_none() { 8 } else { bits(lua, args, 1)? as i32 };
    // The least number is its own negative, and no number of digits below zero.
    let digits = if count == i32::MIN { 8 } else { count.unsigned_abs().min(8) as usize };
    let text = if count < 0 && count != i32::MIN { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(MultiValue::from_iter([Value::String(lua.create_string(&text[8 - digits..])?)]))
}
