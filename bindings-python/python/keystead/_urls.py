"""URLs that name an engine: `keystead://NAME/DB?option=value`, `keystead:///absolute/path?db=DB`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

__all__ = ["url_options"]


def _boolean(text: str) -> bool:
    return text.lower() in ("1", "true", "yes", "y")


#: Options that the libraries' own tables leave out.
_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "decode_responses": _boolean,
    "single_connection_client": _boolean,
    "db": int,
    "protocol": int,
    "max_connections": int,
}


def url_options(url: str, parsers: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a URL stands for; without a name the engine is private.

    `keystead:///absolute/path?db=DB` is the engine that is kept in this folder, and so is `keystead://?path=relative/path`. A single
    number behind the third slash is a database. `keystead://user:password@NAME` are a user's. `parsers` say of what type a library's options are.

    Raises:
        ValueError: it is no such URL, or an option has no such value.
    """
    parts = urlsplit(url)
    if parts.scheme != "keystead":
        raise ValueError("an embedded engine's URL begins with keystead://")
    user, _, name = parts.netloc.rpartition("@")
    options: dict[str, Any] = {"engine": unquote(name) or None}
    for option, text in zip(("username", "password"), user.split(":", 1), strict=False):
        if text:
            options[option] = unquote(text)
    rest = parts.path.strip("/")
    if rest.isdecimal():
        options["db"] = int(rest)
    elif rest and name:
        raise ValueError("behind a name comes the number of a database; a path comes behind three slashes")
    elif rest:
        options["path"] = unquote(parts.path)
    for option, text in parse_qsl(parts.query):
        parse = _PARSERS.get(option) or parsers.get(option)
        try:
            options[option] = text if parse is None else parse(text)
        except (TypeError, ValueError):
            raise ValueError(f"Invalid value for '{option}' in connection URL.") from None
    return options
