"""A hundred writers at once, some killed in the middle, while others watch: nothing lost, doubled or out of order."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from workbench.evidence.entries import read_entry
from workbench.evidence.merkle import Tree, leaf_hash, verify_consistency
from workbench.ledger import Ledger

TIMEOUT = 60.0  # seconds: no writer may wait longer
PROCESSES, VICTIMS, THREADS, READERS, EACH = 50, 10, 40, 4, 3

# Each writer reads the highest version, and appends the next, in one transaction: a lost update would double one.
WRITER = """
import json, sys, time
from pathlib import Path
from workbench.ledger import Ledger

def write(ledger, name, rounds, acknowledge):
    for number in range(rounds):
        began = time.monotonic()
        with ledger.transaction() as tx:
            (row,) = tx.query(
                "SELECT coalesce(max((entry ->> 'reportVersion')::BIGINT), 0) + 1 AS next FROM entries "
                "WHERE type = 'approval.recorded'")
            entry = tx.append("approval.recorded", fields={
                "reportId": f"{name}.{number}", "reportVersion": row["next"], "payloadSha256": "ab" * 32,
                "envelopeSha256": "cd" * 32, "decision": "approve", "certSha256": "ef" * 32})
        acknowledge({"seq": entry.seq, "id": f"{name}.{number}", "took": time.monotonic() - began})

if __name__ == "__main__":
    folder, name, rounds, timeout = sys.argv[1:]
    print("ready", flush=True)
    sys.stdin.readline()
    write(Ledger(Path(folder), timeout=float(timeout)), name, int(rounds),
          lambda told: print(json.dumps(told), flush=True))
