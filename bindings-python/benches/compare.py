"""Compares Keystead with its peers side by side: one JSON object per line, `peer` empty for our own figure against its goal.

Contenders of a case are timed in turn, A B A B, in one process; `peer_ns` and `ours_ns` are medians over the rounds, each the best of a
few loops; `ratio` is the median of the rounds' peer / ours, `low` and `high` are its spread (of our own nanoseconds where `peer` is
empty). The peers are those of requirements.txt; one that is missing is left out and named on stderr. `KEYSTEAD_ORACLE` is the path
of the valkey-server that the clients talk to over a Unix socket (glide over TCP: it knows no other).

    python benches/compare.py [--rounds 5] [--only TEXT]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import hashlib
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import keystead
from keystead import Cache, Store

KEYS = [f"key:{index:012d}" for index in range(100_000)]
KEY, HUNDRED = KEYS[4711], KEYS[:100]
VALUE = b"\x81" + b"v" * 99
TEXT = "v" * 100
OBJECT = {"id": 17, "name": "Villa", "city": "Dubai", "price": 1250000.5, "tags": ["a", "b"], "sold": False}
LOOPS, LOOP_SECONDS = 3, 0.008


@dataclass
class Case:
    """Something that ours and peers do; code is what `timeit` runs, with the names it needs."""

    name: str
    goal_ns: float | None
    ours: tuple[str, dict[str, Any]]
    peers: list[tuple[str, str, dict[str, Any], float | None]] = field(default_factory=list)
    per: int = 1

    def against(self, label: str, code: str, goal_ratio: float | None = None, /, **names: Any) -> None:
        """Adds a peer; `goal_ratio` is the least that peer / ours shall be."""
        self.peers.append((label, code, names, goal_ratio))


Loop = Callable[[], float]


def loop_of(code: str, names: dict[str, Any], per: int) -> Loop:
    """Times some milliseconds of the code; the loop gives nanoseconds of one operation."""
    timer = timeit.Timer(code, globals={**globals(), **names})
    once = max(timer.timeit(3) / 3, 1e-9)
    number = max(1, int(LOOP_SECONDS / once))
    number = max(1, int(LOOP_SECONDS * number / max(timer.timeit(number), 1e-9)))
    return lambda: timer.timeit(number) / number / per * 1e9


def measured(loops: list[Loop], rounds: int) -> list[list[float]]:
    """Per contender its figure in each round."""
    figures: list[list[float]] = [[] for _ in loops]
    for _ in range(rounds):
        best = [float("inf")] * len(loops)
        for _ in range(LOOPS):
            for index, loop in enumerate(loops):
                best[index] = min(best[index], loop())
        for index, figure in enumerate(best):
            figures[index].append(figure)
    return figures


class Awake:
    """Keeps a second core from falling asleep while a client waits for its server: an idle machine makes a round trip four times as long.

    A process of the lowest priority that spins, stopped in between, so that it disturbs nobody else.
    """

    process: subprocess.Popen[bytes] | None = None

    @classmethod
    def around(cls, loop: Loop) -> Loop:
        """The loop with a core kept awake."""

        def run() -> float:
            if cls.process is None:
                code = "import os\nos.nice(19)\nwhile True: pass"
                cls.process = subprocess.Popen([sys.executable, "-c", code])
                time.sleep(0.2)
            cls.process.send_signal(signal.SIGCONT)
            try:
                return loop()
            finally:
                cls.process.send_signal(signal.SIGSTOP)

        return run

    @classmethod
    def end(cls) -> None:
        """Ends the process."""
        if cls.process is not None:
            cls.process.kill()
            cls.process.wait()


def report(
    name: str, goal_ns: float | None, peers: list[tuple[str, float | None]], found: list[list[float]]
) -> None:
    """Prints a row for ours and one per peer."""
    ours = found[0]
    base = {"face": "python", "case": name, "ours_ns": round(statistics.median(ours), 1)}
    own = {
        "peer": "",
        "peer_ns": None,
        "ratio": None,
        "low": round(min(ours), 1),
        "high": round(max(ours), 1),
    }
    print(json.dumps({**base, **own, "goal_ns": goal_ns, "goal_ratio": None}), flush=True)
    for (peer, goal_ratio), figures in zip(peers, found[1:], strict=True):
        ratios = [theirs / mine for theirs, mine in zip(figures, ours, strict=True)]
        row = {
            "peer": peer,
            "peer_ns": round(statistics.median(figures), 1),
            "ratio": round(statistics.median(ratios), 3),
            "low": round(min(ratios), 3),
            "high": round(max(ratios), 3),
        }
        print(json.dumps({**base, **row, "goal_ns": None, "goal_ratio": goal_ratio}), flush=True)


@contextlib.contextmanager
def optional(peer: str) -> Iterator[None]:
    """Leaves out a peer that is not there, or does not work here, and says so."""
    try:
        yield
    except Exception as error:
        print(f"{peer} is left out: {type(error).__name__}: {error}", file=sys.stderr)


@contextlib.contextmanager
def server() -> Iterator[tuple[str, int] | None]:
    """A real server: its Unix socket and its TCP port; None without `KEYSTEAD_ORACLE`."""
    program = os.environ.get("KEYSTEAD_ORACLE")
    if not program:
        print("KEYSTEAD_ORACLE is not set: no clients are compared", file=sys.stderr)
        yield None
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "sock")
        options = [
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--unixsocket",
            path,
            "--save",
            "",
            "--dir",
            folder,
        ]
        with subprocess.Popen([program, *options], stdout=subprocess.DEVNULL) as process:
            try:
                for _ in range(500):
                    if os.path.exists(path):
                        break
                    time.sleep(0.01)
                yield path, port
            finally:
                process.terminate()


class Peers:
    """The peers that are installed, filled with the same keys."""

    def __init__(self, address: tuple[str, int] | None) -> None:
        self.plain = dict.fromkeys(KEYS, VALUE)
        #: name -> object with `get`, and how it sets.
        self.caches: dict[str, tuple[Any, str]] = {}
        #: name -> client with redis-py's methods.
        self.clients: dict[str, Any] = {}
        self.address = address
        self._caches()
        self._clients()

    def _caches(self) -> None:
        with optional("cachebox"):
            import cachebox

            self.caches["cachebox LRUCache"] = cachebox.LRUCache(200_000), "peer.insert(KEY, VALUE)"
            self.caches["cachebox TTLCache"] = cachebox.TTLCache(200_000, 3600), "peer.insert(KEY, VALUE)"
        with optional("cachetools"):
            import cachetools

            self.caches["cachetools LRUCache"] = cachetools.LRUCache(200_000), "peer[KEY] = VALUE"
            self.caches["cachetools TTLCache"] = cachetools.TTLCache(200_000, 3600), "peer[KEY] = VALUE"
        with optional("moka-py"):
            import moka_py

            self.caches["moka-py"] = moka_py.Moka(200_000), "peer.set(KEY, VALUE)"
        with optional("theine"):
            import theine

            self.caches["theine"] = theine.Cache(200_000), "peer.set(KEY, VALUE)"
        with optional("diskcache"):
            import diskcache

            self.caches["diskcache"] = (
                diskcache.Cache(tempfile.mkdtemp(prefix="keystead-diskcache-")),
                "peer.set(KEY, VALUE)",
            )
        with optional("Flask-Caching"):
            from cachelib import SimpleCache

            self.caches["Flask-Caching SimpleCache"] = SimpleCache(200_000, 3600), "peer.set(KEY, VALUE)"
        for cache, code in self.caches.values():
            few = KEYS[:5_000] if type(cache).__module__.startswith("diskcache") else KEYS
            for key in few:
                exec(code, {"peer": cache, "KEY": key, "VALUE": VALUE})

    def _clients(self) -> None:
        with optional("fakeredis"):
            import fakeredis

            self.clients["fakeredis"] = fakeredis.FakeStrictRedis()
        if self.address is not None:
            path, port = self.address
            with optional("valkey-py"):
                import valkey

                self.clients["valkey-py, Unix socket"] = valkey.Valkey(unix_socket_path=path)
            with optional("redis-py"):
                import redis

                self.clients["redis-py + hiredis, Unix socket"] = redis.Redis(unix_socket_path=path)
            with optional("valkey-glide-sync"):
                from glide_sync import GlideClient, GlideClientConfiguration, NodeAddress

                config = GlideClientConfiguration([NodeAddress("127.0.0.1", port)])
                self.clients["valkey-glide-sync, TCP"] = GlideClient.create(config)
        for name, client in list(self.clients.items()):
            with optional(name):
                for key in HUNDRED:
                    client.set(key, VALUE)
                client.set(KEY, VALUE)
                client.set("number", "1")
                client.hset("hash", *(({"field": VALUE},) if "glide" in name else ("field", VALUE)))


def cases(peers: Peers) -> Iterator[Case]:
    """Every case that is called, not awaited."""
    store, cache = Store(), Cache()
    for key in KEYS:
        store.set(key, VALUE)
        cache.set(key, TEXT)
    store.set("number", 1)
    store.hset("hash", "field", VALUE)
    own = {"store": store, "cache": cache}
    yield from single(peers, own)
    yield from many(peers, own)
    yield from decorators(cache)
    yield from flask_decorator(peers)
    yield valkey_face(peers)


def single(peers: Peers, own: dict[str, Any]) -> Iterator[Case]:
    """One key at a time."""
    get = Case("get(str) -> bytes, hot", 50, ("store.get(KEY)", own))
    get.against("dict.get", "plain.get(KEY)", 0.455, plain=peers.plain)
    put = Case("set(str, bytes)", 58, ("store.set(KEY, VALUE)", own))
    put.against("dict", "plain[KEY] = VALUE", 0.455, plain=peers.plain)
    for name, (peer, code) in peers.caches.items():
        get.against(name, "peer.get(KEY)", peer=peer)
        put.against(name, code, peer=peer)
    timed = Case("set with ttl", 75, ("store.set(KEY, VALUE, ttl=60)", own))
    hget = Case("hget", 70, ("store.hget('hash', 'field')", own))
    incr = Case("incr", 50, ("store.incr('number')", own))
    for name, peer in peers.clients.items():
        get.against(name, "peer.get(KEY)", 400 if name.startswith("redis-py") else None, peer=peer)
        put.against(name, "peer.set(KEY, VALUE)", peer=peer)
        hget.against(name, "peer.hget('hash', 'field')", peer=peer)
        incr.against(name, "peer.incr('number')", peer=peer)
        if "glide" not in name:
            timed.against(name, "peer.set(KEY, VALUE, ex=60)", peer=peer)
    yield from (get, put, timed, hget, incr)
    text = Case("Cache.get -> str", 58, ("cache.get(KEY)", own))
    text.against("dict.get", "plain.get(KEY)", 0.385, plain=peers.plain)
    yield text
    yield Case("get, missing", 36, ("store.get('none')", own))
    yield Case("str in Store", 36, ("KEY in store", own))
    shuffled = random.Random(7).sample(KEYS, len(KEYS))
    cold = Case(
        "get, cold, 100,000 keys",
        150,
        ("for key in shuffled: get(key)", {"shuffled": shuffled, "get": own["store"].get}),
    )
    cold.per = len(KEYS)
    cold.against("dict.get", "for key in shuffled: get(key)", 0.667, shuffled=shuffled, get=peers.plain.get)
    yield cold


def many(peers: Peers, own: dict[str, Any]) -> Iterator[Case]:
    """Batches of 100, per key."""
    hot = Case("mget of 100, hot, per key", 45, ("store.mget(HUNDRED)", own), per=100)
    hot.against("dict comprehension", "[get(key) for key in HUNDRED]", get=peers.plain.get)
    shuffled = random.Random(9).sample(KEYS, len(KEYS))
    batches = [shuffled[at : at + 100] for at in range(0, len(KEYS), 100)]
    cold = Case(
        "mget of 100, cold, per key",
        70,
        ("for keys in batches: store.mget(keys)", {**own, "batches": batches}),
    )
    cold.per = len(KEYS)
    code = "for keys in batches: [get(key) for key in keys]"
    cold.against("dict comprehension", code, 1.0, batches=batches, get=peers.plain.get)
    pairs = [("SET", key, VALUE) for key in HUNDRED]
    listed = Case(
        "pipeline of 100 sets, list, per op", 60, ("store.pipeline(pairs)", {**own, "pairs": pairs}), per=100
    )
    fluent = "pipe = peer.pipeline({})\nfor key in HUNDRED: pipe.set(key, VALUE)\npipe.execute()"
    recorded = Case(
        "pipeline of 100 sets, fluent, per op", 110, (fluent.format(""), {"peer": own["store"]}), per=100
    )
    for name, peer in peers.clients.items():
        hot.against(name, "peer.mget(HUNDRED)", peer=peer)
        if "glide" not in name:
            goal = 60 if name.startswith("redis-py") else None
            listed.against(name, fluent.format("transaction=False"), goal, peer=peer)
            recorded.against(name, fluent.format("transaction=False"), peer=peer)
    yield from (hot, cold, listed, recorded)


def decorators(cache: Cache) -> Iterator[Case]:
    """Hits of decorated functions."""

    def text(number: int) -> str:
        return TEXT

    def thing(number: int) -> dict[str, Any]:
        return OBJECT

    live = cache.cached(ttl=600, live=True)(text)
    kept, decoded = cache.cached(ttl=600, prefix="kept:")(text), cache.cached(ttl=600, prefix="thing:")(thing)
    remembered = functools.lru_cache(text)
    for function in (live, live, kept, decoded, remembered):
        function(7)
    first = Case("@cached hit, live object", 55, ("ours(7)", {"ours": live}))
    second = Case("@cached hit -> str", 100, ("ours(7)", {"ours": kept}))
    third = Case("@cached hit -> dict (JSON)", 720, ("ours(7)", {"ours": decoded}))
    first.against("functools.lru_cache", "peer(7)", 1.0, peer=remembered)
    found: dict[str, Any] = {}
    with optional("cachebox"):
        import cachebox

        found["cachebox.cached"] = cachebox.cached(cachebox.LRUCache(1000))(text)
    with optional("cachetools"):
        import cachetools

        found["cachetools.cached LRU"] = cachetools.cached(cachetools.LRUCache(1000))(text)
        found["cachetools.cached TTL"] = cachetools.cached(cachetools.TTLCache(1000, 600))(text)
    with optional("Flask-Caching"):
        import flask
        from flask_caching import Cache as FlaskCache

        app = flask.Flask("bench")
        theirs = FlaskCache(app, config={"CACHE_TYPE": "SimpleCache"})
        app.app_context().push()
        found["Flask-Caching @cached"] = theirs.cached(timeout=600, key_prefix="text")(text)
        found["Flask-Caching @memoize"] = theirs.memoize(600)(text)
    for name, function in found.items():
        with optional(name):
            function(7)
            for case in (first, second, third):
                case.against(name, "peer(7)", peer=function)
    yield from (first, second, third)


def document_decorator(get: Callable[[str], Any], put: Callable[[str, str], Any]) -> Callable[[Any], Any]:
    """`cache_result` as one writes it in Python: the same key, JSON values."""

    def decorator(function: Any) -> Any:
        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            safe_args = tuple(str(arg) for arg in args if not hasattr(arg, "environ"))
            safe = {name: str(value) for name, value in kwargs.items() if not hasattr(value, "environ")}
            data = f"areas:{function.__name__}:{safe_args}:{json.dumps(safe, sort_keys=True)}"
            key = hashlib.md5(data.encode()).hexdigest()[:16]
            found = get(key)
            if found is not None:
                return json.loads(found)
            result = function(*args, **kwargs)
            put(key, json.dumps(result))
            return result

        return decorated

    return decorator


def flask_decorator(peers: Peers) -> Iterator[Case]:
    """The Flask decorator with its MD5 key and JSON."""
    from keystead.flask import cache_result, configure

    def areas(search: str) -> dict[str, Any]:
        return OBJECT

    configure(Store())
    ours = cache_result(timeout=600, key_prefix="areas:")(areas)
    plain: dict[str, str] = {}
    store = Store()
    contenders = {
        "the same in Python on a dict": document_decorator(plain.get, plain.__setitem__)(areas),
        "the same in Python on Store": document_decorator(store.get, store.set)(areas),
    }
    for name in ("redis-py + hiredis, Unix socket", "valkey-py, Unix socket"):
        if name in peers.clients:
            client = peers.clients[name]
            contenders[f"the same in Python on {name}"] = document_decorator(client.get, client.set)(areas)
    ours("buy")
    case = Case("cache_result hit", 1150, ("ours('buy')", {"ours": ours}))
    for name, function in contenders.items():
        function("buy")
        case.against(name, "peer('buy')", 4.0 if name.endswith("dict") else None, peer=function)
    yield case


def valkey_face(peers: Peers) -> Case:
    """valkey-py's client on the engine against itself on a server."""
    client = keystead.Valkey()
    client.set(KEY, VALUE)
    case = Case("Valkey.get", 400, ("ours.get(KEY)", {"ours": client}))
    for name, peer in peers.clients.items():
        case.against(name, "peer.get(KEY)", peer=peer)
    return case


