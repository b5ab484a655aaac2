"""What a miss does: whoever comes first loads; the others wait. For `Cache.wrap`, decorated functions, and their asyncio twins.

Who that is, and who must not wait, the engine decides; here are its steps. What is raised wherever, by a loader, a signal handler or a cancelled
task, ends the load or the wait, so that none is left behind: a load that ends without a result goes to one of those who wait.

Signal handlers run between steps only where something has been called. So between `begin_load` and `try`, and before `end`, nothing is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from keystead import _keystead

__all__ = ["load", "load_async"]


def load(cache: Any, key: str | bytes, call: Callable[[], Any], ttl: Any, refresh: bool = False) -> Any:
    """The value of a key that was missing just now: what `call` returns, kept, or what whoever is at it loads. With `refresh` the former."""
    while True:
        step = _keystead.begin_load(cache, key, None, refresh)
        try:
            if step.is_load:
                token = _keystead.within.set(step.within)
                try:
                    result = call()
                except BaseException as error:
                    step.fail(error)
                    raise
                finally:
                    _leave(token)
                return step.settle(result, ttl)
            found = step.block()
            if found is not None:
                return found[0]
        finally:
            step.end()


async def load_async(
    cache: Any, key: str | bytes, call: Callable[[], Awaitable[Any]], ttl: Any, refresh: bool = False
) -> Any:
    """As `load`, for a `call` that is awaited."""
    loop = asyncio.get_running_loop()
    while True:
        step = _keystead.begin_load(cache, key, loop, refresh)
        try:
            if step.is_load:
                token = _keystead.within.set(step.within)
                try:
                    result = await call()
                except BaseException as error:
                    step.fail(error)
                    raise
                finally:
                    _leave(token)
                return step.settle(result, ttl)
            found = await _wait(step, loop) if isinstance(step, _keystead.Wait) else step.block()
            if found is not None:
                return found[0]
        finally:
            step.end()


def _leave(token: Any) -> None:
    # A coroutine that is thrown away ends in another context than it began in.
    with contextlib.suppress(ValueError):
        _keystead.within.reset(token)


async def _wait(wait: Any, loop: asyncio.AbstractEventLoop) -> tuple[Any] | None:
    future: asyncio.Future[None] = loop.create_future()
    wait.wake(loop, _finish, future)
    timer = loop.call_later(wait.left, _finish, future)
    try:
        await future
    finally:
        timer.cancel()
    answer: tuple[Any] | None = wait.answer()
    return answer


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
