//! The numbers of the C interface: statuses, and types of replies.
//!
//! What is done with them is `abi.rs`'s.

#![allow(non_camel_case_types, reason = "the names are C's")]

use keystead::ErrorKind;

/// The outcome of a call: `KS_OK`, something that is no failure (negative), or an error (positive).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ks_status {
    /// The condition of ks_set did not hold.
    KS_NOT_SET = -2,
    /// There is no such key.
    KS_MISSING = -1,
    /// Done.
    KS_OK = 0,
    /// A command was used wrongly: syntax, arity, range, unknown option.
    KS_ERR_COMMAND = 1,
    /// The key holds another type than the command needs.
    KS_ERR_WRONGTYPE = 2,
    /// maxmemory, or the system, leaves no room for the write.
    KS_ERR_OOM = 3,
    /// EXEC refused: a queued command was faulty.
    KS_ERR_EXECABORT = 4,
    /// The session has not authenticated.
    KS_ERR_NOAUTH = 5,
    /// User name or password is wrong.
    KS_ERR_WRONGPASS = 6,
    /// The user's ACL forbids the command, key or channel.
    KS_ERR_NOPERM = 7,
    /// HELLO asked for a protocol that does not exist.
    KS_ERR_NOPROTO = 8,
    /// The bytes received are not RESP.
    KS_ERR_PROTOCOL = 9,
    /// Something that holds the engine is running.
    KS_ERR_BUSY = 10,
    /// The target key exists already.
    KS_ERR_BUSYKEY = 11,
    /// EVALSHA of a script that is not cached.
    KS_ERR_NOSCRIPT = 12,
    /// The engine is closed.
    KS_ERR_CLOSED = 13,
    /// A file or the system failed.
    KS_ERR_IO = 14,
    /// An argument of the call itself is not valid.
    KS_ERR_USAGE = 15,
    /// A bug in Keystead.
    KS_ERR_INTERNAL = 16,
    /// What was changed can't be kept on disk, so that nothing may change.
    KS_ERR_MISCONF = 17,
}

impl From<ErrorKind> for ks_status {
    fn from(kind: ErrorKind) -> Self {
        const ALL: [ks_status; 17] = [
            ks_status::KS_ERR_COMMAND,
            ks_status::KS_ERR_WRONGTYPE,
            ks_status::KS_ERR_OOM,
            ks_status::KS_ERR_EXECABORT,
            ks_status::KS_ERR_NOAUTH,
            ks_status::KS_ERR_WRONGPASS,
            ks_status::KS_ERR_NOPERM,
            ks_status::KS_ERR_NOPROTO,
            ks_status::KS_ERR_PROTOCOL,
            ks_status::KS_ERR_BUSY,
            ks_status::KS_ERR_BUSYKEY,
            ks_status::KS_ERR_NOSCRIPT,
            ks_status::KS_ERR_CLOSED,
            ks_status::KS_ERR_IO,
            ks_status::KS_ERR_USAGE,
            ks_status::KS_ERR_INTERNAL,
            ks_status::KS_ERR_MISCONF,
        ];
        ALL[kind as usize - 1]
    }
}

/// Type of a reply, with hiredis's numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ks_reply_type {
    /// Bytes in `str`.
    KS_REPLY_STRING = 1,
    /// Elements.
    KS_REPLY_ARRAY = 2,
    /// `integer`.
    KS_REPLY_INTEGER = 3,
    /// Nothing.
    KS_REPLY_NIL = 4,
    /// A status line in `str`.
    KS_REPLY_STATUS = 5,
    /// An error's text in `str`, its ks_status in `integer`.
    KS_REPLY_ERROR = 6,
    /// `dval`; only after HELLO 3, as all that follow.
    KS_REPLY_DOUBLE = 7,
    /// `integer`, 0 or 1.
    KS_REPLY_BOOL = 8,
    /// Keys and values in turn.
    KS_REPLY_MAP = 9,
    /// Elements, in no order.
    KS_REPLY_SET = 10,
    /// Elements of an out-of-band message.
    KS_REPLY_PUSH = 12,
    /// Digits in `str`.
    KS_REPLY_BIGNUM = 13,
    /// Text in `str`, its format in `vtype`.
    KS_REPLY_VERB = 14,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_the_engines_kinds() {
        for kind in ErrorKind::ALL {
            let status = ks_status::from(*kind);
            assert_eq!(status as i32, *kind as i32);
            assert_eq!(format!("{status:?}"), kind.constant());
        }
    }
}
