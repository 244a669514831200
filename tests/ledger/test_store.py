"""Append and ask, on disk and in memory: what is there afterwards, and what is not."""

import json
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from workbench.clock import VirtualClock
from workbench.errors import InputError, IntegrityError, LedgerError, MalformedError
from workbench.evidence.checkpoint import SignedCheckpoint
from workbench.evidence.entries import Entry, read_entry
from workbench.evidence.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion
from workbench.ledger import Ledger, MemoryLedger, StoredCheckpoint, open_ledger

TROUBLE = {"trouble": "open"}


@pytest.fixture(params=["disk", "memory"])
def either(request, ledger, clock):
    """Each test of these runs on both."""
    return ledger if request.param == "disk" else MemoryLedger(clock=clock)


def test_opening_a_ledger_makes_nothing(workspace):
    ledger = open_ledger(workspace)
    assert (ledger.size, ledger.entries(), ledger.query("FROM entries"), ledger.checkpoints()) == (0, [], [], [])
    assert ledger.verify().problems == ()
    assert list(workspace.root.iterdir()) == [workspace.root / "workbench.toml"]


def test_an_entry_that_was_appended_is_there(either):
    entry = either.append("tsa.degraded", "p:anna", fields=TROUBLE, commitment="ab" * 32)
    assert entry == Entry(0, "2026-05-03T09:20:00.000Z", "tsa.degraded", "p:anna", TROUBLE, "ab" * 32)
    assert either.entries() == [bytes(entry)]
    assert either.query("SELECT seq, time, type, actor FROM entries") == [
        {"seq": 0, "time": "2026-05-03T09:20:00.000Z", "type": "tsa.degraded", "actor": "p:anna"}
    ]
    assert json.loads(either.query("SELECT entry FROM entries")[0]["entry"]) == json.loads(bytes(entry))


def test_a_second_opening_sees_the_same(ledger, folder, clock):
    ledger.append("tsa.degraded", fields=TROUBLE)
    again = Ledger(folder, clock=clock)
    assert (again.size, again.origin, again.entries()) == (1, ledger.origin, ledger.entries())


def test_the_folder_is_for_its_owner_only(ledger, folder):
    ledger.append("tsa.degraded", fields=TROUBLE)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sorted(path.name for path in folder.iterdir()) == ["frontier.json", "ledger.duckdb", "lock", "turn"]


def test_entries_are_given_from_and_up_to(either):
    appended = [bytes(either.append("tsa.degraded", fields=TROUBLE)) for _ in range(5)]
    assert (either.entries(1, 3), either.entries(3), either.entries(9)) == (appended[1:3], appended[3:], [])


def test_a_transaction_sees_what_it_appended(either):
    with either.transaction() as tx:
        tx.append("tsa.degraded", fields=TROUBLE)
        assert (tx.size, tx.query("SELECT count(*) AS n FROM entries")) == (1, [{"n": 1}])
        tx.append("tsa.degraded", fields=TROUBLE)
    assert either.size == 2
    assert either.verify().problems == ()


def test_an_exception_inside_a_transaction_appends_nothing(either):
    either.append("tsa.degraded", fields=TROUBLE)
    before = either.verify()
    with pytest.raises(KeyError), either.transaction() as tx:
        tx.append("tsa.degraded", fields=TROUBLE)
        raise KeyError("state")
    assert either.verify() == before
    assert either.append("tsa.degraded", fields=TROUBLE).seq == 1


def test_an_entry_that_must_not_be_written_is_refused(either):
    with pytest.raises(MalformedError, match="trouble is not of the kind 'trouble'"):
        either.append("tsa.degraded", fields={"trouble": "Anna was late"})
    assert either.size == 0


def test_a_transaction_that_is_over_cannot_be_used(either):
    with either.transaction() as tx:
        pass
    for use in (lambda: tx.append("tsa.degraded", fields=TROUBLE), lambda: tx.query("FROM entries")):
        with pytest.raises(LedgerError, match=r"^this transaction is over"):
            use()


