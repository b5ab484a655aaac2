"""An engine that stands in a real Valkey: the same faces, and what was read is near."""

import os
import threading
import time

import pytest
import valkey

import keystead
import keystead.asyncio


def until(what, is_so):
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, f"{what}: still not so"
        time.sleep(0.002)


@pytest.fixture
def url(own_server):
    return f"valkey://127.0.0.1:{own_server}/0"


@pytest.fixture
def other(own_server):
    with valkey.Valkey(port=own_server, decode_responses=True) as client:
        yield client


@pytest.fixture
def engine(url):
    with keystead.Engine(url) as engine:
        until("a link", lambda: engine.near_stats()["linked"])
        yield engine


def calls(other, command):
    return other.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"]


def test_a_store_reads_near(engine, other):
    store = keystead.Store(engine)
    assert store.set("k", b"one") and other.get("k") == "one"
    assert [store.get("k") for _ in range(100)] == [b"one"] * 100
    assert calls(other, "get") <= 2
    other.set("k", "two")
    until("the value of another", lambda: store.get("k") == b"two")
    other.delete("k")
    until("it is gone", lambda: store.get("k") is None)
    assert store.incr("n", 5) == 5 and other.get("n") == "5"
    assert store.mget(["n", "none"]) == [b"5", None]


def test_a_cache_loads_once_for_all_processes_that_look(engine, other):
    cache = keystead.Cache(engine, namespace="app")
    assert cache.wrap("user", lambda: {"name": "Ada"}, ttl=60) == {"name": "Ada"}
    assert cache.get("user") == {"name": "Ada"} and other.ttl("app:user") > 0
    other.set("app:user", '{"name": "Grace"}')
    assert other.get("app:user") is not None
    until("the value of another", lambda: cache.get("user") != {"name": "Ada"})
    cache.delete("user")
    assert not other.exists("app:user")


def test_valkey_py_s_client_does_what_it_does_with_a_server(engine, other):
    client = keystead.Valkey(engine, decode_responses=True)
    client.set("k", "one", ex=60)
    assert (client.get("k"), client.ttl("k") > 0) == ("one", True)
    client.hset("h", mapping={"a": 1, "b": 2})
    assert client.hgetall("h") == other.hgetall("h") == {"a": "1", "b": "2"}
    client.zadd("z", {"x": 1.5, "y": 2})
    assert client.zrange("z", 0, -1, withscores=True) == [("x", 1.5), ("y", 2.0)]
    with client.pipeline() as pipe:
        assert pipe.incr("n").get("k").execute() == [1, "one"]
    assert client.eval("return server.call('GET', KEYS[1])", 1, "k") == "one"
    with client.pipeline() as pipe:
        pipe.watch("k")
        other.set("k", "two")
        pipe.multi()
        pipe.set("k", "three")
        with pytest.raises(valkey.WatchError):
            pipe.execute()
    assert client.get("k") == "two"
    with pytest.raises(valkey.ResponseError, match="WRONGTYPE"):
        client.get("h")
    assert client.blpop("queue", timeout=0.05) is None
    with pytest.raises(valkey.ResponseError, match="SUBSCRIBE is not available"):
        client.execute_command("SUBSCRIBE", "channel")


def test_others_run_while_a_call_waits(engine, other):
    """A call that waits for the network has given the interpreter's lock away."""
    store = keystead.Store(engine)
    other.execute_command("CLIENT", "PAUSE", 600, "ALL")
    ticks, over = [], threading.Event()

    def tick():
        while not over.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    begin = time.monotonic()
    assert store.get("missing") is None
    end = time.monotonic()
    over.set()
    thread.join()
    assert end - begin > 0.2, "the server did not pause"
    assert len([at for at in ticks if begin < at < end]) > 20


