//! What the engine asks of the operating system: lazily zeroed memory, paging advice, prefetch, fork handlers.
//! Who lays out what in that memory is left to the arena and the table.
//!
//! # Unsafe: invariants
//! - [`Segments`] and [`Extent`] own their memory alone, from growth to drop; nothing else frees it.
//! - Every byte of it is initialised from the start: the system and `alloc_zeroed` both hand out zeroes.
//! - Segments hold only types for which zeroes are a valid value and which need no dropping, extents only atomic words.

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytemuck::Zeroable;

/// The system or a limit (`RLIMIT_AS`, a full arena) refused memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl std::error::Error for OutOfMemory {}

/// The page size assumed for paging advice, in bytes; larger real pages only make the advice fail, harmlessly.
pub(crate) const PAGE: usize = 4096;

/// An array that grows by segments of doubling size, `FIRST`, `2 * FIRST`, `4 * FIRST`... elements, all zero at first. Segments
/// never move and live as long as the array, so elements can be read while another thread makes it grow.
///
/// Invariant: a base is null, or that of a live allocation of `Self::layout`, less the segment's first number (its index
/// plus `FIRST`), and never changes again; so number times size leads to the element.
pub(crate) struct Segments<T: Zeroable + Sync, const FIRST: usize> {
    bases: [AtomicPtr<T>; MOST_SEGMENTS],
}

/// Enough for any 32-bit index.
const MOST_SEGMENTS: usize = 33;

impl<T: Zeroable + Sync, const FIRST: usize> Segments<T, FIRST> {
    /// From this size in bytes on a segment is mapped, so that its pages cost memory only once touched; below it comes from the allocator.
    pub(crate) const LAZY: usize = PAGE;

    const FITS: () = {
        assert!(FIRST.is_power_of_two() && size_of::<T>() > 0 && align_of::<T>() <= PAGE);
        assert!(!std::mem::needs_drop::<T>(), "elements are never dropped");
    };

    /// An array without any element.
    pub(crate) const fn new() -> Self {
        const { Self::FITS };
        Self { bases: [const { AtomicPtr::new(std::ptr::null_mut()) }; MOST_SEGMENTS] }
    }

    /// Elements of a segment.
    pub(crate) const fn segment_len(segment: usize) -> usize {
        FIRST << segment
    }

    fn layout(segment: usize) -> Result<Layout, OutOfMemory> {
        let len = FIRST.checked_mul(1 << segment).ok_or(OutOfMemory)?;
        Layout::array::<T>(len).map_err(|_| OutOfMemory)
    }

    /// Number of an index, and its segment.
    #[inline(always)]
    fn locate(index: u32) -> (usize, usize) {
        let number = index as usize + FIRST;
        (number, (number.ilog2() - FIRST.ilog2()) as usize)
    }

