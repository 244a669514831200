"""A dataset as a page: one file, no script, no request."""

import re
from pathlib import Path

import pytest

from workbench.errors import StorageError
from workbench.events import Population, generate, summarise
from workbench.events.page import write_page


@pytest.fixture
def made(workspace):
    return generate(workspace, Population(scale=5, days=20))[0]


def test_the_page_shows_the_summary_s_numbers(made, tmp_path):
    summary = summarise(made)
    write_page(made, summary, tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    for shown in (
        f"{summary.rows:,} events",
        made.digest,
        "violation",
        "Events over time.",
        "local hour",
        *summary.outcomes,
    ):
        assert shown in page, shown
    assert page.count("<img") + page.count("<svg") == 3


def test_the_page_stands_alone(made, tmp_path):
    write_page(made, summarise(made), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!data:|#)([^"]*)"', page) == []
    assert "default-src &#39;none&#39;" in page
    assert all('alt="' in image for image in re.findall(r"<img[^>]*>", page))


def test_the_same_dataset_gives_the_same_page(made, tmp_path):
    for name in ("a.html", "b.html"):
        write_page(made, summarise(made), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_text_of_the_source_cannot_run_in_the_page(read, tmp_path):
    hostile = "<script>alert(1)</script>"
    rows = f'timestamp,user,action,outcome\n2024-01-01T00:00:00Z,ann,"{hostile}",success\n'
    made = read(f"{hostile.replace('/', '')}.csv", rows, format="csv").dataset
    write_page(made, summarise(made), tmp_path / "a.html")
    assert "<script" not in (tmp_path / "a.html").read_text()


def test_a_dataset_of_one_moment_can_be_shown(read, tmp_path):
    made = read("a.csv", "timestamp,user,action\n2024-01-01T00:00:00Z,ann,read\n").dataset
    write_page(made, summarise(made), tmp_path / "a.html")
    assert "1 event" in (tmp_path / "a.html").read_text()


def test_a_page_that_cannot_be_written_is_told(made, tmp_path):
    with pytest.raises(StorageError, match=r"^cannot write 'a.html': its folder is not there and cannot be made$"):
        write_page(made, summarise(made), Path("/proc/none/a.html"))
    write_page(made, summarise(made), tmp_path / "new" / "a.html")
    assert (tmp_path / "new" / "a.html").is_file()