def test_many_threads_share_a_fetch(engine, other):
    other.set("k", "one")
    store = keystead.Store(engine)
    results, start = [], threading.Barrier(16)

    def read():
        start.wait()
        results.append(store.get("k"))

    threads = [threading.Thread(target=read) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == [b"one"] * 16


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_has_a_link_of_its_own(engine, other):
    store = keystead.Store(engine)
    store.set("k", b"one")
    assert store.get("k") == b"one"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            until("a link", lambda: engine.near_stats()["linked"])
            code = 0 if store.get("k") == b"one" and store.set("child", b"here") else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    until("the child's value", lambda: store.get("child") == b"here")


def test_the_url_s_database_is_everybody_s(url, other):
    with keystead.Valkey(url.removesuffix("/0") + "/3", decode_responses=True) as client:
        client.set("k", "three")
        assert client.get("k") == "three" and other.get("k") is None
        with keystead.Store(client.engine) as store, keystead.Cache(client.engine) as cache:
            assert store.get("k") == b"three"
            cache.set("c", 1)
            assert client.get("c") == "1"
        assert keystead.Store(client.engine, db=0).get("k") is None


def test_what_can_t_be_had_is_told():
    with pytest.raises(keystead.exceptions.ConnectionError, match=r"the remote 127\.0\.0\.1:1"):
        keystead.Store("valkey://127.0.0.1:1?connect_timeout=100ms&timeout=100ms").get("k")
    with pytest.raises(ValueError, match="there is no option 'nearby'"):
        keystead.Store("valkey://localhost?nearby=1")
    with pytest.raises(ValueError, match="by its path"):
        keystead.Engine("valkey://localhost", path="folder")
    for face in (keystead.asyncio.Cache, keystead.asyncio.Store, keystead.asyncio.Valkey):
        with pytest.raises(ValueError, match="can't be awaited yet"):
            face("valkey://127.0.0.1:1")


def test_what_is_near_is_told_and_dropped(engine, other):
    store = keystead.Store(engine)
    other.set("k", "one")
    assert store.get("k") == b"one"
    stats = engine.near_stats()
    assert stats["fills"] >= 1 and stats["linked"] and stats["generation"] == 1 and not stats["refused"]
    assert (stats["staleness_bound"], stats["breaker"]) == (2.0, "closed")
    other.mset({"w:1": "a", "w:2": "b"})
    other.rpush("w:list", "x")
    assert engine.warm("w:*") == 2
    before = calls(other, "get")
    assert store.mget(["w:1", "w:2"]) == [b"a", b"b"] and calls(other, "get") == before
    with pytest.raises(ValueError, match="stands in this process"):
        keystead.Engine().warm()
    engine.flush_near()
    assert store.get("k") == b"one" and calls(other, "get") == before + 1
    assert keystead.Engine().near_stats() is None


def test_keys_are_copied_both_ways(url, other):
    other.mset({f"s:{number}": number for number in range(500)})
    other.rpush("list", "a", "b")
    other.set("short", "lived", px=60_000)
    with keystead.Engine() as engine:
        here = keystead.Valkey(engine, decode_responses=True)
        done = engine.pull(url, "s:*", most=100)
        assert not done["complete"] and 100 <= done["keys"] < 500
        while not done["complete"]:
            done = engine.pull(url, "s:*", cursor=done["cursor"], most=100)
        assert here.dbsize() == 500 and here.get("s:499") == "499"
        assert engine.pull(url, replace=False)["kept"] == 500
        assert here.lrange("list", 0, -1) == ["a", "b"] and 0 < here.pttl("short") <= 60_000
        other.flushall()
        assert engine.push(url)["keys"] == 502 and other.dbsize() == 502
        assert other.lrange("list", 0, -1) == ["a", "b"] and 0 < other.pttl("short") <= 60_000
        with pytest.raises(ValueError, match="is no URL of a server"):
            engine.pull("sessions")
        with pytest.raises(keystead.exceptions.ConnectionError, match="the remote"):
            engine.push("valkey://127.0.0.1:1?timeout=100ms&connect_timeout=100ms")
