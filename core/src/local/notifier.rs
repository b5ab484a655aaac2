//! Keyspace notifications: what happens to keys is published, as far as `notify-keyspace-events` asks for it.
//!
//! What happens is told by the keyspace, once nothing is locked; who hears it, [`crate::clients`] knows.

use std::sync::Weak;

use super::Local;
use crate::config::KeyspaceEvents;
use crate::keyspace::{Event, EventClass, Interest, Observer};
use crate::os::Guard;
use crate::sync::{Arc, Mutex};

/// Publishes the events of an engine while anybody has asked for some.
pub(crate) struct Notifier {
    engine: Weak<Local>,
    observing: Mutex<Option<Arc<dyn Observer>>>,
}

impl Notifier {
    pub(super) fn new(engine: Weak<Local>) -> Self {
        Self { engine, observing: Mutex::default() }
    }

    /// Locks what it guards.
    pub(super) fn freeze<'a>(&'a self, held: &mut Vec<Box<dyn Guard + 'a>>) {
        held.push(Box::new(self.observing.lock()));
    }

    /// Begins to observe, or ends it, as the options say.
    pub(super) fn adopt(&self, engine: &Local) {
        let hooks = &engine.keyspace.hooks;
        let mut observing = self.observing.lock();
        match (&*observing, engine.config.hot().notify_keyspace_events().is_any_published()) {
            (None, true) => {
                let observer: Arc<dyn Observer> = Arc::new(Events(self.engine.clone()));
                hooks.observe(observer.clone());
                *observing = Some(observer);
            }
            (Some(observer), false) => {
                hooks.unobserve(observer);
                *observing = None;
            }
            _ => {}
        }
    }
}

/// Publishes what it hears.
struct Events(Weak<Local>);

impl Observer for Events {
    fn interest(&self) -> Interest {
        Interest { changes: false, events: true }
    }

    fn modified(&self, _: usize, _: &[u8], _: u64) {}

    fn notified(&self, event: &Event<'_>) {
        let Some(engine) = self.0.upgrade() else { return };
        let wanted = engine.config.hot().notify_keyspace_events();
        if !wanted.contains(class_of(event.class)) {
            return;
        }
        let channel =
            |space: &str, what: &[u8]| [format!("__{space}@{}__:", event.db).as_bytes(), what].concat();
        let name = event.name.as_bytes();
        if wanted.contains(KeyspaceEvents::KEYSPACE) {
            engine.publish(false, &channel("keyspace", event.key), name).wake(&engine);
        }
        if wanted.contains(KeyspaceEvents::KEYEVENT) {
            engine.publish(false, &channel("keyevent", name), event.key).wake(&engine);
        }
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
    }
}
