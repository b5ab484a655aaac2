//! What is written and read again, what older servers wrote, and what damaged files come to.

use super::*;
use crate::rdb::payload::CHECKSUM;
use crate::{Config, Engine};

/// A record, told.
fn told(record: Record) -> String {
    match record {
        Record::Note(name, note) => format!("{}={}", name.escape_ascii(), note.escape_ascii()),
        Record::Function(library) => format!("function {}", library.escape_ascii()),
        Record::Key(KeyRecord { db, key, deadline, usage, value }) => {
            format!("{db} {} {deadline:?} {usage:?} {value:?}", key.escape_ascii())
        }
    }
}

/// All records, and what stands behind the end.
fn read_with(engine: &Engine, mut file: &[u8]) -> crate::Result<(Vec<String>, Vec<u8>)> {
    let mut reader = FileReader::begin(&mut file, engine.inner.keyspace.making())?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(told(record));
    }
    Ok((records, reader.into_rest()))
}

fn read(file: &[u8]) -> crate::Result<Vec<String>> {
    read_with(&Engine::new(), file).map(|(records, _)| records)
}

/// A file of these records, with its end.
fn file(head: &[u8], records: &[u8]) -> Vec<u8> {
    let mut file = [head, records, &[mark::END]].concat();
    file.extend_from_slice(&CHECKSUM.checksum(&file).to_le_bytes());
    file
}

fn small() -> Vec<u8> {
    let config = Config::default();
    let mut bytes = Vec::new();
    let mut out =
        FileWriter::begin(&mut bytes, config.hot(), Version::Valkey, &[("name", "note".to_owned())]).unwrap();
    out.function(b"#!lua name=lib").unwrap();
    let info = |key, deadline, usage| KeyInfo { key, deadline, usage };
    out.key(0, info(b"one", None, None), Value::Int(12)).unwrap();
    let mut recorder = Recorder::default();
    let text = b"a text that is compressed: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    recorder.push(info(b"two", Some(1 << 40), Some(Usage::Idle(70))), Value::Str(text), true).unwrap();
    recorder.push(info(b"300", None, Some(Usage::Frequency(9))), Value::Str(b"x"), true).unwrap();
    out.record(3, recorder.bytes()).unwrap();
    let written = out.end().unwrap();
    assert_eq!(written, bytes.len() as u64);
    bytes
}

#[test]
fn what_is_written_is_read() {
    let mut file = small();
    assert!(file.starts_with(b"VALKEY080"));
    let expected = [
        "name=note",
        "function #!lua name=lib",
        "0 one None None Text([49, 50])",
        "3 two Some(1099511627776) Some(Idle(70)) Text([97, 32, 116",
        "3 300 None Some(Frequency(9)) Text([120])",
    ];
    let (records, rest) = read_with(&Engine::new(), &file).unwrap();
    assert_eq!(records.len(), expected.len());
    for (record, expected) in records.iter().zip(expected) {
        assert!(record.starts_with(expected), "{record}");
    }
    assert!(rest.is_empty());
    file.extend_from_slice(b"*1\r\n");
    assert_eq!(read_with(&Engine::new(), &file).unwrap().1, b"*1\r\n", "what follows is another's");
}

#[test]
fn damage_is_told_wherever_it_is() {
    let file = small();
    for len in 0..file.len() {
        let error = read(&file[..len]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{len} bytes: {error}");
    }
    for place in 0..file.len() {
        for bit in 0..8 {
            let mut changed = file.clone();
            changed[place] ^= 1 << bit;
            // A checksum that is zero is none; no single bit makes it so.
            let error = read(&changed).expect_err("one bit is seen by the checksum, if by nothing before");
            assert_eq!(error.kind(), ErrorKind::Io, "bit {bit} of byte {place}: {error}");
        }
    }
    let config = Config::from_text(b"rdbchecksum no\n").unwrap();
    let unchecked = Engine::builder().config(config).open().unwrap();
    for place in 0..file.len() {
        for value in 0..=u8::MAX {
            let mut changed = file.clone();
            changed[place] = value;
            // Anything but a panic, a hang, or memory without bounds.
            let _ = read_with(&unchecked, &changed);
        }
    }
}

#[test]
fn what_older_servers_wrote_is_read() {
    let one = [form_of(Value::Int(1)), 1, b'k', 1, b'v'];
    let told = ["0 k None None Text([118])"];
    assert_eq!(read(&[&b"REDIS0003"[..], &one, &[mark::END]].concat()).unwrap(), told, "no checksum");
    assert_eq!(read(&file(b"REDIS0006", &one)).unwrap(), told);
    let zero = [&b"REDIS0009"[..], &one, &[mark::END], &[0; 8]].concat();
    assert_eq!(read(&zero).unwrap(), told, "a checksum of 0 is none");
    let seconds = [&[mark::DEADLINE_S][..], &7_i32.to_le_bytes(), &one].concat();
    assert_eq!(read(&file(b"REDIS0002", &seconds)).unwrap(), ["0 k Some(7000) None Text([118])"]);
    let sizes = [&[mark::DATABASE, 2, mark::SIZES, 1, 0, mark::SLOT_SIZES, 1, 1, 0][..], &one].concat();
    assert_eq!(read(&file(b"REDIS0011", &sizes)).unwrap(), ["2 k None None Text([118])"]);
    // A module, when, a signed and an unsigned number, a float, a double, a string, the end.
    let mut note = vec![mark::MODULE_NOTE, 5, 2, 1, 1, 7, 2, 7, 3, 0, 0, 0, 0, 4];
    note.extend_from_slice(&[0; 8]);
    note.extend_from_slice(&[5, 1, b'x', 0]);
    assert_eq!(read(&file(b"REDIS0011", &[&note[..], &one].concat())).unwrap(), told);
}

#[test]
fn what_cannot_be_read_is_named() {
    let refused = |head: &[u8], records: &[u8], text: &str| {
        let error = read(&file(head, records)).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    };
    refused(b"NOTREDIS1", &[], "it is no RDB file");
    refused(b"REDIS0000", &[], "version 0");
    refused(b"REDIS0012", &[], "version 12");
    refused(b"REDIS0080", &[], "version 80");
    refused(b"VALKEY011", &[], "version 11");
    refused(b"VALKEY081", &[], "version 81");
    refused(b"REDIS0011", &[mark::DATABASE, 16], "more databases");
    refused(b"REDIS0011", &[7, 1, b'k', 0], "a module's type");
    refused(b"REDIS0011", &[mark::EARLY_FUNCTIONS], "before 7.0");
    refused(b"VALKEY080", &[mark::SLOT_IMPORT], "a node of a cluster");
    refused(b"VALKEY080", &[mark::MODULE_NOTE, 1, 2, 1, 6], "an unknown part");
    refused(b"VALKEY080", &[0, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], "ends too soon");
}
