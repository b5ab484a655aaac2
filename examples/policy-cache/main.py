"""A day's load of the access service in this process, in some seconds: decisions by Zipf's law, sessions, limits, events; then the guide's goals beside what came of it.

The policy engine is a table of roles behind the guide's 50 ms a call.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

from sark import events, limits, monitor, sessions
from sark.decisions import Decisions, keep_in, key_of, seconds_of
from sark.settings import Clients, Settings, connect

#: Seconds of a call of the policy engine.
EVALUATION = 0.05

USERS = [f"user-{number}" for number in range(5_000)]
ROLES = ("viewer", "editor", "admin")
ACTIONS = ("server:read", "server:list", "user:read", "server:write", "server:delete", "admin:grant")
RESOURCES = [f"server-{number}" for number in range(50)]

#: Requests, and how many different questions they ask; threads that ask them.
REQUESTS, QUESTIONS, THREADS = 60_000, 2_000, 20
#: The guide's estimate of what is kept in production.
DECISIONS, SESSIONS, COUNTERS, EVENTS = 50_000, 10_000, 5_000, 10_000


def evaluate(user: str, action: str, resource: str, context: dict[str, Any]) -> dict[str, Any]:
    """What the policies say, at once."""
    role = ROLES[int(user.rpartition("-")[2]) % len(ROLES)]
    allowed = {"viewer": ("read", "list"), "editor": ("read", "list", "write"), "admin": None}[role]
    allow = allowed is None or action.rpartition(":")[2] in allowed
    return {"allow": allow, "reason": f"{role} {'may' if allow else 'may not'} {action} {resource}"}


def ask(user: str, action: str, resource: str, context: dict[str, Any]) -> dict[str, Any]:
    """The same as the service gets it."""
    time.sleep(EVALUATION)
    return evaluate(user, action, resource, context)


def questions() -> list[tuple[str, str, str]]:
    """What is asked, the most frequent most often."""
    draw = random.Random(4)
    all_of_them = [
        (draw.choice(USERS), draw.choice(ACTIONS), draw.choice(RESOURCES)) for _ in range(QUESTIONS)
    ]
    weights = list(accumulate(1 / rank for rank in range(1, QUESTIONS + 1)))
    return draw.choices(all_of_them, cum_weights=weights, k=REQUESTS)


def milliseconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def percentile(times: list[float], percent: int) -> float:
    return statistics.quantiles(times, n=100)[percent - 1]


def load(decisions: Decisions) -> dict[str, float]:
    """The decisions, and a DEMO line of them; returns their share of hits, and how far the pool was used."""
    asked = questions()
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        answers = [threads.submit(decisions.decide, *question) for question in asked]
        use = []
        while not answers[-1].done():
            use.append(monitor.pool_use(decisions.clients.raw))
            time.sleep(0.05)
    for answer in answers:
        answer.result()
    seconds = time.perf_counter() - start
    hit_ratio = decisions.hits / (decisions.hits + decisions.misses)
    hot = asked[0]
    hits = [milliseconds(lambda: decisions.decide(*hot)) for _ in range(5_000)]
    misses = [milliseconds(lambda: ask(*hot, {})) for _ in range(20)]
    figures = {
        "scenario": "policy decisions",
        "requests": len(asked),
        "per_second": round(len(asked) / seconds),
        "hit_rate": f"{hit_ratio:.4f}",
        "p50_ms": f"{statistics.median(hits):.3f}",
        "p99_ms": f"{percentile(hits, 99):.3f}",
        "p50_without_ms": f"{statistics.median(misses):.1f}",
        "p99_without_ms": f"{max(misses):.1f}",
    }
    print("DEMO", json.dumps(figures))
    return {"hit_ratio": hit_ratio, "pool_use": max(use, default=0.0)}


def fill(clients: Clients) -> None:
    """What production keeps, by the guide."""
    draw = random.Random(7)
    for first in range(0, DECISIONS, 1000):
        with clients.raw.pipeline(transaction=False) as pipe:
            for number in range(first, first + 1000):
                user, action, resource = USERS[number % 5_000], draw.choice(ACTIONS), f"server-{number}"
                decision = evaluate(user, action, resource, {})
                keep_in(pipe, user, key_of(user, action, resource), decision, seconds_of(action))
            pipe.execute()
    for number in range(SESSIONS):
        sessions.begin(clients.text, USERS[number % 5_000], f"10.0.{number // 256 % 256}.{number % 256}")
    counted = limits.Limits(clients.text)
    for number in range(COUNTERS):
        counted.allows(limits.KINDS[number % 3], f"who-{number}")
    event = {"actor": "user-1", "outcome": "allow", "detail": "x" * 900}
    for first in range(0, EVENTS, 500):
        events.publish(clients.text, *({**event, "number": number} for number in range(first, first + 500)))


def report(clients: Clients, loaded: dict[str, float], seconds: float) -> None:
    """Memory by kind of key, the goals, and what was slow."""
    for kind in monitor.memory(clients.text):
        print(
            f"{kind.pattern:<20} {kind.keys:>7} keys  {kind.mean_bytes:>8.0f} bytes each  {kind.bytes / 1e6:>6.1f} MB"
        )
    key = "goal:latency"
    figures = {**monitor.stats(clients.text), **loaded}
    figures["set_p95_ms"] = percentile(
        [milliseconds(lambda: clients.text.set(key, "value", ex=60)) for _ in range(5_000)], 95
    )
    figures["get_p95_ms"] = percentile(
        [milliseconds(lambda: clients.text.get(key)) for _ in range(5_000)], 95
    )
    figures["evicted_per_second"] = figures["evicted"] / seconds
    verdicts = monitor.judged(figures)
    for name, unit, target, _, _ in monitor.GOALS:
        print(f"{name:<20} {figures[name]:>9.3f} {unit:<3} goal {target:<6} {verdicts[name]}")
    print(f"{'keys':<20} {clients.text.dbsize():>9}      {figures['used_bytes'] / 1e6:.1f} MB in all")
    for duration, command in monitor.slow(clients.text, 3):
        print(f"slow: {duration} us, {command[:80]}")


def main() -> None:
    start = time.perf_counter()
    settings = Settings.from_environment()
    clients = connect(settings)
    if settings.is_embedded:
        clients.text.config_set("maxmemory", "512mb")
        clients.text.config_set("maxmemory-policy", "allkeys-lru")
    decisions = Decisions(clients, ask)
    loaded = load(decisions)
    print("one user's roles change:", decisions.forget_user(questions()[0][0]), "decisions forgotten")
    fill(clients)
    report(clients, loaded, time.perf_counter() - start)
    print("a policy changes:", decisions.forget_policy("server_access_policy"), "decisions forgotten")
    clients.close()


if __name__ == "__main__":
    main()
