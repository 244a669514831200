"""A limit on the calls of a function, of each kind that there is."""

import asyncio
import functools
import inspect

import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError, RateLimitedError
from workbench.resilience import MemoryStore, Quota, limit

SECOND = 1_000_000_000


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


class Other:
    """A store that is no MemoryStore."""

    def __init__(self, inner):
        self.inner = inner

    def hit(self, charges):
        return self.inner.hit(charges)

    peek = reset = hit


class Awaited(Other):
    async def hit(self, charges):
        return self.inner.hit(charges)

    peek = reset = hit


def test_a_function_is_called_as_often_as_the_quota_says(store, clock):
    calls = []

    @limit("2/minute", store=store)
    def work(*args, **kwargs):
        """What it does."""
        calls.append((args, kwargs))
        return len(calls)

    assert [work(1, a=2), work()] == [1, 2]
    with pytest.raises(RateLimitedError) as refused:
        work()
    name = "test_a_function_is_called_as_often_as_the_quota_says.<locals>.work"
    assert str(refused.value) == f"quota '2/60s' has no room for this call of {name}; try again in 60 s"
    assert (refused.value.quotas, refused.value.retry_after) == (("2/60s",), 60.0)
    assert calls == [((1,), {"a": 2}), ((), {})]
    clock.advance_ns(60 * SECOND)
    assert work() == 3
    assert (work.__name__, work.__doc__) == ("work", "What it does.")


def test_the_key_is_made_of_the_arguments(store):
    @limit("1/minute", key=lambda user, **_: user, store=store)
    def work(user, *, at=0):
        return user, at

    assert [work("ann", at=1), work("bob")] == [("ann", 1), ("bob", 0)]
    with pytest.raises(RateLimitedError):
        work(user="ann")


def test_a_method_is_limited_by_what_its_object_is(store):
    class Account:
        def __init__(self, name):
            self.name = name

        @limit("1/minute", key=lambda self: self.name, store=store)
        def pay(self):
            return self.name

    assert [Account("ann").pay(), Account("bob").pay()] == ["ann", "bob"]
    with pytest.raises(RateLimitedError):
        Account("ann").pay()


def test_the_cost_may_be_made_of_the_arguments(store):
    @limit("10/minute", cost=len, store=store)
    def send(items):
        return len(items)

    assert send("123456") == 6
    with pytest.raises(RateLimitedError):
        send("12345")
    assert send("1234") == 4
    with pytest.raises(RateLimitedError, match="it costs more than ever fits") as refused:
        send("12345678901")
    assert refused.value.retry_after is None


def test_functions_without_a_key_do_not_share_a_count(store):
    @limit("1/minute", store=store)
    def one():
        return 1

    @limit("1/minute", store=store)
    def two():
        return 2

    assert [one(), two()] == [1, 2]


def test_an_answer_can_take_the_place_of_the_call(store):
    @limit("1/minute", on_limited=lambda decision: f"in {decision.retry_after:g} s", store=store)
    def work():
        return "done"

    assert [work(), work()] == ["done", "in 60 s"]


def test_a_call_can_wait_for_its_turn(store, clock):
    @limit(Quota(limit=1, per=10), on_limited="wait", max_wait=25, store=store)
    def work():
        return clock.monotonic_ns() // SECOND

    assert [work() for _ in range(4)] == [0, 10, 20, 30]


def test_a_call_that_would_wait_too_long_does_not_wait_at_all(store, clock):
    @limit(Quota(limit=1, per=10), on_limited="wait", max_wait=9, store=store)
    def work():
        return "done"

    work()
    with pytest.raises(RateLimitedError, match="try again in 10 s"):
        work()
    assert clock.monotonic_ns() == 0


def test_nobody_waits_for_what_never_fits(store, clock):
    @limit("1/minute", cost=lambda: 2, on_limited="wait", max_wait=1e6, store=store)
    def work():
        return "done"

    with pytest.raises(RateLimitedError, match="it costs more than ever fits"):
        work()


def test_waiting_ends_even_where_the_turn_never_comes():
    class Full:
        def hit(self, charges):
            return [
                type("Refusal", (), {"allowed": False, "retry_after_ns": 0, "refused": ("q",), "retry_after": 0.0})()
            ]

        peek = reset = hit

    @limit("1/minute", on_limited="wait", max_wait=0.001, store=Full())
    def work():
        return "done"

    with pytest.raises(RateLimitedError):
        work()


