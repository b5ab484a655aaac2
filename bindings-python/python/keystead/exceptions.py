"""The exceptions of `Cache` and `Store`, one class per group of the engine's error kinds.

The clients of `keystead.valkey` and `keystead.redis` raise valkey-py's and redis-py's own exceptions instead.
"""

import builtins

__all__ = [
    "AuthenticationError",
    "BusyLoadingError",
    "ConnectionError",
    "DataError",
    "ExecAbortError",
    "InvalidResponse",
    "KeysteadError",
    "NoPermissionError",
    "NoScriptError",
    "OutOfMemoryError",
    "ResponseError",
]


class KeysteadError(Exception):
    """Base of all. `kind` is the error kind's constant, such as `KS_ERR_WRONGTYPE`: the same in every language."""

    kind: str = "KS_ERR_INTERNAL"


class ResponseError(KeysteadError):
    """A command was refused: wrong type, syntax, range."""


class OutOfMemoryError(ResponseError, MemoryError):
    """`maxmemory`, or the system, leaves no room for the write."""


class ExecAbortError(ResponseError):
    """EXEC refused, because a queued command was faulty."""


class NoScriptError(ResponseError):
    """EVALSHA of a script that is not cached."""


class NoPermissionError(ResponseError):
    """The user's ACL forbids the command, key or channel."""


class ConnectionError(KeysteadError, builtins.ConnectionError):
    """The cache or the engine is closed, or a file failed."""


class AuthenticationError(ConnectionError):
    """The session has not authenticated, or user name or password is wrong."""


class BusyLoadingError(ConnectionError):
    """A script, or something else that holds the engine, is running."""


class InvalidResponse(KeysteadError):
    """Bytes that are not RESP."""


class DataError(KeysteadError, ValueError):
    """An argument or option of Keystead itself is not valid, or a stored value can't be read."""
