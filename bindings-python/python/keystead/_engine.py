"""How names and options become an engine; shared by all faces."""

from __future__ import annotations

from typing import Any

from keystead._keystead import Engine

__all__ = ["open_engine"]


def open_engine(
    name: str | Engine | None = None,
    *,
    maxmemory: int | str | None = None,
    config: dict[str, Any] | None = None,
    is_cache: bool = False,
) -> Engine:
    """The engine of this name in this process, a private one without a name, or the engine given.

    Options count only for whoever opens a name first.
    """
    if isinstance(name, Engine):
        if maxmemory is not None or config:
            raise ValueError("options are chosen where the engine is opened")
        return name
    options = dict(config or {})
    if maxmemory is not None:
        options["maxmemory"] = maxmemory
    named = [(str(option), _text(value)) for option, value in options.items()]
    return Engine(name, options=named, is_cache=is_cache)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (bytes, bytearray)):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return " ".join(map(_text, value))
    return str(value)
