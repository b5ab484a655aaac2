//! Address space of an engine: reserved at once, committed from the front as it is needed, never moved or unmapped while it lives.
//! What stands in it is left to the pool, the buckets and whoever they serve. The calls to the system come last, one set for each kind.
//!
//! A region is words that are read and written atomically, zero at first, numbered from its base. What was committed stays
//! committed: pages can be given back to the system and read as zeroes then. So a number below the committed end leads to words,
//! whatever stands there by now, and no reader needs a lock or a directory to follow it.
//!
//! **Files.** The front of a region that is new can be what a file holds, mapped privately: pages come from the file when they are read first, and are
//! the region's own from the first write on. What is given back of them is replaced by memory of nobody's, so that it reads as zeroes, too.
//!
//! **Reserving** costs address space alone: nothing of it counts as memory, not even where the system counts what could be used
//! (strict overcommit) or locks what is mapped (`mlockall`). Where address space is short (`RLIMIT_AS`) the wish is halved until the
//! system agrees, and once more, so that the process keeps as much for itself.
//!
//! # Unsafe: invariants
//! - From `base` on `len` bytes and [`TAIL`] are reserved, and belong to the region alone until it is dropped.
//! - From `base` on `committed` words and, if these are any, [`TAIL`] bytes more can be read and written; the number only grows. All
//!   of that is initialised, since the system hands out zeroes, and accessed by atomic loads and stores of words alone.
//! - What a call to the system promises and asks for stands on it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::refusal::{self, OutOfMemory};
use super::words::{WINDOW, Window, Words};
use crate::os::lost_pages::Watch;

/// The page size assumed, in bytes; larger real pages only make advice fail, harmlessly.
pub(crate) const PAGE: usize = 4096;
/// A huge page of the processors that have them at this size, in bytes; elsewhere just a size.
pub(crate) const HUGE_PAGE: usize = 2 << 20;
/// Bytes of a unit of references, and the alignment of every block.
pub(crate) const UNIT: usize = 8;
/// What can be read behind the committed end: windows run over it.
const TAIL: usize = PAGE;
const _: () = assert!((WINDOW + 1) * UNIT <= TAIL);

/// The least and the most that is committed at once, in bytes: a call to the system each.
const LEAST_COMMITTED: usize = 64 << 10;
const MOST_COMMITTED: usize = 16 << 20;

/// Where a block is: the number of its first word in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub(crate) struct Ref(std::num::NonZeroU32);

impl Ref {
    /// The reference with this number, unless it is 0.
    #[inline(always)]
    pub(crate) fn new(number: u32) -> Option<Self> {
        std::num::NonZeroU32::new(number).map(Self)
    }

    /// The number, as stored in tables and files.
    #[inline(always)]
    pub(crate) fn get(self) -> u32 {
        self.0.get()
    }
}

/// A cache line of words.
#[derive(bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [AtomicU64; 8]);

/// See the module's text.
pub(crate) struct Region {
    base: NonNull<u8>,
    committed: AtomicUsize,
    /// Bytes at the front that are, or were, a file's, and words of them that readers leave as they are.
    mapped: AtomicUsize,
    spared: AtomicUsize,
    /// Looks after what is mapped, where it can be.
    watch: OnceLock<Watch>,
    len: usize,
    mapping: (NonNull<u8>, usize),
}

