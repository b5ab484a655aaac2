//! KEYS, SCAN, RANDOMKEY and TYPE: finding out what there is.

use crate::command::{Args, Command, Read, Reply};
use crate::error::{Error, Result, until_zero};
use crate::keyspace::{Db, Key, scan};
use crate::num;
use crate::pattern::glob_matches;

/// Returns the keys that match a pattern.
///
/// O(keys): it holds every shard while it looks; use SCAN on anything that serves users.
#[derive(Command)]
#[command(
    name = "KEYS", group = Generic, since = "1.0.0", complexity = "O(N) with N being the number of keys in the database, under the assumption that the key names in the database and the given pattern have limited length.", arity = 2,
    flags(READONLY), acl(DANGEROUS), tips("request_policy:all_shards", "nondeterministic_output_order"),
    whole_keyspace, reply = "array(bulk)",
)]
pub struct Keys<'a> {
    #[arg(kind = Pattern)]
    pattern: &'a [u8],
}

impl Read for Keys<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let open = reply.open_array();
        let mut count = 0;
        scan::each(db, |entry| {
            if self.pattern == b"*" || glob_matches(self.pattern, entry.key(), false) {
                reply.bulk(entry.key());
                count += 1;
            }
        });
        reply.close(open, count);
        Ok(())
    }
}

/// The options that SCAN and its relatives for values share.
pub(crate) struct ScanOptions<'a> {
    pub(crate) cursor: u64,
    pub(crate) pattern: Option<&'a [u8]>,
    pub(crate) count: usize,
    pub(crate) type_name: Option<&'a [u8]>,
    /// Without values, or scores.
    pub(crate) novalues: bool,
}

/// The words of HSCAN, SSCAN and ZSCAN.
pub(crate) struct ValueScan<'a> {
    pub(crate) key: Key<'a>,
    pub(crate) cursor: &'a [u8],
    pub(crate) options: ScanOptions<'a>,
    /// Wrong options are told only where there is something to scan.
    pub(crate) refused: Option<Error>,
}

impl<'a> ValueScan<'a> {
    pub(crate) fn parse(args: &mut Args<'a>, family: Family) -> Result<Self> {
        let key = args.required()?;
        let key = args.key(key);
        let cursor = args.required()?;
        let number = parse_cursor(cursor)?;
        Ok(match ScanOptions::parse(number, args.take_rest(), family) {
            Ok(options) => Self { key, cursor, options, refused: None },
            Err(error) => Self { key, cursor, options: ScanOptions::new(number), refused: Some(error) },
        })
    }
}

/// Which of the options beside MATCH and COUNT a command of the family takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// SCAN: TYPE.
    Keys,
    /// HSCAN: NOVALUES.
    Fields,
    /// SSCAN: none.
    Members,
    /// ZSCAN: NOSCORES.
    Scores,
}

/// Elements looked at per call unless COUNT says otherwise.
const DEFAULT_COUNT: usize = 10;

fn count_of(count: Option<i64>) -> usize {
    count.and_then(|count| usize::try_from(count).ok()).unwrap_or(DEFAULT_COUNT)
}

/// Opens the reply of a SCAN: the cursor for the next call, and so many words.
pub(crate) fn open_page(reply: &mut Reply, next: u64, len: usize) {
    reply.array(2);
    reply.bulk(next.to_string().as_bytes());
    reply.array(len);
}

/// The cursor of a SCAN, as text.
pub(crate) fn parse_cursor(text: &[u8]) -> Result<u64> {
    let invalid = || Error::command("invalid cursor");
    match num::parse_i64(text) {
        Some(cursor) => u64::try_from(cursor).map_err(|_| invalid()),
        None => lenient_cursor(text).ok_or_else(invalid),
    }
}

/// As C's `strtoull`, which the server falls back on: white space and a sign may come first, and a negative number wraps.
fn lenient_cursor(text: &[u8]) -> Option<u64> {
    let text = until_zero(text).trim_ascii_start();
    let (is_negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        (b'+', digits) => (false, digits),
        _ => (false, text),
    };
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })?;
    Some(if is_negative { number.wrapping_neg() } else { number })
}

impl<'a> ScanOptions<'a> {
    fn new(cursor: u64) -> Self {
        Self { cursor, pattern: None, count: DEFAULT_COUNT, type_name: None, novalues: false }
    }

