"""`@cache.cached`: keys, hits, and one computation for many waiters, across threads, tasks and event loops.

The file stays whole: it is one list of what a decorated function promises.
"""

import asyncio
import dataclasses
import functools
import gc
import inspect
import threading
import weakref
from array import array
from collections import OrderedDict, deque
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

import keystead
import keystead.asyncio
from keystead import Cache
from keystead._keystead import load_counts

WAITERS = 32


class Pair(NamedTuple):
    first: int
    second: int


def test_a_result_is_computed_once_per_arguments(cache):
    calls = []

    @cache.cached(ttl=60)
    def area(city, kind="all", *, limit=10):
        """Doc."""
        calls.append(city)
        return {"city": city, "kind": kind, "limit": limit}

    spelled = [area("Dubai"), area(city="Dubai"), area("Dubai", "all"), area("Dubai", kind="all", limit=10)]
    assert all(result == spelled[0] for result in spelled)
    assert calls == ["Dubai"]
    assert area("Dubai", limit=11)["limit"] == 11 and len(calls) == 2
    assert area.__name__ == "area" and area.__doc__ == "Doc."
    assert area.cache_key("Dubai") == area.cache_key(city="Dubai", limit=10)
    assert area.cache_key("Dubai").startswith(f"{__name__}.")
    assert 59 < cache.ttl(area.cache_key("Dubai")) <= 60
    for wrong in [
        lambda: area(),
        lambda: area("a", "b", "c"),
        lambda: area("a", city="b"),
        lambda: area("a", no=1),
    ]:
        with pytest.raises(TypeError):
            wrong()


def test_invalidate_refresh_prefix_and_key(cache):
    calls = []

    @cache.cached(ttl=timedelta(minutes=5), prefix="areas:", key=lambda number, *_: number % 10)
    def double(number, unused=None):
        calls.append(number)
        return 2 * number

    assert double(3) == 6 == double(13, object())
    assert double.cache_key(13) == "areas:3"
    assert double.invalidate(23) and not double.invalidate(23)
    assert double(13) == 26 and double.refresh(3) == 6 and double(13) == 6
    assert double.__wrapped__(5) == 10
    assert cache.clear("areas:") == 1


def test_different_arguments_have_different_keys(cache):
    @cache.cached()
    def function(*args, **kwargs):
        return 0

    calls = [
        ((), {}), ((1,), {}), (("1",), {}), ((True,), {}), ((1.0,), {}), ((None,), {}), (("None",), {}), ((b"1",), {}),
        ((1, 2), {}), (((1, 2),), {}), (([1, 2],), {}), (({1, 2},), {}), (({1: 2},), {}), (("1,2",), {}), (('"1","2"',), {}),
        (("1", "2"), {}), ((frozenset({1, 2}),), {}), ((Pair(1, 2),), {}), ((bytearray(b"1"),), {}),
        ((OrderedDict(a=1, b=2),), {}), ((OrderedDict(b=2, a=1),), {}), (({"a": 1, "b": 2},), {}), ((str,), {}), ((int,), {}),
        ((array("i", [1]),), {}), ((array("i", [2]),), {}), ((array("l", [1]),), {}), ((), {"a": 1}), (("a=1",), {}), ((2**70,), {}), (("\\",), {}), (('\\"',), {}),
        ((timedelta(1),), {}), ((str(timedelta(1)),), {}),
    ]  # fmt: skip
    keys = {function.cache_key(*args, **kwargs) for args, kwargs in calls}
    assert len(keys) == len(calls)
    assert function.cache_key(a=1, b=2) == function.cache_key(b=2, a=1)
    assert function.cache_key({"a": 1, "b": 2}) == function.cache_key({"b": 2, "a": 1})
    with pytest.raises(TypeError, match="key="):
        function(object())


def test_none_and_falsy_results_are_kept(cache):
    calls = []

    @cache.cached(ttl=60)
    def nothing(value):
        calls.append(value)
        return {"none": None, "zero": 0, "empty": "", "list": []}[value]

    for value in ("none", "zero", "empty", "list"):
        assert nothing(value) == nothing(value)
    assert len(calls) == 4


