"""Loads of missing keys: nobody waits in vain, nothing is left behind, and no load undoes what came after it.

What is cached under which key is tested in `test_cached.py`. The file stays whole: its programs and loaders serve all of its tests.
"""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import traceback
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import keystead.asyncio
from keystead import Cache, Store
from keystead._keystead import load_counts

#: Loads that signals end, fewer where the tests themselves run often.
LOADS = 4000 if "KEYSTEAD_REPEAT" not in os.environ else 400


@pytest.fixture
def promptly():
    """The test ends by itself, and not because those who wait lose their patience, which takes 2 seconds.

    On a busy machine all of it may take as long, so the engine's own count tells.
    """
    before = load_counts()[0]
    yield
    assert load_counts()[0] == before


prompt = pytest.mark.usefixtures("promptly")


def in_threads(*functions):
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in [pool.submit(function) for function in functions]]


# What is raised wherever ends the load.


class TimeUp(Exception):
    pass


def test_signal_handlers_that_raise_leave_no_load_behind(cache):
    def handler(*_):
        raise TimeUp

    old = signal.signal(signal.SIGALRM, handler)
    raised = 0
    try:
        for number in range(LOADS):
            try:
                signal.setitimer(signal.ITIMER_REAL, 1e-6 + number % 40 * 1e-6)
                cache.wrap(f"k{number}", lambda: 1)
            except TimeUp:
                raised += 1
            finally:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                except TimeUp:
                    signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert raised > 0
    assert [cache.wrap(f"k{number}", lambda: 1) for number in range(LOADS)] == [1] * LOADS


def test_a_signal_ends_a_wait(cache, until_others_wait):
    gate, done = threading.Event(), threading.Event()

    def load():
        gate.set()
        done.wait(100)
        return "late"

    thread = threading.Thread(target=lambda: cache.wrap("k", load))
    thread.start()
    gate.wait()

    def handler(*_):
        raise TimeUp

    def alarm():
        until_others_wait(1)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    old = signal.signal(signal.SIGALRM, handler)
    killer = threading.Thread(target=alarm)
    try:
        with pytest.raises(TimeUp):
            killer.start()
            cache.wrap("k", lambda: "own")
    finally:
        killer.join()
        signal.signal(signal.SIGALRM, old)
        done.set()
        thread.join()
    assert cache.get("k") == "late"


@prompt
@pytest.mark.parametrize(
    "error", [ZeroDivisionError, StopIteration, KeyboardInterrupt, SystemExit, GeneratorExit]
)
def test_whatever_a_loader_raises_ends_its_load(cache, error):
    kept = []

    def load():
        raise error("x")

    for _ in range(2):
        with pytest.raises(error) as raised:
            cache.wrap("k", load)
        # A traceback keeps the frames of whoever was under way.
        kept.append(raised)
    assert in_threads(lambda: cache.wrap("k", lambda: 1)) == [1]


@pytest.mark.parametrize("error", [ZeroDivisionError, StopIteration, KeyboardInterrupt])
def test_who_waits_hears_of_exceptions_but_not_of_interruptions(cache, error, until_others_wait):
    gate = threading.Event()

    def load():
        gate.set()
        until_others_wait(2)
        raise error("x")

    def first():
        try:
            return cache.wrap("k", load)
        except BaseException as raised:
            return type(raised)

    def second():
        gate.wait()
        try:
            return cache.wrap("k", lambda: "own")
        except BaseException as raised:
            return type(raised)

    async def third():
        async def own():
            return "own"

        await asyncio.to_thread(gate.wait)
        try:
            return await cache.wrap_async("k", own)
        except BaseException as raised:
            return type(raised)

    results = in_threads(first, second, lambda: asyncio.run(third()))
    if error is KeyboardInterrupt:
        assert results == [error, "own", "own"]
    else:
        # A coroutine can't raise StopIteration: Python makes another of it.
        assert results == [error, error, RuntimeError if error is StopIteration else error]


async def test_tracebacks_of_shared_exceptions_do_not_pile_up(cache):
    async def fail():
        await asyncio.sleep(0.01)
        raise ValueError("x")

    results = await asyncio.gather(*[cache.wrap_async("k", fail) for _ in range(100)], return_exceptions=True)
    assert len({id(error) for error in results}) == 1
    frames = traceback.extract_tb(results[0].__traceback__)
    assert len(frames) < 20 and frames[-1].name in ("fail", "load_async", "_wait")
    assert "fail" in [frame.name for frame in frames]


def test_values_that_cannot_be_stored_fail_everybody_and_leave_nothing(cache):
    for _ in range(2):
        with pytest.raises(TypeError):
            cache.wrap("k", lambda: {1})
    assert cache.wrap("k", lambda: 1) == 1
    with pytest.raises(TypeError):
        cache.wrap("t", lambda: 1, ttl="5")
    assert cache.wrap("t", lambda: 1) == 1


