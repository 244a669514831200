"""A scenario as data: read from YAML, checked, written back, and known by its digest."""

import numpy as np
import pytest
import yaml

from workbench.errors import InputError, NotFoundError
from workbench.simulation import (
    Backoff,
    BreakerSpec,
    Budget,
    Clients,
    ClosedLoop,
    Deterministic,
    Error,
    Exponential,
    Immediate,
    Keys,
    LimitSpec,
    LogNormal,
    NoRetry,
    Poisson,
    Scenario,
    Server,
    Slow,
    Upstream,
    simulate,
)

PLAIN = {
    "name": "one",
    "duration": 10,
    "traffic": [{"kind": "poisson", "rate": 5}],
    "server": {"workers": 1, "service": {"kind": "deterministic", "value": 0.1}},
}
FULL = Scenario(
    "full",
    60,
    warm_up=5,
    traffic=(Poisson(3, keys=Keys(5, 1.0)), Poisson(4, group="batch")),
    clients=Clients(
        4,
        0.5,
        Budget(2, 0.2, 5, "equal", ratio=0.3),
        BreakerSpec(None, 3.0, failure_rate=0.5, window_seconds=10),
        "shared",
    ),
    limits=(LimitSpec("10/minute", "group", algorithm="smooth", burst=3, nodes=2, shared=False),),
    server=Server(None, LogNormal(0.1, 0.5), queue_limit=7, drop_expired=True),
    faults=(Slow(2, start=1, end=2), Error(0.1)),
)


def written(tmp_path, content):
    path = tmp_path / "one.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    "scenario",
    [
        FULL,
        Scenario(
            "closed",
            5,
            clients=ClosedLoop(3, retry=Immediate(2), think=Exponential(1)),
            server=Server(2, Exponential(1)),
        ),
    ],
)
def test_what_is_written_is_read_back_the_same(tmp_path, scenario):
    again = Scenario.from_yaml(written(tmp_path, scenario.as_dict()))
    assert again == scenario
    assert again.sha256 == scenario.sha256


def test_the_least_that_a_file_must_say(tmp_path):
    scenario = Scenario.from_yaml(written(tmp_path, PLAIN))
    assert scenario == Scenario("one", 10, traffic=(Poisson(5),), server=Server(1, Deterministic(0.1)))
    assert scenario.clients == Clients(1, 1.0, NoRetry())


def test_the_digest_does_not_hang_on_the_order_of_keys(tmp_path):
    other = dict(reversed(PLAIN.items()))
    assert Scenario.from_dict(other).sha256 == Scenario.from_dict(PLAIN).sha256


@pytest.mark.parametrize(
    "change",
    [
        {"name": "two"},
        {"duration": 11},
        {"warm_up": 1},
        {"faults": [{"kind": "error", "p": 0.1}]},
        {"clients": {"count": 2}},
    ],
)
def test_anything_else_changes_the_digest(change):
    assert Scenario.from_dict(PLAIN | change).sha256 != Scenario.from_dict(PLAIN).sha256


