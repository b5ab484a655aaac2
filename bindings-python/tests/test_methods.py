"""Every method for data of valkey-py and redis-py, called here and on a real server: what it returns must be equal. A method without a row fails."""

import inspect
import re

import pytest

import keystead
import keystead.asyncio

valkey = pytest.importorskip("valkey")
redis = pytest.importorskip("redis")

import redis.asyncio  # noqa: E402, F811
import valkey.asyncio  # noqa: E402, F811

import keystead.redis  # noqa: E402
import keystead.valkey  # noqa: E402

#: The libraries' classes whose methods are meant.
GROUPS = [
    "BasicKeyCommands", "ListCommands", "ScanCommands", "SetCommands", "StreamCommands", "SortedSetCommands", "HyperlogCommands",
    "HashCommands", "PubSubCommands", "GeoCommands",
]  # fmt: skip

#: Methods without rows, and why.
LEFT_OUT = {
    "digest_local": "asks no server",
}

#: Where Keystead is: in the process of the client, or behind `keystead serve`.
PLACES = ["in process", "over the socket"]

#: 1 January 2100, in seconds.
FAR = 4102444800

#: What 9.1.2 dumps of the string "hello".
DUMPED = b"\x00\x05helloP\x00\xacX\x16\xe7\xfbfG\xfe"

#: The port of the server that keys are moved to, once it is there.
TARGET = []

