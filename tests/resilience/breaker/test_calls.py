"""The ways to make a call through a breaker, each with the same outcome."""

import asyncio
import contextlib
import functools
import gc
import inspect

import pytest

from workbench.errors import CircuitOpenError, InputError
from workbench.resilience.breaker import BreakerState, CircuitBreaker

SECOND = 10**9
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def plain(breaker):
    @breaker
    def work(error=None):
        if error is not None:
            raise error
        return "done"

    return work


def call(breaker):
    def work(error=None):
        if error is not None:
            raise error
        return "done"

    return functools.partial(breaker.call, work)


def with_block(breaker):
    def work(error=None):
        with breaker:
            if error is not None:
                raise error
            return "done"

    return work


def generator(breaker):
    @breaker
    def items(error=None):
        yield "d"
        if error is not None:
            raise error
        yield "one"

    return lambda error=None: "".join(items(error))


def coroutine(breaker):
    @breaker
    async def work(error=None):
        await asyncio.sleep(0)
        if error is not None:
            raise error
        return "done"

    return lambda error=None: asyncio.run(work(error))


def acall(breaker):
    async def work(error=None):
        if error is not None:
            raise error
        return "done"

    return lambda error=None: asyncio.run(breaker.acall(work, error))


def async_with(breaker):
    async def work(error):
        async with breaker:
            if error is not None:
                raise error
            return "done"

    return lambda error=None: asyncio.run(work(error))


def async_generator(breaker):
    @breaker
    async def items(error=None):
        yield "d"
        await asyncio.sleep(0)
        if error is not None:
            raise error
        yield "one"

    async def work(error):
        return "".join([item async for item in items(error)])

    return lambda error=None: asyncio.run(work(error))


WAYS = [plain, call, with_block, generator, coroutine, acall, async_with, async_generator]


@pytest.mark.parametrize("way", WAYS)
def test_each_way_of_calling_counts_in_the_same_way(clock, make, way):
    breaker: CircuitBreaker = make(failure_threshold=2)
    work = way(breaker)
    assert work() == "done"
    for error, failures in ((ValueError("no"), 1), (None, 0), (ValueError("no"), 1), (ValueError("no"), 2)):
        if error is None:
            work()
        else:
            with pytest.raises(ValueError, match="no"):
                work(error)
        assert breaker.failures == failures
    assert breaker.state is OPEN
    with pytest.raises(CircuitOpenError):
        work()
    clock.advance_ns(60 * SECOND)
    work()
    assert breaker.state is HALF_OPEN
    work()
    assert breaker.state is CLOSED
    told = breaker.snapshot()
    counts = told["calls"], told["calls_succeeded"], told["calls_failed"], told["calls_rejected"]
    assert counts == (7, 4, 3, 1)


@pytest.mark.parametrize("way", WAYS)
def test_while_it_is_open_nothing_of_the_user_s_runs(make, way):
    breaker = make()
    work = way(breaker)
    breaker.trip()
    for _ in range(3):
        with pytest.raises(CircuitOpenError):
            work(AssertionError("it ran"))


@pytest.mark.parametrize("way", WAYS)
def test_a_failure_on_trial_opens_it_again_whatever_the_way(clock, make, way):
    breaker = make()
    work = way(breaker)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    with pytest.raises(ValueError, match="no"):
        work(ValueError("no"))
    assert breaker.state is OPEN


def during(breaker, way, event):
    """A call, of a kind that begins while nothing is counted, in the middle of which ``event()`` happens."""

    async def work():
        event()

    if way == "plain":
        breaker(event)()
    elif way == "call":
        breaker.call(event)
    elif way == "coroutine":
        asyncio.run(breaker(work)())
    else:
        asyncio.run(breaker.acall(work))


@pytest.mark.parametrize("way", ["plain", "call", "coroutine", "acall"])
def test_a_success_forgets_the_failures_that_came_while_it_ran(make, fail, way):
    breaker = make()
    during(breaker, way, lambda: fail(breaker, times=3))
    assert (breaker.failures, breaker.snapshot()["calls_succeeded"]) == (0, 1)


@pytest.mark.parametrize("way", ["plain", "call", "coroutine", "acall"])
def test_a_success_of_an_older_generation_is_late_though_it_is_closed_again(make, way):
    breaker = make()
    during(breaker, way, breaker.reset)
    told = breaker.snapshot()
    assert (told["calls_late"], told["calls_succeeded"]) == (1, 0)


