"""Every method of valkey-py and redis-py that is not for data: users, clients, options, scripts, functions. Called here, in process and over a socket, and
on a real server: what it returns must be equal. A method without a row fails."""

import pytest

import keystead

valkey = pytest.importorskip("valkey")
redis = pytest.importorskip("redis")

import keystead.redis  # noqa: E402
import keystead.valkey  # noqa: E402

GROUPS = [
    "ACLCommands", "ManagementCommands", "ModuleCommands", "ScriptCommands", "FunctionCommands", "ClusterCommands",
]  # fmt: skip

#: Methods without rows, and why.
LEFT_OUT = {
    "client_kill": "needs an address, which differs; client_kill_filter is there",
    "client_reply": "the libraries wait for the reply that it switches off",
    "command_docs": "asks nothing: the libraries refuse it",
    "command_info": "asks nothing: the libraries refuse it",
    "debug_segfault": "ends the process",
    "failover": "asks nothing: the libraries refuse it",
    "hello": "asks nothing: the libraries refuse it",
    "hotkeys_get": "of Redis 8.6 alone",
    "hotkeys_reset": "of Redis 8.6 alone",
    "hotkeys_start": "of Redis 8.6 alone",
    "hotkeys_stop": "of Redis 8.6 alone",
    "latency_doctor": "asks nothing: the libraries refuse it",
    "latency_graph": "asks nothing: the libraries refuse it",
    "latency_histogram": "asks nothing: the libraries refuse it",
    "memory_doctor": "asks nothing: the libraries refuse it",
    "memory_help": "asks nothing: the libraries refuse it",
    "migrate": "in test_methods.py",
    "module_load": "there are no modules",
    "module_loadex": "there are no modules",
    "psync": "a replica's",
    "replicaof": "a replica's",
    "script_debug": "asks nothing: the libraries refuse it",
    "shutdown": "ends the server: in test_listener.py",
    "slaveof": "a replica's",
    "sync": "a replica's",
}

LIBRARY = """#!lua name=lib
redis.register_function('set', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
redis.register_function{function_name='get', callback=function(keys) return redis.call('GET', keys[1]) end, flags={'no-writes'}}
"""


def failure(error):
    """An exception, to be compared."""
    return type(error).__name__, str(error)


def fields(found):
    """The names of what is told, where the values are each server's own."""
    return sorted(found) if isinstance(found, dict) else [sorted(entry) for entry in found]


