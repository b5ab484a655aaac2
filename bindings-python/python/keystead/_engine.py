"""How names and options become an engine; shared by all faces."""

from __future__ import annotations

import asyncio
import os
import warnings
from typing import Any

from keystead._keystead import Engine

__all__ = ["CopyWarning", "Path", "close_async", "engine_at", "kept_engine", "open_engine", "reopen"]


class CopyWarning(RuntimeWarning):
    """A worker has an engine of its own where it was to share one: what it changes nobody else sees."""


#: What names a file or a folder.
Path = str | os.PathLike[str]


def open_engine(
    name: str | Engine | None = None,
    *,
    path: Path | None = None,
    maxmemory: int | str | None = None,
    config: dict[str, Any] | None = None,
    is_cache: bool = False,
    is_awaited: bool = False,
) -> Engine:
    """The engine of this name in this process, the one that is kept in the folder `path`, a private one without either, or the engine given.
    A name such as "valkey://host:6379/0" is the URL of a Valkey that it stands in. `is_awaited`: its calls are made on an event loop.

    Options count only for whoever opens a name or a path first.

    Raises:
        ConnectionError: another process has the folder, which the text names, or what is in it is damaged or can't be read or written.
        ValueError: there are a name and a path, or options for an engine that is open already; or it stands in a Valkey and is awaited, since its calls
            wait for a network and would hold up the loop.
    """
    engine = _open(name, path, maxmemory, config, is_cache)
    if is_awaited and engine._is_remote:
        raise ValueError(
            "an engine in a Valkey elsewhere can't be awaited yet: use the plain face in a thread (asyncio.to_thread)"
        )
    return engine


def _open(
    name: str | Engine | None,
    path: Path | None,
    maxmemory: int | str | None,
    config: dict[str, Any] | None,
    is_cache: bool,
) -> Engine:
    if isinstance(name, Engine):
        if path is not None:
            raise ValueError("give an engine or a path, not both")
        if maxmemory is not None or config:
            raise ValueError("options are chosen where the engine is opened")
        return name
    options = dict(config or {})
    if maxmemory is not None:
        options["maxmemory"] = maxmemory
    named = [(str(option), _text(value)) for option, value in options.items()]
    return Engine(name, path=path, options=named, is_cache=is_cache)


#: Engines of programs that name them in options and hold nothing: their data stay, as a server's, whoever is connected.
_KEPT: dict[tuple[str | None, str | None], Engine] = {}


def kept_engine(name: str | None = None, path: str | None = None, **options: Any) -> Engine:
    """The engine of this name or path, which lives on until the process ends, or somebody closes it. Options are those of `open_engine`."""
    engine = _KEPT.get((name, path))
    if engine is None or engine.closed:
        # Of several threads that come here first, all get the same engine.
        engine = _KEPT[name, path] = open_engine(name, path=path, **options)
    return engine


def engine_at(host: str | None, port: int | str | None) -> Engine:
    """The engine that stands for the server at an address, which is its name: "localhost:6379" without any."""
    return kept_engine(f"{host or 'localhost'}:{port or 6379}")


def reopen(name: str | None, path: Path | None, process: int) -> Engine:
    """What an engine becomes when it is unpickled: the one of its name or path in this process."""
    if name is not None and process != os.getpid():
        warnings.warn(
            f"the engine {name!r} of this process is not that of process {process}: serve that with keystead.Engine.listen and connect to it",
            CopyWarning,
            stacklevel=2,
        )
    return Engine(name, path=path)


async def close_async(engine: Engine) -> None:
    """Closes an engine; what waits for a disk does so in a thread of the loop's executor."""
    if engine._is_kept:
        await asyncio.to_thread(engine.close)
    else:
        engine.close()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (bytes, bytearray)):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return " ".join(map(_text, value))
    return str(value)
