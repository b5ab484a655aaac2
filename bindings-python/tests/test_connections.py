"""The connection and pool classes of redis-py and valkey-py that stand for an engine in this process: what plug-ins ask of them."""

import asyncio
import logging
import multiprocessing
import os
import pickle
import select
import signal
import threading
import warnings

import pytest

import keystead
from keystead import CopyWarning

valkey = pytest.importorskip("valkey")
redis = pytest.importorskip("redis")

import redis.asyncio  # noqa: E402, F811
import redis.cache  # noqa: E402
import valkey.asyncio  # noqa: E402, F811
from redis.maint_notifications import MaintNotificationsConfig  # noqa: E402

import keystead.redis  # noqa: E402
import keystead.valkey  # noqa: E402

# Of the argument that valkey-py's pools still want.
pytestmark = pytest.mark.filterwarnings("ignore:Call to 'get_connection':DeprecationWarning")

#: The library, its client, and Keystead's module of classes for it.
LIBRARIES = {
    "valkey": (valkey, valkey.Valkey, keystead.valkey),
    "redis": (redis, redis.Redis, keystead.redis),
}
TASKS = {
    "valkey": (valkey.asyncio, valkey.asyncio.Valkey, keystead.valkey),
    "redis": (redis.asyncio, redis.asyncio.Redis, keystead.redis),
}


@pytest.fixture(params=LIBRARIES)
def library(request):
    return request.param


def client(library, engine=None, **options):
    _, kind, own = LIBRARIES[library]
    return kind(connection_pool=own.Pool(engine, **options))


def until_blocked(engine, count=1):
    """Waits until so many clients wait."""
    store = keystead.Store(engine)
    while f"blocked_clients:{count}\r\n".encode() not in store.execute("INFO", "clients"):
        threading.Event().wait(0.002)


def is_readable(connection):
    return bool(select.select([connection._sock], [], [], 0)[0])


def until_readable(connection):
    assert select.select([connection._sock], [], [], 60)[0]


def test_pools_are_the_libraries_own(library, name, tmp_path):
    package, kind, own = LIBRARIES[library]
    pool = own.Pool.from_url(
        f"keystead://{name}/2?decode_responses=true&max_connections=7&socket_timeout=2.5"
    )
    assert isinstance(pool, package.ConnectionPool) and isinstance(own.pool(), own.Pool)
    assert pool.max_connections == 7 and pool.connection_kwargs["socket_timeout"] == 2.5
    kind(connection_pool=pool).set("k", "größe")
    assert client(library, name, db=2, decode_responses=True).get("k") == "größe"
    assert own.Pool.from_url(f"keystead://{name}", db=2).connection_kwargs["db"] == 2
    kept = kind(connection_pool=own.Pool.from_url(f"keystead://{tmp_path}/app.ks?db=1"))
    kept.set("k", 1)
    assert kept.connection_pool.engine.path == f"{tmp_path}/app.ks"
    assert kind(connection_pool=own.Pool(path=tmp_path / "app.ks", db=1)).get("k") == b"1"
    assert kind(connection_pool=own.Pool.from_url("keystead://")).get("k") is None
    for wrong in (
        "redis://localhost",
        "keystead://name/path",
        "keystead://name?db=x",
        "keystead://n?protocol=x",
    ):
        with pytest.raises(ValueError, match=r"keystead|Invalid|behind"):
            own.Pool.from_url(wrong)
    kept.connection_pool.engine.close()


def test_users_stand_in_urls(library, name):
    package, kind, own = LIBRARIES[library]
    admin = client(library, name)
    admin.acl_setuser("ann", enabled=True, passwords=["+se:cret"], commands=["+@all"], keys=["*"])
    named = kind(connection_pool=own.Pool.from_url(f"keystead://ann:se%3Acret@{name}"))
    assert named.acl_whoami() in (b"ann", "ann")
    with pytest.raises(package.AuthenticationError):
        kind(connection_pool=own.Pool.from_url(f"keystead://ann:wrong@{name}")).ping()
    assert kind(
        connection_pool=own.Pool(name, protocol=3, username="ann", password="se:cret")
    ).acl_whoami() in (b"ann", "ann")


