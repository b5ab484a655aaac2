"""The coroutines of `Cache.wrap_async` and of cached coroutine functions on a miss. Whoever comes first loads; the others wait.

Who that is, and who must not wait, the engine decides; here are the steps that are awaited. What is raised wherever ends the load or the wait, so that
none is left behind: a load whose task is cancelled goes to one of those who wait.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from keystead import _keystead

__all__ = ["load_async"]


async def load_async(
    cache: Any, key: str | bytes, call: Callable[[], Awaitable[Any]], ttl: Any, refresh: bool = False
) -> Any:
    """The value of a key that was missing just now: what `call` returns, kept, or what whoever is at it loads. With `refresh` the former."""
    loop = asyncio.get_running_loop()
    while True:
        step = None
        try:
            step = _keystead.begin_load(cache, key, loop, refresh)
            if isinstance(step, _keystead.Load):
                return step.settle(await _run(step, call), ttl)
            found = step if isinstance(step, tuple) else await _wait(step, loop)
            if found is not None:
                return found[0]
        finally:
            if not isinstance(step, tuple) and step is not None:
                step.end()


async def _run(load: Any, call: Callable[[], Awaitable[Any]]) -> Any:
    token = _keystead.within.set(load.within)
    try:
        return await call()
    except BaseException as error:
        load.fail(error)
        raise
    finally:
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
    return wait.answer()


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