@prompt
async def test_cancelled_and_discarded_loads_go_to_others(cache):
    async def forever():
        await asyncio.sleep(100)

    async def quick():
        return "quick"

    task = asyncio.create_task(cache.wrap_async("k", forever))
    await asyncio.sleep(0)
    waiting = asyncio.create_task(cache.wrap_async("k", quick))
    await asyncio.sleep(0.01)
    task.cancel()
    assert await waiting == "quick"
    coroutine = cache.wrap_async("thrown away", forever)
    coroutine.send(None)
    del coroutine
    gc.collect()
    assert await cache.wrap_async("thrown away", quick) == "quick"


@prompt
def test_a_loop_that_stands_still_is_not_waited_for(cache):
    async def forever():
        await asyncio.sleep(100)

    async def quick():
        return 6

    for number, end in enumerate([lambda loop: None, lambda loop: loop.close()]):
        loop = asyncio.new_event_loop()
        tasks = [loop.create_task(cache.wrap_async(f"{kind}{number}", forever)) for kind in "ab"]
        loop.run_until_complete(asyncio.sleep(0.01))
        end(loop)
        assert cache.wrap(f"a{number}", lambda: 5) == 5
        assert asyncio.run(cache.wrap_async(f"b{number}", quick)) == 6
        if not loop.is_closed():
            for task in tasks:
                task.cancel()
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
            loop.close()
        else:
            for task in tasks:
                task._log_destroy_pending = False


def test_a_waiting_loop_that_is_closed_harms_nobody(cache):
    gate, done = threading.Event(), threading.Event()

    def load():
        gate.set()
        done.wait(100)
        return 1

    thread = threading.Thread(target=lambda: cache.wrap("k", load))
    thread.start()
    gate.wait()
    loop = asyncio.new_event_loop()
    task = loop.create_task(cache.wrap_async("k", asyncio.sleep))
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    done.set()
    thread.join()
    assert cache.get("k") == 1
    task._log_destroy_pending = False


# Who would wait in a circle loads by itself.


@prompt
def test_a_loader_may_need_its_own_key(cache):
    assert cache.wrap("k", lambda: cache.wrap("k", lambda: 5) + 1) == 6 == cache.get("k")
    deep = cache.wrap("a", lambda: 1 + cache.wrap("b", lambda: 1 + cache.wrap("a", lambda: 1)))
    assert deep == 3 == cache.get("a")


@prompt
@pytest.mark.parametrize("engines", [1, 2])
def test_crossed_loaders(engines):
    caches = [Cache() for _ in range(engines)] * 2
    barrier = threading.Barrier(2)

    def load(own, other, name):
        def loader():
            barrier.wait()
            return 1 + other.wrap(name, lambda: 1)

        return lambda: own.wrap({"a": "b", "b": "a"}[name], loader)

    assert in_threads(load(caches[0], caches[1], "b"), load(caches[1], caches[0], "a")) in (
        [2, 2],
        [2, 3],
        [3, 2],
    )


@prompt
async def test_crossed_coroutines(cache):
    async def leaf():
        return 1

    async def one():
        await asyncio.sleep(0.02)
        return await cache.wrap_async("b", leaf)

    async def two():
        await asyncio.sleep(0.02)
        return await cache.wrap_async("a", leaf)

    assert await asyncio.gather(cache.wrap_async("a", one), cache.wrap_async("b", two)) == [1, 1]


@prompt
async def test_a_call_that_blocks_the_loop_does_not_wait_for_its_tasks(cache):
    gate = asyncio.Event()

    async def load():
        await gate.wait()
        return "awaited"

    def elsewhere():
        # Waits for the task, so the task's thread must not wait for it.
        return cache.wrap("other", lambda: cache.wrap("k", lambda: "never"))

    task = asyncio.create_task(cache.wrap_async("k", load))
    await asyncio.sleep(0)
    thread = asyncio.create_task(asyncio.to_thread(elsewhere))
    await asyncio.sleep(0.01)
    assert cache.wrap("k", lambda: "at once") == "at once"
    assert cache.wrap("other", lambda: "at once") in ("at once", "awaited")
    gate.set()
    assert await task == "awaited" and await thread in ("at once", "awaited")


@prompt
async def test_sync_and_async_functions_of_one_prefix(cache):
    @cache.cached(prefix="p:")
    async def slow(number):
        await asyncio.sleep(0.05)
        return number

    @cache.cached(prefix="p:")
    def fast(number):
        return number

    task = asyncio.ensure_future(slow(1))
    await asyncio.sleep(0)
    assert fast(1) == 1 == await task


