"""``workbench events`` as it is typed: what it prints, and what it says to bad input."""

import gzip
import io
import json
import re
import signal
import subprocess
import sys

import pytest

HEADER = "timestamp,user,action\n"
NOON = "2024-01-01T12:00:00Z"
GOOD = HEADER + f"{NOON},ann,read\n"
MIXED = HEADER + f"{NOON},ann,read\nnever,bob,read\n\n{NOON},cid\n"
SSH = "Mar 27 13:08:09 web sshd[1]: Failed password for root from 192.0.2.7 port 22 ssh2\n"


@pytest.fixture
def given(workspace):
    """Write a file into the workspace's folder, where commands are typed."""

    def write(name, content):
        path = workspace.root / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def left(workspace):
    """Every file under ``data``, names only."""
    return sorted(path.name for path in workspace.data.rglob("*") if path.is_file())


def digest_of(workspace, name):
    return (workspace.names / name).read_text().strip()


def test_ingest_says_what_became_of_every_record(workspace, cli, given):
    given("mixed.csv", MIXED)
    told = cli("events", "ingest", "mixed.csv")
    digest = digest_of(workspace, "mixed")
    assert told.stdout == (
        f"1 events as 'mixed', dataset {digest[:12]}\n"
        "  1 skipped: empty line\n"
        "  1 rejected: the timestamp does not parse\n"
        "  1 rejected: too few columns\n"
        "  more records were rejected than became events: is this the right format and mapping?\n"
        f"  rejected records: data/datasets/{digest}/rejects.jsonl\n"
    )
    assert (told.code, told.stderr) == (0, "")


def test_a_second_ingest_says_it_was_there(workspace, cli, given):
    given("a.csv", GOOD)
    cli("events", "ingest", "a.csv")
    told = cli("events", "ingest", "a.csv", "--name", "again")
    assert told.stdout == f"1 events as 'again', dataset {digest_of(workspace, 'a')[:12]} (was there already)\n"
    assert digest_of(workspace, "again") == digest_of(workspace, "a")


def test_ingest_reports_as_json(workspace, cli, given):
    given("mixed.csv", MIXED)
    told = cli("events", "ingest", "mixed.csv", "--json")
    assert json.loads(told.stdout) == {
        "dataset": digest_of(workspace, "mixed"),
        "name": "mixed",
        "format": "csv",
        "rows": 1,
        "skipped": {"empty line": 1},
        "rejected": {"the timestamp does not parse": 1, "too few columns": 1},
        "labels": {},
        "replaced": None,
        "already_there": False,
    }


def test_a_name_that_moves_says_where_it_pointed(workspace, cli, given):
    given("a.csv", GOOD)
    cli("events", "ingest", "a.csv")
    before = digest_of(workspace, "a")
    given("a.csv", GOOD + GOOD.splitlines()[-1] + "\n")
    told = cli("events", "ingest", "a.csv")
    assert told.stdout.splitlines()[1] == (
        f"  the name 'a' pointed to dataset {before[:12]} before, which is still there"
    )
    assert cli("events", "show", before[:12]).code == 0


