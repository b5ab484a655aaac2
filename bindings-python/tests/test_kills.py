"""Processes that are killed at random moments, again and again, lose nothing that they had acknowledged. What they do is in `killed.py`.

`KEYSTEAD_KILLS` says how often each kind of process is killed.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import keystead

KILLS = int(os.environ.get("KEYSTEAD_KILLS", "3"))
WRITERS = 3
#: A process that has not written by then never will.
PATIENCE_S = 120


def noted(folder, writer):
    """What a writer noted last."""
    with open(folder / "notes", "rb") as notes:
        notes.seek(writer * 8)
        return int.from_bytes(notes.read(8), "little")


def number(value):
    return int(value["n"] if isinstance(value, dict) else value)


def wait_until_all_write(child, folder, before, what):
    end = time.monotonic() + PATIENCE_S
    while any(noted(folder, writer) == before[writer] for writer in range(WRITERS)):
        if child.poll() is not None or time.monotonic() > end:
            child.kill()
            _, said = child.communicate()
            counts = [noted(folder, writer) for writer in range(WRITERS)]
            pytest.fail(
                f"{what}: not all writers write: {before} before, {counts} now, the process says: {said}"
            )
        time.sleep(0.001)


def kill_one(folder, policy, face, what):
    """Starts a process, kills it, and returns what its writers had noted."""
    before = [noted(folder, writer) for writer in range(WRITERS)]
    words = [sys.executable, str(Path(__file__).with_name("killed.py")), folder, policy, face, str(WRITERS)]
    child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until_all_write(child, folder, before, what)
        time.sleep(random.random() * 0.06)
        assert child.poll() is None, f"{what}: the process has ended by itself: {child.communicate()[1]}"
    finally:
        child.kill()
    _, said = child.communicate()
    assert child.returncode == -signal.SIGKILL, f"{what}: it was not the kill that ended the process: {said}"
    assert "Traceback" not in said, f"{what}: a thread of the process has failed: {said}"


def check(folder, what):
    """Everything that was noted is there, and nothing is that was never written."""
    with keystead.Cache(path=folder / "app.ks") as cache:
        for writer in range(WRITERS):
            last = noted(folder, writer)
            names = ("value", "a", "b", "count")
            found = {name: number(cache.get(f"{name}:{writer}", 0)) for name in names}
            told = f"{what}, writer {writer}: {last} noted, {found} found, {cache.engine.opening_notes}"
            assert all(last <= count <= last + 1 for count in found.values()), told
            assert found["a"] == found["b"], f"one moment is torn: {told}"
            assert found["value"] >= found["a"] >= found["count"], f"order is lost: {told}"
            long = cache.get(f"long:{writer}", "")
            assert long == long[: len(long) // 200_000] * 200_000, f"a long value is torn: {told}"
    copy = folder / "copy.rdb"
    if copy.exists():
        # It was written whole or not at all.
        with keystead.Cache() as other:
            other.restore(copy)


@pytest.mark.parametrize("policy", ["everysec", "always", "no"])
@pytest.mark.parametrize("face", ["cache", "valkey", "asyncio"])
def test_a_killed_process_loses_nothing_that_it_acknowledged(tmp_path, face, policy):
    (tmp_path / "notes").write_bytes(bytes(8 * WRITERS))
    for round in range(KILLS):
        what = f"{face}, appendfsync {policy}, kill {round}"
        kill_one(tmp_path, policy, face, what)
        check(tmp_path, what)
