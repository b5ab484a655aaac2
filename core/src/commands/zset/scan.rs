//! ZSCAN.

use super::zset_of;
use crate::command::{Args, Command, Read, Reply};
use crate::commands::generic::scan::{Family, ScanOptions, ValueScan, open_page};
use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};
use crate::num;
use crate::value::zset::Member;

/// Iterates over the members of a sorted set, some at a time.
///
/// Returns the cursor for the next call, 0 at the end, and members with their scores. A member that is there from the first call to the last is
/// returned at least once.
#[derive(Command)]
#[command(
    name = "ZSCAN", group = SortedSet, since = "2.8.0", complexity = "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", arity = -3,
    flags(READONLY), tips("nondeterministic_output"),
    history(("8.0.0", "Added noscores option.")),
    custom_parse, reply = "array(bulk | array(bulk))",
)]
pub struct ZScan<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(kind = Integer)]
    cursor: &'a [u8],
    #[arg(token = "MATCH", kind = Pattern)]
    pattern: Option<&'a [u8]>,
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(token = "NOSCORES")]
    noscores: bool,
    /// Wrong options are told only where there is a sorted set to scan.
    #[arg(hidden)]
    refused: Option<Error>,
}

impl<'a> ZScan<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let ValueScan { key, cursor, options, refused } = ValueScan::parse(args, Family::Scores)?;
        let ScanOptions { pattern, count, novalues, .. } = options;
        let count = Some(count as i64);
        Ok(Self { key, cursor, pattern, count, noscores: novalues, refused })
    }
}

impl Read for ZScan<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let zset = zset_of(db, &self.key)?;
        if let (Some(_), Some(error)) = (zset, &self.refused) {
            return Err(error.clone());
        }
        let options = ScanOptions::of(self.cursor, self.pattern, self.count)?;
        let mut found: Vec<Member<'_>> = Vec::new();
        let next = zset.map_or(0, |zset| {
            zset.scan(options.cursor, options.count, |member, score| {
                if member.with(|member| options.matches(member)) {
                    found.push((member, score));
                }
            })
        });
        open_page(reply, next, if self.noscores { found.len() } else { found.len() * 2 });
        let is_packed = zset.is_none_or(|zset| zset.is_packed());
        let mut text = Vec::new();
        for (member, score) in found {
            member.with(|member| reply.bulk(member));
            if !self.noscores {
                text.clear();
                // As in the server, which tells a listpack's scores as they stand there, and others by another function.
                let write = if is_packed { num::write_f64 } else { num::write_f64_17 };
                write(&mut text, score);
                reply.bulk(&text);
            }
        }
        Ok(())
    }
}
