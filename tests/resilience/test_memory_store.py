"""The store in memory: bounded, all or nothing, and honest about what it forgets."""

import threading
import tracemalloc

import pytest

from workbench.clock import VirtualClock
from workbench.errors import InputError
from workbench.resilience import Charge, MemoryStore, Quota

SECOND = 1_000_000_000
KINDS = ["exact", "smooth", "approx", "fixed"]


@pytest.fixture
def clock():
    return VirtualClock(start_ns=1_000_000 * SECOND)


def allowed(store, *charges):
    return [decision.allowed for decision in store.hit(charges)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_keys": 0}, "max_keys is a whole number of at least 1, not 0"),
        ({"max_keys": 1.5}, "max_keys is a whole number of at least 1, not 1.5"),
        ({"when_full": "drop"}, "when_full is one of deny, shared, evict, not 'drop'"),
    ],
)
def test_a_store_that_cannot_be_is_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        MemoryStore(**options)


def test_several_charges_are_made_all_or_none(clock):
    store, user, everybody = MemoryStore(clock=clock), Quota("user", limit=3, per=60), Quota("all", limit=2, per=60)
    assert allowed(store, Charge(user, "ann"), Charge(everybody, "*")) == [True, True]
    assert allowed(store, Charge(user, "ann"), Charge(everybody, "*")) == [True, True]
    refusal = store.hit([Charge(user, "ann"), Charge(everybody, "*")])
    assert [(told.allowed, told.remaining, told.refused) for told in refusal] == [(True, 1, ()), (False, 0, ("all",))]
    assert store.peek([Charge(user, "ann")])[0].remaining == 1
    assert allowed(store, Charge(user, "ann")) == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_one_charge_among_several_is_decided_as_it_is_alone(kind, clock):
    quota, other = Quota("q", limit=5, per=10, algorithm=kind), Quota("other", limit=1_000, per=10)
    alone, among = MemoryStore(clock=clock), MemoryStore(clock=clock)
    for step, cost in enumerate([1, 2, 3, 1, 0, 6, 1, 2, 1, 1] * 5):
        clock.advance_ns(step % 4 * SECOND)
        expected = alone.hit([Charge(quota, "k", cost)])[0]
        assert among.hit([Charge(quota, "k", cost), Charge(other, "k")])[0] == expected


def test_the_same_quota_and_key_twice_in_one_request_is_refused(clock):
    quota = Quota("user", limit=3, per=60)
    with pytest.raises(InputError, match=r"stand twice in one request \(user, user\); give one charge with the sum"):
        MemoryStore(clock=clock).hit([Charge(quota, "ann"), Charge(quota, "ann")])


@pytest.mark.parametrize("cost", [-1, 1.5, 1.0, "1", True, None])
def test_a_cost_that_is_none_is_refused_and_charges_nothing(cost, clock):
    store, quota, other = MemoryStore(clock=clock), Quota("user", limit=3, per=60), Quota("ip", limit=3, per=60)
    for charges in ([Charge(other, "ann"), Charge(quota, "ann", cost)], [Charge(quota, "ann", cost)]):
        with pytest.raises(InputError, match=r"^quota 'user': a cost is a whole number of at least 0, not "):
            store.hit(charges)
    assert store.peek([Charge(other, "ann")])[0].remaining == 3


def test_a_question_leaves_no_key_behind(clock):
    store, quota = MemoryStore(clock=clock), Quota("user", limit=3, per=60)
    assert store.peek([Charge(quota, "ann")])[0].allowed
    assert store.hit([Charge(quota, "ann", 0)])[0].remaining == 3
    assert store.hit([Charge(quota, "ann", 4)])[0].retry_after_ns == -1
    assert store.counts["keys"] == 0


def test_equal_quotas_share_their_counts_and_others_do_not(clock):
    store = MemoryStore(clock=clock)
    assert allowed(store, Charge(Quota.parse("1/minute"), "k")) == [True]
    assert allowed(store, Charge(Quota.parse("1/minute"), "k")) == [False]
    assert allowed(store, Charge(Quota.parse("1/hour"), "k")) == [True]
    assert allowed(store, Charge(Quota.parse("1/minute", name="other"), "k")) == [True]


def test_keys_are_forgotten_one_by_one_or_all_at_once(clock):
    store, quota = MemoryStore(clock=clock), Quota("user", limit=1, per=60)
    for key in "abc":
        store.hit([Charge(quota, key)])
    store.reset([Charge(quota, "a"), Charge(quota, "unknown")])
    assert allowed(store, Charge(quota, "a")) == [True]
    assert allowed(store, Charge(quota, "b")) == [False]
    assert store.counts["keys"] == 3
    store.clear()
    assert store.counts["keys"] == 0
    assert allowed(store, Charge(quota, "b")) == [True]


