"""`Store`: bytes of one database, with the names of Valkey's commands. The methods are native."""

from __future__ import annotations

from typing import Any

from keystead import _keystead
from keystead._engine import open_engine
from keystead._keystead import Engine

__all__ = ["Store"]


@_keystead.own_methods
class Store(_keystead.Store):
    """Keys and values as bytes, for those who need no types and all the speed.

    Values may be given as str, bytes, int or float; they come back as bytes.
    """

    engine: Engine

    def __new__(
        cls,
        name: str | Engine | None = None,
        *,
        db: int = 0,
        maxmemory: int | str | None = None,
        config: dict[str, Any] | None = None,
    ) -> Store:
        engine = open_engine(name, maxmemory=maxmemory, config=config)
        self = super().__new__(cls, engine, db)
        self.engine = engine
        return self
