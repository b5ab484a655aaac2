"""Single-flight: many who need the same value at once cause one computation, across threads, tasks and event loops.

Whoever comes first leads; the others wait for the leader's result or exception. A leader that is cancelled hands over: one of those who
wait leads next. A computation that needs its own result computes it again rather than wait for itself.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable, Hashable
from concurrent.futures import Future
from typing import Any

__all__ = ["lead_or_wait", "lead_or_wait_async"]


class _Abandoned(Exception):
    """The leader went away without a result."""


# Changed only by operations that are atomic in CPython (setdefault, pop), so there is no lock for a forked child to inherit.
_flights: dict[Hashable, Future[Any]] = {}
# Keys that the code running now, or whoever called it, is computing.
_leading: contextvars.ContextVar[frozenset[Hashable]] = contextvars.ContextVar("keystead_leading", default=frozenset())

# The leaders are threads of the parent; nobody would ever answer.
os.register_at_fork(after_in_child=_flights.clear)


def lead_or_wait(key: Hashable, compute: Callable[[], Any], again: Callable[[], Any], absent: object) -> Any:
    """The result of `compute`, ours or that of whoever is at it. `again` looks once more, since it may just have been done."""
    if key in _leading.get():
        return compute()
    while True:
        flight: Future[Any] = Future()
        current = _flights.setdefault(key, flight)
        if current is flight:
            return _lead(key, flight, compute, again, absent)
        try:
            return current.result()
        except _Abandoned:
            continue


def _lead(
    key: Hashable, flight: Future[Any], compute: Callable[[], Any], again: Callable[[], Any], absent: object
) -> Any:
    token = _leading.set(_leading.get() | {key})
    try:
        result = again()
        if result is absent:
            result = compute()
    except Exception as error:
        _land(key, flight, error=error)
        raise
    except BaseException:
        # KeyboardInterrupt and its like are the leader's own affair.
        _land(key, flight, error=_Abandoned())
        raise
    else:
        _land(key, flight, result)
        return result
    finally:
        _leading.reset(token)


def _land(key: Hashable, flight: Future[Any], result: Any = None, error: BaseException | None = None) -> None:
    # First the entry: whoever comes now finds the stored value, or begins anew.
    _flights.pop(key, None)
    if error is None:
        flight.set_result(result)
    else:
        flight.set_exception(error)


async def lead_or_wait_async(
    key: Hashable, compute: Callable[[], Awaitable[Any]], again: Callable[[], Any], absent: object
) -> Any:
    """As `lead_or_wait`, for a coroutine function; waiting blocks no event loop."""
    if key in _leading.get():
        return await compute()
    while True:
        flight: Future[Any] = Future()
        current = _flights.setdefault(key, flight)
        if current is flight:
            return await _lead_async(key, flight, compute, again, absent)
        try:
            # Shielded: a waiter that is cancelled must not cancel the flight for the others.
            return await asyncio.shield(asyncio.wrap_future(current))
        except _Abandoned:
            continue


async def _lead_async(
    key: Hashable,
    flight: Future[Any],
    compute: Callable[[], Awaitable[Any]],
    again: Callable[[], Any],
    absent: object,
) -> Any:
    token = _leading.set(_leading.get() | {key})
    try:
        result = again()
        if result is absent:
            result = await compute()
    except Exception as error:
        _land(key, flight, error=error)
        raise
    except BaseException:
        _land(key, flight, error=_Abandoned())
        raise
    else:
        _land(key, flight, result)
        return result
    finally:
        _leading.reset(token)
