//! Mutexes whose order is watched, for the engine's own tests and beside what loom models: two locks that are ever taken in both orders, by whatever
//! threads, can deadlock one day. Whoever waits for a lock while it has others notes which it has; a circle ends the process and names the locks in it.
//!
//! Locks are told apart one by one and not by kind: shards are taken in the order of their numbers, and a fork takes the engines one after the other.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{self, PoisonError, TryLockError};
use std::time::Duration;

use smallvec::SmallVec;

/// A mutex without poisoning, as the others.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    lock: sync::Mutex<T>,
    number: Number,
}

#[derive(Debug)]
pub(crate) struct MutexGuard<'a, T> {
    guard: sync::MutexGuard<'a, T>,
    // Ends after the guard.
    taken: Taken,
}

/// What a thread has of a lock.
#[derive(Debug)]
struct Taken(u64);

/// The number of a lock, which it gets when it is taken first; no other gets it.
#[derive(Debug, Default)]
struct Number(AtomicU64);

impl Number {
    fn get(&self) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let new = NEXT.fetch_add(1, Ordering::Relaxed);
        self.0
            .compare_exchange(0, new, Ordering::Relaxed, Ordering::Relaxed)
            .map_or_else(|number| number, |_| new)
    }
}

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self { lock: sync::Mutex::new(value), number: Number(AtomicU64::new(0)) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        let number = self.number.get();
        note_waiting::<T>(number);
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        MutexGuard { guard, taken: Taken::new(number, true) }
    }

    /// Takes the lock if nobody holds it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let guard = match self.lock.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard { guard, taken: Taken::new(self.number.get(), false) })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

/// What threads wait at that hold such a mutex.
#[derive(Debug, Default)]
pub(crate) struct Condvar(sync::Condvar);

impl Condvar {
    pub(crate) const fn new() -> Self {
        Self(sync::Condvar::new())
    }

    pub(crate) fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Waits until it is notified, for so long at most, if a time is given. May return earlier.
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>, time: Option<Duration>) -> MutexGuard<'a, T> {
        let MutexGuard { guard, taken } = guard;
        let number = taken.0;
        drop(taken);
        note_waiting::<T>(number);
        let guard = match time {
            None => self.0.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(time) => self.0.wait_timeout(guard, time).unwrap_or_else(PoisonError::into_inner).0,
        };
        MutexGuard { guard, taken: Taken::new(number, true) }
    }
}

thread_local! {
    /// The locks that this thread has, the latest last, and whether it waited for them.
    static HAS: RefCell<Vec<(u64, bool)>> = const { RefCell::new(Vec::new()) };
    /// What this thread has noted already.
    static NOTED: RefCell<HashSet<(u64, u64)>> = RefCell::default();
}

impl Taken {
    fn new(number: u64, has_waited: bool) -> Self {
        // A thread that ends drops what it has in whatever order.
        let _ = HAS.try_with(|has| has.borrow_mut().push((number, has_waited)));
        Self(number)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let _ = HAS.try_with(|has| {
            let mut has = has.borrow_mut();
            if let Some(at) = has.iter().rposition(|(number, _)| *number == self.0) {
                has.remove(at);
            }
        });
    }
}

/// Which locks were waited for by whoever had which, and what they guard.
#[derive(Default)]
struct Order {
    behind: HashMap<u64, Vec<u64>>,
    guarded: HashMap<u64, &'static str>,
}

impl Order {
    /// The locks from one to another, if whoever had the first waited for the next, and so on.
    fn way(&self, from: u64, to: u64) -> Option<Vec<u64>> {
        let mut came_from = HashMap::from([(from, from)]);
        let mut open = vec![from];
        while let Some(lock) = open.pop() {
            if lock == to {
                let mut way = vec![to];
                while way.last() != Some(&from) {
                    way.extend(way.last().and_then(|lock| came_from.get(lock)).copied());
                }
                way.reverse();
                return Some(way);
            }
            for next in self.behind.get(&lock).into_iter().flatten() {
                came_from.entry(*next).or_insert_with(|| {
                    open.push(*next);
                    lock
                });
            }
        }
        None
    }

