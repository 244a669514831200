"""Files are whole or not there, and what the file system refuses is told in one sentence."""

import errno
import hashlib
import json
import os
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from workbench.errors import StorageError
from workbench.files import (
    canonical_json,
    is_locked,
    locked,
    sha256_bytes,
    sha256_file,
    staging,
    storage_errors,
    sweep_abandoned,
    write_atomic,
)


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc" * 1_000_000)
    assert sha256_file(path) == sha256_bytes(b"abc" * 1_000_000) == hashlib.sha256(b"abc" * 1_000_000).hexdigest()


@hypothesis.given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    )
)
def test_canonical_json_says_the_same_and_has_one_form(value):
    encoded = canonical_json(value)
    assert json.loads(encoded) == value
    assert canonical_json(json.loads(encoded)) == encoded


def test_the_order_of_keys_does_not_matter():
    assert canonical_json({"b": 1, "a": 2}) == canonical_json({"a": 2, "b": 1}) == b'{"a":2,"b":1}'


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "the disk quota is used up"),
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "permission denied"),
        (errno.EROFS, "the file system is read-only"),
        (errno.EEXIST, "something else is there already"),
        (errno.ENOTDIR, "a file stands where a folder is needed"),
        (errno.EISDIR, "a folder stands there"),
        (errno.ENOENT, "its folder is not there and cannot be made"),
        (errno.EIO, "Input/output error"),
    ],
)
def test_what_the_file_system_refuses_is_one_sentence_with_its_cause(tmp_path, number, reason):
    cause = OSError(number, os.strerror(number))
    with pytest.raises(StorageError) as caught, storage_errors(tmp_path / "report.html"):
        raise cause
    assert str(caught.value) == f"cannot write 'report.html': {reason}"
    assert caught.value.__cause__ is cause


def test_other_errors_pass_through(tmp_path):
    with pytest.raises(ValueError, match="mine"), storage_errors(tmp_path):
        raise ValueError("mine")


def test_a_written_file_replaces_the_old_one_and_can_be_read_by_others(tmp_path):
    path = tmp_path / "a"
    path.write_text("old")
    path.chmod(0o600)
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    (path / "inside").write_text("old")
    with pytest.raises(StorageError, match=r"^cannot write 'a': "):
        write_atomic(path, b"new")
    assert [found.name for found in tmp_path.iterdir()] == ["a"]
    assert (path / "inside").read_text() == "old"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    """A limit on file size refuses as a full disk does: in the middle of writing."""
    path = tmp_path / "a"
    path.write_text("old")
    script = f"""
import resource, signal
from pathlib import Path
from workbench.files import write_atomic
from workbench.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomic(Path({str(path)!r}), b"x" * 100_000)
except StorageError as error:
    print(error)
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout == "cannot write 'a': File too large\n"
    assert {found.name: found.read_text() for found in tmp_path.iterdir()} == {"a": "old"}


def test_a_lock_is_seen_while_its_process_lives(tmp_path):
    path = tmp_path / "lock"
    assert is_locked(path) is False
    with locked(path):
        assert is_locked(path) is True
        with pytest.raises(BlockingIOError), locked(path):
            pytest.fail("two held it")
    assert is_locked(path) is False


def test_a_staging_folder_is_hidden_locked_and_gone_afterwards(tmp_path):
    with staging(tmp_path / "deep" / "home") as folder:
        (folder / "half").write_text("done")
        assert folder.parent == tmp_path / "deep" / "home"
        assert folder.name.startswith(".partial-")
        assert is_locked(folder / ".lock")
    assert list((tmp_path / "deep" / "home").iterdir()) == []


def test_a_staging_folder_is_gone_after_an_error_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), staging(tmp_path):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_was_moved_out_of_staging_stays(tmp_path):
    with staging(tmp_path) as folder:
        (folder / "built").mkdir()
        (folder / "built").rename(tmp_path / "final")
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_a_file_where_the_staging_folder_should_be_is_told(tmp_path):
    (tmp_path / "home").write_text("mine")
    with (
        pytest.raises(StorageError, match=r"^cannot write 'home': something else is there already$"),
        staging(tmp_path / "home"),
    ):
        pytest.fail("there was a folder")


def test_only_abandoned_staging_folders_are_swept(tmp_path):
    abandoned = tmp_path / ".partial-dead"
    abandoned.mkdir()
    (abandoned / ".lock").touch()
    foreign = tmp_path / ".partial-not-ours"
    foreign.mkdir()
    finished = tmp_path / "final"
    finished.mkdir()
    with staging(tmp_path) as alive:
        assert sweep_abandoned(tmp_path) == 1
        assert sorted(tmp_path.iterdir()) == sorted([alive, foreign, finished])


def test_sweeping_where_nothing_is_does_nothing(tmp_path):
    assert sweep_abandoned(tmp_path / "none") == 0
