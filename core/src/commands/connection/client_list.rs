//! CLIENT LIST: one line per session, with filters.

use std::fmt::Write as _;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use crate::clients::{Buffers, ClientAddress, ClientInfo, Link, SubscriptionKind, Trait};
use crate::command::{Arg, Args, Command, Context, Reply, Session};
use crate::commands::table;
use crate::error::{Error, Result, until_zero};
use crate::num;

/// Lists the open sessions, one line each.
///
/// Returns the lines. The filters must all hold; those that begin with NOT must not.
#[derive(Command)]
#[command(
    name = "CLIENT|LIST", group = Connection, since = "2.4.0", complexity = "O(N) where N is the number of client connections", arity = -2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("nondeterministic_output"),
    history(("2.8.12", "Added unique client `id` field."), ("5.0.0", "Added optional `TYPE` filter."), ("6.0.0", "Added `user` field."), ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."), ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."), ("7.0.3", "Added `ssub` field."), ("8.0.0", "Replaced `master` `TYPE` with `primary`. `master` still supported for backward compatibility."), ("8.1.0", "Added filters USER, ADDR, LADDR, SKIPME, and MAXAGE."), ("9.0.0", "Added filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA, and IP. And negative filters NOT-ID, NOT-TYPE, NOT-ADDR, NOT-LADDR, NOT-USER, NOT-FLAGS, NOT-NAME, NOT-LIB-NAME, NOT-LIB-VER, NOT-DB, NOT-CAPA, NOT-IP.")),
    custom_parse, reply = "verbatim",
)]
#[derive(Default)]
pub struct ClientList<'a> {
    #[arg(token = "TYPE", since = "5.0.0")]
    client_type: Option<ClientType>,
    #[arg(token = "ID", since = "6.2.0")]
    client_id: Option<Vec<i64>>,
    #[arg(token = "USER", since = "8.1.0")]
    username: Option<&'a [u8]>,
    #[arg(token = "ADDR", display = "ip:port", since = "8.1.0")]
    addr: Option<&'a [u8]>,
    #[arg(token = "LADDR", display = "ip:port", since = "8.1.0")]
    laddr: Option<&'a [u8]>,
    #[arg(token = "SKIPME", since = "8.1.0")]
    pub(super) skipme: Option<SkipMe>,
    #[arg(token = "MAXAGE", since = "8.1.0")]
    maxage: Option<i64>,
    #[arg(token = "NAME", since = "9.0.0")]
    name: Option<&'a [u8]>,
    #[arg(token = "IDLE", since = "9.0.0")]
    idle: Option<i64>,
    #[arg(token = "FLAGS", since = "9.0.0")]
    flags: Option<&'a [u8]>,
    #[arg(token = "LIB-NAME", since = "9.0.0")]
    lib_name: Option<&'a [u8]>,
    #[arg(token = "LIB-VER", since = "9.0.0")]
    lib_ver: Option<&'a [u8]>,
    #[arg(token = "DB", since = "9.0.0")]
    db: Option<i64>,
    #[arg(token = "CAPA", since = "9.0.0")]
    capa: Option<&'a [u8]>,
    #[arg(token = "IP", since = "9.0.0")]
    ip: Option<&'a [u8]>,
    #[arg(token = "NOT-TYPE", since = "9.0.0")]
    not_client_type: Option<ClientType>,
    #[arg(token = "NOT-ID", since = "9.0.0")]
    not_client_id: Option<Vec<i64>>,
    #[arg(token = "NOT-USER", since = "9.0.0")]
    not_username: Option<&'a [u8]>,
    #[arg(token = "NOT-ADDR", display = "ip:port", since = "9.0.0")]
    not_addr: Option<&'a [u8]>,
    #[arg(token = "NOT-LADDR", display = "ip:port", since = "9.0.0")]
    not_laddr: Option<&'a [u8]>,
    #[arg(token = "NOT-NAME", since = "9.0.0")]
    not_name: Option<&'a [u8]>,
    #[arg(token = "NOT-FLAGS", since = "9.0.0")]
    not_flags: Option<&'a [u8]>,
    #[arg(token = "NOT-LIB-NAME", since = "9.0.0")]
    not_lib_name: Option<&'a [u8]>,
    #[arg(token = "NOT-LIB-VER", since = "9.0.0")]
    not_lib_ver: Option<&'a [u8]>,
    #[arg(token = "NOT-DB", since = "9.0.0")]
    not_db: Option<i64>,
    #[arg(token = "NOT-CAPA", since = "9.0.0")]
    not_capa: Option<&'a [u8]>,
    #[arg(token = "NOT-IP", since = "9.0.0")]
    not_ip: Option<&'a [u8]>,
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum ClientType {
    #[arg(token = "NORMAL")]
    Normal,
    #[arg(token = "MASTER")]
    Master,
    #[arg(token = "REPLICA")]
    Replica,
    #[arg(token = "PUBSUB")]
    PubSub,
}

