"""Statistics of a cache, read from INFO."""

from __future__ import annotations

from typing import Any, NamedTuple

from keystead import _keystead

__all__ = ["Stats", "info", "read_stats"]


class Stats(NamedTuple):
    """All but `keys` are of the whole engine since it was opened."""

    hits: int
    misses: int
    #: hits / (hits + misses), 0.0 before the first read.
    hit_rate: float
    #: Keys of the cache, in its namespace.
    keys: int
    #: Bytes in use by data, tables and timers.
    used_memory: int
    #: Bytes allowed, 0 for no limit.
    maxmemory: int
    expired: int
    evicted: int
    commands: int
    uptime_seconds: int


def info(store: Any) -> dict[str, str]:
    """The fields of INFO as text."""
    lines = store.execute("INFO").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def read_stats(cache: Any) -> Stats:
    """The statistics of a cache."""
    fields = info(_keystead.Store(cache.engine, 0))

    def number(name: str) -> int:
        return int(fields.get(name, 0))

    hits, misses = number("keyspace_hits"), number("keyspace_misses")
    return Stats(
        hits=hits,
        misses=misses,
        hit_rate=hits / (hits + misses) if hits + misses else 0.0,
        keys=cache._size(),
        used_memory=number("used_memory"),
        maxmemory=number("maxmemory"),
        expired=number("expired_keys"),
        evicted=number("evicted_keys"),
        commands=number("total_commands_processed"),
        uptime_seconds=number("uptime_in_seconds"),
    )
