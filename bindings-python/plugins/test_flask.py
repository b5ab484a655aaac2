"""Flask-Session keeps sessions, Flask-Caching and cachelib keep what was computed."""

import flask
import pytest
import redis
from cachelib import RedisCache
from cachelib.serializers import JSONSerializer
from flask_caching import Cache
from flask_session import Session


def site(client):
    """A site with log-in and log-out."""
    app = flask.Flask(__name__)
    app.config.update(
        SESSION_TYPE="redis", SESSION_REDIS=client, SESSION_PERMANENT=True, PERMANENT_SESSION_LIFETIME=3600
    )
    Session(app)

    @app.post("/login/<name>")
    def login(name):
        flask.session["user"] = {"name": name, "visits": 0}
        return "in"

    @app.get("/")
    def index():
        if "user" not in flask.session:
            return "nobody", 401
        flask.session["user"]["visits"] += 1
        flask.session.modified = True
        return flask.session["user"]

    @app.post("/logout")
    def logout():
        flask.session.clear()
        return "out"

    return app


def test_sessions_are_kept(client):
    app, again = site(client), site(client)
    browser = app.test_client()
    assert browser.get("/").status_code == 401
    browser.post("/login/größe")
    assert browser.get("/").json == {"name": "größe", "visits": 1}
    # Another process of the site, as it were, with the browser's cookie.
    cookie = browser.get_cookie("session").value
    other = again.test_client()
    other.set_cookie("session", cookie)
    assert other.get("/").json == {"name": "größe", "visits": 2} and browser.get("/").json["visits"] == 3
    assert app.test_client().get("/").status_code == 401
    (key,) = [key for key in client.scan_iter(match="session:*") if client.strlen(key) > 20]
    assert key == f"session:{cookie}".encode() and 3000 < client.ttl(key) <= 3600
    browser.post("/logout")
    assert not client.exists(key) and other.get("/").status_code == 401


def test_flask_caching(client):
    app = flask.Flask(__name__)
    app.config.update(
        CACHE_TYPE="RedisCache", CACHE_REDIS_HOST=client, CACHE_KEY_PREFIX="site:", CACHE_DEFAULT_TIMEOUT=300
    )
    cache = Cache(app)
    computed = []

    @app.get("/report/<month>")
    @cache.cached(query_string=True)
    def report(month):
        computed.append(month)
        return f"{month} {flask.request.args.get('page')}"

    @cache.memoize(60)
    def square(number):
        computed.append(number)
        return number * number

    browser = app.test_client()
    assert [browser.get("/report/may?page=1").text for _ in range(3)] == ["may 1"] * 3
    assert browser.get("/report/may?page=2").text == "may 2" and computed == ["may", "may"]
    with app.app_context():
        assert [square(3), square(3), square(4)] == [9, 9, 16] and computed[2:] == [3, 4]
        cache.delete_memoized(square, 3)
        assert [square(3), square(4)] == [9, 16] and computed[2:] == [3, 4, 3]
        assert cache.set_many({"a": 1, "b": [1, {"c": None}]}) and cache.get_many("a", "b", "c") == [
            1,
            [1, {"c": None}],
            None,
        ]
        assert cache.add("a", 2) is False and cache.get("a") == 1 and cache.has("a")
        assert cache.delete_many("a", "b") and cache.get("a") is None
        assert cache.unlink("nothing") == 0
    assert all(key.startswith(b"site:") for key in client.scan_iter())
    client.set("another's", 1)
    with app.app_context():
        cache.clear()
    assert client.keys() == [b"another's"]


@pytest.mark.parametrize("serializer", [None, JSONSerializer()], ids=["pickle", "json"])
def test_cachelib(client, serializer):
    cache = RedisCache(host=client, key_prefix="lib:")
    if serializer is not None:
        cache.serializer = serializer
    assert cache.set("k", {"a": [1, 2.5, "größe"]}) and cache.get("k") == {"a": [1, 2.5, "größe"]}
    assert cache.add("k", 1) is False and cache.add("n", 5) and cache.inc("n", 2) == 7 and cache.dec("n") == 6
    assert cache.get_dict("k", "none") == {"k": {"a": [1, 2.5, "größe"]}, "none": None}
    assert cache.set("brief", 1, timeout=100) and 0 < client.ttl("lib:brief") <= 100
    assert cache.delete_many("k", "n") and not cache.has("k")
    assert cache.clear() and client.dbsize() == 0


def test_clients_are_true_clients(client):
    """Flask-Session takes no other, and would go to localhost instead."""
    assert isinstance(client, redis.Redis) and isinstance(client.connection_pool, redis.ConnectionPool)
