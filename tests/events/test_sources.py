"""The real logs beside the project: every record is an event, skipped or rejected, and counted."""

from pathlib import Path

import pytest

from workbench.events import load_mapping, summarise

MAPPINGS = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture
def mapped(reads, shared_data):
    def reading(file: str, mapping: str):
        return reads(shared_data / file, mapping=load_mapping(MAPPINGS / mapping))

    return reading


def test_an_exposed_host_s_auth_log(reads, shared_data):
    path = shared_data / "auth_log" / "auth.log"
    made = reads(path, year=2016, timezone="UTC")
    summary = summarise(made.dataset)
    assert (made.result.format, summary.rows, summary.ips) == ("openssh", 858, 106)
    assert summary.outcomes == {"denied": 632, "success": 226}
    assert (summary.first, summary.last) == ("2016-03-27T13:08:09Z", "2016-04-20T14:14:29Z")
    assert summary.skipped == {
        "sshd, but not a login": 3152,
        "not from sshd": 3026,
        "sshd repeat notice (stands for further attempts)": 85,
    }
    assert summary.rejected == {}
    assert summary.rows + sum(summary.skipped.values()) == len(path.read_bytes().splitlines()) == 7121


def test_a_staged_attack_in_cloudtrail(reads, shared_data):
    made = reads(shared_data / "cloudtrail" / "*.json")
    summary = summarise(made.dataset)
    assert (made.result.format, summary.rows) == ("cloudtrail", 2900)
    assert summary.outcomes == {"success": 2600, "failure": 240, "denied": 60}
    assert (summary.first, summary.last) == ("2023-07-10T11:42:18Z", "2023-07-10T12:37:50Z")
    assert (summary.skipped, summary.rejected) == ({}, {})
    assert sum("stratus-red-team" in (found["user_agent"] or "") for found in made.attributes()) == 1146


def test_an_access_log_of_attackers(reads, shared_data):
    made = reads(shared_data / "apache_attackers" / "access.log")
    summary = summarise(made.dataset)
    assert (made.result.format, summary.rows, summary.users, summary.ips) == ("combined", 3456, 520, 520)
    assert summary.outcomes == {"success": 3431, "denied": 13, "failure": 12}
    assert (summary.skipped, summary.rejected) == ({}, {})


def test_a_web_trace_whose_rows_are_wider_than_its_header(mapped):
    summary = summarise(mapped("nasa_http/nasa_19950801.tsv", "nasa_http.yaml").dataset)
    assert (summary.rows, summary.users) == (9999, 853)
    assert summary.actions == {"GET": 9984, "HEAD": 13, "POST": 2}
    assert summary.outcomes == {"success": 9870, "failure": 128, "denied": 1}
    assert (summary.first, summary.last) == ("1995-08-01T04:00:01Z", "1995-08-01T11:54:42Z")
    assert (summary.skipped, summary.rejected) == ({}, {})


def test_availability_probes(mapped):
    summary = summarise(mapped("probes/probes.csv", "probes.yaml").dataset)
    assert summary.rows == 13617
    assert summary.outcomes == {"success": 12871, "failure": 746}
    assert (summary.skipped, summary.rejected) == ({}, {})


def test_edits_that_people_judged(mapped):
    made = mapped("wiki_edits/edits.csv", "wiki_edits.yaml")
    summary = summarise(made.dataset)
    assert (summary.rows, summary.users) == (9985, 6144)
    assert summary.labels == {"compliant": 8837, "violation": 1143}
    assert summary.unlabelled == 5
    assert (summary.skipped, summary.rejected) == ({}, {})
    assert made.dataset.labels().identity["counts"] == {"compliant": 8837, "violation": 1143}
