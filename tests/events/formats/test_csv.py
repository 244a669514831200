"""Delimited text: records keep their number, values come back as they were written."""

import csv
import gzip
import io
import tempfile
from pathlib import Path

import duckdb
import hypothesis
import pytest
from hypothesis import strategies as st

from workbench.errors import InputError, MappingError
from workbench.events import IngestOptions, Mapping, ingest
from workbench.workspace import Workspace

HEADER = "timestamp,user,action\n"
NOON = "2024-01-01T12:00:00Z"
PLAIN = {"timestamp": "timestamp", "user": "user", "action": "action"}


def test_columns_with_our_names_need_no_mapping(read):
    header = "event_id,timestamp,user,source,ip,action,resource,outcome\n"
    made = read("a.csv", header + f"one,{NOON},ann,laptop,10.0.0.1,read,file/1,denied\n")
    assert made.result.format == "csv"
    assert made.events("event_id", "timestamp", "utc_offset_min", "user", "source", "ip") == [
        ("one", "2024-01-01 12:00:00", 0, "ann", "laptop", "10.0.0.1")
    ]
    assert made.events("action", "resource", "outcome", "attributes") == [("read", "file/1", "denied", "{}")]


def test_what_the_file_does_not_say_is_absent_and_its_outcome_unknown(read):
    made = read("a.csv", HEADER + f"{NOON},ann,read\n")
    assert made.events("source", "ip", "resource", "outcome") == [("∅", "∅", "∅", "unknown")]


def test_an_event_is_named_by_its_source_and_record(read):
    made = read("a.csv", HEADER + f"{NOON},ann,read\n{NOON},bob,read\n")
    prefix = made.dataset.identity["origin"]["sources"][0]["sha256"][:8]
    assert made.column("event_id") == [f"{prefix}-2", f"{prefix}-3"]


def test_events_stand_in_time_order_and_ties_in_reading_order(read):
    rows = "2024-01-02T00:00:00Z,late,a\n2024-01-01T00:00:00Z,b,a\n2024-01-01T00:00:00Z,a,a\n"
    assert read("a.csv", HEADER + rows).column("user") == ["b", "a", "late"]


def test_records_that_do_not_fit_are_rejected_by_number_and_reason(read):
    rows = [
        f"{NOON},two,a",
        f"{NOON},three",
        f"{NOON},four,a",
        "yesterday,five,a",
        f"{NOON},six,a,more",
        f"{NOON},,a",
        f"{NOON},eight,",
        ",nine,a",
        "1969-12-31T23:59:59Z,ten,a",
        "2200-01-02T00:00:00Z,eleven,a",
        f"{NOON},twelve,a",
    ]
    made = read("a.csv", HEADER + "\n".join(rows) + "\n")
    assert made.numbers() == [2, 4, 12]
    assert made.rejects() == [
        (3, "too few columns"),
        (5, "the timestamp does not parse"),
        (6, "too many columns"),
        (7, "no user"),
        (8, "no action"),
        (9, "no timestamp"),
        (10, "the timestamp is before 1970"),
        (11, "the timestamp is after 2200"),
    ]


def test_rejects_keep_the_text_of_their_record(read):
    made = read("a.csv", HEADER + f'{NOON},two,a\n{NOON},three\nnever,"four",\n{NOON},five,a\n')
    assert (made.dataset.path / "rejects.jsonl").read_text() == (
        f'{{"file":0,"record":3,"reason":"too few columns","raw":"{NOON},three"}}\n'
        '{"file":0,"record":4,"reason":"no action","raw":"never,four,"}\n'
    )


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"], ids=["unix", "windows"])
def test_an_empty_line_is_counted_but_not_one_inside_quotes(read, ending, encoding, packed):
    lines = [
        HEADER.strip(),
        "",
        f'{NOON},"th',
        "",
        'ree",a',
        f"{NOON},four",
        "",
        "",
        f"{NOON},seven,ö",
        "never,eight,a",
        "",
    ]
    content = (ending.join(lines) + ending).encode(encoding)
    made = read("a.csv", gzip.compress(content) if packed else content, encoding=encoding)
    assert list(zip(made.numbers(), made.column("user"), strict=True)) == [(3, f"th{ending * 2}ree"), (7, "seven")]
    assert made.rejects() == [(4, "too few columns"), (8, "the timestamp does not parse")]
    assert made.result.skipped == {"empty line": 4}


