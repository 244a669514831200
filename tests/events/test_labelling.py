"""Labels attached to a dataset: from files and by rules, whole or not at all."""

import json
from datetime import timedelta

import duckdb
import pytest

from workbench.errors import InputError, MappingError, NotFoundError
from workbench.events import (
    LabelMapping,
    Moment,
    ingest,
    label_from_files,
    label_where,
    open_dataset,
    summarise,
)
from workbench.events.expression import evaluate
from workbench.workspace import Workspace

EVENTS = """event_id,timestamp,user,action,outcome
a,2024-01-01T10:00:00Z,ann,read,success
b,2024-01-01T11:00:00Z,ann,export,denied
c,2024-01-02T10:00:00Z,bob,read,
d,2024-01-03T10:00:00Z,bob,export,success
"""
LABELS = """event_id,label,labelled_at,labelled_by,reason
b,violation,2024-01-05T00:00:00Z,eve,seen
a,compliant,2024-01-05T00:00:00Z,eve,
"""


@pytest.fixture
def made(read):
    return read("events.csv", EVENTS).dataset


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """The same dataset, for tests that only look at it."""
    folder = tmp_path_factory.mktemp("fixed")
    (folder / "events.csv").write_text(EVENTS)
    return ingest(Workspace(folder), [str(folder / "events.csv")]).dataset


@pytest.fixture
def attach(made, given):
    def attach(content, name="labels.csv", **options):
        mapping = options.pop("mapping", None)
        mapping = LabelMapping.model_validate(mapping) if mapping else None
        return label_from_files(made, [str(given(name, content))], mapping=mapping, **options)

    return attach


def rows(labels):
    with duckdb.connect() as connection:
        return connection.execute(
            f"SELECT event_id, label, labelled_at::VARCHAR, labelled_by, reason FROM {labels.sql} ORDER BY seq"
        ).fetchall()


def refused(attach, *arguments, **options):
    with pytest.raises(InputError) as caught:
        attach(*arguments, **options)
    return str(caught.value)


def left(workspace):
    return [path.name for path in workspace.labels.iterdir()] if workspace.labels.is_dir() else []


# From files


def test_labels_of_a_file_become_a_label_set_in_event_order(made, attach):
    done = attach(LABELS)
    assert rows(done.labels) == [
        ("a", "compliant", "2024-01-05 00:00:00", "eve", ""),
        ("b", "violation", "2024-01-05 00:00:00", "eve", "seen"),
    ]
    assert (done.counts, done.unlabelled, done.revisions, done.no_label) == ({"compliant": 1, "violation": 1}, 2, 0, 0)
    assert made.labels() == done.labels
    done.labels.verify()


def test_the_same_file_gives_the_same_label_set_again(attach):
    one, two = attach(LABELS), attach(LABELS)
    assert (one.labels.digest, one.already_there) == (two.labels.digest, False)
    assert two.already_there


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_every_kind_of_table_gives_the_same_labels(attach, tmp_path, kind):
    plain = tmp_path / "plain.csv"
    plain.write_text(LABELS)
    target = tmp_path / f"labels.{kind}"
    with duckdb.connect() as connection:
        form = "json" if kind == "jsonl" else kind
        read_as = f"read_csv('{plain}', all_varchar=true)"
        connection.execute(f"COPY (FROM {read_as}) TO '{target}' (FORMAT {form})")
    done = attach(target.read_bytes(), name=target.name)
    assert rows(done.labels) == rows(attach(LABELS).labels)


def test_several_labels_of_an_event_are_revisions_and_the_newest_counts(made, attach):
    later = LABELS + "b,compliant,2024-01-06T00:00:00Z,kim,an exception was granted\n"
    done = attach(later)
    assert [row[:2] for row in rows(done.labels)] == [("a", "compliant"), ("b", "violation"), ("b", "compliant")]
    assert (done.counts, done.revisions) == ({"compliant": 2}, 1)
    assert summarise(made).labels == {"compliant": 2}