def test_methods_and_generators(cache):
    class House:
        def __init__(self, number):
            self.number = number

        def __repr__(self):
            return f"House({self.number})"

        @cache.cached(ttl=5)
        def rooms(self, floor):
            return [self.number, floor]

    assert House(1).rooms(2) == [1, 2] == House(1).rooms(floor=2)
    assert House(2).rooms(2) == [2, 2]
    with pytest.raises(TypeError, match="generator"):
        cache.cached()(lambda: (yield))
    with pytest.raises(ValueError, match="ttl"):
        cache.cached(ttl=0)(len)


def test_one_computation_for_many_threads(cache, until_others_wait):
    calls, gate = [], threading.Barrier(WAITERS)

    @cache.cached(ttl=60)
    def slow(number):
        calls.append(threading.get_ident())
        until_others_wait(WAITERS - 1)
        return {"number": number}

    def ask(_):
        gate.wait()
        return slow(7)

    with ThreadPoolExecutor(WAITERS) as pool:
        results = list(pool.map(ask, range(WAITERS)))
    assert results == [{"number": 7}] * WAITERS and len(calls) == 1


def test_an_exception_reaches_all_threads_and_is_not_kept(cache, until_others_wait):
    calls, gate = [], threading.Barrier(WAITERS)

    @cache.cached(ttl=60)
    def failing():
        calls.append(1)
        until_others_wait(WAITERS - 1 if len(calls) == 1 else 0)
        raise ZeroDivisionError("once for all")

    def ask(_):
        gate.wait()
        with pytest.raises(ZeroDivisionError, match="once for all"):
            failing()

    with ThreadPoolExecutor(WAITERS) as pool:
        list(pool.map(ask, range(WAITERS)))
    assert len(calls) == 1
    with pytest.raises(ZeroDivisionError):
        failing()
    assert len(calls) == 2


async def test_one_computation_for_many_tasks(cache):
    calls = []

    @cache.cached(ttl=60)
    async def slow(number):
        calls.append(number)
        await asyncio.sleep(0.05)
        return [number]

    assert await asyncio.gather(*[slow(1) for _ in range(WAITERS)]) == [[1]] * WAITERS
    assert calls == [1]
    assert await slow(1) == [1] and calls == [1]
    assert await asyncio.create_task(slow(number=1)) == [1]
    assert slow.invalidate(1)
    assert await slow.refresh(1) == [1] and calls == [1, 1]


async def test_an_exception_reaches_all_tasks(cache):
    calls = []

    @cache.cached(ttl=60)
    async def failing():
        calls.append(1)
        await asyncio.sleep(0.05)
        raise KeyError("gone")

    results = await asyncio.gather(*[failing() for _ in range(WAITERS)], return_exceptions=True)
    assert [type(result) for result in results] == [KeyError] * WAITERS and len(calls) == 1


async def test_a_cancelled_leader_hands_over(cache):
    calls = []

    @cache.cached(ttl=60)
    async def slow():
        calls.append(1)
        await asyncio.sleep(100 if len(calls) == 1 else 0)
        return "done"

    leader = asyncio.create_task(slow())
    await asyncio.sleep(0.01)
    waiters = [asyncio.create_task(slow()) for _ in range(5)]
    await asyncio.sleep(0.01)
    leader.cancel()
    assert await asyncio.gather(*waiters) == ["done"] * 5
    assert len(calls) == 2
    with pytest.raises(asyncio.CancelledError):
        await leader


async def test_a_cancelled_waiter_leaves_the_others_alone(cache):
    gate = asyncio.Event()

    @cache.cached(ttl=60)
    async def slow():
        await gate.wait()
        return "done"

    tasks = [asyncio.create_task(slow()) for _ in range(4)]
    await asyncio.sleep(0.01)
    tasks[2].cancel()
    gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [results[index] for index in (0, 1, 3)] == ["done"] * 3
    assert isinstance(results[2], asyncio.CancelledError)


