"""``workbench bundle``, ``verify`` and ``tsa serve`` as they are typed: verdicts, exit codes, and bad input."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import nbformat
import pytest

from workbench.clock import SystemClock
from workbench.custody import Custody
from workbench.evidence.certificates import KeyType, Role, fingerprint, generate_key, issue, issue_root, pem
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.timestamps import LocalAuthority, serve
from workbench.experiments import Journal, Run
from workbench.experiments.outputs import collect
from workbench.experiments.runs import create_run, write_record
from workbench.files import sha256_bytes
from workbench.ledger import open_ledger
from workbench.workspace import MARKER, Workspace

ROOT, WORKING = "correct horse root", "battery staple working"
DIGEST = "ab" * 32


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A workspace with keys that open at little cost, and a run as a runner leaves it."""
    root = tmp_path_factory.mktemp("template") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    workspace = Workspace(root)
    cheap = KeyDerivation(memory=64, passes=1)
    Custody.begin(workspace, root_passphrase=ROOT, passphrase=WORKING, derivation=cheap)
    path = create_run(workspace, "small", SystemClock())
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Result", id="a")])
    executed = (nbformat.writes(notebook) + "\n").encode()
    recorded = collect(notebook)
    values = json.dumps({"values": recorded.values, "figures": recorded.figures, "tables": recorded.tables}).encode()
    (path / "executed.ipynb").write_bytes(executed)
    (path / "values.json").write_bytes(values)
    record = {
        "format_version": 1, "id": path.name, "experiment": "small", "title": "Small", "question": "Does it run?",
        "status": "COMPLETED", "detail": "", "stopped_at": None, "started": "2026-01-01T00:00:00.000Z",
        "ended": "2026-01-01T00:00:01.000Z", "seconds": 1.0, "spec": {"notebook": "notebooks/small.ipynb"},
        "spec_sha256": DIGEST, "notebook_sha256": DIGEST, "parameters": {"size": 3}, "inputs": {},
        "code": {"workbench": "0", "package_sha256": DIGEST, "commit": None, "dirty": None}, "lock_sha256": None,
        "environment_sha256": None, "cells": [{"cell": 1, "heading": "Result", "status": "COMPLETED", "seconds": 0.1}],
        "claims": [], "kernel": None,
        "digests": {
            "canonical_sha256": DIGEST, "raw_sha256": sha256_bytes(executed), "values_sha256": sha256_bytes(values),
        },
    }  # fmt: skip
    write_record(path, record)
    Journal(workspace).started(record)
    Journal(workspace).finished(Run.read(path))
    return root


@pytest.fixture
def bench(template, workspace, cli, monkeypatch):
    """A copy of it, where commands are typed with the working passphrase in the environment."""
    shutil.rmtree(workspace.root)
    shutil.copytree(template, workspace.root)
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("WORKBENCH_PASSPHRASE", WORKING)
    return Custody(workspace)


@pytest.fixture
def root(bench):
    return fingerprint(bench.store.root)


@pytest.fixture
def bundle(bench, cli):
    """The name of a bundle of the run."""
    told = cli("bundle", "latest")
    assert (told.code, told.stderr) == (0, "")
    return told.stdout.strip()


def codes(told):
    return {finding["code"] for finding in json.loads(told.stdout)["findings"]}


def test_bundle_prints_where_it_is(cli, bench, workspace):
    told = cli("bundle", "latest")
    (run,) = workspace.runs.iterdir()
    assert (told.code, told.stdout, told.stderr) == (0, f"reports/{run.name}-v1.evidence.zip\n", "")
    assert cli("bundle", run.name[-6:], "--out", "made/here.zip").stdout == "made/here.zip\n"
    assert (workspace.root / "made" / "here.zip").is_file()
    assert cli("ledger", "verify").code == 0


