//! Events of sampled keys on their way to the policy, without a lock.
//!
//! A hit must not wait for the evictor, so it leaves a word in the ring of its thread; whoever next holds the evictor's lock hands them on.
//! Events of one thread keep their order. Those that find a ring full are lost, which costs accuracy and nothing else.

use crossbeam_utils::CachePadded;

use super::Event;
use crate::striped::{self, OnDemand};
use crate::sync::{AtomicU64, AtomicUsize, Ordering};

const RINGS: usize = if cfg!(loom) { 1 } else { 8 };
const SLOTS: usize = if cfg!(loom) { 4 } else { 64 };
/// Events after which a ring asks to be emptied.
const NEARLY_FULL: usize = SLOTS * 3 / 4;

/// Of a hash, a record needs the low 24 bits, the eight for the shard and the eight of the tag; the event is kept between them.
const EVENT_SHIFT: u32 = 24;
const EVENT_MASK: u64 = 3 << EVENT_SHIFT;

/// See the module's text. Takes no memory until a key is sampled.
#[derive(Default)]
pub(crate) struct Uses {
    rings: OnDemand<[CachePadded<Ring>; RINGS]>,
}

struct Ring {
    written: AtomicUsize,
    slots: [AtomicU64; SLOTS],
}

impl Default for Ring {
    fn default() -> Self {
        Self { written: AtomicUsize::new(0), slots: std::array::from_fn(|_| AtomicU64::new(0)) }
    }
}

impl Uses {
    /// Leaves an event of the key of this hash. Says whether it is time to empty the rings.
    pub(crate) fn leave(&self, hash: u64, event: Event) -> bool {
        let ring = &self.rings.get_or_make()[striped::stripe() % RINGS];
        let at = ring.written.fetch_add(1, Ordering::Relaxed);
        if at < SLOTS {
            let code = 1 + event as u64;
            ring.slots[at].store(hash & !EVENT_MASK | code << EVENT_SHIFT, Ordering::Relaxed);
        }
        at >= NEARLY_FULL
    }

    /// Empties the rings. The hashes are whole but for the bits in which events travel.
    pub(crate) fn drain(&self, mut take: impl FnMut(u64, Event)) {
        for ring in self.rings.get().into_iter().flatten() {
            let written = ring.written.load(Ordering::Relaxed);
            if written == 0 {
                continue;
            }
            for slot in &ring.slots[..written.min(SLOTS)] {
                let word = slot.swap(0, Ordering::Relaxed);
                let event = match (word & EVENT_MASK) >> EVENT_SHIFT {
                    1 => Event::Used,
                    2 => Event::Created,
                    3 => Event::Removed,
                    _ => continue,
                };
                take(word, event);
            }
            ring.written.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evict::Record;

    #[test]
    fn events_arrive_in_order_and_keep_what_records_need() {
        let uses = Uses::default();
        let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xabcd_ef01;
        let events = [Event::Used, Event::Created, Event::Removed];
        let mut full = false;
        for number in 0..SLOTS as u64 {
            full = uses.leave(hash(number), events[number as usize % 3]);
        }
        assert!(full);
        let mut next = 0;
        uses.drain(|left, event| {
            assert_eq!(Record::new(left, 0), Record::new(hash(next), 0));
            assert_eq!(event, events[next as usize % 3]);
            next += 1;
        });
        assert_eq!(next, SLOTS as u64);
        uses.drain(|_, _| panic!("the rings are empty"));
    }
}