def test_a_thread_that_has_the_ledger_open_is_not_left_waiting_for_itself(either):
    with (
        pytest.raises(LedgerError, match=r"^this thread has the ledger open already"),
        either.transaction(),
    ):
        either.append("tsa.degraded", fields=TROUBLE)
    assert either.size == 0


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO store.audit VALUES (9, '', '')",
        "DELETE FROM store.audit",
        "DROP TABLE store.audit",
        "COMMIT",
        "SELECT 1; SELECT 2",
        "SET enable_external_access = true",
        "ATTACH 'other.duckdb'",
        "COPY (SELECT 1) TO 'file'",
        "WITH a AS (SELECT 1) INSERT INTO store.audit SELECT 1, '', ''",
        "SELECT * FROM read_text('/proc/self/cmdline')",
        "SELECT * FROM glob('*')",
        "SELECT * FROM nothing",
        "SELEC",
    ],
)
def test_a_query_can_only_ask(either, sql):
    either.append("tsa.degraded", fields=TROUBLE)
    with pytest.raises(LedgerError, match=r"^the ledger (is read with one SELECT|cannot answer this query: )"):
        either.query(sql)
    with pytest.raises(LedgerError), either.transaction() as tx:
        tx.query(sql)
    assert (either.size, either.verify().problems) == (1, ())


def test_the_ledger_is_asked_as_of_a_moment(either, trouble):
    trouble(either, 3)  # at 09:20:00, :01, :02
    moments = [datetime(2026, 5, 3, 9, 19, 59, 999_000, UTC)]
    moments += [datetime(2026, 5, 3, 9, 20, second, tzinfo=UTC) for second in (0, 1, 30)]
    assert [either.as_of(moment) for moment in moments] == [0, 1, 2, 3]
    assert either.query("SELECT max(seq) AS last FROM entries", size=2) == [{"last": 1}]
    with pytest.raises(LedgerError, match=r"^the ledger has 3 entries, not 4$"):
        either.query("FROM entries", size=4)
    with pytest.raises(InputError, match="has no time zone"):
        either.as_of(datetime(2026, 5, 3))  # noqa: DTZ001


def test_a_clock_a_little_behind_repeats_the_last_time(folder):
    for start_ns, expected in ((10_000_000_000, "10.000Z"), (5_000_000_000, "10.000Z"), (11_000_000_000, "11.000Z")):
        entry = Ledger(folder, clock=VirtualClock(start_ns=start_ns)).append("tsa.degraded", fields=TROUBLE)
        assert entry.time.endswith(expected)


def test_a_signed_checkpoint_stands_for_all_entries(either, key, trouble):
    trouble(either, 3)
    stored = either.sign_checkpoint(key)
    leaves = [leaf_hash(entry) for entry in either.entries()]
    assert either.checkpoints() == [stored]
    assert stored == StoredCheckpoint(SignedCheckpoint.read(stored.note).verify(key.public_key()), stored.note, None)
    assert (stored.checkpoint.origin, stored.checkpoint.size) == (either.origin, 3)
    proof = Tree(leaves).inclusion_proof(1)
    assert verify_inclusion(leaves[1], 1, 3, proof, stored.checkpoint.root)


def test_a_stamped_checkpoint_is_recorded_beyond_itself(either, key, trouble):
    trouble(either, 2)
    seen = []
    first = either.sign_checkpoint(key, stamp=lambda digest: seen.append(digest) or b"response")
    second = either.sign_checkpoint(key)
    assert (first.timestamp, second.timestamp, len(seen[0])) == (b"response", None, 32)
    assert [stored.checkpoint.size for stored in either.checkpoints()] == [2, 3]
    entry = read_entry(either.entries()[2], 2)
    assert (entry.type, entry.fields["size"], entry.fields["authority"]) == ("checkpoint.anchored", 2, "local")
    tree = Tree(map(leaf_hash, either.entries()))
    assert verify_consistency(2, 3, first.checkpoint.root, second.checkpoint.root, tree.consistency_proof(2, 3))
    assert either.verify(keys=[key.public_key()]).problems == ()


def test_a_timestamp_authority_may_append_while_it_stamps(either, key, trouble):
    trouble(either, 1)
    either.sign_checkpoint(key, stamp=lambda digest: trouble(either, 1) or b"response")
    assert [read_entry(data, seq).type for seq, data in enumerate(either.entries())] == [
        "tsa.degraded",
        "tsa.degraded",
        "checkpoint.anchored",
    ]


