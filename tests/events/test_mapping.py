"""Mapping files: strict, and every mistake told by its place."""

import json

import pytest
from pydantic import ValidationError

from workbench.errors import MappingError
from workbench.events import Mapping, load_mapping

HEADER = "when,who,what,how\n"
ROW = "2024-01-01T12:00:00Z,ann (42),read,fine\n"
COLUMNS = {"timestamp": "when", "user": "who", "action": "what"}


def mapped(**more):
    return {"format": "csv", "columns": COLUMNS, **more}


def test_a_field_may_be_a_constant(read):
    made = read("a.csv", HEADER + ROW, mapping=mapped(columns={**COLUMNS, "source": {"constant": "it's here"}}))
    assert made.column("source") == ["it's here"]


def test_a_field_may_be_a_part_of_a_column(read):
    columns = {**COLUMNS, "user": {"column": "who", "extract": r"\((\d+)\)"}}
    assert read("a.csv", HEADER + ROW, mapping=mapped(columns=columns)).column("user") == ["42"]


def test_a_value_that_does_not_match_is_absent(read):
    columns = {**COLUMNS, "ip": {"column": "how", "matching": r"[0-9.]+"}}
    rows = ROW + ROW.replace("fine", "10.0.0.1") + ROW.replace("fine", "10.0.0.1 or so")
    assert read("a.csv", HEADER + rows, mapping=mapped(columns=columns)).column("ip") == ["∅", "10.0.0.1", "∅"]


def test_values_are_translated_and_others_stay(read):
    columns = {**COLUMNS, "outcome": {"column": "how", "values": {"fine": "success"}}}
    made = read("a.csv", HEADER + ROW + ROW.replace("fine", "denied"), mapping=mapped(columns=columns))
    assert made.column("outcome") == ["success", "denied"]


def test_an_outcome_must_be_one_of_four(read):
    columns = {**COLUMNS, "outcome": "how"}
    made = read("a.csv", HEADER + ROW + ROW.replace("fine", ""), mapping=mapped(columns=columns))
    assert made.column("outcome") == ["unknown"]
    assert made.rejects() == [(2, "outcome is none of success, failure, denied, unknown")]


def test_attributes_keep_columns_as_they_are(read):
    assert read("a.csv", HEADER + ROW, mapping=mapped(attributes=["how", "who"])).attributes() == [
        {"how": "fine", "who": "ann (42)"}
    ]


def test_labels_are_kept_apart_from_events(read):
    label = {"column": "how", "meaning": {"fine": "compliant", "awful": "violation", "unsure": None}, "reason": "what"}
    rows = ROW + ROW.replace("fine", "awful") + ROW.replace("fine", "unsure")
    made = read("a.csv", HEADER + rows, mapping=mapped(label=label))
    names = made.column("event_id")
    noon = "2024-01-01 12:00:00"
    assert made.labels() == [
        (names[0], "compliant", noon, "source", "read"),
        (names[1], "violation", noon, "source", "read"),
    ]


def test_a_label_word_that_the_mapping_does_not_list_is_refused(read):
    label = {"column": "how", "meaning": {"fine": "compliant", "awfull": "violation"}}
    rows = ROW + 2 * ROW.replace("fine", "awful")
    with pytest.raises(MappingError) as refused:
        read("a.csv", HEADER + rows, mapping=mapped(label=label))
    assert str(refused.value) == (
        "the label column holds values that the mapping's 'meaning' does not list: 'awful' (2 times); "
        "list each, with null where it is no label"
    )


def test_what_the_mapping_does_not_use_is_kept_in_the_attributes(read):
    label = {"column": "how", "meaning": {"fine": "compliant"}}
    made = read("a.csv", HEADER + ROW, mapping=mapped(label=label))
    kept = json.loads(made.column("attributes")[0])
    assert set(kept) == set(HEADER.strip().split(",")) - set(Mapping.model_validate(mapped(label=label)).used_columns())
    assert "how" not in kept


def test_numbers_and_truth_values_in_a_translation_are_read_as_meant() -> None:
    from workbench.events.mapping import FieldSource

    assert FieldSource.model_validate({"column": "c", "values": {200: "success"}}).values == {"200": "success"}
    with pytest.raises(ValidationError, match="put them in quotes"):
        FieldSource.model_validate({"column": "c", "values": {True: "success"}})


@pytest.mark.parametrize(
    ("stated", "known"),
    [
        ("2024-06-01T00:00:00+02:00", "2024-05-31 22:00:00"),
        ({"column": "who", "format": "epoch_s"}, "2024-06-01 00:00:00"),
    ],
    ids=["one stamp", "a column"],
)
def test_a_label_says_when_it_became_known(read, stated, known):
    label = {"column": "how", "meaning": {"fine": "compliant"}, "labelled_at": stated, "labelled_by": "ann"}
    made = read("a.csv", HEADER + ROW.replace("ann (42)", "1717200000"), mapping=mapped(label=label))
    assert [row[1:4] for row in made.labels()] == [("compliant", known, "ann")]


