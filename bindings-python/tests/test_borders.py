"""The borders: panics stay inside, errors map by kind, children of a busy process live, subinterpreters are refused."""

import os

import pytest

import keystead
from keystead import exceptions


def test_a_panic_is_an_ordinary_exception(capfd):
    with pytest.raises(exceptions.ResponseError, match="internal error in Keystead") as caught:
        keystead._keystead._panic()
    assert isinstance(caught.value, Exception) and caught.value.kind == "KS_ERR_INTERNAL"
    capfd.readouterr()


def test_every_kind_has_a_class():
    assert issubclass(exceptions.OutOfMemoryError, exceptions.ResponseError)
    assert issubclass(exceptions.ConnectionError, ConnectionError)
    assert issubclass(exceptions.DataError, ValueError)
    for name in exceptions.__all__:
        assert issubclass(getattr(exceptions, name), exceptions.KeysteadError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_children_forked_from_a_busy_process_live_and_work(run):
    """Many children, while other threads of the parent write, scan and compute all the time; none hangs, none fails."""
    code = """
        import os, threading, time
        from keystead import Cache, Store, Valkey

        cache, store, client = Cache("shared"), Store("shared"), Valkey("shared")
        cache.set("before", {"fork": True})
        end = False

        @cache.cached(ttl=0.001)
        def computed(number):
            return number

        def busy(number):
            step = 0
            while not end:
                step += 1
                cache.set(f"{number}:{step % 1000}", step, ttl=0.01)
                store.mget([f"{number}:{other}" for other in range(50)])
                client.get("before"), computed(step % 7)
                if step % 20 == 0:
                    client.keys("*"), client.pipeline().incr("n").execute()

        threads = [threading.Thread(target=busy, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()

        def child():
            assert cache.get("before") == {"fork": True}
            cache.set("child", os.getpid())
            assert cache.get("child") == os.getpid()
            assert store.execute("INCR", "of child") == 1 and client.pipeline().incr("of child").execute() == [2]
            assert client.get("before") is not None and computed(1000) == 1000
            cache.set("brief", 1, ttl=0.05)
            deadline = time.monotonic() + 10
            while "brief" in cache and time.monotonic() < deadline:
                time.sleep(0.01)
            assert "brief" not in cache
            fresh = Cache()
            fresh.set("k", 1)
            assert fresh.get("k") == 1 and cache.clear("of") == 1

        alive = {}
        good = 0
        for number in range(FORKS):
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    child()
                    status = 0
                except BaseException:
                    import traceback
                    traceback.print_exc()
                finally:
                    os._exit(status)
            alive[pid] = time.monotonic()
            while len(alive) >= 8:
                done, status = os.waitpid(-1, os.WNOHANG)
                if done:
                    del alive[done]
                    good += status == 0
                    continue
                time.sleep(0.002)
                assert time.monotonic() - min(alive.values()) < 30, "a child hangs"
        while alive:
            done, status = os.waitpid(-1, os.WNOHANG)
            if done:
                del alive[done]
                good += status == 0
                continue
            time.sleep(0.002)
            assert time.monotonic() - min(alive.values()) < 30, "a child hangs"
        assert cache.get("before") == {"fork": True} and store.get("of child") is None
        end = True
        for thread in threads:
            thread.join(20)
        print(good)
        """
    forks = os.environ.get("KEYSTEAD_FORKS", "200")
    assert run(code.replace("FORKS", forks), timeout=300).strip() == forks


#: What a subinterpreter runs.
IMPORT = """
for attempt in range(3):
    try:
        import keystead
    except ImportError as error:
        assert attempt > 0 or "subinterpreter" in str(error), error
    else:
        raise SystemError("it was imported")
"""


@pytest.mark.parametrize("first", [True, False])
def test_a_subinterpreter_refuses_the_import(run, first):
    """Whether it comes before the main interpreter's or after, which goes on in any case."""
    code = f"""
        import faulthandler, gc, importlib, sys
        faulthandler.dump_traceback_later(60, exit=True)
        for name in ("_interpreters", "_xxsubinterpreters"):
            try:
                interpreters = importlib.import_module(name)
                break
            except ImportError:
                pass
        if {first}:
            import keystead, keystead.asyncio
        source = "import sys; sys.path[:] = %r" % sys.path + {IMPORT!r}
        for _ in range(5):
            other = interpreters.create()
            problem = interpreters.run_string(other, source)
            assert problem is None, problem
            interpreters.destroy(other)
            gc.collect()
        import asyncio, keystead, keystead.asyncio
        cache, store = keystead.Cache("shared"), keystead.Store("shared")
        cached = cache.cached(live=True)(lambda x: {{"x": x}})
        assert cached(1) is cached(1)
        replies = store.pipeline([["SET", "q", "x"], ["INCR", "q"]])
        assert isinstance(replies[1], keystead.exceptions.ResponseError)
        cache.set("text", "x")
        try:
            cache.incr("text")
        except keystead.exceptions.ResponseError:
            print(asyncio.run(keystead.asyncio.Cache("shared").get("text")))
        """
    assert run(code).strip() == "x"


def test_importing_needs_no_extra(run):
    """Neither valkey-py, redis-py, Flask, orjson nor msgpack is imported by `import keystead` but as a codec."""
    code = """
        import sys, keystead
        keystead.Cache().set("k", [1])
        print(sorted(name for name in ("valkey", "redis", "flask", "msgpack") if name in sys.modules))
        """
    assert run(code).strip() == "[]"


def test_the_module_tells_its_version():
    from importlib.metadata import version

    assert keystead.__version__ == version("keystead")


def test_exit_with_work_under_way(run):
    """A process ends while threads use the engine."""
    code = """
        import threading
        from keystead import Cache
        cache = Cache("exit")
        def busy():
            while True:
                cache.set("k", 1, ttl=0.001), cache.clear("x")
        for _ in range(4):
            threading.Thread(target=busy, daemon=True).start()
        print("end")
        """
    for _ in range(5):
        assert run(code).strip() == "end"


def test_the_stubs_name_what_there_is():
    """Stubs are written by hand: they must name every class and method of the native module, with the same parameters."""
    import ast
    import inspect
    from pathlib import Path

    native = keystead._keystead
    stub = ast.parse((Path(keystead.__file__).parent / "_keystead.pyi").read_text())
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    there = {name: kind for name, kind in vars(native).items() if isinstance(kind, type)}
    assert set(classes) == set(there)
    for name, kind in there.items():
        methods = {node.name: node for node in classes[name].body if isinstance(node, ast.FunctionDef)}
        public = {method for method in vars(kind) if not method.startswith("__")}
        assert public == {method for method in methods if not method.startswith("__")}, name
        for method in public:
            if callable(getattr(kind, method)) and name in ("Cache", "Store", "AsyncCache", "AsyncStore"):
                real = list(inspect.signature(getattr(kind, method)).parameters)
                written = methods[method].args
                named = [argument.arg for argument in written.args] + (
                    [written.vararg.arg] if written.vararg else []
                )
                assert real == named, f"{name}.{method}"
