"""`Cache`: values and their types, times to live, conditions, the manners of a dict."""

import datetime
import json
import math
import sys
import time
from datetime import timedelta

import pytest

from keystead import Cache, Store, exceptions

VALUES = [
    b"", b"bytes", b"42", b"\xff\xd8\xff", b"\x80\x02", b"\xf9text", bytes(range(256)),
    "", "text", "42", "-1", "007", "größe", "日本語", "\U0001f600", "x" * 100_000, "\0",
    0, -1, 2**63 - 1, -(2**63), 2**63, 2**200, -(2**100),
    0.0, 1.5, -2.5e300, math.inf, -math.inf,
    True, False, None, [], {}, [1, "a", None, 2.5, True], {"a": {"b": [1, 2]}}, {"big": 2**70, "ü": "ß"},
]  # fmt: skip


@pytest.mark.parametrize("codec", ["json", "msgpack", "pickle"])
@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_values_come_back_as_they_went(value, codec):
    if codec == "msgpack":
        pytest.importorskip("msgpack")
        if str(2**70) in repr(value) or (isinstance(value, int) and abs(value) > 2**64):
            pytest.skip("MessagePack has no such integers")
    cache = Cache(codec=codec, **({"secret": "s" * 32} if codec == "pickle" else {}))
    cache.set("key", value)
    assert cache.get("key") == value
    assert type(cache.get("key")) is type(value)
    assert cache.get_many(["key"]) == {"key": value}
    assert cache["key"] == value


def test_not_a_number_comes_back(cache):
    cache.set("key", math.nan)
    assert math.isnan(cache.get("key"))


def test_none_is_a_value_and_missing_is_the_default(cache):
    cache.set("none", None)
    marker = object()
    assert cache.get("none", marker) is None
    assert cache.get("missing", marker) is marker
    assert cache.get("missing", default=5) == 5
    assert cache.get("missing") is None
    assert "none" in cache and "missing" not in cache
    assert cache.contains("none") and not cache.contains("missing")


def test_text_and_counters_are_plain_strings_to_valkey_clients(name):
    cache, store = Cache(name), Store(name)
    cache.set("text", "größe")
    cache.set("count", 41)
    assert store.get("text") == "größe".encode()
    assert store.incr("count") == 42 == cache.get("count")
    cache.set("list", [1, 2])
    assert store.get("list")[:1] == b"\xfc"
    # As JavaScript writes a BigInt that a number could hold.
    store.set("key", b"\xf85")
    assert cache.get("key") == 5 and cache.get_many(["key"]) == {"key": 5}
    assert json.loads(store.get("list")[1:]) == [1, 2]
    store.set("theirs", "hello")
    assert cache.get("theirs") == "hello"
    store.set("theirs", b"\x80\x81")
    assert cache.get("theirs") == b"\x80\x81"


def test_what_no_cache_wrote_is_told(name):
    cache, store = Cache(name), Store(name)
    store.set("key", b"\xff what")
    with pytest.raises(exceptions.DataError):
        cache.get("key")
    store.set("key", b"\xfc{broken")
    with pytest.raises(ValueError, match=r".+"):
        cache.get("key")


def test_values_that_the_codec_refuses(cache):
    for value in [object(), {1, 2}, datetime.date.today(), {"a": object()}]:
        with pytest.raises(TypeError):
            cache.set("key", value)
    with pytest.raises(UnicodeEncodeError):
        cache.set("key", "\ud800")
    assert "key" not in cache


def test_pickles_need_the_secret_they_were_signed_with(name):
    secret = "0123456789abcdef"
    cache = Cache(name, codec="pickle", secret=secret)
    cache.set("date", datetime.date(2026, 1, 2))
    cache.set("set", {1, 2})
    assert cache.get("date") == datetime.date(2026, 1, 2)
    assert cache.get("set") == {1, 2}
    with pytest.raises(exceptions.DataError):
        Cache(name).get("date")
    with pytest.raises(exceptions.DataError):
        Cache(name, codec="pickle", secret="another secret, long").get("date")
    for wrong in [None, "short"]:
        with pytest.raises(ValueError, match="secret"):
            Cache(codec="pickle", secret=wrong)
    with pytest.raises(ValueError, match="unknown codec"):
        Cache(codec="yaml")


