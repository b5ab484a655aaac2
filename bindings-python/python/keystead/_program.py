"""The program `keystead` of the wheel: `serve`, `check`, `import`, `export`."""

from __future__ import annotations

import signal
import sys

from keystead import _keystead


def main() -> None:
    """Runs the command line of the process, and ends it."""
    # Python's handler waits for an interpreter that runs, and there is none meanwhile.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(_keystead.main(sys.argv))
