"""Data on disk: what is written is there again, one process at a time has it, children have copies. Kills are in `test_kills.py`, snapshots and
options in `test_snapshots.py`."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest
import redis.asyncio

import keystead
import keystead.asyncio
import keystead.redis
from keystead import Cache, Engine, Store
from keystead.exceptions import ConnectionError, KeysteadError

#: Whoever has not answered by then never will.
PATIENCE_S = 120


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.ks"


@pytest.fixture
def elsewhere(run):
    """What a cache in another process has under a key; the folder must be free."""

    def read(path, key):
        code = f"""
            import keystead
            with keystead.Cache(path={str(path)!r}) as cache:
                print(repr(cache.get({key!r})))
            """
        return run(code, timeout=PATIENCE_S).strip()

    return read


# --- opening and closing


def test_values_are_there_again(path):
    values = {
        "text": "ä",
        "bytes": b"\x00\xff",
        "int": 5,
        "float": 0.5,
        "dict": {"a": [1, None]},
        "none": None,
    }
    with Cache(path=path, namespace="n", db=3) as cache:
        cache.set_many(values)
        cache.set("short", 1, ttl=0.001)
        cache.set("late", 1, ttl=1000)
        cache.incr("count", 7)
        cache.set("gone", 1)
        assert cache.delete("gone") == 1 and cache.pop("count") == 7
    with Cache(path=str(path), namespace="n", db=3) as cache:
        assert cache.get_many(values) == values
        assert 900 < cache.ttl("late") <= 1000
        assert "short" not in cache and "gone" not in cache and "count" not in cache
        assert cache.engine.opening_notes == []


def test_every_face_keeps_its_data(path):
    with keystead.Valkey(path=path) as client:
        client.set("client", 1)
        client.pipeline().rpush("list", "a", "b").hset("hash", "f", "v").execute()
    with Store(path=path) as store:
        assert store.get("client") == b"1"
        store["store"] = b"2"
        store.pipeline().set("recorded", 3).incr("recorded").execute()
    with Engine(path=path) as engine:
        redis.Redis(connection_pool=keystead.redis.pool(engine)).set("redis", 4)
    # A pool has its engine until it is gone itself.
    redis.Redis(connection_pool=keystead.redis.pool(path=path)).zadd("zset", {"m": 1.5})
    with keystead.Valkey(path=path, decode_responses=True) as client:
        assert client.mget("client", "store", "recorded", "redis") == ["1", "2", "4", "4"]
        assert client.lrange("list", 0, -1) == ["a", "b"] and client.hgetall("hash") == {"f": "v"}
        assert client.zscore("zset", "m") == 1.5


async def test_the_asyncio_faces_keep_their_data(path):
    async with keystead.asyncio.Cache(path=path) as cache:
        await cache.set("cache", {"a": 1})
        assert await cache.wrap("wrapped", _load) == [1]
    async with keystead.asyncio.Store(path=path) as store:
        await store.set("store", b"2")
    async with keystead.asyncio.Valkey(path=path) as client:
        await client.set("client", 3)
        await client.pipeline().incr("client").execute()
    async with redis.asyncio.Redis(connection_pool=keystead.redis.async_pool(path=path)) as client:
        await client.set("redis", 5)
    del client
    cache = keystead.asyncio.Cache(path=path)
    assert await cache.get_many(["cache", "wrapped", "store", "client", "redis"]) == {
        "cache": {"a": 1}, "wrapped": [1], "store": 2, "client": 4, "redis": 5,
    }  # fmt: skip
    cache.close()
    with pytest.raises(ConnectionError):
        await cache.get("cache")


async def _load():
    return [1]


def test_urls_name_folders(path):
    with keystead.Valkey.from_url(f"keystead://{path}?db=2") as client:
        client.set("k", "v")
        assert client.engine.path == str(path)
    with Store(path=path, db=2) as store:
        assert store.get("k") == b"v"
    spaced = path.with_name("a b")
    with keystead.Valkey.from_url(f"keystead://?path={spaced}") as client:
        assert client.engine.path == str(spaced)
    with keystead.Valkey.from_url(f"keystead://{path.with_name('a%20b')}") as client:
        assert client.engine.path == str(spaced)
    assert keystead.Valkey.from_url("keystead:///3").connection_pool.connection_kwargs["db"] == 3
    with pytest.raises(ValueError, match="behind a name comes the number"):
        keystead.Valkey.from_url("keystead://name/path")


def test_flask_results_outlive_the_process(run, path):
    pytest.importorskip("flask")
    code = f"""
        import keystead
        from keystead.flask import cache_result, configure

        with keystead.Store(path={str(path)!r}) as store:
            configure(store)

            @cache_result(timeout=300, key_prefix="p:")
            def square(x):
                print("computed")
                return x * x

            print(square(4))
        """
    assert run(code).split() == ["computed", "16"]
    assert run(code).split() == ["16"]


def test_everybody_who_opens_a_folder_has_the_same_engine(path, monkeypatch):
    with Cache(path=path) as cache, Engine(path=os.fspath(path)) as engine:
        cache.set("k", 1)
        monkeypatch.chdir(path.parent)
        path.with_name("link").symlink_to(path)
        for way in ("app.ks", "./app.ks", path.parent / ".." / path.parent.name / "app.ks", "link"):
            assert Store(path=way).get("k") == b"1", way
        assert keystead.Valkey(path=path).get("k") == b"1"
        assert Store(path=path, db=1).get("k") is None
        assert engine._number == cache.engine._number and engine.path == str(path) and engine.name is None
        assert repr(engine) == f"<keystead.Engine in {path}>"


def test_many_threads_open_and_close_a_folder_at_once(path):
    failures = []

    def come_and_go(number):
        try:
            for turn in range(25):
                store = Store(path=path)
                store.incr("opened")
                # Closed, or left to whoever frees it.
                if (turn + number) % 2:
                    store.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=come_and_go, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "a thread hangs while it opens or closes"
    assert failures == []
    with Store(path=path) as store:
        assert store.get("opened") == b"100"


def test_a_name_and_a_path_are_too_much(path, name):
    for opener in (Engine, Cache, Store, keystead.Valkey, keystead.asyncio.Cache, keystead.asyncio.Store):
        with pytest.raises(ValueError, match="by its name or by its path"):
            opener(name, path=path)
    for opener in (Cache, Store, keystead.Valkey, keystead.asyncio.Cache, keystead.asyncio.Valkey):
        with pytest.raises(ValueError, match="an engine or a path"):
            opener(Engine(), path=path)
    assert not path.exists()
    with pytest.raises(TypeError):
        Cache(path=5)


def test_the_second_process_is_told_who_has_the_folder(run, path):
    code = f"""
        import keystead
        try:
            keystead.Cache(path={str(path)!r})
        except keystead.exceptions.ConnectionError as error:
            print(error.kind, error)
        """
    with Cache(path=path) as cache:
        cache.set("k", 1)
        said = run(code)
        assert said.startswith("KS_ERR_IO ") and f"{path} is in use by process {os.getpid()}" in said, said
        assert cache.get("k") == 1
    assert run(code) == ""


@pytest.mark.parametrize("close", ["with Cache", "Engine.close", "del"])
def test_another_process_has_what_was_acknowledged(elsewhere, path, close):
    for count in range(3):
        cache = Cache(path=path)
        assert cache.incr("count") == count + 1, f"round {count}"
        if close == "del":
            del cache
        elif close == "Engine.close":
            cache.engine.close()
        else:
            cache.close()
        assert elsewhere(path, "count") == str(count + 1), f"round {count}"


def test_the_engine_ends_with_the_last_who_closes(path):
    first, second = Cache(path=path), Cache(path=path)
    store, client = Store(first.engine), keystead.Valkey(first.engine)
    recorded = store.pipeline().set("p", 1)
    first.close()
    first.close()
    assert first.engine.closed and not second.engine.closed
    second.set("k", 1)
    store.set("s", 1)
    # Those who were given the engine have no say.
    client.close()
    store.close()
    second.set("k", 2)
    second.close()
    for write in (lambda: store.set("k", 3), lambda: store.execute("LPUSH", "l", 1), recorded.execute):
        with pytest.raises(ConnectionError, match="this engine is closed") as caught:
            write()
        assert caught.value.kind == "KS_ERR_CLOSED"
    with pytest.raises(keystead.valkey.ResponseError, match="this engine is closed"):
        client.set("k", 3)
    with pytest.raises(ConnectionError):
        second.get("k")
    with pytest.raises(ConnectionError):
        second.snapshot(path.with_name("copy.rdb"))
    with Cache(path=path) as again:
        assert again.get("k") == 2 and again.get("s") == 1 and "p" not in again
        again.set("k", 4)
    with pytest.raises(ConnectionError, match="this engine is closed"):
        store.set("k", 3)


def test_closing_a_cache_in_memory_ends_nothing(name):
    with Cache(name) as cache:
        cache.set("k", 1)
        store = Store(cache.engine)
    store.set("k", 2)
    assert Cache(name).get("k") == 2 and cache.engine.closed and cache.engine.opening_notes == []


def test_a_client_that_is_freed_leaves_the_engine_to_others(path):
    client = keystead.Valkey(path=path)
    store = Store(client.engine)
    del client
    store.set("k", 1)
    store.engine.close()
    assert Store(path=path).get("k") == b"1"


# --- what can go wrong


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for place in (tmp_path / "file" / "app.ks", tmp_path / "file", tmp_path / "none" / "app.ks"):
        with pytest.raises(ConnectionError, match=str(place)) as caught:
            Cache(path=place)
        assert caught.value.kind == "KS_ERR_IO"
    with pytest.raises(KeysteadError):
        Cache(path="")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    with pytest.raises(ConnectionError, match="Permission denied"):
        Cache(path=folder)
    with pytest.raises(ConnectionError, match="Permission denied"):
        Cache(path=folder / "app.ks")


def log_of(path):
    return path / "appendonlydir" / "appendonly.aof.1.incr.aof"


def test_an_end_that_is_cut_off_is_noted(path):
    with Cache(path=path) as cache:
        cache.set("k", 1)
    with open(log_of(path), "ab") as log:
        log.write(b"*3\r\n$3\r\nSET\r\n$1\r\nk")
    with pytest.raises(ConnectionError, match="Unexpected end of file"):
        Cache(path=path, config={"aof-load-truncated": False})
    with Cache(path=path) as cache:
        assert cache.get("k") == 1
        (note,) = cache.engine.opening_notes
        assert "no whole command" in note and str(log_of(path)) in note, note


FULL = """
    import resource, time
    import keystead

    path = {path!r}
    cache = keystead.Cache(path=path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    count = 0
    try:
        while count < 100_000:
            cache.set("k", [count, "x" * 1000])
            count += 1
    except keystead.exceptions.ResponseError as error:
        assert error.kind == "KS_ERR_MISCONF" and "File too large" in str(error), error
    else:
        raise AssertionError("no write was refused")
    acknowledged, count = count - 1, cache.get("k")[0]
"""


def test_writes_are_refused_while_the_log_cannot_be_written(run, path):
    pytest.importorskip("resource")
    code = """
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        end = time.monotonic() + 60
        while "other" not in cache:
            try:
                cache.set("other", count)
            except keystead.exceptions.ResponseError:
                assert time.monotonic() < end, "writes are refused although there is room"
                time.sleep(0.01)
        cache.close()
        print(count)
        """
    count = int(run(textwrap.dedent(FULL).format(path=str(path)) + textwrap.dedent(code)))
    with Cache(path=path) as cache:
        assert cache.get("k")[0] == count == cache.get("other") and cache.engine.opening_notes == []


def test_a_log_that_cannot_be_written_is_an_error_at_its_end_and_loses_nothing(run, path):
    pytest.importorskip("resource")
    code = """
        try:
            cache.close()
        except keystead.exceptions.ResponseError as error:
            print(acknowledged)
        """
    acknowledged = int(run(textwrap.dedent(FULL).format(path=str(path)) + textwrap.dedent(code)))
    with Cache(path=path) as cache:
        # The write that had an error for an answer, since nothing had room for it, may be there, and need not be.
        assert cache.get("k")[0] in (acknowledged, acknowledged + 1)
        assert "from its ring" in cache.engine.opening_notes[0]


def test_a_damaged_log_is_refused(path):
    with Cache(path=path) as cache:
        cache.set("k", 1)
    log = log_of(path).read_bytes()
    # It says that all of it was on the disk.
    log_of(path).write_bytes(log.replace(b"SET", b"SEX", 1))
    for _ in range(2):
        with pytest.raises(ConnectionError, match=str(log_of(path))):
            Cache(path=path)
    log_of(path).write_bytes(log)
    assert Cache(path=path).get("k") == 1


# --- children

CHILD = """
    import multiprocessing, os, sys, threading
    import keystead

    path = {path!r}
    cache = keystead.Cache(path=path)
    store = keystead.Store(cache.engine)
    client = keystead.Valkey(cache.engine)
    cache.set("k", "parent")

    def child():
        assert cache.get("k") == "parent"
        cache.set("k", "child"), store.set("s", "child"), client.set("c", "child")
        assert cache.get("k") == "child"
        for line in ("BGREWRITEAOF", "SAVE", "BGSAVE"):
            try:
                store.execute(line)
            except keystead.exceptions.DataError as error:
                assert "forked from" in str(error), error
            else:
                raise AssertionError(line)
        cache.snapshot(path + ".copy")
        cache.restore(path + ".copy")
        assert cache.get("k") == "child"
"""


@pytest.fixture
def forked(run, path):
    """Runs code behind that of `CHILD`, and returns what it printed."""
    if not hasattr(os, "fork"):
        pytest.skip("there is no fork here")

    def forked(code):
        return run(textwrap.dedent(CHILD).format(path=str(path)) + textwrap.dedent(code), timeout=PATIENCE_S)

    return forked


@pytest.mark.parametrize(
    "end", ["os._exit(0)", "cache.close(); os._exit(0)", "del cache, store, client; sys.exit(0)"]
)
def test_a_forked_child_has_a_copy(forked, path, end):
    said = forked(f"""
        pid = os.fork()
        if pid == 0:
            try:
                child()
            except BaseException as error:
                print("in the child:", repr(error), flush=True)
                os._exit(1)
            {end}
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert cache.get("k") == "parent" and store.get("s") is None
        cache.set("behind", 1)
        cache.close()
        print("done")
        """)
    assert said == "done\n"
    with Cache(path=path) as cache:
        assert sorted(cache) == ["behind", "k"] and cache.get("k") == "parent"
        assert cache.engine.opening_notes == []


def test_processes_of_multiprocessing_have_copies(forked, path):
    said = forked("""
        fork = multiprocessing.get_context("fork")
        stop, written = threading.Event(), [0]

        def write():
            while not stop.is_set():
                written[0] = cache.incr("count")

        thread = threading.Thread(target=write)
        thread.start()
        for turn in range(10):
            processes = [fork.Process(target=child) for _ in range(2)]
            for process in processes:
                process.start()
            for process in processes:
                process.join(60)
                assert process.exitcode == 0, (turn, process)
        stop.set()
        thread.join()
        cache.close()
        print(written[0])
        """)
    with Cache(path=path) as cache:
        assert cache.get("count") == int(said) and cache.get("k") == "parent"


def test_a_child_that_lives_on_does_not_keep_the_folder(forked, path):
    """The child ends when nobody has the other end of its pipe any more: this process, which it says its number to."""
    said = forked("""
        ask, answer = os.pipe()
        pid = os.fork()
        if pid == 0:
            # What reads the output of the parent does not wait for the child.
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 1), os.dup2(null, 2)
            os.close(answer)
            signal_end = os.read(ask, 1)
            try:
                cache.close()
                again = keystead.Cache(path=path)
                os._exit(0 if again.get("count") == 1 else 2)
            except BaseException:
                os._exit(1)
        cache.set("count", 0)
        cache.close()
        with keystead.Cache(path=path) as again:
            again.incr("count")
        os.write(answer, b"x")
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """)
    assert said == "0\n", "the child, which has closed its copy, can't open what its parent has closed"


def test_a_process_that_ends_without_closing_has_lost_nothing(run, path):
    code = f"""
        import keystead
        cache = keystead.Cache(path={str(path)!r})
        cache.incr("count", 1000)
        """
    for _ in range(2):
        run(code)
    with Cache(path=path) as cache:
        assert cache.get("count") == 2000


def test_a_terminated_process_has_lost_nothing(path):
    code = f"""
        import keystead, time
        cache = keystead.Cache(path={str(path)!r})
        cache.set("k", 1)
        print("written", flush=True)
        time.sleep({PATIENCE_S})
        """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "written\n", "the process has not written"
    child.send_signal(signal.SIGTERM)
    child.wait(PATIENCE_S)
    child.stdout.close()
    assert Cache(path=path).get("k") == 1
