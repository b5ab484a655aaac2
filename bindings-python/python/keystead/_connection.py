"""What valkey-py and redis-py take for a connection, with a session of the engine in place of the socket.

Both libraries funnel pipelines, WATCH and everything else through a connection class; these mixins make one out of theirs. They
override how words are packed, sent and read, and leave everything else, from HELLO to retries, as it is.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import warnings
from typing import Any

from keystead._engine import CopyWarning, Path, engine_at, kept_engine, open_engine
from keystead._keystead import Engine, Link, pack
from keystead._urls import url_options
from keystead._waiting import arrival

__all__ = ["AsyncConnectionMixin", "ConnectionMixin", "LinkParser", "PoolMixin", "engine_of", "session_setup"]

#: Arguments of the libraries' classes that speak of sockets, which there are none of.
SOCKET_ARGUMENTS = frozenset(
    {
        "host",
        "port",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_type",
        "unix_socket_path",
    }
)

#: What a push is in RESP3 that tells of keys which were read and have changed.
_INVALIDATE = (b"invalidate", "invalidate")


class LinkParser:
    """Stands in for the libraries' RESP parsers: replies come decoded."""

    def __init__(self, socket_read_size: int = 0) -> None:
        self._link: Link | None = None
        self._text = False
        self._has_pushes = False
        self._timeout: float | None = None
        self.pubsub_push_handler_func: Any = None
        self.invalidation_push_handler_func: Any = None

    def attach(self, link: Link, text: bool, has_pushes: bool, timeout: float | None) -> None:
        """Reads from this link from now on. In RESP3 there are pushes; `timeout` holds where a read gives none."""
        self._link, self._text, self._has_pushes, self._timeout = link, text, has_pushes, timeout

    def on_disconnect(self) -> None:
        """Ends the session."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def can_read(self, timeout: float | None = 0) -> bool:
        """Whether a reply or a message waits, or comes within so many seconds; None: some time."""
        return self._link is not None and self._link.can_read(timeout)

    def read(self, disable_decoding: bool, push_request: bool = False, **wait: Any) -> Any:
        """The next reply, or, if that is asked for, the next push. `timeout`: seconds; None: for ever."""
        if self._link is None:
            raise ConnectionError("not connected")
        text = self._text and not disable_decoding
        timeout = self._timeout
        if wait:
            given = wait.get("timeout")
            # Where the libraries give their mark for "not given" it is no number.
            if given is None or isinstance(given, (int, float)):
                timeout = given
        if self._has_pushes:
            return self._link.read(text, self.handle_push, push_request, timeout)
        return self._link.read(text, None, False, timeout)

    def handle_push(self, message: list[Any]) -> Any:
        """Hands a push to whom it is for."""
        if message[0] in _INVALIDATE:
            return self.invalidation_push_handler_func and self.invalidation_push_handler_func(message)
        return self.pubsub_push_handler_func(message) if self.pubsub_push_handler_func else message

    def set_pubsub_push_handler(self, handler: Any) -> None:
        """Has messages of channels go there."""
        self.pubsub_push_handler_func = handler

    def set_invalidation_push_handler(self, handler: Any) -> None:
        """Has keys that were read and have changed be told there."""
        self.invalidation_push_handler_func = handler


class _Packer:
    """Words stay words: the engine takes them as they are."""

    def __init__(self, data_error: type[Exception]) -> None:
        self._data_error = data_error

    def pack(self, *words: Any) -> list[tuple[bytes, ...]]:
        return [pack(words, self._data_error)]


class _Socket:
    """The few socket methods that the libraries, and event loops beside them, call."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.sendall = link.sendall
        self.fileno = link.fileno

    def shutdown(self, how: int) -> None:
        """Nothing to shut down."""

    def close(self) -> None:
        """Ends the session."""
        self.link.close()

    def settimeout(self, seconds: float | None) -> None:
        """How long a read waits is said with each."""


def _engine_for(engine: Engine | str | None, path: Path | None, kwargs: dict[str, Any]) -> Engine:
    """The engine that a connection's arguments name."""
    if engine is None and path is None:
        return engine_at(kwargs.get("host"), kwargs.get("port"))
    return open_engine(engine, path=path)


def engine_of(pool: Any) -> Engine:
    """The engine whose sessions a pool's connections are."""
    if isinstance(pool, PoolMixin):
        return pool.engine
    kwargs = pool.connection_kwargs
    return _engine_for(kwargs.get("engine"), kwargs.get("path"), kwargs)


