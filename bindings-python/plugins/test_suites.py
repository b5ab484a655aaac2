"""Packages' own tests, as their source packages bring them, on Keystead in process and over the socket.

`expected-failures/SUITE.txt` names the tests that fail, with the reason of each: the list must shrink, never grow. What is run of a suite is the part that
proves most in a minute.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import HERE, PLACES, PROGRAMS

SUITES = Path(os.environ.get("KEYSTEAD_SUITES", HERE.parents[1] / "target" / "suites"))

#: A suite: its package as `suites.txt` pins it, the places, pytest's words, the least number of tests that pass.
RUNS = {
    "cachelib": ("cachelib-0.17.0", PLACES, ["tests/test_redis_cache.py", "-k", "not expiration and not timeout"], 60),
    "dogpile": (
        "dogpile_cache-1.5.0", PLACES,
        ["tests/cache/test_redis_backend.py", "-o", "python_classes=*Test", "-m", "not time_intensive", "-k", "not threaded"], 30,
    ),
    "kombu": (
        "kombu-5.7.0", PLACES[1:],
        ["t/integration/test_redis.py", "t/integration/test_redis_brpop_qos.py", "-o", "addopts=", "-k", "not QueueExpiration"], 60,
    ),
    "rq": (
        "rq-3.0.0", PLACES[1:],
        ["tests/test_queue.py", "tests/test_results.py", "tests/test_scripts.py"], 60,
    ),
}  # fmt: skip


@pytest.fixture
def unpacked(tmp_path):
    """Unpacks the source of a suite."""

    def unpack(package):
        archive = SUITES / f"{package}.tar.gz"
        if not archive.exists() and "KEYSTEAD_SUITES" not in os.environ:
            pytest.skip(f"there is no {archive}")
        with tarfile.open(archive) as files:
            files.extractall(tmp_path, filter="data")
        return tmp_path / package

    return unpack


@pytest.fixture
def environment(request):
    """Variables for a suite that runs at a place."""

    def variables(place):
        port = place if place == "in process" else str(request.getfixturevalue("port"))
        path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
        redirected = {"SUITE_PORT": port, "PYTHONPATH": str(HERE / "redirected")}
        # cachelib starts no server of its own on CI; dogpile and kombu ask where there is one. kombu's tests have proxies, too, which are no connections of
        # redis-py's, so they are told the port itself.
        asked = {
            "CI": "true",
            "DOGPILE_REDIS_PORT": "6379",
            "REDIS_HOST": "127.0.0.1",
            "REDIS_6379_TCP": "6379" if place == "in process" else port,
        }
        return {**os.environ, **redirected, **asked, "PATH": path}

    return variables


def expected(suite, place):
    """Tests that fail there."""
    file = HERE / "expected-failures" / f"{suite}.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    entries = [line.split("\t") for line in lines if line and not line.startswith("#")]
    assert all(len(entry) == 3 and entry[2] for entry in entries), "place, test and reason, with tabs between"
    return {test for where, test, _ in entries if where in (place, "everywhere")}


@pytest.mark.parametrize(
    ("suite", "place"), [(suite, place) for suite, run in RUNS.items() for place in run[1]]
)
def test_suite(suite, place, unpacked, environment, tmp_path):
    package, _, words, least = RUNS[suite]
    report = tmp_path / "report.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:asyncio",
        "-W",
        "ignore",
        f"--junitxml={report}",
        *words,
    ]
    done = subprocess.run(
        command, cwd=unpacked(package), env=environment(place), capture_output=True, text=True
    )
    cases = ET.parse(report).getroot().iter("testcase") if report.exists() else ()
    passed, failed = set(), set()
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(name)
        elif case.find("skipped") is None:
            passed.add(name)
    assert failed - expected(suite, place) == set(), done.stdout[-20_000:]
    # Of what works now the list must be rid.
    assert expected(suite, place) & passed == set()
    assert len(passed) >= least, done.stdout[-20_000:] + done.stderr[-5_000:]


SETTINGS = """
SECRET_KEY = "tests"
USE_TZ = False
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3"}, "other": {"ENGINE": "django.db.backends.sqlite3"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
CACHES = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": LOCATION, "OPTIONS": OPTIONS}}
"""


@pytest.mark.parametrize("place", PLACES)
def test_django(place, unpacked, environment, tmp_path, request):
    source = unpacked("django-5.2.19")
    if place == "in process":
        location, options = "keystead://django/1", {"pool_class": "keystead.redis.Pool"}
    else:
        # A database in the URL would go before those that the tests name in options.
        location, options = f"redis://127.0.0.1:{request.getfixturevalue('port')}", {}
    settings = SETTINGS.replace("LOCATION,", f"{location!r},").replace("OPTIONS}}", f"{options!r}}}}}")
    (tmp_path / "settings_keystead.py").write_text(settings)
    variables = {**environment(place), "PYTHONPATH": str(tmp_path)}
    variables.pop("SUITE_PORT")
    words = ["runtests.py", "--settings=settings_keystead", "--parallel=1", "-v", "2"]
    labels = ["cache.tests.RedisCacheTests", "sessions_tests.tests.CacheSessionTests"]
    done = subprocess.run(
        [sys.executable, *words, *labels], cwd=source / "tests", env=variables, capture_output=True, text=True
    )
    output = done.stdout + done.stderr
    ends = {" ok": set(), " ERROR": set(), " FAIL": set()}
    for line in output.splitlines():
        for end, names in ends.items():
            if (line.startswith("test_") and line.endswith(f"...{end}")) or (
                line.endswith(f"...{end}") and "(" in line
            ):
                names.add(line.split(" ", 1)[0])
    failed = ends[" ERROR"] | ends[" FAIL"]
    assert failed - expected("django", place) == set(), output[-20_000:]
    assert expected("django", place) & ends[" ok"] == set()
    assert len(ends[" ok"]) >= 60, output[-20_000:]
    shutil.rmtree(source)
