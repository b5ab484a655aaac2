//! SORT and SORT_RO.
//!
//! They sort lists, sets and sorted sets, which come with the next types; of what exists today a missing key sorts to nothing
//! and every other type is refused, as the server does.

use crate::command::spec::{BeginSearch, FindKeys};
use crate::command::{Arg, Command, Read, Reply, Write};
use crate::error::{Error, Result};
use crate::keyspace::{Db, EventClass, Key};

#[derive(Arg, Clone, Copy)]
enum Order {
    #[arg(token = "ASC")]
    Asc,
    #[arg(token = "DESC")]
    Desc,
}

#[derive(Arg)]
#[arg(token = "LIMIT")]
struct Limit {
    offset: i64,
    count: i64,
}

/// Sorts the elements of a list, a set or a sorted set, or stores them sorted.
///
/// Returns the elements, or with STORE their number.
#[derive(Command)]
#[command(
    name = "SORT", group = Generic, since = "1.0.0", complexity = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).", arity = -2,
    flags(WRITE, DENYOOM, MOVABLEKEYS), acl(DANGEROUS, LIST, SET, SORTEDSET),
    whole_keyspace, extra_key(RO, ACCESS, notes = "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort", begin = BeginSearch::Unknown, find = FindKeys::Unknown), extra_key(OW, UPDATE, notes = "For the optional STORE keyword. It is marked 'unknown' because the keyword can appear anywhere in the argument array", begin = BeginSearch::Unknown, find = FindKeys::Unknown), reply = "array(bulk | null) | int",
)]
pub struct Sort<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(token = "BY", kind = Pattern, key_spec = 1)]
    by_pattern: Option<&'a [u8]>,
    #[arg(oneof, last_counts)]
    limit: Option<Limit>,
    #[arg(token = "GET", kind = Pattern, multiple_token, key_spec = 1)]
    get_pattern: Vec<&'a [u8]>,
    #[arg(oneof, last_counts)]
    order: Option<Order>,
    #[arg(token = "ALPHA")]
    sorting: bool,
    #[arg(token = "STORE", key_spec = 2)]
    destination: Option<Key<'a>>,
}

impl Write for Sort<'_> {
    fn execute(&self, db: &mut Db<'_>, reply: &mut Reply) -> Result<()> {
        refuse_unsortable(db, &self.key)?;
        match &self.destination {
            Some(destination) => {
                if db.remove(destination) {
                    db.notify(EventClass::Generic, "del", destination.bytes());
                }
                reply.integer(0);
            }
            None => reply.array(0),
        }
        Ok(())
    }
}

/// Sorts the elements of a list, a set or a sorted set.
///
/// Returns the elements. It is SORT without STORE, for replicas and read-only scripts.
#[derive(Command)]
#[command(
    name = "SORT_RO", group = Generic, since = "7.0.0", complexity = "O(N+M*log(M)) where N is the number of elements in the list or set to sort, and M the number of returned elements. When the elements are not sorted, complexity is O(N).", arity = -2,
    flags(READONLY, MOVABLEKEYS), acl(DANGEROUS, LIST, SET, SORTEDSET),
    whole_keyspace, extra_key(RO, ACCESS, notes = "For the optional BY/GET keyword. It is marked 'unknown' because the key names derive from the content of the key we sort", begin = BeginSearch::Unknown, find = FindKeys::Unknown), reply = "array(bulk | null)",
)]
pub struct SortRo<'a> {
    #[key(RO, ACCESS)]
    key: Key<'a>,
    #[arg(token = "BY", kind = Pattern, key_spec = 1)]
    by_pattern: Option<&'a [u8]>,
    #[arg(oneof, last_counts)]
    limit: Option<Limit>,
    #[arg(token = "GET", kind = Pattern, multiple_token, key_spec = 1)]
    get_pattern: Vec<&'a [u8]>,
    #[arg(oneof, last_counts)]
    order: Option<Order>,
    #[arg(token = "ALPHA")]
    sorting: bool,
}

impl Read for SortRo<'_> {
    fn execute(&self, db: &Db<'_>, reply: &mut Reply) -> Result<()> {
        refuse_unsortable(db, &self.key)?;
        reply.array(0);
        Ok(())
    }
}

fn refuse_unsortable(db: &Db<'_>, key: &Key<'_>) -> Result<()> {
    if db.lookup(key).is_some() { Err(Error::wrong_type()) } else { Ok(()) }
}
