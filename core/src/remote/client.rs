//! A session's client at a remote: its database, protocol, transaction and watched keys, on a connection that is its own as long as there is any of these.

use super::calling::Request;
use super::near::Writing;
use super::plain::Plain;
use super::{Inner, Side, Written};
use crate::backend::{self, Connection};
use crate::command::reply::tag;
use crate::command::spec::Flags;
use crate::command::{Form, Reply, keys};
use crate::commands::table::{self, Found};
use crate::error::{Error, ErrorKind};
use crate::sync::Arc;

/// A client.
pub(super) struct Client {
    remote: Arc<Inner>,
    db: usize,
    resp3: bool,
    /// Its own connection, while something is kept there.
    own: Option<Plain>,
    transaction: Option<Transaction>,
    is_watching: bool,
    /// It acts as another user.
    is_apart: bool,
    /// Its connection has a name or another mark, which nobody else is to have.
    is_marked: bool,
    is_quitting: bool,
}

/// What an open transaction will do.
#[derive(Default)]
struct Transaction {
    keys: Vec<Box<[u8]>>,
    /// One of its commands is about all keys.
    is_whole: bool,
    /// The database that it will go to.
    selects: Option<usize>,
}

impl Client {
    pub(super) fn new(remote: Arc<Inner>) -> Self {
        let db = remote.address.db;
        Self {
            remote,
            db,
            resp3: false,
            own: None,
            transaction: None,
            is_watching: false,
            is_apart: false,
            is_marked: false,
            is_quitting: false,
        }
    }

    /// Whether nothing of it stands on a connection.
    fn is_plain(&self) -> bool {
        self.transaction.is_none() && !self.is_watching && !self.is_apart
    }

    /// Executes a command that may change what is kept on its connection.
    fn execute_own(&mut self, side: &Side, found: Option<&Found>, argv: &[&[u8]], reply: &mut Reply) {
        let start = reply.len();
        let request = Request { db: self.db, argv, found, resp3: self.resp3, is_bound: !self.is_plain() };
        let effect = found.map_or(Effect::None, |found| Effect::of(found.spec.name));
        let keeps = effect.keeps() || request.is_bound || self.is_marked;
        let (remote, own) = (&self.remote, &mut self.own);
        let executed = backend::wait(|| remote.execute_plain(side, &request, own, keeps, reply));
        let is_lost = !executed;
        let is_refused = is_lost || is_error(reply, start);
        self.note(effect, argv, (is_refused, is_null(reply, start)), reply);
        if is_lost && request.is_bound {
            // What was on it is gone with it, as for a client whose connection was lost.
            self.forget();
        }
        self.let_go(side);
    }

    /// Notes what a command has done, by whether its reply was an error, or null.
    fn note(
        &mut self,
        effect: Effect,
        argv: &[&[u8]],
        (is_refused, is_null): (bool, bool),
        reply: &mut Reply,
    ) {
        let number = || argv.get(1).and_then(|text| crate::num::parse_u64(text)).map(|db| db as usize);
        match effect {
            Effect::Exec | Effect::Discard => {
                let ended = self.transaction.take();
                self.is_watching = false;
                let selected = ended.and_then(|transaction| transaction.selects);
                if let (Effect::Exec, false, false, Some(db)) = (effect, is_refused, is_null, selected) {
                    self.go_to(db);
                }
            }
            _ if is_refused => {}
            Effect::Multi => self.transaction = Some(Transaction::default()),
            Effect::Watch => self.is_watching = true,
            Effect::Unwatch => self.is_watching = self.transaction.is_some() && self.is_watching,
            Effect::Select => match &mut self.transaction {
                Some(transaction) => transaction.selects = number(),
                None => self.go_to(number().unwrap_or(self.db)),
            },
            Effect::Hello => {
                self.resp3 = match argv.get(1) {
                    Some(version) => *version == b"3",
                    None => self.resp3,
                };
                if let Some(own) = &mut self.own {
                    own.resp3 = self.resp3;
                }
                self.is_apart |= argv.iter().skip(2).any(|word| word.eq_ignore_ascii_case(b"AUTH"));
                reply.set_resp3(self.resp3);
            }
            Effect::Auth => self.is_apart = true,
            Effect::Mark => self.is_marked = true,
            Effect::Reset => {
                self.forget();
                self.db = self.remote.address.db;
                self.resp3 = false;
                reply.set_resp3(false);
            }
            Effect::Quit => self.is_quitting = true,
            Effect::None | Effect::Refused => {}
        }
    }

