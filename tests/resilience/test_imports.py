"""The limiters and breakers stand alone."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]


def loaded(code, *options):
    script = f"import sys; sys.path.insert(0, {str(PROJECT)!r}); {code}; print(*sys.modules)"
    told = subprocess.run([sys.executable, *options, "-c", script], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def test_they_need_nothing_but_the_standard_library():
    code = "from workbench.resilience import MemoryStore, RateLimiter, limit; RateLimiter('1/s').hit('k')"
    modules = loaded(code, "-S", "-E")
    foreign = {name.split(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"__main__"}
    assert foreign == {"workbench"}


def test_they_import_no_other_part_of_the_package():
    modules = loaded("import workbench.resilience", "-S", "-E")
    parts = {name.split(".")[1] for name in modules if name.startswith("workbench.")}
    assert parts == {"clock", "errors", "resilience"}


def test_the_stores_of_redis_are_fetched_on_first_use_only():
    code = "import workbench.resilience.stores as stores; assert 'redis' not in sys.modules; stores.RedisStore"
    assert "redis" in loaded(code)
