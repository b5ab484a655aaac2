"""Measures the calls that GOALS lists for Python: ns per call, and the ratio to `dict.get` in the same run.

Run it with the package built by `maturin develop --release`: `python benches/hot.py`. Each figure is the median of five rounds of the
best of seven loops, the loop's own 5 ns included.
"""

from __future__ import annotations

import asyncio
import functools
import json
import statistics
import sys
import timeit
from collections.abc import Callable

from keystead import Cache, Store

ROUNDS, LOOPS = 5, 7
KEYS = [f"key:{index:012d}" for index in range(100_000)]
VALUE = b"\x81" + b"v" * 99
TEXT = "v" * 100
OBJECT = {"id": 17, "name": "Villa", "city": "Dubai", "price": 1250000.5, "tags": ["a", "b"], "sold": False}


def measure(call: str, names: dict[str, object], per: int = 1) -> float:
    """Nanoseconds of a call written as code, divided by `per`."""
    timer = timeit.Timer(call, globals=names)
    number = max(1, int(0.02 / (timer.timeit(1000) / 1000)))
    rounds = [min(timer.repeat(LOOPS, number)) / number * 1e9 for _ in range(ROUNDS)]
    return statistics.median(rounds) / per


def measure_await(make: Callable[[], object]) -> float:
    """Nanoseconds of `await make()`, in a loop inside one coroutine."""

    async def loop() -> float:
        from time import perf_counter_ns

        best = []
        for _ in range(ROUNDS * LOOPS):
            start = perf_counter_ns()
            for _ in range(20_000):
                await make()  # type: ignore[misc]
            best.append((perf_counter_ns() - start) / 20_000)
        return min(best)

    return asyncio.run(loop())


def rows() -> list[tuple[str, float]]:
    """Every row: what, and nanoseconds."""
    store, cache = Store(), Cache()
    plain = dict.fromkeys(KEYS, VALUE)
    for key in KEYS:
        store.set(key, VALUE)
        cache.set(key, TEXT)
    key = KEYS[4711]
    store.set("number", 1)
    store.hset("hash", "field", VALUE)
    cache.set("object", OBJECT)
    hundred = KEYS[:100]
    pairs = [("SET", name, VALUE) for name in hundred]
    mapping = dict.fromkeys(hundred, VALUE)
    fluent = "pipe = store.pipeline()\nfor name in hundred: pipe.set(name, VALUE)\npipe.execute()"
    names = {**locals()}
    found = [
        ("dict.get(str)", measure("plain.get(key)", names)),
        ("dict[str] = value", measure("plain[key] = VALUE", {**names, "VALUE": VALUE})),
        ("Store.get(str) -> bytes", measure("store.get(key)", names)),
        ("Store.get, missing", measure("store.get('none')", names)),
        ("str in Store", measure("key in store", names)),
        ("Store.set(str, bytes)", measure("store.set(key, VALUE)", {**names, "VALUE": VALUE})),
        ("Store.set, ttl=60", measure("store.set(key, VALUE, ttl=60)", {**names, "VALUE": VALUE})),
        ("Store.hget", measure("store.hget('hash', 'field')", names)),
        ("Store.incr", measure("store.incr('number')", names)),
        ("Store.mget of 100, per key", measure("store.mget(hundred)", names, 100)),
        ("Store.mset of 100, per key", measure("store.mset(mapping)", names, 100)),
        ("Store.pipeline of 100 SET, per op", measure("store.pipeline(pairs)", names, 100)),
        ("Store.pipeline(), 100 set, per op", measure(fluent, {**names, "VALUE": VALUE}, 100)),
        ("Cache.get -> str", measure("cache.get(key)", names)),
        ("Cache.set(str, str)", measure("cache.set(key, TEXT)", {**names, "TEXT": TEXT})),
        ("Cache.get -> dict (JSON)", measure("cache.get('object')", names)),
    ]
    found += decorators(cache)
    found += clients(key)
    found.append(("await Store.get", awaited(key)))
    return found


def decorators(cache: Cache) -> list[tuple[str, float]]:
    """Hits of decorated functions."""

    @cache.cached(ttl=600)
    def text(number: int) -> str:
        return TEXT

    @cache.cached(ttl=600)
    def thing(number: int) -> dict[str, object]:
        return OBJECT

    @cache.cached(ttl=600, live=True)
    def lively(number: int) -> str:
        return TEXT

    @functools.lru_cache
    def remembered(number: int) -> str:
        return TEXT

    names = {**locals()}
    text(7), thing(7), remembered(7), lively(7)
    return [
        ("functools.lru_cache hit", measure("remembered(7)", names)),
        ("@cached hit, live object", measure("lively(7)", names)),
        ("@cached hit -> str", measure("text(7)", names)),
        ("@cached hit -> dict (JSON)", measure("thing(7)", names)),
        *flask_decorator(),
    ]


def flask_decorator() -> list[tuple[str, float]]:
    try:
        from keystead.flask import cache_result
    except ImportError:
        return []

    @cache_result(timeout=600, key_prefix="areas:")
    def areas(search: str) -> dict[str, object]:
        return OBJECT

    areas("buy")
    names = {"areas": areas}
    return [
        ("cache_result hit", measure("areas('buy')", names)),
        ("cache_result hit, keyword", measure("areas(search='buy')", names)),
    ]


def clients(key: str) -> list[tuple[str, float]]:
    try:
        from keystead import Valkey
    except ImportError:
        return []
    valkey = Valkey()
    valkey.set(key, VALUE)
    names = {"valkey": valkey, "key": key, "VALUE": VALUE}
    return [
        ("Valkey.get", measure("valkey.get(key)", names)),
        ("Valkey.set", measure("valkey.set(key, VALUE)", names)),
    ]


def awaited(key: str) -> float:
    from keystead.asyncio import Store as AsyncStore

    store = AsyncStore("bench")
    Store("bench").set(key, VALUE)
    held = Store("bench")
    held.set(key, VALUE)
    result = measure_await(functools.partial(store.get, key))
    del held
    return result


def main() -> None:
    """Prints the table, or JSON with `--json`."""
    found = rows()
    base = found[0][1]
    if "--json" in sys.argv:
        print(json.dumps({what: round(nanoseconds, 1) for what, nanoseconds in found}))
        return
    for what, nanoseconds in found:
        print(f"{what:36} {nanoseconds:8.1f} ns {nanoseconds / base:7.2f}x")


if __name__ == "__main__":
    main()
