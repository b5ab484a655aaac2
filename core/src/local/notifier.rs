//! Keyspace notifications: what happens to keys is published, as far as `notify-keyspace-events` asks for it.
//!
//! What happens is told by the keyspace; who hears it, [`crate::clients`] knows.

use std::sync::Weak;

use super::Local;
use crate::config::KeyspaceEvents;
use crate::keyspace::hooks::{Publisher, Waking};
use crate::keyspace::{Event, EventClass};
use crate::os::Guard;
use crate::sync::{Arc, Mutex};

/// Publishes the events of an engine while anybody has asked for some.
pub(crate) struct Notifier {
    engine: Weak<Local>,
    /// What the options asked for when they were last adopted: events, and reads of keys that are not there.
    adopted: Mutex<(bool, bool)>,
}

impl Notifier {
    pub(super) fn new(engine: Weak<Local>) -> Self {
        Self { engine, adopted: Mutex::default() }
    }

    /// Locks what it guards.
    pub(super) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.adopted.lock()));
    }

    /// Begins to publish, ends it, or publishes something else, as the options say.
    pub(super) fn adopt(&self, engine: &Local) {
        let wanted = engine.config.hot().notify_keyspace_events();
        let (events, misses) = (
            wanted.publishes_others_than(KeyspaceEvents::KEY_MISS),
            wanted.publishes(KeyspaceEvents::KEY_MISS),
        );
        let mut adopted = self.adopted.lock();
        if *adopted != (events, misses) {
            engine.keyspace.hooks.set_publisher(Arc::new(Events(self.engine.clone())), events, misses);
            *adopted = (events, misses);
        }
    }
}

/// Publishes what it hears.
struct Events(Weak<Local>);

impl Publisher for Events {
    fn publish(&self, event: &Event<'_>) -> Option<Waking> {
        let engine = self.0.upgrade()?;
        let wanted = engine.config.hot().notify_keyspace_events();
        if !wanted.contains(class_of(event.class)) {
            return None;
        }
        let channel =
            |space: &str, what: &[u8]| [format!("__{space}@{}__:", event.db).as_bytes(), what].concat();
        let name = event.name.as_bytes();
        let published = [
            (KeyspaceEvents::KEYSPACE, "keyspace", event.key, name),
            (KeyspaceEvents::KEYEVENT, "keyevent", name, event.key),
        ]
        .map(|(kind, space, what, text)| {
            wanted.contains(kind).then(|| engine.publish(false, &channel(space, what), text))
        });
        if published.iter().flatten().all(|published| published.hearers == 0) {
            return None;
        }
        Some(Box::new(move || published.into_iter().flatten().for_each(|published| published.wake(&engine))))
    }
}

fn class_of(class: EventClass) -> KeyspaceEvents {
    match class {
        EventClass::Generic => KeyspaceEvents::GENERIC,
        EventClass::String => KeyspaceEvents::STRING,
        EventClass::Hash => KeyspaceEvents::HASH,
        EventClass::List => KeyspaceEvents::LIST,
        EventClass::Set => KeyspaceEvents::SET,
        EventClass::ZSet => KeyspaceEvents::ZSET,
        EventClass::Stream => KeyspaceEvents::STREAM,
        EventClass::Expired => KeyspaceEvents::EXPIRED,
        EventClass::Evicted => KeyspaceEvents::EVICTED,
        EventClass::New => KeyspaceEvents::NEW,
        EventClass::KeyMiss => KeyspaceEvents::KEY_MISS,
    }
}
