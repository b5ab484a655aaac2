"""`Store`: bytes, Valkey's names, any command, pipelines."""

import pytest

from keystead import Cache, Store, exceptions


def test_bytes_go_in_and_out(store):
    assert store.set("key", b"\x00\xff") is True
    assert store.get("key") == b"\x00\xff" == store.get(b"key")
    for given, stored in [
        ("text", b"text"),
        (5, b"5"),
        (1.5, b"1.5"),
        (bytearray(b"ab"), b"ab"),
        (memoryview(b"cd"), b"cd"),
    ]:
        store.set("key", given)
        assert store.get("key") == stored
    for bad in [None, True, [1], object()]:
        with pytest.raises(TypeError):
            store.set("key", bad)
    assert store.get("missing") is None and store.get("missing", b"d") == b"d"
    assert "key" in store and len(store) == 1
    assert store.delete("key", "missing") == 1


def test_several_keys_go_at_once_or_not_at_all(store):
    store.set("a", 1), store.set("b", 2)
    for bad in [None, "\ud800"]:
        with pytest.raises((TypeError, UnicodeEncodeError)):
            store.delete("a", bad)
    assert "a" in store and store.delete() == 0
    assert store.delete("a", "b", "a", "none") == 2 and len(store) == 0


def test_hashes(store):
    assert store.hset("hash", "field", "value") is True
    assert store.hset("hash", "field", "other") is False
    assert store.hget("hash", "field") == b"other"
    assert store.hget("hash", "none") is None and store.hget("none", "field") is None
    store.set("string", "x")
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        store.hget("string", "field")
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        store.get("hash")


def test_many_keys(store):
    store.mset({"a": 1, "b": b"2"}, ttl=60)
    store.mset([("c", "3")])
    assert store.mget(["a", "none", "b", "c"]) == [b"1", None, b"2", b"3"]
    assert store.ttl("a") > 59 and store.ttl("c") is None
    assert store.mget([]) == []
    assert store.expire("c", 5) and store.ttl("c") <= 5
    assert store.expire("c", None) and store.ttl("c") is None


def test_any_command(store):
    assert store.execute("SET", "key", 5) == b"OK"
    assert store.execute("INCRBYFLOAT", "key", 1.5) == b"6.5"
    assert store.execute("GET", "none") is None
    assert store.execute("CONFIG GET", "maxmemory") == [b"maxmemory", b"0"]
    assert sorted(store.execute("KEYS", "*")) == [b"key"]
    store.execute("HSET", "h", "f", "v")
    assert store.execute("HGETALL", "h") == [b"f", b"v"]
    with pytest.raises(exceptions.ResponseError, match="unknown command 'NOPE'"):
        store.execute("NOPE")
    with pytest.raises(exceptions.ResponseError, match="wrong number of arguments"):
        store.execute("GET")
    with pytest.raises(exceptions.DataError, match="Invalid input of type: 'dict'"):
        store.execute("SET", "key", {})


def test_every_reply_type_of_resp3():
    store = Store()
    replies = store.pipeline(
        [
            ("HELLO", 3),
            ("HSET", "h", "f", "1"),
            ("HGETALL", "h"),
            ("CONFIG", "GET", "maxmemory"),
            ("HELLO", 2),
        ]
    )
    assert replies[0][b"proto"] == 3
    assert replies[1:4] == [1, {b"f": b"1"}, {b"maxmemory": b"0"}]


def test_pipelines_go_on_behind_an_error(store):
    replies = store.pipeline([("SET", "k", "v"), ("INCR", "k"), ("GET", "k")])
    assert replies[0] == b"OK" and replies[2] == b"v"
    assert isinstance(replies[1], exceptions.ResponseError)
    assert replies[1].kind == "KS_ERR_COMMAND"
    assert store.pipeline([]) == []


class Words(tuple):
    """Not exactly a tuple."""


class Text(str):
    """Not exactly a str."""


