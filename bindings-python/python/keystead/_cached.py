"""Functions decorated with `@cache.cached`. Keys and hits are native (`Memo`); here are misses and what hangs on the function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from keystead import _keystead
from keystead._flight import lead_or_wait, lead_or_wait_async

__all__ = ["AsyncCachedFunction", "CachedFunction", "Ttl", "decorate"]

Ttl = int | float | timedelta | None
_ABSENT = object()


class _Decorated(_keystead.Memo):
    """What both kinds share."""

    _raw: Any
    _ttl: Ttl
    _scope: tuple[Any, ...]

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def invalidate(self, *args: Any, **kwargs: Any) -> bool:
        """Forgets the result of a call with these arguments and says whether there was one."""
        return bool(self._raw.delete(self.cache_key(*args, **kwargs)))

    def _lookup(self, key: bytes) -> Any:
        return self._raw.get(key, _ABSENT)

    def __repr__(self) -> str:
        return f"<cached {getattr(self, '__wrapped__', None)!r}>"


class CachedFunction(_Decorated):
    """A cached function."""

    def _miss(self, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        def compute() -> Any:
            return self._compute(key, args, kwargs)

        return lead_or_wait((*self._scope, key), compute, lambda: self._lookup(key), _ABSENT)

    def _compute(self, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        result = self.__wrapped__(*args, **(kwargs or {}))  # type: ignore[attr-defined]
        self._raw.set(key, result, self._ttl)
        return result

    def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, hit or not, and keeps what it returns."""
        return self._compute(_key(self, args, kwargs), args, kwargs)


class AsyncCachedFunction(_Decorated):
    """A cached coroutine function. A hit is a ready awaitable, without a task or a loop."""

    async def _miss(self, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        async def compute() -> Any:
            return await self._compute(key, args, kwargs)

        return await lead_or_wait_async((*self._scope, key), compute, lambda: self._lookup(key), _ABSENT)

    async def _compute(self, key: bytes, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
        result = await self.__wrapped__(*args, **(kwargs or {}))  # type: ignore[attr-defined]
        self._raw.set(key, result, self._ttl)
        return result

    async def refresh(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function, hit or not, and keeps what it returns."""
        return await self._compute(_key(self, args, kwargs), args, kwargs)


def _key(memo: _Decorated, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    key = memo.cache_key(*args, **kwargs)
    return key.encode() if isinstance(key, str) else key


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
        (parameter.name, parameter.default is not parameter.empty, parameter.default) for parameter in parameters
    ]
    positional = sum(parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
    return named, positional


def decorate(
    cache: Any,
    function: Callable[..., Any],
    ttl: Ttl,
    key: Callable[..., Any] | None,
    prefix: str | None,
) -> Any:
    """The cached form of a function."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError("a generator can't be cached: its items are gone once they were taken")
    if ttl is not None and (ttl.total_seconds() if isinstance(ttl, timedelta) else ttl) <= 0:
        raise ValueError("ttl must be above 0")
    is_async = inspect.iscoroutinefunction(function)
    head = prefix if prefix is not None else f"{function.__module__}.{function.__qualname__}:"
    parameters, positional = (None, 0) if key is not None else _parameters(function)
    kind = AsyncCachedFunction if is_async else CachedFunction
    memo = kind(cache, head.encode(), parameters, positional, key, is_async)
    # The asyncio twin answers with awaitables; misses and invalidation use a plain view of the same data.
    memo._raw = cache._plain() if hasattr(cache, "_plain") else cache
    memo._ttl = ttl
    memo._scope = (cache.engine.name if cache.engine.name is not None else id(cache.engine), cache._db, cache.namespace)
    functools.update_wrapper(memo, function)
    if is_async and hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(memo)
    return memo
