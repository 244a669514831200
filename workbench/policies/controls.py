"""Controls: what a policy implements, by the ids that auditors know.

The package brings a short catalogue; a workspace adds its own files in ``policies/controls/``.
"""

from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from workbench.documents import Strict, read_document
from workbench.errors import InputError
from workbench.workspace import Workspace

__all__ = ["SHIPPED", "Catalogue", "ControlId", "controls_of"]

SHIPPED: Final = Path(__file__).with_name("controls.yaml")

ControlId = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Za-z0-9]{0,19}-[A-Za-z0-9][A-Za-z0-9.()-]{0,29}$")]


class Catalogue(Strict):
    """A file of controls: ids and what they are called."""

    title: str = Field(min_length=1, max_length=120)
    controls: dict[ControlId, Annotated[str, StringConstraints(min_length=1, max_length=200)]]


def controls_of(workspace: Workspace | None) -> dict[str, str]:
    """Every control known in ``workspace`` (without one, those of the package): its title by its id, in order.

    Raises ``InputError`` for a file that is not a catalogue, and where two files call one id differently.

    >>> controls_of(None)["NIST-AC-2"]
    'Account Management'
    """
    found: dict[str, str] = {}
    own = [] if workspace is None else sorted((workspace.root / "policies" / "controls").glob("*.yaml"))
    for path in (SHIPPED, *own):
        for name, title in read_document(
            path, Catalogue, what="catalogue of controls", error=InputError
        ).controls.items():
            if found.setdefault(name, title) != title:
                raise InputError(f"{path.name} calls the control {name} {title!r}; it is known as {found[name]!r}")
    return dict(sorted(found.items()))
