"""Which code, which libraries, which machine: what a run records of its surroundings."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from workbench import __version__
from workbench.experiments.surroundings import SETTINGS
from workbench.files import canonical_json, sha256_bytes, sha256_file
from workbench.workspace import Workspace

__all__ = ["code_version", "environment_record", "lock_sha256", "package_sha256"]


def package_sha256() -> str:
    """Digest of this package's source files, wherever it is installed."""
    root = Path(__file__).resolve().parents[1]
    files = {
        str(path.relative_to(root)): sha256_file(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix in (".py", ".j2", ".css") and "_workspace" not in path.parts
    }
    return sha256_bytes(canonical_json(files))


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def code_version(workspace: Workspace) -> dict[str, Any]:
    """The package's version and digest, and the workspace's commit; ``dirty`` if files differ from it."""
    commit = _git(workspace.root, "rev-parse", "HEAD")
    changes = _git(workspace.root, "status", "--porcelain") if commit else None
    return {
        "workbench": __version__,
        "package_sha256": package_sha256(),
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
    }


def lock_sha256(workspace: Workspace) -> str | None:
    """Digest of the workspace's ``requirements.lock``, if it has one."""
    lock = workspace.root / "requirements.lock"
    return sha256_file(lock) if lock.is_file() else None


def environment_record() -> dict[str, Any]:
    """Interpreter, platform, pinned settings and every installed package with its version."""
    packages = {distribution.name.lower(): distribution.version for distribution in importlib.metadata.distributions()}
    return {
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "settings": dict(SETTINGS),
        "packages": dict(sorted(packages.items())),
    }
