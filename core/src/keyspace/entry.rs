//! The layout of an entry in a shard's arena, and nothing but the layout.
//!
//! ```text
//! word 0   bits 0-4 kind, 5 deadline follows, 6 long lengths follow, 7 saved, 8 value is ASCII,
//!          9-39 access stamp, 40-47 key length, 48-63 value length
//! [word]   long lengths: key length in the low half, value length in the high half
//! [word]   deadline, unix milliseconds
//! key bytes, value bytes, padding to 8
//! ```
//!
//! *Saved*: the snapshot being written has got the entry, or shall not get it; see [`super::snapshot`].
//!
//! A value is the bytes of a string or of a packed collection, eight bytes of an integer, or the root of a value that has memory of its own.

use crate::store::memory::words::{Window, WindowMut, Words};
use crate::store::memory::{Arena, OutOfMemory, Ref, Region};
use crate::value::{Kind, MAX_IN_ARENA, NewValue};

/// Longest key and value whose lengths fit the first word.
const SHORT_KEY: usize = 0xff;
const SHORT_VALUE: usize = 0xffff;

const HAS_DEADLINE: u64 = 1 << 5;
const LONG: u64 = 1 << 6;
const SAVED: u64 = 1 << 7;
const ASCII: u64 = 1 << 8;
const STAMP_SHIFT: u32 = 9;
const STAMP_MASK: u64 = 0x7fff_ffff << STAMP_SHIFT;
const KEY_SHIFT: u32 = 40;
const VALUE_SHIFT: u32 = 48;

/// The decoded head of an entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    word: u64,
    pub(crate) key_len: usize,
    pub(crate) value_len: usize,
    key_at: usize,
}

impl Head {
    /// Reads the head of the entry at `at`.
    #[inline]
    pub(crate) fn read(arena: &Arena, at: Ref) -> Head {
        let words = arena.block(at).words();
        Head::of(words).expect("an entry lies within a segment")
    }

    /// The head that begins there; without the lock it may be no head at all. `None`: it would reach beyond the segment.
    #[inline(always)]
    pub(crate) fn of(words: Words<'_>) -> Option<Head> {
        let word = words.get(0)?;
        let mut key_at = 8;
        let (key_len, value_len) = if word & LONG == 0 {
            ((word >> KEY_SHIFT) as usize & 0xff, (word >> VALUE_SHIFT) as usize)
        } else {
            let lengths = words.get(1)?;
            key_at += 8;
            (lengths as u32 as usize, (lengths >> 32) as usize)
        };
        if word & HAS_DEADLINE != 0 {
            key_at += 8;
        }
        Some(Head { word, key_len, value_len, key_at })
    }

    /// As [`Head::of`], read without the lock; `None` for entries with long lengths, which may not fit the window.
    #[inline(always)]
    pub(crate) fn short(window: Window<'_>) -> Option<Head> {
        let word = window.word(0);
        if word & LONG != 0 {
            return None;
        }
        let (key_len, value_len) = ((word >> KEY_SHIFT) as usize & 0xff, (word >> VALUE_SHIFT) as usize);
        Some(Head { word, key_len, value_len, key_at: key_at(word) })
    }

    /// As [`Head::short`], for an entry of this key and of one of two kinds, which are one or differ in one bit.
    #[inline(always)]
    pub(crate) fn short_of(window: Window<'_>, key: &[u8], [kind, other]: [Kind; 2]) -> Option<Head> {
        let told_by = Kind::MASK & !(kind as u64 ^ other as u64);
        Head::short_if(window, key, told_by, kind as u64 & other as u64)
    }

    /// As [`Head::short`], for an entry of this key.
    #[inline(always)]
    pub(crate) fn short_of_any(window: Window<'_>, key: &[u8]) -> Option<Head> {
        Head::short_if(window, key, 0, 0)
    }

    /// As [`Head::short`], for an entry of this key, of whose first word these bits are these.
    #[inline(always)]
    fn short_if(window: Window<'_>, key: &[u8], bits: u64, are: u64) -> Option<Head> {
        let word = window.word(0);
        let told_by = bits | LONG | (SHORT_KEY as u64) << KEY_SHIFT;
        let is_it = key.len() <= SHORT_KEY && word & told_by == are | (key.len() as u64) << KEY_SHIFT;
        let head = Head {
            word,
            key_len: key.len(),
            value_len: (word >> VALUE_SHIFT) as usize,
            key_at: key_at(word),
        };
        (is_it && window.equal(head.key_at / 8, key)).then_some(head)
    }

