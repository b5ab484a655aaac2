"""Fixtures of all tests: engines of their own, and redis-like clients."""

import itertools

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
