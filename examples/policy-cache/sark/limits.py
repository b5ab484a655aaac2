"""Limits by user, address and API key: a counter for each window of time, counted by a script."""

from __future__ import annotations

import time

from redis import Redis

#: Counts a request unless the limit is reached. The first of a window sets when the counter goes.
#:
#: The guide's script sets the time anew with each request under a key without a window, so the counter of who never pauses never ends, and a limit per minute
#: becomes one for as long as somebody works.
SCRIPT = """
local count = tonumber(redis.call('GET', KEYS[1]) or '0')
if count >= tonumber(ARGV[1]) then
    return 0
end
if redis.call('INCR', KEYS[1]) == 1 then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return 1
"""

#: Whom a limit is about.
KINDS = ("user", "ip", "apikey")


class Limits:
    """The limits of one place."""

    def __init__(self, client: Redis) -> None:
        # It calls EVALSHA, and loads the script again where a server has begun anew and knows none.
        self.count = client.register_script(SCRIPT)
        client.script_load(SCRIPT)

    def allows(
        self, kind: str, who: str, limit: int = 1000, window: int = 60, now: float | None = None
    ) -> bool:
        """Counts a request of somebody; whether it may pass. `window` in seconds.

        Raises:
            ValueError: there is no such kind.
        """
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is none of {', '.join(KINDS)}")
        key = f"ratelimit:{kind}:{who}:{int((time.time() if now is None else now) // window)}"
        return bool(self.count(keys=[key], args=[limit, window]))
