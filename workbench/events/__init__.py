"""Events: what happened, who did it, from where. Facts only; what people later say of them are labels.

Here: the schema, one file a log format, the generator, and datasets (immutable snapshots named by a digest).
Nothing here may know of features, models or experiments.
"""

from workbench.events.dataset import Dataset, LabelSet, dataset, list_datasets, open_dataset
from workbench.events.ingest import IngestOptions, IngestResult, ingest
from workbench.events.label_files import LabelMapping, load_label_mapping
from workbench.events.labelling import Labelling, Moment, label_from_files, label_where
from workbench.events.mapping import Mapping, load_mapping
from workbench.events.schema import ABSENT, EVENT_COLUMNS, LABEL_COLUMNS, OUTCOMES, SCHEMA_VERSION
from workbench.events.summary import Summary, summarise
from workbench.events.synthesize import BEHAVIOURS, Population, generate

__all__ = [
    "ABSENT",
    "BEHAVIOURS",
    "EVENT_COLUMNS",
    "LABEL_COLUMNS",
    "OUTCOMES",
    "SCHEMA_VERSION",
    "Dataset",
    "IngestOptions",
    "IngestResult",
    "LabelMapping",
    "LabelSet",
    "Labelling",
    "Mapping",
    "Moment",
    "Population",
    "Summary",
    "dataset",
    "generate",
    "ingest",
    "label_from_files",
    "label_where",
    "list_datasets",
    "load_label_mapping",
    "load_mapping",
    "open_dataset",
    "summarise",
]
