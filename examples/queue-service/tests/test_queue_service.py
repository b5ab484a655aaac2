"""The service on an engine in this process, and the same on a real server: what it does must not depend on which."""

import json
import sys
import threading
import time
from pathlib import Path

import pytest
import valkey
import valkey.asyncio

import keystead.asyncio
import keystead.valkey

sys.path.insert(0, str(Path(__file__).parent.parent))

import service
import workers


@pytest.fixture(params=["in process", "server"])
def makers(request):
    """Makers of clients of one place, for threads and for tasks."""
    if request.param == "server":
        port = request.getfixturevalue("port")
        makers = lambda: valkey.Valkey(port=port), lambda: valkey.asyncio.Valkey(port=port)
    else:
        name = request.node.name
        makers = lambda: keystead.valkey.Valkey(name), lambda: keystead.asyncio.Valkey(name)
    keep = makers[0]()
    keep.flushall()
    yield makers
    keep.close()


@pytest.fixture
def client(makers):
    return makers[0]()


def test_answers_are_kept_until_their_tag_is_invalidated(client):
    events = client.pubsub(ignore_subscribe_messages=True)
    events.subscribe("cache:invalidate")
    assert events.get_message(timeout=5) is None
    calls = []
    compute = lambda: calls.append(1) or {"users": [1, 2]}  # noqa: E731
    assert service.answer(client, "users", ["users", "all"], compute) == ({"users": [1, 2]}, False)
    assert service.answer(client, "users", ["users", "all"], compute) == ({"users": [1, 2]}, True)
    service.answer(client, "other", ["all"], lambda: 1)
    assert service.invalidate(client, "users") == 1 and len(calls) == 1
    assert service.answer(client, "users", ["users"], compute)[1] is False
    assert service.answer(client, "other", ["all"], lambda: 2) == (1, True)
    assert service.invalidate(client, "nothing") == 0
    assert json.loads(events.get_message(timeout=5)["data"]) == {"tag": "users"}
    events.close()


def test_sessions_live_as_long_as_they_are_used(client):
    token = service.begin_session(client, "ada", ["admin"])
    client.expire(f"session:{token}", 5)
    assert service.session(client, token) == {"user": "ada", "roles": ["admin"]}
    assert client.ttl(f"session:{token}") > 5
    assert service.end_session(client, token) and not service.end_session(client, token)
    assert service.session(client, token) is None


def test_jobs_come_by_priority_and_then_in_order(client):
    for payload, priority in [("a", "low"), ("b", "high"), ("c", "medium"), ("d", "high")]:
        service.push(client, payload, priority)
    jobs = [service.take(client, "w", 1) for _ in range(4)]
    assert [job.payload for job in jobs] == ["b", "d", "c", "a"]
    assert service.health(client, ["w"])["working"] == {"w": 4}
    for job in jobs:
        service.done(client, "w", job)
    assert service.take(client, "w", 0.01) is None
    assert client.exists("jobs", "jobs:attempts", service.processing("w")) == 0


def test_a_job_that_fails_is_tried_again_and_ends_as_a_dead_letter(client):
    service.push(client, {"x": 1}, "high")
    for attempt in range(1, service.ATTEMPTS + 1):
        job = service.take(client, "w", 1)
        assert job.attempt == attempt
        service.failed(client, "w", job, ValueError("no"))
    assert service.take(client, "w", 0.01) is None
    letter = json.loads(client.lindex(service.DEAD_LETTERS, 0))
    assert letter == {"id": job.id, "error": "ValueError: no", "original": {"x": 1}}
    found = service.health(client, ["w"], most_dead=0)
    assert found["dead"] == 1 and found["working"] == {"w": 0} and found["alerts"] == ["1 dead letters"]


def test_what_a_dead_worker_had_taken_is_done_by_another(client):
    identity = service.push(client, "job", "low")
    service.push(client, "next", "low")
    assert service.take(client, "dies", 1).id == identity
    assert service.recover(client, "dies") == 1 and service.recover(client, "dies") == 0
    job = service.take(client, "lives", 1)
    assert (job.id, job.attempt, job.payload) == (identity, 2, "job")


def test_a_window_slides_and_a_counter_starts_anew(client):
    allowed = [service.is_allowed(client, "c", "data", 3, 60) for _ in range(5)]
    assert allowed == [True, True, True, False, False]
    assert service.is_allowed(client, "other", "data", 3, 60)
    # What is older than the window no longer counts.
    client.zadd("rate:api:c:data", dict.fromkeys(client.zrange("rate:api:c:data", 0, -1), time.time() - 61))
    assert service.is_allowed(client, "c", "data", 3, 60)
    assert [service.count_action(client, "u", "login", 60) for _ in range(3)] == [1, 2, 3]
    assert 0 < client.ttl("limit:action:u:login") <= 60


def test_rankings(client):
    for name, points in [("a", 3), ("b", 5), ("c", 1), ("c", 3)]:
        service.score(client, "r", name, points)
    assert service.best(client, "r", 2) == [("b", 5.0), ("c", 4.0)]
    assert service.rank(client, "r", "a") == 3 and service.rank(client, "r", "none") is None


def test_threads_and_tasks_do_each_job_once(makers):
    make, make_async = makers
    client, waits, seen = make(), workers.Waits(), []
    lock = threading.Lock()

    def handle(number):
        with lock:
            seen.append(number)
        if number % 10 == 0:
            raise RuntimeError("each tenth")

    names = ["t1", "t2", "a1", "a2", "a3"]
    threads = workers.start_threads(make, names[:2], handle, waits)
    threads.append(workers.start_tasks(make_async, names[2:], handle, waits))
    for number in range(300):
        service.push(client, number, service.PRIORITIES[number % 3])
    while client.hlen("jobs") > 0:
        time.sleep(0.005)
    found = service.health(client, names)
    workers.stop(client, len(names))
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted([*range(300), *range(0, 300, 10), *range(0, 300, 10)])
    assert len(waits.seconds) == 300
    assert found["dead"] == 30 and found["waiting"] == dict.fromkeys(service.PRIORITIES, 0)
    assert sum(int(client.get(f"jobs:done:{name}") or 0) for name in names) == 270 + len(names)
