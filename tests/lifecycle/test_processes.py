"""A hundred approvals and rejections at once, in real processes: each recorded once, or refused with the reason."""

import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from workbench.custody import Custody
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import Lifecycle

PROCESSES, EACH, NAMES, VERSIONS = 10, 10, 20, 2
HERE = Path(__file__).resolve().parent

ACTOR = """
import importlib.util, json, sys, threading
from pathlib import Path
from workbench.custody import Custody
from workbench.errors import WorkbenchError
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import Lifecycle
from workbench.workspace import Workspace

spec = importlib.util.spec_from_file_location("kinds", sys.argv[2])
kinds = importlib.util.module_from_spec(spec)
sys.modules["kinds"] = kinds
spec.loader.exec_module(kinds)
workspace = Workspace(Path(sys.argv[1]))
told, lock = [], threading.Lock()

def decide(subject, action, person, retire_active):
    custody = Custody(workspace, derivation=KeyDerivation(memory=64, passes=1))
    life = Lifecycle(custody, [kinds.TextKind(workspace.root / "texts")])
    answer = {"subject": subject, "action": action, "person": person}
    try:
        decision = life.transition(
            life.find(subject), action, person, reason="at once", passphrase=kinds.words(person),
            retire_active=retire_active)
        answer |= {"seq": decision.seq, "state": decision.state}
    except WorkbenchError as error:
        answer |= {"refused": str(error), "kind": type(error).__name__}
    with lock:
        told.append(answer)

print("ready", flush=True)
threads = [threading.Thread(target=decide, args=step) for step in json.loads(sys.stdin.readline())]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(json.dumps(told))
"""


@pytest.mark.slow
def test_a_hundred_decisions_at_once_are_recorded_once_or_refused(project):
    workspace = project.workspace
    custody = Custody(workspace, derivation=KeyDerivation(memory=64, passes=1))
    life = Lifecycle(custody, [project.kind])
    signer = life.people.signer("rita", "the words of rita")
    subjects = [
        project.kind.write(f"policy-{name}", version) for name in range(NAMES) for version in range(1, VERSIONS + 1)
    ]
    for subject in subjects:
        life.transition(subject, "submit", "rita", reason="to begin with", signer=signer)
    chance = random.Random(42)
    steps = [
        [
            (str(chance.choice(subjects)), chance.choice(["approve", "approve", "reject"]),
             chance.choice(["ann", "ben", "cara", "rob", "eve"]), chance.random() < 0.5)
            for _ in range(EACH)
        ]
        for _ in range(PROCESSES)
    ]  # fmt: skip
    actors = [
        subprocess.Popen(
            [sys.executable, "-c", ACTOR, str(workspace.root), str(HERE / "conftest.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for _ in range(PROCESSES)
    ]  # fmt: skip
    for actor in actors:
        assert actor.stdout.readline() == "ready\n"
    for actor, mine in zip(actors, steps, strict=True):
        actor.stdin.write(json.dumps(mine) + "\n")
        actor.stdin.flush()
    told = [answer for actor in actors for answer in json.loads(actor.communicate(timeout=200)[0])]
    assert [actor.returncode for actor in actors] == [0] * PROCESSES
    assert len(told) == PROCESSES * EACH

    recorded = {row["seq"]: row for row in custody.ledger.query("FROM subject_history WHERE action <> 'submit'")}
    done = [answer for answer in told if "seq" in answer]
    refused = [answer for answer in told if "refused" in answer]
    assert len(done) + len(refused) == len(told)
    for answer in done:
        row = recorded[answer["seq"]]
        assert (row["subject"], row["action"], row["person"]) == (
            answer["subject"], answer["action"], f"p:{answer['person']}",
        )  # fmt: skip
    assert len({answer["seq"] for answer in done}) == len(done) > 0
    replaced = [row for seq, row in recorded.items() if seq not in {answer["seq"] for answer in done}]
    assert {row["action"] for row in replaced} <= {"retire"}
    assert {answer["kind"] for answer in refused} <= {"LifecycleError", "NotPermittedError", "OvertakenError"}
    assert all(
        answer["subject"].partition("@")[0] in answer["refused"] or "p:" in answer["refused"] for answer in refused
    )

    active = Counter(row["name"] for row in custody.ledger.query("FROM states WHERE state = 'ACTIVE'"))
    assert active and set(active.values()) == {1}
    assert custody.ledger.verify().problems == ()
    assert life.audit() == []
