"""Every kind of entry is written in one way, read back whole, and refused when a field is not what it must be."""

import json

import hypothesis
import pytest
from hypothesis import strategies as st

from workbench.clock import utc
from workbench.errors import MalformedError
from workbench.evidence.entries import ENTRY_VERSION, FIELDS, Entry, UnknownEntryError, read_entry
from workbench.files import canonical_json

SHA = "0123456789abcdef" * 4
TIME = "2026-05-03T10:00:00.000Z"
EXAMPLES = {
    "sha256": SHA,
    "sha256?": None,
    "id": "report-1.v2_final",
    "person": "p:reviewer-1",
    "time": TIME,
    "base64": "aGk=",
    "role": "ledger",
    "reason": "keyCompromise",
    "status": "COMPLETED",
    "decision": "approve",
    "authority": "external",
    "trouble": "open",
    "basis": "art-17-1-a",
    "serial": "18446744073709551615",
    "alias": "champion",
    "state": "REVIEW",
    "action": "withdraw",
    "duty": "reviewer",
    "subject": "policy:bulk-export_v2.1@12",
    "about person": "person:reviewer-1",
    "about rule": "rule:policy",
    "[person]": ["p:researcher-1", "p:local"],
    "count": 7,
    "[count]": [0, 3, 2**53 - 1],
    "name: sha256": {"results.json": SHA, "figure-1.png": "f" * 64},
}
# For each kind, values that are not of it.
NAME = "Alice Example"
WRONG = {
    "sha256": [None, 1, "", SHA[:-1], SHA + "0", SHA.upper(), SHA + "\n", " " + SHA[1:], [SHA], "g" * 64, "٠" * 64],
    "sha256?": ["", SHA[:-1], 0, False, {}],
    "id": [None, 1, "", NAME, "a/b", "../a", ".a", "-a", "alice@example.org", "a" * 121, "é", "a\n", "a\0", ["a"]],
    "person": [None, "", NAME, "p:", "p:Alice", "alice", "p:-a", "p:a b", "p:a@b.c", "p:" + "a" * 41, "p:a\n", "q:a"],
    "time": [
        None, 0, "", "2026-05-03", "2026-05-03T10:00:00Z", "2026-05-03T10:00:00.000", "2026-05-03T10:00:00.000+00:00",
        "2026-05-03 10:00:00.000Z", "2026-05-03t10:00:00.000z", "2026-02-30T10:00:00.000Z", "2026-13-01T10:00:00.000Z",
        "2026-00-01T10:00:00.000Z", "0000-01-01T10:00:00.000Z", "2026-05-03T24:00:00.001Z", "2026-05-03T25:00:00.000Z",
        "2026-05-03T10:60:00.000Z", "2026-05-03T10:00:60.000Z", "2023-02-29T00:00:00.000Z", "٢٠٢٦-05-03T10:00:00.000Z",
    ],
    "base64": [None, 1, "aGk", "aGk==", "a-_=", "aGk=\n", " aGk=", "é", "A" * 1608, b"aGk="],
    "role": [None, "", "Report", "report ", "signer", "root|report", True],
    "reason": [None, "", "keycompromise", "because I said so", "unspecified"],
    "status": [None, "", "completed", "COMPLETED WITH WARNINGS", "RUNNING"],
    "decision": [None, "", "Approve", "approve, with reservations", "approved"],
    "authority": [None, "", "Local", "qualified"],
    "trouble": [None, "", "it was raining", "OPEN"],
    "basis": [None, "", "art-", "art-17 of the regulation", "ART-17", "because", "art-17-" + "a" * 30],
    "serial": [None, 1, "", "-1", "1.0", "0x1", "1" * 21, "1 ", "١"],
    "alias": [None, 1, "", "Champion", "the champion", "-a", "a_b", "a" * 41, "a\n", "é", "a/b"],
    "state": [None, "", "review", "PENDING", "REVIEW\n", 1],
    "action": [None, "", "Approve", "approved", "delete"],
    "duty": [None, "", "Owner", "admin", "root"],
    "subject": [
        None, 1, "", "policy", "policy:", "policy:a", "policy:a@0", "policy:a@01", "policy:a@-1", "policy:a b@1",
        "Policy:a@1", "policy:a@1\n", "policy:é@1", "policy:../a@1", "person:a@1", "rule:a@1", "policy:a@1234567890",
    ],
    "about person": [None, "", "p:anna", "person:", "person:Anna", NAME, "person:a b", "person:" + "a" * 41, "rule:a"],
    "about rule": [None, "", "rule:", "rule:Policy", "rule:a", "rule:policy@1", "person:anna"],
    "[person]": [None, "p:a", {}, ["p:A"], [NAME], [None], [["p:a"]], ["p:a"] * 10_001],
    "count": [None, "1", 1.0, 1.5, -1, True, False, 2**53, 10**30, [1]],
    "[count]": [None, 1, {}, [True], [1, "2"], [None], [-1], [[1]], [2**53], [0] * 10_001],
    "name: sha256": [
        None, [], SHA, {"a": None}, {"a": SHA[:-1]}, {"a/b": SHA}, {"": SHA}, {NAME: SHA}, {"a": {"b": SHA}}, {1: SHA},
        {f"n{number}": SHA for number in range(1_001)},
    ],
}  # fmt: skip
PLACES = [(kind, name, place) for kind, fields in FIELDS.items() for name, place in fields.items()]


