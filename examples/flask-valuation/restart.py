"""The service's second start: how long until the first answer comes out of the cache, with what the first start kept, and without.

Each start is a process of its own, `python restart.py QUESTIONS`: it answers, tells of its first hit and of its last answer, and stays until
its standard input ends.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from app import create_app
from load import Question, ask, questions

import keystead.flask

__all__ = ["Start", "restarts"]

#: Questions to the first start, at most as many to a later one, and later starts of each sort.
FIRST, LATER, STARTS = 2000, 50, 3


class Start:
    """A start of the service, with this folder to keep its cache in, or none."""

    def __init__(self, folder: Path | None, asked: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "VALUATION_CACHE"}
        if folder is not None:
            environment["VALUATION_CACHE"] = str(folder)
        self._begun = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(asked)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def told(self, what: str) -> dict[str, Any]:
        """Waits until it tells that; with the milliseconds since its process began."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, _, rest = line.partition(" ")
            if word == what:
                return {**json.loads(rest), "ms": (time.perf_counter() - self._begun) * 1000}
        raise SystemExit(f"the service ended without {what}: {self._process.wait()}")

    def __enter__(self) -> Start:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        # Its standard input ends, and so does it.
        self._process.communicate()


def restarts() -> dict[str, Any]:
    """The first start fills the folder and ends; the later ones have it or don't. Medians of what they took to the first hit."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "valuation.ks"
        with Start(folder, _written(Path(scratch) / "first.json", questions(FIRST, seed=3))) as first:
            kept = first.told("ANSWERED")["keys"]
        asked = _written(Path(scratch) / "later.json", questions(LATER, seed=4))
        found, times = [], {True: [], False: []}
        for with_folder in (True, False) * STARTS:
            with Start(folder if with_folder else None, asked) as later:
                hit = later.told("HIT")
                times[with_folder].append(hit["ms"])
                if with_folder:
                    found.append(hit["keys"])
    if min(found) < kept:
        raise SystemExit(f"{kept} keys were kept, {min(found)} were found")
    return {
        "ended": "exit",
        "keys": kept,
        "keys_found": found[0],
        "first_hit_ms": round(statistics.median(times[True]), 1),
        "first_hit_without_ms": round(statistics.median(times[False]), 1),
    }


def _written(path: Path, asked: list[Question]) -> Path:
    path.write_text(json.dumps(asked), encoding="utf-8")
    return path


def _tell(what: str, **fields: Any) -> None:
    print(what, json.dumps(fields), flush=True)


def serve(asked: list[Question]) -> None:
    """Answers, and tells of the first hit and of the last answer."""
    client = create_app().test_client()
    hit = False
    for question in asked:
        ask(client, question)
        if not hit and keystead.flask.stats()["hits"] > 0:
            hit = True
            _tell("HIT", keys=keystead.flask.stats()["keys"])
    _tell("ANSWERED", keys=keystead.flask.stats()["keys"])
    sys.stdin.read()


if __name__ == "__main__":
    serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
