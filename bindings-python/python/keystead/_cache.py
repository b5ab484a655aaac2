"""`Cache`: Python values under string keys. The hot methods are native; here are opening, iteration, statistics and decorators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar, overload

from keystead import _keystead
from keystead._cached import Live, Ttl, decorate, live_objects
from keystead._codecs import codec_of
from keystead._engine import Path, open_engine
from keystead._keystead import Engine
from keystead._loads import load as load_now
from keystead._loads import load_async
from keystead._stats import Stats, read_stats

__all__ = ["Cache", "CacheBase"]

F = TypeVar("F", bound=Callable[..., Any])
_ABSENT = object()


class CacheBase:
    """What `Cache` and `keystead.asyncio.Cache` share; the native classes bring the rest."""

    engine: Engine
    namespace: str
    _db: int
    _owns_engine: bool

    def __new__(
        cls,
        name: str | Engine | None = None,
        *,
        path: Path | None = None,
        namespace: str = "",
        db: int | None = None,
        maxmemory: int | str | None = None,
        codec: str = "json",
        secret: bytes | str | None = None,
        config: dict[str, Any] | None = None,
        live: Live = None,
    ) -> Any:
        if maxmemory is not None:
            # A cache makes room; an error for a full one is what a database wants.
            config = {"maxmemory-policy": "allkeys-adaptive", **(config or {})}
        engine = open_engine(name, path=path, maxmemory=maxmemory, config=config, is_cache=True)
        db = engine._default_db if db is None else db
        begin = f"{namespace}:" if namespace else ""
        objects = live_objects(live)
        self = super().__new__(cls, engine, db, begin.encode(), codec_of(codec, secret), objects)  # type: ignore[call-arg]
        self.engine = engine
        self.namespace = namespace
        self._db = db
        self._owns_engine = engine is not name
        return self

    @overload
    def cached(self, ttl: F, /) -> F: ...
    @overload
    def cached(
        self,
        ttl: Ttl = None,
        *,
        key: Callable[..., Any] | None = None,
        prefix: str | None = None,
        live: Live = None,
    ) -> Callable[[F], F]: ...
    def cached(
        self,
        ttl: Any = None,
        *,
        key: Callable[..., Any] | None = None,
        prefix: str | None = None,
        live: Live = None,
    ) -> Any:
        """Decorates a function or a coroutine function: its results are kept, and computed once for many waiters. With and without parentheses.

        `ttl`: seconds or a timedelta; None keeps them without limit. `prefix`: what keys begin with, by default the function's
        full name; two different functions of one name, such as closures around different values, are refused without it.
        `key`: makes the rest of the key from the arguments; without it arguments must be plain values, or containers of
        such, or have a `repr` that tells them apart: one that is, or has in it, an address does not, so lambdas and methods as arguments are
        refused. Calls that mean the same have the same key, however they are spelled.

        The first call returns what later ones will: the result as the codec keeps it, a list for a tuple with JSON.

        `live`: keeps so many decoded results as objects beside the engine, 1,024 if True; a hit then returns the very same object, so it is
        for results that nobody changes. A change of the key by anyone, expiry and eviction end an object as they end the key.

        Exceptions reach every waiter and are not kept. The decorated function has `invalidate(*args)`, `cache_key(*args)`,
        `refresh(*args)` and `__wrapped__`.
        """
        if callable(ttl) or isinstance(ttl, (classmethod, staticmethod)):
            return decorate(self, ttl, None, key, prefix, live)
        return lambda function: decorate(self, function, ttl, key, prefix, live)

    def __iter__(self) -> Iterator[str | bytes]:
        """The keys, in no order: str where they are UTF-8, else bytes. A key that comes or goes meanwhile may be left out.

        A key that exists throughout is met once: what was met is remembered while iterating.
        """
        seen: set[str | bytes] = set()
        cursor = 0
        while True:
            cursor, keys = self._page(cursor)  # type: ignore[attr-defined]
            for found in keys:
                if found not in seen:
                    seen.add(found)
                    yield found
            if cursor == 0:
                return

    def keys(self) -> Iterator[str | bytes]:
        """As iterating over the cache."""
        return iter(self)

    def stats(self) -> Stats:
        """Hits, misses, memory and so on, of the whole engine; `keys` are this cache's."""
        return read_stats(self)

    def close(self) -> None:
        """Ends the use of this object. Data in memory lives until nobody has the engine any more, `clear` removes it before.

        With the last object that has opened a `path` the log ends: what was acknowledged is on the disk, and another process can open it.

        Raises:
            ResponseError: the log can't be written (kind `KS_ERR_MISCONF`), as on a full disk. What was acknowledged is kept beside it, and is
                there again when the folder is opened.
        """
        self._close()  # type: ignore[attr-defined]
        if self._owns_engine:
            self.engine.close()

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} on {self.engine!r}, namespace {self.namespace!r}>"


