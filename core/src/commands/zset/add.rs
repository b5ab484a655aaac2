//! ZADD and ZINCRBY.

use super::{edit, edit_or_create, reply_score};
use crate::alloc;
use crate::command::{Arg, Args, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;
use crate::value::zset::members::Members;

/// Which members are set.
#[derive(Arg, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    #[arg(token = "NX")]
    Nx,
    #[arg(token = "XX")]
    Xx,
}

#[derive(Arg, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    #[arg(token = "GT")]
    Gt,
    #[arg(token = "LT")]
    Lt,
}

/// A member and its new score.
#[derive(Arg)]
struct ScoreMember<'a> {
    #[arg(kind = Double)]
    score: &'a [u8],
    member: &'a [u8],
}

/// Adds members to a sorted set, which is created if need be, or gives them other scores.
///
/// Returns how many are new, with CH also those whose score changed. With INCR the score of the one member, or null if a condition kept it as it was.
/// NX only adds, XX only changes; GT and LT change only to a greater or a lower score.
#[derive(Command)]
#[command(
    name = "ZADD", group = SortedSet, since = "1.2.0", complexity = "O(log(N)) for each item added, where N is the number of elements in the sorted set.", arity = -4,
    flags(WRITE, DENYOOM, FAST),
    history(("2.4.0", "Accepts multiple elements."), ("3.0.2", "Added the `XX`, `NX`, `CH` and `INCR` options."), ("6.2.0", "Added the `GT` and `LT` options.")),
    custom_parse, reply = "int | double | null",
)]
pub struct ZAdd<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    #[arg(oneof, since = "3.0.2")]
    condition: Option<Condition>,
    #[arg(oneof, since = "6.2.0")]
    comparison: Option<Comparison>,
    #[arg(token = "CH", since = "3.0.2")]
    change: bool,
    #[arg(token = "INCR", since = "3.0.2")]
    increment: bool,
    data: Vec<ScoreMember<'a>>,
    #[arg(hidden)]
    scores: Vec<f64>,
}

impl<'a> ZAdd<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = Key::parse(args)?;
        let Options { nx, xx, gt, lt, change, increment } = Options::parse(args);
        if args.remaining() == 0 || !args.remaining().is_multiple_of(2) {
            return Err(Error::syntax());
        }
        if nx && xx {
            return Err(Error::command("XX and NX options at the same time are not compatible"));
        }
        if (gt && lt) || (nx && (gt || lt)) {
            return Err(Error::command("GT, LT, and/or NX options at the same time are not compatible"));
        }
        if increment && args.remaining() > 2 {
            return Err(Error::command("INCR option supports a single increment-element pair"));
        }
        let mut data = alloc::with_room_for(args.remaining() / 2)?;
        while args.remaining() > 0 {
            data.push(ScoreMember::parse(args)?);
        }
        let mut scores = alloc::with_room_for(data.len())?;
        for pair in &data {
            scores.push(num::parse_f64(pair.score).ok_or_else(Error::not_a_float)?);
        }
        let condition = if nx { Some(Condition::Nx) } else { xx.then_some(Condition::Xx) };
        let comparison = if gt { Some(Comparison::Gt) } else { lt.then_some(Comparison::Lt) };
        Ok(Self { key, condition, comparison, change, increment, data, scores })
    }
}

/// The options, before they are found to go together.
#[derive(Default)]
struct Options {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
    change: bool,
    increment: bool,
}

impl Options {
    fn parse(args: &mut Args<'_>) -> Self {
        let mut options = Self::default();
        loop {
            let flags = [
                ("NX", &mut options.nx),
                ("XX", &mut options.xx),
                ("GT", &mut options.gt),
                ("LT", &mut options.lt),
                ("CH", &mut options.change),
                ("INCR", &mut options.increment),
            ];
            let Some((_, flag)) = flags.into_iter().find(|(token, _)| args.skip_token(token)) else {
                return options;
            };
            *flag = true;
        }
    }
}

