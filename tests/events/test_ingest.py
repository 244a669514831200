"""From files to a dataset: once, whole, and the same everywhere."""

import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from workbench.errors import InputError, NotFoundError, StorageError
from workbench.events import IngestOptions, ingest, list_datasets
from workbench.files import is_locked
from workbench.workspace import Workspace

HEADER = "timestamp,user,action\n"
NOON = "2024-01-01T12:00:00Z"
ROWS = HEADER + f"{NOON},ann,read\n2024-01-01T11:00:00Z,bob,write\n{NOON},cid\n"


def left(workspace):
    """Every file under ``data``, relative."""
    return sorted(str(path.relative_to(workspace.data)) for path in workspace.data.rglob("*") if path.is_file())


def test_a_dataset_is_a_folder_named_by_its_digest(workspace, read):
    made = read("a.csv", ROWS)
    digest = made.dataset.digest
    assert left(workspace) == [
        f"datasets/{digest}/events.parquet",
        f"datasets/{digest}/manifest.json",
        f"datasets/{digest}/rejects.jsonl",
        "names/a",
    ]
    assert (workspace.names / "a").read_text() == f"{digest}\n"
    assert list_datasets(workspace) == {digest: ["a"]}


def test_the_manifest_says_what_came_from_where(read):
    made = read("a.csv", ROWS)
    manifest = json.loads((made.dataset.path / "manifest.json").read_text())
    source = manifest["identity"]["origin"]["sources"][0]
    assert {key: source[key] for key in ("size", "events", "skipped", "rejected")} == {
        "size": len(ROWS),
        "events": 2,
        "skipped": 0,
        "rejected": 1,
    }
    assert (manifest["identity"]["rows"], manifest["identity"]["first"], manifest["identity"]["last"]) == (
        2,
        "2024-01-01 11:00:00",
        "2024-01-01 12:00:00",
    )
    assert manifest["identity"]["reasons"] == {"rejected": {"too few columns": 1}, "skipped": {}}
    assert manifest["source_names"] == ["a.csv"]
    assert [file["path"] for file in manifest["files"]] == ["events.parquet", "rejects.jsonl"]


def test_the_second_time_it_was_there_and_nothing_is_touched(workspace, read):
    first = read("a.csv", ROWS)
    before = {path: path.stat().st_mtime_ns for path in first.dataset.path.iterdir()}
    second = read("a.csv", ROWS)
    assert (first.result.already_there, second.result.already_there) == (False, True)
    assert second.dataset == first.dataset
    assert {path: path.stat().st_mtime_ns for path in first.dataset.path.iterdir()} == before


def test_the_digest_does_not_depend_on_the_name_or_place_of_the_file(read):
    assert read("a.csv", ROWS).dataset.digest == read("elsewhere/b.csv", ROWS).dataset.digest


@pytest.mark.parametrize(
    "change",
    [
        {"timezone": "UTC"},
        {"mapping": {"format": "csv", "columns": {"timestamp": "timestamp", "user": "user", "action": "user"}}},
    ],
    ids=["options", "mapping"],
)
def test_the_digest_covers_how_the_file_was_read(read, change):
    assert read("a.csv", ROWS).dataset.digest != read("a.csv", ROWS, **change).dataset.digest


def test_compressed_piped_and_plain_give_the_same_rows(workspace, read, monkeypatch):
    plain = read("a.csv", ROWS)
    packed = read("a.csv.gz", gzip.compress(ROWS.encode()))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ROWS.encode())))
    piped = ingest(workspace, ["-"])
    rows = plain.events("timestamp", "user", "action")
    assert rows == [("2024-01-01 11:00:00", "bob", "write"), ("2024-01-01 12:00:00", "ann", "read")]
    assert packed.events("timestamp", "user", "action") == rows
    assert piped.dataset == plain.dataset
    assert piped.name == "stdin"


def test_members_of_a_joined_gzip_file_are_all_read(read):
    made = read("a.csv.gz", gzip.compress(ROWS.encode()) + gzip.compress(f"{NOON},dan,read\n".encode()))
    assert sorted(made.column("user")) == ["ann", "bob", "dan"]


