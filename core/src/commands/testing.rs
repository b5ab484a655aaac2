//! What tests of commands share: an engine, a session that is told a line, an ear for events.

use crate::keyspace::{Event, Observer};
use crate::store::HashSeed;
use crate::sync::Mutex;
use crate::{Clock, Config, Engine, Session};

/// An engine with these options, whose clock stands still and whose keys are always hashed alike.
pub(super) fn engine(config: &str) -> Engine {
    let config = Config::from_text(config.as_bytes()).unwrap();
    Engine::builder().clock(Clock::manual(1_000_000)).seed(HashSeed::of(7)).config(config).open().unwrap()
}

pub(super) fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

/// The reply to words, as it is sent.
pub(super) fn execute(session: &mut Session, words: &[&[u8]]) -> String {
    String::from_utf8_lossy(session.execute(words)).into_owned()
}

/// The reply to a line, as it is sent.
pub(super) fn run(session: &mut Session, line: &str) -> String {
    execute(session, &words(line))
}

/// The reply to a line, in one line.
pub(super) fn ask(session: &mut Session, line: &str) -> String {
    run(session, line).replace("\r\n", " ").trim_end().to_owned()
}

/// Notes events.
#[derive(Default)]
pub(super) struct Ear(Mutex<Vec<String>>);

impl Ear {
    /// The events since the last time, each as its name and the key.
    pub(super) fn heard(&self) -> String {
        std::mem::take(&mut *self.0.lock()).join(", ")
    }
}

impl Observer for Ear {
    fn modified(&self, _: usize, _: &[u8], _: u64) {}

    fn notified(&self, event: &Event<'_>) {
        self.0.lock().push(format!("{} {}", event.name, String::from_utf8_lossy(event.key)));
    }
}
