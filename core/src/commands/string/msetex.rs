//! MSETEX: several strings with one deadline, under one condition.

use super::expiry::{ExpireOrKeep, choose};
use super::many::{KeyValue, store_several};
use crate::alloc;
use crate::command::spec::{ArgKind, ArgSpec, FindKeys};
use crate::command::{Arg, Args, Argv, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::Db;
use crate::num;

/// Stores several strings, with a deadline if one is given, if their keys exist or if none does.
///
/// Returns 1 if they were stored, 0 if the condition did not hold and nothing was. A time in the past deletes the keys.
#[derive(Command)]
#[command(
    name = "MSETEX", group = String, since = "9.1.0", complexity = "O(N) where N is the number of keys to set.", arity = -4,
    flags(WRITE, DENYOOM, MOVABLEKEYS), tips("request_policy:multi_shard", "response_policy:all_succeeded"),
    custom_parse, reply = "int",
)]
pub struct MSetEx<'a> {
    #[key(OW, UPDATE, find = FindKeys::KeyNum { at: 0, first: 1, step: 2 })]
    numkeys: KeyCount,
    data: Vec<KeyValue<'a>>,
    #[arg(oneof)]
    condition: Option<Condition>,
    #[arg(oneof)]
    expiration: Option<ExpireOrKeep<'a>>,
}

/// How many keys follow.
struct KeyCount(usize);

impl<'a> Arg<'a> for KeyCount {
    const SPEC: ArgSpec = ArgSpec { kind: ArgKind::Integer, ..ArgSpec::PLAIN };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        num::parse_i64(args.required()?)
            .and_then(|count| i32::try_from(count).ok())
            .filter(|count| *count > 0)
            .map(|count| Self(count as usize))
            .ok_or_else(|| Error::command("invalid numkeys value or out of range"))
    }

    fn encode(&self, out: &mut Argv) {
        out.push(self.0.to_string().into_bytes());
    }
}

#[derive(Arg, Clone, Copy)]
enum Condition {
    #[arg(token = "NX")]
    Nx,
    #[arg(token = "XX")]
    Xx,
}

impl<'a> MSetEx<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let numkeys = KeyCount::parse(args)?;
        if args.remaining() / 2 < numkeys.0 {
            return Err(Error::syntax());
        }
        let mut data = alloc::with_room_for(numkeys.0)?;
        for _ in 0..numkeys.0 {
            data.push(KeyValue::parse(args)?);
        }
        let (mut condition, mut expiration) = (None, None);
        while let Some(word) = args.peek() {
            if Condition::begins(word) {
                choose(&mut condition, Condition::parse(args)?, Condition::may_repeat)?;
            } else {
                choose(&mut expiration, ExpireOrKeep::parse(args)?, ExpireOrKeep::may_repeat)?;
            }
        }
        Ok(Self { numkeys, data, condition, expiration })
    }
}

impl Write for MSetEx<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let deadline = self.expiration.map(|expiration| expiration.deadline(1, db.now(), "msetex"));
        let deadline = deadline.transpose()?.flatten();
        let allowed = match self.condition {
            None => true,
            Some(Condition::Nx) => !self.data.iter().any(|pair| db.contains(&pair.key)),
            Some(Condition::Xx) => self.data.iter().all(|pair| db.contains(&pair.key)),
        };
        reply.integer(allowed.into());
        if !allowed {
            return Ok(());
        }
        if deadline.is_some_and(|deadline| deadline <= db.now()) {
            self.remove(db);
            return Ok(());
        }
        if let Some(deadline) = deadline {
            db.propagate(|| self.effect(deadline));
        }
        let keep = matches!(self.expiration, Some(ExpireOrKeep::KeepTtl));
        store_several(db, &self.data, |db, key| match keep {
            true => db.peek(key).and_then(|entry| entry.deadline()),
            false => deadline,
        })
    }
}

impl MSetEx<'_> {
    /// Strings whose deadline has passed are not stored, but take the place of the old ones all the same.
    fn remove(&self, db: &mut Db<'_>) {
        let mut argv = vec![db.keyspace().expired_delete_command().to_vec()];
        for pair in &self.data {
            if db.expire_now(&pair.key) {
                argv.push(pair.key.bytes().to_vec());
            }
        }
        if argv.len() > 1 {
            db.propagate(|| argv);
        }
    }

    /// The same with an absolute deadline and without a condition, for the log.
    fn effect(&self, deadline: u64) -> Argv {
        let mut argv = vec![b"MSETEX".to_vec()];
        self.numkeys.encode(&mut argv);
        self.data.encode(&mut argv);
        argv.extend([b"PXAT".to_vec(), deadline.to_string().into_bytes()]);
        argv
    }
}
