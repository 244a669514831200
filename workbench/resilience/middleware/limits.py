"""The rules of a server at work: what a request is charged, and what its client is told. No interface is known here."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Final, Self, TypedDict

from workbench.clock import Clock, SystemClock
from workbench.errors import InputError
from workbench.resilience.decision import Decision, combined
from workbench.resilience.keys import (
    ForwardedHeader,
    bounded_key,
    check_prefix,
    client_address,
    ip_key,
    trusted_proxies,
)
from workbench.resilience.middleware.headers import Field, Fields, FieldStyle, ResetStyle
from workbench.resilience.middleware.problem import Answer, answer_to_decision
from workbench.resilience.middleware.rules import Request, Rule
from workbench.resilience.quota import Quota
from workbench.resilience.stores.degraded import Fail, Fallback
from workbench.resilience.stores.memory import MemoryStore
from workbench.resilience.stores.store import AsyncStore, Charge, Store, check_fits, must_be_awaited, unawaited
from workbench.resilience.tally import Tally

__all__ = ["LimitOptions", "Limits", "QuotaCounts", "Verdict"]


class LimitOptions(TypedDict, total=False):
    """The options that every middleware takes; see ``Limits``."""

    headers: FieldStyle
    reset: ResetStyle
    shadow: bool
    trusted: int | Iterable[str]
    forwarded_header: ForwardedHeader
    v6_prefix: int
    translate: bool
    fail: Fail
    clock: Clock | None


class QuotaCounts(TypedDict):
    """What a quota of a rule has decided since the start. ``allowed`` are those charged to it.

    ``degraded``: of both, those decided without the store. ``shadow``: whether what it refused was let through.
    """

    rule: str
    quota: str
    allowed: int
    refused: int
    degraded: int
    shadow: bool


Verdict = tuple[Answer | None, list[Field]]
"""The answer in place of the application's, if there is one; and the fields that its own gets besides."""

_UNTOUCHED: Final[Verdict] = (None, [])
_SECOND_NS: Final = 1_000_000_000
_ADDRESSES: Final = 8_192


class _Post:
    """A quota of a rule, and what it has decided. ``hit``: of the store, straight, if that is in this process."""

    __slots__ = ("allowed", "degraded", "fields", "hit", "quota", "refused", "rule")

    def __init__(self, rule: Rule, quota: Quota, fields: Fields, hit: Callable[[str, int], Decision] | None) -> None:
        self.rule = rule
        self.quota = quota
        self.fields = fields
        self.hit = hit
        self.allowed, self.refused, self.degraded = Tally(), Tally(), Tally()


_Charged = tuple[_Post, str, int]  # with key and cost


