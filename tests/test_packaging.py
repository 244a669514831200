"""The lock, the conda file and the project file say the same, and the wheel carries what `workbench init` lays out."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

PINNED = re.compile(r"^([a-z0-9][a-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def locked(project: Path) -> dict[str, set[str]]:
    pins: dict[str, set[str]] = {}
    for name, version in PINNED.findall((project / "requirements.lock").read_text()):
        pins.setdefault(name, set()).add(version)
    return pins


def test_every_dependency_is_locked_at_a_version_that_fits(project: Path) -> None:
    content = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    stated = [
        *content["dependencies"],
        *(line for lines in content["optional-dependencies"].values() for line in lines),
    ]
    pins = locked(project)
    for line in stated:
        requirement = Requirement(line)
        versions = pins.get(requirement.name.lower(), set())
        assert versions, f"{requirement.name} is not locked: run `make lock`"
        assert all(version in requirement.specifier for version in versions), f"{line}: locked at {versions}"


def test_everything_in_the_lock_has_a_hash_and_nothing_names_an_index(project: Path) -> None:
    text = (project / "requirements.lock").read_text()
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 80
    assert all("--hash=sha256:" in entry for entry in entries)
    assert not re.search(r"index-url|find-links|https?://", text)


def test_conda_installs_the_same_lock_and_nothing_else(project: Path) -> None:
    content = yaml.safe_load((project / "environment.yml").read_text())
    plain = [item for item in content["dependencies"] if isinstance(item, str)]
    (pip,) = [item["pip"] for item in content["dependencies"] if isinstance(item, dict)]
    assert sorted(re.split("[=<>]", item)[0] for item in plain) == ["make", "pip", "python"]
    assert pip == ["--require-hashes", "-r requirements.lock"]
    minimum = tomllib.loads((project / "pyproject.toml").read_text())["project"]["requires-python"]
    (version,) = [item.split("=")[1] for item in plain if item.startswith("python=")]
    assert minimum == f">={version}"


def test_the_version_is_the_same_everywhere(project: Path) -> None:
    import workbench

    assert tomllib.loads((project / "pyproject.toml").read_text())["project"]["version"] == workbench.__version__


@pytest.mark.slow
def test_a_plain_install_lays_out_a_workspace_that_works(project: Path, tmp_path: Path) -> None:
    """Built as a wheel, unpacked far from the checkout, and used from there."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=project,
        check=True,
        capture_output=True,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assert not [name for name in names if name.endswith((".pyc", ".parquet"))]
    script = f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); from workbench.cli import main; main(sys.argv[1:])"

    def workbench(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", script, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout

    workbench("init", "mine")
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {
        "README.md", ".gitignore", "workbench.toml", "notebooks", "experiments", "policies", "scenarios", "data", "reports",
    }  # fmt: skip
    assert "events as 'demo'" in workbench("--workspace", "mine", "events", "generate", "--scale", "5", "--days", "5")
    assert "risk-baseline: folds=5" in workbench(
        "--workspace", "mine", "run", "mine/experiments/risk-baseline.yaml", "--dry-run"
    )