#: Calls in their order: a method, then its arguments and options, or what calls it.
ROWS = [
    # users
    ("acl_whoami", ()), ("acl_users", ()), ("acl_list", ()), ("acl_cat", lambda c: sorted(c.acl_cat())), ("acl_cat", lambda c: sorted(c.acl_cat("hyperloglog"))),
    ("acl_cat", ("none",)), ("acl_setuser", ("ann",), {"enabled": True, "passwords": ["+secret"], "categories": ["+@read"], "commands": ["-get", "+set"], "keys": ["a*"], "channels": ["c*"]}),
    ("acl_setuser", ("bob",), {"nopass": True, "reset": True}), ("acl_setuser", ("ann",), {"passwords": ["secret"]}),
    ("acl_getuser", ("ann",)), ("acl_getuser", ("none",)), ("acl_list", ()), ("acl_users", ()), ("acl_dryrun", ("ann", "set", "a1", "x")), ("acl_dryrun", ("ann", "get", "a1")),
    ("acl_dryrun", ("ann", "set", "b1", "x")), ("acl_dryrun", ("none", "set", "b1", "x")), ("acl_genpass", lambda c: len(c.acl_genpass())), ("acl_genpass", lambda c: len(c.acl_genpass(5))),
    ("acl_genpass", ("x",)), ("acl_genpass", (5000,)), ("auth", ("wrong", "ann")), ("acl_log", lambda c: [entry["reason"] for entry in c.acl_log()]), ("acl_log", lambda c: fields(c.acl_log(1))),
    ("acl_log_reset", ()), ("acl_log", ()), ("acl_log", (-1,)), ("acl_deluser", ("ann", "bob", "none")), ("acl_deluser", ("default",)), ("acl_load", ()), ("acl_save", ()),
    ("acl_help", lambda c: c.acl_help()[0]), ("auth", ("any",)),
    # clients
    ("client_setname", ("me",)), ("client_getname", ()), ("client_setname", ("a b",)), ("client_setinfo", ("LIB-NAME", "mine")), ("client_setinfo", ("LIB-NAME", "a b")), ("client_setinfo", ("none", "x")),
    ("client_info", lambda c: (c.client_info()["name"], c.client_info()["lib-name"], c.client_info()["cmd"])), ("client_info", lambda c: fields(c.client_info())),
    ("client_id", lambda c: c.client_id() == c.client_info()["id"]), ("client_list", lambda c: [entry["name"] for entry in c.client_list()]), ("client_list", lambda c: fields(c.client_list())),
    ("client_list", lambda c: len(c.client_list(_type="normal"))), ("client_list", lambda c: len(c.client_list(_type="pubsub"))), ("client_list", lambda c: len(c.client_list(client_id=[c.client_id()]))),
    ("client_list", (), {"_type": "none"}), ("client_kill_filter", (), {"_id": "987654321"}), ("client_kill_filter", (), {"_type": "none"}), ("client_kill_filter", (), {"user": "none"}),
    ("client_kill_filter", (), {"maxage": 10_000}), ("client_kill_filter", (), {"_type": "pubsub", "skipme": True}), ("client_unblock", (987654321,)), ("client_unblock", (987654321,), {"error": True}), ("client_pause", (1,)),
    ("client_pause", (1, False)), ("client_pause", ("x",)), ("client_unpause", ()), ("client_no_evict", ("ON",)), ("client_no_evict", ("OFF",)), ("client_no_touch", ("ON",)), ("client_no_touch", ("OFF",)), ("client_no_touch", ("x",)),
    ("client_getredir", ()), ("client_trackinginfo", ()), ("client_tracking_off", ()), ("client_tracking", (), {"on": True, "clientid": 987654321}),
    ("client_tracking_on", lambda c: c.client_tracking_on(bcast=True, prefix=["a", "b"])), ("client_trackinginfo", ()), ("client_tracking_off", ()), ("client_getredir", ()),
    # options and the server
    ("config_get", ("maxmemory*",)), ("config_get", ("none",)), ("config_set", ("maxmemory", "100mb")), ("config_get", ("maxmemory", "hz")), ("config_set", ("maxmemory", "x")), ("config_set", ("none", 1)),
    ("config_set", ("maxmemory", 0, "hz", 10)), ("config_rewrite", ()), ("config_resetstat", ()), ("command_count", lambda c: c.command_count() > 200), ("command", lambda c: c.command()["get"]),
    ("command_list", lambda c: sorted(c.command_list(category="hyperloglog"))), ("command_list", lambda c: sorted(c.command_list(pattern="zr*"))), ("command_list", (), {"module": "none"}),
    ("command_getkeys", ("MSET", "a", "1", "b", "2")), ("command_getkeys", ("PING",)), ("command_getkeysandflags", ("LMOVE", "a", "b", "LEFT", "RIGHT")), ("command_getkeysandflags", ("NOPE",)),
    ("echo", ("größe",)), ("ping", ()), ("time", lambda c: len(c.time())), ("info", lambda c: c.info("server")["redis_version"]), ("info", lambda c: c.info("keyspace")), ("info", lambda c: c.info("none")),
    ("info", lambda c: c.info("replication")["role"]), ("role", ()), ("wait", (0, 1)), ("wait", (-1, 0)), ("waitaof", (0, 0, 1)), ("waitaof", (1, 0, 1)), ("select", (3,)), ("set", ("k", 1)), ("dbsize", ()), ("swapdb", (3, 0)), ("dbsize", ()), ("swapdb", (99, 0)),
    ("select", (99,)), ("select", (0,)), ("get", ("k",)), ("object", ("ENCODING", "k")), ("object", ("REFCOUNT", "none")), ("object", ("NOPE", "k")), ("debug_object", lambda c: c.debug_object("k")["encoding"]), ("debug_object", ("none",)),
    ("memory_usage", lambda c: c.memory_usage("k") > 0), ("memory_usage", ("none",)), ("memory_purge", ()), ("memory_stats", lambda c: "peak.allocated" in c.memory_stats()), ("memory_malloc_stats", lambda c: type(c.memory_malloc_stats()).__name__),
    ("lastsave", lambda c: type(c.lastsave()).__name__), ("lolwut", lambda c: type(c.lolwut(5)).__name__), ("save", ()), ("bgsave", lambda c: c.bgsave() in (True, b"Background saving started")), ("bgrewriteaof", lambda c: type(c.bgrewriteaof()).__name__),
    ("slowlog_reset", ()), ("slowlog_len", ()), ("config_set", ("slowlog-log-slower-than", 0)), ("slowlog_get", lambda c: fields(c.slowlog_get(1))), ("config_set", ("slowlog-log-slower-than", 10_000)), ("slowlog_reset", ()), ("slowlog_get", ()), ("slowlog_get", (-5,)),
    ("latency_latest", ()), ("latency_history", ("command",)), ("latency_reset", ()), ("module_list", ()), ("module_unload", ("none",)), ("flushdb", ()), ("dbsize", ()), ("flushall", (True,)), ("readonly", lambda c: c.readonly()), ("readwrite", lambda c: c.readwrite()),
    ("cluster", ("INFO",)), ("cluster", ("KEYSLOT", "k")),
    # scripts
    ("eval", ("return {KEYS[1], ARGV[1], 1.9, false, {ok='fine'}}", 1, "k", "v")), ("eval", ("return redis.call('SET', KEYS[1], ARGV[1])", 1, "k", "v")), ("eval", ("return redis.call('NOPE')", 0)), ("eval", ("return {err='MY error'}", 0)), ("eval", ("syntax error", 0)),
    ("eval", ("return 1", "x")), ("eval_ro", ("return redis.call('GET', KEYS[1])", 1, "k")), ("eval_ro", ("return redis.call('SET', KEYS[1], 1)", 1, "k")), ("script_load", ("return redis.call('GET', KEYS[1])",)),
    ("evalsha", lambda c: c.evalsha(c.script_load("return redis.call('GET', KEYS[1])"), 1, "k")), ("evalsha_ro", lambda c: c.evalsha_ro(c.script_load("return redis.call('GET', KEYS[1])"), 1, "k")), ("evalsha", ("0" * 40, 0)), ("evalsha_ro", ("0" * 40, 0)),
    ("script_exists", lambda c: c.script_exists(c.script_load("return 1"), "0" * 40)), ("script_flush", ()), ("script_flush", ("ASYNC",)), ("script_exists", lambda c: c.script_exists("0" * 40)), ("script_kill", ()), ("script_load", ("syntax error",)),
    ("register_script", lambda c: c.register_script("return ARGV[1]")(args=["x"])),
    # functions
    ("function_load", (LIBRARY,)), ("function_load", (LIBRARY,)), ("function_load", (LIBRARY,), {"replace": True}), ("function_load", ("no library",)), ("function_list", lambda c: c.function_list()[0][1::2][0:2]), ("function_list", lambda c: len(c.function_list(withcode=True))),
    ("function_list", lambda c: c.function_list("none")), ("fcall", ("set", 1, "k", "v")), ("fcall", ("get", 1, "k")), ("fcall", ("none", 0)), ("fcall_ro", ("get", 1, "k")), ("fcall_ro", ("set", 1, "k", "v")), ("function_stats", lambda c: len(c.function_stats())),
    ("function_dump", ()), ("function_restore", lambda c: c.function_restore(c.function_dump(), "REPLACE")), ("function_restore", ("broken",)), ("function_delete", ("lib",)), ("function_delete", ("lib",)), ("function_flush", ("SYNC",)), ("function_kill", ()),
    ("reset", ()), ("quit", ()),
]  # fmt: skip


