//! Words of a region as bytes: windows that readers without a lock look through, blocks that nobody writes meanwhile, and writing.
//! Where the words are is [`super::region`]'s affair, and whether what was read belongs together is for the reader's sequence counter to say.
//!
//! All memory of a region is read by relaxed atomic loads and written by relaxed atomic stores of words, so nothing here is a data race.
//!
//! # Unsafe: invariants
//! - A slice of bytes covers only words that a bounds-checked slice of atomics covers; all of that memory is initialised.
//! - Whoever asks for a slice ([`Block::bytes`]) holds the lock of what owns the words, and stores to none of them before it is gone. The caller of
//!   [`Block::set_word`] holds no slice over that word.
//! - Windows are read and written without a check only at places below [`WINDOW`].

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

use super::region::UNIT;

/// Words that can be read from any block on: the head of an entry, a short key, and a value of up to [`LONGEST_COPY`].
pub(crate) const WINDOW: usize = 3 + 256 / UNIT + LONGEST_COPY / UNIT + 8;

/// Words in a row, read by relaxed atomic loads.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(&'a [AtomicU64]);

/// [`Words`] that nobody writes while their owner is borrowed.
#[derive(Clone, Copy)]
pub(crate) struct Block<'a>(Words<'a>);

/// The longest run of bytes that [`Words::copy`] copies.
pub(crate) const LONGEST_COPY: usize = 256;

/// Room on the stack for the copy that a reader without the lock makes.
pub(crate) struct Scratch([MaybeUninit<u64>; LONGEST_COPY / UNIT + 4]);

impl Scratch {
    /// Room that holds nothing yet.
    #[inline(always)]
    pub(crate) fn new() -> Self {
        Self([MaybeUninit::uninit(); LONGEST_COPY / UNIT + 4])
    }
}

impl<'a> Words<'a> {
    #[inline(always)]
    pub(crate) fn new(words: &'a [AtomicU64]) -> Self {
        Self(words)
    }

    /// Those from number `from` on.
    #[inline]
    pub(crate) fn from(self, from: usize) -> Self {
        Self(self.0.get(from..).unwrap_or_else(|| outside()))
    }

    /// The first `len` of them.
    #[inline]
    pub(crate) fn first(self, len: usize) -> Self {
        Self(self.0.get(..len).unwrap_or_else(|| outside()))
    }

    /// How many there are.
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    /// Word number `index`, if there are that many.
    #[inline(always)]
    pub(crate) fn get(self, index: usize) -> Option<u64> {
        self.0.get(index).map(|word| word.load(Ordering::Relaxed))
    }

    /// Word number `index`.
    #[inline]
    pub(crate) fn word(self, index: usize) -> u64 {
        self.at(index).load(Ordering::Relaxed)
    }

    /// Stores a word, relaxed. The caller holds the lock of whoever owns it, and no slice over it.
    #[inline]
    pub(crate) fn set_word(self, index: usize, word: u64) {
        self.at(index).store(word, Ordering::Relaxed);
    }

    #[inline]
    fn at(self, index: usize) -> &'a AtomicU64 {
        self.0.get(index).unwrap_or_else(|| outside())
    }

    /// The eight words from number `index` on.
    #[inline]
    pub(crate) fn eight(self, index: usize) -> &'a [AtomicU64; 8] {
        self.0.get(index..).and_then(|words| words.first_chunk()).unwrap_or_else(|| outside())
    }

    /// Stores what stands in the first `len` words of `other`.
    pub(crate) fn copy_from(self, other: Words<'_>, len: usize) {
        let (to, from) = (self.first(len), other.first(len));
        for (to, from) in to.0.iter().zip(from.0) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Writes `parts`, one after the other, from byte `from` on. What stands around them in their first and last word stays. The caller holds the lock
    /// of whoever owns the words, and no slice over them.
    #[inline]
    pub(crate) fn write<const N: usize>(self, from: usize, parts: [&[u8]; N]) {
        self.check(from + parts.iter().map(|part| part.len()).sum::<usize>());
        let mut at = from;
        for part in parts {
            write(self.0, at, part);
            at += part.len();
        }
    }

    /// Whether the bytes from word `from` on are these; false if there are not so many.
    #[inline(always)]
    pub(crate) fn equal(self, from: usize, bytes: &[u8]) -> bool {
        let Some(words) = self.0.get(from..from + bytes.len().div_ceil(UNIT)) else { return false };
        let (chunks, rest) = bytes.as_chunks::<UNIT>();
        let mut words = words.iter().map(|word| word.load(Ordering::Relaxed));
        chunks.iter().zip(&mut words).all(|(chunk, word)| word == whole(chunk))
            && words
                .next()
                .is_none_or(|word| u64::from_le(word) & low(rest.len() as u32 * 8) == partial(rest))
    }

    #[inline]
    fn check(self, bytes: usize) {
        if bytes.div_ceil(UNIT) > self.0.len() {
            outside();
        }
    }
}

