//! Reading a log: commands one after the other, of which those between MULTI and EXEC count as one.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use super::files;
use super::loading::{self, Loaded, Time};
use super::mapped::{self, Adopted, MappedFile};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::Keyspace;
use crate::rdb::KeyRecord;
use crate::resp::RequestBuffer;

/// Bytes that are read at once.
const PIECE: usize = 256 << 10;

/// Takes what a file of a log holds.
pub(crate) trait Receiver {
    /// A key of the snapshot that the file begins with.
    ///
    /// # Errors
    /// It can't be taken: the reading ends.
    fn key(&mut self, record: KeyRecord) -> Result<()>;

    /// A snapshot of Keystead's own format, to be taken whole if that can be; else its keys come one by one.
    ///
    /// # Errors
    /// It is damaged, or can't be read, or there is no memory.
    fn whole(&mut self, file: MappedFile, _: Time) -> Result<Adopted> {
        Ok(Adopted::Not(file))
    }

    /// A command.
    ///
    /// # Errors
    /// As of [`Receiver::key`].
    fn command(&mut self, words: &[&[u8]]) -> Result<()>;
}

/// A file of a log, or a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// What a killed process has not written to its end.
    pub(crate) missing: Vec<u8>,
    /// Bytes up to where it is whole, if it is not.
    pub(crate) whole: Option<u64>,
}

impl Source {
    /// A file that has all.
    pub(crate) fn whole(path: &Path) -> Self {
        Self { path: path.to_owned(), missing: Vec::new(), whole: None }
    }
}

/// Reads a file of a log, which may begin with a snapshot. Returns what that had, if it does, and how the commands end. `heard` is told how many bytes have
/// been read, again and again.
///
/// # Errors
/// It is damaged, which the text says with the file and the place, or can't be read, or `receiver` fails.
pub(crate) fn read_file(
    keyspace: &Keyspace,
    Source { path, missing, whole }: &Source,
    time: Time,
    receiver: &mut dyn Receiver,
    heard: &dyn Fn(u64),
) -> Result<(Option<Loaded>, End)> {
    let told = |error: io::Error| files::told("Reading", path, &error);
    let mut file = File::open(path).map_err(told)?;
    if mapped::is_one(&mut file, path).map_err(told)? {
        let len = file.metadata().map_err(told)?.len();
        let loaded = match receiver.whole(MappedFile::open(file, path)?, time)? {
            Adopted::Whole(loaded) => loaded,
            Adopted::Not(file) => file.each_key(keyspace, time, |record| receiver.key(record))?,
        };
        heard(len);
        return Ok((Some(loaded), End { whole: len, len }));
    }
    let starts_with_snapshot = starts_with_snapshot(&mut file).map_err(told)?;
    let file = file.take(whole.unwrap_or(u64::MAX));
    let mut source = Counted { source: file.chain(&missing[..]), read: 0, heard };
    let (mut loaded, mut start) = (None, (Vec::new(), 0));
    if starts_with_snapshot {
        let read = loading::read(keyspace, &mut source, time, |record| receiver.key(record));
        let (snapshot, rest) = read.map_err(|error| in_file(path, &error))?;
        loaded = Some(snapshot);
        let at = source.read - rest.len() as u64;
        start = (rest, at);
    }
    let end = read(&mut source, start, |words| receiver.command(words));
    Ok((loaded, end.map_err(|error| in_file(path, &error))?))
}

/// Counts what is read.
struct Counted<'h, S> {
    source: S,
    read: u64,
    heard: &'h dyn Fn(u64),
}

impl<S: Read> Read for Counted<'_, S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.read += read as u64;
        (self.heard)(self.read);
        Ok(read)
    }
}

/// Whether a file begins as snapshots do. It is read from its beginning afterwards.
fn starts_with_snapshot(file: &mut File) -> io::Result<bool> {
    let mut head = Vec::new();
    file.by_ref().take(6).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head.starts_with(b"REDIS") || head == b"VALKEY")
}

/// What went wrong in a file, with its name.
fn in_file(path: &Path, error: &Error) -> Error {
    let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
    Error::new(ErrorKind::Io, format!("{text}, in {}", path.display()))
}

/// How a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Bytes up to the end of the last command, or transaction, that is whole.
    pub(crate) whole: u64,
    /// Bytes that there are.
    pub(crate) len: u64,
}

