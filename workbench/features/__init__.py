"""Features: what an event's past says about it. Each is defined once; the past ends strictly before the event.

Three engines give the same values to the last bit: the reference in SQL, a compiled pass for large tables, and a state
that is updated event by event. Nothing here may look at an event's own outcome, at anything later, or at a label before
it was known.
"""

from workbench.features.definitions import FEATURES, IP_USERS, SPEC_VERSION, Feature
from workbench.features.event import Event
from workbench.features.replaying import KnownViolation, arrivals
from workbench.features.spec import FeatureSpec
from workbench.features.state import FeatureState, owner
from workbench.features.table import FeatureTable, build

__all__ = [
    "FEATURES",
    "IP_USERS",
    "SPEC_VERSION",
    "Event",
    "Feature",
    "FeatureSpec",
    "FeatureState",
    "FeatureTable",
    "KnownViolation",
    "arrivals",
    "build",
    "owner",
]
