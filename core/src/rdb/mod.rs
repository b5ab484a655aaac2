//! Values in the server's own format, RDB: what DUMP replies and RESTORE takes, and what files of that format hold of each key.
//!
//! Written is what 9.1 writes (RDB 80); read is what it reads: every encoding from RDB 1 on, but what modules wrote. Numbers whose order is not said are
//! little-endian. What stands here is layout alone: which keys there are, and what becomes of a value, is for others to say.

mod decoder;
mod encoder;
mod file;
mod lzf;
mod packs;
mod payload;
mod streams;
mod values;

use crate::config::Hot;
pub(crate) use file::{FileReader, FileWriter, KeyInfo, KeyRecord, Record, Recorder, Sizes, Usage};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use payload::payload_of;
pub(crate) use payload::{dumped, restored, serialized_len};
#[cfg(feature = "scripting")]
pub(crate) use payload::{dumped_functions, restored_functions};
pub(crate) use values::Making;

/// The version that is written, where nothing else is asked for.
const VERSION: u16 = 80;

/// Versions that files are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// 11, the last one that Redis and Valkey have in common: it has no hashes with deadlines of fields.
    Common,
    /// 80, as 9.1 writes it.
    Valkey,
}

/// The last version that Redis and Valkey have in common, and the first of Valkey's own. What is between them is another's.
const LAST_COMMON: u16 = 11;
const FIRST_OF_VALKEY: u16 = 80;

/// Whether files and payloads of a version are read: those that are known, or with `rdb-version-check relaxed` all.
fn is_read(version: u16, options: &Hot) -> bool {
    const STRICT: usize = 0;
    match version {
        0 => false,
        1..=LAST_COMMON | FIRST_OF_VALKEY..=VERSION => true,
        _ => options.rdb_version_check() != STRICT,
    }
}

/// How a value is encoded: the byte before it.
mod form {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    /// Scores are texts.
    pub(super) const ZSET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    /// Scores are numbers of eight bytes.
    pub(super) const ZSET_2: u8 = 5;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    /// Nodes are ziplists.
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    /// Nodes are listpacks, or one element each.
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    /// With the first ID, the greatest that was deleted, how many were added, and what groups have read.
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    /// With the time when consumers last got something.
    pub(super) const STREAM_3: u8 = 21;
    /// With deadlines of fields.
    pub(super) const HASH_2: u8 = 22;
}