    /// Where the value begins, in bytes.
    #[inline]
    pub(crate) fn value_at(&self) -> usize {
        self.key_at + self.key_len
    }

    /// Whether this is the head of an entry of that key; the words are those that it was read from.
    #[inline(always)]
    pub(crate) fn is_of(&self, words: Words<'_>, key: &[u8]) -> bool {
        self.key_len == key.len() && words.equal(self.key_at / 8, key)
    }

    /// Whether this is the head of an entry of that key, which the window is read from.
    #[inline(always)]
    pub(crate) fn is_seen_of(&self, window: Window<'_>, key: &[u8]) -> bool {
        self.key_len == key.len() && window.equal(self.key_at / 8, key)
    }

    /// The deadline, read without the lock.
    #[inline(always)]
    pub(crate) fn deadline_in(&self, window: Window<'_>) -> Option<u64> {
        self.has_deadline().then(|| window.word(1))
    }

    #[inline]
    pub(crate) fn kind(&self) -> Kind {
        Kind::from_bits(self.word)
    }

    /// 31 bits of access time or frequency; see [`super::access`].
    #[inline]
    pub(crate) fn stamp(&self) -> u32 {
        stamp_of(self.word)
    }

    /// The head with another stamp.
    #[inline(always)]
    pub(crate) fn stamped(self, stamp: u32) -> Head {
        Head { word: with_stamp(self.word, stamp), ..self }
    }

    /// Whether every byte of a string value is ASCII.
    #[inline]
    pub(crate) fn ascii(&self) -> bool {
        self.word & ASCII != 0
    }

    /// Whether the snapshot being written passes the entry over.
    #[inline]
    pub(crate) fn is_saved(&self) -> bool {
        self.word & SAVED != 0
    }

