"""How the service fares: figures of the place, of the pools, and of the memory by kinds of keys, beside the goals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any

from redis import Redis

#: Kinds of keys, by their patterns.
PATTERNS = ("session:*", "policy:*", "user:cache_keys:*", "ratelimit:*", "siem:*", "circuit_breaker:*")

#: Keys of a pattern whose memory is asked for.
SAMPLE = 100


@dataclass
class Kind:
    """The keys of a pattern."""

    pattern: str
    keys: int
    #: Of a key, by the sample; and of all, if the others are like it.
    mean_bytes: float
    bytes: float


def memory(client: Redis) -> list[Kind]:
    """Keys and memory by pattern.

    The guide samples the first hundred of each step of its scan and divides by a hundred in all, so it tells of too much; here the sample is what it is divided by.
    """
    kinds = []
    for pattern in PATTERNS:
        count, sizes = 0, []
        for key in client.scan_iter(match=pattern, count=1000):
            count += 1
            # The first ones are as good as any: scans go by hash.
            if len(sizes) < SAMPLE and (size := client.memory_usage(key)) is not None:
                sizes.append(size)
        mean = sum(sizes) / len(sizes) if sizes else 0.0
        kinds.append(Kind(pattern, count, mean, mean * count))
    return kinds


def pool_use(client: Redis) -> float:
    """The share of a pool's connections that are in use.

    The guide asks `_available_connections.qsize()`, which no pool of redis-py has had for years: the idle ones are a list, or in a blocking pool a queue that
    also holds a place for each connection not made yet.
    """
    pool: Any = client.connection_pool
    if hasattr(pool, "pool"):
        idle = pool.pool.qsize()
        return (pool.max_connections - idle) / pool.max_connections
    in_use = pool._in_use_connections
    return len(in_use) / pool.max_connections


def stats(client: Redis) -> dict[str, float]:
    """Figures of the place: hits and misses of keys, evictions, memory, clients, fragmentation."""
    info = {**client.info("stats"), **client.info("memory"), **client.info("clients")}
    hits, misses = info["keyspace_hits"], info["keyspace_misses"]
    limit = info["maxmemory"]
    return {
        "hits": hits,
        "misses": misses,
        "hit_ratio": hits / (hits + misses) if hits + misses else 0.0,
        "evicted": info["evicted_keys"],
        "expired": info["expired_keys"],
        "ops_per_second": info["instantaneous_ops_per_sec"],
        "used_bytes": info["used_memory"],
        "peak_bytes": info["used_memory_peak"],
        "memory_share": info["used_memory"] / limit if limit else 0.0,
        "fragmentation": info["mem_fragmentation_ratio"],
        "clients": info["connected_clients"],
        "clients_share": info["connected_clients"] / info["maxclients"],
    }


#: What is wanted, and what is not to be borne: name, unit, target, threshold, whether more is better.
GOALS = (
    ("get_p95_ms", "ms", 1.0, 5.0, False),
    ("set_p95_ms", "ms", 2.0, 10.0, False),
    ("memory_share", "", 0.70, 0.90, False),
    ("hit_ratio", "", 0.90, 0.80, True),
    ("pool_use", "", 0.80, 0.95, False),
    ("evicted_per_second", "/s", 100.0, 1000.0, False),
    ("clients_share", "", 0.80, 0.90, False),
)


def judged(figures: dict[str, float]) -> dict[str, str]:
    """Each goal that there is a figure for: ok, warning (misses the target) or critical (beyond the threshold)."""
    verdicts = {}
    for name, _, target, threshold, more in GOALS:
        if name not in figures:
            continue
        sign = -1 if more else 1
        value = figures[name] * sign
        verdicts[name] = (
            "critical" if value > threshold * sign else "warning" if value > target * sign else "ok"
        )
    return verdicts


def slow(client: Redis, most: int = 10) -> list[tuple[int, str]]:
    """The last slow commands: microseconds, and the command."""
    entries = islice(client.slowlog_get(most), most)
    as_text = lambda command: command if isinstance(command, str) else command.decode(errors="replace")  # noqa: E731
    return [(entry["duration"], as_text(entry["command"])) for entry in entries]
