"""Engines for plug-ins: one in this process, and the program `keystead serve` for those who fork."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

import keystead.redis

HERE = Path(__file__).parent
#: Programs of the environment of the tests.
PROGRAMS = Path(sys.executable).parent
PLACES = ["in process", "over the socket"]

_numbers = itertools.count()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def port(tmp_path_factory):
    """The port of a Keystead that other processes reach."""
    port = _free_port()
    words = [
        PROGRAMS / "keystead",
        "serve",
        "--port",
        port,
        "--save",
        "",
        "--dir",
        tmp_path_factory.mktemp("served"),
    ]
    process = subprocess.Popen([str(word) for word in words], stderr=subprocess.PIPE, text=True)
    try:
        assert any(f":{port}" in line for line in process.stderr)
        yield port
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture
def name():
    """A name that no other test has opened."""
    return f"plugins-{next(_numbers)}"


@pytest.fixture(params=PLACES)
def pool(request):
    """A pool of redis-py with nothing behind it: the engine in this process, or the other process."""
    return _pool(request.param, request)


@pytest.fixture
def near(request):
    """That in this process."""
    return _pool("in process", request)


@pytest.fixture
def far(request):
    """That of the other process."""
    return _pool("over the socket", request)


def _pool(place, request):
    if place == "in process":
        return keystead.redis.Pool(request.getfixturevalue("name"))
    port = request.getfixturevalue("port")
    redis.Redis(port=port).flushall()
    return redis.ConnectionPool(port=port)


@pytest.fixture
def client(pool):
    return redis.Redis(connection_pool=pool)


@pytest.fixture
def until():
    """Waits until something holds. The longest is for tests that hang."""

    def wait(holds, longest=120):
        end = time.monotonic() + longest
        while not (found := holds()):
            assert time.monotonic() < end, "it never came"
            time.sleep(0.01)
        return found

    return wait


@pytest.fixture
def program(tmp_path):
    """Runs a program of the environment until the end of a `with` block; its output goes to a file."""

    @contextlib.contextmanager
    def run(*words, **variables):
        environment = {**os.environ, "PYTHONPATH": str(HERE), **variables}
        log = tmp_path / f"{next(_numbers)}.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [str(PROGRAMS / words[0]), *map(str, words[1:])],
                env=environment, cwd=tmp_path, stdout=file, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        process.log = log
        try:
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            # With its children, whether or not it has ended as it should: that is other tests' matter.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    return run
