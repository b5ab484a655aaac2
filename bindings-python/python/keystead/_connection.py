"""What valkey-py and redis-py take for a connection, with a session of the engine in place of the socket.

Both libraries funnel pipelines, WATCH and everything else through a connection class; these mixins make one out of theirs. They
override how words are packed, sent and read, and leave everything else, from HELLO to retries, as it is.
"""

from __future__ import annotations

import asyncio
from typing import Any

from keystead._engine import open_engine
from keystead._keystead import Engine, Link, pack
from keystead._waiting import arrival

__all__ = ["AsyncConnectionMixin", "ConnectionMixin", "LinkParser", "session_setup"]

#: Arguments of the libraries' classes that speak of sockets, which there are none of.
SOCKET_ARGUMENTS = frozenset(
    {
        "host",
        "port",
        "path",
        "socket_keepalive",
        "socket_keepalive_options",
        "socket_type",
        "unix_socket_path",
    }
)


class LinkParser:
    """Stands in for the libraries' RESP parsers: replies come decoded."""

    def __init__(self, socket_read_size: int = 0) -> None:
        self._link: Link | None = None
        self._text = False

    def attach(self, link: Link, text: bool) -> None:
        """Reads from this link from now on."""
        self._link, self._text = link, text

    def on_disconnect(self) -> None:
        """Ends the session."""
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def can_read(self, timeout: float | None = 0) -> bool:
        """Whether a reply or a message waits, or comes within so many seconds; None: some time."""
        return self._link is not None and self._link.can_read(timeout)

    def read(self, disable_decoding: bool) -> Any:
        """The next reply."""
        if self._link is None:
            raise ConnectionError("not connected")
        return self._link.read(self._text and not disable_decoding)


class _Packer:
    """Words stay words: the engine takes them as they are."""

    def __init__(self, data_error: type[Exception]) -> None:
        self._data_error = data_error

    def pack(self, *words: Any) -> list[tuple[bytes, ...]]:
        return [pack(words, self._data_error)]


class _Socket:
    """The few socket methods that the libraries call."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.sendall = link.sendall

    def shutdown(self, how: int) -> None:
        """Nothing to shut down."""

    def close(self) -> None:
        """Ends the session."""
        self.link.close()

    def settimeout(self, seconds: float | None) -> None:
        """Commands take as long as they take."""


class ConnectionMixin:
    """For a library's synchronous AbstractConnection; see `keystead.valkey.Connection`."""

    #: Set by the subclasses: the library's error parser, its DataError, its parser class made of `LinkParser`.
    make_error: Any
    data_error: type[Exception]
    link_parser: Any

    def __init__(self, *, engine: Engine | str | None = None, **kwargs: Any) -> None:
        self.engine = open_engine(engine)
        kwargs = {name: value for name, value in kwargs.items() if name not in SOCKET_ARGUMENTS}
        kwargs["parser_class"] = self.link_parser
        kwargs["command_packer"] = _Packer(self.data_error)
        super().__init__(**kwargs)

    def _connect(self) -> _Socket:
        return _Socket(Link(self.engine, type(self).make_error))

    def forget_session(self) -> None:
        """Begins with another session at the next command."""
        self.disconnect()  # type: ignore[attr-defined]

    def pack_commands(self, commands: Any) -> list[tuple[bytes, ...]]:
        return [pack(tuple(words), self.data_error) for words in commands]

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("engine", self.engine), ("db", self.db)]  # type: ignore[attr-defined]

    def _host_error(self) -> str:
        return "the engine in this process"


class AsyncConnectionMixin:
    """For a library's asynchronous AbstractConnection. The engine answers at once, but for commands that have to wait."""

    make_error: Any
    data_error: type[Exception]
    link_parser: Any

    def __init__(self, *, engine: Engine | str | None = None, **kwargs: Any) -> None:
        self.engine = open_engine(engine)
        kwargs = {name: value for name, value in kwargs.items() if name not in SOCKET_ARGUMENTS}
        kwargs["parser_class"] = self.link_parser
        super().__init__(**kwargs)
        self._link: Link | None = None

    @property
    def is_connected(self) -> bool:
        return self._link is not None

    async def _connect(self) -> None:
        self._link = Link(self.engine, type(self).make_error)

    def forget_session(self) -> None:
        """Begins with another session at the next command."""
        self._close()

    def _close(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    async def disconnect(self, nowait: bool = False, **_: Any) -> None:
        self._close()

    def pack_command(self, *words: Any) -> list[tuple[bytes, ...]]:
        return [pack(words, self.data_error)]

    def pack_commands(self, commands: Any) -> list[tuple[bytes, ...]]:
        return [pack(tuple(words), self.data_error) for words in commands]

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        if self._link is None:
            await self.connect()  # type: ignore[attr-defined]
        assert self._link is not None
        for words in command:
            self._link.sendall(words)

    async def can_read(self, timeout: float = 0) -> bool:
        return self._link is not None and self._link.can_read()

    async def can_read_destructive(self) -> bool:
        return self._link is not None and self._link.can_read()

    async def read_response(
        self, disable_decoding: bool = False, timeout: float | None = None, **_: Any
    ) -> Any:
        if self._link is None:
            raise ConnectionError("not connected")
        if isinstance(timeout, (int, float)):
            if not await _comes_within(self._link, timeout):
                return None
        elif not self._link.ready():
            await arrival(self._link)
        response = self._link.read(self.encoder.decode_responses and not disable_decoding)  # type: ignore[attr-defined]
        if isinstance(response, Exception):
            raise response
        return response

    def repr_pieces(self) -> list[tuple[str, Any]]:
        return [("engine", self.engine), ("db", self.db)]  # type: ignore[attr-defined]

    def _host_error(self) -> str:
        return "the engine in this process"


async def _comes_within(link: Link, seconds: float) -> bool:
    """Whether there is something to read by then."""
    if link.can_read():
        return True
    if link.ready():
        # Nothing will come.
        await asyncio.sleep(seconds)
        return False
    try:
        await asyncio.wait_for(arrival(link), seconds)
    except asyncio.TimeoutError:
        return False
    return link.can_read()


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
