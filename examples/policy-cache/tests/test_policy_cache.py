"""The service on an engine in this process, and the same on a real server: what it does must not depend on which."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import pytest
import redis

sys.path.insert(0, str(Path(__file__).parent.parent))

from sark import events, limits, monitor, sessions
from sark.decisions import Decisions, key_of, keys_of, pack, seconds_of, unpack
from sark.settings import Clients, Settings, connect


@pytest.fixture(params=["in process", "server"])
def clients(request):
    if request.param == "server":
        url = f"valkey://127.0.0.1:{request.getfixturevalue('port')}/0"
    else:
        url = f"keystead://{request.node.name.replace('[', '-').rstrip(']').replace(' ', '-')}/0"
    clients = connect(Settings.from_environment({"VALKEY_URL": url}))
    clients.text.flushall()
    yield clients
    clients.close()


class Engine:
    """A policy engine that counts its questions."""

    def __init__(self) -> None:
        self.asked = []

    def __call__(self, user, action, resource, context):
        self.asked.append((user, action, resource))
        return {"allow": True, "reason": f"{user} may", "context": context}


def test_settings_come_from_the_environment():
    settings = Settings.from_environment(
        {
            "VALKEY_URL": "valkey://valkey:6379/0",
            "VALKEY_PASSWORD": "secret",
            "VALKEY_POOL_SIZE": "30",
            "VALKEY_SOCKET_TIMEOUT": "1.5",
            "VALKEY_SENTINEL_HOSTS": "sentinel1:26379, sentinel2:26380",
            "VALKEY_SENTINEL_MASTER": "other",
        }
    )
    assert (settings.password, settings.pool_size, settings.socket_timeout) == ("secret", 30, 1.5)
    assert (
        settings.sentinels == (("sentinel1", 26379), ("sentinel2", 26380))
        and settings.sentinel_master == "other"
    )
    assert not settings.is_embedded and Settings.from_environment({}).is_embedded
    for name, text in (
        ("VALKEY_URL", "http://x"),
        ("VALKEY_POOL_SIZE", "0"),
        ("VALKEY_SOCKET_TIMEOUT", "soon"),
        ("VALKEY_SENTINEL_HOSTS", "one"),
    ):
        with pytest.raises(ValueError, match=name):
            Settings.from_environment({name: text})


def test_a_decision_is_made_once_and_kept_by_its_sensitivity(clients):
    engine = Engine()
    decisions = Decisions(clients, engine)
    for action, seconds in (
        ("server:read", 3600),
        ("server:write", 900),
        ("server:delete", 900),
        ("admin:delete", 300),
    ):
        assert seconds_of(action) == seconds
        first = decisions.decide("user-1", action, "server-4", {"ip": "192.168.1.1"})
        assert decisions.decide("user-1", action, "server-4", {"ip": "192.168.1.1"}) == first
        ttl = clients.text.ttl(key_of("user-1", action, "server-4", {"ip": "192.168.1.1"}))
        assert seconds - 5 <= ttl <= seconds
    assert (len(engine.asked), decisions.hits, decisions.misses) == (4, 4, 4)
    decisions.decide("user-1", "server:read", "server-4", {"ip": "192.168.1.2"})
    assert len(engine.asked) == 5
    # As long as the longest of them, although an admin's came later.
    assert clients.text.ttl(keys_of("user-1")) > 3500


def test_order_and_absence_of_context_make_no_difference_to_keys():
    assert key_of("u", "a", "r", {"x": 1, "y": 2}) == key_of("u", "a", "r", {"y": 2, "x": 1})
    assert key_of("u", "a", "r") == key_of("u", "a", "r", {}) != key_of("u", "ar", "")
    assert key_of("u", "a", "r").startswith("policy:decision:") and len(key_of("u", "a", "r")) == 16 + 64


def test_users_are_forgotten_one_by_one_and_policies_all(clients):
    decisions = Decisions(clients, Engine())
    for user in ("user-1", "user-2"):
        for number in range(3):
            decisions.decide(user, "server:read", f"server-{number}")
    assert (
        decisions.forget_user("user-1"),
        decisions.forget_user("user-1"),
        decisions.forget_user("nobody"),
    ) == (3, 0, 0)
    assert clients.text.exists(keys_of("user-1")) == 0
    list(decisions.warm([f"user-{number}" for number in range(900)], ("user:read", "server:read")))
    assert decisions.forget_policy("server_access_policy") == 3 + 1800
    assert clients.text.get("policy:version:server_access_policy") == "1"
    assert list(clients.text.scan_iter(match="policy:decision:*")) == []


def test_warming_says_how_far_it_is_and_spares_the_engine(clients):
    engine = Engine()
    decisions = Decisions(clients, engine)
    steps = list(
        decisions.warm(
            [f"user-{number}" for number in range(500)], ("user:read", "server:read", "server:list")
        )
    )
    assert steps == [1000, 1500] and len(engine.asked) == 1500
    decisions.decide("user-7", "server:list", "*")
    assert len(engine.asked) == 1500 and decisions.hits == 1


def test_long_decisions_are_compressed_and_come_back(clients):
    long = {"allow": True, "details": "because " * 1000}
    assert len(pack(long)) < 200 and unpack(pack(long)) == long
    assert pack({"allow": True}) == b'{"allow": true}'
    decisions = Decisions(clients, lambda *_: long)
    assert decisions.decide("u", "server:read", "r") == decisions.decide("u", "server:read", "r") == long
    assert clients.raw.strlen(key_of("u", "server:read", "r")) < 200


def test_a_cache_that_fails_fails_no_request():
    nowhere = connect(Settings(url="valkey://127.0.0.1:1/0", socket_connect_timeout=0.2))
    engine = Engine()
    decisions = Decisions(nowhere, engine)
    assert decisions.decide("u", "server:read", "r")["allow"] is True
    assert len(engine.asked) == 1
    nowhere.close()


def test_what_is_no_decision_is_asked_for_again(clients):
    engine = Engine()
    clients.raw.set(key_of("u", "server:read", "r"), b"\x1f\x8bnot gzip")
    assert Decisions(clients, engine).decide("u", "server:read", "r")["allow"] is True
    assert len(engine.asked) == 1


def test_sessions_are_hashes_that_tokens_lead_to(clients):
    client = clients.text
    tokens = sessions.begin(client, "user-1", "10.0.0.1")
    key = sessions.key_of("user-1", tokens.session)
    assert client.type(key) == "hash" and client.hget(key, "ip") == "10.0.0.1"
    assert client.ttl(key) > 7 * 24 * 3600 - 5 and 890 < client.ttl(sessions.token_key(tokens.jti)) <= 900
    assert sessions.whose(client, tokens.jti) == ("user-1", tokens.session)
    new = sessions.renew(client, tokens)
    assert new is not None and sessions.whose(client, tokens.jti) is None
    assert sessions.whose(client, new.jti) == ("user-1", tokens.session)
    # The secret has changed with the token.
    assert sessions.renew(client, tokens) is None
    assert sessions.end(client, new) is True and sessions.end(client, new) is False
    assert sessions.whose(client, new.jti) is None and sessions.renew(client, new) is None


def test_limits_count_in_windows_and_survive_lost_scripts(clients):
    counted = limits.Limits(clients.text)
    assert [counted.allows("user", "user-1", limit=3, now=120) for _ in range(5)] == [True] * 3 + [False] * 2
    assert clients.text.get("ratelimit:user:user-1:2") == "3"
    # The end stands fast, however often somebody asks.
    assert 0 < clients.text.ttl("ratelimit:user:user-1:2") <= 60
    assert counted.allows("user", "user-1", limit=3, now=180) and counted.allows(
        "ip", "user-1", limit=3, now=120
    )
    clients.text.script_flush()
    assert counted.allows("apikey", "key-1", limit=3, now=120)
    with pytest.raises(ValueError, match="planet"):
        counted.allows("planet", "mars")


def test_the_queue_is_bounded_and_the_oldest_go(clients, monkeypatch):
    monkeypatch.setattr(events, "LONGEST", 100)
    for first in range(0, 250, 50):
        events.publish(clients.text, *({"number": number} for number in range(first, first + 50)))
    assert clients.text.llen(events.QUEUE) == 100
    sent = []
    breaker = events.Breaker(clients.text)
    assert events.forward(clients.text, breaker, sent.extend, most=60) == 60
    assert [event["number"] for event in sent] == list(range(150, 210))
    assert (
        events.forward(clients.text, breaker, sent.extend) == 40
        and events.forward(clients.text, breaker, sent.extend) == 0
    )


def test_the_breaker_opens_is_tried_once_and_closes(clients):
    breaker = events.Breaker(clients.text, failures=3, pause=timedelta(hours=1))
    events.publish(clients.text, *({"number": number} for number in range(10)))

    def refuse(_):
        raise ConnectionError("no SIEM")

    assert [events.forward(clients.text, breaker, refuse, most=2) for _ in range(5)] == [0] * 5
    assert breaker.state() == "open" and clients.text.get("circuit_breaker:siem:failure_count") == "3"
    # Three batches were tried, and none since.
    assert (clients.text.llen(events.FAILED), clients.text.llen(events.QUEUE)) == (6, 4)
    later = events.Breaker(clients.text, failures=3, pause=timedelta(0))
    assert later.allows() and breaker.state() == "half_open" and not later.allows()
    later.failed()
    assert breaker.state() == "open" and later.allows()
    later.succeeded()
    assert breaker.state() == "closed"
    assert events.again(clients.text) == 6
    sent = []
    assert events.forward(clients.text, breaker, sent.extend) == 10
    assert [event["number"] for event in sent] == list(range(10))


def test_memory_is_told_by_pattern_and_goals_are_judged(clients):
    decisions = Decisions(clients, Engine())
    for number in range(300):
        decisions.decide("user-1", "server:read", f"server-{number}")
    kinds = {kind.pattern: kind for kind in monitor.memory(clients.text)}
    assert kinds["policy:*"].keys == 300 and kinds["session:*"].keys == 0 and kinds["session:*"].bytes == 0
    assert 100 < kinds["policy:*"].mean_bytes < 1000
    figures = monitor.stats(clients.text)
    assert figures["misses"] >= 300 and 0 <= figures["hit_ratio"] <= 1 and figures["used_bytes"] > 0
    verdicts = monitor.judged(
        {"get_p95_ms": 0.1, "set_p95_ms": 3, "hit_ratio": 0.7, "memory_share": 0.95, "pool_use": 0.8}
    )
    assert verdicts == {
        "get_p95_ms": "ok",
        "set_p95_ms": "warning",
        "memory_share": "critical",
        "hit_ratio": "critical",
        "pool_use": "ok",
    }
    clients.text.config_set("slowlog-log-slower-than", 0)
    clients.text.ping()
    assert any("PING" in command for _, command in monitor.slow(clients.text))
    clients.text.config_set("slowlog-log-slower-than", 10000)


def test_use_of_the_pool_is_what_is_taken_from_it(clients):
    pool = clients.text.connection_pool
    clients.text.ping()
    assert monitor.pool_use(clients.text) == 0
    taken = [pool.get_connection() for _ in range(5)]
    assert monitor.pool_use(clients.text) == 5 / 20
    for connection in taken:
        pool.release(connection)
    assert monitor.pool_use(clients.text) == 0
    plain = redis.Redis(
        connection_pool=redis.ConnectionPool(
            **{**pool.connection_kwargs, "max_connections": 10}, connection_class=pool.connection_class
        )
    )
    held = plain.connection_pool.get_connection()
    assert monitor.pool_use(plain) == 0.1
    plain.connection_pool.release(held)


def test_writes_go_to_the_master_and_reads_to_a_replica():
    clients = connect(Settings(sentinels=(("127.0.0.1", 1),), sentinel_master="mymaster"))
    assert isinstance(clients, Clients) and clients.text is not clients.replica
    assert clients.text.connection_pool.is_master and not clients.replica.connection_pool.is_master
    with pytest.raises(redis.sentinel.MasterNotFoundError):
        clients.text.ping()
    clients.close()
