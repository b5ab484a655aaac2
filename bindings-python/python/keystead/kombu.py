"""kombu's Redis transport, and with it Celery's, on an engine in this process: `Connection("keystead://NAME/DB")` once this module is imported.

`keystead:///absolute/path?db=DB` is the engine that is kept in this folder. Producers and consumers are those of this process: threads, coroutines, and
Celery's pools `solo` and `threads`. Processes of their own, as Celery's prefork has, need a socket: `keystead.Engine.listen` or `keystead serve`, and `redis://`.
"""

from __future__ import annotations

from typing import Any

from keystead._engine import kept_engine
from keystead._extras import needed
from keystead.redis import Connection

with needed("kombu", "celery"):
    from kombu.transport import TRANSPORT_ALIASES, redis

__all__ = ["Channel", "Transport"]


class Channel(redis.Channel):  # type: ignore[misc]
    """A channel whose connections are sessions of an engine."""

    connection_class = Connection

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous)
        del params["host"], params["port"]
        params["engine"] = kept_engine(*self._place())
        return params

    def _place(self) -> tuple[str | None, str | None]:
        """The engine's name or path.

        Raises:
            ValueError: there is neither; then each channel would be alone.
        """
        broker = self.connection.client
        rest = str(broker.virtual_host or "").strip("/")
        if broker.hostname:
            return broker.hostname, None
        if rest and not rest.isdecimal():
            return None, f"/{rest}"
        raise ValueError("a broker in this process is keystead://NAME or keystead:///absolute/path")

    def _prepare_virtual_host(self, vhost: Any) -> int:
        rest = str(vhost or "").strip("/")
        if rest and not rest.isdecimal() and not self.connection.client.hostname:
            # A path; the database stands behind it.
            vhost = self.connection.client.transport_options.get("db", 0)
        return int(super()._prepare_virtual_host(vhost))


class Transport(redis.Transport):  # type: ignore[misc]
    """See the module's text."""

    Channel = Channel
    default_port = None


TRANSPORT_ALIASES["keystead"] = "keystead.kombu:Transport"
