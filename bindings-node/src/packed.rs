//! Replies as one string and a list of numbers, from which `lib/packed.cjs` makes values: making arrays and their elements through
//! Node-API costs more than most commands do.
//!
//! Per item of the tape, in its order, a code and what follows it:
//!
//! ```text
//! null              nothing
//! text, number      length in UTF-16 units of its part of the string (number: digits to be read as one)
//! integer           32 bits
//! boolean           0 or 1
//! array             number of items, which follow
//! error             kind, length of its text
//! blocked           nothing; it is the last: the reply has not come
//! ```

use keystead::Item;

use crate::outcome::{Outcome, out_of_memory};
use crate::scratch::push_text;

/// Codes of items, as in `lib/packed.cjs`.
mod code {
    pub const NULL: u32 = 0;
    pub const TEXT: u32 = 1;
    pub const INTEGER: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const NUMBER: u32 = 4;
    pub const BOOLEAN: u32 = 5;
    pub const ERROR: u32 = 6;
    pub const BLOCKED: u32 = 7;
}

/// Replies being packed.
#[derive(Default)]
pub struct Packed {
    pub text: Vec<u8>,
    pub codes: Vec<u32>,
    /// The text has a byte that is not ASCII.
    pub is_wide: bool,
}

impl Packed {
    pub fn clear(&mut self) {
        self.text.clear();
        self.codes.clear();
        self.is_wide = false;
    }

    /// Appends the items of a tape.
    ///
    /// # Errors
    /// There is no memory for them.
    pub fn tape(&mut self, mut tape: &[u8], integers_as_text: bool) -> Outcome<()> {
        while !tape.is_empty() {
            let (item, rest) = Item::read(tape).expect("the engine writes whole items");
            self.item(&item, integers_as_text)?;
            tape = rest;
        }
        Ok(())
    }

    /// Appends what a command came to, if that is no reply.
    pub fn outcome(&mut self, outcome: keystead::Outcome) {
        if outcome == keystead::Outcome::Blocked {
            self.codes.push(code::BLOCKED);
        }
    }

    fn item(&mut self, item: &Item<'_>, integers_as_text: bool) -> Outcome<()> {
        /// The codes of an item without those within.
        const CODES: usize = 3;
        self.codes.try_reserve(CODES).map_err(out_of_memory)?;
        match item {
            Item::Null | Item::NullArray => self.codes.push(code::NULL),
            Item::Simple(bytes) | Item::Bulk(bytes) | Item::BigNumber(bytes) => {
                self.string(code::TEXT, bytes)?;
            }
            Item::Verbatim(bytes) => self.string(code::TEXT, bytes.get(4..).unwrap_or_default())?,
            Item::Integer(number) => match i32::try_from(*number) {
                Ok(small) if !integers_as_text => self.codes.extend([code::INTEGER, small as u32]),
                _ => {
                    let code = if integers_as_text { code::TEXT } else { code::NUMBER };
                    self.string(code, itoa::Buffer::new().format(*number).as_bytes())?;
                }
            },
            Item::Double(number) => {
                // As JavaScript reads them.
                let text = match number {
                    number if number.is_nan() => "NaN".to_owned(),
                    number if number.is_infinite() && *number < 0.0 => "-Infinity".to_owned(),
                    number if number.is_infinite() => "Infinity".to_owned(),
                    number => number.to_string(),
                };
                self.string(code::NUMBER, text.as_bytes())?;
            }
            Item::Boolean(value) => self.codes.extend([code::BOOLEAN, u32::from(*value)]),
            Item::Error { kind, text } => {
                self.codes.extend([code::ERROR, u32::from(*kind)]);
                self.append(text)?;
            }
            Item::Array(items) | Item::Map(items) | Item::Set(items) | Item::Push(items) => {
                self.codes.extend([code::ARRAY, items.len() as u32]);
                items.iter().try_for_each(|item| self.item(item, integers_as_text))?;
            }
        }
        Ok(())
    }

    fn string(&mut self, code: u32, bytes: &[u8]) -> Outcome<()> {
        self.codes.push(code);
        self.append(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        let is_ascii = bytes.is_ascii();
        self.is_wide |= !is_ascii;
        let length = push_text(bytes, is_ascii, &mut self.text)?;
        self.codes.push(length);
        Ok(())
    }
}
