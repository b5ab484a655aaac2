"""Commands that have to wait, and messages: threads, signals, coroutines, and the clients of valkey-py."""

import asyncio
import os
import signal
import threading

import pytest
import valkey

import keystead
from keystead import Store
from keystead.asyncio import Store as AsyncStore
from keystead.asyncio import Valkey as AsyncValkey
from keystead.valkey import Valkey


def waiting(store, count=1):
    """Waits until so many clients wait."""
    while f"blocked_clients:{count}\r\n".encode() not in store.execute("INFO", "clients"):
        threading.Event().wait(0.002)


def ids(store):
    """The numbers of the clients that wait."""
    lines = store.execute("CLIENT", "LIST", "FLAGS", "b").decode().splitlines()
    return [line.split()[0].removeprefix("id=") for line in lines]


async def until(holds):
    """Lets the loop run until something holds."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_a_thread_waits_while_others_run(store):
    assert store.execute("WAIT", 1, 5) == 0
    replies = []
    thread = threading.Thread(target=lambda: replies.append(store.execute("WAIT", 2, 0)))
    thread.start()
    waiting(store)
    assert store.set("k", "v") and not replies
    assert store.execute("CLIENT", "UNBLOCK", ids(store)[0]) == 1
    thread.join()
    assert replies == [0]


def test_pipelines_wait_too(store):
    assert store.pipeline([("SET", "k", "v"), ("WAIT", 1, 5), ("GET", "k")])[1:] == [0, b"v"]
    with pytest.raises(keystead.exceptions.ResponseError, match="UNBLOCKED"):
        thread = threading.Thread(
            target=lambda: (waiting(store), store.execute("CLIENT", "UNBLOCK", ids(store)[0], "ERROR"))
        )
        thread.start()
        try:
            store.execute("WAIT", 1, 0)
        finally:
            thread.join()


def test_a_signal_ends_a_wait(store):
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        thread = threading.Thread(target=lambda: (waiting(store), os.kill(os.getpid(), signal.SIGUSR1)))
        thread.start()
        with pytest.raises(Stop):
            store.execute("WAIT", 1, 0)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not ids(store)
    assert store.execute("PING") == b"PONG"


def test_coroutines_wait_and_the_loop_goes_on(name):
    async def main():
        store, watcher = AsyncStore(name), Store(name)
        assert await store.execute("WAIT", 1, 5) == 0
        tasks = [asyncio.ensure_future(store.execute("WAIT", 1, 0)) for _ in range(3)]
        await until(lambda: len(ids(watcher)) == 3)
        first, second, _ = ids(watcher)
        assert await store.execute("CLIENT", "UNBLOCK", first) == 1
        assert await tasks[0] == 0
        assert await store.execute("CLIENT", "UNBLOCK", second, "ERROR") == 1
        with pytest.raises(keystead.exceptions.ResponseError, match="UNBLOCKED"):
            await tasks[1]
        tasks[2].cancel()
        with pytest.raises(asyncio.CancelledError):
            await tasks[2]
        assert not ids(watcher)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(store.execute("WAIT", 1, 0), 0.01)
        assert not ids(watcher)
        # From another thread.
        task = asyncio.ensure_future(store.execute("WAIT", 1, 0))
        thread = threading.Thread(
            target=lambda: (waiting(watcher), watcher.execute("CLIENT", "UNBLOCK", ids(watcher)[0]))
        )
        thread.start()
        assert await task == 0
        thread.join()

    asyncio.run(main())


def test_clients_of_valkey_py_wait():
    client = Valkey()
    assert client.wait(1, 5) == 0
    assert client.execute_command("WAITAOF", 0, 1, 5) == [0, 0]
    with client.pipeline(transaction=False) as pipe:
        assert pipe.set("k", "v").wait(1, 5).get("k").execute() == [True, 0, b"v"]
    with client.pipeline() as pipe:
        assert pipe.set("k", "v").wait(1, 0).get("k").execute() == [True, 0, b"v"]
    single = Valkey(client.engine, single_connection_client=True)
    assert single.wait(1, 5) == 0 and single.get("k") == b"v"

    async def main():
        client = AsyncValkey()
        assert await client.wait(1, 5) == 0
        async with client.pipeline(transaction=False) as pipe:
            assert await pipe.set("k", "v").wait(1, 5).get("k").execute() == [True, 0, b"v"]
        task = asyncio.ensure_future(client.wait(1, 0))
        store = Store(client.engine)
        await until(lambda: ids(store))
        assert await client.client_unblock(int(ids(store)[0]), error=True)
        with pytest.raises(valkey.ResponseError, match="UNBLOCKED"):
            await task

    asyncio.run(main())


def test_monitor_of_valkey_py():
    client = Valkey(decode_responses=True)
    with client.monitor() as monitor:
        client.execute_command("set", "k", 'a "word"')
        client.get("k")
        lines = [monitor.next_command() for _ in range(2)]
        assert [line["command"] for line in lines] == ['set k a "word"', "GET k"]
        assert lines[0]["client_type"] == "unix" and lines[0]["db"] == 0
        # One that is to come.
        thread = threading.Thread(target=lambda: client.ping())
        thread.start()
        assert monitor.next_command()["command"] == "PING"
        thread.join()


def test_lists_are_waited_for_by_threads():
    client = Valkey()
    other = Valkey(client.engine)
    assert client.blpop("k", timeout=0.01) is None
    assert client.rpush("k", "a", "b", "c") == 3
    assert client.blpop(["none", "k"], timeout=0) == (b"k", b"a")
    assert client.brpop("k") == (b"k", b"c")
    assert client.blmove("k", "j", 0.01, "LEFT", "RIGHT") == b"b"
    assert client.blmpop(0.01, 2, "k", "j", direction="LEFT", count=5) == [b"j", [b"b"]]
    assert client.brpoplpush("k", "j", timeout=0.01) is None
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(other.blpop("k", timeout=0))) for _ in range(2)]
    for number, thread in enumerate(threads, 1):
        thread.start()
        waiting(Store(client.engine), number)
    assert client.rpush("k", "1", "2") == 2
    for thread in threads:
        thread.join()
    assert sorted(replies) == [(b"k", b"1"), (b"k", b"2")]
    assert client.exists("k") == 0
    with client.pipeline() as pipe:
        assert pipe.blpop("k", timeout=0).rpush("k", "x").blpop("k", timeout=0).execute() == [
            None,
            1,
            (b"k", b"x"),
        ]


def test_a_signal_loses_no_element(store):
    class Stop(Exception):
        pass

    def stop(*_):
        store.execute("RPUSH", "k", "kept")
        raise Stop

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        thread = threading.Thread(target=lambda: (waiting(store), os.kill(os.getpid(), signal.SIGUSR1)))
        thread.start()
        # The handler itself pushes what is waited for, before it raises.
        with pytest.raises(Stop):
            store.execute("BLPOP", "k", 0)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert store.execute("LRANGE", "k", 0, -1) == [b"kept"]


def test_a_connection_goes_on_after_a_signal(store):
    class Stop(Exception):
        pass

    def stop(*_):
        store.execute("RPUSH", "k", "kept")
        raise Stop

    client = Valkey(store.engine)
    connection = client.connection_pool.get_connection("BLPOP")
    before = signal.signal(signal.SIGUSR1, stop)
    try:
        thread = threading.Thread(target=lambda: (waiting(store), os.kill(os.getpid(), signal.SIGUSR1)))
        thread.start()
        connection.send_command("BLPOP", "k", 0)
        connection.send_command("LRANGE", "k", 0, -1)
        # There is no reply of what the signal has ended; what was sent behind it is executed.
        with pytest.raises(Stop):
            connection.read_response(disconnect_on_error=False)
        assert connection.read_response() == [b"kept"]
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_coroutines_that_are_cancelled_lose_no_element():
    async def main():
        client = AsyncValkey()
        assert await client.blpop("k", timeout=0.01) is None
        await client.rpush("k", "a", "b")
        assert await client.blpop(["none", "k"], timeout=0) == (b"k", b"a")
        assert await client.brpop("k", timeout=0) == (b"k", b"b")
        pusher = Store(client.engine)
        for round in range(50):
            task = asyncio.ensure_future(client.blpop("k", timeout=0))
            await until(lambda: ids(pusher))
            # It is served, and cancelled before it runs again.
            pusher.execute("RPUSH", "k", round)
            if round % 2:
                await asyncio.sleep(0)
            task.cancel()
            try:
                taken = [(await task)[1]]
            except asyncio.CancelledError:
                taken = []
            left = pusher.execute("LRANGE", "k", 0, -1)
            assert taken + left == [str(round).encode()]
            pusher.execute("DEL", "k")
        # One that never ran has waited for nothing, however long it is known.
        never = asyncio.ensure_future(client.blpop("k", timeout=0))
        never.cancel()
        pusher.execute("RPUSH", "k", "x")
        with pytest.raises(asyncio.CancelledError):
            await never
        assert pusher.execute("LPOP", "k") == b"x"
        # What a cancelled one had is the next one's.
        first = asyncio.ensure_future(client.blpop("k", timeout=0))
        await until(lambda: len(ids(pusher)) == 1)
        second = asyncio.ensure_future(client.blpop("k", timeout=0))
        await until(lambda: len(ids(pusher)) == 2)
        pusher.execute("RPUSH", "k", "x")
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == (b"k", b"x")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.blpop("k", timeout=0), 0.01)
        assert not ids(pusher)

    asyncio.run(main())


def test_workers_as_threads_and_tasks_take_each_job_once():
    client = Valkey(decode_responses=True)
    jobs, done = 300, []

    def work():
        own = Valkey(client.engine, decode_responses=True)
        while (job := own.blpop(["high", "low"], timeout=5))[1] != "stop":
            done.append(job[1])

    async def tasks():
        own = AsyncValkey(client.engine, decode_responses=True)

        async def one():
            while (job := await own.blpop(["high", "low"], timeout=5))[1] != "stop":
                done.append(job[1])

        await asyncio.gather(*(one() for _ in range(4)))

    workers = [threading.Thread(target=work) for _ in range(3)]
    workers.append(threading.Thread(target=lambda: asyncio.run(tasks())))
    for worker in workers:
        worker.start()
    for number in range(jobs):
        client.rpush(("high", "low")[number % 2], number)
    client.rpush("low", *["stop"] * 7)
    for worker in workers:
        worker.join()
    assert sorted(map(int, done)) == list(range(jobs))
