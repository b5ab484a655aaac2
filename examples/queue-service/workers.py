"""Workers: threads, and tasks of asyncio, that take jobs until they are told to stop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import service
import valkey
import valkey.asyncio

#: The payload that ends the worker which takes it.
STOP = "stop"

Handler = Callable[[Any], Any]


class Waits:
    """Seconds from push to pop, of all workers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._lock = threading.Lock()

    def note(self, job: service.Job) -> None:
        """A job was taken just now. Its later attempts wait for other reasons."""
        if job.attempt == 1 and job.payload != STOP:
            with self._lock:
                self.seconds.append(time.time() - job.pushed)


def outcome(handle: Handler, job: service.Job) -> Exception | None:
    """Does a job; returns what went wrong."""
    if job.payload != STOP:
        try:
            handle(job.payload)
        except Exception as error:
            return error
    return None


def work(client: valkey.Valkey, name: str, handle: Handler, waits: Waits) -> None:
    """A thread's loop."""
    while True:
        job = service.take(client, name, 30)
        if job is None:
            continue
        waits.note(job)
        error = outcome(handle, job)
        if error is None:
            service.done(client, name, job)
        else:
            service.failed(client, name, job, error)
        if job.payload == STOP:
            return


async def work_as_task(client: valkey.asyncio.Valkey, name: str, handle: Handler, waits: Waits) -> None:
    """A task's loop: the same steps, awaited."""
    while True:
        found = await client.blpop(service.QUEUES, 30)
        if found is None:
            continue
        async with client.pipeline() as pipe:
            service.note_taken(pipe, name, found[1])
            job = service.taken(found[1], await pipe.execute())
            waits.note(job)
            error = outcome(handle, job)
            if error is None:
                service.note_done(pipe, name, job)
            else:
                service.note_failed(pipe, name, job, error)
            await pipe.execute()
        if job.payload == STOP:
            return


def start_threads(
    make: Callable[[], valkey.Valkey], names: list[str], handle: Handler, waits: Waits
) -> list[threading.Thread]:
    """A thread for each name."""
    threads = [threading.Thread(target=work, args=(make(), name, handle, waits), name=name) for name in names]
    for thread in threads:
        thread.start()
    return threads


def start_tasks(
    make: Callable[[], valkey.asyncio.Valkey], names: list[str], handle: Handler, waits: Waits
) -> threading.Thread:
    """A thread with an event loop, and in it a task for each name."""

    async def main() -> None:
        clients = [make() for _ in names]
        await asyncio.gather(
            *(work_as_task(client, name, handle, waits) for client, name in zip(clients, names, strict=True))
        )
        for client in clients:
            await client.aclose()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="tasks")
    thread.start()
    return thread


def stop(client: valkey.Valkey, count: int) -> None:
    """Tells so many workers to stop, behind all other jobs."""
    for _ in range(count):
        service.push(client, STOP, service.PRIORITIES[-1])
