//! XADD.

use super::id::{AddedId, NewId};
use super::trim::{Options, Trimming};
use crate::command::spec::{ArgKind, ArgSpec};
use crate::command::{Arg, Args, Argv, Command, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key, collection};
use crate::value::stream::{Entries, Id, NodeLimits};

/// Fields and values, in turn.
struct Data<'a>(&'a [&'a [u8]]);

impl<'a> Arg<'a> for Data<'a> {
    const SPEC: ArgSpec = ArgSpec {
        kind: ArgKind::Block,
        multiple: true,
        args: &[ArgSpec { name: "field", ..ArgSpec::PLAIN }, ArgSpec { name: "value", ..ArgSpec::PLAIN }],
        ..ArgSpec::PLAIN
    };

    fn parse(args: &mut Args<'a>) -> Result<Self> {
        match args.take_rest() {
            [] => Err(args.arity_error()),
            words if words.len() % 2 == 1 => Err(args.arity_error()),
            words => Ok(Self(words)),
        }
    }

    fn encode(&self, out: &mut Argv) {
        out.extend(self.0.iter().map(|word| word.to_vec()));
    }
}

/// Adds an entry to a stream, which is created if need be.
///
/// Returns its ID, or null where NOMKSTREAM lets no stream be created.
#[derive(Command)]
#[command(
    name = "XADD", group = Stream, since = "5.0.0", complexity = "O(1) when adding a new entry, O(N) when trimming where N being the number of entries evicted.", arity = -5,
    flags(WRITE, DENYOOM, FAST), tips("nondeterministic_output"),
    history(("6.2.0", "Added the `NOMKSTREAM` option, `MINID` trimming strategy and the `LIMIT` option."), ("7.0.0", "Added support for the `<ms>-*` explicit ID form.")),
    custom_parse, reply = "bulk | null",
)]
pub struct XAdd<'a> {
    #[key(RW, UPDATE, notes = "UPDATE instead of INSERT because of the optional trimming feature")]
    key: Key<'a>,
    #[arg(token = "NOMKSTREAM", since = "6.2.0")]
    nomkstream: bool,
    trim: Option<Trimming<'a>>,
    id_selector: AddedId<'a>,
    data: Data<'a>,
    #[arg(hidden)]
    id: NewId,
}

impl<'a> XAdd<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = Key::parse(args)?;
        let Options { trimming: trim, nomkstream } = Options::parse(args, true)?;
        let id_selector = AddedId::parse(args)?;
        NewId::check(id_selector.0)?;
        let data = Data::parse(args)?;
        // That it is too small is told when all words were read.
        let id = NewId::parse(id_selector.0)?;
        Ok(Self { key, nomkstream, trim, id_selector, data, id })
    }
}

/// What was added.
#[derive(Default)]
struct Added {
    id: Id,
    trimmed: u64,
    len: u64,
    first: Option<Id>,
}

/// Adds an entry, and trims the stream then.
fn add(
    stream: &mut Entries<'_>,
    id: &NewId,
    fields: &[&[u8]],
    trimming: Option<Trimming<'_>>,
) -> Result<Added> {
    let id = id.behind(stream.as_ref().last_id(), || stream.now())?;
    let bytes: usize = fields.iter().map(|word| word.len()).sum();
    if bytes > NodeLimits::MOST_BYTES {
        return Err(Error::command("Elements are too large to be stored"));
    }
    let limits = stream.node_limits();
    let trim = trimming.map(|trim| trim.how().map(|how| (trim, how))).transpose()?;
    let changes = 1 + trim.map_or(0, |(trim, how)| trim.changes(stream, how, 1));
    let is_added = changes == 1 && stream.add_packed(id, fields);
    let trimmed = if is_added {
        Some(0)
    } else {
        stream.alter(changes, |stream| {
            stream.append(id, fields, limits)?;
            trim.map_or(Ok(0), |(trim, how)| trim.apply(stream, how, limits.entries))
        })
    };
    let Some(trimmed) = trimmed else { return Ok(Added::default()) };
    let stream = stream.as_ref();
    let first = if trimming.is_some() { stream.first().map(|entry| entry.id) } else { None };
    Ok(Added { id, trimmed, len: stream.len(), first })
}

/// The ID of the time behind the last one of a stream; `None` if there is none.
#[inline]
pub(crate) fn next_id(last: Id, now_ms: impl FnOnce() -> u64) -> Option<Id> {
    NewId::Auto.behind(last, now_ms).ok()
}

/// Adds an entry of an ID of the time to a stream that is there, and says which. Fields and values come in turn.
///
/// # Errors
/// The greatest ID is taken, or the entry is too large.
pub(crate) fn add_now(stream: &mut Entries<'_>, fields: &[&[u8]]) -> Result<Id> {
    Ok(add(stream, &NewId::Auto, fields, None)?.id)
}

impl Write for XAdd<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        let add = |stream: &mut Entries<'_>| add(stream, &self.id, self.data.0, self.trim);
        let added = if self.nomkstream {
            collection::edit(db, &self.key, add)?
        } else {
            Some(collection::edit_or_create(db, &self.key, add)?)
        };
        let Some(added) = added else {
            reply.null();
            return Ok(());
        };
        db.notify(EventClass::Stream, "xadd", self.key.bytes());
        if added.trimmed > 0 {
            db.notify(EventClass::Stream, "xtrim", self.key.bytes());
        }
        let id = added.id.text();
        if !matches!(self.id, NewId::Exact(_)) || self.trim.is_some_and(|trim| trim.is_rough()) {
            db.propagate(|| {
                let mut words: Argv = vec![b"XADD".to_vec(), self.key.bytes().to_vec()];
                if self.nomkstream {
                    words.push(b"NOMKSTREAM".to_vec());
                }
                words.extend(self.trim.into_iter().flat_map(|trim| trim.words(added.len, added.first)));
                words.push(id.to_vec());
                self.data.encode(&mut words);
                words
            });
        }
        reply.bulk(&id);
        Ok(())
    }
}