def test_bundle_reports_as_json(cli, bench, root, workspace):
    (run,) = workspace.runs.iterdir()
    made = json.loads(cli("bundle", "latest", "--json").stdout)
    verification = made.pop("verification")
    assert made == {
        "bundle": str(workspace.reports / f"{run.name}-v1.evidence.zip"),
        "report": run.name,
        "version": 1,
        "signed_now": True,
        "root_sha256": root,
        "degraded": "",
    }
    assert (verification["verdict"], verification["exit_code"]) == ("VALID WITH LIMITS", 3)
    assert json.loads(cli("bundle", "latest", "--json").stdout)["signed_now"] is False


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("bundle nothing", "no run 'nothing'"),
        ("bundle latest --out .", "'.' is a folder: name a file for the bundle"),
        ("bundle latest --approvals 21", "--approvals 21: expected 0 to 20 people"),
        ("bundle latest --tsa http://127.0.0.1:1/", "--tsa needs --tsa-root FILE: the certificate by which its"),
        ("bundle latest --tsa-root root.pem", "--tsa-root goes with --tsa URL"),
        ("bundle latest --tsa ftp://a --tsa-root root.pem", "'ftp://a' is not the address of a timestamp authority"),
        ("bundle latest --tsa http://a --tsa-root none", "--tsa-root 'none' is not a certificate file (PEM) that can"),
        ("bundle latest --tsa http://a --tsa-root junk", "--tsa-root 'junk' is not a certificate file (PEM) that can"),
        ("bundle latest --tsa http://a --tsa-root empty", "--tsa-root 'empty' is not a certificate file (PEM) that ca"),
        ("bundle latest --passphrase-file junk", "wrong passphrase for the report key"),
        ("verify", "Missing argument 'FILE'."),
        ("verify B --root abc", "--root 'abc' is neither a fingerprint (64 hex digits) nor a certificate file that"),
        ("verify B --root junk", "--root 'junk': "),
        ("verify B --root empty", "--root 'empty': "),
        ("verify B --root R --checkpoint none", "the kept checkpoint 'none' cannot be read: No such file or directory"),
        ("verify B --root R --checkpoint junk", "'junk' is neither a checkpoint nor a bundle: "),
        ("verify B --root R --policy none", ""),
        ("verify B --root R --policy junk", ""),
        ("verify B --root R --policy odd.yaml", ""),
        ("verify B --root R --policy less.yaml", ""),
        ("verify B --root R --tsa-root junk", "--tsa-root 'junk' is not a certificate file (PEM) that can be read"),
        ("verify B --root R --tsa-root empty", "--tsa-root 'empty' is not a certificate file (PEM) that can be read"),
        ("tsa serve --port 70000", "cannot listen on 127.0.0.1, port 70000: "),
        ("tsa serve --host a..b", "cannot listen on a..b, port 3161: "),
        ("tsa serve --host 192.0.2.1", "cannot listen on 192.0.2.1, port 3161: "),
        ("tsa serve --passphrase-file junk", "wrong passphrase for the timestamp key"),
    ],
)
def test_bad_input_is_told_in_one_sentence(cli, bench, root, workspace, typed, complaint):
    (workspace.root / "junk").write_text("not what it should be\n")
    (workspace.root / "empty").write_bytes(b"")
    (workspace.root / "root.pem").write_bytes(pem(bench.store.root))
    (workspace.root / "odd.yaml").write_text("approvals_requird: 1\n")
    (workspace.root / "less.yaml").write_text("approvals_required: -1\n")
    (workspace.root / "B").write_bytes(b"no bundle")
    told = cli(*(root if word == "R" else word for word in typed.split()))
    assert (told.code, told.stdout, told.stderr.count("\n")) == (2, "", 1), told
    assert told.stderr.startswith(f"workbench: {complaint}")
    assert not any(word in told.stderr for word in ("Traceback", "defect", WORKING))
    assert not workspace.reports.exists()


def test_a_run_that_was_edited_has_no_bundle(cli, bench, workspace):
    (run,) = workspace.runs.iterdir()
    (run / "values.json").write_text("{}")
    told = cli("bundle", "latest")
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr.startswith(f"workbench: values.json of run {run.name} is not the file that the ledger recorded")


def test_without_keys_or_terminal_the_ways_are_told(cli, bench, workspace, monkeypatch):
    monkeypatch.delenv("WORKBENCH_PASSPHRASE")
    monkeypatch.setattr(sys, "stdin", None)
    told = cli("bundle", "latest")
    assert told.code == 2
    assert told.stderr == (
        "workbench: a passphrase is needed for the report, ledger and timestamp keys: there is no terminal to ask on, "
        "so name a file with --passphrase-file or set WORKBENCH_PASSPHRASE\n"
    )
    shutil.rmtree(workspace.keys)
    for command in ("bundle latest", "tsa serve"):
        told = cli(*command.split())
        assert (told.code, told.stderr) == (2, "workbench: there are no keys yet: `workbench keys init` makes them\n")


