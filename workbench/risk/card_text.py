"""What a model card says, section by section: written once, for the Markdown file and for the page.

Sections follow the model card of Mitchell and others (Model Cards for Model Reporting, FAT* 2019) as Hugging Face
annotates it. Numbers come from the model and its ``metrics.json``; where one is missing, the card says so.
"""

from collections.abc import Callable, Mapping
from typing import Final

from workbench.features.definitions import FEATURES, IP_USERS
from workbench.pages import number
from workbench.risk import card_results as results
from workbench.risk.card_blocks import (
    NOT_RECORDED,
    SLICES,
    Block,
    Facts,
    Metrics,
    Rows,
    Section,
    Text,
    counted,
    digest,
    listed,
    moment,
    of_100,
)
from workbench.risk.model import RiskModel
from workbench.risk.words import title

__all__ = ["plain_words", "sections"]

_WIDE: Final = 0.3  # an interval of which the card says so

ALGORITHMS: Final[Mapping[str, str]] = {
    "random_forest": "random forest: the mean of many decision trees, each grown on a sample of the events",
    "gradient_boosting": "gradient boosting: decision trees in a row, each correcting those before it",
    "hist_gradient_boosting": "histogram gradient boosting: decision trees in a row, each correcting those before it",
}


def sections(model: RiskModel, metrics: Metrics, reference: Metrics | None = None) -> tuple[Section, ...]:
    """The whole card of ``model``; ``reference`` is what drift is measured against (``reference.json``)."""
    parts: tuple[tuple[str, str, Callable[..., list[Block]]], ...] = (
        ("use", "Intended use", _use),
        ("outside", "Not for", _outside),
        ("evaluation", "Evaluation", results.evaluation),
        ("threshold", "Threshold and alert budget", results.threshold),
        ("calibration", "Calibration", results.calibration),
        ("importance", "What the model looks at", results.importance),
        ("explanations", "Explanations", results.explanations),
        ("limits", "Limits, bias and risks", _limits),
        ("data", "Data", _data),
        ("labels", "Labels", _labels),
        ("split", "How the data was split", _split),
        ("features", "Features", _features),
        ("drift", "Drift reference", results.drift),
        ("privacy", "Retention and privacy", _privacy),
        ("check", "How to check", _check),
    )
    first = Section("plain", "In plain words", (Text(plain_words(metrics)),))
    rest = (Section(name, shown, tuple(make(model, metrics, reference or {}))) for name, shown, make in parts)
    return (first, *rest)


def plain_words(metrics: Metrics) -> str:
    """The first paragraph: what an alert of this model is worth, for readers who know no metric.

    >>> print(plain_words({}))
    How good this model is was not recorded: do not use it before it is tested (`workbench validate`).
    """
    test = metrics.get("slices", {}).get("test", {})
    measured = test.get("metrics", {})
    if "precision" not in measured or "recall" not in measured:
        return "How good this model is was not recorded: do not use it before it is tested (`workbench validate`)."
    alerts, found = _alerts(test)
    rows, positives = int(test["rows"]), int(test["positives"])
    rare = f"{of_100(positives / rows)} of 100 events are violations" if rows else "there were no events"
    if not alerts:
        return (
            f"On {rows:,} later events that the model had never seen ({rare}) it raised no alert at all, so it found "
            f"none of the {positives:,} violations. Its threshold is too high to be of use."
        )
    precision, recall = measured["precision"], measured["recall"]
    words = [
        (
            f"Of 100 alerts about {of_100(precision['value'])} are real ({of_100(precision['low'])} to "
            f"{of_100(precision['high'])} with 95 % confidence); the others are false alarms. Of 100 violations it "
            f"finds about {of_100(recall['value'])} ({of_100(recall['low'])} to {of_100(recall['high'])}); the others "
            "it misses."
        ),
        (
            f"This was measured on {rows:,} later events that it had never seen: it raised "
            f"{counted(alerts, 'alert')}, {found:,} of {'it' if alerts == 1 else 'them'} on one of the "
            f"{counted(positives, 'violation')}. Without a model, {rare}."
        ),
        "An alert says where to look first. It does not say that anybody did wrong.",
    ]
    if max(precision["high"] - precision["low"], recall["high"] - recall["low"]) > _WIDE:
        words.insert(1, "These ranges are wide: the violations of too few users were tested to say more.")
    belongs = metrics.get("belongs_to", {})
    if belongs.get("is_the_registered_model") is False:
        words.append(f"Mind that {belongs['note']}.")
    return " ".join(words)


