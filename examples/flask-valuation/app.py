"""The valuation service: three slow endpoints over a database, cached by one decorator each, with no server beside.

It is the application of the Flask caching guide, asked of flights instead of houses: an area is a destination airport, a property
type a model of aircraft, and the valuation tells the delay to expect from comparable flights. `/api/areas/EWR` stands where the guide
has `/api/areas/buy`.
"""

from __future__ import annotations

import hmac
import logging
import os
import statistics
import threading
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, Response, abort, jsonify, request
from flights import connect

import keystead.flask
from keystead import Store
from keystead.exceptions import ConnectionError as FolderError
from keystead.flask import blueprint, cache_result, warm

__all__ = ["SEARCHES", "TOKEN", "create_app"]

logger = logging.getLogger("valuation")

#: New York's airports: what one can search in.
SEARCHES = ("EWR", "JFK", "LGA")
TOKEN = os.getenv("VALUATION_TOKEN", "demo")
AREAS = """
SELECT dest AS code, airports.name, COUNT(*) AS flights, ROUND(AVG(arr_delay), 1) AS delay, MIN(distance) AS distance
FROM flights LEFT JOIN airports ON airports.faa = dest WHERE origin = ? GROUP BY dest ORDER BY flights DESC
"""
TYPES = """
SELECT manufacturer, model, MAX(seats) AS seats, COUNT(*) AS flights, ROUND(AVG(arr_delay), 1) AS delay
FROM flights JOIN planes USING (tailnum) WHERE origin = ? GROUP BY manufacturer, model ORDER BY flights DESC
"""
COMPARABLES = """
SELECT arr_delay FROM flights
WHERE origin = ? AND dest = ? AND arr_delay IS NOT NULL AND ABS(month - ?) IN (0, 1, 11) AND ABS(hour - ?) <= 2
"""
_local = threading.local()


def _query(sql: str, *values: Any) -> list[dict[str, Any]]:
    if not hasattr(_local, "connection"):
        _local.connection = connect()
    return [dict(row) for row in _local.connection.execute(sql, values)]


def login_required(view: Callable[..., Any]) -> Callable[..., Any]:
    """Lets only requests with the token pass."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), f"Bearer {TOKEN}"):
            abort(401)
        return view(*args, **kwargs)

    return guarded


def _wanted() -> dict[str, Any]:
    """The question of a valuation, checked and brought into one form: what differs in nothing else shares its answer."""
    body = request.get_json(silent=True) or {}
    try:
        wanted = {
            "origin": str(body["origin"]).upper(),
            "dest": str(body["dest"]).upper(),
            "month": int(body["month"]),
            "hour": int(body["hour"]),
        }
    except (KeyError, TypeError, ValueError):
        abort(400, "origin, dest, month and hour are needed")
    return wanted


@cache_result(timeout=3600, key_prefix="areas:")
def get_areas(search_type: str) -> list[dict[str, Any]]:
    """Destinations with their number of flights and mean delay."""
    return _query(AREAS, search_type)


@cache_result(timeout=3600, key_prefix="prop_types:")
def get_property_types(search_type: str) -> list[dict[str, Any]]:
    """Models of aircraft with their number of flights and mean delay."""
    return _query(TYPES, search_type)


@cache_result(timeout=300, key_prefix="valuation:", vary=_wanted)
def get_valuation() -> Response | tuple[Response, int]:
    """The delay to expect: quartiles over comparable flights of the season and the time of day."""
    wanted = _wanted()
    found = [row["arr_delay"] for row in _query(COMPARABLES, *wanted.values())]
    if len(found) < 2:
        return jsonify(error="no comparable flights"), 404
    low, middle, high = statistics.quantiles(found, n=4)
    late = sum(delay > 15 for delay in found) / len(found)
    return jsonify(**wanted, comparables=len(found), low=low, median=middle, high=high, late=round(late, 3))


def keep(folder: str) -> Store | None:
    """Has the results of `cache_result` outlive the process, in this folder; what is in it already is there at once.

    Where caching is switched off, or a server is the cache, nothing changes. One process at a time has a folder: another one, or one
    that finds it damaged, goes on with a cache in memory.
    """
    if keystead.flask.stats().get("backend") != "keystead":
        return None
    try:
        store = Store(path=folder)
    except FolderError as error:
        logger.warning("nothing is kept: %s", error)
        return None
    keystead.flask.configure(store)
    return store


def create_app(warm_up: bool = True, folder: str | None = None) -> Flask:
    """The application, its areas and types computed beforehand, unless they are in the folder, `VALUATION_CACHE` if none is given."""
    app = Flask(__name__)
    folder = folder or os.getenv("VALUATION_CACHE")
    kept = keep(folder) if folder else None

    @app.get("/api/areas/<search_type>")
    @login_required
    def areas(search_type: str) -> list[dict[str, Any]]:
        return get_areas(_known(search_type))

    @app.get("/api/property-types/<search_type>")
    @login_required
    def property_types(search_type: str) -> list[dict[str, Any]]:
        return get_property_types(_known(search_type))

    app.add_url_rule("/api/property/valuation", "valuation", login_required(get_valuation), methods=["POST"])
    app.register_blueprint(blueprint(guard=login_required))
    if warm_up:
        calls = [(function, search) for function in (get_areas, get_property_types) for search in SEARCHES]
        warm([call for call in calls if kept is None or call[0].cache_key(call[1]) not in kept])
    return app


def _known(search_type: str) -> str:
    if search_type not in SEARCHES:
        abort(404)
    return search_type
