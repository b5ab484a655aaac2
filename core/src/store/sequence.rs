//! A sequence counter: lets readers without a lock see whether a writer came between. What is read is their affair.
//!
//! The writer, who holds the lock, makes the count odd before its first store and even after its last. A reader notes an
//! even count, loads what it needs by relaxed atomic loads, and may use it only if the count is still the same. The
//! fences are those of H. Boehm, "Can seqlocks get along with programming language memory models?", MSPC 2012.

use crate::sync::{AtomicU64, Ordering, fence};

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Sequence(AtomicU64);

/// A write, which lasts until this goes.
pub(crate) struct Write<'s>(&'s Sequence);

impl Drop for Write<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.0.end_write();
    }
}

impl Sequence {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The count, unless a writer is at work.
    #[inline(always)]
    pub(crate) fn begin_read(&self) -> Option<u64> {
        let count = self.0.load(Ordering::Acquire);
        (count & 1 == 0).then_some(count)
    }

    /// Whether all loads since [`begin_read`](Self::begin_read) returned `count` belong together.
    #[inline(always)]
    pub(crate) fn is_still(&self, count: u64) -> bool {
        fence(Ordering::Acquire);
        self.0.load(Ordering::Relaxed) == count
    }

    /// The count, for whoever holds the lock.
    #[inline]
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Turns readers away. The caller holds the lock, and did not call this since the last [`end_write`](Self::end_write).
    #[inline]
    pub(crate) fn begin_write(&self) {
        self.0.store(self.count().wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// [`begin_write`](Self::begin_write), and [`end_write`](Self::end_write) when what is returned goes.
    #[inline(always)]
    pub(crate) fn write(&self) -> Write<'_> {
        self.begin_write();
        Write(self)
    }

    /// Lets readers in again.
    #[inline]
    pub(crate) fn end_write(&self) {
        self.0.store(self.count().wrapping_add(1), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_turns_readers_away_and_is_noticed() {
        let sequence = Sequence::new();
        let count = sequence.begin_read().unwrap();
        assert!(sequence.is_still(count));
        sequence.begin_write();
        assert!(sequence.begin_read().is_none() && !sequence.is_still(count));
        sequence.end_write();
        assert!(!sequence.is_still(count) && sequence.begin_read().is_some());
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use crate::sync::{AtomicU64, Ordering};
    use loom::thread;
    use std::sync::Arc;

    /// Two words that belong together, as those of an entry do.
    struct Pair {
        sequence: Sequence,
        words: [AtomicU64; 2],
    }

    #[test]
    fn loom_a_reader_uses_only_words_that_belong_together() {
        let all = Arc::new(std::sync::Mutex::new(std::collections::HashSet::new()));
        let outcomes = all.clone();
        loom::model(move || {
            let pair = Pair { sequence: Sequence::new(), words: [AtomicU64::new(0), AtomicU64::new(0)] };
            let pair = Arc::new(pair);
            let read = pair.clone();
            let reader = thread::spawn(move || {
                let count = read.sequence.begin_read()?;
                let [one, other] = [0, 1].map(|at| read.words[at].load(Ordering::Relaxed));
                let belong_together = read.sequence.is_still(count);
                assert!(!belong_together || one == other, "{one} and {other}");
                Some(belong_together)
            });
            for round in 1..3 {
                pair.sequence.begin_write();
                pair.words.iter().for_each(|word| word.store(round, Ordering::Relaxed));
                pair.sequence.end_write();
            }
            outcomes.lock().unwrap().insert(reader.join().unwrap());
        });
        let all = all.lock().unwrap();
        assert!(all.len() == 3, "turned away, disturbed and undisturbed were all met: {all:?}");
    }
}
