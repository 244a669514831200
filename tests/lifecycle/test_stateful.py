"""Random people do random things, some at once: never a state that a plain model of the rules does not allow."""

import shutil
import threading
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from workbench.clock import VirtualClock
from workbench.custody import Custody
from workbench.errors import WorkbenchError
from workbench.evidence.entries import read_entry
from workbench.evidence.keyfile import KeyDerivation
from workbench.ledger import Ledger, MemoryLedger
from workbench.lifecycle import Lifecycle
from workbench.workspace import Workspace

START_NS = 1_777_800_000_000_000_000
PEOPLE = ["rita", "rob", "ann", "ben", "cara", "eve", "olga"]
NAMES, VERSIONS = ["a", "b"], [1, 2, 3]
ACTIONS = ["submit", "approve", "approve", "reject", "withdraw", "retire"]
AUTHORS = {("a", 2): {"rob"}, ("b", 1): {"ann"}}


@dataclass
class Standing:
    state: str = "DRAFT"
    submitter: str = ""
    approvers: set = field(default_factory=set)


class Model:
    """The rules once more, written out plainly and sharing nothing with the package."""

    def __init__(self, roles):
        self.roles = {person: set(held) for person, held in roles.items()}
        self.required = 1
        self.all = {(name, version): Standing() for name in NAMES for version in VERSIONS}

    def active(self, name):
        return [key for key, standing in self.all.items() if key[0] == name and standing.state == "ACTIVE"]

    def allows(self, action, key, person, retire_active):
        one, held = self.all[key], self.roles.get(person, set())
        if action == "submit":
            return one.state == "DRAFT" and "researcher" in held
        if action == "approve":
            if one.state != "REVIEW" or "reviewer" not in held:
                return False
            if person == one.submitter or person in AUTHORS.get(key, set()):
                return False
            if len(one.approvers | {person}) < self.required:
                return person not in one.approvers
            return not self.active(key[0]) or retire_active
        if action == "withdraw":
            return one.state == "REVIEW" and "reviewer" in held and person in one.approvers
        if action == "reject":
            return one.state == "REVIEW" and "reviewer" in held
        return one.state == "ACTIVE" and bool(held & {"reviewer", "owner"})

    def do(self, action, key, person):
        one = self.all[key]
        if action == "submit":
            one.state, one.submitter, one.approvers = "REVIEW", person, set()
        elif action == "approve":
            one.approvers.add(person)
            if len(one.approvers) >= self.required:
                for other in self.active(key[0]):
                    self.all[other].state = "RETIRED"
                one.state = "ACTIVE"
        elif action == "withdraw":
            one.approvers.discard(person)
        else:
            one.state = {"reject": "DRAFT", "retire": "RETIRED"}[action]


def in_memory(stored: Ledger, clock) -> MemoryLedger:
    """The same entries in a ledger in memory, which answers much faster."""
    ledger = MemoryLedger(clock=clock, origin=stored.origin)
    with ledger.transaction() as transaction:
        for seq, data in enumerate(stored.entries()):
            entry = read_entry(data, seq)
            copied = transaction.append(entry.type, entry.actor, fields=entry.fields, commitment=entry.commitment)
            assert bytes(copied) == data
    for one in stored.checkpoints():
        ledger._place.keep_checkpoint(one.checkpoint.size, one.note)
        ledger._place.keep_stamp(one.checkpoint.size, one.timestamp)
    return ledger


