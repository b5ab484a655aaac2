//! Memory that calls of one isolate share, and what is done with strings in it, none of which needs Node.
//!
//! How strings come from JavaScript and go back is `hot.rs`'s.

use keystead::Error;
use keystead::cache::codec::{self, Stored, tag};
use smallvec::SmallVec;

use crate::handles::Store;
use crate::outcome::{Failure, Outcome, SURROGATE, out_of_memory, usage};
use crate::packed::Packed;

/// What is used again from call to call.
pub struct Scratch {
    /// Where strings are read to.
    pub units: Vec<u16>,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub ends: Vec<usize>,
    /// What was found last; its tag and payload are fetched from here if it is no string and no number.
    pub found: Vec<u8>,
    pub tag: u8,
    /// Replies to be fetched.
    pub packed: Packed,
}

/// UTF-16 units read at once; longer strings are asked for their length.
const UNITS: usize = 4096;
/// Scratch memory above this is given back.
const KEPT: usize = 1 << 20;

impl Default for Scratch {
    fn default() -> Self {
        Self {
            units: vec![0; UNITS],
            key: Vec::with_capacity(UNITS),
            value: Vec::with_capacity(UNITS),
            ends: Vec::new(),
            found: Vec::with_capacity(UNITS),
            tag: 0,
            packed: Packed::default(),
        }
    }
}

impl Scratch {
    /// Gives back what one unusually large call needed.
    #[inline]
    pub fn tidy(&mut self) {
        if self.is_large() {
            self.shrink();
        }
    }

    #[inline]
    fn is_large(&self) -> bool {
        self.units.len() > KEPT
            || [&self.key, &self.value, &self.found, &self.packed.text]
                .iter()
                .any(|bytes| bytes.capacity() > KEPT)
    }

    #[cold]
    fn shrink(&mut self) {
        self.units.truncate(KEPT);
        self.units.shrink_to_fit();
        for bytes in [&mut self.key, &mut self.value, &mut self.found, &mut self.packed.text] {
            if bytes.capacity() > KEPT {
                *bytes = Vec::new();
            }
        }
    }

    /// The words of `key` that end at `ends`.
    pub fn words(&self) -> Outcome<SmallVec<[&[u8]; 16]>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let mut words = SmallVec::new();
        words.try_reserve_exact(self.ends.len()).map_err(no_memory)?;
        words.extend(starts.zip(&self.ends).map(|(from, to)| &self.key[from..*to]));
        Ok(words)
    }
}

/// Appends UTF-16 units as UTF-8.
#[inline]
pub fn transcode(units: &[u16], out: &mut Vec<u8>) -> Outcome<()> {
    let start = out.len();
    out.try_reserve(units.len()).map_err(out_of_memory)?;
    if narrow(units, out) {
        return Ok(());
    }
    out.truncate(start);
    widen(units, out)
}

/// Appends units as bytes and says whether all of them are ASCII. One reservation and no check per unit: the loop becomes vector
/// instructions, of 16 bytes each, which is as wide as Node has just stored what they load.
#[inline]
fn narrow(units: &[u16], out: &mut Vec<u8>) -> bool {
    let mut seen = 0;
    out.extend(units.iter().map(|unit| {
        seen |= unit;
        *unit as u8
    }));
    seen < 0x80
}

