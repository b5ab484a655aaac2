"""`Store`: bytes, Valkey's names, any command, pipelines."""

import pytest

from keystead import Store, exceptions


def test_bytes_go_in_and_out(store):
    assert store.set("key", b"\x00\xff") is True
    assert store.get("key") == b"\x00\xff" == store.get(b"key")
    for given, stored in [("text", b"text"), (5, b"5"), (1.5, b"1.5"), (bytearray(b"ab"), b"ab"), (memoryview(b"cd"), b"cd")]:
        store.set("key", given)
        assert store.get("key") == stored
    for bad in [None, True, [1], object()]:
        with pytest.raises(TypeError):
            store.set("key", bad)
    assert store.get("missing") is None and store.get("missing", b"d") == b"d"
    assert "key" in store and len(store) == 1
    assert store.delete("key", "missing") == 1


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
    replies = store.pipeline([("HELLO", 3), ("HSET", "h", "f", "1"), ("HGETALL", "h"), ("CONFIG", "GET", "maxmemory"), ("HELLO", 2)])
    assert replies[0][b"proto"] == 3
    assert replies[1:4] == [1, {b"f": b"1"}, {b"maxmemory": b"0"}]


def test_pipelines_go_on_behind_an_error(store):
    replies = store.pipeline([("SET", "k", "v"), ("INCR", "k"), ("GET", "k")])
    assert replies[0] == b"OK" and replies[2] == b"v"
    assert isinstance(replies[1], exceptions.ResponseError)
    assert replies[1].kind == "KS_ERR_COMMAND"
    assert store.pipeline([]) == []


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