class Actors(RuleBasedStateMachine):
    template: Path
    text_kind: type
    words: staticmethod

    @initialize()
    def begin(self):
        self.folder = Path(mkdtemp(prefix="lifecycle-"))
        shutil.copytree(self.template, self.folder / "workspace")
        self.clock = VirtualClock(start_ns=START_NS)
        custody = Custody(
            Workspace(self.folder / "workspace"), clock=self.clock, derivation=KeyDerivation(memory=64, passes=1)
        )
        custody.ledger = in_memory(custody.ledger, self.clock)
        kind = self.text_kind(self.folder / "texts")
        self.lifecycle = Lifecycle(custody, [kind])
        self.subjects = {
            (name, version): kind.write(
                name, version, authors=" ".join(f"p:{one}" for one in AUTHORS.get((name, version), ()))
            )
            for name in NAMES
            for version in VERSIONS
        }
        self.model = Model({person.pseudonym[2:]: person.roles for person in self.lifecycle.people.all()})
        self.keys = {person: self.lifecycle.people.signer(person, self.words(person)) for person in PEOPLE}

    def teardown(self):
        if hasattr(self, "lifecycle"):
            assert self.lifecycle.audit() == []
            assert self.lifecycle.custody.ledger.verify().problems == ()
            shutil.rmtree(self.folder)

    def attempt(self, action, key, person, retire_active):
        """Whether it was done; a refusal has a sentence and is one of ours."""
        try:
            self.lifecycle.transition(
                self.subjects[key], action, f"p:{person}", reason="at random", signer=self.keys[person],
                retire_active=retire_active,
            )  # fmt: skip
        except WorkbenchError as error:
            assert len(str(error)) > 20
            return False
        return True

    @rule(
        action=st.sampled_from(ACTIONS), name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS),
        person=st.sampled_from(PEOPLE), retire_active=st.booleans(),
    )  # fmt: skip
    def one(self, action, name, version, person, retire_active):
        self.clock.advance_ns(1_000_000_000)
        key = (name, version)
        expected = self.model.allows(action, key, person, retire_active)
        may, why_not = self.lifecycle.can_transition(
            self.subjects[key], action, f"p:{person}", retire_active=retire_active
        )
        assert (may, bool(why_not)) == (expected, not expected), why_not
        assert self.attempt(action, key, person, retire_active) is expected
        if expected:
            self.model.do(action, key, person)

    @rule(
        name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS), data=st.data(),
    )  # fmt: skip
    def two_at_once(self, name, version, data):
        """On the same name at the same time: what happened is one of the two orders, one after the other."""
        self.clock.advance_ns(1_000_000_000)
        steps = [
            (data.draw(st.sampled_from(ACTIONS)), (name, data.draw(st.sampled_from([version, 1]))),
             data.draw(st.sampled_from(PEOPLE)), data.draw(st.booleans()))
            for _ in range(2)
        ]  # fmt: skip
        done: dict[int, bool] = {}
        gate = threading.Barrier(2)

        def run(number):
            gate.wait()
            done[number] = self.attempt(*steps[number])

        threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorded = [
            (row["action"], (row["name"], row["version"]), row["person"][2:])
            for row in self.lifecycle.custody.ledger.query("FROM subject_history ORDER BY seq")
            if row["time"] == self.lifecycle.custody.ledger.query("SELECT max(time) AS t FROM entries")[0]["t"]
        ]
        order = [step for step in recorded if step[0] != "retire" or step in [one[:3] for one in steps]]
        assert len(done) == 2
        if sum(done.values()) == 0:
            assert not (
                self.model.allows(*steps[0][:3], steps[0][3]) and self.model.allows(*steps[1][:3], steps[1][3])
                and steps[0] == steps[1]
            )  # fmt: skip
            return
        for action, key, person in self._done_in_order(order, steps, done):
            assert any(self.model.allows(action, key, person, agreed) for agreed in (True, False)), (
                "a step was recorded that the rules forbid"
            )
            self.model.do(action, key, person)

    @staticmethod
    def _done_in_order(order, steps, done):
        wanted = [steps[number][:3] for number in range(2) if done[number]]
        found = []
        for step in order:
            if step in wanted:
                wanted.remove(step)
                found.append(step)
        assert not wanted, "a step was told as done and not recorded"
        return found

    @rule(number=st.integers(1, 3))
    def require(self, number):
        self.clock.advance_ns(1_000_000_000)
        self.lifecycle.people.require("policy", number, by="olga", passphrase=self.words("olga"))
        self.model.required = number

    @rule(person=st.sampled_from(PEOPLE[:-1]), role=st.sampled_from(["researcher", "reviewer"]))
    def change_role(self, person, role):
        self.clock.advance_ns(1_000_000_000)
        held = role in self.model.roles[person]
        change = self.lifecycle.people.revoke if held else self.lifecycle.people.grant
        change(person, role, by="olga", passphrase=self.words("olga"))
        (self.model.roles[person].discard if held else self.model.roles[person].add)(role)

    @invariant()
    def the_views_say_what_the_model_says(self):
        if not hasattr(self, "lifecycle"):
            return
        rows = self.lifecycle.custody.ledger.query("FROM states")
        told = {(row["name"], row["version"]): (row["state"], row["submitter"][2:]) for row in rows}
        assert told == {key: (one.state, one.submitter) for key, one in self.model.all.items() if one.submitter}
        approvers = {(row["name"], row["version"]): {who[2:] for who in row["approvers"]} for row in rows}
        for key, one in self.model.all.items():
            if one.state == "REVIEW":
                assert approvers[key] == one.approvers
        for name in NAMES:
            assert len(self.model.active(name)) <= 1
        rules = self.lifecycle.custody.ledger.query("FROM rules")
        assert [row["required"] for row in rows and rules] in ([], [self.model.required])


def machine(template, kind, words):
    return type("Actors", (Actors,), {"template": template, "text_kind": kind, "words": staticmethod(words)})


SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


def test_random_people_never_reach_a_forbidden_state(cast_template, text_kind, words_of):
    run_state_machine_as_test(
        machine(cast_template, text_kind, words_of),
        settings=settings(max_examples=3, stateful_step_count=15, **SETTINGS),
    )


@pytest.mark.slow
def test_hundreds_of_random_actions_never_reach_a_forbidden_state(cast_template, text_kind, words_of):
    run_state_machine_as_test(
        machine(cast_template, text_kind, words_of),
        settings=settings(max_examples=8, stateful_step_count=45, **SETTINGS),
    )
