//! XDEL and XSETID.

use super::{edit, id, stream_to_change};
use crate::command::{Arg, Args, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};
use crate::num;
use crate::value::stream::Id;

/// Deletes entries of a stream.
///
/// Returns how many of these IDs there were. The stream stays, whatever is left.
#[derive(Command)]
#[command(
    name = "XDEL", group = Stream, since = "5.0.0", complexity = "O(1) for each single item to delete in the stream, regardless of the stream size.", arity = -3,
    flags(WRITE, FAST),
    reply = "int",
)]
pub struct XDel<'a> {
    #[key(RW, DELETE)]
    key: Key<'a>,
    id: Vec<&'a [u8]>,
}

impl Write for XDel<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let deleted = edit(db, &self.key, |stream| {
            let ids = id::all(&self.id)?;
            let deleted = stream.alter_unheard(ids.len(), |stream| {
                ids.iter().try_fold(0, |deleted, id| Ok(deleted + u64::from(stream.delete(*id)?)))
            });
            let deleted = deleted.unwrap_or(0);
            if deleted > 0 {
                stream.heard();
            }
            Ok(deleted)
        })?;
        let deleted = deleted.unwrap_or(0);
        if deleted > 0 {
            db.notify(EventClass::Stream, "xdel", self.key.bytes());
        }
        reply.integer(deleted as i64);
        Ok(())
    }
}

/// Sets the last ID of a stream, and what else it remembers of entries that are no longer there.
///
/// Returns `OK`. It is what restores streams.
#[derive(Command)]
#[command(
    name = "XSETID", group = Stream, since = "5.0.0", complexity = "O(1)", arity = -3,
    flags(WRITE, DENYOOM, FAST),
    history(("7.0.0", "Added the `entries_added` and `max_deleted_entry_id` arguments.")),
    custom_parse, reply = "ok",
)]
pub struct XSetId<'a> {
    #[key(RW, UPDATE)]
    key: Key<'a>,
    last_id: &'a [u8],
    #[arg(token = "ENTRIESADDED", since = "7.0.0")]
    entries_added: Option<i64>,
    #[arg(token = "MAXDELETEDID", since = "7.0.0")]
    max_deleted_id: Option<&'a [u8]>,
    #[arg(hidden)]
    ids: (Id, Id),
}

impl<'a> XSetId<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let (key, last_id) = (Key::parse(args)?, args.required()?);
        let mut ids = (id::exact(last_id, 0)?, Id::MIN);
        let (mut entries_added, mut max_deleted_id) = (None, None);
        while args.remaining() > 0 {
            let has_more = args.remaining() > 1;
            if has_more && args.skip_token("ENTRIESADDED") {
                let added = num::parse_i64(args.value()?).ok_or_else(Error::not_an_integer)?;
                if added < 0 {
                    return Err(Error::command("entries_added must be positive"));
                }
                entries_added = Some(added);
            } else if has_more && args.skip_token("MAXDELETEDID") {
                let text = args.value()?;
                ids.1 = id::exact(text, 0)?;
                if ids.0 < ids.1 {
                    return Err(Error::command(
                        "The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
                max_deleted_id = Some(text);
            } else {
                return Err(Error::syntax());
            }
        }
        Ok(Self { key, last_id, entries_added, max_deleted_id, ids })
    }
}

impl Write for XSetId<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let (last, deleted) = self.ids;
        let stream = stream_to_change(db, &self.key)?.ok_or_else(Error::no_such_key)?;
        if last < stream.max_deleted_id() {
            return Err(Error::command(
                "The ID specified in XSETID is smaller than current max_deleted_entry_id",
            ));
        }
        if stream.last().is_some_and(|entry| last < entry.id) {
            return Err(Error::command(
                "The ID specified in XSETID is smaller than the target stream top item",
            ));
        }
        let added = self.entries_added.map(|added| added as u64);
        if added.is_some_and(|added| added < stream.len()) {
            return Err(Error::command(
                "The entries_added specified in XSETID is smaller than the target stream length",
            ));
        }
        edit(db, &self.key, |stream| {
            let deleted = Some(deleted).filter(|deleted| *deleted != Id::MIN);
            if stream.alter_unheard(1, |stream| stream.set_ids(last, deleted, added)).is_some() {
                stream.log();
            }
            Ok(())
        })?;
        db.notify(EventClass::Stream, "xsetid", self.key.bytes());
        reply.ok();
        Ok(())
    }
}
