"""The example application on a small database: what it answers, what it keeps, what it forgets."""

import sqlite3
import sys
from pathlib import Path

import pytest

pytest.importorskip("flask")
sys.path.insert(0, str(Path(__file__).parents[1]))

import flights

import keystead.flask
from keystead import Store


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A database of 200 flights that the test may change."""
    path = tmp_path / "flights.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(flights.SCHEMA)
    for number in range(200):
        origin, dest = ("EWR", "JFK")[number % 2], ("LAX", "ORD", "BOS")[number % 3]
        row = (number % 12 + 1, 1, 8, origin, dest, "UA", f"N{number % 5}", 0, number % 40, 500)
        connection.execute(f"INSERT INTO flights VALUES ({','.join('?' * 10)})", row)
    connection.executemany(
        "INSERT INTO planes VALUES (?, 'BOEING', ?, 150)", [(f"N{n}", f"737-{n}") for n in range(5)]
    )
    connection.execute("INSERT INTO airports VALUES ('LAX', 'Los Angeles Intl')")
    connection.commit()
    monkeypatch.setenv("VALUATION_DB", str(path))
    monkeypatch.delenv("VALUATION_CACHE", raising=False)
    yield connection
    connection.close()


@pytest.fixture
def client(rows):
    import app

    if hasattr(app._local, "connection"):
        del app._local.connection
    keystead.flask.configure(Store())
    yield app.create_app(warm_up=False).test_client()
    keystead.flask.configure()


def headers(token="demo"):
    return {"Authorization": f"Bearer {token}"}


def test_areas_are_kept(client, rows):
    first = client.get("/api/areas/EWR", headers=headers()).get_json()
    assert sum(area["flights"] for area in first) == 100
    assert {area["code"]: area["name"] for area in first}["LAX"] == "Los Angeles Intl"
    rows.execute("DELETE FROM flights")
    rows.commit()
    assert client.get("/api/areas/EWR", headers=headers()).get_json() == first
    assert client.get("/api/areas/JFK", headers=headers()).get_json() == []
    assert client.delete("/api/admin/cache?prefix=areas:", headers=headers()).get_json() == {"cleared": 2}
    assert client.get("/api/areas/EWR", headers=headers()).get_json() == []


def test_valuations_differ_by_what_is_asked(client, rows):
    ask = {"origin": "ewr", "dest": "LAX", "month": "7", "hour": 8}
    first = client.post("/api/property/valuation", json=ask, headers=headers())
    assert first.status_code == 200 and first.get_json()["origin"] == "EWR"
    rows.execute("UPDATE flights SET arr_delay = 1000")
    rows.commit()
    again = client.post(
        "/api/property/valuation", json={**ask, "origin": "EWR", "month": 7}, headers=headers()
    )
    assert again.get_json() == first.get_json() and again.mimetype == "application/json"
    other = client.post("/api/property/valuation", json={**ask, "dest": "ORD", "month": 5}, headers=headers())
    assert other.get_json()["median"] == 1000


def test_errors_are_answered_and_not_kept(client):
    unknown = {"origin": "EWR", "dest": "XXX", "month": 5, "hour": 8}
    for _ in range(2):
        answer = client.post("/api/property/valuation", json=unknown, headers=headers())
        assert answer.status_code == 404 and answer.get_json() == {"error": "no comparable flights"}
    assert client.post("/api/property/valuation", json={"month": "x"}, headers=headers()).status_code == 400
    assert client.get("/api/areas/XXX", headers=headers()).status_code == 404
    assert keystead.flask.stats()["keys"] == 0


def test_strangers_see_nothing(client):
    for path in ["/api/areas/EWR", "/api/property-types/EWR", "/api/admin/cache/stats"]:
        assert client.get(path).status_code == 401
        assert client.get(path, headers=headers("wrong")).status_code == 401
    assert client.delete("/api/admin/cache?prefix=").status_code == 401


def test_a_warm_start(client):
    import app

    warmed = app.create_app(warm_up=True).test_client()
    found = warmed.get("/api/admin/cache/stats", headers=headers()).get_json()
    assert found["keys_by_prefix"] == {"areas:": 3, "prop_types:": 3}
    before = app.get_property_types.cache_info().hits
    assert warmed.get("/api/property-types/JFK", headers=headers()).get_json()[0]["manufacturer"] == "BOEING"
    assert app.get_property_types.cache_info().hits == before + 1
