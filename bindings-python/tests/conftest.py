"""Fixtures of all tests: engines of their own, and redis-like clients."""

import itertools
import subprocess
import sys
import textwrap

import pytest

from keystead import Cache, Store

_numbers = itertools.count()


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
def run():
    """Runs Python code in a process of its own and returns what it printed."""

    def run(code, timeout=120):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run
