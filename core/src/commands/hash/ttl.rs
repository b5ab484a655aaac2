//! HTTL, HPTTL, HEXPIRETIME and HPEXPIRETIME.

use super::fields::FieldNames;
use super::hash_of;
use crate::command::spec::ArgSpec;
use crate::command::{Arg, Args, Argv, Command, Read, Reply};
use crate::commands::generic::ttl::seconds;
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};

const NO_FIELD: i64 = -2;
const NO_DEADLINE: i64 = -1;

/// The fields of a command that only reads: here a wrong count is a syntax error.
struct Counted<'a>(FieldNames<'a>);

impl<'a> Arg<'a> for Counted<'a> {
    const SPEC: ArgSpec = FieldNames::SPEC;

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        FieldNames::parse_or(args, Error::syntax).map(Self)
    }

    fn encode(&self, out: &mut Argv) {
        self.0.encode(out);
    }
}

/// Replies the deadline of each field put through `show`, or the codes for "no field" and "no deadline".
fn deadlines(
    db: &Db<'_>,
    key: &Key<'_>,
    names: &[&[u8]],
    reply: &mut Reply,
    show: impl Fn(i64, i64) -> i64,
) -> Result<()> {
    let hash = hash_of(db, key)?;
    let now = db.now();
    reply.array(names.len());
    for name in names {
        reply.integer(match hash.and_then(|hash| hash.deadline(name, now)) {
            None => NO_FIELD,
            Some(None) => NO_DEADLINE,
            Some(Some(deadline)) => show(deadline as i64, now as i64),
        });
    }
    Ok(())
}

/// Declares one of the four commands; they differ in how the deadline is shown.
macro_rules! ttl_command {
    ($(#[$attribute:meta])* $name:ident, $show:expr) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RO, ACCESS)]
            key: Key<'a>,
            fields: Counted<'a>,
        }

        impl Read for $name<'_> {
            fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
                deadlines(db, &self.key, &self.fields.0.names, reply, $show)
            }
        }
    };
}

ttl_command! {
    /// Returns the time to live of fields of a hash in seconds.
    ///
    /// Returns per field: -2 no such field, -1 it does not expire, else the time.
    #[derive(Command)]
    #[command(
        name = "HTTL", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
        flags(READONLY, FAST),
        reply = "array(int)",
    )]
    HTtl, |deadline, now| seconds(deadline - now)
}

ttl_command! {
    /// Returns the time to live of fields of a hash in milliseconds.
    ///
    /// Returns per field: -2 no such field, -1 it does not expire, else the time.
    #[derive(Command)]
    #[command(
        name = "HPTTL", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
        flags(READONLY, FAST),
        reply = "array(int)",
    )]
    HPTtl, |deadline, now| deadline - now
}

ttl_command! {
    /// Returns the deadline of fields of a hash as a Unix time in seconds.
    ///
    /// Returns per field: -2 no such field, -1 it does not expire, else the time.
    #[derive(Command)]
    #[command(
        name = "HEXPIRETIME", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
        flags(READONLY, FAST),
        reply = "array(int)",
    )]
    HExpireTime, |deadline, _| seconds(deadline)
}

ttl_command! {
    /// Returns the deadline of fields of a hash as a Unix time in milliseconds.
    ///
    /// Returns per field: -2 no such field, -1 it does not expire, else the time.
    #[derive(Command)]
    #[command(
        name = "HPEXPIRETIME", group = Hash, since = "9.0.0", complexity = "O(N) where N is the number of specified fields", arity = -5,
        flags(READONLY, FAST),
        reply = "array(int)",
    )]
    HPExpireTime, |deadline, _| deadline
}
