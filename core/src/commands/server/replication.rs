//! REPLICAOF, SLAVEOF, FAILOVER, PSYNC, SYNC and REPLCONF: what a primary without replicas answers, which can have none.

use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Context, Reply, Session, is_token};
use crate::error::{Error, Result, until_zero};
use crate::num;

/// Makes a server a replica of another, or of none.
///
/// Returns `OK` for NO ONE, which the engine is. To follow another server is refused: the engine does not replicate.
#[derive(Command)]
#[command(
    name = "REPLICAOF", group = Server, since = "5.0.0", complexity = "O(1)", arity = 3,
    flags(ADMIN, NOSCRIPT, STALE, NO_ASYNC_LOADING),
    reply = "ok",
)]
pub struct ReplicaOf<'a> {
    #[arg(name = "args")]
    primary: Primary<'a>,
}

/// Makes a server a replica of another, or of none: REPLICAOF by its old name.
///
/// Returns what that returns.
#[derive(Command)]
#[command(
    name = "SLAVEOF", group = Server, since = "1.0.0", complexity = "O(1)", arity = 3,
    flags(ADMIN, NOSCRIPT, STALE, NO_ASYNC_LOADING), deprecated("5.0.0", "`REPLICAOF`"),
    reply = "ok",
)]
pub struct SlaveOf<'a> {
    #[arg(name = "args")]
    primary: Primary<'a>,
}

/// Whom to follow.
enum Primary<'a> {
    NoOne,
    Server { host: &'a [u8], port: &'a [u8] },
}

const fn plain(name: &'static str) -> ArgSpec {
    ArgSpec { name, ..ArgSpec::PLAIN }
}

const fn number(name: &'static str) -> ArgSpec {
    ArgSpec { kind: ArgKind::Integer, ..plain(name) }
}

const fn word(name: &'static str, token: &'static str) -> ArgSpec {
    ArgSpec { kind: ArgKind::PureToken, token: Some(token), ..plain(name) }
}

const fn block(name: &'static str, args: &'static [ArgSpec]) -> ArgSpec {
    ArgSpec { kind: ArgKind::Block, args, ..plain(name) }
}

impl<'a> Arg<'a> for Primary<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::OneOf,
        args: &[
            block("host-port", &[plain("host"), number("port")]),
            block("no-one", &[word("no", "NO"), word("one", "ONE")]),
        ],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let (host, port) = (args.required()?, args.required()?);
        let is_no_one = is_token(host, "NO") && is_token(port, "ONE");
        Ok(if is_no_one { Self::NoOne } else { Self::Server { host, port } })
    }

    fn encode(&self, out: &mut Argv) {
        let (host, port) = match self {
            Self::NoOne => (&b"NO"[..], &b"ONE"[..]),
            Self::Server { host, port } => (*host, *port),
        };
        out.extend([host.to_vec(), port.to_vec()]);
    }
}

impl Primary<'_> {
    fn follow(&self, reply: &mut Reply) -> Result<()> {
        if let Self::Server { port, .. } = self {
            let port = num::parse_i64(port).filter(|port| (0..=65_535).contains(port));
            port.ok_or_else(|| Error::command("Invalid master port"))?;
            return Err(Error::command("Keystead does not replicate: it can follow no other server"));
        }
        reply.ok();
        Ok(())
    }
}

impl Session for ReplicaOf<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        self.primary.follow(reply)
    }
}

impl Session for SlaveOf<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        self.primary.follow(reply)
    }
}

/// Hands the role of the primary to a replica.
///
/// Returns an error: there are no replicas.
#[derive(Command)]
#[command(
    name = "FAILOVER", group = Server, since = "6.2.0", complexity = "O(1)", arity = -1,
    flags(ADMIN, NOSCRIPT, STALE),
    custom_parse, reply = "any",
)]
pub struct Failover<'a> {
    #[arg(oneof)]
    target: Option<Target<'a>>,
    #[arg(token = "ABORT")]
    abort: bool,
    #[arg(token = "TIMEOUT", kind = Integer)]
    milliseconds: Option<&'a [u8]>,
}

#[derive(Arg)]
#[arg(token = "TO")]
struct Target<'a> {
    host: &'a [u8],
    port: i64,
    #[arg(token = "FORCE")]
    force: bool,
}

impl<'a> Failover<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let is_alone = args.remaining() == 1;
        let mut own = Self { target: None, abort: false, milliseconds: None };
        // The server takes it without a target, too.
        let mut is_forced = false;
        while let Some(option) = args.next() {
            if is_token(option, "TIMEOUT") && args.remaining() >= 1 && own.milliseconds.is_none() {
                let milliseconds = args.required()?;
                if num::parse_i64(milliseconds).ok_or_else(Error::not_an_integer)? <= 0 {
                    return Err(Error::command("FAILOVER timeout must be greater than 0"));
                }
                own.milliseconds = Some(milliseconds);
            } else if is_token(option, "ABORT") && is_alone {
                own.abort = true;
            } else if is_token(option, "TO") && args.remaining() >= 2 && own.target.is_none() {
                let host = args.required()?;
                let port = num::parse_i64(args.required()?).ok_or_else(Error::not_an_integer)?;
                own.target = Some(Target { host, port, force: false });
            } else if is_token(option, "FORCE") && !is_forced {
                is_forced = true;
            } else {
                return Err(Error::syntax());
            }
        }
        if let Some(target) = &mut own.target {
            target.force = is_forced;
        }
        Ok(own)
    }
}

