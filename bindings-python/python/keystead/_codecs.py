"""Codecs: how lists, dicts and other objects become bytes and come back.

The stored format, tag bytes included, is described in one place for all languages: `core/src/cache/codec.rs`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

from keystead._keystead import is_plain_json
from keystead.exceptions import DataError

__all__ = ["Codec", "codec_of"]

JSON, MESSAGE_PACK, PRIVATE = 0xFC, 0xFD, 0xFE
_SIGNATURE = 16

try:
    import orjson
except ImportError:
    orjson = None  # type: ignore[assignment]


class Codec(NamedTuple):
    """What the native part needs: the tag to write behind, and functions."""

    tag: int
    dumps: Callable[[Any], bytes]
    loads_json: Callable[[bytes], Any]
    loads: Callable[[int, bytes], Any]


_encode_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def _dumps_json(value: Any) -> bytes:
    # What is accepted, and what is written, is json's affair whatever is installed: orjson takes more, and NaN for null.
    if is_plain_json(value):
        if orjson is None:
            return _encode_json(value).encode()
        try:
            return orjson.dumps(value)
        except TypeError:
            # Halves of surrogate pairs: json says the rest.
            pass
    # orjson would read integers beyond 64 bits as floats: the space, which JSON allows, has them read by json.
    return b" " + _encode_json(value).encode()


_loads_json = json.loads if orjson is None else orjson.loads


def _msgpack() -> Any:
    try:
        import msgpack
    except ImportError:
        raise DataError("msgpack is not installed: pip install 'keystead[msgpack]'") from None
    return msgpack


def _load_other(tag: int, payload: bytes, secret: bytes | None) -> Any:
    if tag == JSON:
        return json.loads(payload)
    if tag == MESSAGE_PACK:
        return _msgpack().unpackb(payload, strict_map_key=False)
    if secret is None:
        raise DataError("the value is private to a language (a pickle, perhaps), and this cache reads none")
    signature, pickled = payload[:_SIGNATURE], payload[_SIGNATURE:]
    if not hmac.compare_digest(signature, _sign(pickled, secret)):
        raise DataError("the value's signature is wrong: it was written with another secret, or changed")
    return pickle.loads(pickled)


def _sign(payload: bytes, secret: bytes) -> bytes:
    return hashlib.blake2b(payload, key=secret, digest_size=_SIGNATURE).digest()


def codec_of(name: str, secret: bytes | str | None = None) -> Codec:
    """The codec of this name: `json`, `msgpack`, or `pickle`, which needs a secret of 16 to 64 bytes.

    Whatever a cache writes with, it reads JSON and MessagePack; pickles only those with a valid signature, and only where asked for.
    """
    if isinstance(secret, str):
        secret = secret.encode()
    if name == "json":
        tag, dumps = JSON, _dumps_json
    elif name == "msgpack":
        pack = _msgpack().packb
        tag, dumps = MESSAGE_PACK, pack
    elif name == "pickle":
        if secret is None or not 16 <= len(secret) <= 64:
            raise ValueError("codec='pickle' needs secret=, 16 to 64 bytes that only your programs know")
        key = secret

        def dumps(value: Any) -> bytes:
            pickled = pickle.dumps(value, protocol=5)
            return _sign(pickled, key) + pickled

        tag = PRIVATE
    else:
        raise ValueError(f"unknown codec {name!r}; there are 'json', 'msgpack' and 'pickle'")
    if name != "pickle" and secret is not None:
        raise ValueError("secret= is for codec='pickle'")
    return Codec(tag, dumps, _loads_json, lambda tag, payload: _load_other(tag, payload, secret))
