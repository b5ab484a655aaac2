"""What workers are given to do: plain functions that any process can import."""

import os
import signal
import time
from pathlib import Path


def add(a, b):
    return a + b


def total(numbers):
    return sum(numbers)


def fail():
    raise ValueError("as asked")


def note(path, text):
    """Appends a line, which one write does whole."""
    with open(path, "a") as file:
        file.write(f"{text}\n")
    return text


def lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def flaky(path, times):
    """Fails so many times, then says how often it was tried."""
    note(path, "tried")
    if len(lines(path)) <= times:
        raise ValueError("not yet")
    return len(lines(path))


def die_once(path):
    """Takes its process along the first time."""
    note(path, "begun")
    if len(lines(path)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def hold(path):
    """Says that it runs, and for which process, and goes on for ever the first time."""
    note(path, os.getpid())
    while len(lines(path)) == 1:
        time.sleep(0.01)
    return "done"
