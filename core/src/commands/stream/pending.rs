//! XACK and XPENDING: what was delivered and is not acknowledged.

use super::{edit, id, no_key_or_group, now, reply_id, stream_of};
use crate::command::{Arg, Args, Command, Read, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::stream::Id;
use crate::value::stream::groups::{GroupRef, Pending};

/// Acknowledges entries that were delivered to a group.
///
/// Returns how many of these were pending.
#[derive(Command)]
#[command(
    name = "XACK", group = Stream, since = "5.0.0", complexity = "O(1) for each message ID processed.", arity = -4,
    flags(WRITE, FAST),
    reply = "int",
)]
pub struct XAck<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    group: &'a [u8],
    id: Vec<&'a [u8]>,
}

impl Write for XAck<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        stream_of(db, &self.key)?;
        let acknowledged = edit(db, &self.key, |stream| {
            let Some(group) = stream.as_ref().group(self.group).map(|group| group.id) else { return Ok(0) };
            let ids = id::all(&self.id)?;
            let acknowledged = stream.alter_unheard(2 * ids.len(), |stream| {
                ids.iter().try_fold(0, |count, id| Ok(count + i64::from(stream.remove_pending(group, *id)?)))
            });
            let acknowledged = acknowledged.unwrap_or(0);
            if acknowledged > 0 {
                stream.log();
            }
            Ok(acknowledged)
        })?;
        reply.integer(acknowledged.unwrap_or(0));
        Ok(())
    }
}

/// Which entries XPENDING tells one by one.
#[derive(Arg)]
struct Filters<'a> {
    #[arg(token = "IDLE", since = "6.2.0")]
    min_idle_time: Option<i64>,
    start: &'a [u8],
    end: &'a [u8],
    count: i64,
    consumer: Option<&'a [u8]>,
}

/// Returns what was delivered to a group and is not acknowledged.
///
/// Returns how many entries that are, the first and the last ID, and how many each consumer has; or of each of a range its ID, its consumer, the
/// milliseconds since it was delivered, and how often it was.
#[derive(Command)]
#[command(
    name = "XPENDING", group = Stream, since = "5.0.0", complexity = "O(N) with N being the number of elements returned, so asking for a small fixed number of entries per call is O(1). O(M), where M is the total number of entries scanned when used with the IDLE filter. When the command returns just the summary and the list of consumers is small, it runs in O(1) time; otherwise, an additional O(N) time for iterating every consumer.", arity = -3,
    flags(READONLY), tips("nondeterministic_output"),
    history(("6.2.0", "Added the `IDLE` option and exclusive range intervals.")),
    custom_parse, reply = "array(int | bulk | null | nullarray | array(array(bulk))) | array(array(bulk | int))",
)]
pub struct XPending<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    group: &'a [u8],
    filters: Option<Filters<'a>>,
    #[arg(hidden)]
    range: (Id, Id),
}

impl<'a> XPending<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, group) = (Key::parse(args)?, args.required()?);
        let mut this = Self { key, group, filters: None, range: (Id::MIN, Id::MAX) };
        match args.remaining() {
            0 => {}
            3..=6 => this.read_filters(args)?,
            _ => return Err(Error::syntax()),
        }
        Ok(this)
    }

    fn read_filters(&mut self, args: &mut Args<'a>) -> Result<()> {
        let min_idle_time = if args.skip_token("IDLE") { Some(i64::parse(args)?) } else { None };
        let [start, end, count, rest @ ..] = args.take_rest() else { return Err(Error::syntax()) };
        let count = num::parse_i64(count).ok_or_else(Error::not_an_integer)?;
        self.range = (id::start(start)?, id::end(end)?);
        self.filters = Some(Filters { min_idle_time, start, end, count, consumer: rest.first().copied() });
        Ok(())
    }
}

impl Read for XPending<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let group = stream_of(db, &self.key)?.and_then(|stream| stream.group(self.group));
        let group = group.ok_or_else(|| no_key_or_group(&self.key, self.group))?;
        match &self.filters {
            None => summary(&group, reply),
            Some(filters) => filters.tell(&group, self.range, now(db), reply),
        }
        Ok(())
    }
}

fn summary(group: &GroupRef<'_>, reply: &mut Reply) {
    reply.array(4);
    reply.count(group.pending_count());
    let Some((first, last)) = group.pending_ends() else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, first);
    reply_id(reply, last);
    let (open, mut count) = (reply.open_array(), 0);
    for consumer in group.consumers().filter(|consumer| consumer.pending_count() > 0) {
        reply.array(2);
        reply.bulk(consumer.name());
        reply.bulk_integer(consumer.pending_count() as i64);
        count += 1;
    }
    reply.close(open, count);
}

impl Filters<'_> {
    fn tell(&self, group: &GroupRef<'_>, (from, to): (Id, Id), now: i64, reply: &mut Reply) {
        let (open, mut count) = (reply.open_array(), 0);
        let write = |pending: Pending<'_>| {
            if pending.id > to {
                return false;
            }
            let idle = now.saturating_sub(pending.delivered);
            if self.min_idle_time.is_some_and(|least| idle < least) {
                return true;
            }
            reply.array(4);
            reply_id(reply, pending.id);
            reply.bulk(pending.consumer_name());
            reply.integer(idle.max(0));
            reply.integer(pending.count);
            count += 1;
            count < self.count && !reply.is_full()
        };
        if self.count > 0 {
            match self.consumer.map(|name| group.consumer(name)) {
                None => group.each_pending(from, write),
                Some(Some(consumer)) => consumer.each_pending(from, write),
                Some(None) => {}
            }
        }
        reply.close(open, count as usize);
    }
}
