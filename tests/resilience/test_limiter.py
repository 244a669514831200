"""One quota, asked for one key at a time."""

import asyncio

import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience import NEVER, AsyncRateLimiter, Decision, MemoryStore, Quota, RateLimiter, combined

SECOND = 1_000_000_000
KINDS = ["exact", "smooth", "approx", "fixed"]


@pytest.fixture
def clock():
    return VirtualClock()


class Plain:
    """A store of another kind: what a limiter does without the short way of a MemoryStore."""

    def __init__(self, clock):
        self.inner = MemoryStore(clock=clock)

    def hit(self, charges):
        return self.inner.hit(charges)

    def peek(self, charges):
        return self.inner.peek(charges)

    def reset(self, charges):
        self.inner.reset(charges)


class Awaited(Plain):
    async def hit(self, charges):
        await asyncio.sleep(0)
        return self.inner.hit(charges)

    async def peek(self, charges):
        return self.inner.peek(charges)

    async def reset(self, charges):
        self.inner.reset(charges)


@pytest.fixture(params=[lambda clock: MemoryStore(clock=clock), Plain], ids=["memory", "other"])
def store(request, clock):
    return request.param(clock)


@pytest.mark.parametrize("kind", KINDS)
def test_so_many_pass_as_the_quota_says_and_again_when_the_time_is_over(kind, store, clock):
    limiter = RateLimiter(Quota(limit=10, per=60, algorithm=kind), store=store)
    assert [limiter.hit("k").allowed for _ in range(12)] == [True] * 10 + [False] * 2
    clock.advance_ns(120 * SECOND)
    assert limiter.hit("k", cost=10).allowed


@pytest.mark.parametrize("kind", KINDS)
def test_what_remains_and_when_all_is_free_again_is_told(kind, store, clock):
    limiter = RateLimiter(Quota("user", limit=10, per=10, algorithm=kind), store=store)
    clock.advance_ns(100 * SECOND)
    decision = limiter.hit("k", cost=4)
    reset = {"exact": 10, "smooth": 4, "approx": 20, "fixed": 10}[kind]
    following = {"exact": 10, "smooth": 1, "approx": 12.5, "fixed": 10}[kind]
    assert decision == Decision(True, "user", 10, 6, 0, round(following * SECOND), reset * SECOND)


def test_a_peek_says_what_a_hit_would_and_charges_nothing(store):
    limiter = RateLimiter("2/minute", store=store)
    assert [limiter.peek("k", cost=2).allowed for _ in range(3)] == [True] * 3
    assert limiter.peek("k").remaining == 2
    limiter.hit("k", cost=2)
    peeked, refusal = limiter.peek("k"), limiter.hit("k")
    assert peeked == refusal
    assert not refusal


def test_keys_do_not_touch_each_other(store):
    limiter = RateLimiter("1/minute", store=store)
    assert [limiter.hit(key).allowed for key in ("a", "b", "a", "c", "b")] == [True, True, False, True, False]


def test_a_reset_key_begins_anew_and_the_others_do_not(store):
    limiter = RateLimiter("1/minute", store=store)
    limiter.hit("a")
    limiter.hit("b")
    limiter.reset("a")
    limiter.reset("unknown")
    assert [limiter.hit(key).allowed for key in ("a", "b")] == [True, False]


def test_a_cost_above_the_capacity_never_passes_and_costs_nothing(store):
    limiter = RateLimiter("3/minute", store=store)
    refusal = limiter.hit("k", cost=4)
    assert (refusal.retry_after_ns, refusal.retry_after, refusal.remaining) == (NEVER, None, 3)
    assert limiter.hit("k", cost=3).allowed


def test_a_cost_of_nothing_asks_and_is_allowed(store):
    limiter = RateLimiter("1/minute", store=store)
    limiter.hit("k")
    decision = limiter.hit("k", cost=0)
    assert (decision.allowed, decision.remaining) == (True, 0)


def test_a_cost_that_is_none_is_refused(store):
    for cost in (-1, 0.5, "1"):
        with pytest.raises(InputError, match="a cost is a whole number of at least 0"):
            RateLimiter("1/minute", store=store).hit("k", cost=cost)


def test_limiters_with_one_quota_and_store_share_their_counts(store):
    one, other = RateLimiter("1/minute", store=store), RateLimiter(Quota.parse("1/minute"), store=store)
    assert [one.hit("k").allowed, other.hit("k").allowed] == [True, False]


def test_limiters_without_a_store_share_nothing():
    assert [RateLimiter("1/minute").hit("k").allowed for _ in range(2)] == [True, True]


def test_the_older_shape_answers_with_a_pair(store):
    limiter = RateLimiter("100/minute", store=store)
    assert limiter.is_allowed("user:123", limit=1, window=60) == (
        True,
        {"limit": 1, "remaining": 0, "retry_after": 0, "reset_after": 60},
    )
    assert limiter.is_allowed("user:123", limit=1, window=60)[1]["retry_after"] == 60
    assert limiter.is_allowed("user:123") == (
        True,
        {"limit": 100, "remaining": 99, "retry_after": 0, "reset_after": 60},
    )
    assert limiter.is_allowed("user:123", limit=2)[1]["limit"] == 2
    with pytest.raises(InputError, match="a limit is a whole number of at least 1, not 0"):
        limiter.is_allowed("user:123", limit=0)


