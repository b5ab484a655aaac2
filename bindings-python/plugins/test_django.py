"""Django's cache, by its own backend and by django-redis, and its sessions."""

import asyncio
import datetime
import threading

import django
import pytest
import redis
from django.conf import settings
from django.core.cache import CacheHandler

import keystead.redis

settings.configure(USE_TZ=True, SECRET_KEY="tests", SESSION_ENGINE="django.contrib.sessions.backends.cache")
django.setup()

BUILT_IN, DJANGO_REDIS = "django.core.cache.backends.redis.RedisCache", "django_redis.cache.RedisCache"


@pytest.fixture(params=[BUILT_IN, DJANGO_REDIS], ids=["Django", "django-redis"])
def caches(request, pool, name):
    """Django's caches: the default one, and one with a prefix."""
    if isinstance(pool, keystead.redis.Pool):
        location = f"keystead://{name}/1"
        options = {"pool_class": "keystead.redis.Pool"}
        if request.param == DJANGO_REDIS:
            options = {"CONNECTION_POOL_CLASS": "keystead.redis.Pool"}
    else:
        location, options = f"redis://127.0.0.1:{pool.connection_kwargs['port']}/1", {}
    default = {"BACKEND": request.param, "LOCATION": location, "OPTIONS": options}
    return CacheHandler(
        {"default": default, "mine": {**default, "KEY_PREFIX": "mine", "VERSION": 2, "TIMEOUT": None}}
    )


class Thing:
    """An object of a program."""

    def __init__(self, name):
        self.name = name


def test_the_cache(caches):
    cache = caches["default"]
    now = datetime.datetime.now(datetime.timezone.utc)
    for value in (1, 2.5, "größe", b"\x00\xff", None, [1, {"a": (2, 3)}], now, True):
        cache.set("k", value)
        assert cache.get("k", "default") == value
    cache.set("thing", Thing("a"))
    assert cache.get("thing").name == "a"
    assert cache.get("none") is None and cache.get("none", 5) == 5 and "none" not in cache and "k" in cache
    assert cache.add("k", 1) is False and cache.add("new", 1) is True
    cache.set_many({"a": 1, "b": 2}, timeout=100)
    assert cache.get_many(["a", "b", "none"]) == {"a": 1, "b": 2}
    assert cache.incr("a") == 2 and cache.decr("a", 5) == -3
    with pytest.raises(ValueError, match="none"):
        cache.incr("none")
    assert cache.touch("a", 1000) is True and cache.touch("none") is False
    assert cache.incr_version("b") == 2 and cache.get("b") is None and cache.get("b", version=2) == 2
    assert cache.get_or_set("computed", lambda: 7) == 7 and cache.get_or_set("computed", lambda: 8) == 7
    cache.set("gone", 1, timeout=0)
    cache.set("past", 1, timeout=-1)
    assert cache.get("gone") is None and cache.get("past") is None
    assert cache.delete("a") and not cache.delete("a")
    cache.delete_many(["new", "computed"])
    mine = caches["mine"]
    mine.set("k", "mine")
    assert cache.get("k") is True and mine.get("k") == "mine"
    cache.clear()
    assert cache.get("k") is None


def test_threads_have_the_same_cache(caches):
    """Django makes a client, and with it a pool, for each thread, and drops it with that."""

    def work(number):
        caches["default"].set(f"k{number}", number)
        for _ in range(20):
            caches["default"].incr("total")

    caches["default"].set("total", 0)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert caches["default"].get_many([f"k{number}" for number in range(5)]) == {
        f"k{number}": number for number in range(5)
    }
    assert caches["default"].get("total") == 100


def test_coroutines(caches):
    async def main():
        cache = caches["default"]
        await cache.aset("k", [1])
        assert await cache.aget("k") == [1] and await cache.aget_many(["k", "none"]) == {"k": [1]}
        assert await cache.aadd("n", 1) and await cache.aincr("n") == 2
        assert await cache.adelete("k") and not await cache.ahas_key("k")

    asyncio.run(main())


def test_sessions(caches, monkeypatch):
    from django.contrib.sessions.backends import cache as backend

    monkeypatch.setattr(backend, "caches", caches)
    session = backend.SessionStore()
    session["user"] = {"name": "größe"}
    session.set_expiry(3600)
    session.save()
    again = backend.SessionStore(session.session_key)
    assert again["user"] == {"name": "größe"} and again.get_expiry_age() == 3600
    again["visits"] = 2
    again.save()
    old = again.session_key
    again.cycle_key()
    assert again.session_key != old and not backend.SessionStore().exists(old)
    assert backend.SessionStore(again.session_key)["visits"] == 2
    again.flush()
    assert backend.SessionStore(again.session_key).is_empty()


def test_what_django_redis_adds(caches, request, pool):
    cache = caches["default"]
    if "django-redis" not in request.node.name:
        assert isinstance(cache._cache._get_connection_pool(True), redis.ConnectionPool)
        return
    cache.set("a1", 1, timeout=100)
    cache.set_many({"a2": 2, "b": 3}, timeout=None)
    assert 0 < cache.ttl("a1") <= 100 and cache.ttl("b") is None and cache.ttl("none") == 0
    assert (
        cache.expire("b", 50)
        and cache.persist("b")
        and cache.ttl("b") is None
        and 0 < cache.pttl("a1") <= 100_000
    )
    assert sorted(cache.keys("a*")) == ["a1", "a2"] and sorted(cache.iter_keys("*")) == ["a1", "a2", "b"]
    assert cache.set("b", 4, nx=True) is False and cache.get("b") == 3
    with cache.lock("lock", timeout=60):
        assert not cache.lock("lock").acquire(blocking=False)
    assert cache.delete_pattern("a*") == 2 and cache.get("b") == 3
    assert cache.sadd("set", 1, "x") == 2 and cache.smembers("set") == {1, "x"} and cache.sismember("set", 1)
    assert cache.hset("hash", "f", [1]) == 1 and cache.hkeys("hash") == ["f"]
    assert cache.zadd("zset", {"a": 1, "b": 2}) == 2 and cache.zrange("zset", 0, -1) == ["a", "b"]
