//! Glob patterns as `KEYS`, `SCAN`, `PSUBSCRIBE` and `CONFIG GET` take them.
//!
//! Which patterns deserve a shortcut (`*` over all keys, a literal) is decided by the callers.
//!
//! The grammar: `*` any bytes, `?` one byte, `[a-z]` and `[^a-z]` classes, `\x` the byte itself; everything else stands for
//! itself. Nothing is malformed: a class without `]` ends with the pattern, a lone `\` at the end is itself.
//! Matching goes back only to the last `*` met (an earlier one can never help where the last one failed), so the
//! time is at most length of pattern times length of text.

use crate::alloc;
use crate::error::Result;

/// More stars than this, each followed by something, never match: the server's guard against hostile patterns.
const MAX_STARS: usize = 1000;

/// Whether `pattern` matches all of `text`; `nocase` ignores the case of ASCII letters.
///
/// As on the server, no pattern but the empty one matches the empty text, not even `*`.
/// O(pattern length x text length).
pub(crate) fn glob_matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut rest, mut at) = (pattern, 0);
    let mut last_star: Option<(&[u8], usize)> = None;
    let mut stars = 0;
    loop {
        if let [b'*', ..] = rest {
            rest = skip_stars(rest);
            if rest.is_empty() {
                return true;
            }
            stars += 1;
            if stars > MAX_STARS {
                return false;
            }
            last_star = Some((rest, at));
            continue;
        }
        if let Some(&byte) = text.get(at) {
            if let Some(after) = match_one(rest, byte, nocase) {
                (rest, at) = (after, at + 1);
                continue;
            }
        } else if rest.is_empty() {
            return true;
        } else {
            // The text is used up: a later start for the last star leaves even less of it.
            return false;
        }
        match &mut last_star {
            Some((after_star, start)) => {
                *start += 1;
                (rest, at) = (after_star, *start);
            }
            None => return false,
        }
    }
}

/// The pattern of what begins with `prefix`, but for the empty text.
///
/// # Errors
/// The system has no memory for it.
pub(crate) fn beginning_with(prefix: &[u8]) -> Result<Vec<u8>> {
    let mut pattern = alloc::with_room_for(2 * prefix.len() + 1)?;
    for byte in prefix {
        if b"*?[]\\".contains(byte) {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    Ok(pattern)
}

fn skip_stars(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| *byte != b'*').unwrap_or(pattern.len());
    &pattern[end..]
}

/// The pattern behind its first element, if that element (anything but a star) matches `byte`.
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
    match pattern {
        [] => None,
        [b'?', after @ ..] => Some(after),
        [b'[', b'^', class @ ..] => {
            let (found, after) = match_class(class, byte, nocase);
            (!found).then_some(after)
        }
        [b'[', class @ ..] => {
            let (found, after) = match_class(class, byte, nocase);
            found.then_some(after)
        }
        [b'\\', literal, after @ ..] | [literal, after @ ..] => {
            (fold(*literal) == fold(byte)).then_some(after)
        }
    }
}

