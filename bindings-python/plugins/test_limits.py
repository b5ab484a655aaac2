"""limits and Flask-Limiter: limits are hit exactly, by threads and by processes."""

import asyncio
import threading

import flask
import keystead_site
import limits
import pytest
import redis
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from limits.aio.storage import RedisStorage as AsyncRedisStorage
from limits.aio.strategies import MovingWindowRateLimiter as AsyncMovingWindow
from limits.storage import storage_from_string
from limits.strategies import (
    FixedWindowRateLimiter,
    MovingWindowRateLimiter,
    SlidingWindowCounterRateLimiter,
)

import keystead.redis
import keystead.valkey

STRATEGIES = [FixedWindowRateLimiter, MovingWindowRateLimiter, SlidingWindowCounterRateLimiter]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_limit_is_hit_exactly(pool, strategy):
    storage = storage_from_string("redis://", connection_pool=pool)
    assert storage.check()
    limiter, limit = strategy(storage), limits.parse("50/day")
    passed = []

    def hit():
        for _ in range(20):
            passed.append(limiter.hit(limit, "user", "1"))

    threads = [threading.Thread(target=hit) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(passed) == [False] * 50 + [True] * 50
    assert not limiter.test(limit, "user", "1") and limiter.test(limit, "user", "2")
    stats = limiter.get_window_stats(limit, "user", "1")
    assert stats.remaining == 0 and stats.reset_time > 0
    limiter.clear(limit, "user", "1")
    assert limiter.hit(limit, "user", "1", cost=50) and not limiter.hit(limit, "user", "1")
    assert storage.reset() > 0 and limiter.hit(limit, "user", "1")


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_on_valkey_py(name, strategy):
    storage = storage_from_string("valkey://", connection_pool=keystead.valkey.Pool(name))
    limiter, limit = strategy(storage), limits.parse("5/day")
    assert [limiter.hit(limit, "user") for _ in range(7)] == [True] * 5 + [False] * 2


def test_tasks(name):
    async def main():
        storage = AsyncRedisStorage(
            "async+redis://", connection_pool=keystead.redis.AsyncPool(name), implementation="redispy"
        )
        limiter, limit = AsyncMovingWindow(storage), limits.parse("20/day")
        passed = await asyncio.gather(*(limiter.hit(limit, "user") for _ in range(50)))
        assert sum(passed) == 20

    asyncio.run(main())


@pytest.mark.parametrize("strategy", ["fixed-window", "moving-window", "sliding-window-counter"])
def test_flask_limiter(pool, strategy):
    app = flask.Flask(__name__)
    limiter = Limiter(
        get_remote_address, app=app, storage_uri="redis://", storage_options={"connection_pool": pool},
        strategy=strategy, headers_enabled=True,
    )  # fmt: skip

    @app.get("/limited")
    @limiter.limit("5/day")
    def limited():
        return "fine"

    @app.get("/free")
    @limiter.exempt
    def free():
        return "fine"

    clients = [app.test_client() for _ in range(2)]
    seen = [clients[number % 2].get("/limited") for number in range(8)]
    assert [response.status_code for response in seen] == [200] * 5 + [429] * 3
    assert [response.headers["X-RateLimit-Remaining"] for response in seen] == [
        "4",
        "3",
        "2",
        "1",
        "0",
        "0",
        "0",
        "0",
    ]
    assert clients[0].get("/free").status_code == 200
    other = clients[0].get("/limited", environ_overrides={"REMOTE_ADDR": "10.0.0.1"})
    assert other.status_code == 200


def test_processes_share_a_limit(far, program, tmp_path):
    """Four workers, and four requests pass: the headline of a bug report about limits that each worker had to itself."""
    port = far.connection_kwargs["port"]
    words = ("python", keystead_site.__file__, port, "4/day", 10)
    with program(*words) as a, program(*words) as b, program(*words) as c, program(*words) as d:
        for worker in (a, b, c, d):
            assert worker.wait(120) == 0, worker.log.read_text()
        answers = [line for worker in (a, b, c, d) for line in worker.log.read_text().split()]
    assert sorted(answers) == ["200"] * 4 + ["429"] * 36
    assert redis.Redis(connection_pool=far).dbsize() > 0
