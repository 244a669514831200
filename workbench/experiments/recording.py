"""What a notebook says of its results: ``record`` for numbers, ``figure`` and ``table`` for what readers look at.

Each becomes an output of the calling cell with a MIME type of ours, so that a value is bound to the cell that made it.
"""

import math
import numbers
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = ["FIGURE_MIME", "TABLE_MIME", "VALUE_MIME", "figure", "record", "table"]

VALUE_MIME: Final = "application/vnd.workbench.value.v1+json"
FIGURE_MIME: Final = "application/vnd.workbench.figure.v1+json"
TABLE_MIME: Final = "application/vnd.workbench.table.v1+json"


def _display(bundle: dict[str, Any]) -> None:
    from IPython.core.getipython import get_ipython
    from IPython.display import publish_display_data

    if get_ipython() is None:
        print(bundle["text/plain"])  # noqa: T201  # in a plain script the text is the display
    else:
        publish_display_data(bundle)


def _name(name: str) -> str:
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"{name!r} cannot name a value, figure or table: use letters, digits and underscores")
    return name


def _number(name: str, value: object, role: str) -> int | float | bool | str:
    """``value`` as a plain Python scalar (NumPy scalars are unwrapped)."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if abs(value) > 2**53:
            raise ValueError(f"{role} of {name!r} is a whole number beyond 2^53: record it as a float or a text")
        return value
    if isinstance(value, numbers.Real):
        if not math.isfinite(value):
            raise ValueError(f"{role} of {name!r} is {value}: record a finite number, or the reason why there is none")
        return float(value)
    raise TypeError(f"{role} of {name!r} is a {type(value).__name__}: expected a number, a truth value or a text")


def record(
    name: str,
    value: float | bool | str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str | None = None,
    tolerance: float = 0.0,
) -> None:
    """Record a value of this run.

    ``low`` and ``high`` bound its 95 % interval, ``unit`` is e.g. ``"s"``; ``tolerance`` is how far a re-execution may
    differ (absolute; 0 means not at all).

    Raises ``ValueError`` for a name that is no identifier, a number that is not finite or bounds the wrong way round.

    >>> record("roc_auc", 0.91, low=0.88, high=0.93)
    roc_auc = 0.91 (0.88 to 0.93)
    """
    payload: dict[str, Any] = {"name": _name(name), "value": _number(name, value, "the value")}
    payload["type"] = type(payload["value"]).__name__
    for role, bound in (("low", low), ("high", high)):
        payload[role] = None if bound is None else _number(name, bound, role)
        if isinstance(payload[role], bool | str):
            raise TypeError(f"{role} of {name!r} is a {type(bound).__name__}: expected a number")
    if low is not None and high is not None and low > high:
        raise ValueError(f"the bounds of {name!r} are the wrong way round: {low} > {high}")
    payload["unit"] = unit
    payload["tolerance"] = _number(name, float(tolerance), "the tolerance")
    interval = f" ({payload['low']:.6g} to {payload['high']:.6g})" if low is not None and high is not None else ""
    shown = f"{payload['value']:.6g}" if isinstance(payload["value"], float) else str(payload["value"])
    _display({VALUE_MIME: payload, "text/plain": f"{name} = {shown}{' ' + unit if unit else ''}{interval}"})


def figure(name: str, figure: "Figure", *, alt: str, caption: str = "") -> None:
    """Show a matplotlib figure as SVG (the same bytes every time) and close it.

    ``alt`` says in words what the figure shows, for readers who cannot see it; it has no default on purpose.
    """
    from workbench.pages import figure_svg

    if not alt.strip():
        raise ValueError(f"figure {name!r} needs an alt text: what does it show?")
    svg = figure_svg(figure)
    if (plots := _pyplot()) is not None:
        plots.close(figure)
    payload = {"name": _name(name), "alt": alt, "caption": caption}
    _display({FIGURE_MIME: payload, "image/svg+xml": svg, "text/plain": f"[figure {name}: {alt}]"})


def _pyplot() -> Any:
    import sys

    return sys.modules.get("matplotlib.pyplot")


def table(name: str, frame: "pd.DataFrame", *, caption: str = "", digits: int = 3) -> None:
    """Show a DataFrame (without its index) as a table; ``digits`` are the decimals shown of floats.

    The unrounded cells are kept with it. At most 1,000 rows: a table is for readers.
    """
    if len(frame) > 1_000:
        raise ValueError(f"table {name!r} has {len(frame):,} rows: show at most 1,000, or a summary")

    def rounded(value: float) -> str:
        return f"{value:.{digits}f}"

    columns = [str(column) for column in frame.columns]
    rows = [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)]
    payload = {"name": _name(name), "caption": caption, "digits": digits, "columns": columns, "rows": rows}
    _display(
        {
            TABLE_MIME: payload,
            "text/html": frame.to_html(index=False, border=0, float_format=rounded),
            "text/plain": frame.to_string(index=False, float_format=rounded),
        }
    )


def _cell(value: object) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)
