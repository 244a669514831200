"""The approvals page in a real browser, served by the real command, with real keys (whose passphrases are cheap)."""

import base64
import hashlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import nbformat
import pytest
import yaml
from playwright.sync_api import Browser, BrowserContext, Locator, Page
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from workbench.custody import Custody
from workbench.dashboards.desk import Desk
from workbench.dashboards.kinds import kinds_of
from workbench.events import Population, generate
from workbench.evidence.keyfile import KeyDerivation
from workbench.experiments import plan, run
from workbench.features import FeatureSpec
from workbench.files import canonical_json
from workbench.lifecycle import Lifecycle
from workbench.policies import Policy, PolicyStore
from workbench.reports import bundle_run
from workbench.risk import Calibrator, Registry, RiskModel, Threshold
from workbench.risk.forest import Forest
from workbench.workspace import MARKER, Workspace

pytestmark = [pytest.mark.slow, pytest.mark.browser]

CHEAP = KeyDerivation(memory=64, passes=1)
CAST = {"olga": ("owner",), "rita": ("researcher",), "rob": ("researcher", "reviewer"), "ann": ("reviewer",),
        "ben": ("reviewer",), "eve": ("examiner",)}  # fmt: skip
POLICY = {
    "name": "night-export",
    "title": "Exports at night",
    "description": "Nobody exports at night.",
    "severity": "high",
    "controls": ["NIST-AC-6"],
    "expression": "action = 'export' AND off_hours = 1",
    "rationale": "Rarely right. <script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\">",
}


def words(person: str) -> str:
    return f"the words of {person}"


