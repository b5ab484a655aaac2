//! Files of users: one line for each, `user`, the name and the rules.

use std::collections::BTreeMap;

use super::catalog::Catalog;
use super::rights::{Rights, RuleError, join_selectors};

/// The rights of users by their names.
pub(super) type Named = BTreeMap<Box<[u8]>, Rights>;

/// What a file says; `path` is its name in errors.
///
/// # Errors
/// Everything that is wrong, in one line.
pub(super) fn parse(
    text: &[u8],
    path: &str,
    catalog: &Catalog,
    all_channels: bool,
) -> Result<Named, Vec<u8>> {
    let mut users = Named::new();
    let mut errors: Vec<u8> = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = at + 1;
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let [b"user", name, rules @ ..] = &words[..] else {
            let wrong = "should start with user keyword followed by the username";
            errors.extend_from_slice(format!("{path}:{number} {wrong}. ").as_bytes());
            continue;
        };
        if name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b)) {
            errors.extend_from_slice(
                format!("'{path}:{number}: username '{}' contains invalid characters. ", name.escape_ascii())
                    .as_bytes(),
            );
            continue;
        }
        if users.contains_key(*name) {
            let name = String::from_utf8_lossy(name);
            errors.extend_from_slice(
                format!("WARNING: Duplicate user '{name}' found on line {number}. ").as_bytes(),
            );
            continue;
        }
        let mut rights = Rights::none(catalog, all_channels);
        let Ok(rules) = join_selectors(rules) else {
            errors.extend_from_slice(
                format!("{path}:{number}: Unmatched parenthesis in selector definition. ").as_bytes(),
            );
            continue;
        };
        let mut has_failed = false;
        for rule in rules {
            match rights.apply(rule.trim_ascii(), catalog, all_channels) {
                Ok(()) => {}
                // A name may be one of another version's commands: all of them are told.
                Err(error @ RuleError::Unknown) => {
                    let operation = String::from_utf8_lossy(&rule).into_owned();
                    errors.extend_from_slice(
                        format!(
                            "{path}:{number}: Error in applying operation '{operation}': {}. ",
                            error.text()
                        )
                        .as_bytes(),
                    );
                }
                Err(error) if !has_failed => {
                    has_failed = true;
                    errors.extend_from_slice(format!("{path}:{number}: {}. ", error.text()).as_bytes());
                }
                Err(_) => {}
            }
        }
        users.insert((*name).into(), rights);
    }
    if errors.is_empty() { Ok(users) } else { Err(errors) }
}
