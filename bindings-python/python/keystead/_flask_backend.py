"""Where `cache_result` keeps results: the engine in this process, or a server behind valkey-py or redis-py.

Both keep, beside the results, which keys belong to a prefix: a hash whose fields expire with their keys in the engine, a sorted set
by deadline on a server that may be too old for that.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from typing import Any

from keystead._stats import info
from keystead._store import Store

__all__ = ["Backend", "Embedded", "Remote", "connect"]

_INDEX = "keystead:prefix:"
_PAGE = 500


def _milliseconds(timeout: float) -> int:
    return max(1, int(timeout * 1000))


class Backend(ABC):
    """A place for results, which are JSON text under keys that are digests."""

    name: str

    def __init__(self) -> None:
        self.hits = 0
        self.misses = 0

    #: The JSON of a key, or None.
    get: Any

    @abstractmethod
    def set(self, prefix: str, key: str, value: bytes, timeout: float) -> None:
        """Keeps a result for so many seconds and notes that it belongs to the prefix."""

    @abstractmethod
    def clear(self, prefix: str) -> int:
        """Forgets the results of all prefixes that begin so; returns how many there were."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Keys, keys by prefix, and memory."""


class Embedded(Backend):
    """The engine in this process."""

    name = "keystead"

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.get = store.get

    def set(self, prefix: str, key: str, value: bytes, timeout: float) -> None:
        milliseconds = _milliseconds(timeout)
        self.store.set(key, value, ttl=milliseconds / 1000)
        self.store.execute("HSETEX", _INDEX + prefix, "PX", milliseconds, "FIELDS", 1, key, "")

    def _indexes(self, prefix: str) -> list[bytes]:
        pattern = _escaped(_INDEX + prefix) + "*"
        found, cursor = set(), b"0"
        while True:
            cursor, keys = self.store.execute("SCAN", cursor, "MATCH", pattern, "COUNT", _PAGE)
            found.update(keys)
            if cursor == b"0":
                return sorted(found)

    def clear(self, prefix: str) -> int:
        cleared = 0
        for index in self._indexes(prefix):
            keys = self.store.execute("HKEYS", index)
            cleared += self.store.delete(*keys)
            self.store.delete(index)
        return cleared

    def describe(self) -> dict[str, Any]:
        fields = info(self.store)
        prefixes = {
            index.decode()[len(_INDEX) :]: int(self.store.execute("HLEN", index))
            for index in self._indexes("")
        }
        return {
            "keys": sum(prefixes.values()),
            "keys_by_prefix": prefixes,
            "used_memory": int(fields.get("used_memory", 0)),
            "expired_keys": int(fields.get("expired_keys", 0)),
            "evicted_keys": int(fields.get("evicted_keys", 0)),
        }


class Remote(Backend):
    """A server, or anything else with the methods of a valkey-py client."""

    def __init__(self, client: Any) -> None:
        super().__init__()
        self.client = client
        self.name = f"{type(client).__module__.partition('.')[0]} client"
        self.get = client.get

    def set(self, prefix: str, key: str, value: bytes, timeout: float) -> None:
        milliseconds, now = _milliseconds(timeout), int(time.time() * 1000)
        index = _INDEX + prefix
        pipeline = self.client.pipeline(transaction=False)
        pipeline.set(key, value, px=milliseconds)
        pipeline.zadd(index, {key: now + milliseconds})
        pipeline.zremrangebyscore(index, "-inf", now)
        pipeline.execute()

    def _indexes(self, prefix: str) -> list[Any]:
        return sorted(set(self.client.scan_iter(match=_escaped(_INDEX + prefix) + "*", count=_PAGE)))

    def clear(self, prefix: str) -> int:
        cleared = 0
        for index in self._indexes(prefix):
            keys = self.client.zrange(index, 0, -1)
            cleared += self.client.delete(*keys) if keys else 0
            self.client.delete(index)
        return cleared

    def describe(self) -> dict[str, Any]:
        now, prefixes = int(time.time() * 1000), {}
        for index in self._indexes(""):
            text = index.decode() if isinstance(index, bytes) else index
            prefixes[text[len(_INDEX) :]] = self.client.zcount(index, now, "+inf")
        memory = self.client.info("memory")
        return {
            "keys": sum(prefixes.values()),
            "keys_by_prefix": prefixes,
            "used_memory": memory.get("used_memory", 0),
        }


def _escaped(text: str) -> str:
    return "".join("\\" + letter if letter in "*?[]\\" else letter for letter in text)


def connect(host: str, port: int, password: str | None) -> Remote:
    """A client of valkey-py, or of redis-py where only that is installed, whose server has answered."""
    try:
        from valkey import Valkey as Client
    except ImportError:
        from redis import Redis as Client  # type: ignore[assignment]
    client = Client(
        host=host, port=port, password=password or None, socket_connect_timeout=2, socket_timeout=2
    )
    client.ping()
    return Remote(client)