def example(kind: str, **changes) -> Entry:
    fields = {name: EXAMPLES[place] for name, place in FIELDS[kind].items()}
    return Entry(3, TIME, kind, "p:local", {**fields, **changes})


def written(kind: str = "tsa.degraded", **changes) -> bytes:
    """The bytes of an entry with some of its keys changed; ``...`` removes one."""
    content = {**json.loads(bytes(example(kind))), **changes}
    return canonical_json({name: value for name, value in content.items() if value is not ...})


def refusal(data: bytes, seq: int = 3) -> str:
    with pytest.raises(MalformedError) as caught:
        read_entry(data, seq)
    assert type(caught.value) is MalformedError
    return str(caught.value)


def unknown(data: bytes, seq: int = 3) -> str:
    with pytest.raises(UnknownEntryError) as caught:
        read_entry(data, seq)
    return str(caught.value)


def test_the_kinds_of_fields_here_are_all_there_are():
    assert {place for _, _, place in PLACES} | {"person", "time"} == set(EXAMPLES) == set(WRONG)


@pytest.mark.parametrize("kind", FIELDS)
def test_every_type_is_read_as_it_was_written(kind):
    entry = example(kind)
    assert read_entry(bytes(entry), 3) == entry
    assert bytes(read_entry(bytes(entry), 3)) == bytes(entry)
    assert json.loads(bytes(entry)) == {
        "v": 1, "seq": 3, "time": TIME, "type": kind, "actor": "p:local", **entry.fields,
    }  # fmt: skip


@pytest.mark.parametrize("kind", FIELDS)
def test_every_type_may_bind_something_private_by_a_commitment(kind):
    plain = example(kind)
    entry = Entry(3, TIME, kind, "p:local", plain.fields, commitment=SHA)
    assert json.loads(bytes(entry)) == {**json.loads(bytes(plain)), "commitment": SHA}
    assert read_entry(bytes(entry), 3) == entry


def test_an_entry_has_exactly_these_bytes():
    assert bytes(example("timestamp.issued")).decode() == (
        f'{{"actor":"p:local","imprint":"{SHA}","seq":3,"serial":"18446744073709551615","time":"{TIME}",'
        f'"timestampSha256":"{SHA}","type":"timestamp.issued","v":1}}'
    )


@pytest.mark.parametrize("kind,name,place", PLACES)
def test_a_missing_field_is_named(kind, name, place):
    sentence = f"entry 3, {kind}: missing or unknown: '{name}'"
    assert refusal(written(kind, **{name: ...})) == sentence
    fields = {other: value for other, value in example(kind).fields.items() if other != name}
    with pytest.raises(MalformedError) as caught:
        Entry(3, TIME, kind, "p:local", fields)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("kind", FIELDS)
def test_an_unknown_field_is_named(kind):
    assert refusal(written(kind, comment=NAME)) == f"entry 3, {kind}: missing or unknown: 'comment'"


@pytest.mark.parametrize("kind,name,place", PLACES)
def test_a_value_of_the_wrong_kind_is_refused_in_every_field(kind, name, place):
    for value in WRONG[place]:
        with pytest.raises(MalformedError) as caught:
            example(kind, **{name: value})
        assert str(caught.value) == f"entry 3, {kind}: {name} is not of the kind {place!r}", value


@pytest.mark.parametrize("kind,name,place", PLACES)
def test_neither_names_nor_free_text_fit_anywhere(kind, name, place):
    for value in (NAME, "alice@example.org", "he said so", "Größe", "<script>", "a\nb"):
        with pytest.raises(MalformedError, match=f"{name} is not of the kind"):
            read_entry(written(kind, **{name: value}), 3)


@pytest.mark.parametrize(
    "name,place", [("actor", "person"), ("time", "time"), ("commitment", "sha256"), ("seq", "count")]
)
def test_common_fields_are_held_to_their_kinds_too(name, place):
    for value in WRONG[place]:
        if name == "commitment" and value is None:
            continue
        whole = {"seq": 3, "time": TIME, "type": "tsa.degraded", "actor": "p:local", "fields": {"trouble": "open"}}
        with pytest.raises(MalformedError, match=f"tsa.degraded: {name} is not of the kind '{place}'$"):
            Entry(**{**whole, name: value})


def test_a_leap_day_and_the_clocks_own_form_are_times():
    for time in ("2024-02-29T23:59:59.999Z", utc(0), utc(1_800_000_000_123_456_789)):
        assert read_entry(written(time=time), 3).time == time