def test_files_are_read_together_and_each_event_knows_its_own(workspace, given, reads):
    given("day/2.csv", HEADER + f"{NOON},bob,a\n")
    given("day/1.csv", HEADER + f"{NOON},ann,a\nnever,x,a\n")
    made = reads(given("day/0.csv", HEADER + f"{NOON},zoe,a\n").parent / "*.csv")
    prefixes = [source["sha256"][:8] for source in made.dataset.identity["origin"]["sources"]]
    assert made.events("user", "event_id") == [
        ("zoe", f"{prefixes[0]}-2"),
        ("ann", f"{prefixes[1]}-2"),
        ("bob", f"{prefixes[2]}-2"),
    ]
    assert made.dataset.manifest["source_names"] == ["0.csv", "1.csv", "2.csv"]


def test_the_same_file_twice_counts_once(given, reads):
    path = given("a.csv", HEADER + f"{NOON},ann,a\n")
    made = reads(path, path)
    assert made.column("user") == ["ann"]
    assert made.result.rejected == {"repeats the event_id of an earlier record": 1}


def test_a_repeated_event_id_is_rejected_wherever_it_stands_in_time(read):
    header = "event_id," + HEADER
    made = read("a.csv", header + f"x,{NOON},first,a\nx,2023-01-01T00:00:00Z,second,a\ny,{NOON},third,a\n")
    assert made.column("user") == ["first", "third"]
    assert made.rejects() == [(3, "repeats the event_id of an earlier record")]


def test_empty_lines_in_a_table_are_skipped_and_counted(read):
    made = read("a.csv", HEADER + f"\n{NOON},three,a\n\n{NOON},five\n\n\n{NOON},eight,a\nnever,nine,a\n\n")
    assert list(zip(made.numbers(), made.column("user"), strict=True)) == [(3, "three"), (8, "eight")]
    assert made.rejects() == [(5, "too few columns"), (9, "the timestamp does not parse")]
    assert made.result.skipped == {"empty line": 5}


def test_strict_refuses_the_lot_and_writes_nothing(workspace, read):
    with pytest.raises(InputError) as caught:
        read("a.csv", ROWS, strict=True)
    assert str(caught.value) == (
        "nothing was written, because --strict allows no rejects: 1 rejected; "
        "the first is record 4 of 'a.csv': too few columns"
    )
    assert left(workspace) == []


def test_strict_does_not_mind_what_is_skipped(read):
    assert read("a.csv", HEADER + f"\n{NOON},ann,a\n", strict=True).result.skipped == {"empty line": 1}


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        ("auth.log", "auth"),
        ("Access Log-2.csv", "access-log-2"),
        ("2024.csv", "events-2024"),
        ("abcdef.csv", "events-abcdef"),
        ("Übersicht.csv", "bersicht"),
        ("∅.csv", "events"),
        ("x" * 100 + ".csv", "events-" + "x" * 57),
    ],
)
def test_a_dataset_is_named_after_its_first_file(workspace, read, given_name, name):
    made = read(given_name, HEADER + f"{NOON},ann,a\n", format="csv")
    assert made.result.name == name
    assert list_datasets(workspace)[made.dataset.digest] == [name]


def test_a_name_moves_on_and_the_old_dataset_stays(workspace, read):
    old, new = read("a.csv", ROWS, name="mine"), read("a.csv", HEADER + f"{NOON},new,a\n", name="mine")
    assert list_datasets(workspace) == {old.dataset.digest: [], new.dataset.digest: ["mine"]}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.csv", b"", "'a.csv' is empty"),
        ("a.csv", b" \n\n", "'a.csv' is empty"),
        ("a.csv.gz", gzip.compress(b""), "'a.csv.gz' is empty"),
        ("a.csv", HEADER.encode(), "'a.csv': no record makes an event"),
        (
            "a.txt",
            b"hello world\n",
            (
                "'a.txt': cannot tell its format; name it with --format "
                "(parquet, cloudtrail, jsonl, combined, openssh, csv)"
            ),
        ),
        (
            "a.gz",
            b"\x1f\x8b\x08\x00rubbish",
            "'a.gz' is not a readable gzip file: Compressed file ended before the end-of-stream marker was reached",
        ),
        (
            "a.gz",
            gzip.compress(ROWS.encode())[:-12],
            "'a.gz' is not a readable gzip file: Compressed file ended before the end-of-stream marker was reached",
        ),
        (
            "a.gz",
            gzip.compress(ROWS.encode()) + b"more",
            "'a.gz' is not a readable gzip file: Not a gzipped file (b'mo')",
        ),
    ],
    ids=["empty", "blank", "empty inside", "header only", "unknown", "no gzip", "cut gzip", "gzip and more"],
)
def test_a_file_without_events_is_refused_in_one_sentence(workspace, read, name, content, complaint):
    with pytest.raises(InputError) as caught:
        read(name, content)
    assert str(caught.value) == complaint
    assert left(workspace) == []


