//! Splitting a line into arguments with Valkey's quoting rules: inline requests and lines of `valkey.conf`.
//!
//! Finding the line is the caller's task.
//!
//! Arguments are separated by white space. `"..."` knows `\n \r \t \b \a \xHH` and `\` before any other byte as that byte;
//! `'...'` knows only `\'`. Quotes may open and close within a word.

use std::ops::Range;

/// A quote was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnbalancedQuotes;

/// Splits `line` into owned arguments. O(length).
pub(crate) fn split_line(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let mut line = line.to_vec();
    let mut ranges = Vec::new();
    let end = line.len();
    split_in_place(&mut line, 0..end, &mut ranges)?;
    Ok(ranges.into_iter().map(|range| line[range].to_vec()).collect())
}

/// Splits `buf[line]` into arguments, decoding quotes and escapes where they stand (a decoded argument is never longer), and
/// appends each argument's place to `args`. On an error the bytes of the line are unspecified.
pub(super) fn split_in_place(
    buf: &mut [u8],
    line: Range<usize>,
    args: &mut Vec<Range<usize>>,
) -> Result<(), UnbalancedQuotes> {
    let base = line.start;
    let mut word = Word { line: &mut buf[line], read: 0, write: 0 };
    while word.skip_space() {
        let start = word.read;
        word.write = start;
        word.decode()?;
        args.push(base + start..base + word.write);
    }
    Ok(())
}

struct Word<'a> {
    line: &'a mut [u8],
    read: usize,
    write: usize,
}

impl Word<'_> {
    fn skip_space(&mut self) -> bool {
        while self.peek(0).is_some_and(is_space) {
            self.read += 1;
        }
        // A NUL ends the line, as it ends a C string.
        !matches!(self.peek(0), None | Some(0))
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.line.get(self.read + ahead).copied()
    }

    fn put(&mut self, byte: u8, taken: usize) {
        self.line[self.write] = byte;
        self.write += 1;
        self.read += taken;
    }

    fn decode(&mut self) -> Result<(), UnbalancedQuotes> {
        loop {
            match self.peek(0) {
                // Vertical tab and form feed separate words only at their beginning.
                None | Some(b' ' | b'\n' | b'\r' | b'\t' | 0) => return Ok(()),
                Some(b'"') => self.decode_double_quoted()?,
                Some(b'\'') => self.decode_single_quoted()?,
                Some(byte) => self.put(byte, 1),
            }
        }
    }

    fn decode_double_quoted(&mut self) -> Result<(), UnbalancedQuotes> {
        self.read += 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None | Some(0), _) => return Err(UnbalancedQuotes),
                (Some(b'"'), _) => {
                    self.read += 1;
                    return Ok(());
                }
                (Some(b'\\'), Some(b'x')) => match (self.hex(2), self.hex(3)) {
                    (Some(high), Some(low)) => self.put(high << 4 | low, 4),
                    _ => self.put(b'x', 2),
                },
                (Some(b'\\'), Some(escaped)) if escaped != 0 => self.put(unescape(escaped), 2),
                (Some(byte), _) => self.put(byte, 1),
            }
        }
    }

    fn decode_single_quoted(&mut self) -> Result<(), UnbalancedQuotes> {
        self.read += 1;
        loop {
            match (self.peek(0), self.peek(1)) {
                (None | Some(0), _) => return Err(UnbalancedQuotes),
                (Some(b'\\'), Some(b'\'')) => self.put(b'\'', 2),
                (Some(b'\''), _) => {
                    self.read += 1;
                    return Ok(());
                }
                (Some(byte), _) => self.put(byte, 1),
            }
        }
    }

    fn hex(&self, ahead: usize) -> Option<u8> {
        self.peek(ahead).and_then(|byte| (byte as char).to_digit(16)).map(|digit| digit as u8)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_the_server_takes() {
        for (line, expected) in [
            (&br#"ECHO "a b""#[..], &[&b"ECHO"[..], b"a b"][..]),
            (br#"ECHO "a\x41\n\r\t\b\a\q\"\\""#, &[b"ECHO", b"aA\n\r\t\x08\x07q\"\\"]),
            (br"ECHO 'a\'b\n'", &[b"ECHO", b"a'b\\n"]),
            (br#"ECHO a"b""#, &[b"ECHO", b"ab"]),
            (br#"ECHO "a"b"#, &[b"ECHO", b"ab"]),
            (br#"ECHO 'a'b"c"'d'"#, &[b"ECHO", b"abcd"]),
            (b"  ECHO   a  \r", &[b"ECHO", b"a"]),
            (b"\tECHO\ta", &[b"ECHO", b"a"]),
            (b"ECHO a\rb", &[b"ECHO", b"a", b"b"]),
            (b"ECHO a\x0bb", &[b"ECHO", b"a\x0bb"]),
            (b"ECHO \x0bb", &[b"ECHO", b"b"]),
            (b"ECHO a\x0c", &[b"ECHO", b"a\x0c"]),
            (b"ECHO \"a\"\x0b", &[b"ECHO", b"a\x0b"]),
            (br#"ECHO a"b c"d"#, &[b"ECHO", b"ab cd"]),
            (br#"ECHO """#, &[b"ECHO", b""]),
            (b"ECHO ''", &[b"ECHO", b""]),
            (br#"ECHO "\xzz\x4""#, &[b"ECHO", b"xzzx4"]),
            (b"   ", &[]),
            (b"", &[]),
        ] {
            assert_eq!(split_line(line).unwrap(), expected, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn lines_the_server_refuses() {
        for line in [
            r#"ECHO "a"#,
            "ECHO 'a",
            r#"ECHO a"b"#,
            "ECHO it's",
            r#"ECHO "a\"#,
            r"ECHO 'a\",
            "ECHO 'a'\t'b",
            r#"foo" "#,
        ] {
            assert_eq!(split_line(line.as_bytes()), Err(UnbalancedQuotes), "{line}");
        }
    }

    proptest! {
        #[test]
        fn quoting_every_byte_gives_it_back(words in prop::collection::vec(any::<Vec<u8>>(), 0..5)) {
            let mut line = Vec::new();
            for word in &words {
                line.push(b'"');
                for byte in word {
                    line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
                }
                line.extend_from_slice(b"\" ");
            }
            prop_assert_eq!(split_line(&line).unwrap(), words);
        }

        #[test]
        fn any_bytes_split_or_not_without_panic(line in "[ab\"'\\\\ \\x00x0]{0,20}") {
            let _ = split_line(line.as_bytes());
        }
    }
}