@pytest.mark.parametrize("name", ["seq", "time", "type", "actor"])
def test_each_common_field_must_be_there(name):
    assert refusal(written(**{name: ...})) == "entry 3 of the log lacks one of actor, seq, time, type, v"


@pytest.mark.parametrize("name", ["time", "type", "actor"])
@pytest.mark.parametrize("value", [None, 1, True, [], {}])
def test_common_texts_must_be_texts(name, value):
    assert refusal(written(**{name: value})) == "entry 3 of the log lacks one of actor, seq, time, type, v"


@pytest.mark.parametrize("version", [0, 2, "1", None, 99, [1], ...])
def test_another_version_is_unknown_and_not_wrong(version):
    assert unknown(written(v=version)) == "entry 3 of the log is of a version that this version does not read"


def test_another_type_is_unknown_and_not_wrong():
    assert unknown(written(type="coffee.made")) == "an entry of the type 'coffee.made' is not known to this version"
    assert unknown(written(type="x" * 500)) == f"an entry of the type '{'x' * 40}' is not known to this version"
    with pytest.raises(UnknownEntryError):
        Entry(0, TIME, "coffee.made", "p:local", {})


@pytest.mark.parametrize("seq", [0, 2, 4, -3, "3", None, True, [3], 3.5])
def test_an_entry_out_of_its_place_is_refused(seq):
    assert refusal(written(seq=seq)) == "entry 3 of the log says that it is another"


def test_true_is_not_the_number_one():
    assert refusal(written(seq=True), seq=1) == "entry 1 of the log says that it is another"
    assert (
        refusal(written().replace(b'"v":1', b'"v":true'))
        == "entry 3 of the log is not written in the one way that is logged"
    )
    for kind, name in (("report.signed", "reportVersion"), ("frontier.rebuilt", "size")):
        assert refusal(written(kind, **{name: True})) == f"entry 3, {kind}: {name} is not of the kind 'count'"


PLAIN = written()


@pytest.mark.parametrize(
    "data",
    [
        PLAIN + b"\n",
        b" " + PLAIN,
        PLAIN.replace(b'":', b'": '),
        PLAIN.replace(b'"seq":3', b'"seq":3.0'),
        PLAIN.replace(b'"seq":3', b'"seq":3e0'),
        PLAIN.replace(b'"v":1', b'"v":1.0'),
        PLAIN.replace(b'"open"', b'"\\u006fpen"'),
        PLAIN.replace(b'{"actor"', b'{"commitment":null,"actor"'),
        json.dumps(json.loads(PLAIN), indent=1).encode(),
        json.dumps(dict(reversed(json.loads(PLAIN).items())), separators=(",", ":")).encode(),
    ],
)
def test_an_entry_has_only_one_spelling(data):
    assert refusal(data) == "entry 3 of the log is not written in the one way that is logged"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "entry 3 of the log is not valid JSON"),
        (b"[]", "entry 3 of the log is not a JSON object"),
        (b"\xff", "entry 3 of the log is not UTF-8"),
        (b"\xef\xbb\xbf" + PLAIN, "entry 3 of the log begins with a byte order mark"),
        (PLAIN[:-1] + b',"v":1}', "entry 3 of the log has the key 'v' twice"),
        (PLAIN.replace(b'"seq":3', b'"seq":NaN'), "entry 3 of the log holds NaN, which is no JSON"),
        (PLAIN.replace(b'"seq":3', b'"seq":9007199254740993'), "entry 3 of the log holds a whole number beyond 2^53"),
    ],
)
def test_what_is_no_strict_json_is_no_entry(data, sentence):
    assert refusal(data) == sentence


def test_a_null_commitment_is_not_the_same_as_none():
    assert refusal(written(commitment=None)) == "entry 3 of the log is not written in the one way that is logged"


def test_there_is_one_version_so_far():
    assert ENTRY_VERSION == 1
    assert issubclass(UnknownEntryError, MalformedError)


sha256s = st.text("0123456789abcdef", min_size=64, max_size=64)
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}", fullmatch=True)
counts = st.integers(0, 2**53 - 1)
DRAWN = {
    "sha256": sha256s,
    "sha256?": st.none() | sha256s,
    "id": ids,
    "count": counts,
    "[count]": st.lists(counts),
    "name: sha256": st.dictionaries(ids, sha256s),
}


@hypothesis.given(st.data())
def test_any_entry_is_read_as_it_was_written(data):
    kind = data.draw(st.sampled_from(sorted(FIELDS)))
    fields = {
        name: data.draw(DRAWN.get(place, st.just(EXAMPLES[place])), label=name) for name, place in FIELDS[kind].items()
    }
    moment = utc(data.draw(st.integers(0, 253_402_300_799_999_999_999)))
    seq = data.draw(counts)
    entry = Entry(seq, moment, kind, "p:local", fields, data.draw(st.none() | sha256s))
    assert read_entry(bytes(entry), seq) == entry
