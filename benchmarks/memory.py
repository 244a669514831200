"""One ingest in a process of its own, which prints its peak memory in MB: ``python -m benchmarks.memory SIDE FILE``."""

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["MEMORY_LIMIT", "peak"]

MEMORY_LIMIT = "256MB"


def peak(side: str, source: Path) -> float:
    """Peak resident memory in MB of ingesting ``source`` the way of ``side``: ``ours`` or ``pandas``."""
    command = [sys.executable, "-m", "benchmarks.memory", side, str(source)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _own_peak() -> float:
    """In MB. Linux counts what the parent held at the fork into ``ru_maxrss``; VmHWM is this program's own."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _main(side: str, source: Path) -> None:
    # Each side imports only what it needs: the imports are part of its memory.
    with tempfile.TemporaryDirectory() as folder:
        if side == "ours":
            from benchmarks.events import ingest_ours

            ingest_ours(source, Path(folder), memory_limit=MEMORY_LIMIT)
        else:
            from benchmarks.peers import ingest_csv

            ingest_csv(source, Path(folder))
    print(_own_peak())


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
