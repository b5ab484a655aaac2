"""Functions decorated with `@cache.cached`. Keys and hits are native (`Memo`); here are misses and what hangs on the function."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from keystead import _keystead
from keystead._loads import load, load_async
from keystead._names import claim, name_of

__all__ = ["CachedFunction", "Live", "Ttl", "decorate", "live_objects"]

Ttl = int | float | timedelta | None
#: How many decoded objects to keep beside the engine; True: `LIVE_OBJECTS`.
Live = bool | int | None
LIVE_OBJECTS = 1024

CachedFunction = _keystead.Cached


def _invalidate(self: CachedFunction, *args: Any, **kwargs: Any) -> bool:
    """Forgets the result of a call with these arguments and says whether there was one."""
    return bool(self._raw.delete(_keystead.cached_key(self, args, kwargs)))


def _cache_key(self: CachedFunction, *args: Any, **kwargs: Any) -> str | bytes:
    """The key, without the cache's namespace, under which a call with these arguments is kept."""
    return _keystead.cached_key(self, args, kwargs)


def _refresh(self: CachedFunction, *args: Any, **kwargs: Any) -> Any:
    """Calls the function, hit or not, and keeps what it returns; awaited if the function is."""
    key = _keystead.cached_key(self, args, kwargs)
    if self._is_async:
        return load_async(self._raw, key, lambda: self.__wrapped__(*args, **kwargs), self._ttl, True)
    result = load(self._raw, key, lambda: self.__wrapped__(*args, **kwargs), self._ttl, True)
    return _keystead.cached_object(self, args, kwargs, result)


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


def _miss(function: Any, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    result = load(function._raw, key, lambda: function.__wrapped__(*args, **(kwargs or {})), function._ttl)
    return _keystead.cached_object(function, args, kwargs, result)


async def _miss_async(function: Any, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    call = lambda: function.__wrapped__(*args, **(kwargs or {}))  # noqa: E731
    result = await load_async(function._raw, key, call, function._ttl)
    return _keystead.cached_object(function, args, kwargs, result)


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


def _is_coroutine_function(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await: for partial functions and objects with `async def __call__` too."""
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.iscoroutinefunction(function) or asyncio.iscoroutinefunction(function):
        return True
    return not inspect.isclass(function) and inspect.iscoroutinefunction(
        inspect.getattr_static(type(function), "__call__", None)
    )


def _mark_as_coroutine_function(memo: Any) -> None:
    """Has `inspect` and `asyncio` know it as one. Before Python 3.12 they look for code with that flag, and for a mark."""
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(memo)
    else:
        memo.__code__ = _await_nothing.__code__
        memo.__defaults__ = memo.__kwdefaults__ = None
        memo.__dict__.setdefault("__annotations__", {})
        memo.__dict__.setdefault("__name__", type(memo).__name__)
    mark = getattr(asyncio.coroutines, "_is_coroutine", None)
    if mark is not None:
        memo._is_coroutine = mark


async def _await_nothing() -> None: ...


def decorate(
    cache: Any,
    function: Callable[..., Any],
    ttl: Ttl,
    key: Callable[..., Any] | None,
    prefix: str | None,
    live: Live = None,
) -> Any:
    """The cached form of a function."""
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(decorate(cache, function.__func__, ttl, key, prefix, live))
    if not callable(function):
        raise TypeError(f"a function is needed, not {type(function).__name__}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("a generator can't be cached: its items are gone once they were taken")
    if key is not None and not callable(key):
        raise TypeError("key must be a function of the arguments")
    if ttl is not None and (ttl.total_seconds() if isinstance(ttl, timedelta) else ttl) <= 0:
        raise ValueError("ttl must be above 0")
    is_async = _is_coroutine_function(function)
    head = (prefix if prefix is not None else f"{name_of(function)}:").encode()
    parameters, positional = (None, 0) if key is not None else _parameters(function)
    objects = live_objects(live)
    miss = _miss_async if is_async else _miss
    memo: Any = _keystead.cached(cache, head, parameters, positional, key, miss, is_async, objects)
    if prefix is None and not claim(
        cache.engine, cache._db, f"{cache.namespace}\0".encode() + head, function
    ):
        raise ValueError(
            f"another function named {head.decode().removesuffix(':')} is cached here: give one of them prefix="
        )
    # The asyncio twin answers with awaitables; misses and invalidation use a plain view of the same data.
    memo._raw = cache._plain() if hasattr(cache, "_plain") else cache
    memo._ttl = ttl
    memo._is_async = is_async
    functools.update_wrapper(memo, function)
    # What has no name, as partial functions, has no such attribute to take over; `__wrapped__` it has.
    if is_async:
        _mark_as_coroutine_function(memo)
    return memo