    pub(crate) fn parse(cursor: u64, words: &[&'a [u8]], family: Family) -> Result<Self> {
        let mut options = Self::new(cursor);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value = || words.next().copied().ok_or_else(Error::syntax);
            match &until_zero(word).to_ascii_lowercase()[..] {
                b"match" => options.pattern = Some(value()?),
                b"count" => {
                    let count = num::parse_i64(value()?).ok_or_else(Error::not_an_integer)?;
                    options.count =
                        usize::try_from(count).ok().filter(|count| *count > 0).ok_or_else(Error::syntax)?;
                }
                b"type" if family == Family::Keys => {
                    let name = value()?;
                    check_type(name)?;
                    options.type_name = Some(name);
                }
                b"novalues" if family == Family::Fields => options.novalues = true,
                b"novalues" => return Err(Error::command("NOVALUES option can only be used in HSCAN")),
                b"noscores" if family == Family::Scores => options.novalues = true,
                b"noscores" => return Err(Error::command("NOSCORES option can only be used in ZSCAN")),
                _ => return Err(Error::syntax()),
            }
        }
        options.pattern = options.pattern.filter(|pattern| *pattern != b"*");
        Ok(options)
    }

    /// What HSCAN and its like have kept of their words; of `count` that it is positive.
    pub(crate) fn of(cursor: &[u8], pattern: Option<&'a [u8]>, count: Option<i64>) -> Result<Self> {
        Ok(Self { pattern, count: count_of(count), ..Self::new(parse_cursor(cursor)?) })
    }

    pub(crate) fn matches(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob_matches(pattern, name, false))
    }
}

fn check_type(name: &[u8]) -> Result<()> {
    const TYPES: &[&str] = &["string", "list", "set", "zset", "hash", "stream"];
    if TYPES.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name)) {
        return Ok(());
    }
    Err(Error::repeating("unknown type name '", name, "'"))
}

/// Iterates over the keys, some at a time.
///
/// Returns the cursor for the next call, 0 at the end, and keys. A key that exists from the first call to the last is returned at
/// least once, whatever happens to the others meanwhile.
#[derive(Command)]
#[command(
    name = "SCAN", group = Generic, since = "2.8.0", complexity = "O(1) for every call. O(N) for a complete iteration, including enough command calls for the cursor to return back to 0. N is the number of elements inside the collection.", arity = -2,
    flags(READONLY), tips("nondeterministic_output", "request_policy:special", "response_policy:special"),
    history(("6.0.0", "Added the `TYPE` subcommand.")),
    whole_keyspace, custom_parse, reply = "array(bulk | array(bulk))",
)]
pub struct Scan<'a> {
    #[arg(kind = Integer)]
    cursor: &'a [u8],
    #[arg(token = "MATCH", kind = Pattern)]
    pattern: Option<&'a [u8]>,
    #[arg(token = "COUNT")]
    count: Option<i64>,
    #[arg(token = "TYPE", since = "6.0.0")]
    r#type: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    fn parse_args(args: &mut Args<'a>) -> Result<Self> {
        let cursor = args.required()?;
        let options = ScanOptions::parse(parse_cursor(cursor)?, args.take_rest(), Family::Keys)?;
        Ok(Self {
            cursor,
            pattern: options.pattern,
            count: Some(options.count as i64),
            r#type: options.type_name,
        })
    }
}

impl Read for Scan<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        let count = count_of(self.count);
        let mut found = Vec::new();
        let next = scan::scan(db, parse_cursor(self.cursor)?, count, |entry, is_live| {
            let of_type = self
                .r#type
                .is_none_or(|name| name.eq_ignore_ascii_case(entry.value().type_name().as_bytes()));
            if of_type && self.pattern.is_none_or(|pattern| glob_matches(pattern, entry.key(), false)) {
                if is_live {
                    found.push(entry.key());
                } else {
                    db.found_stale(entry.key());
                }
            }
        });
        open_page(reply, next, found.len());
        found.into_iter().for_each(|key| reply.bulk(key));
        Ok(())
    }
}

/// Returns a key drawn at random, every key with the same chance.
///
/// Returns null where the database is empty.
#[derive(Command)]
#[command(
    name = "RANDOMKEY", group = Generic, since = "1.0.0", complexity = "O(1)", arity = 1,
    flags(READONLY), tips("request_policy:all_shards", "response_policy:special", "nondeterministic_output"),
    whole_keyspace, reply = "bulk | null",
)]
pub struct RandomKey {}

impl Read for RandomKey {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.bulk_or_null(db.random_key());
        Ok(())
    }
}

/// Returns the type of the value of a key.
///
/// Returns `none` where there is no such key.
#[derive(Command)]
#[command(
    name = "TYPE", group = Generic, since = "1.0.0", complexity = "O(1)", arity = 2,
    flags(READONLY, FAST),
    reply = "simple",
)]
pub struct Type<'a> {
    #[key(RO)]
    key: Key<'a>,
}

impl Read for Type<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        reply.simple(db.lookup_untouched(&self.key).map_or("none", |entry| entry.value().type_name()));
        Ok(())
    }
}
