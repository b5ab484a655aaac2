//! CLIENT KILL: ends connections, by address or by the filters of CLIENT LIST.
//!
//! Only clients of a listener have a connection. A session in the process is a part of its host, which no client may take down: it is shown by
//! CLIENT LIST, but no filter of CLIENT KILL finds it.

use super::client_list::{ClientList, SkipMe};
use crate::clients::{ClientInfo, Ending};
use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Context, Parse, Reply, Session};
use crate::error::{Error, Result};

/// Ends the connections of clients.
///
/// Returns how many there were; with an address alone `OK`. What a client has sent and was not executed yet is lost. The session's own connection
/// ends once the reply is sent.
#[derive(Command)]
#[command(
    name = "CLIENT|KILL", group = Connection, since = "2.4.0", complexity = "O(N) where N is the number of client connections", arity = -3,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    history(("2.8.12", "Added new filter format."), ("2.8.12", "`ID` option."), ("3.2.0", "Added `master` type in for `TYPE` option."), ("5.0.0", "Replaced `slave` `TYPE` with `replica`. `slave` still supported for backward compatibility."), ("6.2.0", "`LADDR` option."), ("8.0.0", "`MAXAGE` option."), ("8.0.0", "Replaced `master` `TYPE` with `primary`. `master` still supported for backward compatibility."), ("8.1.0", "`ID` option accepts multiple IDs."), ("9.0.0", "Added filters NAME, IDLE, FLAGS, LIB-NAME, LIB-VER, DB, CAPA, and IP. And negative filters NOT-ID, NOT-TYPE, NOT-ADDR, NOT-LADDR, NOT-USER, NOT-FLAGS, NOT-NAME, NOT-LIB-NAME, NOT-LIB-VER, NOT-DB, NOT-CAPA, NOT-IP.")),
    whole_keyspace, reply = "ok | int",
)]
pub struct ClientKill<'a> {
    filter: Filter<'a>,
}

/// Who is meant.
enum Filter<'a> {
    /// The client at this address.
    Address(&'a [u8]),
    /// All who pass.
    All(Box<ClientList<'a>>),
}

impl<'a> Arg<'a> for Filter<'a> {
    const SPEC: ArgSpec = choice("filter", &[OLD_FORMAT, NEW_FORMAT]);

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        match args.remaining() {
            1 => Ok(Self::Address(args.required()?)),
            _ => Ok(Self::All(Box::new(ClientList::parse_args(args)?))),
        }
    }

    fn encode(&self, out: &mut Argv) {
        match self {
            Self::Address(address) => out.push(address.to_vec()),
            Self::All(filters) => out.extend(filters.encode().into_iter().skip(ClientList::NAME_WORDS)),
        }
    }
}

const OLD_FORMAT: ArgSpec =
    ArgSpec { name: "old-format", display: Some("ip:port"), deprecated_since: "2.8.12", ..ArgSpec::PLAIN };

const NEW_FORMAT: ArgSpec = ArgSpec {
    multiple: true,
    ..choice(
        "new-format",
        &[
            ArgSpec { multiple: true, ..number("client-id", "ID", "2.8.12") },
            ArgSpec { token: Some("TYPE"), since: "2.8.12", optional: true, ..choice("client-type", TYPES) },
            text("username", "USER", ""),
            place("addr", "ADDR", ""),
            place("laddr", "LADDR", "6.2.0"),
            ArgSpec {
                token: Some("SKIPME"),
                optional: true,
                ..choice("skipme", &[word("yes", "YES", ""), word("no", "NO", "")])
            },
            number("maxage", "MAXAGE", "8.0.0"),
            text("name", "NAME", "9.0.0"),
            number("idle", "IDLE", "9.0.0"),
            text("flags", "FLAGS", "9.0.0"),
            text("lib-name", "LIB-NAME", "9.0.0"),
            text("lib-ver", "LIB-VER", "9.0.0"),
            number("db", "DB", "9.0.0"),
            text("capa", "CAPA", "9.0.0"),
            text("ip", "IP", "9.0.0"),
            ArgSpec {
                token: Some("NOT-TYPE"),
                since: "9.0.0",
                optional: true,
                ..choice("not-client-type", OTHER_TYPES)
            },
            ArgSpec { multiple: true, ..number("not-client-id", "NOT-ID", "9.0.0") },
            text("not-username", "NOT-USER", "9.0.0"),
            place("not-addr", "NOT-ADDR", "9.0.0"),
            place("not-laddr", "NOT-LADDR", "9.0.0"),
            text("not-name", "NOT-NAME", "9.0.0"),
            text("not-flags", "NOT-FLAGS", "9.0.0"),
            text("not-lib-name", "NOT-LIB-NAME", "9.0.0"),
            text("not-lib-ver", "NOT-LIB-VER", "9.0.0"),
            number("not-db", "NOT-DB", "9.0.0"),
            text("not-capa", "NOT-CAPA", "9.0.0"),
            text("not-ip", "NOT-IP", "9.0.0"),
        ],
    )
};

