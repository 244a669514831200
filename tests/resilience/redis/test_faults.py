"""A Redis that is killed, paused, full, empty again or holds something else: limits go on, marked and counted."""

import contextlib
import logging
import socket
import threading

import pytest

from workbench.clock import VirtualClock
from workbench.resilience.breaker import BreakerState, CircuitBreaker
from workbench.resilience.decision import NEVER
from workbench.resilience.quota import Quota
from workbench.resilience.stores import Charge, RedisStore
from workbench.resilience.stores.degraded import Fallback

LONG = 40_000_000
QUOTA = Quota("q", limit=10, per=LONG, algorithm="exact")
CHARGE = [Charge(QUOTA, "u")]


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store_on(clock):
    """``store_on(server, fail="open")``: a store whose breaker and fallback go by the virtual clock."""
    with contextlib.ExitStack() as stack:

        def open_store(server, **options):
            options = {"timeout": 10, "instances": 4, "clock": clock, **options}
            return stack.enter_context(RedisStore(server.url, **options))

        yield open_store


@pytest.mark.parametrize(
    ("fail", "passed"),
    [("open", [True] * 5), ("closed", [False] * 5), ("local", [True, True, False, False, False])],
)
def test_limits_go_on_as_said_when_redis_is_killed_and_return_when_it_does(frail, store_on, clock, fail, passed):
    store = store_on(frail, fail=fail)
    assert [store.hit(CHARGE)[0].remaining for _ in range(3)] == [9, 8, 7]
    frail.kill()
    decisions = [store.hit(CHARGE)[0] for _ in range(5)]
    assert [decision.allowed for decision in decisions] == passed
    assert {decision.degraded for decision in decisions} == {fail}
    assert all(decision.retry_after_ns > 0 for decision in decisions if not decision.allowed)
    # After three failures nobody tries any more: the other two cost no time.
    assert (store.counts["unanswered"], store.counts["degraded"], store.breaker.state) == (3, 5, BreakerState.OPEN)
    frail.start()
    assert store.hit(CHARGE)[0].degraded == fail
    clock.advance_ns(1_000_000_000)
    back = store.hit(CHARGE)[0]
    assert (back.remaining, back.degraded, store.breaker.state) == (9, "", BreakerState.CLOSED)


def test_a_paused_redis_costs_a_time_limit_and_no_answer_is_taken_for_another(frail, store_on, clock):
    store = store_on(frail, fail="closed", timeout=0.5)
    small, large = [Charge(QUOTA, "small")], [Charge(Quota("large", limit=99, per=LONG, algorithm="exact"), "large")]
    assert store.hit(small)[0].remaining == 9
    frail.pause()
    assert store.hit(small)[0].degraded == "closed"
    frail.resume()
    clock.advance_ns(1_000_000_000)
    with contextlib.closing(frail.client()) as client:
        client.ping()  # it is awake
    decision = store.hit(large)[0]
    assert (decision.limit, decision.remaining, decision.degraded) == (99, 98, "")
    assert store.counts["unanswered"] == 1
    # The question that got no answer was perhaps charged, and certainly not asked again.
    assert store.peek(small)[0].remaining >= 8


def test_a_redis_whose_memory_is_full_answers_and_is_not_shut_out(frail_with, store_on):
    store = store_on(frail_with("--maxmemory", "500kb", "--maxmemory-policy", "noeviction"), fail="local")
    decisions = [store.hit(CHARGE)[0] for _ in range(4)]
    assert [decision.allowed for decision in decisions] == [True, True, False, False]
    assert (store.counts["faulty"], store.counts["degraded"], store.breaker.state) == (4, 4, BreakerState.CLOSED)


@pytest.mark.parametrize("algorithm", ["exact", "smooth", "approx", "fixed"])
@pytest.mark.parametrize("value", ["list", "text"])
def test_what_is_not_ours_is_left_alone(fresh, store_on, algorithm, value):
    store = store_on(fresh, fail="closed")
    quota = Quota("q", limit=20, per=LONG, algorithm=algorithm)
    other = Quota("other", limit=20, per=LONG, algorithm=algorithm)
    store.hit([Charge(quota, "u")])
    with contextlib.closing(fresh.client()) as client:
        (name,) = client.keys()
        client.delete(name)
        client.rpush(name, "theirs") if value == "list" else client.set(name, "no state of ours!")
        before = client.dump(name)
        decisions = store.hit([Charge(other, "u"), Charge(quota, "u")])
        assert [decision.degraded for decision in decisions] == ["closed", "closed"]
        assert client.dump(name) == before
        assert client.keys() == [name]  # and of the other quota nothing was charged
    assert (store.counts["faulty"], store.breaker.state) == (1, BreakerState.CLOSED)


