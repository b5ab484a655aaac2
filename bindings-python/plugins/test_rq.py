"""rq: jobs are processed, retried, delayed and recovered. In process by SimpleWorker, over the socket by workers that fork."""

import datetime
import os
import pickle
import signal
import threading
import warnings

import jobs
import pytest
import redis
from rq import Queue, Retry, SimpleWorker, Worker
from rq.command import send_shutdown_command
from rq.connections import parse_connection
from rq.job import Job
from rq.registry import FailedJobRegistry, ScheduledJobRegistry, StartedJobRegistry
from rq.scheduler import RQScheduler

import keystead.redis
from keystead import CopyWarning


@pytest.fixture
def queue(client):
    return Queue("work", connection=client)


@pytest.fixture
def work(pool, client, program, request):
    """Has a worker do all that there is."""

    def run(queue):
        if isinstance(pool, keystead.redis.Pool):
            SimpleWorker([queue], connection=client).work(burst=True, logging_level="WARNING")
            return
        port = pool.connection_kwargs["port"]
        with program("rq", "worker", "--burst", "--url", f"redis://127.0.0.1:{port}", queue.name) as worker:
            assert worker.wait(120) == 0, worker.log.read_text()

    return run


def test_jobs_are_processed(queue, work):
    many = [queue.enqueue(jobs.add, number, number) for number in range(20)]
    first = queue.enqueue(jobs.add, 1, 2)
    then = queue.enqueue(jobs.add, 3, 4, depends_on=first)
    assert len(queue) == 21 and then.get_status() == "deferred"
    work(queue)
    assert [job.return_value() for job in many] == [2 * number for number in range(20)]
    assert then.return_value() == 7 and len(queue) == 0
    assert {job.latest_result().type.name for job in many} == {"SUCCESSFUL"}


def test_jobs_are_retried(queue, work, tmp_path):
    job = queue.enqueue(jobs.flaky, str(tmp_path / "tries"), 2, retry=Retry(max=3))
    lost = queue.enqueue(jobs.fail, retry=Retry(max=2))
    work(queue)
    assert job.return_value() == 3 and len(jobs.lines(tmp_path / "tries")) == 3
    assert lost.get_status(refresh=True) == "failed" and "as asked" in lost.latest_result().exc_string
    assert FailedJobRegistry(queue=queue).get_job_ids() == [lost.id]
    lost.requeue()
    assert len(queue) == 1


def test_jobs_are_delayed(queue, work, client, until):
    later = queue.enqueue_in(datetime.timedelta(hours=1), jobs.add, 1, 1)
    due = queue.enqueue_in(datetime.timedelta(0), jobs.add, 2, 2)
    registry = ScheduledJobRegistry(queue=queue)
    assert set(registry.get_job_ids()) == {later.id, due.id}
    work(queue)
    assert due.get_status(refresh=True) == "scheduled"
    scheduler = RQScheduler([queue], connection=client)
    assert scheduler.acquire_locks() == {queue.name}
    assert RQScheduler([queue], connection=client).acquire_locks() == set()
    until(lambda: (scheduler.enqueue_scheduled_jobs(), due.id in queue.job_ids)[1])
    work(queue)
    assert due.return_value() == 4 and registry.get_job_ids() == [later.id]
    scheduler.release_locks()


def test_jobs_of_the_dead_are_recovered_by_another(far, program, until, tmp_path):
    client = redis.Redis(connection_pool=far)
    queue = Queue("work", connection=client)
    job = queue.enqueue(jobs.hold, str(tmp_path / "runs"), retry=Retry(max=1), job_timeout=3600)
    words = ("rq", "worker", "--url", f"redis://127.0.0.1:{far.connection_kwargs['port']}", queue.name)
    with program(*words) as worker:
        until(lambda: jobs.lines(tmp_path / "runs"))
        # Both at once: nobody is left who could tell of it.
        worker.send_signal(signal.SIGKILL)
        os.kill(int(jobs.lines(tmp_path / "runs")[0]), signal.SIGKILL)
        worker.wait(60)
    registry = StartedJobRegistry(queue=queue)
    assert registry.get_job_ids() == [job.id] and len(queue) == 0
    # Its heartbeat has run out.
    for member in client.zrange(registry.key, 0, -1):
        client.zadd(registry.key, {member: 1})
    registry.cleanup()
    assert registry.get_job_ids() == [] and queue.job_ids == [job.id]
    with program(*words, "--burst") as worker:
        assert worker.wait(120) == 0, worker.log.read_text()
    assert job.return_value() == "done"


def test_a_killed_child_fails_its_job_and_the_worker_goes_on(far, program, tmp_path):
    client = redis.Redis(connection_pool=far)
    queue = Queue("work", connection=client)
    job = queue.enqueue(jobs.die_once, str(tmp_path / "runs"), retry=Retry(max=1))
    after = queue.enqueue(jobs.add, 1, 2)
    url = f"redis://127.0.0.1:{far.connection_kwargs['port']}"
    with program("rq", "worker", "--burst", "--url", url, queue.name) as worker:
        assert worker.wait(120) == 0, worker.log.read_text()
    assert job.return_value() == "done" and after.return_value() == 3


def test_workers_are_told_to_stop(far, program, until):
    """By a message on a channel, which a thread of the worker listens for."""
    client = redis.Redis(connection_pool=far)
    url = f"redis://127.0.0.1:{far.connection_kwargs['port']}"
    with program("rq", "worker", "--url", url, "--name", "listener", "work") as worker:
        # Not before it has its handlers of signals.
        until(lambda: [found.get_state() for found in Worker.all(connection=client)] == ["idle"])
        until(lambda: client.pubsub_channels("rq:pubsub:*"))
        send_shutdown_command(client, "listener")
        assert worker.wait(120) == 0, worker.log.read_text()


def test_jobs_of_many_threads(near, name):
    client = redis.Redis(connection_pool=near)
    queue = Queue("work", connection=client)

    def enqueue():
        own = Queue("work", connection=redis.Redis(connection_pool=keystead.redis.Pool(name)))
        for number in range(10):
            own.enqueue(jobs.add, number, 1)

    threads = [threading.Thread(target=enqueue) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    SimpleWorker([queue], connection=client).work(burst=True, logging_level="WARNING")
    assert len(queue) == 0 and len(queue.finished_job_registry) == 40


def test_a_forking_worker_in_process_is_warned(near):
    """Its children take jobs to a copy: what they do is lost, so the warning is what there is."""
    client = redis.Redis(connection_pool=near)
    queue = Queue("work", connection=client)
    job = queue.enqueue(jobs.add, 1, 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        kind, connection_kind, kwargs = parse_connection(client)
        kwargs.pop("himport_registry", None)
        again = pickle.loads(pickle.dumps(kwargs))
    assert kind is redis.Redis and connection_kind is keystead.redis.Connection and not caught
    assert kind(connection_pool=redis.ConnectionPool(connection_class=connection_kind, **again)).exists(
        job.key
    )

    class Telling(Worker):
        def main_work_horse(self, job, queue):
            with warnings.catch_warnings():
                warnings.simplefilter("error", CopyWarning)
                try:
                    self.connection.get("any")
                except CopyWarning:
                    os._exit(42)

    told = []
    worker = Telling([queue], connection=client)
    worker.handle_work_horse_killed = lambda job, pid, status, usage: told.append(status >> 8)
    worker.work(burst=True, logging_level="ERROR")
    assert told == [42]
    assert Job.fetch(job.id, connection=client).get_status() == "failed"
