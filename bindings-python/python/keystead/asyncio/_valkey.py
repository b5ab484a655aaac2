"""`keystead.asyncio.Valkey`: valkey-py's asyncio client on the engine in this process."""

from __future__ import annotations

import inspect
from typing import Any

from keystead._connection import AsyncConnectionMixin, engine_of
from keystead._engine import Path, close_async, open_engine
from keystead._extras import needed
from keystead._keystead import Engine
from keystead.valkey import async_pool, client_of, client_options

with needed("valkey", "valkey"):
    import valkey.asyncio

__all__ = ["Valkey"]


class Valkey(valkey.asyncio.Valkey):
    """As `keystead.Valkey`, awaited. A command is executed when it is called; its error is raised where it is awaited."""

    _own_engine: Engine | None = None

    def __init__(
        self,
        name: str | Engine | None = None,
        *,
        path: Path | None = None,
        db: int = 0,
        maxmemory: int | str | None = None,
        config: dict[str, Any] | None = None,
        connection_pool: Any = None,
        single_connection_client: bool = False,
        protocol: int = 2,
        **kwargs: Any,
    ) -> None:
        if connection_pool is None:
            kwargs = {"lib_name": "keystead", "lib_version": None, **kwargs}
            engine = open_engine(name, path=path, maxmemory=maxmemory, config=config, is_awaited=True)
            self._own_engine = engine if engine is not name else None
            connection_pool = async_pool(engine, db=db, protocol=protocol, **kwargs)
        elif not issubclass(connection_pool.connection_class, AsyncConnectionMixin):
            raise ValueError("connection_pool must be one of keystead.asyncio.Valkey's own kind")
        self.engine: Engine = engine_of(connection_pool)
        super().__init__(connection_pool=connection_pool, single_connection_client=single_connection_client)
        self._execute = client_of(self).execute_ready
        self._awaits = False

    @classmethod
    def from_url(cls, url: str, **kwargs: Any) -> Valkey:  # type: ignore[override]
        """A client for `keystead://NAME/DB?option=value` or `keystead:///absolute/path?db=DB`."""
        return cls(**{**kwargs, **client_options(url)})

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Ends the sessions, and gives up the engine if this client has opened it; see `keystead.Engine.close`.

        Raises:
            keystead.exceptions.ResponseError: as `keystead.Cache.close`.
        """
        await super().aclose(close_connection_pool)
        if self._own_engine is not None:
            await close_async(self._own_engine)

    def set_response_callback(self, command: str, callback: Any) -> None:
        """Sets a response callback, which may be a coroutine function."""
        self._awaits = self._awaits or inspect.iscoroutinefunction(callback)
        super().set_response_callback(command, callback)

    def execute_command(self, *args: Any, **options: Any) -> Any:  # type: ignore[override]
        """Executes a command in the engine and returns an awaitable of the parsed response."""
        if self.single_connection_client:
            return super().execute_command(*args, **options)
        response = self._execute(*args, **options)
        return self._await_twice(response) if self._awaits else response

    async def _await_twice(self, response: Any) -> Any:
        found = await response
        return await found if inspect.isawaitable(found) else found
