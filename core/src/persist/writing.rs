//! What a file of all keys consists of: records of the server's format, the commands that make the keys, or memory.

use std::io::Write;
use std::path::Path;

use super::{commands, mapped};
use crate::config::Hot;
use crate::error::{Error, Result};
use crate::rdb::{FileWriter, KeyInfo, Recorder, Sizes, Version};
use crate::value::Value;

/// See the module's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Rdb(Version),
    Commands,
    /// Memory as it is used, which [`super::mapped`] writes.
    Mapped,
}

impl Form {
    /// What the base of a log is, as the options say.
    pub(crate) fn of_base(options: &Hot) -> Self {
        match options.base_format() {
            0 if options.aof_use_rdb_preamble() => Self::Rdb(Version::Valkey),
            0 => Self::Commands,
            _ => Self::Mapped,
        }
    }

    /// What a snapshot of this name is.
    pub(crate) fn of_file(path: &Path) -> Self {
        if mapped::is_named_so(path) { Self::Mapped } else { Self::Rdb(Version::Valkey) }
    }

    /// How the names of bases end.
    pub(crate) fn ending_of_base(self) -> &'static str {
        match self {
            Self::Rdb(_) => "base.rdb",
            Self::Commands => "base.aof",
            Self::Mapped => "base.ks",
        }
    }
}

/// Keys, encoded one after the other.
#[derive(Default)]
pub(super) struct Records {
    rdb: Recorder,
    commands: Vec<u8>,
}

impl Records {
    /// Appends a key. O(bytes). Returns where it ends.
    ///
    /// # Errors
    /// There is no memory; nothing is appended.
    pub(super) fn push(
        &mut self,
        form: Form,
        info: KeyInfo<'_>,
        value: Value<'_>,
        compresses: bool,
    ) -> Result<usize> {
        let Form::Commands = form else { return self.rdb.push(info, value, compresses) };
        let before = self.commands.len();
        let written = commands::write(info.key, info.deadline, value, &mut |bytes| {
            self.commands.try_reserve(bytes.len()).map_err(|_| Error::no_memory())?;
            self.commands.extend_from_slice(bytes);
            Ok(())
        });
        if written.is_err() {
            self.commands.truncate(before);
        }
        written.map(|()| self.commands.len())
    }

    pub(super) fn bytes(&self, form: Form) -> &[u8] {
        if form == Form::Commands { &self.commands } else { self.rdb.bytes() }
    }
}

/// A file that is being written.
pub(super) enum Writer<'f> {
    Rdb(FileWriter<'f>),
    Commands(CommandWriter<'f>),
}

impl<'f> Writer<'f> {
    /// Begins a file with notes about it and the sizes of databases, which commands have none of but the time.
    ///
    /// # Errors
    /// It can't be written; as with all that follows.
    pub(super) fn begin(
        file: &'f mut dyn Write,
        form: Form,
        options: &Hot,
        (notes, sizes): (&[(&str, String)], Sizes),
        now_s: u64,
    ) -> Result<Self> {
        let mut writer = match form {
            Form::Rdb(version) => {
                let writer = FileWriter::begin(file, options, version, notes)?;
                return Ok(Self::Rdb(writer.with_sizes(sizes)));
            }
            Form::Commands => CommandWriter { file, bytes: Vec::new(), written: 0, db: None },
            Form::Mapped => unreachable!("it is written elsewhere"),
        };
        if options.aof_timestamp_enabled() {
            writer.take(format!("#TS:{now_s}\r\n").as_bytes())?;
        }
        Ok(Self::Commands(writer))
    }

    /// Writes a library of functions, as it was read.
    pub(super) fn function(&mut self, library: &[u8]) -> Result<()> {
        match self {
            Self::Rdb(out) => out.function(library),
            Self::Commands(out) => {
                commands::write_one([b"FUNCTION", &b"LOAD"[..], library], &mut |bytes| out.take(bytes))
            }
        }
    }

    /// Writes a key. O(bytes).
    pub(super) fn key(&mut self, db: usize, info: KeyInfo<'_>, value: Value<'_>) -> Result<()> {
        match self {
            Self::Rdb(out) => out.key(db, info, value),
            Self::Commands(out) => {
                out.select(db)?;
                commands::write(info.key, info.deadline, value, &mut |bytes| out.take(bytes))
            }
        }
    }

    /// Writes keys of a database that [`Records`] have.
    pub(super) fn record(&mut self, db: usize, record: &[u8]) -> Result<()> {
        match self {
            Self::Rdb(out) => out.record(db, record),
            Self::Commands(out) => {
                out.select(db)?;
                out.take(record)
            }
        }
    }

    /// Ends the file. Returns its length.
    pub(super) fn end(self) -> Result<u64> {
        match self {
            Self::Rdb(out) => out.end(),
            Self::Commands(mut out) => {
                out.flush()?;
                Ok(out.written)
            }
        }
    }
}

/// Writes commands.
pub(super) struct CommandWriter<'f> {
    file: &'f mut dyn Write,
    bytes: Vec<u8>,
    written: u64,
    db: Option<usize>,
}

impl CommandWriter<'_> {
    fn select(&mut self, db: usize) -> Result<()> {
        if self.db.replace(db) == Some(db) {
            return Ok(());
        }
        commands::write_one(["SELECT", &db.to_string()], &mut |bytes| self.take(bytes))
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        /// Bytes that are held before they go to the file.
        const PIECE: usize = 64 << 10;
        self.bytes.try_reserve(bytes.len()).map_err(|_| Error::no_memory())?;
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all(&self.bytes).map_err(|error| Error::io("Writing", &error))?;
        self.written += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}
