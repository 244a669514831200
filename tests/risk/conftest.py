"""A history made by hand: quick, and with what is in it known."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from workbench.features import FeatureSpec, FeatureTable

DAY_US = 86_400_000_000
SPEC = FeatureSpec(names=("hour", "events_24h", "denials_24h", "ip_is_new", "tenure_days"))


@pytest.fixture(scope="session")
def history() -> Callable[..., FeatureTable]:
    """``history(3_000)``: events of 60 users over 60 days. Violations (a tenth) deny more and come from new addresses,
    and are known after 1 to 3 days; the rest is known after ``quiet_days``."""

    def history(
        rows: int = 3_000,
        *,
        users: int = 60,
        days: float = 60,
        prevalence: float = 0.1,
        strength: float = 1.5,
        quiet_days: float = 4,
        unlabelled: float = 0.0,
        seed: int = 1,
    ) -> FeatureTable:
        rng = np.random.default_rng(seed)
        time = np.sort(rng.integers(0, int(days * DAY_US), rows)) + 1_700_000_000_000_000
        y = (rng.random(rows) < prevalence).astype(np.int8)
        delay = np.where(y == 1, rng.integers(DAY_US, 3 * DAY_US, rows), int(quiet_days * DAY_US))
        known = time + delay
        nobody = rng.random(rows) < unlabelled
        who = rng.integers(0, users, rows)
        first = np.full(users, np.iinfo(np.int64).max)
        np.minimum.at(first, who, time)
        X = pd.DataFrame(
            {
                "hour": rng.integers(0, 24, rows),
                "events_24h": rng.poisson(5, rows),
                "denials_24h": rng.poisson(1 + strength * y),
                "ip_is_new": (rng.random(rows) < 0.1 + 0.2 * strength * y).astype(float),
                "tenure_days": (time - first[who]) / DAY_US,
            }
        ).astype(np.float64)
        return FeatureTable(
            X=X,
            y=np.where(nobody, -1, y).astype(np.int8),
            users=np.array([f"user-{number:03}" for number in who], dtype=object),
            event_id=np.array([f"event-{number:05}" for number in range(rows)], dtype=object),
            time=time.astype(np.int64),
            known=np.where(nobody, np.iinfo(np.int64).max, known).astype(np.int64),
            spec=SPEC,
            dataset_sha256="d" * 64,
            labels_sha256="e" * 64,
        )

    return history
