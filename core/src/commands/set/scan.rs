//! SSCAN.

use super::{reply_member, set_of};
use crate::command::{Args, Command, Read, Reply};
use crate::commands::generic::scan::{Family, ScanOptions, ValueScan, open_page};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::value::listpack::Element;

/// Iterates over the members of a set, some at a time.
///
/// Returns the cursor for the next call, 0 at the end, and members. A member that is there from the first call to the last is returned
/// at least once.
#[derive(Command)]
#[command(
    name = "SSCAN", group = Set, since = "2.8.0", complexity = "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", arity = -3,
    flags(READONLY), tips("nondeterministic_output"),
    custom_parse, reply = "array(bulk | array(bulk))",
)]
pub struct SScan<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    cursor: &'a [u8],
    #[arg(token = "MATCH", kind = Pattern)]
    pattern: Option<&'a [u8]>,
    #[arg(token = "COUNT")]
    count: Option<i64>,
    /// Wrong options are told only where there is a set to scan.
    #[arg(hidden)]
    refused: Option<Error>,
}

impl<'a> SScan<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let ValueScan { key, cursor, options, refused } = ValueScan::parse(args, Family::Members)?;
        let ScanOptions { pattern, count, .. } = options;
        let count = Some(count as i64);
        Ok(Self { key, cursor, pattern, count, refused })
    }
}

impl Read for SScan<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let set = set_of(db, &self.key)?;
        if let (Some(_), Some(error)) = (set, &self.refused) {
            return Err(error.clone());
        }
        let options = ScanOptions::of(self.cursor, self.pattern, self.count)?;
        let mut found: Vec<Element<'_>> = Vec::new();
        let next = set.map_or(0, |set| {
            set.scan(options.cursor, options.count, |member| {
                if member.with(|name| options.matches(name)) {
                    found.push(member);
                }
            })
        });
        open_page(reply, next, found.len());
        found.into_iter().for_each(|member| reply_member(reply, member));
        Ok(())
    }
}
