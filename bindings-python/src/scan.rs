//! Walking over keys that begin alike: counting, deleting, and listing them in pages.
//!
//! All of it is SCAN: a key that exists throughout is met, one that comes or goes meanwhile may be.

use keystead::command::tape::Item;

use crate::sessions::Sessions;

/// Keys asked for at a time.
const PAGE: &[u8] = b"1000";

/// A page of keys and the cursor of the next, 0 at the end.
pub fn page(sessions: &Sessions, cursor: u64, prefix: &[u8]) -> (u64, Vec<Vec<u8>>) {
    let mut session = sessions.take();
    let (cursor, pattern) = (cursor.to_string(), pattern(prefix));
    let reply = session.execute(&[b"SCAN", cursor.as_bytes(), b"MATCH", &pattern, b"COUNT", PAGE]);
    let page = read_page(reply);
    sessions.give(session);
    page
}

fn read_page(tape: &[u8]) -> (u64, Vec<Vec<u8>>) {
    let Some((Item::Array(parts), _)) = Item::read(tape) else { return (0, Vec::new()) };
    let [Item::Bulk(cursor), Item::Array(keys)] = parts.as_slice() else { return (0, Vec::new()) };
    let next = std::str::from_utf8(cursor).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let name = |item: &Item<'_>| match item {
        Item::Bulk(key) => Some(key.to_vec()),
        _ => None,
    };
    (next, keys.iter().filter_map(name).collect())
}

/// Calls `visit` with every page.
fn each_page(sessions: &Sessions, prefix: &[u8], mut visit: impl FnMut(Vec<Vec<u8>>)) {
    let mut cursor = 0;
    loop {
        let (next, keys) = page(sessions, cursor, prefix);
        visit(keys);
        if next == 0 {
            return;
        }
        cursor = next;
    }
}

/// Number of keys with a prefix. O(all keys).
pub fn count(sessions: &Sessions, prefix: &[u8]) -> usize {
    let mut seen = std::collections::HashSet::new();
    // A key can be met twice while the table grows.
    each_page(sessions, prefix, |keys| seen.extend(keys));
    seen.len()
}

/// Deletes the keys with a prefix and returns how many there were. O(all keys).
pub fn delete(sessions: &Sessions, prefix: &[u8]) -> usize {
    let mut deleted = 0;
    each_page(sessions, prefix, |keys| {
        if keys.is_empty() {
            return;
        }
        let mut session = sessions.take();
        let mut argv: Vec<&[u8]> = vec![b"UNLINK"];
        argv.extend(keys.iter().map(Vec::as_slice));
        if let Some((Item::Integer(count), _)) = Item::read(session.execute(&argv)) {
            deleted += count as usize;
        }
        sessions.give(session);
    });
    deleted
}

/// Deletes all keys of the sessions' database and returns how many there were.
pub fn delete_all(sessions: &Sessions) -> usize {
    let mut session = sessions.take();
    let count = match Item::read(session.execute(&[b"DBSIZE"])) {
        Some((Item::Integer(count), _)) => count as usize,
        _ => 0,
    };
    session.execute(&[b"FLUSHDB"]);
    sessions.give(session);
    count
}

/// The glob pattern of a prefix.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(*byte);
    }
    pattern.push(b'*');
    pattern
}
