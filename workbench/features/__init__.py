"""Features: what an event's past says about it. Each is defined once; the past ends strictly before the event.

Nothing here may look at an event's own outcome, at anything later, or at a label before it was known.
"""

from workbench.features.definitions import FEATURES, SPEC_VERSION, Feature, spec_sha256
from workbench.features.table import FeatureTable, build

__all__ = ["FEATURES", "SPEC_VERSION", "Feature", "FeatureTable", "build", "spec_sha256"]