def test_a_decorated_function_keeps_its_name_its_kind_and_its_place_in_a_class(make):
    breaker = make()

    class Client:
        @breaker
        def ask(self, question: str, *, twice: bool = False) -> str:
            """Docs."""
            return question * (1 + twice)

        @classmethod
        @breaker
        def kind(cls) -> str:
            return cls.__name__

    @breaker
    async def fetch():
        return 1

    @breaker
    def items():
        yield 1

    @breaker
    async def stream():
        yield 1

    assert Client().ask("a", twice=True) == "aa"
    assert Client.kind() == "Client"
    assert (Client.ask.__name__, Client.ask.__doc__) == ("ask", "Docs.")
    assert inspect.iscoroutinefunction(fetch)
    assert inspect.isgeneratorfunction(items)
    assert inspect.isasyncgenfunction(stream)


def test_objects_and_partial_functions_are_guarded_by_their_kind(make):
    class Fetch:
        async def __call__(self):
            raise TimeoutError

    async def fetch(error):
        raise error

    breaker = make(failure_threshold=2)
    for work in (breaker(Fetch()), breaker(functools.partial(fetch, TimeoutError()))):
        with pytest.raises(TimeoutError):
            asyncio.run(work())
    assert breaker.state is OPEN


def test_what_cannot_be_called_is_not_guarded(make):
    with pytest.raises(InputError, match="breaker 'db' guards functions, not <classmethod"):

        class Client:
            @make()
            @classmethod
            def kind(cls):
                return 1


@pytest.mark.parametrize("state", ["closed", "failing"])
def test_an_asynchronous_function_called_without_waiting_is_no_success(make, fail, state):
    async def fetch():
        return 1

    breaker = make()
    if state == "failing":
        fail(breaker)

    def hidden():
        return fetch()

    for call in (lambda: breaker.call(fetch), breaker(hidden)):
        with pytest.raises(InputError, match="was to call an asynchronous function; use acall, or decorate it"):
            call()
    assert breaker.snapshot()["calls_succeeded"] == 0
    assert breaker.failures == (state == "failing")


def test_acall_is_for_what_can_be_awaited(make):
    breaker = make(failure_threshold=1)
    with pytest.raises(InputError, match="acall is for what can be awaited"):
        asyncio.run(breaker.acall(lambda: 1))
    assert breaker.state is CLOSED


def test_acall_awaits_futures_too(make):
    async def work():
        future = asyncio.get_running_loop().create_future()
        future.set_result(7)
        return await make().acall(lambda: future)

    assert asyncio.run(work()) == 7


def test_arguments_called_function_or_self_are_handed_on(make):
    assert make().call(lambda **given: given, function=1, self=2) == {"function": 1, "self": 2}
    assert make()(lambda **given: given)(function=1, self=2) == {"function": 1, "self": 2}


# With blocks


def test_with_blocks_of_several_breakers_may_nest_and_cross(make):
    one, two = make("one", failure_threshold=1), make("two", failure_threshold=1)
    with contextlib.ExitStack() as first, contextlib.ExitStack() as second:
        first.enter_context(one)
        second.enter_context(two)
        first.close()
        with pytest.raises(ValueError, match="no"), two:
            raise ValueError("no")
    assert (one.state, two.state) == (CLOSED, OPEN)
    assert one.snapshot()["calls_succeeded"] == 1
    assert two.snapshot()["calls_late"] == 1


def test_a_block_on_trial_gives_its_own_slot_back(clock, make):
    breaker = make(permits=2, success_threshold=9)
    breaker.trip()
    clock.advance_ns(60 * SECOND)
    with breaker, breaker, pytest.raises(CircuitOpenError), breaker:
        pass
    assert breaker.snapshot()["on_trial"] == 0


def test_tasks_that_share_a_breaker_do_not_take_each_other_s_blocks(clock, make):
    breaker = make(permits=2, success_threshold=2)
    breaker.trip()
    clock.advance_ns(60 * SECOND)

    async def block(mine, other, error):
        async with breaker:
            mine.set()
            await other.wait()
            if error:
                await asyncio.sleep(0)
                raise asyncio.CancelledError

    async def main():
        first, second = asyncio.Event(), asyncio.Event()
        return await asyncio.gather(block(first, second, False), block(second, first, True), return_exceptions=True)

    asyncio.run(main())
    told = breaker.snapshot()
    assert (told["on_trial"], told["successes"], told["calls_ignored"]) == (0, 1, 1)