def test_commands_of_a_pipeline_come_in_any_iterable(store):
    name = "SET"
    commands = [
        (name, "a", "1"),
        [name, "b", "2"],
        Words((name, Text("c"), Text("3"))),
        (name, "d", 4),
        (name, "e"),
        (word for word in (name, "f", b"6")),
        (Text("SET"), "g", "7"),
        (name, "a", "8", "NX"),
        (name, "h", "9"),
    ]
    replies = store.pipeline(commands)
    assert isinstance(replies.pop(4), exceptions.ResponseError)
    assert replies == [b"OK"] * 6 + [None, b"OK"]
    assert store.mget(list("abcdefgh")) == [b"1", b"2", b"3", b"4", None, b"6", b"7", b"9"]
    with pytest.raises(exceptions.DataError):
        store.pipeline([(name, "before", "1"), (name, "k", None)])
    assert "before" not in store


@pytest.mark.parametrize("size", [7, 8, 9, 127, 128, 129, 1000])
def test_batches_of_any_size_find_each_key(store, size):
    keys = [
        (f"k{at}", Text(f"k{at}"), f"k{at}".encode(), f"é\0{at}" + "x" * at)[at % 4] for at in range(size)
    ]
    values = [None if at % 5 == 0 else f"{at}".encode() * (at % 300 + 1) for at in range(size)]
    for key, value in zip(keys, values, strict=True):
        if value is not None:
            store.set(key, value)
    assert store.mget(keys) == values
    assert store.mget(tuple(keys)) == values
    assert store.mget(keys=iter(keys)) == values
    with pytest.raises(TypeError, match="a str or bytes is needed, not int"):
        store.mget([*keys, 1])


def test_long_times_to_live_are_near_and_short_ones_exact(store):
    for time in (60, 10):
        store.set("long", "v", ttl=time)
        assert time - 0.5 < store.ttl("long") <= time
    store.set("short", "v", ttl=9)
    assert 8.5 < store.ttl("short") <= 9
    assert store.set("short", "v", ttl=60, nx=True) is False and store.ttl("short") <= 9


def test_databases_of_a_store(name):
    zero, three = Store(name), Store(name, db=3)
    three.set("k", 1)
    three.execute("SET", "other", 2)
    assert len(zero) == 0 and len(three) == 2


def test_a_session_given_back_is_clean_of_replies(store):
    store.pipeline([("SET", "a", "1"), ("GET", "a")])
    assert store.execute("GET", "a") == b"1"


def test_methods_document_themselves():
    import inspect

    assert "nx=False" in str(inspect.signature(Store.set))
    assert Store.get.__doc__.startswith("The bytes of a key")


def test_a_store_is_a_mapping_of_bytes(store):
    store["k"] = 5
    assert store["k"] == b"5" and bool(store)
    del store["k"]
    for missing in (lambda: store["k"], lambda: store.__delitem__("k")):
        with pytest.raises(KeyError, match="k"):
            missing()
    with pytest.raises(TypeError):
        store["k"] = None
    store.hset("hash", "f", "v")
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        store["hash"]


@pytest.mark.parametrize("others", [0, 20_000], ids=["small", "large enough to fetch ahead"])
def test_typed_pipelines_reply_as_sessions_do(store, others):
    """Each hot command, in lower case so that the typed form is taken, against the same through `execute`."""
    store.mset({f"other:{number}": "x" * 150 for number in range(others)})
    store.execute("SET", "text", "x"), store.execute("HSET", "hash", "f", "v")
    commands = [
        ("set", "a", "1"), ("get", "a"), ("incr", "a"), ("incr", "text"), ("get", "hash"), ("hget", "hash", "f"),
        ("hget", "hash", "none"), ("hget", "text", "f"), ("hset", "hash", "g", 1.5), ("hset", "hash", "g", b"w"),
        ("hset", "text", "g", "w"), ("get", "none"), ("del", "none"), ("del", "a"), ("set", "b", 5, "ex", 100),
        ("expire", "b", 100), ("expire", "none", 100), ("expire", "b", -1), ("get", "b"), ("set", "b", 1, "EX", 0),
        ("set", "b", 1, "EX", "x"), ("expire", "b", "x"), ("get",), ("set", "k"), ("nope",), ("mset", "x", 1, "y", 2),
        ("SET", "é", "ü"), ("get", "é"), (b"GET", "é"), ("incr", b"\xff"), ("get", 5), ("set", 5, 1.25), ("get", "5"),
    ]  # fmt: skip

    def told(reply):
        return (type(reply), str(reply)) if isinstance(reply, Exception) else reply

    typed = [told(reply) for reply in store.pipeline(commands)]
    store.execute("FLUSHALL")
    store.execute("SET", "text", "x"), store.execute("HSET", "hash", "f", "v")
    one_by_one = []
    for words in commands:
        try:
            one_by_one.append(store.execute(*words))
        except exceptions.ResponseError as error:
            one_by_one.append(told(error))
    assert typed == one_by_one


