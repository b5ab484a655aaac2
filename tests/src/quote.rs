//! Splits and quotes command lines as valkey-cli does: bare words, "double quotes with \escapes", 'single quotes'.
//!
//! What a line means is the script parser's business.

/// Splits a line into binary-safe words.
///
/// Within double quotes `\n \r \t \a \b \\ \"` and `\xHH` are escapes; within single quotes only `\'` is one.
///
/// # Errors
/// A quote that is not closed, or is followed by anything but white space.
pub fn split(line: &str) -> Result<Vec<Vec<u8>>, String> {
    let bytes = line.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(u8::is_ascii_whitespace) {
            at += 1;
        }
        if at >= bytes.len() {
            return Ok(words);
        }
        let (word, next) = word(bytes, at).ok_or_else(|| format!("unbalanced quotes in: {line}"))?;
        words.push(word);
        at = next;
    }
}

fn word(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut word = Vec::new();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' => break,
            b'"' | b'\'' => {
                at = quoted(bytes, at + 1, byte, &mut word)?;
                if bytes.get(at).is_some_and(|next| !next.is_ascii_whitespace()) {
                    return None;
                }
            }
            _ => {
                word.push(byte);
                at += 1;
            }
        }
    }
    Some((word, at))
}

/// Reads up to the closing quote and returns the position behind it.
fn quoted(bytes: &[u8], mut at: usize, quote: u8, word: &mut Vec<u8>) -> Option<usize> {
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        match byte {
            b'\\' if quote == b'"' => at = escape(bytes, at, word)?,
            b'\\' if bytes.get(at) == Some(&b'\'') => {
                word.push(b'\'');
                at += 1;
            }
            _ if byte == quote => return Some(at),
            _ => word.push(byte),
        }
    }
}

fn escape(bytes: &[u8], at: usize, word: &mut Vec<u8>) -> Option<usize> {
    let byte = *bytes.get(at)?;
    if byte == b'x' {
        let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
        word.push(u8::from_str_radix(digits, 16).ok()?);
        return Some(at + 3);
    }
    word.push(match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 7,
        b'b' => 8,
        other => other,
    });
    Some(at + 1)
}

/// Bytes in double quotes, escaped so that [`split`] reads them back.
pub fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            32..=126 => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// A command line of the script format: bare words where possible, quoted ones elsewhere.
pub fn line(words: &[Vec<u8>]) -> String {
    let plain = |w: &[u8]| !w.is_empty() && w.iter().all(|b| b.is_ascii_graphic() && !b"\"'\\#[".contains(b));
    let shown =
        words.iter().map(|w| if plain(w) { String::from_utf8_lossy(w).into_owned() } else { quote(w) });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_valkey_cli_does() {
        let words = split(r#"SET "a \x00\"b" 'c\'d\n' e"#).unwrap();
        assert_eq!(words, [b"SET".to_vec(), b"a \0\"b".to_vec(), b"c'd\\n".to_vec(), b"e".to_vec()]);
        assert_eq!(split("GET \"\"").unwrap(), [b"GET".to_vec(), Vec::new()]);
        assert!(split("GET \"a").is_err());
        assert!(split("GET \"a\"b").is_err());
    }

    #[test]
    fn quoting_reads_back() {
        let all: Vec<u8> = (0..=255).collect();
        let words = [all, b"bare".to_vec(), Vec::new(), b"#x".to_vec()];
        assert_eq!(split(&line(&words)).unwrap(), words);
    }
}
