"""Random streams by name."""

import numpy as np
import pytest

from workbench.errors import InputError
from workbench.simulation.streams import Streams


def test_a_stream_begins_anew_each_time_it_is_asked_for():
    streams = Streams(3)
    assert streams.generator("a").random(5).tolist() == streams.generator("a").random(5).tolist()


def test_what_one_stream_gives_does_not_hang_on_the_others():
    streams = Streams(3)
    streams.generator("b").random(1_000)
    assert streams.generator("a").random() == Streams(3).generator("a").random()


def test_streams_of_other_names_and_seeds_differ():
    firsts = {
        Streams(seed).generator(name).random() for seed in range(50) for name in ("a", "b", "traffic/users/1", "")
    }
    assert len(firsts) == 200


def test_two_streams_are_not_correlated():
    # 100,000 pairs: a correlation beyond 4.5 standard errors comes by chance once in 150,000 tries.
    a, b = (Streams(1).generator(name).random(100_000) for name in ("service/1", "service/2"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4.5 / np.sqrt(100_000)


def test_the_draws_are_those_of_every_day():
    """A change here changes every published result: raise the version of the model with it."""
    assert Streams(0).generator("arrivals").integers(0, 1_000_000, 4).tolist() == [375504, 572642, 405876, 241037]


@pytest.mark.parametrize("seed", [-1, 1.0, True, "1", 2**63, None])
def test_a_seed_that_is_none_is_refused(seed):
    with pytest.raises(InputError, match=r"^a seed is a whole number from 0 to 2\^63 - 1, not "):
        Streams(seed)
