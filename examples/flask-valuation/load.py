"""The load: who asks what, and how often.

Requests go through Flask's test client, so everything but the socket is measured. Which valuations are asked for is drawn from
the flights themselves: busy routes are asked for often, rare ones seldom.
"""

from __future__ import annotations

import random
from typing import Any

from app import SEARCHES, TOKEN
from flights import connect

__all__ = ["HEADERS", "SHARES", "Question", "ask", "questions"]

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
SHARES = {"areas": 0.2, "property types": 0.1, "valuation": 0.7}
#: Kind of a request, its path and its body.
Question = tuple[str, str, "dict[str, Any] | None"]


def questions(count: int, seed: int) -> list[Question]:
    """Kinds of requests with paths and bodies."""
    dice = random.Random(seed)
    connection = connect()
    total = connection.execute("SELECT MAX(rowid) FROM flights").fetchone()[0]
    drawn: list[Question] = []
    for kind in dice.choices(list(SHARES), list(SHARES.values()), k=count):
        if kind == "valuation":
            sql = "SELECT origin, dest, month, hour FROM flights WHERE rowid = ?"
            row = connection.execute(sql, (dice.randint(1, total),)).fetchone()
            # People plan for a season, not for a day of the year: the quarter's middle month, three-hour steps.
            body = {**dict(row), "month": (row["month"] - 1) // 3 * 3 + 2, "hour": row["hour"] // 3 * 3 + 1}
            drawn.append((kind, "/api/property/valuation", body))
        else:
            folder = "areas" if kind == "areas" else "property-types"
            drawn.append((kind, f"/api/{folder}/{dice.choice(SEARCHES)}", None))
    return drawn


def ask(client: Any, question: Question) -> Any:
    """The response to a question; one that is wrong ends the program."""
    kind, path, body = question
    response = (
        client.get(path, headers=HEADERS) if body is None else client.post(path, json=body, headers=HEADERS)
    )
    if response.status_code not in (200, 404) or (response.status_code == 404 and kind != "valuation"):
        raise SystemExit(f"{path}: {response.status_code} {response.text}")
    return response
