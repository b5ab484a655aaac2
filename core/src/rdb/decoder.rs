//! Reading: lengths, numbers and strings, of bytes that may be anybody's.

use std::io::{self, Read};

use crc::Digest;

use super::encoder::{COMPRESSED, ENCODED, INT_8, INT_16, INT_32, LENGTH_32, LENGTH_64};
use super::lzf;
use super::payload::{CHECKSUM, Tables};
use crate::error::Error;
use crate::store::memory::OutOfMemory;

/// Why bytes can't be read.
#[derive(Debug)]
pub(super) enum Damage {
    /// They are none that the server writes; what is wrong.
    Data(&'static str),
    /// There is no memory for what they hold.
    Memory(Error),
    /// They can't be had.
    Source(io::Error),
}

impl From<OutOfMemory> for Damage {
    fn from(error: OutOfMemory) -> Self {
        Self::Memory(error.into())
    }
}

impl From<Error> for Damage {
    fn from(error: Error) -> Self {
        Self::Memory(error)
    }
}

pub(super) type Result<T> = std::result::Result<T, Damage>;

/// Bytes that are being read.
pub(super) struct Decoder<'a> {
    bytes: Bytes<'a>,
    /// Bytes of the longest string that a few compressed ones may stand for.
    longest: usize,
    /// The last string that does not stand in the bytes as it is.
    text: Vec<u8>,
}

/// Where bytes come from.
enum Bytes<'a> {
    Memory(&'a [u8]),
    Stream(Stream<'a>),
}

/// Bytes that are read piece by piece.
struct Stream<'a> {
    source: &'a mut dyn Read,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were handed out, and those of them that the checksum is of.
    used: usize,
    summed: usize,
    /// Bytes that were handed out and have left the buffer.
    left: u64,
    checksum: Digest<'static, u64, Tables>,
}

const ENDS: Damage = Damage::Data("it ends too soon");

impl Stream<'_> {
    /// Bytes that are read at once, at least. What is longer grows with what has come, not with what its length says.
    const PIECE: usize = 64 << 10;

    fn sum(&mut self) {
        self.checksum.update(&self.buffer[self.summed..self.used]);
        self.summed = self.used;
    }

    /// Has the buffer hold so many bytes behind those that were handed out.
    #[cold]
    fn fill(&mut self, len: usize) -> Result<()> {
        self.sum();
        self.buffer.drain(..self.used);
        self.left += self.used as u64;
        (self.used, self.summed) = (0, 0);
        while self.buffer.len() < len {
            let missing = (len - self.buffer.len()).clamp(Self::PIECE, Self::PIECE.max(self.buffer.len()));
            self.buffer.try_reserve(missing).map_err(|_| Error::no_memory())?;
            let read = (&mut *self.source).take(missing as u64).read_to_end(&mut self.buffer);
            if read.map_err(Damage::Source)? == 0 {
                return Err(ENDS);
            }
        }
        Ok(())
    }

    fn take(&mut self, len: usize) -> Result<&[u8]> {
        if self.buffer.len() - self.used < len {
            self.fill(len)?;
        }
        self.used += len;
        Ok(&self.buffer[self.used - len..self.used])
    }
}

impl Bytes<'_> {
    #[inline]
    fn take(&mut self, len: usize) -> Result<&[u8]> {
        match self {
            Bytes::Memory(left) => {
                let (bytes, rest) = left.split_at_checked(len).ok_or(ENDS)?;
                *left = rest;
                Ok(bytes)
            }
            Bytes::Stream(stream) => stream.take(len),
        }
    }
}

impl<'a> Decoder<'a> {
    /// `longest`: as `proto-max-bulk-len` says.
    pub(super) fn new(bytes: &'a [u8], longest: usize) -> Self {
        Self { bytes: Bytes::Memory(bytes), longest, text: Vec::new() }
    }

    /// Of bytes that are read from somewhere, a piece at a time.
    pub(super) fn of_source(source: &'a mut dyn Read, longest: usize) -> Self {
        let checksum = CHECKSUM.digest();
        let stream = Stream { source, buffer: Vec::new(), used: 0, summed: 0, left: 0, checksum };
        Self { bytes: Bytes::Stream(stream), longest, text: Vec::new() }
    }

