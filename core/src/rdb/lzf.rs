//! LZF, the compression of strings in RDB: Marc Lehmann's format, of which crates.io has no library that is looked after.
//!
//! A control byte below 32 begins a run: so many bytes and one follow as they are. Any other is a copy: the top three bits are its length less two (where
//! they are 7 another byte is added to them), the lower five and the next byte how far back it begins, less one.

use std::cell::RefCell;

use crate::alloc;
use crate::error::Result;

const LONGEST_RUN: usize = 32;
const FARTHEST: usize = 1 << 13;
const SHORTEST_COPY: usize = 3;
const LONGEST_COPY: usize = (1 << 8) + (1 << 3);
/// Three bits of a length that say that there is more of it.
const MORE: usize = 7;

/// The bytes compressed, if that saves more than `least` of them: byte for byte as the server does it, which is how long DEBUG OBJECT says a value is. O(length).
///
/// # Errors
/// There is no memory.
pub(super) fn compressed(bytes: &[u8], least: usize) -> Result<Option<Vec<u8>>> {
    let Some(most) = bytes.len().checked_sub(least) else { return Ok(None) };
    let mut out = Packing { bytes: alloc::with_room_for(most)?, most, len: 1, run: 0 };
    PLACES.with_borrow_mut(|places| {
        places.begin(bytes.len())?;
        Ok(compress(bytes, places, &mut out).map(|()| out.bytes))
    })
}

fn compress(bytes: &[u8], places: &mut Places, out: &mut Packing) -> Option<()> {
    let three = |at: usize| bytes.get(at..)?.first_chunk::<SHORTEST_COPY>();
    let (mut at, mut run) = (0, 0);
    while let Some(next) = three(at) {
        let before = places.replace(*next, at);
        // The server takes the first place of all for none.
        let before =
            before.filter(|before| *before > 0 && at - before <= FARTHEST && three(*before) == Some(next));
        let Some(before) = before else {
            out.literal()?;
            at += 1;
            continue;
        };
        let len = common(&bytes[before..], &bytes[at..]);
        out.copy(&bytes[run..at], at - before, len)?;
        at += len;
        run = at;
        // Of what was copied only the last two places are remembered, if there is something to look for behind them.
        if three(at).is_some() {
            for at in [at - 2, at - 1] {
                places.replace(*three(at).expect("there are three behind it"), at);
            }
        }
    }
    out.end(&bytes[run..])
}

/// How many bytes are copied, of what is there from two places on, of which the first three are alike. The second place is the later one. Near the end the
/// server leaves up to two bytes out.
fn common(before: &[u8], bytes: &[u8]) -> usize {
    const AT_ONCE: usize = 16;
    let most = (bytes.len() - 2).min(LONGEST_COPY);
    let is_like = |at: usize| before[at] == bytes[at];
    let mut len = 2;
    if most > AT_ONCE {
        for _ in 0..AT_ONCE {
            len += 1;
            if !is_like(len) {
                return len;
            }
        }
    }
    len += 1;
    while len < most && is_like(len) {
        len += 1;
    }
    len
}

const HASH_BITS: u32 = 16;

/// Where three bytes were seen last, by their hash. What is left of texts before is told from what is not by where it stands: each text begins where the one
/// before it ended. So nothing has to be cleared.
struct Places {
    seen: Vec<u32>,
    /// The place at which the text begins, and the one at which the next one does.
    start: u32,
    next: u32,
}

thread_local! {
    static PLACES: RefCell<Places> = const { RefCell::new(Places { seen: Vec::new(), start: 1, next: 1 }) };
}

impl Places {
    /// Begins a text of this length.
    fn begin(&mut self, len: usize) -> Result<()> {
        // What stands farther back than a copy can reach need not be told apart: a text may be longer than there are numbers.
        let len = u32::try_from(len).unwrap_or(u32::MAX - 1);
        match (self.seen.is_empty(), self.next.checked_add(len)) {
            (false, Some(end)) => (self.start, self.next) = (self.next, end),
            _ => {
                self.seen.clear();
                self.seen.try_reserve_exact(1 << HASH_BITS).map_err(|_| crate::error::Error::no_memory())?;
                self.seen.resize(1 << HASH_BITS, 0);
                (self.start, self.next) = (1, len.saturating_add(1));
            }
        }
        Ok(())
    }

    /// Where these were seen, which are now seen at a place.
    fn replace(&mut self, bytes: [u8; SHORTEST_COPY], at: usize) -> Option<usize> {
        let place = u32::try_from(at).ok().and_then(|at| self.start.checked_add(at)).unwrap_or(0);
        let before = std::mem::replace(&mut self.seen[hash(bytes)], place);
        before.checked_sub(self.start).map(|before| before as usize)
    }
}

fn hash([a, b, c]: [u8; SHORTEST_COPY]) -> usize {
    let three = u32::from_be_bytes([0, a, b, c]);
    ((three >> (24 - HASH_BITS)).wrapping_sub(three.wrapping_mul(5)) & ((1 << HASH_BITS) - 1)) as usize
}

