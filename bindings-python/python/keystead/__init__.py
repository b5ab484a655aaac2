"""Keystead: Valkey inside your process.

`Cache` keeps Python values, `Store` keeps bytes, `Valkey` is valkey-py's client on the engine in this process.
The asyncio twins are in `keystead.asyncio`, the Flask decorator in `keystead.flask`, redis-py's pool in `keystead.redis`.
"""

from typing import TYPE_CHECKING, Any

from keystead import exceptions
from keystead._cache import Cache
from keystead._engine import CopyWarning
from keystead._keystead import Engine, Listener, __version__
from keystead._store import Store

if TYPE_CHECKING:
    from keystead.valkey import Valkey

__all__ = ["Cache", "CopyWarning", "Engine", "Listener", "Store", "Valkey", "__version__", "exceptions"]


def __getattr__(name: str) -> Any:
    # valkey-py is an extra: it is imported by those who ask for its client.
    if name == "Valkey":
        from keystead.valkey import Valkey

        return Valkey
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
