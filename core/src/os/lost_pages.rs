//! Pages of mapped files that are there no more: another process has made the file shorter. Touching one ends a process by a signal (SIGBUS). Here such a page
//! becomes one of zeroes, of which the owner of the map is told, and the process goes on.
//!
//! The handler is installed with the first map that asks for it, and hands every other fault on to whoever handled it before.
//!
//! # Unsafe: invariants
//! - A range that is watched is a private map of its owner's, whose words are read and written atomically, and which stays until it is no longer watched.
//! - The handler calls nothing but what a signal handler may: atomics, and the system.

use std::ops::Range;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Maps that can be watched at a time: three or more for each engine that was opened from a file. Others are not.
const MOST: usize = 256;

/// A map that is watched.
struct Place {
    /// Its first byte, 0 if the place is free, and how many there are.
    start: AtomicUsize,
    len: AtomicUsize,
    is_lost: AtomicBool,
}

static PLACES: [Place; MOST] = [const {
    Place { start: AtomicUsize::new(0), len: AtomicUsize::new(0), is_lost: AtomicBool::new(false) }
}; MOST];

/// A map is watched for as long as this is there.
#[derive(Debug)]
pub(crate) struct Watch(usize);

impl Watch {
    /// Watches a map, which is the caller's alone; `None` if there are too many, or the system can't.
    pub(crate) fn over(addresses: Range<usize>) -> Option<Self> {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(system::install);
        let len = addresses.len();
        let number = PLACES.iter().position(|place| {
            // Whoever finds it while it has no length passes it over.
            place.start.compare_exchange(0, addresses.start, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })?;
        PLACES[number].is_lost.store(false, Ordering::Relaxed);
        PLACES[number].len.store(len, Ordering::Release);
        Some(Self(number))
    }

    /// Whether a page was lost.
    pub(crate) fn has_lost(&self) -> bool {
        PLACES[self.0].is_lost.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        PLACES[self.0].len.store(0, Ordering::Release);
        PLACES[self.0].start.store(0, Ordering::Release);
    }
}

/// The map that an address is in.
fn place_of(address: usize) -> Option<&'static Place> {
    PLACES.iter().find(|place| {
        let len = place.len.load(Ordering::Acquire);
        address.wrapping_sub(place.start.load(Ordering::Acquire)) < len
    })
}

#[cfg(unix)]
mod system {
    use std::cell::UnsafeCell;
    use std::mem::MaybeUninit;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::place_of;

    /// What handled the signal before.
    struct Before(UnsafeCell<MaybeUninit<libc::sigaction>>);

    // SAFETY: it is written once, before `IS_KNOWN` says so, and only read after that.
    unsafe impl Sync for Before {}

    static BEFORE: Before = Before(UnsafeCell::new(MaybeUninit::uninit()));
    static IS_KNOWN: AtomicBool = AtomicBool::new(false);

    pub(super) fn install() {
        let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = handle;
        // SAFETY: all fields may be zero; the handler lives as long as the process, and does what a handler may.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigemptyset(&raw mut action.sa_mask);
            let is_done = libc::sigaction(libc::SIGBUS, &raw const action, BEFORE.0.get().cast()) == 0;
            IS_KNOWN.store(is_done, Ordering::Release);
        }
    }

    extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        // SAFETY: the system hands a handler that asked for it what it needs.
        let address = unsafe { (*info).si_addr() } as usize;
        if !replace(address) {
            hand_on(signal, info, context);
        }
    }

    /// Puts a page of zeroes where one was lost. False if that is nobody's that is watched.
    fn replace(address: usize) -> bool {
        let Some(place) = place_of(address) else { return false };
        // SAFETY: asking for the size of pages is allowed here.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        let start = (address & !(page - 1)) as *mut libc::c_void;
        // SAFETY: a page of a private map (invariant), which could not be read.
        let mapped = unsafe { libc::mmap(start, page, access, flags | libc::MAP_FIXED, -1, 0) };
        place.is_lost.store(true, Ordering::Relaxed);
        mapped != libc::MAP_FAILED
    }

    /// Has whoever handled the signal before handle it; where nobody did, the process ends, as it would have.
    fn hand_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        if !IS_KNOWN.load(Ordering::Acquire) {
            return;
        }
        // SAFETY: it was written before (invariant of `Before`), and what stands in it is what the system took for a handler.
        unsafe {
            let before = (*BEFORE.0.get()).assume_init_ref();
            match before.sa_sigaction {
                libc::SIG_DFL | libc::SIG_IGN => {
                    // The fault comes again, and nobody handles it.
                    libc::signal(signal, libc::SIG_DFL);
                }
                handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
                    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) =
                        std::mem::transmute(handler);
                    handler(signal, info, context);
                }
                handler => {
                    let handler: extern "C" fn(libc::c_int) = std::mem::transmute(handler);
                    handler(signal);
                }
            }
        }
    }
}

#[cfg(not(unix))]
mod system {
    /// Elsewhere files are not mapped.
    pub(super) fn install() {}
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(tsan, ignore = "ThreadSanitizer handles the signal itself")]
    fn lost_pages_are_zeroes_and_told() {
        let file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &file, &[7; 3 * 65_536]).unwrap();
        // SAFETY: a private map of a file of this test's.
        let map = unsafe { memmap2::MmapOptions::new().map_copy(&file) }.unwrap();
        let start = map.as_ptr() as usize;
        let watch = Watch::over(start..start + map.len()).unwrap();
        file.set_len(65_536).unwrap();
        let read = |at: usize| std::hint::black_box(&map)[at];
        assert!(read(65_535) == 7 && !watch.has_lost());
        assert!(read(131_072) == 0 && watch.has_lost());
        drop(watch);
        assert!(place_of(start).is_none());
    }

    #[test]
    #[cfg_attr(any(miri, tsan, loom), ignore = "forks a process with threads")]
    fn other_faults_end_the_process() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(65_536).unwrap();
        // SAFETY: as above.
        let map = unsafe { memmap2::MmapOptions::new().map_copy(&file) }.unwrap();
        let elsewhere = [0u8; 8];
        let start = elsewhere.as_ptr() as usize;
        let _watch = Watch::over(start..start + 8).unwrap();
        file.set_len(0).unwrap();
        assert!(!crate::os::in_fork(|| std::hint::black_box(&map)[0] == 0));
    }
}