    /// The element, if its segment is there.
    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let (number, segment) = Self::locate(index);
        let base = self.bases.get(segment)?.load(Ordering::Relaxed);
        if base.is_null() {
            return None;
        }
        // SAFETY: the element lies in a live segment (invariant), initialised since zeroes are valid.
        Some(unsafe { NonNull::new_unchecked(base.wrapping_add(number)).as_ref() })
    }

    /// The elements from an index to the end of its segment, if that is there.
    #[inline]
    pub(crate) fn rest(&self, index: u32) -> Option<&[T]> {
        let (number, segment) = Self::locate(index);
        Some(&self.segment(segment)?[number - Self::segment_len(segment)..])
    }

    /// All elements of a segment, if it is there.
    pub(crate) fn segment(&self, segment: usize) -> Option<&[T]> {
        let base = self.bases.get(segment)?.load(Ordering::Relaxed);
        if base.is_null() {
            return None;
        }
        let len = Self::segment_len(segment);
        // SAFETY: as in `get`; the segment's first number is its length.
        Some(unsafe { std::slice::from_raw_parts(base.wrapping_add(len), len) })
    }

    /// Adds the next segment, whose number this is. Not for two threads at once.
    pub(crate) fn grow(&self, segment: usize) -> Result<(), OutOfMemory> {
        #[cfg(test)]
        refusal::check()?;
        let place = self.bases.get(segment).ok_or(OutOfMemory)?;
        let layout = Self::layout(segment)?;
        let start: NonNull<T> = if layout.size() >= Self::LAZY {
            system::map(layout.size())?.cast()
        } else {
            // SAFETY: the layout's size is not zero.
            NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or(OutOfMemory)?.cast()
        };
        let base = start.as_ptr().wrapping_sub(Self::segment_len(segment));
        if base.is_null()
            || place
                .compare_exchange(std::ptr::null_mut(), base, Ordering::Relaxed, Ordering::Relaxed)
                .is_err()
        {
            // SAFETY: just allocated, and nobody else knows it.
            unsafe { Self::free(start, segment) };
            return Err(OutOfMemory);
        }
        Ok(())
    }

    /// # Safety
    /// `start` is that of an allocation for this segment, and nobody uses it afterwards.
    unsafe fn free(start: NonNull<T>, segment: usize) {
        let layout = Self::layout(segment).expect("the layout was computed before");
        if layout.size() >= Self::LAZY {
            // SAFETY: `grow` mapped exactly this.
            unsafe { system::unmap(start.cast(), layout.size()) }
        } else {
            // SAFETY: `grow` allocated with this layout.
            unsafe { std::alloc::dealloc(start.as_ptr().cast(), layout) }
        }
    }

    /// The whole pages among elements of a segment, as address and length.
    fn pages(&self, segment: usize, range: Range<usize>) -> Option<(NonNull<u8>, usize)> {
        let is_mapped = Self::layout(segment).is_ok_and(|layout| layout.size() >= Self::LAZY);
        let all = self.segment(segment).filter(|_| is_mapped)?;
        let bytes = size_of_val(&all[..range.start])..size_of_val(&all[..range.end]);
        let (from, to) = (bytes.start.next_multiple_of(PAGE), bytes.end & !(PAGE - 1));
        // SAFETY: inside the segment.
        (from < to).then(|| (unsafe { NonNull::from(all).cast::<u8>().add(from) }, to - from))
    }

    /// Gives whole pages among the elements in `range`, which must all be zero, back to the system; they stay zero.
    pub(crate) fn give_back_zeroes(&self, segment: usize, range: Range<usize>) {
        if let Some((start, bytes)) = self.pages(segment, range) {
            // SAFETY: the pages lie in a mapping. Whoever reads them sees zeroes before and after.
            unsafe { system::give_back(start, bytes) }
        }
    }
}

impl<const FIRST: usize> Segments<AtomicU64, FIRST> {
    /// Zeroes the whole pages among the words in `range` and gives them back to the system.
    pub(crate) fn release(&self, segment: usize, range: Range<usize>) {
        if let Some((start, bytes)) = self.pages(segment, range) {
            // SAFETY: the pages lie in a mapping of atomics, which may change at any time.
            unsafe { system::release(start, bytes) }
        }
    }
}

impl<T: Zeroable + Sync, const FIRST: usize> Drop for Segments<T, FIRST> {
    fn drop(&mut self) {
        for segment in 0..MOST_SEGMENTS {
            let base = *self.bases[segment].get_mut();
            if let Some(start) =
                NonNull::new(base.wrapping_add(Self::segment_len(segment))).filter(|_| !base.is_null())
            {
                // SAFETY: the base is that of an allocation (invariant), and the owner is going away.
                unsafe { Self::free(start, segment) }
            }
        }
    }
}

/// A huge page of the processors that have them at this size, in bytes; elsewhere just a size.
pub(crate) const HUGE_PAGE: usize = 2 << 20;

/// Address space behind an [`Extent`]: a span whose run is but its first page may be the last of it, and windows go on beyond that.
const BEHIND: usize = (32 << 10) + PAGE;

/// Address space whose pages cost memory only once touched, all of it words that may change at any time and are zero at first.
///
/// Invariant: `start` is a multiple of [`HUGE_PAGE`], and from there `len` bytes and [`BEHIND`] more are mapped as long as this lives.
pub(crate) struct Extent {
    start: NonNull<u8>,
    len: usize,
    mapping: (NonNull<u8>, usize),
}

