"""`cache_result` for Flask views and plain functions, statistics, clearing by prefix, warming.

The cache is the engine in this process, unless `REDIS_HOST` names a server. Environment, read at the first use:

- `REDIS_ENABLED`: "false", "0", "no" or "off" switches caching off. Unset: on, since an embedded engine needs nothing else.
- `REDIS_HOST`, `REDIS_PORT` (6379), `REDIS_PASSWORD`: a Valkey or Redis server to use instead, through valkey-py or redis-py. If it
  doesn't answer within 2 seconds, caching is off and a warning is logged.

Nothing here raises into a view: a failing cache is logged, and the view runs. Who sets up the cache by hand calls `configure`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import wraps
from json.encoder import encode_basestring_ascii
from typing import Any, TypeVar

from keystead._flask_backend import Backend, Embedded, Remote, connect
from keystead._flask_values import dump, json_loads, load
from keystead._keystead import CachedResult, ResultStore, cached_result, cached_result_state
from keystead._store import Store

__all__ = ["CacheInfo", "blueprint", "cache_result", "clear", "configure", "stats", "warm"]

logger = logging.getLogger("keystead.flask")
F = TypeVar("F", bound=Callable[..., Any])
_OFF = {"false", "0", "no", "off"}
_UNSET = object()
_backend: Any = _UNSET
# What decorated functions look hits up in without Python; empty while a server is the cache, or none.
_native = ResultStore()
_opening = threading.Lock()

if hasattr(os, "register_at_fork"):
    # Another thread may have held it.
    os.register_at_fork(after_in_child=lambda: globals().update(_opening=threading.Lock()))


@dataclass(slots=True)
class CacheInfo:
    """Hits and misses of one decorated function in this process; approximate where threads count at once."""

    hits: int = 0
    misses: int = 0


def configure(client: Any = None, *, enabled: bool = True) -> None:
    """Uses this client, or the environment's if there is none, from now on: a `Store`, or a client of valkey-py or redis-py.

    With `Store(path="cache.ks")` results outlive the process, of which one at a time can have the folder.
    """
    global _backend
    if not enabled:
        _backend = None
    elif client is None:
        _backend = _UNSET
    else:
        _backend = Embedded(client) if isinstance(client, Store) else Remote(client)
    _native.use_store(_backend.store if isinstance(_backend, Embedded) else None)


def backend() -> Backend | None:
    """The cache in use; None if caching is off."""
    if _backend is _UNSET:
        return _open()
    return _backend


def _open() -> Backend | None:
    global _backend
    with _opening:
        if _backend is _UNSET:
            _backend = _from_environment()
            _native.use_store(_backend.store if isinstance(_backend, Embedded) else None)
        return _backend


def _from_environment() -> Backend | None:
    if os.getenv("REDIS_ENABLED", "true").strip().lower() in _OFF:
        return None
    host = os.getenv("REDIS_HOST", "").strip()
    if not host:
        return Embedded(Store("default"))
    try:
        found = connect(host, int(os.getenv("REDIS_PORT") or 6379), os.getenv("REDIS_PASSWORD"))
    except Exception as error:
        logger.warning("connection to %s failed: %s; continuing without cache", host, error)
        return None
    logger.info("cache connected to %s", host)
    return found


def _key(prefix: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """First 16 hexadecimal digits of the MD5 of prefix, name, arguments as text and keywords as sorted JSON; WSGI objects left out."""
    safe_args = tuple([str(arg) for arg in args if not hasattr(arg, "environ")])
    if kwargs:
        # What json.dumps(..., sort_keys=True) writes for text under names, without its set-up.
        pairs = sorted((name, str(value)) for name, value in kwargs.items() if not hasattr(value, "environ"))
        named = ", ".join(
            [f"{encode_basestring_ascii(name)}: {encode_basestring_ascii(value)}" for name, value in pairs]
        )
        data = f"{prefix}{name}:{safe_args}:{{{named}}}"
    else:
        data = f"{prefix}{name}:{safe_args}:{{}}"
    return hashlib.md5(data.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()[:16]


_PLAIN = (str, bytes, int, float, bool, type(None))


def _tells_an_address(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether the text of an argument is where it, or something in it, stands in memory: another object may stand there next."""
    given = (*args, *kwargs.values())
    return any(
        " at 0x" in str(value)
        for value in given
        if type(value) not in _PLAIN and not hasattr(value, "environ")
    )