impl ClientType {
    fn named(name: &[u8]) -> Result<Self> {
        match &until_zero(name).to_ascii_lowercase()[..] {
            b"normal" => Ok(Self::Normal),
            b"master" | b"primary" => Ok(Self::Master),
            b"replica" | b"slave" => Ok(Self::Replica),
            b"pubsub" => Ok(Self::PubSub),
            _ => Err(Error::repeating("Unknown client type '", name, "'")),
        }
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
pub(super) enum SkipMe {
    #[arg(token = "YES")]
    Yes,
    #[arg(token = "NO")]
    No,
}

impl<'a> ClientList<'a> {
    pub(super) fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let mut list = Self::default();
        while let Some(word) = args.next() {
            let option = until_zero(word).to_ascii_lowercase();
            match &option[..] {
                b"id" => list.client_id.get_or_insert_default().extend(ids(args)?),
                b"not-id" => list.not_client_id.get_or_insert_default().extend(ids(args)?),
                option => list.read(option, args.value()?, args.databases())?,
            }
        }
        Ok(list)
    }

    fn read(&mut self, option: &[u8], value: &'a [u8], databases: usize) -> Result<()> {
        match option {
            b"type" => self.client_type = Some(ClientType::named(value)?),
            b"not-type" => self.not_client_type = Some(ClientType::named(value)?),
            b"user" => self.username = Some(value),
            b"not-user" => self.not_username = Some(value),
            b"addr" => self.addr = Some(value),
            b"not-addr" => self.not_addr = Some(value),
            b"laddr" => self.laddr = Some(value),
            b"not-laddr" => self.not_laddr = Some(value),
            b"skipme" => self.skipme = Some(skip_me(value)?),
            b"maxage" => self.maxage = Some(positive("maxage", value)?),
            b"idle" => self.idle = Some(positive("idle", value)?),
            b"name" => self.name = Some(value),
            b"not-name" => self.not_name = Some(value),
            b"flags" => {
                self.flags = Some(letters(FLAGS, value, "Unknown flags found in the provided filter: ")?)
            }
            b"not-flags" => {
                self.not_flags =
                    Some(letters(FLAGS, value, "Unknown flags found in the NOT-FLAGS filter: ")?);
            }
            b"lib-name" => self.lib_name = Some(value),
            b"not-lib-name" => self.not_lib_name = Some(value),
            b"lib-ver" => self.lib_ver = Some(value),
            b"not-lib-ver" => self.not_lib_ver = Some(value),
            b"db" => self.db = Some(database("DB", value, databases)?),
            b"not-db" => self.not_db = Some(database("NOT-DB", value, databases)?),
            b"capa" => {
                self.capa = Some(letters(CAPABILITIES, value, "Unknown capa found in the provided filter: ")?)
            }
            b"not-capa" => {
                self.not_capa =
                    Some(letters(CAPABILITIES, value, "Unknown capa found in the NOT-CAPA filter: ")?);
            }
            b"ip" => self.ip = Some(value),
            b"not-ip" => self.not_ip = Some(value),
            _ => return Err(Error::syntax()),
        }
        Ok(())
    }

    /// Refuses users that are not there, of which the server knows when it reads the words.
    pub(super) fn check_users(&self, context: &Context<'_, '_>) -> Result<()> {
        for name in [self.username, self.not_username].into_iter().flatten() {
            if context.engine.users.find(name).is_none() {
                return Err(Error::repeating("No such user '", name, "'"));
            }
        }
        Ok(())
    }

    /// Whether all filters hold for a client.
    pub(super) fn lets_through(&self, client: &ClientInfo, own_id: u64, now_ms: u64) -> bool {
        let (peer, local) = client.address.both();
        let ip = peer.rsplit_once(':').map_or(&*peer, |(ip, _)| ip);
        let seconds_since = |then: u64| (now_ms.saturating_sub(then) / 1000) as i64;
        let age_s = seconds_since(client.created_ms);
        let idle_s = seconds_since(client.last_seen_ms.load(Ordering::Relaxed));
        let id = client.id as i64;
        let db = client.db.load(Ordering::Relaxed) as i64;
        let names = client.names.lock();
        let acting = client.user();
        let flags = flags(client);
        // Nobody is without a name by being called "": the server knows no empty names.
        let is = |wanted: &[u8], own: &str| !own.is_empty() && wanted == own.as_bytes();
        let has = |wanted: &[u8], own: &str| wanted.iter().all(|letter| own.as_bytes().contains(letter));
        // There are no links of replication.
        let client_type = if client.subscribed.is_any() { ClientType::PubSub } else { ClientType::Normal };
        self.client_type.is_none_or(|wanted| wanted == client_type)
            && self.not_client_type.is_none_or(|other| other != client_type)
            && self.client_id.as_ref().is_none_or(|ids| ids.contains(&id))
            && self.not_client_id.as_ref().is_none_or(|ids| !ids.contains(&id))
            && self.username.is_none_or(|user| user == &*acting.name)
            && self.not_username.is_none_or(|user| user != &*acting.name)
            && self.addr.is_none_or(|wanted| wanted == peer.as_bytes())
            && self.not_addr.is_none_or(|other| other != peer.as_bytes())
            && self.laddr.is_none_or(|wanted| wanted == local.as_bytes())
            && self.not_laddr.is_none_or(|other| other != local.as_bytes())
            && !(self.skipme == Some(SkipMe::Yes) && client.id == own_id)
            && self.maxage.is_none_or(|age| age_s >= age)
            && self.idle.is_none_or(|idle| idle_s >= idle)
            && self.name.is_none_or(|wanted| is(wanted, &names.name))
            && self.not_name.is_none_or(|other| !is(other, &names.name))
            && self.flags.is_none_or(|wanted| has(wanted, &flags))
            && self.not_flags.is_none_or(|others| !has(others, &flags))
            && self.lib_name.is_none_or(|wanted| is(wanted, &names.library))
            && self.not_lib_name.is_none_or(|other| !is(other, &names.library))
            && self.lib_ver.is_none_or(|wanted| is(wanted, &names.library_version))
            && self.not_lib_ver.is_none_or(|other| !is(other, &names.library_version))
            && self.db.is_none_or(|wanted| wanted == db)
            && self.not_db.is_none_or(|other| other != db)
            && self.capa.is_none_or(|wanted| has(wanted, capabilities(client)))
            && self.not_capa.is_none_or(|others| !has(others, capabilities(client)))
            && self.ip.is_none_or(|wanted| wanted == ip.as_bytes())
            && self.not_ip.is_none_or(|other| other != ip.as_bytes())
    }
}

/// The letters that the server knows as flags of clients, most of which no session here can have.
const FLAGS: &[u8] = b"bcdeirtuxABEIMNOPRSTU";
/// Those of capabilities.
const CAPABILITIES: &[u8] = b"r";

/// Letters all of which are known; `wrong` is the error where one is not.
fn letters<'a>(known: &[u8], value: &'a [u8], wrong: &str) -> Result<&'a [u8]> {
    let value = until_zero(value);
    match value.iter().all(|letter| known.contains(letter)) {
        true => Ok(value),
        false => Err(Error::repeating(wrong, value, "")),
    }
}

