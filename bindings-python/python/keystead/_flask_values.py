"""What views return as JSON text, and back.

Dicts, lists and other JSON values are their own JSON, readable by any client. Responses and tuples are JSON objects with the one
field `__keystead__`.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["dump", "json_loads", "load"]

json_loads: Callable[[bytes | str], Any] = json.loads
try:
    import orjson
except ImportError:
    pass
else:
    json_loads = orjson.loads

_MARK = "__keystead__"
_PREFIX = b'{"__keystead__":'
#: Set anew for each answer, or not true of a copy.
_DROPPED = frozenset({"content-length", "date", "connection", "transfer-encoding", "server"})


def dump(result: Any) -> bytes | None:
    """JSON of a result; None for a response that must not be kept.

    Raises TypeError or ValueError if it is no JSON.
    """
    if isinstance(result, dict) and _MARK in result:
        raise ValueError(f"a dict with the key {_MARK!r} can't be kept")
    if _is_response(result):
        response = _dump_response(result)
        return None if response is None else _marked({"response": response})
    if isinstance(result, tuple):
        if not _is_success(result):
            return None
        parts = [_dump_part(part) for part in result]
        return None if None in parts else _marked({"tuple": parts})
    return json.dumps(result, separators=(",", ":"), allow_nan=False).encode()


def load(value: bytes | str) -> Any:
    """The result again."""
    if isinstance(value, str):
        value = value.encode()
    if not value.startswith(_PREFIX):
        return json_loads(value)
    found = json_loads(value)[_MARK]
    if "response" in found:
        return _load_response(found["response"])
    return tuple([_load_part(part) for part in found["tuple"]])


def _marked(content: dict[str, Any]) -> bytes:
    return json.dumps({_MARK: content}, separators=(",", ":"), allow_nan=False).encode()


def _is_response(result: Any) -> bool:
    return hasattr(result, "direct_passthrough") and hasattr(result, "get_data")


def _is_success(result: tuple[Any, ...]) -> bool:
    """A view's `(body, status)` or `(body, status, headers)` with an error status is none; any other function's tuple is data."""
    flask = sys.modules.get("flask")
    if flask is None or not flask.has_request_context():
        return True
    status = result[1] if len(result) in (2, 3) else None
    return not (isinstance(status, int) and not isinstance(status, bool) and 400 <= status < 600)


def _dump_response(response: Any) -> dict[str, Any] | None:
    if response.status_code >= 400 or response.direct_passthrough or response.is_streamed:
        return None
    headers = [(name, value) for name, value in response.headers.items() if name.lower() not in _DROPPED]
    if any(name.lower() == "set-cookie" for name, _ in headers):
        return None
    body = base64.b64encode(response.get_data()).decode()
    return {"status": response.status, "headers": headers, "body": body}


def _load_response(found: dict[str, Any]) -> Any:
    from flask import Response, current_app

    kind = current_app.response_class if current_app else Response
    headers = [tuple(pair) for pair in found["headers"]]
    return kind(base64.b64decode(found["body"]), status=found["status"], headers=headers)


def _dump_part(part: Any) -> dict[str, Any] | None:
    if _is_response(part):
        response = _dump_response(part)
        return None if response is None else {"response": response}
    return {"json": part}


def _load_part(part: dict[str, Any]) -> Any:
    return _load_response(part["response"]) if "response" in part else part["json"]
