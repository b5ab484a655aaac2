//! What fuzz targets run: structures that no program sees, each beside a model of its own, files, and what clients send. A fuzzer's bytes become one of
//! these, which runs itself.
//!
//! The targets are in `fuzz/`, the models beside what they try.

mod protocol;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::keyspace::Keyspace;
use crate::persist::{loading::Time, log_reader, manifest::Manifest, mapped::MappedFile, mapped::repair};
use crate::rdb::{FileReader, payload_of};
use crate::{Clock, Config, Engine, Form, Session};

pub use protocol::protocol;

pub use crate::store::collection::tree::model::Input as Tree;
pub use crate::value::hyperloglog::model::Input as HyperLogLog;
pub use crate::value::intset::model::Input as Intset;
pub use crate::value::listpack::model::Input as Listpack;

/// No value of these bytes is longer.
const LONGEST: &str = "proto-max-bulk-len 1mb\nrdbchecksum no\nenable-debug-command yes\n";

fn engine() -> Engine {
    let config = Config::from_text(LONGEST.as_bytes()).expect("these are options");
    Engine::builder().clock(Clock::manual(1_000_000)).config(config).open().expect("there is memory")
}

thread_local! {
    static SESSION: RefCell<Session> = RefCell::new(engine().session(Form::Resp));
}

/// A value in the server's own format, with a checksum that is right. One that can be read can be written, and what is written is read as the same.
///
/// # Panics
/// It is not.
pub fn payload(bytes: &[u8]) {
    SESSION.with_borrow_mut(|session| {
        let restore = |session: &mut Session, key: &[u8], payload: &[u8]| {
            session.execute(&[b"RESTORE", key, b"0", payload, b"REPLACE"]) == b"+OK\r\n"
        };
        if !restore(session, b"one", &payload_of(bytes)) {
            return;
        }
        let dumped = session.execute(&[b"DUMP", b"one"]).to_vec();
        let start = dumped.iter().position(|byte| *byte == b'\n').expect("a reply has lines") + 1;
        assert!(restore(session, b"other", &dumped[start..dumped.len() - 2]), "what is written can be read");
        for words in [&[&b"DEBUG"[..], b"DIGEST-VALUE"][..], &[b"OBJECT", b"ENCODING"]] {
            let told = [&b"one"[..], b"other"].map(|key| session.execute(&[words, &[key]].concat()).to_vec());
            assert_eq!(told[0], told[1], "{}", words[1].escape_ascii());
        }
    });
}

/// A file of the server's own format behind its name and version: it is read to its end, or to an error.
pub fn snapshot(bytes: &[u8]) {
    SESSION.with_borrow(|session| {
        let file = [b"VALKEY080", bytes].concat();
        let mut file = &file[..];
        let making = session.engine().inner.keyspace.making();
        let Ok(mut reader) = FileReader::begin(&mut file, making) else { return };
        while let Ok(Some(_)) = reader.next() {}
    });
}

/// Something of most encodings, in three databases, with every kind of time to live.
const KEPT: &[&str] = &[
    "SET text value",
    "SET late 17 PXAT 4102444800000",
    "HSET hash f 1 g 2",
    "HPEXPIREAT hash 4102444800000 FIELDS 1 f",
    "RPUSH list a b c",
    "SELECT 3",
    "ZADD zset 1.5 a 2 b",
    "XADD stream 1-1 f v",
    "XGROUP CREATE stream group 0",
    "SELECT 7",
    "SADD set a b c",
    "SELECT 0",
];

/// A mapped snapshot that is whole.
fn whole() -> &'static [u8] {
    static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let path = scratch();
        let engine = engine();
        let mut session = engine.session(Form::Resp);
        for line in KEPT {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            assert!(!session.execute(&words).starts_with(b"-"), "{line}");
        }
        engine.snapshot(&path).expect("there is a folder for temporary files");
        let bytes = std::fs::read(&path).expect("it was just written");
        let _ = std::fs::remove_file(&path);
        bytes
    })
}