// SAFETY: it only leads to words that are read and written atomically.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves `wish` bytes, or as many as half of what can be had; possibly none.
    pub(crate) fn reserve(wish: usize) -> Self {
        Self::of(wish).unwrap_or_else(|| {
            let granted = std::iter::successors(Some(wish / 2), |len| Some(len / 2))
                .take_while(|len| *len >= 2 * HUGE_PAGE)
                .find(|len| Self::of(*len).is_some());
            granted.and_then(|len| Self::of(len / 2)).unwrap_or_else(Self::empty)
        })
    }

    fn of(wish: usize) -> Option<Self> {
        let len = wish.next_multiple_of(HUGE_PAGE);
        let bytes = len.checked_add(HUGE_PAGE + TAIL)?;
        let start = system::reserve(bytes).ok()?;
        let base = start.map_addr(|address| {
            let aligned = address.get().next_multiple_of(HUGE_PAGE);
            std::num::NonZeroUsize::new(aligned).unwrap_or(address)
        });
        Some(Self::at(base, len, (start, bytes)))
    }

    fn empty() -> Self {
        let nowhere = NonNull::dangling();
        Self::at(nowhere, 0, (nowhere, 0))
    }

    fn at(base: NonNull<u8>, len: usize, mapping: (NonNull<u8>, usize)) -> Self {
        let (committed, mapped, spared) = Default::default();
        Self { base, committed, mapped, spared, watch: OnceLock::new(), len, mapping }
    }

    /// The most bytes that it can hold.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Bytes that can be used now.
    pub(crate) fn committed(&self) -> usize {
        self.words_committed() * UNIT
    }

    #[inline(always)]
    fn words_committed(&self) -> usize {
        // Acquired, so that whoever reads a number that was stored later may follow it.
        self.committed.load(Ordering::Acquire)
    }

    /// Sees to it that the first `bytes` can be used.
    ///
    /// # Errors
    /// [`OutOfMemory`] where they are more than the region has, or more than the system gives.
    pub(crate) fn commit(&self, bytes: usize) -> Result<(), OutOfMemory> {
        let before = self.committed();
        if bytes <= before {
            return Ok(());
        }
        refusal::check()?;
        if bytes > self.len {
            return Err(OutOfMemory);
        }
        let step = (before / 8).clamp(LEAST_COMMITTED, MOST_COMMITTED);
        let commit = |wanted: usize| {
            let after = wanted.next_multiple_of(PAGE).min(self.len);
            let from = if before == 0 { 0 } else { before + TAIL };
            // SAFETY: inside what was reserved (invariant).
            system::commit(unsafe { self.base.add(from) }, after + TAIL - from).map(|()| after)
        };
        // Near a limit there may be as much as is needed, and no more.
        let after = commit(bytes.max(before + step)).or_else(|_| commit(bytes))?;
        self.committed.fetch_max(after / UNIT, Ordering::Release);
        Ok(())
    }

    /// Has the first `bytes`, whole pages of the file system, be what stands in a file from `offset` on: mapped, or read where that can't be, or is not
    /// wanted. Nobody uses the region yet.
    ///
    /// # Errors
    /// There is no memory, or the file can't be read.
    pub(crate) fn adopt(&self, file: &File, offset: u64, bytes: usize, maps: bool) -> io::Result<()> {
        assert_eq!(self.committed(), 0, "a region is a file's from the beginning");
        self.commit(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: committed pages, which nobody uses; and what a file holds is words as any others.
        if maps && unsafe { system::map(self.base, bytes, file, offset) } {
            self.mapped.store(bytes, Ordering::Relaxed);
            let start = self.base.addr().get();
            if let Some(watch) = Watch::over(start..start + bytes) {
                let _ = self.watch.set(watch);
            }
            return Ok(());
        }
        self.read_in(file, offset, bytes)
    }

    fn read_in(&self, mut file: &File, offset: u64, bytes: usize) -> io::Result<()> {
        let mut piece = vec![0; bytes.min(1 << 20)];
        file.seek(SeekFrom::Start(offset))?;
        for from in (0..bytes).step_by(piece.len().max(1)) {
            let piece = &mut piece[..(bytes - from).min(1 << 20)];
            file.read_exact(piece)?;
            self.words_from(from / UNIT).expect("it is committed").write(0, [&*piece]);
        }
        Ok(())
    }

    /// Whether pages of the file are gone: somebody has made it shorter. They read as zeroes.
    pub(crate) fn has_lost(&self) -> bool {
        self.watch.get().is_some_and(Watch::has_lost)
    }

    /// Has readers leave what is mapped as it is, or not: whatever is written there has the system copy a page.
    pub(crate) fn spare(&self, spares: bool) {
        let words = if spares { self.mapped.load(Ordering::Relaxed) / UNIT } else { 0 };
        self.spared.store(words, Ordering::Relaxed);
    }

    /// Has the system read the neighbours of what is mapped and missing along with it, or not: the first takes milliseconds where a disk's pages come by the
    /// megabyte, the second makes reading all of it dear.
    pub(crate) fn read_ahead(&self, reads: bool) {
        let (start, len) = self.part(0..self.mapped.load(Ordering::Relaxed));
        if len > 0 {
            system::advise(start, len, if reads { Advice::Sequence } else { Advice::NoSequence });
        }
    }

    /// Whether a reader shall leave a word as it is.
    #[inline]
    pub(crate) fn is_spared(&self, at: Ref) -> bool {
        (at.get() as usize) < self.spared.load(Ordering::Relaxed)
    }

    /// Where a word is, if it is committed.
    #[inline(always)]
    fn place(&self, word: usize) -> Option<NonNull<AtomicU64>> {
        // SAFETY: a committed word lies in the mapping.
        (word < self.words_committed()).then(|| unsafe { self.base.cast().add(word) })
    }

    /// The first words at a reference, unless it leads beyond what is committed.
    #[inline(always)]
    pub(crate) fn window(&self, at: Ref) -> Option<Window<'_>> {
        // SAFETY: from a committed word on a window lies in what is committed and its tail, which stay as long as the region.
        self.place(at.get() as usize).map(|place| Window::new(unsafe { place.cast().as_ref() }))
    }

    /// The words from a reference on, unless it leads beyond what is committed.
    #[inline(always)]
    pub(crate) fn words(&self, at: Ref) -> Option<Words<'_>> {
        self.words_from(at.get() as usize)
    }

    /// The words from number `first` on, unless it lies beyond what is committed.
    #[inline(always)]
    pub(crate) fn words_from(&self, first: usize) -> Option<Words<'_>> {
        let len = self.words_committed().checked_sub(first).filter(|len| *len > 0)?;
        // SAFETY: these words are committed, and stay so.
        Some(Words::new(unsafe {
            std::slice::from_raw_parts(self.base.cast::<AtomicU64>().as_ptr().add(first), len)
        }))
    }

    /// The eight words from this one on, unless they lie beyond what is committed.
    #[inline(always)]
    pub(crate) fn eight(&self, at: Ref) -> Option<&[AtomicU64; 8]> {
        // SAFETY: as in `window`, which is longer.
        self.place(at.get() as usize).map(|place| unsafe { place.cast().as_ref() })
    }

    /// The cache line with this number, unless it lies beyond what is committed.
    #[inline(always)]
    pub(crate) fn line(&self, number: usize) -> Option<&Line> {
        // SAFETY: the base is aligned to more than a line, committed bytes come in pages, and a multiple of 8 stays one if it wraps.
        self.place(number.wrapping_mul(8)).map(|place| unsafe { place.cast().as_ref() })
    }

    /// Committed pages, as lines.
    ///
    /// # Panics
    /// If they are not committed.
    #[inline]
    pub(crate) fn lines(&self, pages: Range<usize>) -> &[Line] {
        assert!(pages.start <= pages.end && pages.end <= self.committed() / PAGE, "pages are committed");
        let len = pages.len() * (PAGE / size_of::<Line>());
        // SAFETY: as was just checked; pages are aligned to more than lines are.
        unsafe { std::slice::from_raw_parts(self.base.add(pages.start * PAGE).cast().as_ptr(), len) }
    }

    /// The committed part of a range of bytes, and where it begins. It holds whole pages if the range does.
    fn part(&self, bytes: Range<usize>) -> (NonNull<u8>, usize) {
        let end = bytes.end.min(self.committed());
        let start = bytes.start.min(end);
        // SAFETY: inside what is committed.
        (unsafe { self.base.add(start) }, end - start)
    }

    /// Gives whole pages back to the system; they are zero afterwards. Takes the system up to a millisecond a megabyte.
    pub(crate) fn give_back(&self, bytes: Range<usize>) {
        let mapped = self.mapped.load(Ordering::Relaxed);
        let (start, len) = self.part(bytes.start..bytes.end.min(mapped));
        if len > 0 {
            // SAFETY: committed pages of ours, words that may change at any time (invariant).
            unsafe { system::forget(start, len) }
        }
        let (start, len) = self.part(bytes.start.max(mapped)..bytes.end);
        if len > 0 {
            // SAFETY: as above.
            unsafe { system::release(start, len) }
        }
    }

    /// Has the system put memory behind the range a page at a time again, as it did before it was asked for huge pages: the first touch of one
    /// takes milliseconds, and memory for what nobody uses.
    pub(crate) fn prefer_small_pages(&self, bytes: Range<usize>) {
        let (start, len) = self.part(bytes);
        system::advise(start, len, Advice::SmallPages);
    }

    /// Has the system put memory behind all of the range, in huge pages if it has any, so that nobody waits for it later. O(bytes).
    pub(crate) fn populate_huge(&self, bytes: Range<usize>) {
        let (start, len) = self.part(bytes);
        system::advise(start, len, Advice::HugePages);
        for page in (0..len).step_by(PAGE) {
            // SAFETY: inside the committed part, whose words are atomic (invariant).
            let word = unsafe { start.add(page).cast::<AtomicU64>().as_ref() };
            // Reading alone would map a page of zeroes that everybody shares. Adding zero is compiled to that.
            let _ = word.compare_exchange(0, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Has the system move what is in the range to huge pages, if it can. Whoever is there meanwhile waits. O(bytes).
    pub(crate) fn collapse(&self, bytes: Range<usize>) {
        let (start, len) = self.part(bytes);
        system::advise(start, len, Advice::HugePages);
        system::advise(start, len, Advice::Collapse);
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // Before the addresses can be somebody else's.
        drop(self.watch.take());
        if self.mapping.1 > 0 {
            // SAFETY: this is what was reserved, and nobody uses it after its owner.
            unsafe { system::unreserve(self.mapping.0, self.mapping.1) }
        }
    }
}

/// What a system that can is told about pages. It changes nothing of what they hold.
#[derive(Clone, Copy)]
enum Advice {
    HugePages,
    SmallPages,
    /// To be made huge pages now.
    Collapse,
    InDumps,
    NotInDumps,
    /// Read one after the other, as far as one can tell, or not.
    Sequence,
    NoSequence,
}

/// Has the C library's allocator give what it keeps in reserve back to the system, where it can.
pub(crate) fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Stores zeroes, word by word and atomically.
///
/// # Safety
/// The range is committed, starts and ends at a page, and nobody uses it meanwhile but by atomic accesses.
unsafe fn zero(start: NonNull<u8>, bytes: usize) {
    for word in 0..bytes / 8 {
        // SAFETY: inside the range; pages are 8-byte aligned.
        unsafe { start.cast::<AtomicU64>().add(word).as_ref() }.store(0, Ordering::Relaxed);
    }
}

#[cfg(unix)]
mod system {
    use super::{Advice, NonNull, OutOfMemory};

    fn done(result: libc::c_int) -> Result<(), OutOfMemory> {
        if result == 0 { Ok(()) } else { Err(OutOfMemory) }
    }

    /// Takes address space, with no memory behind it and none to be counted.
    pub(super) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the system's choice touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(OutOfMemory);
        }
        let start = NonNull::new(start.cast()).ok_or(OutOfMemory)?;
        // A page at a time until a whole huge page is asked for: what is small stays small.
        advise(start, bytes, Advice::SmallPages);
        advise(start, bytes, Advice::NotInDumps);
        Ok(start)
    }

    /// # Safety
    /// `start` and `bytes` are those of one `reserve`, and nobody uses the memory afterwards.
    pub(super) unsafe fn unreserve(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }

    /// Lets reserved pages be used. Those that can be already stay as they are.
    pub(super) fn commit(start: NonNull<u8>, bytes: usize) -> Result<(), OutOfMemory> {
        // SAFETY: allowing more changes nothing for whoever uses memory there.
        done(unsafe { libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) })?;
        advise(start, bytes, Advice::InDumps);
        Ok(())
    }

    /// Puts what a file holds in the place of pages. False if it can't be, and nothing has changed.
    ///
    /// # Safety
    /// The pages are committed, and nobody uses them.
    pub(super) unsafe fn map(start: NonNull<u8>, bytes: usize, file: &std::fs::File, offset: u64) -> bool {
        use std::os::fd::AsRawFd;
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_FIXED);
        let Ok(offset) = libc::off_t::try_from(offset) else { return false };
        // SAFETY: the caller's promise; what is written there stays in this process.
        let mapped = unsafe {
            libc::mmap(
                start.as_ptr().cast(),
                bytes,
                access,
                flags | libc::MAP_NORESERVE,
                file.as_raw_fd(),
                offset,
            )
        };
        mapped != libc::MAP_FAILED
    }

    /// Puts memory of nobody's in the place of pages that may be a file's: they read as zeroes afterwards.
    ///
    /// # Safety
    /// The pages are committed, and nobody uses them meanwhile but by atomic accesses.
    pub(super) unsafe fn forget(start: NonNull<u8>, bytes: usize) {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let flags = flags | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // SAFETY: the caller's promise; whoever reads meanwhile finds what was there, or zeroes.
        let mapped = unsafe { libc::mmap(start.as_ptr().cast(), bytes, access, flags, -1, 0) };
        if mapped == libc::MAP_FAILED {
            // The system has no more mappings to give.
            // SAFETY: the caller's promise.
            unsafe { super::zero(start, bytes) }
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn advise(start: NonNull<u8>, bytes: usize, advice: Advice) {
        /// Since Linux 6.1.
        const MADV_COLLAPSE: libc::c_int = 25;
        let advice = match advice {
            Advice::HugePages => libc::MADV_HUGEPAGE,
            Advice::SmallPages => libc::MADV_NOHUGEPAGE,
            Advice::Collapse => MADV_COLLAPSE,
            Advice::InDumps => libc::MADV_DODUMP,
            Advice::NotInDumps => libc::MADV_DONTDUMP,
            Advice::Sequence => libc::MADV_NORMAL,
            Advice::NoSequence => libc::MADV_RANDOM,
        };
        // SAFETY: such advice changes no content of any memory.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, advice) };
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn advise(_: NonNull<u8>, _: usize, _: Advice) {}

    /// Gives pages back; they read as zeroes afterwards.
    ///
    /// # Safety
    /// The pages are committed, and nobody uses them meanwhile but by atomic accesses.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // Only Linux promises zeroes afterwards.
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        // SAFETY: the caller's promise.
        unsafe {
            super::zero(start, bytes);
            libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_FREE);
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: the caller's promise; anonymous private memory reads as zeroes after it. Locked pages can't be given back.
        unsafe {
            if libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) != 0 {
                super::zero(start, bytes);
            }
        }
    }
}

