"""The clients on valkey-py and redis-py: the same program on Keystead and, where there is one, on a real server."""

import asyncio
import threading

import pytest

import keystead
import keystead.asyncio

valkey = pytest.importorskip("valkey")
redis = pytest.importorskip("redis")

import valkey.asyncio  # noqa: E402, F811

import keystead.redis  # noqa: E402
import keystead.valkey  # noqa: E402


def outcome(call):
    """What a call gives, or the class and text of its exception."""
    try:
        found = call()
    except (valkey.DataError, redis.DataError) as error:
        # hiredis, where redis-py uses it, words it differently.
        return type(error)
    except Exception as error:
        return type(error), str(error)
    if hasattr(found, "__next__"):
        found = sorted(found)
    return found


#: Steps on a client: methods of valkey-py with arguments, and some with their own code.
STEPS = [
    ("set", ("text", "größe")), ("get", ("text",)), ("get", ("none",)), ("set", ("text", "x"), {"nx": True}),
    ("set", ("text", "y"), {"xx": True, "get": True}), ("set", ("text", "z"), {"ex": 100, "keepttl": True}),
    ("append", ("text", "!")), ("strlen", ("text",)), ("getrange", ("text", 0, 2)), ("setrange", ("text", 1, b"\x80")),
    ("get", ("text",)), ("mset", ({"a": 1, "b": 2.5, "c": b"\x00\xff"},)), ("mget", (["a", "b", "none"],)),
    ("incr", ("a",)), ("incrbyfloat", ("b", 0.1)), ("decr", ("a", 5)), ("incr", ("text",)), ("getdel", ("c",)),
    ("getex", ("a",), {"ex": 50}), ("ttl", ("a",)), ("ttl", ("none",)), ("pttl", ("b",)), ("persist", ("a",)), ("expire", ("a", 10, True)),
    ("exists", ("a", "b", "none")), ("type", ("a",)), ("type", ("none",)), ("rename", ("a", "d")), ("rename", ("none", "d")),
    ("renamenx", ("b", "d")), ("copy", ("d", "e")), ("touch", ("d", "e")), ("delete", ("d", "none")),
    ("hset", ("hash", "f", 1)), ("hset", ("hash",), {"mapping": {"g": 2, "h": "x"}}), ("hget", ("hash", "f")), ("hgetall", ("hash",)),
    ("hmget", ("hash", ["f", "none"])), ("hincrby", ("hash", "f", 5)), ("hincrbyfloat", ("hash", "g", 0.5)), ("hkeys", ("hash",)),
    ("hexists", ("hash", "f")), ("hlen", ("hash",)), ("hdel", ("hash", "g")), ("hscan", ("hash",)), ("hscan_iter", ("hash",)),
    ("hgetall", ("none",)), ("hset", ("text", "f", 1)), ("get", ("hash",)),
    ("scan_iter", (), {"match": "*e*"}), ("scan_iter", (), {"count": 1}), ("keys", ("h*",)), ("dbsize", ()), ("ping", ()),
    ("echo", ("hello",)), ("config_get", ("maxmemory*",)), ("config_set", ("maxmemory", "no")), ("object", ("encoding", "text")),
    ("execute_command", ("NOPE", 1)), ("execute_command", ("GET",)), ("execute_command", ("CONFIG GET", "hz")),
    ("set", ("text", {})), ("set", ("text", None)), ("set", (True, 1)), ("set", ("text", b"v"), {"px": 0}), ("client_setname", ("me",)),
    ("client_getname", ()), ("memory_usage", ("none",)), ("lcs", ("text", "e")), ("time", None), ("flushdb", ()), ("dbsize", ()),
]  # fmt: skip


def run_steps(client):
    results = []
    for name, args, *options in STEPS:
        if args is None:
            results.append((name, len(outcome(getattr(client, name)))))
            continue
        results.append((name, args, outcome(lambda: getattr(client, name)(*args, **dict(*options)))))  # noqa: B023
    return results