/// The first [`WINDOW`] words at a reference, read by relaxed atomic loads. They may belong to several blocks, or to none.
#[derive(Clone, Copy)]
pub(crate) struct Window<'a>(&'a [AtomicU64; WINDOW]);

/// Up to eight bytes, which are written as one word.
#[derive(Clone, Copy)]
pub(crate) struct Short {
    bytes: [u8; UNIT],
    /// At most [`UNIT`].
    len: usize,
}

impl Short {
    pub(crate) const EMPTY: Short = Short::new([0; UNIT], 0);

    /// The first `len` of these bytes.
    ///
    /// # Panics
    /// If they are not so many.
    #[inline(always)]
    pub(crate) const fn new(bytes: [u8; UNIT], len: usize) -> Self {
        assert!(len <= UNIT, "no more bytes than there are");
        Self { bytes, len }
    }
}

/// Room that a text needs beside its own bytes for the parts before and behind it.
pub(crate) const FRAME: usize = 2 * UNIT;

/// Appends parts, one after the other; false, and nothing is appended, without room for `N` words.
#[inline(always)]
pub(crate) fn append_short<const N: usize>(out: &mut Vec<u8>, parts: [Short; N]) -> bool {
    let start = out.len();
    if out.capacity() - start < N * UNIT {
        return false;
    }
    let mut end = start;
    for part in parts {
        // SAFETY: there is room for `N` words behind `start`, and each part before this one took at most one.
        unsafe { out.as_mut_ptr().add(end).cast::<[u8; UNIT]>().write(part.bytes) };
        end += part.len;
    }
    // SAFETY: so many bytes were written behind `start`.
    unsafe { out.set_len(end) };
    true
}

/// Appends a text between two parts; false, and nothing is appended, without room for [`FRAME`] bytes more than the text has.
#[inline(always)]
pub(crate) fn append_framed(out: &mut Vec<u8>, head: Short, text: &[u8], tail: Short) -> bool {
    let start = out.len();
    if out.capacity() - start < text.len() + FRAME {
        return false;
    }
    // SAFETY: there is room for a word, the text and another word behind `start`; both parts are at most a word, and `text` is not of `out`, which is
    // borrowed mutably.
    unsafe {
        let at = out.as_mut_ptr().add(start);
        at.cast::<[u8; UNIT]>().write(head.bytes);
        at.add(head.len).copy_from_nonoverlapping(text.as_ptr(), text.len());
        at.add(head.len + text.len()).cast::<[u8; UNIT]>().write(tail.bytes);
        out.set_len(start + head.len + text.len() + tail.len);
    }
    true
}

impl<'a> Window<'a> {
    #[inline(always)]
    pub(super) fn new(words: &'a [AtomicU64; WINDOW]) -> Self {
        Self(words)
    }

    /// Stores the first word, relaxed. The caller holds the lock of whoever owns it.
    #[inline(always)]
    pub(super) fn set_first(self, word: u64) {
        self.0[0].store(word, Ordering::Relaxed);
    }