def test_errors_of_connections_are_raised_where_they_are_read(library):
    """As by the libraries' parsers: no caller takes such an error for a reply."""
    package, *_ = LIBRARIES[library]
    here = client(library)
    here.acl_setuser("ann", enabled=True, passwords=["+secret"], commands=["+@all"])
    for words in (("wrong", "ann"), ("any",)):
        with pytest.raises(package.AuthenticationError):
            here.auth(*words)
    assert here.auth("secret", "ann") is True


def test_a_plain_pool_needs_one_changed_argument(library):
    package, kind, own = LIBRARIES[library]
    options = {
        "host": f"{library}.example",
        "port": 6390,
        "db": 1,
        "socket_keepalive": True,
        "socket_connect_timeout": 1,
    }
    pool = package.ConnectionPool(connection_class=own.Connection, **options)
    one = kind(connection_pool=pool)
    with one.pipeline() as pipe:
        pipe.watch("k")
        # Another connection, of the same data.
        assert one.set("k", "v")
        pipe.multi()
        pipe.set("k", "mine")
        with pytest.raises(package.WatchError):
            pipe.execute()
    pool.disconnect()
    del one, pool
    # As a server's, the data stay.
    other = package.BlockingConnectionPool(connection_class=own.Connection, **options)
    assert kind(connection_pool=other).get("k") == b"v"
    options["port"] = 6391
    elsewhere = package.ConnectionPool(connection_class=own.Connection, **options)
    assert kind(connection_pool=elsewhere).get("k") is None
    if library == "valkey":
        assert keystead.Valkey(connection_pool=other).get("k") == b"v"


def test_arguments_of_pools_are_pickled(library, name, tmp_path):
    package, kind, own = LIBRARIES[library]
    for pool in (own.Pool(name, db=1), own.Pool(path=tmp_path / "app.ks", db=1)):
        kind(connection_pool=pool).set("k", "v")
        kwargs = {key: value for key, value in pool.connection_kwargs.items() if key != "himport_registry"}
        again = package.ConnectionPool(
            connection_class=pool.connection_class, **pickle.loads(pickle.dumps(kwargs))
        )
        assert kind(connection_pool=again).get("k") == b"v"
        assert pickle.loads(pickle.dumps(pool.connection_class)) is own.Connection
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(own.Pool().connection_kwargs["engine"])
    pool.engine.close()


def test_a_descriptor_is_readable_while_a_reply_waits(library):
    here = client(library)
    connection = here.connection_pool.get_connection("BRPOP")
    engine = connection.engine
    connection.send_command("PING")
    assert is_readable(connection)
    assert connection.read_response() == b"PONG" and not is_readable(connection)
    descriptor = connection._sock.fileno()
    assert descriptor == connection._sock.fileno() >= 0
    connection.send_command("BRPOP", "queue", 0)
    assert not is_readable(connection) and not connection.can_read(timeout=0)
    thread = threading.Thread(target=lambda: (until_blocked(engine), here.lpush("queue", "job")))
    thread.start()
    until_readable(connection)
    thread.join()
    assert connection.can_read(timeout=0)
    assert connection.read_response() == [b"queue", b"job"]
    assert not is_readable(connection)
    # Nothing comes, and its time is over.
    connection.send_command("BRPOP", "queue", 0.01)
    until_readable(connection)
    assert connection.read_response() is None and not is_readable(connection)
    # Commands behind one that waits.
    connection.send_command("BRPOP", "queue", 0)
    connection.send_command("PING")
    here.lpush("queue", "last")
    until_readable(connection)
    assert connection.read_response() == [b"queue", b"last"] and is_readable(connection)
    assert connection.read_response() == b"PONG" and not is_readable(connection)
    socket = connection._sock
    connection.disconnect()
    assert socket.fileno() == -1


