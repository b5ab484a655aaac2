//! HSCAN.

use super::hash_of;
use crate::command::{Args, Command, Read, Reply};
use crate::commands::generic::scan::{Family, ScanOptions, ValueScan, open_page};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::value::listpack::Element;

/// Iterates over the fields of a hash, some at a time.
///
/// Returns the cursor for the next call, 0 at the end, and fields with their values. A field that exists from the first call to the
/// last is returned at least once.
#[derive(Command)]
#[command(
    name = "HSCAN", group = Hash, since = "2.8.0", complexity = "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", arity = -3,
    flags(READONLY), tips("nondeterministic_output"),
    custom_parse, reply = "array(bulk | array(bulk))",
)]
pub struct HScan<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    cursor: &'a [u8],
    #[arg(token = "MATCH", kind = Pattern)]
    pattern: Option<&'a [u8]>,
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(token = "NOVALUES")]
    novalues: bool,
    /// Wrong options are told only where there is a hash to scan.
    #[arg(hidden)]
    refused: Option<Error>,
}

impl<'a> HScan<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let ValueScan { key, cursor, options, refused } = ValueScan::parse(args, Family::Fields)?;
        let ScanOptions { pattern, count, novalues, .. } = options;
        let count = Some(count as i64);
        Ok(Self { key, cursor, pattern, count, novalues, refused })
    }
}

impl Read for HScan<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let hash = hash_of(db, &self.key)?;
        if let (Some(_), Some(error)) = (hash, &self.refused) {
            return Err(error.clone());
        }
        let mut found: Vec<Element<'_>> = Vec::new();
        let options = ScanOptions::of(self.cursor, self.pattern, self.count)?;
        let next = hash.map_or(0, |hash| {
            hash.scan(options.cursor, options.count, db.now(), |field, value| {
                if field.with(|field| options.matches(field)) {
                    found.push(field);
                    if !self.novalues {
                        found.push(value);
                    }
                }
            })
        });
        open_page(reply, next, found.len());
        found.into_iter().for_each(|element| element.with(|bytes| reply.bulk(bytes)));
        Ok(())
    }
}
