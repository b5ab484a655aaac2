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
    text = "".join(f"{option} {_quoted(value)}\n" for option, value in options.items())
    return Engine(name, config=text or None)


def _quoted(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'
