//! CLIENT LIST: one line per session, with filters.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use crate::clients::ClientInfo;
use crate::command::{Arg, Args, Command, Context, Reply, Session, table};
use crate::error::{Error, ErrorKind, Result};
use crate::num;
use crate::session::ClientAddress;

/// Lists the open sessions, one line each.
///
/// Returns the lines. The filters TYPE, USER, ADDR, LADDR, ID, SKIPME and MAXAGE must all hold.
#[derive(Command)]
#[command(
    name = "CLIENT|LIST", group = Connection, since = "2.4.0", complexity = "O(N) where N is the number of client connections", arity = -2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE), tips("nondeterministic_output"),
    history(("2.8.12", "Added unique client `id` field."), ("5.0.0", "Added optional `TYPE` filter."), ("6.0.0", "Added `user` field."), ("6.2.0", "Added `argv-mem`, `tot-mem`, `laddr` and `redir` fields and the optional `ID` filter."), ("7.0.0", "Added `resp`, `multi-mem`, `rbs` and `rbp` fields."), ("7.0.3", "Added `ssub` field."), ("8.0.0", "Replaced `master` `TYPE` with `primary`. `master` still supported for backward compatibility."), ("8.1.0", "Added filters USER, ADDR, LADDR, SKIPME, and MAXAGE")),
    custom_parse, reply = "verbatim",
)]
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
    skipme: Option<SkipMe>,
    #[arg(token = "MAXAGE", since = "8.1.0")]
    maxage: Option<i64>,
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
        match &name.to_ascii_lowercase()[..] {
            b"normal" => Ok(Self::Normal),
            b"master" | b"primary" => Ok(Self::Master),
            b"replica" | b"slave" => Ok(Self::Replica),
            b"pubsub" => Ok(Self::PubSub),
            _ => {
                let text = [b"ERR Unknown client type '", name, b"'"].concat();
                Err(Error::from_bytes(ErrorKind::Command, text))
            }
        }
    }
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum SkipMe {
    #[arg(token = "YES")]
    Yes,
    #[arg(token = "NO")]
    No,
}

impl<'a> ClientList<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let mut list = Self {
            client_type: None,
            client_id: None,
            username: None,
            addr: None,
            laddr: None,
            skipme: None,
            maxage: None,
        };
        while let Some(word) = args.next() {
            if word.eq_ignore_ascii_case(b"ID") {
                list.client_id.get_or_insert_default().extend(ids(args)?);
                continue;
            }
            let value = args.value()?;
            match &word.to_ascii_lowercase()[..] {
                b"type" => list.client_type = Some(ClientType::named(value)?),
                b"user" => list.username = Some(user(value)?),
                b"addr" => list.addr = Some(value),
                b"laddr" => list.laddr = Some(value),
                b"skipme" => list.skipme = Some(skip_me(value)?),
                b"maxage" => list.maxage = Some(max_age(value)?),
                _ => return Err(Error::syntax()),
            }
        }
        Ok(list)
    }

    fn lets_through(&self, client: &ClientInfo, own_id: u64, now_ms: u64) -> bool {
        let (peer, local) = addresses(client);
        let age_s = (now_ms.saturating_sub(client.created_ms) / 1000) as i64;
        // There are no links of replication, and subscribers are not told apart.
        self.client_type.is_none_or(|wanted| wanted == ClientType::Normal)
            && self.client_id.as_ref().is_none_or(|ids| ids.contains(&(client.id as i64)))
            && self.username.is_none_or(|user| user == ONLY_USER)
            && self.addr.is_none_or(|wanted| wanted == peer.as_bytes())
            && self.laddr.is_none_or(|wanted| wanted == local.as_bytes())
            && !(self.skipme == Some(SkipMe::Yes) && client.id == own_id)
            && self.maxage.is_none_or(|age| age_s >= age)
    }
}

const ONLY_USER: &[u8] = b"default";

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

fn user(name: &[u8]) -> Result<&[u8]> {
    if name == ONLY_USER {
        return Ok(name);
    }
    let text = [b"ERR No such user '", name, b"'"].concat();
    Err(Error::from_bytes(ErrorKind::Command, text))
}

fn skip_me(value: &[u8]) -> Result<SkipMe> {
    match &value.to_ascii_lowercase()[..] {
        b"yes" => Ok(SkipMe::Yes),
        b"no" => Ok(SkipMe::No),
        _ => Err(Error::syntax()),
    }
}

fn max_age(value: &[u8]) -> Result<i64> {
    match num::parse_i64(value) {
        None => Err(Error::command("maxage is not an integer or out of range")),
        Some(seconds) if seconds <= 0 => Err(Error::command("maxage should be greater than 0")),
        Some(seconds) => Ok(seconds),
    }
}

impl Session for ClientList<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let now = context.engine.keyspace.clock.coarse_ms();
        let clients = context.engine.clients.all();
        let own_id = context.session.info.id;
        let shown = clients.iter().filter(|client| self.lets_through(client, own_id, now));
        let lines: String = shown.map(|client| describe(client, now)).collect();
        reply.verbatim(b"txt", lines.as_bytes());
        Ok(())
    }
}

fn addresses(client: &ClientInfo) -> (&str, &str) {
    match &client.address {
        ClientAddress::InProcess => ("", ""),
        ClientAddress::Socket { peer, local } => (peer, local),
    }
}

/// One line of CLIENT LIST. Buffers and file descriptors are the listener's and told as 0.
pub(super) fn describe(client: &ClientInfo, now_ms: u64) -> String {
    let (peer, local) = addresses(client);
    let names = client.names.lock().clone();
    let seconds_since = |then: u64| now_ms.saturating_sub(then) / 1000;
    let last = client.last_command.load(Ordering::Relaxed);
    let command = table::all().find(|found| found.id == last).map_or("NULL", |found| found.spec.name);
    let queued = client.queued.load(Ordering::Relaxed);
    let mut line = String::new();
    // Writing to a string can't fail.
    let _ = writeln!(
        line,
        "id={} addr={peer} laddr={local} fd=0 name={} age={} idle={} flags={} capa= db={} sub=0 psub=0 ssub=0 \
         multi={queued} watch={} qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 \
         events=r cmd={command} user=default redir=-1 resp={} lib-name={} lib-ver={} tot-net-in=0 tot-net-out=0 \
         tot-cmds={}",
        client.id,
        names.name,
        seconds_since(client.created_ms),
        seconds_since(client.last_seen_ms.load(Ordering::Relaxed)),
        if client.in_transaction.load(Ordering::Relaxed) { "x" } else { "N" },
        client.db.load(Ordering::Relaxed),
        client.watching.load(Ordering::Relaxed),
        if client.resp3.load(Ordering::Relaxed) { 3 } else { 2 },
        names.library,
        names.library_version,
        client.commands.load(Ordering::Relaxed),
    );
    line
}