class Limits:
    """Rules, and the store that counts for them.

    ``rules``: all that are about a request are charged together or not at all, down to the first without quotas.
    ``store``: where is counted. ``headers``: ``x`` (``X-RateLimit-*``), ``ietf`` (``RateLimit``) or ``both``.
    ``reset``: whether ``X-RateLimit-Reset`` is in seconds from now (``delta``) or a Unix time (``epoch``).
    ``shadow``: decide and count, but let everything pass and tell no client: to try rules on real traffic.
    ``trusted``: the proxies before this server: their networks; or how many, if nobody can reach it but through them.
    ``forwarded_header``: the one header in which they say for whom they ask; the other one is never read.
    ``v6_prefix``: bits of an IPv6 address that count.
    ``translate``: whether a ``CircuitOpenError`` of the application becomes a 503, and a ``RateLimitedError`` a 429.
    ``fail``: what is decided if the store raises an error (those of this package have their own ``fail``, and do not).
    ``clock``: its wall time is that of ``epoch``.
    Raises ``InputError`` for what cannot be meant.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        *,
        store: Store | AsyncStore,
        headers: FieldStyle = "both",
        reset: ResetStyle = "delta",
        shadow: bool = False,
        trusted: int | Iterable[str] = (),
        forwarded_header: ForwardedHeader = "x-forwarded-for",
        v6_prefix: int = 64,
        translate: bool = True,
        fail: Fail = "closed",
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(rules, Iterable):
            raise InputError(f"the rules of a middleware are a list of Rule, not {rules!r:.80}")
        self.rules = tuple(rules)
        if not all(isinstance(rule, Rule) for rule in self.rules):
            raise InputError("the rules of a middleware are a list of Rule")
        if forwarded_header not in ("x-forwarded-for", "forwarded"):
            raise InputError(f"forwarded_header is 'x-forwarded-for' or 'forwarded', not {forwarded_header!r}")
        check_prefix(v6_prefix)
        self.store = store
        self.shadow = shadow
        self.translate = translate
        self.awaited = must_be_awaited(store)
        self._trusted = trusted_proxies(trusted)
        self.forwarded_header: ForwardedHeader | None = forwarded_header if self._trusted else None
        self._name = lru_cache(maxsize=_ADDRESSES)(partial(_name, v6_prefix=v6_prefix))
        self._fallback = Fallback(fail, clock=clock)
        time_ns = (SystemClock() if clock is None else clock).time_ns

        def post(rule: Rule, quota: Quota) -> _Post:
            check_fits(store, quota)
            hit = store.table(quota).hit if type(store) is MemoryStore else None
            return _Post(rule, quota, Fields(quota, style=headers, reset=reset, time_ns=time_ns), hit)

        self._posts = [(rule, [post(rule, quota) for quota in rule.quotas]) for rule in self.rules]
        _check_different([post for _, posts in self._posts for post in posts])

    def for_threads(self) -> Self:
        """Itself. Raises ``InputError`` if the store must be awaited."""
        unawaited(self.store)
        return self

    def for_a_loop(self) -> Self:
        """Itself. Raises ``InputError`` if the store would stop an event loop while it waits."""
        if not self.awaited and not isinstance(self.store, MemoryStore):
            raise InputError(
                f"{type(self.store).__name__} would stop the event loop while it waits; use a store that is awaited, "
                "such as AsyncRedisStore"
            )
        return self

    def snapshot(self) -> list[QuotaCounts]:
        """What each quota of each rule has decided, in the order of the rules."""
        return [
            {
                "rule": post.rule.scope,
                "quota": post.quota.name,
                "allowed": post.allowed.read(),
                "refused": post.refused.read(),
                "degraded": post.degraded.read(),
                "shadow": self.shadow,
            }
            for _, posts in self._posts
            for post in posts
        ]

    def client(self, peer: str | None, forwarded: str) -> str:
        """The key of a client's address.

        ``peer``: who is connected. ``forwarded``: the value of ``forwarded_header``, or nothing.
        """
        if forwarded:
            peer = client_address(peer, forwarded, trusted=self._trusted, header=self.forwarded_header or "forwarded")
        return self._name(peer)

    def judge(self, request: Request) -> Verdict:
        """Charge ``request``, and say what is to be done with it."""
        charged = self._charged(request)
        if not charged:
            return _UNTOUCHED
        post, key, cost = charged[0]
        try:
            if post.hit is not None and len(charged) == 1:
                decisions = [post.hit(key, cost)]
            else:
                decisions = self.store.hit(_charges(charged))  # type: ignore[assignment]
        except Exception as error:
            decisions = self._instead(charged, error)
        return self._several(charged, decisions)

    async def judge_awaited(self, request: Request) -> Verdict:
        """The same with a store that is awaited."""
        charged = self._charged(request)
        if not charged:
            return _UNTOUCHED
        try:
            decisions = await self.store.hit(_charges(charged))  # type: ignore[misc]
        except Exception as error:
            decisions = self._instead(charged, error)
        return self._several(charged, decisions)

    def _charged(self, request: Request) -> list[_Charged]:
        """What ``request`` is charged by all rules that are about it, down to the first that frees it."""
        charged: list[_Charged] = []
        method, path = request.method, request.path
        for rule, posts in self._posts:
            if (rule.methods is None or method in rule.methods) and rule.fits(path):
                if not posts:
                    break
                key = rule.key_of(request)
                if key is not None:
                    cost = rule.cost_of(request)
                    for post in posts:
                        charged.append((post, key, cost))
        return charged

    def _one(self, post: _Post, decision: Decision) -> Verdict:
        allowed = decision.allowed
        next(post.allowed.ticks if allowed else post.refused.ticks)
        if decision.degraded:
            next(post.degraded.ticks)
        if self.shadow:
            return _UNTOUCHED
        fields = post.fields.of(decision)
        return (None, fields) if allowed else (answer_to_decision(decision, fields), fields)

    def _several(self, charged: Sequence[_Charged], decisions: Sequence[Decision]) -> Verdict:
        if len(charged) == 1:
            return self._one(charged[0][0], decisions[0])
        told = combined(decisions)
        for (post, _, _), decision in zip(charged, decisions, strict=True):
            if told.allowed:
                next(post.allowed.ticks)
            elif not decision.allowed:
                next(post.refused.ticks)
            if decision.degraded:
                next(post.degraded.ticks)
        if self.shadow:
            return _UNTOUCHED
        fields = Fields.together([post.fields for post, _, _ in charged], decisions, told)
        return (None, fields) if told.allowed else (answer_to_decision(told, fields), fields)

    def _instead(self, charged: Sequence[_Charged], error: Exception) -> list[Decision]:
        """The decisions where the store gave an error."""
        return self._fallback.decide(_charges(charged), consume=True, wait_ns=_SECOND_NS, why=error)


def _charges(charged: Sequence[_Charged]) -> list[Charge]:
    return [Charge(post.quota, key, cost) for post, key, cost in charged]


def _name(address: str | None, *, v6_prefix: int) -> str:
    if address is None:
        return "unknown"
    try:
        return ip_key(address, v6_prefix=v6_prefix)
    except InputError:  # a server may have names instead, as test clients do
        return bounded_key(address)


def _check_different(posts: Sequence[_Post]) -> None:
    """No request may be charged twice to one key of one quota."""
    seen = set()
    for post in posts:
        kind = "function" if callable(post.rule.key) else post.rule.key
        which = (post.rule.scope, kind, post.quota.digest)
        if which in seen:
            raise InputError(
                f"rule {post.rule.scope!r}: quota {post.quota.name!r} stands there twice for the same key; "
                "give one of them another name"
            )
        seen.add(which)