def test_a_breaker_of_ones_own_guards_redis(free_address):
    breaker = CircuitBreaker("mine", failure_threshold=1, clock=VirtualClock())
    with RedisStore(free_address, fail="open", breaker=breaker) as store:
        store.hit(CHARGE)
        store.hit(CHARGE)
    assert (store.counts["unanswered"], store.counts["degraded"], breaker.state) == (1, 2, BreakerState.OPEN)


def test_the_log_says_once_a_minute_that_redis_is_away(free_address, clock, caplog):
    with caplog.at_level(logging.WARNING), RedisStore(free_address, fail="open", clock=clock) as store:
        for seconds in (0, 1, 58, 1, 1):
            clock.advance_ns(seconds * 1_000_000_000)
            store.hit(CHARGE)
    assert len(caplog.messages) == 2
    assert all("the store cannot be asked" in message and "fail open" in message for message in caplog.messages)


@pytest.mark.parametrize("fail", ["open", "closed", "local"])
def test_what_never_fits_is_refused_under_every_policy(fail):
    decision = Fallback(fail).decide([Charge(QUOTA, "u", 11)], consume=True, wait_ns=5)[0]
    assert (decision.allowed, decision.retry_after_ns, decision.degraded) == (False, NEVER, fail)


def test_what_exceeds_only_the_part_of_one_process_is_not_refused_for_ever():
    decision = Fallback("local", instances=4).decide([Charge(QUOTA, "u", 3)], consume=True, wait_ns=5)[0]
    assert (decision.allowed, decision.retry_after_ns) == (False, QUOTA.period_ns)


@pytest.mark.parametrize(
    ("quota", "instances", "passed"),
    [
        (QUOTA, 1, 10),
        (QUOTA, 3, 3),
        (QUOTA, 100, 1),
        (Quota("q", limit=10, per=LONG, burst=7, algorithm="smooth"), 3, 2),
        (Quota("q", limit=10, per=LONG, burst=1, algorithm="smooth"), 3, 1),
        (Quota("q", limit=9, per=LONG, algorithm="fixed", stagger=True), 2, 4),
    ],
)
def test_each_process_alone_lets_its_part_pass_and_at_least_one(quota, instances, passed):
    fallback = Fallback("local", instances=instances, clock=VirtualClock())
    decisions = [fallback.decide([Charge(quota, "u")], consume=True, wait_ns=0)[0] for _ in range(20)]
    assert sum(decision.allowed for decision in decisions) == passed
    assert fallback.decided == 20


def test_locally_too_several_quotas_are_charged_together_or_not_at_all():
    fallback = Fallback("local", clock=VirtualClock())
    one = Quota("one", limit=1, per=LONG, algorithm="exact")
    fallback.decide([Charge(one, "u")], consume=True, wait_ns=0)
    fallback.decide([Charge(QUOTA, "u"), Charge(one, "u")], consume=True, wait_ns=0)
    assert fallback.decide([Charge(QUOTA, "u", 0)], consume=False, wait_ns=0)[0].remaining == 10


@pytest.fixture
def silent():
    """``(address, received)``: a server that greets each connection, and never answers a decision."""
    received, connections = [], []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    def talk(connection):
        with contextlib.suppress(OSError):
            while text := connection.recv(1 << 16):
                received.append(text)
                connection.sendall(b"+OK\r\n" * text.count(b"SETINFO"))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0", received
        listener.shutdown(socket.SHUT_RDWR)
        for connection in connections:
            connection.close()


def test_a_question_without_an_answer_is_not_asked_again(silent):
    address, received = silent
    with RedisStore(address, fail="closed", timeout=0.1) as store:
        assert store.hit(CHARGE)[0].degraded == "closed"
    assert b"".join(received).count(b"EVALSHA") == 1
