"""A quota says what is allowed, or why it cannot be one."""

from datetime import timedelta

import pytest

from workbench.errors import InputError
from workbench.resilience import Quota
from workbench.resilience.quota import quota_of


@pytest.mark.parametrize(
    ("text", "limit", "seconds"),
    [
        ("100/minute", 100, 60),
        ("1/s", 1, 1),
        ("5 per 10 seconds", 5, 10),
        ("1000/h", 1000, 3600),
        (" 7 PER day ", 7, 86_400),
        ("3/2 hours", 3, 7200),
    ],
)
def test_words_make_a_quota(text, limit, seconds):
    quota = Quota.parse(text)
    assert (quota.limit, quota.per, quota.name) == (limit, seconds, f"{limit}/{seconds}s")


@pytest.mark.parametrize("text", ["", "minute", "100", "100/", "/minute", "1.5/s", "-1/s", "10/fortnight", "1/s;2/m"])
def test_other_words_are_refused_with_an_example(text):
    with pytest.raises(InputError, match="is not a rate; write it like '100/minute'"):
        Quota.parse(text)


@pytest.mark.parametrize("text", ["0/minute", "1/0 seconds"])
def test_a_rate_of_nothing_or_in_no_time_is_refused(text):
    with pytest.raises(InputError):
        Quota.parse(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"limit": 0, "per": 1}, "a limit is a whole number of at least 1, not 0"),
        ({"limit": 1.5, "per": 1}, "a limit is a whole number of at least 1, not 1.5"),
        ({"limit": True, "per": 1}, "a limit is a whole number of at least 1, not True"),
        ({"limit": 1, "per": 0}, "a positive number of seconds below a billion, not 0"),
        ({"limit": 1, "per": -1}, "a positive number of seconds below a billion, not -1"),
        ({"limit": 1, "per": float("nan")}, "a positive number of seconds below a billion, not nan"),
        ({"limit": 1, "per": "60"}, "a positive number of seconds below a billion, not '60'"),
        ({"limit": 1, "per": 1e-10}, "a positive number of seconds below a billion"),
        ({"limit": 1, "per": 1, "algorithm": "gcra"}, "no algorithm is called 'gcra'; known: exact, smooth, approx"),
        ({"limit": 1, "per": 1, "burst": 2}, "a burst belongs to the algorithm 'smooth', not to 'exact'"),
        ({"limit": 1, "per": 1, "algorithm": "smooth", "burst": 0}, "a burst is a whole number of at least 1, not 0"),
        ({"limit": 1, "per": 1, "stagger": True}, "staggered windows belong to the algorithm 'fixed'"),
        ({"name": "", "limit": 1, "per": 1}, "1 to 100 printable characters, not ''"),
        ({"name": "a\nb", "limit": 1, "per": 1}, "1 to 100 printable characters"),
    ],
)
def test_what_is_no_quota_is_refused_with_the_reason(options, message):
    with pytest.raises(InputError, match=message.replace(".", r"\.")):
        Quota(**options)


def test_the_exact_algorithm_is_taken_up_to_128_and_the_smooth_above():
    assert [Quota(limit=limit, per=1).algorithm for limit in (128, 129)] == ["exact", "smooth"]


def test_a_period_may_be_a_timedelta():
    assert Quota(limit=1, per=timedelta(minutes=1, microseconds=1)).period_ns == 60_000_001_000


def test_equal_quotas_are_equal_and_share_a_digest():
    one, same, other = Quota.parse("1/s"), Quota(limit=1, per=1), Quota.parse("1/s", name="other")
    assert one == same
    assert one.digest == same.digest
    assert one != other
    assert one.digest != other.digest


def test_a_change_of_any_setting_changes_the_digest():
    quotas = [
        Quota(limit=1, per=1, algorithm="fixed"),
        Quota(limit=2, per=1, algorithm="fixed"),
        Quota(limit=1, per=2, algorithm="fixed"),
        Quota(limit=1, per=1, algorithm="smooth"),
        Quota(limit=1, per=1, algorithm="smooth", burst=2),
        Quota(limit=1, per=1, algorithm="fixed", stagger=True),
    ]
    assert len({Quota(f"q{q.limit}", limit=q.limit, per=q.per).digest for q in quotas[:3]}) == 3
    assert len({quota.digest for quota in quotas}) == len(quotas)


def test_the_capacity_is_the_burst_where_there_is_one():
    assert Quota.parse("10/s", algorithm="smooth", burst=3).capacity == 3
    assert Quota.parse("10/s").capacity == 10


@pytest.mark.parametrize("text", ["5/ms", "5/ss", "5/hs", "5/ds"])
def test_the_plural_of_a_letter_is_no_unit(text):
    with pytest.raises(InputError, match="is not a rate"):
        Quota.parse(text)


@pytest.mark.parametrize("given", [None, 5, len, b"5/minute"])
def test_a_limit_is_a_quota_or_words(given):
    with pytest.raises(InputError, match=r"^a limit is a Quota, or words such as '100/minute', not "):
        quota_of(given)
