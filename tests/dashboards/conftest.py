"""A workspace with people, two policies in review and a dataset, made once and copied; and the desk of one person."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from workbench.clock import VirtualClock
from workbench.custody import Custody
from workbench.dashboards.desk import Desk
from workbench.evidence.keyfile import KeyDerivation
from workbench.lifecycle import Lifecycle, Subject
from workbench.policies import Policy, PolicyKind, PolicyStore
from workbench.workspace import MARKER, Workspace

CHEAP = KeyDerivation(memory=64, passes=1)
START_NS = 1_777_800_000_000_000_000  # 2026-05-03T09:20:00Z
CAST = {
    "olga": ("owner",),
    "rita": ("researcher",),
    "rob": ("researcher", "reviewer"),
    "ann": ("reviewer",),
    "ben": ("reviewer",),
    "eve": ("examiner",),
}
NIGHT = {
    "name": "night-export",
    "title": "Exports at <b>night</b>",
    "description": "Nobody exports at night.",
    "severity": "high",
    "controls": ["NIST-AC-6"],
    "expression": "action = 'export' AND off_hours = 1",
    "rationale": "Rarely right <script>alert(1)</script>.",
}


def words(person: str) -> str:
    return f"the words of {person}"


@dataclass
class Office:
    """What is there: ``night-export`` with version 1 in use and version 2 in review, ``solo`` in review, by rob."""

    workspace: Workspace
    clock: VirtualClock

    @property
    def custody(self) -> Custody:
        return Custody(self.workspace, clock=self.clock, derivation=CHEAP)

    @property
    def lifecycle(self) -> Lifecycle:
        return Lifecycle(self.custody, [PolicyKind(self.workspace, Subject, clock=self.clock)])

    def desk(self, person: str) -> Desk:
        return Desk(self.custody, person)

    def add(self, author: str, **changed: object) -> None:
        store = PolicyStore(self.workspace, clock=self.clock)
        store.add(Policy.model_validate(NIGHT | changed), author=f"p:{author}")

    def act(self, subject: str, action: str, person: str, reason: str = "because", **more: object) -> None:
        self.clock.advance_ns(1_000_000_000)
        lifecycle = self.lifecycle
        lifecycle.transition(lifecycle.find(subject), action, person, reason=reason, passphrase=words(person), **more)

    def state(self, subject: str) -> str:
        lifecycle = self.lifecycle
        return str(lifecycle.state(lifecycle.find(subject)))

    @property
    def size(self) -> int:
        """How many entries the ledger has."""
        return int(self.custody.ledger.query("SELECT count(*) AS n FROM raw")[0]["n"])


@pytest.fixture(scope="session")
def office_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("office") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    office = Office(Workspace(root), VirtualClock(start_ns=START_NS))
    custody = Custody.begin(
        office.workspace,
        root_passphrase="root passphrase",
        passphrase="working passphrase",
        clock=office.clock,
        derivation=CHEAP,
    )
    signer, people = custody.root_signer("root passphrase"), office.lifecycle.people
    for number, (person, roles) in enumerate(CAST.items()):
        given = {"by": "olga", "by_passphrase": words("olga")} if number else {}
        people.enrol(
            f"{person.title()} Example", passphrase=words(person), root=signer, roles=roles, pseudonym=person, **given
        )
    office.add("rita")
    office.act("policy:night-export@1", "submit", "rita")
    office.act("policy:night-export@1", "approve", "ben")
    office.add("rita", expression="action = 'export' AND off_hours = 1 AND events_24h > 2", severity="critical")
    office.act("policy:night-export@2", "submit", "rita", reason="Fewer <i>alerts</i>.")
    office.add("rob", name="solo", title="Alone")
    office.act("policy:solo@1", "submit", "rob")
    return root


@pytest.fixture
def office(office_template: Path, workspace: Workspace) -> Office:
    shutil.rmtree(workspace.root)
    shutil.copytree(office_template, workspace.root)
    return Office(workspace, VirtualClock(start_ns=START_NS + 3_600_000_000_000))


@pytest.fixture
def words_of() -> Callable[[str], str]:
    return words
