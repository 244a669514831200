"""Where the dashboards' own files are: style sheets, Voila's template, the notebooks."""

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from markupsafe import Markup

from workbench.errors import NotFoundError

__all__ = ["STYLE_FOLDERS", "TEMPLATES", "notebook", "sheet"]

# What Voila is given as a place of templates (JUPYTER_PATH).
TEMPLATES: Final = Path(__file__).resolve().parent / "jupyter"
# Where its template finds the style sheets and the script that it includes.
STYLE_FOLDERS: Final = [str(TEMPLATES.parent), str(TEMPLATES.parents[1] / "pages")]


def notebook(name: str) -> Path:
    """The notebook of a page, as it came with the package: what a workspace holds under that name is not run.

    Raises ``NotFoundError`` if it is not there.
    """
    package = TEMPLATES.parents[1]
    installed = package / "_workspace"
    home = installed if installed.is_dir() else package.parent
    path = home / "notebooks" / "dashboards" / f"{name}.ipynb"
    if not path.is_file():
        raise NotFoundError(f"the page {name} is not in this installation: install the package again")
    return path


@cache
def sheet(name: str) -> Markup:
    """The style sheet ``login`` or ``dashboard``, with the base of all pages before it."""
    base = resources.files("workbench.pages").joinpath("base.css").read_text(encoding="utf-8")
    own = resources.files("workbench.dashboards").joinpath(f"{name}.css").read_text(encoding="utf-8")
    return Markup(base + own)  # noqa: S704
