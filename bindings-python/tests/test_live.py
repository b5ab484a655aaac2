"""Live objects: the same object at each hit, and never a stale one, whoever changes the key and however it ends."""

import gc
import threading
import time
import weakref

import pytest

import keystead.asyncio
from keystead import Cache, Store


def test_hits_return_the_same_object(name):
    cache = Cache(name, live=True)
    cache.set("k", {"a": [1]})
    first = cache.get("k")
    assert first == {"a": [1]} and cache.get("k") is first and cache["k"] is first
    assert Cache(name).get("k") is not first
    for value in ["text", b"bytes", 2**70, 1.5, None, True, [], "é"]:
        cache.set("v", value)
        assert cache.get("v") == value == cache.get("v") and type(cache.get("v")) is type(value)
    assert cache.get("none") is None and cache.get("none", 5) == 5
    cache.set("none", 1)
    assert cache.get("none") == 1


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda store: store.set("ns:k", "new"), "new"),
        (lambda store: store.delete("ns:k"), None),
        (lambda store: store.execute("APPEND", "ns:k", "er"), "older"),
        (lambda store: store.execute("GETDEL", "ns:k"), None),
        (lambda store: store.execute("RENAME", "ns:k", "other"), None),
        (lambda store: store.execute("FLUSHDB"), None),
        (lambda store: store.execute("FLUSHALL"), None),
        (lambda store: store.execute("SWAPDB", 0, 1), None),
        (lambda store: store.pipeline([("SET", "ns:k", "new")]), "new"),
        (lambda store: store.pipeline(transaction=True).set("ns:k", "new").execute(), "new"),
        (lambda store: store.mset({"ns:k": "new"}), "new"),
        (lambda store: store.execute("EXPIRE", "ns:k", -1), None),
        (lambda store: Cache(store.engine, namespace="ns").clear(), None),
    ],
)
def test_changes_from_elsewhere_are_seen_at_once(name, change, expected):
    cache, store = Cache(name, namespace="ns", live=True), Store(name)
    cache.set("k", "old")
    assert cache.get("k") == cache.get("k") == "old"
    change(store)
    assert cache.get("k") == expected == cache.get("k")


def test_expiry_is_exact(name):
    cache = Cache(name, live=True)
    for _ in range(5):
        cache.set("k", [1], ttl=0.05)
        end = time.time() + 0.05
        while True:
            before = time.time()
            found = cache.get("k")
            if found is None:
                assert time.time() >= end - 0.002
                break
            assert before <= end + 0.002
    cache.set("k", [1], ttl=0.03)
    cache.get("k"), cache.touch("k", 60)
    time.sleep(0.05)
    assert cache.get("k") == [1]
    cache.touch("k", 0.02)
    time.sleep(0.03)
    assert cache.get("k") is None


def test_nothing_stale_is_served_once_a_write_has_returned(name):
    cache, store = Cache(name, live=8), Store(name)
    written, done, wrong = [0], threading.Event(), []
    store.set("k", 0)

    def read():
        while not done.is_set():
            least = written[0]
            found = cache.get("k")
            if found < least:
                wrong.append((found, least))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(1, 20_000):
        store.set("k", number)
        written[0] = number
    done.set()
    for reader in readers:
        reader.join()
    assert not wrong


def test_objects_are_bounded_and_dropped():
    class Counted:
        alive = 0

    cache = Cache(live=64)
    for number in range(10_000):
        cache.set(f"k{number}", {"n": number})
        assert cache.get(f"k{number}") == {"n": number}
    gc.collect()
    kept = sum(cache.get(f"k{number}") is cache.get(f"k{number}") for number in range(10_000 - 64, 10_000))
    assert kept > 0
    held = sum(1 for found in gc.get_objects() if type(found) is dict and list(found) == ["n"])
    assert held <= 64
    cache.close()
    assert not any(type(found) is dict and list(found) == ["n"] for found in gc.get_objects())
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="live"):
            Cache(live=wrong)


def test_decorated_functions_keep_objects():
    cache, calls = Cache(), []

    @cache.cached(ttl=60, live=True)
    def area(city, kind="all"):
        calls.append(city)
        return {"city": city, "kind": kind}

    assert area("Dubai") == {"city": "Dubai", "kind": "all"}
    first = area("Dubai")
    assert area("Dubai") is first is area(city="Dubai") is area("Dubai", "all") and calls == ["Dubai"]
    assert area.invalidate("Dubai") and area("Dubai") == first and calls == ["Dubai", "Dubai"]
    cache.set(area.cache_key("Dubai"), "changed")
    assert area("Dubai") == "changed" == area("Dubai")
    area.refresh("Dubai")
    assert area("Dubai") == first
    cache.clear()
    area("Dubai")
    assert len(calls) == 4

    @Cache(live=4).cached()
    def other(number):
        return [number]

    other(1)
    assert other(1) is other(1)


async def test_the_asyncio_twins_keep_objects():
    cache = keystead.asyncio.Cache(live=True)
    await cache.set("k", [1])
    assert await cache.get("k") is await cache.get("k")

    @cache.cached(ttl=60, live=True)
    async def load(number):
        return [number]

    assert await load(1) == [1]
    assert await load(1) is await load(1)


def test_a_decorated_function_behaves_as_a_function():
    import copy
    import pickle

    assert pickle.loads(pickle.dumps(kept)) is kept is copy.copy(kept) is copy.deepcopy(kept)
    assert callable(kept) and kept(*[1], **{}) == [1, 2] == kept(1, **{"other": 2})
    assert repr(kept).startswith("<cached <function kept")
    kept.note = "attributes are possible"
    assert kept.__dict__["note"] == "attributes are possible"
    assert weakref.ref(kept)() is kept
    with pytest.raises(TypeError):
        type(kept)()

    cache = Cache()

    class House:
        def __init__(self, number):
            self.number = number

        def __repr__(self):
            return f"House({self.number})"

        @cache.cached()
        def rooms(self, floor=0):
            """Doc."""
            return [self.number, floor]

    house = House(1)
    bound = house.rooms
    assert bound(2) == [1, 2] == house.rooms(2) == House.rooms(house, 2) == house.rooms(floor=2)
    assert (
        bound.__self__ is house
        and bound.__doc__ == "Doc."
        and House.rooms.__get__(None, House) is House.rooms
    )


def test_a_table_that_is_dropped_may_run_code_that_looks_here_again(name):
    """Pickled objects can have finalizers; they run outside the table."""
    cache = Cache(name, codec="pickle", secret=b"0123456789abcdef", live=1)
    Finalized.cache = cache
    for number in range(200):
        cache.set(f"k{number}", Finalized())
        cache.get(f"k{number}")
    assert Finalized.seen > 0


class Finalized:
    cache = None
    seen = 0

    def __del__(self):
        Finalized.seen += 1
        if Finalized.cache is not None and not Finalized.cache.closed:
            Finalized.cache.get("k0")


_cache = Cache()


@_cache.cached()
def kept(one, other=2):
    return [one, other]


def test_circles_through_a_decorated_function_are_collected():
    cache = Cache()

    class Marker:
        pass

    def make():
        marker = Marker()

        @cache.cached(key=lambda number: (itself, marker) and number, live=True)
        def itself(number, default=marker):
            return number and itself(number - 1)

        itself.marker = marker
        assert itself(2) == 0 == itself(2)
        return weakref.ref(itself), weakref.ref(marker)

    gone = make()
    gc.collect()
    assert [found() for found in gone] == [None, None]
