"""The asyncio twins: `Cache`, `Store` and `Valkey`, whose methods are awaited.

The engine answers at once, so an awaited method is a plain call behind a ready awaitable: no task, no executor, no loop needed. Only what
waits for a disk, `snapshot`, `restore` and `aclose` of what is kept there, runs in a thread of the loop's executor.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from keystead import _keystead
from keystead._cache import Cache as _PlainCache
from keystead._cache import CacheBase
from keystead._cached import Ttl
from keystead._engine import Path, close_async, open_engine
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
        open_engine(self.engine, is_awaited=True)
        options = {
            name: value
            for name, value in options.items()
            if name not in ("path", "maxmemory", "config", "live")
        }
        self._view = _PlainCache(self.engine, **options)
        return self

    def _plain(self) -> _PlainCache:
        return self._view

    async def wrap(self, key: str | bytes, load: Any, ttl: Ttl = None) -> Any:
        """The value of a key; if there is none, `await load()`, kept for `ttl`. Many who wait for a key cause one `load()`."""
        return await self._view.wrap_async(key, load, ttl)

    async def snapshot(self, path: Path) -> None:
        """As `keystead.Cache.snapshot`. If the task is cancelled the file is written all the same."""
        self._check_open()
        await asyncio.to_thread(self.engine.snapshot, path)

    async def restore(self, path: Path) -> None:
        """As `keystead.Cache.restore`. If the task is cancelled it goes on all the same."""
        self._check_open()
        await asyncio.to_thread(self.engine.restore, path)

    def close(self) -> None:
        """As `keystead.Cache.close`, which waits for the disk where data is kept there: `aclose` does so without holding up the loop."""
        self._view.close()
        super().close()

    async def aclose(self) -> None:
        """As `close`, without holding up the loop."""
        self._view.close()
        self._close()
        if self._owns_engine:
            await close_async(self.engine)

    def __len__(self) -> int:
        return self._size()

    def __bool__(self) -> bool:
        return True

    async def __aenter__(self) -> Cache:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


@_keystead.own_methods
class Store(_keystead.AsyncStore):
    """As `keystead.Store`, with methods that are awaited."""

    engine: Engine
    _owns_engine: bool

    def __new__(
        cls,
        name: str | Engine | None = None,
        *,
        path: Path | None = None,
        db: int = 0,
        maxmemory: int | str | None = None,
        config: dict[str, Any] | None = None,
    ) -> Store:
        engine = open_engine(name, path=path, maxmemory=maxmemory, config=config, is_awaited=True)
        self = super().__new__(cls, engine, db)
        self.engine = engine
        self._owns_engine = engine is not name
        return self

    async def aclose(self) -> None:
        """Gives up the engine if this store has opened it; see `keystead.Engine.close`."""
        if self._owns_engine:
            await close_async(self.engine)

    async def __aenter__(self) -> Store:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def __getattr__(name: str) -> Any:
    if name == "Valkey":
        from keystead.asyncio._valkey import Valkey

        return Valkey
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
