"""Runs the application under load, with and without its cache, and starts it again with and without what it kept.

The load is in `load.py`, the restarts are in `restart.py`; here is what came of both.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from typing import Any

from app import create_app, get_areas, get_property_types, get_valuation
from flights import connect
from load import HEADERS, SHARES, Question, ask, questions
from restart import restarts

import keystead.flask

REQUESTS, WITHOUT = 10_000, 200
FUNCTIONS = {"areas": get_areas, "property types": get_property_types, "valuation": get_valuation}


def run(client: Any, asked: list[Question]) -> dict[str, list[float]]:
    """Milliseconds per request, by kind."""
    times: dict[str, list[float]] = {kind: [] for kind in SHARES}
    for number, question in enumerate(asked, 1):
        start = time.perf_counter()
        ask(client, question)
        times[question[0]].append((time.perf_counter() - start) * 1000)
        if number % max(1, len(asked) // 10) == 0:
            print(f"  {number:6} of {len(asked)} requests", flush=True)
    return times


def percentile(times: list[float], share: float) -> float:
    """A percentile, by the nearest rank."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def main() -> None:
    """Fills the database, runs both loads and the restarts, prints what was measured."""
    # The load tells what a cache does that begins empty.
    os.environ.pop("VALUATION_CACHE", None)
    start = time.perf_counter()
    connect().close()
    print(f"database ready after {time.perf_counter() - start:.1f} s", flush=True)

    keystead.flask.configure(enabled=False)
    print(f"without cache: {WITHOUT} requests")
    without = run(create_app(warm_up=False).test_client(), questions(WITHOUT, seed=1))

    keystead.flask.configure()
    print(f"with cache: {REQUESTS} requests")
    client = create_app().test_client()
    before = {kind: function.cache_info() for kind, function in FUNCTIONS.items()}
    times = run(client, questions(REQUESTS, seed=2))
    rates = {kind: hit_rate(function.cache_info(), before[kind]) for kind, function in FUNCTIONS.items()}
    found = client.get("/api/admin/cache/stats", headers=HEADERS).get_json()
    print(f"stats: {json.dumps(found)}")
    cleared = client.delete("/api/admin/cache?prefix=valuation:", headers=HEADERS).get_json()
    print(f"cleared valuations: {cleared['cleared']}")
    report(times, without, rates)

    print("restarts")
    print(f"RESTART {json.dumps(restarts())}", flush=True)


def hit_rate(now: keystead.flask.CacheInfo, before: keystead.flask.CacheInfo) -> float:
    """Hits per lookup since `before`."""
    hits, misses = now.hits - before.hits, now.misses - before.misses
    return hits / max(1, hits + misses)


def report(times: dict[str, list[float]], without: dict[str, list[float]], rates: dict[str, float]) -> None:
    """One line of JSON per endpoint, for `cargo xtask demo`."""
    for kind, measured in times.items():
        row = {
            "scenario": kind,
            "requests": len(measured),
            "hit_rate": f"{rates[kind]:.3f}",
            "p50_ms": round(statistics.median(measured), 3),
            "p99_ms": round(percentile(measured, 0.99), 3),
            "p50_without_ms": round(statistics.median(without[kind]), 3),
            "p99_without_ms": round(percentile(without[kind], 0.99), 3),
        }
        print(f"DEMO {json.dumps(row)}", flush=True)


if __name__ == "__main__":
    main()
