"""Decisions of the policy engine, kept for as long as their sensitivity allows, and forgotten when a policy or a user changes."""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from itertools import islice
from typing import Any

import redis

from sark.settings import Clients

log = logging.getLogger(__name__)

#: Keys that one step of a scan, and one pipeline, is about.
BATCH = 1000

#: Bytes of JSON from which a decision is compressed.
COMPRESSED_FROM = 1024

Decision = dict[str, Any]
#: Asks the policy engine: user, action, resource, context.
Evaluate = Callable[[str, str, str, dict[str, Any]], Decision]


class Sensitivity(Enum):
    """Seconds for which a decision may be kept."""

    HIGH = 300
    MEDIUM = 900
    LOW = 3600


def seconds_of(action: str) -> int:
    """For how long a decision about an action may be kept: what administers is of high sensitivity, what changes something of medium, the rest of low."""
    if action.startswith("admin:"):
        return Sensitivity.HIGH.value
    return (Sensitivity.MEDIUM if action.endswith((":write", ":delete")) else Sensitivity.LOW).value


def key_of(user: str, action: str, resource: str, context: dict[str, Any] | None = None) -> str:
    """The key of a decision: the SHA-256 of all that it depends on, as JSON in one order."""
    question = {"user_id": user, "action": action, "resource": resource, "context": context or {}}
    return f"policy:decision:{hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()}"


def keys_of(user: str) -> str:
    """The set of the keys of a user's decisions."""
    return f"user:cache_keys:{user}"


def pack(decision: Decision) -> bytes:
    """JSON, compressed where it is long. Neither begins with the other's first byte, so `unpack` knows."""
    text = json.dumps(decision).encode()
    return gzip.compress(text) if len(text) >= COMPRESSED_FROM else text


def unpack(packed: bytes) -> Decision:
    """What `pack` has made of it."""
    return json.loads(gzip.decompress(packed) if packed.startswith(b"\x1f\x8b") else packed)


def keep_in(pipe: redis.client.Pipeline, user: str, key: str, decision: Decision, seconds: int) -> None:
    """Puts into a pipeline what keeps a decision, and notes its key among the user's.

    The guide gives that set each decision's own time, so an admin's five minutes cut short what is to last an hour. Here the set lives as long as the
    longest of them.
    """
    owned = keys_of(user)
    pipe.set(key, pack(decision), ex=seconds)
    pipe.sadd(owned, key)
    pipe.expire(owned, seconds, nx=True)
    pipe.expire(owned, seconds, gt=True)


class Decisions:
    """The cache of decisions. A cache that fails never fails a request: it is logged, and the policy engine is asked."""

    def __init__(self, clients: Clients, evaluate: Evaluate) -> None:
        self.clients, self.evaluate = clients, evaluate
        #: Questions that the cache has answered, and that it has not.
        self.hits = self.misses = 0

    def decide(
        self, user: str, action: str, resource: str, context: dict[str, Any] | None = None
    ) -> Decision:
        """The decision, out of the cache if it is there.

        Raises:
            Exception: whatever the policy engine raises; such a decision is not kept.
        """
        key = key_of(user, action, resource, context)
        try:
            if (found := self.clients.raw.get(key)) is not None:
                self.hits += 1
                return unpack(found)
        except (redis.RedisError, OSError, ValueError) as error:
            log.error("no decision read: %s", error)
        self.misses += 1
        decision = self.evaluate(user, action, resource, context or {})
        self.keep(user, key, decision, seconds_of(action))
        return decision

    def keep(self, user: str, key: str, decision: Decision, seconds: int) -> None:
        """Keeps a decision, and notes its key among the user's."""
        try:
            with self.clients.raw.pipeline() as pipe:
                keep_in(pipe, user, key, decision, seconds)
                pipe.execute()
        except redis.RedisError as error:
            log.error("a decision is not kept: %s", error)

    def forget_user(self, user: str) -> int:
        """Forgets all decisions of a user, as after a change of roles; returns how many there were."""
        owned = keys_of(user)
        keys = self.clients.text.smembers(owned)
        if not keys:
            return 0
        with self.clients.text.pipeline() as pipe:
            pipe.delete(*keys)
            # Not the set itself: what has been decided meanwhile stands in it, too.
            pipe.srem(owned, *keys)
            removed, _ = pipe.execute()
        return int(removed)

    def forget_policy(self, policy: str) -> int:
        """Forgets all decisions after a change of a policy, counts its version up, and returns how many there were.

        All, since a decision's key does not say which policies it depends on. What is decided while this runs may be kept although the old policy said so; the
        tiers bound how long.
        """
        removed = 0
        for keys in batches(self.clients.text.scan_iter(match="policy:decision:*", count=BATCH)):
            with self.clients.text.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.unlink(key)
                removed += sum(pipe.execute())
        self.clients.text.incr(f"policy:version:{policy}")
        log.info("policy %s changed: %s decisions forgotten", policy, removed)
        return removed

    def warm(self, users: Iterable[str], actions: Iterable[str]) -> Iterator[int]:
        """Decides for each user and action, about all resources (`*`), in pipelines; yields how many are kept by then."""
        questions = ((user, action) for user in users for action in list(actions))
        kept = 0
        for some in batches(questions):
            with self.clients.raw.pipeline(transaction=False) as pipe:
                for user, action in some:
                    decision = self.evaluate(user, action, "*", {})
                    keep_in(pipe, user, key_of(user, action, "*"), decision, seconds_of(action))
                pipe.execute()
            kept += len(some)
            yield kept


def batches(items: Iterable[Any]) -> Iterator[list[Any]]:
    """Lists of so many as one pipeline takes."""
    items = iter(items)
    while batch := list(islice(items, BATCH)):
        yield batch
