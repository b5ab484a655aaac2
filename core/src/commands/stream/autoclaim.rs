//! XAUTOCLAIM.

use super::claim::{Claimant, Fate};
use super::{group_to_claim, id, now, reply_id};
use crate::alloc;
use crate::command::{Arg, Args, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::StreamRef;
use crate::value::stream::Id;
use crate::value::stream::groups::GroupRef;

/// Looks through what is pending in a group from an ID on, and has entries be a consumer's own that were delivered so many milliseconds ago, as if they were
/// delivered to it now.
///
/// Returns the ID to go on from, `0-0` at the end; the entries, or their IDs alone; and the IDs of those that were deleted, which are not pending any more.
#[derive(Command)]
#[command(
    name = "XAUTOCLAIM", group = Stream, since = "6.2.0", complexity = "O(1) if COUNT is small.", arity = -6,
    flags(WRITE, FAST), tips("nondeterministic_output"),
    history(("7.0.0", "Added an element to the reply array, containing deleted entries the command cleared from the PEL")),
    custom_parse, reply = "array(bulk | array(bulk | array(bulk | array(bulk))))",
)]
pub struct XAutoClaim<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    group: &'a [u8],
    consumer: &'a [u8],
    min_idle_time: &'a [u8],
    start: &'a [u8],
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(token = "JUSTID")]
    justid: bool,
    #[arg(hidden)]
    from: (i64, Id),
}

/// Entries without COUNT.
const DEFAULT_COUNT: i64 = 100;
/// Entries that are looked at for each that may be found.
const LOOKS: usize = 10;

impl<'a> XAutoClaim<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        const MOST: i64 = i64::MAX / size_of::<Id>() as i64;
        let (key, group, consumer) = (Key::parse(args)?, args.required()?, args.required()?);
        let (min_idle_time, start) = (args.required()?, args.required()?);
        let wrong = || Error::command("Invalid min-idle-time argument for XAUTOCLAIM");
        let from = (num::parse_i64(min_idle_time).ok_or_else(wrong)?.max(0), id::start(start)?);
        let (mut count, mut justid) = (None, false);
        while args.remaining() > 0 {
            if args.remaining() > 1 && args.skip_token("COUNT") {
                let given = num::parse_i64(args.value()?).filter(|count| (1..=MOST).contains(count));
                count = Some(given.ok_or_else(|| Error::command("COUNT must be > 0"))?);
            } else if args.skip_token("JUSTID") {
                justid = true;
            } else {
                return Err(Error::syntax());
            }
        }
        Ok(Self { key, group, consumer, min_idle_time, start, count, justid, from })
    }

    /// What becomes of the entries that are looked at, and from where to go on.
    fn look(&self, (stream, group): (StreamRef<'_>, &GroupRef<'_>), now: i64) -> Result<(Vec<Fate>, Id)> {
        let (least_idle, from) = self.from;
        let most = usize::try_from(self.count.unwrap_or(DEFAULT_COUNT)).unwrap_or(usize::MAX);
        let mut looks = most.saturating_mul(LOOKS);
        let mut fates: Vec<Fate> = Vec::new();
        let (mut next, mut kept) = (Id::MIN, Ok(()));
        group.each_pending(from, |pending| {
            if looks == 0 || fates.len() == most {
                next = pending.id;
                return false;
            }
            looks -= 1;
            let id = pending.id;
            let fate = if !stream.has(id) {
                alloc::boxed(pending.consumer_name())
                    .map(|owner| Fate::Gone(id, owner, pending.delivered, pending.count))
            } else if now.saturating_sub(pending.delivered) < least_idle {
                return true;
            } else {
                let count = if self.justid { pending.count } else { pending.count.saturating_add(1) };
                Ok(Fate::Claimed(id, now, count))
            };
            let fate = fate.and_then(|fate| {
                fates.try_reserve(1).map_err(|_| Error::no_memory())?;
                Ok(fate)
            });
            match fate {
                Ok(fate) => fates.push(fate),
                Err(error) => kept = Err(error),
            }
            kept.is_ok()
        });
        kept.map(|()| (fates, next))
    }
}

impl Write for XAutoClaim<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let now = now(db);
        let (stream, group) = group_to_claim(db, &self.key, self.group)?;
        // The server takes memory for as many IDs as it may have to tell.
        if alloc::with_room_for::<Id>(self.count.unwrap_or(DEFAULT_COUNT) as usize).is_err() {
            return Err(Error::command(
                "Insufficient memory, failed allocating transient memory, COUNT too high.",
            ));
        }
        let (fates, next) = self.look((stream, &group), now)?;
        let claimed = fates.iter().filter(|fate| fate.is_claimed()).count();
        reply.array(3);
        reply_id(reply, next);
        reply.array(claimed);
        fates.iter().for_each(|fate| fate.reply(reply, stream, self.justid));
        reply.array(fates.len() - claimed);
        for fate in &fates {
            if let Fate::Gone(id, ..) = fate {
                reply_id(reply, *id);
            }
        }
        reply.check()?;
        let claimant = Claimant { key: &self.key, group: self.group, consumer: self.consumer, now };
        claimant.carry_out(db, &fates, None)
    }
}
