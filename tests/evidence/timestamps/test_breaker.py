"""After failures nobody asks for a while, whatever command it is."""

import json
import threading

import pytest

from workbench.clock import VirtualClock
from workbench.errors import TimestampError
from workbench.evidence.timestamps import Breaker, BreakerState

SECOND = 10**9
START = 1_700_000_000 * SECOND


@pytest.fixture
def clock():
    return VirtualClock(start_ns=START)


@pytest.fixture(params=["file", "memory"])
def path(request, tmp_path):
    return tmp_path / "state" / "breaker.json" if request.param == "file" else None


def shown(breaker: Breaker) -> tuple[BreakerState, int, str]:
    return breaker.state, breaker.remaining_s, breaker.reason


def test_calls_pass_until_three_have_failed_in_a_row(path, clock):
    breaker = Breaker(path, clock=clock)
    for _ in range(2):
        breaker.before()
        breaker.failure()
    breaker.before()
    breaker.success()
    for _ in range(3):
        assert shown(breaker)[:2] == (BreakerState.CLOSED, 0)
        breaker.before()
        breaker.failure("it answered 503")
    assert shown(breaker) == (BreakerState.OPEN, 900, "it answered 503")
    clock.advance_ns(SECOND // 2)
    with pytest.raises(TimestampError) as caught:
        breaker.before()
    assert str(caught.value) == (
        "the timestamp authority is left alone for another 900 s: it answered 503. "
        "What was to be stamped can be stamped later"
    )
    clock.advance_ns(88 * SECOND)
    assert breaker.remaining_s == 812


def test_after_the_pause_one_call_may_pass(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    assert shown(breaker) == (BreakerState.HALF_OPEN, 0, "an invalid timestamp")
    breaker.before()
    with pytest.raises(TimestampError, match="for another 60 s"):
        breaker.before()
    breaker.success()
    assert shown(breaker) == (BreakerState.CLOSED, 0, "")
    breaker.before()


def test_a_failure_on_trial_opens_it_again_for_the_whole_pause(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    breaker.before()
    breaker.failure("it answered 503")
    assert shown(breaker) == (BreakerState.OPEN, 900, "it answered 503")


def test_a_call_on_trial_that_died_does_not_block_for_ever(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    breaker.before()
    clock.advance_ns(60 * SECOND)
    breaker.before()


def test_one_invalid_token_opens_it_at_once(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.before()
    breaker.trip("an invalid timestamp")
    assert shown(breaker) == (BreakerState.OPEN, 900, "an invalid timestamp")


def test_looking_does_not_take_the_one_call(path, clock):
    breaker = Breaker(path, clock=clock, failures=1, open_for_s=10)
    breaker.failure()
    clock.advance_ns(10 * SECOND)
    assert [breaker.state for _ in range(3)] == [BreakerState.HALF_OPEN] * 3
    breaker.before()


def test_it_survives_between_commands(clock, tmp_path):
    path = tmp_path / "breaker.json"
    for _ in range(3):
        Breaker(path, clock=clock).failure()
    assert shown(Breaker(path, clock=clock)) == (BreakerState.OPEN, 900, "it failed 3 times in a row")
    assert json.loads(path.read_bytes()) == {
        "version": 1,
        "failures": 3,
        "opened_ns": START,
        "probe_ns": None,
        "reason": "it failed 3 times in a row",
    }


def test_a_clock_that_was_set_back_does_not_keep_it_open(path):
    Breaker(path, clock=VirtualClock(start_ns=START))
    late = VirtualClock(start_ns=START)
    breaker = Breaker(path, clock=late)
    breaker.trip("an invalid timestamp")
    late._now_ns = START - 86_400 * SECOND
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.before()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"version": 9}',
        b'{"failures": "x"}',
        b'{"unknown": 1}',
        b'{"reason": 1}',
        b"[" * 10**5,
    ],
)
def test_a_damaged_file_counts_as_closed_and_is_noted(clock, tmp_path, content):
    path = tmp_path / "breaker.json"
    path.write_bytes(content)
    breaker = Breaker(path, clock=clock)
    breaker.before()
    assert shown(breaker) == (BreakerState.CLOSED, 0, "")
    assert (breaker.note or "").startswith("'breaker.json' was damaged and counts as closed (")
    breaker.failure()
    assert json.loads(path.read_bytes())["failures"] == 1


def test_of_many_at_once_one_is_let_through(clock, tmp_path):
    path = tmp_path / "breaker.json"
    Breaker(path, clock=clock).trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    through: list[int] = []

    def ask(number: int) -> None:
        try:
            Breaker(path, clock=clock).before()
        except TimestampError:
            return
        through.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(through) == 1