def run_pipelines(client):
    results = []
    for transaction in (True, False):
        with client.pipeline(transaction=transaction) as pipe:
            pipe.set("p", 1).incr("p").hset("ph", "f", "v").hgetall("ph").get("p")
            results.append(outcome(pipe.execute))
            pipe.set("p", "text").incr("p").get("p")
            results.append(outcome(pipe.execute))
            pipe.incr("p").get("p")
            results.append([str(reply) for reply in pipe.execute(raise_on_error=False)])
            pipe.set("p", 1).set("p", {})
            results.append(outcome(pipe.execute))
            results.append(outcome(pipe.execute))
            pipe.execute_command("NOPE").set("q", 1)
            results.append(outcome(pipe.execute))
            results.append(outcome(lambda: client.get("q")))
    with client.pipeline() as pipe:
        pipe.watch("p")
        client.set("p", "changed")
        pipe.multi()
        pipe.set("p", "mine")
        results.append(outcome(pipe.execute)[0])
        pipe.watch("p")
        value = pipe.get("p")
        pipe.multi()
        pipe.set("p", "seen ")
        pipe.append("p", value)
        results.append(pipe.execute())
        results.append(client.get("p"))
        pipe.watch("p")
        pipe.unwatch()
        pipe.set("p", 5)
        results.append(pipe.execute())

    def increment(pipe):
        value = int(pipe.get("p"))
        pipe.multi()
        pipe.set("p", value + 1)

    results.append(client.transaction(increment, "p"))
    results.append(client.get("p"))
    return results


CLIENTS = {
    "valkey": (lambda **kw: keystead.Valkey(**kw), lambda port, **kw: valkey.Valkey(port=port, **kw)),
    "valkey, one connection": (
        lambda **kw: keystead.Valkey(single_connection_client=True, **kw),
        lambda port, **kw: valkey.Valkey(port=port, single_connection_client=True, **kw),
    ),
    "valkey, pool": (
        lambda **kw: valkey.Valkey(connection_pool=keystead.valkey.pool(**kw)),
        lambda port, **kw: valkey.Valkey(port=port, **kw),
    ),
    "redis": (
        lambda **kw: redis.Redis(connection_pool=keystead.redis.pool(**kw)),
        lambda port, **kw: redis.Redis(port=port, **kw),
    ),
}


@pytest.mark.parametrize(
    "options",
    [{}, {"decode_responses": True}, {"protocol": 3}, {"db": 2, "protocol": 3, "decode_responses": True}],
)
@pytest.mark.parametrize("library", CLIENTS)
def test_a_program_runs_as_on_a_server(library, options, server):
    options = {"protocol": 2, **options}
    ours, theirs = (
        make(**kw) for make, kw in zip(CLIENTS[library], (options, {"port": server, **options}), strict=True)
    )
    theirs.flushall()
    for run in (run_steps, run_pipelines):
        for mine, real in zip(run(ours), run(theirs), strict=True):
            assert mine == real
    theirs.close()
    ours.close()


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3}])
async def test_the_asyncio_client_runs_as_on_a_server(options, server):
    async def steps(client):
        await client.flushall()
        results = []
        for name, args, *more in STEPS:
            if args is None:
                continue
            try:
                found = getattr(client, name)(*args, **dict(*more))
                if hasattr(found, "__anext__"):
                    found = sorted([entry async for entry in found])
                else:
                    found = await found
            except Exception as error:
                found = type(error), str(error)
            results.append((name, args, found))
        async with client.pipeline(transaction=True) as pipe:
            results.append(await pipe.set("p", 1).incr("p").hgetall("none").execute())
            await pipe.watch("p")
            await client.set("p", 7)
            pipe.multi()
            pipe.set("p", 8)
            with pytest.raises(valkey.WatchError):
                await pipe.execute()
        async with client.pipeline(transaction=False) as pipe:
            replies = await pipe.set("p", "x").incr("p").get("p").execute(raise_on_error=False)
            results.append([str(reply) for reply in replies])
        return results

    theirs = valkey.asyncio.Valkey(port=server, **options)
    ours = keystead.asyncio.Valkey(**options)
    for mine, real in zip(await steps(ours), await steps(theirs), strict=True):
        assert mine == real
    await theirs.aclose()
    await ours.aclose()


