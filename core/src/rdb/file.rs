//! Files: which keys there are in which databases, and what stands beside their values.
//!
//! `VALKEY080` or `REDIS0011` | records | end (255) | checksum of all before it (u64). A record begins with what it is, or with the [form](super::form) of
//! a value. What modules wrote about themselves is passed over; values of their types can't be read.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use super::decoder::{Damage, Decoder, Result};
use super::encoder::Encoder;
use super::values::{Built, Making, form_of, write};
use super::{FIRST_OF_VALKEY, LAST_COMMON, VERSION, Version, is_read};
use crate::config::Hot;
use crate::error::{Error, ErrorKind};
use crate::num;
use crate::value::Value;

/// What a record is, if no value.
pub(super) mod mark {
    /// Slots that were being imported by a node of a cluster.
    pub(super) const SLOT_IMPORT: u8 = 243;
    pub(super) const SLOT_SIZES: u8 = 244;
    pub(in crate::rdb) const FUNCTIONS: u8 = 245;
    /// As functions were written before 7.0 was released.
    pub(super) const EARLY_FUNCTIONS: u8 = 246;
    pub(super) const MODULE_NOTE: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const NOTE: u8 = 250;
    pub(super) const SIZES: u8 = 251;
    pub(super) const DEADLINE_MS: u8 = 252;
    pub(super) const DEADLINE_S: u8 = 253;
    pub(super) const DATABASE: u8 = 254;
    pub(super) const END: u8 = 255;
}

/// Forms of values that only modules can read.
const MODULE_VALUES: std::ops::RangeInclusive<u8> = 6..=7;

/// The first version with a checksum at the end.
const FIRST_SUMMED: u16 = 5;

/// Bytes of name and version.
const HEAD: usize = 9;

/// What is remembered of a key's use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// Seconds since it was used.
    Idle(u64),
    /// A logarithmic counter.
    Frequency(u8),
}

/// A key, and what stands beside its value.
#[derive(Clone, Copy)]
pub(crate) struct KeyInfo<'k> {
    pub(crate) key: &'k [u8],
    /// Unix milliseconds.
    pub(crate) deadline: Option<u64>,
    pub(crate) usage: Option<Usage>,
}

/// Records of keys, encoded one after the other.
#[derive(Default)]
pub(crate) struct Recorder {
    bytes: Vec<u8>,
}

impl Recorder {
    /// Appends a key. O(bytes). Returns where it ends.
    ///
    /// # Errors
    /// There is no memory; nothing is appended.
    pub(crate) fn push(
        &mut self,
        info: KeyInfo<'_>,
        value: Value<'_>,
        compresses: bool,
    ) -> crate::Result<usize> {
        let before = self.bytes.len();
        let mut out = Encoder::behind(std::mem::take(&mut self.bytes), compresses);
        let written = write_key(info, value, &mut out);
        self.bytes = out.into_bytes();
        if written.is_err() {
            self.bytes.truncate(before);
        }
        written.map(|()| self.bytes.len())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

fn write_key(info: KeyInfo<'_>, value: Value<'_>, out: &mut Encoder<'_>) -> crate::Result<()> {
    if let Some(deadline) = info.deadline {
        out.byte(mark::DEADLINE_MS)?;
        out.ms(deadline as i64)?;
    }
    match info.usage {
        Some(Usage::Idle(seconds)) => {
            out.byte(mark::IDLE)?;
            out.length(seconds)?;
        }
        Some(Usage::Frequency(counter)) => out.raw(&[mark::FREQUENCY, counter])?,
        None => {}
    }
    out.byte(form_of(value))?;
    out.string(info.key)?;
    write(value, out)
}

/// How many keys a database has, and how many of them have a deadline: whoever reads the file makes room for them.
pub(crate) type Sizes = BTreeMap<usize, (u64, u64)>;

/// A file that is being written.
pub(crate) struct FileWriter<'f> {
    out: Encoder<'f>,
    db: Option<usize>,
    /// Of databases that have not been written to yet.
    sizes: Sizes,
}

impl<'f> FileWriter<'f> {
    /// Begins a file with notes about it.
    ///
    /// # Errors
    /// It can't be written; as with all that follows.
    pub(crate) fn begin(
        file: &'f mut dyn Write,
        options: &Hot,
        version: Version,
        notes: &[(&str, String)],
    ) -> crate::Result<Self> {
        let mut out = Encoder::to_sink(file, options.rdb_compression(), options.rdb_checksum());
        let name = match version {
            Version::Common => format!("REDIS{LAST_COMMON:04}"),
            Version::Valkey => format!("VALKEY{VERSION:03}"),
        };
        out.raw(name.as_bytes())?;
        for (name, note) in notes {
            out.byte(mark::NOTE)?;
            out.string(name.as_bytes())?;
            out.string(note.as_bytes())?;
        }
        Ok(Self { out, db: None, sizes: Sizes::new() })
    }