def test_commands_that_change_the_session_take_the_rest_with_them(store):
    replies = store.pipeline([("MULTI",), ("SET", "k", "v"), ("GET", "k"), ("EXEC",), ("GET", "k")])
    assert replies == [b"OK", b"QUEUED", b"QUEUED", [b"OK", b"v"], b"v"]
    replies = store.pipeline(
        [("SET", "k", "0"), ("SELECT", 3), ("SET", "k", "3"), ("SELECT", 0), ("GET", "k")]
    )
    assert replies == [b"OK", b"OK", b"OK", b"OK", b"0"]


def test_what_cannot_be_sent_stops_a_pipeline_before_anything_runs(store):
    for bad in [("SET", "k", None), ("SET", {}, "v"), ("GET", "\ud800")]:
        with pytest.raises((TypeError, exceptions.DataError, UnicodeEncodeError)):
            store.pipeline([("SET", "before", 1), bad])
        assert "before" not in store


def test_recorded_pipelines(store):
    pipe = store.pipeline()
    same = (
        pipe.set("a", 1, ttl=60)
        .incr("a", by=4)
        .get("a")
        .set("a", 2, nx=True)
        .hset("h", "f", "v")
        .hget("h", "f")
    )
    assert same is pipe and len(pipe) == 6 and "a" not in store
    pipe.delete("h", "none").expire("a", 100).expire("a", None).expire("none", 5).command("STRLEN", "a").get(
        "none"
    )
    assert pipe.execute() == [True, 5, b"5", False, True, b"v", 1, True, True, False, 1, None]
    assert len(pipe) == 0 and pipe.execute() == []
    changing = bytearray(b"as recorded")
    pipe.set("b", changing)
    changing[:2] = b"xx"
    assert pipe.execute() == [True] and store.get("b") == b"as recorded"
    with store.pipeline() as pipe:
        pipe.set("c", 1)
    assert "c" not in store and len(pipe) == 0
    for wrong in [
        lambda: pipe.set("k"),
        lambda: pipe.set("k", None),
        lambda: pipe.get(),
        lambda: pipe.set("k", 1, ttl=0),
    ]:
        with pytest.raises((TypeError, ValueError)):
            wrong()
    assert len(pipe) == 0


def test_errors_of_recorded_pipelines(store):
    store.set("text", "x")
    with pytest.raises(exceptions.ResponseError, match="not an integer"):
        store.pipeline().incr("text").set("after", 1).execute()
    assert store.get("after") == b"1"
    error, value = store.pipeline().hget("text", "f").get("text").execute(raise_on_error=False)
    assert isinstance(error, exceptions.ResponseError) and value == b"x"


def test_transactions_happen_at_one_moment(store):
    import threading

    store.mset({"x": 0, "y": 0})
    results = (
        store.pipeline(transaction=True)
        .incr("x")
        .incr("y")
        .set("z", 1)
        .set("z", 1, nx=True)
        .hset("h", "f", 1)
    )
    assert results.expire("z", 5).delete("z").execute() == [1, 1, True, False, True, True, 1]
    assert store.pipeline([("INCR", "x"), ("INCR", "y")], transaction=True) == [2, 2]
    with pytest.raises(exceptions.ExecAbortError):
        store.pipeline(transaction=True).incr("x").command("NOPE").execute()
    assert store.get("x") == b"2"
    done = threading.Event()

    def write():
        while not done.is_set():
            store.pipeline(transaction=True).incr("x").incr("y").execute()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(300):
            x, y = store.execute("MGET", "x", "y")
            assert x == y
    finally:
        done.set()
        writer.join()


