"""The tasks of the tests of Celery, for workers in this process and in others."""

import os
from types import SimpleNamespace

import jobs
from celery import Celery


def make(broker):
    """An app whose broker is a database there and whose results are in another, with its tasks."""
    app = Celery("tests", broker=f"{broker}/0", backend=f"{broker}/1")
    app.conf.update(
        broker_connection_retry_on_startup=True, worker_prefetch_multiplier=1, worker_hijack_root_logger=False
    )
    again = {"autoretry_for": (ValueError,), "max_retries": 5, "default_retry_delay": 0}
    lost = {"acks_late": True, "reject_on_worker_lost": True}
    return SimpleNamespace(
        app=app,
        add=app.task(name="add")(jobs.add),
        total=app.task(name="total")(jobs.total),
        fail=app.task(name="fail")(jobs.fail),
        note=app.task(name="note")(jobs.note),
        flaky=app.task(name="flaky", **again)(jobs.flaky),
        die_once=app.task(name="die_once", **lost)(jobs.die_once),
    )


if "TEST_BROKER" in os.environ:
    app = make(os.environ["TEST_BROKER"]).app