/// Whether `byte` is in the class, and the pattern behind its `]`.
fn match_class(mut class: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let fold = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte };
    let mut found = false;
    loop {
        class = match class {
            [] => return (found, class),
            // An escaped byte keeps its case even where case is ignored.
            [b'\\', literal, after @ ..] => {
                found |= *literal == byte;
                after
            }
            [b']', after @ ..] => return (found, after),
            [first, b'-', last, after @ ..] => {
                // The ends are put in order before their case is folded.
                let (low, high) = (fold(*first.min(last)), fold(*first.max(last)));
                found |= (low..=high).contains(&fold(byte));
                after
            }
            [literal, after @ ..] => {
                found |= fold(*literal) == fold(byte);
                after
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// First line: texts, separated by tabs. Then lines of "pattern TAB indices of the keys KEYS answered".
    const SERVER_MATCHES: &str = include_str!("../tests/data/glob.txt");

    #[test]
    fn matches_are_the_servers() {
        let mut lines = SERVER_MATCHES.lines();
        let texts: Vec<&str> = lines.next().unwrap().split('\t').collect();
        let mut count = 0;
        for line in lines {
            let (pattern, expected) = line.split_once('\t').unwrap();
            if pattern == "*" {
                continue; // KEYS has a shortcut for it.
            }
            let found: Vec<String> = (0..texts.len())
                .filter(|index| glob_matches(pattern.as_bytes(), texts[*index].as_bytes(), false))
                .map(|index| index.to_string())
                .collect();
            let mut expected: Vec<&str> = expected.split_whitespace().collect();
            expected.sort_by_key(|index| index.parse::<usize>().unwrap());
            assert_eq!(found, expected, "{pattern:?}");
            count += 1;
        }
        assert!(count > 300);
    }

    #[test]
    fn case_is_folded_as_config_get_does() {
        for (pattern, expected) in [
            ("MAXMEMORY", true),
            ("m[A-z]xmemory", true),
            ("m[\\A]xmemory", false),
            ("M[\\a]xmemory", true),
            ("m[^\\A]xmemory", true),
            ("M[A]xmemory", true),
            ("m[^A]xmemory", false),
            ("m[Z-A]xmemory", true),
            ("[k-N]axmemory", false),
            ("m[@-b]xmemory", true),
            ("m[Z-b]xmemory", false),
            ("MAX[L-N]emory", true),
            ("m[\\\\A]xmemory", true),
        ] {
            assert_eq!(glob_matches(pattern.as_bytes(), b"maxmemory", true), expected, "{pattern}");
        }
    }

    #[test]
    fn a_thousand_stars_are_the_limit() {
        let matches = |pattern: &[u8], n| glob_matches(&pattern.repeat(n), &vec![b'a'; n], false);
        assert!(matches(b"*a", 1000));
        assert!(!matches(b"*a", 1001));
        assert!(matches(b"a*", 1001));
        assert!(!matches(b"a*", 1002));
    }

    #[test]
    fn hostile_patterns_take_polynomial_time() {
        let text = vec![b'a'; 20_000];
        assert!(!glob_matches(&b"a*".repeat(500).into_iter().chain(*b"b").collect::<Vec<_>>(), &text, false));
    }

    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|skip| by_definition(rest, &text[skip..])),
            ([], []) => true,
            (_, []) | ([], _) => false,
            ([b'?', rest @ ..], [_, text @ ..]) => by_definition(rest, text),
            ([literal, rest @ ..], [byte, text @ ..]) => literal == byte && by_definition(rest, text),
        }
    }

    proptest! {
        #[test]
        fn stars_mean_any_bytes(pattern in "[ab*?]{0,8}", text in "[ab]{1,8}") {
            prop_assert_eq!(
                glob_matches(pattern.as_bytes(), text.as_bytes(), false),
                by_definition(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn escaping_everything_matches_itself(text in prop::collection::vec(any::<u8>(), 1..20)) {
            let pattern: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert!(glob_matches(&pattern, &text, false));
            prop_assert!(glob_matches(&pattern, &text, true));
        }

        #[test]
        fn what_begins_with_a_prefix_matches(prefix: Vec<u8>, other: Vec<u8>) {
            let pattern = beginning_with(&prefix).unwrap();
            let begins = |text: &[u8]| !text.is_empty() && text.starts_with(&prefix);
            prop_assert_eq!(glob_matches(&pattern, &other, false), begins(&other));
            let longer = [prefix.as_slice(), &other].concat();
            prop_assert_eq!(glob_matches(&pattern, &longer, false), begins(&longer));
        }

        #[test]
        fn any_bytes_match_or_not_without_panic(pattern: Vec<u8>, text: Vec<u8>, nocase: bool) {
            glob_matches(&pattern, &text, nocase);
        }
    }
}
