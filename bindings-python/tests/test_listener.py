"""`Engine.listen`, and the program `keystead` that the wheel installs."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import valkey

import keystead

#: Where the environment of the tests has its programs.
PROGRAM = Path(sys.executable).with_name("keystead")


def test_an_engine_listens(name):
    engine = keystead.Engine(name, options=[("databases", "4")])
    store = keystead.Store(engine)
    with engine.listen("127.0.0.1:0") as listener:
        assert listener.addresses == [listener.address] and listener.address in repr(listener)
        host, port = listener.address.rsplit(":", 1)
        client = valkey.Valkey(host=host, port=int(port))
        store.set("k", "v")
        assert client.get("k") == b"v" and client.set("k", "theirs") and store.get("k") == b"theirs"
        # Those who wait there are woken from here.
        popped = []
        thread = threading.Thread(target=lambda: popped.append(client.blpop("queue", 60)))
        thread.start()
        while b"blocked_clients:1\r\n" not in store.execute("INFO", "clients"):
            threading.Event().wait(0.002)
        assert store.execute("RPUSH", "queue", "job") == 1
        thread.join()
        assert popped == [(b"queue", b"job")]
        with engine.listen("127.0.0.1:0") as other:
            assert other.address != listener.address
            assert valkey.Valkey(port=int(other.address.rsplit(":", 1)[1])).get("k") == b"theirs"
        with pytest.raises(keystead.exceptions.ConnectionError):
            engine.listen(listener.address)
    assert (
        listener.closed
        and listener.addresses == []
        and listener.address is None
        and "closed" in repr(listener)
    )
    listener.close()
    # Who was connected goes on; nobody else is accepted.
    assert client.get("k") == b"theirs"
    with pytest.raises(valkey.ConnectionError):
        valkey.Valkey(host=host, port=int(port)).ping()
    client.close()


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1", "127.0.0.1:port", "127.0.0.1:99999999", "no.such.host.invalid:0"]
)
def test_no_address(address):
    with pytest.raises(keystead.exceptions.KeysteadError):
        keystead.Engine().listen(address)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_program_serves_until_it_is_told_to_end(number, serve, tmp_path):
    with serve("--appendonly", "yes", "--dir", tmp_path) as (port, process):
        client = valkey.Valkey(port=port)
        assert client.set("k", "v") and client.get("k") == b"v"
        client.close()
        process.send_signal(number)
        assert process.wait(60) == 0
    checked = subprocess.run([PROGRAM, "check", str(tmp_path)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    folder, dump = tmp_path / "app.ks", tmp_path / "dump.rdb"
    for words in (["import", tmp_path / "appendonlydir", folder], ["export", folder, "--rdb", dump]):
        done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with keystead.Engine(path=folder) as engine:
        assert keystead.Store(engine).get("k") == b"v"
    assert dump.read_bytes().startswith((b"REDIS", b"VALKEY"))


@pytest.mark.skipif(not PROGRAM.exists(), reason="the package is not installed")
def test_the_program_says_what_is_wrong(tmp_path):
    def run(*words):
        return subprocess.run(
            [PROGRAM, *words], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}
        )

    assert run("check", str(tmp_path / "none")).returncode == 1
    wrong = run("nonsense")
    assert wrong.returncode == 2 and "nonsense" in wrong.stderr
    shown = run("--version")
    assert shown.returncode == 0 and shown.stdout == f"keystead {keystead.__version__}\n"
    assert run("serve", "--port", "x").returncode == 1