    /// Has the file say how large databases are.
    pub(crate) fn with_sizes(self, sizes: Sizes) -> Self {
        Self { sizes, ..self }
    }

    /// Writes a library of functions, as it was read.
    pub(crate) fn function(&mut self, library: &[u8]) -> crate::Result<()> {
        self.out.byte(mark::FUNCTIONS)?;
        self.out.packed(library)
    }

    fn select(&mut self, db: usize) -> crate::Result<()> {
        if self.db.replace(db) != Some(db) {
            self.out.byte(mark::DATABASE)?;
            self.out.length(db as u64)?;
            if let Some((keys, with_deadline)) = self.sizes.remove(&db) {
                self.out.byte(mark::SIZES)?;
                self.out.length(keys)?;
                self.out.length(with_deadline)?;
            }
        }
        Ok(())
    }

    /// Writes a key. O(bytes).
    pub(crate) fn key(&mut self, db: usize, info: KeyInfo<'_>, value: Value<'_>) -> crate::Result<()> {
        self.select(db)?;
        write_key(info, value, &mut self.out)
    }

    /// Writes keys of a database that a [`Recorder`] has.
    pub(crate) fn record(&mut self, db: usize, record: &[u8]) -> crate::Result<()> {
        self.select(db)?;
        self.out.raw(record)
    }

    /// Ends the file. Returns its length.
    pub(crate) fn end(mut self) -> crate::Result<u64> {
        self.out.byte(mark::END)?;
        self.out.flush()?;
        let checksum = self.out.checksum();
        self.out.raw(&checksum.to_le_bytes())?;
        self.out.flush()?;
        Ok(self.out.written())
    }
}

/// What a file holds.
#[derive(Debug)]
pub(crate) enum Record {
    /// A note about the file: its name and text.
    Note(Vec<u8>, Vec<u8>),
    /// A library of functions, opaque.
    Function(Vec<u8>),
    Key(KeyRecord),
}

/// A key that was read.
#[derive(Debug)]
pub(crate) struct KeyRecord {
    pub(crate) db: usize,
    pub(crate) key: Vec<u8>,
    /// Unix milliseconds.
    pub(crate) deadline: Option<i64>,
    pub(crate) usage: Option<Usage>,
    pub(crate) value: Built,
}

/// A file that is being read.
pub(crate) struct FileReader<'f> {
    bytes: Decoder<'f>,
    version: u16,
    db: usize,
    making: Making<'f>,
}

impl<'f> FileReader<'f> {
    /// Begins to read: name and version.
    ///
    /// # Errors
    /// It is no file of this kind, or of a version that is not read, or it can't be read.
    pub(crate) fn begin(file: &'f mut dyn Read, making: Making<'f>) -> crate::Result<Self> {
        let bytes = Decoder::of_source(file, making.options.proto_max_bulk_len());
        let mut reader = Self { bytes, version: 0, db: 0, making };
        let head = reader.bytes.array::<HEAD>().map_err(|damage| reader.told(damage))?;
        let version = head.strip_prefix(b"REDIS").or(head.strip_prefix(b"VALKEY")).and_then(|version| {
            // `REDIS` has four digits, `VALKEY` three.
            num::parse_i64(strip_zeroes(version)).and_then(|version| u16::try_from(version).ok())
        });
        let version = version.ok_or_else(|| reader.told(Damage::Data("it is no RDB file")))?;
        let is_valkey = head.starts_with(b"VALKEY");
        if !is_read(version, making.options) || is_valkey != (version >= FIRST_OF_VALKEY) {
            return Err(Error::new(ErrorKind::Io, format!("ERR Can't handle RDB format version {version}")));
        }
        reader.version = version;
        Ok(reader)
    }

