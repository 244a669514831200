"""``workbench keys``, ``bundle``, ``verify``, ``ledger checkpoint`` and ``tsa serve``, as typed."""

import http.client
import io
import json
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workbench.cli import main
from workbench.layout import lay_out

ROOT, WORDS, PERSON = "root words, several", "working words, several", "own words, several"


@pytest.fixture
def phrases(monkeypatch):
    monkeypatch.setenv("WORKBENCH_ROOT_PASSPHRASE", ROOT)
    monkeypatch.setenv("WORKBENCH_PASSPHRASE", WORDS)
    monkeypatch.setenv("WORKBENCH_APPROVAL_PASSPHRASE", PERSON)
    monkeypatch.setenv("WORKBENCH_NEW_PASSPHRASE", "new root words, several")


def rows(cli):
    return {row["role"] + " " + row["state"]: row for row in json.loads(cli("keys", "list", "--json").stdout)}


def test_keys_are_made_listed_added_rotated_and_withdrawn(cli, phrases, workspace, tmp_path):
    told = cli("keys", "init", "--root-folder", tmp_path / "stick")
    assert told.code == 0
    fingerprint = re.search(r"root fingerprint: ([0-9a-f]{64})", told.stdout)[1]
    assert cli("keys", "export-root", "--out", "root.pem").stdout == fingerprint + "\n"
    der = subprocess.run(["openssl", "x509", "-in", "root.pem", "-outform", "DER"], capture_output=True, check=True)
    digest = subprocess.run(["sha256sum"], input=der.stdout, capture_output=True, check=True).stdout.decode()
    assert digest.startswith(fingerprint)
    (root_key,) = (tmp_path / "stick").iterdir()
    refused = cli("keys", "add", "approval", "--person", "reviewer-1")
    assert (refused.code, refused.stderr) == (
        2,
        "workbench: the root's key is not kept in this workspace: name its file with --root-key\n",
    )
    assert cli("keys", "add", "approval", "--person", "reviewer-1", "--root-key", root_key).code == 0
    assert cli("keys", "rotate", "report", "--root-key", root_key).code == 0
    before = rows(cli)
    assert set(before) == {
        "root active", "report rotated", "report active", "ledger active", "timestamp active", "approval active",
    }  # fmt: skip
    person = before["approval active"]["certificate_sha256"]
    done = cli("keys", "revoke", person[:16], "--reason", "keyCompromise", "--root-key", root_key)
    assert done.code == 0
    assert "approval revoked" in rows(cli)
    everything = "".join(path.read_bytes().decode("latin-1") for path in workspace.state.rglob("*") if path.is_file())
    for secret in (ROOT, WORDS, PERSON):
        assert secret not in everything + told.stdout + told.stderr + done.stdout


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("keys list", "there are no keys yet: `workbench keys init` makes them"),
        ("keys export-root", "there are no keys yet: `workbench keys init` makes them"),
        ("keys add reporter", "'reporter' is not a role; did you mean 'report'?"),
        ("keys add approval", "--person PSEUDONYM goes with approval keys, and only with them"),
        ("keys revoke abc --reason boredom", "'boredom' is not a reason"),
        ("keys revoke abc --reason superseded --invalid-from yesterday", "--invalid-from 'yesterday': expected a UTC"),
        ("keys init --passphrase-file none.txt --root-passphrase-file none.txt", "the passphrase file 'none.txt'"),
        ("keys init", "a passphrase is needed for the root key: there is no terminal to ask on"),
        ("bundle latest", "no run 'latest': there is none yet"),
        ("ledger checkpoint", "there are no keys yet"),
        ("tsa serve", "there are no keys yet"),
        ("verify x.zip --root abc", "--root 'abc' is neither a fingerprint (64 hex digits) nor a certificate file"),
        ("verify x.zip --root workbench.toml", "--root 'workbench.toml': the file holds no readable certificates"),
        (f"verify x.zip --root {'0' * 64} --checkpoint none", "the kept checkpoint 'none' cannot be read"),
        (f"verify x.zip --root {'0' * 64} --checkpoint workbench.toml", "is neither a checkpoint nor a bundle"),
        (f"verify x.zip --root {'0' * 64} --policy none.yaml", "policy 'none.yaml' does not exist"),
        (f"verify x.zip --root {'0' * 64} --tsa-root workbench.toml", "is not a certificate file (PEM)"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_sentence(cli, typed, sentence, monkeypatch):
    for name in ("WORKBENCH_ROOT_PASSPHRASE", "WORKBENCH_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    told = cli(*typed.split())
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr.startswith("workbench: ")
    assert sentence in told.stderr
    assert told.stderr.count("\n") == 1


def test_a_short_passphrase_leaves_nothing_behind(cli, monkeypatch, workspace):
    monkeypatch.setenv("WORKBENCH_ROOT_PASSPHRASE", "short")
    monkeypatch.setenv("WORKBENCH_PASSPHRASE", WORDS)
    told = cli("keys", "init")
    assert (told.code, told.stderr) == (
        2,
        "workbench: a passphrase has at least 8 characters; several words make a good one\n",
    )
    assert not workspace.keys.exists()


def test_demonstration_keys_say_so_and_are_made_once(cli, workspace):
    told = cli("keys", "init", "--demo", "--key-type", "rsa3072")
    assert told.stdout.startswith("DEMONSTRATION keys")
    again = cli("keys", "init", "--demo")
    assert (again.code, again.stderr.startswith("workbench: there are keys already")) == (2, True)
    listed = cli("keys", "list").stdout
    assert "DEMONSTRATION" in listed
    (key,) = workspace.keys.glob("report-*.key")
    key.chmod(0o644)
    loose = cli("ledger", "checkpoint")
    assert loose.code == 2
    assert f"'{key.name}' is open to other users (mode 644" in loose.stderr


def test_a_wrong_passphrase_is_told_from_a_damaged_file(cli, phrases, workspace, monkeypatch):
    cli("keys", "init")
    monkeypatch.setenv("WORKBENCH_PASSPHRASE", "other words, several")
    assert "wrong passphrase for the report key" in cli("ledger", "checkpoint").stderr
    (key,) = workspace.keys.glob("report-*.key")
    key.write_bytes(key.read_bytes().replace(b'"ct":"', b'"ct":"AA', 1))
    assert "is damaged: take it from a backup" in cli("ledger", "checkpoint").stderr


@pytest.fixture(scope="module")
def examined(tmp_path_factory) -> Path:
    """A workspace with demonstration keys, a small run and its bundle ``thesis.evidence.zip``."""
    workspace = lay_out(tmp_path_factory.mktemp("examined") / "w")

    def typed(*arguments: str) -> None:
        with pytest.raises(SystemExit) as leaving:
            main(["--workspace", str(workspace.root), *arguments])
        assert not leaving.value.code

    out = str(workspace.root / "thesis.evidence.zip")
    typed("keys", "init", "--demo")
    typed("keys", "export-root", "--out", str(workspace.root / "root.pem"))
    typed("events", "generate", "--scale", "10", "--days", "20")
    typed(
        "run", str(workspace.experiments / "risk-baseline.yaml"), "-p", "trees=10", "-p", "resamples=20", "-p", "folds=3"
    )
    typed("bundle", "latest", "--out", out)
    typed("ledger", "checkpoint", "--out", str(workspace.root / "kept.checkpoint"))
    typed("bundle", "latest", "--out", str(workspace.root / "later.evidence.zip"))
    return workspace.root


def test_verify_needs_no_workspace_and_tells_by_its_exit_code(cli, examined, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle, root = examined / "thesis.evidence.zip", examined / "root.pem"
    told = cli("verify", bundle, "--root", root)
    assert (told.code, told.stderr) == (3, "")
    assert told.stdout.startswith("VALID WITH LIMITS  thesis.evidence.zip\n")
    assert re.findall(r"^[EL]_\w+", told.stdout, re.MULTILINE) == ["L_DEMO", "L_TIME_LOCAL"]
    forged = tmp_path / "forged.evidence.zip"
    forged.write_bytes(bundle.read_bytes().replace(b"<html", b"<HTML", 1))
    told = cli("verify", forged, "--root", root)
    assert (told.code, told.stdout.splitlines()[0]) == (1, "INVALID  forged.evidence.zip")
    assert "Proven" not in told.stdout
    told = cli("verify", bundle)
    assert (told.code, told.stdout.splitlines()[0]) == (2, "CANNOT CHECK  thesis.evidence.zip")
    told = cli("verify", "nowhere.zip", "--root", root)
    assert (told.code, told.stdout.splitlines()[0]) == (2, "CANNOT CHECK  nowhere.zip")
    told = cli("verify", bundle, "--root", "0" * 64)
    assert (told.code, re.findall(r"^E_\w+", told.stdout, re.MULTILINE)) == (1, ["E_ROOT"])


def test_verify_prints_the_same_for_programs(cli, examined):
    told = cli("verify", examined / "thesis.evidence.zip", "--root", examined / "root.pem", "--json")
    found = json.loads(told.stdout)
    assert (found["verdict"], found["exit_code"], told.code) == ("VALID WITH LIMITS", 3, 3)
    assert "roc_auc" in {value["name"] for value in found["values"]}
    assert {"code", "object", "text", "means", "does_not_mean", "next_step"} <= set(found["findings"][0])


def test_a_kept_checkpoint_is_held_against_the_log(cli, examined):
    root = ["--root", examined / "root.pem"]
    kept, first, later = (examined / name for name in ("kept.checkpoint", "thesis.evidence.zip", "later.evidence.zip"))
    assert cli("verify", later, *root, "--checkpoint", kept).code == 3
    told = cli("verify", first, *root, "--checkpoint", kept)
    assert (told.code, "E_LOG_ROLLBACK" in told.stdout) == (1, True)
    assert cli("verify", first, *root, "--checkpoint", later).code == 3
    kept_text = kept.read_text().splitlines()
    other = examined / "other.checkpoint"
    other.write_text("\n".join([*kept_text[:2], "A" * 43 + "=", *kept_text[3:]]) + "\n")
    told = cli("verify", later, *root, "--checkpoint", other)
    assert (told.code, "E_LOG_FORK" in told.stdout) == (1, True)


def test_an_examiner_s_own_demands_are_held_against_the_bundle(cli, examined, tmp_path):
    demands = tmp_path / "demands.yaml"
    demands.write_text("approvals_required: 2\nexternal_time: true\n")
    told = cli("verify", examined / "thesis.evidence.zip", "--root", examined / "root.pem", "--policy", demands)
    assert told.code == 1
    assert set(re.findall(r"^E_\w+", told.stdout, re.MULTILINE)) == {"E_APPROVALS", "E_POLICY"}


def test_bundle_says_what_it_made_for_programs(cli, examined):
    told = cli("--workspace", examined, "bundle", "latest", "--json", "--no-data")
    made = json.loads(told.stdout)
    assert (told.code, made["version"], made["signed_now"]) == (0, 2, True)
    assert made["verification"]["verdict"] == "VALID WITH LIMITS"
    assert "MiB of data were left out" in told.stderr


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--tsa", "http://127.0.0.1:1/"], "--tsa needs --tsa-root FILE"),
        (["--tsa", "ftp://x", "--tsa-root", "root.pem"], "'ftp://x' is not the address of a timestamp authority"),
        (["--tsa-root", "root.pem"], "--tsa-root goes with --tsa URL"),
        (["--approvals", "99"], "--approvals 99: expected 0 to 20 people"),
        (["--out", "."], "is a folder: name a file for the bundle"),
    ],
)
def test_bundle_refuses_bad_options_in_one_sentence(cli, examined, monkeypatch, options, sentence):
    monkeypatch.chdir(examined)
    told = cli("bundle", "latest", *options)
    assert (told.code, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert sentence in told.stderr


@pytest.mark.slow
def test_the_time_authority_serves_openssl_and_stops_when_told(examined, tmp_path):
    command = [sys.executable, "-m", "workbench", "--workspace", str(examined), "tsa", "serve", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        port = int(re.search(r":(\d+)/", url)[1])
        (tmp_path / "report.pdf").write_bytes(b"a report")
        query = ["openssl", "ts", "-query", "-data", "report.pdf", "-sha256", "-cert", "-out", "q.tsq"]
        subprocess.run(query, cwd=tmp_path, check=True, capture_output=True)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        headers = {"Content-Type": "application/timestamp-query"}
        connection.request("POST", "/", (tmp_path / "q.tsq").read_bytes(), headers)
        (tmp_path / "r.tsr").write_bytes(connection.getresponse().read())
        connection.close()
        check = [
            "openssl", "ts", "-verify", "-queryfile", "q.tsq", "-in", "r.tsr", "-CAfile", str(examined / "root.pem"),
            "-attime", str(int(datetime.now(UTC).timestamp())),
        ]  # fmt: skip
        verified = subprocess.run(check, cwd=tmp_path, check=False, capture_output=True, text=True)
        assert "Verification: OK" in verified.stdout + verified.stderr
        taken = subprocess.run([*command[:-1], str(port)], capture_output=True, text=True, check=False)
        assert (taken.returncode, taken.stderr.count("\n")) == (2, 1)
        assert f"cannot listen on 127.0.0.1, port {port}" in taken.stderr
    finally:
        time.sleep(0.1)
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=20)
    assert server.returncode == 130
    assert "Traceback" not in errors
    shown = subprocess.run(
        [sys.executable, "-m", "workbench", "--workspace", str(examined), "ledger", "show", "--type",
         "timestamp.issued", "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert len(json.loads(shown.stdout)) == 1
