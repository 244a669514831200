"""Models, reports and policies that speak of risk, as reviewers see them: facts in words, and nothing slow in the way."""

import base64
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import nbformat
import pytest
import yaml

from workbench.clock import SystemClock, VirtualClock
from workbench.custody import Custody
from workbench.dashboards.approvals import ApprovalsPage
from workbench.dashboards.request import Request
from workbench.errors import IntegrityError, NotFoundError
from workbench.events import Population, generate
from workbench.evidence.keyfile import KeyDerivation
from workbench.experiments import plan, run
from workbench.features import FeatureSpec
from workbench.files import canonical_json, sha256_bytes
from workbench.lifecycle import Action, Lifecycle
from workbench.reports import bundle_run
from workbench.reports.lifecycle_kind import ReportKind
from workbench.risk import lifecycle_kind
from workbench.risk.calibration import Calibrator
from workbench.risk.comparisons import keep_bytes
from workbench.risk.forest import Forest
from workbench.risk.lifecycle_kind import ModelKind
from workbench.risk.model import RiskModel
from workbench.risk.threshold import Threshold
from workbench.workspace import MARKER

METRIC = {"value": 0.5, "low": 0.25, "high": 0.75}
TEST = {
    "rows": 900,
    "positives": 30,
    "users": 9,
    "metrics": {"precision": METRIC, "recall": METRIC | {"value": 0.4}, "average_precision": METRIC},
    "confusion": {"tp": 12, "fp": 12, "fn": 18, "tn": 858},
}


def register(office, threshold):
    """A model of one split: the risk is 0.25 before nine, and 1 from then on."""
    forest = Forest("random_forest", 2, 0.0, [8.0, 0.25, 1.0], [0, 255, 255], [0, 0, 0])
    spec = FeatureSpec(names=("hour", "is_first"))
    origin = {"dataset_sha256": "a" * 64, "labels_sha256": "b" * 64, "labels_known_until": 1_700_000_000_000_000}
    model = RiskModel(forest, Calibrator("none"), Threshold(threshold, "f1", {}), spec, origin)
    parity = {"format": 1, "columns": list(spec.columns), "X": [[3, 0], [9, 1]], "p": [0.25, 1.0]}
    files = {
        "parity.json": canonical_json(parity),
        "metrics.json": canonical_json({"format": 1, "slices": {"test": TEST}}),
        "card.md": b"# Card\n",
    }
    return ModelKind(office.custody).registry.register(model, files)


def act(office, words_of, kind, subject, action, person, **more):
    office.clock.advance_ns(1_000_000_000)
    lifecycle = Lifecycle(office.custody, [kind])
    lifecycle.transition(lifecycle.find(subject), action, person, reason="because", passphrase=words_of(person), **more)


@pytest.fixture
def champion(office, words_of):
    """A model that is in use."""
    version = register(office, 0.3)
    kind = ModelKind(office.custody)
    act(office, words_of, kind, "model:v1", "submit", "rita")
    act(office, words_of, kind, "model:v1", "approve", "ann")
    return version


@pytest.fixture
def challenger(office, words_of, champion, monkeypatch):
    """A second model in review, with a comparison that comes out again; how often it was made again."""
    made = []
    monkeypatch.setattr(lifecycle_kind, "repeat", lambda registry, comparison: made.append(comparison.sha256))
    version = register(office, 0.4)
    criteria = [
        {"name": name, "passed": passed, "statement": f"{name} <b>was</b> looked at", "numbers": {}}
        for name, passed in (("ranking", True), ("parity", True), ("unseen users", None))
    ]
    content = {
        "format": 1, "kind": "model-comparison", "champion": champion.sha256, "challenger": version.sha256,
        "window": {"labelled": 900, "users": 9, "violations": 30, "after": "2026-01-01", "until": "2026-02-01"},
        "rules": {}, "criteria": criteria, "promoted": True,
    }  # fmt: skip
    keep_bytes(office.workspace, canonical_json(content))
    act(office, words_of, ModelKind(office.custody), "model:v2", "submit", "rita")
    made.clear()
    return made