impl Write for ZAdd<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let pairs = || self.data.iter().map(|pair| pair.member).zip(self.scores.iter().copied());
        let rules =
            Rules { condition: self.condition, comparison: self.comparison, is_increment: self.increment };
        let done = rules.apply(db, &self.key, pairs)?;
        match self.increment {
            true => reply_score(reply, done.score),
            false => reply.count(done.added + if self.change { done.changed } else { 0 }),
        }
        Ok(())
    }
}

/// What becomes of members.
pub(crate) struct Rules {
    condition: Option<Condition>,
    comparison: Option<Comparison>,
    is_increment: bool,
}

/// What was done.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) added: usize,
    pub(crate) changed: usize,
    /// The score of the last member, unless it was left as it was.
    score: Option<f64>,
}

impl Rules {
    /// Those of GEOADD.
    pub(crate) fn of(condition: Option<Condition>) -> Self {
        Self { condition, comparison: None, is_increment: false }
    }

    /// Gives members scores as far as they are to get them.
    ///
    /// # Errors
    /// WRONGTYPE, a sum that is no number, or no memory; nothing has changed.
    pub(crate) fn apply<'m, P: Iterator<Item = (&'m [u8], f64)>>(
        &self,
        db: &mut Db<'_>,
        key: &Key<'_>,
        pairs: impl Fn() -> P,
    ) -> Result<Done> {
        let change = |members: &mut Members<'_>| {
            let longest = pairs().map(|(member, _)| member.len()).max().unwrap_or(0);
            let count = pairs().count();
            members.make_room_for(count, longest);
            members.expect(count, || pairs().map(|(member, _)| member.len()).sum());
            let mut done = Done::default();
            for (member, score) in pairs() {
                self.apply_one(members, member, score, &mut done)?;
            }
            Ok(done)
        };
        let done = match self.condition {
            Some(Condition::Xx) => edit(db, key, change)?.unwrap_or_default(),
            _ => edit_or_create(db, key, change)?,
        };
        if done.added + done.changed > 0 {
            let event = if self.is_increment { "zincr" } else { "zadd" };
            db.notify(EventClass::ZSet, event, key.bytes());
        }
        Ok(done)
    }

    fn apply_one(&self, members: &mut Members<'_>, member: &[u8], score: f64, done: &mut Done) -> Result<()> {
        done.score = None;
        let Some(old) = members.as_ref().score(member) else {
            if self.condition != Some(Condition::Xx) {
                members.set(member, score);
                done.added += 1;
                done.score = Some(score);
            }
            return Ok(());
        };
        if self.condition == Some(Condition::Nx) {
            return Ok(());
        }
        let score = if self.is_increment { old + score } else { score };
        if score.is_nan() {
            return Err(Error::command("resulting score is not a number (NaN)"));
        }
        let is_kept = match self.comparison {
            Some(Comparison::Gt) => score <= old,
            Some(Comparison::Lt) => score >= old,
            None => false,
        };
        if !is_kept {
            done.score = Some(score);
            if score != old {
                members.set(member, score);
                done.changed += 1;
            }
        }
        Ok(())
    }
}

/// Adds to the score of a member of a sorted set; both are created if need be.
///
/// Returns the new score.
#[derive(Command)]
#[command(
    name = "ZINCRBY", group = SortedSet, since = "1.2.0", complexity = "O(log(N)) where N is the number of elements in the sorted set.", arity = 4,
    flags(WRITE, DENYOOM, FAST),
    custom_parse, reply = "double",
)]
pub struct ZIncrBy<'a> {
    #[key(RW, ACCESS, UPDATE)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    increment: &'a [u8],
    member: &'a [u8],
}

impl<'a> ZIncrBy<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, pair) = (Key::parse(args)?, args.rest());
        // For the server it is ZADD, and an option in its place leaves half a pair.
        Options::parse(args);
        if args.remaining() < pair.len() {
            return Err(Error::syntax());
        }
        let (increment, member) = (args.required()?, args.required()?);
        args.finish()?;
        Ok(Self { key, increment, member })
    }
}

impl Write for ZIncrBy<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let increment = num::parse_f64(self.increment).ok_or_else(Error::not_a_float)?;
        let rules = Rules { condition: None, comparison: None, is_increment: true };
        let done = rules.apply(db, &self.key, || std::iter::once((self.member, increment)))?;
        reply_score(reply, done.score);
        Ok(())
    }
}
