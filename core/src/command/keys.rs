//! Finds the keys of an argv from the command's key specs, for what must know them without parsing:
//! EXEC's lock set, COMMAND GETKEYS, ACLs and tracking.

use super::spec::{ArgKind, ArgSpec, BeginSearch, FindKeys, KeyFlags, KeySpec, Spec};
use crate::num;

/// Calls `visit` with the position of each key in `argv` (name included) and its spec's flags.
///
/// Returns `false` where the arguments can't hold what the specs promise, such as a bad key count.
pub fn each_position(spec: &Spec, argv: &[&[u8]], mut visit: impl FnMut(usize, KeyFlags)) -> bool {
    spec.keys.iter().all(|key_spec| match positions(key_spec, argv) {
        Some(positions) => {
            positions.for_each(|position| visit(position, key_spec.flags));
            true
        }
        None => false,
    })
}

/// The positions of all keys of a call and what happens to them, as COMMAND GETKEYSANDFLAGS tells; more exact than the specs where the
/// arguments decide. `None` as in [`each_position`].
pub fn of_call(spec: &Spec, argv: &[&[u8]]) -> Option<Vec<(usize, KeyFlags)>> {
    let instead = |key_spec: &KeySpec| key_spec.flags.contains(KeyFlags::INCOMPLETE);
    match spec.keys {
        [one, many] if instead(many) => one_or_many(spec, [one, many], argv),
        _ => by_specs(spec, argv).or_else(|| by_count(spec, argv)),
    }
}

/// The keys of MIGRATE: many behind a keyword, before which there may be words of users, or else one, in whose place stands an empty word where there are many.
fn one_or_many(spec: &Spec, [one, many]: [&KeySpec; 2], argv: &[&[u8]]) -> Option<Vec<(usize, KeyFlags)>> {
    let BeginSearch::Index(place) = one.begin else { return None };
    let BeginSearch::Keyword(keyword, _) = many.begin else { return None };
    let is = |word: &[u8], token: &str| word.eq_ignore_ascii_case(token.as_bytes());
    let first_option = usize::try_from(-spec.arity).ok()?;
    let mut at = first_option;
    let keys = loop {
        match argv.get(at) {
            None => break 0..0,
            Some(word) if is(word, keyword) => break at + 1..argv.len(),
            Some(word) => at += 1 + usize::from(is(word, "AUTH")) + 2 * usize::from(is(word, "AUTH2")),
        }
    };
    if !keys.is_empty() && !argv.get(place)?.is_empty() {
        return None;
    }
    // The server looks for the last keyword with something behind it, too, and then finds no sense in this one.
    let is_last = at + 1 == argv.len() && is(argv[at], keyword);
    if is_last && argv[2..at].iter().any(|word| is(word, keyword)) {
        return None;
    }
    let keys = if keys.is_empty() { place..place + 1 } else { keys };
    Some(keys.map(|position| (position, one.flags)).collect())
}

/// The keys of a call that counts them by a word which is no number: as many as C's `atoi` makes of it. Of such keys the server tells nothing more.
fn by_count(spec: &Spec, argv: &[&[u8]]) -> Option<Vec<(usize, KeyFlags)>> {
    let counted = spec.keys.iter().find_map(|key_spec| match (key_spec.begin, key_spec.find) {
        // MSETEX, whose step is 2, has specs alone.
        (BeginSearch::Index(start), FindKeys::KeyNum { at, first, step: 1 }) => {
            Some((start + at, start + first))
        }
        _ => None,
    });
    let (count_at, first) = counted?;
    let count = usize::try_from(num::atoi(argv.get(count_at)?)).ok()?;
    let end = first.checked_add(count)?;
    let is_other = |key_spec: &&KeySpec| !matches!(key_spec.find, FindKeys::KeyNum { .. });
    let others = spec.keys.iter().filter(is_other).filter_map(|key_spec| positions(key_spec, argv)).flatten();
    let keys = (first..end).chain(others).map(|position| (position, KeyFlags::NONE));
    (count > 0 && end <= argv.len()).then(|| keys.collect())
}