/// A mapped snapshot: the bytes themselves, if they begin as one, else a whole one that they change. What is not whole is refused; all else is opened, in
/// both ways.
///
/// The first byte says whether what was changed in head, meta and checksums gets checksums that are right, so that what these parts say is read. Those of
/// pages stay. The rest are changes: what kind, where, how much, and the bytes.
pub fn mapped(bytes: &[u8]) {
    let (file, is_repaired) = if bytes.starts_with(b"KEYSTEAD") {
        (bytes.to_vec(), bytes.len().is_multiple_of(2))
    } else {
        let mut file = whole().to_vec();
        let Some((how, changes)) = bytes.split_first() else { return };
        change(&mut file, changes);
        (file, how.is_multiple_of(2))
    };
    let file = if is_repaired { repair(file) } else { file };
    let Ok(file) = nameless(&file) else { return };
    let path = Path::new("fuzzed.ks");
    SESSION.with_borrow(|session| {
        let keyspace = &session.engine().inner.keyspace;
        let copy = file.try_clone().expect("there are handles");
        let Ok(found) = MappedFile::open(file, path) else { return };
        if found.verify(|| true).is_err() {
            return;
        }
        let _ = found.each_key(keyspace, Time::Present, |_| Ok(()));
        let seed = found.seed();
        let clock = Clock::manual(1_000_000);
        let fresh = Keyspace::new(clock, keyspace.config.clone(), seed);
        if let Ok(found) = MappedFile::open(copy, path) {
            let _ = found.adopt(&fresh, Time::OfFile, |_| ());
        }
    });
}

/// Changes of a file: a byte says which part it is in and what is done, two where, one how many bytes follow.
fn change(file: &mut Vec<u8>, mut changes: &[u8]) {
    let number = |file: &[u8], at: usize| {
        file.get(at..at + 8).map_or(0, |bytes| u64::from_le_bytes(bytes.try_into().expect("eight")) as usize)
    };
    while let Some(([what, low, high, len], rest)) = changes.split_first_chunk() {
        let (new, rest) = rest.split_at(rest.len().min(usize::from(len % 32)));
        changes = rest;
        let offset = usize::from(*high) << 8 | usize::from(*low);
        let (meta, meta_len) = (number(file, 56), number(file, 64));
        let at = match what % 4 {
            0 => offset % 96,
            1 => meta.saturating_add(offset % meta_len.max(1)),
            2 => (64 << 10) + offset % (16 << 12),
            _ => meta.saturating_add(meta_len).saturating_add(offset),
        };
        let at = at.min(file.len());
        match what / 4 % 4 {
            0 | 1 => {
                let end = (at + new.len()).min(file.len());
                file[at..end].copy_from_slice(&new[..end - at]);
            }
            // The numbers that tell of it are changed, too: the rest moves with what it stands behind.
            kind => {
                let end = if kind == 2 { at } else { (at + new.len()).min(file.len()) };
                let more = if kind == 2 { new } else { &[] };
                let is_in_meta = (meta..meta.saturating_add(meta_len)).contains(&at);
                let grown = (more.len() + at).wrapping_sub(end);
                file.splice(at..end, more.iter().copied());
                if is_in_meta && file.len() >= 72 {
                    file[64..72].copy_from_slice(&(meta_len.wrapping_add(grown) as u64).to_le_bytes());
                }
                let len = file.len() as u64;
                if let Some(told) = file.get_mut(16..24) {
                    told.copy_from_slice(&len.to_le_bytes());
                }
            }
        }
    }
}

/// A file that has no name any more, in memory where the system has such a folder.
fn nameless(bytes: &[u8]) -> std::io::Result<File> {
    let path = scratch();
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
    let _ = std::fs::remove_file(&path);
    file.write_all(bytes)?;
    Ok(file)
}

/// Where files can be made that are not kept.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    folder.join(format!("keystead-fuzz-{}.ks", std::process::id()))
}

/// A log, and the same bytes as a manifest: what is whole of it is read again as the same.
///
/// # Panics
/// It is not.
pub fn log(bytes: &[u8]) {
    let read = |mut bytes: &[u8]| {
        let mut commands = Vec::new();
        let end = log_reader::read(&mut bytes, (Vec::new(), 0), |words| {
            commands.push(words.iter().map(|word| word.to_vec()).collect::<Vec<_>>());
            Ok(())
        });
        end.map(|end| (end, commands))
    };
    if let Ok((end, commands)) = read(bytes) {
        let whole = usize::try_from(end.whole).expect("it is a part of what is in memory");
        let (again, same) = read(&bytes[..whole]).expect("it was read before");
        assert!(again.is_whole() && same == commands, "{again:?} of {end:?}");
    }
    if let Ok(manifest) = Manifest::parse(bytes) {
        assert_eq!(Manifest::parse(manifest.text().as_bytes()).ok(), Some(manifest));
    }
}
