"""Codecs: what they keep, whatever else is installed."""

import pytest

#: Printed by a process with orjson and by one without.
CONTRACT = """
    import enum, sys, uuid, datetime, dataclasses, decimal, collections, math
    if {without}:
        sys.modules["orjson"] = None
    import keystead
    from keystead import _codecs
    assert (_codecs.orjson is None) == {without}

    E = enum.Enum("E", "A")
    I = enum.IntEnum("I", "A")
    D = dataclasses.make_dataclass("D", ["x"])
    class S(str): pass
    class L(list): pass
    own = []
    own.append(own)
    deep = None
    for _ in range(300):
        deep = [deep]
    values = [
        {{"price": float("nan")}}, [float("inf")], [[-math.inf]], {{"id": uuid.UUID(int=5)}}, [E.A], [I.A], D(1), [D(1)],
        [datetime.date(2020, 1, 1)], [decimal.Decimal(1)], {{1: 2, None: 3, True: 4, 1.5: 5}}, {{(1, 2): 3}}, [S("s"), L([1])],
        [2**63], [2**64], [-(2**64)], [2**200], (1, (2, 3)), ["\\ud800"], ["\\x00", "\\u2028", "ß"], own, deep, [b"x"], [1e16, -0.0, 5e-324],
        collections.OrderedDict(a=1), {{1, 2}}, [None, True], {{"null": None}}, {{"a": [1, {{"b": float("nan")}}]}}, object(),
    ]
    cache, store = keystead.Cache(), None
    for value in values:
        try:
            cache.set("k", value)
        except Exception as error:
            print("refused", type(error).__name__)
        else:
            print(repr(cache.get("k")), keystead.Store(cache.engine).get("k")[:20] if value != [1e16, -0.0, 5e-324] else "")
"""


def test_the_contract_of_json_is_one_with_orjson_and_without(run):
    pytest.importorskip("orjson")
    with_it, without = (run(CONTRACT.format(without=without)).splitlines() for without in (False, True))
    for one, other in zip(with_it, without, strict=True):
        assert one == other
    assert sum(line.startswith("refused") for line in with_it) >= 12


@pytest.mark.parametrize("without", [False, True])
def test_what_other_languages_write_is_read(run, without):
    """Halves of surrogate pairs, and numbers beyond every float."""
    if not without:
        pytest.importorskip("orjson")
    code = f"""
        import sys
        if {without}:
            sys.modules["orjson"] = None
        import keystead
        cache = keystead.Cache()
        store = keystead.Store(cache.engine)
        for text in ('["\\\\ud800"]', '[1e400]', '{{"a":1}}', '[18446744073709551615]'):
            store.set("k", b"\\xfc" + text.encode())
            print(ascii(cache.get("k")))
        store.set("k", b"\\xfc[")
        try:
            cache.get("k")
        except ValueError:
            print("refused")
    """
    assert run(code).split() == ["['\\ud800']", "[inf]", "{'a':", "1}", "[18446744073709551615]", "refused"]
