"""What a package exports is what it says it exports."""

import ast
import importlib
import inspect
from pathlib import Path
from types import ModuleType

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "workbench"
MODULES = sorted(
    ".".join(["workbench", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
    for path in PACKAGE.rglob("*.py")
    if "_workspace" not in path.parts and path.name != "__main__.py"
)
PACKAGES = [name for name in MODULES if (PACKAGE.parent / Path(*name.split(".")) / "__init__.py").exists()]


def in_order(names: list[str]) -> list[str]:
    """Constants, then classes, then functions, each by alphabet, as ruff sorts them."""
    return sorted(names, key=lambda name: (not name.isupper(), not name[:1].isupper(), name))


@pytest.mark.parametrize("name", [name for name in PACKAGES if name != "workbench"])
def test_a_package_exports_what_it_says(name):
    package = importlib.import_module(name)
    exported = {
        key for key, value in vars(package).items() if not key.startswith("_") and not isinstance(value, ModuleType)
    }
    # A function may bear its module's name; what is imported only for use is imported from elsewhere.
    source = ast.parse(inspect.getsource(package))
    used_only = {
        alias.asname or alias.name
        for node in ast.walk(source)
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("workbench")
        for alias in node.names
    }
    if hasattr(package, "__getattr__"):  # the rest is fetched on first use
        assert exported - used_only <= set(package.__all__) == set(dir(package))
    else:
        assert exported - used_only == set(package.__all__)


def test_the_root_gives_every_name_it_says():
    import workbench

    assert dir(workbench) == sorted(workbench.__all__)
    assert [name for name in workbench.__all__ if not hasattr(workbench, name)] == []
    with pytest.raises(AttributeError, match=r"^module 'workbench' has no attribute 'nothing'$"):
        workbench.nothing  # noqa: B018


@pytest.mark.parametrize("name", MODULES)
def test_a_module_s_names_are_there_and_in_order(name):
    module = importlib.import_module(name)
    if not hasattr(module, "__all__"):
        pytest.fail(f"{name} does not say what it exports")
    assert [key for key in module.__all__ if not hasattr(module, key)] == []
    assert module.__all__ == in_order(list(dict.fromkeys(module.__all__)))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_for(name):
    assert len(importlib.import_module(name).__doc__ or "") > 40