def test_staggered_windows_begin_at_a_moment_of_each_key_s_own(clock):
    store = MemoryStore(clock=clock)
    quota = Quota(limit=1, per=60, algorithm="fixed", stagger=True)
    waits = {store.hit([Charge(quota, f"u:{number}")])[0].reset_after_ns for number in range(50)}
    assert len(waits) == 50
    assert all(0 < wait <= 60 * SECOND for wait in waits)
    wait = store.hit([Charge(quota, "u:1")])[0].retry_after_ns
    clock.advance_ns(wait - 1)
    assert allowed(store, Charge(quota, "u:1")) == [False]
    clock.advance_ns(1)
    assert allowed(store, Charge(quota, "u:1")) == [True]


@pytest.mark.parametrize("others", [(), (Charge(Quota("roomy", limit=100, per=60), "k"),)], ids=["alone", "among"])
def test_a_wall_clock_set_back_by_a_day_locks_nobody_out_for_a_day(others):
    class Wall(VirtualClock):
        def set_back_ns(self, duration_ns):
            self._now_ns -= duration_ns

    for kind in KINDS:
        wall = Wall(start_ns=200_000 * SECOND)
        store, quota = MemoryStore(clock=wall), Quota("q", limit=2, per=60, algorithm=kind)
        assert store.hit([Charge(quota, "k", 2), *others])[0].allowed
        wall.set_back_ns(86_400 * SECOND)
        refusal = store.hit([Charge(quota, "k"), *others])[0]
        assert 0 < refusal.retry_after_ns <= 120 * SECOND
        wall.advance_ns(refusal.retry_after_ns - 1)
        assert not store.hit([Charge(quota, "k"), *others])[0].allowed
        wall.advance_ns(1)
        assert store.hit([Charge(quota, "k"), *others])[0].allowed, kind


# Bounded memory


@pytest.mark.parametrize("kind", KINDS)
def test_keys_that_say_nothing_any_more_are_dropped_on_the_way(kind, clock):
    store, quota = MemoryStore(clock=clock), Quota("q", limit=5, per=1, algorithm=kind)
    hit, most = store.table(quota).hit, 0
    for number in range(150_000):
        hit(f"u:{number}")
        clock.advance_ns(1_000_000)  # so at most 2,000 keys matter at any moment
        if number % 1_000 == 0:
            most = max(most, store.counts["keys"])
    assert most <= 2 * (2_000 + 16_384)
    assert store.counts["keys"] + store.counts["swept"] == 150_000


def test_hits_on_one_key_drop_the_others_once_their_life_is_over(clock):
    store, quota = MemoryStore(clock=clock), Quota("q", limit=10_000, per=60)
    for number in range(1_000):
        store.hit([Charge(quota, f"u:{number}")])
    clock.advance_ns(61 * SECOND)
    for _ in range(510):
        store.hit([Charge(quota, "u:0")])
    assert store.counts == {"keys": 1, "swept": 999, "denied_full": 0, "shared": 0, "evicted": 0}


def test_a_key_in_use_is_never_swept(clock):
    store, quota = MemoryStore(clock=clock), Quota("q", limit=3, per=3_600)
    assert store.hit([Charge(quota, "ann", 3)])[0].allowed
    for number in range(40_000):
        store.hit([Charge(quota, f"u:{number}")])
    assert not store.hit([Charge(quota, "ann")])[0].allowed


def test_a_full_store_refuses_newcomers_and_says_when_one_may_come(clock):
    store, quota = MemoryStore(clock=clock, max_keys=10), Quota("q", limit=5, per=60)
    for number in range(10):
        assert store.hit([Charge(quota, f"u:{number}")])[0].allowed
        clock.advance_ns(SECOND)
    refusal = store.hit([Charge(quota, "new")])[0]
    assert (refusal.allowed, refusal.remaining, refusal.refused) == (False, 0, ("q",))
    assert 50 * SECOND <= refusal.retry_after_ns <= 60 * SECOND
    assert store.hit([Charge(quota, "u:3")])[0].allowed
    assert store.counts == {"keys": 10, "swept": 0, "denied_full": 1, "shared": 0, "evicted": 0}
    clock.advance_ns(60 * SECOND)
    assert store.hit([Charge(quota, "new")])[0].allowed


def test_a_full_store_finds_room_in_the_keys_of_any_quota(clock):
    store = MemoryStore(clock=clock, max_keys=10)
    short, long = Quota("short", limit=1, per=1), Quota("long", limit=1, per=3_600)
    for number in range(10):
        store.hit([Charge(short, f"u:{number}")])
    clock.advance_ns(SECOND)
    assert [store.hit([Charge(long, f"u:{number}")])[0].allowed for number in range(10)] == [True] * 10
    assert (store.counts["keys"], store.counts["swept"]) == (10, 10)
    assert not store.hit([Charge(short, "u:1")])[0].allowed


def test_a_full_store_can_count_newcomers_together(clock):
    store, quota = MemoryStore(clock=clock, max_keys=2, when_full="shared"), Quota("q", limit=3, per=60)
    for key in "ab":
        store.hit([Charge(quota, key)])
    assert [store.hit([Charge(quota, f"new:{number}")])[0].allowed for number in range(5)] == [True] * 3 + [False] * 2
    assert store.hit([Charge(quota, "a")])[0].allowed
    assert store.counts == {"keys": 2, "swept": 0, "denied_full": 0, "shared": 5, "evicted": 0}


