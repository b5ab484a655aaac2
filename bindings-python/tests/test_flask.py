"""`cache_result`: its keys, what is kept and what is not, failures, environment, statistics."""

import hashlib
import json
import logging
import subprocess
import sys

import pytest

flask = pytest.importorskip("flask")

import keystead.flask  # noqa: E402
from keystead import Store  # noqa: E402
from keystead.flask import cache_result, clear, configure, stats, warm  # noqa: E402


@pytest.fixture(autouse=True)
def store():
    store = Store()
    configure(store)
    yield store
    configure()


class WsgiThing:
    environ = ()

    def __str__(self):
        raise AssertionError("WSGI objects are left out")


def document_key(key_prefix, name, args, kwargs):
    """The key as the guide to the decorator writes it."""
    safe_args = tuple(str(arg) for arg in args if not hasattr(arg, "environ"))
    safe_kwargs = {k: str(v) for k, v in kwargs.items() if not hasattr(v, "environ")}
    data = f"{key_prefix}{name}:{safe_args}:{json.dumps(safe_kwargs, sort_keys=True)}"
    return hashlib.md5(data.encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        (("buy",), {}),
        (("it's", 'a "quote"', "größe", "\n"), {}),
        ((1, 2.5, None, True, [1, 2]), {}),
        ((), {"b": 1, "a": 'größe \U0001f600 " \\ \x00 \x7f'}),
        ((WsgiThing(), "x"), {"request": WsgiThing(), "z": {"k": 1}}),
    ],
)
def test_keys_are_the_documents(args, kwargs):
    @cache_result(key_prefix="areas:")
    def get_areas(*args, **kwargs):
        return 1

    assert get_areas.cache_key(*args, **kwargs) == document_key("areas:", "get_areas", args, kwargs)


def test_a_function_is_computed_once(store):
    calls = []

    @cache_result(timeout=60, key_prefix="areas:")
    def get_areas(search_type):
        """Doc."""
        calls.append(search_type)
        return {"areas": [search_type, 1, 2.5, None, True], "ü": "ß"}

    first = get_areas("buy")
    assert get_areas("buy") == first == {"areas": ["buy", 1, 2.5, None, True], "ü": "ß"}
    assert get_areas("rent") != first and calls == ["buy", "rent"]
    key = get_areas.cache_key("buy")
    assert json.loads(store.get(key)) == first and 59 < store.ttl(key) <= 60
    assert get_areas.__name__ == "get_areas" and get_areas.__doc__ == "Doc."
    info = get_areas.cache_info()
    assert (info.hits, info.misses) == (1, 2)


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False, (1, "two"), ("a", 404), [1, [2, {"x": None}]]])
def test_results_come_back_as_they_went(value):
    calls = []

    @cache_result()
    def function():
        calls.append(1)
        return value

    assert function() == value
    again = function()
    assert again == value and type(again) is type(value) and len(calls) == 1


def test_results_that_are_no_json_are_returned_and_not_kept(caplog):
    calls = []

    @cache_result()
    def function():
        calls.append(1)
        return {1, 2}

    with caplog.at_level(logging.WARNING, "keystead.flask"):
        assert function() == {1, 2} == function()
    assert len(calls) == 2 and "Cache write failed: function" in caplog.text


def test_exceptions_pass_and_are_not_kept():
    calls = []

    @cache_result()
    def function():
        calls.append(1)
        raise KeyError("mine")

    for _ in range(2):
        with pytest.raises(KeyError, match="mine"):
            function()
    assert len(calls) == 2