def test_a_mapping_lists_every_column_it_reads_once():
    mapping = Mapping.model_validate(
        mapped(
            attributes=["how", "who"],
            label={"column": "said", "meaning": {}, "labelled_at": {"column": "then"}, "reason": "why"},
        )
    )
    assert mapping.used_columns() == ["when", "who", "what", "how", "said", "then", "why"]


def test_a_mapping_file_reads_as_the_model(given):
    path = given("m.yaml", "format: csv\ncolumns: {timestamp: when, user: who, action: what}\n")
    assert load_mapping(path) == Mapping.model_validate(mapped())


BASE = "format: csv\ncolumns:\n  timestamp: when\n  user: who\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (BASE, "columns.action: missing"),
        (BASE + "  acton: what\n  action: what\n", "columns.acton: unknown key; did you mean 'action'? (found 'what')"),
        (BASE + "  action: {}\n", "columns.action: give either 'column' or 'constant'"),
        (BASE + "  action: {column: a, constant: b}\n", "columns.action: give either 'column' or 'constant'"),
        (
            BASE + "  action: {column: what, matching: '('}\n",
            "columns.action: 'matching' is not a regular expression: missing ): (",
        ),
        (
            BASE + "  action: {column: what, extract: '^a'}\n",
            "columns.action: 'extract' has no group: put the wanted part in parentheses",
        ),
        (
            BASE.replace("when", "{column: when, format: epoch}") + "  action: what\n",
            "columns.timestamp: 'format' is none of iso, epoch_s, epoch_ms, epoch_us and no strptime pattern",
        ),
        (
            BASE.replace("when", "{column: when, format: '%Q'}") + "  action: what\n",
            (
                "columns.timestamp: 'format' is not a strptime pattern: Failed to parse format specifier %Q: "
                "Unrecognized format for strftime/strptime: %Q"
            ),
        ),
        (
            BASE + "  action: what\nlabel: {column: x, meaning: {}, labelled_at: 2024-01-01 10:00}\n",
            "label: 'labelled_at' is neither {column: ...} nor an ISO stamp with offset",
        ),
        (
            BASE + "  action: what\nlabel: {column: x, meaning: {bad: evil}}\n",
            "label.meaning.bad: Input should be 'violation' or 'compliant' (found 'evil')",
        ),
        (
            BASE.replace("csv", "xml") + "  action: what\n",
            "format: Input should be 'csv', 'parquet' or 'jsonl' (found 'xml')",
        ),
    ],
    ids=lambda value: value if ":" in value and "\n" not in value else "",
)
def test_a_mistake_is_told_by_its_place(given, content, complaint):
    with pytest.raises(MappingError) as caught:
        load_mapping(given("m.yaml", content))
    assert str(caught.value) == f"mapping file 'm.yaml': {complaint}"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (
            BASE + " action: what\n",
            (
                "mapping file 'm.yaml' is not valid YAML: expected <block end>, but found '<block mapping start>' "
                "at line 5, column 2"
            ),
        ),
        ("- a\n", "mapping file 'm.yaml' is not a mapping of keys to values; expected the keys format, columns"),
        ("", "mapping file 'm.yaml' is not a mapping of keys to values; expected the keys format, columns"),
        (
            "a: !!python/object:os.system {}\n",
            (
                "mapping file 'm.yaml' is not valid YAML: could not determine a constructor "
                "for the tag 'tag:yaml.org,2002:python/object:os.system' at line 1, column 4"
            ),
        ),
    ],
    ids=["bad YAML", "a list", "empty", "code"],
)
def test_what_is_no_document_is_refused(given, content, complaint):
    with pytest.raises(MappingError) as caught:
        load_mapping(given("m.yaml", content))
    assert str(caught.value) == complaint


def test_a_mapping_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MappingError) as caught:
        load_mapping(tmp_path / "none.yaml")
    assert str(caught.value) == f"mapping file '{tmp_path}/none.yaml' does not exist"


def test_a_zone_of_the_mapping_must_exist(read):
    columns = {**COLUMNS, "timestamp": {"column": "when", "timezone": "Europe/Berln"}}
    with pytest.raises(MappingError) as caught:
        read("a.csv", HEADER + ROW, mapping=mapped(columns=columns))
    assert str(caught.value) == "unknown time zone 'Europe/Berln'; did you mean 'Europe/Berlin'?"