class _Session:
    """What both kinds of connections share."""

    #: Set by the subclasses: the library's error parser, its ConnectionError and DataError, its parser class made of `LinkParser`.
    make_error: Any
    connection_error: type[Exception]
    data_error: type[Exception]
    link_parser: Any

    engine: Engine

    @classmethod
    def error_of(cls, text: str) -> Exception:
        """The library's exception for an error. Those that are about the connection, such as a wrong password, are raised where they are read."""
        error: Exception = cls.make_error(text)
        if isinstance(error, cls.connection_error):
            raise error
        return error

    def _adopt(
        self, engine: Engine | str | None, path: Path | None, kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Finds the engine, and returns the arguments that are the library's."""
        self.engine = _engine_for(engine, path, kwargs)
        #: Only a limit that somebody chose: the libraries' own is a guess at networks.
        self._timeout: float | None = kwargs.get("socket_timeout")
        kwargs = {name: value for name, value in kwargs.items() if name not in SOCKET_ARGUMENTS}
        kwargs["parser_class"] = self.link_parser
        return kwargs

    def _open_link(self) -> Link:
        if self.engine._is_copy:
            warnings.warn(
                "this process was forked from the one that opened the engine and works on a copy, which nobody else sees: serve the engine with "
                "keystead.Engine.listen and have workers connect to that",
                CopyWarning,
                stacklevel=2,
            )
        return Link(self.engine, self.error_of)

    def pack_commands(self, commands: Any) -> list[tuple[bytes, ...]]:
        return [pack(tuple(words), self.data_error) for words in commands]

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("engine", self.engine), ("db", self.db)]  # type: ignore[attr-defined]

    def _host_error(self) -> str:
        return "the engine in this process"


class ConnectionMixin(_Session):
    """For a library's synchronous AbstractConnection; see `keystead.valkey.Connection`."""

    def __init__(
        self, *, engine: Engine | str | None = None, path: Path | None = None, **kwargs: Any
    ) -> None:
        kwargs = self._adopt(engine, path, kwargs)
        kwargs["command_packer"] = _Packer(self.data_error)
        super().__init__(**kwargs)

    def _connect(self) -> _Socket:
        return _Socket(self._open_link())

    def forget_session(self) -> None:
        """Begins with another session at the next command."""
        self.disconnect()  # type: ignore[attr-defined]

    def attach_to(self, parser: LinkParser) -> None:
        """Has a parser read from this connection."""
        has_pushes = self.protocol in (3, "3")  # type: ignore[attr-defined]
        text = self.encoder.decode_responses  # type: ignore[attr-defined]
        parser.attach(self._sock.link, text, has_pushes, self._timeout)  # type: ignore[attr-defined]


class _Push(list[Any]):
    """A push, among what `Link.read` gives."""


class AsyncConnectionMixin(_Session):
    """For a library's asynchronous AbstractConnection. The engine answers at once, but for commands that have to wait."""

    def __init__(
        self, *, engine: Engine | str | None = None, path: Path | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**self._adopt(engine, path, kwargs))
        self._link: Link | None = None
        self._push_type = _Push if self.protocol in (3, "3") else None  # type: ignore[attr-defined]

    @property
    def is_connected(self) -> bool:
        return self._link is not None

    async def _connect(self) -> None:
        self._link = self._open_link()

    def forget_session(self) -> None:
        """Begins with another session at the next command."""
        self._close()

    def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    async def disconnect(self, nowait: bool = False, **details: Any) -> None:
        self._close()
        # What the library keeps of a session ends with it.
        await super().disconnect(nowait=True)  # type: ignore[misc]

    def pack_command(self, *words: Any) -> list[tuple[bytes, ...]]:
        return [pack(words, self.data_error)]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._link is None:
            await self.connect()  # type: ignore[attr-defined]
        elif check_health and self.health_check_interval:  # type: ignore[attr-defined]
            await self.check_health()  # type: ignore[attr-defined]
        assert self._link is not None
        for words in command:
            self._link.sendall(words)

    async def can_read(self, timeout: float = 0) -> bool:
        return self._link is not None and self._link.can_read()

    async def can_read_destructive(self) -> bool:
        return self._link is not None and self._link.can_read()

    async def read_response(
        self,
        disable_decoding: bool = False,
        timeout: float | None = None,
        *,
        disconnect_on_error: bool = True,
        push_request: bool | None = False,
    ) -> Any:
        # Where a caller gives a time, nothing is an outcome; elsewhere it is an error.
        limit = self._timeout if timeout is None else None if timeout == math.inf else timeout
        try:
            response = await self._read(disable_decoding, limit, push_request)
        except asyncio.TimeoutError:
            if timeout is not None:
                return None
            if disconnect_on_error:
                self._close()
            raise self.timeout_error(f"Timeout reading from {self._host_error()}") from None
        except BaseException:
            # Whoever reads next must not be given the reply that was not waited for.
            if disconnect_on_error:
                self._close()
            raise
        if self.health_check_interval:  # type: ignore[attr-defined]
            self.next_health_check = asyncio.get_running_loop().time() + self.health_check_interval  # type: ignore[attr-defined]
        if isinstance(response, Exception):
            raise response
        return response

    #: The library's.
    timeout_error: type[Exception]

    async def _read(self, disable_decoding: bool, limit: float | None, push_request: bool | None) -> Any:
        link, push_type = self._link, self._push_type
        if link is None:
            raise ConnectionError("not connected")
        text = self.encoder.decode_responses and not disable_decoding  # type: ignore[attr-defined]
        until = None if limit is None else asyncio.get_running_loop().time() + limit
        while True:
            if limit is None:
                if not link.ready():
                    await arrival(link)
            elif not link.can_read():
                assert until is not None
                await _arrival_within(link, until - asyncio.get_running_loop().time())
            response = link.read(text, push_type, True)
            if push_type is None or type(response) is not push_type:
                return response
            response = self._parser.handle_push(response)  # type: ignore[attr-defined]
            if inspect.isawaitable(response):
                response = await response
            if push_request:
                return response


