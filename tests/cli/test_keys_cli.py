"""``workbench keys`` as it is typed: what it prints, what it says to bad input, and that no passphrase is ever shown."""

import io
import json
import os
import pty
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from workbench.custody import Custody
from workbench.evidence.certificates import Role, fingerprint
from workbench.evidence.keyfile import KeyDerivation
from workbench.evidence.keys import KeyStore
from workbench.workspace import MARKER, Workspace

ROOT, WORKING, PERSON, NEW = "correct horse root", "battery staple working", "tr0ub4dor person", "a wholly new one"
SECRETS = (ROOT, WORKING, PERSON, NEW)
NO_KEYS = "workbench: there are no keys yet: `workbench keys init` makes them\n"
NO_TERMINAL = "there is no terminal to ask on, so name a file with"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Without a terminal and without passphrases in the environment."""
    for name in ("", "ROOT_", "APPROVAL_", "NEW_"):
        monkeypatch.delenv(f"WORKBENCH_{name}PASSPHRASE", raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO())


@pytest.fixture
def given(monkeypatch):
    """The passphrases in the environment."""
    for name, passphrase in (("", WORKING), ("ROOT_", ROOT), ("APPROVAL_", PERSON), ("NEW_", NEW)):
        monkeypatch.setenv(f"WORKBENCH_{name}PASSPHRASE", passphrase)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A workspace with keys whose passphrases cost little to try."""
    root = tmp_path_factory.mktemp("template") / "workspace"
    root.mkdir()
    (root / MARKER).write_text("format = 1\n")
    cheap = KeyDerivation(memory=64, passes=1)
    Custody.begin(Workspace(root), root_passphrase=ROOT, passphrase=WORKING, derivation=cheap)
    return root


@pytest.fixture
def keyed(template, workspace, cli, given):
    """The workspace with keys, and the passphrases known."""
    shutil.rmtree(workspace.root)
    shutil.copytree(template, workspace.root)
    os.chdir(workspace.root)
    return Custody(workspace)


@pytest.fixture
def cheap(monkeypatch):
    """New keys are sealed at low cost."""
    before = KeyStore.__init__

    def init(self, folder, *, clock=None, derivation=None):
        before(self, folder, clock=clock, derivation=derivation or KeyDerivation(memory=64, passes=1))

    monkeypatch.setattr(KeyStore, "__init__", init)


def listed(cli):
    return json.loads(cli("keys", "list", "--json").stdout)


def by_role(rows):
    return {row["role"]: row for row in rows}


def test_init_makes_a_key_for_each_role_and_prints_the_fingerprint(workspace, cli, tmp_path):
    (tmp_path / "root.txt").write_text(ROOT + "\n")
    (tmp_path / "working.txt").write_text(WORKING + "\n")
    files = ["--root-passphrase-file", tmp_path / "root.txt", "--passphrase-file", tmp_path / "working.txt"]
    told = cli("keys", "init", *files)
    root = fingerprint(Custody(workspace).store.root)
    (key,) = workspace.keys.glob("root-*.key")
    assert (told.code, told.stderr) == (0, "")
    assert told.stdout.splitlines() == [
        f"root fingerprint: {root}",
        "  print it in the thesis and deposit it where examiners look: it must reach them outside of any bundle",
        f"  move the root's key, .workbench/keys/{key.name}, to a removable medium; --root-key names it when it is needed",
    ]
    rows = listed(cli)
    assert {row["role"]: (row["state"], row["key_here"], row["demo"]) for row in rows} == dict.fromkeys(
        ("root", "report", "ledger", "timestamp"), ("active", True, False)
    )
    assert cli("ledger", "verify").code == 0
    assert cli("ledger", "checkpoint", "--passphrase-file", tmp_path / "working.txt").code == 0
    again = cli("keys", "init", *files)
    assert (again.code, again.stdout) == (2, "")
    assert again.stderr == (
        "workbench: there are keys already: `workbench keys list` shows them; rotate them to get new ones\n"
    )
    assert listed(cli) == rows


def test_demonstration_keys_need_no_passphrase_and_say_what_they_are(cli, cheap):
    told = cli("keys", "init", "--demo")
    assert (told.code, told.stderr) == (0, "")
    assert told.stdout.startswith("DEMONSTRATION keys: their passphrase is public, and every verdict on what they sign")
    assert "move the root's key" not in told.stdout
    assert all(row["demo"] for row in listed(cli))
    assert cli("keys", "list").stdout.endswith(
        "these are DEMONSTRATION keys: their passphrase is public, nothing signed with them is evidence\n"
    )
    assert cli("keys", "add", "approval", "--person", "anna").code == 0
    assert cli("keys", "rotate", "report").code == 0


