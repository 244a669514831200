"""Logins in a syslog file, whose stamps may lack year and zone."""

import pytest

from workbench.errors import InputError

LINE = "{} web-1 sshd[77]: {} password for {} from 192.0.2.7 port 4022 ssh2\n"
WHERE = {"timezone": "UTC"}


def login(stamp: str, verdict: str = "Failed", who: str = "root") -> str:
    return LINE.format(stamp, verdict, who)


def test_a_login_becomes_an_event(read):
    made = read("auth.log", login("Mar 27 13:08:09", "Accepted", "ann"), year=2016, timezone="Europe/Berlin")
    assert made.result.format == "openssh"
    assert made.events("timestamp", "utc_offset_min", "user", "source", "ip") == [
        ("2016-03-27 11:08:09", 120, "ann", "∅", "192.0.2.7")
    ]
    assert made.events("action", "resource", "outcome") == [("login", "web-1", "success")]
    assert made.attributes() == [{"method": "password", "port": 4022, "invalid_user": False, "pid": 77}]


def test_a_refused_login_is_denied_and_says_whether_the_account_exists(read):
    made = read("auth.log", login("Mar 27 13:08:09", who="invalid user a b"), year=2016, **WHERE)
    assert made.events("user", "outcome") == [("a b", "denied")]
    assert made.attributes()[0]["invalid_user"] is True


def test_a_user_name_cannot_forge_an_address(read):
    made = read("auth.log", login("Mar 27 13:08:09", who="x from 10.0.0.1 port 1"), year=2016, **WHERE)
    assert made.events("user", "ip") == [("x from 10.0.0.1 port 1", "192.0.2.7")]


def test_the_year_goes_up_when_the_months_start_again(read):
    stamps = [
        "Nov 30 23:59:59",
        "Dec 31 23:59:59",
        "Jan  1 00:00:00",
        "Feb 29 12:00:00",
        "Dec 31 23:59:59",
        "Jan  1 00:00:01",
    ]
    made = read("auth.log", "".join(login(stamp) for stamp in stamps), year=2023, **WHERE)
    assert made.column("timestamp") == [
        "2023-11-30 23:59:59",
        "2023-12-31 23:59:59",
        "2024-01-01 00:00:00",
        "2024-02-29 12:00:00",
        "2024-12-31 23:59:59",
        "2025-01-01 00:00:01",
    ]


def test_a_line_out_of_order_by_a_month_starts_no_new_year(read):
    made = read(
        "auth.log", login("Mar  1 00:00:00") + login("Feb 28 23:59:59") + login("Mar  2 00:00:00"), year=2023, **WHERE
    )
    assert made.column("timestamp") == ["2023-02-28 23:59:59", "2023-03-01 00:00:00", "2023-03-02 00:00:00"]


def test_the_29th_of_february_is_rejected_in_a_year_without_one(read):
    made = read("auth.log", login("Feb 28 12:00:00") + login("Feb 29 12:00:00"), year=2023, **WHERE)
    assert made.column("timestamp") == ["2023-02-28 12:00:00"]
    assert made.rejects() == [(2, "the timestamp does not parse")]


def test_iso_stamps_need_neither_year_nor_zone(read):
    made = read("auth.log", login("2024-03-27T13:08:09.123456+02:00"))
    assert made.events("timestamp", "utc_offset_min") == [("2024-03-27 11:08:09.123456", 120)]


@pytest.mark.parametrize(
    ("stated", "asked"),
    [
        ({}, "--year and --timezone"),
        ({"year": 2016}, "--timezone"),
        ({"timezone": "UTC"}, "--year"),
    ],
    ids=["neither", "no zone", "no year"],
)
def test_year_and_zone_are_asked_for_and_never_guessed(read, stated, asked):
    with pytest.raises(InputError) as caught:
        read("auth.log", login("Mar 27 13:08:09"), **stated)
    assert str(caught.value) == (
        "auth.log: stamps such as 'Mar 27 13:08:09' have no year and no time zone; "
        f"say which with {asked} (for example --year 2024 --timezone Europe/Berlin)"
    )


def test_all_other_lines_are_counted_by_kind(read):
    made = read(
        "auth.log",
        login("Mar 27 13:08:09")
        + "Mar 27 13:08:10 web-1 CRON[1]: pam_unix(cron:session): session opened\n"
        + "Mar 27 13:08:11 web-1 sshd[77]: message repeated 2 times: [ Failed password for root from ::1 port 1 ]\n"
        + "Mar 27 13:08:12 web-1 sshd[77]: Server listening on 0.0.0.0 port 22.\n"
        + "Mar 27 13:08:13 web-1 notsshd[77]: Accepted password for eve from 192.0.2.7 port 1 ssh2\n"
        + "\n"
        + "rubbish\n",
        year=2016,
        **WHERE,
    )
    assert made.column("user") == ["root"]
    assert made.result.skipped == {
        "not from sshd": 2,
        "empty line": 1,
        "sshd repeat notice (stands for further attempts)": 1,
        "sshd, but not a login": 1,
    }
    assert made.rejects() == [(7, "not a syslog line")]
