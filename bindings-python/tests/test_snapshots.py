"""Snapshots and the options of what is kept on disk, through Python's faces. Opening, closing and children are in `test_persistence.py`."""

import asyncio
import os
import subprocess
import threading

import pytest

import keystead
import keystead.asyncio
from keystead import Cache, Engine, Store
from keystead.exceptions import BusyLoadingError, ConnectionError, KeysteadError

#: Whoever has not answered by then never will.
PATIENCE_S = 120


@pytest.fixture
def path(tmp_path):
    return tmp_path / "app.ks"


def info(engine):
    lines = Store(engine).execute("INFO", "persistence").decode().splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


# --- snapshots


def test_a_snapshot_is_restored(path, tmp_path):
    copy = tmp_path / "copy.rdb"
    with Cache(path=path, live=True) as cache:
        store = Store(cache.engine, db=2)
        cache.set("k", {"a": 1}, ttl=1000)
        store.execute("XADD", "stream", "1-1", "f", "v")
        cache.snapshot(copy)
        cache.set("k", {"a": 2})
        assert cache.get("k") == {"a": 2}
        cache.set("other", 1)
        store.delete("stream")
        cache.restore(copy)
        assert cache.get("k") == {"a": 1} and 900 < cache.ttl("k") <= 1000 and "other" not in cache
        assert store.execute("XLEN", "stream") == 1
        cache.set("behind", 1)
    with Cache(path=path) as cache:
        assert cache.get("k") == {"a": 1} and cache.get("behind") == 1 and "other" not in cache
    with Engine() as engine:
        engine.restore(str(copy))
        assert Store(engine, db=2).execute("XLEN", "stream") == 1 and Cache(engine).get("k") == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith("temp-")] == []


def test_a_damaged_snapshot_changes_nothing(path, tmp_path):
    copy = tmp_path / "copy.rdb"
    with Cache(path=path) as cache:
        cache.set_many({str(number): [number] * 50 for number in range(200)})
        cache.snapshot(copy)
        whole = copy.read_bytes()
        cache.clear()
        cache.set("k", 1)
        middle = len(whole) // 2
        damaged = {
            "half": whole[:middle],
            "empty": b"",
            "none": b"no snapshot at all",
            "a byte": whole[:middle] + bytes([whole[middle] ^ 0x55]) + whole[middle + 1 :],
            "checksum": whole[:-1] + bytes([whole[-1] ^ 1]),
        }
        for what, bytes_ in damaged.items():
            copy.write_bytes(bytes_)
            with pytest.raises(KeysteadError):
                cache.restore(copy)
            assert list(cache) == ["k"] and cache.incr("writes") == 1, what
            cache.delete("writes")
        with pytest.raises(ConnectionError, match="No such file"):
            cache.restore(tmp_path / "none.rdb")
        with pytest.raises(ConnectionError):
            cache.snapshot(tmp_path / "none" / "copy.rdb")
        with pytest.raises(ConnectionError):
            cache.snapshot(tmp_path)
        with pytest.raises(TypeError):
            cache.restore(None)
    assert Cache(path=path).get("k") == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["app.ks", "copy.rdb"]


async def test_snapshots_are_awaited_and_the_loop_goes_on(tmp_path):
    copy = tmp_path / "copy.rdb"
    cache = keystead.asyncio.Cache()
    await cache.set_many({str(number): "x" * 1000 for number in range(20_000)})
    for work in (cache.snapshot, cache.restore):
        task, turns = asyncio.ensure_future(work(copy)), 0
        while not task.done():
            await asyncio.sleep(0)
            turns += 1
        assert await task is None and turns > 1, work
    assert len(cache) == 20_000
    with pytest.raises(ConnectionError, match="No such file"):
        await cache.restore(tmp_path / "none")
    cache.close()
    with pytest.raises(ConnectionError, match="this cache is closed"):
        await cache.snapshot(copy)


def test_other_threads_go_on_while_a_snapshot_is_written(tmp_path):
    cache, stop = Cache(), threading.Event()
    cache.set_many({f"k{number}": "x" * 1000 for number in range(20_000)})
    started = threading.Event()

    def count():
        while not stop.is_set():
            cache.incr("count")
            started.set()

    thread = threading.Thread(target=count)
    thread.start()
    try:
        assert started.wait(PATIENCE_S), "the thread does not begin to count"
        for _ in range(100):
            before = cache.get("count")
            cache.engine.snapshot(tmp_path / "copy.rdb")
            if cache.get("count") > before + 1:
                break
        else:
            pytest.fail("nobody has counted during any of 100 snapshots")
    finally:
        stop.set()
        thread.join()


def test_whoever_writes_during_a_restore_is_refused_or_there(path, tmp_path):
    """Each write that was acknowledged behind the last one that was refused is there again."""
    copy = tmp_path / "copy.rdb"
    with Cache(path=path) as cache:
        cache.set_many({f"k{number}": "x" * 1000 for number in range(5000)})
        cache.snapshot(copy)
        acknowledged, stop = [], threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    cache.set("n", number)
                    acknowledged.append(number)
                except BusyLoadingError:
                    pass

        thread = threading.Thread(target=write)
        thread.start()
        try:
            for _ in range(3):
                cache.restore(copy)
        finally:
            stop.set()
            thread.join()
        cache.set("n", acknowledged[-1] + 1)
    with Cache(path=path) as cache:
        assert cache.get("n") == acknowledged[-1] + 1 and len(cache) == 5001