def test_a_mapping_says_which_column_and_which_word_mean_what(attach):
    content = "ref;verdict;when;who;note\n#b;bad;2024-01-05 00:00:00;eve;seen\n#a;unsure;2024-01-05 00:00:00;eve;\n"
    mapping = {
        "format": "csv",
        "csv": {"delimiter": ";"},
        "columns": {
            "event_id": {"column": "ref", "extract": "#(.*)"},
            "label": "verdict",
            "labelled_at": {"column": "when", "timezone": "Europe/Berlin"},
            "labelled_by": {"constant": "the audit"},
            "reason": "note",
        },
        "meaning": {"bad": "violation", "fine": "compliant", "unsure": None},
    }
    done = attach(content, mapping=mapping)
    assert rows(done.labels) == [("b", "violation", "2024-01-04 23:00:00", "the audit", "seen")]
    assert done.no_label == 1


def test_who_and_when_may_be_said_beside_the_file(attach):
    done = attach("event_id,label\nb,violation\n", by="eve", at=Moment.parse("event+14d"))
    assert rows(done.labels) == [("b", "violation", "2024-01-15 11:00:00", "eve", "")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (LABELS + "x,violation,2024-01-05T00:00:00Z,eve,\ny,violation,2024-01-05T00:00:00Z,eve,\n",
         "2 labels of events that dataset {digest} does not have; the first is record 4 (event 'x'); nothing was written"),
        (LABELS + "c,maybe,2024-01-05T00:00:00Z,eve,\n",
         "'labels.csv': 1 label not among violation, compliant; the first is 'maybe' in record 4"),
        (LABELS + "c,violation,,eve,\nd,violation,soon,eve,\n", "2 labels without a time"),
        (LABELS + "c,violation,2024-01-05 00:00:00,eve,\n", "labelled_at of record 4 has no time zone"),
        (LABELS + "c,violation,2024-01-05T00:00:00Z,,\n", "1 label without a word on who gave them"),
        (LABELS + "d,violation,2024-01-02T00:00:00Z,eve,\n", "1 label known before their events happened"),
        (LABELS + "b,compliant,2024-01-05T00:00:00Z,kim,\n", "2 labels that contradict another of the same event"),
        (LABELS + ",violation,2024-01-05T00:00:00Z,eve,\n", "1 label without an event_id"),
        (LABELS + "d,violation\n", "'labels.csv': 1 of its records do not parse; the first is record 4: too few columns"),
        (LABELS + "d,violation,2300-01-01T00:00:00Z,eve,\n", "1 label known only after the year 2200"),
        ("event_id,label,labelled_at,labelled_by\na,,2024-01-05T00:00:00Z,eve\n", "would get a label"),
        ("id,label\na,violation\n", "expected the columns event_id and label"),
        ("event_id,label,labelled_by\na,violation,eve\n", "the labels have no column labelled_at: say it with --at"),
        ("", "'labels.csv' is empty"),
    ],
)  # fmt: skip
def test_one_label_that_cannot_be_used_refuses_all(workspace, made, attach, content, sentence):
    told = refused(attach, content)
    assert sentence.format(digest=made.digest[:12]) in told
    assert "\n" not in told
    assert left(workspace) == []


def test_a_file_and_the_command_line_must_not_contradict(attach):
    assert "so --by would contradict it: leave one out" in refused(attach, LABELS, by="me")


def test_a_mapping_that_names_an_absent_column_says_which_is_near(attach):
    mapping = {"format": "csv", "columns": {"event_id": "event_id", "label": "labl"}}
    with pytest.raises(MappingError, match=r"names a column 'labl' that is not there; did you mean 'label'\?"):
        attach(LABELS, mapping=mapping)


# By a rule


def test_a_rule_labels_the_events_of_which_it_is_true(made):
    done = label_where(made, "outcome = 'denied'", label="violation", by="policy", at=Moment.parse("event"))
    assert rows(done.labels) == [("b", "violation", "2024-01-01 11:00:00", "policy", "")]
    assert (done.counts, done.unlabelled) == ({"violation": 1}, 3)
    origin = done.labels.identity["origin"]
    assert origin == {"where": "outcome = 'denied'", "as": "violation", "otherwise": None}


def test_the_others_get_the_other_label_and_those_in_doubt_none(made):
    rule = "CASE WHEN outcome <> 'unknown' THEN outcome = 'denied' END"
    at = Moment.parse("2024-02-01T00:00:00Z")
    done = label_where(made, rule, label="violation", otherwise="compliant", by="policy", at=at)
    assert (done.counts, done.unlabelled, done.no_label) == ({"compliant": 2, "violation": 1}, 1, 1)


