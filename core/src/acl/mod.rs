//! Users: who they are, what each may do, and the log of what was refused.
//!
//! Which keys, channels and databases a call touches is [`crate::command`]'s to find out; which clients act as which user,
//! [`crate::clients`]' and [`crate::local`]'s. Here is only what the rules mean.

mod call;
mod catalog;
mod file;
mod log;
mod password;
mod registry;
mod rights;
mod selector;

#[cfg(test)]
mod tests;

pub(crate) use call::{Access, Call, Reason, Refusal};
pub(crate) use catalog::{Catalog, Row};
pub(crate) use log::{Entry, Origin};
pub(crate) use registry::{Anew, User, Users, check_name};
pub(crate) use rights::{Rights, join_selectors};
pub(crate) use selector::Selector;

/// The name of the user that every connection begins as.
pub(crate) const DEFAULT_USER: &[u8] = b"default";