def test_one_computation_for_loops_in_several_threads(cache):
    calls, gate = [], threading.Barrier(4)

    @cache.cached(ttl=60)
    async def slow():
        calls.append(1)
        while load_counts()[1] < 15:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
        return 5

    async def several():
        return await asyncio.gather(*[slow() for _ in range(4)])

    def run(_):
        gate.wait()
        return asyncio.run(several())

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(run, range(4))) == [[5] * 4] * 4
    assert len(calls) == 1


def test_two_caches_of_one_engine_share_a_load(name, until_others_wait):
    calls, caches, gate = [], [Cache(name), Cache(name)], threading.Barrier(2)

    def ask(cache):
        def load():
            calls.append(1)
            until_others_wait(1)
            return "value"

        gate.wait()
        return cache.wrap("key", load, ttl=60)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ask, caches)) == ["value", "value"]
    assert len(calls) == 1


def test_a_computation_may_need_itself(cache):
    @cache.cached(ttl=60)
    def fibonacci(number):
        return number if number < 2 else fibonacci(number - 1) + fibonacci(number - 2)

    assert fibonacci(30) == 832040

    depth = []

    @cache.cached(ttl=60)
    def itself():
        depth.append(1)
        return itself() if len(depth) < 3 else "enough"

    assert itself() == "enough"


def test_wrap(cache):
    assert cache.wrap("key", lambda: None, ttl=5) is None
    assert cache.wrap("key", lambda: 1 / 0) is None
    with pytest.raises(ZeroDivisionError):
        cache.wrap("other", lambda: 1 / 0)
    assert "other" not in cache

    async def load():
        return [1]

    assert asyncio.run(cache.wrap_async("async", load)) == [1] == cache.get("async")


async def test_the_asyncio_cache_decorates_too():
    cache = keystead.asyncio.Cache()
    calls = []

    @cache.cached(ttl=60)
    async def value(number):
        calls.append(number)
        return {"n": number}

    assert await value(1) == {"n": 1} == await value(1)
    assert calls == [1]
    assert await cache.get(value.cache_key(1)) == {"n": 1}
    assert await cache.wrap("w", _load) == "loaded"


async def _load():
    return "loaded"


def test_coroutine_functions_are_known_as_such(cache):
    class Awaited:
        async def __call__(self):
            return 1

        @cache.cached
        async def method(self):
            return 1

    async def function():
        return 1

    for awaited in (function, functools.partial(function), Awaited()):
        cached = cache.cached(awaited)
        assert inspect.iscoroutinefunction(cached) and asyncio.iscoroutinefunction(cached), awaited
    assert inspect.iscoroutinefunction(Awaited().method) and asyncio.iscoroutinefunction(Awaited.method)
    plain = cache.cached(lambda: 1)
    assert not inspect.iscoroutinefunction(plain) and not asyncio.iscoroutinefunction(plain)
    assert inspect.signature(cache.cached(function, prefix="p:")) == inspect.signature(function)


def test_a_decorated_closure_that_calls_itself_is_collected(cache):
    def make():
        @cache.cached()
        def itself(number):
            return number and itself(number - 1)

        assert itself(3) == 0
        return weakref.ref(itself)

    gone = make()
    gc.collect()
    assert gone() is None


def test_without_parentheses_and_around_methods(cache):
    @cache.cached
    def plain(number):
        """Doc."""
        return [number]

    assert plain(1) == plain(1) == [1] and plain.__doc__ == "Doc." and plain.invalidate(1)

    class House:
        @cache.cached
        @staticmethod
        def static(number):
            return number

        @cache.cached(ttl=60)
        @classmethod
        def of_class(cls, number):
            return [cls.__name__, number]

        @classmethod
        @cache.cached
        def below(cls, number):
            return [cls.__name__, number]

    class Cottage(House):
        pass

    assert House.static(1) == House().static(1) == 1
    for kind in (House, Cottage):
        for _ in range(2):
            assert kind.of_class(1) == kind().of_class(1) == kind.below(1) == [kind.__name__, 1]
    for wrong in (None, 5, "f"):
        with pytest.raises(TypeError, match="function"):
            cache.cached()(wrong)
    with pytest.raises(TypeError, match="key"):
        cache.cached(key=5)(len)