    /// Its connection, if it has one, is in this database by now.
    fn go_to(&mut self, db: usize) {
        self.db = db;
        if let Some(own) = &mut self.own {
            own.db = db;
        }
    }

    /// The writes of commands that go together are about to be sent, and those of a transaction that was open before.
    fn begin_writes<'s>(
        &self,
        side: &'s Side,
        commands: &[&[&[u8]]],
        founds: &[Option<&Found>],
    ) -> Option<Writing<'s>> {
        let near = side.near.as_ref()?;
        let (mut written, mut is_whole) = (Vec::new(), false);
        for (argv, found) in commands.iter().zip(founds) {
            let Some(found) = found else { continue };
            match side.written_by(self.db, found, argv) {
                Written::Nothing => {}
                Written::Keys(keys) => written.extend(keys),
                Written::Everything => is_whole = true,
            }
        }
        if let Some(transaction) = &self.transaction {
            is_whole |= transaction.is_whole;
            written.extend(transaction.keys.iter().map(|key| &**key).filter(|_| self.db == near.db));
        }
        if is_whole {
            return Some(near.begin_flush());
        }
        (!written.is_empty()).then(|| near.begin_write(written))
    }

    /// Leaves its connection to others, if nothing is kept there.
    fn let_go(&mut self, side: &Side) {
        if self.is_plain()
            && !self.is_marked
            && let Some(own) = self.own.take()
        {
            side.pool.give_back(own);
        }
    }

    fn forget(&mut self) {
        (self.own, self.transaction) = (None, None);
        (self.is_watching, self.is_apart, self.is_marked) = (false, false, false);
    }

    /// Notes what a command that is queued will write.
    fn queue(&mut self, found: &Found, argv: &[&[u8]]) {
        let Some(transaction) = &mut self.transaction else { return };
        let is_write = !found.spec.flags.contains(Flags::READONLY);
        transaction.is_whole |= is_write && found.spec.whole_keyspace;
        if is_write {
            let keys = keys::of_call(found.spec, argv).unwrap_or_default();
            transaction.keys.extend(
                keys.iter().filter_map(|(position, _)| argv.get(*position).map(|key| Box::from(*key))),
            );
        }
    }
}

/// What a command does to the client's state, by its name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    None,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Select,
    Hello,
    Auth,
    Reset,
    Quit,
    /// It says something of the connection that stays so.
    Mark,
    /// It would have the connection speak when nobody asked it, or be silent when somebody did.
    Refused,
}

impl Effect {
    fn of(name: &str) -> Effect {
        match name {
            "multi" => Effect::Multi,
            "exec" => Effect::Exec,
            "discard" => Effect::Discard,
            "watch" => Effect::Watch,
            "unwatch" => Effect::Unwatch,
            "select" => Effect::Select,
            "hello" => Effect::Hello,
            "auth" => Effect::Auth,
            "reset" => Effect::Reset,
            "quit" => Effect::Quit,
            "client|setname"
            | "client|no-evict"
            | "client|no-touch"
            | "client|capa"
            | "client|import-source" => Effect::Mark,
            "subscribe" | "psubscribe" | "ssubscribe" | "monitor" | "sync" | "psync" | "client|reply"
            | "client|tracking" | "client|caching" => Effect::Refused,
            _ => Effect::None,
        }
    }

    /// Whether what follows depends on it in a way that only its reply tells.
    fn goes_alone(self) -> bool {
        !matches!(
            self,
            Effect::None | Effect::Multi | Effect::Exec | Effect::Discard | Effect::Watch | Effect::Unwatch
        )
    }

    /// Whether the connection has to stay the client's, to see what comes of it.
    fn keeps(self) -> bool {
        !matches!(self, Effect::None)
    }
}

fn is_error(reply: &Reply, start: usize) -> bool {
    let first = reply.as_bytes().get(start).copied();
    match reply.form() {
        Form::Resp => first == Some(b'-'),
        Form::Tape => first == Some(tag::ERROR),
    }
}

