//! HyperLogLog: how many distinct elements there were, estimated from 16,384 registers, which stand in a string.
//!
//! The algorithm is that of P. Flajolet et al., "HyperLogLog: the analysis of a near-optimal cardinality estimation algorithm" (2007), with a hash of 64
//! bits. The string is that of Valkey, byte for byte:
//!
//! ```text
//! bytes 0-3    HYLL
//! byte 4       0 dense, 1 sparse
//! bytes 5-7    unused
//! bytes 8-15   the estimate of last time, little-endian; the highest bit is set where it no longer holds
//! from 16 on   the registers, dense or sparse
//! ```
//!
//! Here is what the bytes mean, in [`dense`] and [`sparse`] each form, in [`estimate`] what follows from the registers. How strings are stored is of no
//! concern here. A string that a client stored may be anything: nothing here panics for that, and none is read beyond its end.

mod check;
mod dense;
mod estimate;
mod hash;
mod sparse;

use crate::alloc;
use crate::error::{Error, ErrorKind, Result};
pub(crate) use check::check_itself;
use estimate::Histogram;
pub(crate) use hash::place;
use sparse::{Cursor, Set};

/// Bits of a hash that choose the register.
const INDEX_BITS: u32 = 14;
/// Number of registers.
pub(crate) const REGISTERS: usize = 1 << INDEX_BITS;

/// What a register holds: 0, or the greatest rank that it has seen.
pub(crate) type Rank = u8;

/// The registers, a byte each.
type Registers = [Rank; REGISTERS];

const MAGIC: &[u8] = b"HYLL";
const FORM_AT: usize = 4;
/// Where the estimate stands.
pub(crate) const ESTIMATE_AT: usize = 8;
const HEAD: usize = 16;
/// The byte with the bit that says that the estimate no longer holds, and the bit.
const STALE_AT: usize = HEAD - 1;
const STALE: u8 = 0x80;
const DENSE_LEN: usize = HEAD + dense::BYTES;

/// How the registers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Dense,
    Sparse,
}

/// A sparse string whose runs do not add up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Corrupted;

impl From<Corrupted> for Error {
    fn from(_: Corrupted) -> Self {
        Error::new(ErrorKind::Command, "INVALIDOBJ Corrupted HLL object detected")
    }
}

/// The form of a string that is a HyperLogLog by its head and its length.
///
/// # Errors
/// It is none.
pub(crate) fn form_of(text: &[u8]) -> Result<Form> {
    let none = || Error::new(ErrorKind::WrongType, "WRONGTYPE Key is not a valid HyperLogLog string value.");
    if text.len() < HEAD || !text.starts_with(MAGIC) {
        return Err(none());
    }
    match text[FORM_AT] {
        0 if text.len() == DENSE_LEN => Ok(Form::Dense),
        1 => Ok(Form::Sparse),
        _ => Err(none()),
    }
}

/// The estimate that stands in a string, if it holds.
pub(crate) fn cached(text: &[u8]) -> Option<u64> {
    let estimate = text.get(ESTIMATE_AT..HEAD)?.try_into().expect("eight bytes");
    (text[STALE_AT] & STALE == 0).then(|| u64::from_le_bytes(estimate))
}

/// The estimate of the registers of a string. O(registers) for a dense one, O(runs) for a sparse one.
///
/// # Errors
/// It is no HyperLogLog, or is corrupt.
pub(crate) fn estimate(text: &[u8]) -> Result<u64> {
    let mut union = Union::new();
    let histogram = match form_of(text)? {
        Form::Dense => {
            union.add(text)?;
            Histogram::of(&union.registers)
        }
        Form::Sparse => {
            let mut histogram = Histogram::new();
            sparse::each_valid_run(&text[HEAD..], |_, run| histogram.add(run.rank, run.len))?;
            histogram
        }
    };
    Ok(histogram.estimate())
}

/// The runs of a sparse string as words, for PFDEBUG.
///
/// # Errors
/// It is not sparse, or there is no memory.
pub(crate) fn decoded(text: &[u8]) -> Result<Vec<u8>> {
    match form_of(text)? {
        Form::Sparse => sparse::decoded(&text[HEAD..]),
        Form::Dense => Err(Error::command("HLL encoding is not sparse")),
    }
}

/// The registers of several sketches: the greatest rank of each.
pub(crate) struct Union {
    registers: Box<Registers>,
}

impl Union {
    pub(crate) fn new() -> Self {
        let registers = vec![0; REGISTERS].into_boxed_slice();
        Self { registers: registers.try_into().expect("so many they are") }
    }

    /// Adds the registers of a string. O(registers).
    ///
    /// # Errors
    /// It is no HyperLogLog, or is corrupt; then some of its registers may have been added.
    pub(crate) fn add(&mut self, text: &[u8]) -> Result<Form> {
        let form = form_of(text)?;
        let registers = &mut self.registers;
        match form {
            Form::Dense => dense::merge(&text[HEAD..], registers),
            Form::Sparse => sparse::each_valid_run(&text[HEAD..], |first, run| {
                if run.rank > 0 {
                    let registers = &mut registers[first..first + run.len];
                    registers.iter_mut().for_each(|register| *register = run.rank.max(*register));
                }
            })?,
        }
        Ok(form)
    }