#: Calls in their order: a method, its arguments, its options. Where one call's outcome is not the same twice, what is called makes it so.
ROWS = [
    # strings and keys
    ("set", ("s", "value")), ("set", ("s", "x"), {"nx": True}), ("set", ("s", "größe"), {"xx": True, "get": True}), ("get", ("s",)),
    ("append", ("s", "!")), ("strlen", ("s",)), ("getrange", ("s", 0, 3)), ("substr", ("s", 1, -2)), ("setrange", ("s", 2, "xy")),
    ("getset", ("s", "foobar")), ("setnx", ("s", 1)), ("setnx", ("new", 1)), ("setex", ("timed", 100, "v")), ("psetex", ("timed", 100_000, "v")),
    ("ttl", ("timed",)), ("pttl", ("none",)), ("ttl", ("s",)), ("expire", ("timed", 100, True)), ("expire", ("s", 100), {"nx": True}),
    ("expire", ("none", 100)), ("pexpire", ("s", 50_000), {"gt": True}), ("persist", ("s",)), ("persist", ("s",)),
    ("expireat", ("s", FAR)), ("expiretime", ("s",)), ("pexpireat", ("s", FAR * 1000)), ("pexpiretime", ("s",)),
    ("expiretime", ("none",)), ("getex", ("s",), {"persist": True}), ("getex", ("s",), {"exat": FAR}), ("getex", ("none",)),
    ("incr", ("n",)), ("incr", ("n", 5)), ("incrby", ("n", 10)), ("decr", ("n",)), ("decrby", ("n", 3)), ("incr", ("s",)),
    ("incrbyfloat", ("f", 1.5)), ("incrbyfloat", ("f", "1e3")), ("getdel", ("f",)), ("getdel", ("f",)),
    ("mset", ({"a": 1, "b": 2, "c": b"\x00\xff"},)), ("msetnx", ({"a": 1, "y": 2},)), ("msetnx", ({"y": 1, "yy": 2},)), ("mget", (["a", "none", "c"],)),
    ("lcs", ("s", "timed")), ("set", ("other", "fobar")), ("lcs", ("s", "other")), ("lcs", ("s", "other"), {"len": True}),
    ("lcs", ("s", "other"), {"idx": True, "withmatchlen": True, "minmatchlen": 2}), ("stralgo", ("LCS", "ab", "b")),
    ("exists", ("a", "b", "none")), ("touch", ("a", "none")), ("type", ("a",)), ("type", ("none",)), ("keys", ("?",)),
    ("rename", ("a", "a2")), ("rename", ("none", "a")), ("renamenx", ("a2", "b")), ("copy", ("b", "b2")), ("copy", ("b", "b2"), {"replace": True}),
    ("copy", ("b", "moved"), {"destination_db": 1}), ("move", ("c", 1)), ("move", ("none", 1)), ("delete", ("b", "none")), ("unlink", ("b2", "none")),
    ("delex", ("s",), {"ifeq": "no"}), ("digest", ("s",)), ("increx", ("n",), {"byint": 2}), ("msetex", ({"ma": 1, "mb": 2},), {"ex": 100}),
    ("msetex", ({"ma": 1},), {"exat": FAR}), ("mget", ("ma", "mb")), ("lmovem", ("l", "l2")), ("blmovem", ("l", "l2", 0.01)),
    ("dump", ("n",)), ("dump", ("none",)), ("restore", ("restored", 0, DUMPED)), ("restore", ("restored", 0, DUMPED)), ("restore", ("restored", 0, b"x"), {"replace": True}),
    ("restore", ("restored", FAR * 1000, DUMPED), {"replace": True, "absttl": True, "idletime": 5}), ("get", ("restored",)), ("pexpiretime", ("restored",)), ("delete", ("restored",)),
    ("migrate", lambda client: client.migrate("127.0.0.1", TARGET[0], "none", 0, 1000)), ("migrate", lambda client: client.migrate("127.0.0.1", TARGET[0], ["s", "none"], 0, 1000, copy=True, replace=True)),
    ("set", ("gone", 1)), ("migrate", lambda client: client.migrate("127.0.0.1", TARGET[0], "gone", 1, 1000, replace=True)), ("get", ("gone",)),
    ("migrate", lambda client: client.migrate("127.0.0.1", TARGET[0], ["none", "s"], 0, 1000)), ("migrate", lambda client: client.migrate("127.0.0.1", TARGET[0], "s", 0, 1000, auth="x")),
    ("migrate", lambda client: client.migrate("127.0.0.1", 0, "s", 0, 1000)), ("migrate", lambda client: client.migrate("127.0.0.1", 0, [], 0, 1000)),
    # bits
    ("setbit", ("bits", 7, 1)), ("setbit", ("bits", 7, 0)), ("setbit", ("bits", 100, 1)), ("getbit", ("bits", 100)), ("getbit", ("none", 1)),
    ("bitcount", ("bits",)), ("bitcount", ("s", 0, 2)), ("bitcount", ("s", 3, 20, "BIT")), ("bitcount", ("bits", 1)), ("bitpos", ("s", 1)),
    ("bitpos", ("s", 0, 1)), ("bitpos", ("s", 1, 3, -1, "BIT")), ("bitpos", ("s", 2)), ("bitop", ("AND", "bd", "s", "bits")), ("bitop", ("OR", "bd", "s", "bits")),
    ("bitop", ("XOR", "bd", "s", "other")), ("bitop", ("NOT", "bd", "s")), ("bitop", ("NOT", "bd", "s", "other")), ("get", ("bd",), {}),
    ("bitfield", lambda client: client.bitfield("fields").set("u8", 0, 200).get("u4", "#1").incrby("i5", 100, 7).execute()),
    ("bitfield", lambda client: client.bitfield("fields", "SAT").incrby("u8", 0, 100).overflow("FAIL").incrby("u8", 0, 1).execute()),
    ("bitfield_ro", ("fields", "u8", 0)), ("bitfield_ro", ("fields", "u8", 0, [("i4", 4), ("u64", 0)])),
    # lists
    ("rpush", ("l", "a", "b", "c", 1, 2.5)), ("lpush", ("l", "z")), ("rpushx", ("l", "d")), ("lpushx", ("none", "d")), ("llen", ("l",)), ("lrange", ("l", 0, -1)),
    ("lindex", ("l", 1)), ("lindex", ("l", 50)), ("linsert", ("l", "BEFORE", "b", "ab")), ("linsert", ("l", "after", "nope", "x")), ("linsert", ("l", "beside", "b", "x")),
    ("lpos", ("l", "b")), ("lpos", ("l", "b"), {"rank": -1, "count": 0, "maxlen": 3}), ("lpos", ("l", "b"), {"rank": 0}), ("lrem", ("l", 0, "ab")), ("lset", ("l", 0, "first")),
    ("lset", ("l", 99, "x")), ("lset", ("none", 0, "x")), ("lmove", ("l", "l2", "LEFT", "RIGHT")), ("rpoplpush", ("l", "l2")), ("brpoplpush", ("l", "l2", 1)),
    ("blmove", ("l", "l2", 1, "RIGHT", "LEFT")), ("blmove", ("none", "l2", 0.01)), ("blpop", (["none", "l2"], 1)), ("brpop", ("l2",), {"timeout": 1}), ("blpop", ("none", 0.01)),
    ("brpop", ("s", 0.01)), ("brpoplpush", ("none", "l2", 0.01)), ("lmpop", (2, "none", "l2"), {"direction": "LEFT", "count": 2}), ("lmpop", (1, "none"), {"direction": "RIGHT"}),
    ("blmpop", (1, 2, "none", "l"), {"direction": "RIGHT", "count": 1}), ("blmpop", (0.01, 1, "none"), {"direction": "LEFT"}),
    ("rpush", ("l", 3, 1, 2)), ("lpop", ("l",)), ("lpop", ("l", 2)), ("rpop", ("none", 2)), ("rpop", ("l", 1)), ("ltrim", ("l", 0, 1)), ("lrange", ("l", 0, -1)),
    ("rpush", ("nums", 3, 10, 2)), ("sort", ("nums",)), ("sort", ("nums",), {"desc": True, "start": 0, "num": 2}), ("sort", ("nums",), {"alpha": True}),
    ("mset", ({"w3": 1, "w10": 3, "w2": 2, "v3": "three", "v10": "ten"},)), ("sort", ("nums",), {"by": "w*", "get": ["#", "v*"], "groups": True}),
    ("sort", ("nums",), {"by": "w*", "get": "v*", "store": "sorted"}), ("lrange", ("sorted", 0, -1)), ("sort_ro", ("nums",), {"desc": True}), ("sort", ("s",)),
    # sets
    ("sadd", ("s1", "a", "b", "c")), ("sadd", ("s2", "b", "c", "d")), ("sadd", ("ints", 1, 2, 3)), ("sadd", ("s1", "a")), ("sadd", ("s", "a")), ("scard", ("s1",)),
    ("sdiff", ("s1", "s2")), ("sinter", (["s1", "s2"],)), ("sunion", ("s1", "s2", "ints")), ("sdiffstore", ("sd", "s1", "s2")), ("sinterstore", ("sd", ["s1", "s2"])),
    ("sunionstore", ("sd", "s1", "s2")), ("sintercard", (2, ["s1", "s2"])), ("sintercard", (2, ["s1", "s2"], 1)), ("sdiffcard", (2, ["s1", "s2"])), ("sunioncard", (2, ["s1", "s2"])),
    ("sismember", ("s1", "a")), ("sismember", ("none", "a")), ("smismember", ("s1", ["a", "x"])), ("smembers", ("s1",)), ("smembers", ("none",)), ("smove", ("s1", "s2", "a")),
    ("smove", ("s1", "s2", "none")), ("srandmember", ("ints", 10)), ("srandmember", ("none",)), ("spop", ("none",)), ("spop", ("ints", 5)), ("srem", ("s2", "a", "none")),
    # sorted sets
    ("zadd", ("z", {"a": 1, "b": 2.5, "c": "inf", "d": -3})), ("zadd", ("z", {"a": 2, "e": 4}), {"nx": True, "ch": True}), ("zadd", ("z", {"a": 0.5}), {"gt": True, "ch": True}),
    ("zadd", ("z", {"a": 7}), {"incr": True}), ("zadd", ("z", {"none": 1}), {"xx": True, "incr": True}), ("zadd", ("z", {"a": "nan"})), ("zadd", ("s", {"a": 1})), ("zadd", ("z2", {"a": 1, "b": 1, "x": 9})),
    ("zcard", ("z",)), ("zcount", ("z", "-inf", "(4")), ("zincrby", ("z", 1.25, "b")), ("zscore", ("z", "c")), ("zscore", ("z", "none")), ("zmscore", ("z", ["a", "none"])),
    ("zrank", ("z", "a")), ("zrank", ("z", "a"), {"withscore": True}), ("zrevrank", ("z", "a")), ("zrevrank", ("z", "a"), {"withscore": True}), ("zrank", ("z", "none")),
    ("zrange", ("z", 0, -1)), ("zrange", ("z", 0, 1), {"withscores": True, "desc": True}), ("zrange", ("z", "-inf", "5"), {"byscore": True, "offset": 1, "num": 2}),
    ("zrange", ("z2", "[a", "(b"), {"bylex": True}), ("zrange", ("z", 0, 1), {"withscores": True, "score_cast_func": str}), ("zrevrange", ("z", 0, 2), {"withscores": True}),
    ("zrangebyscore", ("z", "-inf", "+inf"), {"withscores": True, "start": 1, "num": 2}), ("zrevrangebyscore", ("z", 5, "-inf"), {"withscores": True}), ("zadd", ("lex", {"a": 0, "b": 0, "c": 0})),
    ("zrangebylex", ("lex", "-", "[b")), ("zrevrangebylex", ("lex", "+", "(a"), {"start": 0, "num": 1}), ("zlexcount", ("lex", "-", "(c")), ("zrangestore", ("zr", "z", 0, 1)),
    ("zrangestore", ("zr", "lex", "[a", "[b"), {"bylex": True}), ("zdiff", (["z", "z2"], True)), ("zdiff", (["z", "z2"],)), ("zinter", (["z", "z2"],), {"aggregate": "MAX", "withscores": True}),
    ("zinter", ({"z": 2, "z2": 3},), {"withscores": True}), ("zunion", (["z", "z2"],), {"aggregate": "MIN", "withscores": True}), ("zunion", ({"z": 1, "s1": 2},)), ("zdiffstore", ("zs", ["z", "z2"])),
    ("zinterstore", ("zs", {"z": 2, "z2": 3}), {"aggregate": "SUM"}), ("zunionstore", ("zs", ["z", "z2", "none"])), ("zintercard", (2, ["z", "z2"])), ("zintercard", (2, ["z", "z2"], 1)),
    ("zrandmember", ("zr", 10), {"withscores": True}), ("zrandmember", ("none",)), ("zpopmin", ("z",)), ("zpopmax", ("z", 2)), ("zpopmin", ("none", 2)),
    ("bzpopmin", (["none", "z"], 1)), ("bzpopmax", ("z2",), {"timeout": 1}), ("bzpopmax", ("none", 0.01)), ("bzpopmin", ("s", 0.01)), ("zmpop", (2, ["none", "z2"]), {"min": True, "count": 1}),
    ("zmpop", (1, ["none"]), {"max": True}), ("bzmpop", (1, 2, ["none", "z2"]), {"max": True}), ("bzmpop", (0.01, 1, ["none"]), {"min": True}), ("zrem", ("lex", "a", "none")),
    ("zremrangebylex", ("lex", "[b", "[b")), ("zremrangebyrank", ("zs", 0, 0)), ("zremrangebyscore", ("zs", "(1", 3)), ("zrange", ("zs", 0, -1), {"withscores": True}),
    # hashes
    ("hset", ("h", "f", 1)), ("hset", ("h",), {"mapping": {"g": 2.5, "h": b"\xff"}, "items": ["i", 3]}), ("hsetnx", ("h", "f", 2)), ("hmset", ("h", {"j": "x"})), ("hget", ("h", "f")),
    ("hmget", ("h", ["f", "none"])), ("hgetall", ("h",)), ("hkeys", ("h",)), ("hvals", ("h",)), ("hlen", ("h",)), ("hexists", ("h", "none")), ("hstrlen", ("h", "j")), ("hincrby", ("h", "f", 5)),
    ("hincrby", ("h", "j", 5)), ("hincrbyfloat", ("h", "g", 0.25)), ("hdel", ("h", "h", "none")), ("hrandfield", ("h", 10, True)), ("hrandfield", ("none",)),
    ("hsetex", ("h", "t", "v"), {"exat": FAR}), ("hsetex", ("h",), {"mapping": {"u": 1}, "keepttl": True}), ("hgetex", ("h", "t"), {"persist": True}), ("hexpire", ("h", 100, "u", "none")),
    ("hpexpire", ("h", 100_000, "u"), {"nx": True}), ("hexpireat", ("h", FAR, "t", "u")), ("hexpiretime", ("h", "t", "f", "none")), ("hpexpireat", ("h", FAR * 1000, "t"), {"gt": True}),
    ("hpexpiretime", ("h", "t")), ("httl", ("h", "f")), ("hpttl", ("none", "f")), ("hpersist", ("h", "t", "f", "none")), ("hgetdel", ("h", "u")),
    ("himport_prepare_internal", ("set", ["a"])), ("himport_set", ("hi", "set", [1])), ("himport_discard_internal", ("set",)), ("himport_discard_all_internal", ()),
    # streams
    ("xadd", ("x", {"f": 1}, "1-1")), ("xadd", ("x", {"f": 2, "g": b"\xff"}, "2-*")), ("xadd", ("x", {"f": 3}, "3")), ("xadd", ("x", {"f": 3}, "3")), ("xadd", ("none", {"f": 3}), {"nomkstream": True}),
    ("xadd", ("x", {"f": 4}, "4-4"), {"maxlen": 3, "approximate": False}), ("xadd", ("x", {"f": 5}, "5-5"), {"minid": "2", "limit": 10}), ("xlen", ("x",)), ("xlen", ("none",)), ("xrange", ("x",)),
    ("xrange", ("x", "(2-0", "4", 1)), ("xrevrange", ("x", "+", "3")), ("xread", ({"x": "3", "none": 0},)), ("xread", ({"x": "$"},), {"block": 5}), ("xread", ({"x": 0},), {"count": 1, "block": 5}),
    ("xgroup_create", ("x", "g", 0)), ("xgroup_create", ("x", "g", 0)), ("xgroup_create", ("none", "g")), ("xgroup_create", ("x2", "g"), {"mkstream": True, "entries_read": 0}),
    ("xgroup_createconsumer", ("x", "g", "alice")), ("xreadgroup", ("g", "alice", {"x": ">"}), {"count": 2}), ("xreadgroup", ("g", "bob", {"x": ">"}), {"noack": True, "block": 5}),
    ("xreadgroup", ("g", "alice", {"x": "0"})), ("xreadgroup", ("nope", "alice", {"x": "0"})), ("xpending", ("x", "g")), ("xpending_range", ("x", "g", "-", "+", 10)),
    ("xpending_range", ("x", "g", "-", "+", 10, "bob"), {"idle": 0}), ("xclaim", ("x", "g", "bob", 0, ["2-0"])), ("xclaim", ("x", "g", "bob", 0, ["3-0", "9-9"]), {"justid": True, "retrycount": 5, "force": True}),
    ("xclaim", ("x", "g", "bob", 0, ["4-4"]), {"idle": 100_000, "force": True}), ("xautoclaim", ("x", "g", "carol", 0), {"count": 1}), ("xautoclaim", ("x", "g", "carol", 0), {"justid": True}),
    ("xack", ("x", "g", "2-0", "9-9")), ("xinfo_groups", ("x",)), ("xinfo_consumers", ("x", "g")), ("xinfo_stream", ("x",)), ("xinfo_stream", ("x", True)), ("xinfo_stream", ("none",)), ("xgroup_setid", ("x", "g", "3-0"), {"entries_read": 2}),
    ("xgroup_delconsumer", ("x", "g", "carol")), ("xdel", ("x", "3-0", "9-9")), ("xtrim", ("x", 1, False)), ("xtrim", ("x",), {"minid": "9", "approximate": True, "limit": 5}), ("xgroup_destroy", ("x", "g")),
    ("xackdel", ("x", "g", "1-1")), ("xcfgset", ("x", 100)), ("xdelex", ("x", "1-1")), ("xnack", ("x", "g", "FAIL", "1-1")),
    # what counts distinct elements
    ("pfadd", ("hll", "a", "b", "c")), ("pfadd", ("hll", "a")), ("pfadd", ("hll2", "c", "d")), ("pfcount", ("hll",)), ("pfcount", ("hll", "hll2", "none")), ("pfmerge", ("hm", "hll", "hll2")), ("pfcount", ("hm",)),
    ("pfadd", ("l", "a")), ("pfcount", ("s",)), ("get", ("hm",)),
    # places
    ("geoadd", ("geo", (13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"))), ("geoadd", ("geo", (2.35, 48.85, "Paris")), {"nx": True, "ch": True}), ("geoadd", ("geo", (200, 0, "off"))),
    ("geodist", ("geo", "Palermo", "Catania")), ("geodist", ("geo", "Palermo", "Catania", "km")), ("geodist", ("geo", "Palermo", "none")), ("geohash", ("geo", "Palermo", "none")), ("geopos", ("geo", "Palermo", "none")),
    ("georadius", ("geo", 15, 37, 200, "km"), {"withdist": True, "withcoord": True, "withhash": True, "sort": "ASC"}), ("georadius", ("geo", 15, 37, 200, "km"), {"store": "near"}),
    ("georadiusbymember", ("geo", "Palermo", 200, "km"), {"sort": "DESC", "count": 1}), ("georadiusbymember", ("geo", "none", 200, "km")), ("geosearch", ("geo",), {"member": "Palermo", "radius": 200, "unit": "km", "sort": "ASC"}),
    ("geosearch", ("geo",), {"longitude": 15, "latitude": 37, "width": 400, "height": 400, "unit": "km", "withdist": True, "sort": "DESC"}), ("geosearch", ("geo",), {"member": "Palermo", "radius": 1, "unit": "leagues"}),
    ("geosearchstore", ("near", "geo"), {"member": "Palermo", "radius": 200, "unit": "km", "storedist": True}), ("zrange", ("near", 0, -1)),
    # publishing
    ("publish", ("nobody", "x")), ("spublish", ("nobody", "x")), ("pubsub_channels", ()), ("pubsub_shardchannels", ("n*",)), ("pubsub_numpat", ()), ("pubsub_numsub", ("nobody",)), ("pubsub_shardnumsub", ("nobody",)),
    # scans
    ("scan", (), {"match": "s*", "count": 1000}), ("scan", (), {"count": 1000, "_type": "zset"}), ("scan_iter", (), {"match": "*h*"}), ("sscan", ("s2",)), ("sscan_iter", ("s2",), {"match": "[cd]"}), ("hscan", ("h",)),
    ("hscan", ("h",), {"no_values": True}), ("hscan_iter", ("h",)), ("zscan", ("zr",)), ("zscan_iter", ("zr",), {"match": "a"}), ("zscan", ("s",)),
    # one key is left
    ("watch", ("s",)), ("unwatch", ()), ("flushall", ()), ("set", ("only", 1)), ("randomkey", ()),
]  # fmt: skip

#: What is in no order.
UNORDERED = {"keys", "scan", "scan_iter", "sscan", "sscan_iter", "hscan_iter", "zscan_iter", "sdiff", "sinter", "sunion", "spop", "srandmember", "zrandmember", "hrandfield", "smembers"}  # fmt: skip

#: Fields of replies that tell how long something took.
OWN = re.compile(r"idle|inactive|time_since_delivered|seen-time|active-time")

#: Milliseconds since 1970, after 2020.
NOW = 1_577_836_800_000


def settled(name, value):
    """What must be equal of a result."""
    if isinstance(value, dict):
        return {key: settled(name, inner) for key, inner in value.items() if not OWN.search(str(key))}
    if isinstance(value, (list, tuple)):
        inner = [settled(name, element) for element in value]
        return sorted(inner, key=repr) if name in UNORDERED else inner
    if isinstance(value, int) and value > NOW and not name.endswith("time"):
        return "now"
    return value


def calls():
    """Each row as its method's name, and a function that calls it on a client."""
    for name, args, *options in ROWS:
        if callable(args):
            yield name, args
        else:
            yield (
                name,
                lambda client, name=name, args=args, options=options: getattr(client, name)(
                    *args, **dict(*options)
                ),
            )


def failure(error):
    """An exception, to be compared. hiredis words some that no server is asked for differently."""
    return (
        (type(error).__name__,)
        if isinstance(error, (valkey.DataError, redis.DataError))
        else (type(error).__name__, str(error))
    )


def results(client):
    """What each row's call returns or raises."""
    for name, call in calls():
        try:
            found = call(client)
            found = list(found) if hasattr(found, "__next__") else found
        except Exception as error:
            found = failure(error)
        yield name, settled(name, found)


async def results_of_tasks(client):
    """The same of a client of asyncio."""
    for name, call in calls():
        try:
            found = call(client)
            if hasattr(found, "__anext__"):
                found = [element async for element in found]
            elif inspect.isawaitable(found):
                found = await found
        except Exception as error:
            found = failure(error)
        yield name, settled(name, found)


def missing(client_class):
    """Rows of methods that a library's clients do not have."""
    return {name for name, *_ in ROWS if not hasattr(client_class, name)}


def compare(kind, ours, theirs):
    """What differs must be nothing."""
    lacking = missing(kind)
    pairs = zip(ours, theirs, strict=True)
    assert [
        (name, mine, real) for (name, mine), (_, real) in pairs if name not in lacking and mine != real
    ] == []


@pytest.mark.parametrize("library", ["valkey", "redis"])
def test_every_method_has_a_row(library, methods_without):
    assert methods_without(ROWS, library, GROUPS, LEFT_OUT) == set()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{"protocol": 2}, {"protocol": 3, "decode_responses": False}])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("library", ["valkey", "redis"])
def test_every_method_returns_what_it_does_on_a_server(library, place, options, server, target, request):
    TARGET[:] = [target]
    kind = {"valkey": valkey.Valkey, "redis": redis.Redis}[library]
    if place == "over the socket":
        ours = kind(port=request.getfixturevalue("served"), **options)
    elif library == "valkey":
        ours = keystead.Valkey(**options)
    else:
        ours = redis.Redis(connection_pool=keystead.redis.pool(**options))
    with kind(port=server, **options) as theirs:
        theirs.flushall()
        compare(kind, list(results(ours)), list(results(theirs)))
    ours.close()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{"protocol": 2}, {"protocol": 3}])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("library", ["valkey", "redis"])
async def test_every_coroutine_returns_what_it_does_on_a_server(
    library, place, options, server, target, request
):
    TARGET[:] = [target]
    kind = {"valkey": valkey.asyncio.Valkey, "redis": redis.asyncio.Redis}[library]
    if place == "over the socket":
        ours = kind(port=request.getfixturevalue("served"), **options)
    elif library == "valkey":
        ours = keystead.asyncio.Valkey(**options)
    else:
        ours = redis.asyncio.Redis(connection_pool=keystead.redis.async_pool(**options))
    async with kind(port=server, **options) as theirs:
        await theirs.flushall()
        compare(
            kind,
            [result async for result in results_of_tasks(ours)],
            [result async for result in results_of_tasks(theirs)],
        )
    await ours.aclose()
