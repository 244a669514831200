"""A backtest on the terminal."""

from typing import TYPE_CHECKING, Any, Final

from rich.table import Table

from workbench.cli.console import fields, output

if TYPE_CHECKING:
    from workbench.policies import Backtest

__all__ = ["print_backtest"]

_METRICS: Final = ("precision", "recall", "f1")


def print_backtest(found: "Backtest") -> None:
    """What was found, the headline first."""
    content = found.content
    named = content["policy"]
    period = f"{content['first'][:10]} to {content['last'][:10]}"
    daily = f"{content['hits_per_day']:g} a day, of {content['users_hit']:,} users"
    pairs = [
        ("policy", f"{named['name']}@{named['version']}, digest {named['sha256'][:12]}"),
        ("dataset", f"{content['dataset'][:12]}, {content['events']:,} events, {period}"),
        ("hits", f"{content['hits']:,} ({content['share']:.3%}), {daily}"),
    ]
    if content["unknown"]:
        pairs.append(("unknown", f"{content['unknown']:,} events of which it cannot be told; not flagged"))
    if content["risk"] is not None and (until := content["risk"]["learnt_until"]):
        hint = "what is measured before then looks better than it will be"
        pairs.append(("risk", f"model {content['risk']['model'][:12]} learnt until {until[:10]}: {hint}"))
    if (said := content["labelled"]) is not None:
        told = f"{said['events']:,} events of {said['users']:,} users, {said['violations']:,} violations"
        pairs.append(("labelled", told))
        pairs += [(name, _interval(said[name])) for name in _METRICS]
    if (compared := content["comparison"]) is not None:
        old = content["against"]
        pairs.append(("against", f"{old['name']}@{old['version']}"))
        pairs += [(name, _group(compared[name])) for name in ("added", "dropped", "kept")]
        if (change := compared["difference"]) is not None:
            pairs += [(f"{name} changes by", _interval(change[name])) for name in _METRICS]
    rate = content["events"] / found.seconds if found.seconds else 0.0
    pairs += [("cost", f"{found.seconds:.2f} s, {rate:,.0f} events/s"), ("backtest", found.sha256)]
    output.print(fields(pairs), markup=False)
    for name in ("user", "action", "source"):
        table = Table(f"by {name}", "hits", box=None)
        for row in content[f"by_{name}"]["values"][:5]:
            table.add_row(row["value"], f"{row['hits']:,}")
        output.print(table, markup=False)
    _print_examples("examples", content["examples"])
    for name in ("added", "dropped") if compared is not None else ():
        _print_examples(f"examples of what is {name}", compared[f"{name}_examples"])


def _interval(metric: dict[str, float | None]) -> str:
    if metric["value"] is None:
        return "cannot be told"
    return f"{metric['value']:.3f} (95 % interval by user: {metric['low']:.3f} to {metric['high']:.3f})"


def _group(group: dict[str, int]) -> str:
    judged = f"; {group['violations']:,} violations, {group['compliant']:,} compliant" if "violations" in group else ""
    return f"{group['events']:,} events of {group['users']:,} users{judged}"


def _print_examples(title: str, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    asked = list(rows[0]["features"])
    table = Table("time", "user", "action", "resource", "outcome", *asked, "label", box=None, title=title)
    for row in rows:
        numbers = ["" if value is None else f"{value:g}" for value in row["features"].values()]
        label = row["label"] or ""
        table.add_row(
            row["timestamp"][:19], row["user"], row["action"], row["resource"], row["outcome"], *numbers, label
        )
    output.print(table, markup=False)
