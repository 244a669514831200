"""The page around the content: template environment and how numbers are written."""

from functools import cache
from typing import Any

import jinja2

from workbench.pages.styles import PAGE_POLICY, style

__all__ = ["environment", "number", "render"]


def number(value: object, digits: int | None = None) -> str:
    """A number as readers see it: whole ones in groups of three, others with ``digits`` decimals or 4 significant ones.

    >>> number(49828), number(0.8926362), number(0.25, 1), number("yes"), number(None)
    ('49,828', '0.8926', '0.2', 'yes', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if digits is not None:
            return f"{value:.{digits}f}"
        return f"{value:.4g}" if value == 0 or 1e-4 <= abs(value) < 1e7 else f"{value:.3e}"
    return str(value)


@cache
def environment(package: str) -> jinja2.Environment:
    """Templates of ``package`` and of this one; everything put into them is escaped."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name, ".") for name in ("workbench.pages", package)]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["number"] = number
    return made


def render(package: str, template: str, **content: Any) -> str:
    """Render ``template`` of ``package``; it extends ``page.html.j2`` and may use ``macros.html.j2``."""
    made = environment(package).get_template(template)
    return made.render(style=style("page"), policy=PAGE_POLICY, **content)