def test_a_descriptor_is_readable_while_a_message_waits(library):
    here = client(library)
    pubsub = here.pubsub()
    pubsub.subscribe("news")
    connection = pubsub.connection
    assert pubsub.get_message(timeout=10)["type"] == "subscribe" and not is_readable(connection)
    thread = threading.Thread(target=lambda: [here.publish("news", number) for number in range(500)])
    thread.start()
    heard = []
    while len(heard) < 500:
        until_readable(connection)
        message = pubsub.get_message()
        # Woken, and another look has taken it.
        heard += [] if message is None else [int(message["data"])]
    thread.join()
    assert heard == list(range(500)) and not is_readable(connection)
    pubsub.close()


def test_can_read_waits(library):
    here = client(library)
    connection = here.connection_pool.get_connection("BLPOP")
    assert not connection.can_read(timeout=0.01)
    connection.send_command("BLPOP", "queue", 0)
    assert not connection.can_read(timeout=0.01)
    thread = threading.Thread(target=lambda: (until_blocked(connection.engine), here.lpush("queue", "job")))
    thread.start()
    assert connection.can_read(timeout=60)
    thread.join()
    assert connection.read_response() == [b"queue", b"job"]
    here.connection_pool.release(connection)


def test_threads_send_while_another_waits(library):
    """As on a socket: rq unsubscribes so from what a thread of its own listens for."""
    here = client(library)
    pubsub = here.pubsub()
    pubsub.subscribe("a")
    assert pubsub.get_message(timeout=10)["type"] == "subscribe"
    heard = []
    thread = threading.Thread(target=lambda: [heard.append(message) for message in pubsub.listen()])
    thread.start()
    pubsub.subscribe("b")
    assert here.publish("b", "x") == 1
    pubsub.unsubscribe()
    thread.join()
    assert [message["type"] for message in heard] == ["subscribe", "message", "unsubscribe", "unsubscribe"]
    # One who waits learns that the connection was closed.
    connection = here.connection_pool.get_connection("BLPOP")
    connection.send_command("BLPOP", "queue", 0)
    closing = threading.Thread(target=lambda: (until_blocked(connection.engine), connection._sock.close()))
    closing.start()
    with pytest.raises(LIBRARIES[library][0].ConnectionError):
        connection.read_response()
    closing.join()


def test_a_signal_ends_blocking_and_nothing_is_lost(library):
    here = client(library)
    engine = here.connection_pool.engine

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        thread = threading.Thread(
            target=lambda: (until_blocked(engine), os.kill(os.getpid(), signal.SIGUSR1))
        )
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            here.blpop("queue", 0)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert here.rpush("queue", "kept") == 1
    assert here.blpop("queue", 0) in ((b"queue", b"kept"), [b"queue", b"kept"])


def test_a_chosen_socket_timeout_limits_a_wait(library):
    package, *_ = LIBRARIES[library]
    here = client(library, socket_timeout=0.05)
    with pytest.raises(package.TimeoutError):
        here.blpop("queue", 0)
    assert here.rpush("queue", "kept") == 1 and here.lrange("queue", 0, -1) == [b"kept"]


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_programs_do_with_a_client(library, protocol):
    package, *_ = LIBRARIES[library]
    here = client(
        library, protocol=protocol, client_name="worker", retry_on_timeout=True, health_check_interval=3600
    )
    assert here.client_getname() in (b"worker", "worker")
    listed = here.client_list()[0]
    assert listed["name"] == "worker" and listed["resp"] == str(protocol)
    assert listed["lib-name"].startswith(f"{library}-py")
    script = here.register_script("return {KEYS[1], redis.call('INCRBY', KEYS[1], ARGV[1])}")
    assert script(keys=["n"], args=[5]) == [b"n", 5]
    here.script_flush()
    assert script(keys=["n"], args=[5]) == [b"n", 10]
    with here.pipeline() as pipe:
        script(keys=["n"], args=[1], client=pipe)
        assert pipe.get("n").execute() == [[b"n", 11], b"11"]
    lock = here.lock("lock", timeout=60)
    assert lock.acquire(blocking=False) and not here.lock("lock").acquire(blocking=False)
    assert lock.owned() and lock.extend(10) and lock.reacquire()
    lock.release()
    with pytest.raises(package.exceptions.LockError):
        lock.release()
    with here.lock("lock", timeout=60, blocking_timeout=10):
        assert here.exists("lock")
    assert not here.exists("lock")
    with pytest.raises(package.exceptions.NoScriptError):
        here.evalsha("0" * 40, 0)


