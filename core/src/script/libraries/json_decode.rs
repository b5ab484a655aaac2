//! `cjson.decode`.

use mlua::{Lua, Table, Value};

use super::Failure;
use super::json::DEEPEST;
use crate::scripts::JsonOptions;

/// What a text consists of.
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Colon,
    Comma,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    End,
    /// None of these, and what is wrong.
    Wrong(&'static str),
}

impl Token {
    /// What errors call it.
    fn name(&self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::Text(_) => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::End => "T_END",
            Token::Wrong(how) => how,
        }
    }
}

/// Reads a text.
pub(super) fn decode(lua: &Lua, text: &[u8], options: JsonOptions) -> Result<Value, Failure> {
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(Failure::told("JSON parser does not support UTF-16 or UTF-32"));
    }
    let mut decoding = Decoding { text, at: 0, from: 0, options };
    let token = decoding.next();
    let value = decoding.value(lua, token)?;
    match decoding.next() {
        Token::End => Ok(value),
        other => Err(decoding.expected("the end", &other)),
    }
}

struct Decoding<'t> {
    text: &'t [u8],
    at: usize,
    /// Where the last token begins.
    from: usize,
    options: JsonOptions,
}

impl Decoding<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expected(&self, what: &str, found: &Token) -> Failure {
        let (found, at) = (found.name(), self.from + 1);
        Failure::told(format!("Expected {what} but found {found} at character {at}"))
    }

    fn next(&mut self) -> Token {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.from = self.at;
        let Some(byte) = self.peek() else { return Token::End };
        let single = match byte {
            // A zero byte ends the text, as it ends a C string.
            0 => return Token::End,
            b'{' => Token::ObjectBegin,
            b'}' => Token::ObjectEnd,
            b'[' => Token::ArrayBegin,
            b']' => Token::ArrayEnd,
            b':' => Token::Colon,
            b',' => Token::Comma,
            b'"' => return self.string(),
            _ => return self.word(),
        };
        self.at += 1;
        single
    }

    /// A number, or one of the words.
    fn word(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let begins = |word: &[u8]| rest.len() >= word.len() && rest[..word.len()].eq_ignore_ascii_case(word);
        let first = rest[0];
        let digits = if matches!(first, b'-' | b'+') { &rest[1..] } else { rest };
        let looks_invalid = if matches!(first, b'-' | b'+') {
            digits.len() >= 3
                && (digits[..3].eq_ignore_ascii_case(b"inf") || digits[..3].eq_ignore_ascii_case(b"nan"))
        } else {
            begins(b"inf") || begins(b"nan")
        };
        if matches!(first, b'-' | b'+' | b'0'..=b'9') {
            if !self.options.decode_invalid && self.is_invalid_number(first, digits, looks_invalid) {
                return Token::Wrong("invalid number");
            }
            return self.number();
        }
        for (word, token) in
            [(&b"true"[..], Token::Boolean(true)), (b"false", Token::Boolean(false)), (b"null", Token::Null)]
        {
            if rest.starts_with(word) {
                self.at += word.len();
                return token;
            }
        }
        if self.options.decode_invalid && looks_invalid {
            return self.number();
        }
        Token::Wrong("invalid token")
    }

    /// Whether a number is none that JSON has: with a plus, of other digits, with zeroes in front, or none at all.
    fn is_invalid_number(&self, first: u8, digits: &[u8], looks_invalid: bool) -> bool {
        if first == b'+' || looks_invalid {
            return true;
        }
        match digits {
            [b'0', b'x' | b'X' | b'0'..=b'9', ..] => true,
            [b'0'..=b'9', ..] => false,
            _ => true,
        }
    }

    /// What C's `strtod` takes.
    fn number(&mut self) -> Token {
        let rest = &self.text[self.at..];
        let (sign, digits) = match rest.first() {
            Some(b'-') => (-1.0, &rest[1..]),
            Some(b'+') => (1.0, &rest[1..]),
            _ => (1.0, rest),
        };
        let taken_sign = rest.len() - digits.len();
        let begins =
            |word: &[u8]| digits.len() >= word.len() && digits[..word.len()].eq_ignore_ascii_case(word);
        let (number, taken) = if begins(b"infinity") {
            (f64::INFINITY, 8)
        } else if begins(b"inf") {
            (f64::INFINITY, 3)
        } else if begins(b"nan") {
            (f64::NAN, 3)
        } else if begins(b"0x") && digits.get(2).is_some_and(u8::is_ascii_hexdigit) {
            hexadecimal(digits)
        } else {
            decimal(digits)
        };
        if taken == 0 {
            return Token::Wrong("invalid number");
        }
        self.at += taken_sign + taken;
        Token::Number(if sign < 0.0 { -number } else { number })
    }

    fn string(&mut self) -> Token {
        let mut out = Vec::new();
        self.at += 1;
        loop {
            let from = self.at;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Token::Text(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let plain = match self.peek() {
                        Some(b'u') => {
                            let Some(taken) = unicode(&self.text[from..], &mut out) else {
                                self.from = from;
                                return Token::Wrong("invalid unicode escape code");
                            };
                            self.at = from + taken;
                            continue;
                        }
                        Some(b'"') => b'"',
                        Some(b'\\') => b'\\',
                        Some(b'/') => b'/',
                        Some(b'b') => 8,
                        Some(b't') => b'\t',
                        Some(b'n') => b'\n',
                        Some(b'f') => 12,
                        Some(b'r') => b'\r',
                        _ => {
                            self.from = from;
                            return Token::Wrong("invalid escape code");
                        }
                    };
                    out.push(plain);
                    self.at += 1;
                }
                Some(byte) => {
                    out.push(byte);
                    self.at += 1;
                }
                None => {
                    self.from = self.at;
                    return Token::Wrong("unexpected end of string");
                }
            }
        }
    }

    fn deeper(&self, depth: i32) -> Result<(), Failure> {
        let depth = depth + 1;
        if depth > self.options.decode_depth.min(DEEPEST) {
            let at = self.at;
            return Err(Failure::told(format!(
                "Found too many nested data structures ({depth}) at character {at}"
            )));
        }
        Ok(())
    }

    /// Reads a value that begins with this token. What it stands in is on a stack of its own: a thread's may be short.
    fn value(&mut self, lua: &Lua, mut token: Token) -> Result<Value, Failure> {
        let mut frames: Vec<Frame> = Vec::new();
        loop {
            let mut value = match token {
                Token::Text(text) => Value::String(lua.create_string(&text)?),
                Token::Number(number) => Value::Number(number),
                Token::Boolean(value) => Value::Boolean(value),
                Token::Null => Value::NULL,
                Token::ObjectBegin => {
                    self.deeper(frames.len() as i32)?;
                    let table = lua.create_table()?;
                    match self.next() {
                        Token::ObjectEnd => Value::Table(table),
                        first => {
                            let key = self.key(first)?;
                            frames.push(Frame::Object(table, key));
                            token = self.next();
                            continue;
                        }
                    }
                }
                Token::ArrayBegin => {
                    self.deeper(frames.len() as i32)?;
                    let table = lua.create_table()?;
                    match self.next() {
                        Token::ArrayEnd => Value::Table(table),
                        first => {
                            frames.push(Frame::Array(table, 0));
                            token = first;
                            continue;
                        }
                    }
                }
                other => return Err(self.expected("value", &other)),
            };
            // The value is whole, and perhaps what it stands in with it.
            loop {
                match frames.pop() {
                    None => return Ok(value),
                    Some(Frame::Object(table, key)) => {
                        table.raw_set(lua.create_string(&key)?, value)?;
                        match self.next() {
                            Token::ObjectEnd => value = Value::Table(table),
                            Token::Comma => {
                                let first = self.next();
                                let key = self.key(first)?;
                                frames.push(Frame::Object(table, key));
                                break;
                            }
                            other => return Err(self.expected("comma or object end", &other)),
                        }
                    }
                    Some(Frame::Array(table, count)) => {
                        table.raw_set(count + 1, value)?;
                        match self.next() {
                            Token::ArrayEnd => value = Value::Table(table),
                            Token::Comma => {
                                frames.push(Frame::Array(table, count + 1));
                                break;
                            }
                            other => return Err(self.expected("comma or array end", &other)),
                        }
                    }
                }
            }
            token = self.next();
        }
    }

    /// A key, and the colon behind it.
    fn key(&mut self, token: Token) -> Result<Vec<u8>, Failure> {
        let Token::Text(key) = token else { return Err(self.expected("object key string", &token)) };
        match self.next() {
            Token::Colon => Ok(key),
            other => Err(self.expected("colon", &other)),
        }
    }
}