// SAFETY: it only leads to words that are read and written atomically.
unsafe impl Send for Extent {}
// SAFETY: as above.
unsafe impl Sync for Extent {}

impl Extent {
    /// Takes that much address space, a multiple of [`HUGE_PAGE`].
    pub(crate) fn reserve(len: usize) -> Result<Self, OutOfMemory> {
        #[cfg(test)]
        refusal::check()?;
        assert!(len.is_multiple_of(HUGE_PAGE) && len > 0, "whole huge pages");
        let bytes = len.checked_add(HUGE_PAGE + BEHIND).ok_or(OutOfMemory)?;
        let mapping = system::reserve(bytes)?;
        // SAFETY: the mapping is longer than the extent by more than is skipped.
        let start = unsafe { mapping.add(mapping.as_ptr().align_offset(HUGE_PAGE)) };
        let extent = Self { start, len, mapping: (mapping, bytes) };
        // A page at a time until a whole huge page is asked for: what is small stays small.
        system::prefer_small_pages(mapping, bytes);
        Ok(extent)
    }

    /// Bytes of it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn part(&self, range: &Range<usize>) -> NonNull<u8> {
        assert!(range.start <= range.end && range.end <= self.len, "inside the extent");
        assert!(range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE), "whole pages");
        // SAFETY: inside the mapping, as was just checked.
        unsafe { self.start.add(range.start) }
    }

    /// Whole pages of it, as words.
    #[inline]
    pub(crate) fn lines(&self, range: Range<usize>) -> &[Line] {
        let start = self.part(&range);
        // SAFETY: inside the mapping, which lives as long as this; pages are 64-byte aligned, and any words are valid lines (invariant).
        unsafe { std::slice::from_raw_parts(start.cast().as_ptr(), range.len() / size_of::<Line>()) }
    }

    /// Gives whole pages back to the system; they are zero afterwards.
    pub(crate) fn give_back(&self, range: Range<usize>) {
        let start = self.part(&range);
        // SAFETY: the pages lie in the mapping, and are words which may change at any time (invariant).
        unsafe { system::release(start, range.len()) }
    }

    /// Has the system put memory behind all of the range, in huge pages if it has any, so that nobody waits for it later. O(bytes).
    pub(crate) fn populate_huge(&self, range: Range<usize>) {
        let start = self.part(&range);
        system::prefer_huge_pages(start, range.len());
        for page in range.step_by(PAGE) {
            // SAFETY: inside the mapping, whose words are atomic (invariant).
            let word = unsafe { AtomicU64::from_ptr(self.start.add(page).cast().as_ptr()) };
            // Reading alone would map a page of zeroes that everybody shares. Adding zero is compiled to that.
            let _ = word.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Has the system move what is in the range to huge pages, if it can. Whoever is there meanwhile waits. O(bytes).
    pub(crate) fn collapse(&self, range: Range<usize>) {
        let start = self.part(&range);
        system::prefer_huge_pages(start, range.len());
        system::collapse(start, range.len());
    }
}

impl Drop for Extent {
    fn drop(&mut self) {
        // SAFETY: this is what was reserved, and nobody uses it after its owner.
        unsafe { system::unreserve(self.mapping.0, self.mapping.1) }
    }
}

/// A cache line of words.
#[derive(bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [AtomicU64; 8]);

/// What an [`Extent`] can be seen as.
///
/// # Safety
/// The type is made of `AtomicU64` alone, and its size divides [`PAGE`].
pub(crate) unsafe trait Words: Sync {}

// SAFETY: it is one.
unsafe impl Words for AtomicU64 {}
// SAFETY: eight of them.
unsafe impl Words for Line {}

/// An array of which spans of `LEN` elements are there, each somewhere in an [`Extent`], and others not. Several spans in a row can be one run in
/// memory, and a run can be but the beginning of a span. Elements can be read while another thread, one at a time, puts spans in and takes them out: what is read then may be
/// anything, since a span that was taken out may serve elsewhere.
///
/// Invariants:
/// - `directory` leads to the first of `1 + 2 * n` pointers that live as long as the array; that one's address is `n`, behind it come the bases
///   of `n` spans, then pointers whose addresses are the logarithms of the elements of their runs.
/// - A base is null, or the address of its span less the size of all spans before it. Such a span begins in one of `kept.extents`
///   and ends there or [`BEHIND`] it.
///
/// So from any element on `WINDOW` can be read, without a check.
#[repr(C)]
pub(crate) struct Spans<T: Words, const LEN: usize, const WINDOW: usize = 0> {
    directory: AtomicPtr<AtomicPtr<u8>>,
    kept: Mutex<Kept>,
    elements: PhantomData<T>,
}

#[derive(Default)]
struct Kept {
    directories: Vec<Box<[AtomicPtr<u8>]>>,
    extents: Vec<Arc<Extent>>,
}

/// A directory without any base.
static NO_BASES: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

impl<T: Words, const LEN: usize, const WINDOW: usize> Spans<T, LEN, WINDOW> {
    /// Bytes of a span.
    pub(crate) const BYTES: usize = LEN * size_of::<T>();
    /// The most spans that an index can lead to.
    pub(crate) const MOST: usize = (1 << 32) / LEN;

    const FITS: () = {
        assert!(LEN.is_power_of_two() && Self::BYTES.is_multiple_of(PAGE));
        assert!(
            PAGE.is_multiple_of(size_of::<T>()) && Self::BYTES - PAGE + WINDOW * size_of::<T>() <= BEHIND
        );
    };

    /// An array without any element.
    pub(crate) fn new() -> Self {
        const { Self::FITS };
        Self {
            directory: AtomicPtr::new((&raw const NO_BASES).cast_mut()),
            kept: Mutex::default(),
            elements: PhantomData,
        }
    }

    /// The places of a span's base and of the logarithm of its run's elements, if there are any.
    #[inline]
    fn places(&self, span: usize) -> Option<(&AtomicPtr<u8>, &AtomicPtr<u8>)> {
        // Acquired, so that the bases can be seen too.
        let directory = self.directory.load(Ordering::Acquire);
        // SAFETY: a directory lives as long as the array, and its first pointer says how many follow (invariant).
        unsafe {
            let spans = (*directory).load(Ordering::Relaxed).addr();
            (span < spans).then(|| (&*directory.add(1 + span), &*directory.add(1 + spans + span)))
        }
    }

    /// Where the element is, if its span is there.
    #[inline(always)]
    fn find(&self, index: u32) -> Option<NonNull<T>> {
        let directory = self.directory.load(Ordering::Acquire);
        let span = index as usize / LEN;
        // SAFETY: as in `places`; that would ask once more whether there are any.
        let base = unsafe {
            if span >= (*directory).load(Ordering::Relaxed).addr() {
                return None;
            }
            (*directory.add(1 + span)).load(Ordering::Relaxed)
        };
        if base.is_null() {
            return None;
        }
        let element = base.cast::<T>().wrapping_add(index as usize);
        // SAFETY: the element lies in a mapping (invariant). Said twice, since the compiler asks again where it is used.
        unsafe {
            std::hint::assert_unchecked(!element.is_null());
            Some(NonNull::new_unchecked(element))
        }
    }

    /// The element, if its span is there.
    #[inline(always)]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        // SAFETY: the element lies in an extent that this keeps (invariant), and any words are a valid `T`.
        self.find(index).map(|element| unsafe { element.as_ref() })
    }

    /// The elements from an index on, if its span is there; those beyond its end are somebody else's.
    #[inline(always)]
    pub(crate) fn window(&self, index: u32) -> Option<&[T; WINDOW]> {
        // SAFETY: as in `get`; the mapping goes on for a page behind the extent.
        self.find(index).map(|element| unsafe { element.cast().as_ref() })
    }

    /// The elements from an index to the end of its run, if that is there.
    #[inline]
    pub(crate) fn rest(&self, index: u32) -> Option<&[T]> {
        let element = self.find(index)?;
        let (_, log) = self.places(index as usize / LEN)?;
        let run = 1 << log.load(Ordering::Relaxed).addr();
        let at = index as usize % LEN.max(run);
        if at >= run {
            return None;
        }
        let len = run - at;
        // SAFETY: as in `get`; a run is one piece of an extent and begins at a multiple of its length and of `LEN` (`put`).
        Some(unsafe { std::slice::from_raw_parts(element.as_ptr(), len) })
    }

    /// Puts in a run of `2^log` elements: some spans, of which `first`, a multiple of their number, is the first, or the beginning of one. It lies at
    /// `offset` of the extent. Not for two threads at once.
    pub(crate) fn put(
        &self,
        first: usize,
        log: u32,
        extent: &Arc<Extent>,
        offset: usize,
    ) -> Result<(), OutOfMemory> {
        let (count, bytes) = ((1_usize << log).div_ceil(LEN), size_of::<T>() << log);
        assert!(first.is_multiple_of(count), "a run begins at a multiple of its length");
        assert!(first + count <= Self::MOST && offset.is_multiple_of(PAGE), "inside the array, at a page");
        assert!(bytes >= PAGE && offset + bytes <= extent.len(), "inside the extent");
        let base = extent.start.as_ptr().wrapping_add(offset).wrapping_sub(first * Self::BYTES);
        if base.is_null() {
            return Err(OutOfMemory);
        }
        self.keep(first + count, extent);
        for span in first..first + count {
            let (place, run) = self.places(span).expect("the directory was made long enough");
            run.store(std::ptr::without_provenance_mut(log as usize), Ordering::Relaxed);
            place.store(base, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes out the run that begins with this span.
    pub(crate) fn take(&self, first: usize) {
        let Some((_, log)) = self.places(first).filter(|(base, _)| !base.load(Ordering::Relaxed).is_null())
        else {
            return;
        };
        for span in first..first + (1_usize << log.load(Ordering::Relaxed).addr()).div_ceil(LEN) {
            if let Some((place, _)) = self.places(span) {
                place.store(std::ptr::null_mut(), Ordering::Relaxed);
            }
        }
    }

    /// Keeps the extent, and makes the directory long enough for that many spans.
    fn keep(&self, spans: usize, extent: &Arc<Extent>) {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !kept.extents.iter().any(|other| Arc::ptr_eq(other, extent)) {
            kept.extents.push(extent.clone());
        }
        if spans > 0 && self.places(spans - 1).is_some() {
            return;
        }
        let len = spans.next_power_of_two().max(8);
        let copy = |place: Option<&AtomicPtr<u8>>| {
            AtomicPtr::new(place.map_or(std::ptr::null_mut(), |place| place.load(Ordering::Relaxed)))
        };
        let length = AtomicPtr::new(std::ptr::without_provenance_mut(len));
        let bases = (0..len).map(|span| copy(self.places(span).map(|(base, _)| base)));
        let runs = (0..len).map(|span| copy(self.places(span).map(|(_, run)| run)));
        let directory: Box<[AtomicPtr<u8>]> = std::iter::once(length).chain(bases).chain(runs).collect();
        self.directory.store(directory.as_ptr().cast_mut(), Ordering::Release);
        // The old ones too: somebody may still be looking at them. All together are no longer than the newest.
        kept.directories.push(directory);
    }
}

/// Has the C library's allocator give what it keeps in reserve back to the system, where it can.
pub(crate) fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Places that name shared things and can be changed while other threads look: what was once named lives as long as the board.
///
/// Invariant: a name is null, or points to what an Arc among `kept` holds, and those are dropped with the board alone.
pub(crate) struct Board<T, const PLACES: usize> {
    names: [AtomicPtr<T>; PLACES],
    kept: Mutex<Vec<Arc<T>>>,
}

impl<T, const PLACES: usize> Board<T, PLACES> {
    pub(crate) fn new() -> Self {
        Self { names: [const { AtomicPtr::new(std::ptr::null_mut()) }; PLACES], kept: Mutex::default() }
    }

    /// What a place names.
    #[inline(always)]
    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        let named = self.names.get(place)?.load(Ordering::Acquire);
        // SAFETY: null, or alive as long as the board (invariant).
        unsafe { named.as_ref() }
    }

    /// Has a place name this from now on, or nothing. Places beyond the last are left out.
    pub(crate) fn set(&self, place: usize, thing: Option<&Arc<T>>) {
        let Some(name) = self.names.get(place) else { return };
        if let Some(thing) = thing {
            let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !kept.iter().any(|other| Arc::ptr_eq(other, thing)) {
                kept.push(thing.clone());
            }
        }
        let named = thing.map_or(std::ptr::null_mut(), |thing| Arc::as_ptr(thing).cast_mut());
        name.store(named, Ordering::Release);
    }
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

/// Something whose locks are held, together with the locks: dropping it unlocks.
///
/// Invariant: the guards borrow from `owner` alone, which is neither moved nor dropped before them. The constructor's
/// signature sees to the first, the order of the fields to the second.
pub(crate) struct Frozen {
    _guards: Vec<Box<dyn Guard>>,
    _owner: std::sync::Arc<dyn std::any::Any + Send + Sync>,
}

/// The guard of any lock.
pub(crate) trait Guard {}

impl<T> Guard for crate::sync::MutexGuard<'_, T> {}
impl Guard for Frozen {}

impl Frozen {
    /// Takes the locks that `lock` collects from `owner`.
    pub(crate) fn new<O: Send + Sync + 'static>(
        owner: std::sync::Arc<O>,
        lock: impl for<'o> FnOnce(&'o O, &mut Vec<Box<dyn Guard + 'o>>),
    ) -> Self {
        let mut guards: Vec<Box<dyn Guard + '_>> = Vec::new();
        lock(&owner, &mut guards);
        // SAFETY: only the lifetime changes. `lock` works for every lifetime of the owner, so the guards can borrow from
        // nothing shorter-lived; the owner stays where it is behind its Arc until after they are dropped.
        let guards = unsafe { std::mem::transmute::<Vec<Box<dyn Guard + '_>>, Vec<Box<dyn Guard>>>(guards) };
        Self { _guards: guards, _owner: owner }
    }
}

/// Unix time in milliseconds as of the system's last tick, at most 10 ms ago; `None` where the system does not tell.
#[inline]
pub(crate) fn late_ms() -> Option<u64> {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the system fills in the structure, which outlives the call.
        let failed = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut time) };
        (failed == 0).then(|| time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
    }
    #[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
    None
}

static GENERATION: AtomicU64 = AtomicU64::new(1);

/// A number that differs between a process and its forked children, once their handler has called [`begin_generation`].
#[inline]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Begins a new generation: this process is a forked child.
pub(crate) fn begin_generation() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Has `prepare` run before every `fork` of this process, `parent` and `child` after it on either side.
///
/// Handlers live as long as the process; `prepare` handlers run last registered first. Where there is no `fork`
/// this does nothing.
///
/// # Errors
/// [`OutOfMemory`] when the system can't note one handler more.
pub(crate) fn on_fork(
    prepare: extern "C" fn(),
    parent: extern "C" fn(),
    child: extern "C" fn(),
) -> Result<(), OutOfMemory> {
    system::on_fork(prepare, parent, child)
}

/// Forks, runs `child` in the child and says whether it returned true within ten seconds.
#[cfg(all(test, unix))]
pub(crate) fn in_fork(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs only `child` and leaves without unwinding into the caller.
    let process = unsafe { libc::fork() };
    if process == 0 {
        let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
        // SAFETY: ends the child at once, without the handlers of the parent's exit.
        unsafe { libc::_exit(i32::from(!fine)) }
    }
    assert!(process > 0, "the system forks");
    for _ in 0..1000 {
        let mut status = 0;
        // SAFETY: asks after the child that was just made.
        let ended = unsafe { libc::waitpid(process, &mut status, libc::WNOHANG) };
        if ended == process {
            return libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // SAFETY: ends the child that hangs, and reaps it.
    unsafe {
        libc::kill(process, libc::SIGKILL);
        libc::waitpid(process, std::ptr::null_mut(), 0);
    }
    false
}

/// Lets a test see what happens without memory.
#[cfg(test)]
pub(crate) mod refusal {
    use std::cell::Cell;

    use super::OutOfMemory;

    thread_local! {
        static REFUSING: Cell<bool> = const { Cell::new(false) };
    }

    pub(crate) fn check() -> Result<(), OutOfMemory> {
        if REFUSING.get() { Err(OutOfMemory) } else { Ok(()) }
    }

    /// Whether this thread gets no memory from now on.
    pub(crate) fn set(refusing: bool) {
        REFUSING.set(refusing);
    }
}

/// Stores zeroes, word by word and atomically.
///
/// # Safety
/// The range is mapped, starts and ends at a page, and nobody uses it meanwhile but by atomic loads.
unsafe fn zero(start: NonNull<u8>, bytes: usize) {
    for word in 0..bytes / 8 {
        // SAFETY: inside the range; pages are 8-byte aligned.
        unsafe { AtomicU64::from_ptr(start.cast::<u64>().add(word).as_ptr()) }.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(unix, not(miri)))]
mod system {
    use super::{NonNull, OutOfMemory};

    pub(super) fn map(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a fresh anonymous mapping at an address of the system's choice touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            Err(OutOfMemory)
        } else {
            NonNull::new(start.cast()).ok_or(OutOfMemory)
        }
    }

    /// # Safety
    /// `start` and `bytes` are those of one `map`, and nobody uses the memory afterwards.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }

    /// Address space of which most may never be used.
    pub(super) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the system's choice touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            Err(OutOfMemory)
        } else {
            NonNull::new(start.cast()).ok_or(OutOfMemory)
        }
    }

    /// # Safety
    /// `start` and `bytes` are those of one `reserve`, and nobody uses the memory afterwards.
    pub(super) unsafe fn unreserve(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { unmap(start, bytes) }
    }

    pub(super) fn prefer_small_pages(start: NonNull<u8>, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advise(start, bytes, libc::MADV_NOHUGEPAGE);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (start, bytes);
    }

    pub(super) fn prefer_huge_pages(start: NonNull<u8>, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advise(start, bytes, libc::MADV_HUGEPAGE);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (start, bytes);
    }

    pub(super) fn collapse(start: NonNull<u8>, bytes: usize) {
        /// Since Linux 6.1.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const MADV_COLLAPSE: libc::c_int = 25;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advise(start, bytes, MADV_COLLAPSE);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (start, bytes);
    }

    /// Advice about the size of pages, which a system may be unable to take.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn advise(start: NonNull<u8>, bytes: usize, advice: libc::c_int) {
        // SAFETY: such advice changes no content of any memory.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, advice) };
    }

    /// # Safety
    /// The pages belong to a `map` or `reserve`, and nobody uses them meanwhile but by atomic accesses.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // Only Linux promises zeroes afterwards.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        // SAFETY: the caller's promise.
        unsafe {
            super::zero(start, bytes)
        }
        // SAFETY: the caller's promise.
        unsafe { give_back(start, bytes) }
    }

    /// # Safety
    /// The pages belong to a `map` or `reserve`; where the system does not promise zeroes afterwards, they hold zeroes.
    pub(super) unsafe fn give_back(start: NonNull<u8>, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const ADVICE: libc::c_int = libc::MADV_DONTNEED;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const ADVICE: libc::c_int = libc::MADV_FREE;
        // SAFETY: the caller's promise; anonymous private memory reads as zeroes, or as before, after it.
        let done = unsafe { libc::madvise(start.as_ptr().cast(), bytes, ADVICE) } == 0;
        if !done {
            // SAFETY: the caller's promise. Locked pages, say, can't be given back.
            unsafe { super::zero(start, bytes) }
        }
    }

    pub(super) fn on_fork(
        prepare: extern "C" fn(),
        parent: extern "C" fn(),
        child: extern "C" fn(),
    ) -> Result<(), OutOfMemory> {
        unsafe extern "C" {
            fn pthread_atfork(
                prepare: extern "C" fn(),
                parent: extern "C" fn(),
                child: extern "C" fn(),
            ) -> libc::c_int;
        }
        // SAFETY: the handlers are functions, which live as long as the process.
        if unsafe { pthread_atfork(prepare, parent, child) } == 0 { Ok(()) } else { Err(OutOfMemory) }
    }
}

