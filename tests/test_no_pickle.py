"""Nothing in the package unpickles: a model or table that runs code when it is opened is never opened (attack 78)."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench

FOLDER = Path(workbench.__file__).parent
MODULES = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
METHODS = {"read_pickle", "to_pickle", "from_pickle", "load_pickle"}


def offences(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {(node.module or "").partition(".")[0]} if not node.level else set()
            names |= {alias.name for alias in node.names} & METHODS
        elif isinstance(node, ast.Call):
            names = set(called(node))
        else:
            continue
        yield from (
            f"line {node.lineno}: {name}" for name in sorted(names & (MODULES | METHODS | {"allow_pickle=True"}))
        )


def called(node: ast.Call) -> Iterator[str]:
    """What a call asks for: a method by name, a module by a text, pickles by keyword."""
    if isinstance(node.func, ast.Attribute):
        yield node.func.attr
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
        yield str(node.args[0].value).partition(".")[0]
    for keyword in node.keywords:
        if keyword.arg == "allow_pickle" and not (
            isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        ):
            yield "allow_pickle=True"


def test_nothing_in_the_package_unpickles() -> None:
    files = sorted(FOLDER.rglob("*.py"))
    assert len(files) > 20
    found = {
        str(path.relative_to(FOLDER)): list(offences(path.read_text()))
        for path in files
        if "__pycache__" not in path.parts
    }
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as harmless",
        "import joblib.numpy_pickle",
        "from pickle import loads",
        "from pandas import read_pickle",
        "def f():\n    import dill",
        "numpy.load(path, allow_pickle=True)",
        "numpy.load(path, allow_pickle=flag)",
        "pandas.read_pickle(path)",
        "importlib.import_module('pickle')",
        "__import__('marshal')",
    ],
)
def test_the_scan_sees_every_way_of_writing_it(source: str) -> None:
    assert list(offences(source))


def test_the_scan_lets_honest_code_pass() -> None:
    assert list(offences("import json\nnumpy.load(path, allow_pickle=False)\nfrom . import pickle_free")) == []