def test_times_to_live(cache):
    cache.set("number", 1, ttl=10)
    cache.set("float", 1, ttl=0.05)
    cache.set("delta", 1, ttl=timedelta(minutes=1))
    cache.set("forever", 1)
    cache.set("keyword", 1, ttl=None)
    assert 9 < cache.ttl("number") <= 10
    assert 59 < cache.ttl("delta") <= 60
    assert cache.ttl("forever") is None and cache.ttl("keyword") is None
    with pytest.raises(KeyError):
        cache.ttl("missing")
    time.sleep(0.06)
    assert "float" not in cache
    assert cache.touch("number", 100) and cache.ttl("number") > 90
    assert cache.touch("number", None) and cache.ttl("number") is None
    assert not cache.touch("missing", 5)
    for short in [0.0001, 1e-300, timedelta(microseconds=1)]:
        assert cache.set("short", 1, ttl=short)
        time.sleep(0.05)
        assert "short" not in cache
    for bad in [0, -1, -0.0001, math.inf, math.nan, 2**80]:
        with pytest.raises((ValueError, OverflowError)):
            cache.set("key", 1, ttl=bad)
    with pytest.raises(TypeError):
        cache.set("key", 1, ttl="5")


def test_conditions(cache):
    assert not cache.set("key", 1, xx=True)
    assert cache.set("key", 1, nx=True)
    assert not cache.set("key", 2, nx=True)
    assert cache.set("key", 3, xx=True)
    assert cache.get("key") == 3
    with pytest.raises(ValueError, match="exclude"):
        cache.set("key", 1, nx=True, xx=True)


def test_many_keys_at_once(cache):
    cache.set_many({"a": 1, "b": [2]}, ttl=60)
    cache.set_many([("c", "three")])
    assert cache.get_many(["a", "none", "c", "b"]) == {"a": 1, "c": "three", "b": [2]}
    assert cache.get_many(key for key in ("a", "b")) == {"a": 1, "b": [2]}
    assert cache.ttl("a") > 59 and cache.ttl("c") is None
    assert cache.delete("a", "b", "none") == 2
    assert cache.delete() == 0
    with pytest.raises(TypeError):
        cache.get_many("abc")


@pytest.mark.parametrize(
    "value",
    ["", "a", "-", "-x", "7", "-7", "007", "é", "\x7f", "\x80", "\0", "v" * 255, "v" * 5000, "é" * 300],
)
def test_text_comes_back_as_it_was(cache, value):
    cache.set("k", value)
    assert cache.get("k") == value and type(cache.get("k")) is str
    assert cache.get_many(["k"]) == {"k": value}


def test_many_keys_in_a_namespace(name):
    cache, bare = Cache(name, namespace="n"), Cache(name)
    keys = [f"k{at}" for at in range(300)]
    cache.set_many({key: at for at, key in enumerate(keys) if at % 3})
    bare.set("k0", "not theirs")
    assert cache.get_many(keys) == {key: at for at, key in enumerate(keys) if at % 3}
    assert bare.get_many(["n:k1", "k0", "k1"]) == {"n:k1": 1, "k0": "not theirs"}
    assert cache.get_many([]) == {}


def test_counters(cache):
    assert cache.incr("n") == 1
    assert cache.incr("n", 10) == 11
    assert cache.decr("n", by=2) == 9
    assert cache.get("n") == 9
    cache.set("text", "abc")
    with pytest.raises(exceptions.ResponseError) as caught:
        cache.incr("text")
    assert str(caught.value) == "ERR value is not an integer or out of range"
    cache.set("n", 2**63 - 1)
    with pytest.raises(exceptions.ResponseError):
        cache.incr("n")
    with pytest.raises(OverflowError):
        cache.incr("n", 2**70)


def test_manners_of_a_dict(cache):
    assert cache and len(cache) == 0
    cache["a"] = 1
    cache["b"] = {"x": 2}
    assert cache["b"] == {"x": 2}
    assert sorted(cache) == ["a", "b"] == sorted(cache.keys())
    assert len(cache) == 2
    del cache["a"]
    for fail in (lambda: cache["a"], lambda: cache.__delitem__("a"), lambda: cache.pop("a")):
        with pytest.raises(KeyError) as caught:
            fail()
        assert caught.value.args == ("a",)
    assert cache.pop("a", 7) == 7
    assert cache.pop("b") == {"x": 2} and "b" not in cache
    assert cache.setdefault("c", 5) == 5 == cache.setdefault("c", 6)


