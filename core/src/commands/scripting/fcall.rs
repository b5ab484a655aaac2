//! FCALL and FCALL_RO.

use smallvec::SmallVec;

use super::eval::Words;
use crate::alloc;
use crate::command::spec::{FindKeys, Flags};
use crate::command::{Args, Command, Context, Parse, Reply, Session};
use crate::commands::table;
use crate::error::{Error, Result};
use crate::keyspace::Key;
use crate::num;
use crate::script::{self, Call, Code, functions};

/// Invokes a function.
///
/// Returns what the function returns. Its commands run as one step; every shard of the engine is locked meanwhile.
#[derive(Command)]
#[command(
    name = "FCALL", group = Scripting, since = "7.0.0", complexity = "Depends on the function that is executed.", arity = -3,
    flags(NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, MOVABLEKEYS), acl(SCRIPTING),
    custom_parse, session, whole_keyspace, reply = "any",
)]
pub struct FCall<'a> {
    function: &'a [u8],
    #[key(RW, ACCESS, UPDATE, notes = "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE", find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    #[arg(kind = Integer)]
    numkeys: &'a [u8],
    #[arg(key_spec = 0, optional)]
    key: Vec<Key<'a>>,
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

/// Invokes a function that may not write.
///
/// Returns what the function returns.
#[derive(Command)]
#[command(
    name = "FCALL_RO", group = Scripting, since = "7.0.0", complexity = "Depends on the function that is executed.", arity = -3,
    flags(READONLY, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, MOVABLEKEYS), acl(SCRIPTING),
    custom_parse, session, whole_keyspace, reply = "any",
)]
pub struct FCallRo<'a> {
    function: &'a [u8],
    #[key(RO, ACCESS, notes = "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS", find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    #[arg(kind = Integer)]
    numkeys: &'a [u8],
    #[arg(key_spec = 0, optional)]
    key: Vec<Key<'a>>,
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

macro_rules! parsed {
    ($($name:ident)*) => { $(
        impl<'a> $name<'a> {
            /// What is wrong with the count of keys is told where there is such a function.
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let (function, numkeys) = (args.required()?, args.required()?);
                let count = num::parse_i64(numkeys).and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
                let key = alloc::collected(args.take(count.min(args.remaining())).iter().map(|bytes| args.key(bytes)))?;
                let arg = alloc::collected(args.take_rest().iter().copied())?;
                Ok(Self { function, numkeys, key, arg })
            }
        }

        impl Session for $name<'_> {
            fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
                run(context, self, (self.function, self.numkeys), (&self.key, &self.arg), reply)
            }
        }
    )* };
}

parsed! { FCall FCallRo }

/// Runs a function with the keys and arguments of a command.
fn run<'a, C: Parse<'a>>(
    context: &mut Context<'_, '_>,
    command: &C,
    (function, numkeys): (&[u8], &[u8]),
    (key, arg): (&[Key<'_>], &[&[u8]]),
    reply: &mut Reply,
) -> Result<()> {
    let words = command.encode();
    let words: SmallVec<[&[u8]; 8]> = words.iter().map(Vec::as_slice).collect();
    context.show_script(&words);
    let libraries = functions::of(context.engine);
    let (library, at) = libraries.function(function).ok_or_else(|| Error::command("Function not found"))?;
    let numkeys = num::parse_i64(numkeys).ok_or_else(|| Error::command("Bad number of keys provided"))?;
    Words::count(numkeys, key.len() + arg.len())?;
    let keys: SmallVec<[&[u8]; 8]> = key.iter().map(Key::bytes).collect();
    let read_only = C::SPEC.flags.contains(Flags::READONLY);
    let code = Code::Function(library, *at);
    let call = Call { code, words: &words, keys: &keys, arguments: arg, read_only, resolve: table::resolve };
    script::run(context, &call, reply)
}
