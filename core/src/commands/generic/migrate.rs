//! MIGRATE: moves keys to another server.
//!
//! What is said to that server is `exchange.rs`'s affair, connections are [`crate::targets`]'s.
//!
//! # How it works
//! The values are dumped under the locks of all keys, so that they are of one moment, and each key gets a mark. Then nothing is locked, while a thread of
//! its own talks to the target and the session waits. At last the keys that have arrived are removed under their locks, and in the log as one DEL, but for
//! those whose marks were raised. **A key that was changed meanwhile is not removed**: the target has its value of before, and the error says which key it
//! was. The server has no such keys, since it stands still while it moves some.

mod exchange;

use smallvec::SmallVec;

use crate::alloc;
use crate::command::run::release;
use crate::command::spec::{ArgKind, ArgSpec, BeginSearch, FindKeys};
use crate::command::{Arg, Args, Argv, Command, Context, Parse, Reply, Session, is_token};
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::locks::Locks;
use crate::keyspace::watch::WatchFlag;
use crate::keyspace::{Db, EventClass, Group, Key};
use crate::local::Local;
use crate::num;
use crate::rdb;
use crate::store::key::shard_of;
use crate::sync::{Arc, Ordering};
use exchange::Request;

/// The key, or the place of keys that are named behind KEYS.
enum KeySelector<'a> {
    Key(Key<'a>),
    EmptyString,
}

impl<'a> Arg<'a> for KeySelector<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::OneOf,
        args: &[
            ArgSpec { name: "key", kind: ArgKind::Key, key_spec: Some(0), ..ArgSpec::PLAIN },
            ArgSpec { name: "empty-string", kind: ArgKind::PureToken, token: Some(""), ..ArgSpec::PLAIN },
        ],
        ..ArgSpec::PLAIN
    };

    /// An empty word is a key, too: only KEYS behind it tells.
    fn parse(args: &mut Args<'a>) -> Result<Self> {
        Key::parse(args).map(Self::Key)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(match self {
            Self::Key(key) => key.bytes().to_vec(),
            Self::EmptyString => Vec::new(),
        });
    }

    fn each_key(&self, visit: &mut dyn FnMut(&Key<'a>)) {
        if let Self::Key(key) = self {
            visit(key);
        }
    }
}

#[derive(Arg, Clone, Copy)]
enum Authentication<'a> {
    #[arg(token = "AUTH", display = "password", since = "4.0.7")]
    Auth(&'a [u8]),
    #[arg(token = "AUTH2", since = "6.0.0")]
    Auth2(Credentials<'a>),
}

#[derive(Arg, Clone, Copy)]
struct Credentials<'a> {
    username: &'a [u8],
    password: &'a [u8],
}

/// Atomically transfers a key from one instance to another.
///
/// Returns `OK`, or `NOKEY` where there is none of the keys. The timeout is in milliseconds, 1000 if it is not positive: so long nothing may move, or it is
/// an error. The keys that have arrived by then are gone here, all others are still here. A key that is changed by somebody while it is being moved stays,
/// too, and the error names it. Nothing is removed with COPY. It cannot be in a transaction, whose locks would be held all the time.
#[derive(Command)]
#[command(
    name = "MIGRATE", group = Generic, since = "2.6.0", complexity = "This command actually executes a DUMP+DEL in the source instance, and a RESTORE in the target instance. See the pages of these commands for time complexity. Also an O(N) data transfer between the two instances is performed.", arity = -6,
    flags(WRITE, MOVABLEKEYS), acl(DANGEROUS), tips("nondeterministic_output"),
    history(("3.0.0", "Added the `COPY` and `REPLACE` options."), ("3.0.6", "Added the `KEYS` option."), ("4.0.7", "Added the `AUTH` option."), ("6.0.0", "Added the `AUTH2` option.")),
    extra_key(RW, ACCESS, DELETE, INCOMPLETE, begin = BeginSearch::Keyword("KEYS", -2), find = FindKeys::Range { last: -1, step: 1, limit: 0 }),
    secrets = passwords, custom_parse, session, outside, reply = "ok | simple",
)]
pub struct Migrate<'a> {
    host: &'a [u8],
    #[arg(kind = Integer)]
    port: &'a [u8],
    #[key(RW, ACCESS, DELETE)]
    key_selector: KeySelector<'a>,
    destination_db: i64,
    timeout: i64,
    #[arg(token = "COPY", since = "3.0.0")]
    copy: bool,
    #[arg(token = "REPLACE", since = "3.0.0")]
    replace: bool,
    #[arg(oneof, last_counts)]
    authentication: Option<Authentication<'a>>,
    #[arg(token = "KEYS", display = "key", key_spec = 1, since = "3.0.6")]
    keys: Option<Vec<Key<'a>>>,
}

