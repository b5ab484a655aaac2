//! What the engine asks of the operating system beside memory: fork handlers, the late clock; and two kinds of keeping that the language has no word for.
//! Memory is [`crate::store::memory`]'s.
//!
//! # Unsafe: invariants
//! - A socket that an event loop watches is open until that has let go of it.
//! - [`Board`] and [`Frozen`] own what they lead to, from the first look to the drop; each says how.
//! - Handlers of forks are functions, which live as long as the process.
//! - A file that is mapped to write to is of a folder that this process has locked, and is as long as it was then: nobody makes it shorter. Pages of those
//!   that are mapped to read are looked after by [`lost_pages`].

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::sync::apart::Mutex;

#[cfg(all(test, unix))]
mod trail;
#[cfg(all(test, unix))]
pub(crate) use trail::Trail;

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
            let mut kept = self.kept.lock();
            if !kept.iter().any(|other| Arc::ptr_eq(other, thing)) {
                kept.push(thing.clone());
            }
        }
        let named = thing.map_or(std::ptr::null_mut(), |thing| Arc::as_ptr(thing).cast_mut());
        name.store(named, Ordering::Release);
    }
}

/// Maps a file to write to it. The caller has locked the folder that it is in, and nobody makes it shorter.
///
/// # Errors
/// The system's.
pub(crate) fn map_file(file: &std::fs::File) -> std::io::Result<memmap2::MmapMut> {
    // SAFETY: this process alone has it, as long as it is (invariant).
    unsafe { memmap2::MmapMut::map_mut(file) }
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
#[cfg(loom)]
impl<T> Guard for crate::sync::apart::MutexGuard<'_, T> {}
impl Guard for Frozen {}
/// Those of many locks of one kind: one piece of memory, since a forked child has to free it.
impl<G: Guard> Guard for Vec<G> {}

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
    return tick_ms(libc::CLOCK_REALTIME_COARSE);
    #[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
    None
}

/// As [`late_ms`], but since some moment that does not change while the system runs, whoever sets its time.
#[cfg(feature = "remote")]
#[inline]
pub(crate) fn late_steady_ms() -> Option<u64> {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
    return tick_ms(libc::CLOCK_MONOTONIC_COARSE);
    #[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
    None
}

#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
#[inline(always)]
fn tick_ms(clock: libc::clockid_t) -> Option<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the system fills in the structure, which outlives the call.
    let failed = unsafe { libc::clock_gettime(clock, &mut time) };
    (failed == 0).then(|| time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000)
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

/// Has the event loop that this thread runs tell what a socket is ready for.
///
/// # Errors
/// The system has no room for it.
///
/// # Panics
/// If the thread runs no event loop.
#[cfg(feature = "listener")]
pub(crate) fn watched(
    socket: std::sync::Arc<std::os::fd::OwnedFd>,
) -> std::io::Result<tokio::io::unix::AsyncFd<std::sync::Arc<std::os::fd::OwnedFd>>> {
    // SAFETY: an `OwnedFd` is open, and the same descriptor, until it is dropped; what is returned shares it until it is dropped itself.
    Ok(unsafe { tokio::io::unix::AsyncFd::register(socket) }?)
}

/// Has `prepare` run before every `fork` of this process, `parent` and `child` after it on either side.
///
/// Handlers live as long as the process; `prepare` handlers run last registered first. Where there is no `fork`
/// this does nothing. Says whether the system could note them.
pub(crate) fn on_fork(prepare: extern "C" fn(), parent: extern "C" fn(), child: extern "C" fn()) -> bool {
    #[cfg(all(unix, not(miri)))]
    {
        unsafe extern "C" {
            fn pthread_atfork(
                prepare: extern "C" fn(),
                parent: extern "C" fn(),
                child: extern "C" fn(),
            ) -> libc::c_int;
        }
        // SAFETY: the handlers are functions, which live as long as the process.
        unsafe { pthread_atfork(prepare, parent, child) == 0 }
    }
    #[cfg(not(all(unix, not(miri))))]
    {
        let _ = (prepare, parent, child);
        true
    }
}

pub(crate) mod lost_pages {
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
            let (access, flags) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
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
}

/// Limits the address space of this process to so many bytes, for a test in a child; says whether the system did.
#[cfg(all(test, target_os = "linux", not(miri)))]
pub(crate) fn limit_address_space(bytes: u64) -> bool {
    let limit = libc::rlimit { rlim_cur: bytes, rlim_max: bytes };
    // SAFETY: the pointer is to a local.
    unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) == 0 }
}