def test_partial_functions_and_objects(cache):
    def power(base, exponent, *more):
        return [base, exponent, *more]

    class Adder:
        def __init__(self, by):
            self.by = by

        def __call__(self, number):
            return number + self.by

    square, cube = (cache.cached(functools.partial(power, exponent=exponent)) for exponent in (2, 3))
    first, second = (cache.cached(functools.partial(power, base)) for base in ("1", 1))
    for _ in range(2):
        assert (square(5), cube(5)) == ([5, 2], [5, 3])
        assert (first(5), second(5)) == (["1", 5], [1, 5])
    with pytest.raises(TypeError, match="key="):
        cache.cached(functools.partial(power, object()))
    add = cache.cached(Adder(1))
    assert add(1) == add(1) == 2
    with pytest.raises(ValueError, match="prefix="):
        cache.cached(Adder(2))
    assert cache.cached(Adder(2), prefix="two:") is not None


async def test_awaited_partial_functions_and_objects(cache):
    async def twice(number):
        return [number, number]

    class Awaited:
        async def __call__(self, number):
            return [number]

    for _ in range(2):
        assert await cache.cached(functools.partial(twice, 1))() == [1, 1]
    cached = cache.cached(Awaited())
    assert await cached(1) == await cached(1) == [1]


def test_two_functions_of_one_name_are_refused(cache, name):
    def make(value, **options):
        @cache.cached(**options)
        def inner(number):
            return [value, number]

        return inner

    assert make("one")(1) == make("one")(1) == ["one", 1]
    with pytest.raises(ValueError, match="prefix="):
        make("two")
    with pytest.raises(ValueError, match="prefix="):
        make(SimpleNamespace())
    assert make("two", prefix="two:")(1) == ["two", 1]
    # Those that are gone have left their results.
    cache.cached(lambda: 1)()
    gc.collect()
    with pytest.raises(ValueError, match="prefix="):
        cache.cached(lambda: 2)
    # One name in one engine, whichever cache it is, but in one namespace only.
    caches = [Cache(name), Cache(name), Cache(name, namespace="other"), Cache(name, db=1), Cache()]
    functions = [lambda: 1, lambda: 2]
    caches[0].cached(functions[0])
    caches[1].cached(functions[0])
    with pytest.raises(ValueError, match="prefix="):
        caches[1].cached(functions[1])
    for other in caches[2:]:
        other.cached(functions[1])


def test_a_module_that_is_loaded_again_may_decorate_again(cache):
    source = """
def f(a, b=2, *, c=(1, "x")):
    return [a, [inner() for inner in (lambda: b, lambda: c)], a in {1, 2.0}, ...]
"""
    for lines in range(3):
        module = {"__name__": "again"}
        # An edit above it may have moved it.
        exec("\n" * lines + source, module)
        assert cache.cached(ttl=60)(module["f"]).__wrapped__(1)[0] == 1
    for old, new in [("return [a", "return [b"), ("b=2", "b=2.0"), ('"x"', '"y"'), ("{1, 2.0}", "{1, 2}")]:
        exec(source.replace(old, new), module)
        with pytest.raises(ValueError, match="prefix="):
            cache.cached(module["f"])


def test_arguments_whose_repr_is_an_address_are_refused(cache):
    class Plain:
        def method(self):
            return 1

    @dataclasses.dataclass
    class Query:
        connection: Any

    class Chatty:
        def __repr__(self):
            return f"<Chatty {id(self)}>"

    class Hexadecimal:
        def __repr__(self):
            return f"<Hexadecimal {id(self):X}>"

    class Array:
        def __array__(self):
            return None

        def __repr__(self):
            return "Array([0, 1, ..., 999])"

    @cache.cached
    def function(*args, **kwargs):
        return 0

    refused = [
        Plain(), Plain().method, lambda: 1, test_wrap, Query(Plain()), Query(lambda: 1), Chatty(), Hexadecimal(), Array(), object(),
        deque([Plain()]), functools.partial(Plain().method), (x for x in ()), iter([]), ValueError(Plain()), SimpleNamespace(a=Plain()),
    ]  # fmt: skip
    for argument in refused:
        for args, kwargs in [
            ((argument,), {}),
            (([argument],), {}),
            (({"a": (argument,)},), {}),
            ((), {"a": argument}),
        ]:
            with pytest.raises(TypeError, match="key="):
                function(*args, **kwargs)
    assert function(Query(1)) == function(Query(1)) == 0
    assert function.cache_key(Query(1)) != function.cache_key(Query(2))


