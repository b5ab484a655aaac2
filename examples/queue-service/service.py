"""A cache and queue service: tagged answers, sessions, priority queues, limits, counters, rankings, events, and how all of it fares.

Nothing here knows Keystead: every function takes a client of valkey-py, in the process or of a server.
"""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import valkey

#: Seconds that an answer is kept, a session lives after its last use, and a failed job's history is remembered.
ANSWER_SECONDS, SESSION_SECONDS = 600, 3600

#: Queues in the order in which they are served.
PRIORITIES = ("high", "medium", "low")

#: How often a job is tried before it is given up.
ATTEMPTS = 3

Client = valkey.Valkey


def queue(priority: str) -> str:
    """The list of a priority's waiting jobs, the oldest first."""
    return f"queue:{priority}"


QUEUES = [queue(priority) for priority in PRIORITIES]
DEAD_LETTERS = queue("dead-letter")


def processing(worker: str) -> str:
    """The set of the jobs that a worker has taken and not finished."""
    return f"queue:processing:{worker}"


# Answers


def answer(client: Client, name: str, tags: list[str], compute: Callable[[], Any]) -> tuple[Any, bool]:
    """An answer from the cache, or computed and kept under its tags; and whether it was there."""
    key = f"api:{name}"
    if (found := client.get(key)) is not None:
        return json.loads(found), True
    value = compute()
    with client.pipeline() as pipe:
        pipe.set(key, json.dumps(value), ex=ANSWER_SECONDS)
        for tag in tags:
            pipe.sadd(f"cache:tags:{tag}", key)
        pipe.execute()
    return value, False


def invalidate(client: Client, tag: str) -> int:
    """Forgets the answers of a tag and tells whoever listens; returns how many there were."""
    tagged = f"cache:tags:{tag}"
    keys = client.smembers(tagged)
    with client.pipeline() as pipe:
        pipe.delete(tagged, *keys)
        pipe.publish("cache:invalidate", json.dumps({"tag": tag}))
        removed, _ = pipe.execute()
    return removed - 1 if keys else 0


# Sessions


def begin_session(client: Client, user: str, roles: list[str]) -> str:
    """A new session's token."""
    token = secrets.token_urlsafe(16)
    client.set(f"session:{token}", json.dumps({"user": user, "roles": roles}), ex=SESSION_SECONDS)
    return token


def session(client: Client, token: str) -> dict[str, Any] | None:
    """Whose session it is. Each use lets it live on."""
    found = client.getex(f"session:{token}", ex=SESSION_SECONDS)
    return None if found is None else json.loads(found)


def end_session(client: Client, token: str) -> bool:
    """Whether there was one."""
    return client.delete(f"session:{token}") == 1


# Queues


@dataclass
class Job:
    """A job that was taken from a queue."""

    id: str
    priority: str
    payload: Any
    #: When it was pushed, in seconds since 1970.
    pushed: float
    #: How often it was taken, this time included.
    attempt: int


def push(client: Client, payload: Any, priority: str = "medium") -> str:
    """Queues a job; returns its id. What it consists of stands in `jobs` until it is done, so that an id is all that moves."""
    job = str(uuid.uuid4())
    record = {"payload": payload, "priority": priority, "pushed": time.time()}
    with client.pipeline() as pipe:
        pipe.hset("jobs", job, json.dumps(record))
        pipe.rpush(queue(priority), job)
        pipe.execute()
    return job


def take(client: Client, worker: str, seconds: float) -> Job | None:
    """The oldest job of the highest priority, once there is one; None after so many seconds."""
    found = client.blpop(QUEUES, seconds)
    if found is None:
        return None
    with client.pipeline() as pipe:
        note_taken(pipe, worker, found[1])
        return taken(found[1], pipe.execute())


def done(client: Client, worker: str, job: Job) -> None:
    """A job has been done."""
    with client.pipeline() as pipe:
        note_done(pipe, worker, job)
        pipe.execute()


def failed(client: Client, worker: str, job: Job, error: Exception) -> None:
    """A job has failed: it is tried again behind the others, or goes to the dead letters."""
    with client.pipeline() as pipe:
        note_failed(pipe, worker, job, error)
        pipe.execute()


# What these three send, for workers that await their replies as well


def note_taken(pipe: Any, worker: str, job: bytes) -> None:
    """A worker has popped this id."""
    pipe.sadd(processing(worker), job)
    pipe.hget("jobs", job)
    pipe.hincrby("jobs:attempts", job, 1)