@_keystead.own_methods
class Cache(CacheBase, _keystead.Cache):
    """A cache of Python values.

    `name`: everybody in this process who opens the same name has the same data; without one it is private.
    `path`: the folder that the data is kept in, made if it is not there. Every write is in its log before the call returns, and all is there
    again when the folder is opened anew, even if the process was killed. Everybody in this process who opens the same folder has the same
    data; other processes get a ConnectionError that names the one which has it.
    `namespace`: what all keys begin with, unseen by you. `maxmemory`: bytes, or text such as "100mb"; at least
    512 kB, or 0 for no limit.
    `codec`: how values that are not bytes, str, int or float are written: "json", "msgpack", or "pickle" with a `secret`.
    `config`: further options of Valkey by name, such as `{"appendfsync": "always"}`; they count for whoever opens a name or a path first.
    `live`: keeps so many decoded values as objects beside the engine, 1,024 if True. They are as coherent as the engine itself, but
    whoever gets one twice gets the same object: for values that nobody changes.

    None is a value like any other: what `get` returns for a missing key is its default.
    """

    def wrap(self, key: str | bytes, load: Callable[[], Any], ttl: Ttl = None) -> Any:
        """The value of a key; if there is none, `load()`, kept for `ttl`. Many who wait for the same key cause one `load()`.

        What was set, deleted or cleared since `load` began is not overwritten. A load that takes longer than 2 seconds while others wait for it is
        begun again by one of them, the next time after twice as long.
        """
        found = self.get(key, _ABSENT)
        return load_now(self, key, load, ttl) if found is _ABSENT else found

    def snapshot(self, path: Path) -> None:
        """Writes the whole engine, all namespaces and databases as they are now, to a file of Valkey's format (RDB).

        It takes the place of a file that was there, whole or not at all. Other threads read and write meanwhile.

        Raises:
            ConnectionError: the file can't be written, or the cache is closed.
        """
        self._check_open()
        self.engine.snapshot(path)

    def restore(self, path: Path) -> None:
        """Has the whole engine hold what a file of Valkey's format (RDB) holds, and nothing else. Nobody sees a part of it.

        An engine that is kept on disk has it in its log when this returns; until then writes raise BusyLoadingError.

        Raises:
            ConnectionError: the file is damaged or can't be read, or the cache is closed: nothing has changed. Or the log can't be written.
            OutOfMemoryError: there is no memory for it.
        """
        self._check_open()
        self.engine.restore(path)

    async def wrap_async(self, key: str | bytes, load: Callable[[], Any], ttl: Ttl = None) -> Any:
        """As `wrap`, for a `load` that is awaited."""
        found = self.get(key, _ABSENT)
        return await load_async(self, key, load, ttl) if found is _ABSENT else found

    def setdefault(self, key: str | bytes, default: Any = None, ttl: Ttl = None) -> Any:
        """The value of a key, which becomes `default` if there is none; decided at one moment for all threads."""
        while True:
            found = self.get(key, _ABSENT)
            if found is not _ABSENT:
                return found
            if self.set(key, default, ttl, nx=True):
                return default

    def __enter__(self) -> Cache:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
