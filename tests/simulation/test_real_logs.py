"""Two real logs, decided request by request by the production limiter and at once by the compiled ones."""

from datetime import datetime

import numpy as np
import pytest

from workbench.clock import VirtualClock
from workbench.resilience.limiter import RateLimiter
from workbench.resilience.quota import Quota
from workbench.resilience.stores.memory import MemoryStore
from workbench.simulation.kernels import replay
from workbench.simulation.measures import max_in_window
from workbench.simulation.replay import Recording, decided
from workbench.simulation.streams import Streams

SECOND = 1_000_000_000
QUOTAS = [
    *(Quota(limit=2, per=60, algorithm=algorithm) for algorithm in ("exact", "smooth", "approx", "fixed")),
    *(Quota(limit=10, per=3_600, algorithm=algorithm) for algorithm in ("exact", "smooth", "approx", "fixed")),
    Quota(limit=100, per=3_600, algorithm="smooth", burst=2),
    Quota(limit=2, per=60, algorithm="fixed", stagger=True),
]


@pytest.fixture(scope="module")
def nasa(shared_data):
    """Stamps in seconds since 1970, and hosts."""
    lines = (shared_data / "nasa_http" / "nasa_19950801.tsv").read_text(encoding="latin-1").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return [int(row[2]) for row in rows], [row[0] for row in rows]


@pytest.fixture(scope="module")
def attackers(shared_data):
    """Stamps in seconds since 1970, and addresses."""
    lines = (shared_data / "apache_attackers" / "access.log").read_text(encoding="utf-8").splitlines()
    stamps = [line[line.index("[") + 1 : line.index("]")] for line in lines]
    seconds = [int(datetime.strptime(stamp, "%d/%b/%Y:%H:%M:%S %z").timestamp()) for stamp in stamps]
    return seconds, [line.split(" ", 1)[0] for line in lines]


@pytest.fixture(params=["nasa", "attackers"])
def log(request):
    stamps, hosts = request.getfixturevalue(request.param)
    return Recording.of(stamps, hosts, unit="s")


@pytest.mark.parametrize("quota", QUOTAS, ids=lambda quota: f"{quota.algorithm}-{quota.name}-{quota.stagger}")
def test_a_real_log_is_decided_as_in_production(log, quota):
    for spread in ("none", "even", "uniform"):
        t = log.times(spread=spread, generator=Streams(1).generator("spread"))
        said = replay(quota, t, log.key)
        assert np.array_equal(said, decided(quota, t, log.key))
        assert 0.2 < said.mean() < 1


@pytest.mark.parametrize("algorithm", ["exact", "smooth", "approx", "fixed"])
def test_costs_are_counted_as_in_production(log, algorithm):
    """All of a log in one bucket, so that every request meets the others: 0 to 9 units each, 100 a minute."""
    quota = Quota(limit=100, per=60, algorithm=algorithm)
    cost = Streams(1).generator("cost").integers(0, 10, len(log))
    clock = VirtualClock()
    limiter = RateLimiter(quota, store=MemoryStore(clock=clock))
    expected = []
    for wait, units in zip(np.diff(log.t, prepend=0).tolist(), cost.tolist(), strict=True):
        clock.advance_ns(wait)
        expected.append(limiter.hit("0", units).allowed)
    assert replay(quota, log.t, np.zeros(len(log), dtype=np.int32), cost=cost).tolist() == expected


def test_the_refusals_of_the_nasa_log(nasa):
    """41, where the data says 43: ``test_replay`` writes the rule out with the edge allowed and refused."""
    log = Recording.of(*nasa, unit="s")
    quota = Quota(limit=10, per=60, algorithm="smooth", burst=10)
    assert int((~replay(quota, log.t, log.key)).sum()) == 41


def test_the_busiest_host_of_the_nasa_log(nasa):
    """7, 15 and 27 requests in 1, 10 and 60 s is the figure that comes with the data: of windows of the clock.

    In windows that slide the last is 28, which is what a limiter of the log sees.
    """
    log = Recording.of(*nasa, unit="s")
    t = np.array(nasa[0]) * SECOND  # windows of the clock begin at whole minutes since 1970

    def busiest(algorithm, seconds):
        """The smallest limit that refuses nothing."""
        return next(
            limit
            for limit in range(1, 100)
            if replay(Quota(limit=limit, per=seconds, algorithm=algorithm), t, log.key).all()
        )

    assert [busiest("fixed", seconds) for seconds in (1, 10, 60)] == [7, 15, 27]
    assert [busiest("exact", seconds) for seconds in (1, 10, 60)] == [7, 15, 28]
    assert [max_in_window(t, seconds * SECOND, key=log.key) for seconds in (1, 10, 60)] == [7, 15, 28]