    /// The same, for the one who writes there: who holds the lock, and no slice.
    #[inline(always)]
    pub(super) fn writable(self) -> WindowMut<'a> {
        WindowMut { words: self.0 }
    }

    /// Hints that its first words will be read soon: three cache lines, which hold most entries.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        let start = self.0.as_ptr().cast::<u8>();
        [0, 64, 128].into_iter().for_each(|line| prefetch(start.wrapping_add(line)));
    }

    /// Word number `index`, below [`WINDOW`].
    #[inline(always)]
    pub(crate) fn word(self, index: usize) -> u64 {
        self.0[index].load(Ordering::Relaxed)
    }

    /// Whether the bytes from word `from` on are these; false if the window does not reach that far.
    #[inline(always)]
    pub(crate) fn equal(self, from: usize, bytes: &[u8]) -> bool {
        if from + bytes.len() / UNIT >= WINDOW {
            return false;
        }
        let chunks = bytes.as_chunks::<UNIT>();
        let mut at = from;
        for chunk in chunks.0 {
            // SAFETY: below `from + bytes.len() / UNIT`, which is below `WINDOW`.
            if unsafe { self.load(at) } != whole(chunk) {
                return false;
            }
            at += 1;
        }
        // SAFETY: as above.
        chunks.1.is_empty()
            || u64::from_le(unsafe { self.load(at) }) & low(chunks.1.len() as u32 * 8) == partial(chunks.1)
    }

    /// The eight bytes from byte `from` on as a little-endian number; `None` if the window does not reach that far.
    #[inline(always)]
    pub(crate) fn eight(self, from: usize) -> Option<u64> {
        let (at, bits) = (from / UNIT, (from % UNIT * 8) as u32);
        let word = |at: usize| self.0.get(at).map(|word| u64::from_le(word.load(Ordering::Relaxed)));
        let low = word(at)? >> bits;
        if bits == 0 { Some(low) } else { Some(low | word(at + 1)? << (64 - bits)) }
    }

    /// Copies `len` bytes from byte `from` on and returns them; `None` if they are more than [`LONGEST_COPY`] or reach beyond the window.
    #[inline(always)]
    pub(crate) fn copy(self, from: usize, len: usize, scratch: &mut Scratch) -> Option<&[u8]> {
        let (first, end) = (from / UNIT, from + len);
        if len > LONGEST_COPY || end > (WINDOW - 4) * UNIT {
            return None;
        }
        let words = end.div_ceil(UNIT) - first;
        let mut at = 0;
        // Four words a turn, the last turn perhaps some too many: the compiler leaves loops of atomic loads as they are.
        while at < words {
            // SAFETY: `at + 3` is below `words + 3`, which the scratch has room for; the window goes on for 4 words behind `end`.
            unsafe {
                self.copy_word(first, at, scratch);
                self.copy_word(first, at + 1, scratch);
                self.copy_word(first, at + 2, scratch);
                self.copy_word(first, at + 3, scratch);
            }
            at += 4;
        }
        let start = scratch.0.as_ptr().cast::<u8>().wrapping_add(from % UNIT);
        // SAFETY: the words that hold these bytes were just written to the front of the scratch.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// Copies `len` bytes from byte `from` on, as many as fit, to `buffer`; false if they are more than [`LONGEST_COPY`] or reach beyond
    /// the window.
    #[inline(always)]
    pub(crate) fn copy_into(self, from: usize, len: usize, buffer: &mut [u8]) -> bool {
        if !from.is_multiple_of(UNIT) || len > buffer.len() {
            return self.copy_part(from, len, buffer);
        }
        if len > LONGEST_COPY || from + len > (WINDOW - 1) * UNIT {
            return false;
        }
        let (whole, rest) = buffer[..len].as_chunks_mut::<UNIT>();
        let mut at = from / UNIT;
        for room in whole {
            // SAFETY: a word of a range that ends within the window.
            *room = unsafe { self.load(at) }.to_le().to_le_bytes();
            at += 1;
        }
        if !rest.is_empty() {
            // SAFETY: as above.
            let bytes = unsafe { self.load(at) }.to_le().to_le_bytes();
            rest.copy_from_slice(&bytes[..rest.len()]);
        }
        true
    }

    /// Appends `len` bytes from byte `from` on to `out`, between two parts; false, and nothing is appended, if they are more than [`LONGEST_COPY`] or
    /// reach beyond the window, or without room for [`FRAME`] bytes more.
    #[inline(always)]
    pub(crate) fn append_to(
        self,
        from: usize,
        len: usize,
        out: &mut Vec<u8>,
        head: Short,
        tail: Short,
    ) -> bool {
        if !from.is_multiple_of(UNIT) {
            return self.append_part(from, len, out, head, tail);
        }
        let start = out.len();
        if len > LONGEST_COPY || from + len > (WINDOW - 1) * UNIT || out.capacity() - start < len + FRAME {
            return false;
        }
        // SAFETY: there is room for a word, the text and another word behind `start`; both parts are at most a word, and what the text's last word has
        // too many ends within the second. The words are of a range that ends within the window.
        unsafe {
            let at = out.as_mut_ptr().add(start);
            at.cast::<[u8; UNIT]>().write(head.bytes);
            let text = at.add(head.len);
            for word in 0..len.div_ceil(UNIT) {
                let bytes = self.load(from / UNIT + word).to_le().to_le_bytes();
                text.add(word * UNIT).cast::<[u8; UNIT]>().write(bytes);
            }
            text.add(len).cast::<[u8; UNIT]>().write(tail.bytes);
            out.set_len(start + head.len + len + tail.len);
        }
        true
    }

    #[inline(never)]
    fn append_part(self, from: usize, len: usize, out: &mut Vec<u8>, head: Short, tail: Short) -> bool {
        let mut scratch = Scratch::new();
        self.copy(from, len, &mut scratch).is_some_and(|text| append_framed(out, head, text, tail))
    }

    #[inline(never)]
    fn copy_part(self, from: usize, len: usize, buffer: &mut [u8]) -> bool {
        let mut scratch = Scratch::new();
        let copy = self.copy(from, len, &mut scratch);
        if let Some(bytes) = copy {
            let fits = len.min(buffer.len());
            buffer[..fits].copy_from_slice(&bytes[..fits]);
        }
        copy.is_some()
    }

    /// # Safety
    /// `index` is below [`WINDOW`].
    #[inline(always)]
    unsafe fn load(self, index: usize) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { self.0.get_unchecked(index) }.load(Ordering::Relaxed)
    }

    /// # Safety
    /// `first + at` is below [`WINDOW`], and `at` is a word of the scratch.
    #[inline(always)]
    unsafe fn copy_word(self, first: usize, at: usize, scratch: &mut Scratch) {
        // SAFETY: the caller's promise.
        unsafe { scratch.0.get_unchecked_mut(at).write(self.load(first + at)) };
    }
}

