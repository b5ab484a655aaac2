//! Frames of a log: what is written to a file at one time stands behind a line that tells its length and its checksum. So whoever opens it knows what of its end
//! has reached the disk: after a power loss any part of what was not synced may be missing, from the middle of a value, too.
//!
//! **The line** is a note, which servers pass over: `#KS:PLACE:LENGTH:SYNCED:CHECKSUM` and CR LF. The place is that of the bytes behind it in the whole log, from
//! one increment to the next, without such lines; so a gap between two files is noticed, too. Up to `SYNCED` all was on the disk. So damage can be told from
//! what never got there: a frame that is not as it should be, though a later one says that it was synced, is damage.
//!
//! Files of servers have no frames, and a server that goes on in a file of ours adds none: what is behind our last frame and begins as commands do is a
//! server's ([`Rest::Foreign`]).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use rapidhash::v3::{RapidSecrets, rapidhash_v3_micro_inline};

/// What a line begins with.
const MARK: &[u8] = b"#KS:";

/// More bytes than a line has.
pub(super) const LONGEST_HEAD: usize = 100;

/// The line before bytes that belong at `place`, when all was synced up to another one.
pub(super) fn head(place: u64, synced: u64, bytes: &[u8]) -> Vec<u8> {
    let checksum = checksum(place, synced, bytes);
    format!("#KS:{place}:{}:{synced}:{checksum:016x}\r\n", bytes.len()).into_bytes()
}

fn checksum(place: u64, synced: u64, bytes: &[u8]) -> u64 {
    let secrets = RapidSecrets::seed(0x6b65_7973_7465_6164);
    let own = rapidhash_v3_micro_inline::<true, false>(bytes, &secrets);
    let numbers = [own, place, bytes.len() as u64, synced].map(u64::to_le_bytes);
    rapidhash_v3_micro_inline::<true, false>(numbers.as_flattened(), &secrets)
}

/// What a line says.
struct Head {
    place: u64,
    len: u64,
    synced: u64,
    checksum: u64,
}

impl Head {
    fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line.strip_prefix(MARK)?.strip_suffix(b"\r\n")?).ok()?;
        let mut words = line.split(':');
        let mut number = |radix| u64::from_str_radix(words.next()?, radix).ok();
        let head = Self { place: number(10)?, len: number(10)?, synced: number(10)?, checksum: number(16)? };
        words.next().is_none().then_some(head)
    }
}

/// What is behind the last frame that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rest {
    Nothing,
    /// What was not written whole.
    Torn,
    /// Commands that a server has appended.
    Foreign,
    /// A frame that was on the disk once.
    Damaged,
}

/// What a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Framed {
    /// Bytes up to the end of the last frame that is whole.
    pub(super) whole: u64,
    pub(super) len: u64,
    /// The places where the first frame begins, and where the last one that is whole ends; `None` if there is none.
    pub(super) places: Option<(u64, u64)>,
    /// Up to where all was on the disk, as far as a frame says.
    pub(super) synced: u64,
    pub(super) rest: Rest,
}

