//! XCLAIM.

use hashbrown::HashMap;

use super::{
    announce_consumer, edit, group_to_claim, id, log_claim, log_group, now, reply_entry, reply_id,
    see_consumer,
};
use crate::alloc;
use crate::command::{Arg, Args, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::store::memory::OutOfMemory;
use crate::value::StreamRef;
use crate::value::stream::groups::{ConsumerId, GroupId, GroupRef};
use crate::value::stream::{Id, Stream};

/// What becomes of an entry that is pending, or is claimed.
pub(super) enum Fate {
    /// It is another consumer's, or the same one's anew: delivered then, for the how manieth time.
    Claimed(Id, i64, i64),
    /// It was deleted, and goes: whose it was, when it was delivered, and how often.
    Gone(Id, Box<[u8]>, i64, i64),
}

impl Fate {
    /// Does it.
    ///
    /// # Errors
    /// Out of memory.
    pub(super) fn apply(
        &self,
        stream: &mut Stream,
        group: GroupId,
        consumer: ConsumerId,
    ) -> Result<(), OutOfMemory> {
        match self {
            Self::Claimed(id, delivered, count) => {
                stream.set_pending(group, consumer, *id, (*delivered, *count))
            }
            Self::Gone(id, ..) => stream.remove_pending(group, *id).map(drop),
        }
    }

    /// Puts it into the log.
    pub(super) fn log(&self, db: &mut Db<'_>, place: (&Key<'_>, &[u8]), consumer: &[u8], last: Id) {
        match self {
            Self::Claimed(id, delivered, count) => {
                log_claim(db, place, consumer, (*id, *delivered, *count), last);
            }
            Self::Gone(id, owner, delivered, count) => {
                log_claim(db, place, owner, (*id, *delivered, *count), last);
            }
        }
    }

    /// Writes it, if it is claimed.
    pub(super) fn reply(&self, reply: &mut Reply, stream: StreamRef<'_>, justid: bool) {
        let Self::Claimed(id, ..) = self else { return };
        if justid {
            reply_id(reply, *id);
        } else if let Some(entry) = stream.get(*id) {
            reply_entry(reply, &entry);
        }
    }

    pub(super) fn is_claimed(&self) -> bool {
        matches!(self, Self::Claimed(..))
    }
}

/// What one who claims entries is told as, and when.
pub(super) struct Claimant<'a> {
    pub(super) key: &'a Key<'a>,
    pub(super) group: &'a [u8],
    pub(super) consumer: &'a [u8],
    pub(super) now: i64,
}

impl Claimant<'_> {
    /// Has the consumer be there, and what is decided be so; `last`: the ID from which the group is to go on, if that is another.
    ///
    /// # Errors
    /// Out of memory; nothing has changed.
    pub(super) fn carry_out(&self, db: &mut Db<'_>, fates: &[Fate], last: Option<Id>) -> Result<()> {
        let mut is_new = false;
        let mut going_on = None;
        edit(db, self.key, |stream| {
            let Some(group) = stream.as_ref().group(self.group) else { return Ok(()) };
            let known = group.consumer(self.consumer).map(|consumer| consumer.id);
            let (last, read) = (last.unwrap_or_else(|| group.last_id()), group.entries_read());
            let is_moved = last != group.last_id();
            let (group, now) = (group.id, self.now);
            is_new = known.is_none();
            let done = stream.alter_unheard(3 + 2 * fates.len(), |stream| {
                let consumer = see_consumer(stream, group, (self.consumer, known), now)?;
                fates.iter().try_for_each(|fate| fate.apply(stream, group, consumer))?;
                if fates.iter().any(Fate::is_claimed) {
                    stream.note_seen(consumer, now, Some(now))?;
                }
                stream.set_group(group, last, read)
            });
            if done.is_some() && (is_moved || !fates.is_empty()) {
                stream.log();
            }
            going_on = Some((last, read, is_moved));
            Ok(())
        })?;
        if is_new {
            announce_consumer(db, self.key);
        }
        let Some((last, read, is_moved)) = going_on else { return Ok(()) };
        for fate in fates {
            fate.log(db, (self.key, self.group), self.consumer, last);
        }
        if is_moved && fates.is_empty() {
            log_group(db, self.key, self.group, last, read);
        }
        Ok(())
    }
}

/// What is wrong with a text that should be a number.
fn wrong(what: &str) -> impl FnOnce() -> Error + use<'_> {
    move || Error::command(format_args!("Invalid {what} argument for XCLAIM"))
}

/// Has entries that are pending in a group be a consumer's own, as if they were delivered to it.
///
/// Returns those that are, as entries or as IDs alone; not those that were delivered less than so many milliseconds ago, nor deleted ones, which are not pending any more then.
#[derive(Command)]
#[command(
    name = "XCLAIM", group = Stream, since = "5.0.0", complexity = "O(log N) with N being the number of messages in the PEL of the consumer group.", arity = -6,
    flags(WRITE, FAST), tips("nondeterministic_output"),
    custom_parse, reply = "array(bulk | array(bulk | array(bulk)))",
)]
pub struct XClaim<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    group: &'a [u8],
    consumer: &'a [u8],
    min_idle_time: &'a [u8],
    id: Vec<&'a [u8]>,
    #[arg(token = "IDLE", kind = Integer)]
    ms: Option<&'a [u8]>,
    #[arg(token = "TIME", kind = UnixTime)]
    unix_time_milliseconds: Option<&'a [u8]>,
    #[arg(token = "RETRYCOUNT", kind = Integer)]
    count: Option<&'a [u8]>,
    #[arg(token = "FORCE")]
    force: bool,
    #[arg(token = "JUSTID")]
    justid: bool,
    #[arg(token = "LASTID")]
    lastid: Option<&'a [u8]>,
    /// What is wrong with the words behind the group: told only if that is there.
    #[arg(hidden)]
    refused: Option<Error>,
    /// The later of IDLE and TIME.
    #[arg(hidden)]
    delivered: Delivered,
}