def test_numbers_stay_right_after_bytes_that_are_no_text(read):
    content = (HEADER + f"{NOON},two,a\n").encode() + f"{NOON},thr\xffee,a\n".encode("latin-1")
    made = read("a.csv", content + f"{NOON},four,a\nnever,five,a\n{NOON},six,a\n".encode())
    assert made.numbers() == [2, 4, 6]
    assert made.rejects() == [(3, "not valid text in this encoding"), (5, "the timestamp does not parse")]


def test_a_quoted_line_break_makes_no_record_of_its_own(read):
    rows = f'{NOON},"two\nstill two",a\n{NOON},three\n{NOON},"four\n\n4",a\nnever,five,a\n{NOON},six\n{NOON},seven,a\n'
    made = read("a.csv", HEADER + rows)
    assert list(zip(made.numbers(), made.column("user"), strict=True)) == [
        (2, "two\nstill two"),
        (4, "four\n\n4"),
        (7, "seven"),
    ]
    assert made.rejects() == [(3, "too few columns"), (5, "the timestamp does not parse"), (6, "too few columns")]


def test_a_quote_that_never_closes_costs_its_record_only_from_there(read):
    made = read("a.csv", HEADER + f'{NOON},two,a\n{NOON},"three,a\n{NOON},four,a\n')
    assert made.column("user") == ["two"]
    assert made.rejects() == [(3, "a quote that never closes")]


def test_numbers_stay_right_across_the_pieces_that_are_read_in_parallel(read):
    rows = [f"{NOON},user-{n},{'x' * 200}" + (",more" if n % 1000 == 0 else "") for n in range(2, 60_002)]
    made = read("a.csv", HEADER + "\n".join(rows) + "\n")
    assert made.result.rejected == {"too many columns": 60}
    assert [number for number, _ in made.rejects()] == list(range(1000, 60_001, 1000))
    assert made.column("user") == [f"user-{number}" for number in made.numbers()]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old-mac"])
def test_any_line_ending_will_do(read, ending):
    made = read("a.csv", ending.join(["timestamp,user,action", f"{NOON},two,a", "never,three,a", f"{NOON},four,a", ""]))
    assert made.events("user", "action") == [("two", "a"), ("four", "a")]
    assert made.rejects() == [(3, "the timestamp does not parse")]


def test_a_file_may_end_without_a_line_break(read):
    assert read("a.csv", HEADER + f"{NOON},two,a").column("user") == ["two"]


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("utf-8", (HEADER + f"{NOON},Zoë,a\n").encode()),
        ("utf-8", ("\ufeff" + HEADER + f"{NOON},Zoë,a\n").encode()),
        ("latin-1", (HEADER + f"{NOON},Zoë,a\n").encode("latin-1")),
        ("utf-16", (HEADER + f"{NOON},Zoë,a\n").encode("utf-16")),
    ],
    ids=["utf-8", "utf-8 with mark", "latin-1", "utf-16"],
)
def test_text_is_read_in_the_stated_encoding(read, encoding, content):
    assert read("a.csv", content, encoding=encoding).column("user") == ["Zoë"]


def test_tabs_are_noticed(read):
    assert read("a.tsv", f"timestamp\tuser\taction\n{NOON}\tann\ta\n").column("user") == ["ann"]