#[cfg(windows)]
mod system {
    use std::ffi::c_void;

    use super::{Advice, NonNull, OutOfMemory};

    const MEM_COMMIT: u32 = 0x1000;
    const MEM_RESERVE: u32 = 0x2000;
    const MEM_RELEASE: u32 = 0x8000;
    const MEM_RESET: u32 = 0x8_0000;
    const PAGE_NOACCESS: u32 = 1;
    const PAGE_READWRITE: u32 = 4;

    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn VirtualAlloc(address: *mut c_void, size: usize, kind: u32, protection: u32) -> *mut c_void;
        fn VirtualFree(address: *mut c_void, size: usize, kind: u32) -> i32;
    }

    pub(super) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        // SAFETY: fresh address space of the system's choice.
        let start = unsafe { VirtualAlloc(std::ptr::null_mut(), bytes, MEM_RESERVE, PAGE_NOACCESS) };
        NonNull::new(start.cast()).ok_or(OutOfMemory)
    }

    /// # Safety
    /// `start` is that of one `reserve`, and nobody uses the memory afterwards.
    pub(super) unsafe fn unreserve(start: NonNull<u8>, _: usize) {
        // SAFETY: the caller's promise.
        unsafe { VirtualFree(start.as_ptr().cast(), 0, MEM_RELEASE) };
    }

    pub(super) fn commit(start: NonNull<u8>, bytes: usize) -> Result<(), OutOfMemory> {
        // SAFETY: committing what is committed changes nothing.
        let start = unsafe { VirtualAlloc(start.as_ptr().cast(), bytes, MEM_COMMIT, PAGE_READWRITE) };
        if start.is_null() { Err(OutOfMemory) } else { Ok(()) }
    }

    pub(super) fn advise(_: NonNull<u8>, _: usize, _: Advice) {}

    /// # Safety
    /// None is needed.
    pub(super) unsafe fn map(_: NonNull<u8>, _: usize, _: &std::fs::File, _: u64) -> bool {
        false
    }

    /// # Safety
    /// As of `release`.
    pub(super) unsafe fn forget(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { release(start, bytes) }
    }

    /// # Safety
    /// The pages are committed, and nobody uses them meanwhile but by atomic accesses.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise; what is reset reads as before, zeroes, or as fresh pages, zeroes.
        unsafe {
            super::zero(start, bytes);
            VirtualAlloc(start.as_ptr().cast(), bytes, MEM_RESET, PAGE_READWRITE);
        }
    }
}

#[cfg(test)]
mod tests;