    /// The estimate for all of them together.
    pub(crate) fn estimate(&self) -> u64 {
        Histogram::of(&self.registers).estimate()
    }

    /// Each register.
    pub(crate) fn registers(&self) -> &[Rank] {
        &*self.registers
    }
}

/// A string that is being changed.
pub(crate) struct Sketch {
    text: Vec<u8>,
    form: Form,
    /// Bytes up to which it stays sparse.
    most: usize,
}

impl Sketch {
    /// Of no element. `most` is the number of bytes up to which it stays sparse.
    pub(crate) fn empty(most: usize) -> Self {
        let mut text = head(Form::Sparse).to_vec();
        text.extend_from_slice(&sparse::empty());
        Self { text, form: Form::Sparse, most }
    }

    /// A copy of a string. O(length).
    ///
    /// # Errors
    /// It is no HyperLogLog, or there is no memory.
    pub(crate) fn copied(text: &[u8], most: usize) -> Result<Self> {
        let form = form_of(text)?;
        Ok(Self { text: alloc::copied(text)?, form, most })
    }

    /// Raises the register of a [`place`] to its rank, and says whether it was lower. O(1) where it is dense, O(runs) otherwise.
    ///
    /// # Errors
    /// It is corrupt, or there is no memory; nothing has changed.
    pub(crate) fn raise(&mut self, place: (usize, Rank)) -> Result<bool> {
        self.raise_from(&mut Cursor::default(), place)
    }

    fn raise_from(&mut self, cursor: &mut Cursor, (index, rank): (usize, Rank)) -> Result<bool> {
        if self.form == Form::Sparse {
            match sparse::raise(&mut self.text, HEAD, cursor, (index, rank), self.most)? {
                Set::Raised => return Ok(true),
                Set::Kept => return Ok(false),
                Set::TooLarge => self.make_dense()?,
            }
        }
        let registers = &mut self.text[HEAD..];
        let is_lower = dense::get(registers, index) < rank;
        if is_lower {
            dense::set(registers, index, rank);
        }
        Ok(is_lower)
    }

    /// Raises all registers to those of a union to which this one has been added. O(registers).
    ///
    /// # Errors
    /// There is no memory; some registers may have been raised.
    pub(crate) fn raise_all(&mut self, union: &Union) -> Result<()> {
        let mut cursor = Cursor::default();
        let places = union.registers.iter().copied().enumerate().filter(|(_, rank)| *rank > 0);
        for place in places {
            if self.form == Form::Dense {
                dense::pack(&union.registers, &mut self.text[HEAD..]);
                break;
            }
            self.raise_from(&mut cursor, place)?;
        }
        Ok(())
    }

    /// Makes it dense, if it is not. O(registers).
    ///
    /// # Errors
    /// It is corrupt, or there is no memory; nothing has changed.
    pub(crate) fn make_dense(&mut self) -> Result<()> {
        if self.form == Form::Dense {
            return Ok(());
        }
        let mut union = Union::new();
        union.add(&self.text)?;
        let mut text = alloc::with_room_for(DENSE_LEN)?;
        text.extend_from_slice(&self.text[..HEAD]);
        text[FORM_AT] = head(Form::Dense)[FORM_AT];
        text.resize(DENSE_LEN, 0);
        dense::pack(&union.registers, &mut text[HEAD..]);
        (self.text, self.form) = (text, Form::Dense);
        Ok(())
    }

    /// The estimate in it no longer holds.
    pub(crate) fn make_stale(&mut self) {
        self.text[STALE_AT] |= STALE;
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// The string.
    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }
}

fn head(form: Form) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[FORM_AT] = match form {
        Form::Dense => 0,
        Form::Sparse => 1,
    };
    head
}

/// A few bytes to write over those of a string from some place on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patch {
    pub(crate) at: usize,
    bytes: [u8; 2],
    len: usize,
}

impl Patch {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What raises the register of a [`place`] of a dense string, if it is lower. O(1).
pub(crate) fn raising(text: &[u8], (index, rank): (usize, Rank)) -> Option<Patch> {
    let registers = &text[HEAD..];
    if dense::get(registers, index) >= rank {
        return None;
    }
    let (at, bytes, len) = dense::written(registers, index, rank);
    Some(Patch { at: HEAD + at, bytes, len })
}

/// What says that the estimate of a string no longer holds, if it does.
pub(crate) fn staleness(text: &[u8]) -> Option<Patch> {
    cached(text).map(|_| Patch { at: STALE_AT, bytes: [text[STALE_AT] | STALE, 0], len: 1 })
}

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod model;
#[cfg(test)]
mod tests;