@prompt
async def test_tasks_and_threads_that_a_loader_awaits(cache):
    async def inner():
        return 5

    async def by_task():
        return await asyncio.create_task(cache.wrap_async("task", inner))

    async def by_thread():
        return await asyncio.to_thread(cache.wrap, "thread", lambda: 6)

    assert await cache.wrap_async("task", by_task) == 5
    assert await cache.wrap_async("thread", by_thread) == 6


def test_a_loader_that_waits_for_a_thread_that_waits_for_it(cache):
    before = load_counts()[0]
    with ThreadPoolExecutor(1) as pool:
        assert cache.wrap("k", lambda: pool.submit(cache.wrap, "k", lambda: 5).result()) == 5
    assert load_counts()[0] == before + 1


async def test_waits_have_an_end(cache):
    started, stop, loads = threading.Event(), threading.Event(), []

    def stuck():
        loads.append(1)
        started.set()
        stop.wait(100)
        return "late"

    async def load():
        loads.append(1)
        return "in time"

    thread = threading.Thread(target=lambda: cache.wrap("k", stuck))
    thread.start()
    # On a busy machine another would load first, and nobody would have to wait.
    assert started.wait(100)
    before = load_counts()[0]
    waiting = [asyncio.to_thread(cache.wrap, "k", lambda: loads.append(1) or "in time") for _ in range(3)]
    results = await asyncio.gather(*[cache.wrap_async("k", load) for _ in range(20)], *waiting)
    assert load_counts()[0] == before + 1
    stop.set()
    thread.join()
    # One of those who waited loaded for all of them, and what is older does not replace it.
    assert results == ["in time"] * 23 and len(loads) == 2 and cache.get("k") == "in time"


# Tasks.


@prompt
async def test_a_task_that_outlives_its_loader_shares_loads(cache):
    tasks, loads = [], []

    async def slow():
        loads.append(1)
        await asyncio.sleep(0.02)
        return len(loads)

    async def background():
        await asyncio.sleep(0.02)
        cache.delete("k")
        return await asyncio.gather(*[cache.wrap_async("k", slow) for _ in range(10)])

    async def load():
        tasks.append(asyncio.create_task(background()))
        return "first"

    assert await cache.wrap_async("k", load) == "first"
    assert await tasks[0] == [1] * 10

    async def fans_out():
        return sum(await asyncio.gather(*[cache.wrap_async("fan", slow) for _ in range(10)]))

    loads.clear()
    assert await cache.wrap_async("fan", fans_out) == 10 == cache.get("fan") and loads == [1]


