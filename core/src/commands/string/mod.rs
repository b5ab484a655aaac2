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
use crate::keyspace::Db;

/// Refuses strings beyond `proto-max-bulk-len`.
pub(crate) fn check_length(db: &Db<'_>, length: usize) -> Result<()> {
    if length > db.keyspace().config.hot().proto_max_bulk_len() {
        return Err(Error::too_long());
    }
    Ok(())
}