@dataclass
class Site:
    """A workspace with people, policies and a dataset, and the page that serves it."""

    workspace: Workspace
    port: int
    made: int = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def lifecycle(self) -> Lifecycle:
        custody = Custody(self.workspace, derivation=CHEAP)
        return Lifecycle(custody, kinds_of(custody))

    def state(self, subject: str) -> str:
        return str(self.lifecycle.state(self.lifecycle.find(subject)))

    def submitted(self, *, author: str = "rita", versions: int = 1, by_command: bool = False) -> str:
        """A policy of its own, in review; with 2 versions, the first is in use."""
        self.made += 1
        name, lifecycle = f"night-export-{self.made}", self.lifecycle
        for number in range(1, versions + 1):
            content = POLICY | {"name": name, "title": f"Exports at night, no. {self.made}"}
            if number > 1:
                content |= {"expression": f"{content['expression']} AND events_24h > 2", "severity": "critical"}
            PolicyStore(self.workspace).add(Policy.model_validate(content), author=f"p:{author}")
            subject = f"policy:{name}@{number}"
            steps = [
                ("submit", author, "To be looked at."),
                *([("approve", "ben", "Good.")] if number < versions else []),
            ]
            for action, person, reason in steps:
                if by_command:
                    self.command(action, subject, "--as", person, "--reason", reason, person=person)
                else:
                    found = lifecycle.find(subject)
                    lifecycle.transition(found, action, person, reason=reason, passphrase=words(person))
        return subject

    def act(self, subject: str, action: str, person: str) -> str:
        """One step; returns the subject as the ledger spells it."""
        found = self.lifecycle.find(subject)
        self.lifecycle.transition(found, action, person, reason="To be looked at.", passphrase=words(person))
        return str(found)

    def model(self) -> str:
        """A model in review, worth what its metrics say."""
        forest = Forest("random_forest", 2, 0.0, [8.0, 0.25, 1.0], [0, 255, 255], [0, 0, 0])
        spec, origin = FeatureSpec(names=("hour", "is_first")), {"dataset_sha256": "a" * 64, "labels_sha256": "b" * 64}
        metric = {"value": 0.5, "low": 0.25, "high": 0.75}
        test = {"rows": 900, "positives": 30, "users": 9, "metrics": {"precision": metric, "recall": metric},
                "confusion": {"tp": 15, "fp": 15, "fn": 15, "tn": 855}}  # fmt: skip
        files = {
            "parity.json": {"format": 1, "columns": list(spec.columns), "X": [[3, 0], [9, 1]], "p": [0.25, 1.0]},
            "metrics.json": {"format": 1, "slices": {"test": test}},
        }
        model = RiskModel(forest, Calibrator("none"), Threshold(0.5, "f1", {}), spec, origin)
        version = Registry(self.workspace).register(model, {name: canonical_json(one) for name, one in files.items()})
        return self.act(f"model:{version.name}", "submit", "rita")

    def report(self) -> str:
        """A report of a real run, signed and in review."""
        root = self.workspace.root
        cells = [
            nbformat.v4.new_code_cell("seed = 1", id="a", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell("import workbench as wb\nwb.record('share', 0.25, low=0.125, high=0.5)", id="b"),
        ]
        for folder in ("notebooks", "experiments"):
            (root / folder).mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), root / "notebooks" / "small.ipynb")
        spec = {
            "id": "small", "title": "Small things", "question": "Is it small?", "notebook": "notebooks/small.ipynb",
            "inputs": {}, "timeout": 60,
            "claims": [{"id": "low", "sentence": "It is <b>low</b>.", "value": "share", "expect": "< 0.2"}],
        }  # fmt: skip
        (root / "experiments" / "small.yaml").write_text(yaml.safe_dump(spec))
        (planned,) = plan(self.workspace, root / "experiments" / "small.yaml", {})
        done = run(self.workspace, planned)
        bundle_run(Custody(self.workspace, derivation=CHEAP), done, passphrase="working passphrase")
        return self.act(f"report:{done.id}", "submit", "rita")

    def command(self, *arguments: str, person: str) -> str:
        told = subprocess.run(
            [sys.executable, "-m", "workbench", "--workspace", str(self.workspace.root), *arguments, "--yes"],
            env={**os.environ, "WORKBENCH_APPROVAL_PASSPHRASE": words(person)},
            cwd=self.workspace.root, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr
        return told.stdout


@contextmanager
def serving(workspace: Workspace, *more: str) -> Iterator[int]:
    """The port of the page, served by the command. Ended by its process id."""
    command = [sys.executable, "-m", "workbench", "--workspace", str(workspace.root), "dashboard", "approvals",
               "--port", "0", "--no-browser", *more]  # fmt: skip
    log = (workspace.root / "server.log").open("wb")
    environment = {**os.environ, "WORKBENCH_PASSPHRASE": "a secret of the server"}
    with (
        log,
        subprocess.Popen(command, cwd=workspace.root, stdout=subprocess.PIPE, stderr=log, env=environment) as server,
    ):
        try:
            assert server.stdout is not None
            ready, _, _ = select.select([server.stdout], [], [], 90)
            line = server.stdout.readline().decode() if ready else ""
            assert line.startswith("approvals: http://127.0.0.1:"), (workspace.root / "server.log").read_text()
            yield int(line.split(":")[3].split("/")[0])
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(timeout=30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("approvals") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    workspace = Workspace(root)
    custody = Custody.begin(
        workspace, root_passphrase="root passphrase", passphrase="working passphrase", derivation=CHEAP
    )
    people, signer = Lifecycle(custody).people, custody.root_signer("root passphrase")
    for number, (person, roles) in enumerate(CAST.items()):
        given = {"by": "olga", "by_passphrase": words("olga")} if number else {}
        people.enrol(
            f"{person.title()} Example", passphrase=words(person), root=signer, roles=roles, pseudonym=person, **given
        )
    generate(workspace, Population(scale=10, days=30, seed=5), name="demo")
    with serving(workspace) as port:
        yield Site(workspace, port)


@dataclass
class Visitor:
    """Somebody with a browser of their own, who signed in."""

    context: BrowserContext
    page: Page
    outside: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def choose(self, decision: str) -> Locator:
        """Pick what to decide; returns the sentence that would be signed."""
        self.page.get_by_role("radio", name=decision).check()
        sentence = self.page.locator(".wb-sentence")
        sentence.wait_for()
        return sentence

    def sign(self, person: str, reason: str = "Looked at it.", *, passphrase: str | None = None) -> None:
        self.page.get_by_label("Reason").fill(reason)
        self.page.get_by_label("Your passphrase").fill(words(person) if passphrase is None else passphrase)
        self.page.get_by_role("button", name="Sign and").click()

    def alert(self) -> str:
        alert = self.page.locator(".wb-message [role=alert]")
        alert.wait_for()
        return alert.inner_text()

    def receipt(self) -> Locator:
        receipt = self.page.locator(".wb-receipt")
        receipt.wait_for()
        return receipt


def sign_in(browser: Browser, site: Site, person: str, item: str = "", **options: object) -> Visitor:
    """Sign in with a fresh browser, and open something."""
    visitor = Visitor(context := browser.new_context(**options), page := context.new_page())
    own = (site.address, site.address.replace("http", "ws"), "data:", "blob:")

    def see(url: str) -> None:
        if not url.startswith(own):
            visitor.outside.append(url)

    page.on("request", lambda request: see(request.url))
    page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
    page.on(
        "console",
        lambda message: visitor.complaints.append(message.text) if "Content Security Policy" in message.text else None,
    )
    page.goto(site.address + ("?" + urlencode({"item": item}) if item else ""))
    page.get_by_label("Person").fill(person)
    page.get_by_label("Passphrase").fill(words(person))
    page.keyboard.press("Enter")
    page.locator("h1[data-focus]").wait_for(timeout=60_000)
    return visitor


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Callable[..., Visitor]]:
    """``visit("ann", "policy:...")``: sign in as ann and open something."""
    visitors: list[Visitor] = []

    def visit(*given: str, **options: object) -> Visitor:
        visitors.append(sign_in(browser, site, *given, **options))
        return visitors[-1]

    yield visit
    for visitor in visitors:
        visitor.context.close()


CLAIMED = {"X-Workbench-User": "p:olga", "X_Workbench_User": "p:olga", "X-Workbench-Role": "owner"}


@pytest.fixture(scope="module")
def ann(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Somebody whose kernel others try to reach."""
    visitor = sign_in(browser, site, "ann")
    yield visitor
    visitor.context.close()


@pytest.fixture(scope="module")
def eve(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Somebody who tries, and claims to be somebody else."""
    visitor = sign_in(browser, site, "eve", extra_http_headers=CLAIMED)
    yield visitor
    visitor.context.close()


# The job itself


def test_submitted_by_command_approved_in_the_page_and_active(site: Site, visit: Callable[..., Visitor]) -> None:
    subject = site.submitted(versions=2, by_command=True)
    ann = visit("ann")
    page = ann.page
    page.get_by_role("button", name="no. 1").click()
    page.get_by_role("heading", name="What changes").wait_for()
    text = page.inner_text("main, .wb-main")
    for told in (
        "Nobody exports at night.", 'the action is "export"', "it is outside working hours", "NIST-AC-6",
        "The severity goes up from high to critical.", "New condition:", "Rita Example", "Ann Example",
        "To be looked at.", "0 of 1 required approval",
    ):  # fmt: skip
        assert told in text, told
    page.get_by_label("Dataset").select_option("demo")
    page.get_by_role("button", name="Show what it would have done").click()
    page.get_by_text("events flagged").wait_for(timeout=60_000)
    assert page.locator(".wb-figures figure").count() >= 3
    bars = page.locator(".wb-plot rect")
    assert max(bars.nth(place).bounding_box()["height"] for place in range(bars.count())) > 50  # type: ignore[index]
    assert page.get_by_role("region", name="Examples of what").count() + page.locator("details table").count() >= 1

    sentence = ann.choose("Approve").inner_text()
    assert sentence.startswith(f"I, p:ann, as reviewer, approve {subject} (SHA-256 ")
    assert "goes from REVIEW to ACTIVE" in sentence and "goes from ACTIVE to RETIRED" in sentence
    ann.sign("ann")
    assert "Tick the box" in ann.alert()
    assert site.state(subject) == "REVIEW"
    page.get_by_label("I agree that version 1").check()
    ann.sign("ann", "The numbers are right.")
    receipt = ann.receipt()
    assert f"Approved. {subject} goes from REVIEW to ACTIVE." in receipt.inner_text()
    assert sentence in receipt.inner_text()
    assert site.state(subject) == "ACTIVE"
    assert site.state(subject.replace("@2", "@1")) == "RETIRED"

    row = site.lifecycle.history(subject.partition("@")[0])[-1]
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the receipt").click()
    saved = json.loads(Path(download.value.path()).read_text())
    assert {key: saved[key] for key in ("subject", "ledger_entry", "time", "statement", "reason", "time_kind")} == {
        "subject": subject, "ledger_entry": row["seq"], "time": row["time"], "statement": sentence,
        "reason": "The numbers are right.", "time_kind": "none",
    }  # fmt: skip
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the signed statement").click()
    envelope = Path(download.value.path()).read_bytes()
    assert hashlib.sha256(envelope).hexdigest() == row["envelope_sha256"] == saved["envelope_sha256"]
    assert base64.b64decode(saved["envelope_base64"]) == envelope

    page.reload()
    assert ann.receipt().inner_text() == receipt.inner_text()
    assert page.locator(".state-active").count() == 1
    assert (ann.outside, ann.complaints) == ([], [])
    assert "owned" not in page.title()
    assert site.lifecycle.audit() == []


def test_a_model_is_read_put_in_use_and_tries_a_policy(site: Site, visit: Callable[..., Visitor]) -> None:
    subject = site.model()
    ann = visit("ann", subject)
    page = ann.page
    text = page.inner_text(".wb-main")
    for told in ("Of 100 alerts about 50 are real (25 to 75 with 95 % confidence)", "this would be the first"):
        assert told in text, told
    page.get_by_role("button", name="Read the whole model card").click()
    page.frame_locator(".wb-frame iframe").get_by_role("heading", level=1).wait_for()
    ann.choose("Approve")
    ann.sign("ann")
    assert f"Approved. {subject} goes from REVIEW to ACTIVE." in ann.receipt().inner_text()
    champion = Registry(site.workspace).champion()
    assert champion is not None and f"model:risk@{champion.number}" == subject
    PolicyStore(site.workspace).add(
        Policy.model_validate(POLICY | {"name": "risky", "expression": "risk >= 0.8"}), author="p:rita"
    )
    page.goto(site.address + "?" + urlencode({"item": site.act("policy:risky@1", "submit", "rita")}))
    page.get_by_label("Dataset").select_option("demo")
    page.get_by_role("button", name="Show what it would have done").click()
    page.get_by_text(f"Risk was given by model {champion.name}, the one in use.").wait_for(timeout=60_000)
    assert (ann.outside, ann.complaints) == ([], [])


def test_a_report_is_read_in_a_frame_and_decided_on(site: Site, visit: Callable[..., Visitor]) -> None:
    subject = site.report()
    ann = visit("ann", subject)
    page = ann.page
    text = page.inner_text(".wb-main")
    for told in ("Is it small?", "Its one claim is not supported.", "It is <b>low</b>.", "0.125 to 0.5"):
        assert told in text, told
    page.get_by_role("button", name="Read the report here").click()
    frame = page.frame_locator(".wb-frame iframe")
    frame.get_by_role("heading", name="Small things").wait_for()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save it as a file").click()
    assert "<title>" in Path(download.value.path()).read_text()
    ann.choose("Reject")
    ann.sign("ann", "The claim does not hold.")
    assert f"Rejected. {subject} goes from REVIEW to DRAFT." in ann.receipt().inner_text()
    assert (ann.outside, ann.complaints) == ([], [])


def test_what_was_on_the_page_is_what_was_signed(site: Site, visit: Callable[..., Visitor]) -> None:
    """A backtest that somebody else makes meanwhile is not slipped under the signature."""
    subject = site.submitted()
    ann = visit("ann", subject)
    ann.choose("Approve")
    desk = Desk(Custody(site.workspace, derivation=CHEAP), "ben")
    desk.try_on(desk.item(subject), "demo")
    assert desk.item(subject).backtest is not None
    ann.sign("ann")
    ann.receipt()
    row = site.lifecycle.history(subject.partition("@")[0])[-1]
    shown = json.loads((site.workspace.evidence / "_shown" / f"{row['shown_sha256']}.json").read_text())
    assert (shown["subject"], shown["backtest"]) == (subject, None)


def test_rejected_with_a_reason_by_keyboard_alone(site: Site, visit: Callable[..., Visitor]) -> None:
    subject = site.submitted()
    ann = visit("ann", subject)
    page = ann.page
    page.get_by_role("link", name="Decide").focus()
    page.keyboard.press("Enter")
    reached = ""
    for _ in range(60):
        page.keyboard.press("Tab")
        reached = page.evaluate("document.activeElement.type ?? ''")
        if reached == "radio":
            break
    assert reached == "radio"
    page.keyboard.press("ArrowDown")
    if "reject" not in (page.locator(".wb-sentence").inner_text() if page.locator(".wb-sentence").count() else ""):
        page.get_by_role("radio", name="Reject").press("Space")
    page.locator(".wb-sentence", has_text="reject").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.type("Twenty-five is too many.")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "password"
    page.keyboard.type(words("ann"))
    page.keyboard.press("Enter")
    assert f"Rejected. {subject} goes from REVIEW to DRAFT." in ann.receipt().inner_text()
    assert page.evaluate("document.activeElement.textContent").startswith("Rejected.")
    assert site.lifecycle.history(subject.partition("@")[0])[-1]["reason"] == "Twenty-five is too many."
    assert site.state(subject) == "DRAFT"


def test_a_wrong_passphrase_signs_nothing_and_loses_nothing(site: Site, visit: Callable[..., Visitor]) -> None:
    subject = site.submitted()
    ben = visit("ben", subject)
    ben.choose("Approve")
    ben.sign("ben", "Fine.", passphrase="not the words")
    assert ben.alert() == "Wrong passphrase; nothing was signed."
    assert ben.page.get_by_label("Reason").input_value() == "Fine."
    assert ben.page.get_by_label("Your passphrase").input_value() == ""
    assert site.state(subject) == "REVIEW"
    ben.sign("ben", "")
    ben.page.get_by_text("a decision needs a reason").wait_for()
    ben.sign("ben", "Fine.")
    ben.receipt()


def test_nobody_approves_what_they_submitted(site: Site, visit: Callable[..., Visitor]) -> None:
    subject = site.submitted(author="rob")
    rob = visit("rob", subject)
    assert "somebody else must approve it" in rob.page.inner_text(".wb-form")
    assert rob.page.get_by_role("radio").count() == 1  # to send it back


def test_of_two_browsers_at_once_one_decides_and_the_other_is_told(site: Site, visit: Callable[..., Visitor]) -> None:
    subject = site.submitted()
    ann, ben = visit("ann", subject), visit("ben", subject)
    for visitor in (ann, ben):
        visitor.choose("Approve")
    for visitor, person in ((ann, "ann"), (ben, "ben")):
        visitor.page.get_by_label("Reason").fill(f"The reason of {person}.")
        visitor.page.get_by_label("Your passphrase").fill(words(person))
        visitor.page.get_by_label("Your passphrase").blur()
    for visitor in (ann, ben):
        visitor.page.get_by_role("button", name="Sign and").click(no_wait_after=True)
    ended = []
    for visitor in (ann, ben):
        visitor.page.locator(".wb-receipt, .wb-message [role=alert]").first.wait_for()
        ended.append(visitor.page.locator(".wb-receipt").count())
    assert sorted(ended) == [0, 1]
    loser = (ann, ben)[ended.index(0)]
    assert "nothing was recorded" in loser.alert()
    assert loser.page.locator(".state-active").count() == 1
    approvals = [row for row in site.lifecycle.history(subject.partition("@")[0]) if row["action"] == "approve"]
    assert len(approvals) == 1


def test_a_reload_opens_what_was_open_and_back_goes_back(site: Site, visit: Callable[..., Visitor]) -> None:
    first, second = site.submitted(), site.submitted()
    ann = visit("ann", first)
    title = ann.page.locator(".wb-main h1").inner_text()
    ann.page.reload()
    ann.page.locator(".wb-main h1", has_text=title).wait_for(timeout=60_000)
    ann.page.locator(f".wb-line:has-text('{second.split(':')[1].split('@')[0]} ')").click()
    ann.page.wait_for_url(f"**item={second.replace(':', '%3A').replace('@', '%40')}")
    ann.page.go_back()
    ann.page.locator(".wb-main h1", has_text=title).wait_for(timeout=60_000)


# Reading it


CONTRAST = (Path(__file__).parent / "test_report_page.py").read_text().split('CONTRAST = """')[1].split('"""')[0]


@pytest.mark.parametrize("kind", ["policy", "model", "report"])
def test_it_is_readable_in_light_and_dark_and_at_200_percent(
    site: Site, visit: Callable[..., Visitor], kind: str
) -> None:
    known = [row["subject"] for row in site.lifecycle.history() if row["subject"].startswith(f"{kind}:")]
    ann = visit("ann", site.submitted(versions=2) if kind == "policy" else known[-1])
    if kind == "policy":
        ann.choose("Approve")
    ann.page.locator(".wb-queue .wb-line").first.wait_for()
    page, contrast = (
        ann.page,
        CONTRAST.replace(".skip, math", ".skip, math, [hidden], script, style, .jp-mod-noOutputs"),
    )
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
        assert page.evaluate(contrast) == [], scheme
    page.set_viewport_size({"width": 640, "height": 450})  # what is left of 1280 at 200 %
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    for name in ("navigation", "main", "banner", "form"):
        assert page.get_by_role(name).count() >= 1, name
    assert page.evaluate("[...document.images].every(image => image.alt.trim().length > 3)")
    assert page.evaluate("[...document.querySelectorAll('h1')].length") == 1


# Closed on all sides


def ask(
    site: Site, method: str, path: str, *, cookie: str = "", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=30)
    connection.request(method, path, headers={**({"Cookie": cookie} if cookie else {}), **(headers or {})})
    answer = connection.getresponse()
    told = answer.status, answer.read().decode("utf-8", "replace")
    connection.close()
    return told


def cookie_of(visitor: Visitor) -> str:
    return "; ".join(f"{one['name']}={one['value']}" for one in visitor.context.cookies())


def kernel_of(visitor: Visitor) -> str:
    return str(visitor.page.evaluate("JSON.parse(document.getElementById('jupyter-config-data').textContent).kernelId"))


def opens(site: Site, kernel: str, cookie: str) -> int:
    """The status with which the channels of a kernel answer; 101 is yes."""
    address = f"ws://127.0.0.1:{site.port}/api/kernels/{kernel}/channels"
    try:
        with connect(address, additional_headers={"Cookie": cookie} if cookie else {}, proxy=None):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


def test_another_visitor_s_kernel_cannot_be_reached(site: Site, ann: Visitor, eve: Visitor) -> None:
    kernel, own, other = kernel_of(ann), cookie_of(ann), cookie_of(eve)
    path = f"/api/kernels/{kernel}"
    xsrf = next(one["value"] for one in eve.context.cookies() if one["name"] == "_xsrf")
    assert opens(site, kernel, own) == 101
    assert (opens(site, kernel, other), opens(site, kernel, "")) == (404, 403)
    assert ask(site, "GET", path, cookie=own)[0] == 200
    assert ask(site, "GET", path, cookie=other)[0] == 404
    for method in ("DELETE", "POST", "PATCH", "PUT"):
        assert ask(site, method, path, cookie=other, headers={"X-XSRFToken": xsrf})[0] in (403, 404, 405), method
    shutdown = ask(site, "POST", f"/voila/api/shutdown/{kernel}", cookie=other, headers={"X-XSRFToken": xsrf})
    assert shutdown[0] == 404
    for cookie in (own, other, ""):
        assert ask(site, "GET", f"/voila/query/{kernel}", cookie=cookie)[0] in (302, 404)
    assert ask(site, "GET", path, cookie=own)[0] == 200  # it lives


@pytest.mark.parametrize("signed_in", [False, True], ids=["stranger", "examiner"])
def test_neither_files_nor_the_api_can_be_reached(site: Site, eve: Visitor, signed_in: bool) -> None:
    cookie = cookie_of(eve) if signed_in else ""
    xsrf = next(one["value"] for one in eve.context.cookies() if one["name"] == "_xsrf") if signed_in else ""
    for path in (
        "/api", "/api/contents", "/api/contents/approvals.ipynb", "/api/kernels", "/api/kernelspecs", "/api/sessions",
        "/api/terminals", "/api/me", "/api/status", "/tree", "/lab", "/files/approvals.ipynb", "/approvals.ipynb",
        "/voila/files/approvals.ipynb", "/voila/files/results.ipynb", "/voila/tree", "/voila/render/results.ipynb",
        "/voila/api/contents", "/voila/static/../../approvals.ipynb", "/voila/files/..%2f..%2f.workbench/keys/store.json",
        "/voila/templates/workbench/../../../../server.py", "/nbconvert/html/approvals.ipynb",
    ):  # fmt: skip
        for method in ("GET", "POST"):
            status, body = ask(site, method, path, cookie=cookie, headers={"X-XSRFToken": xsrf} if xsrf else {})
            assert status in (302, 403, 404, 405), (method, path, status)
            assert "cells" not in body and "import" not in body, (method, path)


def test_an_identity_that_is_claimed_in_a_header_is_ignored(site: Site, eve: Visitor) -> None:
    assert ask(site, "GET", "/", headers=CLAIMED)[0] == 302
    text = eve.page.inner_text(".wb-top")
    assert "Eve Example" in text and "Olga" not in text


def test_after_signing_out_the_old_cookie_opens_nothing(site: Site, visit: Callable[..., Visitor]) -> None:
    ann = visit("ann")
    cookie, kernel = cookie_of(ann), kernel_of(ann)
    session = next(one for one in ann.context.cookies() if one["name"].startswith("workbench-session"))
    assert session["httpOnly"] and session["sameSite"] == "Lax"
    ann.page.get_by_role("button", name="Sign out").click()
    ann.page.get_by_role("heading", name="Sign in").wait_for()
    assert ask(site, "GET", "/", cookie=cookie)[0] == 302
    assert opens(site, kernel, cookie) == 403


def test_signing_in_tells_strangers_and_wrong_passphrases_alike_and_slows_down(site: Site, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(site.address)

    def attempt(person: str, passphrase: str) -> str:
        page.get_by_label("Person").fill(person)
        page.get_by_label("Passphrase").fill(passphrase)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("alert").wait_for()
        return page.get_by_role("alert").inner_text()

    told = "The person or the passphrase is not right."
    assert [attempt("nobody", "x"), attempt("rita", "x")] == [told, told]
    assert [attempt("rita", str(number)) for number in range(4)] == [told] * 4
    assert attempt("rita", words("rita")).startswith("Too many wrong passphrases: wait")
    assert ask(site, "POST", "/login")[0] == 403  # a form of another site
    context.close()


def test_no_passphrase_is_in_a_kernel_s_environment(site: Site, ann: Visitor) -> None:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if b"ipykernel" in command and str(site.workspace.root).encode() in environment:
            found.append(environment)
    assert found
    for environment in found:
        assert b"a secret of the server" not in environment and words("ann").encode() not in environment


def test_nothing_is_asked_from_anybody_else(site: Site, ann: Visitor, eve: Visitor) -> None:
    assert (ann.outside, ann.complaints, eve.outside, eve.complaints) == ([], [], [], [])
    policy = ann.page.evaluate("fetch('/').then(answer => answer.headers.get('content-security-policy'))")
    assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "http" not in policy
