"""`Valkey`: valkey-py's client on the engine in this process. Methods, types, callbacks and exceptions are valkey-py's.

Single commands go straight to a session of the engine; pipelines, WATCH and locks through valkey-py's own machinery and
`Connection`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from keystead._connection import (
    AsyncConnectionMixin,
    ConnectionMixin,
    LinkParser,
    PoolMixin,
    engine_of,
    session_setup,
)
from keystead._engine import Path, open_engine
from keystead._extras import needed
from keystead._keystead import Client, Engine
from keystead._urls import url_options

with needed("valkey", "valkey"):
    import valkey
    import valkey.asyncio
    from valkey._parsers.base import BaseParser
    from valkey._parsers.url_parser import URL_QUERY_ARGUMENT_PARSERS
    from valkey.asyncio.connection import AbstractConnection as AsyncAbstractConnection
    from valkey.client import EMPTY_RESPONSE, NEVER_DECODE
    from valkey.connection import AbstractConnection
    from valkey.exceptions import ConnectionError, DataError, ResponseError, TimeoutError

__all__ = ["AsyncConnection", "AsyncPool", "Connection", "Pool", "Valkey", "async_pool", "pool"]


class _Parser(LinkParser, BaseParser):
    def on_connect(self, connection: Any) -> None:
        connection.attach_to(self)

    def read_response(self, disable_decoding: bool = False, push_request: bool = False) -> Any:
        return self.read(disable_decoding, push_request)


class _AsyncParser(LinkParser, BaseParser):
    def on_connect(self, connection: Any) -> None:
        """The connection reads for itself."""

    async def read_response(self, disable_decoding: bool = False) -> Any:
        return self.read(disable_decoding)


class Connection(ConnectionMixin, AbstractConnection):
    """A connection of valkey-py's pools that is a session of an engine: `engine=` takes one or a name, `path=` a folder. Without any it belongs to the
    engine that stands for its host and port."""

    make_error = BaseParser.parse_error
    connection_error = ConnectionError
    data_error = DataError
    link_parser = _Parser


class AsyncConnection(AsyncConnectionMixin, AsyncAbstractConnection):  # type: ignore[misc]
    """The same for `valkey.asyncio`."""

    make_error = BaseParser.parse_error
    connection_error = ConnectionError
    data_error = DataError
    timeout_error = TimeoutError
    link_parser = _AsyncParser


class Pool(PoolMixin, valkey.ConnectionPool):
    """A valkey.ConnectionPool of sessions of one engine, which is named, given, or kept in the folder `path`; without any it is private to the pool.

    Further arguments are valkey-py's; those about sockets have no effect but for `socket_timeout`, which limits how long a reply is waited for.
    """

    default_connection = Connection
    url_parsers = URL_QUERY_ARGUMENT_PARSERS


class AsyncPool(PoolMixin, valkey.asyncio.ConnectionPool):
    """The same for `valkey.asyncio`."""

    default_connection = AsyncConnection
    url_parsers = URL_QUERY_ARGUMENT_PARSERS


def pool(engine: Engine | str | None = None, *, path: Path | None = None, **kwargs: Any) -> Pool:
    """A pool of sessions, for `valkey.Valkey(connection_pool=...)` and whatever else takes one.

    The engine is given, named, or kept in the folder `path`; without any it is private to the pool. Who wants to say when the log ends
    gives a `keystead.Engine(path=...)` and closes that.
    """
    return Pool(engine, path=path, **kwargs)


def async_pool(engine: Engine | str | None = None, *, path: Path | None = None, **kwargs: Any) -> AsyncPool:
    """As `pool`, for `valkey.asyncio.Valkey`."""
    return AsyncPool(engine, path=path, **kwargs)


def client_options(url: str) -> dict[str, Any]:
    """The arguments of a client that a URL stands for.

    Raises:
        ValueError: as `PoolMixin.from_url`.
    """
    options = url_options(url, URL_QUERY_ARGUMENT_PARSERS)
    options["name"] = options.pop("engine")
    return options


def _with_options(client: Client, words: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Executes a command whose response needs more than a callback without arguments, as valkey-py's `parse_response`."""
    options.pop("keys", None)
    try:
        response = client.call(words, options.pop(NEVER_DECODE, None) is not None)
    except ResponseError:
        if EMPTY_RESPONSE in options:
            return options[EMPTY_RESPONSE]
        raise
    options.pop(EMPTY_RESPONSE, None)
    callback = client.callbacks.get(str(words[0]).upper())
    return response if callback is None else callback(response, **options)