fn is_null(reply: &Reply, start: usize) -> bool {
    let written = reply.as_bytes().get(start..).unwrap_or_default();
    match reply.form() {
        Form::Resp => written.starts_with(b"*-1") || written.starts_with(b"_"),
        Form::Tape => matches!(written.first(), Some(&(tag::NULL | tag::NULL_ARRAY))),
    }
}

impl Connection for Client {
    fn execute(&mut self, argv: &[&[u8]], reply: &mut Reply) {
        let side = match self.remote.side() {
            Ok(side) => side,
            Err(error) => return reply.error(&error),
        };
        let found = table::find(argv);
        let effect = found.map_or(Effect::None, |found| Effect::of(found.spec.name));
        if effect == Effect::Refused {
            let name = found.map_or("", |found| found.spec.name);
            let text = format!(
                "ERR {} is not available on a session whose engine stands elsewhere",
                name.to_uppercase()
            );
            return reply.error(&Error::new(ErrorKind::Command, text));
        }
        if self.transaction.is_some() && matches!(effect, Effect::Hello | Effect::Auth) {
            let text = "ERR how a session speaks and who it is can't change within a transaction whose engine stands elsewhere";
            return reply.error(&Error::new(ErrorKind::Command, text));
        }
        if self.is_plain()
            && let Some(found) = found
            && self.remote.read_near(&side, self.db, found, argv, reply)
        {
            return;
        }
        let is_queued = self.transaction.is_some() && !effect.keeps();
        if is_queued {
            if let Some(found) = found {
                self.queue(found, argv);
            }
            return self.execute_own(&side, found, argv, reply);
        }
        let writing = match (effect, &self.transaction) {
            (Effect::Exec, Some(transaction)) => {
                let keys = transaction.keys.iter().map(|key| &**key);
                side.near.as_ref().filter(|near| near.db == self.db).map(|near| {
                    if transaction.is_whole { near.begin_flush() } else { near.begin_write(keys) }
                })
            }
            _ => found.and_then(|found| side.begin_write(self.db, found, argv)),
        };
        self.execute_own(&side, found, argv, reply);
        drop(writing);
    }

    fn execute_all(&mut self, commands: &[&[&[u8]]], reply: &mut Reply) {
        let founds: Vec<Option<&Found>> = commands.iter().map(|argv| table::find(argv)).collect();
        let goes_alone = |found: &Option<&Found>| {
            found.is_some_and(|found| {
                Effect::of(found.spec.name).goes_alone() || found.spec.flags.contains(Flags::BLOCKING)
            })
        };
        let selects = self.transaction.as_ref().is_some_and(|transaction| transaction.selects.is_some());
        if commands.len() < 2 || selects || founds.iter().any(goes_alone) {
            return commands.iter().for_each(|argv| self.execute(argv, reply));
        }
        let side = match self.remote.side() {
            Ok(side) => side,
            Err(error) => return commands.iter().for_each(|_| reply.error(&error)),
        };
        let writing = self.begin_writes(&side, commands, &founds);
        let request =
            Request { db: self.db, argv: &[], found: None, resp3: self.resp3, is_bound: !self.is_plain() };
        let (remote, own) = (&self.remote, &mut self.own);
        let (refused, is_whole) =
            backend::wait(|| remote.execute_together(&side, &request, commands, own, reply));
        for ((argv, found), is_refused) in commands.iter().zip(founds).zip(refused) {
            let effect = found.map_or(Effect::None, |found| Effect::of(found.spec.name));
            if let Some(found) = found
                && !effect.keeps()
            {
                self.queue(found, argv);
            }
            self.note(effect, argv, (is_refused, false), reply);
        }
        if !is_whole {
            self.forget();
        }
        self.let_go(&side);
        drop(writing);
    }

    fn db(&self) -> usize {
        self.db
    }

    fn clean(&mut self, db: usize) {
        if !self.is_apart {
            // With its connection its transaction and its watches end.
            let is_kept = self.own.is_some() && self.is_plain();
            let own = self.own.take();
            (self.transaction, self.is_watching) = (None, false);
            if let (true, Some(own), Ok(side)) = (is_kept, own, self.remote.side()) {
                side.pool.give_back(own);
            }
        }
        self.db = db;
    }

    fn is_quitting(&self) -> bool {
        self.is_quitting
    }
}
