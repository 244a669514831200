"""The approvals page as widgets, clicked without a browser; and how it writes what it was told."""

import base64
import json
import os
import re

import ipywidgets as widgets
import pytest

from workbench.dashboards import approvals as make_page
from workbench.dashboards.approvals import ApprovalsPage
from workbench.dashboards.request import Request, wait_for_request
from workbench.dashboards.words import changed_rows, unified_lines, verdict_of
from workbench.events import Population, generate

NIGHT, SOLO = "policy:night-export@2", "policy:solo@1"


@pytest.fixture
def page(office):
    """``page("ann", item=...)``: what a visitor gets."""

    def page(person: str, query: str = "") -> ApprovalsPage:
        return ApprovalsPage(office.custody, Request(f"p:{person}", query))

    return page


def everything(widget: widgets.Widget) -> list[widgets.Widget]:
    return [widget, *(one for child in getattr(widget, "children", ()) for one in everything(child))]


def html_of(page: ApprovalsPage) -> str:
    return "\n".join(one.value for one in everything(page.widget) if isinstance(one, widgets.HTML))


def buttons(page: ApprovalsPage) -> dict[str, widgets.Button]:
    return {one.description.split("\n")[0]: one for one in everything(page.widget) if isinstance(one, widgets.Button)}


def shows(page: ApprovalsPage, widget: widgets.Widget) -> bool:
    return widget in everything(page.widget)


def decide(page: ApprovalsPage, choice: str, passphrase: str, reason: str = "Good.", agreed: bool = False) -> None:
    page.form.choice.value = choice
    page.form.reason.value, page.form.passphrase.value, page.form.agreed.value = reason, passphrase, agreed
    page.form.sign.click()


@pytest.mark.slow
def test_the_queue_opens_what_is_clicked(page):
    ann = page("ann")
    assert "2 items wait for you" in html_of(ann)
    buttons(ann)["Exports at <b>night</b>"].click()
    assert f'data-item="{NIGHT}"' in html_of(ann)
    assert ann.item is not None and str(ann.item.subject) == NIGHT


@pytest.mark.slow
def test_what_others_wrote_is_text_and_never_markup(page):
    html = html_of(page("ann", f"item={NIGHT}"))
    assert "&lt;b&gt;night&lt;/b&gt;" in html and "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "Fewer &lt;i&gt;alerts&lt;/i&gt;." in html
    assert "<script" not in html and "<b>night" not in html and "<i>" not in html


@pytest.mark.parametrize(
    "item", ["policy:<img src=x onerror=alert(1)>@1", "policy:none@1", "x", "policy:solo@1&receipt=1"]
)
def test_an_address_that_means_nothing_is_a_sentence(page, item):
    html = html_of(page("ann", f"item={item}"))
    assert 'role="alert"' in html and "<img src=x" not in html


@pytest.mark.slow
def test_nothing_can_be_signed_before_the_sentence_was_shown(page):
    ann = page("ann", f"item={NIGHT}")
    assert not shows(ann, ann.form.passphrase) and not shows(ann, ann.form.sign)
    ann.form.choice.value = "reject"
    assert shows(ann, ann.form.passphrase) and not shows(ann, ann.form.agreed)
    assert "reject policy:night-export@2" in ann.form.sentence.value
    ann.form.choice.value = "approve"
    assert shows(ann, ann.form.agreed) and ann.form.sign.description == "Sign and approve"
    assert "goes from ACTIVE to RETIRED" in ann.form.sentence.value
    assert ann.form.agreed.value is False


@pytest.mark.slow
def test_approving_shows_a_receipt_that_can_be_saved(page, office, words_of):
    ann = page("ann", f"item={SOLO}")
    decide(ann, "approve", words_of("ann"))
    html = html_of(ann)
    assert "Approved. policy:solo@1 goes from REVIEW to ACTIVE." in html and office.state(SOLO) == "ACTIVE"
    links = re.findall(r'download="([^"]+)" href="data:application/json;base64,([^"]+)"', html)
    receipt = json.loads(base64.b64decode(links[0][1]))
    assert [name for name, _ in links] == [
        f"receipt-{receipt['ledger_entry']}.json",
        f"statement-{receipt['ledger_entry']}.dsse.json",
    ]
    assert receipt["statement"].startswith("I, p:ann, as reviewer, approve policy:solo@1")
    again = page("ann", f"item={SOLO}&receipt={receipt['ledger_entry']}")
    assert links[0][1] in html_of(again)


