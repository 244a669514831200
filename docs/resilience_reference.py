"""The page on limiters and breakers, from their signatures and docstrings; ``build_reference`` writes it."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from typing import Any, is_typeddict

from workbench import errors, resilience
from workbench.resilience import keys, middleware, stores
from workbench.resilience.breaker import BreakerSnapshot
from workbench.resilience.metrics import Metrics
from workbench.resilience.middleware.headers import Fields, text_fields

LONGEST = 110
GROUPS = {
    "Quotas and decisions": (resilience, ["Quota", "Algorithm", "Decision", "NEVER", "combined"]),
    "Limiters": (
        resilience,
        ["RateLimiter", "AsyncRateLimiter", "CompositeLimiter", "AsyncCompositeLimiter", "EVERYBODY", "limit"],
    ),
    "Stores": (stores, ["MemoryStore", "RedisStore", "AsyncRedisStore", "Charge", "Store", "AsyncStore"]),
    "Keys": (keys, ["ip_key", "client_address", "trusted_proxies", "bounded_key", "PathTemplate"]),
    "Middleware": (
        middleware,
        ["RateLimitASGI", "RateLimitWSGI", "RateLimitTornado", "Rule", "Request", "Limits", "QuotaCounts"],
    ),
    "Breakers": (resilience, ["CircuitBreaker", "Outcome", "http_outcome", "BreakerState", "Change", "Breakers"]),
}
CONSTANTS = {
    "Algorithm": "How a quota counts; which one to take is said [here](../how-to/limit-and-break.md#how-to-choose).",
    "NEVER": "The `retry_after_ns` of what costs more than the whole capacity: no waiting helps.",
    "EVERYBODY": "The key of a quota for which a request names none: all requests are counted together.",
}
FIELD_MEANINGS = {
    "X-RateLimit-Limit": "units that fit at most, of the quota that decided",
    "X-RateLimit-Remaining": "units that would pass now",
    "X-RateLimit-Reset": 'when nothing is used any more: seconds from now, or a Unix time with `reset="epoch"`',
    "RateLimit-Policy": "each quota that the request was charged to: `q` units in `w` seconds",
    "RateLimit": "each of them: `r` units left; in `t` seconds there will be more",
    "Retry-After": "on a refusal only: seconds, rounded up, never 0; not there if no waiting helps",
}


def resilience_page() -> str:
    """Every public name of limiters and breakers, header fields, metrics and errors."""
    lines = [
        "# Limiters and breakers\n",
        "How to use them: [limit and break](../how-to/limit-and-break.md). Why so: [decisions](../design/resilience.md).\n",
        "Times with `_ns` in their names are nanoseconds; all others are seconds.\n",
    ]
    for title, (module, names) in GROUPS.items():
        lines += [f"## {title}\n", f"`from {module.__name__} import ...`\n"]
        for name in names:
            lines += described(name, getattr(module, name))
    lines += described("BreakerSnapshot", BreakerSnapshot)
    lines += ["## Metrics for Prometheus\n", "`from workbench.resilience.metrics import Metrics`\n"]
    lines += [*described("Metrics", Metrics), *header_fields(), *metric_names(), *error_kinds()]
    return "\n".join(lines).rstrip("\n") + "\n"


def described(name: str, thing: object) -> Iterator[str]:
    """A heading, how it is called, and what its docstring says; of a class its methods too."""
    yield f"### {name}\n"
    if name in CONSTANTS:
        yield f"    {name} = {thing!r}\n".replace("typing.", "")
        yield CONSTANTS[name] + "\n"
        return
    plain = getattr(thing, "_is_protocol", False) or is_typeddict(thing)
    if inspect.isclass(thing) and issubclass(thing, Enum):
        yield f"    {', '.join(member.name for member in thing)}\n"
    elif not plain:
        yield signature(name, thing)
    yield prose(thing)
    if is_typeddict(thing):
        yield from ["| key | type |", "|---|---|"]
        for row in parameters(thing):
            key, kind = row.replace("|", "\\|").split(": ")
            yield f"| `{key}` | {kind} |"
        yield ""
    elif inspect.isclass(thing) and not issubclass(thing, Enum):
        yield from members(thing)


def members(kind: type) -> Iterator[str]:
    """The public methods and properties of a class, those it inherits from ours included."""
    rows = []
    for name, member in inspect.getmembers_static(kind):
        function = member.__func__ if isinstance(member, classmethod) else member
        about = inspect.getdoc(function)
        module = getattr(getattr(function, "fget", None) or function, "__module__", None) or ""
        if name.startswith("_") or not about or not module.startswith("workbench."):
            continue
        if isinstance(function, property):
            rows.append(f"| `{name}` | {cell(about)} |")
        elif inspect.isfunction(function):
            shown = ", ".join(parameters(function)).replace("|", "\\|")
            rows.append(f"| `{name}({shown})` | {cell(about)} |")
    if rows:
        yield from ["| member | |", "|---|---|", *rows, ""]


def signature(name: str, thing: Any) -> str:
    """How ``thing`` is called, indented as code; one parameter a line if it is long."""
    rows = parameters(thing)
    whole = f"    {name}({', '.join(rows)})\n"
    if len(whole) <= LONGEST:
        return whole
    return "\n".join([f"    {name}(", *(f"        {row}," for row in rows), "    )\n"])


def parameters(thing: Any) -> list[str]:
    """The parameters of a function or class as its source has them, which is the same for every version of Python."""
    function = thing.__init__ if inspect.isclass(thing) else thing
    if not inspect.isfunction(function) or function.__code__.co_filename.startswith("<"):
        body = source_of(thing).body  # a dataclass or named tuple: its fields
        return [ast.unparse(node) for node in body if isinstance(node, ast.AnnAssign)]
    given = source_of(function).args
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    rows = [with_default(*pair) for pair in zip(positional, defaults, strict=True)]
    if given.posonlyargs:
        rows.insert(len(given.posonlyargs), "/")
    if given.vararg:
        rows.append(f"*{ast.unparse(given.vararg)}")
    elif given.kwonlyargs:
        rows.append("*")
    rows += [with_default(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    if given.kwarg:
        rows.append(f"**{ast.unparse(given.kwarg)}")
    return [row for row in rows if row not in ("self", "cls")]


def source_of(thing: Any) -> Any:
    """The syntax tree of a function or class."""
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def with_default(argument: ast.arg, default: ast.expr | None) -> str:
    """``name: type = default``."""
    return ast.unparse(argument) if default is None else f"{ast.unparse(argument)} = {ast.unparse(default)}"


def prose(thing: object) -> str:
    """A docstring in Markdown: examples stay as they are, as code."""
    parts = []
    for part in (inspect.getdoc(thing) or "").split("\n\n"):
        if part.startswith((">>>", "    ")):
            lines = [line.removeprefix("    ") if part.startswith("    ") else line for line in part.splitlines()]
            parts.append("\n".join(f"    {line}" for line in lines))
        else:
            parts.append(part.replace("``", "`"))
    return "\n\n".join(parts) + "\n"


def cell(text: str) -> str:
    """What a docstring says before its examples, for one cell of a table."""
    told = " ".join(part for part in text.split("\n\n") if not part.startswith((">>>", "    ")))
    return " ".join(told.replace("``", "`").replace("|", "\\|").split())


def header_fields() -> Iterator[str]:
    """What the middleware tells clients, by example."""
    quota = resilience.Quota("user", limit=100, per=60)
    refusal = resilience.Decision(False, "user", 100, 0, 6_400_000_000, 6_400_000_000, 59_000_000_000)
    yield "## Header fields\n"
    yield "Of a refusal by `Quota('user', limit=100, per=60)` that passes again in 6.4 seconds:\n"
    yield from ["| field | example | meaning |", "|---|---|---|"]
    for name, value in text_fields(Fields(quota).of(refusal)):
        yield f"| `{name}` | `{value}` | {FIELD_MEANINGS[name]} |"
    yield (
        "\nThe first three are `headers='x'`, the next two `headers='ietf'` (draft-ietf-httpapi-ratelimit-headers-11, RFC "
        "9651); both are sent unless one is chosen. A 429 has a body of `application/problem+json` (RFC 9457) with "
        "`violated-policies`, and `Cache-Control: no-store`.\n"
    )


def metric_names() -> Iterator[str]:
    """What the collector gives for one middleware, one store and one breaker."""
    store, breakers = resilience.MemoryStore(), resilience.Breakers()
    breakers.get("db")
    limits = middleware.Limits([middleware.Rule("/", "5/minute")], store=store)
    yield "## Metric names\n"
    yield from ["| name | type | labels | meaning |", "|---|---|---|---|"]
    for metric in Metrics(limits={"web": limits}, stores={"local": store}, breakers=breakers).collect():
        labels: dict[str, set[str]] = {}
        for sample in metric.samples:
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
        told = [
            f"`{label}` ({', '.join(sorted(values))})" if label in ("outcome", "event", "state") else f"`{label}`"
            for label, values in labels.items()
        ]
        yield f"| `{metric.samples[0].name}` | {metric.type} | {', '.join(told)} | {metric.documentation} |"
    yield "\nIn shadow the outcome `refused` is called `shadow_refused`. The events of a store in Redis are its `counts`.\n"


def error_kinds() -> Iterator[str]:
    """The errors of limiters and breakers, from the one tree of errors."""
    yield "## Errors\n"
    yield "`from workbench.errors import ...`; options that cannot be meant raise `InputError`.\n"
    yield from ["| error | |", "|---|---|"]
    for name in ("ResilienceError", "RateLimitedError", "CircuitOpenError", "StoreUnavailableError"):
        yield f"| `{name}` | {cell(inspect.getdoc(getattr(errors, name)) or '')} |"
