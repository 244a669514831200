"""JSON and base64 from strangers have one meaning, or are refused in one sentence."""

import base64
import codecs
import json
import time

import hypothesis
import pytest
from hypothesis import strategies as st

from workbench.errors import MalformedError
from workbench.evidence.strict import MAXIMUM_DEPTH, decode_base64, read_json, read_object, text
from workbench.files import canonical_json


def refusal(data: bytes) -> str:
    with pytest.raises(MalformedError) as caught:
        read_json(data, what="it")
    return str(caught.value)


def nested(depth: int, core: str = "", *, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * depth + core + closing * depth).encode()


def test_plain_json_is_read_as_it_stands():
    written = b' {"a": [1, -2, 2.5, 1e3, true, false, null], "b": {"\xc3\xa9": "\\u00e9\\ud83d\\ude00"}}\n'
    assert read_json(written, what="it") == {
        "a": [1, -2, 2.5, 1000.0, True, False, None],
        "b": {"é": "é😀"},
    }


@pytest.mark.parametrize(
    ("data", "key"),
    [
        (b'{"a":1,"a":1}', "'a'"),
        (b'{"a":1,"b":2,"a":3}', "'a'"),
        (b'{"x":{"y":[{"a":1,"a":2}]}}', "'a'"),
        (b'[[[[{"k":1,"k":1}]]]]', "'k'"),
        (b'{"a":1,"\\u0061":2}', "'a'"),
        (b'{"":1,"":2}', "''"),
        (b'{"\xc3\xa9":1,"\\u00e9":2}', r"'\xe9'"),
    ],
)
def test_a_key_twice_is_refused_at_any_depth_and_in_any_spelling(data, key):
    assert refusal(data) == f"it has the key {key} twice"


def test_keys_that_only_look_alike_are_different_keys():
    assert read_json(b'{"a":1,"A":2,"a ":3,"\xc3\xa9":4,"e\xcc\x81":5}', what="it") == {
        "a": 1,
        "A": 2,
        "a ": 3,
        "\u00e9": 4,
        "e\u0301": 5,
    }


def test_the_refusal_of_a_long_key_shows_only_its_beginning():
    key = "k" * 10_000
    assert refusal(f'{{"{key}":1,"{key}":2}}'.encode()) == f"it has the key '{'k' * 40}' twice"


def test_a_key_twice_at_the_end_of_many_is_found_without_comparing_all_with_all():
    keys = ",".join(f'"{number}":0' for number in range(100_000))
    begin = time.process_time()
    assert refusal(f'{{{keys},"99999":0}}'.encode()) == "it has the key '99999' twice"
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("frame", ["{}", "[{}]", '{{"a":[{}]}}'])
def test_what_is_no_number_in_json_is_refused(name, frame):
    assert refusal(frame.format(name).encode()) == f"it holds {name}, which is no JSON"


@pytest.mark.parametrize("number", ["nan", "inf", "+1", "01", "-01", "1.", ".5", "0x1", "1_000", "١", "1e", "--1"])
def test_other_spellings_of_numbers_are_refused(number):
    assert refusal(number.encode()) == "it is not valid JSON"


@pytest.mark.parametrize(
    "number",
    [
        str(2**53 + 1),
        str(-(2**53) - 1),
        str(2**63),
        "9" * 17,
        "9" * 5_000,
        "-" + "9" * 5_000,
        "1" + "0" * 1_000_000,
    ],
)
def test_whole_numbers_that_a_double_does_not_tell_apart_are_refused(number):
    assert refusal(f"[{number}]".encode()) == "it holds a whole number beyond 2^53"


@pytest.mark.parametrize("number", [0, 1, -1, 2**53 - 1, 2**53, -(2**53) + 1, -(2**53)])
def test_whole_numbers_that_a_double_holds_are_read_as_whole_numbers(number):
    found = read_json(str(number).encode(), what="it")
    assert (found, type(found)) == (number, int)


def test_a_float_that_canonical_json_writes_as_a_whole_number_is_held_to_the_same_limit():
    assert canonical_json(1e17) == b"100000000000000000"
    assert refusal(canonical_json(1e17)) == "it holds a whole number beyond 2^53"
    assert read_json(canonical_json(1e21), what="it") == 1e21


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1e309", "9" * 400 + ".0", "1E+400"])
def test_numbers_beyond_a_double_are_refused(number):
    assert refusal(f'{{"a":{number}}}'.encode()) == "it holds a number that is not finite"


@pytest.mark.parametrize(
    "data", [rb'"\ud800"', rb'"\udfff"', rb'"a\ude00\ud83d"', rb'{"\ud800":1}', rb'[[{"a":["\udc00"]}]]']
)
def test_half_a_character_is_refused_in_values_and_keys(data):
    assert refusal(data) == "it holds half of a character"


def test_two_halves_written_as_escapes_are_one_character():
    assert read_json(rb'"\ud83d\ude00"', what="it") == "😀"


