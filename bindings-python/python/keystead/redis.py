"""redis-py on the engine in this process: `redis.Redis(connection_pool=keystead.redis.pool("app"))`.

Every method of redis-py works as it does on a server that knows the command; exceptions are redis-py's.
"""

from __future__ import annotations

from typing import Any

from keystead._connection import AsyncConnectionMixin, ConnectionMixin, LinkParser
from keystead._engine import Path, open_engine
from keystead._extras import needed
from keystead._keystead import Engine

with needed("redis", "redis"):
    import redis
    import redis.asyncio
    from redis._parsers.base import BaseParser
    from redis.asyncio.connection import AbstractConnection as AsyncAbstractConnection
    from redis.connection import AbstractConnection
    from redis.exceptions import DataError

try:
    from redis.maint_notifications import MaintNotificationsConfig
except ImportError:
    _NO_MAINTENANCE: dict[str, Any] = {}
else:
    # Announcements of a moving server, which redis-py expects by default with RESP3; nothing moves here.
    _NO_MAINTENANCE = {"maint_notifications_config": MaintNotificationsConfig(enabled=False)}

__all__ = ["AsyncConnection", "Connection", "async_pool", "pool"]


class _Parser(LinkParser, BaseParser):
    def on_connect(self, connection: Any) -> None:
        self.attach(connection._sock.link, connection.encoder.decode_responses)

    def read_response(self, disable_decoding: bool = False, push_request: bool = False, **_: Any) -> Any:
        return self.read(disable_decoding)


class _AsyncParser(LinkParser, BaseParser):
    def on_connect(self, connection: Any) -> None:
        """The connection reads for itself."""

    async def read_response(self, disable_decoding: bool = False) -> Any:
        return self.read(disable_decoding)


class Connection(ConnectionMixin, AbstractConnection):
    """A connection of redis-py's pools that is a session of an engine."""

    make_error = BaseParser.parse_error
    data_error = DataError
    link_parser = _Parser


class AsyncConnection(AsyncConnectionMixin, AsyncAbstractConnection):  # type: ignore[misc]
    """The same for `redis.asyncio`."""

    make_error = BaseParser.parse_error
    data_error = DataError
    link_parser = _AsyncParser


def pool(
    engine: Engine | str | None = None, *, path: Path | None = None, **kwargs: Any
) -> redis.ConnectionPool:
    """A pool of sessions of an engine, named, given, or kept in the folder `path`; without any it is private to the pool. `kwargs` are redis-py's.

    Who wants to say when the log ends gives a `keystead.Engine(path=...)` and closes that.
    """
    kwargs = {"protocol": 2, **_NO_MAINTENANCE, **kwargs}
    opened = open_engine(engine, path=path)
    return redis.ConnectionPool(connection_class=Connection, engine=opened, **kwargs)


def async_pool(
    engine: Engine | str | None = None, *, path: Path | None = None, **kwargs: Any
) -> redis.asyncio.ConnectionPool:
    """As `pool`, for `redis.asyncio.Redis`."""
    kwargs = {"protocol": 2, **_NO_MAINTENANCE, **kwargs}
    opened = open_engine(engine, path=path)
    return redis.asyncio.ConnectionPool(connection_class=AsyncConnection, engine=opened, **kwargs)