def test_the_root_and_timestamp_keys_may_be_rsa(cli, cheap, workspace):
    assert cli("keys", "init", "--demo", "--key-type", "rsa3072").code == 0
    certificates = {info.role: info.certificate for info in Custody(workspace).store.issued()}
    assert certificates[Role.ROOT].public_key().key_size == 3072
    assert certificates[Role.TIMESTAMP].public_key().key_size == 3072
    assert cli("ledger", "checkpoint").code == 0


def test_the_root_may_be_kept_elsewhere(cli, cheap, given, workspace, tmp_path):
    assert cli("keys", "init", "--root-folder", tmp_path / "stick").code == 0
    assert list(workspace.keys.glob("root-*")) == []
    (key,) = (tmp_path / "stick").iterdir()
    assert by_role(listed(cli))["root"]["key_here"] is False
    told = cli("keys", "add", "approval", "--person", "anna")
    assert (told.code, told.stderr) == (
        2,
        "workbench: the root's key is not kept in this workspace: name its file with --root-key\n",
    )
    assert cli("keys", "add", "approval", "--person", "anna", "--root-key", key).code == 0
    told = cli("keys", "rotate", "root", "--root-key", key, "--root-folder", tmp_path / "other")
    assert told.code == 0
    assert told.stdout.splitlines()[1:] == [
        "  publish this fingerprint beside the old one; old bundles verify under either",
        f"  destroy the old root's key, {key}: nothing is signed with it any more",
    ]
    told = cli("keys", "add", "approval", "--person", "ben", "--root-key", key)
    assert (told.code, told.stderr) == (
        2,
        "workbench: this is the key of an earlier root: it signs nothing any more\n",
    )


def test_list_shows_what_there_is(cli, keyed):
    told = cli("keys", "list")
    lines = told.stdout.splitlines()
    assert (told.code, told.stderr) == (0, "")
    assert " ".join(lines[0].split()) == "role name state key here signs until valid until certificate"
    for line, info in zip(lines[1:], keyed.store.issued(), strict=True):
        assert line.split()[:4] == [info.role.value, info.identity, "active", "yes"]
        assert line.split()[-1] == info.sha256[:16]


def test_a_person_gets_a_key(cli, keyed, cheap):
    told = cli("keys", "add", "approval", "--person", "anna")
    row = by_role(listed(cli))["approval"]
    assert (told.code, told.stderr) == (0, "")
    assert told.stdout == f"approval key 'anna', certificate {row['certificate_sha256']}\n"
    assert (row["name"], row["state"]) == ("anna", "active")


def test_a_key_is_rotated_and_the_old_one_is_named_so(cli, keyed, cheap):
    old = by_role(listed(cli))["report"]["certificate_sha256"]
    told = cli("keys", "rotate", "report")
    states = {row["certificate_sha256"]: (row["state"], row["key_here"]) for row in listed(cli)}
    assert (told.code, states[old]) == (0, ("rotated", False))
    assert states[told.stdout.split()[-1]] == ("active", True)
    entries = json.loads(cli("ledger", "show", "--last", "2", "--json").stdout)
    assert [entry["type"] for entry in entries] == ["key.issued", "key.rotated"]
    assert cli("ledger", "checkpoint").code == 0


def test_the_root_is_rotated_and_told_to_be_published(cli, keyed, cheap, workspace, monkeypatch):
    told = cli("keys", "rotate", "root")
    (key,) = workspace.keys.glob("root-*.key")
    assert told.stdout.splitlines()[1:] == [
        "  publish this fingerprint beside the old one; old bundles verify under either",
        f"  move the root's key, .workbench/keys/{key.name}, to a removable medium; --root-key names it when it is needed",
    ]
    assert told.stdout.split()[4] == cli("keys", "export-root").stdout.strip()
    assert cli("keys", "rotate", "report").stderr.startswith("workbench: wrong passphrase for the root key")
    monkeypatch.setenv("WORKBENCH_ROOT_PASSPHRASE", NEW)
    assert cli("keys", "rotate", "report").code == 0


def test_a_key_is_revoked_and_another_takes_its_place(cli, keyed, cheap):
    sha256 = by_role(listed(cli))["report"]["certificate_sha256"]
    since = datetime.now(UTC) - timedelta(hours=1)
    told = cli("keys", "revoke", sha256[:10], "--reason", "superseded", "--invalid-from", f"{since:%Y-%m-%dT%H:%M}")
    assert (told.code, told.stderr) == (0, "")
    assert told.stdout == (
        f"certificate {sha256[:16]} is withdrawn from {since:%Y-%m-%dT%H:%M}:00.000Z on, for superseded\n"
    )
    told = cli("ledger", "checkpoint")
    assert told.stderr == "workbench: there is no report key '' here; `workbench keys list` shows what there is\n"
    assert cli("keys", "add", "report").code == 0
    assert cli("ledger", "checkpoint").code == 0
    assert [row["state"] for row in listed(cli) if row["role"] == "report"] == ["revoked", "active"]