@pytest.mark.parametrize("data", [b'"\xed\xa0\x80"', b'"\xff"', b'"\xc0\xaf"', b'"\xf4\x90\x80\x80"', b'"\xc3"'])
def test_what_is_not_utf_8_is_refused(data):
    assert refusal(data) == "it is not UTF-8"


def test_a_byte_order_mark_is_refused():
    assert refusal(codecs.BOM_UTF8 + b"{}") == "it begins with a byte order mark"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_other_encodings_are_refused_even_where_a_lenient_reader_would_guess_them(encoding):
    assert refusal('{"é":"é"}'.encode(encoding)) in ("it is not UTF-8", "it is not valid JSON")
    assert json.loads("{}".encode("utf-16")) == {}
    assert refusal("{}".encode("utf-16-le")) == "it is not valid JSON"


@pytest.mark.parametrize("opening,closing,core", [("[", "]", ""), ("[", "]", "1"), ('{"a":', "}", "1")])
def test_nesting_ends_at_the_limit_whatever_lies_at_the_bottom(opening, closing, core):
    assert read_json(nested(MAXIMUM_DEPTH, core, opening=opening, closing=closing), what="it") is not None
    too_deep = f"it is nested more than {MAXIMUM_DEPTH} deep"
    for depth in (MAXIMUM_DEPTH + 1, MAXIMUM_DEPTH + 2, 500):
        assert refusal(nested(depth, core, opening=opening, closing=closing)) == too_deep


@pytest.mark.parametrize("opening,closing,core", [("[", "]", ""), ('{"a":', "}", "1"), ('[{"a":', "}]", "1")])
def test_a_hundred_thousand_levels_are_refused_and_crash_nothing(opening, closing, core):
    too_deep = f"it is nested more than {MAXIMUM_DEPTH} deep"
    assert refusal(nested(100_000, core, opening=opening, closing=closing)) == too_deep
    assert refusal((opening * 100_000).encode()) == too_deep


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{}{}",
        b"{} x",
        b"{},",
        b"[1,]",
        b'{"a":1,}',
        b"{'a':1}",
        b"{a:1}",
        b"// x\n{}",
        b"{}\0",
        b"\0{}",
        b'"a\nb"',
        b'"\x00"',
        b'"\\x41"',
        b'"\\u00g0"',
        b'"',
        b"[",
        b"tru",
        b"True",
        b"\xc2\xa0{}",
        b"\x0b{}",
        b"]",
    ],
)
def test_what_is_no_json_is_refused(data):
    assert refusal(data) == "it is not valid JSON"


@pytest.mark.parametrize("data", [b"[]", b"1", b'"{}"', b"null", b"true"])
def test_an_object_is_asked_for_and_something_else_refused(data):
    with pytest.raises(MalformedError, match=r"^the envelope is not a JSON object$"):
        read_object(data, what="the envelope")
    assert read_object(b'{"a":1}', what="the envelope") == {"a": 1}


def test_text_is_utf_8_without_a_mark():
    assert text("né\ufeff".encode(), what="it") == "né\ufeff"
    with pytest.raises(MalformedError, match=r"^it is not UTF-8$"):
        text(b"\xff", what="it")
    with pytest.raises(MalformedError, match=r"^it begins with a byte order mark$"):
        text(codecs.BOM_UTF8, what="it")


@pytest.mark.parametrize(
    "encoded",
    [
        "aGl=",
        "aGm=",
        "aGn=",
        "aB==",
        "aR==",
        "aGk",
        "aGk==",
        "aGk=\n",
        " aGk=",
        "aG k=",
        "aGk=aGk=",
        "=aGk",
        "====",
        "a",
        "ab",
        "abc",
        "a===",
        "-_-_",
        "+_+/",
        "aGk=\0",
        "aGk\u003d\u200b",
        "ａGk=",
        "aGk=é",
        "aG\r\nk=",
        "A" * 5,
    ],
)
def test_every_second_spelling_of_base64_is_refused(encoded):
    with pytest.raises(MalformedError, match=r"^the payload is not standard base64$"):
        decode_base64(encoded, what="the payload")


@pytest.mark.parametrize("encoded", [None, 1, b"aGk=", ["aGk="], True])
def test_base64_is_a_text(encoded):
    with pytest.raises(MalformedError, match=r"^the payload is not a text$"):
        decode_base64(encoded, what="the payload")


@hypothesis.given(st.binary())
def test_base64_round_trips(data):
    assert decode_base64(base64.b64encode(data).decode(), what="it") == data


@hypothesis.given(st.text(alphabet="ABab01+/=-_ \n", max_size=12))
def test_base64_that_is_accepted_is_the_only_spelling(encoded):
    try:
        decoded = decode_base64(encoded, what="it")
    except MalformedError:
        return
    assert base64.b64encode(decoded).decode() == encoded


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2**53) + 1, 2**53 - 1)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@hypothesis.given(values)
def test_what_we_write_is_read_as_it_was(value):
    assert read_json(json.dumps(value).encode(), what="it") == value
    assert canonical_json(read_json(canonical_json(value), what="it")) == canonical_json(value)