def test_health_is_checked(library):
    here = client(library, health_check_interval=3600)
    here.set("k", 1)
    before = here.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
    connection = here.connection_pool.get_connection("PING")
    connection.next_health_check = 0
    here.connection_pool.release(connection)
    assert here.get("k") == b"1" and here.get("k") == b"1"
    assert here.info("commandstats")["cmdstat_ping"]["calls"] == before + 1


def test_maintenance_is_not_announced(name, caplog):
    caplog.set_level(logging.DEBUG)
    auto = MaintNotificationsConfig(enabled="auto")
    for options in ({"protocol": 3}, {"protocol": 3, "maint_notifications_config": auto}, {}):
        assert redis.Redis(connection_pool=keystead.redis.pool(name, **options)).ping()
        plain = redis.ConnectionPool(connection_class=keystead.redis.Connection, engine=name, **options)
        assert redis.Redis(connection_pool=plain).ping()
    with pytest.raises(redis.RedisError, match="Maintenance"):
        keystead.redis.pool(protocol=3, maint_notifications_config=MaintNotificationsConfig(enabled=True))
    assert [record for record in caplog.records if record.name.startswith("redis")] == []
    with pytest.raises(redis.ResponseError, match="unknown subcommand"):
        redis.Redis(connection_pool=keystead.redis.pool(name)).execute_command(
            "CLIENT", "MAINT_NOTIFICATIONS", "ON"
        )


def test_replies_come_past_invalidations(library):
    here = client(library, protocol=3)
    other = client(library, here.connection_pool.engine)
    connection = here.connection_pool.get_connection("GET")
    told = []
    connection._parser.set_invalidation_push_handler(told.append)
    for words in (("CLIENT", "TRACKING", "ON"), ("GET", "k"), ("PING",)):
        connection.send_command(*words)
        connection.read_response()
    other.set("k", 1)
    assert connection.can_read(timeout=10)
    connection.send_command("GET", "k")
    assert connection.read_response() == b"1" and told == [[b"invalidate", [b"k"]]]
    # A message by itself, for who asks for that.
    other.set("k", 2)
    assert connection.read_response(push_request=True) is None and len(told) == 2
    here.connection_pool.release(connection)


def test_client_side_caching_of_redis_py():
    pool = keystead.redis.pool(protocol=3, decode_responses=True, cache_config=redis.cache.CacheConfig())
    here = redis.Redis(connection_pool=pool)
    other = keystead.Valkey(pool.engine)
    other.set("k", "one")
    assert [here.get("k") for _ in range(3)] == ["one"] * 3 and pool.cache.size == 1
    reads = other.info("commandstats")["cmdstat_get"]["calls"]
    assert here.get("k") == "one" and other.info("commandstats")["cmdstat_get"]["calls"] == reads
    other.set("k", "two")
    assert here.get("k") == "two"
    other.flushall()
    assert here.get("k") is None


