//! ACL LOG, DRYRUN, CAT, GENPASS, WHOAMI and HELP: what was refused and would be, and what rules can be made of.

use crate::acl::Entry;
use crate::command::permit;
use crate::command::spec::{ArgKind, ArgSpec, Categories};
use crate::command::{Arg, Args, Argv, Command, Context, Reply, Session};
use crate::commands::table::{self, Unresolved};
use crate::error::{Error, ErrorKind, Result};
use crate::num;

/// The error of a subcommand that has been given more words than it takes.
fn too_many(args: &Args<'_>) -> Error {
    let before = "unknown subcommand or wrong number of arguments for '";
    Error::repeating(before, args.spelled(), "'. Try ACL HELP.")
}

enum Operation {
    Count(i64),
    Reset,
}

impl<'a> Arg<'a> for Operation {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::OneOf,
        args: &[
            ArgSpec { name: "count", kind: ArgKind::Integer, ..ArgSpec::PLAIN },
            ArgSpec { name: "reset", kind: ArgKind::PureToken, token: Some("RESET"), ..ArgSpec::PLAIN },
        ],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        let word = args.required()?;
        if word.eq_ignore_ascii_case(b"RESET") {
            return Ok(Self::Reset);
        }
        num::parse_i64(word).map(Self::Count).ok_or_else(Error::not_an_integer)
    }

    fn encode(&self, out: &mut Argv) {
        out.push(match self {
            Self::Count(count) => count.to_string().into_bytes(),
            Self::Reset => b"RESET".to_vec(),
        });
    }
}

/// Returns the newest entries of the log of refused calls, or empties it.
///
/// Returns ten of them unless told otherwise, newest first.
#[derive(Command)]
#[command(
    name = "ACL|LOG", group = Server, since = "6.0.0", complexity = "O(N) with N being the number of entries shown.", arity = -2,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    history(("7.2.0", "Added entry ID, timestamp created, and timestamp last updated.")),
    custom_parse, reply = "ok | array(map(bulk, any))",
)]
pub struct AclLog {
    operation: Option<Operation>,
}

impl AclLog {
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        if args.remaining() > 1 {
            return Err(too_many(args));
        }
        let operation = (args.remaining() == 1).then(|| Operation::parse(args)).transpose()?;
        Ok(Self { operation })
    }
}

impl Session for AclLog {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        const DEFAULT_COUNT: i64 = 10;
        let log = &context.engine.users.log;
        let count = match self.operation {
            Some(Operation::Reset) => {
                log.lock().clear();
                reply.ok();
                return Ok(());
            }
            Some(Operation::Count(count)) => count,
            None => DEFAULT_COUNT,
        };
        let entries = log.lock().newest(usize::try_from(count).unwrap_or(0));
        let now_ms = context.engine.keyspace.clock.now_ms();
        reply.array(entries.len());
        entries.iter().for_each(|entry| write_entry(entry, now_ms, reply));
        Ok(())
    }
}

fn write_entry(entry: &Entry, now_ms: u64, reply: &mut Reply) {
    reply.map(10);
    reply.bulk(b"count");
    reply.integer(entry.count as i64);
    let texts: [(&str, &[u8]); 4] = [
        ("reason", entry.reason.as_bytes()),
        ("context", entry.origin.name().as_bytes()),
        ("object", &entry.object),
        ("username", &entry.user),
    ];
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text);
    }
    reply.bulk(b"age-seconds");
    reply.double(now_ms.saturating_sub(entry.updated_ms) as f64 / 1000.0);
    reply.bulk(b"client-info");
    reply.bulk(entry.client.as_bytes());
    let numbers = [
        ("entry-id", entry.number),
        ("timestamp-created", entry.created_ms),
        ("timestamp-last-updated", entry.updated_ms),
    ];
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(number as i64);
    }
}

/// Tells whether a user may make a call, without making it.
///
/// Returns `OK`, or a sentence that says what is not allowed.
#[derive(Command)]
#[command(
    name = "ACL|DRYRUN", group = Server, since = "7.0.0", complexity = "O(1).", arity = -4,
    flags(ADMIN, NOSCRIPT, LOADING, STALE),
    custom_parse, reply = "ok | bulk",
)]
pub struct AclDryRun<'a> {
    username: &'a [u8],
    command: &'a [u8],
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

impl<'a> AclDryRun<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (username, command) = (args.required()?, args.required()?);
        Ok(Self { username, command, arg: args.take_rest().to_vec() })
    }
}

impl Session for AclDryRun<'_> {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let user = context.engine.users.find(self.username);
        let user = user.ok_or_else(|| Error::repeating("User '", self.username, "' not found"))?;
        let words: Vec<&[u8]> = std::iter::once(self.command).chain(self.arg.iter().copied()).collect();
        let own = context.engine.own_words(&words);
        let resolved = own.as_ref().map_or_else(|| Err(table::unresolved(&words)), |own| table::resolve(own));
        let found = resolved.map_err(|Unresolved { id, error }| match id {
            Some(_) => error,
            None => Error::repeating("Command '", self.command, "' not found"),
        })?;
        match permit::check(context.engine, &user, found, &words, context.session.db) {
            Ok(()) => reply.ok(),
            Err(denied) => reply.bulk(&denied.sentence(&user)),
        }
        Ok(())
    }
}

