"""Several quotas on one request."""

import asyncio

import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience import (
    EVERYBODY,
    AsyncCompositeLimiter,
    AsyncRateLimiter,
    Charge,
    CompositeLimiter,
    MemoryStore,
    Quota,
    RateLimiter,
)

SECOND = 1_000_000_000
USER, IP, EVERY = Quota("user", limit=2, per=60), Quota("ip", limit=3, per=10), Quota("global", limit=5, per=1)


@pytest.fixture
def clock():
    return VirtualClock()


@pytest.fixture
def store(clock):
    return MemoryStore(clock=clock)


@pytest.fixture
def limiter(store):
    return CompositeLimiter([RateLimiter(quota, store=store) for quota in (USER, IP, EVERY)])


def test_all_quotas_are_charged_or_none(limiter, store):
    keys = {"user": "ann", "ip": "192.0.2.1"}
    assert [limiter.hit(keys).refused for _ in range(3)] == [(), (), ("user",)]
    left = [store.peek([Charge(q, k)])[0].remaining for q, k in ((USER, "ann"), (IP, "192.0.2.1"), (EVERY, EVERYBODY))]
    assert left == [0, 1, 3]


def test_the_decision_is_of_the_quota_with_the_least_left(limiter):
    assert (limiter.hit({"user": "ann", "ip": "192.0.2.1"}).quota, limiter.hit({"user": "bob"}).quota) == (
        "user",
        "user",
    )
    decision = limiter.hit({"user": "eve", "ip": "192.0.2.1"})
    assert (decision.quota, decision.remaining) == ("user", 1)


def test_a_refusal_names_all_that_refused_and_lasts_as_long_as_the_longest(limiter):
    for _ in range(2):
        assert limiter.hit({"user": "ann", "ip": "192.0.2.1"})
    refusal = limiter.hit({"user": "ann", "ip": "192.0.2.1"}, cost=2)
    assert refusal.refused == ("user", "ip")
    assert (refusal.quota, refusal.limit, refusal.retry_after) == ("user", 2, 60.0)


def test_a_quota_without_a_key_counts_everybody_together(limiter):
    told = [limiter.hit({"user": f"u{number}", "ip": f"192.0.2.{number}"}) for number in range(6)]
    assert [decision.refused for decision in told] == [()] * 5 + [("global",)]


def test_a_refused_request_passes_after_its_retry_after(limiter, clock):
    for _ in range(2):
        limiter.hit({"user": "ann"})
    refusal = limiter.hit({"user": "ann"})
    clock.advance_ns(refusal.retry_after_ns - 1)
    assert not limiter.hit({"user": "ann"})
    clock.advance_ns(1)
    assert limiter.hit({"user": "ann"})


def test_a_peek_says_what_a_hit_would(limiter):
    assert limiter.peek({"user": "ann"}, cost=2).allowed
    assert limiter.peek({"user": "ann"}, cost=3).refused == ("user",)
    assert limiter.hit({"user": "ann"}, cost=2).allowed


def test_a_reset_forgets_the_keys_given_alone(limiter, store):
    limiter.hit({"user": "ann", "ip": "192.0.2.1"}, cost=2)
    limiter.reset({"user": "ann"})
    assert store.peek([Charge(USER, "ann")])[0].remaining == 2
    assert store.peek([Charge(EVERY, EVERYBODY)])[0].remaining == 3


def test_a_key_for_no_quota_is_refused(limiter):
    with pytest.raises(InputError, match=r"^no quota of this limiter is called 'usr'; did you mean 'user'\?$"):
        limiter.hit({"usr": "ann"})


def test_limiters_that_cannot_be_charged_together_are_refused(store):
    with pytest.raises(InputError, match="needs at least one limiter"):
        CompositeLimiter([])
    with pytest.raises(InputError, match="share one store, or they could not be charged all or none"):
        CompositeLimiter([RateLimiter(USER, store=store), RateLimiter(IP)])
    with pytest.raises(InputError, match="need different names, not user, user"):
        CompositeLimiter([RateLimiter(USER, store=store), RateLimiter(USER, store=store)])


def test_the_asynchronous_composite_says_the_same(store, limiter):
    awaited = AsyncCompositeLimiter([AsyncRateLimiter(quota, store=store) for quota in (USER, IP, EVERY)])

    async def ask():
        assert (await awaited.peek({"user": "ann"}, cost=3)).refused == ("user",)
        told = [(await awaited.hit({"user": "ann"})).refused for _ in range(3)]
        await awaited.reset({"user": "ann"})
        return told

    assert asyncio.run(ask()) == [(), (), ("user",)]
    assert limiter.hit({"user": "ann"}).allowed


@pytest.mark.parametrize(
    "part", ["5/minute", Quota.parse("5/minute"), AsyncRateLimiter("5/minute", store=MemoryStore())]
)
def test_a_composite_is_made_of_limiters_of_its_kind(part):
    with pytest.raises(InputError, match=r"^a CompositeLimiter is made of RateLimiter objects, not of "):
        CompositeLimiter([part])
