"""Publishing and subscribing through valkey-py and redis-py, with threads and tasks; the same program on a real server where there is one."""

import asyncio
import contextlib
import signal
import threading
import time

import pytest

import keystead
import keystead.asyncio

valkey = pytest.importorskip("valkey")
redis = pytest.importorskip("redis")

import keystead.redis  # noqa: E402
import keystead.valkey  # noqa: E402

#: Makers of clients here and of clients of a server, by the library and the protocol.
KINDS = {
    "valkey": (lambda **kw: keystead.valkey.Valkey(**kw), lambda port, **kw: valkey.Valkey(port=port, **kw)),
    "redis": (
        lambda name=None, **kw: redis.Redis(connection_pool=keystead.redis.pool(name, **kw)),
        lambda port, **kw: redis.Redis(port=port, **{"protocol": 2, **kw}),
    ),
}


def everything(client):
    """What the messages of a program with all kinds of subscriptions are."""
    seen = []
    handled = []
    pubsub = client.pubsub()

    def take(count):
        for _ in range(count):
            seen.append(pubsub.get_message(timeout=10))

    pubsub.subscribe("a", "b")
    pubsub.psubscribe(**{"n*": handled.append})
    pubsub.ssubscribe("shard")
    take(4)
    seen.append(client.publish("a", "text"))
    seen.append(client.publish("news", b"\x00\xff"))
    seen.append(client.spublish("shard", "s"))
    seen.append(client.publish("nobody", "x"))
    take(3)
    seen.append(pubsub.get_message())
    seen.append(pubsub.get_message(timeout=0.01))
    seen.append(sorted(client.pubsub_channels()))
    seen.append(client.pubsub_numsub("a", "c"))
    seen.append(client.pubsub_numpat())
    seen.append(client.pubsub_shardchannels())
    seen.append(client.pubsub_shardnumsub("shard"))
    seen.append(pubsub.ping() and pubsub.get_message(timeout=10))
    pubsub.unsubscribe("b")
    pubsub.punsubscribe()
    pubsub.sunsubscribe()
    take(3)
    with client.pipeline() as pipeline:
        pipeline.publish("a", "1").set("k", "v").publish("a", "2")
        seen.append(pipeline.execute())
    take(2)
    pubsub.unsubscribe()
    take(1)
    seen.append(pubsub.subscribed)
    pubsub.close()
    return seen, handled


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", [False, True], ids=["bytes", "text"])
def test_a_program_sees_what_it_would_on_a_server(kind, text, server):
    here, there = KINDS[kind]
    ours, theirs = here(decode_responses=False), there(server, decode_responses=False)
    if text:
        # Not of bytes that are no text.
        ours, theirs = here(decode_responses=True), there(server, decode_responses=True)
        for client in (ours, theirs):
            publish = client.publish
            client.publish = lambda channel, message, publish=publish: publish(
                channel, "text" if isinstance(message, bytes) else message
            )
    assert everything(ours) == everything(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_resp3_gives_the_same_messages(kind):
    here, _ = KINDS[kind]
    client = here(protocol=3)
    pubsub = client.pubsub()
    pubsub.subscribe("a")
    assert pubsub.get_message(timeout=10)["type"] == "subscribe"
    assert client.publish("a", "x") == 1
    message = pubsub.get_message(timeout=10)
    assert (message["type"], message["channel"], message["data"]) == ("message", b"a", b"x")
    assert pubsub.get_message() is None
    pubsub.close()


@pytest.mark.parametrize("kind", KINDS)
def test_listen_and_threads(kind):
    here, _ = KINDS[kind]
    client = here()
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    got = []
    pubsub.subscribe(numbers=lambda message: got.append(int(message["data"])))
    thread = pubsub.run_in_thread(sleep_time=5, daemon=True)
    while client.publish("numbers", 0) == 0:
        time.sleep(0.001)
    for number in range(1, 500):
        assert client.publish("numbers", number) == 1
    end = time.monotonic() + 30
    while len(got) < 500 and time.monotonic() < end:
        time.sleep(0.001)
    thread.stop()
    client.publish("numbers", -1)
    thread.join(30)
    assert not thread.is_alive()
    assert got[:500] == list(range(500))
    heard = client.pubsub()
    heard.subscribe("c")
    publisher = threading.Thread(target=lambda: [client.publish("c", word) for word in ("one", "two", "end")])
    assert next(heard.listen())["type"] == "subscribe"
    publisher.start()
    words = []
    for message in heard.listen():
        words.append(message["data"])
        if words[-1] == b"end":
            break
    publisher.join()
    assert words == [b"one", b"two", b"end"]
    heard.close()
    assert client.pubsub_numsub("c") == [(b"c", 0)]


def test_a_signal_ends_waiting_for_a_message():
    client = keystead.valkey.Valkey()
    pubsub = client.pubsub()
    pubsub.subscribe("a")
    assert pubsub.get_message(timeout=10) is not None

    def interrupt(*_):
        raise LookupError("the handler's")

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for wait in (lambda: pubsub.get_message(timeout=60), lambda: next(pubsub.listen())):
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(LookupError, match="the handler's"):
                wait()
    finally:
        signal.signal(signal.SIGALRM, before)
    client.publish("a", "after")
    assert pubsub.get_message(timeout=10)["data"] == b"after"


def test_keyspace_notifications():
    client = keystead.valkey.Valkey(decode_responses=True)
    client.config_set("notify-keyspace-events", "KEA")
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.psubscribe("__key*__:*")
    pubsub.get_message(timeout=10)
    client.set("k", "v", ex=100)
    client.hset("h", "f", "v")
    seen = [pubsub.get_message(timeout=10) for _ in range(6)]
    assert [(message["channel"], message["data"]) for message in seen] == [
        ("__keyspace@0__:k", "set"),
        ("__keyevent@0__:set", "k"),
        ("__keyspace@0__:k", "expire"),
        ("__keyevent@0__:expire", "k"),
        ("__keyspace@0__:h", "hset"),
        ("__keyevent@0__:hset", "h"),
    ]


def test_a_command_by_itself_has_nobody_who_would_read_messages():
    client = keystead.valkey.Valkey()
    for words in (("SUBSCRIBE", "a"), ("PSUBSCRIBE", "a"), ("MONITOR",)):
        with pytest.raises(Exception, match="nobody reads"):
            client.execute_command(*words)
    assert client.publish("a", "x") == 0
    assert client.execute_command("GET", "k") is None


ASYNC_KINDS = {
    "valkey": lambda **kw: keystead.asyncio.Valkey(**kw),
    "redis": lambda **kw: __import__("redis.asyncio").asyncio.Redis(
        connection_pool=keystead.redis.async_pool(**kw)
    ),
}


@pytest.mark.parametrize("kind", ASYNC_KINDS)
def test_tasks_hear_messages(kind):
    async def main():
        client = ASYNC_KINDS[kind]()
        pubsub = client.pubsub()
        await pubsub.subscribe("a")
        assert (await pubsub.get_message(timeout=10))["type"] == "subscribe"
        assert await pubsub.get_message(timeout=0.01) is None
        waiting = asyncio.create_task(pubsub.get_message(timeout=30))
        await asyncio.sleep(0)
        assert await client.publish("a", "x") == 1
        assert (await waiting)["data"] == b"x"
        # Another thread, which has no loop.
        waiting = asyncio.create_task(pubsub.get_message(timeout=30))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert await client.publish("a", "y") == 1
        assert (await waiting)["data"] == b"y"
        got = []

        async def listen():
            async for message in pubsub.listen():
                got.append(message["data"])
                if message["data"] == b"end":
                    return

        listener = asyncio.create_task(listen())
        for word in ("1", "2", "end"):
            await client.publish("a", word)
        await asyncio.wait_for(listener, 30)
        assert got == [b"1", b"2", b"end"]
        # A task that is cancelled has lost nothing.
        waiting = asyncio.create_task(pubsub.get_message(timeout=30))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waiting
        await client.publish("a", "later")
        assert (await pubsub.get_message(timeout=30))["data"] == b"later"
        await pubsub.unsubscribe()
        assert (await pubsub.get_message(timeout=10))["type"] == "unsubscribe"
        await pubsub.aclose()

    asyncio.run(main())