/// Looks at all frames of a file. One of a server, which has none, is [`Rest::Foreign`] from its beginning. O(bytes).
///
/// # Errors
/// It can't be read.
pub(super) fn look(path: &Path) -> io::Result<Framed> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut source = BufReader::with_capacity(256 << 10, file);
    let mut found = Framed { whole: 0, len, places: None, synced: 0, rest: Rest::Nothing };
    let (mut line, mut bytes, mut at) = (Vec::new(), Vec::new(), 0);
    // Where what is not as it should be begins.
    let mut torn = None;
    while at < len {
        line.clear();
        source.by_ref().take(LONGEST_HEAD as u64).read_until(b'\n', &mut line)?;
        let Some(head) = Head::parse(&line).filter(|head| head.len <= len - at - line.len() as u64) else {
            let is_foreign = torn.is_none() && is_of_server(&line);
            found.rest = if is_foreign { Rest::Foreign } else { Rest::Torn };
            break;
        };
        bytes.clear();
        source.by_ref().take(head.len).read_to_end(&mut bytes)?;
        at += line.len() as u64 + head.len;
        let is_whole = checksum(head.place, head.synced, &bytes) == head.checksum;
        match torn {
            None if is_whole && found.places.is_none_or(|places| places.1 == head.place) => {
                let start = found.places.map_or(head.place, |places| places.0);
                found.places = Some((start, head.place + head.len));
                found.whole = at;
                found.synced = found.synced.max(head.synced);
            }
            // One behind it may say that this was on the disk.
            None => {
                torn = Some(found.places.map_or(head.place, |places| places.1));
                found.rest = Rest::Torn;
            }
            Some(torn) if is_whole && head.synced > torn => {
                found.rest = Rest::Damaged;
                break;
            }
            Some(_) => {}
        }
    }
    Ok(found)
}

/// Whether what begins so is a command, a note, or a snapshot, as servers write them.
fn is_of_server(start: &[u8]) -> bool {
    [&b"*"[..], b"#TS:", b"REDIS", b"VALKEY"].iter().any(|beginning| start.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(pieces: &[(&[u8], u64)]) -> Vec<u8> {
        let (mut all, mut place) = (Vec::new(), 0);
        for (bytes, synced) in pieces {
            all.extend(head(place, *synced, bytes));
            all.extend_from_slice(bytes);
            place += bytes.len() as u64;
        }
        all
    }

    fn look_at(bytes: &[u8]) -> Framed {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, bytes).unwrap();
        look(&path).unwrap()
    }

    #[test]
    fn what_is_whole_is_told_from_what_is_not() {
        let (first, both) = (framed(&[(b"first", 0)]), framed(&[(b"first", 0), (b"second", 0)]));
        let found = look_at(&both);
        assert_eq!(
            (found.whole, found.places, found.rest),
            (both.len() as u64, Some((0, 11)), Rest::Nothing)
        );
        for len in first.len() + 1..both.len() {
            let found = look_at(&both[..len]);
            let expected = (first.len() as u64, Some((0, 5)), Rest::Torn);
            assert_eq!((found.whole, found.places, found.rest), expected, "{len}");
            let mut zeroes = both[..len].to_vec();
            zeroes.resize(both.len() + 600, 0);
            assert_eq!(look_at(&zeroes).rest, Rest::Torn, "{len}");
        }
        for byte in 0..first.len() {
            let mut changed = both.clone();
            changed[byte] ^= 0x40;
            let found = look_at(&changed);
            assert_eq!((found.whole, found.places, found.rest), (0, None, Rest::Torn), "{byte}");
        }
        assert_eq!(look_at(b"").rest, Rest::Nothing);
        assert_eq!(look_at(&[0; 700]).rest, Rest::Torn);
    }

    #[test]
    fn what_was_synced_is_damaged_if_it_is_not_as_it_was() {
        let mut all = framed(&[(b"first", 0), (b"second", 0), (b"", 11)]);
        assert_eq!(look_at(&all).synced, 11);
        for at in [b"first", b"secon"] {
            let at = all.windows(5).position(|bytes| bytes == at).unwrap();
            all[at] ^= 1;
            assert_eq!(look_at(&all).rest, Rest::Damaged);
            all[at] ^= 1;
        }
    }

    #[test]
    fn what_a_server_writes_is_left_to_it() {
        for text in [&b"*1\r\n$4\r\nPING\r\n"[..], b"#TS:1\r\n", b"REDIS0011"] {
            assert_eq!(look_at(text).rest, Rest::Foreign);
            let found = look_at(&[&framed(&[(b"first", 0)]), text].concat());
            assert_eq!((found.places, found.rest), (Some((0, 5)), Rest::Foreign));
        }
    }
}