def test_iteration_meets_every_key_once(cache):
    keys = {f"key:{number}" for number in range(5_000)}
    cache.set_many(dict.fromkeys(keys, 1))
    met = list(cache)
    assert len(met) == len(keys) and set(met) == keys


def test_keys(cache):
    for key in ["", "a b", "größe", "日本", "x" * 5_000, "\0", b"\xff\xfe", b"bytes"]:
        cache.set(key, "value")
        assert cache.get(key) == "value"
    assert cache.get("bytes") == cache.get(b"bytes")
    assert b"\xff\xfe" in set(cache) and "größe" in set(cache)
    with pytest.raises(UnicodeEncodeError):
        cache.get("lone \ud800 surrogate")
    for bad in [1, None, 1.5, ("a",), bytearray(b"a")]:
        with pytest.raises(TypeError):
            cache.get(bad)


def test_long_keys_that_differ_at_the_end_are_different(cache):
    keys = ["k" * 70_000 + str(number) for number in range(3)]
    for number, key in enumerate(keys):
        cache.set(key, number)
    assert [cache.get(key) for key in keys] == [0, 1, 2]


def test_namespaces_keep_apart(name):
    users, pages, all_keys = Cache(name, namespace="users"), Cache(name, namespace="pages*"), Cache(name)
    users.set("1", "ann")
    pages.set("1", "index")
    pages.set("2", "about")
    assert users.get("1") == "ann" and pages.get("1") == "index"
    assert sorted(all_keys) == ["pages*:1", "pages*:2", "users:1"]
    assert list(users) == ["1"] and len(users) == 1 and len(pages) == 2
    assert pages.clear() == 2
    assert users.get("1") == "ann" and len(pages) == 0
    assert users.clear(prefix="x") == 0 and users.clear("1") == 1


def test_clear(cache):
    cache.set_many({f"areas:{number}": number for number in range(2_500)})
    cache.set_many({"other": 1, "area": 2})
    assert cache.clear("areas:") == 2_500
    assert sorted(cache) == ["area", "other"]
    assert cache.clear() == 2 and len(cache) == 0


def test_the_same_name_is_the_same_engine(name):
    first, second, private = Cache(name), Cache(name), Cache()
    first.set("key", 1)
    assert second.get("key") == 1 and private.get("key") is None
    assert Cache(first.engine).get("key") == 1
    del first, second


def test_databases(name):
    Cache(name, db=0).set("key", "zero")
    keep = Cache(name, db=3)
    keep.set("key", "three")
    assert keep.get("key") == "three" and len(keep) == 1
    with pytest.raises(exceptions.DataError):
        Cache(db=16)


def test_statistics(cache):
    cache.set("key", 1)
    cache.get("key"), cache.get("missing"), cache.get("missing")
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (1, 2)
    assert stats.hit_rate == pytest.approx(1 / 3)
    assert stats.keys == 1 and stats.used_memory > 0 and stats.maxmemory == 0
    # Only now: a busy machine may take longer than that between two lines.
    cache.touch("key", 0.01)
    deadline = time.monotonic() + 5
    while cache.stats().expired == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert cache.stats().expired == 1


def test_memory_limit():
    cache = Cache(maxmemory="10mb")
    assert cache.stats().maxmemory == 10 * 1024 * 1024
    store = Store(maxmemory=1024 * 1024)
    with pytest.raises(exceptions.OutOfMemoryError) as caught:
        for number in range(100_000):
            store.set(f"key:{number}", b"x" * 100)
    assert caught.value.kind == "KS_ERR_OOM"
    assert str(caught.value).startswith("OOM command not allowed")


def test_options_are_checked():
    with pytest.raises(exceptions.DataError):
        Cache(config={"no-such-option": 1})
    with pytest.raises(ValueError, match="opened"):
        Cache(Cache().engine, maxmemory=5)