def test_what_is_divided_by_nothing_is_in_doubt_and_never_true(made):
    nothing, something = "(length(action) - length(action))", "length(action)"
    for divided in (nothing, something):
        assert set(evaluate(made, f"{divided} / {nothing} > 0")) == {-1}, divided


def test_a_rule_that_fits_nothing_or_tells_nothing_apart_is_refused(workspace, made):
    at = Moment.parse("event")
    with pytest.raises(InputError, match=r"no event of dataset .* would get a label; nothing was written"):
        label_where(made, "action = 'fly'", label="violation", by="x", at=at)
    with pytest.raises(InputError, match="would not tell events apart"):
        label_where(made, "true", label="violation", otherwise="violation", by="x", at=at)
    with pytest.raises(InputError, match="unknown label 'violatoin'; did you mean 'violation'"):
        label_where(made, "true", label="violatoin", by="x", at=at)
    assert left(workspace) == []


@pytest.mark.parametrize(
    "rule",
    [
        "user = 'ann'",
        "\"user\" LIKE 'a%'",
        "action IN ('read') AND NOT outcome = 'denied'",
        "(attributes ->> 'bytes')::BIGINT > 5 OR true",
        "hour(timestamp) BETWEEN 1 AND 4",
        "regexp_matches(action, '(?i)EX')",
        "list_contains(list_transform(['re', 'ex'], lambda x: x || 'ad'), action)",
        "timestamp >= '2024-01-02' -- a comment",
    ],
)
def test_a_rule_may_use_the_event_s_columns(fixed, rule):
    assert set(evaluate(fixed, rule)) <= {-1, 0, 1}


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("", "is empty"),
        ("action = ", "is not SQL"),
        ("true) FROM read_csv('/etc/passwd') --", "is not SQL"),
        ("true, false", "expected true or false"),
        ("true) , (false", "not one expression over the columns"),
        ("outcome", "gives VARCHAR, expected true or false"),
        ("(SELECT true)", "holds a query of its own"),
        ("EXISTS (FROM events)", "holds a query of its own"),
        ("action IN (SELECT action FROM read_csv('/etc/passwd'))", "holds a query of its own"),
        ("row_number() OVER () > 1", "looks at other events"),
        ("count(*) > 1", "calls count_star()"),
        ("random() < 0.5", "calls random()"),
        ("now() > timestamp", "calls now()"),
        ("getenv('HOME') = 'x'", "calls getenv()"),
        ("read_text('/etc/passwd') = 'x'", "calls read_text()"),
        ("getvariable('x') = 1", "calls getvariable()"),
        ("* = 1", "holds a *"),
        ("action = ?", "holds a parameter"),
        ("actoin = 'read'", "names a column 'actoin' that events do not have; did you mean 'action'?"),
        ("seq = 1", "names a column 'seq'"),
        ("action::INT = 1", "cannot be used: Could not convert"),
        ("(" * 2000 + "true" + ")" * 2000, "is not SQL"),
    ],
)  # fmt: skip
def test_a_rule_that_reaches_beyond_the_event_is_refused(fixed, rule, sentence):
    with pytest.raises(InputError) as caught:
        evaluate(fixed, rule)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_rule_s_database_can_open_no_other_file(fixed, monkeypatch, tmp_path):
    """Even if the whitelist had a hole: the configuration is locked before the rule runs."""
    monkeypatch.setattr("workbench.events.expression._check", lambda connection, expression: None)
    secret = tmp_path / "secret.csv"
    secret.write_text("x\n1\n")
    with pytest.raises(InputError, match=r"(?i)permission|disabled|not allowed|access"):
        evaluate(fixed, f"(SELECT x = 1 FROM read_csv('{secret}'))")
    with pytest.raises(InputError, match="cannot be used"):
        evaluate(fixed, f"(SELECT content IS NOT NULL FROM read_text('{secret}'))")


# When


@pytest.mark.parametrize(
    ("words", "after"),
    [("event", timedelta(0)), ("event+14d", timedelta(days=14)), ("event + 90m", timedelta(minutes=90)),
     ("event+6h", timedelta(hours=6)), ("event+5s", timedelta(seconds=5))],
)  # fmt: skip
def test_a_moment_may_be_so_long_after_the_event(words, after):
    assert Moment.parse(words) == Moment(after=after)


