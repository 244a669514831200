"""After failures nobody asks for a while, whatever command it is."""

import json
import threading

import pytest

from workbench.clock import VirtualClock
from workbench.errors import TimestampError
from workbench.evidence.timestamps import Breaker, BreakerState
from workbench.resilience.breaker import Outcome

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


def fail(breaker: Breaker, reason: str = "it answered 503") -> None:
    breaker.record(breaker.acquire(), Outcome.FAILURE, reason)


def succeed(breaker: Breaker) -> None:
    breaker.record(breaker.acquire(), Outcome.SUCCESS)


def test_calls_pass_until_three_have_failed_in_a_row(path, clock):
    breaker = Breaker(path, clock=clock)
    for _ in range(2):
        fail(breaker)
    succeed(breaker)
    for _ in range(3):
        assert shown(breaker) == (BreakerState.CLOSED, 0, "")
        fail(breaker)
    assert shown(breaker) == (BreakerState.OPEN, 900, "it answered 503")
    clock.advance_ns(SECOND // 2)
    with pytest.raises(TimestampError) as caught:
        breaker.acquire()
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
    token = breaker.acquire()
    with pytest.raises(TimestampError, match="for another 60 s"):
        breaker.acquire()
    breaker.record(token, Outcome.SUCCESS)
    assert shown(breaker) == (BreakerState.CLOSED, 0, "")
    breaker.acquire()


def test_a_failure_on_trial_opens_it_again_for_the_whole_pause(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    fail(breaker)
    assert shown(breaker) == (BreakerState.OPEN, 900, "it answered 503")


def test_a_call_on_trial_that_died_does_not_block_for_ever(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    dead = breaker.acquire()
    clock.advance_ns(60 * SECOND)
    breaker.acquire()
    breaker.record(dead, Outcome.SUCCESS)
    assert breaker.state is BreakerState.HALF_OPEN


def test_a_call_on_trial_that_was_broken_off_frees_its_place_at_once(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    breaker.record(breaker.acquire(), Outcome.IGNORE)
    breaker.acquire()


def test_one_invalid_token_opens_it_at_once(path, clock):
    breaker = Breaker(path, clock=clock)
    breaker.acquire()
    breaker.trip("an invalid timestamp")
    assert shown(breaker) == (BreakerState.OPEN, 900, "an invalid timestamp")


def test_what_was_asked_before_it_opened_changes_nothing_any_more(path, clock):
    breaker = Breaker(path, clock=clock)
    early = breaker.acquire()
    breaker.trip("an invalid timestamp")
    breaker.record(early, Outcome.SUCCESS)
    assert breaker.state is BreakerState.OPEN


def test_looking_does_not_take_the_one_call(path, clock):
    breaker = Breaker(path, clock=clock, failures=1, open_for_s=10)
    fail(breaker)
    clock.advance_ns(10 * SECOND)
    assert [breaker.state for _ in range(3)] == [BreakerState.HALF_OPEN] * 3
    breaker.acquire()


def test_it_survives_between_commands(clock, tmp_path):
    path = tmp_path / "breaker.json"
    for _ in range(3):
        fail(Breaker(path, clock=clock))
    assert shown(Breaker(path, clock=clock)) == (BreakerState.OPEN, 900, "it answered 503")
    kept = json.loads(path.read_bytes())
    assert (kept["version"], kept["breaker"]["failures"], kept["breaker"]["opened_ns"]) == (2, 3, START)
    clock.advance_ns(900 * SECOND)
    token = Breaker(path, clock=clock).acquire()
    with pytest.raises(TimestampError, match="for another 60 s"):
        Breaker(path, clock=clock).acquire()
    Breaker(path, clock=clock).record(token, Outcome.SUCCESS)
    assert shown(Breaker(path, clock=clock)) == (BreakerState.CLOSED, 0, "")


def test_a_success_with_nothing_to_forget_writes_nothing(clock, tmp_path):
    path = tmp_path / "breaker.json"
    succeed(Breaker(path, clock=clock))
    assert not path.exists()


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"failures": 2, "opened_ns": None, "probe_ns": None, "reason": "it answered 503"}, ("closed", 0, "")),
        ({"failures": 3, "opened_ns": START - 800 * SECOND, "probe_ns": None, "reason": "x"}, ("open", 100, "x")),
        ({"failures": 3, "opened_ns": START - 900 * SECOND, "probe_ns": None, "reason": "x"}, ("half-open", 0, "x")),
        ({"failures": 3, "opened_ns": 1, "probe_ns": START - SECOND, "reason": "x"}, ("half-open", 59, "x")),
    ],
)
def test_a_file_of_version_1_is_read(clock, tmp_path, fields, found):
    path = tmp_path / "breaker.json"
    path.write_text(json.dumps({"version": 1, **fields}))
    breaker = Breaker(path, clock=clock)
    assert (shown(breaker), breaker.note) == (found, None)
    if found[0] == "closed":
        fail(breaker)
        assert breaker.state is BreakerState.OPEN


def test_a_clock_that_was_set_back_does_not_keep_it_open(path):
    late = VirtualClock(start_ns=START)
    breaker = Breaker(path, clock=late)
    breaker.trip("an invalid timestamp")
    late._now_ns = START - 86_400 * SECOND
    assert breaker.state is BreakerState.HALF_OPEN
    breaker.acquire()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"version": 9}',
        b'{"version": 1}',
        b'{"version": 1, "failures": "x", "opened_ns": null, "probe_ns": null, "reason": ""}',
        b'{"version": 1, "failures": 1, "opened_ns": 1.5, "probe_ns": null, "reason": ""}',
        b'{"version": 1, "failures": 1, "opened_ns": null, "probe_ns": null, "reason": 1}',
        b'{"version": 2}',
        b'{"version": 2, "breaker": {"version": 1}}',
        b"[" * 10**5,
    ],
)
def test_a_damaged_file_counts_as_closed_and_is_noted(clock, tmp_path, content):
    path = tmp_path / "breaker.json"
    path.write_bytes(content)
    breaker = Breaker(path, clock=clock)
    token = breaker.acquire()
    assert shown(breaker) == (BreakerState.CLOSED, 0, "")
    assert (breaker.note or "").startswith("'breaker.json' was damaged and counts as closed (")
    breaker.record(token, Outcome.FAILURE)
    assert json.loads(path.read_bytes())["breaker"]["failures"] == 1


def test_of_many_at_once_one_is_let_through(clock, tmp_path):
    path = tmp_path / "breaker.json"
    Breaker(path, clock=clock).trip("an invalid timestamp")
    clock.advance_ns(900 * SECOND)
    through: list[int] = []

    def ask(number: int) -> None:
        try:
            Breaker(path, clock=clock).acquire()
        except TimestampError:
            return
        through.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(through) == 1