async def _arrival_within(link: Link, seconds: float) -> None:
    """Waits until there is something to read, so many seconds at most.

    Raises:
        asyncio.TimeoutError: there is nothing.
    """
    if link.ready():
        # Nothing will come.
        await asyncio.sleep(seconds)
        raise asyncio.TimeoutError
    await asyncio.wait_for(arrival(link), seconds)
    if not link.can_read():
        raise asyncio.TimeoutError


class PoolMixin:
    """For a library's pool: one whose connections are sessions of one engine."""

    #: Set by the subclasses: the class of the connections, the library's readers of options in URLs.
    default_connection: Any
    url_parsers: Any

    engine: Engine

    def __init__(
        self,
        engine: Engine | str | None = None,
        *,
        path: Path | None = None,
        maxmemory: int | str | None = None,
        config: dict[str, Any] | None = None,
        connection_class: Any = None,
        **kwargs: Any,
    ) -> None:
        self.engine = open_engine(engine, path=path, maxmemory=maxmemory, config=config)
        connection_class = connection_class or self.default_connection
        super().__init__(connection_class=connection_class, engine=self.engine, **kwargs)  # type: ignore[call-arg]

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Any:
        """A pool for `keystead://NAME/DB?option=value` or `keystead:///absolute/path?db=DB`. Options of the URL go before arguments.

        The engine that it names stays until the process ends, or somebody closes it: whoever is told a URL makes pools and drops them. One of `keystead://`
        is private to the pool.

        Raises:
            ValueError: it is no such URL, or an option has no such value.
        """
        options = {**kwargs, **url_options(url, cls.url_parsers)}
        name, path = options.pop("engine"), options.pop("path", None)
        if name is not None or path is not None:
            chosen = {option: options.pop(option, None) for option in ("maxmemory", "config")}
            options["engine"] = kept_engine(name, path, **chosen)
        return cls(**options)


def session_setup(kwargs: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The commands with which a connection with these arguments begins, as the libraries send them."""
    setup: list[tuple[Any, ...]] = []
    credentials = kwargs.get("credential_provider")
    user, password = kwargs.get("username"), kwargs.get("password")
    if credentials is not None:
        setup.append(("AUTH", *credentials.get_credentials()))
    elif user or password:
        setup.append(("AUTH", user, password or "") if user else ("AUTH", password))
    if int(kwargs.get("protocol") or 2) == 3:
        setup.append(("HELLO", 3))
    if kwargs.get("client_name"):
        setup.append(("CLIENT", "SETNAME", kwargs["client_name"]))
    for field, name in (("LIB-NAME", "lib_name"), ("LIB-VER", "lib_version")):
        if kwargs.get(name):
            setup.append(("CLIENT", "SETINFO", field, kwargs[name]))
    if kwargs.get("db"):
        setup.append(("SELECT", kwargs["db"]))
    return setup