async def awaited(peers: Peers, rounds: int) -> None:
    """`await get` against asyncio's peers."""
    from keystead.asyncio import Store as AsyncStore

    ours = AsyncStore()
    await ours.set(KEY, VALUE)
    contenders: dict[str, Callable[[], Any]] = {"": lambda: ours.get(KEY)}
    closing: list[Any] = []
    with optional("aiocache"):
        import aiocache

        simple = aiocache.SimpleMemoryCache()
        await simple.set(KEY, VALUE)
        contenders["aiocache SimpleMemoryCache"] = lambda: simple.get(KEY)
    with optional("cashews"):
        from cashews import Cache as Cashews

        cashews = Cashews()
        cashews.setup("mem://")
        await cashews.set(KEY, VALUE)
        contenders["cashews"] = lambda: cashews.get(KEY)
    if peers.address is not None:
        with optional("redis.asyncio"):
            import redis.asyncio

            client = redis.asyncio.Redis(unix_socket_path=peers.address[0])
            await client.set(KEY, VALUE)
            contenders["redis.asyncio, Unix socket"] = lambda: client.get(KEY)
            closing.append(client.aclose)

    async def nanoseconds(make: Callable[[], Any], number: int) -> float:
        start = time.perf_counter_ns()
        for _ in range(number):
            await make()
        return (time.perf_counter_ns() - start) / number

    numbers = {
        name: max(20, int(LOOP_SECONDS * 1e9 / await nanoseconds(make, 50)))
        for name, make in contenders.items()
    }
    found: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        best = [float("inf")] * len(contenders)
        for _ in range(LOOPS):
            for index, (name, make) in enumerate(contenders.items()):
                best[index] = min(best[index], await nanoseconds(make, numbers[name]))
        for index, figure in enumerate(best):
            found[index].append(figure)
    report("await get", 110, [(name, None) for name in contenders if name], found)
    for close in closing:
        await close()


def main() -> None:
    """Runs every case, or those whose name contains `--only`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with server() as address, contextlib.ExitStack() as stack:
        stack.callback(Awake.end)
        peers = Peers(address)
        for case in cases(peers):
            if options.only not in case.name:
                continue
            loops = [loop_of(*case.ours, case.per)]
            kept = []
            for name, code, names, goal_ratio in case.peers:
                with optional(f"{name} ({case.name})"):
                    loop = loop_of(code, names, case.per)
                    loops.append(Awake.around(loop) if "socket" in name or "TCP" in name else loop)
                    kept.append((name, goal_ratio))
            report(case.name, case.goal_ns, kept, measured(loops, options.rounds))
        if options.only in "await get":
            asyncio.run(awaited(peers, options.rounds))


if __name__ == "__main__":
    main()