/// When entries count as delivered.
#[derive(Clone, Copy)]
enum Delivered {
    Now,
    /// So many milliseconds ago.
    Ago(i64),
    At(i64),
}

impl<'a> XClaim<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, group, consumer) = (Key::parse(args)?, args.required()?, args.required()?);
        let min_idle_time = args.required()?;
        let mut this = Self {
            key,
            group,
            consumer,
            min_idle_time,
            id: Vec::new(),
            ms: None,
            unix_time_milliseconds: None,
            count: None,
            force: false,
            justid: false,
            lastid: None,
            refused: None,
            delivered: Delivered::Now,
        };
        this.refused = this.read_rest(args).err();
        Ok(this)
    }

    fn read_rest(&mut self, args: &mut Args<'a>) -> Result<()> {
        num::parse_i64(self.min_idle_time).ok_or_else(wrong("min-idle-time"))?;
        while let Some(text) = args.peek().filter(|text| id::exact(text, 0).is_ok()) {
            self.id.push(text);
            args.next();
        }
        while let Some(option) = args.peek() {
            let has_more = args.remaining() > 1;
            let integer = |text: &[u8], what: &str| num::parse_i64(text).ok_or_else(wrong(what));
            if args.skip_token("FORCE") {
                self.force = true;
            } else if args.skip_token("JUSTID") {
                self.justid = true;
            } else if has_more && args.skip_token("IDLE") {
                let text = args.value()?;
                self.delivered = Delivered::Ago(integer(text, "IDLE option")?);
                self.ms = Some(text);
            } else if has_more && args.skip_token("TIME") {
                let text = args.value()?;
                self.delivered = Delivered::At(integer(text, "TIME option")?);
                self.unix_time_milliseconds = Some(text);
            } else if has_more && args.skip_token("RETRYCOUNT") {
                let text = args.value()?;
                integer(text, "RETRYCOUNT option")?;
                self.count = Some(text);
            } else if has_more && args.skip_token("LASTID") {
                let text = args.value()?;
                id::exact(text, 0)?;
                self.lastid = Some(text);
            } else {
                return Err(Error::repeating("Unrecognized XCLAIM option '", option, "'"));
            }
        }
        Ok(())
    }

    /// When the entries are delivered, as far as that is not in the future.
    fn delivered(&self, now: i64) -> i64 {
        let delivered = match self.delivered {
            Delivered::Now => now,
            Delivered::Ago(idle) => now.saturating_sub(idle),
            Delivered::At(time) => time,
        };
        if (0..=now).contains(&delivered) { delivered } else { now }
    }

    /// What becomes of an entry; `None`: nothing. `before`: what was decided already, where it was named before.
    fn fate(
        &self,
        (stream, group): (StreamRef<'_>, &GroupRef<'_>),
        id: Id,
        (now, least_idle): (i64, i64),
        before: Option<&Fate>,
    ) -> Result<Option<Fate>> {
        let pending = group.pending(id);
        if !stream.has(id) {
            return pending
                .filter(|_| before.is_none())
                .map(|pending| {
                    let owner = alloc::boxed(pending.consumer_name())?;
                    Ok(Fate::Gone(id, owner, pending.delivered, pending.count))
                })
                .transpose();
        }
        let pending = match before {
            Some(Fate::Claimed(_, delivered, count)) => Some((*delivered, *count)),
            _ => pending.map(|pending| (pending.delivered, pending.count)),
        };
        let count = match pending {
            None if !self.force => return Ok(None),
            None => 1,
            Some((delivered, _)) if now.saturating_sub(delivered) < least_idle => return Ok(None),
            Some((_, count)) => count,
        };
        let count = match self.count.and_then(num::parse_i64).filter(|count| *count >= 0) {
            Some(count) => count,
            None if self.justid => count,
            None => count.saturating_add(1),
        };
        Ok(Some(Fate::Claimed(id, self.delivered(now), count)))
    }
}

impl Write for XClaim<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let now = now(db);
        let (stream, group) = group_to_claim(db, &self.key, self.group)?;
        if let Some(error) = &self.refused {
            return Err(error.clone());
        }
        let least_idle = num::parse_i64(self.min_idle_time).unwrap_or(0).max(0);
        let last = self.lastid.map(|text| id::exact(text, 0)).transpose()?;
        let last = last.filter(|last| *last > group.last_id());
        let mut fates: Vec<Fate> = alloc::with_room_for(self.id.len())?;
        // An ID may be named again: it is as it was left then.
        let mut decided = HashMap::new();
        decided.try_reserve(self.id.len()).map_err(|_| Error::no_memory())?;
        for id in id::all(&self.id)? {
            let before = decided.get(&id).map(|at: &usize| &fates[*at]);
            if let Some(fate) = self.fate((stream, &group), id, (now, least_idle), before)? {
                decided.insert(id, fates.len());
                fates.push(fate);
            }
        }
        let open = reply.open_array();
        fates.iter().for_each(|fate| fate.reply(reply, stream, self.justid));
        reply.close(open, fates.iter().filter(|fate| fate.is_claimed()).count());
        reply.check()?;
        let claimant = Claimant { key: &self.key, group: self.group, consumer: self.consumer, now };
        claimant.carry_out(db, &fates, last)
    }
}
