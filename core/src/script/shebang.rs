//! The first line of a script: its language, and its flags.

use super::digest_of;
use crate::alloc;
use crate::error::{Error, Result};
use crate::resp::split_line;
use crate::scripts::{Script, ScriptFlags};

/// A script of this text.
///
/// # Errors
/// Its first line is one that tells flags, and tells them wrongly.
pub(crate) fn parse(body: &[u8]) -> Result<Script> {
    let digest = digest_of(body);
    let (code_at, flags) = match body.strip_prefix(b"#!") {
        Some(_) => {
            let end = memchr::memchr(b'\n', body).ok_or_else(|| Error::command("Invalid script shebang"))?;
            (end, Some(flags_of(&body[2..end])?))
        }
        None => (0, None),
    };
    Ok(Script { digest, body: alloc::boxed(body)?, code_at, flags })
}

/// The flags in a line behind its `#!`.
fn flags_of(line: &[u8]) -> Result<ScriptFlags> {
    // The name of the language may be missing, so the words are split with the mark.
    let words = split_line(&[b"#!", line].concat());
    let words = words.map_err(|_| Error::command("Invalid engine in script shebang"))?;
    let mut flags = ScriptFlags::default();
    for word in words.iter().skip(1) {
        let Some(names) = word.strip_prefix(b"flags=") else {
            return Err(Error::repeating("Unknown lua shebang option: ", word, ""));
        };
        if names.is_empty() {
            continue;
        }
        for name in names.split(|byte| *byte == b',') {
            let flag = ScriptFlags::from_name(name);
            flags = flags
                .with(flag.ok_or_else(|| Error::repeating("Unexpected flag in script shebang: ", name, ""))?);
        }
    }
    let engine = words.first().map_or(&b""[..], |word| &word[2..]);
    if !engine.eq_ignore_ascii_case(b"lua") {
        return Err(Error::repeating("Could not find scripting engine '", engine, "'"));
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_where_the_code_begins() {
        let script = parse(b"#!lua flags=no-writes,allow-oom\nreturn 1").unwrap();
        assert_eq!(script.code(), b"\nreturn 1");
        assert_eq!(script.flags.unwrap().names().collect::<Vec<_>>(), ["no-writes", "allow-oom"]);
        assert_eq!(parse(b"return 1").unwrap().flags, None);
        let refused = |text: &[u8]| parse(text).unwrap_err().to_string();
        assert_eq!(refused(b"#!lua"), "ERR Invalid script shebang");
        assert_eq!(refused(b"#!lua 'x\n"), "ERR Invalid engine in script shebang");
        assert_eq!(refused(b"#! lua\n"), "ERR Unknown lua shebang option: lua");
        assert_eq!(refused(b"#!\n"), "ERR Could not find scripting engine ''");
    }
}