@pytest.mark.slow
def test_a_passphrase_is_gone_as_soon_as_it_was_used(page, words_of):
    ann = page("ann", f"item={SOLO}")
    decide(ann, "approve", "wrong")
    assert ann.form.passphrase.value == "" and "Wrong passphrase; nothing was signed." in ann.form.notice.value
    assert ann.form.reason.value == "Good."
    decide(ann, "approve", words_of("ann"))
    assert ann.form.passphrase.value == ""
    assert words_of("ann") not in repr([one.get_state() for one in everything(ann.widget)])


@pytest.mark.slow
def test_too_many_wrong_passphrases_are_slowed_down_on_the_page_too(page, office, words_of):
    ann = page("ann", f"item={SOLO}")
    for _ in range(5):
        decide(ann, "approve", "wrong")
    decide(ann, "approve", words_of("ann"))
    assert "Too many wrong passphrases: wait 10 minutes" in ann.form.notice.value
    assert office.state(SOLO) == "REVIEW"


@pytest.mark.slow
def test_whoever_is_late_sees_how_it_stands_and_keeps_their_words(page, words_of):
    ann, ben = page("ann", f"item={SOLO}"), page("ben", f"item={SOLO}")
    ben.form.choice.value = "approve"
    decide(ann, "approve", words_of("ann"))
    ben.form.reason.value, ben.form.passphrase.value = "My own reason.", words_of("ben")
    ben.form.sign.click()
    html = html_of(ben)
    assert "Somebody was faster" in html and "nothing was recorded" in html
    assert "state-active" in html and ben.form.reason.value == "My own reason."


@pytest.mark.slow
def test_choosing_what_has_become_impossible_is_told(page, words_of):
    ann, ben = page("ann", f"item={SOLO}"), page("ben", f"item={SOLO}")
    decide(ann, "reject", words_of("ann"))
    ben.form.choice.value = "approve"
    assert "is a DRAFT" in ben.form.notice.value and not shows(ben, ben.form.sign)


def test_somebody_without_a_role_gets_a_reason_and_no_form(page):
    eve = page("eve", f"item={SOLO}")
    assert not shows(eve, eve.form.choice)
    assert "is what a reviewer may do, and p:eve is examiner" in html_of(eve)


@pytest.mark.slow
def test_an_unexpected_error_is_a_sentence_and_the_page_goes_on(page, monkeypatch, words_of):
    ann = page("ann", f"item={SOLO}")
    ann.form.choice.value = "approve"

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(ann.desk, "decide", fail)
    with pytest.raises(RuntimeError):
        ann._guarded(ann.form._decide)(None)
    assert "not your fault" in ann.form.notice.value and "secret detail" not in html_of(ann)
    monkeypatch.undo()
    decide(ann, "approve", words_of("ann"))
    assert "Approved." in html_of(ann)


@pytest.mark.slow
def test_a_backtest_is_shown_with_plots_and_examples(page, office):
    generate(office.workspace, Population(scale=10, days=30, seed=5), name="demo")
    ann = page("ann", f"item={NIGHT}")
    ann.compute.click()
    assert "Choose a dataset first" in html_of(ann)
    ann.dataset.value = "demo"
    ann.compute.click()
    html = html_of(ann)
    assert "On the dataset demo" in html and "newly flagged" in html and "95 %" in html
    assert html.count("<figure") >= 3 and 'aria-label="Flagged events a day' in html
    assert ann.item is not None and ann.item.backtest is not None
    assert ann.item.backtest.sha256[:16] in html