fn by_specs(spec: &Spec, argv: &[&[u8]]) -> Option<Vec<(usize, KeyFlags)>> {
    let mut found = Vec::new();
    let is_of_keys = |key_spec: &&KeySpec| !key_spec.flags.contains(KeyFlags::NOT_KEY);
    for (index, key_spec) in spec.keys.iter().enumerate().filter(|(_, key_spec)| is_of_keys(key_spec)) {
        let flags = flags_of_call(spec, key_spec, argv);
        match key_spec.begin {
            BeginSearch::Unknown => {
                found.extend(behind_token(spec, index, argv).map(|position| (position, flags)))
            }
            BeginSearch::Keyword(..) if key_spec.flags.contains(KeyFlags::VARIABLE_FLAGS) => {
                let last =
                    behind_last_keyword(spec, argv).filter(|(index_of_last, _)| *index_of_last == index);
                found.extend(last.map(|(_, position)| (position, flags)));
            }
            _ => found.extend(positions(key_spec, argv)?.map(|position| (position, flags))),
        }
    }
    Some(found)
}

/// Variable flags are the most a command may do: one that reads the key only because of an optional GET overwrites it without.
fn flags_of_call(spec: &Spec, key_spec: &KeySpec, argv: &[&[u8]]) -> KeyFlags {
    let get = |arg: &ArgSpec| arg.kind == ArgKind::PureToken && arg.token == Some("GET");
    let has_get = || argv.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"GET"));
    if key_spec.flags.contains(KeyFlags::VARIABLE_FLAGS) && spec.args.iter().any(get) {
        let read = if has_get() { KeyFlags::RW.with(KeyFlags::ACCESS) } else { KeyFlags::OW };
        return read.with(KeyFlags::UPDATE);
    }
    let get_block = |arg: &ArgSpec| arg.args.iter().any(|arg| arg.token == Some("GET"));
    if key_spec.flags.contains(KeyFlags::VARIABLE_FLAGS)
        && spec.args.iter().any(get_block)
        && only_gets(argv.get(2..).unwrap_or_default())
    {
        return KeyFlags::RO.with(KeyFlags::ACCESS);
    }
    key_spec.flags.without(KeyFlags::INCOMPLETE.with(KeyFlags::VARIABLE_FLAGS))
}

/// Whether BITFIELD's operations only read.
fn only_gets(mut words: &[&[u8]]) -> bool {
    let is = |word: &[u8], token: &str| word.eq_ignore_ascii_case(token.as_bytes());
    loop {
        words = match words {
            [] => return true,
            [get, _, _, rest @ ..] if is(get, "GET") => rest,
            [overflow, _, rest @ ..] if is(overflow, "OVERFLOW") => rest,
            _ => return false,
        };
    }
}

/// The key behind the last of the keywords that a command may name one key by, and the spec that it is of: GEORADIUS stores once.
fn behind_last_keyword(spec: &Spec, argv: &[&[u8]]) -> Option<(usize, usize)> {
    let of_keyword = |word: &[u8], at: usize| {
        spec.keys.iter().position(|key_spec| match key_spec.begin {
            BeginSearch::Keyword(keyword, from) if key_spec.flags.contains(KeyFlags::VARIABLE_FLAGS) => {
                // The server looks a word earlier than it says.
                at >= usize::try_from(from).unwrap_or(0).min(5)
                    && word.eq_ignore_ascii_case(keyword.as_bytes())
            }
            _ => false,
        })
    };
    let (mut last, mut at) = (None, 0);
    while at + 1 < argv.len() {
        at += match of_keyword(argv[at], at) {
            // What stands behind it is a key, whatever it says.
            Some(index) => {
                last = Some((index, at + 1));
                2
            }
            None => 1,
        };
    }
    last
}

/// The key of an argument that may stand anywhere, behind its token; the last one counts. What stands behind the tokens of others is none.
fn behind_token(spec: &Spec, key_spec: usize, argv: &[&[u8]]) -> Option<usize> {
    let is_own = |arg: &ArgSpec| arg.kind == ArgKind::Key && arg.key_spec == Some(key_spec);
    let named = |word: &[u8]| {
        let is = |arg: &&ArgSpec| arg.token.is_some_and(|token| word.eq_ignore_ascii_case(token.as_bytes()));
        spec.args.iter().find(is)
    };
    let (mut last, mut at) = (None, 2);
    while let Some(word) = argv.get(at) {
        at += match named(word) {
            // The server looks at the key, too, as if it might be a token.
            Some(arg) if is_own(arg) => {
                last = (at + 1 < argv.len()).then_some(at + 1).or(last);
                1
            }
            Some(arg) if arg.kind == ArgKind::Block => 1 + arg.args.len(),
            Some(arg) if arg.kind != ArgKind::PureToken => 2,
            _ => 1,
        };
    }
    last
}