def test_the_root_is_exported_for_examiners(cli, keyed, workspace):
    told = cli("keys", "export-root", "--out", "for/examiners/root.pem")
    root = keyed.store.root
    assert (told.code, told.stdout, told.stderr) == (0, f"{fingerprint(root)}\n", "")
    assert x509.load_pem_x509_certificate((workspace.root / "for/examiners/root.pem").read_bytes()) == root


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_fingerprint_is_the_one_that_others_compute(cli, keyed, workspace):
    told = cli("keys", "export-root", "--out", "root.pem")
    command = ["openssl", "x509", "-in", "root.pem", "-noout", "-fingerprint", "-sha256"]
    computed = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=True)
    assert computed.stdout.split("=")[1].replace(":", "").lower() == told.stdout


def test_a_damaged_key_file_is_told_from_a_wrong_passphrase(cli, keyed, workspace):
    (key,) = workspace.keys.glob("report-*.key")
    key.write_bytes(key.read_bytes().replace(b'"m":64', b'"m":65'))
    told = cli("ledger", "checkpoint")
    assert (told.code, told.stdout) == (2, "")
    assert told.stderr == f"workbench: the key file '{key.name}' is damaged: take it from a backup\n"


@pytest.mark.parametrize("typed", ["list", "list --json", "export-root", "rotate report", "add report"])
def test_where_there_are_no_keys_the_way_to_them_is_told(cli, given, typed):
    told = cli("keys", *typed.split())
    assert (told.code, told.stdout, told.stderr) == (2, "", NO_KEYS)


