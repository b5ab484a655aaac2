"""Where memory is short: an exception of the call, nothing half done, and a process that goes on."""

import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are Linux's")

#: Leaves `room` MB of address space, and calls until it has failed often enough.
LIMITED = """
    import resource, sys
    import keystead

    store = keystead.Store()
    cache = keystead.Cache(store.engine)
    store.set("x", "y")
    store.execute("HSET", "h", "a", "b")
    store.execute("INFO")

    def limit(room):
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + room * 2**20,) * 2)

    def failures(call, most=3000):
        failed = 0
        for number in range(most):
            try:
                call(number)
            except MemoryError:
                failed += 1
                if failed == 20:
                    break
        return failed

    def go_on():
        assert store.get("x") == b"y" and cache.get("x") == "y"
        assert store.execute("FLUSHALL") == b"OK" and store.set("a", "b") and store.get("a") == b"b"
        print("goes on")
"""

CALLS = {
    "get": """
        store.set("g", "v" * 30_000_000)
        limit(100)
        kept = []
        assert failures(lambda number: kept.append(store.get("g"))) == 20
        del kept
    """,
    "get of a cache": """
        cache.set("g", "v" * 30_000_000)
        limit(100)
        kept = []
        assert failures(lambda number: kept.append(cache.get("g"))) == 20
        del kept
    """,
    "mget": """
        for number in range(20):
            store.set("m%d" % number, "v" * 1_000_000)
        limit(100)
        names = lambda number: ["m%d" % (at % 20) for at in range(number * 5)]
        assert failures(lambda number: store.mget(names(number + 1))) == 20
        assert failures(lambda number: store.execute("MGET", *names(number + 1))) == 20
        failures(lambda number: cache.get_many(["g%d" % at for at in range(10**6)]), 2)
    """,
    "exec": """
        store.set("g", "v" * 1_000_000)
        limit(100)
        assert failures(lambda number: store.pipeline([["GET", "g"]] * (number * 10 + 1), transaction=True)) == 20
        assert failures(lambda number: store.pipeline([["GET", "g"]] * (number * 10 + 1))) == 20
    """,
    "multi": """
        limit(100)
        words = [["SET", "k%d" % number, b"v" * 1_000_000] for number in range(5)]
        words = [["MULTI"], *words * 100, ["EXEC"]]
        aborted = 0
        for _ in range(3):
            replies = store.pipeline(words)
            assert any(isinstance(reply, MemoryError) for reply in replies)
            aborted += isinstance(replies[-1], keystead.exceptions.ExecAbortError)
        assert aborted == 3 and len(store) == 2
    """,
    "hgetall": """
        for number in range(40):
            store.hset("big", "f%d" % number, "v" * 1_000_000)
        limit(50)
        assert failures(lambda number: store.execute("HGETALL", "big")) == 20
    """,
    "what is given away and removed": """
        for name in ("GETDEL", "GETSET", "SETGET"):
            store.set(name, "v" * 60_000_000)
        store.hset("hash", "f", "v" * 60_000_000)
        limit(50)
        assert failures(lambda number: store.execute("GETDEL", "GETDEL"), 20) == 20
        assert failures(lambda number: store.execute("GETSET", "GETSET", "1"), 20) == 20
        assert failures(lambda number: store.execute("SET", "SETGET", "1", "GET"), 20) == 20
        assert failures(lambda number: store.execute("HGETDEL", "hash", "FIELDS", "1", "f"), 20) == 20
        for name in ("GETDEL", "GETSET", "SETGET"):
            assert store.execute("STRLEN", name) == 60_000_000
        assert store.execute("HSTRLEN", "hash", "f") == 60_000_000
    """,
    "engines": """
        limit(100)
        kept = []
        assert failures(lambda number: kept.append(keystead.Store())) == 20
        del kept
    """,
    "lcs": """
        store.set("one", "a" * 6_000), store.set("other", "b" * 6_000)
        limit(50)
        assert failures(lambda number: store.execute("LCS", "one", "other")) == 20
    """,
    "setrange": """
        limit(50)
        failures(lambda number: store.execute("SETRANGE", "s%d" % number, 400_000_000, "x"), 3)
        failures(lambda number: store.execute("APPEND", "a", "x" * 10_000_000), 30)
    """,
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_for_which_there_is_no_memory_raises(run, name):
    calls = "\n".join(line[4:] for line in CALLS[name].splitlines())
    assert "goes on" in run(LIMITED + calls + "\n    go_on()\n")


def test_several_keys_are_all_set_or_none(run):
    """An engine that can't grow: strict about its region, which a limit of address space makes small."""
    code = """
        import resource

        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + 1500 * 2**20,) * 2)
        import keystead

        store = keystead.Store()
        cache = keystead.Cache(store.engine)
        store.set("n1", "old")
        part = "v" * 4_000_000
        filled = 0
        try:
            while True:
                store.set(f"fill{filled}", part)
                filled += 1
        except MemoryError:
            pass
        assert filled > 2
        store.delete("fill0")
        keys = len(store)
        for write in (
            lambda: store.execute("MSET", "n1", "new", "n2", part, "n3", part, "n4", part),
            lambda: store.execute("MSETEX", "4", "n1", "new", "n2", part, "n3", part, "n4", part, "EX", "9"),
            lambda: store.mset({"n1": "new", "n2": part, "n3": part, "n4": part}),
            lambda: cache.set_many({"n1": "new", "n2": part, "n3": part, "n4": part}),
            lambda: store.execute("HSET", "h", "n1", "new", "n2", part, "n3", part, "n4", part),
        ):
            try:
                write()
            except MemoryError:
                assert (len(store), store.get("n1")) == (keys, b"old"), (len(store), keys)
            else:
                raise AssertionError("there was memory")
        print("held")
    """
    assert "held" in run(code)
