//! COMMAND GETKEYS and GETKEYSANDFLAGS: which arguments of a call are keys. Finding them is [`crate::command::keys`]'s.

use super::command::write_flags;
use crate::command::keys;
use crate::command::spec::KeyFlags;
use crate::command::{Args, Command, Context, Reply, Session};
use crate::commands::table;
use crate::error::{Error, Result};

/// Returns the keys of a call.
///
/// Returns them in the order of the command's key specs.
#[derive(Command)]
#[command(
    name = "COMMAND|GETKEYS", group = Server, since = "2.8.13", complexity = "O(N) where N is the number of arguments to the command", arity = -3,
    flags(LOADING, STALE), acl(CONNECTION),
    custom_parse, reply = "array(bulk)",
)]
pub struct CommandGetKeys<'a> {
    command: &'a [u8],
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

impl<'a> CommandGetKeys<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { command: args.required()?, arg: args.take_rest().to_vec() })
    }
}

impl Session for CommandGetKeys<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let keys = keys_of(self.command, &self.arg)?;
        reply.array(keys.len());
        keys.iter().for_each(|(key, _)| reply.bulk(key));
        Ok(())
    }
}

/// Returns the keys of a call and what happens to them.
///
/// Returns pairs of a key and its flags.
#[derive(Command)]
#[command(
    name = "COMMAND|GETKEYSANDFLAGS", group = Server, since = "7.0.0", complexity = "O(N) where N is the number of arguments to the command", arity = -3,
    flags(LOADING, STALE), acl(CONNECTION),
    custom_parse, reply = "array(array(bulk | set(simple)))",
)]
pub struct CommandGetKeysAndFlags<'a> {
    command: &'a [u8],
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

impl<'a> CommandGetKeysAndFlags<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        Ok(Self { command: args.required()?, arg: args.take_rest().to_vec() })
    }
}

impl Session for CommandGetKeysAndFlags<'_> {
    fn execute(&self, _: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
        let keys = keys_of(self.command, &self.arg)?;
        reply.array(keys.len());
        for (key, flags) in keys {
            reply.array(2);
            reply.bulk(key);
            write_flags(flags.names(), reply);
        }
        Ok(())
    }
}

fn keys_of<'a>(command: &'a [u8], arguments: &[&'a [u8]]) -> Result<Vec<(&'a [u8], KeyFlags)>> {
    let argv: Vec<&[u8]> = std::iter::once(command).chain(arguments.iter().copied()).collect();
    let found = table::find(&argv).ok_or_else(|| Error::command("Invalid command specified"))?;
    if found.spec.keys.iter().all(|key_spec| key_spec.flags.contains(KeyFlags::NOT_KEY)) {
        return Err(Error::command("The command has no key arguments"));
    }
    if !found.spec.arity_allows(argv.len()) {
        return Err(Error::command("Invalid number of arguments specified for command"));
    }
    let positions = keys::of_call(found.spec, &argv).filter(|positions| !positions.is_empty());
    let positions = positions.ok_or_else(|| Error::command("Invalid arguments specified for command"))?;
    Ok(positions.into_iter().map(|(position, flags)| (argv[position], flags)).collect())
}