#[cfg(any(not(unix), miri))]
mod system {
    use super::{Layout, NonNull, OutOfMemory, PAGE};

    fn layout(bytes: usize) -> Result<Layout, OutOfMemory> {
        Layout::from_size_align(bytes, PAGE).map_err(|_| OutOfMemory)
    }

    pub(super) fn map(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        // SAFETY: callers never ask for zero bytes.
        NonNull::new(unsafe { std::alloc::alloc_zeroed(layout(bytes)?) }).ok_or(OutOfMemory)
    }

    /// # Safety
    /// `start` and `bytes` are those of one `map`, and nobody uses the memory afterwards.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        let layout = layout(bytes).expect("the layout was computed before");
        // SAFETY: the caller's promise; `map` used this layout.
        unsafe { std::alloc::dealloc(start.as_ptr(), layout) }
    }

    pub(super) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        map(bytes)
    }

    /// # Safety
    /// `start` and `bytes` are those of one `reserve`, and nobody uses the memory afterwards.
    pub(super) unsafe fn unreserve(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { unmap(start, bytes) }
    }

    pub(super) fn prefer_small_pages(_: NonNull<u8>, _: usize) {}

    pub(super) fn prefer_huge_pages(_: NonNull<u8>, _: usize) {}

    pub(super) fn collapse(_: NonNull<u8>, _: usize) {}

    /// # Safety
    /// The pages belong to a `map` or `reserve`, and nobody uses them meanwhile but by atomic accesses.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { super::zero(start, bytes) }
    }

    /// # Safety
    /// None; the system has no call for it.
    pub(super) unsafe fn give_back(_: NonNull<u8>, _: usize) {}

    pub(super) fn on_fork(
        _: extern "C" fn(),
        _: extern "C" fn(),
        _: extern "C" fn(),
    ) -> Result<(), OutOfMemory> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod process_tests {
    use super::*;

    #[cfg(all(unix, not(miri)))]
    #[test]
    fn fork_handlers_run_on_both_sides() {
        use std::sync::atomic::{AtomicU32, Ordering};
        static SEEN: AtomicU32 = AtomicU32::new(0);
        extern "C" fn prepare() {
            SEEN.fetch_or(1, Ordering::Relaxed);
        }
        extern "C" fn parent() {
            SEEN.fetch_or(2, Ordering::Relaxed);
        }
        extern "C" fn child() {
            SEEN.fetch_or(4, Ordering::Relaxed);
        }
        on_fork(prepare, parent, child).unwrap();
        // SAFETY: the child only reads an atomic and leaves.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: `_exit` is async-signal-safe.
            unsafe { libc::_exit(SEEN.load(Ordering::Relaxed) as i32) }
        }
        let mut status = 0;
        // SAFETY: `pid` is this test's child.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert_eq!(libc::WEXITSTATUS(status), 1 | 4);
        assert_eq!(SEEN.load(Ordering::Relaxed), 1 | 2);
    }

    /// In a child process, since the limit would hit the other tests.
    #[cfg(all(target_os = "linux", not(miri)))]
    #[test]
    fn an_address_space_limit_is_an_error() {
        // SAFETY: the child makes only system calls and leaves.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            let limit = libc::rlimit { rlim_cur: 1 << 20, rlim_max: 1 << 20 };
            // SAFETY: the pointer is to a local; `_exit` is async-signal-safe.
            unsafe {
                libc::setrlimit(libc::RLIMIT_AS, &raw const limit);
                libc::_exit(i32::from(system::map(64 << 20).is_ok()))
            }
        }
        let mut status = 0;
        // SAFETY: `pid` is this test's child.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    }
}
