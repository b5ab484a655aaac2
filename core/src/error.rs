//! The engine's one error type and the one table of its kinds.
//!
//! Bindings map kinds to their language's exceptions and never look at texts; the texts are Valkey's, since
//! users and client libraries match on them.

use std::borrow::Cow;
use std::fmt;

/// Declares [`ErrorKind`] with, per kind, the RESP code, the Python exception, the JavaScript code and the C constant.
macro_rules! error_kinds {
    ($( $(#[$doc:meta])* $kind:ident = $number:literal, $code:literal, $python:literal, $c:literal; )*) => {
        /// What went wrong, independent of the wording.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum ErrorKind { $( $(#[$doc])* $kind = $number, )* }

        impl ErrorKind {
            /// Every kind, in the order of its number.
            pub const ALL: &[ErrorKind] = &[$( ErrorKind::$kind, )*];

            /// First word of the RESP error line.
            pub const fn code(self) -> &'static str {
                match self { $( ErrorKind::$kind => $code, )* }
            }

            /// Class name in `keystead.exceptions`, after valkey-py's where that has one.
            pub const fn python_class(self) -> &'static str {
                match self { $( ErrorKind::$kind => $python, )* }
            }

            /// Constant in `keystead.h`, also the `code` of a JavaScript error.
            pub const fn constant(self) -> &'static str {
                match self { $( ErrorKind::$kind => $c, )* }
            }
        }
    };
}

error_kinds! {
    /// A command was used wrongly: syntax, arity, range, unknown option.
    Command = 1, "ERR", "ResponseError", "KS_ERR_COMMAND";
    /// The key holds another type than the command needs.
    WrongType = 2, "WRONGTYPE", "ResponseError", "KS_ERR_WRONGTYPE";
    /// `maxmemory`, or the system, leaves no room for the write.
    OutOfMemory = 3, "OOM", "OutOfMemoryError", "KS_ERR_OOM";
    /// EXEC refused: a queued command was faulty.
    ExecAborted = 4, "EXECABORT", "ExecAbortError", "KS_ERR_EXECABORT";
    /// The session may not do this, or has not authenticated.
    NoAuth = 5, "NOAUTH", "AuthenticationError", "KS_ERR_NOAUTH";
    /// User name or password is wrong.
    WrongPass = 6, "WRONGPASS", "AuthenticationError", "KS_ERR_WRONGPASS";
    /// The user's ACL forbids the command, key or channel.
    NoPerm = 7, "NOPERM", "NoPermissionError", "KS_ERR_NOPERM";
    /// HELLO asked for a protocol that does not exist.
    NoProto = 8, "NOPROTO", "ResponseError", "KS_ERR_NOPROTO";
    /// The bytes received are not RESP.
    Protocol = 9, "ERR", "InvalidResponse", "KS_ERR_PROTOCOL";
    /// A script, or something else that holds the engine, is running.
    Busy = 10, "BUSY", "BusyLoadingError", "KS_ERR_BUSY";
    /// The target key exists already.
    BusyKey = 11, "BUSYKEY", "ResponseError", "KS_ERR_BUSYKEY";
    /// EVALSHA of a script that is not cached.
    NoScript = 12, "NOSCRIPT", "NoScriptError", "KS_ERR_NOSCRIPT";
    /// The engine is closed.
    Closed = 13, "ERR", "ConnectionError", "KS_ERR_CLOSED";
    /// A file or the system failed.
    Io = 14, "ERR", "ConnectionError", "KS_ERR_IO";
    /// An option or an argument of the API itself (not of a command) is not valid.
    Usage = 15, "ERR", "DataError", "KS_ERR_USAGE";
    /// A bug in Keystead: a panic caught at a language border.
    Internal = 16, "ERR", "ResponseError", "KS_ERR_INTERNAL";
    /// What was changed can't be kept on disk, so that nothing may change.
    Misconf = 17, "MISCONF", "ResponseError", "KS_ERR_MISCONF";
}

/// An error with its [`ErrorKind`] and the full text a Valkey client would see, code included.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    text: Cow<'static, [u8]>,
}

/// The engine's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

const _: () = {
    const fn is_send_and_sync<T: Send + Sync + 'static>() {}
    is_send_and_sync::<Error>();
    assert!(size_of::<Error>() == size_of::<usize>());
};

