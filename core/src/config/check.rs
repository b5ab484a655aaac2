//! Checks of string options beyond their being strings, with the server's words for what is wrong.
//!
//! Which option has which check is said in the table.

use std::{fs, net, str};

use super::schedule::Schedule;

/// Says what is wrong with a value, or nothing.
pub(crate) type Check = fn(&[u8]) -> Result<(), String>;

pub(super) fn anything(_: &[u8]) -> Result<(), String> {
    Ok(())
}

pub(super) fn db_file_name(value: &[u8]) -> Result<(), String> {
    plain_name(value, "dbfilename", "filename")
}

pub(super) fn append_file_name(value: &[u8]) -> Result<(), String> {
    plain_name(value, "appendfilename", "filename")
}

pub(super) fn append_dir_name(value: &[u8]) -> Result<(), String> {
    plain_name(value, "appenddirname", "dirname")
}

fn plain_name(value: &[u8], option: &str, what: &str) -> Result<(), String> {
    if value.is_empty() {
        Err(format!("{option} can't be empty"))
    } else if value.contains(&b'/') || value.contains(&b'\\') {
        Err(format!("{option} can't be a path, just a {what}"))
    } else {
        Ok(())
    }
}

pub(super) fn schedule(value: &[u8]) -> Result<(), String> {
    Schedule::parse(value).map(drop)
}

pub(super) fn directory(value: &[u8]) -> Result<(), String> {
    if value.is_empty() {
        return Err("dir can't be empty".to_owned());
    }
    let missing = || "No such file or directory".to_owned();
    let path = str::from_utf8(value).map_err(|_| missing())?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err("Not a directory".to_owned()),
        Err(_) => Err(missing()),
    }
}

/// Where a folder is, whatever folder the process goes to.
pub(super) fn full_path(value: &[u8]) -> Result<Vec<u8>, String> {
    let path = str::from_utf8(value).map_err(|error| error.to_string())?;
    let path = fs::canonicalize(path).map_err(|error| error.to_string())?;
    Ok(path.into_os_string().into_encoded_bytes())
}

pub(super) fn ipv4(value: &[u8]) -> Result<(), String> {
    address::<net::Ipv4Addr>(value, "Invalid IPv4 address")
}

pub(super) fn ipv6(value: &[u8]) -> Result<(), String> {
    address::<net::Ipv6Addr>(value, "Invalid IPv6 address")
}

fn address<T: str::FromStr>(value: &[u8], error: &str) -> Result<(), String> {
    let valid = value.is_empty() || str::from_utf8(value).is_ok_and(|text| text.parse::<T>().is_ok());
    if valid { Ok(()) } else { Err(error.to_owned()) }
}

pub(super) fn host_name(value: &[u8]) -> Result<(), String> {
    // The server compares C strings.
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    if value.len() >= 256 {
        return Err("Hostnames must be less than 256 characters".to_owned());
    }
    if value.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')) {
        return Ok(());
    }
    Err("Hostnames may only contain alphanumeric characters, hyphens or dots".to_owned())
}

pub(super) fn node_name(value: &[u8]) -> Result<(), String> {
    const FORBIDDEN: &[u8] = b"!#$%&()*+:;<>?@[]^{|}~\n\r\0\"'\\/=,";
    if value.iter().any(|byte| FORBIDDEN.contains(byte)) {
        return Err("Announced human node name contained invalid character".to_owned());
    }
    Ok(())
}

pub(super) fn locale(value: &[u8]) -> Result<(), String> {
    // Only the locale of bytes exists in an embedded engine; the empty name means it too.
    if matches!(value, b"" | b"C" | b"POSIX") { Ok(()) } else { Err("Invalid locale name".to_owned()) }
}

pub(super) fn title_template(value: &[u8]) -> Result<(), String> {
    const VARIABLES: [&str; 7] =
        ["title", "listen-addr", "server-mode", "port", "tls-port", "unixsocket", "config-file"];
    let invalid = || "template format is invalid or contains unknown variables".to_owned();
    let text = String::from_utf8_lossy(value);
    if text.is_empty() {
        return Err(invalid());
    }
    let mut rest = &*text;
    while let Some((_, after)) = rest.split_once('{') {
        let after = after.strip_prefix('{').unwrap_or(after);
        let (variable, after) = after.split_once('}').ok_or_else(invalid)?;
        if !VARIABLES.contains(&variable) {
            return Err(invalid());
        }
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_speak_the_servers_words() {
        let error = |check: Check, value: &str| check(value.as_bytes()).err();
        assert_eq!(
            error(db_file_name, "a/b").as_deref(),
            Some("dbfilename can't be a path, just a filename")
        );
        assert_eq!(error(db_file_name, "").as_deref(), Some("dbfilename can't be empty"));
        assert_eq!(
            error(append_dir_name, "a/b").as_deref(),
            Some("appenddirname can't be a path, just a dirname")
        );
        assert_eq!(error(directory, "/no/such").as_deref(), Some("No such file or directory"));
        assert_eq!(error(directory, "/"), None);
        assert_eq!(error(ipv4, "x").as_deref(), Some("Invalid IPv4 address"));
        assert_eq!(error(ipv4, "1.2.3.4"), None);
        assert_eq!(error(ipv6, "::1"), None);
        assert_eq!(error(host_name, "a-b.c"), None);
        assert!(error(host_name, "a_b").is_some());
        assert!(error(host_name, &"a".repeat(256)).is_some());
        assert!(error(node_name, "#!").is_some());
        assert_eq!(error(node_name, "a b"), None);
        assert!(error(locale, "xx").is_some());
    }

    #[test]
    fn title_templates_name_known_variables() {
        for (template, valid) in [
            ("{title} {listen-addr} {server-mode}", true),
            ("x", true),
            ("{x}", false),
            ("{", false),
            ("", false),
            ("}", true),
        ] {
            assert_eq!(title_template(template.as_bytes()).is_ok(), valid, "{template}");
        }
    }
}
