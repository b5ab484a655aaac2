"""The asyncio twins: awaited methods are plain calls behind ready awaitables."""

import asyncio
import collections.abc
import gc
import sys

import pytest

import keystead
from keystead.asyncio import Cache, Store


async def test_every_method_is_awaited(name):
    cache = Cache(name)
    assert await cache.set("key", {"a": 1}, ttl=60) is True
    assert await cache.get("key") == {"a": 1}
    assert await cache.get("none", 5) == 5
    assert await cache.get_many(["key", "none"]) == {"key": {"a": 1}}
    assert await cache.set_many({"n": 1}) is None
    assert await cache.incr("n") == 2 and await cache.decr("n") == 1
    assert await cache.touch("n", 5) and await cache.ttl("n") <= 5
    assert await cache.contains("n") and "n" in cache and len(cache) == 2
    assert await cache.delete("n") == 1 and await cache.clear() == 1
    assert keystead.Cache(name).get("key") is None
    assert cache.stats().hits >= 1
    async with Cache() as other:
        await other.set("k", 1)
    with pytest.raises(keystead.exceptions.ConnectionError):
        await other.get("k")


async def test_a_store_is_awaited():
    store = Store()
    await store.set("key", b"value")
    assert await store.get("key") == b"value"
    assert await store.execute("INCR", "n") == 1
    assert await store.pipeline([("GET", "key")]) == [b"value"]


async def test_errors_come_with_the_await():
    cache = Cache()
    await cache.set("text", "x")
    pending = cache.incr("text")
    with pytest.raises(keystead.exceptions.ResponseError):
        await pending
    results = await asyncio.gather(cache.get("text"), cache.incr("text"), return_exceptions=True)
    assert results[0] == "x" and isinstance(results[1], keystead.exceptions.ResponseError)
    with pytest.raises(TypeError):
        await cache.get(5)


async def test_an_awaitable_is_a_coroutine_to_asyncio():
    cache = Cache()
    for value in [1, None, "text", [1, 2], {"a": 1}]:
        await cache.set("key", value)
        assert isinstance(cache.get("key"), collections.abc.Coroutine)
        assert await asyncio.create_task(cache.get("key")) == value
        assert await asyncio.wait_for(cache.get("key"), 1) == value
        assert await asyncio.shield(cache.get("key")) == value
    assert asyncio.run_coroutine_threadsafe is not None
    tasks = [asyncio.ensure_future(cache.get("key")) for _ in range(10)]
    assert await asyncio.gather(*tasks) == [{"a": 1}] * 10


def test_the_protocol_of_coroutines():
    store = Store()
    keystead.Store(store.engine).set("key", b"v")
    with pytest.raises(StopIteration) as stopped:
        store.get("key").send(None)
    assert stopped.value.value == b"v"
    with pytest.raises(StopIteration):
        next(iter(store.get("key").__await__()))
    with pytest.raises(ZeroDivisionError):
        store.get("key").throw(ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        store.get("key").throw(ZeroDivisionError)
    assert store.get("key").close() is None
    with pytest.raises(TypeError):
        type(store.get("key"))()


async def test_values_that_look_like_arguments_survive_stop_iteration():
    cache = Cache()
    await cache.set("tuple", [1, 2])
    with pytest.raises(StopIteration) as stopped:
        cache.get("tuple").send(None)
    assert stopped.value.value == [1, 2]


async def test_awaitables_leak_nothing():
    cache = Cache()
    default = object()
    before = sys.getrefcount(default)
    kind = type(cache.get("none"))
    types = sys.getrefcount(kind)
    for _ in range(1_000):
        assert await cache.get("none", default) is default
        cache.get("none", default)
    gc.collect()
    assert sys.getrefcount(default) == before
    assert abs(sys.getrefcount(kind) - types) < 5


async def test_ready_awaitables_are_coroutines_for_tasks():
    import collections.abc

    from keystead.asyncio import Store as AsyncStore

    store = AsyncStore()
    waiting = store.set("k", "v")
    assert isinstance(waiting, collections.abc.Coroutine) and isinstance(waiting, collections.abc.Awaitable)
    assert await asyncio.create_task(waiting) is True
    assert await asyncio.create_task(store.get("k")) == b"v"
    assert await asyncio.wait_for(store.get("k"), 1) == b"v"
    assert await asyncio.gather(store.get("k"), store.get("none")) == [b"v", None]
    with pytest.raises(TypeError):
        await asyncio.create_task(store.set("k", None))
    assert await store.pipeline([("SET", "a", 1), ("GET", "a")]) == [b"OK", b"1"]
    assert await store.pipeline().set("a", 2).get("a").execute() == [True, b"2"]
    assert await store.pipeline(transaction=True).set("a", 3).get("a").execute() == [True, b"3"]