    /// Whether all bytes in memory were read.
    #[cfg(feature = "scripting")]
    pub(super) fn is_at_end(&self) -> bool {
        matches!(&self.bytes, Bytes::Memory(rest) if rest.is_empty())
    }

    /// Bytes that were read from the source.
    pub(super) fn position(&self) -> u64 {
        match &self.bytes {
            Bytes::Memory(_) => 0,
            Bytes::Stream(stream) => stream.left + stream.used as u64,
        }
    }

    /// The checksum of all that was read from the source.
    pub(super) fn checksum(&mut self) -> u64 {
        match &mut self.bytes {
            Bytes::Memory(_) => 0,
            Bytes::Stream(stream) => {
                stream.sum();
                stream.checksum.clone().finalize()
            }
        }
    }

    /// What was read from the source and not used.
    pub(super) fn into_rest(self) -> Vec<u8> {
        match self.bytes {
            Bytes::Memory(left) => left.to_vec(),
            Bytes::Stream(mut stream) => stream.buffer.split_off(stream.used),
        }
    }

    pub(super) fn raw(&mut self, len: usize) -> Result<&[u8]> {
        self.bytes.take(len)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes.take(N)?;
        Ok(*bytes.first_chunk().expect("as long as was asked for"))
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A length, or how a string is encoded that has none.
    fn length_or_encoding(&mut self) -> Result<std::result::Result<u64, u8>> {
        let first = self.byte()?;
        Ok(match first {
            0..0x40 => Ok(first.into()),
            0x40..0x80 => Ok(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            LENGTH_32 => Ok(u32::from_be_bytes(self.array()?).into()),
            LENGTH_64 => Ok(u64::from_be_bytes(self.array()?)),
            ENCODED.. => Err(first & !ENCODED),
            _ => return Err(Damage::Data("there is no such length")),
        })
    }

    pub(super) fn length(&mut self) -> Result<u64> {
        self.length_or_encoding()?.map_err(|_| Damage::Data("there is no length where one has to be"))
    }

    /// A length of something in memory.
    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.length()?).map_err(|_| ENDS)
    }

    /// A string. O(length).
    pub(super) fn string(&mut self) -> Result<&[u8]> {
        let encoding = match self.length_or_encoding()? {
            Ok(len) => return self.raw(usize::try_from(len).map_err(|_| ENDS)?),
            Err(encoding) => encoding,
        };
        let int = match encoding {
            INT_8 => i8::from_le_bytes(self.array()?).into(),
            INT_16 => i16::from_le_bytes(self.array()?).into(),
            INT_32 => i32::from_le_bytes(self.array()?),
            COMPRESSED => {
                let (packed, len) = (self.size()?, self.size()?);
                let packed = self.bytes.take(packed)?;
                if len > self.longest {
                    return Err(Damage::Data("a compressed string is longer than strings may be"));
                }
                let wrong = Damage::Data("a compressed string is damaged");
                lzf::decompressed(packed, len, &mut self.text)?.ok_or(wrong)?;
                return Ok(&self.text);
            }
            _ => return Err(Damage::Data("there is no such encoding of a string")),
        };
        self.text.clear();
        self.text.extend_from_slice(itoa::Buffer::new().format(int).as_bytes());
        Ok(&self.text)
    }

    /// Unix milliseconds.
    pub(super) fn ms(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A score of eight bytes.
    pub(super) fn score(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A score as a text, with its length before it, or one of three names instead.
    pub(super) fn score_text(&mut self) -> Result<f64> {
        const NEGATIVE_INFINITY: u8 = 255;
        const INFINITY: u8 = 254;
        const NOT_A_NUMBER: u8 = 253;
        match self.byte()? {
            NEGATIVE_INFINITY => Ok(f64::NEG_INFINITY),
            INFINITY => Ok(f64::INFINITY),
            NOT_A_NUMBER => Ok(f64::NAN),
            len => {
                let text = self.raw(len.into())?;
                crate::num::parse_f64(text).ok_or(Damage::Data("a score is no number"))
            }
        }
    }
}