impl Error {
    /// An error of `kind` whose complete text, code included, is `text`.
    pub fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        let text = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Self(Box::new(Inner { kind, text }))
    }

    /// An error whose text quotes bytes that need not be UTF-8. Line ends become spaces, as in Valkey.
    pub fn from_bytes(kind: ErrorKind, mut text: Vec<u8>) -> Self {
        for byte in &mut text {
            if matches!(byte, b'\r' | b'\n') {
                *byte = b' ';
            }
        }
        Self(Box::new(Inner { kind, text: Cow::Owned(text) }))
    }

    /// A misuse of a command whose text repeats a word of the caller's between `before` and `after`. As in the server, the word ends where a C
    /// string would.
    #[doc(hidden)]
    pub fn repeating(before: &str, word: &[u8], after: &str) -> Self {
        let text = [b"ERR ", before.as_bytes(), until_zero(word), after.as_bytes()].concat();
        Self::from_bytes(ErrorKind::Command, text)
    }

    /// A misuse of a command: `ERR` and `text`.
    #[doc(hidden)]
    pub fn command(text: impl fmt::Display) -> Self {
        Self::from_bytes(ErrorKind::Command, format!("ERR {text}").into_bytes())
    }

    /// `ERR syntax error`.
    #[doc(hidden)]
    pub fn syntax() -> Self {
        Self::new(ErrorKind::Command, "ERR syntax error")
    }

    /// `WRONGTYPE Operation against a key holding the wrong kind of value`.
    #[doc(hidden)]
    pub fn wrong_type() -> Self {
        Self::new(ErrorKind::WrongType, "WRONGTYPE Operation against a key holding the wrong kind of value")
    }

    /// `ERR value is not an integer or out of range`.
    #[doc(hidden)]
    pub fn not_an_integer() -> Self {
        Self::new(ErrorKind::Command, "ERR value is not an integer or out of range")
    }

    /// `ERR value is not a valid float`.
    #[doc(hidden)]
    pub fn not_a_float() -> Self {
        Self::new(ErrorKind::Command, "ERR value is not a valid float")
    }

    /// `ERR no such key`.
    #[doc(hidden)]
    pub fn no_such_key() -> Self {
        Self::new(ErrorKind::Command, "ERR no such key")
    }

    /// The write would pass `maxmemory`.
    #[doc(hidden)]
    pub fn out_of_memory() -> Self {
        Self::new(ErrorKind::OutOfMemory, "OOM command not allowed when used memory > 'maxmemory'.")
    }

    /// A word above `proto-max-bulk-len`.
    pub fn too_long() -> Self {
        Self::command("string exceeds maximum allowed size (proto-max-bulk-len)")
    }

    /// The system has no memory for what a caller asks for.
    pub fn no_memory() -> Self {
        Self::new(ErrorKind::OutOfMemory, "OOM the system has no memory for this value")
    }

    /// All data is being replaced.
    pub(crate) fn loading() -> Self {
        Self::new(ErrorKind::Busy, "LOADING Valkey is loading the dataset in memory")
    }

    /// Part of a file that is used is gone, so that writes are refused.
    pub(crate) fn lost() -> Self {
        let text = "ERR The snapshot that this engine goes on with was made shorter by somebody: part of the data is gone";
        Self::new(ErrorKind::Io, text)
    }

    /// The last snapshot could not be written, so that writes are refused.
    pub(crate) fn unsaved() -> Self {
        Self::new(
            ErrorKind::Misconf,
            "MISCONF Valkey is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may \
             modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting \
             fails (stop-writes-on-bgsave-error option). Please check the Valkey logs for details about the RDB error.",
        )
    }

    /// What the system says about a file, behind what was tried.
    pub(crate) fn io(what: impl fmt::Display, error: &std::io::Error) -> Self {
        Self::new(ErrorKind::Io, format!("ERR {what}: {}", reason(error)))
    }

    /// `ERR wrong number of arguments for 'name' command`.
    #[doc(hidden)]
    pub fn arity(name: &str) -> Self {
        Self::command(format_args!("wrong number of arguments for '{name}' command"))
    }

    /// `ERR invalid expire time in 'name' command`.
    #[doc(hidden)]
    pub fn invalid_expire(name: &str) -> Self {
        Self::command(format_args!("invalid expire time in '{name}' command"))
    }

    /// What kind of error this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The complete text as on the wire, without the leading `-` and the line end.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.text
    }

    /// The first word of the text, which statistics count by (`errorstat_ERR`).
    pub fn code(&self) -> &[u8] {
        let text = self.as_bytes();
        &text[..memchr::memchr(b' ', text).unwrap_or(text.len())]
    }
}

/// The system's words without Rust's number behind them.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// A word up to its first zero byte, all that the server sees of it where it handles words as C strings.
pub(crate) fn until_zero(word: &[u8]) -> &[u8] {
    &word[..memchr::memchr(0, word).unwrap_or(word.len())]
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({self})", self.kind())
    }
}

impl std::error::Error for Error {}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::from_bytes(ErrorKind::Io, format!("ERR {error}").into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_constants_are_unique() {
        for (position, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, position + 1);
            let same = ErrorKind::ALL.iter().filter(|other| other.constant() == kind.constant()).count();
            assert_eq!(same, 1, "{}", kind.constant());
        }
    }

    #[test]
    fn text_carries_the_code_and_no_line_end() {
        let error = Error::from_bytes(ErrorKind::Command, b"ERR unknown command 'a\r\nb'".to_vec());
        assert_eq!(error.as_bytes(), b"ERR unknown command 'a  b'");
        assert_eq!(error.code(), b"ERR");
        assert_eq!(Error::wrong_type().code(), b"WRONGTYPE");
        assert_eq!(Error::repeating("no '", b"a\rb\0c", "'").as_bytes(), b"ERR no 'a b'");
    }
}
