"""What an application hears that lacks a package a face needs."""

import subprocess
import sys

import pytest

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
import keystead
import keystead.asyncio
try:
    {use}
except ModuleNotFoundError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("valkey", "keystead.Valkey"),
        ("valkey", "keystead.asyncio.Valkey"),
        ("redis", "import keystead.redis"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(package, use):
    program = [sys.executable, "-c", HIDE.format(package=package, use=use)]
    told = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout
    assert told == f"this needs the package {package}: pip install 'keystead[{package}]'\n"
