//! XRANGE, XREVRANGE and XLEN.

use super::{id, reply_range, stream_of};
use crate::command::{Arg, Args, Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::value::stream::Id;

/// Returns how many entries a stream has.
///
/// Returns 0 where there is no such key.
#[derive(Command)]
#[command(
    name = "XLEN", group = Stream, since = "5.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "int",
)]
pub struct XLen<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for XLen<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.integer(stream_of(db, &self.key)?.map_or(0, |stream| stream.len() as i64));
        Ok(())
    }
}

/// The words behind the name of XRANGE and XREVRANGE.
struct Words<'a> {
    key: Key<'a>,
    first: &'a [u8],
    second: &'a [u8],
    count: Option<i64>,
}

impl<'a> Words<'a> {
    fn parse(args: &mut Args<'a>, check: impl FnOnce(&[u8], &[u8]) -> Result<()>) -> Result<Self> {
        let (key, first, second) = (Key::parse(args)?, args.required()?, args.required()?);
        check(first, second)?;
        let mut count = None;
        while args.remaining() > 0 {
            if args.remaining() < 2 || !args.skip_token("COUNT") {
                return Err(Error::syntax());
            }
            count = Some(i64::parse(args)?);
        }
        Ok(Self { key, first, second, count })
    }
}

/// Declares a command that replies a range.
macro_rules! range_command {
    ($(#[$attribute:meta])* $name:ident, $first:ident, $second:ident, $reverse:literal) => {
        $(#[$attribute])*
        pub struct $name<'a> {
            #[key(RO, ACCESS)]
            key: Key<'a>,
            $first: &'a [u8],
            $second: &'a [u8],
            #[arg(token = "COUNT")]
            count: Option<i64>,
            #[arg(hidden)]
            range: (Id, Id),
        }

        impl<'a> $name<'a> {
            fn parse_args(args: &mut Args<'a>) -> Result<Self> {
                let mut range = (Id::MIN, Id::MAX);
                let words = Words::parse(args, |first, second| {
                    let (start, end) = if $reverse { (second, first) } else { (first, second) };
                    range = (id::start(start)?, id::end(end)?);
                    Ok(())
                })?;
                let Words { key, first: $first, second: $second, count } = words;
                Ok(Self { key, $first, $second, count, range })
            }
        }

        impl Read for $name<'_> {
            fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
                execute(db, &self.key, self.range, ($reverse, self.count), reply)
            }
        }
    };
}

fn execute(
    db: &Db<'_>,
    key: &Key<'_>,
    range: (Id, Id),
    (reverse, count): (bool, Option<i64>),
    reply: &mut Reply,
) -> Result<()> {
    let Some(stream) = stream_of(db, key)? else {
        reply.array(0);
        return Ok(());
    };
    match count {
        Some(..=0) => reply.null_array(),
        _ => {
            let most = count.map_or(usize::MAX, |count| count as usize);
            reply_range(reply, stream, range, (reverse, most), |_| ());
        }
    }
    Ok(())
}

range_command! {
    /// Returns the entries of a stream from an ID to another.
    ///
    /// Returns IDs, each with its fields and values, up to COUNT of them; none where there is no such key. A `(` before an ID leaves it out.
    #[derive(Command)]
    #[command(
        name = "XRANGE", group = Stream, since = "5.0.0", complexity = "O(N) with N being the number of elements being returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).", arity = -4,
        flags(READONLY),
        history(("6.2.0", "Added exclusive ranges.")),
        custom_parse, reply = "array(array(bulk | array(bulk))) | nullarray",
    )]
    XRange, start, end, false
}

range_command! {
    /// Returns the entries of a stream from an ID back to another.
    ///
    /// Returns IDs, each with its fields and values, the last first, up to COUNT of them; none where there is no such key. A `(` before an ID leaves it out.
    #[derive(Command)]
    #[command(
        name = "XREVRANGE", group = Stream, since = "5.0.0", complexity = "O(N) with N being the number of elements returned. If N is constant (e.g. always asking for the first 10 elements with COUNT), you can consider it O(1).", arity = -4,
        flags(READONLY),
        history(("6.2.0", "Added exclusive ranges.")),
        custom_parse, reply = "array(array(bulk | array(bulk))) | nullarray",
    )]
    XRevRange, end, start, true
}