/// A [`Window`] for the one who writes there. What owns the words is borrowed mutably: nobody holds a slice.
pub(crate) struct WindowMut<'a> {
    words: &'a [AtomicU64; WINDOW],
}

impl WindowMut<'_> {
    /// Stores word number `index`, below [`WINDOW`].
    #[inline(always)]
    pub(crate) fn set_word(&mut self, index: usize, word: u64) {
        self.words[index].store(word, Ordering::Relaxed);
    }

    /// Writes `bytes` from byte `from` on and says whether all of them are ASCII; `None` if the window does not reach that far. What stands
    /// around them in their first and last word stays.
    #[inline(always)]
    pub(crate) fn write(&mut self, from: usize, bytes: &[u8]) -> Option<bool> {
        (from.checked_add(bytes.len())? <= WINDOW * UNIT).then(|| write(self.words, from, bytes))
    }
}

impl<'a> Block<'a> {
    /// For whoever borrows what owns the words.
    #[inline(always)]
    pub(crate) fn new(words: Words<'a>) -> Self {
        Self(words)
    }

    /// The same memory by atomic loads.
    #[inline]
    pub(crate) fn words(self) -> Words<'a> {
        self.0
    }

    /// `len` bytes from byte `from` on.
    ///
    /// # Panics
    /// If they reach beyond the words.
    #[inline]
    pub(crate) fn bytes(self, from: usize, len: usize) -> &'a [u8] {
        self.0.check(from + len);
        let start = self.0.0.as_ptr().cast::<u8>();
        // SAFETY: `check` saw that the range is there; nobody writes there while its owner is borrowed (invariants).
        unsafe { std::slice::from_raw_parts(start.add(from), len) }
    }
}