"""
scope = {"__name__": "writer"}
exec(compile(WRITER, "writer", "exec"), scope)  # the threads run the same code


class Crowd:
    """All the writers and readers, and what they told."""

    def __init__(self, folder):
        self.folder = folder
        self.acknowledged = []
        self.errors = []
        self.reads = Counter()
        self.checkpoints = []
        self.over = threading.Event()
        self.begin = threading.Event()

    def careful(self, work, *arguments):
        """Run ``work`` in a thread; what it raises fails the test."""

        def run():
            try:
                work(*arguments)
            except BaseException as error:
                self.errors.append(repr(error))

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write(self, number):
        self.begin.wait()
        ledger = Ledger(self.folder, timeout=TIMEOUT)
        scope["write"](ledger, f"thread{number}", EACH, self.acknowledged.append)

    def watch(self, number):
        """A dashboard: the views agree with each other, and the ledger only grows."""
        ledger, before = Ledger(self.folder, timeout=TIMEOUT), 0
        self.begin.wait()
        while not self.over.is_set():
            (row,) = ledger.query(
                "SELECT (SELECT count(*) FROM approvals) AS approvals, count(*) AS n, max(seq) AS last, "
                "count(*) FILTER (type = 'approval.recorded') AS recorded FROM entries"
            )
            assert row["approvals"] == row["recorded"]
            assert row["n"] == (0 if row["last"] is None else row["last"] + 1)
            assert row["n"] >= before
            before = row["n"]
            self.reads[number] += 1
            time.sleep(0.2)

    def sign(self):
        ledger, key = Ledger(self.folder, timeout=TIMEOUT), Ed25519PrivateKey.generate()
        self.begin.wait()
        while not self.over.is_set():
            self.checkpoints.append(ledger.sign_checkpoint(key, stamp=lambda digest: digest).checkpoint)
            time.sleep(1)


def listen(crowd, process):
    for line in process.stdout:
        if line.startswith("{"):
            crowd.acknowledged.append(json.loads(line))


def kill_in_the_act(folder, victim, chance):
    """Kill ``victim`` while it holds the lock, as its note there tells; whether it was caught doing so."""
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):  # being written just now
            if json.loads((folder / "lock").read_bytes())["pid"] == victim.pid:
                time.sleep(chance.uniform(0, 0.04))  # an append holds it for about that long
                victim.send_signal(signal.SIGKILL)
                return True
        time.sleep(0.001)
    victim.send_signal(signal.SIGKILL)
    return False


@pytest.mark.slow
def test_a_hundred_writers_some_of_them_killed_lose_and_double_nothing(tmp_path):
    folder, chance = tmp_path / "ledger", random.Random(7)
    crowd = Crowd(folder)
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    processes = []
    for start in range(0, PROCESSES + VICTIMS, 10):  # ten at a time: each imports the package
        batch = []
        for number in range(start, start + 10):
            victim = number < VICTIMS
            command = [
                script,
                folder,
                f"{'victim' if victim else 'process'}{number}",
                1000 if victim else EACH,
                TIMEOUT,
            ]
            batch.append(
                subprocess.Popen(
                    [sys.executable, *map(str, command)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        assert [process.stdout.readline() for process in batch] == ["ready\n"] * 10
        processes += batch
    victims, survivors = processes[:VICTIMS], processes[VICTIMS:]
    threads = [crowd.careful(crowd.write, number) for number in range(THREADS)]
    watchers = [crowd.careful(crowd.watch, number) for number in range(READERS)]
    watchers.append(crowd.careful(crowd.sign))
    listeners = [crowd.careful(listen, crowd, process) for process in processes]

    began = time.monotonic()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    crowd.begin.set()
    for victim in victims[::2]:
        time.sleep(chance.uniform(0.2, 1.5))
        victim.send_signal(signal.SIGKILL)
    in_the_act = sum(kill_in_the_act(folder, victim, chance) for victim in victims[1::2])
    for process in survivors:
        assert (process.wait(timeout=140), process.stderr.read()) == (0, "")
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    crowd.over.set()
    for thread in (*watchers, *listeners):
        thread.join()
    for process in processes:
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()

    assert crowd.errors == []
    ledger = Ledger(folder)
    found = ledger.verify(thorough=True)
    assert found.problems == ()
    entries = [read_entry(data, seq) for seq, data in enumerate(ledger.entries())]
    assert all(before.time <= after.time for before, after in pairwise(entries))
    recorded = [entry for entry in entries if entry.type == "approval.recorded"]
    # Every acknowledged append is there once, under the number it was told.
    names = Counter(entry.fields["reportId"] for entry in recorded)
    assert set(names.values()) == {1}
    assert all(entries[told["seq"]].fields["reportId"] == told["id"] for told in crowd.acknowledged)
    steady = {told["id"] for told in crowd.acknowledged if not told["id"].startswith("victim")}
    assert len(steady) == (PROCESSES + THREADS) * EACH
    # Beyond them each victim may have one entry that it could no longer acknowledge.
    silent = names.keys() - {told["id"] for told in crowd.acknowledged}
    assert set(Counter(name.partition(".")[0] for name in silent).values()) <= {1}
    assert all(name.startswith("victim") for name in silent)
    # The state each stood on was the present one.
    assert [entry.fields["reportVersion"] for entry in recorded] == list(range(1, len(recorded) + 1))
    tree = Tree(map(leaf_hash, ledger.entries()))
    for checkpoint in crowd.checkpoints:
        proof = tree.consistency_proof(checkpoint.size)
        assert verify_consistency(checkpoint.size, len(tree), checkpoint.root, tree.root(), proof)
    assert len(crowd.checkpoints) > 1
    assert min(crowd.reads[number] for number in range(READERS)) > 1
    longest = max(told["took"] for told in crowd.acknowledged)
    assert longest < TIMEOUT
    print(
        f"\n{len(recorded)} appends in {took:.1f} s ({len(recorded) / took:.1f}/s), longest wait {longest:.1f} s, "
        f"{sum(crowd.reads.values())} reads, {len(crowd.checkpoints)} checkpoints, "
        f"{in_the_act} killed in the act, {len(silent)} appends unacknowledged"
    )
