"""Fixtures of all tests: engines of their own, and redis-like clients."""

import contextlib
import importlib
import itertools
import os
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from keystead import Cache, Store
from keystead._keystead import load_counts

_numbers = itertools.count()

#: How often each test runs: `cargo xtask test soak` has them run many times in one process.
_TIMES = int(os.environ.get("KEYSTEAD_REPEAT", "1"))


def pytest_generate_tests(metafunc):
    if _TIMES > 1:
        metafunc.fixturenames.append("_time")
        metafunc.parametrize("_time", range(_TIMES))


@pytest.fixture
def name():
    """A name that no other test has opened."""
    return f"test-{next(_numbers)}"


@pytest.fixture
def cache():
    with Cache() as cache:
        yield cache


@pytest.fixture
def store():
    return Store()


@pytest.fixture
def until_others_wait():
    """Holds a load until so many callers wait for one, however busy the machine is."""

    def hold(count):
        while load_counts()[1] < count:
            time.sleep(0.001)

    return hold


@pytest.fixture
def run():
    """Runs Python code in a process of its own and returns what it printed."""

    def run(code, timeout=120):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def _real_server(tmp_path_factory):
    """Runs a real server, and gives its port."""
    program = os.environ.get("KEYSTEAD_ORACLE")
    if not program:
        pytest.skip("KEYSTEAD_ORACLE names no server")
    valkey = pytest.importorskip("valkey")
    port = _free_port()
    folder = str(tmp_path_factory.mktemp("server"))
    words = [program, "--port", str(port), "--save", "", "--bind", "127.0.0.1", "--dir", folder]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        client = valkey.Valkey(port=port)
        for _ in range(500):
            with contextlib.suppress(valkey.ConnectionError):
                client.ping()
                break
            time.sleep(0.02)
        client.close()
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """The port of a real server."""
    with _real_server(tmp_path_factory) as port:
        yield port


@pytest.fixture
def own_server(tmp_path_factory):
    """The port of a real server that no other test has changed."""
    with _real_server(tmp_path_factory) as port:
        yield port


@pytest.fixture
def serve():
    """Runs `keystead serve` with options until the end of a `with` block, and gives its port and process."""
    program = Path(sys.executable).with_name("keystead")
    if not program.exists():
        pytest.skip("the package is not installed")

    @contextlib.contextmanager
    def run(*options):
        port = _free_port()
        words = [program, "serve", "--port", str(port), "--save", "", *map(str, options)]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        try:
            assert any(f":{port}" in line for line in process.stderr)
            yield port, process
        finally:
            process.terminate()
            process.communicate()

    return run


@pytest.fixture
def served(serve, tmp_path):
    """The port of the program `keystead serve`."""
    with serve("--dir", tmp_path) as (port, _):
        yield port


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    """The port of another real server, which keys are moved to."""
    with _real_server(tmp_path_factory) as port:
        yield port


@pytest.fixture
def methods_without():
    """Says which methods of classes of valkey-py or redis-py have no row and are not left out."""

    def without(rows, library, groups, left_out):
        core = importlib.import_module(f"{library}.commands.core")
        methods = {
            name
            for group in groups
            for name, method in vars(getattr(core, group)).items()
            if callable(method) and not name.startswith("_")
        }
        return methods - {name for name, *_ in rows} - left_out.keys()

    return without
