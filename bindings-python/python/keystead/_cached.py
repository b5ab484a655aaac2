"""Functions decorated with `@cache.cached`. Keys and hits are native (`Memo`); here are misses and what hangs on the function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from keystead import _keystead
from keystead._flight import lead_or_wait, lead_or_wait_async

__all__ = ["CachedFunction", "Live", "Ttl", "decorate", "live_objects"]

Ttl = int | float | timedelta | None
#: How many decoded objects to keep beside the engine; True: `LIVE_OBJECTS`.
Live = bool | int | None
LIVE_OBJECTS = 1024
_ABSENT = object()


CachedFunction = _keystead.Cached


def _invalidate(self: CachedFunction, *args: Any, **kwargs: Any) -> bool:
    """Forgets the result of a call with these arguments and says whether there was one."""
    return bool(self._raw.delete(_keystead.cached_key(self, args, kwargs)))


def _cache_key(self: CachedFunction, *args: Any, **kwargs: Any) -> str | bytes:
    """The key, without the cache's namespace, under which a call with these arguments is kept."""
    return _keystead.cached_key(self, args, kwargs)


def _refresh(self: CachedFunction, *args: Any, **kwargs: Any) -> Any:
    """Calls the function, hit or not, and keeps what it returns; awaited if the function is."""
    return self._compute(self, _key(self, args, kwargs), args, kwargs)


def _by_name(self: Any) -> str:
    # As functions are: pickled and copied by the name under which their module has them.
    return str(self.__qualname__)


def _install() -> None:
    kind: Any = CachedFunction
    kind.invalidate, kind.cache_key, kind.refresh = _invalidate, _cache_key, _refresh
    for kind in (CachedFunction, _keystead.CachedResult):
        kind.__reduce__ = _by_name
        kind.__copy__ = lambda self: self
        kind.__deepcopy__ = lambda self, memo: self
        kind.__repr__ = lambda self: f"<cached {getattr(self, '__wrapped__', None)!r}>"


_install()


def _lookup(function: Any, key: bytes) -> Any:
    return function._raw.get(key, _ABSENT)


def _miss(function: Any, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    def compute() -> Any:
        return _compute(function, key, args, kwargs)

    return lead_or_wait((*function._scope, key), compute, lambda: _lookup(function, key), _ABSENT)


def _compute(function: Any, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    result = function.__wrapped__(*args, **(kwargs or {}))
    function._raw.set(key, result, function._ttl)
    return result


async def _miss_async(function: Any, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    async def compute() -> Any:
        return await _compute_async(function, key, args, kwargs)

    return await lead_or_wait_async((*function._scope, key), compute, lambda: _lookup(function, key), _ABSENT)


async def _compute_async(
    function: Any, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> Any:
    result = await function.__wrapped__(*args, **(kwargs or {}))
    function._raw.set(key, result, function._ttl)
    return result


def _key(function: CachedFunction, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    key = _keystead.cached_key(function, args, kwargs)
    return key.encode() if isinstance(key, str) else key


def live_objects(live: Live) -> int:
    """How many decoded objects `live=` asks for."""
    if live is None or live is False:
        return 0
    count = LIVE_OBJECTS if live is True else live
    if count < 1:
        raise ValueError("live must be True or a number of objects above 0")
    return count


def _parameters(function: Callable[..., Any]) -> tuple[list[tuple[str, bool, Any]] | None, int]:
    """Names and defaults of the parameters and how many can be given by position; None for functions that take any."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None, 0
    simple = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    if any(parameter.kind not in simple for parameter in parameters):
        return None, 0
    named = [
        (parameter.name, parameter.default is not parameter.empty, parameter.default)
        for parameter in parameters
    ]
    positional = sum(parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    return named, positional


def decorate(
    cache: Any,
    function: Callable[..., Any],
    ttl: Ttl,
    key: Callable[..., Any] | None,
    prefix: str | None,
    live: Live = None,
) -> Any:
    """The cached form of a function."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("a generator can't be cached: its items are gone once they were taken")
    if ttl is not None and (ttl.total_seconds() if isinstance(ttl, timedelta) else ttl) <= 0:
        raise ValueError("ttl must be above 0")
    is_async = inspect.iscoroutinefunction(function)
    head = prefix if prefix is not None else f"{function.__module__}.{function.__qualname__}:"
    parameters, positional = (None, 0) if key is not None else _parameters(function)
    miss = _miss_async if is_async else _miss
    objects = live_objects(live)
    memo: Any = _keystead.cached(cache, head.encode(), parameters, positional, key, miss, is_async, objects)
    # The asyncio twin answers with awaitables; misses and invalidation use a plain view of the same data.
    memo._raw = cache._plain() if hasattr(cache, "_plain") else cache
    memo._ttl = ttl
    memo._compute = _compute_async if is_async else _compute
    memo._scope = (
        cache.engine.name if cache.engine.name is not None else id(cache.engine),
        cache._db,
        cache.namespace,
    )
    functools.update_wrapper(memo, function)
    if is_async and hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(memo)
    return memo