@pytest.mark.parametrize(
    ("typed", "complaint"),
    [
        ("add", "Missing argument 'role'. (`workbench --help` lists what there is)"),
        ("add reprot", "'reprot' is not a role; did you mean 'report'?"),
        ("add approval", "--person PSEUDONYM goes with approval keys, and only with them"),
        ("add report --person anna", "--person PSEUDONYM goes with approval keys, and only with them"),
        ("add report", "there is a report key already: `workbench keys rotate report` replaces it"),
        ("add root", "there is one root: `workbench keys rotate root` makes its successor"),
        (
            "add approval --person Anna",
            "'Anna' cannot name a key: small letters, digits and '-', at most 40",
        ),
        ("add approval --person anna --root-key none.key", "there is no key file 'none.key'"),
        ("rotate approval", "there is no approval key '' here; `workbench keys list` shows what there is"),
        ("rotate rot", "'rot' is not a role; did you mean 'root'?"),
        ("revoke 00000000 --reason superseded", "'00000000' fits 0 certificates: `workbench keys list` shows them"),
        ("revoke 0 --reason superseded", None),
        ("revoke 00000000 --reason supersede", "'supersede' is not a reason; did you mean 'superseded'?"),
        (
            "revoke 00000000 --reason superseded --invalid-from soon",
            "--invalid-from 'soon': expected a UTC time such as 2026-05-01 or 2026-05-01T12:00",
        ),
        (
            "revoke 00000000 --reason superseded --invalid-from 2026-02-30",
            "--invalid-from '2026-02-30': expected a UTC time such as 2026-05-01 or 2026-05-01T12:00",
        ),
        ("export-root --out folder", "'folder' is a folder: name a file for the certificate"),
        ("init --key-type rsa", None),
    ],
)
def test_bad_input_is_told_in_one_sentence_and_changes_nothing(workspace, cli, keyed, typed, complaint):
    (workspace.root / "folder").mkdir()
    before = (keyed.ledger.entries(), sorted(workspace.keys.rglob("*")))
    told = cli("keys", *typed.split())
    assert (told.code, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    if complaint is not None:
        assert told.stderr == f"workbench: {complaint}\n"
    assert (keyed.ledger.entries(), sorted(workspace.keys.rglob("*"))) == before


def test_a_key_is_not_revoked_from_a_time_to_come(cli, keyed):
    sha256 = keyed.store.find(Role.REPORT).sha256
    told = cli("keys", "revoke", sha256, "--reason", "superseded", "--invalid-from", "2199-01-01")
    assert (told.code, told.stderr) == (
        2,
        "workbench: --invalid-from lies in the future: a key is withdrawn from a time that has come\n",
    )


@pytest.mark.parametrize(
    ("typed", "option", "variable"),
    [
        ("keys init", "--root-passphrase-file", "WORKBENCH_ROOT_PASSPHRASE"),
        ("keys add approval --person anna", "--root-passphrase-file", "WORKBENCH_ROOT_PASSPHRASE"),
        ("ledger checkpoint", "--passphrase-file", "WORKBENCH_PASSPHRASE"),
    ],
)
def test_without_a_terminal_the_other_ways_are_told(cli, keyed, workspace, monkeypatch, typed, option, variable):
    if typed == "keys init":
        shutil.rmtree(workspace.state)
    for name in ("WORKBENCH_PASSPHRASE", "WORKBENCH_ROOT_PASSPHRASE"):
        monkeypatch.delenv(name)
    told = cli(*typed.split())
    assert (told.code, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert told.stderr.endswith(f"{NO_TERMINAL} {option} or set {variable}\n")
    monkeypatch.setattr(sys, "stdin", None)
    assert cli(*typed.split()) == told


def test_a_passphrase_that_is_wrong_short_or_unreadable_is_told_in_one_sentence(cli, keyed, workspace, monkeypatch):
    (workspace.root / "wrong.txt").write_text("entirely wrong\n")
    (workspace.root / "binary.txt").write_bytes(b"\xff\xfe")
    told = cli("ledger", "checkpoint", "--passphrase-file", "wrong.txt")
    report = keyed.store.find(Role.REPORT).identity
    assert (told.code, told.stderr) == (2, f"workbench: wrong passphrase for the report key '{report}'\n")
    for name in ("none.txt", "binary.txt", "."):
        told = cli("ledger", "checkpoint", "--passphrase-file", name)
        assert (told.code, told.stderr) == (2, f"workbench: the passphrase file '{name}' cannot be read\n")
    monkeypatch.setenv("WORKBENCH_APPROVAL_PASSPHRASE", "short")
    told = cli("keys", "add", "approval", "--person", "anna")
    assert told.stderr == "workbench: a passphrase has at least 8 characters; several words make a good one\n"


@pytest.mark.parametrize(("place", "mode"), [("keys", 0o750), ("keys/store.json/../root", 0o640)])
def test_keys_that_others_can_read_are_not_used(cli, keyed, workspace, place, mode):
    path = workspace.keys if place == "keys" else next(workspace.keys.glob("report-*.key"))
    path.chmod(mode)
    told = cli("ledger", "checkpoint")
    assert (told.code, told.stdout, told.stderr.count("\n")) == (2, "", 1)
    assert told.stderr.startswith(f"workbench: '{path.name}' is open to other users (mode {mode:o}")


def test_no_command_ever_prints_a_passphrase(cli, keyed, cheap, workspace):
    (workspace.root / "p.txt").write_text(WORKING)
    commands = [
        "keys init", "keys add approval --person anna", "keys rotate report", "keys rotate approval --name anna",
        "keys list", "keys list --json", "ledger checkpoint --passphrase-file p.txt", "keys rotate root",
        "keys rotate root", "--debug keys rotate report", "--debug keys add approval --person anna", "ledger show --json",
    ]  # fmt: skip
    for command in commands:
        told = cli(*command.split())
        assert not any(secret in told.stdout + told.stderr for secret in SECRETS), command
    files = [path.read_bytes() for path in workspace.state.rglob("*") if path.is_file()]
    assert not any(secret.encode() in content for secret in SECRETS for content in files)


def test_the_noun_alone_shows_its_verbs(cli):
    told = cli("keys")
    assert told.code == 0
    assert all(verb in told.stdout for verb in ("init", "list", "add", "rotate", "revoke", "export-root"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "code", "last"),
    [
        (f"{ROOT}\n{ROOT}\n{WORKING}\n{WORKING}\n", 0, "--root-key names it when it is needed"),
        (f"{ROOT}\n{WORKING}\n", 2, "workbench: the two passphrases differ; nothing was made"),
        ("\x04", 2, "workbench: no passphrase was given for the root key; nothing was made"),
        ("\x03", 130, ""),
    ],
    ids=["typed twice", "differing", "end of input", "ctrl-c"],
)
def test_on_a_terminal_passphrases_are_asked_for_twice_without_echo(workspace, typed, code, last):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKBENCH_")}
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(workspace.root)
        os.execve(sys.executable, [sys.executable, "-m", "workbench", "keys", "init"], environment)
    shown = b""
    for line in typed.splitlines(keepends=True):
        before = shown.count(b": ")
        while shown.count(b": ") == before:
            shown += os.read(terminal, 1000)
        os.write(terminal, line.encode())
    try:
        while piece := os.read(terminal, 1000):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == code, shown
    assert not any(secret.encode() in shown for secret in SECRETS)
    assert last in shown.decode()
    assert b"Traceback" not in shown
    assert workspace.keys.exists() == (code == 0)