    /// Notes that whoever has `first` waits for `second`. The circle that this closes, if it closes one.
    fn note(&mut self, first: u64, second: u64) -> Option<String> {
        let behind = self.behind.entry(first).or_default();
        if behind.contains(&second) {
            return None;
        }
        behind.push(second);
        let way = self.way(second, first)?;
        let name =
            |lock: &u64| format!("{} ({lock})", self.guarded.get(lock).copied().unwrap_or("something"));
        Some(way.iter().map(name).collect::<Vec<_>>().join(", then "))
    }
}

static ORDER: sync::LazyLock<sync::Mutex<Order>> = sync::LazyLock::new(sync::Mutex::default);

/// What was noted, unless this is a forked child, in which it may be locked for ever.
fn order() -> Option<sync::MutexGuard<'static, Order>> {
    static PROCESS: sync::LazyLock<u32> = sync::LazyLock::new(std::process::id);
    if *PROCESS == std::process::id() {
        return Some(ORDER.lock().unwrap_or_else(PoisonError::into_inner));
    }
    ORDER.try_lock().ok()
}

/// Notes that this thread waits for a lock. What it did not wait for itself comes behind what it has waited for before. Allocates nothing but for what is new: see
/// `drain_quarantine` in `os.rs`.
fn note_waiting<T>(number: u64) {
    let has = HAS.try_with(|has| {
        let has = has.borrow();
        let from = has.iter().rposition(|(_, has_waited)| *has_waited).unwrap_or(0);
        has[from..].iter().map(|(number, _)| *number).collect::<SmallVec<[u64; 8]>>()
    });
    let has = has.unwrap_or_default();
    for first in has {
        let is_noted = NOTED.try_with(|noted| noted.borrow().contains(&(first, number)));
        if is_noted != Ok(false) || first == number {
            continue;
        }
        let Some(mut order) = order() else { continue };
        order.guarded.insert(number, std::any::type_name::<T>());
        if let Some(circle) = order.note(first, number) {
            let trace = std::backtrace::Backtrace::force_capture();
            let told = format!("whoever has the first waits for the last, and elsewhere {circle}");
            // Not by a macro, whose output the test harness keeps for itself.
            let _ = writeln!(std::io::stderr(), "locks are taken in a circle: {told}\n{trace}");
            // A panic would be caught where work of others goes on.
            std::process::abort();
        }
        drop(order);
        let _ = NOTED.try_with(|noted| noted.borrow_mut().insert((first, number)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_that_are_taken_in_a_circle_are_named() {
        let mut order = Order { guarded: HashMap::from([(1, "one"), (3, "three")]), ..Order::default() };
        assert_eq!(order.note(1, 2), None);
        assert_eq!(order.note(2, 3), None);
        assert_eq!(order.note(1, 3), None);
        assert_eq!(order.note(1, 2), None);
        let circle = order.note(3, 1).unwrap();
        assert!(circle.starts_with("one (1), then ") && circle.ends_with("three (3)"), "{circle}");
    }

    #[test]
    fn what_a_thread_has_is_what_it_has_not_released() {
        let has = || HAS.with(|has| has.borrow().iter().map(|(number, _)| *number).collect::<Vec<_>>());
        let locks = [(); 3].map(|()| Mutex::new(()));
        let numbers: Vec<u64> = locks.iter().map(|lock| lock.number.get()).collect();
        let [one, two, three] = [locks[0].lock(), locks[1].try_lock().unwrap(), locks[2].lock()];
        assert_eq!(has(), numbers);
        drop(two);
        assert_eq!(has(), [numbers[0], numbers[2]]);
        assert!(locks[0].try_lock().is_none());
        drop(three);
        let one = Condvar::new().wait(one, Some(Duration::ZERO));
        assert_eq!(has(), [numbers[0]]);
        drop(one);
        assert_eq!(has(), [0; 0]);
        let order = order().unwrap();
        assert!(order.way(numbers[0], numbers[2]).is_some() && order.way(numbers[1], numbers[2]).is_some());
        assert!(order.way(numbers[0], numbers[1]).is_none(), "nobody waited for that");
    }
}