fn database(option: &str, value: &[u8], databases: usize) -> Result<i64> {
    let number = num::parse_i64(value)
        .ok_or_else(|| Error::command(format_args!("{option} is not an integer or out of range")))?;
    match usize::try_from(number) {
        Ok(index) if index < databases => Ok(number),
        _ => Err(Error::command(format_args!("{option} number should be between 0 and {}", databases - 1))),
    }
}

/// ID takes every number that follows.
fn ids(args: &mut Args<'_>) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    while let Some(id) = args.peek().and_then(num::parse_i64) {
        args.next();
        ids.push(id);
    }
    match ids[..] {
        [] => Err(Error::syntax()),
        _ if ids.iter().any(|id| *id <= 0) => Err(Error::command("client-id should be greater than 0")),
        _ => Ok(ids),
    }
}

fn skip_me(value: &[u8]) -> Result<SkipMe> {
    match &value.to_ascii_lowercase()[..] {
        b"yes" => Ok(SkipMe::Yes),
        b"no" => Ok(SkipMe::No),
        _ => Err(Error::syntax()),
    }
}

fn positive(option: &str, value: &[u8]) -> Result<i64> {
    match num::parse_i64(value) {
        None => Err(Error::command(format_args!("{option} is not an integer or out of range"))),
        Some(seconds) if seconds <= 0 => {
            Err(Error::command(format_args!("{option} should be greater than 0")))
        }
        Some(seconds) => Ok(seconds),
    }
}