def everything(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def html_of(page: ApprovalsPage) -> str:
    return "\n".join(one.value for one in everything(page.widget) if isinstance(one, widgets.HTML))


def open_page(office, person: str, item: str) -> ApprovalsPage:
    return ApprovalsPage(office.custody, Request(f"p:{person}", f"item={item}"))


# Policies that speak of risk


def test_without_a_model_in_use_a_policy_of_risk_cannot_be_tried(office):
    generate(office.workspace, Population(scale=3, days=7, seed=5), name="demo")
    office.add("rita", name="risky", expression="risk >= 0.8")
    desk = office.desk("ann")
    with pytest.raises(NotFoundError, match="speaks of risk, and no model is in use that could give it"):
        desk.try_on(desk.item("policy:risky@1"), "demo")
    assert desk.item("policy:risky@1").backtest is None


@pytest.mark.slow
def test_risk_is_given_by_the_model_in_use_and_the_page_says_which(office, champion):
    generate(office.workspace, Population(scale=3, days=7, seed=5), name="demo")
    office.add("rita", name="risky", expression="risk >= 0.8")
    page, told = open_page(office, "ann", "policy:risky@1"), []
    page.dataset.value = "demo"
    page._progress = told.append
    page.compute.click()
    assert page.item is not None and page.item.backtest is not None
    content = page.item.backtest.content
    assert content["risk"]["model"] == champion.sha256 and content["hits"] > 0
    assert page.item.cautions == ("risk was given by model v1, the one in use",)
    assert "Risk was given by model v1, the one in use." in html_of(page) and "scoring events" in told


@pytest.mark.slow
def test_a_backtest_with_the_scores_of_an_earlier_model_says_so(office, champion, words_of):
    generate(office.workspace, Population(scale=3, days=7, start="2023-11-12", seed=5), name="demo")
    office.add("rita", name="risky", expression="risk >= 0.8")
    desk = office.desk("ann")
    desk.try_on(desk.item("policy:risky@1"), "demo")
    act(office, words_of, ModelKind(office.custody), "model:v1", "retire", "olga")
    assert desk.item("policy:risky@1").cautions == (
        "risk was given by model v1, and no model is in use now: with another it may come out otherwise",
        "that model has learnt from events until 2023-11-14: on those it looks better than it will be",
    )


# Models


@pytest.mark.slow
def test_a_model_is_told_in_words_with_its_intervals(office, challenger):
    page = open_page(office, "ann", "model:v2")
    page.more.click()
    html = html_of(page)
    for told in (
        "Risk model, version 2", "Of 100 alerts about 50 are real (25 to 75 with 95 % confidence)",
        "Of 100 violations, about 40 are found and 60 are missed", "Does it put violations higher up the list?",
        "nothing speaks against it", "of 9 users, 30 of them violations, from 2026-01-01 to 2026-02-01",
        "instead of version 1", "No automatic sanction.", "ranking &lt;b&gt;was&lt;/b&gt; looked at",
    ):  # fmt: skip
        assert told in html, told
    assert html.count('class="likely"') == 25 + 15 and "<b>was" not in html


@pytest.mark.slow
def test_what_takes_long_comes_after_the_page_and_before_the_decision(office, challenger):
    page = open_page(office, "ann", "model:v2")
    assert "Of 100 alerts about 50 are real" in html_of(page) and challenger == []
    assert page.item is not None and page.item.may == () and page.form.choice not in everything(page.widget)
    assert "You can decide as soon as that is done." in html_of(page)
    page.more.click()
    assert len(challenger) == 1
    assert page.item.may == (Action.APPROVE, Action.REJECT) and page.form.choice in everything(page.widget)
    page.open("model:v2")
    assert page.item.pending == "" and len(challenger) == 1


@pytest.mark.slow
def test_what_the_page_says_of_a_model_is_what_is_signed(office, challenger, words_of):
    desk = office.desk("ann")
    item = desk.item("model:v2")
    receipt = desk.decide(desk.propose(item, Action.APPROVE), reason="Good.", passphrase=words_of("ann"), agreed=True)
    kept = (office.workspace.evidence / "_shown" / f"{receipt['shown_sha256']}.json").read_text()
    assert "Of 100 alerts about 50 are real" in kept and "No automatic sanction." in kept
    assert desk.item("model:v2").shown["champion"]["version"] == 2


def test_a_damaged_model_is_named_and_cannot_be_approved(office, champion):
    (champion.path / "card.md").write_bytes(b"# Other\n")
    page = open_page(office, "ann", "model:v1")
    assert "This model is not as it was registered: card.md of model v1" in html_of(page)
    assert "Of 100 alerts" not in html_of(page)


# Reports


@pytest.fixture
def report(office, words_of) -> tuple[Any, str]:
    """A workspace of today, because runs know no other clock, and a report in review in it."""
    root = office.workspace.root
    shutil.rmtree(root)
    for folder in ("notebooks", "experiments"):
        (root / folder).mkdir(parents=True)
    (root / MARKER).write_text("format = 1\n")
    office.clock = VirtualClock(start_ns=SystemClock().time_ns())
    custody = Custody.begin(
        office.workspace,
        root_passphrase="root passphrase",
        passphrase="working passphrase",
        clock=office.clock,
        derivation=KeyDerivation(memory=64, passes=1),
    )
    signer = custody.root_signer("root passphrase")
    for person, role in (("olga", "owner"), ("rita", "researcher"), ("ann", "reviewer")):
        given = {"by": "olga", "by_passphrase": words_of("olga")} if person != "olga" else {}
        office.lifecycle.people.enrol(
            person.title(), passphrase=words_of(person), root=signer, roles=(role,), pseudonym=person, **given
        )
    cells = [
        nbformat.v4.new_code_cell("seed = 1", id="a", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import workbench as wb\nwb.record('share', 0.25, low=0.125, high=0.5)\nwb.record('rows', 42)", id="b"
        ),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "small.ipynb")
    spec = {
        "id": "small", "title": "Small <i>things</i>", "question": "Is it small?", "notebook": "notebooks/small.ipynb",
        "inputs": {}, "timeout": 60,
        "claims": [{"id": "low", "sentence": "It is <b>low</b>.", "value": "share", "expect": "< 0.2"},
                   {"id": "many", "sentence": "There are some.", "value": "rows", "expect": "> 0"}],
    }  # fmt: skip
    (root / "experiments" / "small.yaml").write_text(yaml.safe_dump(spec))
    (planned,) = plan(office.workspace, root / "experiments" / "small.yaml", {})
    done = run(office.workspace, planned)
    office.clock.advance_ns(3_600_000_000_000)
    bundle_run(office.custody, done, passphrase="working passphrase", approvals_required=1)
    act(office, words_of, ReportKind(office.custody), f"report:{done.id}", "submit", "rita")
    return office, f"report:{done.id}@1"


@pytest.mark.slow
def test_a_report_is_told_by_its_claims_and_can_be_read_and_saved(report):
    office, report = report
    page = open_page(office, "ann", report)
    html = html_of(page)
    for told in (
        "Small &lt;i&gt;things&lt;/i&gt;", "Is it small?", "1 of 2 claims is supported.", "It is &lt;b&gt;low&lt;/b&gt;.",
        "not supported", "Expected: <code>share &lt; 0.2</code>", "0.125 to 0.5", "run COMPLETED",
        "count it as approved from 1 approval on", "signed for the report&#39;s bundle",
    ):  # fmt: skip
        assert told in html, told
    assert "<iframe" not in html
    page.read.click()
    frame = page.frame.value
    assert 'sandbox=""' in frame
    saved = base64.b64decode(re.search('data:text/html;base64,([^"]+)"', frame)[1])
    assert page.item is not None
    assert sha256_bytes(saved) == page.item.shown["report"]["page_sha256"]
    assert "&lt;h1" in frame.partition("srcdoc=")[2]  # escaped once, for the attribute
    desk = office.desk("ann")
    assert desk.queue()[-1].title == "Small <i>things</i>"
    path = Path(office.workspace.runs / report[7:-2] / "values.json")
    path.write_bytes(b"{}")
    with pytest.raises(IntegrityError, match=r"values\.json of run"):
        desk.page(page.item)
    assert "This report is not as it was signed" in html_of(open_page(office, "ann", report))
