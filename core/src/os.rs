//! What the engine asks of the operating system beside memory: fork handlers, the late clock; and two kinds of keeping that the language has no word for.
//! Memory is [`crate::store::memory`]'s.
//!
//! # Unsafe: invariants
//! - [`Board`] and [`Frozen`] own what they lead to, from the first look to the drop; each says how.
//! - Handlers of forks are functions, which live as long as the process.
//! - A file that is mapped is of a folder that this process has locked, and is as long as it was then: nobody makes it shorter.

use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::sync::apart::Mutex;

pub(crate) mod lost_pages;
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
