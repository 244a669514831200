"""What the lifecycle's tests share: a project with people and keys, and a plain kind of subject kept in text files."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from workbench.clock import VirtualClock
from workbench.custody import Custody
from workbench.errors import NotFoundError
from workbench.evidence.keyfile import KeyDerivation
from workbench.files import sha256_bytes
from workbench.lifecycle import Lifecycle, Subject
from workbench.workspace import Workspace

CHEAP = KeyDerivation(memory=64, passes=1)
START_NS = 1_777_800_000_000_000_000  # 2026-05-03T09:20:00Z
ROOT, WORKING = "root passphrase", "working passphrase"
CAST = {  # pseudonym: roles
    "olga": ("owner",),
    "rita": ("researcher",),
    "rob": ("researcher", "reviewer"),
    "ann": ("reviewer",),
    "ben": ("reviewer",),
    "cara": ("reviewer",),
    "eve": ("examiner",),
}


def words(person: str) -> str:
    return f"the words of {person}"


@dataclass
class TextKind:
    """Policies as text files NAME@VERSION.txt; the first line may name authors."""

    folder: Path
    kind: str = "policy"
    unfit: set[str] = field(default_factory=set)
    told: list = field(default_factory=list)
    fail: bool = False

    def write(self, name: str, version: int, text: str = "risk >= 0.8", authors: str = "") -> Subject:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / f"{name}@{version}.txt").write_text(f"{authors}\n{text}\n")
        return self.find(f"{name}@{version}")

    def find(self, reference: str) -> Subject:
        path = self.folder / f"{reference}.txt"
        found = re.fullmatch(r"([A-Za-z0-9._-]+)@([0-9]+)", reference)
        if found is None or not path.is_file():
            raise NotFoundError(f"there is no policy {reference!r}")
        data = path.read_bytes()
        authors = tuple(data.decode().splitlines()[0].split())
        return Subject(self.kind, found[1], int(found[2]), sha256_bytes(data), authors)

    def subjects(self):
        return [self.find(path.stem) for path in sorted(self.folder.glob("*.txt"))]

    def objections(self, subject):
        return ["it names no known control"] if str(subject) in self.unfit else []

    def shown(self, subject, active):
        return {"diff_sha256": sha256_bytes(f"{active} -> {subject}".encode())}

    def decided(self, decision, *, signer, transaction):
        self.told.append(
            (str(decision.subject), decision.action.value, decision.seq, signer.identity, transaction.size)
        )
        if self.fail:
            raise NotFoundError("what follows from the decision is not possible")


@dataclass
class Project:
    """A workspace with keys, people and a lifecycle over text policies."""

    workspace: Workspace
    clock: VirtualClock
    custody: Custody
    kind: TextKind
    lifecycle: Lifecycle

    def again(self) -> "Project":
        """The same workspace, opened anew, as another process would."""
        return opened(self.workspace, self.clock)

    def act(self, subject, action, person, reason="because", **more):
        self.clock.advance_ns(1_000_000_000)
        return self.lifecycle.transition(
            subject, action, person, reason=reason, passphrase=words(person.removeprefix("p:")), **more
        )

    def activate(self, subject, **more):
        self.act(subject, "submit", "rita")
        return self.act(subject, "approve", "ann", **more)

    def forge(self, *statements):
        """Run SQL on the ledger's file, as its owner can."""
        import duckdb

        connection = duckdb.connect(str(self.workspace.ledger / "ledger.duckdb"))
        try:
            for statement, *parameters in statements:
                connection.execute(statement, *parameters).fetchall()
        finally:
            connection.close()


def opened(workspace: Workspace, clock: VirtualClock) -> Project:
    custody = Custody(workspace, clock=clock, derivation=CHEAP)
    kind = TextKind(workspace.root / "texts")
    return Project(workspace, clock, custody, kind, Lifecycle(custody, [kind]))


def cast_people(project: Project, cast=CAST) -> None:
    root = project.custody.root_signer(ROOT)
    for number, (person, roles) in enumerate(cast.items()):
        given = {"by": "olga", "by_passphrase": words("olga")} if number else {}
        project.lifecycle.people.enrol(
            f"{person.title()} Example", passphrase=words(person), root=root, roles=roles, pseudonym=person, **given
        )


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(start_ns=START_NS)


@pytest.fixture
def empty(workspace: Workspace, clock: VirtualClock) -> Project:
    """Keys, and nobody enrolled."""
    Custody.begin(workspace, root_passphrase=ROOT, passphrase=WORKING, clock=clock, derivation=CHEAP)
    return opened(workspace, clock)


@pytest.fixture(scope="session")
def cast_template(tmp_path_factory) -> Path:
    """A workspace with everybody enrolled, made once and copied."""
    from workbench.workspace import MARKER

    root = tmp_path_factory.mktemp("cast") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    clock = VirtualClock(start_ns=START_NS)
    Custody.begin(Workspace(root), root_passphrase=ROOT, passphrase=WORKING, clock=clock, derivation=CHEAP)
    cast_people(opened(Workspace(root), clock))
    return root


@pytest.fixture
def project(cast_template: Path, workspace: Workspace, clock: VirtualClock) -> Project:
    """Olga owns, Rita researches, Rob does both, Ann, Ben and Cara review, Eve examines."""
    import shutil

    shutil.rmtree(workspace.root)
    shutil.copytree(cast_template, workspace.root)
    return opened(workspace, clock)


@pytest.fixture
def policy(project: Project) -> Subject:
    return project.kind.write("bulk", 1)


@pytest.fixture(scope="session")
def text_kind() -> type[TextKind]:
    return TextKind


@pytest.fixture(scope="session")
def words_of():
    return words
