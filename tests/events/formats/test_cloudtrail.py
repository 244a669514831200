"""AWS CloudTrail files."""

import gzip
import json

import pytest

from workbench.errors import InputError

RECORD = {
    "eventID": "e-1",
    "eventTime": "2023-07-10T11:42:18Z",
    "eventName": "GetSecretValue",
    "eventSource": "secretsmanager.amazonaws.com",
    "awsRegion": "us-east-1",
    "sourceIPAddress": "192.0.2.7",
    "userAgent": "aws-cli/2",
    "readOnly": True,
    "recipientAccountId": "111",
    "requestParameters": {"secretId": "x"},
    "userIdentity": {"type": "IAMUser", "userName": "ann", "accessKeyId": "KEY"},
}


def trail(*records: object) -> str:
    return json.dumps({"Records": list(records)})


def test_a_record_becomes_an_event(read):
    made = read("trail.json", trail(RECORD))
    assert made.result.format == "cloudtrail"
    assert made.events("event_id", "timestamp", "utc_offset_min", "user", "source", "ip") == [
        ("e-1", "2023-07-10 11:42:18", 0, "ann", "KEY", "192.0.2.7")
    ]
    assert made.events("action", "resource", "outcome") == [
        ("GetSecretValue", "secretsmanager.amazonaws.com", "success")
    ]
    assert made.attributes() == [
        {
            "region": "us-east-1",
            "user_agent": "aws-cli/2",
            "error": None,
            "read_only": "true",
            "account": "111",
            "identity_type": "IAMUser",
            "address": "192.0.2.7",
            "request": {"secretId": "x"},
        }
    ]


@pytest.mark.parametrize(
    ("identity", "user"),
    [
        ({"sessionContext": {"sessionIssuer": {"userName": "role"}}, "arn": "arn:1"}, "role"),
        ({"arn": "arn:1", "principalId": "P"}, "arn:1"),
        ({"invokedBy": "config.amazonaws.com"}, "config.amazonaws.com"),
        ({"type": "Unknown"}, "Unknown"),
        ({}, "∅"),
    ],
    ids=["issuer", "arn", "service", "kind", "nobody"],
)
def test_the_user_is_whoever_is_named_nearest(read, identity, user):
    assert read("trail.json", trail({**RECORD, "userIdentity": identity})).column("user") == [user]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [("AccessDenied", "denied"), ("Client.UnauthorizedOperation", "denied"), ("ThrottlingException", "failure")],
)
def test_an_error_code_says_how_it_ended(read, error, outcome):
    assert read("trail.json", trail({**RECORD, "errorCode": error})).column("outcome") == [outcome]


def test_a_calling_service_is_no_address(read):
    made = read("trail.json", trail({**RECORD, "sourceIPAddress": "lambda.amazonaws.com"}))
    assert made.column("ip") == ["∅"]
    assert made.attributes()[0]["address"] == "lambda.amazonaws.com"


def test_records_that_make_no_event_are_rejected(read):
    nameless = {key: value for key, value in RECORD.items() if key != "eventName"}
    timeless = {**RECORD, "eventID": "e-4", "eventTime": None}
    made = read("trail.json", trail(RECORD, nameless, RECORD, timeless, "text"))
    assert made.column("event_id") == ["e-1"]
    assert made.rejects() == [
        (2, "no eventName"),
        (3, "repeats the event_id of an earlier record"),
        (4, "no eventTime"),
        (5, "no eventName"),
    ]


def test_a_compressed_file_gives_the_same_events(read):
    plain, packed = read("a.json", trail(RECORD)), read("b.json.gz", gzip.compress(trail(RECORD).encode()))
    assert packed.dataset.identity["events_sha256"] == plain.dataset.identity["events_sha256"]


def test_a_file_that_is_cut_short_is_refused(read):
    with pytest.raises(InputError) as caught:
        read("trail.json", trail(RECORD)[:-5])
    assert str(caught.value) == (
        "no record makes an event: 1 rejected; the first is record 1 of 'trail.json': the file is not valid JSON"
    )


def test_a_file_without_records_is_refused(read):
    with pytest.raises(InputError, match=r"^'trail.json': no record makes an event$"):
        read("trail.json", trail())
