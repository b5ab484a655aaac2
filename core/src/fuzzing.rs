//! What fuzz targets run: structures that no program sees, each beside a model of its own. A fuzzer's bytes become one of these, which runs itself.
//!
//! The targets are in `fuzz/`, the models beside what they try.

use std::cell::RefCell;

use crate::persist::{log_reader, manifest::Manifest};
use crate::rdb::{FileReader, payload_of};
use crate::{Clock, Config, Engine, Form, Session};

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