def test_no_exception_is_reported_that_nobody_was_to_retrieve():
    code = """
        import asyncio, gc, keystead

        cache = keystead.Cache()

        async def fail():
            await asyncio.sleep(0.01)
            raise ValueError("x")

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: print("reported", context))
            for number in range(20):
                tasks = [asyncio.create_task(cache.wrap_async("k", fail)) for _ in range(20)]
                await asyncio.sleep(0.005)
                for task in tasks[::2]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                del tasks
                gc.collect()

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# What came meanwhile stays.


@pytest.mark.parametrize(
    "change",
    [
        lambda cache, store: cache.set("k", "new"),
        lambda cache, store: cache.set_many({"k": "new"}),
        lambda cache, store: cache.incr("k"),
        lambda cache, store: cache.delete("k"),
        lambda cache, store: cache.delete("other", "k"),
        lambda cache, store: cache.clear(),
        lambda cache, store: cache.clear("k"),
        lambda cache, store: cache.__setitem__("k", "new"),
        lambda cache, store: cache.pop("k", None) or cache.delete("k"),
        lambda cache, store: store.set("ns:k", "new"),
        lambda cache, store: store.delete("ns:k"),
        lambda cache, store: store.execute("SET", "ns:k", "new"),
        lambda cache, store: store.execute("DEL", "ns:k"),
        lambda cache, store: store.execute("FLUSHALL"),
        lambda cache, store: store.pipeline([("SET", "ns:k", "new")], transaction=True),
    ],
)
async def test_a_load_does_not_overwrite_what_came_after_it_began(name, change):
    cache, store = Cache(name, namespace="ns"), Store(name)
    others = [Cache(name, namespace="ns"), Cache(cache.engine, namespace="ns")]
    for other in others:
        cache.clear()

        def load(other=other):
            change(other, store)
            return "old"

        async def load_later(load=load):
            await asyncio.sleep(0)
            return load()

        @cache.cached(prefix="", key=lambda: "k")
        def function(load=load):
            return load()

        for call in (lambda load=load: cache.wrap("k", load), function, function.refresh):
            assert call() == "old"
            assert cache.get("k") in ("new", 1, None)
            cache.delete("k")
        assert await cache.wrap_async("k", load_later) == "old"
        assert cache.get("k") in ("new", 1, None)


async def test_who_comes_after_a_change_does_not_get_what_was_loaded_before(cache):
    async def slow(value):
        await asyncio.sleep(0.05)
        return value

    first = asyncio.create_task(cache.wrap_async("k", lambda: slow("old")))
    await asyncio.sleep(0.01)
    cache.delete("k")
    second = asyncio.create_task(cache.wrap_async("k", lambda: slow("new")))
    assert await first == "old" and await second == "new" == cache.get("k")


def test_keys_are_bytes_whatever_they_are_spelled_as(name, until_others_wait):
    loads = []

    def ask(cache, key):
        def load():
            loads.append(key)
            until_others_wait(3)
            return "value"

        return lambda: cache.wrap(key, load)

    caches = [
        Cache(name, namespace="n"),
        Cache(name),
        Cache(name, namespace="n"),
        keystead.asyncio.Cache(name)._plain(),
    ]
    keys = ["\u00e9", "n:\u00e9", "\u00e9".encode(), "n:\u00e9".encode()]
    assert in_threads(*map(ask, caches, keys)) == ["value"] * 4
    assert len(loads) == 1


# Closing and clearing.


def test_closing_a_cache_closes_nothing_else():
    engine = keystead.Engine()
    store, users, other = Store(engine), Cache(engine, namespace="users"), Store(engine, db=1)
    store.set("s", "precious")
    users.set("7", {"name": "Ada"})
    other.set("x", "y")
    with Cache(engine, namespace="tmp") as scratch:
        scratch.set("k", 1)
    keystead.asyncio.Cache(engine).close()
    Cache(engine).close()
    assert (store.get("s"), users.get("7"), other.get("x")) == (b"precious", {"name": "Ada"}, b"y")
    cache = Cache()
    kept = Store(cache.engine)
    cache.set("k", 1)
    cache.close()
    cache.close()
    assert kept.get("k") == b"1"
    with pytest.raises(keystead.exceptions.ConnectionError):
        cache.wrap("k", lambda: 1)


async def test_a_closed_asyncio_cache_loads_nothing():
    cache = keystead.asyncio.Cache()

    @cache.cached
    async def function():
        return 1

    cache.close()
    for call in (lambda: cache.wrap("k", function), function, function.refresh, lambda: cache.get("k")):
        with pytest.raises(keystead.exceptions.ConnectionError):
            await call()


async def test_clearing_a_namespace_clears_nothing_else(name):
    one, two, bare = Cache(name, namespace="one"), keystead.asyncio.Cache(name, namespace="one*"), Cache(name)
    for cache in (one, bare):
        cache.set_many({f"k{number}": number for number in range(2000)})
    await two.set("k", 1)
    assert await two.clear() == 1 and one.clear("k1") == 1111
    assert one.clear() == 889 and len(one) == 0 and len(bare) == 2000


def test_a_cache_that_is_closed_while_it_loads_stores_nothing(name):
    cache, other = Cache(name), Cache(name)

    def load():
        cache.close()
        return (1,)

    assert cache.wrap("k", load) == [1]
    assert "k" not in other


def test_the_memory_of_a_private_engine_goes_with_its_last_handle():
    cache = Cache()
    cache.set("k", "x")
    engine = weakref.ref(cache.engine)
    cache.close()
    del cache
    gc.collect()
    assert engine() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_loads_of_its_parent():
    code = """
        import os, threading, keystead
        from keystead._keystead import load_counts

        cache = keystead.Cache()
        begun, done = threading.Event(), threading.Event()

        def load():
            begun.set()
            done.wait(100)
            return "parent"

        thread = threading.Thread(target=lambda: cache.wrap("k", load))
        thread.start()
        begun.wait()
        child = os.fork()
        if child == 0:
            own = cache.wrap("k", lambda: "child")
            os._exit(0 if own == "child" == cache.get("k") and load_counts() == (0, 0) else 1)
        status = os.waitpid(child, 0)[1]
        done.set()
        thread.join()
        print(os.waitstatus_to_exitcode(status), cache.get("k"))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("0 parent\n", "")


@pytest.mark.parametrize("moment", [0.02, 0.1, 0.101, 0.105])
def test_threads_that_load_when_the_interpreter_ends_do_no_harm(moment):
    code = f"""
        import threading, time, keystead

        cache = keystead.Cache()

        def slow():
            time.sleep(0.1)
            return 1

        @cache.cached
        def cached(number):
            return slow()

        for number in range(4):
            threading.Thread(target=lambda: cache.wrap("k", slow), daemon=True).start()
            threading.Thread(target=lambda: cached(number=number), daemon=True).start()
        time.sleep({moment})
    """
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120
        )
        assert (done.returncode, done.stderr) == (0, "")
