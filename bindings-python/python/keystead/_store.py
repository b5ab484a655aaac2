"""`Store`: bytes of one database, with the names of Valkey's commands. The methods are native."""

from __future__ import annotations

from typing import Any

from keystead import _keystead
from keystead._engine import Path, open_engine
from keystead._keystead import Engine

__all__ = ["Store"]


@_keystead.own_methods
class Store(_keystead.Store):
    """Keys and values as bytes, for those who need no types and all the speed.

    Values may be given as str, bytes, int or float; they come back as bytes.

    `name`, `path`, `maxmemory` and `config` are those of `keystead.Cache`, but a store that is full refuses writes.
    """

    engine: Engine
    _owns_engine: bool

    def __new__(
        cls,
        name: str | Engine | None = None,
        *,
        path: Path | None = None,
        db: int | None = None,
        maxmemory: int | str | None = None,
        config: dict[str, Any] | None = None,
    ) -> Store:
        engine = open_engine(name, path=path, maxmemory=maxmemory, config=config)
        self = super().__new__(cls, engine, engine._default_db if db is None else db)
        self.engine = engine
        self._owns_engine = engine is not name
        return self

    def close(self) -> None:
        """Gives up the engine if this store has opened it; see `keystead.Engine.close`."""
        if self._owns_engine:
            self.engine.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