def application():
    app, calls = flask.Flask("test"), []

    def view(path, **options):
        def decorate(function):
            cached = cache_result(timeout=60, key_prefix=f"{function.__name__}:", **options)(function)
            app.add_url_rule(path, view_func=cached, methods=["GET", "POST"])
            return cached

        return decorate

    @view("/dict/<name>")
    def a_dict(name):
        calls.append("dict")
        return {"name": name}

    @view("/response")
    def a_response():
        calls.append("response")
        response = flask.jsonify(value=[1, 2])
        response.headers["X-Mine"] = "yes"
        response.status_code = 201
        return response

    @view("/bytes")
    def some_bytes():
        calls.append("bytes")
        return flask.Response(b"\x89PNG\xff", mimetype="image/png")

    @view("/tuple")
    def a_tuple():
        calls.append("tuple")
        return {"made": True}, 202, {"X-Tuple": "1"}

    @view("/nested")
    def a_response_in_a_tuple():
        calls.append("nested")
        return flask.jsonify(inside=True), 203

    @view("/error")
    def an_error():
        calls.append("error")
        return {"error": "no"}, 404

    @view("/refused")
    def refused():
        calls.append("refused")
        return flask.Response("no", 500)

    @view("/cookie")
    def a_cookie():
        calls.append("cookie")
        response = flask.make_response("private")
        response.set_cookie("session", "secret")
        return response

    @view("/stream")
    def a_stream():
        calls.append("stream")
        return flask.Response(part for part in ["a", "b"])

    @view("/body", vary=lambda: flask.request.get_json())
    def by_body():
        calls.append("body")
        return flask.request.get_json()

    return app.test_client(), calls


@pytest.mark.parametrize("path", ["/dict/x", "/response", "/bytes", "/tuple", "/nested"])
def test_what_views_return_is_kept_whole(path):
    client, calls = application()
    first, second = client.get(path), client.get(path)
    assert len(calls) == 1
    assert (first.status, first.data, sorted(first.headers)) == (
        second.status,
        second.data,
        sorted(second.headers),
    )
    assert first.mimetype == second.mimetype


@pytest.mark.parametrize("path", ["/error", "/refused", "/cookie", "/stream"])
def test_errors_cookies_and_streams_are_not_kept(path):
    client, calls = application()
    first, second = client.get(path), client.get(path)
    assert len(calls) == 2 and first.status == second.status and first.data == second.data


def test_views_that_vary_by_the_body():
    client, calls = application()
    for body in [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 2}]:
        assert client.post("/body", json=body).get_json() == body
    assert len(calls) == 2


class Broken:
    """A client whose server went away."""

    def get(self, key):
        raise ConnectionError("gone")

    def pipeline(self, transaction):
        raise ConnectionError("gone")

    def scan_iter(self, **_):
        raise ConnectionError("gone")


def test_a_failing_cache_never_reaches_the_view(caplog):
    configure(Broken())

    @cache_result(key_prefix="p:")
    def function(number):
        return number

    assert [function(1), function(1)] == [1, 1]
    assert clear("p:") == 0 and "gone" in stats()["error"]
    assert "Cache read failed" in caplog.text and "Cache write failed" in caplog.text


def test_an_argument_without_text_only_loses_the_cache():
    class Nameless:
        def __str__(self):
            raise ValueError("no name")

    @cache_result()
    def function(thing):
        return 5

    assert function(Nameless()) == 5


def test_a_spoilt_value_is_computed_anew(store):
    @cache_result()
    def function():
        return [1]

    function()
    store.set(function.cache_key(), b"{broken")
    assert function() == [1] and json.loads(store.get(function.cache_key())) == [1]


def test_hits_misses_and_stores_are_logged(caplog):
    @cache_result(timeout=7)
    def get_areas():
        return 1

    with caplog.at_level(logging.INFO, "keystead.flask"):
        get_areas(), get_areas()
    messages = [record.message.split(" (")[0] for record in caplog.records]
    assert messages == ["Cache MISS: get_areas", "Cache STORED: get_areas", "Cache HIT: get_areas"]
    assert "(TTL: 7s)" in caplog.text


def test_clear_by_prefix_and_statistics(store):
    @cache_result(key_prefix="areas:")
    def areas(number):
        return number

    @cache_result(key_prefix="valuation:", timeout=0.05)
    def valuation(number):
        return number

    for number in range(3):
        areas(number), valuation(number), areas(number)
    found = stats()
    assert found["enabled"] and found["backend"] == "keystead"
    assert (found["hits"], found["misses"], found["hit_rate"]) == (3, 6, 0.3333)
    assert found["keys"] == 6 and found["keys_by_prefix"] == {"areas:": 3, "valuation:": 3}
    assert found["used_memory"] > 0
    import time

    time.sleep(0.06)
    assert stats()["keys_by_prefix"] == {"areas:": 3}
    assert clear("are") == 3 and stats()["keys"] == 0
    areas(1)
    assert areas.cache_info().misses == 4
    areas(2)
    assert areas.clear() == 2 and clear() == 0