#[cold]
fn widen(units: &[u16], out: &mut Vec<u8>) -> Outcome<()> {
    // Half of a surrogate pair takes two of its four bytes.
    let bytes = |unit: &u16| match unit {
        0..=0x7f => 1,
        0x80..=0x7ff | 0xd800..=0xdfff => 2,
        _ => 3,
    };
    out.try_reserve(units.iter().map(bytes).sum()).map_err(out_of_memory)?;
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

/// The keys that stand one behind the other in the first `units` of `scratch.units`, as words of the scratch.
pub fn split(lengths: &[u32], units: usize, scratch: &mut Scratch) -> Outcome<()> {
    let Scratch { units: all, key, ends, .. } = scratch;
    let sum = lengths.iter().map(|length| *length as usize).sum::<usize>();
    if sum != units {
        return Err(usage("ERR the keys' lengths are wrong"));
    }
    key.clear();
    ends.clear();
    key.try_reserve(units).map_err(out_of_memory)?;
    ends.try_reserve(lengths.len()).map_err(out_of_memory)?;
    if narrow(&all[..units], key) {
        ends.extend(lengths.iter().scan(0, |end, length| {
            *end += *length as usize;
            Some(*end)
        }));
        return Ok(());
    }
    key.clear();
    let mut rest = &all[..units];
    for length in lengths {
        let (one, behind) = rest.split_at(*length as usize);
        widen(one, key)?;
        ends.push(key.len());
        rest = behind;
    }
    Ok(())
}

/// Bytes of values that are read as one string. Node's longest has about twice as many units, and whoever reads that much gains nothing by it.
const MOST_JOINED: usize = 1 << 28;

/// Reads the keys that are the scratch's words into `scratch.found`; tells `answer` of each the length of its value in UTF-16 units, and
/// its kind. Says whether all of it is ASCII; nothing if it is more than [`MOST_JOINED`].
///
/// # Errors
/// There is no memory for it.
pub fn many(
    store: &Store,
    is_typed: bool,
    scratch: &mut Scratch,
    mut answer: impl FnMut(usize, u32, Kind),
) -> Outcome<Option<bool>> {
    let mut out = std::mem::take(&mut scratch.found);
    out.clear();
    let (mut all_ascii, mut is_long, mut outcome) = (true, false, Ok(()));
    let read = store.database().get_many_with(&scratch.words()?, |at, found| {
        let Some(found) = found else { return answer(at, 0, Kind::Missing) };
        let (kind, text) =
            if is_typed { kind_of(&found.text, found.is_ascii) } else { (Kind::Text, &*found.text) };
        is_long |= text.len() > MOST_JOINED.saturating_sub(out.len());
        if is_long || outcome.is_err() {
            return;
        }
        all_ascii &= found.is_ascii;
        match push_text(text, found.is_ascii, &mut out) {
            Ok(units) => answer(at, units, kind),
            Err(failure) => outcome = Err(failure),
        }
    });
    scratch.found = out;
    read?;
    outcome.map(|()| (!is_long).then_some(all_ascii))
}

fn kind_of(text: &[u8], is_ascii: bool) -> (Kind, &[u8]) {
    if codec::is_plain_text(text, is_ascii) {
        return (Kind::Text, text);
    }
    const SAFE: u64 = (1 << 53) - 1;
    match codec::read(text) {
        Stored::Integer(_) if text[0] == tag::INTEGER => (Kind::Other, &[]),
        Stored::Integer(number) if number.unsigned_abs() <= SAFE => (Kind::Integer, text),
        Stored::Text(text) => (Kind::Text, text.as_bytes()),
        Stored::Encoded(tag::JSON, payload) => (Kind::Json, payload),
        _ => (Kind::Other, &[]),
    }
}

/// Appends text and returns its length in UTF-16 units. What is no UTF-8 becomes the replacement character.
///
/// # Errors
/// There is no memory for it.
pub fn push_text(text: &[u8], is_ascii: bool, out: &mut Vec<u8>) -> Outcome<u32> {
    out.try_reserve(text.len()).map_err(out_of_memory)?;
    if is_ascii {
        out.extend_from_slice(text);
        return Ok(text.len() as u32);
    }
    let mut units = 0;
    for chunk in text.utf8_chunks() {
        let replacement = if chunk.invalid().is_empty() { "" } else { "\u{fffd}" };
        out.try_reserve(chunk.valid().len() + replacement.len()).map_err(out_of_memory)?;
        out.extend_from_slice(chunk.valid().as_bytes());
        out.extend_from_slice(replacement.as_bytes());
        units += chunk.valid().encode_utf16().count() + replacement.len().min(1);
    }
    Ok(units as u32)
}

fn no_memory(_: smallvec::CollectionAllocErr) -> Failure {
    Failure::Engine(Error::no_memory())
}