/// Lists the categories of commands, or the commands of one.
///
/// Returns names.
#[derive(Command)]
#[command(
    name = "ACL|CAT", group = Server, since = "6.0.0", complexity = "O(1) since the categories and commands are a fixed set.", arity = -2,
    flags(NOSCRIPT, LOADING, STALE),
    custom_parse, reply = "array(bulk)",
)]
pub struct AclCat<'a> {
    category: Option<&'a [u8]>,
}

impl<'a> AclCat<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        if args.remaining() > 1 {
            return Err(too_many(args));
        }
        Ok(Self { category: args.next() })
    }
}

impl Session for AclCat<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let Some(name) = self.category else {
            reply.array(Categories::all().len());
            Categories::all().iter().for_each(|(_, name)| reply.bulk(name.as_bytes()));
            return Ok(());
        };
        let category = Categories::from_name(crate::error::until_zero(name))
            .ok_or_else(|| Error::repeating("Unknown category '", name, "'"))?;
        let specs = table::all().iter().map(|found| found.spec);
        let names: Vec<&str> =
            specs.filter(|spec| spec.categories().contains(category)).map(|spec| spec.name).collect();
        reply.array(names.len());
        names.iter().for_each(|name| reply.bulk(name.as_bytes()));
        Ok(())
    }
}

/// Makes a password that nobody guesses.
///
/// Returns as many hexadecimal digits as hold the bits, 256 unless told otherwise.
#[derive(Command)]
#[command(
    name = "ACL|GENPASS", group = Server, since = "6.0.0", complexity = "O(1)", arity = -2,
    flags(NOSCRIPT, LOADING, STALE),
    custom_parse, reply = "bulk",
)]
pub struct AclGenPass {
    bits: Option<i64>,
}

impl AclGenPass {
    fn parse_args(args: &mut Args<'_>) -> Result<Self> {
        if args.remaining() > 1 {
            return Err(too_many(args));
        }
        let number = |word: &[u8]| num::parse_i64(word).ok_or_else(Error::not_an_integer);
        Ok(Self { bits: args.next().map(number).transpose()? })
    }
}

impl Session for AclGenPass {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        const MOST: usize = 4096;
        let bits = usize::try_from(self.bits.unwrap_or(256)).ok().filter(|bits| (1..=MOST).contains(bits));
        let bits = bits.ok_or_else(|| {
            Error::command(format_args!(
                "ACL GENPASS argument must be the number of bits for the output password, a positive number up to {MOST}"
            ))
        })?;
        let digits = bits.div_ceil(4);
        let mut bytes = vec![0; digits.div_ceil(2)];
        getrandom::fill(&mut bytes)
            .map_err(|error| Error::new(ErrorKind::Io, format!("ERR Making a password: {error}")))?;
        let mut text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        text.truncate(digits);
        reply.bulk(text.as_bytes());
        Ok(())
    }
}

/// Tells which user the session acts as.
///
/// Returns the name.
#[derive(Command)]
#[command(
    name = "ACL|WHOAMI", group = Server, since = "6.0.0", complexity = "O(1)", arity = 2,
    flags(NOSCRIPT, LOADING, STALE),
    reply = "bulk",
)]
pub struct AclWhoAmI {}

impl Session for AclWhoAmI {
    fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        reply.bulk(&context.session.info.user().name);
        Ok(())
    }
}

/// Returns what the subcommands do.
#[derive(Command)]
#[command(
    name = "ACL|HELP", group = Server, since = "6.0.0", complexity = "O(1)", arity = 2,
    flags(LOADING, STALE),
    reply = "array(simple)",
)]
pub struct AclHelp {}

impl Session for AclHelp {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        crate::commands::help(
            reply,
            "ACL",
            &[
                ("CAT [<category>]", "The categories of commands, or the commands of one."),
                ("DELUSER <username> [<username> ...]", "Removes users and ends their connections."),
                ("DRYRUN <username> <command> [<arg> ...]", "Whether a user may make a call."),
                ("GENPASS [<bits>]", "A password that nobody guesses, of 256 bits unless told otherwise."),
                ("GETUSER <username>", "What a user may do."),
                ("LIST", "All users, as in a file of users."),
                ("LOAD", "Has the users be those of the ACL file."),
                ("LOG [<count> | RESET]", "The newest calls that were refused; RESET forgets them."),
                ("SAVE", "Writes the users to the ACL file."),
                ("SETUSER <username> <rule> [<rule> ...]", "Makes a user or changes what it may do."),
                ("USERS", "The names of all users."),
                ("WHOAMI", "The user that this session acts as."),
            ],
        );
        Ok(())
    }
}