    /// Bytes of the whole entry.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.key_at + self.key_len + self.value_len
    }

    #[inline]
    pub(crate) fn has_deadline(&self) -> bool {
        self.word & HAS_DEADLINE != 0
    }

    /// The deadline in unix milliseconds.
    #[inline]
    pub(crate) fn deadline(&self, arena: &Arena, at: Ref) -> Option<u64> {
        self.has_deadline().then(|| arena.word(at, self.key_at / 8 - 1))
    }

    #[inline]
    pub(crate) fn key<'a>(&self, arena: &'a Arena, at: Ref) -> &'a [u8] {
        arena.bytes_from(at, self.key_at, self.key_len)
    }

    #[inline]
    pub(crate) fn value<'a>(&self, arena: &'a Arena, at: Ref) -> &'a [u8] {
        arena.bytes_from(at, self.key_at + self.key_len, self.value_len)
    }

    /// Whether a value of that length can take the place of the present one: the lengths stay short, and the block of its class.
    #[inline(always)]
    pub(crate) fn has_room_for(&self, len: usize) -> bool {
        self.word & LONG == 0
            && len <= SHORT_VALUE
            && (len == self.value_len
                || Arena::class_bytes(self.value_at() + len) == Arena::class_bytes(self.size()))
    }

    /// Whether [`Head::overwrite`] would do with that value and deadline.
    pub(crate) fn can_hold(&self, value: &NewValue<'_>, deadline: Option<u64>) -> bool {
        let len = match value {
            NewValue::Bytes(_, bytes) if bytes.len() <= MAX_IN_ARENA => bytes.len(),
            NewValue::Int(_) => size_of::<i64>(),
            _ => return false,
        };
        self.has_deadline() == deadline.is_some() && self.has_room_for(len)
    }

    /// Writes another value, and another deadline where there is one, over the entry at `at`, if the key can stay where it is and the
    /// entry keeps its size class. Says whether it did.
    pub(crate) fn overwrite(
        &self,
        arena: &mut Arena,
        at: Ref,
        kind: Kind,
        value: &[u8],
        deadline: Option<u64>,
        ascii: bool,
    ) -> bool {
        if self.has_deadline() != deadline.is_some() || !self.has_room_for(value.len()) {
            return false;
        }
        arena.set_word(at, 0, self.word_with(kind, value.len(), ascii));
        if let Some(deadline) = deadline {
            arena.set_word(at, self.key_at / 8 - 1, deadline);
        }
        arena.write(at, self.value_at(), [value]);
        true
    }

    /// Writes a value that [`Head::has_room_for`] over the present one, and finds out whether a text is ASCII on the way. False, and
    /// nothing is written, if it reaches beyond the window.
    #[inline(always)]
    pub(crate) fn write_over(&self, entry: &mut WindowMut<'_>, kind: Kind, value: &[u8]) -> bool {
        let Some(ascii) = entry.write(self.value_at(), value) else { return false };
        entry.set_word(0, self.word_with(kind, value.len(), ascii && kind != Kind::Int));
        true
    }

    /// The first word of the entry once it has another value, of short length.
    #[inline(always)]
    fn word_with(&self, kind: Kind, value_len: usize, ascii: bool) -> u64 {
        let changing = Kind::MASK | ASCII | (SHORT_VALUE as u64) << VALUE_SHIFT;
        let flag = if ascii { ASCII } else { 0 };
        self.word & !changing | kind as u64 | (value_len as u64) << VALUE_SHIFT | flag
    }

    /// Writes another length of the value, for which [there is room](Head::has_room_for), and returns the head that the entry has then.
    #[inline]
    pub(crate) fn resized(&self, arena: &Arena, at: Ref, value_len: usize) -> Head {
        // Stamp and marks may be others than when this was read.
        let word =
            arena.word(at, 0) & !((SHORT_VALUE as u64) << VALUE_SHIFT) | (value_len as u64) << VALUE_SHIFT;
        arena.set_word(at, 0, word);
        Head { word, value_len, ..*self }
    }

    /// Writes the head and the key of the entry at `at` over the block at `new`, for a value of that length, which the caller writes. It is no longer than those of
    /// an entry whose lengths are short.
    pub(crate) fn copy_resized(&self, arena: &Arena, at: Ref, new: Ref, value_len: usize) {
        let words = arena.block(new).words();
        words.copy_from(arena.block(at).words(), self.value_at().div_ceil(8));
        if self.word & LONG == 0 {
            self.resized(arena, new, value_len);
        } else {
            words.set_word(1, self.key_len as u64 | (value_len as u64) << 32);
        }
    }

    /// Whether a value of that length leaves the lengths of an entry short.
    #[inline]
    pub(crate) fn is_short(value_len: usize) -> bool {
        value_len <= SHORT_VALUE
    }

    /// Writes an entry like this one, of this key and deadline, over the block at `new`, with a value of another length, which is short: these pieces, one
    /// after the other. They may stand in the entry itself.
    #[inline(always)]
    pub(crate) fn write_resized(
        &self,
        arena: &Arena,
        new: Ref,
        value_len: usize,
        (key, deadline): (&[u8], Option<u64>),
        [a, b, c, d]: [&[u8]; 4],
    ) {
        /// Bytes that are written in half the time where they are joined first: whole words then.
        const JOINED: usize = 320;
        let words = arena.block(new).words();
        let cleared = self.word & !((SHORT_VALUE as u64) << VALUE_SHIFT);
        words.set_word(0, cleared | (value_len as u64) << VALUE_SHIFT);
        if let Some(deadline) = deadline {
            words.set_word(1, deadline);
        }
        let mut joined = [0; JOINED];
        let mut len = 0;
        for piece in [key, a, b, c, d] {
            let Some(room) = joined.get_mut(len..len + piece.len()) else {
                return words.write(self.key_at, [key, a, b, c, d]);
            };
            room.copy_from_slice(piece);
            len += piece.len();
        }
        words.write(self.key_at, [&joined[..len]]);
    }

    /// Appends the entry at `at` as it is to stand in a file: with another stamp, and no mark of a snapshot. O(bytes).
    pub(crate) fn copy_out(&self, arena: &Arena, at: Ref, stamp: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&(with_stamp(self.word, stamp) & !SAVED).to_le_bytes());
        out.extend_from_slice(arena.bytes_from(at, 8, self.size() - 8));
    }

    /// Key and value in one go.
    #[inline]
    pub(crate) fn key_and_value<'a>(&self, arena: &'a Arena, at: Ref) -> (&'a [u8], &'a [u8]) {
        arena.bytes_from(at, self.key_at, self.key_len + self.value_len).split_at(self.key_len)
    }
}

/// Whether the entry at `at` has exactly this key. For whoever holds the lock.
#[inline(always)]
pub(crate) fn key_is(region: &Region, at: Ref, key: &[u8]) -> bool {
    let Some(window) = region.window(at) else { return false };
    let word = window.word(0);
    if word & (LONG | (SHORT_KEY as u64) << KEY_SHIFT) == (key.len() as u64) << KEY_SHIFT {
        // A longer key would have set higher bits.
        return window.equal(key_at(word) / 8, key);
    }
    word & LONG != 0 && long_key_is(region, at, key)
}