@pytest.mark.slow
def test_beside_an_item_the_queue_follows_when_the_browser_asks_for_more(page):
    ann = page("ann", f"item={NIGHT}")
    assert set(buttons(ann)) & {"Alone", "Exports at <b>night</b>"} == set() and shows(ann, ann.form.choice)
    ann.more.click()
    found = {name: one for name, one in buttons(ann).items() if "wb-line" in one._dom_classes}
    assert [name for name, one in found.items() if "wb-current" in one._dom_classes] == ["Exports at <b>night</b>"]
    found["Alone"].click()
    assert "wb-current" in found["Alone"]._dom_classes
    assert "wb-current" not in found["Exports at <b>night</b>"]._dom_classes


@pytest.mark.slow
def test_look_again_finds_what_came_meanwhile(page, office):
    ann = page("ann")
    office.add("rita", name="newcomer", title="A newcomer")
    office.act("policy:newcomer@1", "submit", "rita")
    assert "A newcomer" not in buttons(ann)
    buttons(ann)["Look again"].click()
    assert "A newcomer" in buttons(ann) and "3 items wait for you" in html_of(ann)


def test_without_somebody_signed_in_there_is_no_page(office, monkeypatch):
    monkeypatch.setenv("WORKBENCH_HOME", str(office.workspace.root))
    monkeypatch.delenv("HTTP_X_WORKBENCH_USER", raising=False)
    assert "workbench dashboard approvals" in make_page().value
    monkeypatch.setenv("HTTP_X_WORKBENCH_USER", "p:nobody")
    assert "nobody here is" in make_page().value.lower()


def test_a_kernel_that_was_not_started_ahead_reads_its_environment(monkeypatch):
    monkeypatch.setitem(os.environ, "HTTP_X_WORKBENCH_USER", "p:ann")
    monkeypatch.setitem(os.environ, "QUERY_STRING", "item=a&item=b")
    assert wait_for_request() == Request("p:ann", "item=a&item=b")
    assert Request("p:ann", "").value("item") is None


def test_a_kernel_started_ahead_asks_the_server(monkeypatch):
    from threading import Thread

    from websockets.sync.server import serve

    def answer(socket):
        asked.append(socket.request.path)
        socket.send(json.dumps({"HTTP_X_WORKBENCH_USER": "p:ben", "QUERY_STRING": "item=x"}))

    asked: list[str] = []
    with serve(answer, "127.0.0.1", 0) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        port = server.socket.getsockname()[1]
        monkeypatch.setenv("VOILA_PREHEAT", "True")
        monkeypatch.setenv("VOILA_KERNEL_ID", "k-1")
        monkeypatch.setenv("WORKBENCH_DASHBOARD_QUERY", f"ws://127.0.0.1:{port}/q")
        assert wait_for_request() == Request("p:ben", "item=x")
        server.shutdown()
        thread.join()
    assert asked == ["/q/k-1"]


def test_changes_are_marked_word_by_word():
    ((name, old, new),) = changed_rows({"e": "a > 25 AND <b>", "t": "x"}, {"e": "a > 15 AND <b>", "t": "x"})
    assert (name, str(old), str(new)) == (
        "e",
        "a &gt; <del>25</del> AND &lt;b&gt;",
        "a &gt; <ins>15</ins> AND &lt;b&gt;",
    )
    assert unified_lines("--- a\n+++ b\n@@ x\n-c\n+d\n e")[2:] == [
        ("place", "@@ x"),
        ("drop", "-c"),
        ("add", "+d"),
        ("same", " e"),
    ]


@pytest.mark.parametrize(
    ("outcomes", "told"),
    [
        (["supported", "supported"], "Each of its 2 claims is supported."),
        (["not tested", "supported", "supported"], "2 of 3 claims are supported."),
        (["not supported", "not tested"], "None of its 2 claims is supported."),
        (["not tested"], "Its one claim is not tested."),
        ([], ""),
    ],
)
def test_the_verdict_of_a_report_is_one_sentence(outcomes, told):
    claims = [{"outcome": outcome} for outcome in outcomes]
    assert verdict_of({"run": {"status": "COMPLETED"}, "claims": claims}) == told
    if claims:
        stopped = verdict_of({"run": {"status": "TIMEOUT"}, "claims": claims})
        assert stopped == "The run did not come to its end, so its claims could not be tested."