def taken(job: bytes, replies: list[Any]) -> Job:
    """The job that the replies to `note_taken` are of."""
    _, record, attempt = replies
    facts = json.loads(record)
    return Job(job.decode(), facts["priority"], facts["payload"], facts["pushed"], attempt)


def note_done(pipe: Any, worker: str, job: Job) -> None:
    """A worker has done this."""
    pipe.srem(processing(worker), job.id)
    forget(pipe, job)
    pipe.incr(f"jobs:done:{worker}")


def note_failed(pipe: Any, worker: str, job: Job, error: Exception) -> None:
    """A worker could not do this."""
    pipe.srem(processing(worker), job.id)
    if job.attempt < ATTEMPTS:
        pipe.rpush(queue(job.priority), job.id)
    else:
        letter = {"id": job.id, "error": f"{type(error).__name__}: {error}", "original": job.payload}
        pipe.rpush(DEAD_LETTERS, json.dumps(letter))
        forget(pipe, job)


def forget(pipe: Any, job: Job) -> None:
    """A job will not be taken any more."""
    pipe.hdel("jobs", job.id)
    pipe.hdel("jobs:attempts", job.id)


def recover(client: Client, worker: str) -> int:
    """Queues again, before all others, what a worker had taken when it died; returns how many jobs that were."""
    unfinished = client.smembers(processing(worker))
    for job in unfinished:
        record = client.hget("jobs", job)
        if record is not None:
            with client.pipeline() as pipe:
                pipe.srem(processing(worker), job)
                pipe.lpush(queue(json.loads(record)["priority"]), job)
                pipe.execute()
    return len(unfinished)


# Limits and counters


def is_allowed(client: Client, caller: str, endpoint: str, most: int, seconds: float) -> bool:
    """Whether a caller has called less than so often within the last seconds: a window that slides."""
    key, now = f"rate:api:{caller}:{endpoint}", time.time()
    with client.pipeline() as pipe:
        pipe.zremrangebyscore(key, 0, now - seconds)
        pipe.zcard(key)
        pipe.zadd(key, {secrets.token_hex(8): now})
        pipe.pexpire(key, int(seconds * 1000) + 1)
        _, before, *_ = pipe.execute()
    return before < most


def count_action(client: Client, user: str, action: str, seconds: int = 3600) -> int:
    """How often a user has done something since the first time, up to so many seconds ago, this time included."""
    key = f"limit:action:{user}:{action}"
    with client.pipeline() as pipe:
        pipe.incr(key)
        pipe.expire(key, seconds, nx=True)
        count, _ = pipe.execute()
    return count


# Rankings


def score(client: Client, ranking: str, name: str, points: float = 1) -> float:
    """Adds points to a name in a ranking; returns how many it has."""
    return client.zincrby(f"ranking:{ranking}", points, name)


def best(client: Client, ranking: str, count: int = 10) -> list[tuple[str, float]]:
    """The names with the most points, and those."""
    found = client.zrange(f"ranking:{ranking}", 0, count - 1, desc=True, withscores=True)
    return [(name.decode(), points) for name, points in found]


def rank(client: Client, ranking: str, name: str) -> int | None:
    """A name's place, the first is 1."""
    found = client.zrevrank(f"ranking:{ranking}", name)
    return None if found is None else found + 1


# How it fares


def health(
    client: Client, workers: list[str], most_waiting: int = 1000, most_dead: int = 100
) -> dict[str, Any]:
    """What waits and for how long, what is worked on, what was given up, and what somebody should look at."""
    with client.pipeline(transaction=False) as pipe:
        for name in [*QUEUES, DEAD_LETTERS]:
            pipe.llen(name)
        for name in QUEUES:
            pipe.lindex(name, 0)
        for worker in workers:
            pipe.scard(processing(worker))
        replies = pipe.execute()
    lengths, replies = replies[: len(QUEUES) + 1], replies[len(QUEUES) + 1 :]
    oldest, working = replies[: len(QUEUES)], replies[len(QUEUES) :]
    ages = {}
    for priority, job in zip(PRIORITIES, oldest, strict=True):
        record = None if job is None else client.hget("jobs", job)
        ages[priority] = 0.0 if record is None else time.time() - json.loads(record)["pushed"]
    waiting = dict(zip(PRIORITIES, lengths, strict=False))
    alerts = [
        f"queue:{priority} has {length} jobs" for priority, length in waiting.items() if length > most_waiting
    ]
    if lengths[-1] > most_dead:
        alerts.append(f"{lengths[-1]} dead letters")
    return {
        "waiting": waiting,
        "oldest_seconds": ages,
        "working": dict(zip(workers, working, strict=True)),
        "dead": lengths[-1],
        "alerts": alerts,
    }
