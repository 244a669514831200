"""Limits shared through Redis: exact for threads and processes, all or nothing, and kept no longer than they matter."""

import contextlib
import subprocess
import sys
import threading
import time

import pytest
import redis
import redis.asyncio

from workbench.errors import InputError, StoreUnavailableError
from workbench.resilience import RateLimiter, limit
from workbench.resilience.decision import NEVER
from workbench.resilience.quota import Quota
from workbench.resilience.stores import AsyncRedisStore, Charge, RedisStore

ALGORITHMS = ("exact", "smooth", "approx", "fixed")
LONG = 40_000_000  # seconds: nothing becomes free while a test runs, and the clock's windows do not turn over


def quota_of(algorithm, limit=5, name="q", per=LONG):
    return Quota(name, limit=limit, per=per, algorithm=algorithm)


@pytest.fixture
def store(fresh):
    with RedisStore(fresh.url, fail="closed", prefix="t", timeout=10) as store:
        yield store


@pytest.fixture
def client(fresh):
    with contextlib.closing(fresh.client()) as client:
        yield client


def calls(client, command):
    return client.info("commandstats").get(f"cmdstat_{command}", {}).get("calls", 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_threads_together_pass_exactly_the_limit(store, algorithm):
    charges, passed = [Charge(quota_of(algorithm, limit=50), "u")], []

    def ask():
        for _ in range(20):
            if store.hit(charges)[0].allowed:
                passed.append(1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(passed), store.counts["degraded"]) == (50, 0)


def test_four_processes_together_pass_exactly_the_limit(fresh):
    script = f"""if True:
        from workbench.resilience.quota import Quota
        from workbench.resilience.stores import Charge, RedisStore
        charges = [Charge(Quota("q", limit=100, per={LONG}, algorithm="exact"), "u")]
        with RedisStore("{fresh.url}", fail="open", timeout=10) as store:
            print(sum(store.hit(charges)[0].allowed for _ in range(60)), store.counts["degraded"])
    """
    four = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [process.communicate()[0].split() for process in four]
    assert sum(int(passed) for passed, _ in told) == 100
    assert {degraded for _, degraded in told} == {"0"}


def test_several_quotas_are_charged_together_or_not_at_all(store):
    wide, narrow = quota_of("smooth", limit=10, name="wide"), quota_of("exact", limit=2, name="narrow")
    both = [Charge(wide, "u"), Charge(narrow, "u")]
    answers = [[(one.allowed, one.remaining) for one in store.hit(both)] for _ in range(3)]
    assert answers == [[(True, 9), (True, 1)], [(True, 8), (True, 0)], [(True, 8), (False, 0)]]
    assert [one.refused for one in store.hit(both)] == [(), ("narrow",)]


def test_a_decision_on_several_quotas_is_one_command(store, client):
    charges = [Charge(quota_of(algorithm, name=algorithm), "u") for algorithm in ALGORITHMS]
    store.hit(charges)
    before = calls(client, "evalsha")
    for _ in range(3):
        store.hit(charges)
    assert calls(client, "evalsha") - before == 3


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_to_peek_charges_nothing_and_to_reset_forgets(store, client, algorithm):
    charge = [Charge(quota_of(algorithm), "u", 2)]
    assert (store.peek(charge)[0].remaining, client.dbsize()) == (5, 0)
    assert store.hit(charge)[0].remaining == 3
    assert store.peek(charge)[0].remaining == 3
    store.reset(charge)
    assert (store.peek(charge)[0].remaining, client.dbsize()) == (5, 0)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_refusal_writes_nothing(store, client, algorithm):
    charge = [Charge(quota_of(algorithm), "u", 5)]
    assert store.hit(charge)[0].allowed
    before = {command: calls(client, command) for command in ("set", "append", "pexpire")}
    assert not store.hit(charge)[0].allowed
    assert {command: calls(client, command) for command in before} == before


def test_what_costs_more_than_the_whole_never_passes(store):
    assert store.hit([Charge(quota_of("exact"), "u", 6)])[0].retry_after_ns == NEVER


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_key_lives_as_long_as_it_matters_and_no_longer(store, client, algorithm):
    charge = [Charge(quota_of(algorithm, per=60), "u")]
    decision = store.hit(charge)[0]
    (key,) = client.keys()
    # Redis counts the life in milliseconds from when it began, a moment ago.
    assert decision.reset_after_ns / 1e6 - 5_000 <= client.pttl(key) <= decision.reset_after_ns / 1e6 + 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_nothing_is_left_after_the_longest_life(store, client, algorithm):
    store.hit([Charge(quota_of(algorithm, per=0.01), f"u:{number}") for number in range(3)])
    until = time.monotonic() + 10
    while client.keys() and time.monotonic() < until:  # to list keys is to let go of the dead
        time.sleep(0.002)
    assert client.keys() == []


def test_all_keys_bear_the_prefix_the_quota_and_the_tag(store, client):
    quotas = [quota_of(algorithm, name=algorithm) for algorithm in ALGORITHMS]
    store.hit([Charge(quota, "u:42") for quota in quotas])
    assert set(client.scan_iter()) == {f"t:{quota.digest}:{{u:42}}".encode() for quota in quotas}


@pytest.mark.parametrize("key", ["", "}", "}x", "{", "a}b", "ü", "\udc80", "a\nb", "x" * 129, "x" * 10_000], ids=ascii)
def test_any_text_is_a_key_of_its_own(store, client, key):
    quota = quota_of("exact", limit=1)
    keys = ["u", " ", key, key + "'"]
    assert [store.hit([Charge(quota, each)])[0].allowed for each in keys * 2] == [True] * 4 + [False] * 4
    assert max(len(name) for name in client.scan_iter()) < 200


def test_a_changed_quota_begins_anew(store):
    assert store.hit([Charge(quota_of("exact", limit=2), "u", 2)])[0].remaining == 0
    assert store.hit([Charge(quota_of("exact", limit=3), "u")])[0].remaining == 2


def test_a_server_that_lost_the_script_is_given_it_again(store, client):
    charge = [Charge(quota_of("exact"), "u")]
    store.hit(charge)
    client.script_flush()
    assert store.hit(charge)[0].remaining == 3
    assert (store.counts["degraded"], calls(client, "eval") > 0) == (0, True)


def test_a_client_of_ones_own_is_used_and_left_open(fresh, client):
    with RedisStore(client, fail="closed") as store:
        store.check()
        assert store.hit([Charge(quota_of("exact"), "u")])[0].remaining == 4
    assert client.ping()


def test_a_decoding_client_gives_the_same_answers(fresh):
    with contextlib.closing(fresh.client(decode_responses=True)) as client:
        assert RedisStore(client, fail="closed").hit([Charge(quota_of("exact"), "u")])[0].remaining == 4


def test_no_charges_are_no_question(store, client):
    before = calls(client, "evalsha")
    assert (store.hit([]), calls(client, "evalsha")) == ([], before)


@pytest.fixture
def cluster(frail_with):
    server = frail_with("--cluster-enabled", "yes")
    with contextlib.closing(server.client()) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        until = time.monotonic() + 10
        while client.execute_command("CLUSTER INFO")["cluster_state"] != "ok" and time.monotonic() < until:
            time.sleep(0.01)
    with contextlib.closing(redis.RedisCluster(host="127.0.0.1", port=server.port)) as client:
        yield client


@pytest.mark.slow  # a cluster takes two seconds to say that it is one
def test_a_cluster_decides_on_several_quotas_of_one_key_and_refuses_several_keys(cluster):
    store = RedisStore(cluster, fail="closed")
    one, other = quota_of("exact", name="one"), quota_of("smooth", name="other")
    assert [told.remaining for told in store.hit([Charge(one, "u"), Charge(other, "u")])] == [4, 4]
    assert [told.remaining for told in store.hit([Charge(one, ""), Charge(other, "")])] == [4, 4]
    with pytest.raises(InputError, match="give these quotas one key, or ask for each on its own"):
        store.hit([Charge(one, "u"), Charge(other, "10.0.0.1")])
    assert store.hit([Charge(one, "u")])[0].remaining == 3


@pytest.mark.parametrize("kind", [RedisStore, AsyncRedisStore])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fail": "maybe"}, "open, closed or local, not 'maybe'"),
        ({"instances": 0}, "instances is a whole number of at least 1, not 0"),
        ({"timeout": 0}, "above 0 and up to 60, not 0"),
        ({"timeout": True}, "above 0 and up to 60, not True"),
        ({"prefix": ""}, "1 to 64 printable characters"),
        ({"prefix": "a{b}"}, r"1 to 64 printable characters"),
        ({"client": "secret-password"}, r"redis://127\.0\.0\.1:6379/0"),
        ({"client": "redis://:secret-password@h:port"}, r"redis://127\.0\.0\.1:6379/0"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(kind, options, words):
    given = {"client": "redis://127.0.0.1:1/0", "fail": "open", **options}
    with pytest.raises(InputError, match=words) as caught:
        kind(given.pop("client"), **given)
    assert "secret" not in str(caught.value)


def test_how_to_fail_has_no_default():
    with pytest.raises(TypeError, match="fail"):
        RedisStore("redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("quota", "words"),
    [
        (quota_of("exact", limit=100_001), "at most 100000 fits, or take the algorithm 'smooth'"),
        (
            quota_of("approx", limit=57),
            "a limit of 57 in 4e\\+07 s is too large for the algorithm 'approx'.*at most 56",
        ),
        (Quota(limit=2**52, per=1, algorithm="fixed"), "at most 2251799813685248 fits"),
        (Quota(limit=1, per=1000, burst=3_000_000, algorithm="smooth"), "a burst of 3000000 .* at most 2251799 fits$"),
    ],
)
def test_a_quota_too_large_for_redis_is_refused_with_what_would_fit(store, quota, words):
    asked = [
        lambda: store.fits(quota),
        lambda: store.hit([Charge(quota, "u")]),
        lambda: RateLimiter(quota, store=store),
        lambda: limit(quota, store=store)(len),
    ]
    for ask in asked:
        with pytest.raises(InputError, match=words):
            ask()


def test_costs_that_are_none_and_doubled_keys_are_refused(store):
    quota = quota_of("exact")
    with pytest.raises(InputError, match="a cost is a whole number"):
        store.hit([Charge(quota, "u", -1)])
    with pytest.raises(InputError, match="stand twice"):
        store.hit([Charge(quota, "u"), Charge(quota, "u")])


def test_without_redis_a_check_and_a_reset_say_so(free_address):
    with RedisStore(free_address, fail="open") as store:
        for ask in (store.check, lambda: store.reset([Charge(quota_of("exact"), "u")])):
            with pytest.raises(StoreUnavailableError, match=r"Redis could not be asked .*; see that it runs"):
                ask()


def test_without_the_extra_it_says_what_to_install():
    script = "import sys; sys.modules['redis'] = None; from workbench.resilience.stores import RedisStore"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert told.stderr.strip().endswith(
        "InputError: limits in Redis need the extra 'redis': pip install 'workbench-evidence[redis]'"
    )


@pytest.mark.parametrize("client", [redis.asyncio.Redis(), redis.Redis, None])
def test_a_client_of_the_other_kind_is_refused_and_not_taken_for_a_redis_that_is_away(client):
    with pytest.raises(
        InputError, match=r"^RedisStore takes an address, or a client such as redis\.Redis\(\.\.\.\), not "
    ):
        RedisStore(client, fail="open")


def test_an_async_store_needs_a_client_that_is_awaited():
    with pytest.raises(InputError, match=r"such as redis\.asyncio\.Redis\(\.\.\.\), not redis\.client\.Redis$"):
        AsyncRedisStore(redis.Redis(), fail="open")