def test_a_closed_cache_says_so():
    with Cache() as cache:
        cache.set("key", 1)
        assert not cache.closed
    assert cache.closed
    for use in [
        lambda: cache.get("key"),
        lambda: cache.set("key", 1),
        lambda: "key" in cache,
        lambda: cache["key"],
        lambda: len(cache),
        lambda: list(cache),
    ]:
        with pytest.raises(exceptions.ConnectionError, match="closed"):
            use()
    cache.close()


def test_values_of_another_type(name):
    cache, store = Cache(name), Store(name)
    store.hset("hash", "field", "value")
    with pytest.raises(exceptions.ResponseError) as caught:
        cache.get("hash")
    assert caught.value.kind == "KS_ERR_WRONGTYPE"
    assert cache.get_many(["hash"]) == {}


def test_wrong_calls_raise_type_errors(cache):
    for call in [
        lambda: cache.get(),
        lambda: cache.get("a", "b", "c"),
        lambda: cache.get("a", defautl=1),
        lambda: cache.get("a", key="a"),
        lambda: cache.set("a"),
        lambda: cache.touch("a"),
    ]:
        with pytest.raises(TypeError):
            call()
    with pytest.raises(TypeError):
        Cache.get(object(), "key")


def test_no_references_leak(cache):
    value, default, key = [1], object(), "a key of its own"
    cache.set(key, value)
    counts = [sys.getrefcount(thing) for thing in (value, default, key)]
    for _ in range(1_000):
        cache.get(key), cache.get("missing", default), cache.set(key, value), cache.get_many([key])
        cache[key], key in cache, cache.delete("missing")
    assert [sys.getrefcount(thing) for thing in (value, default, key)] == counts


def test_large_values(cache):
    value = b"\x80" + b"x" * 20_000_000
    cache.set("large", value)
    assert cache.get("large") == value


def test_subclasses_are_written_as_their_base(cache):
    class Name(str):
        pass

    cache.set(Name("key"), Name("value"))
    assert cache.get("key") == "value" and type(cache.get("key")) is str


def test_a_value_that_never_fits_costs_nobody_its_place():
    cache = Cache(maxmemory="1mb")
    for number in range(100):
        cache.set(number.to_bytes(2, "big"), number)
    large = "v" * 2**20
    for refused in (
        lambda: cache.set("large", large),
        lambda: cache.__setitem__("large", {"text": large}),
        lambda: cache.set_many({"a": "v" * 400_000, "b": "v" * 400_000, "c": "v" * 400_000}),
        lambda: cache.wrap("large", lambda: large),
        lambda: cache.setdefault("large", large),
        lambda: cache.cached(prefix="f")(lambda: large)(),
    ):
        with pytest.raises(exceptions.OutOfMemoryError, match="larger than maxmemory"):
            refused()
    assert len(cache) == 100
    assert cache.set("half", "v" * 500_000) and "half" in cache


def test_one_of_many_who_pop_gets_the_value(cache):
    import threading

    for value in ("text", {"a": [1]}, b"\xff", 17, 1.5, None, "v" * 100_000):
        cache.set("k", value)
        taken = []
        threads = [
            threading.Thread(target=lambda taken=taken: taken.append(cache.pop("k", ...))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [got for got in taken if got is not ...] == [value] and "k" not in cache
    cache.set("k", 1)
    assert cache.pop("k", default=5) == 1 and cache.pop("k", default=5) == 5 and cache.pop("k", None) is None
    named = Cache(namespace="n")
    named["k"] = 2
    assert named.pop("k") == 2
    with pytest.raises(KeyError):
        named.pop("k")


@pytest.mark.parametrize("codec", ["json", "msgpack", "pickle"])
def test_whatever_is_bytes_is_kept_as_bytes(codec):
    if codec == "msgpack":
        pytest.importorskip("msgpack")
    cache = Cache(codec=codec, secret="s" * 16 if codec == "pickle" else None)
    for plain in (b"", b"abc", b"12", b"\xff\x00", b"\xfcx"):
        cache["view"] = memoryview(plain)
        cache["array"] = bytearray(plain)
        assert cache["view"] == plain and type(cache["view"]) is bytes
        assert cache["array"] == plain and type(cache["array"]) is (bytearray if codec == "pickle" else bytes)
    assert cache.wrap("w", lambda: bytearray(b"abc")) == cache["w"] == b"abc"