def test_clients_of_a_name_share_their_data(name):
    one, two = keystead.Valkey(name), keystead.Valkey(name, decode_responses=True)
    one.set("key", "größe")
    assert two.get("key") == "größe" and keystead.Valkey().get("key") is None
    assert keystead.Valkey.from_url(f"keystead://{name}?decode_responses=true").get("key") == "größe"
    with pytest.raises(ValueError, match="keystead://"):
        keystead.Valkey.from_url("valkey://localhost")
    assert redis.Redis(connection_pool=keystead.redis.pool(name)).get("key") == "größe".encode()
    assert keystead.Store(name).get("key") == "größe".encode()


def test_settings_that_the_engine_refuses_are_told_at_opening():
    with pytest.raises(valkey.ResponseError, match="out of range"):
        keystead.Valkey(db=99)
    with pytest.raises(valkey.DataError):
        keystead.Valkey(encoding="latin1")
    with pytest.raises(ValueError, match="pool"):
        keystead.Valkey(connection_pool=valkey.ConnectionPool())


def test_a_password(name):
    keep = keystead.Engine(name, config="requirepass secret\n")
    with pytest.raises(valkey.AuthenticationError):
        keystead.Valkey(name)
    with pytest.raises(valkey.AuthenticationError):
        keystead.Valkey(name, password="wrong")
    client = keystead.Valkey(name, password="secret")
    assert client.set("key", 1) and client.pipeline().get("key").execute() == [b"1"]
    assert keystead.Valkey(name, username="default", password="secret", protocol=3).get("key") == b"1"
    del keep


def test_names_reach_the_engine(name):
    client = keystead.Valkey(name, client_name="worker", decode_responses=True)
    assert client.client_getname() == "worker"
    listed = client.client_list()
    assert {"worker"} == {entry["name"] for entry in listed} and listed[0]["lib-name"] == "keystead"


def test_own_callbacks_and_raw_replies():
    client = keystead.Valkey(decode_responses=True)
    client.set_response_callback("GET", lambda reply, **options: ("mine", reply))
    client.set("key", b"\xff")
    with pytest.raises(UnicodeDecodeError):
        client.mget("key")
    client.set("key", "v")
    assert client.get("key") == ("mine", "v")
    assert client.execute_command("ECHO", "x", NEVER_DECODE=True) == b"x"
    assert client.execute_command("HGET", "key", "f", EMPTY_RESPONSE=[]) == []


def test_threads_share_a_client(name):
    client, failures = keystead.Valkey(name), []

    def work(number):
        try:
            for step in range(300):
                key = f"{number}:{step}"
                client.set(key, step)
                assert client.get(key) == str(step).encode()
                with client.pipeline() as pipe:
                    assert pipe.incr(key).incr("total").execute()[0] == step + 1
                if step % 50 == 0:
                    client.keys("*")
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures and client.get("total") == b"2400"


def test_a_missing_server_command_is_an_ordinary_error():
    with pytest.raises(valkey.ResponseError, match="unknown command"):
        keystead.Valkey().execute_command("FT.SEARCH", "x")


async def test_an_error_is_raised_where_it_is_awaited():
    client = keystead.asyncio.Valkey()
    await client.set("text", "x")
    pending = client.hget("text", "f")
    with pytest.raises(valkey.ResponseError, match="WRONGTYPE"):
        await pending
    results = await asyncio.gather(client.get("text"), client.incr("text"), return_exceptions=True)
    assert results[0] == b"x" and isinstance(results[1], valkey.ResponseError)