def client_of(client: Any) -> Client:
    """The native client with the settings of a client's pool, and its response callbacks."""
    kwargs = client.connection_pool.connection_kwargs
    encoding, errors = kwargs.get("encoding", "utf-8"), kwargs.get("encoding_errors", "strict")
    if encoding.lower().replace("-", "").replace("_", "") != "utf8" or errors != "strict":
        raise DataError("an embedded engine takes strict UTF-8 only; use bytes for other encodings")
    text, setup = kwargs.get("decode_responses", False), session_setup(kwargs)
    callbacks = client.response_callbacks
    moved = partial(_select, client.connection_pool)
    return Client(
        client.engine, setup, text, BaseParser.parse_error, DataError, callbacks, _with_options, moved
    )


def _select(pool: Any, db: int) -> None:
    """Pipelines and whatever else takes a connection use the database that the client has chosen, too."""
    pool.connection_kwargs["db"] = db
    for connection in list(getattr(pool, "_available_connections", ())):
        connection.db = db
        connection.forget_session()


class Valkey(valkey.Valkey):
    """valkey-py's `Valkey` without a server.

    `name`: everybody in this process who opens the same name has the same data; without one it is private to this client and its
    pipelines. `path`, `maxmemory` and `config` are those of `keystead.Cache`, but a database that is full refuses writes. Further arguments
    are valkey-py's; those about sockets have no effect.
    """

    _own_engine: Engine | None = None

    def __init__(
        self,
        name: str | Engine | None = None,
        *,
        path: Path | None = None,
        db: int | None = None,
        maxmemory: int | str | None = None,
        config: dict[str, Any] | None = None,
        connection_pool: Any = None,
        single_connection_client: bool = False,
        protocol: int = 2,
        **kwargs: Any,
    ) -> None:
        if connection_pool is None:
            kwargs = {"lib_name": "keystead", "lib_version": None, **kwargs}
            engine = open_engine(name, path=path, maxmemory=maxmemory, config=config)
            self._own_engine = engine if engine is not name else None
            connection_pool = pool(
                engine, db=engine._default_db if db is None else db, protocol=protocol, **kwargs
            )
        elif not issubclass(connection_pool.connection_class, ConnectionMixin):
            raise ValueError("connection_pool must be one of keystead.valkey.pool")
        self.engine: Engine = engine_of(connection_pool)
        super().__init__(connection_pool=connection_pool, single_connection_client=single_connection_client)
        self._execute = client_of(self).execute
        if not single_connection_client and type(self).execute_command is Valkey.execute_command:
            # The native method itself: one Python call less for every command.
            self.execute_command = self._execute  # type: ignore[method-assign]

    def close(self) -> None:
        """Ends the sessions, and gives up the engine if this client has opened it; see `keystead.Engine.close`.

        Raises:
            keystead.exceptions.ResponseError: as `keystead.Cache.close`.
        """
        super().close()
        if self._own_engine is not None:
            self._own_engine.close()

    def __del__(self) -> None:
        # Of the engine others may have the use.
        valkey.Valkey.close(self)

    def set(self, name: Any, value: Any, ex: Any = None, *args: Any, **options: Any) -> Any:
        """Sets a key; the options are valkey-py's."""
        # The plain forms without valkey-py's weighing of ten options, which takes longer than setting the key.
        if not args and not options:
            if ex is None:
                return self.execute_command("SET", name, value)
            if type(ex) is int:
                return self.execute_command("SET", name, value, "EX", ex)
        return super().set(name, value, ex, *args, **options)

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Valkey:
        """A client for `keystead://NAME/DB?option=value` or `keystead:///absolute/path?db=DB`."""
        return cls(**{**kwargs, **client_options(url)})

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Executes a command in the engine and returns the parsed response."""
        if self.connection is not None:
            return super().execute_command(*args, **options)
        return self._execute(*args, **options)