/// Where the key of an entry with short lengths begins, in bytes.
#[inline(always)]
fn key_at(word: u64) -> usize {
    if word & HAS_DEADLINE != 0 { 16 } else { 8 }
}

#[cold]
fn long_key_is(region: &Region, at: Ref, key: &[u8]) -> bool {
    region.words(at).is_some_and(|words| Head::of(words).is_some_and(|head| head.is_of(words, key)))
}

/// Gives the entry at `at` the stamp that `next` makes of the present one. If it is the same nothing is written: a read must not dirty a
/// cache line in vain.
#[inline]
pub(crate) fn stamp(arena: &Arena, at: Ref, next: impl FnOnce(u32) -> u32) {
    arena.change_first(at, |word| with_stamp(word, next(stamp_of(word))));
}

#[inline(always)]
fn stamp_of(word: u64) -> u32 {
    ((word & STAMP_MASK) >> STAMP_SHIFT) as u32
}

#[inline(always)]
fn with_stamp(word: u64, stamp: u32) -> u64 {
    word & !STAMP_MASK | (u64::from(stamp) << STAMP_SHIFT) & STAMP_MASK
}

/// Writes a deadline over the one that the entry has.
pub(crate) fn overwrite_deadline(arena: &Arena, at: Ref, deadline: u64) {
    let head = Head::read(arena, at);
    debug_assert!(head.has_deadline(), "only an entry with a deadline has room for one");
    arena.set_word(at, head.key_at / 8 - 1, deadline);
}

/// Has the snapshot being written pass the entry over, or not.
pub(crate) fn set_saved(arena: &Arena, at: Ref, is_saved: bool) {
    let word = arena.word(at, 0) & !SAVED;
    arena.set_word(at, 0, if is_saved { word | SAVED } else { word });
}

/// Records whether the string value is pure ASCII.
pub(crate) fn set_ascii(arena: &Arena, at: Ref, ascii: bool) {
    let word = arena.word(at, 0) & !ASCII;
    arena.set_word(at, 0, if ascii { word | ASCII } else { word });
}

/// What a new entry is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) kind: Kind,
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    pub(crate) deadline: Option<u64>,
    pub(crate) stamp: u32,
    pub(crate) ascii: bool,
    pub(crate) is_saved: bool,
}

