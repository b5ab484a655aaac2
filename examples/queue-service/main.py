"""Runs the service in this process and prints what came of it: threads and tasks index the modules of Python's own library.

Jobs are files, the largest with the lowest priority. Some of them are no Python, on purpose: they are tried again and end as dead letters.
"""

from __future__ import annotations

import ast
import json
import random
import statistics
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import service
import workers

import keystead.asyncio
import keystead.valkey

NAME = "queue-service"
THREADS, TASKS = ["thread 1", "thread 2"], ["task 1", "task 2", "task 3", "task 4"]
WORKERS = THREADS + TASKS
#: Jobs that do nothing, pushed as fast as it goes; jobs that find all workers waiting; questions for the index.
FAST, LONE, QUESTIONS = 20_000, 2_000, 20_000

LIBRARY = Path(sysconfig.get_path("stdlib"))


def client() -> keystead.valkey.Valkey:
    """A client of the engine that the whole program shares."""
    return keystead.valkey.Valkey(NAME)


def task_client() -> keystead.asyncio.Valkey:
    """The same for coroutines."""
    return keystead.asyncio.Valkey(NAME)


def modules() -> list[Path]:
    """The library's files, without what was installed beside it."""
    paths = (path for path in LIBRARY.rglob("*.py") if "site-packages" not in path.parts)
    return sorted(path for path in paths if path.stat().st_size < 60_000)


def index(store: keystead.valkey.Valkey, name: str) -> None:
    """Counts the names that a module defines; raises what is wrong with it."""
    tree = ast.parse((LIBRARY / name).read_bytes())
    defined = [node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    with store.pipeline(transaction=False) as pipe:
        pipe.hset("modules", name, len(defined))
        pipe.zincrby("ranking:packages", len(defined), name.split("/")[0])
        for name_defined in defined:
            pipe.zincrby("ranking:names", 1, name_defined)
        pipe.execute()


def run(push: Callable[[], int], handle: workers.Handler) -> tuple[int, float, list[float]]:
    """Has all workers do what is pushed; returns how many jobs, in how many seconds, and how long each waited."""
    waits = workers.Waits()
    threads = workers.start_threads(client, THREADS, handle, waits)
    threads.append(workers.start_tasks(task_client, TASKS, handle, waits))
    start = time.perf_counter()
    count = push()
    store = client()
    while store.hlen("jobs") > 0:
        time.sleep(0.001)
    seconds = time.perf_counter() - start
    workers.stop(store, len(WORKERS))
    for thread in threads:
        thread.join()
    return count, seconds, waits.seconds


def push_modules() -> int:
    """A job for each module."""
    store, paths = client(), modules()
    for path in paths:
        size = path.stat().st_size
        priority = "high" if size < 5_000 else "medium" if size < 20_000 else "low"
        service.push(store, str(path.relative_to(LIBRARY)), priority)
    return len(paths)


def push_fast() -> int:
    """Jobs as fast as it goes."""
    store = client()
    for number in range(FAST):
        service.push(store, number, service.PRIORITIES[number % 3])
    return FAST


def push_alone() -> int:
    """Jobs that find the workers waiting."""
    store, dice = client(), random.Random(1)
    for number in range(LONE):
        while store.hlen("jobs") > 0:
            time.sleep(0.0002)
        time.sleep(dice.uniform(0, 0.001))
        service.push(store, number, "high")
    return LONE


def ask(store: keystead.valkey.Valkey) -> tuple[list[float], float]:
    """Questions of signed-in callers, each within its limit; returns the milliseconds of each, and the share that the cache answered."""
    dice = random.Random(2)
    packages = [name for name, _ in service.best(store, "packages", 100)]
    tokens = [service.begin_session(store, f"user {number}", ["reader"]) for number in range(50)]
    milliseconds, hits = [], 0
    for number in range(QUESTIONS):
        start = time.perf_counter()
        user = service.session(store, dice.choice(tokens))["user"]
        if not service.is_allowed(store, user, "packages", 100, 0.01):
            continue
        package = dice.choice(packages)
        compute = lambda package=package: service.rank(store, "packages", package)  # noqa: E731
        _, found = service.answer(store, f"rank:{package}", ["packages"], compute)
        service.score(store, "users", user)
        milliseconds.append((time.perf_counter() - start) * 1000)
        hits += found
        if number % 5_000 == 4_999:
            service.invalidate(store, "packages")
    return milliseconds, hits / len(milliseconds)


def report(scenario: str, count: int, milliseconds: list[float], **more: Any) -> None:
    """A line of JSON for `cargo xtask demo`."""
    cuts = statistics.quantiles(milliseconds, n=100)
    row = {
        "scenario": scenario,
        "requests": count,
        "p50_ms": round(cuts[49], 4),
        "p99_ms": round(cuts[98], 4),
        **more,
    }
    print(f"DEMO {json.dumps(row)}", flush=True)


def main() -> None:
    """All scenarios, one after the other."""
    store = client()
    heard: list[dict[str, Any]] = []
    events = store.pubsub(ignore_subscribe_messages=True)
    events.subscribe(**{"cache:invalidate": lambda message: heard.append(json.loads(message["data"]))})
    listener = events.run_in_thread(sleep_time=1)

    count, seconds, waits = run(push_modules, lambda name: index(client(), name))
    fares = service.health(store, WORKERS)
    print(
        f"{store.hlen('modules')} modules of {count} in {seconds:.1f} s; {fares['dead']} dead letters, the first:"
    )
    print(f"  {store.lindex(service.DEAD_LETTERS, 0).decode()[:160]}")
    print(f"names defined most often: {service.best(store, 'names', 5)}")
    if store.hlen("modules") + fares["dead"] != count or any(fares["working"].values()):
        raise SystemExit(f"jobs are missing: {fares}")
    report("modules indexed", count, [wait * 1000 for wait in waits], per_second=round(count / seconds))

    count, seconds, waits = run(push_fast, lambda number: None)
    report(
        "jobs in a row, push to pop",
        count,
        [wait * 1000 for wait in waits],
        per_second=round(count / seconds),
    )
    count, seconds, waits = run(push_alone, lambda number: None)
    report("jobs one by one, push to pop", count, [wait * 1000 for wait in waits])

    start = time.perf_counter()
    milliseconds, rate = ask(store)
    seconds = time.perf_counter() - start
    report(
        "questions",
        len(milliseconds),
        milliseconds,
        hit_rate=f"{rate:.3f}",
        per_second=round(len(milliseconds) / seconds),
    )
    while len(heard) < QUESTIONS // 5_000:
        time.sleep(0.001)
    listener.stop()
    listener.join()
    events.close()
    done = {worker: int(store.get(f"jobs:done:{worker}") or 0) for worker in WORKERS}
    print(
        f"jobs done: {done}; invalidations heard: {len(heard)}; threads left: {threading.active_count() - 1}"
    )


if __name__ == "__main__":
    main()
