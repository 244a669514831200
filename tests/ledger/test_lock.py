"""The lock: writers alone, readers together, nobody overtaken, nobody waiting for ever."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from workbench.errors import LedgerBusyError, LedgerError, StorageError
from workbench.ledger import Ledger, MemoryLedger
from workbench.ledger.lock import held

TROUBLE = {"trouble": "open"}
HOLD = """
import sys, time
from pathlib import Path
from workbench.ledger.lock import held
sys.argv = ["/some/where/workbench", "run", "/secret/path"]
with held(Path({folder!r}), exclusive={exclusive}, timeout=30):
    print("held", flush=True)
    time.sleep(60)
"""


@contextlib.contextmanager
def holder(folder, *, exclusive=True):
    """Another process that holds the lock until it is killed."""
    script = HOLD.format(folder=str(folder), exclusive=exclusive)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def until(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def busy(folder, *, exclusive):
    try:
        with held(folder, exclusive=exclusive, timeout=0.05):
            return False
    except LedgerBusyError:
        return True


@pytest.mark.parametrize(
    ("first", "second", "excluded"),
    [(True, True, True), (True, False, True), (False, True, True), (False, False, False)],
)
def test_writers_are_alone_and_readers_together(tmp_path, first, second, excluded):
    with holder(tmp_path, exclusive=first):
        assert busy(tmp_path, exclusive=second) is excluded
    assert not busy(tmp_path, exclusive=second)


def test_threads_of_one_process_exclude_each_other_too(tmp_path):
    told = []
    with held(tmp_path, exclusive=True, timeout=1):
        thread = threading.Thread(target=lambda: told.append(busy(tmp_path, exclusive=True)))
        thread.start()
        thread.join()
    assert told == [True]


def test_a_waiter_is_told_who_holds_it_and_for_how_long(tmp_path, monkeypatch):
    monkeypatch.setattr("workbench.ledger.lock._PATIENCE", 0.05)
    told = []
    with holder(tmp_path) as process:
        with (
            pytest.raises(LedgerBusyError) as refused,
            held(tmp_path, exclusive=True, timeout=0.2, waiting=told.append),
        ):
            pass
        who = rf"the ledger is held by process {process.pid} \(workbench run\) since \d+ s"
        assert re.fullmatch(who, *told)
        assert re.fullmatch(f"{who}; tried for 0\\.2 s: let it finish or stop it, then try again", str(refused.value))


def test_who_holds_it_is_written_without_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/usr/lib/python/workbench/__main__.py", "verify", "secret.zip"])
    with held(tmp_path, exclusive=True, timeout=1):
        note = json.loads((tmp_path / "lock").read_text())
    assert (note["pid"], note["command"], sorted(note)) == (
        os.getpid(),
        "workbench verify",
        ["command", "pid", "since"],
    )
    monkeypatch.setattr(sys, "argv", ["-c", "/secret/verb"])
    with held(tmp_path, exclusive=True, timeout=1):
        assert json.loads((tmp_path / "lock").read_text())["command"] == "python"


def test_a_killed_holder_blocks_nobody(tmp_path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with held(tmp_path, exclusive=True, timeout=20):
            pass


@pytest.mark.parametrize("note", ["", "{}", '{"pid": 999999999, "command": "gone", "since": 0}'])
def test_a_stale_note_accuses_nobody(tmp_path, note):
    with holder(tmp_path):
        (tmp_path / "lock").write_text(note)
        with (
            pytest.raises(LedgerBusyError, match=r"^the ledger is held by another process;"),
            held(tmp_path, exclusive=True, timeout=0.05),
        ):
            pass


def test_a_reader_does_not_overtake_a_waiting_writer(tmp_path):
    order = []

    def enter(name, exclusive):
        with held(tmp_path, exclusive=exclusive, timeout=20):
            order.append(name)

    with held(tmp_path, exclusive=False, timeout=1):
        writer = threading.Thread(target=enter, args=("writer", True))
        writer.start()
        until(lambda: busy(tmp_path, exclusive=False))  # the writer holds the turn
        reader = threading.Thread(target=enter, args=("reader", False))
        reader.start()
        assert order == []
    writer.join()
    reader.join()
    assert sorted(order) == ["reader", "writer"]
    assert order[0] == "writer"


def test_a_waiter_that_gave_up_leaves_the_lock_free(tmp_path):
    with held(tmp_path, exclusive=True, timeout=1):
        assert [busy(tmp_path, exclusive=exclusive) for exclusive in (True, False, True)] == [True] * 3
    until(lambda: not any(thread.name == "ledger-lock" for thread in threading.enumerate()))
    with held(tmp_path, exclusive=True, timeout=1):
        pass


def test_a_wait_can_be_interrupted(tmp_path):
    script = (
        "from pathlib import Path\nfrom workbench.ledger.lock import held\nprint('waiting', flush=True)\n"
        f"with held(Path({str(tmp_path)!r}), exclusive=True, timeout=60): pass"
    )
    with (
        holder(tmp_path),
        subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process,
    ):
        assert process.stdout.readline() == "waiting\n"
        time.sleep(0.2)  # a real signal to a real process: into the wait itself
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=20)[1]


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"^cannot write '(ledger|file)': .*"):
        Ledger(tmp_path / "file" / "ledger").append("tsa.degraded", fields=TROUBLE)


def in_child(work):
    """What ``work`` returns (or its error says) in a forked child, which then leaves at once."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            told = str(work())
        except BaseException as error:
            told = f"{type(error).__name__}: {error}"
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as pipe:
        return pipe.read()


