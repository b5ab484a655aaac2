"""Audit events on their way to the SIEM: a queue of bounded length, and a breaker that gives the SIEM time when it fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from redis import Redis

log = logging.getLogger(__name__)

QUEUE, FAILED = "siem:event_queue", "siem:failed_events"

#: Events that wait at most; the oldest go first.
LONGEST = 100_000

Event = dict[str, Any]


def publish(client: Redis, *events: Event) -> int:
    """Queues events; returns how many wait then. What is above the bound goes in the same step, so nobody ever sees a longer queue."""
    with client.pipeline() as pipe:
        pipe.lpush(QUEUE, *(json.dumps(event) for event in events))
        pipe.ltrim(QUEUE, 0, LONGEST - 1)
        pushed, _ = pipe.execute()
    return min(int(pushed), LONGEST)


class Breaker:
    """A breaker whose state all processes share: closed, open after so many failures in a row, half open when it is time for one try."""

    def __init__(
        self, client: Redis, name: str = "siem", failures: int = 5, pause: timedelta = timedelta(seconds=30)
    ) -> None:
        self.client, self.failures, self.pause = client, failures, pause
        self.state_key, self.count_key, self.last_key = (
            f"circuit_breaker:{name}:{what}" for what in ("state", "failure_count", "last_failure")
        )

    def state(self) -> str:
        """closed, open or half_open."""
        return self.client.get(self.state_key) or "closed"

    def allows(self) -> bool:
        """Whether it may be tried now. When the pause is over, one of all who ask gets the try."""
        state, last = self.client.mget(self.state_key, self.last_key)
        if state is None or state == "closed":
            return True
        if state == "half_open" or last is None:
            return False
        if datetime.now(timezone.utc) - datetime.fromisoformat(last) < self.pause:
            return False
        # Compares and sets, on a server of version 8.1 or later.
        return bool(self.client.execute_command("SET", self.state_key, "half_open", "IFEQ", "open"))

    def succeeded(self) -> None:
        """Closes it."""
        with self.client.pipeline() as pipe:
            pipe.set(self.state_key, "closed")
            pipe.set(self.count_key, 0)
            pipe.execute()

    def failed(self) -> None:
        """Counts a failure; opens it after the last that is allowed, or if it was half open."""
        with self.client.pipeline() as pipe:
            pipe.incr(self.count_key)
            pipe.set(self.last_key, datetime.now(timezone.utc).isoformat())
            pipe.get(self.state_key)
            count, _, state = pipe.execute()
        if count >= self.failures or state == "half_open":
            self.client.set(self.state_key, "open")


def forward(client: Redis, breaker: Breaker, send: Callable[[list[Event]], None], most: int = 1000) -> int:
    """Sends the oldest events; returns how many. What could not be sent is kept with the failed ones, and nothing is taken while the breaker is open."""
    if not breaker.allows():
        return 0
    texts = client.rpop(QUEUE, most)
    if not texts:
        return 0
    try:
        send([json.loads(text) for text in texts])
    except Exception as error:
        log.error("%s events not sent: %s", len(texts), error)
        with client.pipeline() as pipe:
            pipe.lpush(FAILED, *texts)
            pipe.ltrim(FAILED, 0, LONGEST - 1)
            pipe.execute()
        breaker.failed()
        return 0
    breaker.succeeded()
    return len(texts)


def again(client: Redis) -> int:
    """Puts failed events back into the queue, ahead of all others and the oldest first; returns how many."""
    moved = 0
    while client.lmove(FAILED, QUEUE, "LEFT", "RIGHT") is not None:
        moved += 1
    return moved
