"""The verifier needs nothing but the file, the fingerprint and itself: no network, no workspace, no home."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import workbench

PROGRAM = """
import json, os, socket, sys
from datetime import UTC, datetime
from pathlib import Path

with open("/proc/net/dev") as table:
    interfaces = [line.partition(":")[0].strip() for line in table if ":" in line]
up = []
for name in interfaces:
    try:
        flags = int(Path(f"/sys/class/net/{name}/flags").read_text(), 16)
    except OSError:
        flags = 0  # /sys still shows the outer namespace: what is not there cannot be up
    if flags & 1:
        up.append(name)
try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
    reached = True
except OSError:
    reached = False

from workbench.clock import VirtualClock
from workbench.evidence.verify import read_root, verify

verdict = verify(Path(sys.argv[1]), read_root(sys.argv[2]), clock=VirtualClock(start_ns=int(sys.argv[3])))
print(json.dumps({
    "interfaces": interfaces, "reached": reached, "up": [name for name in up if name != "lo"],
    "loopback_works": "lo" in up, "here": sorted(os.listdir(".")), "home": sorted(os.listdir(os.environ["HOME"])),
    "verdict": verdict.as_dict(), "first_line": verdict.text().splitlines()[0],
}))
"""


def namespaces() -> list[str] | None:
    """How this machine lets us run something without a network, if it does."""
    for command in (["unshare", "--net"], ["unshare", "-rn"]):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        ):
            return command
    return None


@pytest.mark.skipif(namespaces() is None, reason="this machine does not permit network namespaces (unshare --net)")
@pytest.mark.parametrize("tampered", [False, True], ids=["honest", "tampered"])
def test_94_without_any_network_there_is_the_same_verdict(made: Any, kit: Any, tmp_path: Path, tampered: bool) -> None:
    bundle = kit.edited(made.bundle, {"payload/report.html": b"<p>0.99</p>"}) if tampered else made.bundle
    home, here, data = tmp_path / "home", tmp_path / "empty", tmp_path / "data"
    for folder in (home, here, data):
        folder.mkdir()
    (data / "one.evidence.zip").write_bytes(bundle)
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"PYTHONPATH": str(Path(workbench.__file__).parents[1])}

    command = namespaces()
    assert command is not None
    done = subprocess.run(
        [
            *command,
            sys.executable,
            "-W",
            "error",
            "-c",
            PROGRAM,
            data / "one.evidence.zip",
            made.world.root,
            str(made.world.clock.time_ns()),
        ],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told["interfaces"] == ["lo"] and told["up"] == [] and not told["reached"]
    assert told["here"] == [] and told["home"] == []
    expected = made.world.verify(bundle, name="one.evidence.zip")
    assert told["verdict"] == json.loads(json.dumps(expected.as_dict()))
    assert told["first_line"] == f"{'INVALID' if tampered else 'VALID WITH LIMITS'}  one.evidence.zip"


def test_verifying_opens_no_file_but_the_bundle_and_no_socket(made: Any, tmp_path: Path) -> None:
    """As the interpreter itself reports it (audit events), once everything is imported."""
    (tmp_path / "one.evidence.zip").write_bytes(made.bundle)
    program = """
import sys
from pathlib import Path
from workbench.clock import VirtualClock
from workbench.evidence.verify import verify
path, clock = Path(sys.argv[1]), VirtualClock(start_ns=int(sys.argv[3]))
verify(path, sys.argv[2], clock=clock)
seen = []
sys.addaudithook(lambda event, args: seen.append((event, str(args[0]) if args else "")))
verify(path, sys.argv[2], clock=clock)
noted = [one for one in seen if one[0] in ("open", "import") or one[0].startswith(("socket.", "subprocess.", "os."))]
print(noted)
"""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            program,
            tmp_path / "one.evidence.zip",
            made.world.root,
            str(made.world.clock.time_ns()),
        ],
        env={**os.environ, "PYTHONPATH": str(Path(workbench.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == str([("open", str(tmp_path / "one.evidence.zip"))])