/// Writes `bytes` from byte `from` on, which the words hold, and says whether all of them are ASCII.
#[inline(always)]
fn write(words: &[AtomicU64], from: usize, bytes: &[u8]) -> bool {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (chunks, rest) = bytes.as_chunks::<UNIT>();
    let bits = (from % UNIT * 8) as u32;
    let words = words.get(from / UNIT..).unwrap_or_else(|| outside());
    let (mut seen, mut pending) = (0, 0);
    if bits == 0 {
        for (word, chunk) in words.iter().zip(chunks) {
            word.store(whole(chunk), Ordering::Relaxed);
            seen |= whole(chunk);
        }
    } else if !bytes.is_empty() {
        pending = u64::from_le(words[0].load(Ordering::Relaxed)) & low(bits);
        for (word, chunk) in words.iter().zip(chunks) {
            let bytes = u64::from_le(whole(chunk));
            word.store((pending | bytes << bits).to_le(), Ordering::Relaxed);
            pending = bytes >> (64 - bits);
            seen |= bytes;
        }
    }
    let end = bits + rest.len() as u32 * 8;
    if end > 0 && !bytes.is_empty() {
        let last = partial(rest);
        seen |= last;
        let merge = |word: &AtomicU64, new: u64, bits: u32| {
            let kept = u64::from_le(word.load(Ordering::Relaxed)) & !low(bits);
            word.store((kept | new).to_le(), Ordering::Relaxed);
        };
        let words = &words[chunks.len()..];
        if end < 64 {
            merge(&words[0], pending | last << bits, end);
        } else {
            words[0].store((pending | last << bits).to_le(), Ordering::Relaxed);
            if end > 64 {
                merge(&words[1], last >> (64 - bits), end - 64);
            }
        }
    }
    seen & HIGH == 0
}

/// The lowest `bits` bits, fewer than 64.
#[inline]
fn low(bits: u32) -> u64 {
    (1 << bits) - 1
}

/// Eight bytes as the word that they are in memory.
#[inline]
fn whole(bytes: &[u8; UNIT]) -> u64 {
    u64::from_le_bytes(*bytes).to_le()
}

/// Fewer than eight bytes as a number, the first lowest.
#[inline(always)]
fn partial(bytes: &[u8]) -> u64 {
    let n = bytes.len();
    if n == 0 {
        return 0;
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        u64::from(first) | u64::from(last) << ((n - 4) * 8)
    } else {
        let byte = |at: usize| u64::from(bytes[at]) << (at * 8);
        byte(0) | byte(n / 2) | byte(n - 1)
    }
}

#[cold]
#[inline(never)]
fn outside() -> ! {
    panic!("reference outside the region")
}

/// Hints that the cache line at `address` will be read soon. Any address is fine: nothing is accessed.
#[inline(always)]
pub(crate) fn prefetch<T>(address: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch never faults and changes nothing but the cache.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = address;
}

/// Which of the 16 bytes, the first word's lowest first, are equal to `byte`; as bits.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn matching_bytes(words: [u64; 2], byte: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    // SAFETY: SSE2 is part of x86-64, and these instructions touch registers only.
    unsafe {
        let bytes = _mm_set_epi64x(words[1] as i64, words[0] as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte as i8))) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn matching_bytes(words: [u64; 2], byte: u8) -> u32 {
    matching_bytes_portable(words, byte)
}

/// The same, eight bytes at a time.
#[cfg(any(test, not(target_arch = "x86_64")))]
#[inline(always)]
fn matching_bytes_portable(words: [u64; 2], byte: u8) -> u32 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let of_word = |word: u64| {
        let differing = word ^ (u64::from(byte) * 0x0101_0101_0101_0101);
        // The top bit of each byte that is zero, then those bits brought together.
        let zero = !(((differing & LOW) + LOW) | differing | LOW);
        ((zero >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
    };
    of_word(words[0]) | of_word(words[1]) << 8
}

#[cfg(test)]
mod tests;
