//! Commands on strings.
//!
//! How strings are stored is [`crate::value::string`]'s affair.

pub(crate) mod append;
pub(crate) mod counter;
pub(crate) mod expiry;
pub(crate) mod get;
pub(crate) mod incrbyfloat;
pub(crate) mod lcs;
pub(crate) mod many;
pub(crate) mod msetex;
pub(crate) mod range;
pub(crate) mod set;

use crate::error::{Error, Result};
use crate::keyspace::{Db, Key};

/// Refuses strings beyond `proto-max-bulk-len`.
pub(crate) fn check_length(db: &Db<'_>, length: usize) -> Result<()> {
    if length > db.keyspace().config.hot().proto_max_bulk_len() {
        return Err(Error::too_long());
    }
    Ok(())
}

/// Writes bytes over those of the string of a key from `offset` on, with zeroes before them where it is shorter, or missing.
pub(crate) fn write_over(db: &mut Db<'_>, key: &Key<'_>, offset: usize, bytes: &[u8]) -> Result<()> {
    match db.lookup_mut(key) {
        Some(mut entry) => entry.write_string(offset, bytes),
        None => db.insert_padded(key, offset, bytes),
    }
}
