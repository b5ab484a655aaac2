//! The manifest of a log: which files it consists of, as the server writes it down. A line for each: `file NAME seq NUMBER type b|h|i`.

use std::fmt::Write as _;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::num;
use crate::resp::split_line;

/// What a file is to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All data as of the beginning.
    Base,
    /// What was replaced and is to be removed.
    History,
    /// What was written since.
    Increment,
}

/// A file of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFile {
    pub(super) name: String,
    pub(super) number: u64,
}

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(super) base: Option<LogFile>,
    pub(super) history: Vec<LogFile>,
    /// By ascending numbers.
    pub(super) increments: Vec<LogFile>,
}

impl Manifest {
    /// Reads one.
    ///
    /// # Errors
    /// It is none; the text says which line is wrong.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let mut manifest = Self::default();
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let number = index + 1;
            let (file, part) = parse_line(line).map_err(|reason| damaged(number, reason))?;
            match part {
                Part::Base if manifest.base.is_some() => return Err(damaged(number, "there are two bases")),
                Part::Base => manifest.base = Some(file),
                Part::History => manifest.history.push(file),
                Part::Increment => {
                    if manifest.increments.last().is_some_and(|last| last.number >= file.number) {
                        return Err(damaged(number, "numbers have to ascend"));
                    }
                    manifest.increments.push(file);
                }
            }
        }
        if manifest.base.is_none() && manifest.increments.is_empty() {
            return Err(damaged(1, "it names no file"));
        }
        Ok(manifest)
    }

    /// As it stands in a file.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let parts = [(Part::Base, 'b'), (Part::History, 'h'), (Part::Increment, 'i')];
        for (part, letter) in parts {
            for LogFile { name, number } in self.files(part) {
                writeln!(text, "file {} seq {number} type {letter}", quoted(name))
                    .expect("strings can be written to");
            }
        }
        text
    }

    /// What is read of it, in its order.
    pub(super) fn in_order(&self) -> impl Iterator<Item = &LogFile> {
        self.base.iter().chain(&self.increments)
    }

    fn files(&self, part: Part) -> &[LogFile] {
        match part {
            Part::Base => self.base.as_slice(),
            Part::History => &self.history,
            Part::Increment => &self.increments,
        }
    }

    /// A number for the next file of a part.
    pub(super) fn next_number(&self, part: Part) -> u64 {
        self.files(part).last().map_or(1, |last| last.number + 1)
    }
}

fn damaged(line: usize, reason: &str) -> Error {
    Error::new(ErrorKind::Io, format!("ERR The manifest of the log is damaged at line {line}: {reason}"))
}

fn parse_line(line: &[u8]) -> Result<(LogFile, Part), &'static str> {
    let words = split_line(line).map_err(|_| "quotes are not balanced")?;
    let (mut name, mut number, mut part) = (None, None, None);
    for pair in words.chunks(2) {
        let [key, value] = pair else { return Err("a word is missing") };
        if key.eq_ignore_ascii_case(b"file") {
            let plain = String::from_utf8(value.clone()).map_err(|_| "a name is no UTF-8")?;
            let is_plain = Path::new(&plain).file_name().is_some_and(|file| file == plain.as_str());
            name = Some(plain).filter(|_| is_plain);
            name.as_ref().ok_or("a name is a path")?;
        } else if key.eq_ignore_ascii_case(b"seq") {
            number = num::parse_i64(value).and_then(|number| u64::try_from(number).ok());
        } else if key.eq_ignore_ascii_case(b"type") {
            part = match &value[..] {
                b"b" => Some(Part::Base),
                b"h" => Some(Part::History),
                b"i" => Some(Part::Increment),
                _ => return Err("there is no such type"),
            };
        }
        // Later versions may say more.
    }
    let name = name.ok_or("there is no name")?;
    let number = number.filter(|number| *number > 0).ok_or("there is no number")?;
    Ok((LogFile { name, number }, part.ok_or("there is no type")?))
}

/// A name in quotes, if it has to be.
fn quoted(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
    if name.bytes().all(is_plain) {
        return name.to_owned();
    }
    let mut text = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("strings can be written to"),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let file = |name: &str, number| LogFile { name: name.to_owned(), number };
        let manifest = Manifest {
            base: Some(file("a b\\\"ü.2.base.rdb", 2)),
            history: vec![file("log.1.base.rdb", 1), file("log.1.incr.aof", 1)],
            increments: vec![file("log.2.incr.aof", 2), file("log.5.incr.aof", 5)],
        };
        assert_eq!(Manifest::parse(manifest.text().as_bytes()).unwrap(), manifest);
        assert_eq!(manifest.next_number(Part::Increment), 6);
        let plain = Manifest { base: None, history: vec![], increments: vec![file("x.incr", 1)] };
        assert_eq!(plain.text(), "file x.incr seq 1 type i\n");
        assert_eq!(plain.next_number(Part::Base), 1);
        let told = b"# comment\n\nFILE x.incr SEQ 1 startoffset 0 type i\n";
        assert_eq!(Manifest::parse(told).unwrap(), plain, "what is unknown is passed over");
    }

    #[test]
    fn damage_is_told_with_its_line() {
        for (text, expected) in [
            ("", "line 1: it names no file"),
            ("file a seq 1 type b\nfile b seq 2 type b", "line 2: there are two bases"),
            ("file a seq 2 type i\nfile b seq 2 type i", "line 2: numbers have to ascend"),
            ("file a seq x type i", "line 1: there is no number"),
            ("file a seq 0 type i", "line 1: there is no number"),
            ("file a seq 1 type x", "line 1: there is no such type"),
            ("file a seq 1", "line 1: there is no type"),
            ("seq 1 type b", "line 1: there is no name"),
            ("file ../a seq 1 type b", "line 1: a name is a path"),
            ("file a seq 1 type", "line 1: a word is missing"),
            ("file \"a seq 1 type b", "line 1: quotes are not balanced"),
        ] {
            let error = Manifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{text}: {error}");
        }
    }
}