async def test_redis_asyncio(name):
    client = redis.asyncio.Redis(connection_pool=keystead.redis.async_pool(name, decode_responses=True))
    assert await client.set("key", 1) and await client.get("key") == "1"
    assert await client.pipeline().incr("key").hset("h", "f", "v").hgetall("h").execute() == [
        2,
        1,
        {"f": "v"},
    ]
    with pytest.raises(redis.ResponseError):
        await client.incr("h")
    await client.aclose()


async def test_own_callbacks_of_the_asyncio_client():
    client = keystead.asyncio.Valkey(decode_responses=True)
    await client.set("key", "v")
    client.set_response_callback("get", lambda reply, **options: ("mine", reply))
    assert await client.get("key") == ("mine", "v") == await client.execute_command("Get", "key")

    async def later(reply, **options):
        return ("later", reply)

    client.set_response_callback("ECHO", later)
    assert await client.echo("x") == ("later", "x") and await client.get("key") == ("mine", "v")
    assert await client.execute_command("PING", NEVER_DECODE=True) is not None


def test_a_subclass_may_override_execute_command():
    seen = []

    class Watched(keystead.Valkey):
        def execute_command(self, *args, **options):
            seen.append(args[0])
            return super().execute_command(*args, **options)

    client = Watched()
    client.set("key", 1)
    assert client.get("key") == b"1" and seen == ["SET", "GET"]


def test_select_moves_all_calls_of_a_client():
    import asyncio

    import keystead.asyncio

    client = keystead.Valkey(decode_responses=True)
    zero = keystead.Store(client.engine)
    client.set("k", "zero")
    assert client.pipeline().get("k").execute() == ["zero"]
    assert client.select(3) is True
    assert client.set("k", "x") and client.append("k", "y") == 2 and client.get("k") == "xy"
    assert client.strlen("k") == 2 and client.pipeline().get("k").execute() == ["xy"]
    with client.pipeline() as pipe:
        pipe.watch("k")
        pipe.multi()
        pipe.append("k", "z")
        assert pipe.execute() == [3]
    seen = []
    thread = threading.Thread(target=lambda: seen.append((client.get("k"), client.strlen("k"))))
    thread.start(), thread.join()
    assert seen == [("xyz", 3)] and zero.get("k") == b"zero"
    with pytest.raises(valkey.ResponseError):
        client.select(99)
    assert client.get("k") == "xyz"
    assert client.execute_command("SELECT", 0) is True and client.get(
        "k"
    ) == "zero" == client.execute_command("GET", "k")
    assert client.dbsize() == 1

    async def awaited():
        client = keystead.asyncio.Valkey(zero.engine, decode_responses=True)
        assert await client.pipeline().get("k").execute() == ["zero"]
        await client.select(3)
        assert await client.get("k") == "xyz" and await client.strlen("k") == 3
        assert await client.pipeline().get("k").execute() == ["xyz"]

    asyncio.run(awaited())


def test_a_pooled_session_is_clean():
    store = keystead.Store()
    client = keystead.Valkey(store.engine)
    for call in (store.execute, client.execute_command):
        assert call("MULTI") in (b"OK", True, "OK")
        seen = []
        thread = threading.Thread(target=lambda call=call, seen=seen: seen.append(call("INCR", "visits")))
        thread.start(), thread.join()
        assert isinstance(seen[0], int)
        call("WATCH", "visits")
        assert b" watch=0" in store.execute("CLIENT", "INFO")
    store.pipeline([["MULTI"], ["SET", "a", "1"]])
    assert store.execute("INCR", "visits") == 3 and store.get("a") is None
    store.execute("SELECT", 3)
    store.execute("SET", "k", "mine")
    assert store.get("k") == b"mine" == store.execute("GET", "k")
    assert (
        store.pipeline([["SELECT", 3], ["SET", "k", "3"], ["GET", "k"]])[2] == b"3"
        and store.get("k") == b"mine"
    )
