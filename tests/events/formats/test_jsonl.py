"""JSON lines."""

import json

import pytest

from workbench.errors import InputError, MappingError

LINE = '{"timestamp": "2024-01-01T12:00:00Z", "user": "ann", "action": "read"}\n'
PLAIN = {"timestamp": "timestamp", "user": "user", "action": "action"}


def test_objects_with_our_keys_need_no_mapping(read):
    made = read("a.jsonl", LINE)
    assert made.result.format == "jsonl"
    assert made.events("timestamp", "user", "action") == [("2024-01-01 12:00:00", "ann", "read")]


def test_a_column_may_be_a_path_and_a_key_may_hold_any_character(read):
    record = {"at": "2024-01-01T12:00:00Z", "actor": {"na.me": "ann"}, "do": "read", 'a"b': 1, "c\\d": 2, "x.y": [3]}
    mapping = {
        "format": "jsonl",
        "columns": {"timestamp": "at", "user": '$.actor."na.me"', "action": "do", "resource": "x.y"},
        "attributes": ['a"b', "c\\d"],
    }
    made = read("a.jsonl", json.dumps(record) + "\n", mapping=mapping)
    assert made.events("user", "resource") == [("ann", "[3]")]
    assert made.attributes() == [{'a"b': "1", "c\\d": "2"}]


def test_text_comes_back_exactly(read):
    name = 'quote " break \n tab \t absent ∅ lock \U0001f512'
    made = read("a.jsonl", json.dumps({**json.loads(LINE), "user": name}) + "\n")
    assert made.column("user") == [name]


def test_lines_that_are_no_objects_are_rejected_by_number(read):
    lines = [LINE, "rubbish\n", "[1]\n", "\n", LINE, '{"user": "x"}\n', '"text"\n', "null\n", LINE]
    made = read("a.jsonl", "".join(lines))
    assert made.numbers() == [1, 5, 9]
    assert made.rejects() == [
        (2, "not valid JSON"),
        (3, "not a JSON object"),
        (6, "no timestamp"),
        (7, "not a JSON object"),
        (8, "not a JSON object"),
    ]


def test_rejects_keep_the_line(read):
    made = read("a.jsonl", LINE + "rubbish\n")
    assert (made.dataset.path / "rejects.jsonl").read_text() == (
        '{"file":0,"record":2,"reason":"not valid JSON","raw":"rubbish"}\n'
    )


def test_a_line_too_long_to_hold_is_rejected_and_the_rest_read(read):
    made = read("a.jsonl", LINE + LINE.replace("ann", "x" * 3_000_000) + LINE)
    assert made.numbers() == [1, 3]
    assert made.rejects() == [(2, "line too long")]


def test_a_column_that_no_object_has_is_refused_and_the_nearest_named(read):
    with pytest.raises(MappingError) as caught:
        read("a.jsonl", LINE, mapping={"format": "jsonl", "columns": {**PLAIN, "ip": "usr"}})
    assert str(caught.value) == "a.jsonl: the mapping names a column 'usr' that is not there; did you mean 'user'?"


def test_a_path_that_is_none_is_refused(read):
    with pytest.raises(InputError, match=r"^'a.jsonl' cannot be read as jsonl: JSON path error"):
        read("a.jsonl", LINE, mapping={"format": "jsonl", "columns": {**PLAIN, "ip": "$..["}})


def test_a_file_without_objects_is_refused(read):
    with pytest.raises(InputError, match=r"^'a.jsonl' does not begin with JSON objects, one a line$"):
        read("a.jsonl", "one\ntwo\n", format="jsonl")
