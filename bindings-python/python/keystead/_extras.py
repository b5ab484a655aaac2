"""Packages that only some faces need: what to install where one is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needed(package: str, extra: str) -> Iterator[None]:
    """Imports of a package: if it is missing, the error names the extra that brings it.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != package:
            raise
        message = f"this needs the package {package}: pip install 'keystead[{extra}]'"
        raise ModuleNotFoundError(message, name=error.name) from None