/// What a value stands in.
enum Frame {
    /// An object, and the key that the value belongs to.
    Object(Table, Vec<u8>),
    /// An array, and how many elements it has already.
    Array(Table, i64),
}

/// A decimal number at the beginning of a text, and its length; 0 if there is none.
fn decimal(text: &[u8]) -> (f64, usize) {
    let count =
        |from: usize| text[from.min(text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = count(0);
    let mut len = whole;
    let mut digits = whole;
    if text.get(len) == Some(&b'.') {
        let fraction = count(len + 1);
        if whole + fraction > 0 {
            len += 1 + fraction;
            digits += fraction;
        }
    }
    if digits == 0 {
        return (0.0, 0);
    }
    if matches!(text.get(len), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'-' | b'+')));
        let exponent = count(len + 1 + sign);
        if exponent > 0 {
            len += 1 + sign + exponent;
        }
    }
    let number = std::str::from_utf8(&text[..len]).ok().and_then(|text| text.parse().ok());
    (number.unwrap_or(0.0), len)
}

/// A hexadecimal number at the beginning of a text, and its length.
fn hexadecimal(text: &[u8]) -> (f64, usize) {
    let (mut number, mut len) = (0.0_f64, 2);
    while let Some(digit) = text.get(len).and_then(|byte| char::from(*byte).to_digit(16)) {
        number = number * 16.0 + f64::from(digit);
        len += 1;
    }
    if text.get(len) == Some(&b'.') {
        let (mut unit, mut at) = (1.0 / 16.0, len + 1);
        while let Some(digit) = text.get(at).and_then(|byte| char::from(*byte).to_digit(16)) {
            number += unit * f64::from(digit);
            unit /= 16.0;
            at += 1;
        }
        len = at;
    }
    if matches!(text.get(len), Some(b'p' | b'P')) {
        let sign = usize::from(matches!(text.get(len + 1), Some(b'-' | b'+')));
        let from = len + 1 + sign;
        let digits = text[from.min(text.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 {
            let exponent = std::str::from_utf8(&text[len + 1..from + digits]).ok();
            let exponent: i32 = exponent.and_then(|text| text.parse().ok()).unwrap_or(0);
            number *= 2.0_f64.powi(exponent);
            len = from + digits;
        }
    }
    (number, len)
}

/// The character of `\uXXXX`, or of two such, at the beginning of a text, and how much of it that is.
fn unicode(text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let unit = |text: &[u8]| {
        let digits = text.strip_prefix(b"\\u")?.get(..4)?;
        digits.iter().try_fold(0_u32, |all, byte| Some(all * 16 + char::from(*byte).to_digit(16)?))
    };
    let first = unit(text)?;
    let (code, taken) = match first {
        0xDC00..0xE000 => return None,
        0xD800..0xDC00 => {
            let second = unit(text.get(6..)?).filter(|second| (0xDC00..0xE000).contains(second))?;
            (0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00), 12)
        }
        code => (code, 6),
    };
    let mut bytes = [0; 4];
    out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut bytes).as_bytes());
    Some(taken)
}
