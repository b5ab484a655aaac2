//! LPOS.

use super::list_of;
use crate::command::{Args, Command, Read, Reply};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::listpack::Element;

/// Finds elements of a list that are equal to one.
///
/// Returns the index of the first, or null; with COUNT those of so many, or of all if it is 0. RANK says with which match to begin, from the end if it is
/// negative, MAXLEN how many elements to look at (0 is no limit).
#[derive(Command)]
#[command(
    name = "LPOS", group = List, since = "6.0.6", complexity = "O(N) where N is the number of elements in the list, for the average case. When searching for elements near the head or the tail of the list, or when the MAXLEN option is provided, the command may run in constant time.", arity = -3,
    flags(READONLY),
    custom_parse, reply = "int | null | array(int)",
)]
pub struct LPos<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    element: &'a [u8],
    #[arg(token = "RANK")]
    rank: Option<i64>,
    #[arg(token = "COUNT", name = "num-matches")]
    count: Option<i64>,
    #[arg(token = "MAXLEN", name = "len")]
    maxlen: Option<i64>,
}

impl<'a> LPos<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let key = args.required()?;
        let (key, element) = (args.key(key), args.required()?);
        let mut position = Self { key, element, rank: None, count: None, maxlen: None };
        while args.remaining() > 0 {
            if args.remaining() == 1 {
                return Err(Error::syntax());
            }
            if args.skip_token("RANK") {
                position.rank = Some(rank(args.value()?)?);
            } else if args.skip_token("COUNT") {
                position.count = Some(not_negative(args.value()?, "COUNT")?);
            } else if args.skip_token("MAXLEN") {
                position.maxlen = Some(not_negative(args.value()?, "MAXLEN")?);
            } else {
                return Err(Error::syntax());
            }
        }
        Ok(position)
    }
}

fn rank(text: &[u8]) -> Result<i64> {
    match super::change::long_of(text)? {
        0 => Err(Error::command(
            "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end \
             of the list",
        )),
        rank => Ok(rank),
    }
}

fn not_negative(text: &[u8], name: &str) -> Result<i64> {
    let number = num::parse_i64(text).filter(|number| *number >= 0);
    number.ok_or_else(|| Error::command(format_args!("{name} can't be negative")))
}

impl Read for LPos<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let list = list_of(db, &self.key)?;
        let rank = self.rank.unwrap_or(1);
        let most = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let to_look_at = match self.maxlen {
            None | Some(0) => usize::MAX,
            Some(len) => usize::try_from(len).unwrap_or(usize::MAX),
        };
        let open = self.count.map(|_| reply.open_array());
        let (mut found, mut to_skip) = (0, rank.unsigned_abs() - 1);
        if let Some(list) = list {
            let (backwards, len, wanted) = (rank < 0, list.len(), Element::of(self.element));
            let mut seen = 0;
            list.each_from(if backwards { len - 1 } else { 0 }, backwards, |element| {
                seen += 1;
                if element == wanted {
                    if to_skip > 0 {
                        to_skip -= 1;
                    } else {
                        reply.count(if backwards { len - seen } else { seen - 1 });
                        found += 1;
                    }
                }
                seen < to_look_at && found < most && !reply.is_full()
            });
        }
        match open {
            Some(open) => reply.close(open, found),
            None if found == 0 => reply.null(),
            None => {}
        }
        Ok(())
    }
}