# Generators


def test_a_generator_is_let_through_when_its_first_item_is_asked_for(make):
    breaker = make()

    @breaker
    def items():
        yield 1

    waiting = items()
    breaker.trip()
    with pytest.raises(CircuitOpenError):
        next(waiting)


def test_a_generator_is_sent_to_thrown_into_and_gives_its_result(make):
    breaker = make(failure_threshold=1)

    @breaker
    def talk():
        try:
            heard = yield "first"
        except KeyError:
            heard = "thrown"
        yield heard
        return "result"

    for speak, heard in ((lambda g: g.send("sent"), "sent"), (lambda g: g.throw(KeyError()), "thrown")):
        talking = talk()
        assert next(talking) == "first"
        assert speak(talking) == heard
        with pytest.raises(StopIteration) as ended:
            next(talking)
        assert ended.value.value == "result"
    assert breaker.snapshot()["calls_succeeded"] == 2


def test_an_asynchronous_generator_is_sent_to_and_thrown_into(make):
    breaker = make(failure_threshold=1)

    @breaker
    async def talk():
        try:
            heard = yield "first"
        except KeyError:
            heard = "thrown"
        yield heard

    async def main():
        for speak, heard in ((lambda g: g.asend("sent"), "sent"), (lambda g: g.athrow(KeyError()), "thrown")):
            talking = talk()
            assert await anext(talking) == "first"
            assert await speak(talking) == heard
            with pytest.raises(StopAsyncIteration):
                await anext(talking)
        talking = talk()
        await anext(talking)
        with pytest.raises(ValueError, match="no"):
            await talking.athrow(ValueError("no"))

    asyncio.run(main())
    assert breaker.snapshot()["calls_succeeded"] == 2
    assert breaker.state is OPEN


@pytest.mark.parametrize("how", ["closed", "collected"])
def test_a_generator_given_up_early_is_ignored_and_frees_its_slot(clock, make, how):
    breaker = make()
    cleaned = []

    @breaker
    def items():
        try:
            yield 1
            yield 2
        finally:
            cleaned.append(True)

    breaker.trip()
    clock.advance_ns(60 * SECOND)
    reading = items()
    next(reading)
    assert breaker.snapshot()["on_trial"] == 1
    if how == "closed":
        reading.close()
    else:
        del reading
        gc.collect()
    told = breaker.snapshot()
    assert (told["on_trial"], told["calls_ignored"], cleaned) == (0, 1, [True])


def test_an_asynchronous_generator_closed_early_is_ignored_and_cleans_up(clock, make):
    breaker = make()
    cleaned = []

    @breaker
    async def items():
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def main():
        async with contextlib.aclosing(items()) as reading:
            async for _ in reading:
                break

    breaker.trip()
    clock.advance_ns(60 * SECOND)
    asyncio.run(main())
    told = breaker.snapshot()
    assert (told["on_trial"], told["calls_ignored"], cleaned) == (0, 1, [True])


def test_a_context_manager_made_of_a_guarded_generator_works(make):
    breaker = make(failure_threshold=1)

    @contextlib.contextmanager
    @breaker
    def connection():
        try:
            yield "connection"
        except KeyError:
            raise ValueError("translated") from None

    with connection() as found:
        assert found == "connection"
    assert breaker.state is CLOSED
    with pytest.raises(ValueError, match="translated"), connection():
        raise KeyError
    assert breaker.state is OPEN


# Cancellation


@pytest.mark.parametrize("way", ["decorated", "acall", "block"])
def test_a_cancelled_task_on_trial_frees_its_slot_and_counts_nothing(clock, make, way):
    breaker = make()

    async def hang(started):
        started.set()
        await asyncio.Event().wait()

    async def block(started):
        async with breaker:
            await hang(started)

    work = {"decorated": breaker(hang), "acall": functools.partial(breaker.acall, hang), "block": block}[way]

    async def main():
        started = asyncio.Event()
        task = asyncio.ensure_future(work(started))
        await started.wait()
        with pytest.raises(CircuitOpenError):
            breaker.acquire()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    breaker.trip()
    clock.advance_ns(60 * SECOND)
    asyncio.run(main())
    assert breaker.state is HALF_OPEN
    breaker.acquire()
