"""The end of the interpreter, and what is given back before it."""

import os

import pytest

#: Processes that end, of each kind of call: fewer where the tests themselves run often.
ENDS = int(os.environ.get("KEYSTEAD_ENDS", "4"))

#: What threads may be in when Python ends.
CALLS = {
    "values": "cache.set('k%d' % (i % 1000), {'a': [i] * 10}); cache.get('k%d' % (i % 1000))",
    "many": "cache.set_many({str(x): [x] for x in range(50)}); cache.get_many([str(x) for x in range(50)])",
    "len": "len(cache)",
    "clear": "cache.clear('k')",
    "pages": "list(cache)",
    "commands": "store.execute('KEYS', '*'); store.execute('HGETALL', 'h')",
    "pipelines": "store.pipeline([['SET', 'p', 'x'], ['KEYS', '*']], transaction=bool(i % 2))",
    "errors": "errors()",
    "decorated": "f(i % 50); g(i % 50)",
    "wrap": "cache.wrap('w%d' % (i % 3), lambda: time.sleep(0.002) or [1], ttl=0.001)",
    "live": "live.set('x', [i]); live.get('x')",
    "clients": "client.set('c', i); client.get('c'); client.pipeline().incr('n').get('c').execute()",
    "subscripts": "cache['s'] = {'a': 1}; cache['s']; cache.pop('s', None)",
}


@pytest.mark.parametrize("name", CALLS)
def test_python_ends_while_threads_are_in_calls(run, name):
    code = f"""
        import sys, threading, time
        import keystead

        sys.setswitchinterval(1e-6)
        cache = keystead.Cache(namespace="n")
        live = keystead.Cache(live=50)
        store = keystead.Store()
        client = keystead.Valkey()
        for i in range(2000):
            cache.set(str(i), {{"a": [i] * 10}})
            store.hset("h", str(i), "v")

        def errors():
            try:
                store.incr("h")
            except keystead.exceptions.ResponseError:
                pass

        @cache.cached(ttl=0.001)
        def f(x):
            return {{"x": [x]}}

        @cache.cached(live=True)
        def g(x):
            return {{"x": [x]}}

        def busy():
            i = 0
            while True:
                i += 1
                {CALLS[name]}

        for _ in range(4):
            threading.Thread(target=busy, daemon=True).start()
        time.sleep(0.1)
        print("end", flush=True)
        """
    for _ in range(ENDS):
        assert run(code).strip() == "end"


def test_threads_that_are_joined_at_exit_do_not_hang(run):
    """A handler that was registered before the import runs after ours."""
    code = """
        import atexit, threading, time
        started = threading.Event()
        thread = None

        def stop():
            thread.join(60)
            print("alive" if thread.is_alive() else "joined", flush=True)

        atexit.register(stop)
        import keystead
        cache = keystead.Cache()

        def busy():
            while True:
                cache.set("k", [1])
                started.set()

        thread = threading.Thread(target=busy, daemon=True)
        thread.start()
        started.wait()
        """
    assert run(code).strip() == "joined"


@pytest.mark.parametrize("call", [
    'cache.incr("text")', 'cache.set("a", {"b": 1})', 'cache.get("json")', 'cache.set(5, 5)', 'store.execute("NONE")',
    'cache.clear()', 'len(cache)', 'store.pipeline([["INCR", "text"]])', 'cache.set("b", 2**70)', 'keystead.Cache()',
    'f(1)', 'f([])', 'f(object())', 'client.incr("text")', 'cache.close(); cache.get("text")',
])  # fmt: skip
def test_finalizers_may_call_while_python_ends(run, call):
    code = f"""
        import builtins, sys
        import keystead

        cache = keystead.Cache()
        store = keystead.Store(cache.engine)
        client = keystead.Valkey(cache.engine)
        f = cache.cached(prefix="f")(lambda x: x)
        cache.set("text", "abc"), cache.set("json", [1])

        class Late:
            def __del__(self, cache=cache, store=store, client=client, keystead=keystead, f=f):
                {call}

        builtins.keep, sys.keep, late = Late(), Late(), Late()
        print("end", flush=True)
        """
    assert run(code).strip() == "end"


def test_calls_give_objects_back_at_once(run):
    code = """
        import gc, weakref
        from keystead import Cache

        def resident():
            return int(open("/proc/self/statm").read().split()[1]) * 4096

        cache = Cache(live=50)
        document = {"rows": [{"id": i, "name": "n%d" % i} for i in range(200)]}

        def refresh(times):
            for i in range(times):
                document["v"] = i
                cache.set("k", document)
                cache.get("k")

        def big_integers(times):
            for i in range(times):
                cache.set("k", 2**64 + i)
                cache.cached(prefix="f")(lambda x: x)(2**70 + i % 5) if i % 1000 == 0 else None

        for work, times in ((refresh, 2000), (big_integers, 100_000)):
            work(times)
            before = resident()
            for _ in range(3):
                work(times)
            assert resident() - before < 4 << 20, (work, resident() - before)
        gc.collect()
        assert sum(1 for found in gc.get_objects() if type(found) is dict and "rows" in found) <= 2
        print("flat")
        """
    assert run(code).strip() == "flat"