impl Parts<'_> {
    fn is_long(&self) -> bool {
        self.key.len() > SHORT_KEY || self.value.len() > SHORT_VALUE
    }

    /// Bytes of the entry.
    pub(crate) fn size(&self) -> usize {
        let words = 1 + usize::from(self.is_long()) + usize::from(self.deadline.is_some());
        words * 8 + self.key.len() + self.value.len()
    }

    /// Allocates the entry and writes it.
    pub(crate) fn store(&self, arena: &mut Arena) -> Result<Ref, OutOfMemory> {
        let at = arena.alloc(self.size())?;
        self.write(arena, at);
        Ok(at)
    }

    /// Appends the entry as it is to stand in a file.
    pub(crate) fn copy_out(&self, out: &mut Vec<u8>) {
        let lengths = if self.is_long() { LONG } else { self.lengths() };
        out.extend_from_slice(&(self.flags() | lengths).to_le_bytes());
        if self.is_long() {
            out.extend_from_slice(&(self.key.len() as u64 | (self.value.len() as u64) << 32).to_le_bytes());
        }
        out.extend_from_slice(self.deadline.map(u64::to_le_bytes).as_ref().map_or(&[], |bytes| &bytes[..]));
        out.extend_from_slice(self.key);
        out.extend_from_slice(self.value);
    }

    /// The first word, without what tells lengths.
    #[inline(always)]
    fn flags(&self) -> u64 {
        let mut word = self.kind as u64 | (u64::from(self.stamp) << STAMP_SHIFT) & STAMP_MASK;
        for (bit, set) in
            [(HAS_DEADLINE, self.deadline.is_some()), (SAVED, self.is_saved), (ASCII, self.ascii)]
        {
            if set {
                word |= bit;
            }
        }
        word
    }

    /// The lengths, as they stand in the first word where they are short.
    #[inline(always)]
    fn lengths(&self) -> u64 {
        (self.key.len() as u64) << KEY_SHIFT | (self.value.len() as u64) << VALUE_SHIFT
    }

    /// Writes the entry over an allocation of its size class.
    pub(crate) fn write(&self, arena: &mut Arena, at: Ref) {
        let flags = self.flags();
        if self.is_long() {
            return self.write_long(arena, at, flags | LONG);
        }
        let word = flags | self.lengths();
        arena.set_word(at, 0, word);
        if let Some(deadline) = self.deadline {
            arena.set_word(at, 1, deadline);
        }
        let (key_at, value_at) = (key_at(word), key_at(word) + self.key.len());
        let is_written = arena.window_mut(at).is_some_and(|mut entry| {
            entry.write(key_at, self.key).is_some() && entry.write(value_at, self.value).is_some()
        });
        if !is_written {
            arena.write(at, key_at, [self.key, self.value]);
        }
    }

    #[cold]
    fn write_long(&self, arena: &mut Arena, at: Ref, word: u64) {
        arena.set_word(at, 0, word);
        arena.set_word(at, 1, self.key.len() as u64 | (self.value.len() as u64) << 32);
        let mut next = 2;
        if let Some(deadline) = self.deadline {
            arena.set_word(at, next, deadline);
            next += 1;
        }
        arena.write(at, next * 8, [self.key, self.value]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(key: &'a [u8], value: &'a [u8], deadline: Option<u64>) -> Parts<'a> {
        Parts { kind: Kind::Raw, key, value, deadline, stamp: 0xabcdef, ascii: true, is_saved: false }
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let mut arena = Arena::new(std::sync::Arc::default());
        let long_key = vec![b'k'; 300];
        let long_value = vec![b'v'; 70_000];
        for key in [&b""[..], b"key", &long_key] {
            for value in [&b""[..], b"value", &long_value] {
                for deadline in [None, Some(0), Some(1_700_000_000_123)] {
                    let parts = parts(key, value, deadline);
                    let at = parts.store(&mut arena).unwrap();
                    let head = Head::read(&arena, at);
                    assert_eq!(head.key_and_value(&arena, at), (key, value));
                    assert_eq!(head.key(&arena, at), key);
                    assert_eq!(head.value(&arena, at), value);
                    assert_eq!(head.deadline(&arena, at), deadline);
                    assert_eq!((head.stamp(), head.kind(), head.ascii()), (0xabcdef, Kind::Raw, true));
                    assert_eq!(head.size(), parts.size());
                    assert!(key_is(arena.region(), at, key) && !key_is(arena.region(), at, b"other"));
                }
            }
        }
    }

    #[test]
    fn sixteen_and_sixteen_bytes_take_forty() {
        assert_eq!(parts(&[0; 16], &[0; 16], None).size(), 40);
        assert_eq!(parts(&[0; 16], &[0; 16], Some(1)).size(), 48);
    }

    #[test]
    fn a_value_is_overwritten_where_it_fits() {
        let mut arena = Arena::new(std::sync::Arc::default());
        let at = parts(b"key", b"some value", Some(5)).store(&mut arena).unwrap();
        let mut overwrite = |value: &[u8], deadline| {
            Head::read(&arena, at).overwrite(&mut arena, at, Kind::Embedded, value, deadline, false)
        };
        assert!(overwrite(b"another", Some(6)));
        assert!(
            !overwrite(b"other", None) && !overwrite(&[0; 100], Some(6)) && !overwrite(&[0; 70_000], Some(6))
        );
        let head = Head::read(&arena, at);
        assert_eq!(head.key_and_value(&arena, at), (&b"key"[..], &b"another"[..]));
        assert_eq!((head.kind(), head.deadline(&arena, at), head.ascii()), (Kind::Embedded, Some(6), false));
        assert_eq!(head.stamp(), 0xabcdef);
    }

    #[test]
    fn stamp_and_deadline_change_in_place() {
        let mut arena = Arena::new(std::sync::Arc::default());
        let at = parts(b"k", b"v", Some(5)).store(&mut arena).unwrap();
        stamp(&arena, at, |_| 7);
        overwrite_deadline(&arena, at, 9);
        set_saved(&arena, at, true);
        let head = Head::read(&arena, at);
        assert_eq!((head.stamp(), head.deadline(&arena, at), head.is_saved()), (7, Some(9), true));
        assert_eq!(head.key_and_value(&arena, at), (&b"k"[..], &b"v"[..]));
    }
}
