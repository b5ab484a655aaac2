//! EVAL, EVALSHA, EVAL_RO and EVALSHA_RO.

use smallvec::SmallVec;

use crate::alloc;
use crate::command::spec::FindKeys;
use crate::command::{Args, Command, Context, Parse, Reply, Session};
use crate::commands::table;
use crate::error::{Error, ErrorKind, Result};
use crate::keyspace::Key;
use crate::num;
use crate::script::{self, Call, Code, digest_of};
use crate::scripts::{Digest, Script};
use crate::sync::Arc;

/// The keys and the other arguments behind what is called.
pub(super) struct Words<'a> {
    pub(super) numkeys: i64,
    pub(super) key: Vec<Key<'a>>,
    pub(super) arg: Vec<&'a [u8]>,
}

impl<'a> Words<'a> {
    /// How many of so many words are keys.
    pub(super) fn count(numkeys: i64, words: usize) -> Result<usize> {
        if numkeys > words as i64 {
            return Err(Error::command("Number of keys can't be greater than number of args"));
        }
        usize::try_from(numkeys).map_err(|_| Error::command("Number of keys can't be negative"))
    }

    pub(super) fn parse(args: &mut Args<'a>) -> Result<Self> {
        let numkeys = num::parse_i64(args.required()?).ok_or_else(Error::not_an_integer)?;
        let count = Self::count(numkeys, args.remaining())?;
        let key = alloc::collected(args.take(count).iter().map(|bytes| args.key(bytes)))?;
        let arg = alloc::collected(args.take_rest().iter().copied())?;
        Ok(Self { numkeys, key, arg })
    }
}

fn no_script() -> Error {
    Error::new(ErrorKind::NoScript, "NOSCRIPT No matching script.")
}

/// The script of this text, which is in the cache from now on.
fn script_of(context: &Context<'_, '_>, text: &[u8]) -> Result<Arc<Script>> {
    let scripts = &context.engine.scripts;
    if let Some(script) = scripts.find(&digest_of(text)) {
        return Ok(script);
    }
    let script = Arc::new(script::parse(text)?);
    script::check(&script)?;
    scripts.keep(&script, false);
    Ok(script)
}

/// The sum that a word is, in any case of letters.
pub(super) fn digest_in(word: &[u8]) -> Option<Digest> {
    let mut digest = Digest::try_from(word).ok()?;
    digest.make_ascii_lowercase();
    Some(digest)
}

/// The script of this sum.
pub(super) fn script_called(context: &Context<'_, '_>, word: &[u8]) -> Result<Arc<Script>> {
    digest_in(word).and_then(|digest| context.engine.scripts.find(&digest)).ok_or_else(no_script)
}

/// What EVALSHA looks at before it counts keys.
fn check_length(args: &Args<'_>) -> Result<()> {
    if args.peek().is_some_and(|word| word.len() != size_of::<Digest>()) { Err(no_script()) } else { Ok(()) }
}

/// Executes a server-side Lua script.
///
/// Returns what the script returns. Its commands run as one step; every shard of the engine is locked meanwhile.
#[derive(Command)]
#[command(
    name = "EVAL", group = Scripting, since = "2.6.0", complexity = "Depends on the script that is executed.", arity = -3,
    flags(NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, MOVABLEKEYS), acl(SCRIPTING),
    custom_parse, session, whole_keyspace, reply = "any",
)]
pub struct Eval<'a> {
    script: &'a [u8],
    #[key(RW, ACCESS, UPDATE, notes = "We cannot tell how the keys will be used so we assume the worst, RW and UPDATE", find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0, optional)]
    key: Vec<Key<'a>>,
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

/// Executes a server-side Lua script that the cache has, by its SHA-1 sum.
///
/// Returns what the script returns.
#[derive(Command)]
#[command(
    name = "EVALSHA", group = Scripting, since = "2.6.0", complexity = "Depends on the script that is executed.", arity = -3,
    flags(NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, MOVABLEKEYS), acl(SCRIPTING),
    custom_parse, session, whole_keyspace, reply = "any",
)]
pub struct EvalSha<'a> {
    sha1: &'a [u8],
    #[key(RW, ACCESS, UPDATE, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0, optional)]
    key: Vec<Key<'a>>,
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

/// Executes a server-side Lua script that may not write.
///
/// Returns what the script returns.
#[derive(Command)]
#[command(
    name = "EVAL_RO", group = Scripting, since = "7.0.0", complexity = "Depends on the script that is executed.", arity = -3,
    flags(READONLY, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, MOVABLEKEYS), acl(SCRIPTING),
    custom_parse, session, whole_keyspace, reply = "any",
)]
pub struct EvalRo<'a> {
    script: &'a [u8],
    #[key(RO, ACCESS, notes = "We cannot tell how the keys will be used so we assume the worst, RO and ACCESS", find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0, optional)]
    key: Vec<Key<'a>>,
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

/// Executes a server-side Lua script that may not write and that the cache has, by its SHA-1 sum.
///
/// Returns what the script returns.
#[derive(Command)]
#[command(
    name = "EVALSHA_RO", group = Scripting, since = "7.0.0", complexity = "Depends on the script that is executed.", arity = -3,
    flags(READONLY, NOSCRIPT, STALE, SKIP_MONITOR, NO_MANDATORY_KEYS, MOVABLEKEYS), acl(SCRIPTING),
    custom_parse, session, whole_keyspace, reply = "any",
)]
pub struct EvalShaRo<'a> {
    sha1: &'a [u8],
    #[key(RO, ACCESS, find = FindKeys::KeyNum { at: 0, first: 1, step: 1 })]
    numkeys: i64,
    #[arg(key_spec = 0, optional)]
    key: Vec<Key<'a>>,
    #[arg(optional)]
    arg: Vec<&'a [u8]>,
}

/// Runs a script with the keys and arguments of a command.
fn run<'a, C: Parse<'a>>(
    context: &mut Context<'_, '_>,
    command: &C,
    script: &Script,
    (key, arg): (&[Key<'_>], &[&[u8]]),
    reply: &mut Reply,
) -> Result<()> {
    if context.engine.is_monitored() {
        let words = command.encode();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        context.show_script(&words);
    }
    let keys: SmallVec<[&[u8]; 8]> = key.iter().map(Key::bytes).collect();
    let read_only = C::SPEC.flags.contains(crate::command::spec::Flags::READONLY);
    let code = Code::Script(script);
    let call = Call { code, words: &[], keys: &keys, arguments: arg, read_only, resolve: table::resolve };
    script::run(context, &call, reply)
}

macro_rules! parsed {
    ($($name:ident, $field:ident, $check:expr, $find:ident;)*) => { $(
        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                $check(args)?;
                let $field = args.required()?;
                let Words { numkeys, key, arg } = Words::parse(args)?;
                Ok(Self { $field, numkeys, key, arg })
            }
        }

        impl Session for $name<'_> {
            fn execute(&self, context: &mut Context<'_, '_>, reply: &mut Reply) -> Result<()> {
                let script = $find(context, self.$field)?;
                run(context, self, &script, (&self.key, &self.arg), reply)
            }
        }
    )* };
}

parsed! {
    Eval, script, |_: &Args<'_>| Ok::<(), Error>(()), script_of;
    EvalRo, script, |_: &Args<'_>| Ok::<(), Error>(()), script_of;
    EvalSha, sha1, check_length, script_called;
    EvalShaRo, sha1, check_length, script_called;
}