fn positions(spec: &KeySpec, argv: &[&[u8]]) -> Option<impl Iterator<Item = usize>> {
    let start = match spec.begin {
        BeginSearch::Index(index) => index,
        BeginSearch::Keyword(keyword, from) => match find_keyword(argv, keyword, from) {
            Some(position) => position + 1,
            // The keyword is optional: no keyword, no keys.
            None => return Some((0..0).step_by(1)),
        },
        BeginSearch::Unknown => return Some((0..0).step_by(1)),
    };
    match spec.find {
        FindKeys::Range { last, step, limit } => {
            let last = match last {
                last if last >= 0 => start + last as usize,
                -1 if limit > 1 => start + (argv.len().saturating_sub(start)) / limit - 1,
                last => argv.len().checked_add_signed(last as isize)?,
            };
            (start <= last && last < argv.len()).then(|| (start..last + 1).step_by(step))
        }
        FindKeys::KeyNum { at, first, step } => {
            let count = usize::try_from(num::parse_i64(argv.get(start + at)?)?).ok()?;
            let first = start + first;
            let last = first.checked_add(count.checked_sub(1)?.checked_mul(step)?)?;
            (last < argv.len()).then(|| (first..last + 1).step_by(step))
        }
        FindKeys::Unknown => Some((0..0).step_by(1)),
    }
}

fn find_keyword(argv: &[&[u8]], keyword: &str, from: i32) -> Option<usize> {
    let is_keyword = |position: &usize| argv[*position].eq_ignore_ascii_case(keyword.as_bytes());
    match usize::try_from(from) {
        Ok(from) => (from..argv.len()).find(is_keyword),
        Err(_) => (1..=argv.len().checked_add_signed(from as isize)?).rev().find(is_keyword),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(find: FindKeys, begin: BeginSearch, argv: &[&str]) -> Option<Vec<usize>> {
        let argv: Vec<&[u8]> = argv.iter().map(|word| word.as_bytes()).collect();
        positions(&KeySpec { begin, find, flags: KeyFlags::RO, notes: "" }, &argv).map(Iterator::collect)
    }

    #[test]
    fn ranges_count_from_both_ends() {
        let one = FindKeys::Range { last: 0, step: 1, limit: 0 };
        let all = FindKeys::Range { last: -1, step: 1, limit: 0 };
        let pairs = FindKeys::Range { last: -1, step: 2, limit: 0 };
        assert_eq!(found(one, BeginSearch::Index(1), &["get", "k"]), Some(vec![1]));
        assert_eq!(found(one, BeginSearch::Index(1), &["get"]), None);
        assert_eq!(found(all, BeginSearch::Index(1), &["del", "a", "b", "c"]), Some(vec![1, 2, 3]));
        assert_eq!(found(pairs, BeginSearch::Index(1), &["mset", "a", "1", "b", "2"]), Some(vec![1, 3]));
    }

    #[test]
    fn a_key_count_must_fit_the_arguments() {
        let counted = FindKeys::KeyNum { at: 0, first: 1, step: 1 };
        assert_eq!(found(counted, BeginSearch::Index(1), &["x", "2", "a", "b", "z"]), Some(vec![2, 3]));
        assert_eq!(found(counted, BeginSearch::Index(1), &["x", "3", "a", "b"]), None);
        assert_eq!(found(counted, BeginSearch::Index(1), &["x", "-1", "a"]), None);
        assert_eq!(found(counted, BeginSearch::Index(1), &["x", "0", "a"]), None);
        // What stands between the keys need not be there behind the last.
        let pairs = FindKeys::KeyNum { at: 0, first: 1, step: 2 };
        assert_eq!(found(pairs, BeginSearch::Index(1), &["x", "2", "a", "1", "b"]), Some(vec![2, 4]));
    }

    #[test]
    fn a_missing_keyword_means_no_keys() {
        let one = FindKeys::Range { last: 0, step: 1, limit: 0 };
        let store = BeginSearch::Keyword("STORE", 2);
        assert_eq!(found(one, store, &["sort", "k", "store", "d"]), Some(vec![3]));
        assert_eq!(found(one, store, &["sort", "k"]), Some(vec![]));
    }
}