def _alerts(measured: Metrics) -> tuple[int, int]:
    """Alerts among labelled events, and the violations among them."""
    confusion = measured.get("confusion", {})
    found = int(confusion.get("tp", 0))
    return found + int(confusion.get("fp", 0)), found


def _use(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    return [
        Text(
            "A triage aid: it puts the events of a log in an order, so that people who know the place look first at "
            "the likely violations of policy. For each event it gives a risk between 0 and 1, whether that is an "
            "alert, and on request the reasons."
        ),
        Text("For analysts and reviewers in the organisation whose events it was trained on."),
        Facts(
            (
                ("Kind", ALGORITHMS.get(model.forest.algorithm, model.forest.algorithm)),
                ("Trees", number(model.forest.n_trees)),
                ("Answers", "the probability that the event would be labelled a violation"),
            )
        ),
    ]


def _outside(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    return [
        Text(
            "**No automatic sanction.** No account is locked, no person is judged, rated or disciplined on a score. A "
            "person decides, on the event itself, and can disagree."
        ),
        Text(
            "Not for other organisations, log sources or policies without being trained and tested on them; not to "
            "predict what a person will do; not as proof that an event was or was not a violation."
        ),
    ]


def _data(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    windows = metrics.get("windows", {})
    rows = tuple(
        (
            name.replace("_", " "),
            moment(window.get("from")),
            moment(window.get("to")),
            window.get("rows"),
            window.get("positives"),
        )
        for name, window in windows.items()
    )
    told: list[Block] = [
        Rows(("Part", "From", "To", "Events", "Violations"), rows, "What each part of the data was, in UTC.")
        if rows
        else Text(f"The windows of time were {NOT_RECORDED}.")
    ]
    pairs = [("Dataset", digest(model.origin.get("dataset_sha256")))]
    return [*told, Facts(tuple(pairs))]


def _labels(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    labels = metrics.get("labels", {})
    share, delay = labels.get("share_labelled"), labels.get("delay_days_median")
    pairs = [
        ("Source", str(labels.get("source", "the dataset's label set: what people, or a rule of theirs, said"))),
        ("Share of events with a label", NOT_RECORDED if share is None else f"{100 * share:.1f} %"),
        ("Delay, median", NOT_RECORDED if delay is None else f"{number(float(delay))} days after the event"),
    ]
    if labels.get("delay_days_p95") is not None:
        pairs.append(("Delay, 95th percentile", f"{number(float(labels['delay_days_p95']))} days"))
    if labels.get("maturity_days") is not None:
        pairs.append(("Maturity", f"after {number(labels['maturity_days'])} days a label is taken to have come in"))
    pairs.append(("Digest", digest(model.origin.get("labels_sha256"))))
    return [
        Text(
            "A label counts from the moment it became known, in features and in training alike: what nobody knew "
            "then, the model did not know either. An event without a label is not taken to be compliant."
        ),
        Facts(tuple(pairs)),
    ]


def _features(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    known = {feature.name: feature for feature in (*FEATURES, IP_USERS)}
    rows = []
    for name in model.spec.columns:
        feature = known.get(name)
        row = (feature.unit, feature.definition, feature.reason) if feature else ("–", "a feature of one's own", "–")
        rows.append((title(name), name, *row))
    return [
        Text(
            "Each is computed from the user's own events before the one that is scored, never from later ones and "
            "never from the event's own outcome. *t* is the time of the event."
        ),
        Rows(("Feature", "Name", "Unit", "Definition", "Reason"), tuple(rows), f"The {len(rows)} features."),
        Facts((("Definitions", digest(model.spec.sha256)),)),
    ]


def _split(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    known = (
        "Labels counted even where nobody knew them by then, so it looks too good."
        if metrics.get("labels", {}).get("known_at") is False
        else "Training used the labels known when calibration began; calibration and threshold those known when the "
        "test began; the test, all there are."
    )
    again = (
        " Then the model was fitted again, with the same parameters, on every label known by the end of the data."
        if model.origin.get("refitted")
        else ""
    )
    told: list[Block] = [
        Text(
            "In the order of time: trained on the oldest part, calibrated on the next, its threshold chosen on the "
            f"third, tested on the newest. {known}{again}"
        )
    ]
    folds = metrics.get("folds", {})
    for name, words in (
        ("forward", "Folds forward in time: trained on the past, tested on what came next"),
        ("grouped", "Folds by user: no user in two of them, but the future is known; a comparison only"),
        ("stratified", "Folds by event, as is usual: they share users, and the future is known, so it looks too good"),
    ):
        if folds.get(name):
            rows = tuple(
                (
                    str(k),
                    fold.get("rows"),
                    fold.get("positives"),
                    f"{fold['average_precision']:.3f}",
                    f"{fold['roc_auc']:.3f}",
                )
                for k, fold in enumerate(folds[name], 1)
            )
            told.append(Rows(("Fold", "Events", "Violations", "Average precision", "ROC area"), rows, f"{words}."))
    return told


def _limits(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    slices = metrics.get("slices", {})
    told = [
        (
            "It knows only what earlier analysts labelled: kinds of violation that nobody reported are not learnt, and "
            "who was looked at more has more labels. Its errors can fall on some groups of users more than on others; "
            "the table of slices shows new and unseen users, and nothing else was compared."
        ),
        (
            "Scores of users with little history are less sure. An attacker who knows the features can stay below the "
            "threshold, for instance by going slowly."
        ),
        "Intervals cover chance in which users were drawn; they do not cover a future that differs from the past.",
    ]
    for name in ("new_users", "unseen_users"):
        found = slices.get(name)
        if slices and not found:
            told.append(f"{SLICES[name][0]}: none were among the tested events, so nothing is known of them.")
        elif found and found.get("positives", 0) < 50:
            were = "was" if found["positives"] == 1 else "were"
            told.append(
                f"{SLICES[name][0]}: only {counted(found['positives'], 'violation')} {were} tested, too few to say how "
                "well it does for them."
            )
    return [Text(text) for text in told]


def _privacy(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    return [
        Text(
            "The model file holds thresholds and counts of events, no event, user name or address. Beside it lie "
            "histograms of the features and 100 rows of features without names, by which a copy is checked. Events and "
            "labels stay in the workspace and are kept as long as the organisation's own rules say; a person's events "
            "that must be erased are erased there, and the model is trained anew."
        )
    ]


def _check(model: RiskModel, metrics: Metrics, reference: Metrics) -> list[Block]:  # noqa: ARG001
    origin = model.origin
    parameters = origin.get("parameters", {})
    libraries = origin.get("libraries", origin.get("versions", {}))
    pairs = [
        ("Model file", digest(model.sha256)),
        ("Feature definitions", digest(model.spec.sha256)),
        ("Dataset", digest(origin.get("dataset_sha256"))),
        ("Labels", digest(origin.get("labels_sha256"))),
        ("Algorithm", f"{origin.get('algorithm', model.forest.algorithm)} ({listed(parameters) or 'no parameters'})"),
        ("Seed", number(origin.get("seed"))),
        ("Libraries", listed(libraries) or NOT_RECORDED),
    ]
    return [
        Text(
            "The same data, seed and libraries give the same model file, to the byte. `workbench validate VERSION "
            "DATASET` measures it again."
        ),
        Facts(tuple(pairs)),
    ]
