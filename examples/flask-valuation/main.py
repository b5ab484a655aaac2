"""Runs the application under load, with and without its cache, and prints what came of it.

Requests go through Flask's test client, so everything but the socket is measured. Which valuations are asked for is drawn from
the flights themselves: busy routes are asked for often, rare ones seldom.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from typing import Any

from app import SEARCHES, TOKEN, create_app, get_areas, get_property_types, get_valuation
from flights import connect

import keystead.flask

REQUESTS, WITHOUT = 10_000, 200
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
FUNCTIONS = {"areas": get_areas, "property types": get_property_types, "valuation": get_valuation}
SHARES = {"areas": 0.2, "property types": 0.1, "valuation": 0.7}


def questions(count: int, seed: int) -> list[tuple[str, str, dict[str, Any] | None]]:
    """Kinds of requests with paths and bodies."""
    dice = random.Random(seed)
    connection = connect()
    total = connection.execute("SELECT MAX(rowid) FROM flights").fetchone()[0]
    drawn = []
    for kind in dice.choices(list(SHARES), list(SHARES.values()), k=count):
        if kind == "valuation":
            sql = "SELECT origin, dest, month, hour FROM flights WHERE rowid = ?"
            row = connection.execute(sql, (dice.randint(1, total),)).fetchone()
            # People plan for a season, not for a day of the year: the quarter's middle month, three-hour steps.
            body = {**dict(row), "month": (row["month"] - 1) // 3 * 3 + 2, "hour": row["hour"] // 3 * 3 + 1}
            drawn.append((kind, "/api/property/valuation", body))
        else:
            folder = "areas" if kind == "areas" else "property-types"
            drawn.append((kind, f"/api/{folder}/{dice.choice(SEARCHES)}", None))
    return drawn


def run(client: Any, asked: list[tuple[str, str, dict[str, Any] | None]]) -> dict[str, list[float]]:
    """Milliseconds per request, by kind."""
    times: dict[str, list[float]] = {kind: [] for kind in SHARES}
    for number, (kind, path, body) in enumerate(asked, 1):
        start = time.perf_counter()
        response = (
            client.get(path, headers=HEADERS)
            if body is None
            else client.post(path, json=body, headers=HEADERS)
        )
        times[kind].append((time.perf_counter() - start) * 1000)
        if response.status_code not in (200, 404) or (response.status_code == 404 and kind != "valuation"):
            raise SystemExit(f"{path}: {response.status_code} {response.text}")
        if number % max(1, len(asked) // 10) == 0:
            print(f"  {number:6} of {len(asked)} requests", flush=True)
    return times


def percentile(times: list[float], share: float) -> float:
    """A percentile, by the nearest rank."""
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def main() -> None:
    """Fills the database, runs both loads, prints the tables."""
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