def test_a_store_that_must_be_awaited_is_refused_where_nobody_awaits(clock):
    with pytest.raises(
        InputError, match=r"^Awaited must be awaited; use it with an async limiter or an async function$"
    ):
        RateLimiter("1/minute", store=Awaited(clock))


@pytest.mark.parametrize("make", [lambda clock: MemoryStore(clock=clock), Plain, Awaited])
def test_the_asynchronous_limiter_says_the_same(make, clock):
    limiter = AsyncRateLimiter("2/minute", store=make(clock))

    async def ask():
        assert (await limiter.peek("k")).remaining == 2
        told = [(await limiter.hit("k")).allowed for _ in range(3)]
        await limiter.reset("k")
        return [*told, (await limiter.hit("k", cost=2)).allowed]

    assert asyncio.run(ask()) == [True, True, False, True]


def test_a_hundred_tasks_get_exactly_the_limit(clock):
    limiter = AsyncRateLimiter("30/minute", store=Awaited(clock))

    async def ask():
        return await asyncio.gather(*(limiter.hit("k") for _ in range(100)))

    assert sum(decision.allowed for decision in asyncio.run(ask())) == 30


def test_decisions_combine_to_the_longest_refusal_or_the_least_left():
    roomy, tight = Decision(True, "roomy", 9, 8, 0, 1, 1), Decision(True, "tight", 9, 2, 0, 1, 1)
    short = Decision(False, "short", 9, 0, 5, 5, 5, refused=("short",))
    long = Decision(False, "long", 9, 1, 7, 1, 9, refused=("long",))
    never = Decision(False, "never", 3, 3, NEVER, 0, 0, refused=("never",), degraded="local")
    assert combined([roomy, tight]) is tight
    assert combined([short, roomy, long]) == Decision(False, "long", 9, 1, 7, 1, 9, refused=("short", "long"))
    assert combined([short, never]).retry_after is None
    assert combined([never]).degraded == "local"


# What the public tests of limits check, with the differences that docs/design/resilience.md names


def test_a_log_over_a_minute_gives_back_what_is_a_minute_old(store, clock):
    limiter = RateLimiter(Quota(limit=10, per=60, algorithm="exact"), store=store)
    for turn in range(5):
        assert limiter.hit("k").allowed
        assert limiter.hit("k").remaining == 10 - 2 * (turn + 1)
        clock.advance_ns(10 * SECOND)
    assert not limiter.hit("k").allowed
    clock.advance_ns(20 * SECOND)
    told = limiter.peek("k", cost=0)
    # Those of second 10 are a minute old, and have left; with limits they would still count.
    assert (told.remaining, told.next_after_ns) == (4, 10 * SECOND)
    clock.advance_ns(31 * SECOND)
    assert limiter.peek("k").remaining == 10


def test_a_fixed_window_ends_with_the_clock_s_and_not_with_a_key_s(store, clock):
    limiter = RateLimiter(Quota(limit=10, per=2, algorithm="fixed"), store=store)
    clock.advance_ns(1 * SECOND)
    assert all(limiter.hit("k") for _ in range(10))
    assert limiter.peek("k", cost=0).reset_after_ns == 1 * SECOND
    clock.advance_ns(1 * SECOND)
    assert limiter.peek("k").remaining == 10


@pytest.mark.parametrize("kind", KINDS)
def test_trying_on_while_refused_makes_nobody_wait_longer(kind, store, clock):
    limiter = RateLimiter(Quota(limit=10, per=2, algorithm=kind), store=store)
    limiter.hit("k", cost=10)
    first = limiter.peek("k", cost=10).retry_after_ns
    for _ in range(first // 100_000_000):
        assert not limiter.hit("k", cost=10)
        clock.advance_ns(100_000_000)
    clock.advance_ns(first % 100_000_000)
    assert limiter.hit("k", cost=10)


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_never_seen_has_everything_left(kind, store):
    told = RateLimiter(Quota("q", limit=10, per=2, algorithm=kind), store=store).peek("k", cost=0)
    assert told == Decision(True, "q", 10, 10, 0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cost_that_does_not_fit_leaves_room_for_one_that_does(kind, store):
    limiter = RateLimiter(Quota(limit=10, per=60, algorithm=kind), store=store)
    assert [limiter.hit("k", cost=cost).allowed for cost in (6, 5, 11, 4, 1)] == [True, False, False, True, False]


@pytest.mark.parametrize(("store", "kind"), [("redis://:secret@127.0.0.1", "str"), (MemoryStore, "MemoryStore")])
@pytest.mark.parametrize("kind_of_limiter", [RateLimiter, AsyncRateLimiter])
def test_what_is_no_store_is_refused_and_an_address_is_not_shown(kind_of_limiter, store, kind):
    with pytest.raises(InputError) as caught:
        kind_of_limiter("5/minute", store=store)
    assert str(caught.value) == f"a store is an object such as MemoryStore() or RedisStore(...), not {kind}"


@pytest.mark.parametrize("key", [None, 42, b"u"])
def test_a_key_is_a_text(key):
    limiter = RateLimiter("5/minute")
    for ask in (limiter.hit, limiter.peek):
        with pytest.raises(InputError, match="quota '5/60s': a key is a text, not "):
            ask(key)
    assert limiter.hit("u:42").remaining == 4


def test_a_refusal_for_ever_says_so():
    assert repr(RateLimiter("5/minute").hit("u", cost=6)) == "<Decision refused by 5/60s: 5 of 5 left, no wait helps>"