def test_ingest_reads_standard_input(cli, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    told = cli("events", "ingest", "-", "--name", "piped")
    assert told.code == 0
    assert told.stdout.startswith("1 events as 'piped', dataset ")


def test_ingest_takes_a_mapping_and_everything_only_the_user_knows(cli, given):
    given("m.yaml", "format: csv\ncsv: {delimiter: ';'}\ncolumns: {timestamp: when, user: who, action: what}\n")
    given("a.txt", "when;who;what\n2024-07-01 12:00:00;Zo\xeb;read\n".encode("latin-1"))
    told = cli("events", "ingest", "a.txt", "--map", "m.yaml", "--timezone", "Europe/Berlin", "--encoding", "latin-1")
    assert told.code == 0, told.stderr
    shown = json.loads(cli("events", "show", "a", "--json").stdout)
    assert (shown["rows"], shown["first"]) == (1, "2024-07-01T10:00:00Z")


def test_ingest_takes_the_year_of_a_syslog(cli, given):
    given("auth.log", SSH)
    assert cli("events", "ingest", "auth.log", "--year", "2016", "--timezone", "UTC").code == 0
    assert json.loads(cli("events", "show", "auth", "--json").stdout)["first"] == "2016-03-27T13:08:09Z"


def test_generate_makes_the_demo(workspace, cli):
    told = cli("events", "generate", "--scale", "4", "--days", "7")
    assert (told.code, told.stderr) == (0, "")
    assert re.fullmatch(rf"\d+ events as 'demo', dataset {digest_of(workspace, 'demo')[:12]}\n", told.stdout)
    again = cli("events", "generate", "--scale", "4", "--days", "7", "--name", "other", "--json")
    assert json.loads(again.stdout) == {
        "dataset": digest_of(workspace, "demo"),
        "name": "other",
        "rows": int(told.stdout.split()[0].replace(",", "")),
        "already_there": True,
    }


def test_show_prints_the_summary(workspace, cli, given):
    given("mixed.csv", MIXED)
    cli("events", "ingest", "mixed.csv")
    lines = [line.rstrip() for line in cli("events", "show", "mixed", "--verify").stdout.splitlines()]
    assert lines == [
        f"dataset   {digest_of(workspace, 'mixed')} (verified)",
        "events    1",
        "time      2024-01-01T12:00:00Z to 2024-01-01T12:00:00Z, 0 days",
        "distinct  1 users, 0 sources, 0 IPs, 0 resources",
        "actions   read 1",
        "outcomes  unknown 1",
        "labels    none",
        "gaps      none out of the ordinary",
        "skipped   empty line 1",
        "rejected  the timestamp does not parse 1, too few columns 1",
    ]


def test_show_gives_the_share_of_violations(cli):
    cli("events", "generate", "--scale", "4", "--days", "7")
    shown = json.loads(cli("events", "show", "demo", "--json").stdout)
    line = next(line for line in cli("events", "show", "demo").stdout.splitlines() if line.startswith("labels"))
    compliant, violation = shown["labels"]["compliant"], shown["labels"]["violation"]
    assert line.split("  ", 1)[1].strip() == (
        f"compliant {compliant:,}, violation {violation:,} ({violation / shown['rows']:.2%} violations), unlabelled 0"
    )


def test_show_writes_a_page(workspace, cli, given):
    given("a.csv", GOOD)
    cli("events", "ingest", "a.csv")
    told = cli("events", "show", "a", "--html", "page.html")
    assert (told.code, told.stdout) == (0, "page.html\n")
    assert "<!DOCTYPE html>" in (workspace.root / "page.html").read_text()


def test_list_names_every_dataset(workspace, cli, given):
    given("a.csv", GOOD)
    given("b.csv", GOOD.replace("ann", "bob"))
    for name in ("a.csv", "b.csv"):
        cli("events", "ingest", name)
    cli("events", "ingest", "a.csv", "--name", "alias")
    a, b = digest_of(workspace, "a"), digest_of(workspace, "b")
    listed = json.loads(cli("events", "list", "--json").stdout)
    assert listed == sorted(
        [{"dataset": a, "names": ["a", "alias"], "rows": 1}, {"dataset": b, "names": ["b"], "rows": 1}],
        key=lambda item: item["dataset"],
    )
    table = cli("events", "list").stdout
    assert {a[:12], b[:12]} <= set(table.split())
    assert "a, alias" in table


def test_list_as_json_is_empty_where_there_is_nothing(cli):
    told = cli("events", "list", "--json")
    assert (told.code, json.loads(told.stdout)) == (0, [])


def test_verify_names_a_file_that_was_changed(workspace, cli, given):
    given("a.csv", GOOD)
    cli("events", "ingest", "a.csv")
    digest = digest_of(workspace, "a")
    path = workspace.datasets / digest / "events.parquet"
    content = bytearray(path.read_bytes())
    content[30] ^= 1
    path.write_bytes(content)
    told = cli("events", "show", "a", "--verify")
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr == f"workbench: events.parquet of dataset {digest[:12]} was changed after it was written\n"


def test_a_workspace_may_be_named_from_anywhere(workspace, cli, given, tmp_path, monkeypatch):
    given("a.csv", GOOD)
    cli("events", "ingest", "a.csv")
    monkeypatch.chdir(tmp_path)
    assert len(json.loads(cli("--workspace", workspace.root, "events", "list", "--json").stdout)) == 1


FILES = {
    "good.csv": GOOD.encode(),
    "mixed.csv": MIXED.encode(),
    "empty.csv": b"",
    "header.csv": HEADER.encode(),
    "other.csv": f"when,who,what\n{NOON},ann,read\n".encode(),
    "local.csv": HEADER.encode() + b"2024-01-01T12:00:00,ann,read\n",
    "note.txt": b"hello world\n",
    "auth.log": SSH.encode(),
    "cut.csv.gz": gzip.compress(GOOD.encode())[:-9],
    "list.yaml": b"- a\n",
    "broken.yaml": b"format: csv\ncolumns:\n  timestamp: when\n user: who\n",
    "column.yaml": b"format: csv\ncolumns: {timestamp: when, user: woh, action: what}\n",
    "key.yaml": b"format: csv\ncolumns: {timestamp: when, user: who, acton: what}\n",
    "zone.yaml": b"format: csv\ncolumns: {timestamp: {column: when, timezone: Mars}, user: who, action: what}\n",
}
NAMING = "cannot name a dataset: use a letter and then letters, digits, '-' or '_', at most 64, and not only hexadecimal digits"
HELP = "(`workbench --help` lists what there is)"


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("ingest none.csv", "'none.csv' does not exist"),
        ("ingest none/*.csv", "no file matches 'none/*.csv'"),
        ("ingest folder", "'folder' is a folder; name its files, for example 'folder/*'"),
        ("ingest empty.csv", "'empty.csv' is empty"),
        ("ingest header.csv", "'header.csv': no record makes an event"),
        (
            "ingest note.txt",
            (
                "'note.txt': cannot tell its format; name it with --format "
                "(parquet, cloudtrail, jsonl, combined, openssh, csv)"
            ),
        ),
        ("ingest good.csv --format cvs", "unknown format 'cvs'; did you mean 'csv'?"),
        (
            "ingest good.csv --format combined",
            (
                "no record makes an event: 2 rejected; the first is record 1 of 'good.csv': "
                "not a line of the combined or common log format"
            ),
        ),
        (
            "ingest good.csv --format openssh",
            "no record makes an event: 2 rejected; the first is record 1 of 'good.csv': not a syslog line",
        ),
        (
            "ingest good.csv --format cloudtrail",
            "no record makes an event: 1 rejected; the first is record 1 of 'good.csv': the file is not valid JSON",
        ),
        (
            "ingest good.csv --format parquet",
            "'good.csv' cannot be read as parquet: No magic bytes found at end of file 'good.csv'",
        ),
        ("ingest good.csv --format jsonl", "'good.csv' does not begin with JSON objects, one a line"),
        (
            "ingest cut.csv.gz",
            (
                "'cut.csv.gz' is not a readable gzip file: "
                "Compressed file ended before the end-of-stream marker was reached"
            ),
        ),
        (
            "ingest other.csv",
            (
                "other.csv: the columns do not have the names of event fields, so a mapping file is needed (--map); "
                "columns found: when, who, what"
            ),
        ),
        (
            "ingest other.csv --map column.yaml",
            "other.csv: the mapping names a column 'woh' that is not there; did you mean 'who'?",
        ),
        (
            "ingest other.csv --map key.yaml",
            "mapping file 'key.yaml': columns.action: missing; columns.acton: unknown key; did you mean 'action'? (found 'what')",
        ),
        (
            "ingest other.csv --map zone.yaml",
            "unknown time zone 'Mars'; expected UTC, +HH:MM or a name such as Europe/Berlin",
        ),
        (
            "ingest other.csv --map broken.yaml",
            (
                "mapping file 'broken.yaml' is not valid YAML: expected <block end>, but found '<block mapping start>' "
                "at line 4, column 2"
            ),
        ),
        (
            "ingest other.csv --map list.yaml",
            "mapping file 'list.yaml' is not a mapping of keys to values; expected the keys format, columns",
        ),
        ("ingest other.csv --map none.yaml", "mapping file 'none.yaml' does not exist"),
        ("ingest good.csv --map column.yaml --format jsonl", "the mapping file is for format 'csv', not 'jsonl'"),
        (
            "ingest local.csv",
            (
                "local.csv: the timestamp of record 2 has no time zone; "
                "say which with --timezone (for example --timezone UTC or --timezone Europe/Berlin)"
            ),
        ),
        (
            "ingest auth.log",
            (
                "auth.log: stamps such as 'Mar 27 13:08:09' have no year and no time zone; "
                "say which with --year and --timezone (for example --year 2024 --timezone Europe/Berlin)"
            ),
        ),
        (
            "ingest auth.log --timezone Europe/Berln --year 2016",
            "unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?",
        ),
        ("ingest auth.log --timezone UTC --year 16", "--year 16 is not between 1970 and 2200"),
        (
            "ingest good.csv auth.log",
            "the files are of different formats (good.csv is csv, auth.log is openssh); ingest each format by itself",
        ),
        ("ingest good.csv --encoding utf8", "unknown encoding 'utf8'; did you mean 'utf-8'?"),
        ("ingest good.csv --memory-limit much", "memory limit 'much': expected a size such as 512MB"),
        ("ingest good.csv --name a/b", f"'a/b' {NAMING}"),
        ("ingest good.csv --name deadbeef", f"'deadbeef' {NAMING}"),
        (
            "ingest mixed.csv --strict",
            (
                "nothing was written, because --strict allows no rejects: 2 rejected; "
                "the first is record 3 of 'mixed.csv': the timestamp does not parse"
            ),
        ),
        ("ingest", f"Missing argument 'FILE...'. {HELP}"),
        (
            "ingest good.csv --year soon",
            f"Invalid value for '--year': Input should be a valid integer, unable to parse string as an integer {HELP}",
        ),
        ("ingest good.csv --qq", f"No such option: --qq {HELP}"),
        ("generate --scale 0", "--scale 0: expected 1 to 1,000,000 users"),
        ("generate --days 1", "--days 1: expected 2 to 3,650"),
        ("generate --seed -1", "--seed -1: expected 0 to 9,007,199,254,740,991"),
        ("generate --label-noise 0.9", "--label-noise 0.9: expected 0 to 0.5"),
        ("generate --start soon", "--start 'soon': expected a date between 1971 and 2180, such as 2025-01-06"),
        ("generate --name a/b", f"'a/b' {NAMING}"),
        ("show demo", "no dataset 'demo'; there is none yet: see `workbench events --help`"),
        ("show", f"Missing argument 'dataset'. {HELP}"),
        ("list", "there is no dataset yet: `workbench events generate` or `workbench events ingest` makes one"),
        ("shw", f"No such command 'shw'. Did you mean 'show'? {HELP}"),
    ],
    ids=lambda value: value if value.startswith(("ingest", "generate", "show", "list", "shw")) else "",
)
def test_bad_input_is_told_in_one_sentence_and_leaves_nothing(workspace, cli, given, typed, complaint):
    (workspace.root / "folder").mkdir()
    for name, content in FILES.items():
        given(name, content)
    told = cli("events", *typed.split())
    assert told.stderr == f"workbench: {complaint}\n"
    assert (told.code, told.stdout) == (2, "")
    assert left(workspace) == []


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("show a --html /proc/none/page.html", "cannot write 'page.html': its folder is not there and cannot be made"),
        ("show a --html folder", "cannot write 'folder': a folder stands there"),
        ("show a --html a.csv/page.html", "cannot write 'page.html': something else is there already"),
        ("show b", "no dataset 'b'; known: a"),
        ("show aa", "no dataset 'aa'; did you mean 'a'?"),
    ],
)
def test_show_tells_in_one_sentence_what_it_cannot(workspace, cli, given, typed, complaint):
    (workspace.root / "folder").mkdir()
    given("a.csv", GOOD)
    cli("events", "ingest", "a.csv")
    before = sorted(workspace.root.rglob("*"))
    told = cli("events", *typed.split())
    assert (told.code, told.stdout, told.stderr) == (2, "", f"workbench: {complaint}\n")
    assert sorted(workspace.root.rglob("*")) == before