def test_a_gzip_file_with_a_flipped_bit_is_refused(workspace, read):
    """DuckDB itself reads on and makes other events of it."""
    packed = bytearray(gzip.compress((HEADER + "".join(f"{NOON},user-{n},a\n" for n in range(5000))).encode()))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(InputError, match=r"^'a.csv.gz' is not a readable gzip file: "):
        read("a.csv.gz", bytes(packed))
    assert left(workspace) == []


def test_a_file_that_is_not_there_is_named(workspace):
    for name, complaint in (("none.csv", "'none.csv' does not exist"), ("none/*.csv", "no file matches 'none/*.csv'")):
        with pytest.raises(NotFoundError) as caught:
            ingest(workspace, [name])
        assert str(caught.value) == complaint


def test_a_folder_is_not_read_but_explained(workspace, tmp_path):
    with pytest.raises(InputError) as caught:
        ingest(workspace, [str(tmp_path)])
    assert str(caught.value) == f"{tmp_path.name!r} is a folder; name its files, for example '{tmp_path.name}/*'"


def test_files_of_different_formats_are_not_mixed(given, reads):
    table, log = (
        given("a.csv", ROWS),
        given("b.log", "2024-03-27T13:08:09Z h sshd[1]: Accepted password for a from ::1 port 1\n"),
    )
    with pytest.raises(InputError) as caught:
        reads(table, log)
    assert str(caught.value) == (
        "the files are of different formats (a.csv is csv, b.log is openssh); ingest each format by itself"
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"format": "cvs"}, "unknown format 'cvs'; did you mean 'csv'?"),
        ({"timezone": "Europe/Berln"}, "unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"),
        (
            {"timezone": "+25:00"},
            "unknown time zone '+25:00'; expected UTC, +HH:MM or a name such as Europe/Berlin",
        ),
        ({"year": 24}, "--year 24 is not between 1970 and 2200"),
        ({"encoding": "utf8"}, "unknown encoding 'utf8'; did you mean 'utf-8'?"),
        ({"memory_limit": "much"}, "memory limit 'much': expected a size such as 512MB"),
        ({"memory_limit": "1MB"}, "1MB does not suffice: allow more with --memory-limit"),
        (
            {"name": "my data"},
            (
                "'my data' cannot name a dataset: use a letter and then letters, digits, '-' or '_', at most 64, "
                "and not only hexadecimal digits"
            ),
        ),
    ],
    ids=lambda value: next(iter(value.values())) if isinstance(value, dict) else "",
)
def test_an_option_that_cannot_be_is_refused(workspace, read, options, complaint):
    with pytest.raises(InputError) as caught:
        read("a.csv", ROWS, **options)
    assert str(caught.value) == complaint
    assert left(workspace) == []


def test_a_mapping_and_a_format_must_agree(read):
    columns = {"timestamp": "timestamp", "user": "user", "action": "action"}
    with pytest.raises(InputError, match=r"^the mapping file is for format 'csv', not 'jsonl'$"):
        read("a.csv", ROWS, format="jsonl", mapping={"format": "csv", "columns": columns})


@pytest.mark.parametrize("place", ["data", "data/datasets"])
def test_a_file_in_the_way_of_a_folder_is_told(workspace, read, place):
    path = workspace.root / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(StorageError, match=r"^cannot write 'datasets': "):
        read("a.csv", ROWS)
    assert path.read_text() == "mine"


def test_a_workspace_may_lie_in_a_folder_that_looks_like_a_pattern(tmp_path, given):

    made = ingest(Workspace(tmp_path / "[a-z]*?"), [str(given("a.csv", ROWS))]).dataset
    made.verify()
    assert list(made.frame()["user"]) == ["bob", "ann"]