/// Limits the descriptors of this process to those below a number, for a test in a child; says whether the system did.
#[cfg(all(test, target_os = "linux", not(miri), feature = "listener"))]
pub(crate) fn limit_descriptors(count: u64) -> bool {
    let limit = libc::rlimit { rlim_cur: count, rlim_max: count };
    // SAFETY: the pointer is to a local.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0 }
}

/// Has all memory that this process maps from now on locked, for a test in a child; says whether the system did.
#[cfg(all(test, target_os = "linux", not(miri)))]
pub(crate) fn lock_memory_to_come() -> bool {
    // SAFETY: changes nothing of the memory there is.
    unsafe { libc::mlockall(libc::MCL_FUTURE) == 0 }
}

/// After which a forked child counts as hanging: all that tests do there takes seconds, tens of them beside other tests under a sanitizer.
#[cfg(all(test, unix))]
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Forks, runs `child` in the child and says whether it returned true. A child that hangs is ended, and the test's output tells of it.
#[cfg(all(test, unix))]
pub(crate) fn in_fork(child: impl FnOnce() -> bool) -> bool {
    in_fork_by_steps(|_| child())
}

/// The same for a child that notes its steps: the test's output tells them if it fails or hangs, and what its threads were doing.
#[cfg(all(test, unix))]
pub(crate) fn in_fork_by_steps(child: impl FnOnce(&Trail) -> bool) -> bool {
    let outcome = fork_and_wait(PATIENCE, &Trail::new(), child);
    if let Err(told) = &outcome {
        eprintln!("{told}");
    }
    outcome.is_ok()
}

/// Under the address sanitizer, has this thread hand on what it has freed.
///
/// Its quarantine has a lock that it does not hold across a fork. A child whose fork found it taken, by another thread that was freeing, hangs as soon
/// as its own thread has freed more than `thread_local_quarantine_size_kb` (in `Quarantine::Drain`, at `sched_yield`): a program of threads that
/// free and a child that does the same hangs in one of twenty forks. Tests of forks free little: emptied before, the thread's part never fills in the child.
#[cfg(all(test, unix))]
fn drain_quarantine() {
    /// More than a thread's part is.
    const MUCH: usize = 5 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(MUCH)));
}

/// Forks, runs `child` in the child and waits for its end, for so long at most. What went wrong otherwise.
#[cfg(all(test, unix))]
fn fork_and_wait(
    patience: std::time::Duration,
    trail: &Trail,
    child: impl FnOnce(&Trail) -> bool,
) -> Result<(), String> {
    drain_quarantine();
    // SAFETY: the child runs only `child` and leaves without unwinding into the caller.
    let process = unsafe { libc::fork() };
    if process == 0 {
        let fine = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| child(trail))).unwrap_or(false);
        // SAFETY: ends the child at once, without the handlers of the parent's exit.
        unsafe { libc::_exit(i32::from(!fine)) }
    }
    assert!(process > 0, "the system forks");
    for _ in 0..patience.as_millis() / 10 {
        let mut status = 0;
        // SAFETY: asks after the child that was just made.
        let ended = unsafe { libc::waitpid(process, &mut status, libc::WNOHANG) };
        if ended == process {
            if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0 {
                return Ok(());
            }
            return Err(format!(
                "a forked child ended with status {status:#x}; its steps:\n{}",
                trail.told()
            ));
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let threads = trail::threads_of(process as u32);
    let told = format!("a forked child hung for {patience:?}; its steps:\n{}{threads}", trail.told());
    // SAFETY: ends the child that hangs, and reaps it.
    unsafe {
        libc::kill(process, libc::SIGKILL);
        libc::waitpid(process, std::ptr::null_mut(), 0);
    }
    Err(told)
}

#[cfg(test)]
mod tests {
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
        assert!(on_fork(prepare, parent, child));
        drain_quarantine();
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

    #[test]
    fn a_board_keeps_what_it_named() {
        let board = Board::<String, 2>::new();
        let (one, other) = (Arc::new("one".to_owned()), Arc::new("other".to_owned()));
        board.set(0, Some(&one));
        let seen = board.get(0).unwrap();
        board.set(0, Some(&other));
        board.set(1, Some(&one));
        board.set(7, Some(&one));
        drop((one, other));
        assert_eq!((seen.as_str(), board.get(0).unwrap().as_str()), ("one", "other"));
        board.set(0, None);
        assert!(board.get(0).is_none() && board.get(1).is_some() && board.get(2).is_none());
    }
}
