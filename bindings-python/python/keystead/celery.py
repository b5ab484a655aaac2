"""Celery on an engine in this process: `import keystead.celery`, then `Celery("app", broker="keystead://NAME/0", backend="keystead://NAME/1")`.

For the pools `solo` and `threads`; prefork's processes need a socket (see `keystead.kombu`).
"""

from __future__ import annotations

from typing import Any

import keystead.kombu  # noqa: F401
from keystead._engine import kept_engine
from keystead._extras import needed
from keystead._urls import url_options
from keystead.redis import Connection

with needed("celery", "celery"):
    from celery.app.backends import BACKEND_ALIASES
    from celery.backends.redis import RedisBackend
    from redis.connection import URL_QUERY_ARGUMENT_PARSERS

__all__ = ["Backend"]


class Backend(RedisBackend):  # type: ignore[misc]
    """Celery's Redis result backend, whose connections are sessions of an engine."""

    def _params_from_url(self, url: str, defaults: dict[str, Any]) -> dict[str, Any]:
        options = url_options(url, URL_QUERY_ARGUMENT_PARSERS)
        name, path = options.pop("engine"), options.pop("path", None)
        if name is None and path is None:
            raise ValueError(
                "a result backend in this process is keystead://NAME or keystead:///absolute/path"
            )
        params = {name: value for name, value in defaults.items() if name not in ("host", "port")}
        return {**params, **options, "engine": kept_engine(name, path), "connection_class": Connection}


BACKEND_ALIASES["keystead"] = "keystead.celery:Backend"
