"""Access logs of Apache and nginx."""

import pytest

from workbench.errors import InputError

LINE = '192.0.2.7 - - [25/Oct/2015:04:11:25 +0100] "GET /a/b?q=1 HTTP/1.1" 200 2432 "http://from.example/" "Agent/1"\n'


def test_a_request_becomes_an_event(read):
    made = read("access.log", LINE)
    assert made.result.format == "combined"
    assert made.events("timestamp", "utc_offset_min", "user", "source", "ip") == [
        ("2015-10-25 03:11:25", 60, "192.0.2.7", "Agent/1", "192.0.2.7")
    ]
    assert made.events("action", "resource", "outcome") == [("GET", "/a/b", "success")]
    assert made.attributes() == [
        {"status": 200, "bytes": 2432, "referrer": "http://from.example/", "host": "192.0.2.7", "query": "q=1"}
    ]


def test_an_authenticated_person_is_the_user(read):
    made = read("access.log", LINE.replace("192.0.2.7 - -", "gate.example - Ann Lee"))
    assert made.events("user", "ip") == [("Ann Lee", "∅")]


def test_the_common_format_has_neither_referrer_nor_agent(read):
    made = read("access.log", LINE.replace(' "http://from.example/" "Agent/1"', ""))
    assert made.events("action", "source") == [("GET", "∅")]
    assert made.attributes()[0]["referrer"] is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("204", "success"),
        ("302", "success"),
        ("401", "denied"),
        ("403", "denied"),
        ("407", "denied"),
        ("429", "denied"),
        ("404", "failure"),
        ("503", "failure"),
    ],
)
def test_the_status_says_how_it_ended(read, status, outcome):
    assert read("access.log", LINE.replace(" 200 ", f" {status} ")).column("outcome") == [outcome]


def test_a_request_that_is_no_http_is_kept_as_malformed(read):
    made = read("access.log", LINE.replace("GET /a/b?q=1 HTTP/1.1", r"\x16\x03\"\x01"))
    assert made.events("action", "resource") == [("MALFORMED", r"\x16\x03\"\x01")]


def test_lines_that_are_no_requests_are_told_apart(read):
    made = read("access.log", LINE + "rubbish\n\n" + LINE.replace("25/Oct", "31/Feb") + LINE)
    assert made.numbers() == [1, 5]
    assert made.result.skipped == {"empty line": 1}
    assert made.rejects() == [
        (2, "not a line of the combined or common log format"),
        (4, "the timestamp does not parse"),
    ]


def test_numbers_stay_right_after_bytes_that_are_no_text(read):
    made = read("access.log", (LINE + "caf").encode() + b"\xe9\n" + (LINE + "rubbish\n" + LINE).encode())
    assert made.numbers() == [1, 3, 5]
    assert made.rejects() == [
        (2, "not valid text in this encoding"),
        (4, "not a line of the combined or common log format"),
    ]


def test_lines_that_do_not_end_alike_are_refused(read):
    with pytest.raises(InputError) as caught:
        read("access.log", LINE + LINE.replace("\n", "\r\n") + LINE)
    assert str(caught.value) == (
        "'access.log' cannot be read as combined: its lines do not all end alike (\\n, \\r\\n or a stray \\r): "
        "make them, for example with tr -d '\\r'"
    )


def test_a_file_without_a_single_request_is_refused(read):
    with pytest.raises(InputError) as caught:
        read("access.log", "one\ntwo\n", format="combined")
    assert str(caught.value) == (
        "no record makes an event: 2 rejected; the first is record 1 of 'access.log': "
        "not a line of the combined or common log format"
    )