def results(client):
    """What each row's call returns or raises."""
    for name, args, *options in ROWS:
        try:
            found = args(client) if callable(args) else getattr(client, name)(*args, **dict(*options))
        except Exception as error:
            found = failure(error)
        yield name, args, found


def in_process(library, options):
    if library == "valkey":
        return valkey.Valkey(connection_pool=keystead.valkey.pool(**options), single_connection_client=True)
    return redis.Redis(connection_pool=keystead.redis.pool(**options), single_connection_client=True)


@pytest.mark.parametrize("library", ["valkey", "redis"])
def test_every_method_has_a_row(library, methods_without):
    assert methods_without(ROWS, library, GROUPS, LEFT_OUT) == set()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("place", ["in process", "over the socket"])
@pytest.mark.parametrize("library", ["valkey", "redis"])
def test_every_method_returns_what_it_does_on_a_server(library, place, protocol, own_server, request):
    kind = {"valkey": valkey.Valkey, "redis": redis.Redis}[library]
    options = {"protocol": protocol}
    there = {**options, "single_connection_client": True}
    with kind(port=own_server, **there) as theirs:
        if place == "in process":
            ours = in_process(library, options)
        else:
            ours = kind(port=request.getfixturevalue("served"), **there)
        compare(list(results(ours)), list(results(theirs)), kind)
    ours.close()


def compare(ours, theirs, kind):
    """What differs must be nothing."""
    pairs = zip(ours, theirs, strict=True)
    lacking = {name for name, *_ in ROWS if not hasattr(kind, name)}
    assert [
        (name, args, mine, real)
        for (name, args, mine), (_, _, real) in pairs
        if name not in lacking and mine != real
    ] == []
