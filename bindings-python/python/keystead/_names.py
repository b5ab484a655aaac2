"""Under which name a function's results are kept, and whether another function has that name already."""

from __future__ import annotations

import functools
import itertools
import os
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from keystead import _keystead

__all__ = ["claim", "name_of", "number_of"]

_numbers: dict[int, tuple[weakref.ref[Any], int]] = {}
_next = itertools.count(1)
_lock = threading.Lock()

if hasattr(os, "register_at_fork"):
    # Another thread may have held it.
    os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))


def number_of(kind: type) -> int:
    """A number that no other class has had or will have."""
    known = _numbers.get(id(kind))
    if known is not None and known[0]() is kind:
        return known[1]
    with _lock:
        known = _numbers.get(id(kind))
        if known is None or known[0]() is not kind:
            known = (weakref.ref(kind, functools.partial(_forget, id(kind))), next(_next))
            _numbers[id(kind)] = known
        return known[1]


def _forget(address: int, gone: weakref.ref[Any]) -> None:
    known = _numbers.get(address)
    # By now another class may stand there.
    if known is not None and known[0] is gone:
        _numbers.pop(address, None)


def name_of(function: Callable[..., Any]) -> str:
    """The full name of a function; a partial one's tells its arguments."""
    if isinstance(function, functools.partial):
        arguments = _keystead.arguments_key(function.args, function.keywords)
        return f"{name_of(function.func)}({arguments.decode('utf-8', 'surrogateescape')})"
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


class _Names:
    """The names taken in one engine, and the handles of those who took them."""

    def __init__(self) -> None:
        self.handles: weakref.WeakSet[Any] = weakref.WeakSet()
        self.taken: dict[tuple[int, bytes], tuple[Callable[[], Any], Any]] = {}


_engines: dict[int, _Names] = {}


def claim(engine: Any, db: int, head: bytes, function: Callable[..., Any]) -> bool:
    """Takes the name that keys begin with for a function; False if another one has it, whose results would be given for this one's.

    The same function may take it again, and so may its like: one made of the same code with the same values around it, as a module that is loaded
    again makes.
    """
    own = _likeness(function)
    with _lock:
        for number in [number for number, names in _engines.items() if not names.handles]:
            del _engines[number]
        names = _engines.setdefault(engine._number, _Names())
        names.handles.add(engine)
        known = names.taken.get((db, head))
        if known is not None and known[0]() is not function and known[1] != own:
            return False
        names.taken[db, head] = (_reference(function), own)
        return True


def _reference(function: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(function)
    except TypeError:
        return lambda: None


_PLAIN = (str, bytes, int, float, complex, bool, type(None))


def _likeness(value: Any, depth: int = 8) -> Any:
    """What is equal for two values only if they do the same. A value that is like none but itself gives what equals nothing else."""
    if type(value) in _PLAIN:
        return (type(value), repr(value))
    if depth == 0:
        return object()
    if isinstance(value, types.BuiltinFunctionType) and value.__self__ is not None:
        receiver = value.__self__
        receiver = (
            receiver.__name__ if isinstance(receiver, types.ModuleType) else _likeness(receiver, depth - 1)
        )
        return ("builtin", value.__qualname__, receiver)
    if isinstance(value, types.FunctionType):
        around = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).items()]
        cells = tuple(_cell(cell, depth - 1) for cell in value.__closure__ or ())
        return (_code(value.__code__), tuple(_likeness(one, depth - 1) for one in around), cells)
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, frozenset):
        return ("frozenset", frozenset(_likeness(one, depth - 1) for one in value))
    if value is Ellipsis:
        return "..."
    if isinstance(value, tuple):
        return ("tuple", tuple(_likeness(one, depth - 1) for one in value))
    if isinstance(value, types.MethodType):
        return ("method", _likeness(value.__func__, depth - 1), _likeness(value.__self__, depth - 1))
    if isinstance(value, (staticmethod, classmethod)):
        return (type(value), _likeness(value.__func__, depth - 1))
    if isinstance(value, functools.partial):
        parts = (value.func, value.args, tuple(sorted(value.keywords.items())))
        return ("partial", tuple(_likeness(one, depth - 1) for one in parts))
    if isinstance(value, type):
        return (
            "type",
            value.__module__,
            value.__qualname__,
            number_of(value) if "<locals>" in value.__qualname__ else 0,
        )
    if isinstance(value, types.ModuleType):
        return ("module", value.__name__)
    return object()


def _code(code: types.CodeType) -> tuple[Any, ...]:
    """What code does, wherever it stands: a function that an edit above it has moved is the same."""
    names = (code.co_name, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    consts = tuple(_likeness(const) for const in code.co_consts)
    return (code.co_code, getattr(code, "co_exceptiontable", b""), names, counts, consts)


def _cell(cell: Any, depth: int) -> Any:
    try:
        return _likeness(cell.cell_contents, depth)
    except ValueError:
        return "empty"  # A function that will call itself, or a class being made.