@pytest.mark.parametrize(
    "words", ["", "tomorrow", "2024-01-01", "2024-01-01T00:00:00", "event-1d", "event+14", "event+1w"]
)
def test_a_moment_that_is_no_moment_is_refused(words):
    with pytest.raises(InputError, match="is no time: expected an ISO stamp with an offset"):
        Moment.parse(words)


def test_a_moment_beyond_all_bounds_is_refused():
    with pytest.raises(InputError, match="more than 100 years"):
        Moment.parse("event+9999999d")


# Several label sets


def test_of_several_label_sets_one_must_be_named(workspace, made, attach):
    first = attach(LABELS).labels
    at = Moment.parse("event")
    second = label_where(made, "outcome = 'denied'", label="violation", by="policy", at=at).labels
    with pytest.raises(InputError, match=r"has several label sets \(.*\): name one with --labels, or as "):
        made.labels()
    assert open_dataset(workspace, f"{made.digest[:12]}@{second.digest[:12]}").labels() == second
    assert made.with_labels(first.digest[:8]).labels() == first
    assert made.with_labels(first.digest).reference == f"{made.digest}@{first.digest}"
    assert summarise(made).labels == {}
    assert summarise(made).label_sets == {
        first.digest: {"compliant": 1, "violation": 1},
        second.digest: {"violation": 1},
    }
    assert summarise(made.with_labels(second.digest)).labels == {"violation": 1}
    for wrong in ("nonsense", "ab", "0" * 64):
        with pytest.raises(NotFoundError, match="has no label set"):
            made.labels(wrong)


# As it is typed


def test_the_command_says_what_became_of_the_labels(workspace, made, cli, given):
    path = given("labels.csv", LABELS + "b,compliant,2024-01-06T00:00:00Z,kim,\n")
    told = cli("events", "label", "events", path)
    (digest,) = left(workspace)
    assert (told.code, told.stderr) == (0, "")
    assert told.stdout == (
        f"2 events of dataset {made.digest[:12]} labelled, label set {digest[:12]}\n"
        "  labels: 2 compliant, 2 unlabelled\n"
        "  superseded by a newer label of the same event: 1\n"
    )


def test_the_command_reports_as_json(made, cli):
    told = cli("events", "label", "events", "--where", "outcome = 'denied'", "--as", "violation", "--otherwise",
               "compliant", "--by", "policy", "--at", "event+1d", "--json")  # fmt: skip
    assert json.loads(told.stdout) == {
        "labels": made.labels().digest,
        "dataset": made.digest,
        "rows": 4,
        "counts": {"compliant": 3, "violation": 1},
        "unlabelled": 0,
        "revisions": 0,
        "no_label": 0,
        "already_there": False,
    }


def test_show_lists_the_label_sets(made, cli, attach):
    attach(LABELS)
    label_where(made, "outcome = 'denied'", label="violation", by="policy", at=Moment.parse("event"))
    told = cli("events", "show", "events")
    assert "label set" in told.stdout
    assert [f"{one.digest[:12]}" in told.stdout for one in made.label_sets()] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "name a file of labels, or a rule with --where SQL"),
        (("--where", "true"), "--where needs --as and --by and --at as well"),
        (("x.csv", "--where", "true"), "either from files or from --where"),
        (("x.csv",), "'x.csv' does not exist"),
        (("x.csv", "--as", "violation"), "--as goes with --where"),
        (("x.csv", "--map", "absent.yaml"), "label mapping file 'absent.yaml' does not exist"),
        (("x.csv", "--at", "noon"), "'noon' is no time"),
        (("--where", "true", "--as", "bad", "--by", "me", "--at", "event"), "unknown label 'bad'"),
    ],
)
def test_bad_input_gets_one_sentence_and_exit_code_2(workspace, made, cli, arguments, sentence):
    told = cli("events", "label", "events", *arguments)
    assert (told.code, told.stdout) == (2, "")
    assert sentence in told.stderr
    assert told.stderr.startswith("workbench: ") and told.stderr.count("\n") == 1
    assert left(workspace) == []
