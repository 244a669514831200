"""The fields are such as RFC 9651 and RFC 9110 have them, whatever was decided."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.clock import VirtualClock
from workbench.resilience import NEVER, Charge, Decision, MemoryStore, Quota, combined
from workbench.resilience.middleware.headers import Fields, text_fields

START_NS = 1_790_000_000_000_000_000


class Strict:
    """RFC 9651, 4.2, as far as a List of String items with parameters goes; everything else is an error."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        assert text.isascii()

    def take(self, pattern: str) -> str:
        found = re.compile(pattern).match(self.text, self.at)
        assert found, f"expected {pattern} at {self.at} of {self.text!r}"
        self.at = found.end()
        return found[0]

    def looks(self, character: str) -> bool:
        return self.text.startswith(character, self.at)

    def list(self) -> list[tuple[str, dict[str, object]]]:
        self.take(" *")
        items = [self.item()]
        while self.at < len(self.text):
            self.take("[ \t]*,[ \t]*")
            items.append(self.item())
        return items

    def item(self) -> tuple[str, dict[str, object]]:
        value, parameters = self.string(), {}
        while self.looks(";"):
            self.take("; *")
            name = self.take(r"[a-z*][a-z0-9_.*-]*")
            assert name not in parameters, "a parameter twice is legal, but not what we write"
            parameters[name] = True
            if self.looks("="):
                self.take("=")
                parameters[name] = self.string() if self.looks('"') else int(self.take(r"-?[0-9]{1,15}(?![0-9.])"))
        return value, parameters

    def string(self) -> str:
        text = self.take(r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"')
        return re.sub(r"\\(.)", r"\1", text[1:-1])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a;q=1",
        '"a',
        '"a";Q=1',
        '"a" ;q=1',
        '"a";q=1.',
        '"a";q=1234567890123456',
        '"a",',
        '"a" "b"',
        r'"\a"',
        '"\t"',
    ],
)
def test_the_parser_of_these_tests_is_strict(text):
    with pytest.raises(AssertionError):
        Strict(text).list()


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=100)
QUOTAS = st.builds(
    lambda name, limit, per, rest: Quota(name, limit=limit, per=per, algorithm=rest[0], burst=rest[1]),
    NAMES,
    st.one_of(st.integers(1, 9), st.integers(1, 10**20)),
    st.one_of(st.floats(1e-9, 1e8), st.integers(1, 10**8)),
    st.one_of(
        st.tuples(st.sampled_from(["approx", "fixed"]), st.none()),
        st.tuples(st.just("smooth"), st.one_of(st.none(), st.integers(1, 20))),
    ),
)


def written(quotas: list[Quota], decisions: list[Decision], **options: str) -> dict[str, str]:
    fields = [Fields(quota, **options) for quota in quotas]
    if len(quotas) == 1:
        return dict(text_fields(fields[0].of(decisions[0])))
    return dict(text_fields(Fields.together(fields, decisions, combined(decisions))))


def check(quotas: list[Quota], decisions: list[Decision]) -> None:
    told = written(quotas, decisions)
    allowed = all(decisions)
    shown = [decision for decision in decisions if allowed or not decision.allowed]
    policies, shares = Strict(told["RateLimit-Policy"]).list(), Strict(told["RateLimit"]).list()
    assert [name for name, _ in policies] == [quota.name for quota in quotas]
    assert [name for name, _ in shares] == [decision.quota for decision in shown]
    for (_, policy), quota in zip(policies, quotas, strict=True):
        assert policy["q"] == min(quota.limit, 10**15 - 1)
        if quota.period_ns < 10**9:
            assert set(policy) == {"q"}
        else:
            assert set(policy) == {"q", "w"}
            assert 0 <= policy["w"] * 10**9 - quota.period_ns < 10**9
    for (_, share), decision in zip(shares, shown, strict=True):
        assert set(share) <= {"r", "t"}
        assert share["r"] == min(decision.remaining, 10**15 - 1)
        assert 0 <= share.get("t", 0) * 10**9 - decision.next_after_ns < 10**9
    limit, remaining, reset = (told[f"X-RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset"))
    assert re.fullmatch(r"[0-9]+,[0-9]+,[0-9]+", f"{limit},{remaining},{reset}")
    assert int(remaining) <= int(limit)
    if allowed or any(decision.retry_after_ns == NEVER for decision in decisions):
        assert "Retry-After" not in told
    else:
        wait = int(told["Retry-After"])
        assert 1 <= wait <= int(reset)
        assert all(wait >= share.get("t", 0) for _, share in shares)
        assert all(wait * 10**9 >= decision.retry_after_ns for decision in decisions)
        at = written(quotas, decisions, reset="epoch", time_ns=lambda: START_NS)["X-RateLimit-Reset"]
        assert wait <= int(at) - START_NS // 10**9


@given(
    st.lists(QUOTAS, min_size=1, max_size=3, unique_by=lambda quota: quota.name),
    st.lists(st.tuples(st.floats(0, 2), st.one_of(st.integers(1, 3), st.just(None))), min_size=1, max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_the_fields_of_any_decision_are_well_formed_and_agree(quotas, steps):
    clock = VirtualClock(start_ns=START_NS)
    store = MemoryStore(clock=clock)
    shortest = min(quota.period_ns for quota in quotas)
    for wait, cost in steps:
        clock.advance_ns(int(wait * shortest))
        charges = [Charge(quota, "k", quota.capacity if cost is None else cost) for quota in quotas]
        check(quotas, store.hit(charges))


@pytest.mark.parametrize("wait_ns", [1, 999_999_999, 1_000_000_000, 1_000_000_001, 59_999_999_999, 60_000_000_000])
def test_retry_after_is_rounded_up_and_never_nothing(wait_ns):
    quota = Quota("q", limit=1, per=60)
    told = written([quota], [Decision(False, "q", 1, 0, wait_ns, wait_ns, 60_000_000_000, refused=("q",))])
    assert int(told["Retry-After"]) == -(-wait_ns // 10**9) >= 1
    assert told["RateLimit"] == f'"q";r=0;t={told["Retry-After"]}'


def test_a_retry_is_not_told_for_after_the_reset_even_without_the_store():
    quota = Quota("q", limit=1, per=60)
    told = written([quota], [Decision(False, "q", 1, 0, 60_000_000_000, 0, 0, refused=("q",), degraded="local")])
    assert told["Retry-After"] == told["X-RateLimit-Reset"] == "60"


def test_a_name_is_quoted_and_cannot_end_its_string():
    quota = Quota('100%d "free" \\ \', x;y=1', limit=1, per=1.5)
    told = written([quota], [Decision(True, quota.name, 1, 0, 0, 1, 1)])
    assert Strict(told["RateLimit-Policy"]).list() == [(quota.name, {"q": 1, "w": 2})]
    assert Strict(told["RateLimit"]).list() == [(quota.name, {"r": 0, "t": 1})]


def test_an_integer_never_has_more_than_fifteen_digits():
    quota = Quota("q", limit=10**20, per=1)
    told = written([quota], [Decision(True, "q", 10**20, 10**20 - 1, 0, 1, 1)])
    assert Strict(told["RateLimit-Policy"]).list() == [("q", {"q": 10**15 - 1, "w": 1})]
    assert Strict(told["RateLimit"]).list() == [("q", {"r": 10**15 - 1, "t": 1})]
