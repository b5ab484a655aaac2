//! CLIENT LIST: one line per session, with filters.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use crate::clients::ClientInfo;
use crate::command::{Args, Command, Context, Reply, Session, table};
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
    custom_parse, no_args, reply = "verbatim",
)]
pub struct ClientList<'a> {
    filters: Vec<&'a [u8]>,
}

impl<'a> ClientList<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { filters: args.take_rest().to_vec() })
    }
}

#[derive(Default)]
struct Filter<'a> {
    normal_only: bool,
    none: bool,
    ids: Option<Vec<u64>>,
    peer: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    skip_me: bool,
    max_age: Option<u64>,
}

impl<'a> Filter<'a> {
    fn of(words: &[&'a [u8]]) -> Result<Self> {
        let mut filter = Filter::default();
        let mut rest = words;
        while let Some((word, behind)) = rest.split_first() {
            let (value, mut after) = behind.split_first().ok_or_else(Error::syntax)?;
            match &word.to_ascii_lowercase()[..] {
                b"type" => filter.set_type(value)?,
                b"id" => after = filter.set_ids(behind)?,
                b"user" => filter.set_user(value)?,
                b"addr" => filter.peer = Some(value),
                b"laddr" => filter.local = Some(value),
                b"skipme" => filter.set_skip_me(value)?,
                b"maxage" => filter.set_max_age(value)?,
                _ => return Err(Error::syntax()),
            }
            rest = after;
        }
        Ok(filter)
    }

    fn set_type(&mut self, name: &[u8]) -> Result<()> {
        match &name.to_ascii_lowercase()[..] {
            b"normal" => self.normal_only = true,
            b"master" | b"primary" | b"replica" | b"slave" | b"pubsub" => self.none = true,
            _ => {
                let text = [b"ERR Unknown client type '", name, b"'"].concat();
                return Err(Error::from_bytes(ErrorKind::Command, text));
            }
        }
        Ok(())
    }

    /// ID takes every number that follows.
    fn set_ids<'w>(&mut self, words: &'w [&'a [u8]]) -> Result<&'w [&'a [u8]]> {
        let count = words.iter().take_while(|word| num::parse_i64(word).is_some()).count();
        let (ids, rest) = words.split_at(count);
        if ids.is_empty() {
            return Err(Error::syntax());
        }
        let ids = ids.iter().map(|word| {
            let id = num::parse_i64(word).filter(|id| *id > 0);
            id.map(|id| id as u64).ok_or_else(|| Error::command("client-id should be greater than 0"))
        });
        self.ids.get_or_insert_default().extend(ids.collect::<Result<Vec<_>>>()?);
        Ok(rest)
    }

    fn set_user(&mut self, name: &[u8]) -> Result<()> {
        if name == b"default" {
            return Ok(());
        }
        let text = [b"ERR No such user '", name, b"'"].concat();
        Err(Error::from_bytes(ErrorKind::Command, text))
    }

    fn set_skip_me(&mut self, value: &[u8]) -> Result<()> {
        match &value.to_ascii_lowercase()[..] {
            b"yes" => self.skip_me = true,
            b"no" => self.skip_me = false,
            _ => return Err(Error::syntax()),
        }
        Ok(())
    }

    fn set_max_age(&mut self, value: &[u8]) -> Result<()> {
        let seconds = num::parse_i64(value)
            .ok_or_else(|| Error::command("maxage is not an integer or out of range"))?;
        if seconds <= 0 {
            return Err(Error::command("maxage should be greater than 0"));
        }
        self.max_age = Some(seconds as u64);
        Ok(())
    }

    fn lets_through(&self, client: &ClientInfo, own_id: u64, now_ms: u64) -> bool {
        let (peer, local) = addresses(client);
        !self.none
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
            && self.peer.is_none_or(|wanted| wanted == peer.as_bytes())
            && self.local.is_none_or(|wanted| wanted == local.as_bytes())
            && !(self.skip_me && client.id == own_id)
            && self.max_age.is_none_or(|age| now_ms.saturating_sub(client.created_ms) / 1000 >= age)
    }
}

impl Session for ClientList<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let filter = Filter::of(&self.filters)?;
        let now = context.engine.keyspace.clock.coarse_ms();
        let clients = context.engine.clients.all();
        let shown = clients.iter().filter(|client| filter.lets_through(client, context.session.info.id, now));
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
        if queued >= 0 { "x" } else { "N" },
        client.db.load(Ordering::Relaxed),
        client.watching.load(Ordering::Relaxed),
        if client.resp3.load(Ordering::Relaxed) { 3 } else { 2 },
        names.library,
        names.library_version,
        client.commands.load(Ordering::Relaxed),
    );
    line
}