@pytest.mark.parametrize("typed", ["ingest a.csv", "generate --scale 2 --days 2"])
@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ("data", "cannot write 'datasets': a file stands where a folder is needed"),
        ("data/datasets", "cannot write 'datasets': something else is there already"),
        ("data/names", "cannot write 'names': something else is there already"),
    ],
)
def test_a_file_in_the_way_is_told_in_one_sentence_and_kept(workspace, cli, given, typed, place, complaint):
    given("a.csv", GOOD)
    path = workspace.root / place
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    told = cli("events", *typed.split())
    assert (told.code, told.stdout, told.stderr) == (2, "", f"workbench: {complaint}\n")
    assert path.read_text() == "mine"


@pytest.mark.parametrize("typed", ["ingest a.csv", "generate", "show a", "list"])
def test_outside_a_workspace_the_ways_in_are_told(cli, tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    told = cli("events", *typed.split())
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr == (
        "workbench: no workbench.toml in this folder or above it: go to a workspace, name one with --workspace, "
        "or make one with `workbench init DIR`\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["reading", "writing"])
def test_an_ingest_stopped_by_its_user_says_so_and_leaves_nothing(workspace, given, stage):
    """Interrupted early and late: Python raises KeyboardInterrupt, DuckDB an error of its own."""
    rows = (f"2024-01-01T{n % 24:02d}:00:00Z,user-{n * 7919 % 100_003},read\n" for n in range(1_000_000))
    path = given("many.csv", HEADER + "".join(rows))
    with subprocess.Popen(
        [sys.executable, "-m", "workbench", "events", "ingest", str(path)],
        cwd=workspace.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wanted = ".partial-*/dataset/events.parquet" if stage == "writing" else ".partial-*/.lock"
        while process.poll() is None and not list(workspace.datasets.glob(wanted)):
            pass
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (130, "")
    assert stderr in ("", "workbench: stopped\n")  # typer says nothing when Python itself was interrupted
    assert left(workspace) == []


def test_a_traceback_is_shown_only_when_asked_for(cli):
    assert "Traceback" not in cli("events", "show", "demo").stderr
    assert "Traceback" in cli("--debug", "events", "show", "demo").stderr
