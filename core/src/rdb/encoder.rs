//! Writing: lengths, numbers and strings.

use std::io::Write;

use crc::Digest;

use super::lzf;
use super::payload::{CHECKSUM, Tables};
use crate::error::{Error, Result};
use crate::value::listpack::{Element, parse_int};

/// Shorter strings are not compressed.
const SHORTEST_COMPRESSED: usize = 21;
/// Bytes that compression has to save.
const LEAST_SAVED: usize = 4;
/// Longer strings are no integers of 32 bits.
const LONGEST_INTEGER: usize = 11;

/// The two top bits of a length that say that it is none, and what it is instead.
pub(super) const ENCODED: u8 = 0xc0;
pub(super) const INT_8: u8 = 0;
pub(super) const INT_16: u8 = 1;
pub(super) const INT_32: u8 = 2;
pub(super) const COMPRESSED: u8 = 3;

pub(super) const LENGTH_32: u8 = 0x80;
pub(super) const LENGTH_64: u8 = 0x81;

/// Bytes that are being written.
pub(super) struct Encoder<'s> {
    bytes: Vec<u8>,
    compresses: bool,
    sink: Option<Sink<'s>>,
}

/// Where bytes go a piece at a time, rather than be held all.
struct Sink<'s> {
    file: &'s mut dyn Write,
    checksum: Digest<'static, u64, Tables>,
    sums: bool,
    written: u64,
}

impl Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.sums {
            self.checksum.update(bytes);
        }
        self.file.write_all(bytes).map_err(|error| Error::io("Writing", &error))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// Bytes that are held before they go to a sink.
const PIECE: usize = 64 << 10;

impl<'s> Encoder<'s> {
    /// `compresses`: as `rdbcompression` says.
    pub(super) fn new(compresses: bool) -> Self {
        Self::behind(Vec::new(), compresses)
    }

    /// As [`Encoder::new`], behind bytes that are there.
    pub(super) fn behind(bytes: Vec<u8>, compresses: bool) -> Self {
        Self { bytes, compresses, sink: None }
    }

    /// As [`Encoder::new`], of what goes on to `file`. `sums`: as `rdbchecksum` says.
    pub(super) fn to_sink(file: &'s mut dyn Write, compresses: bool, sums: bool) -> Self {
        let sink = Sink { file, checksum: CHECKSUM.digest(), sums, written: 0 };
        Self { bytes: Vec::with_capacity(2 * PIECE), compresses, sink: Some(sink) }
    }

    /// The bytes that have not gone on to a sink.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Passes on to the sink what is held.
    ///
    /// # Errors
    /// It can't be written.
    pub(super) fn flush(&mut self) -> Result<()> {
        if let Some(sink) = &mut self.sink {
            sink.write(&self.bytes)?;
            self.bytes.clear();
        }
        Ok(())
    }

    /// The checksum of all that has gone on to the sink; 0 where none is reckoned.
    pub(super) fn checksum(&self) -> u64 {
        let sink = self.sink.as_ref().filter(|sink| sink.sums);
        sink.map_or(0, |sink| sink.checksum.clone().finalize())
    }

    /// Bytes that have gone on to the sink.
    pub(super) fn written(&self) -> u64 {
        self.sink.as_ref().map_or(0, |sink| sink.written)
    }

    /// Appends bytes as they are.
    ///
    /// # Errors
    /// There is no memory, or the sink can't be written to; as with all that is appended.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        if let Some(sink) = &mut self.sink {
            if self.bytes.len() + bytes.len() > PIECE {
                sink.write(&self.bytes)?;
                self.bytes.clear();
            }
            if bytes.len() > PIECE {
                return sink.write(bytes);
            }
        }
        self.bytes.try_reserve(bytes.len()).map_err(|_| Error::no_memory())?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn byte(&mut self, byte: u8) -> Result<()> {
        self.raw(&[byte])
    }

    /// Appends a length: the longer ones are big-endian.
    pub(super) fn length(&mut self, length: u64) -> Result<()> {
        match length {
            0..=0x3f => self.byte(length as u8),
            0x40..=0x3fff => self.raw(&[0x40 | (length >> 8) as u8, length as u8]),
            0x4000..=0xffff_ffff => {
                self.byte(LENGTH_32)?;
                self.raw(&(length as u32).to_be_bytes())
            }
            _ => {
                self.byte(LENGTH_64)?;
                self.raw(&length.to_be_bytes())
            }
        }
    }

    /// Appends a string: as an integer where it is a short one, compressed where that saves something.
    pub(super) fn string(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() <= LONGEST_INTEGER
            && let Some(int) = parse_int(bytes)
        {
            return self.integer(int);
        }
        self.packed(bytes)
    }

    /// Appends a string that is an integer.
    pub(super) fn integer(&mut self, int: i64) -> Result<()> {
        if let Ok(int) = i8::try_from(int) {
            return self.raw(&[ENCODED | INT_8, int as u8]);
        }
        if let Ok(int) = i16::try_from(int) {
            self.byte(ENCODED | INT_16)?;
            return self.raw(&int.to_le_bytes());
        }
        if let Ok(int) = i32::try_from(int) {
            self.byte(ENCODED | INT_32)?;
            return self.raw(&int.to_le_bytes());
        }
        Element::Int(int).with(|text| self.text(text))
    }

    pub(super) fn element(&mut self, element: Element<'_>) -> Result<()> {
        match element {
            Element::Int(int) => self.integer(int),
            Element::Bytes(bytes) => self.string(bytes),
        }
    }

    /// Appends bytes that are no integer: what packs are, too.
    pub(super) fn packed(&mut self, bytes: &[u8]) -> Result<()> {
        if self.compresses
            && bytes.len() >= SHORTEST_COMPRESSED
            && let Some(compressed) = lzf::compressed(bytes, LEAST_SAVED)?
        {
            self.byte(ENCODED | COMPRESSED)?;
            self.length(compressed.len() as u64)?;
            self.length(bytes.len() as u64)?;
            return self.raw(&compressed);
        }
        self.text(bytes)
    }

    fn text(&mut self, bytes: &[u8]) -> Result<()> {
        self.length(bytes.len() as u64)?;
        self.raw(bytes)
    }

    /// Appends unix milliseconds.
    pub(super) fn ms(&mut self, ms: i64) -> Result<()> {
        self.raw(&ms.to_le_bytes())
    }

    /// Appends a score.
    pub(super) fn score(&mut self, score: f64) -> Result<()> {
        self.raw(&score.to_le_bytes())
    }
}
