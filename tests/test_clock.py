"""Clocks: the machine's, and one that moves when told to."""

import time

import pytest

from workbench.clock import Clock, SystemClock, VirtualClock, utc


def test_the_system_clock_tells_the_machine_s_time():
    before = time.time_ns()
    told = SystemClock().time_ns()
    assert before <= told <= time.time_ns()


def test_the_system_clock_never_goes_back():
    clock = SystemClock()
    told = [clock.monotonic_ns() for _ in range(1000)]
    assert told == sorted(told)


def test_the_system_clock_sleeps_for_nanoseconds(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    SystemClock().sleep_ns(1_500_000_000)
    assert slept == [1.5]


def test_a_virtual_clock_stands_still_until_it_is_moved():
    clock = VirtualClock(start_ns=100)
    assert (clock.time_ns(), clock.monotonic_ns()) == (100, 100)
    clock.advance_ns(50)
    assert (clock.time_ns(), clock.monotonic_ns()) == (150, 150)


def test_sleeping_moves_a_virtual_clock_at_once():
    clock = VirtualClock()
    clock.sleep_ns(3_600_000_000_000)
    assert clock.time_ns() == 3_600_000_000_000


def test_a_virtual_clock_cannot_go_back():
    clock = VirtualClock(start_ns=100)
    with pytest.raises(ValueError, match=r"^a clock cannot advance by -1 ns$"):
        clock.advance_ns(-1)
    assert clock.time_ns() == 100


@pytest.mark.parametrize("clock", [SystemClock(), VirtualClock()], ids=["system", "virtual"])
def test_both_are_clocks(clock: Clock):
    assert {"time_ns", "monotonic_ns", "sleep_ns"} <= set(dir(clock))


@pytest.mark.parametrize(
    ("time_ns", "shown"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (999_999, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
    ],
)
def test_a_moment_is_shown_in_utc_with_milliseconds(time_ns, shown):
    assert utc(time_ns) == shown
