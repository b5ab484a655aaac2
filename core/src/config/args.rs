//! Command-line arguments as lines of configuration, the way the server takes them.
//!
//! The path of the configuration file in front of them is cut off by the caller, who appends these lines to the file's text.

use crate::resp::split_line;

/// Turns `--name value ...` into lines, one for each option, to be parsed behind the file's text.
///
/// What follows an option is its value even if it begins with dashes; further arguments are values until the next
/// that begins with `--`. An option may hold its values itself (`"--port 6380"`). `--save` without a value is `save ""`.
pub(crate) fn args_to_text<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut value_follows = false;
    for (index, arg) in args.iter().enumerate() {
        match arg.as_ref().strip_prefix(b"--") {
            Some(option) if !value_follows => {
                text.push(b'\n');
                text.extend_from_slice(option);
                text.push(b' ');
                let alone = split_line(option).is_ok_and(|words| words.len() == 1);
                let next_is_option = args.get(index + 1).is_none_or(|next| next.as_ref().starts_with(b"--"));
                if option.eq_ignore_ascii_case(b"save") && next_is_option {
                    text.extend_from_slice(b"\"\"");
                } else {
                    value_follows = alone;
                }
            }
            _ => {
                write_quoted(&mut text, arg.as_ref());
                text.push(b' ');
                value_follows = false;
            }
        }
    }
    text
}

/// Appends `text` in double quotes, with the escapes that [`split_line`] reads.
pub(super) fn write_quoted(buf: &mut Vec<u8>, text: &[u8]) {
    buf.push(b'"');
    for byte in text {
        match byte {
            b'\\' | b'"' => buf.extend_from_slice(&[b'\\', *byte]),
            b'\n' => buf.extend_from_slice(b"\\n"),
            b'\r' => buf.extend_from_slice(b"\\r"),
            b'\t' => buf.extend_from_slice(b"\\t"),
            7 => buf.extend_from_slice(b"\\a"),
            8 => buf.extend_from_slice(b"\\b"),
            b' '..=b'~' => buf.push(*byte),
            other => buf.extend_from_slice(format!("\\x{other:02x}").as_bytes()),
        }
    }
    buf.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_the_servers() {
        for (args, text) in [
            (&["--hz", "bad"][..], "\nhz \"bad\" "),
            (&["--hz", "10", "20"], "\nhz \"10\" \"20\" "),
            (&["--hz 10", "--port"], "\nhz 10 \nport "),
            (&["--port", "7807", "--hz", "x"], "\nport \"7807\" \nhz \"x\" "),
            (&["--appendonly", "--hz", "x"], "\nappendonly \"--hz\" \"x\" "),
            (&["--save", "--hz", "x"], "\nsave \"\"\nhz \"x\" "),
            (&["--save", "900", "1", "--hz", "x"], "\nsave \"900\" \"1\" \nhz \"x\" "),
            (&["--save", "", "--hz", "x"], "\nsave \"\" \nhz \"x\" "),
            (&["--requirepass", "\"", "--hz", "x"], "\nrequirepass \"\\\"\" \nhz \"x\" "),
            (&["--proc-title-template", "--x", "--hz", "x"], "\nproc-title-template \"--x\" \nhz \"x\" "),
            (&["--hz", "-1"], "\nhz \"-1\" "),
        ] {
            assert_eq!(String::from_utf8(args_to_text(args)).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn quoted_text_reads_back(text: Vec<u8>) {
            let mut quoted = Vec::new();
            write_quoted(&mut quoted, &text);
            prop_assert_eq!(split_line(&quoted).unwrap(), [text]);
        }
    }
}
