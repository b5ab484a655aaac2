//! OBJECT: how a value is stored and when it was used.

use crate::command::{Command, Context, Read, Reply, Session};
use crate::error::{Error, Result};
use crate::keyspace::access::Recording;
use crate::keyspace::{Db, Key};

/// Holds the commands that look into how a value is stored.
#[derive(Command)]
#[command(
    name = "OBJECT", group = Generic, since = "2.2.3", complexity = "Depends on subcommand.", arity = -2,
    container, reply = "any",
)]
pub struct Object {}

/// Returns how the value of a key is stored.
///
/// Returns null where there is no such key.
#[derive(Command)]
#[command(
    name = "OBJECT|ENCODING", group = Generic, since = "2.2.3", complexity = "O(1)", arity = 3,
    flags(READONLY), tips("nondeterministic_output"),
    reply = "bulk | null",
)]
pub struct ObjectEncoding<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for ObjectEncoding<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.bulk_or_null(db.lookup_untold(&self.key).map(|entry| entry.encoding().as_bytes()));
        Ok(())
    }
}

/// Returns the logarithmic access frequency of a key, under an LFU policy.
///
/// Returns null where there is no such key.
#[derive(Command)]
#[command(
    name = "OBJECT|FREQ", group = Generic, since = "4.0.0", complexity = "O(1)", arity = 3,
    flags(READONLY), tips("nondeterministic_output"),
    reply = "int | null",
)]
pub struct ObjectFreq<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for ObjectFreq<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(entry) = db.lookup_untold(&self.key) else {
            reply.null();
            return Ok(());
        };
        let recording = db.keyspace().recording();
        if !matches!(recording, Recording::Frequency { .. }) {
            return Err(Error::command(
                "An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        reply.integer(recording.frequency(entry.stamp(), db.now()).into());
        Ok(())
    }
}

/// Returns the seconds since the last access to a key.
///
/// Returns null where there is no such key.
#[derive(Command)]
#[command(
    name = "OBJECT|IDLETIME", group = Generic, since = "2.2.3", complexity = "O(1)", arity = 3,
    flags(READONLY), tips("nondeterministic_output"),
    reply = "int | null",
)]
pub struct ObjectIdleTime<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for ObjectIdleTime<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let Some(entry) = db.lookup_untold(&self.key) else {
            reply.null();
            return Ok(());
        };
        let Some(idle_ms) = db.keyspace().idle_ms(entry.stamp()) else {
            return Err(Error::command(
                "An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
                 policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        };
        reply.count((idle_ms / 1000) as usize);
        Ok(())
    }
}

/// Returns the number of references to the value of a key: always 1, values are not shared.
///
/// Returns null where there is no such key.
#[derive(Command)]
#[command(
    name = "OBJECT|REFCOUNT", group = Generic, since = "2.2.3", complexity = "O(1)", arity = 3,
    flags(READONLY), tips("nondeterministic_output"),
    reply = "int | null",
)]
pub struct ObjectRefCount<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for ObjectRefCount<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        match db.lookup_untold(&self.key) {
            Some(_) => reply.integer(1),
            None => reply.null(),
        }
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "OBJECT|HELP", group = Generic, since = "6.2.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct ObjectHelp {}

impl Session for ObjectHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "OBJECT",
            &[
                ("ENCODING <key>", "How the value of <key> is stored."),
                ("FREQ <key>", "Logarithmic access frequency of <key>, under an LFU policy."),
                ("IDLETIME <key>", "Seconds since the last access to <key>."),
                ("REFCOUNT <key>", "References to the value of <key>."),
            ],
        );
        Ok(())
    }
}