def test_warming_leaves_out_what_fails(caplog):
    seen = []

    @cache_result(key_prefix="w:")
    def function(number):
        return 10 // number

    assert warm([(function, 1), (function, 0), (function, 5)], progress=seen.append) == 2
    assert seen == [1, 1, 2] and "Warming function(0,) failed" in caplog.text
    assert function(5) == 2 and function.cache_info().hits == 1

    app = flask.Flask("warm")

    @cache_result()
    def view():
        return flask.url_for("static", filename="x")

    assert warm([(view,)], app) == 1


def test_the_endpoint():
    def guard(view):
        from functools import wraps

        @wraps(view)
        def guarded(*args, **kwargs):
            if flask.request.headers.get("X-Key") != "k":
                flask.abort(403)
            return view(*args, **kwargs)

        return guarded

    app = flask.Flask("guarded")
    app.register_blueprint(keystead.flask.blueprint(guard))
    client = app.test_client()
    assert client.get("/api/admin/cache/stats").status_code == 403
    assert client.get("/api/admin/cache/stats", headers={"X-Key": "k"}).get_json()["enabled"] is True
    assert client.delete("/api/admin/cache?prefix=a", headers={"X-Key": "k"}).get_json() == {"cleared": 0}

    app = flask.Flask("open")
    app.register_blueprint(keystead.flask.blueprint())
    client = app.test_client()
    assert client.get("/api/admin/cache/stats").status_code == 200
    assert client.delete("/api/admin/cache?prefix=").status_code == 404


def run(code, **environment):
    import os

    kept = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**kept, **environment}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


PROGRAM = """
from keystead.flask import cache_result, stats
calls = []
@cache_result()
def function():
    calls.append(1)
    return 1
function(), function()
print(stats()["enabled"], len(calls), stats().get("backend"))
"""


def test_the_environment_decides():
    assert run(PROGRAM)[0] == ["True", "1", "keystead"]
    assert run(PROGRAM, REDIS_ENABLED="true", REDIS_HOST="")[0] == ["True", "1", "keystead"]
    for off in ("false", "False", "0", "no"):
        assert run(PROGRAM, REDIS_ENABLED=off)[0] == ["False", "2", "None"]
    pytest.importorskip("valkey")
    out, err = run(PROGRAM, REDIS_HOST="127.0.0.1", REDIS_PORT="1")
    assert out == ["False", "2", "None"] and "continuing without cache" in err


def test_a_valkey_client_takes_the_place_of_the_engine():
    pytest.importorskip("valkey")
    fake = _Lists(keystead.Valkey())
    configure(fake)

    @cache_result(key_prefix="r:")
    def function(number):
        return {"n": number}

    assert function(1) == {"n": 1} == function(1)
    assert stats()["keys_by_prefix"] == {"r:": 1} and stats()["backend"].endswith(" client")
    assert clear("r:") == 1 and function.cache_info().hits == 1


class _Lists:
    """valkey-py's client on the engine, with the sorted sets that the engine has not got yet kept in a dict."""

    def __init__(self, client):
        self.client, self.sets = client, {}

    def __getattr__(self, name):
        return getattr(self.client, name)

    def pipeline(self, transaction):
        return self

    def execute(self):
        pass

    def zadd(self, key, members):
        self.sets.setdefault(key, {}).update(members)
        self.client.set(key, "stands for a sorted set")

    def zremrangebyscore(self, key, low, high):
        self.sets[key] = {member: score for member, score in self.sets[key].items() if score > high}

    def zrange(self, key, first, last):
        return list(self.sets[key.decode()])

    def zcount(self, key, low, high):
        return sum(score >= low for score in self.sets[key.decode()].values())


class _Odd:
    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text


class _Request:
    environ = ()


