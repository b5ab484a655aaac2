//! The calls by which memory is asked for and given back, one set for each kind of system.
//! What is asked when is left to the region and the pool.
//!
//! # Unsafe: invariants
//! Each function says what its caller promises; the system does the rest.

use std::fmt;
use std::ptr::NonNull;

use std::sync::atomic::{AtomicU64, Ordering};

pub(super) use system::{
    collapse, commit, prefer_huge_pages, prefer_small_pages, release, reserve, unreserve,
};

/// The system or a limit (`RLIMIT_AS`, a full region) refused memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")
    }
}

impl std::error::Error for OutOfMemory {}

/// Has the C library's allocator give what it keeps in reserve back to the system, where it can.
pub(crate) fn trim_heap() {
    #[cfg(all(target_os = "linux", target_env = "gnu", not(miri)))]
    // SAFETY: may be called at any time from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
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
/// The range is committed, starts and ends at a page, and nobody uses it meanwhile but by atomic accesses.
unsafe fn zero(start: NonNull<u8>, bytes: usize) {
    for word in 0..bytes / 8 {
        // SAFETY: inside the range; pages are 8-byte aligned.
        unsafe { start.cast::<AtomicU64>().add(word).as_ref() }.store(0, Ordering::Relaxed);
    }
}

#[cfg(all(unix, not(miri)))]
mod system {
    use super::{NonNull, OutOfMemory};

    fn done(result: libc::c_int) -> Result<(), OutOfMemory> {
        if result == 0 { Ok(()) } else { Err(OutOfMemory) }
    }

    /// Takes address space, with no memory behind it and none to be counted.
    pub(in super::super) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a fresh anonymous mapping at an address of the system's choice touches no existing memory.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(OutOfMemory);
        }
        let start = NonNull::new(start.cast()).ok_or(OutOfMemory)?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            // A page at a time until a whole huge page is asked for: what is small stays small.
            advise(start, bytes, libc::MADV_NOHUGEPAGE);
            advise(start, bytes, libc::MADV_DONTDUMP);
        }
        Ok(start)
    }

    /// # Safety
    /// `start` and `bytes` are those of one `reserve`, and nobody uses the memory afterwards.
    pub(in super::super) unsafe fn unreserve(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
    }

    /// Lets reserved pages be used. Those that can be already stay as they are.
    pub(in super::super) fn commit(start: NonNull<u8>, bytes: usize) -> Result<(), OutOfMemory> {
        // SAFETY: allowing more changes nothing for whoever uses memory there.
        done(unsafe { libc::mprotect(start.as_ptr().cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) })?;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advise(start, bytes, libc::MADV_DODUMP);
        Ok(())
    }

    pub(in super::super) fn prefer_huge_pages(start: NonNull<u8>, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advise(start, bytes, libc::MADV_HUGEPAGE);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (start, bytes);
    }

    pub(in super::super) fn prefer_small_pages(start: NonNull<u8>, bytes: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advise(start, bytes, libc::MADV_NOHUGEPAGE);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (start, bytes);
    }

    pub(in super::super) fn collapse(start: NonNull<u8>, bytes: usize) {
        /// Since Linux 6.1.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const MADV_COLLAPSE: libc::c_int = 25;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        advise(start, bytes, MADV_COLLAPSE);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = (start, bytes);
    }

    /// Advice that changes no content, which a system may be unable to take.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn advise(start: NonNull<u8>, bytes: usize, advice: libc::c_int) {
        // SAFETY: such advice changes no content of any memory.
        unsafe { libc::madvise(start.as_ptr().cast(), bytes, advice) };
    }

    /// Gives pages back; they read as zeroes afterwards.
    ///
    /// # Safety
    /// The pages are committed, and nobody uses them meanwhile but by atomic accesses.
    pub(in super::super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
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

#[cfg(all(windows, not(miri)))]
mod system {
    use std::ffi::c_void;

    use super::{NonNull, OutOfMemory};

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

    pub(in super::super) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        // SAFETY: fresh address space of the system's choice.
        let start = unsafe { VirtualAlloc(std::ptr::null_mut(), bytes, MEM_RESERVE, PAGE_NOACCESS) };
        NonNull::new(start.cast()).ok_or(OutOfMemory)
    }

    /// # Safety
    /// `start` is that of one `reserve`, and nobody uses the memory afterwards.
    pub(in super::super) unsafe fn unreserve(start: NonNull<u8>, _: usize) {
        // SAFETY: the caller's promise.
        unsafe { VirtualFree(start.as_ptr().cast(), 0, MEM_RELEASE) };
    }

    pub(in super::super) fn commit(start: NonNull<u8>, bytes: usize) -> Result<(), OutOfMemory> {
        // SAFETY: committing what is committed changes nothing.
        let start = unsafe { VirtualAlloc(start.as_ptr().cast(), bytes, MEM_COMMIT, PAGE_READWRITE) };
        if start.is_null() { Err(OutOfMemory) } else { Ok(()) }
    }

    pub(in super::super) fn prefer_huge_pages(_: NonNull<u8>, _: usize) {}

    pub(in super::super) fn prefer_small_pages(_: NonNull<u8>, _: usize) {}

    pub(in super::super) fn collapse(_: NonNull<u8>, _: usize) {}

    /// # Safety
    /// The pages are committed, and nobody uses them meanwhile but by atomic accesses.
    pub(in super::super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise; what is reset reads as before, zeroes, or as fresh pages, zeroes.
        unsafe {
            super::zero(start, bytes);
            VirtualAlloc(start.as_ptr().cast(), bytes, MEM_RESET, PAGE_READWRITE);
        }
    }
}

#[cfg(any(miri, not(any(unix, windows))))]
mod system {
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    use super::super::region::HUGE_PAGE;
    use super::{NonNull, OutOfMemory};

    /// The most that is taken at once: all of it is memory here.
    const MOST: usize = 64 << 20;

    fn layout(bytes: usize) -> Result<Layout, OutOfMemory> {
        Layout::from_size_align(bytes, HUGE_PAGE).map_err(|_| OutOfMemory)
    }

    pub(in super::super) fn reserve(bytes: usize) -> Result<NonNull<u8>, OutOfMemory> {
        if bytes > MOST {
            return Err(OutOfMemory);
        }
        // SAFETY: callers never ask for zero bytes.
        NonNull::new(unsafe { alloc_zeroed(layout(bytes)?) }).ok_or(OutOfMemory)
    }

    /// # Safety
    /// `start` and `bytes` are those of one `reserve`, and nobody uses the memory afterwards.
    pub(in super::super) unsafe fn unreserve(start: NonNull<u8>, bytes: usize) {
        let layout = layout(bytes).expect("the layout was computed before");
        // SAFETY: the caller's promise; `reserve` used this layout.
        unsafe { dealloc(start.as_ptr(), layout) }
    }

    pub(in super::super) fn commit(_: NonNull<u8>, _: usize) -> Result<(), OutOfMemory> {
        Ok(())
    }

    pub(in super::super) fn prefer_huge_pages(_: NonNull<u8>, _: usize) {}

    pub(in super::super) fn prefer_small_pages(_: NonNull<u8>, _: usize) {}

    pub(in super::super) fn collapse(_: NonNull<u8>, _: usize) {}

    /// # Safety
    /// The pages are committed, and nobody uses them meanwhile but by atomic accesses.
    pub(in super::super) unsafe fn release(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's promise.
        unsafe { super::zero(start, bytes) }
    }
}