impl Session for ClientList<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        self.check_users(context)?;
        let now = context.engine.keyspace.clock.coarse_ms();
        let clients = context.engine.clients.all();
        let own_id = context.session.info.id;
        let shown = clients.iter().filter(|client| self.lets_through(client, own_id, now));
        let lines: String = shown.map(|client| describe(client, now)).collect();
        reply.verbatim(b"txt", lines.as_bytes());
        Ok(())
    }
}

/// The flags of a client, in the server's order: it monitors, is subscribed, is in a transaction, waits for a reply, tracks keys, is about to see a
/// transaction fail, and so on.
fn flags(client: &ClientInfo) -> String {
    let has = |which: Trait| client.traits.has(which);
    let has = [
        ('O', client.is_monitor.load(Ordering::Relaxed)),
        ('P', client.subscribed.is_any()),
        ('x', client.in_transaction.load(Ordering::Relaxed)),
        ('b', client.blocking().is_some()),
        ('t', has(Trait::TRACKING)),
        ('R', has(Trait::BROKEN_REDIRECT)),
        ('B', has(Trait::BROADCAST)),
        ('d', client.has_lost()),
        ('U', matches!(client.address, ClientAddress::Unix(_))),
        ('e', has(Trait::NO_EVICT)),
        ('T', has(Trait::NO_TOUCH)),
        ('I', has(Trait::IMPORT_SOURCE)),
    ];
    let flags: String = has.into_iter().filter_map(|(flag, has)| has.then_some(flag)).collect();
    if flags.is_empty() { "N".to_owned() } else { flags }
}

/// What a client said that it can do, as letters.
fn capabilities(client: &ClientInfo) -> &'static str {
    if client.traits.has(Trait::FOLLOWS_REDIRECTS) { "r" } else { "" }
}

/// One line of CLIENT LIST. Who is in this process has no buffers and no file descriptor; both are told as 0.
pub(crate) fn describe(client: &ClientInfo, now_ms: u64) -> String {
    let (peer, local) = client.address.both();
    let names = client.names.lock().clone();
    let seconds_since = |then: u64| now_ms.saturating_sub(then) / 1000;
    let last = client.last_command.load(Ordering::Relaxed);
    let command = table::all().get(last).map_or("NULL", |found| found.spec.name);
    let queued = client.queued.load(Ordering::Relaxed);
    let link = client.link.as_deref();
    let Buffers { input, input_free, output, output_room } = link.map(Link::buffers).unwrap_or_default();
    let (fd, multi) = (link.map_or(0, AsRawFd::as_raw_fd), link.map_or(0, Link::queued));
    let words = client.held_words.load(Ordering::Relaxed);
    let held = words + link.map_or(0, Link::held);
    let mut line = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(
        line,
        "id={} addr={peer} laddr={local} fd={fd} name={} age={} idle={} flags={} capa={} db={} sub={} psub={} ssub={} \
         multi={queued} watch={} qbuf={input} qbuf-free={input_free} argv-mem={words} multi-mem={multi} rbs={output_room} rbp={output_room} obl={output} oll={} omem={} \
         tot-mem={held} \
         events=r cmd={command} user={} redir={} resp={} lib-name={} lib-ver={} tot-net-in={} tot-net-out={} \
         tot-cmds={}",
        client.id,
        names.name,
        seconds_since(client.created_ms),
        seconds_since(client.last_seen_ms.load(Ordering::Relaxed)),
        flags(client),
        capabilities(client),
        client.db.load(Ordering::Relaxed),
        client.subscribed.count(SubscriptionKind::Channel),
        client.subscribed.count(SubscriptionKind::Pattern),
        client.subscribed.count(SubscriptionKind::ShardChannel),
        client.watched(),
        client.outbox.len(),
        client.outbox.bytes(),
        String::from_utf8_lossy(&client.user().name),
        client.redirect(),
        if client.resp3.load(Ordering::Relaxed) { 3 } else { 2 },
        names.library,
        names.library_version,
        client.input.load(Ordering::Relaxed),
        client.output.load(Ordering::Relaxed),
        client.commands.load(Ordering::Relaxed),
    );
    line
}