impl<'a> Migrate<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (host, port) = (args.required()?, args.required()?);
        let mut key_selector = KeySelector::parse(args)?;
        let (db, timeout) = (args.required()?, args.required()?);
        let (mut copy, mut replace, mut keys) = (false, false, None);
        let (mut username, mut password) = (None, None);
        while let Some(word) = args.next() {
            if is_token(word, "COPY") {
                copy = true;
            } else if is_token(word, "REPLACE") {
                replace = true;
            } else if is_token(word, "AUTH") {
                password = Some(args.value()?);
            } else if is_token(word, "AUTH2") {
                // A later AUTH changes the password alone.
                (username, password) = (Some(args.value()?), Some(args.value()?));
            } else if is_token(word, "KEYS") {
                if let KeySelector::Key(key) = &key_selector
                    && !key.bytes().is_empty()
                {
                    return Err(Error::command(
                        "When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                key_selector = KeySelector::EmptyString;
                keys = Some(args.take_rest().iter().map(|key| args.key(key)).collect());
            } else {
                return Err(Error::syntax());
            }
        }
        let integer = |word| num::parse_i64(word).ok_or_else(Error::not_an_integer);
        let (timeout, destination_db) = (integer(timeout)?, integer(db)?);
        let authentication = password.map(|password| match username {
            Some(username) => Authentication::Auth2(Credentials { username, password }),
            None => Authentication::Auth(password),
        });
        Ok(Self { host, port, key_selector, destination_db, timeout, copy, replace, authentication, keys })
    }

    /// Dumps the values that are there, as they are at this moment, and marks their keys, unless they are to stay.
    fn load(&self, db: &mut Db<'_>, cargo: &mut Cargo) -> Result<()> {
        let mut keys: SmallVec<[Key<'a>; 8]> = SmallVec::new();
        self.each_key(&mut |key| keys.push(*key));
        for key in &keys {
            let Some(entry) = db.lookup(key) else { continue };
            let payload = rdb::dumped(entry.value(), db.keyspace().config.hot())?;
            let deadline = entry.deadline();
            let (name, mark) = (alloc::boxed(key.bytes())?, alloc::boxed(key.bytes())?);
            let changed = WatchFlag::default();
            if !self.copy {
                let (hooks, index) = (&db.keyspace().hooks, db.index());
                db.locks_mut().shard_mut(key.shard()).watchers.add(hooks, index, mark, &changed);
            }
            cargo.values.push(Dumped { key: name, hash: key.hash(), payload, deadline, changed });
        }
        Ok(())
    }
}

impl Session for Migrate<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let origin = context.session.origin();
        let local = context.engine.clone();
        let mut cargo = Cargo { local, origin, values: Vec::new(), is_copied: self.copy };
        context.with_db(self, &[], |db| self.load(db, &mut cargo))?;
        if cargo.values.is_empty() {
            reply.simple("NOKEY");
            return Ok(());
        }
        let request = Request::of(self);
        context.wait_for_thread(&self.encode(), reply, move |reply| {
            let (arrived, failed) = request.send(&cargo);
            cargo.settle(&arrived, failed)?;
            reply.ok();
            Ok(())
        })
    }
}

/// A value that is to be moved.
struct Dumped {
    key: Box<[u8]>,
    hash: u64,
    payload: Vec<u8>,
    /// Unix milliseconds.
    deadline: Option<u64>,
    /// Raised when somebody changes the key.
    changed: WatchFlag,
}

/// The values on their way. While there are any, their keys have marks.
struct Cargo {
    local: Arc<Local>,
    /// The database and the session that moves them.
    origin: (usize, u64),
    values: Vec<Dumped>,
    is_copied: bool,
}