def test_a_full_store_can_forget_the_key_that_matters_least_and_counts_it(clock):
    store, quota = MemoryStore(clock=clock, max_keys=3, when_full="evict"), Quota("q", limit=1, per=60)
    for key in "abc":
        store.hit([Charge(quota, key)])
        clock.advance_ns(SECOND)
    assert store.hit([Charge(quota, "new")])[0].allowed
    assert store.counts == {"keys": 3, "swept": 0, "denied_full": 0, "shared": 0, "evicted": 1}
    assert [store.peek([Charge(quota, key)])[0].allowed for key in "abc"] == [True, False, False]


def test_several_newcomers_in_one_request_find_room_together_or_not_at_all(clock):
    store, rules = MemoryStore(clock=clock, max_keys=2), [Quota(name, limit=5, per=60) for name in "abc"]
    refusal = store.hit([Charge(rule, "k") for rule in rules])
    assert [decision.allowed for decision in refusal] == [False] * 3
    assert (store.counts["keys"], store.counts["denied_full"]) == (0, 3)
    assert allowed(store, *[Charge(rule, "k") for rule in rules[:2]]) == [True, True]


def test_an_eviction_spares_the_keys_of_the_request_itself(clock):
    store, rules = MemoryStore(clock=clock, max_keys=2, when_full="evict"), [Quota(n, limit=5, per=60) for n in "abc"]
    store.hit([Charge(rules[0], "k")])
    clock.advance_ns(SECOND)
    store.hit([Charge(rules[1], "other")])
    assert allowed(store, Charge(rules[0], "k"), Charge(rules[2], "k")) == [True, True]
    assert store.peek([Charge(rules[0], "k")])[0].remaining == 3
    assert (store.counts["keys"], store.counts["evicted"]) == (2, 1)


@pytest.mark.parametrize("when_full", ["deny", "shared", "evict"])
def test_there_are_never_more_keys_than_were_said(when_full, clock):
    store = MemoryStore(clock=clock, max_keys=50, when_full=when_full)
    rules = [Quota(kind, limit=2, per=10, algorithm=kind) for kind in KINDS]
    for step in range(3_000):
        clock.advance_ns(step % 7 * SECOND // 20)
        store.hit([Charge(rule, f"{step * 7919 % 97}") for rule in rules[: 1 + step % 4]])
        if step % 11 == 0:
            store.reset([Charge(rules[step % 4], f"{step % 97}")])
        assert store.counts["keys"] <= 50
    assert store.counts["keys"] == sum(len(store.table(rule).states) for rule in rules)


@pytest.mark.parametrize("kind", ["smooth", "approx", "fixed"])
@pytest.mark.parametrize("hits", [1, 10, 100])
def test_a_key_takes_at_most_64_bytes_besides_its_name(kind, hits, clock):
    store, keys = MemoryStore(clock=clock), [f"u:{number}" for number in range(10_000)]
    admit = store.table(Quota("q", limit=100, per=60, algorithm=kind)).admit
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys:
            admit(key, hits)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= 64 * 10_000


def test_a_log_takes_9_bytes_a_hit_and_no_more_than_the_limit_needs(clock):
    store = MemoryStore(clock=clock)
    quota = Quota("q", limit=100, per=1, algorithm="exact")
    hit = store.table(quota).hit
    for _ in range(5_000):
        hit("k")
        clock.advance_ns(5_000_000)
    state = store.table(quota).states["k"]
    assert state.itemsize * len(state) <= 8 * (100 + 100 // 8 + 10)


# What others got wrong


def test_two_thousand_users_keep_their_counts(clock):
    """A store that forgets the least recent of 1,024 keys let 40,000 of these through."""
    store, quota = MemoryStore(clock=clock), Quota("user", limit=5, per=60)
    admit = store.table(quota).admit
    passed = sum(admit(f"u:{user}") is None for _ in range(20) for user in range(2_000))
    assert passed == 2_000 * 5


def test_the_first_request_of_a_window_is_free_if_it_is_refused(clock):
    for kind in KINDS:
        store, quota = MemoryStore(clock=clock), Quota("q", limit=3, per=60, algorithm=kind)
        assert not store.hit([Charge(quota, "k", 4)])[0].allowed
        assert store.hit([Charge(quota, "k", 3)])[0].allowed


def test_a_store_starts_no_thread():
    before = threading.active_count()
    store = MemoryStore()
    store.hit([Charge(Quota.parse("1/s"), "k")])
    assert threading.active_count() == before


def test_what_never_fits_is_said_so_by_a_full_store_too(clock):
    store, quota = MemoryStore(clock=clock, max_keys=1), Quota("q", limit=2, per=60)
    store.hit([Charge(quota, "a")])
    assert store.hit([Charge(quota, "new", 3)])[0].retry_after_ns == -1
    assert store.hit([Charge(quota, "new", 0)])[0].allowed
    assert store.counts["denied_full"] == 0