# Verdicts


def test_verify_says_valid_with_limits_and_leaves_3(cli, bench, bundle, root, workspace):
    told = cli("verify", bundle, "--root", root)
    assert (told.code, told.stderr) == (3, "")
    assert told.stdout.startswith(f"VALID WITH LIMITS  {Path(bundle).name}\n\nL_TIME_LOCAL  timestamps/report.tsr\n")
    spelled = ":".join(root.upper()[i : i + 2] for i in range(0, 64, 2))
    cli("keys", "export-root", "--out", "root.pem")
    for given in (spelled, "root.pem"):
        assert cli("verify", bundle, "--root", given) == told
    as_json = cli("verify", bundle, "--root", root, "--json")
    assert (as_json.code, json.loads(as_json.stdout)["verdict"]) == (3, "VALID WITH LIMITS")


def test_verify_leaves_1_for_a_forgery_and_names_the_file(cli, bench, bundle, root, workspace):
    path = workspace.root / bundle
    path.write_bytes(path.read_bytes().replace(b"Does it run?", b"Does it fly?"))
    told = cli("verify", bundle, "--root", root)
    assert (told.code, told.stderr) == (1, "")
    assert told.stdout.startswith("INVALID  ")
    as_json = cli("verify", bundle, "--root", root, "--json")
    assert (as_json.code, json.loads(as_json.stdout)["proven"]) == (1, {})
    assert cli("verify", bundle, "--root", "00" * 32).code == 1


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        (["none.zip", "--root", "00" * 32], "C_FILE"),
        (["reports", "--root", "00" * 32], "C_FILE"),
        (["BUNDLE"], "C_ROOT"),
    ],
)
def test_verify_leaves_2_for_what_it_cannot_check(cli, bench, bundle, typed, code):
    arguments = [bundle if word == "BUNDLE" else word for word in typed]
    told = cli("verify", *arguments)
    assert (told.code, told.stderr) == (2, "")
    assert told.stdout.startswith("CANNOT CHECK  ")
    as_json = cli("verify", *arguments, "--json")
    assert (as_json.code, codes(as_json)) == (2, {code})


def test_verify_leaves_0_where_an_outside_authority_says_when(cli, bench, root, workspace):
    clock = SystemClock()
    root_key, key = generate_key(KeyType.P256), generate_key(KeyType.P256)
    outside = issue_root(root_key, identity="outside", clock=clock)
    own = issue(Role.TIMESTAMP, key.public_key(), identity="outside", root_key=root_key, root=outside, clock=clock)
    (workspace.root / "outside.pem").write_bytes(pem(outside))
    with serve(LocalAuthority(key, own, clock=clock)) as server:
        told = cli("bundle", "latest", "--tsa", server.url, "--tsa-root", "outside.pem")
    assert (told.code, told.stderr) == (0, "")
    valid = cli("verify", told.stdout.strip(), "--root", root, "--tsa-root", "outside.pem")
    assert (valid.code, valid.stdout.split()[0]) == (0, "VALID")
    (workspace.root / "strict.yaml").write_text("external_time: true\n")
    strict = ["--policy", "strict.yaml", "--json"]
    assert cli("verify", told.stdout.strip(), "--root", root, "--tsa-root", "outside.pem", *strict).code == 0
    assert codes(cli("verify", told.stdout.strip(), "--root", root, *strict)) == {"E_POLICY", "L_TIME_LOCAL"}


def test_an_outside_authority_that_is_down_is_told_and_the_bundle_is_made(cli, bench, workspace):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
    (workspace.root / "outside.pem").write_bytes(pem(bench.store.root))
    told = cli("bundle", "latest", "--tsa", url, "--tsa-root", "outside.pem")
    assert (told.code, told.stderr.count("\n")) == (0, 1)
    assert told.stderr.startswith("workbench: no outside timestamp: ")
    assert (workspace.root / told.stdout.strip()).is_file()
    assert json.loads(cli("ledger", "show", "--type", "tsa.degraded", "--json").stdout)[0]["trouble"] == "unreachable"