def test_more_than_fits_in_memory_is_spilled_and_gives_the_same_digest(read):
    rows = HEADER + "".join(f"{NOON},user-{n * 7919 % 100_003}-{'x' * 150},a\n" for n in range(100_000))
    assert read("a.csv", rows, memory_limit="60MB").dataset.digest == read("a.csv", rows).dataset.digest


INGEST = """
import sys
from pathlib import Path
from workbench.events import ingest, IngestOptions
from workbench.workspace import Workspace
module = sys.modules["workbench.events.ingest"]
threads, home, file = sys.argv[1:]
connect = module.connect
def limited(*args, **kwargs):
    connection = connect(*args, **kwargs)
    connection.execute(f"SET threads = {threads}")
    return connection
module.connect = limited
print(ingest(Workspace(Path(home)), [file], options=IngestOptions(timezone="Europe/Berlin")).dataset.digest)
"""


def test_the_digest_is_the_same_whatever_the_surroundings(tmp_path, given):
    """Another folder, zone, hash seed, file mode mask, locale and number of threads."""
    rows = "".join(f"2024-0{n % 9 + 1}-27T02:{n % 60:02d}:00,user-{n * 7919 % 1009},a\n" for n in range(30_000))
    path = given("a.csv", HEADER + rows + "never,x,a\n")
    digests = []
    for number, (zone, seed, mask, threads) in enumerate([("UTC", "0", 0o022, 1), ("Asia/Kolkata", "4242", 0o077, 7)]):
        place = tmp_path / f"place-{number}"
        place.mkdir()
        told = subprocess.run(
            [sys.executable, "-c", INGEST, str(threads), str(place), str(path)],
            cwd=place,
            env={**os.environ, "TZ": zone, "PYTHONHASHSEED": seed, "LC_ALL": "C"},
            umask=mask,
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(told.stdout.strip())
    assert digests[0] == digests[1]
    assert len(digests[0]) == 64


KILLED = """
import sys, time
from pathlib import Path
from workbench.events import ingest
from workbench.workspace import Workspace
import workbench.events.snapshot as module
home, file, stage = sys.argv[1:]
def stop(*args, **kwargs):
    print("here", flush=True)
    time.sleep(600)
setattr(module, stage, stop)
ingest(Workspace(Path(home)), [file])
"""


@pytest.mark.parametrize("stage", ["_copy", "content_sha256", "_seal", "_move"])
def test_a_killed_ingest_leaves_nothing_and_the_next_one_sweeps_up(workspace, given, reads, stage):
    path = given("a.csv", ROWS)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(workspace.root), str(path), stage], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "here\n"
        building = list(workspace.datasets.iterdir())
        assert [folder.name.startswith(".partial-") for folder in building] == [True]
        assert is_locked(building[0] / ".lock")
        process.send_signal(signal.SIGKILL)
    assert list_datasets(workspace) == {}
    assert building[0].is_dir()
    made = reads(path)
    assert made.result.already_there is False
    assert [folder.name for folder in workspace.datasets.iterdir()] == [made.dataset.digest]


def test_an_ingest_does_not_sweep_up_one_that_is_still_at_work(workspace, given, reads):
    path = given("a.csv", ROWS)
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, str(workspace.root), str(path), "_seal"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "here\n"
        building = list(workspace.datasets.iterdir())
        reads(path)
        assert building[0].is_dir()
        process.send_signal(signal.SIGKILL)


def test_progress_is_told(workspace, given):
    told = []
    ingest(workspace, [str(given("a.csv", ROWS)), str(given("b.csv", ROWS + f"{NOON},e,a\n"))], progress=told.append)
    assert told == ["reading a.csv (1 of 2)", "reading b.csv (2 of 2)", "writing the dataset"]


@pytest.mark.slow
def test_a_million_rows_are_read_at_a_useful_pace(workspace, tmp_path):
    """A floor far below the target, so that it fails for per-row Python and not for a busy machine."""
    path = tmp_path / "many.csv"
    with path.open("w") as file:
        file.write(HEADER)
        file.writelines(f"2024-01-01T{n % 24:02d}:00:00Z,user-{n % 5000},read\n" for n in range(1_000_000))
    started = time.perf_counter()
    made = ingest(workspace, [str(path)], options=IngestOptions())
    seconds = time.perf_counter() - started
    assert made.dataset.rows == 1_000_000
    assert seconds < 30, f"{seconds:.1f} s"
