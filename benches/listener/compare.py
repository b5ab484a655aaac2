"""Keystead's listener beside a real valkey-server, driven by redis-benchmark in turn: one JSON object per line, as the other benches print.

What a row costs is time on the wall per request, with the client on the same machine. Both servers run with their defaults and without persistence;
keys and values are redis-benchmark's. Ratios are made within a round: ours, theirs, ours, theirs.
"""

import argparse
import csv
import io
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IDLE = 10_000
"""Connections whose memory is told."""

COMMANDS = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,lrange,mset"


class Server:
    """A server of our own on a free port and a Unix socket."""

    def __init__(self, command: list[str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="keystead-listener-")
        self.path = str(Path(self.folder.name) / "socket")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", self.path, "--save", ""]
        options += ["--dir", self.folder.name, "--maxclients", str(IDLE + 100)]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(2000):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"{command[0]} does not answer")

    def resident(self) -> int:
        """Bytes of it in memory."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def end(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def benchmark(program: str, server: Server, unix: bool, words: list[str]) -> dict[str, dict[str, float]]:
    """The figures of one run, by test."""
    where = ["-s", server.path] if unix else ["-p", str(server.port)]
    run = subprocess.run([program, "--csv", *where, *words], capture_output=True, text=True, check=True)
    lines = [line for line in run.stdout.splitlines() if line.startswith('"')]
    rows = csv.DictReader(io.StringIO("\n".join(lines)))
    return {row.pop("test"): {name: float(figure) for name, figure in row.items()} for row in rows}


def show(case: str, peer: str, pairs: list[tuple[float, float]], goal: float | None) -> None:
    """The row of a case, of nanoseconds by round: ours and theirs."""
    ratios = sorted(theirs / ours for ours, theirs in pairs)
    row = {
        "face": "listener",
        "case": case,
        "ours_ns": round(statistics.median(ours for ours, _ in pairs), 1),
        "peer": peer,
        "peer_ns": round(statistics.median(theirs for _, theirs in pairs), 1),
        "ratio": round(statistics.median(ratios), 3),
        "low": round(ratios[0], 3),
        "high": round(ratios[-1], 3),
        "goal_ns": None,
        "goal_ratio": goal,
    }
    print(json.dumps(row), flush=True)


def idle(server: Server) -> float:
    """Bytes that the server grows by for each idle connection."""
    before = server.resident()
    crowd = []
    for _ in range(IDLE):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"PING\r\n")
        crowd.append(connection)
    for connection in crowd:
        if connection.recv(16) != b"+PONG\r\n":
            raise RuntimeError("a connection was refused")
    # Buffers that are given back after a while are so by then.
    time.sleep(5)
    grown = (server.resident() - before) / IDLE
    for connection in crowd:
        connection.close()
    return grown


def main() -> None:
    """Measures all, or what `--only` names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ours", required=True, help="the keystead program")
    parser.add_argument("--theirs", required=True, help="valkey-server")
    parser.add_argument("--benchmark", required=True, help="redis-benchmark or valkey-benchmark")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="cases whose name has this")
    options = parser.parse_args()
    version = subprocess.run([options.theirs, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\S+)", version)
    peer = f"Valkey {found[1] if found else 'of unknown version'}"
    ours, theirs = Server([options.ours, "serve"]), Server([options.theirs])
    keys = ["-r", "100000"]
    many = ["-c", "50", *keys]
    cases: list[tuple[str, bool, list[str], float, bool]] = []
    for unix in (False, True):
        by = "Unix" if unix else "TCP"
        cases.append((f"50 clients, {by}", unix, [*many, "-n", "200000", "-t", "set,get"], 1.0, True))
        cases.append(
            (
                f"50 clients, pipeline of 16, {by}",
                unix,
                [*many, "-n", "1000000", "-P", "16", "-t", "set,get"],
                1.3,
                False,
            )
        )
    cases.append(("one client, TCP", False, ["-c", "1", *keys, "-n", "50000", "-t", "set,get"], 1.0, False))
    cases.append(
        ("50 clients, pipeline of 16", False, [*many, "-n", "200000", "-P", "16", "-t", COMMANDS], 1.0, False)
    )
    script = "local n = redis.call('incr', KEYS[1]) return n"
    cases.append(
        ("EVAL, 50 clients, TCP", False, ["-c", "50", "-n", "100000", "eval", script, "1", "k"], 1.0, False)
    )
    try:
        for name, unix, words, goal, tells_p99 in cases:
            if options.only not in name:
                continue
            rounds: dict[str, list[tuple[dict[str, float], dict[str, float]]]] = {}
            for _ in range(options.rounds):
                own = benchmark(options.benchmark, ours, unix, words)
                other = benchmark(options.benchmark, theirs, unix, words)
                for test in own.keys() & other.keys():
                    rounds.setdefault(test, []).append((own[test], other[test]))
            for test, pairs in sorted(rounds.items()):
                label = name if name.startswith("EVAL") else f"{test}, {name}"
                show(label, peer, [(1e9 / a["rps"], 1e9 / b["rps"]) for a, b in pairs], goal)
                if tells_p99:
                    p99 = [(a["p99_latency_ms"] * 1e6, b["p99_latency_ms"] * 1e6) for a, b in pairs]
                    show(f"{label}: p99", peer, p99, 1.0)
    finally:
        ours.end()
        theirs.end()
    if options.only in "idle":
        own, other = (Server(command) for command in ([options.ours, "serve"], [options.theirs]))
        try:
            case = f"memory of an idle connection, of {IDLE}"
            own_bytes, other_bytes = idle(own), idle(other)
            print(
                json.dumps(
                    {"case": case, "unit": "bytes", "ours": round(own_bytes), "goal": round(other_bytes)}
                )
            )
            print(json.dumps({"case": case, "peer": peer, "theirs": round(other_bytes)}), flush=True)
        finally:
            own.end()
            other.end()


if __name__ == "__main__":
    sys.exit(main())