def test_an_examiner_may_ask_for_more_than_the_bundle_has(cli, bench, bundle, root, workspace):
    (workspace.root / "policy.yaml").write_text("approvals_required: 2\n")
    told = cli("verify", bundle, "--root", root, "--policy", "policy.yaml", "--json")
    assert (told.code, codes(told)) == (1, {"E_POLICY", "E_APPROVALS", "L_TIME_LOCAL"})
    required = cli("bundle", "latest", "--approvals", "2")
    assert (required.code, required.stdout.endswith("-v2.evidence.zip\n")) == (0, True)
    told = cli("verify", required.stdout.strip(), "--root", root, "--policy", "policy.yaml", "--json")
    assert (told.code, codes(told)) == (1, {"E_APPROVALS", "L_TIME_LOCAL"})


def test_a_bundle_is_held_against_a_checkpoint_that_was_kept(cli, bench, root, workspace):
    told = cli("ledger", "checkpoint", "--out", "kept/checkpoint")
    assert (told.code, told.stderr) == (0, "")
    assert (workspace.root / "kept" / "checkpoint").read_text() == told.stdout
    bundle = cli("bundle", "latest").stdout.strip()
    kept = cli("verify", bundle, "--root", root, "--checkpoint", "kept/checkpoint", "--json")
    assert (kept.code, codes(kept)) == (3, {"L_TIME_LOCAL"})
    assert not any("rewritten as a whole" in item for item in json.loads(kept.stdout)["not_checked"])
    cli("ledger", "checkpoint", "--out", "later")
    later = cli("verify", bundle, "--root", root, "--checkpoint", "later", "--json")
    assert (later.code, codes(later)) == (1, {"E_LOG_ROLLBACK", "L_TIME_LOCAL"})
    newer = cli("bundle", "latest", "--out", "newer.zip").stdout.strip()
    assert codes(cli("verify", bundle, "--root", root, "--checkpoint", newer, "--json")) == {"L_TIME_LOCAL"}


# The time authority


@contextmanager
def serving(workspace, *options):
    """``tsa serve`` in a process of its own: the process and its address."""
    command = [sys.executable, "-m", "workbench", "tsa", "serve", *options]
    environment = {**os.environ, "WORKBENCH_PASSPHRASE": WORKING}
    with subprocess.Popen(
        command, cwd=workspace.root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), process.communicate()
            yield process, url
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
def test_the_time_authority_answers_openssl_logs_it_and_ends_cleanly(bench, workspace, tmp_path, sent):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")

    def run(*words):
        return subprocess.run([openssl, "ts", *words], cwd=tmp_path, capture_output=True, text=True, check=False)

    (tmp_path / "data").write_text("what is stamped\n")
    (tmp_path / "root.pem").write_bytes(pem(bench.store.root))
    assert run("-query", "-data", "data", "-sha256", "-cert", "-out", "query").returncode == 0
    with serving(workspace, "--port", "0") as (process, url):
        connection = http.client.HTTPConnection(url.removeprefix("http://").rstrip("/"), timeout=30)
        headers = {"content-type": "application/timestamp-query"}
        connection.request("POST", "/", (tmp_path / "query").read_bytes(), headers)
        answer = connection.getresponse()
        (tmp_path / "answer").write_bytes(answer.read())
        connection.close()
        assert answer.status == 200
        process.send_signal(sent)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (130, "")
    assert stderr in ("", "workbench: stopped\n")
    checked = run("-verify", "-data", "data", "-in", "answer", "-CAfile", "root.pem")
    assert (checked.returncode, "Verification: OK" in checked.stdout) == (0, True), checked.stderr
    (row,) = open_ledger(workspace).query("SELECT entry FROM entries WHERE type = 'timestamp.issued'")
    entry = json.loads(row["entry"])
    assert entry["imprint"] == sha256_bytes(b"what is stamped\n")
    assert entry["timestampSha256"] == sha256_bytes((tmp_path / "answer").read_bytes())


def test_a_port_that_is_taken_is_told_in_one_sentence(cli, bench):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = cli("tsa", "serve", "--port", port)
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr == f"workbench: cannot listen on 127.0.0.1, port {port}: Address already in use\n"


def test_the_noun_alone_shows_its_verbs(cli):
    told = cli("tsa")
    assert (told.code, "serve" in told.stdout) == (0, True)
