"""What outlives a process: the first start ends by itself or is killed, the second one answers from what it left."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("flask")
sys.path.insert(0, str(Path(__file__).parents[1]))

import flights

from keystead import Store

FOLDER = Path(__file__).parents[1]
VALUATION = {"origin": "EWR", "dest": "LAX", "month": 7, "hour": 8}
#: The application in a process of its own: each line of its input is code for it, whose value it tells.
SERVICE = """
import json, sys
from app import create_app, get_areas, get_property_types, get_valuation, keep
import keystead.flask
headers = {"Authorization": "Bearer demo"}
def start(**options):
    global client
    client = create_app(**options).test_client()
def areas(origin):
    return client.get("/api/areas/" + origin, headers=headers).get_json()
def valuation(asked):
    return client.post("/api/property/valuation", json=asked, headers=headers).get_json()
def counts():
    found = [function.cache_info() for function in (get_areas, get_property_types, get_valuation)]
    return [sum(info.hits for info in found), sum(info.misses for info in found)]
for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
"""


class Service:
    """The application in a process of its own."""

    def __init__(self, **variables):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE],
            cwd=FOLDER,
            env={**environment, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, code):
        self.process.stdin.write(code + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def exit(self):
        self.process.communicate()
        assert self.process.returncode == 0

    def kill(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "flights.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(flights.SCHEMA)
    for number in range(200):
        row = (number % 12 + 1, 1, 8, "EWR", ("LAX", "ORD")[number % 2], "UA", "N1", 0, number % 40, 500)
        connection.execute(f"INSERT INTO flights VALUES ({','.join('?' * 10)})", row)
    connection.commit()
    yield connection
    connection.close()


@pytest.fixture
def start(tmp_path, database):
    """Starts the application; what still runs at the end is killed."""
    started = []

    def begin(folder=tmp_path / "cache.ks"):
        variables = {"VALUATION_DB": str(tmp_path / "flights.sqlite"), "VALUATION_CACHE": str(folder or "")}
        started.append(Service(**variables))
        return started[-1]

    yield begin
    for service in started:
        if service.process.poll() is None:
            service.kill()


def change(database):
    """From here on, whatever is computed differs from what was."""
    database.execute("UPDATE flights SET arr_delay = 1000")
    database.commit()


@pytest.mark.parametrize("end", [Service.exit, Service.kill])
def test_the_first_request_of_the_second_start_is_a_hit(start, database, end):
    first = start()
    first.tell("start()")
    valuation, areas = first.tell(f"valuation({VALUATION})"), first.tell("areas('EWR')")
    assert valuation["comparables"] > 1 and areas
    end(first)
    change(database)
    second = start()
    # What was kept is not computed again to warm the cache either.
    second.tell("start()")
    assert second.tell(f"valuation({VALUATION})") == valuation
    assert second.tell("counts()") == [1, 0]
    assert second.tell("areas('EWR')") == areas
    assert second.tell("counts()") == [2, 0]
    assert second.tell("keystead.flask.stats()['keys_by_prefix']") == {
        "areas:": 3,
        "prop_types:": 3,
        "valuation:": 1,
    }


def test_a_start_without_the_folder_computes(start, database):
    first = start()
    first.tell("start()")
    first.tell(f"valuation({VALUATION})")
    first.kill()
    change(database)
    second = start(folder=None)
    second.tell("start()")
    assert second.tell("counts()") == [0, 0]
    assert second.tell(f"valuation({VALUATION})")["median"] == 1000
    assert second.tell("areas('EWR')")[0]["delay"] == 1000


@pytest.mark.parametrize("end", [Service.exit, Service.kill])
def test_what_expired_meanwhile_is_not_served(start, database, tmp_path, end):
    first = start()
    first.tell("start(warm_up=False)")
    first.tell(f"valuation({VALUATION})")
    areas = first.tell("areas('EWR')")
    end(first)
    with Store(path=tmp_path / "cache.ks") as store:
        results = [key for key in store.execute("KEYS", "*") if not key.startswith(b"keystead:")]
        short = [key for key in results if 0 < store.ttl(key) <= 300]
        assert len(results) == 2 and len(short) == 1
        deadline = time.time() * 1000 + 50
        assert store.execute("PEXPIREAT", short[0], int(deadline)) == 1
    while time.time() * 1000 <= deadline:
        time.sleep(0.01)
    change(database)
    second = start()
    second.tell("start(warm_up=False)")
    assert second.tell(f"valuation({VALUATION})")["median"] == 1000
    assert second.tell("areas('EWR')") == areas
    assert second.tell("counts()") == [1, 1]


def test_clearing_lasts(start, database):
    first = start()
    first.tell("start()")
    first.tell(f"valuation({VALUATION})")
    assert first.tell("keystead.flask.clear('valuation:')") == 1
    first.kill()
    change(database)
    second = start()
    second.tell("start()")
    assert second.tell(f"valuation({VALUATION})")["median"] == 1000


def test_who_does_not_get_the_folder_goes_on_in_memory(start):
    first = start()
    first.tell("start()")
    answer = first.tell(f"valuation({VALUATION})")
    beside = start()
    beside.tell("start()")
    assert [beside.tell(f"valuation({VALUATION})") for _ in range(2)] == [answer] * 2
    assert beside.tell("counts()") == [1, 1]
    first.kill()
    # The folder is free again, and nothing of the other one is in it.
    third = start()
    third.tell("start()")
    assert third.tell(f"valuation({VALUATION})") == answer and third.tell("counts()") == [1, 0]


def test_the_off_switch_holds(start, tmp_path):
    service = start()
    service.tell("keystead.flask.configure(enabled=False)")
    service.tell("start()")
    service.tell(f"valuation({VALUATION})")
    assert service.tell("keystead.flask.stats()") == {"enabled": False}
    assert not (tmp_path / "cache.ks").exists()
