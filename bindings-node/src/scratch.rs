//! Memory that calls of one isolate share, and what is done with strings in it, none of which needs Node.
//!
//! How strings come from JavaScript and go back is `hot.rs`'s.

use keystead::cache::codec::{self, Stored, tag};
use smallvec::SmallVec;

use crate::handles::Store;
use crate::outcome::{Outcome, SURROGATE, usage};

/// What is used again from call to call.
#[derive(Default)]
pub struct Scratch {
    pub units: Vec<u16>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub ends: Vec<usize>,
    /// What was found last; its tag and payload are fetched from here if it is no string and no number.
    pub found: Vec<u8>,
    pub tag: u8,
}

/// UTF-16 units read at once; longer strings are asked for their length.
pub const UNITS: usize = 1024;
/// Scratch memory above this is given back.
pub const KEPT: usize = 1 << 20;

impl Scratch {
    /// Gives back what one unusually large call needed.
    pub fn tidy(&mut self) {
        self.units.truncate(UNITS.max(self.units.len().min(KEPT)));
        self.units.shrink_to(KEPT);
        for bytes in [&mut self.key, &mut self.value, &mut self.found] {
            if bytes.capacity() > KEPT {
                *bytes = Vec::new();
            }
        }
    }

    pub fn is_large(&self) -> bool {
        self.units.len() > KEPT
            || [&self.key, &self.value, &self.found].iter().any(|bytes| bytes.capacity() > KEPT)
    }
}

/// Appends UTF-16 as UTF-8.
#[inline]
pub fn transcode(units: &[u16], out: &mut Vec<u8>) -> Outcome<()> {
    // Without a branch in the loop: this is vectorised.
    if units.iter().fold(0, |all, unit| all | unit) < 0x80 {
        out.extend(units.iter().map(|unit| *unit as u8));
        return Ok(());
    }
    out.reserve(units.len() * 2);
    let mut utf8 = [0; 4];
    for letter in char::decode_utf16(units.iter().copied()) {
        let letter = letter.map_err(|_| usage(SURROGATE))?;
        out.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
    }
    Ok(())
}

/// Kinds of the values that `getMany` answers with.
#[derive(Clone, Copy)]
pub enum Kind {
    Missing = 0,
    Text = 1,
    Integer = 2,
    Json = 3,
    /// To be read on its own.
    Other = 4,
}

/// Reads many keys into `scratch.found`; per key the length of its value in UTF-16 units, and its kind.
pub fn many(
    store: &Store,
    lengths: &[u32],
    units: usize,
    is_typed: bool,
    scratch: &mut Scratch,
) -> Outcome<Vec<(u32, Kind)>> {
    let mut rest = &scratch.units[..units];
    scratch.key.clear();
    scratch.ends.clear();
    for length in lengths {
        let (key, behind) = rest
            .split_at_checked(*length as usize)
            .ok_or_else(|| usage("ERR the keys' lengths are wrong"))?;
        transcode(key, &mut scratch.key)?;
        scratch.ends.push(scratch.key.len());
        rest = behind;
    }
    let starts = std::iter::once(0).chain(scratch.ends.iter().copied());
    let keys: SmallVec<[&[u8]; 128]> =
        starts.zip(&scratch.ends).map(|(from, to)| &scratch.key[from..*to]).collect();
    let mut answers = vec![(0, Kind::Missing); keys.len()];
    let out = &mut scratch.found;
    out.clear();
    store.database().get_many_with(&keys, |at, found| {
        let Some(found) = found else { return };
        let (kind, text) =
            if is_typed { kind_of(&found.text, found.is_ascii) } else { (Kind::Text, &*found.text) };
        answers[at] = (push_text(text, found.is_ascii, out), kind);
    });
    Ok(answers)
}

pub fn kind_of(text: &[u8], is_ascii: bool) -> (Kind, &[u8]) {
    if is_ascii && text.first().is_none_or(|first| !first.is_ascii_digit() && *first != b'-') {
        return (Kind::Text, text);
    }
    const SAFE: u64 = (1 << 53) - 1;
    match codec::read(text) {
        Stored::Integer(number) if number.unsigned_abs() <= SAFE => (Kind::Integer, text),
        Stored::Text(text) => (Kind::Text, text.as_bytes()),
        Stored::Encoded(tag::JSON, payload) => (Kind::Json, payload),
        _ => (Kind::Other, &[]),
    }
}

/// Appends text and returns its length in UTF-16 units.
pub fn push_text(text: &[u8], is_ascii: bool, out: &mut Vec<u8>) -> u32 {
    if is_ascii {
        out.extend_from_slice(text);
        return text.len() as u32;
    }
    let text = String::from_utf8_lossy(text);
    out.extend_from_slice(text.as_bytes());
    text.encode_utf16().count() as u32
}