impl Session for Failover<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(Error::command(match self.abort {
            true => "No failover in progress.",
            false => "FAILOVER requires connected replicas.",
        }))
    }
}

/// Asks for what was written since a place of the replication stream.
///
/// Returns an error: the engine does not replicate.
#[derive(Command)]
#[command(
    name = "PSYNC", group = Server, since = "2.8.0", complexity = "", arity = -3,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI),
    custom_parse, reply = "any",
)]
pub struct PSync<'a> {
    replicationid: &'a [u8],
    offset: i64,
}

impl<'a> PSync<'a> {
    /// Whatever stands behind them is for those who fail over.
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let replicationid = args.required()?;
        let offset = num::parse_i64(args.required()?).ok_or_else(Error::not_an_integer)?;
        args.take_rest();
        Ok(Self { replicationid, offset })
    }
}

fn no_replicas() -> Error {
    Error::command("Keystead does not replicate: it can have no replicas")
}

impl Session for PSync<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(no_replicas())
    }
}

/// Asks for a copy of the data and all that is written from then on.
///
/// Returns an error: the engine does not replicate.
#[derive(Command)]
#[command(
    name = "SYNC", group = Server, since = "1.0.0", complexity = "", arity = 1,
    flags(ADMIN, NOSCRIPT, NO_ASYNC_LOADING, NO_MULTI),
    reply = "any",
)]
pub struct Sync {}

impl Session for Sync {
    fn execute(&self, _: &mut Context<'_, '_>, _: &mut Reply) -> Result<()> {
        Err(no_replicas())
    }
}

/// Tells a primary about the replica that asks.
///
/// Returns `OK`, to ACK and GETACK nothing. What it tells is checked and forgotten.
#[derive(Command)]
#[command(
    name = "REPLCONF", group = Server, since = "3.0.0", complexity = "O(1)", arity = -1,
    flags(ADMIN, NOSCRIPT, LOADING, STALE, ALLOW_BUSY, SYSCMD),
    custom_parse, no_args, reply = "ok",
)]
pub struct ReplConf<'a> {
    options: Vec<&'a [u8]>,
}

impl<'a> ReplConf<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { options: args.take_rest().to_vec() })
    }
}

impl Session for ReplConf<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let (pairs, []) = self.options.as_chunks::<2>() else { return Err(Error::syntax()) };
        for [option, value] in pairs {
            if ["ACK", "GETACK"].iter().any(|option_word| is_token(option, option_word)) {
                context.session.has_no_reply = true;
                return Ok(());
            }
            check_option(option, value)?;
        }
        reply.ok();
        Ok(())
    }
}

/// Checks what a replica would tell.
fn check_option(option: &[u8], value: &[u8]) -> Result<()> {
    const LONGEST_ADDRESS: usize = 255;
    let flag = |value: &[u8]| match num::parse_i64(value).ok_or_else(Error::not_an_integer)? {
        0 | 1 => Ok(()),
        _ => Err(Error::command("value is out of range, value must between 0 and 1")),
    };
    match () {
        () if is_token(option, "CAPA") => Ok(()),
        () if is_token(option, "LISTENING-PORT") => {
            num::parse_i64(value).map(drop).ok_or_else(Error::not_an_integer)
        }
        () if is_token(option, "IP-ADDRESS") => match value.len() {
            ..=LONGEST_ADDRESS => Ok(()),
            len => Err(Error::command(format_args!(
                "REPLCONF ip-address provided by replica instance is too long: {len} bytes"
            ))),
        },
        () if is_token(option, "VERSION") && !is_version(value) => {
            Err(Error::repeating("Unrecognized version format: ", value, ""))
        }
        () if is_token(option, "VERSION") => Ok(()),
        () if is_token(option, "RDB-ONLY") || is_token(option, "RDB-CHANNEL") => flag(value),
        () if is_token(option, "RDB-FILTER-ONLY") => {
            let mut kinds = value.split(|byte| *byte == b' ').filter(|kind| !kind.is_empty());
            match kinds.find(|kind| !is_token(kind, "FUNCTIONS")) {
                Some(kind) => Err(Error::repeating("Unsupported rdb-filter-only option: ", kind, "")),
                None => Ok(()),
            }
        }
        () if is_token(option, "SET-RDB-CLIENT-ID") => {
            let id = num::parse_i64(value).ok_or_else(Error::not_an_integer)?;
            Err(Error::command(format_args!("Unrecognized RDB client id {id}")))
        }
        () if is_token(option, "SET-CLUSTER-NODE-ID") => {
            Err(Error::command("This instance has cluster support disabled"))
        }
        () => Err(Error::repeating("Unrecognized REPLCONF option: ", option, "")),
    }
}

/// Whether a text is three numbers of a byte each, with points between them.
fn is_version(text: &[u8]) -> bool {
    let numbers: Vec<Option<i64>> =
        until_zero(text).split(|byte| *byte == b'.').map(num::parse_i64).collect();
    numbers.len() == 3 && numbers.iter().all(|number| number.is_some_and(|number| (0..256).contains(&number)))
}