def test_a_checkpoint_that_could_not_be_stamped_stays_signed(either, key, trouble):
    def unreachable(digest):
        raise TimeoutError

    trouble(either, 1)
    with pytest.raises(TimeoutError):
        either.sign_checkpoint(key, stamp=unreachable)
    assert [(stored.checkpoint.size, stored.timestamp) for stored in either.checkpoints()] == [(1, None)]
    assert (either.size, either.verify().problems) == (1, ())


def test_an_empty_ledger_can_be_signed(either, key):
    assert either.sign_checkpoint(key).checkpoint.root == Tree().root()
    assert either.verify().problems == ()


def test_rewriting_keeps_every_entry_and_the_root(either, trouble):
    trouble(either, 4)
    before = (either.entries(), either.verify())
    either.rewrite()
    assert (either.entries(), either.verify()) == before
    assert either.append("tsa.degraded", fields=TROUBLE).seq == 4


def test_threads_share_a_ledger_in_memory():
    ledger = MemoryLedger()

    def count():
        for _ in range(5):
            with ledger.transaction() as tx:
                (row,) = tx.query("SELECT count(*) AS n FROM entries")
                assert tx.append("tsa.degraded", fields=TROUBLE).seq == row["n"]

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (ledger.size, ledger.verify().problems) == (40, ())


def test_a_memory_ledger_may_be_named():
    assert MemoryLedger(origin="example.org/log").origin == "example.org/log"
    with pytest.raises(InputError, match="cannot name a log"):
        MemoryLedger(origin="two words")


class AgainstAList(RuleBasedStateMachine):
    """A ledger is a list that only grows, whatever is done to it in whatever order."""

    @initialize()
    def begin(self):
        self.clock = VirtualClock(start_ns=1_000_000_000)
        self.ledger = MemoryLedger(clock=self.clock)
        self.model = []
        self.roots = {}

    @rule(trouble=st.sampled_from(["open", "invalid", "unreachable"]), step_ns=st.integers(0, 10**10))
    def append(self, trouble, step_ns):
        self.clock.advance_ns(step_ns)
        self.model.append(bytes(self.ledger.append("tsa.degraded", fields={"trouble": trouble})))

    @rule(count=st.integers(0, 4), fail=st.booleans())
    def transaction(self, count, fail):
        try:
            with self.ledger.transaction() as tx:
                appended = [bytes(tx.append("tsa.degraded", fields=TROUBLE)) for _ in range(count)]
                assert tx.query("SELECT count(*) AS n FROM entries") == [{"n": len(self.model) + count}]
                if fail:
                    raise LookupError
        except LookupError:
            return
        self.model += appended

    @rule(junk=st.text(max_size=20))
    def refuse(self, junk):
        with pytest.raises(MalformedError):
            self.ledger.append("policy.changed", fields={"policyId": f"-{junk}", "policySha256": "ab" * 32})

    @rule()
    def sign(self):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        checkpoint = self.ledger.sign_checkpoint(Ed25519PrivateKey.generate()).checkpoint
        self.roots[checkpoint.size] = checkpoint.root

    @rule()
    def rebuild(self):
        self.model.append(bytes(self.ledger.rebuild_frontier()))

    @invariant()
    def they_are_the_same(self):
        if not hasattr(self, "model"):
            return
        found = self.ledger.verify()
        tree = Tree(map(leaf_hash, self.model))
        assert (found.size, found.root, found.problems) == (len(self.model), tree.root(), ())
        assert self.ledger.entries() == self.model
        assert {stored.checkpoint.size: stored.checkpoint.root for stored in self.ledger.checkpoints()} == self.roots
        assert all(tree.root(size) == root for size, root in self.roots.items())


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(max_examples=10, stateful_step_count=12, deadline=None)


def test_a_ledger_of_a_damaged_frontier_is_refused(ledger, folder, trouble):
    trouble(ledger, 1)
    (folder / "frontier.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"^frontier\.json of the ledger is damaged"):
        ledger.append("tsa.degraded", fields=TROUBLE)