impl End {
    /// Whether the last command is whole.
    pub(crate) fn is_whole(self) -> bool {
        self.whole == self.len
    }
}

/// Calls `apply` with the words of each command of a log, but for MULTI and EXEC and what stands between them if there is no EXEC. `start` are bytes of it
/// that were read before, which begin at the place `at`.
///
/// # Errors
/// It is damaged, which the text says with the place, or can't be read, or `apply` fails.
pub(crate) fn read(
    source: &mut dyn Read,
    (start, at): (Vec<u8>, u64),
    mut apply: impl FnMut(&[&[u8]]) -> Result<()>,
) -> Result<End> {
    let mut requests = RequestBuffer::new(usize::MAX >> 1);
    let (mut fed, mut end) = (at + start.len() as u64, End { whole: at, len: 0 });
    let mut group: Option<Vec<Vec<Vec<u8>>>> = None;
    *requests.input() = start;
    loop {
        loop {
            let before = fed - requests.buffered() as u64;
            let Some(args) = requests.next().map_err(|_| damaged(before, "there is no command"))? else {
                break;
            };
            let words: Vec<&[u8]> = args.iter().collect();
            let is = |name: &[u8]| words[0].eq_ignore_ascii_case(name);
            if words[0].starts_with(b"#") {
                // A note.
            } else if is(b"MULTI") {
                if group.replace(Vec::new()).is_some() {
                    return Err(damaged(before, "MULTI stands within a transaction"));
                }
            } else if is(b"EXEC") {
                let commands = group.take().ok_or_else(|| damaged(before, "EXEC ends no transaction"))?;
                for command in commands {
                    apply(&command.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
                }
            } else if let Some(group) = &mut group {
                group.push(words.iter().map(|word| word.to_vec()).collect());
            } else {
                apply(&words)?;
            }
            if group.is_none() {
                end.whole = fed - requests.buffered() as u64;
            }
        }
        let input = requests.input();
        input.try_reserve(PIECE).map_err(|_| Error::no_memory())?;
        let read = (&mut *source).take(PIECE as u64).read_to_end(input);
        match read.map_err(|error| Error::io("Reading the log", &error))? {
            0 => {
                end.len = fed;
                return Ok(end);
            }
            more => fed += more as u64,
        }
    }
}

fn damaged(place: u64, reason: &str) -> Error {
    Error::new(ErrorKind::Io, format!("ERR The log is damaged at byte {place}: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(log: &[u8]) -> Result<(String, End)> {
        let mut told = Vec::new();
        let end = read(&mut &log[..], (Vec::new(), 0), |words| {
            told.push(words.iter().map(|word| String::from_utf8_lossy(word)).collect::<Vec<_>>().join(" "));
            Ok(())
        })?;
        Ok((told.join(", "), end))
    }

    const LOG: &[u8] =
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1\r\n*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\n\
        *2\r\n$4\r\nINCR\r\n$1\r\nb\r\n*1\r\n$4\r\nEXEC\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n";

    #[test]
    fn commands_come_in_their_order() {
        let len = LOG.len() as u64;
        assert_eq!(
            told(LOG).unwrap(),
            ("SELECT 0, INCR a, INCR b, DEL a".to_owned(), End { whole: len, len })
        );
        assert!(told(b"").unwrap().1.is_whole());
    }

    #[test]
    fn a_log_that_is_cut_off_is_whole_up_to_some_place() {
        for len in 0..LOG.len() {
            let (commands, end) = told(&LOG[..len]).unwrap();
            assert_eq!(end.len, len as u64);
            assert!("SELECT 0, INCR a, INCR b".starts_with(&commands), "{len}: {commands}");
            let (again, all) = told(&LOG[..end.whole as usize]).unwrap();
            assert!(again == commands && all.is_whole(), "{len}: {commands}");
        }
    }

    #[test]
    fn damage_is_told_with_its_place() {
        for (log, place) in [
            (&b"*1\r\n$4\r\nPING\r\n*x\r\n"[..], 14),
            (b"*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nEXEC\r\n", 14),
            (b"*1\r\n$5\r\nMULTI\r\n*1\r\n$5\r\nMULTI\r\n", 15),
            (b"*1\r\nxPING\r\n", 0),
        ] {
            let error = told(log).unwrap_err().to_string();
            assert!(error.contains(&format!("damaged at byte {place}:")), "{error}");
        }
    }
}
