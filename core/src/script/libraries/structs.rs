//! `struct`: values as bytes in the layouts of C, and back.

use mlua::{Lua, MultiValue, Table, Value};

use super::{Arguments, Failure, function};

/// What a format may align to, and the widest integer.
const MOST: usize = 32;
/// The alignment of doubles.
const NATURAL: usize = 8;

pub(super) fn library(lua: &Lua) -> mlua::Result<Table> {
    let library = lua.create_table()?;
    library.raw_set("pack", function(lua, pack)?)?;
    library.raw_set("unpack", function(lua, unpack)?)?;
    library.raw_set("size", function(lua, size)?)?;
    Ok(library)
}

/// A format that is being read.
struct Format<'f> {
    rest: &'f [u8],
    is_little: bool,
    align: usize,
}

/// One thing that a format names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Padding,
    Integer {
        signed: bool,
    },
    Float,
    Double,
    /// So many bytes, none for those that are left or that were read as a number.
    Bytes,
    Text,
    Control,
}

impl Format<'_> {
    fn number(&mut self, otherwise: usize) -> Result<usize, Failure> {
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(otherwise);
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        number
            .iter()
            .try_fold(0_usize, |all, digit| {
                let all = all.checked_mul(10)?.checked_add(usize::from(digit - b'0'))?;
                (all <= i32::MAX as usize).then_some(all)
            })
            .ok_or_else(|| Failure::told("integral size overflow"))
    }

    /// The next thing, with its letter and its size.
    fn next(&mut self) -> Result<Option<(u8, Item, usize)>, Failure> {
        let Some((letter, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        let integer = |size| (Item::Integer { signed: letter.is_ascii_lowercase() }, size);
        let (item, size) = match letter {
            b'b' | b'B' => integer(1),
            b'h' | b'H' => integer(2),
            b'l' | b'L' => integer(8),
            b'T' => (Item::Integer { signed: false }, 8),
            b'f' => (Item::Float, 4),
            b'd' => (Item::Double, 8),
            b'x' => (Item::Padding, 1),
            b'c' => (Item::Bytes, self.number(1)?),
            b's' => (Item::Text, 0),
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > MOST {
                    let text = format!("integral size {size} is larger than limit of {MOST}");
                    return Err(Failure::told(text));
                }
                integer(size)
            }
            b' ' | b'>' | b'<' | b'!' => (Item::Control, 0),
            other => {
                let text = format!("invalid format option '{}'", char::from(*other));
                return Err(Failure::Argument(1, text));
            }
        };
        Ok(Some((*letter, item, size)))
    }

    fn control(&mut self, letter: u8) -> Result<(), Failure> {
        match letter {
            b'>' => self.is_little = false,
            b'<' => self.is_little = true,
            b'!' => {
                let align = self.number(NATURAL)?;
                if align == 0 || !align.is_power_of_two() {
                    return Err(Failure::told(format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            _ => {}
        }
        Ok(())
    }

    /// Bytes to leave out before something of this size.
    fn gap(&self, at: usize, item: Item, size: usize) -> usize {
        if size == 0 || item == Item::Bytes || item == Item::Padding {
            return 0;
        }
        let size = size.min(self.align);
        if size > 1 { (size - (at & (size - 1))) & (size - 1) } else { 0 }
    }
}

fn format_of(lua: &Lua, args: &Arguments) -> Result<Vec<u8>, Failure> {
    args.text(lua, 0)
}

/// A number to pack. One that is missing is nil for the server, which has something behind the arguments by then.
fn number(lua: &Lua, args: &Arguments, at: usize) -> Result<f64, Failure> {
    if at >= args.len() {
        return Err(Failure::Argument(at + 1, "number expected, got nil".to_owned()));
    }
    args.number(lua, at)
}

fn ordered(mut bytes: Vec<u8>, is_little: bool) -> Vec<u8> {
    if !is_little {
        bytes.reverse();
    }
    bytes
}

fn pack(lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    let text = format_of(lua, args)?;
    let mut format = Format { rest: &text, is_little: cfg!(target_endian = "little"), align: 1 };
    let (mut out, mut at) = (Vec::new(), 1);
    while let Some((letter, item, size)) = format.next()? {
        let gap = format.gap(out.len(), item, size);
        out.resize(out.len() + gap, 0);
        match item {
            Item::Padding => out.push(0),
            Item::Control => format.control(letter)?,
            Item::Integer { .. } => {
                let number = number(lua, args, at)?;
                at += 1;
                // As C makes an integer of a double.
                let value = if number < 0.0 { number as i64 as u64 } else { number as u64 };
                let mut bytes = value.to_le_bytes().to_vec();
                bytes.resize(size.max(8), 0);
                bytes.truncate(size);
                out.extend(ordered(bytes, format.is_little));
            }
            Item::Float => {
                let number = number(lua, args, at)? as f32;
                at += 1;
                out.extend(ordered(number.to_le_bytes().to_vec(), format.is_little));
            }
            Item::Double => {
                let number = number(lua, args, at)?;
                at += 1;
                out.extend(ordered(number.to_le_bytes().to_vec(), format.is_little));
            }
            Item::Bytes | Item::Text => {
                if at >= args.len() {
                    return Err(Failure::Argument(at + 1, "string expected, got nil".to_owned()));
                }
                let bytes = args.text(lua, at)?;
                at += 1;
                let size = if size == 0 { bytes.len() } else { size };
                if bytes.len() < size {
                    return Err(Failure::Argument(at + 1, "string too short".to_owned()));
                }
                out.extend_from_slice(&bytes[..size]);
                if item == Item::Text {
                    out.push(0);
                }
            }
        }
    }
    Ok(MultiValue::from_iter([Value::String(lua.create_string(&out)?)]))
}

fn unpack(lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    let text = format_of(lua, args)?;
    let data = args.text(lua, 1)?;
    let position = if args.get(2).is_none_or(Value::is_nil) { 1.0 } else { args.number(lua, 2)? };
    let position = position as i64;
    if position <= 0 {
        return Err(Failure::Argument(3, "offset must be 1 or greater".to_owned()));
    }
    let mut at = position as usize - 1;
    let mut format = Format { rest: &text, is_little: cfg!(target_endian = "little"), align: 1 };
    let mut values: Vec<Value> = Vec::new();
    let short = || Failure::Argument(2, "data string too short".to_owned());
    while let Some((letter, item, size)) = format.next()? {
        at += format.gap(at, item, size);
        let bytes = data.get(at..at.saturating_add(size)).ok_or_else(short)?;
        match item {
            Item::Padding => at += size,
            Item::Control => format.control(letter)?,
            Item::Integer { signed } => {
                let bytes = ordered(bytes.to_vec(), format.is_little);
                let mut word = [0; 8];
                let len = size.min(8);
                word[..len].copy_from_slice(&bytes[..len]);
                let value = u64::from_le_bytes(word);
                let number = if signed {
                    let spare = 64 - 8 * len as u32;
                    let value = if spare >= 64 { 0 } else { ((value << spare) as i64) >> spare };
                    value as f64
                } else {
                    value as f64
                };
                values.push(Value::Number(number));
                at += size;
            }
            Item::Float => {
                let bytes = ordered(bytes.to_vec(), format.is_little);
                let number = f32::from_le_bytes(bytes.try_into().unwrap_or_default());
                values.push(Value::Number(f64::from(number)));
                at += size;
            }
            Item::Double => {
                let bytes = ordered(bytes.to_vec(), format.is_little);
                values.push(Value::Number(f64::from_le_bytes(bytes.try_into().unwrap_or_default())));
                at += size;
            }
            Item::Bytes => {
                let size = if size > 0 {
                    size
                } else {
                    let Some(Value::Number(_) | Value::Integer(_)) = values.last() else {
                        return Err(Failure::told("format 'c0' needs a previous size"));
                    };
                    match values.pop() {
                        Some(Value::Number(number)) if number >= 0.0 => number as usize,
                        Some(Value::Integer(number)) if number >= 0 => number as usize,
                        _ => return Err(short()),
                    }
                };
                let bytes = data.get(at..at.saturating_add(size)).ok_or_else(short)?;
                values.push(Value::String(lua.create_string(bytes)?));
                at += size;
            }
            Item::Text => {
                let rest = data.get(at..).unwrap_or_default();
                let end = memchr::memchr(0, rest);
                let end = end.ok_or_else(|| Failure::told("unfinished string in data"))?;
                values.push(Value::String(lua.create_string(&rest[..end])?));
                at += end + 1;
            }
        }
    }
    values.push(Value::Number(at as f64 + 1.0));
    Ok(MultiValue::from_iter(values))
}

fn size(lua: &Lua, args: &Arguments) -> Result<MultiValue, Failure> {
    let text = format_of(lua, args)?;
    let mut format = Format { rest: &text, is_little: true, align: 1 };
    let mut total = 0_usize;
    while let Some((letter, item, size)) = format.next()? {
        total += format.gap(total, item, size);
        if item == Item::Control {
            format.control(letter)?;
        }
        if item == Item::Text {
            return Err(Failure::Argument(1, "option 's' has no fixed size".to_owned()));
        }
        if item == Item::Bytes && size == 0 {
            return Err(Failure::Argument(1, "option 'c0' has no fixed size".to_owned()));
        }
        total = total.saturating_add(size);
    }
    Ok(MultiValue::from_iter([Value::Number(total as f64)]))
}