def test_keyword_names_need_not_be_interned(store):
    name = "".join(["tt", "l"])
    store.set("k", 1, **{name: 60})
    assert store.ttl("k") > 59
    with pytest.raises(TypeError, match="unexpected keyword argument 'tl'"):
        store.set("k", 1, tl=60)
    with pytest.raises(TypeError, match="multiple values for argument 'key'"):
        store.get("k", key="k")


def test_keys_are_as_long_as_words_may_be(store):
    long = b"k" * 3_000_000
    assert store.set(long, "v") and store.get(long) == b"v"
    assert store.set(long, b"v" * 70_000) and len(store.get(long)) == 70_000
    assert store.hset("h", long, long) and store.hget("h", long) == long
    store.set("a", "1")
    assert store.execute("RENAME", "a", long) == b"OK" and store.execute("COPY", long, "b") == 1
    store.mset({"x": "1", long: "2"})
    assert store.mget(["x", long]) == [b"1", b"2"] and store.delete(long) == 1


def test_words_longer_than_proto_max_bulk_len_are_refused():
    store = Store(config={"proto-max-bulk-len": "1mb"})
    cache = Cache(store.engine)
    long = b"v" * (2**20 + 1)
    for refused in (
        lambda: store.set("k", long),
        lambda: store.set(long, "v"),
        lambda: store.hset("k", long, "v"),
        lambda: store.hset("k", "f", long),
        lambda: store.mset({"a": "v", "b": long}),
        lambda: store.incr(long),
        lambda: store.execute("SET", "k", long),
        lambda: store.execute("HSET", "k", long, "v"),
        lambda: cache.set("k", long),
        lambda: cache.set_many({"a": 1, "b": long}),
        lambda: cache.wrap("k", lambda: long),
        lambda: store.pipeline([["SET", "k", long]], transaction=True),
    ):
        with pytest.raises(exceptions.ResponseError, match=r"proto-max-bulk-len|previous errors"):
            refused()
    assert len(store) == 0


@pytest.mark.parametrize("time", [None, 1, 0.0009, 2**31, 2**52, 2**53, 2**62, 2**63 - 1, 1e15, 1e18, 9.2e15])
def test_a_pipeline_answers_alike_in_and_outside_of_a_transaction(store, time):
    def outcome(transaction, stateful=False):
        pipeline = store.pipeline(transaction=transaction)
        store.execute("FLUSHALL")
        store.set("has", "v", ttl=100), store.set("none", "v")
        if stateful:
            pipeline.command("CLIENT", "ID")
        try:
            for key in ("has", "none", "missing"):
                pipeline.expire(key, time)
            pipeline.set("new", "v", ttl=time)
            replies = pipeline.execute()
        except Exception as error:
            return type(error), str(error)
        return replies[1:] if stateful else replies

    assert outcome(True) == outcome(False) == outcome(False, stateful=True)
    if time is None:
        assert outcome(True) == [True, True, False, True] and store.ttl("has") is None


def test_errors_of_options_are_in_the_callers_words():
    for options, text in (
        ({"maxmemory": "abc"}, "the option 'maxmemory' can't be 'abc': argument must be a memory value"),
        ({"config": {"databases": 0}}, "the option 'databases' can't be '0'"),
        ({"config": {"nonsense": True}}, "there is no option 'nonsense'"),
        ({"config": {"a\nmaxmemory": 1}}, "there is no option"),
    ):
        with pytest.raises(exceptions.DataError) as caught:
            Store(**options)
        assert text in str(caught.value) and "line" not in str(caught.value)
    for least in (1, 4096, "511kb"):
        with pytest.raises(exceptions.DataError, match="at least 512kb"):
            Cache(maxmemory=least)
    assert Store(maxmemory=1) is not None and Cache(maxmemory=0) is not None
    cache = Cache(maxmemory="512kb", config={"hash-max-listpack-entries": 5, "activedefrag": False})
    for number in range(3000):
        cache.set(f"k{number}", "v" * (number % 3000))
    cache.clear()
    assert cache.set("k", "v" * 100_000) and cache.get("k")
