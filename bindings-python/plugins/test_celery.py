"""Celery: tasks run, are retried, delayed, revoked, chained and recovered. In process by the pools `solo` and `threads`, over the socket by prefork."""

import os
import time
import warnings

import celery_tasks
import jobs
import pytest
import redis
from celery import chain, chord, group
from celery.contrib.testing.worker import start_worker
from celery.exceptions import TaskRevokedError
from celery.result import allow_join_result
from kombu import Connection

import keystead.celery
import keystead.redis
from keystead import CopyWarning
from keystead._engine import kept_engine


@pytest.fixture(params=["solo", "threads", "prefork"])
def tasks(request, program):
    """Tasks whose worker runs: in this process, or processes of its own."""
    if request.param == "prefork":
        port = request.getfixturevalue("port")
        broker = f"redis://127.0.0.1:{port}"
        tasks = celery_tasks.make(broker)
        tasks.client = redis.Redis(port=port)
        tasks.client.flushall()
        words = ("celery", "-A", "celery_tasks", "worker", "-P", "prefork", "-c", "2", "-l", "INFO")
        with program(*words, TEST_BROKER=broker):
            yield tasks
        return
    name = request.getfixturevalue("name")
    tasks = celery_tasks.make(f"keystead://{name}")
    tasks.client = redis.Redis(connection_pool=keystead.redis.Pool(name))
    concurrency = 1 if request.param == "solo" else 4
    options = {"concurrency": concurrency, "perform_ping_check": False, "shutdown_timeout": 60}
    with allow_join_result(), start_worker(tasks.app, pool=request.param, **options):
        yield tasks


def get(result):
    return result.get(timeout=120)


def test_tasks(tasks, tmp_path, until):
    assert [get(result) for result in [tasks.add.delay(number, number) for number in range(30)]] == [
        2 * number for number in range(30)
    ]
    assert get(chain(tasks.add.s(1, 2), tasks.add.s(3), tasks.add.s(4))()) == 10
    assert get(group(tasks.add.s(number, 1) for number in range(5))()) == [1, 2, 3, 4, 5]
    assert get(chord((tasks.add.s(number, number) for number in range(10)), tasks.total.s())()) == 90
    with pytest.raises(ValueError, match="as asked"):
        get(tasks.fail.delay())
    # Retried until it works.
    assert get(tasks.flaky.delay(str(tmp_path / "tries"), 2)) == 3
    assert len(jobs.lines(tmp_path / "tries")) == 3
    # Delayed.
    before = time.time()
    assert get(tasks.add.apply_async((5, 5), countdown=0.3)) == 10
    assert time.time() >= before + 0.3
    # Too late to be begun.
    expired = tasks.note.apply_async((str(tmp_path / "expired"), "x"), expires=-1)
    revoked = tasks.note.apply_async((str(tmp_path / "revoked"), "x"), countdown=1)
    revoked.revoke()
    for result in (expired, revoked):
        with pytest.raises(TaskRevokedError):
            get(result)
    assert not jobs.lines(tmp_path / "expired") and not jobs.lines(tmp_path / "revoked")
    # What was asked for stays to be asked for.
    assert tasks.app.AsyncResult(revoked.id).state == "REVOKED"
    # Nothing is left that was not acknowledged, once the time of what was revoked has come.
    until(lambda: tasks.client.hlen("unacked") == 0)
    assert tasks.client.llen("celery") == 0


def test_priorities_and_broadcasts(tasks):
    """Queues by priority, and channels that all workers listen on."""
    for priority in (9, 0, 5):
        assert get(tasks.add.apply_async((priority, 1), priority=priority)) == priority + 1
    replies = tasks.app.control.ping(timeout=30, limit=1)
    assert [list(reply.values()) for reply in replies] == [[{"ok": "pong"}]]


@pytest.mark.parametrize("tasks", ["prefork"], indirect=True)
def test_a_task_whose_process_was_killed_is_recovered(tasks, tmp_path):
    assert get(tasks.die_once.delay(str(tmp_path / "runs"))) == "done"
    assert jobs.lines(tmp_path / "runs") == ["begun", "begun"]


def test_messages_of_a_dead_consumer_are_restored(name):
    """Its time is over, and another consumer gets them."""
    options = {"visibility_timeout": 1, "unacked_restore_limit": 10}
    client = redis.Redis(connection_pool=keystead.redis.Pool(name))
    with Connection(f"keystead://{name}", transport_options=options) as dead:
        queue = dead.SimpleQueue("jobs")
        queue.put({"n": 1})
        message = queue.get(timeout=60)
        assert message.payload == {"n": 1} and client.hlen("unacked") == 1
        # It never says that it is done; long ago, by the clock of the index.
        client.zadd("unacked_index", dict.fromkeys(client.zrange("unacked_index", 0, -1), 1))
        with Connection(f"keystead://{name}", transport_options=options) as other:
            channel = other.default_channel
            channel.qos.restore_visible()
            again = other.SimpleQueue("jobs").get(timeout=60)
            assert again.payload == {"n": 1} and again.headers.get("redelivered", True)
            again.ack()
        assert client.hlen("unacked") == 0
        dead.default_channel.qos._delivered.clear()


def test_transports_need_a_place():
    for url in ("keystead://", "keystead:///3"):
        with pytest.raises(ValueError, match="keystead://NAME"):
            Connection(url).default_channel  # noqa: B018
    with pytest.raises(ValueError, match="keystead://NAME"):
        celery_tasks.make("keystead://").app.backend  # noqa: B018


def test_an_engine_in_a_folder(tmp_path):
    """What was sent is there when the folder is opened again."""
    url = f"keystead://{tmp_path}/broker.ks"
    with Connection(url) as broker:
        broker.SimpleQueue("jobs").put("kept")
    kept_engine(None, f"{tmp_path}/broker.ks").close()
    with Connection(url) as broker:
        message = broker.SimpleQueue("jobs").get(timeout=60)
        assert message.payload == "kept"
        message.ack()
    kept_engine(None, f"{tmp_path}/broker.ks").close()


def test_prefork_in_process_is_warned(name):
    """The children of a worker would work on copies."""
    app = celery_tasks.make(f"keystead://{name}").app
    app.backend.client.set("k", 1)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with warnings.catch_warnings():
            warnings.simplefilter("error", CopyWarning)
            try:
                app.backend.client.get("k")
            except CopyWarning:
                os.write(writing, b"warned")
            finally:
                os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"warned"
    os.close(reading)
