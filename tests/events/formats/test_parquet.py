"""Parquet files."""

from pathlib import Path

import duckdb
import pytest

from workbench.errors import InputError


@pytest.fixture
def parquet(tmp_path):
    """Bytes of the Parquet file that a query gives."""

    def write(query: str) -> bytes:
        path = tmp_path / "made.parquet"
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'Asia/Tokyo'")
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
        return Path(path).read_bytes()

    return write


def test_an_instant_is_read_whatever_the_zone_of_its_writer(read, parquet):
    made = read(
        "a.parquet", parquet("SELECT TIMESTAMPTZ '2024-01-01 12:00:00+02' AS timestamp, 'ann' user, 'read' AS action")
    )
    assert made.result.format == "parquet"
    assert made.events("timestamp", "user", "action") == [("2024-01-01 10:00:00", "ann", "read")]


def test_a_stamp_without_zone_is_asked_about(read, parquet):
    with pytest.raises(InputError, match=r"^a.parquet: the timestamp of record 1 has no time zone; say which with"):
        read(
            "a.parquet", parquet("SELECT TIMESTAMP '2024-01-01 12:00:00' AS timestamp, 'ann' AS user, 'read' AS action")
        )


def test_nested_columns_become_text_and_missing_stamps_are_rejected(read, parquet):
    content = parquet(
        "FROM (VALUES (TIMESTAMP '2024-01-01 12:00:00', 'ann', 'read', [1, 2]), (NULL, 'bob', 'read', [])) "
        "AS t (timestamp, user, action, sizes)"
    )
    mapping = {
        "format": "parquet",
        "columns": {"timestamp": "timestamp", "user": "user", "action": "action"},
        "attributes": ["sizes"],
    }
    made = read("a.parquet", content, mapping=mapping, timezone="UTC")
    assert made.attributes() == [{"sizes": "[1, 2]"}]
    assert made.rejects() == [(2, "no timestamp")]


def test_a_file_that_is_cut_short_is_refused_without_telling_where_it_lies(read, parquet):
    content = parquet("SELECT '2024-01-01T12:00:00Z' AS timestamp, 'ann' AS user, 'read' AS action")
    with pytest.raises(InputError) as caught:
        read("a.parquet", content[:-20])
    assert str(caught.value) == (
        "'a.parquet' cannot be read as parquet: No magic bytes found at end of file 'a.parquet'"
    )
