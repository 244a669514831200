"""A workspace with events, and a policy to vary."""

from collections.abc import Callable

import pytest

from workbench.events import Dataset, Population, generate
from workbench.policies import Policy
from workbench.workspace import Workspace


@pytest.fixture
def policy() -> Callable[..., Policy]:
    """``policy("off_hours", severity="low")``: a policy with that expression."""

    def policy(expression: str = "action = 'export' AND off_hours", **changed: object) -> Policy:
        content = {
            "name": "night-export",
            "title": "Exports at night",
            "description": "Nobody exports at night.",
            "severity": "high",
            "controls": ["NIST-AC-6"],
            "expression": expression,
            "rationale": "Rarely right.",
        }
        return Policy.model_validate(content | changed)

    return policy


@pytest.fixture
def events(workspace: Workspace) -> Dataset:
    """About 1,900 events with labels, named ``demo``."""
    return generate(workspace, Population(scale=10, days=30, seed=5), name="demo")[0]
