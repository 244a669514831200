"""Many threads, switched as often as can be: exactly the limit passes."""

import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from workbench.clock import VirtualClock
from workbench.errors import RateLimitedError
from workbench.resilience import Charge, CompositeLimiter, MemoryStore, Quota, RateLimiter, limit

THREADS, HITS = 8, 200
KINDS = ["exact", "smooth", "approx", "fixed"]


@pytest.fixture(autouse=True)
def switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(work):
    """``work(thread, hit)`` by all threads at once; how often it was true."""
    barrier = Barrier(THREADS)

    def run(thread):
        barrier.wait()
        return sum(bool(work(thread, hit)) for hit in range(HITS))

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(run, range(THREADS)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("allowed", [100, THREADS * HITS + 1])
def test_so_many_pass_as_the_limit_says_and_not_one_more(kind, allowed):
    limiter = RateLimiter(Quota(limit=allowed, per=3_600, algorithm=kind), store=MemoryStore(clock=VirtualClock()))
    assert together(lambda thread, hit: limiter.hit("k")) == min(allowed, THREADS * HITS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_decorator_lets_no_more_through_either(kind):
    @limit(Quota(limit=100, per=3_600, algorithm=kind), store=MemoryStore(clock=VirtualClock()))
    def work():
        return True

    def attempt(thread, hit):
        try:
            return work()
        except RateLimitedError:
            return False

    assert together(attempt) == 100


def test_all_or_nothing_holds_between_threads():
    store = MemoryStore(clock=VirtualClock())
    user, every = Quota("user", limit=50, per=3_600), Quota("all", limit=300, per=3_600)
    limiter = CompositeLimiter([RateLimiter(quota, store=store) for quota in (user, every)])
    assert together(lambda thread, hit: limiter.hit({"user": f"u:{thread}"})) == 300
    charged = [50 - store.peek([Charge(user, f"u:{thread}")])[0].remaining for thread in range(THREADS)]
    assert sum(charged) == 300


def test_no_key_is_counted_twice_while_threads_come_sweep_and_reset():
    clock = VirtualClock()
    store, quota = MemoryStore(clock=clock, max_keys=40), Quota(limit=3, per=1)

    def work(thread, hit):
        clock.sleep_ns(10_000_000)
        store.hit([Charge(quota, f"u:{(thread * 31 + hit * 7) % 60}")])
        if hit % 5 == 0:
            store.reset([Charge(quota, f"u:{hit % 60}")])

    together(work)
    assert store.counts["keys"] == len(store.table(quota).states) <= 40


def test_limiters_made_at_once_share_one_count():
    store = MemoryStore(clock=VirtualClock())
    passed = together(lambda thread, hit: RateLimiter("100/hour", store=store).hit("k"))
    assert passed == 100