const TYPES: &[ArgSpec] = &[
    word("normal", "NORMAL", ""),
    word("master", "MASTER", "3.2.0"),
    word("primary", "PRIMARY", "8.0.0"),
    word("slave", "SLAVE", ""),
    word("replica", "REPLICA", "5.0.0"),
    word("pubsub", "PUBSUB", ""),
];

const OTHER_TYPES: &[ArgSpec] = &[
    word("normal", "NORMAL", ""),
    word("master", "MASTER", ""),
    word("primary", "PRIMARY", ""),
    word("slave", "SLAVE", ""),
    word("replica", "REPLICA", ""),
    word("pubsub", "PUBSUB", ""),
];

const fn choice(name: &'static str, args: &'static [ArgSpec]) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::OneOf, args, ..ArgSpec::PLAIN }
}

const fn word(name: &'static str, token: &'static str, since: &'static str) -> ArgSpec {
    ArgSpec { name, kind: ArgKind::PureToken, token: Some(token), since, ..ArgSpec::PLAIN }
}

const fn text(name: &'static str, token: &'static str, since: &'static str) -> ArgSpec {
    ArgSpec { name, token: Some(token), since, optional: true, ..ArgSpec::PLAIN }
}

const fn place(name: &'static str, token: &'static str, since: &'static str) -> ArgSpec {
    ArgSpec { display: Some("ip:port"), ..text(name, token, since) }
}

const fn number(name: &'static str, token: &'static str, since: &'static str) -> ArgSpec {
    ArgSpec { kind: ArgKind::Integer, ..text(name, token, since) }
}

impl Filter<'_> {
    fn finds(&self, client: &ClientInfo, own_id: u64, now_ms: u64) -> bool {
        if !client.has_connection() {
            return false;
        }
        match self {
            Self::Address(address) => client.address.peer().as_bytes() == *address,
            Self::All(filters) => {
                let is_spared = client.id == own_id && filters.skipme != Some(SkipMe::No);
                !is_spared && filters.lets_through(client, own_id, now_ms)
            }
        }
    }
}

impl Session for ClientKill<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        if let Filter::All(filters) = &self.filter {
            filters.check_users(context)?;
        }
        let now_ms = context.engine.keyspace.clock.coarse_ms();
        let own_id = context.session.info.id;
        let clients = context.engine.clients.all();
        let mut killed = 0;
        for client in clients.iter().filter(|client| self.filter.finds(client, own_id, now_ms)) {
            killed += 1;
            if client.id == own_id {
                context.session.quitting = true;
            } else {
                client.cut();
                context.unblock(client, Ending::Gone);
                // Gone at once, for CLIENT LIST too; its thread needs a moment.
                context.engine.clients.forget(client.id);
            }
        }
        match self.filter {
            Filter::All(_) => reply.integer(killed),
            Filter::Address(_) if killed > 0 => reply.ok(),
            Filter::Address(_) => return Err(Error::command("No such client")),
        }
        Ok(())
    }
}