    /// The next record; `None` at the end, where the checksum is right. O(bytes).
    ///
    /// # Errors
    /// The file is damaged, which the text says with the place, or can't be read, or there is no memory.
    pub(crate) fn next(&mut self) -> crate::Result<Option<Record>> {
        self.read().map_err(|damage| self.told(damage))
    }

    /// What was read from the file behind its end, before anything else that the file has.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.bytes.into_rest()
    }

    fn told(&self, damage: Damage) -> Error {
        match damage {
            Damage::Data(what) => {
                let text = format!("ERR The RDB file is damaged at byte {}: {what}", self.bytes.position());
                Error::new(ErrorKind::Io, text)
            }
            Damage::Memory(error) => error,
            Damage::Source(error) => Error::io("Reading the RDB file", &error),
        }
    }

    fn read(&mut self) -> Result<Option<Record>> {
        let (mut deadline, mut usage) = (None, None);
        loop {
            match self.bytes.byte()? {
                mark::END => return self.read_end().map(|()| None),
                mark::DATABASE => {
                    let db = usize::try_from(self.bytes.length()?).ok();
                    self.db = db
                        .filter(|db| *db < self.making.options.databases())
                        .ok_or(Damage::Data("it has more databases than `databases` says"))?;
                }
                mark::SIZES => {
                    self.bytes.length()?;
                    self.bytes.length()?;
                }
                mark::SLOT_SIZES => {
                    for _ in 0..3 {
                        self.bytes.length()?;
                    }
                }
                mark::NOTE => {
                    let name = crate::alloc::copied(self.bytes.string()?)?;
                    return Ok(Some(Record::Note(name, crate::alloc::copied(self.bytes.string()?)?)));
                }
                mark::FUNCTIONS => {
                    return Ok(Some(Record::Function(crate::alloc::copied(self.bytes.string()?)?)));
                }
                mark::MODULE_NOTE => self.skip_module_note()?,
                mark::DEADLINE_MS => deadline = Some(self.bytes.ms()?),
                mark::DEADLINE_S => {
                    deadline = Some(i64::from(i32::from_le_bytes(self.bytes.array()?)) * 1000);
                }
                mark::IDLE => usage = Some(Usage::Idle(self.bytes.length()?)),
                mark::FREQUENCY => usage = Some(Usage::Frequency(self.bytes.byte()?)),
                mark::EARLY_FUNCTIONS => {
                    return Err(Damage::Data("it has functions of a version before 7.0 was released"));
                }
                mark::SLOT_IMPORT => return Err(Damage::Data("it is of a node of a cluster")),
                form if MODULE_VALUES.contains(&form) => {
                    return Err(Damage::Data("it has a value of a module's type"));
                }
                form => {
                    let key = crate::alloc::copied(self.bytes.string()?)?;
                    let value = self.making.read(form, &mut self.bytes)?;
                    let db = self.db;
                    return Ok(Some(Record::Key(KeyRecord { db, key, deadline, usage, value })));
                }
            }
        }
    }

    fn read_end(&mut self) -> Result<()> {
        if self.version < FIRST_SUMMED {
            return Ok(());
        }
        let expected = self.bytes.checksum();
        let checksum = u64::from_le_bytes(self.bytes.array()?);
        if checksum != 0 && checksum != expected && self.making.options.rdb_checksum() {
            return Err(Damage::Data("its checksum is wrong"));
        }
        Ok(())
    }

    /// Passes over what a module wrote about itself.
    fn skip_module_note(&mut self) -> Result<()> {
        const END: u64 = 0;
        const SIGNED: u64 = 1;
        const UNSIGNED: u64 = 2;
        const FLOAT: u64 = 3;
        const DOUBLE: u64 = 4;
        const STRING: u64 = 5;
        // The module, that a time follows, and the time.
        for _ in 0..3 {
            self.bytes.length()?;
        }
        loop {
            match self.bytes.length()? {
                END => return Ok(()),
                SIGNED | UNSIGNED => drop(self.bytes.length()?),
                FLOAT => drop(self.bytes.array::<4>()?),
                DOUBLE => drop(self.bytes.array::<8>()?),
                STRING => drop(self.bytes.string()?.len()),
                _ => return Err(Damage::Data("a module's note has an unknown part")),
            }
        }
    }
}

fn strip_zeroes(digits: &[u8]) -> &[u8] {
    let zeroes = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeroes.min(digits.len() - 1)..]
}

#[cfg(test)]
mod tests;