@pytest.mark.parametrize("kind", [lambda store: store, Other, Awaited], ids=["memory", "other", "awaited"])
def test_a_coroutine_function_is_limited_when_it_is_awaited(kind, store):
    @limit("2/minute", key=lambda user: user, store=kind(store))
    async def work(user):
        await asyncio.sleep(0)
        return user

    async def ask():
        waiting = work("ann")  # nothing is charged for what is never awaited
        waiting.close()
        return await asyncio.gather(*(work("ann") for _ in range(4)), return_exceptions=True)

    assert inspect.iscoroutinefunction(work)
    told = asyncio.run(ask())
    assert told[:2] == ["ann", "ann"]
    assert [type(one) for one in told[2:]] == [RateLimitedError] * 2


def test_an_answer_in_place_of_a_coroutine_may_be_one_itself(store):
    async def later(decision):
        return f"later: {decision.refused}"

    @limit("1/minute", on_limited=later, store=store)
    async def work():
        return "done"

    @limit("1/minute", on_limited=lambda decision: decision.quota, store=store)
    async def other():
        return "done"

    async def ask():
        return [await work(), await work(), await other(), await other()]

    assert asyncio.run(ask()) == ["done", "later: ('1/60s',)", "done", "1/60s"]


def test_a_coroutine_waits_without_stopping_the_loop(store, clock, monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(seconds)
        clock.sleep_ns(round(seconds * SECOND))

    @limit(Quota(limit=1, per=10), on_limited="wait", max_wait=25, store=store)
    async def work():
        return clock.monotonic_ns() // SECOND

    async def ask():
        return [await work() for _ in range(3)]

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert asyncio.run(ask()) == [0, 10, 20]
    assert slept == [10, 10]


def test_a_generator_function_is_charged_when_the_first_item_is_asked_for(store):
    @limit("1/minute", store=store)
    def items():
        got = yield 1
        yield got
        return "end"

    assert inspect.isgeneratorfunction(items)
    first, second = items(), items()
    assert next(second) == 1
    with pytest.raises(RateLimitedError):
        next(first)
    assert second.send("sent") == "sent"
    with pytest.raises(StopIteration) as ended:
        next(second)
    assert ended.value.value == "end"


def test_an_asynchronous_generator_function_is_charged_likewise_and_hears_what_is_sent(store):
    heard = []

    @limit("1/minute", store=store)
    async def items():
        try:
            heard.append((yield 1))
            try:
                yield 2
            except KeyError:
                yield "caught"
        finally:
            heard.append("closed")

    async def ask():
        first, second = items(), items()
        assert await anext(second) == 1
        with pytest.raises(RateLimitedError):
            await anext(first)
        assert await second.asend("sent") == 2
        assert await second.athrow(KeyError()) == "caught"
        await second.aclose()
        assert heard == ["sent", "closed"]  # at once, not when somebody collects it

    assert inspect.isasyncgenfunction(items)
    asyncio.run(ask())


def test_an_asynchronous_generator_comes_to_its_end(store):
    @limit("1/minute", store=store)
    async def items():
        yield 1
        yield 2

    async def ask():
        return [item async for item in items()]

    assert asyncio.run(ask()) == [1, 2]


def test_what_the_function_raises_goes_through_and_stays_charged(store):
    @limit("1/minute", store=store)
    def work():
        raise KeyError("mine")

    with pytest.raises(KeyError):
        work()
    with pytest.raises(RateLimitedError):
        work()


def test_objects_that_are_called_are_limited_as_functions_are(store):
    class Job:
        async def __call__(self):
            return "done"

    work = limit("1/minute", store=Awaited(store))(Job())
    assert asyncio.run(work()) == "done"
    half = limit("1/minute", store=store)(functools.partial(divmod, 7))
    assert half(2) == (3, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cost": -1}, "a cost is a whole number of at least 0, not -1"),
        ({"on_limited": "skip"}, "on_limited is 'raise', 'wait' or a function, not 'skip'"),
        ({"on_limited": "wait"}, "on_limited='wait' needs max_wait"),
        ({"max_wait": 1}, "on_limited='wait' needs max_wait"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        limit("1/minute", **options)


def test_what_cannot_be_limited_is_refused(store):
    with pytest.raises(InputError, match="a limit is for functions"):
        limit("1/minute")(classmethod(lambda cls: None))
    with pytest.raises(InputError, match="Awaited must be awaited"):
        limit("1/minute", store=Awaited(store))(lambda: None)
    with pytest.raises(InputError, match="makes items one by one"):

        @limit("1/minute", on_limited=lambda decision: None)
        def items():
            yield 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cost": 6}, "quota '5/60s': a cost of 6 never fits; at most 5 do"),
        ({"key": "user"}, "key is a function of the arguments of the call, not 'user'"),
        ({"on_limited": "wait", "max_wait": -1}, "max_wait is a positive number of seconds below a billion, not -1"),
        ({"on_limited": "wait", "max_wait": "3"}, "max_wait is a positive number of seconds below a billion, not '3'"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_once(options, said):
    with pytest.raises(InputError) as caught:
        limit("5/minute", **options)
    assert str(caught.value) == said
