"""Stamps: in every form they have, to UTC and the local offset; never guessed."""

import hypothesis
import pytest
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.events.formats.times import fixed_offset

HEADER = "timestamp,user,action\n"


def stamps(read, *values, zone=None, **field):
    columns = {"timestamp": {"column": "timestamp", **field}, "user": "user", "action": "action"}
    rows = "".join(f'"{value}",{number},a\n' for number, value in enumerate(values))
    made = read("a.csv", HEADER + rows, mapping={"format": "csv", "columns": columns}, timezone=zone)
    return made.events("timestamp", "utc_offset_min")


@pytest.mark.parametrize(
    ("stamp", "utc", "offset"),
    [
        ("2024-01-01T12:00:00Z", "2024-01-01 12:00:00", 0),
        ("2024-01-01 12:00:00Z", "2024-01-01 12:00:00", 0),
        ("2024-01-01T12:00:00.123456Z", "2024-01-01 12:00:00.123456", 0),
        ("2024-01-01T12:00:00+01:00", "2024-01-01 11:00:00", 60),
        ("2024-01-01T12:00:00+0530", "2024-01-01 06:30:00", 330),
        ("2024-01-01T00:30:00-05", "2024-01-01 05:30:00", -300),
        ("2024-01-01T12:00Z", "2024-01-01 12:00:00", 0),
        ("2024-01-01T12:00:00-03:30", "2024-01-01 15:30:00", -210),
    ],
)
def test_an_iso_stamp_brings_its_own_offset(read, stamp, utc, offset):
    assert stamps(read, stamp) == [(utc, offset)]


def test_a_stamp_without_zone_is_asked_about_and_its_record_named(read):
    with pytest.raises(InputError) as caught:
        stamps(read, "2024-01-01T12:00:00Z", "2024-01-01T12:00:00")
    assert str(caught.value) == (
        "a.csv: the timestamp of record 3 has no time zone; "
        "say which with --timezone (for example --timezone UTC or --timezone Europe/Berlin)"
    )


def test_the_user_s_zone_is_for_stamps_without_one_only(read):
    assert stamps(read, "2024-01-01T12:00:00", "2024-01-01T12:00:00-05:00", zone="+05:30") == [
        ("2024-01-01 06:30:00", 330),
        ("2024-01-01 17:00:00", -300),
    ]


def test_a_zone_of_the_mapping_goes_before_the_user_s(read):
    assert stamps(read, "2024-01-01T12:00:00", zone="UTC", timezone="Asia/Tokyo") == [("2024-01-01 03:00:00", 540)]


def test_a_named_zone_stores_the_offset_in_force_at_each_moment(read):
    values = ("2024-03-31T01:59:59", "2024-03-31T03:00:00", "2024-10-27T01:59:59", "2024-10-27T03:00:00")
    assert stamps(read, *values, zone="Europe/Berlin") == [
        ("2024-03-31 00:59:59", 60),
        ("2024-03-31 01:00:00", 120),
        ("2024-10-26 23:59:59", 120),
        ("2024-10-27 02:00:00", 60),
    ]


@pytest.mark.parametrize(
    ("form", "stamp", "utc"),
    [
        ("epoch_s", "1704067200", "2024-01-01 00:00:00"),
        ("epoch_s", "1704067200.25", "2024-01-01 00:00:00.25"),
        ("epoch_ms", "1704067200123", "2024-01-01 00:00:00.123"),
        ("epoch_us", "1704067200123456", "2024-01-01 00:00:00.123456"),
    ],
)
def test_an_epoch_stamp_is_utc(read, form, stamp, utc):
    assert stamps(read, stamp, format=form) == [(utc, 0)]


def test_an_epoch_stamp_in_a_named_zone_keeps_utc_and_stores_the_offset(read):
    assert stamps(read, "1704067200", "1719792000", format="epoch_s", timezone="Europe/Berlin") == [
        ("2024-01-01 00:00:00", 60),
        ("2024-07-01 00:00:00", 120),
    ]


@pytest.mark.parametrize("form", ["epoch_s", "epoch_ms", "epoch_us"])
def test_an_impossible_epoch_stamp_costs_its_record_only(read, form):
    assert (
        len(
            stamps(
                read, "1700000000000000" if form == "epoch_us" else "1700000000", "9" * 20, "-" + "9" * 19, format=form
            )
        )
        == 1
    )


@pytest.mark.parametrize(
    ("pattern", "stamp", "zone", "expected"),
    [
        ("%d/%m/%Y %H:%M", "27/03/2024 13:08", "+05:30", ("2024-03-27 07:38:00", 330)),
        ("%d/%m/%Y %H:%M", "27/07/2024 13:08", "Europe/Berlin", ("2024-07-27 11:08:00", 120)),
        ("%d/%m/%Y %H:%M %z", "27/03/2024 13:08 +0200", None, ("2024-03-27 11:08:00", 120)),
    ],
)
def test_a_pattern_reads_any_other_stamp(read, pattern, stamp, zone, expected):
    assert stamps(read, stamp, format=pattern, zone=zone) == [expected]


def test_a_pattern_without_zone_is_asked_about(read):
    with pytest.raises(InputError, match=r"^a.csv: the timestamp of record 2 has no time zone"):
        stamps(read, "27/03/2024 13:08", format="%d/%m/%Y %H:%M")


@pytest.mark.parametrize("stamp", ["2023-02-29T00:00:00Z", "2024-01-01T12:00:60Z", "soon", "infinity", "-infinity"])
def test_what_is_no_moment_is_rejected(read, stamp):
    made = read("a.csv", HEADER + f"2024-01-01T12:00:00Z,ann,a\n{stamp},bob,a\n", timezone="UTC")
    assert made.column("user") == ["ann"]
    assert [record for record, _ in made.rejects()] == [3]


@pytest.mark.parametrize("zone", ["", "+25:00", "+1:00", "+0160", "CEST?", "0100"])
def test_what_is_no_offset_is_none(zone):
    assert fixed_offset(zone) is None


@hypothesis.given(minutes=st.integers(-14 * 60, 14 * 60))
def test_every_written_offset_is_read_back(minutes):
    sign, size = "-" if minutes < 0 else "+", abs(minutes)
    assert fixed_offset(f"{sign}{size // 60:02d}:{size % 60:02d}") == minutes