def cache_result(
    timeout: float = 300, key_prefix: str = "", *, vary: Callable[[], Any] | None = None
) -> Callable[[F], F]:
    """Keeps the results of a view or a function for `timeout` seconds.

    The key is made of `key_prefix`, the function's name and its arguments. `vary` adds what it returns: a view whose answer depends on
    the request's body or query string must name it, as in `vary=lambda: request.get_json()`.

    A call with an argument whose text is an address, as that of a plain object or a function is, is not cached.

    Results are kept as JSON. What a view may return comes back as it went: a Response or a tuple with status and headers too.
    Not kept, and only logged: results that are no JSON, responses with a status of 400 or more, with cookies, or streamed.

    The function gets `clear()`, `refresh(*args)`, `cache_key(*args)`, `cache_info()` and `__wrapped__`.
    """

    def decorator(function: F) -> F:
        name = function.__name__

        def key_of(*args: Any, **kwargs: Any) -> str:
            data = name if vary is None else f"{name}[{json.dumps(vary(), sort_keys=True, default=str)}]"
            return _key(key_prefix, data, args, kwargs)

        counts = CacheInfo()

        def store(cache: Backend, key: str, result: Any) -> None:
            try:
                value = dump(result)
                if value is not None:
                    cache.set(key_prefix, key, value, timeout)
                    logger.info("Cache STORED: %s (TTL: %ss)", name, timeout)
            except Exception as error:
                logger.warning("Cache write failed: %s: %s", name, error)

        @wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            cache = _backend if _backend is not _UNSET else backend()
            if cache is None:
                return function(*args, **kwargs)
            key = None
            try:
                key = None if _tells_an_address(args, kwargs) else key_of(*args, **kwargs)
                found = None if key is None else cache.get(key)
                if found is not None:
                    result = load(found)
                    counts.hits += 1
                    cache.hits += 1
                    if logger.isEnabledFor(logging.INFO):
                        logger.info("Cache HIT: %s (key: %s)", name, key[:8] if key else "")
                    return result
                counts.misses += 1
                cache.misses += 1
                logger.info(
                    "Cache MISS: %s (key: %s)",
                    name,
                    key[:8] if key else "none, an argument is told by its address",
                )
            except Exception as error:
                logger.warning("Cache read failed: %s: %s", name, error)
            result = function(*args, **kwargs)
            if key is not None:
                store(cache, key, result)
            return result

        def refresh(*args: Any, **kwargs: Any) -> Any:
            """Runs the function, cached or not, and keeps the result."""
            result = function(*args, **kwargs)
            cache = backend()
            if cache is not None and not _tells_an_address(args, kwargs):
                store(cache, key_of(*args, **kwargs), result)
            return result

        def info() -> CacheInfo:
            """Hits and misses of this function in this process."""
            return CacheInfo(counts.hits + _unseen(found), counts.misses)

        found: Any = decorated
        if vary is None:
            # The same, but hits in the engine are answered without Python.
            head = f"{key_prefix}{name}:".encode("utf-8", "surrogatepass")
            levels = getattr(logger, "_cache", None)
            levels = levels if isinstance(levels, dict) else {}
            found = wraps(function)(cached_result(head, _native, decorated, json_loads, levels))
        found.cache_key, found.cache_info, found.refresh = key_of, info, refresh
        found.clear = lambda: clear(key_prefix)
        return found

    return decorator


def _unseen(function: Any) -> int:
    return cached_result_state(function, (), None)[1] if isinstance(function, CachedResult) else 0


def clear(prefix: str = "") -> int:
    """Forgets what was kept under key prefixes that begin with `prefix`, and returns how many results that were; 0 if the cache fails.

    Keys are digests, so which belong to a prefix is kept beside them.
    """
    cache = backend()
    if cache is None:
        return 0
    try:
        return cache.clear(prefix)
    except Exception as error:
        logger.warning("Cache clear failed: %s", error)
        return 0


def stats() -> dict[str, Any]:
    """What the endpoint tells: hits and misses of `cache_result` in this process, keys by prefix, memory of the engine."""
    cache = backend()
    if cache is None:
        return {"enabled": False}
    hits, misses = cache.hits + _native.hits, cache.misses
    rate = hits / (hits + misses) if hits + misses else 0.0
    found = {
        "enabled": True,
        "backend": cache.name,
        "hits": hits,
        "misses": misses,
        "hit_rate": round(rate, 4),
    }
    try:
        found.update(cache.describe())
    except Exception as error:
        found["error"] = str(error)
    return found


def warm(
    calls: Iterable[tuple[Any, ...]], app: Any = None, progress: Callable[[int], None] | None = None
) -> int:
    """Computes results before anybody asks: `calls` are tuples of a decorated function and its arguments. Returns how many succeeded.

    With `app`, each runs in a request context of its own, as a view needs. One that fails is logged and left out.
    """
    warmed = 0
    for function, *args in calls:
        try:
            if app is None:
                function.refresh(*args)
            else:
                with app.test_request_context():
                    function.refresh(*args)
            warmed += 1
        except Exception as error:
            logger.warning(
                "Warming %s%r failed: %s", getattr(function, "__name__", function), tuple(args), error
            )
        if progress is not None:
            progress(warmed)
    return warmed


def blueprint(guard: Callable[[F], F] | None = None, url_prefix: str = "/api/admin/cache") -> Any:
    """`GET /api/admin/cache/stats`, and with a `guard` `DELETE /api/admin/cache?prefix=areas:` too.

    `guard` decorates both, `login_required` for instance. Without one there is no way to clear: that is nothing for strangers.
    """
    from flask import Blueprint, jsonify, request

    admin = Blueprint("keystead_admin", __name__, url_prefix=url_prefix)
    protect: Callable[[Any], Any] = guard if guard is not None else (lambda view: view)

    def show() -> Any:
        return jsonify(stats())

    def remove() -> Any:
        return jsonify(cleared=clear(request.args.get("prefix", "")))

    admin.add_url_rule("/stats", "stats", protect(show), methods=["GET"])
    if guard is not None:
        admin.add_url_rule("", "clear", protect(remove), methods=["DELETE"])
    return admin
