"""Recorded probes as an upstream."""

import numpy as np
import pytest

from workbench.errors import InputError, IntegrityError, NotFoundError
from workbench.simulation.upstream import Reply, Upstream

SECOND = 1_000_000_000
CSV = """timestamp,endpoint,status,http_code,latency_ms
2026-05-10T17:00:00+00:00,Docs,up,200,100
2026-05-10T17:00:00+00:00,Site,up,200,7
2026-05-10T17:00:10+00:00,Docs,down,503,2000
2026-05-10T17:00:30+00:00,Docs,up,200,150.5
"""
UP, DOWN, BACK = Reply(100_000_000, True), Reply(2_000_000_000, False), Reply(150_500_000, True)


@pytest.fixture
def probes(tmp_path):
    path = tmp_path / "probes.csv"
    path.write_text(CSV)
    return path


def test_a_probe_holds_until_the_next(probes):
    docs = Upstream.from_csv(probes, endpoint="Docs", loop=False)
    moments = [0, 10 * SECOND - 1, 10 * SECOND, 30 * SECOND - 1, 30 * SECOND, 10**6 * SECOND]
    assert [docs.at(t) for t in moments] == [UP, UP, DOWN, DOWN, BACK, BACK]


def test_a_looped_upstream_begins_anew_after_a_median_gap(probes):
    docs = Upstream.from_csv(probes, endpoint="Docs")
    assert docs.period_ns == 45 * SECOND
    assert [docs.at(t * SECOND) for t in (44, 45, 55, 75, 90)] == [BACK, UP, DOWN, BACK, UP]


def test_speed_shortens_the_gaps_and_no_latency(probes):
    docs = Upstream.from_csv(probes, endpoint="Docs", speed=10)
    assert [docs.at(t * SECOND // 10) for t in (0, 9, 10, 30, 45)] == [UP, UP, DOWN, BACK, UP]


@pytest.mark.parametrize("loop", [True, False])
def test_many_times_are_answered_as_one_by_one(probes, loop):
    docs = Upstream.from_csv(probes, endpoint="Docs", loop=loop, speed=3)
    times = np.arange(0, 60 * SECOND, SECOND // 7)
    latency, ok = docs.replies(times)
    assert [Reply(*pair) for pair in zip(latency.tolist(), ok.tolist(), strict=True)] == [
        docs.at(t) for t in times.tolist()
    ]


def test_one_probe_is_enough(probes):
    site = Upstream.from_csv(probes, endpoint="Site")
    assert {site.at(t) for t in (0, 1, 10**15)} == {Reply(7_000_000, True)}


def test_probes_may_come_in_any_order():
    assert Upstream.of([20, 0, 10], [3, 1, 2], [True, True, False]).latency_ns.tolist() == [1, 2, 3]


def test_an_upstream_is_read_back_from_what_it_says_of_itself(probes):
    docs = Upstream.from_csv(probes, endpoint="Docs", loop=False, speed=2)
    again = Upstream.from_dict(docs.as_dict())
    assert again.as_dict() == docs.as_dict()
    assert again.at(5 * SECOND) == DOWN


def test_probes_that_were_changed_are_noticed(probes):
    told = Upstream.from_csv(probes, endpoint="Docs").as_dict()
    probes.write_text(CSV.replace("2000", "20"))
    with pytest.raises(IntegrityError, match=r"^the probes 'probes.csv' of 'Docs' are not those recorded$"):
        Upstream.from_dict(told)


@pytest.mark.parametrize(
    ("text", "endpoint", "kind", "message"),
    [
        (CSV, "Doc", NotFoundError, "the probes 'probes.csv' have no endpoint 'Doc'; did you mean 'Docs'?"),
        (
            CSV.replace("latency_ms", "took"),
            "Docs",
            InputError,
            "the probes 'probes.csv' have no column 'latency_ms'; expected timestamp, endpoint, status, latency_ms",
        ),
        (
            CSV.replace("2000", "-1"),
            "Docs",
            InputError,
            (
                "row 3 of the probes 'probes.csv' has the timestamp '2026-05-10T17:00:10+00:00' and the latency '-1'; "
                "expected ISO 8601 and milliseconds"
            ),
        ),
        (
            CSV.replace("2026-05-10T17:00:30+00:00", "noon"),
            "Docs",
            InputError,
            (
                "row 4 of the probes 'probes.csv' has the timestamp 'noon' and the latency '150.5'; "
                "expected ISO 8601 and milliseconds"
            ),
        ),
    ],
)
def test_a_bad_file_of_probes_is_refused_with_a_reason(probes, text, endpoint, kind, message):
    probes.write_text(text)
    with pytest.raises(kind) as refused:
        Upstream.from_csv(probes, endpoint=endpoint)
    assert str(refused.value) == message


def test_a_file_that_is_not_there_or_not_csv_is_refused(tmp_path):
    with pytest.raises(NotFoundError, match="there is no file of probes"):
        Upstream.from_csv(tmp_path / "none.csv", endpoint="Docs")
    bad = tmp_path / "bad.csv"
    bad.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"^the probes 'bad.csv' cannot be read as CSV"):
        Upstream.from_csv(bad, endpoint="Docs")
    bad.write_bytes(b"")
    with pytest.raises(InputError, match=r"^the probes 'bad.csv' cannot be read as CSV"):
        Upstream.from_csv(bad, endpoint="Docs")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ([], [], []),
            "an upstream needs at least one probe, and as many latencies and outcomes as times; found 0, 0 and 0",
        ),
        (
            ([1, 2], [1], [True]),
            "an upstream needs at least one probe, and as many latencies and outcomes as times; found 2, 1 and 1",
        ),
        (([1], [-1], [True]), "1 of 1 probes have a latency below 0"),
    ],
)
def test_arrays_that_are_no_probes_are_refused(given, message):
    with pytest.raises(InputError) as refused:
        Upstream.of(*given)
    assert str(refused.value) == message


def test_the_speed_is_above_zero():
    with pytest.raises(InputError, match="speed of an upstream"):
        Upstream.of([0], [1], [True], speed=0)


def test_a_real_endpoint_has_its_known_figures(shared_data):
    site = Upstream.from_csv(shared_data / "probes" / "probes.csv", endpoint="ACCESS Website (Public Webpage)")
    down = ~site.ok
    episodes = int(down[0]) + int((down[1:] & ~down[:-1]).sum())
    latency = site.latency_ns / 1e6
    assert (len(site), int(down.sum()), episodes) == (1_443, 157, 137)
    assert (np.median(latency), round(latency.max() / 1_000)) == (744, 36)
    assert np.quantile(latency, 0.99) == pytest.approx(12_500, rel=0.01)