impl Cargo {
    /// Removes what has arrived and was not changed meanwhile. `failed`: what went wrong on the way, for all others.
    ///
    /// # Errors
    /// That, or that something was changed, or that the log cannot keep the removals.
    fn settle(mut self, arrived: &[usize], failed: Option<Error>) -> Result<()> {
        if self.is_copied {
            self.values.clear();
            return failed.map_or(Ok(()), Err);
        }
        let local = self.local.clone();
        let mut db = self.locked(&local);
        let removed = self.remove(&mut db, arrived);
        self.unmark(&mut db);
        let mut effects = Group::default();
        db.settle(self.origin.0, &[], &mut effects);
        release(db, &effects)?;
        match (failed, removed?) {
            (None, None) => Ok(()),
            (Some(error), None) | (None, Some(error)) => Err(error),
            (Some(failed), Some(kept)) => {
                Err(Error::from_bytes(failed.kind(), [failed.as_bytes(), b"; ", kept.as_bytes()].concat()))
            }
        }
    }

    fn locked<'l>(&self, local: &'l Local) -> Db<'l> {
        let hashes: SmallVec<[u64; 16]> = self.values.iter().map(|value| value.hash).collect();
        Db::new(&local.keyspace, self.origin, Locks::with_waiters(&local.keyspace, self.origin.0, &hashes))
    }

    /// Removes what has arrived, and returns the error for what was changed meanwhile.
    ///
    /// # Errors
    /// The log takes no writes, or there is no memory for what it gets; nothing was removed.
    fn remove(&self, db: &mut Db<'_>, arrived: &[usize]) -> Result<Option<Error>> {
        if let Some(refusal) = db.keyspace().hooks.refusal() {
            return Err(refusal);
        }
        db.brace_for(1 + arrived.len(), arrived.iter().map(|at| self.values[*at].key.len()).sum())?;
        let values = arrived.iter().map(|at| &self.values[*at]);
        // All are judged before one is removed: a key that is named twice has two marks.
        let (kept, gone): (Vec<&Dumped>, Vec<&Dumped>) = values.partition(|value| value.is_changed(db));
        let mut words = vec![b"DEL".to_vec()];
        for value in gone {
            if db.remove(&db.key(&value.key)) {
                db.notify(EventClass::Generic, "del", &value.key);
                words.push(value.key.to_vec());
            }
        }
        if words.len() > 1 {
            db.propagate(|| words);
        }
        Ok(kept.split_first().map(|(first, others)| changed_meanwhile(&first.key, others.len())))
    }

    fn unmark(&mut self, db: &mut Db<'_>) {
        let (hooks, index) = (&db.keyspace().hooks, db.index());
        for value in self.values.drain(..) {
            let shard = db.locks_mut().shard_mut(shard_of(value.hash));
            shard.watchers.remove(hooks, index, &value.key, &value.changed);
        }
    }
}

impl Drop for Cargo {
    /// Takes the marks away of what could not even be sent.
    fn drop(&mut self) {
        if !self.values.is_empty() && !self.is_copied {
            let local = self.local.clone();
            let mut db = self.locked(&local);
            self.unmark(&mut db);
            db.finish_unasked(self.origin.0);
        }
    }
}

impl Dumped {
    /// Whether somebody changed the key. Its own deadline is no change: the value that was sent has it as well.
    fn is_changed(&self, db: &Db<'_>) -> bool {
        let has_expired =
            || self.deadline.is_some_and(|deadline| deadline <= db.now()) && !db.contains(&db.key(&self.key));
        self.changed.load(Ordering::Acquire) && !has_expired()
    }
}

fn changed_meanwhile(key: &[u8], others: usize) -> Error {
    let others = match others {
        0 => String::new(),
        1 => " (and another key)".to_owned(),
        _ => format!(" (and {others} other keys)"),
    };
    let text = b"was changed while it was moved: it is kept, and the target has its value of before";
    let words: [&[u8]; 5] = [b"ERR key '", key, b"' ", text, others.as_bytes()];
    Error::from_bytes(ErrorKind::Command, words.concat())
}

/// Passwords and users, as far as the server reads.
fn passwords(argv: &[&[u8]]) -> Vec<usize> {
    let mut secrets = Vec::new();
    let mut at = 6;
    while let Some(word) = argv.get(at) {
        let left = argv.len() - at - 1;
        if is_token(word, "AUTH") && left >= 1 {
            secrets.push(at + 1);
            at += 2;
        } else if is_token(word, "AUTH2") && left >= 2 {
            secrets.extend([at + 1, at + 2]);
            at += 3;
        } else if is_token(word, "COPY") || is_token(word, "REPLACE") {
            at += 1;
        } else {
            break;
        }
    }
    secrets
}

#[cfg(test)]
mod tests;
