//! DEBUG DIGEST and DIGEST-VALUE: a number for all data, and for the value of a key, which is the server's for the same data. What comes in no order is
//! joined by exclusive or, so that the order makes no difference.

use sha1::{Digest as _, Sha1};

use crate::keyspace::{Db, Entry, scan};
use crate::num;
use crate::value::stream::Id;
use crate::value::{Type, Value};

/// 20 bytes of SHA-1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    /// Joins bytes whose order makes no difference.
    fn join(&mut self, bytes: &[u8]) {
        let hash: [u8; 20] = Sha1::digest(bytes).into();
        self.0.iter_mut().zip(hash).for_each(|(byte, other)| *byte ^= other);
    }

    /// Joins bytes behind those before them.
    fn add(&mut self, bytes: &[u8]) {
        self.join(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    /// That of these texts, in their order.
    fn of(texts: [&[u8]; 2]) -> Self {
        let mut digest = Self::default();
        texts.iter().for_each(|text| digest.add(text));
        digest
    }

    /// In hexadecimal digits.
    pub(super) fn text(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The digest of all databases. O(bytes of all data).
pub(super) fn of_all(db: &mut Db<'_>) -> Digest {
    let (mut all, home) = (Digest::default(), db.index());
    let mut databases = db.databases();
    databases.sort_unstable();
    for index in databases {
        db.select(index);
        let mut is_begun = false;
        scan::each(db, |entry| {
            if !is_begun {
                all.add(&(index as u32).to_be_bytes());
                is_begun = true;
            }
            let mut digest = Digest::default();
            digest.add(entry.key());
            add_value(&mut digest, &entry, db.now());
            all.join(&digest.0);
        });
    }
    db.select(home);
    all
}

/// The digest of the value of a key, all zeroes where there is none. O(bytes of the value).
pub(super) fn of_value(db: &Db<'_>, key: &[u8]) -> Digest {
    let mut digest = Digest::default();
    if let Some(entry) = db.peek(&db.key(key)) {
        add_value(&mut digest, &entry, db.now());
    }
    digest
}

fn number_of(kind: Type) -> u32 {
    match kind {
        Type::String => 0,
        Type::List => 1,
        Type::Set => 2,
        Type::ZSet => 3,
        Type::Hash => 4,
        // 5 is what modules keep.
        Type::Stream => 6,
    }
}

fn add_value(digest: &mut Digest, entry: &Entry<'_>, now: u64) {
    let value = entry.value();
    digest.add(&number_of(value.data_type()).to_be_bytes());
    match value {
        Value::Int(int) => digest.add(itoa::Buffer::new().format(int).as_bytes()),
        Value::Str(bytes) => digest.add(bytes),
        Value::List(list) => list.each(|element| element.with(|text| digest.add(text))),
        Value::Set(set) => set.each(|member| member.with(|text| digest.join(text))),
        Value::ZSet(zset) => zset.each(|member, score| {
            let mut text = Vec::new();
            num::write_f64_shortest(&mut text, score);
            digest.join(&member.with(|member| Digest::of([member, &text])).0);
        }),
        Value::Hash(hash) => hash.each(now, |field, value| {
            let pair = field.with(|field| value.with(|value| Digest::of([field, value])));
            digest.join(&pair.0);
        }),
        Value::Stream(stream) => stream.each(Id::MIN, Id::MAX, false, |entry| {
            digest.add(format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
            entry.each(|text| text.with(|text| digest.add(text)));
            true
        }),
    }
    if entry.deadline().is_some() {
        digest.join(b"!!expire!!");
    }
}
