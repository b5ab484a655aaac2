"""Sessions: a hash each, found through the tokens that were given out for it."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timezone

from redis import Redis

#: A session lives for seven days, an access token for fifteen minutes.
SESSION_SECONDS, TOKEN_SECONDS = 7 * 24 * 3600, 15 * 60


@dataclass
class Tokens:
    """What the user's browser gets: the session, the access token's id, and the secret that renews it."""

    user: str
    session: str
    jti: str
    refresh: str


def key_of(user: str, session: str) -> str:
    """The hash of a session."""
    return f"session:user:{user}:{session}"


def token_key(jti: str) -> str:
    """The string that says whose an access token is."""
    return f"session:token:{jti}"


def _hashed(refresh: str) -> str:
    return hashlib.sha256(refresh.encode()).hexdigest()


def begin(client: Redis, user: str, ip: str) -> Tokens:
    """A new session. The secret itself is kept nowhere, only its hash."""
    tokens = Tokens(user, secrets.token_hex(8), secrets.token_hex(16), secrets.token_urlsafe(32))
    fields = {
        "access_token_jti": tokens.jti,
        "refresh_token_hash": _hashed(tokens.refresh),
        "ip": ip,
        "created_at": datetime.now(timezone.utc).isoformat(),
    }
    with client.pipeline() as pipe:
        pipe.hset(key_of(user, tokens.session), mapping=fields)
        pipe.expire(key_of(user, tokens.session), SESSION_SECONDS)
        pipe.set(token_key(tokens.jti), f"{user}:{tokens.session}", ex=TOKEN_SECONDS)
        pipe.execute()
    return tokens


def whose(client: Redis, jti: str) -> tuple[str, str] | None:
    """User and session of an access token that is valid: neither expired nor renewed since."""
    found = client.get(token_key(jti))
    if found is None:
        return None
    user, _, session = found.rpartition(":")
    return (user, session) if client.hget(key_of(user, session), "access_token_jti") == jti else None


def renew(client: Redis, tokens: Tokens) -> Tokens | None:
    """A new access token for the secret; the old one ends. `None` if the secret is wrong, or the session over."""
    key = key_of(tokens.user, tokens.session)
    old, hashed = client.hmget(key, "access_token_jti", "refresh_token_hash")
    if hashed is None or not secrets.compare_digest(hashed, _hashed(tokens.refresh)):
        return None
    new = Tokens(tokens.user, tokens.session, secrets.token_hex(16), secrets.token_urlsafe(32))
    with client.pipeline() as pipe:
        pipe.hset(key, mapping={"access_token_jti": new.jti, "refresh_token_hash": _hashed(new.refresh)})
        pipe.expire(key, SESSION_SECONDS)
        pipe.delete(token_key(old))
        pipe.set(token_key(new.jti), f"{new.user}:{new.session}", ex=TOKEN_SECONDS)
        pipe.execute()
    return new


def end(client: Redis, tokens: Tokens) -> bool:
    """Whether there was such a session."""
    return bool(client.delete(key_of(tokens.user, tokens.session), token_key(tokens.jti)) >= 1)
