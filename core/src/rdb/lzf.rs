//! LZF, the compression of strings in RDB: Marc Lehmann's format, of which crates.io has no library that is looked after.
//!
//! A control byte below 32 begins a run: so many bytes and one follow as they are. Any other is a copy: the top three bits are its length less two (where
//! they are 7 another byte is added to them), the lower five and the next byte how far back it begins, less one.

use crate::alloc;
use crate::error::Result;

const LONGEST_RUN: usize = 32;
const FARTHEST: usize = 1 << 13;
const SHORTEST_COPY: usize = 3;
const LONGEST_COPY: usize = (1 << 8) + (1 << 3);
/// Three bits of a length that say that there is more of it.
const MORE: usize = 7;

/// The bytes compressed, if that saves more than `least` of them. O(length).
///
/// # Errors
/// There is no memory.
pub(super) fn compressed(bytes: &[u8], least: usize) -> Result<Option<Vec<u8>>> {
    let Some(most) = bytes.len().checked_sub(least) else { return Ok(None) };
    let mut out = alloc::with_room_for(most)?;
    let mut places: Vec<u32> = alloc::with_room_for(HASHES)?;
    places.resize(HASHES, 0);
    let (mut at, mut run) = (0, 0);
    while let Some(&[a, b, c]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<SHORTEST_COPY>()) {
        // One more than the place, so that 0 is none.
        let seen = &mut places[hash([a, b, c])];
        let before = (*seen as usize).checked_sub(1);
        *seen = u32::try_from(at + 1).unwrap_or(0);
        let Some(before) =
            before.filter(|before| at - before <= FARTHEST && bytes[*before..].starts_with(&[a, b, c]))
        else {
            at += 1;
            continue;
        };
        let rest = bytes[at..].iter().zip(&bytes[before..]).take(LONGEST_COPY);
        let len = rest.take_while(|(one, other)| one == other).count();
        if !push_runs(&mut out, &bytes[run..at], most) || !push_copy(&mut out, at - before, len, most) {
            return Ok(None);
        }
        at += len;
        run = at;
    }
    let is_short = push_runs(&mut out, &bytes[run..], most);
    Ok(is_short.then_some(out))
}

const HASH_BITS: u32 = 13;
const HASHES: usize = 1 << HASH_BITS;

fn hash([a, b, c]: [u8; 3]) -> usize {
    let three = u32::from_le_bytes([a, b, c, 0]);
    (three.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

/// Appends bytes as they are, unless there are too many then.
fn push_runs(out: &mut Vec<u8>, bytes: &[u8], most: usize) -> bool {
    for run in bytes.chunks(LONGEST_RUN) {
        if out.len() + 1 + run.len() >= most {
            return false;
        }
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
    true
}

fn push_copy(out: &mut Vec<u8>, distance: usize, len: usize, most: usize) -> bool {
    let (len, back) = (len - 2, distance - 1);
    if out.len() + 3 >= most {
        return false;
    }
    out.push((len.min(MORE) << 5 | back >> 8) as u8);
    if len >= MORE {
        out.push((len - MORE) as u8);
    }
    out.push(back as u8);
    true
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
