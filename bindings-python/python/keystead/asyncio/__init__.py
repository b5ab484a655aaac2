"""The asyncio twins: `Cache`, `Store` and `Valkey`, whose methods are awaited.

The engine answers at once, so an awaited method is a plain call behind a ready awaitable: no task, no executor, no loop needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead import _keystead
from keystead._cache import Cache as _PlainCache
from keystead._cache import CacheBase
from keystead._cached import Ttl
from keystead._engine import open_engine
from keystead._keystead import Engine

if TYPE_CHECKING:
    from keystead.asyncio._valkey import Valkey

__all__ = ["Cache", "Store", "Valkey"]


@_keystead.own_methods
class Cache(CacheBase, _keystead.AsyncCache):
    """As `keystead.Cache`; get, set and the other methods on keys are awaited. `stats`, `close` and `in` are plain calls."""

    _view: _PlainCache

    def __new__(cls, name: str | Engine | None = None, **options: Any) -> Any:
        self = super().__new__(cls, name, **options)
        options = {
            name: value for name, value in options.items() if name not in ("maxmemory", "config", "live")
        }
        self._view = _PlainCache(self.engine, **options)
        return self

    def _plain(self) -> _PlainCache:
        return self._view

    async def wrap(self, key: str | bytes, load: Any, ttl: Ttl = None) -> Any:
        """The value of a key; if there is none, `await load()`, kept for `ttl`. Many who wait for a key cause one `load()`."""
        return await self._view.wrap_async(key, load, ttl)

    def close(self) -> None:
        """As `keystead.Cache.close`."""
        super().close()
        self._view.close()

    def __len__(self) -> int:
        return self._size()

    def __bool__(self) -> bool:
        return True

    async def __aenter__(self) -> Cache:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()


@_keystead.own_methods
class Store(_keystead.AsyncStore):
    """As `keystead.Store`, with methods that are awaited."""

    engine: Engine

    def __new__(
        cls,
        name: str | Engine | None = None,
        *,
        db: int = 0,
        maxmemory: int | str | None = None,
        config: dict[str, Any] | None = None,
    ) -> Store:
        engine = open_engine(name, maxmemory=maxmemory, config=config)
        self = super().__new__(cls, engine, db)
        self.engine = engine
        return self


def __getattr__(name: str) -> Any:
    if name == "Valkey":
        from keystead.asyncio._valkey import Valkey

        return Valkey
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
