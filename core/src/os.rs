//! What the engine asks of the operating system: lazily zeroed memory, paging advice, prefetch, fork handlers.
//! Who lays out what in that memory is left to the arena and the table.
//!
//! # Unsafe: invariants
//! - A [`Mapping`] and a [`Zeroed`] own their memory alone, from creation to drop; nothing else frees it.
//! - Every byte of them is initialised from the start: the system and `alloc_zeroed` both hand out zeroes.
//! - A [`Zeroed`] holds only `Pod` types, so any bytes are a valid value and nothing needs dropping.

use std::alloc::Layout;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use bytemuck::Pod;

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

/// Anonymous memory of this process, all zero at first and backed by pages only once touched.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping is plain memory with one owner; nothing in it is tied to a thread.
unsafe impl Send for Mapping {}
// SAFETY: a shared `Mapping` only reveals its address and length.
unsafe impl Sync for Mapping {}

/// Maps `bytes` of zeroes, page-aligned. Costs address space at once and memory when touched.
pub(crate) fn map(bytes: usize) -> Result<Mapping, OutOfMemory> {
    debug_assert!(bytes > 0);
    #[cfg(test)]
    refusal::check()?;
    Ok(Mapping { start: system::map(bytes)?, bytes })
}

impl Mapping {
    /// Address of the first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Zeroes the whole pages inside `range` (in bytes) and gives their memory back to the system; the parts of
    /// pages at both ends keep their contents.
    pub(crate) fn advise_free(&mut self, range: Range<usize>) {
        let (from, to) = (range.start.next_multiple_of(PAGE), range.end.min(self.bytes) & !(PAGE - 1));
        if from < to {
            // SAFETY: `from..to` lies within the mapping, which `&mut self` owns.
            unsafe { system::release(self.start.add(from), to - from) }
        }
    }

    /// Asks for huge pages. Only advice: nothing happens where the system has none.
    #[cfg_attr(not(test), expect(dead_code, reason = "for large tables, once measured"))]
    pub(crate) fn advise_huge(&self) {
        system::advise_huge(self.start, self.bytes);
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `bytes` are what `system::map` returned, and the owner is going away.
        unsafe { system::unmap(self.start, self.bytes) }
    }
}

/// A fixed-length slice of zeroes whose pages, from [`LAZY`](Self::LAZY) bytes on, cost memory only once touched.
pub(crate) struct Zeroed<T: Pod> {
    start: NonNull<T>,
    len: usize,
    owned: PhantomData<T>,
}

// SAFETY: a `Zeroed` owns its elements as a `Box<[T]>` does.
unsafe impl<T: Pod + Send> Send for Zeroed<T> {}
// SAFETY: as above; shared access only reads.
unsafe impl<T: Pod + Sync> Sync for Zeroed<T> {}

impl<T: Pod> Zeroed<T> {
    /// From this size in bytes on the memory is mapped, below it comes from the allocator.
    pub(crate) const LAZY: usize = 64 << 10;

    /// `len` zeroed elements; `len` and the size of `T` must not be 0.
    pub(crate) fn new(len: usize) -> Result<Self, OutOfMemory> {
        #[cfg(test)]
        refusal::check()?;
        let layout = Self::layout(len)?;
        assert!(layout.size() > 0 && layout.align() <= PAGE, "zero-sized or over-aligned element");
        let start = if layout.size() >= Self::LAZY {
            system::map(layout.size())?
        } else {
            // SAFETY: the layout's size is not zero.
            NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or(OutOfMemory)?
        };
        Ok(Self { start: start.cast(), len, owned: PhantomData })
    }

    fn layout(len: usize) -> Result<Layout, OutOfMemory> {
        Layout::array::<T>(len).map_err(|_| OutOfMemory)
    }

    /// Zeroes the elements in `range` and gives whole pages among them back to the system.
    pub(crate) fn release(&mut self, range: Range<usize>) {
        let bytes = range.start * size_of::<T>()..range.end * size_of::<T>();
        let (from, to) = (bytes.start.next_multiple_of(PAGE), bytes.end & !(PAGE - 1));
        if self.len * size_of::<T>() < Self::LAZY || from >= to {
            self[range].fill(T::zeroed());
            return;
        }
        let all: &mut [u8] = bytemuck::cast_slice_mut(self);
        all[bytes.start..from].fill(0);
        all[to..bytes.end].fill(0);
        let pages = NonNull::from(&mut all[from..to]).cast();
        // SAFETY: the slicing checked that the pages lie in this mapping, which `&mut self` owns.
        unsafe { system::release(pages, to - from) }
    }
}

