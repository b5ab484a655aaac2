"""Coroutines that wait for the replies of commands which have to wait, and for messages, without keeping their thread."""

from __future__ import annotations

import asyncio
from typing import Any


async def reply_of(later: Any) -> Any:
    """The reply, once it has come. A coroutine that is cancelled has waited for nothing: the command is not executed any more, and what it has popped
    meanwhile is put back."""
    try:
        await arrival(later)
        return later.take()
    finally:
        later.cancel()


async def arrival(source: Any) -> None:
    """Waits until a `Later`, or a `Link`, is ready."""
    loop = asyncio.get_running_loop()
    while not source.ready():
        future: asyncio.Future[None] = loop.create_future()
        source.wake(loop, _finish, future)
        # What came before it was asked to wake has woken nobody.
        if source.ready():
            break
        left = source.left()
        timer = None if left is None else loop.call_later(left, _finish, future)
        try:
            await future
        finally:
            if timer is not None:
                timer.cancel()
            source.wake(None, None, None)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