def test_the_digest_is_that_of_every_day():
    """A change here means that published digests no longer match."""
    assert Scenario.from_dict(PLAIN).sha256 == "1d131de181cb7edd1f3d66cbf6dd7b56ce4a971aa7d8797571687ef64bedcee0"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warmup": 3}, "scenario: unknown key 'warmup'; did you mean 'warm_up'?"),
        ({"warm_up": 10}, "scenario 'one': its warm-up of 10 s leaves nothing of its 10 s"),
        ({"duration": "long"}, "scenario.duration is 'long': expected a number above 0"),
        ({"duration": 0}, "scenario.duration is 0: expected a number above 0"),
        ({"traffic": {"kind": "poisson", "rate": 1}}, "scenario: 'traffic' is a list, not "),
        ({"traffic": [{"rate": 1}]}, "traffic 1 is a mapping with the key 'kind'"),
        ({"traffic": [{"kind": "poisson", "rat": 1}]}, "poisson: unknown key 'rat'; did you mean 'rate'?"),
        ({"traffic": []}, "scenario 'one': it has no traffic"),
        ({"faults": [{"kind": "slow", "factor": 2, "start": 3, "end": 2}]}, "slow: it ends at 2 s, not after its start"),
        ({"faults": [{"kind": "fast"}]}, "faults 1: no kind is called 'fast'"),
        ({"server": {"workers": 0, "service": {"kind": "exponential", "mean": 1}}}, "server.workers is 0: expected a whole number"),
        ({"server": {"workers": 1}}, "server: 'service' is missing"),
        ({"server": {"workers": 1, "service": {"kind": "normal"}}}, "no kind is called 'normal'"),
        ({"clients": {"kind": "closed_loop", "think": {"kind": "exponential", "mean": 1}}}, "a closed loop makes its own traffic"),
        ({"clients": {"timeout": 0}}, "clients.timeout is 0: expected a number above 0"),
        ({"clients": {"retry": {"kind": "backoff", "n": 0}}}, "backoff.n is 0: expected a whole number of at least 1"),
        ({"clients": {"breaker": {"timeout": 5, "max_timeout": 1}}}, "max_timeout of a breaker is at least its timeout"),
        ({"clients": {"breaker": {"slow_rate": 0.5}}}, "slow_rate needs slow_call"),
        ({"limits": [{"quota": "1/minute", "burst": 5}]}, "a burst belongs to the algorithm 'smooth'"),
        ({"limits": [{"quota": "1/minute", "by": "user"}]}, "limit_spec.by is 'user': expected one of key, group, all"),
        ({"limits": "1/minute"}, "scenario.limits is '1/minute': expected a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_a_sentence(tmp_path, change, message):
    with pytest.raises(InputError) as caught:
        Scenario.from_yaml(written(tmp_path, PLAIN | change))
    text = str(caught.value)
    assert text.startswith("scenario 'one.yaml': ") and message in text and "\n" not in text


def test_a_think_time_of_nothing_is_refused():
    with pytest.raises(InputError, match=r"^closed_loop.think is 0 s in the middle: expected at least 0.0001 s$"):
        ClosedLoop(1, think=Deterministic(0))


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="the key 'name' twice"):
        Scenario.from_yaml(written(tmp_path, "name: a\nname: b\n"))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.yaml' does not exist$"):
        Scenario.from_yaml(tmp_path / "nowhere.yaml")


def test_recorded_probes_stand_in_a_scenario_by_path_and_digest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = ["2025-01-01T00:00:00Z,api,up,10", "2025-01-01T00:00:05Z,api,down,20"]
    (tmp_path / "probes.csv").write_text("\n".join(["timestamp,endpoint,status,latency_ms", *rows]) + "\n")
    content = PLAIN | {
        "server": {"workers": None, "service": {"kind": "upstream", "path": "probes.csv", "endpoint": "api"}}
    }
    scenario = Scenario.from_yaml(written(tmp_path, content))
    assert isinstance(scenario.server.service, Upstream)
    said = scenario.as_dict()["server"]["service"]
    assert said["sha256"] == scenario.server.service.sha256
    assert Scenario.from_dict(scenario.as_dict()).sha256 == scenario.sha256
    assert 0.2 < simulate(scenario, seeds=1).runs["goodput"][0] < 0.8
    (tmp_path / "probes.csv").unlink()
    with pytest.raises(NotFoundError, match=r"^scenario 'one.yaml': there is no file of probes"):
        Scenario.from_yaml(tmp_path / "one.yaml")


# The parts that clients are made of.


def test_a_backoff_doubles_up_to_its_cap_and_spreads_as_told():
    uniform = np.array([0.0, 0.5, 0.75])
    told = {
        jitter: [(Backoff(5, 1.0, 3.0, jitter).delays_ns(k, uniform) / 1e9).tolist() for k in (1, 2, 3)]
        for jitter in ("full", "equal", "none")
    }
    assert told == {
        "full": [[0, 0.5, 0.75], [0, 1, 1.5], [0, 1.5, 2.25]],
        "equal": [[0.5, 0.75, 0.875], [1, 1.5, 1.75], [1.5, 2.25, 2.625]],
        "none": [[1, 1, 1], [2, 2, 2], [3, 3, 3]],
    }