impl<T: Pod> Deref for Zeroed<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `len` initialised elements start there, owned by `self`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Pod> DerefMut for Zeroed<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Pod> Drop for Zeroed<T> {
    fn drop(&mut self) {
        let layout = Self::layout(self.len).expect("the layout was computed before");
        if layout.size() >= Self::LAZY {
            // SAFETY: `new` mapped exactly this.
            unsafe { system::unmap(self.start.cast(), layout.size()) }
        } else {
            // SAFETY: `new` allocated with this layout.
            unsafe { std::alloc::dealloc(self.start.as_ptr().cast(), layout) }
        }
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

    pub(super) fn check() -> Result<(), OutOfMemory> {
        if REFUSING.get() { Err(OutOfMemory) } else { Ok(()) }
    }

    /// Whether this thread's `map` and `Zeroed::new` fail from now on.
    pub(crate) fn set(refusing: bool) {
        REFUSING.set(refusing);
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

    /// # Safety
    /// The pages belong to a `map` that the caller has exclusive access to.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // Only Linux promises zeroes afterwards.
        // SAFETY: the caller's promise; anonymous private memory reads as zeroes after it.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let zeroed = unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) } == 0;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let zeroed = false;
        if !zeroed {
            // SAFETY: the caller's promise.
            unsafe { start.write_bytes(0, bytes) };
            // SAFETY: as above; whether the system drops the pages now or later, they hold zeroes.
            #[cfg(not(any(target_os = "linux", target_os = "android")))]
            unsafe {
                libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_FREE)
            };
        }
    }

    pub(super) fn advise_huge(start: NonNull<u8>, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        // SAFETY: advice on page size changes no contents.
        unsafe {
            libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (start, bytes);
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

    /// # Safety
    /// The pages belong to a `map` that the caller has exclusive access to.
    pub(super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { start.write_bytes(0, bytes) }
    }

    pub(super) fn advise_huge(_: NonNull<u8>, _: usize) {}

    pub(super) fn on_fork(
        _: extern "C" fn(),
        _: extern "C" fn(),
        _: extern "C" fn(),
    ) -> Result<(), OutOfMemory> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_slices_are_zero_and_writable() {
        for len in [1, 8, 100, Zeroed::<u64>::LAZY / 8, 20_000] {
            let mut slice = Zeroed::<u64>::new(len).unwrap();
            assert_eq!(slice.len(), len);
            assert!(slice.iter().all(|&word| word == 0));
            slice.fill(7);
            assert!(slice.iter().all(|&word| word == 7));
        }
    }

    #[test]
    fn release_zeroes_exactly_the_range() {
        for len in [1000, 40_000] {
            for range in [0..len, 3..len - 5, 511..513, 512..1000, 17..17, 600..990] {
                let mut slice = Zeroed::<u64>::new(len).unwrap();
                slice.fill(7);
                slice.release(range.clone());
                for (i, &word) in slice.iter().enumerate() {
                    assert_eq!(word, if range.contains(&i) { 0 } else { 7 }, "{len} {range:?} {i}");
                }
            }
        }
    }

    #[test]
    fn alignment_of_large_elements_is_kept() {
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C, align(64))]
        struct Line([u64; 8]);
        for len in [1, 3, 5000] {
            let lines = Zeroed::<Line>::new(len).unwrap();
            assert_eq!(lines.as_ptr().addr() % 64, 0);
        }
    }

    #[test]
    fn impossible_sizes_are_errors() {
        assert_eq!(map(1 << 60).err(), Some(OutOfMemory));
        assert_eq!(Zeroed::<u64>::new(1 << 60).err(), Some(OutOfMemory));
        assert_eq!(Zeroed::<u64>::new(usize::MAX).err(), Some(OutOfMemory));
    }

    #[test]
    fn advise_free_keeps_the_ends() {
        let mut mapping = map(4 * PAGE).unwrap();
        mapping.advise_huge();
        let start = mapping.start();
        // SAFETY: the range is the whole mapping and nobody else writes to it.
        unsafe { start.write_bytes(9, 4 * PAGE) };
        mapping.advise_free(10..3 * PAGE + 10);
        for (at, expected) in [(0, 9), (PAGE - 1, 9), (PAGE, 0), (3 * PAGE - 1, 0), (3 * PAGE, 9)] {
            // SAFETY: in bounds.
            assert_eq!(unsafe { start.add(at).read() }, expected, "at {at}");
        }
    }

    #[test]
    fn both_ways_to_match_bytes_agree() {
        let mut seed = 1_u64;
        for _ in 0..if cfg!(miri) { 50 } else { 20_000 } {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let words = [seed & (seed >> 32) & 0x0303_0303_0303_0303, seed & 0x8001_0301_8001_0301];
            for byte in [0, 1, 2, 3, 0x80, 0xff] {
                let plain = (0..16).fold(0, |bits, at| {
                    bits | u32::from((words[at / 8] >> (at % 8 * 8)) as u8 == byte) << at
                });
                assert_eq!(matching_bytes(words, byte), plain, "{words:x?} {byte}");
                assert_eq!(matching_bytes_portable(words, byte), plain, "{words:x?} {byte}");
            }
        }
    }

    #[test]
    fn prefetch_takes_any_address() {
        prefetch(std::ptr::null::<u8>());
        prefetch(&5_u64);
    }

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
                libc::_exit(i32::from(map(64 << 20).is_ok()))
            }
        }
        let mut status = 0;
        // SAFETY: `pid` is this test's child.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    }
}