def test_classes_of_one_name_are_told_apart(cache):
    def make():
        @dataclasses.dataclass
        class Local:
            number: int

        return Local

    @cache.cached
    def function(value):
        return 0

    one, two = make(), make()
    assert function.cache_key(one(1)) == function.cache_key(one(1)) != function.cache_key(two(1))
    assert function.cache_key(one) != function.cache_key(two)
    keys = {function.cache_key(make()(1)) for _ in range(20)}
    gc.collect()
    assert len(keys | {function.cache_key(make()(1)) for _ in range(20)}) == 40


def test_first_and_later_calls_return_the_same_form(cache):
    @cache.cached
    def results(kind):
        return {
            "tuple": (1, 2),
            "keys": {1: (2,)},
            "nested": [(1,)],
            "text": "x",
            "none": None,
            "number": 5,
            "real": 1.5,
        }[kind]

    for kind in ("tuple", "keys", "nested", "text", "none", "number", "real"):
        first, second = results(kind), results(kind)
        assert first == second and type(first) is type(second), kind
    assert results.refresh("tuple") == [1, 2] == cache.wrap("k", lambda: (1, 2))

    @cache.cached(live=True, prefix="live:")
    def kept(number):
        return (number, {})

    assert kept(1) is kept(1) and kept(1) == [1, {}]
    live = Cache(live=True)
    assert live.wrap("k", lambda: (1,)) is live.get("k")


def test_waiters_get_results_of_their_own(cache, until_others_wait):
    gate = threading.Barrier(4)

    @cache.cached
    def slow():
        until_others_wait(3)
        return {"list": (1,)}

    def ask(_):
        gate.wait()
        return slow()

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(ask, range(4)))
    assert results == [{"list": [1]}] * 4
    assert len({id(result) for result in results}) == 4


def test_arguments_that_hold_themselves_or_are_too_deep_are_refused(run):
    """Also where the stack is small."""
    code = """
        import sys, threading
        from keystead import Cache

        cache = Cache()

        @cache.cached()
        def f(*args, **kwargs):
            return len(args)

        @cache.cached(prefix="one")
        def one(x):
            return 1

        def nested(depth, value=()):
            for _ in range(depth):
                value = [value]
            return value

        own, twice, dict_of_own, key = [], [], {}, {}
        own.append(own), twice.extend([twice, twice]), dict_of_own.update(k=[dict_of_own])
        class Sub(list): pass
        sub = Sub(); sub.append(sub)
        good = []

        def check():
            for call in (f, one):
                for argument in (own, twice, dict_of_own, sub, nested(100), nested(10**5), [own]):
                    try:
                        call(argument)
                    except RecursionError as error:
                        good.append("100 deep" in str(error))
            try:
                f(x=own)
            except RecursionError:
                good.append(True)
            good.append(one(nested(99)) == 1)

        check()
        threading.stack_size(256 * 1024)
        thread = threading.Thread(target=check)
        thread.start(), thread.join()
        print(good.count(True), len(good))
        sys.stdout.flush()
        import os; os._exit(0)  # a list nested so deep is not torn down on a small stack
    """
    assert run(code).split() == ["32", "32"]


def test_values_that_hold_themselves_are_refused(cache):
    own = []
    own.append(own)
    deep = []
    for _ in range(10**4):
        deep = [deep]
    for value in (own, {"a": own}, deep):
        with pytest.raises((ValueError, RecursionError, TypeError)):
            cache.set("k", value)
    assert "k" not in cache
    store = keystead.Store(cache.engine)
    with pytest.raises(keystead.exceptions.DataError):
        store.pipeline([["SET", "k", own]])
    with pytest.raises(keystead.exceptions.DataError):
        store.execute("SET", "k", own)
