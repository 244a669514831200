"""What a kernel may see, and what may be seen of it: environment variables in, paths and secrets out."""

import os
import re
import site
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from workbench.files import storage_errors
from workbench.workspace import Workspace

if TYPE_CHECKING:
    from nbformat import NotebookNode

__all__ = ["SETTINGS", "Redactor", "kernel_environment"]

# Pinned so that the same inputs give the same outputs. Recorded in every run.
SETTINGS: Final = {
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "LANG": "C.UTF-8",
    "SOURCE_DATE_EPOCH": "946684800",
    "PYTHONUTF8": "1",
    "PYTHONNOUSERSITE": "1",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
}
# Let through from the user's environment; nothing else is, so no secret can be printed by a notebook.
_PASSED: Final = ("PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")
_MATPLOTLIBRC: Final = "svg.hashsalt: workbench\nfigure.dpi: 100\nfont.family: DejaVu Sans\n"
_SECRET_NAME: Final = re.compile(
    r"(?i)key|token|secret|passw|passphrase|credential|cookie|(^|_)(auth|authorization|pat|dsn)(_|$)"
)
_PASSWORD_IN_URL: Final = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_CELL_FILE: Final = re.compile(r"<temporary>/ipykernel_\d+/\d+\.py")


def kernel_environment(workspace: Workspace, notebook_folder: Path, scratch: Path) -> dict[str, str]:
    """The whole environment of a kernel. Its home is ``scratch``, so no personal configuration reaches it."""
    (scratch / "matplotlibrc").write_text(_MATPLOTLIBRC)
    cache = workspace.data / ".cache"
    with storage_errors(cache):
        cache.mkdir(parents=True, exist_ok=True)
    passed = {name: os.environ[name] for name in _PASSED if name in os.environ}
    return {
        **passed,
        **SETTINGS,
        "HOME": str(scratch),
        "IPYTHONDIR": str(scratch / "ipython"),
        "MATPLOTLIBRC": str(scratch / "matplotlibrc"),
        "MPLCONFIGDIR": str(cache),
        "PYTHONPATH": str(notebook_folder),
        "WORKBENCH_HOME": str(workspace.root),
    }


class Redactor:
    """Takes this machine's folders and the user's secrets out of texts.

    Folders become ``<workspace>``, ``<run>``, ``<python>``, ``<temporary>``, ``~``; the values of environment variables
    whose names look secret become ``<redacted NAME>``. A value is found as it stands: in another encoding (base64,
    percent signs), or shorter than 8 characters, it is not.
    """

    def __init__(
        self,
        workspace: Workspace,
        *,
        work: Path | None = None,
        home: Path | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        package = Path(__file__).resolve().parents[2]
        folders = [(str(path), shown) for path, shown in ((work, "<run>"), (home, "~")) if path]
        folders += [
            (str(workspace.root), "<workspace>"),
            *((path, "<python>") for path in (*site.getsitepackages(), sys.prefix, sys.base_prefix)),
            (str(package), "<workbench>"),
            (tempfile.gettempdir(), "<temporary>"),
            (str(Path.home()), "~"),
        ]
        replacements: list[tuple[str, str]] = []
        for path, shown in folders:
            if len(path) > 1:
                replacements += [(path, shown), (os.path.realpath(path), shown)]
        # Longest first, so that a folder inside another keeps its own name; first come, first served among equals.
        ordered = sorted(dict(reversed(replacements)).items(), key=lambda pair: -len(pair[0]))
        self._paths = [(_path_pattern(path), shown) for path, shown in ordered]
        self._secrets = sorted(
            (
                (value, f"<redacted {name}>")
                for name, value in environ.items()
                if (_SECRET_NAME.search(name) and len(value) >= 8 and not os.path.exists(value))  # noqa: PTH110
                or _PASSWORD_IN_URL.search(value)
            ),
            key=lambda pair: -len(pair[0]),
        )

    def holds_secret(self, text: str) -> bool:
        """Whether a secret of the environment stands in ``text``."""
        return any(secret in text for secret, _ in self._secrets)

    def text(self, text: str) -> str:
        for secret, shown in self._secrets:
            text = text.replace(secret, shown)
        for pattern, shown in self._paths:
            text = pattern.sub(lambda _, shown=shown: shown, text)  # type: ignore[misc]
        return _CELL_FILE.sub("<cell>", text)

    def value(self, value: Any) -> Any:
        """``value`` with all strings inside it redacted, keys too; base64 pictures are left alone."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return type(value)(
                {self.text(k): v if k in ("image/png", "image/jpeg") else self.value(v) for k, v in value.items()}
            )
        if isinstance(value, list):
            return [self.value(item) for item in value]
        return value

    def cell(self, cell: "NotebookNode") -> None:
        """Redact a cell's outputs in place; what was printed piece by piece becomes one output first."""
        if "outputs" in cell:
            _join_streams(cell)
            cell["outputs"] = self.value(cell["outputs"])


def _path_pattern(path: str) -> re.Pattern[str]:
    """Matches ``path`` as a whole folder. A path of one part, such as /tmp, is also a part of many others, so it must
    stand at the beginning of one: after nothing, or after a colour code or an escaped line break."""
    begins = r"(?:(?<![\w.>~-])|(?<=\x1b\[\d\dm)|(?<=\x1b\[0m)|(?<=\x1b\[\d;\d\dm)|(?<=\\[nrt]))"
    return re.compile(("" if path.count("/") > 1 else begins) + re.escape(path) + r"(?![\w-]|\.\w)")


def _join_streams(cell: "NotebookNode") -> None:
    """Make one output of what was printed piece by piece, so that it is redacted as one text."""
    joined: list[NotebookNode] = []
    for output in cell.outputs:
        last = joined[-1] if joined else None
        if output.output_type == "stream" and last is not None and last.get("name") == output.name:
            last.text += output.text
        else:
            joined.append(output)
    cell.outputs = joined