@pytest.mark.parametrize("prefix", ["", "areas:", "zimmer für 'zwei'"])
def test_the_native_digest_is_the_documents_key(prefix):
    """Against the document's own recipe: MD5 of prefix, name, stringified arguments and sorted JSON of the keywords."""
    import hashlib
    import json as plain_json

    from keystead._keystead import cached_result_state

    @cache_result(key_prefix=prefix)
    def view(*args, **kwargs):
        return {}

    texts = [
        "",
        "a",
        "it's",
        '"',
        "'\"",
        "\\",
        "\n\t\r\b\f\x00\x1f\x7f",
        "größe",
        "\xa0",
        "\u200b",
        "🏠",
        "\u2028",
        "x" * 500,
    ]
    values = [
        *texts,
        0,
        -1,
        2**70,
        1.5,
        float("nan"),
        True,
        None,
        b"bytes",
        [1, "x"],
        {"k": 1},
        _Odd("it's"),
        _Odd("ü"),
    ]
    calls = [
        ((), {}),
        (("a", "b"), {"z": "1", "a": 2}),
        ((_Request(), "x"), {"r": _Request()}),
        ((_Request(),), {}),
    ]
    calls += [((value,), {}) for value in values] + [((), {"name": value}) for value in values]
    calls += [((value, value), {"größe": value, "b": 1}) for value in values]
    for args, kwargs in calls:
        safe = tuple(str(arg) for arg in args if not hasattr(arg, "environ"))
        named = {name: str(value) for name, value in kwargs.items() if not hasattr(value, "environ")}
        data = f"{prefix}view:{safe}:{plain_json.dumps(named, sort_keys=True)}"
        expected = hashlib.md5(data.encode()).hexdigest()[:16]
        assert cached_result_state(view, args, kwargs)[0] == expected == view.cache_key(*args, **kwargs), data
    assert cached_result_state(view, ("\ud800",), {})[0] is None
    assert view("\ud800") == {} == view("\ud800")


def test_native_hits_are_counted_and_give_way(caplog):
    from keystead import flask as face

    calls = []

    @cache_result(timeout=60, key_prefix="native:")
    def view(number):
        """Doc."""
        calls.append(number)
        return {"number": number}

    store = Store()
    configure(store)
    logging.getLogger("keystead.flask").setLevel(logging.WARNING)
    try:
        assert [view(1) for _ in range(5)] == [{"number": 1}] * 5
        assert calls == [1] and (view.cache_info().hits, view.cache_info().misses) == (4, 1)
        assert face.stats()["hits"] == 4 and view.__name__ == "view" and view.__doc__ == "Doc."
        store.set(view.cache_key(1), "no JSON")
        assert view(1) == {"number": 1} and calls == [1, 1]
        store.delete(view.cache_key(1))
        store.hset(view.cache_key(1), "no", "string")
        assert view(1) == {"number": 1} and calls == [1, 1, 1]
        store.delete(view.cache_key(1))
        view(1)
        configure(enabled=False)
        assert view(1) == view(1) and len(calls) == 6
        configure(store)
        assert view(1) == {"number": 1} and len(calls) == 6
        logging.getLogger("keystead.flask").setLevel(logging.INFO)
        with caplog.at_level(logging.INFO, logger="keystead.flask"):
            view(1)
        assert any("Cache HIT" in record.getMessage() for record in caplog.records)
    finally:
        logging.getLogger("keystead.flask").setLevel(logging.NOTSET)
        configure()


def test_decorated_views_are_pickled_by_name_and_bind_to_instances():
    import copy
    import pickle

    assert pickle.loads(pickle.dumps(_kept_view)) is _kept_view is copy.deepcopy(_kept_view)

    class Views:
        def __str__(self):
            return "views"

        @cache_result(timeout=60)
        def show(self, number):
            return [number]

    configure(Store())
    try:
        assert Views().show(3) == [3] == Views().show(3)
        assert Views.show.cache_info().hits == 1
    finally:
        configure()


@cache_result()
def _kept_view():
    return 1


def test_a_call_that_is_told_by_an_address_is_not_cached():
    class Connection:
        def __init__(self, number):
            self.number = number

    calls = []

    @cache_result()
    def numbers(*args, **kwargs):
        calls.append(args)
        return [value.number for value in (*args, *kwargs.values())]

    @cache_result()
    def in_lists(*args, **kwargs):
        return [value[0].number for value in (*args, *kwargs.values())]

    assert [numbers(Connection(number)) for number in range(5)] == [[number] for number in range(5)]
    assert [numbers(only=Connection(number)) for number in range(5)] == [[number] for number in range(5)]
    assert [in_lists([Connection(number)]) for number in range(5)] == [[number] for number in range(5)]
    assert [numbers.refresh(Connection(number)) for number in range(5)] == [[number] for number in range(5)]
    same = Connection(7)
    calls.clear()
    assert numbers(same) == numbers(same) == [7] and len(calls) == 2
