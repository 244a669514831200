"""Style sheets of pages and frames, and the policies that allow each of them by its hash and nothing else."""

import base64
import hashlib
from functools import cache
from importlib import resources
from typing import Final

from markupsafe import Markup

__all__ = ["FRAME_POLICY", "PAGE_POLICY", "style"]


@cache
def style(name: str) -> Markup:
    """The style sheet of ``page`` or ``frame``: what both have in common, then its own."""
    folder = resources.files("workbench.pages")
    sheets = (folder.joinpath(f"{part}.css").read_text(encoding="utf-8") for part in ("base", name))
    return Markup("".join(sheets))  # noqa: S704


def _source(name: str) -> str:
    """The style sheet as a source of a policy (CSP Level 3, section 2.3.1)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style(name).encode()).digest()).decode()}'"


_NOWHERE: Final = "base-uri 'none'; form-action 'none'"

# A srcdoc document has the policy of the page around it as well as its own (HTML, "policy container"), so the page must
# allow the frame's style sheet too. `frame-src` is not asked about srcdoc: under 'none' it stops every other frame.
PAGE_POLICY: Final = f"default-src 'none'; style-src {_source('page')} {_source('frame')}; img-src data:; {_NOWHERE}"
FRAME_POLICY: Final = f"default-src 'none'; style-src {_source('frame')}; {_NOWHERE}"