def test_a_child_forked_while_nothing_was_open_may_use_the_ledger(ledger, trouble):
    trouble(ledger, 1)
    assert in_child(lambda: ledger.append("tsa.degraded", fields=TROUBLE).seq) == "1"
    assert (ledger.size, ledger.verify().problems) == (2, ())


def test_a_child_forked_inside_a_transaction_is_refused_and_changes_nothing(ledger, folder, trouble):
    refused = "LedgerError: this process was forked while the ledger was open: start it with 'spawn'"
    trouble(ledger, 1)
    with ledger.transaction() as tx:
        tx.append("tsa.degraded", fields=TROUBLE)
        assert in_child(lambda: tx.append("tsa.degraded", fields=TROUBLE)) == refused
        assert in_child(lambda: tx.query("FROM entries")) == refused
        assert in_child(lambda: ledger.size) == refused
        assert in_child(lambda: Ledger(folder).size) == refused
        tx.append("tsa.degraded", fields=TROUBLE)
    assert (ledger.size, ledger.verify().problems) == (3, ())


def test_a_child_that_leaves_a_transaction_of_its_parent_changes_nothing(folder):
    script = f"""
import os, sys
from pathlib import Path
from workbench.errors import LedgerError
from workbench.ledger import Ledger
ledger = Ledger(Path({str(folder)!r}))
child = None
try:
    with ledger.transaction() as tx:
        tx.append("tsa.degraded", fields={TROUBLE!r})
        child = os.fork()
        if child:
            os.waitpid(child, 0)
except LedgerError as error:
    print("child:", error, flush=True)
    sys.exit(0)
print("size", ledger.size, ledger.verify().problems)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout == (
        "child: this process was forked while the ledger was open: start it with 'spawn'\nsize 1 ()\n"
    )


def test_a_child_does_not_keep_its_parent_s_lock(tmp_path):
    """Locks belong to the open file, which a child shares: it must close it, or the lock outlives its holder."""
    reading, writing = os.pipe()
    with held(tmp_path, exclusive=True, timeout=1):
        child = os.fork()
        if child == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    try:
        assert not busy(tmp_path, exclusive=True)
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


def test_a_ledger_in_memory_is_not_for_children():
    ledger = MemoryLedger()
    assert in_child(lambda: ledger.size) == (
        "LedgerError: this ledger is in the memory of another process: a child makes its own"
    )


def test_a_writer_that_comes_too_late_appended_nothing(ledger, folder, clock, trouble):
    trouble(ledger, 1)
    with holder(folder), pytest.raises(LedgerBusyError):
        Ledger(folder, clock=clock, timeout=0.05).append("tsa.degraded", fields=TROUBLE)
    assert ledger.size == 1
    with pytest.raises(LedgerError), ledger.transaction() as tx:
        tx.query("nonsense")
    assert ledger.size == 1