def test_files_are_the_servers(server, tmp_path):
    valkey = pytest.importorskip("valkey")
    client = valkey.Valkey(port=server)
    client.flushall()
    client.set("k", "v")
    client.rpush("list", *range(1000))
    client.save()
    folder = client.config_get("dir")["dir"]
    client.flushall()
    with Cache(path=tmp_path / "app.ks") as cache:
        cache.restore(os.path.join(folder, "dump.rdb"))
        assert cache.get("k") == "v" and Store(cache.engine).execute("LLEN", "list") == 1000
        cache.set("own", {"a": 1})
        cache.snapshot(tmp_path / "copy.rdb")
    # By this name the server's program checks files.
    check = tmp_path / "valkey-check-rdb"
    check.symlink_to(os.environ["KEYSTEAD_ORACLE"])
    done = subprocess.run([check, tmp_path / "copy.rdb"], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0 and "RDB looks OK" in done.stdout, done.stdout


# --- options


def test_options_of_the_log_are_honoured(path):
    config = {
        "appendonly": True,
        "appendfsync": "everysec",
        "no-appendfsync-on-rewrite": "no",
        "auto-aof-rewrite-percentage": 100,
        "auto-aof-rewrite-min-size": "64mb",
        "save": "",
        "rdbcompression": "yes",
        "rdbchecksum": True,
    }
    with Cache(path=path, config=config) as cache:
        shown = {name: Store(cache.engine).execute("CONFIG", "GET", name)[1] for name in config}
        assert shown == {
            "appendonly": b"yes", "appendfsync": b"everysec", "no-appendfsync-on-rewrite": b"no",
            "auto-aof-rewrite-percentage": b"100", "auto-aof-rewrite-min-size": b"67108864", "save": b"",
            "rdbcompression": b"yes", "rdbchecksum": b"yes",
        }  # fmt: skip
        assert info(cache.engine)["aof_enabled"] == "1"
    for policy in ("always", "no"):
        with Cache(path=path, config={"appendfsync": policy}) as cache:
            assert cache.incr("opened") > 0, policy
    assert Cache(path=path).get("opened") == 2


@pytest.mark.parametrize("opener", [Cache, Store, keystead.Valkey])
def test_appendonly_keeps_data_without_a_path(tmp_path, opener):
    config = {"appendonly": "yes", "dir": str(tmp_path), "appendfsync": "everysec", "save": ""}
    with opener(config=config) as opened:
        opened.set("k", 1)
        assert opened.engine.path is None
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["appendonlydir"]
    with opener(config=config) as opened:
        assert int(opened.get("k")) == 1
        with pytest.raises(ConnectionError, match=f"in use by process {os.getpid()}"):
            opener(config=config)
    text = f"appendonly yes\ndir {tmp_path}\nsave 900 1\n"
    with Engine(config=text) as engine:
        assert (
            Store(engine).get("k") == b"1" and Store(engine).execute("CONFIG", "GET", "save")[1] == b"900 1"
        )


def test_a_relative_folder_stays_where_it_is(tmp_path, monkeypatch):
    """A process may move on to another folder; its log does not."""
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    with Store(config={"appendonly": "yes", "dir": "data"}) as store, Store(path="app.ks") as kept:
        monkeypatch.chdir(tmp_path / "other")
        for opened in (store, kept):
            opened.set("k", 1)
            opened.execute("BGREWRITEAOF")
            while info(opened.engine)["aof_rewrite_in_progress"] == "1":
                pass
            assert info(opened.engine)["aof_last_bgrewrite_status"] == "ok"
            opened.set("k", 2)
    assert list((tmp_path / "other").iterdir()) == []
    monkeypatch.chdir(tmp_path)
    assert Store(config={"appendonly": "yes", "dir": "data"}).get("k") == b"2"
    assert Store(path="app.ks").get("k") == b"2"


def test_snapshots_beside_the_log(path):
    with Cache(path=path, config={"save": "900 1"}) as cache:
        cache.set("k", 1)
        assert Store(cache.engine).execute("SAVE") == b"OK"
    # It is what the log goes on from.
    assert not (path / "dump.rdb").exists() and len(list(path.glob("appendonlydir/*.base.ks"))) == 1
    assert Cache(path=path).get("k") == 1
    with Cache(path=path, config={"dbfilename": "dump.rdb"}) as cache:
        assert Store(cache.engine).execute("SAVE") == b"OK"
    assert (path / "dump.rdb").exists()


def test_without_a_log_a_folder_has_what_was_saved(path):
    config = {"appendonly": "no", "save": "900 1"}
    with Cache(path=path, config=config) as cache:
        cache.set("k", 1)
        Store(cache.engine).execute("SAVE")
        cache.set("k", 2)
    with Cache(path=path, config=config) as cache:
        assert cache.get("k") == 1
    with Cache(path=path) as cache:
        assert cache.get("k") == 1 and "imported" in cache.engine.opening_notes[0]