/// What is being compressed.
struct Packing {
    bytes: Vec<u8>,
    /// It may have so many bytes.
    most: usize,
    /// Bytes with the run that is to come: its bytes, the one for the length of each part of it, and one for the length of the next.
    len: usize,
    /// Bytes of the last part of that run.
    run: usize,
}

impl Packing {
    /// One more byte of the run that is to come.
    fn literal(&mut self) -> Option<()> {
        if self.len >= self.most {
            return None;
        }
        self.grow();
        Some(())
    }

    fn grow(&mut self) {
        (self.len, self.run) = (self.len + 1, self.run + 1);
        if self.run == LONGEST_RUN {
            (self.len, self.run) = (self.len + 1, 0);
        }
    }

    /// Appends the run that was to come, which is not written before.
    fn push_run(&mut self, run: &[u8]) {
        for part in run.chunks(LONGEST_RUN) {
            self.bytes.push(part.len() as u8 - 1);
            self.bytes.extend_from_slice(part);
        }
    }

    /// Appends a copy behind a run.
    fn copy(&mut self, run: &[u8], distance: usize, len: usize) -> Option<()> {
        let (len, back) = (len - 2, distance - 1);
        if self.len - usize::from(self.run == 0) + 4 >= self.most {
            return None;
        }
        self.push_run(run);
        self.bytes.push((len.min(MORE) << 5 | back >> 8) as u8);
        if len >= MORE {
            self.bytes.push((len - MORE) as u8);
        }
        self.bytes.push(back as u8);
        (self.len, self.run) = (self.bytes.len() + 1, 0);
        Some(())
    }

    /// Appends the last run, of which up to two bytes have not been counted.
    fn end(&mut self, run: &[u8]) -> Option<()> {
        if self.len + 3 > self.most {
            return None;
        }
        self.push_run(run);
        Some(())
    }
}

/// What was compressed, which has `len` bytes; `None` if it has not. O(length).
///
/// # Errors
/// There is no memory.
pub(super) fn decompressed(bytes: &[u8], len: usize, out: &mut Vec<u8>) -> Result<Option<()>> {
    out.clear();
    // No byte stands for more than a part of the longest copy: nothing is allocated for what can't be.
    if len / LONGEST_COPY > bytes.len() {
        return Ok(None);
    }
    out.try_reserve_exact(len).map_err(|_| crate::error::Error::no_memory())?;
    Ok(expand(bytes, len, out))
}

fn expand(bytes: &[u8], len: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut bytes = bytes.iter();
    while let Some(&control) = bytes.next() {
        let control = usize::from(control);
        if control < LONGEST_RUN {
            let run = bytes.as_slice().get(..=control)?;
            if run.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(run);
            bytes = bytes.as_slice()[run.len()..].iter();
            continue;
        }
        let mut copy = control >> 5;
        if copy == MORE {
            copy += usize::from(*bytes.next()?);
        }
        copy += 2;
        let back = ((control & 31) << 8 | usize::from(*bytes.next()?)) + 1;
        let from = out.len().checked_sub(back)?;
        if copy > len - out.len() {
            return None;
        }
        // What is copied may reach into what it becomes.
        for at in from..from + copy {
            out.push(out[at]);
        }
    }
    (out.len() == len).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn round(bytes: &[u8]) -> Option<usize> {
        let packed = compressed(bytes, 4).unwrap()?;
        assert!(packed.len() < bytes.len() - 4, "{} of {}", packed.len(), bytes.len());
        let mut back = Vec::new();
        decompressed(&packed, bytes.len(), &mut back).unwrap().expect("what was compressed");
        assert_eq!(back, bytes);
        Some(packed.len())
    }

    #[test]
    fn what_the_server_compressed_is_read() {
        // The value of `DUMP` of a hundred `a`, of 9.1.2.
        let mut out = Vec::new();
        let packed = b"\x01aa\xe0\x57\x00\x01aa";
        decompressed(packed, 100, &mut out).unwrap().unwrap();
        assert_eq!(out, [b'a'; 100]);
        for len in [0, 99, 101, usize::MAX] {
            assert_eq!(decompressed(packed, len, &mut out).unwrap(), None);
        }
    }

    #[test]
    fn repeated_texts_become_short_and_others_are_left() {
        assert_eq!(
            compressed(&[b'a'; 100], 4).unwrap().unwrap(),
            b"\x01aa\xe0\x57\x00\x01aa",
            "as the server"
        );
        assert!(round(&[b'x'; 5000]).unwrap() < 100);
        assert!(round(&b"a text of some words, ".repeat(50)).unwrap() < 100);
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(round(&all), None);
        assert_eq!(compressed(b"aa", 4).unwrap(), None);
    }

    proptest! {
        #[test]
        fn what_is_compressed_comes_back(bytes in prop::collection::vec(0_u8..4, 0..2000)) {
            round(&bytes);
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0_usize..5000) {
            let mut out = Vec::new();
            if decompressed(&bytes, len, &mut out).unwrap().is_some() {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