@pytest.mark.parametrize(
    ("dialect", "content"),
    [
        ({"delimiter": ";"}, f"timestamp;user;action\n{NOON};ann;a\n"),
        ({"delimiter": "||"}, f"timestamp||user||action\n{NOON}||ann||a\n"),
        ({"quote": "'"}, f"timestamp,'user',action\n{NOON},'ann',a\n"),
        ({"skip": 2}, f'# exported by "x\n\ntimestamp,user,action\n{NOON},ann,a\n'),
        ({"names": ["timestamp", "user", "action"]}, f"{NOON},ann,a\n"),
        ({"names": ["timestamp", "user", "action"], "skip": 1}, f"t,u\n{NOON},ann,a\n"),
        ({"encoding": "latin-1"}, f"timestamp,user,action\n{NOON},ann,a\n"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_mapping_states_how_the_file_is_written(read, dialect, content):
    made = read("a.csv", content, mapping={"format": "csv", "csv": dialect, "columns": PLAIN})
    assert made.events("user", "action") == [("ann", "a")]


def test_without_quotes_a_quote_is_a_character(read):
    mapping = {"format": "csv", "csv": {"quote": ""}, "columns": PLAIN}
    assert read("a.csv", HEADER + f'{NOON},an"n,a\n', mapping=mapping).column("user") == ['an"n']


def test_a_quote_that_is_also_the_delimiter_is_refused(read):
    with pytest.raises(InputError, match=r"^'a.csv' cannot be read as csv: QUOTE must not appear in the DELIMITER"):
        read("a.csv", HEADER + f"{NOON},ann,a\n", mapping={"format": "csv", "csv": {"quote": ","}, "columns": PLAIN})


@pytest.mark.parametrize("header", ["timestamp,user,user,action", "timestamp,,user,action"])
def test_a_header_that_names_a_column_twice_or_not_at_all_is_refused(read, header):
    with pytest.raises(InputError, match=r"^a.csv: the header has empty or repeated column names; give them in the ma"):
        read("a.csv", f"{header}\n{NOON},ann,ann,a\n")


def test_columns_with_other_names_need_a_mapping_and_are_listed(read):
    with pytest.raises(MappingError) as caught:
        read("a.csv", f"when,who,what\n{NOON},ann,a\n")
    assert str(caught.value) == (
        "a.csv: the columns do not have the names of event fields, so a mapping file is needed (--map); "
        "columns found: when, who, what"
    )


def test_a_name_that_looks_like_a_pattern_is_a_name(given, reads):
    """DuckDB would read ``access1.csv`` for ``access[1].csv``, under the other's digest."""
    given("access1.csv", HEADER + f"{NOON},wrong,a\n")
    assert reads(given("access[1].csv", HEADER + f"{NOON},right,a\n")).column("user") == ["right"]


# NUL is left out: text files do not hold it. Line endings in one file must agree, so "\r" is left out too.
TEXTS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=20)
KEYS = TEXTS.filter(lambda value: value != "")


@hypothesis.settings(max_examples=60, deadline=None)
@hypothesis.given(rows=st.lists(st.tuples(KEYS, KEYS, TEXTS), min_size=1, max_size=8))
@hypothesis.example(rows=[('"', ",", "\n"), ("∅", '""', "'"), ("\ufeff", " ", "\\N"), ("NULL", "\t", "ü\U0001f512")])
def test_any_text_comes_back_exactly(rows):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["timestamp", "user", "action", "resource"])
    writer.writerows([NOON, *row] for row in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.csv"
        path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
        mapping = Mapping.model_validate(
            {"format": "csv", "columns": {**PLAIN, "resource": "resource"}, "attributes": ["resource"]}
        )
        made = ingest(Workspace(Path(folder)), [str(path)], options=IngestOptions(mapping)).dataset
        with duckdb.connect() as connection:
            back = connection.execute(
                f"SELECT \"user\", action, resource, json_extract_string(attributes, '$.resource') FROM {made.sql} "
                "ORDER BY seq"
            ).fetchall()
    assert back == [(user, action, resource or "∅", resource or None) for user, action, resource in rows]