@pytest.mark.parametrize("single", [False, True])
def test_client_side_caching_of_valkey_py(single):
    engine = keystead.Engine()
    pool = keystead.valkey.pool(engine, protocol=3, cache_enabled=True)
    here = valkey.Valkey(connection_pool=pool, single_connection_client=single)
    other = keystead.Valkey(engine)
    other.set("k", "one")
    assert [here.get("k") for _ in range(3)] == [b"one"] * 3
    reads = other.info("commandstats")["cmdstat_get"]["calls"]
    assert here.get("k") == b"one" and other.info("commandstats")["cmdstat_get"]["calls"] == reads
    other.set("k", "two")
    assert here.get("k") == b"two"
    here.close()


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("kind", TASKS)
def test_tasks(kind, protocol):
    package, make, own = TASKS[kind]

    async def main():
        pool = own.AsyncPool.from_url(
            f"keystead://?protocol={protocol}", client_name="task", health_check_interval=3600
        )
        assert isinstance(pool, package.ConnectionPool)
        here = make(connection_pool=pool)
        assert await here.client_getname() in (b"task", "task")
        # One who is cancelled waits no longer, and nothing of it is left for whoever comes next.
        waiting = asyncio.create_task(here.blpop("queue", 0))
        while (await here.info("clients"))["blocked_clients"] == 0:  # noqa: ASYNC110
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert await here.rpush("queue", "kept") == 1
        assert [await here.ping() for _ in range(3)] == [True] * 3
        assert await here.lrange("queue", 0, -1) == [b"kept"]
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(here.blpop("none", 0), 0.01)
        assert await here.ping()
        waiting = [asyncio.create_task(here.blpop(f"q{number}", 60)) for number in range(5)]
        await asyncio.sleep(0)
        for number in range(5):
            await here.rpush(f"q{number}", number)
        assert [list(pair)[1] for pair in await asyncio.gather(*waiting)] == [b"0", b"1", b"2", b"3", b"4"]
        script = here.register_script("return ARGV[1]")
        assert await script(args=["x"]) == b"x"
        async with here.lock("lock", timeout=60):
            assert not await here.lock("lock").acquire(blocking=False)
        async with here.pipeline() as pipe:
            await pipe.watch("k")
            await here.set("k", 1)
            pipe.multi()
            pipe.set("k", 2)
            with pytest.raises(package.WatchError):
                await pipe.execute()
        limited = make(connection_pool=own.AsyncPool(pool.engine, socket_timeout=0.05))
        with pytest.raises(package.TimeoutError):
            await limited.blpop("none", 0)
        assert await limited.get("k") == b"1"
        await limited.aclose()
        before = (await here.info("commandstats"))["cmdstat_ping"]["calls"]
        connection = await pool.get_connection("PING")
        connection.next_health_check = 0
        await pool.release(connection)
        await here.get("k")
        assert (await here.info("commandstats"))["cmdstat_ping"]["calls"] == before + 1
        await here.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("kind", TASKS)
def test_replies_come_past_invalidations_in_tasks(kind):
    _, make, own = TASKS[kind]

    async def main():
        here = make(connection_pool=own.AsyncPool(protocol=3), single_connection_client=True)
        await here.initialize()
        other = keystead.Store(here.connection_pool.engine)
        told = []
        here.connection._parser.set_invalidation_push_handler(told.append)
        await here.execute_command("CLIENT", "TRACKING", "ON")
        assert await here.get("k") is None
        other.set("k", "1")
        assert await here.get("k") == b"1" and told == [[b"invalidate", [b"k"]]]
        pubsub = here.pubsub()
        await pubsub.subscribe("c")
        assert (await pubsub.get_message(timeout=10))["type"] == "subscribe"
        other.execute("PUBLISH", "c", "x")
        assert (await pubsub.get_message(timeout=10))["data"] == b"x"
        await pubsub.aclose()
        await here.aclose()

    asyncio.run(main())


def test_workers_with_a_copy_are_warned(library, name):
    here = client(library, name)
    here.set("k", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client(library, name).get("k")

    def child():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = here.get("k")
            client(library, name).set("k", "the copy's")
        return value, [str(warning.message) for warning in caught if warning.category is CopyWarning]

    def work(pipe):
        pipe.send(child())

    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=work, args=(sender,))
    process.start()
    value, caught = receiver.recv()
    process.join()
    assert value == b"1" and len(caught) == 2 and "Engine.listen" in caught[0]
    assert here.get("k") == b"1"


def test_a_spawned_worker_is_warned(name, run):
    engine = keystead.Engine(name)
    code = f"""
        import pickle, warnings
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            print(pickle.loads({pickle.dumps(engine)!r}).name, [warning.category.__name__ for warning in caught])
    """
    assert run(code) == f"{name} ['CopyWarning']\n"
