"""From a run to its evidence: sign, log, stamp, pack, and judge what was packed before anybody else does.

Signed reports are kept under ``.workbench/evidence/<report id>/v<n>/``. As long as nothing about a report changes,
packing it again takes the same signature, with the ledger as it is now and the decisions made since; a change makes a
new version.
"""

import base64
import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from workbench.custody import Custody, Sealers
from workbench.errors import EvidenceError, InputError, IntegrityError, TimestampError
from workbench.events import Dataset, LabelSet, open_dataset
from workbench.evidence.bundle import (
    BundleFile,
    LogExtract,
    Policy,
    RunResult,
    SignedReport,
    approval_fields,
    pack,
    sign_report,
)
from workbench.evidence.certificates import Role, fingerprint
from workbench.evidence.envelope import Envelope
from workbench.evidence.recipe import README_NAME, readme
from workbench.evidence.statements import ReportPredicate, Subject, read_report
from workbench.evidence.strict import read_object
from workbench.evidence.timestamps import BreakerState, ExternalAuthority, TokenInvalidError, TokenMismatchError
from workbench.evidence.verify import Outcome, Verdict, verify_bytes
from workbench.experiments import Run, Status
from workbench.experiments.journal import OUTPUTS
from workbench.files import sha256_bytes, sha256_file, write_atomic
from workbench.ledger import StoredCheckpoint, Transaction
from workbench.reports.html import report_html
from workbench.workspace import Workspace

__all__ = ["Bundled", "bundle_run", "record_approval", "record_within"]

DATA_LIMIT: Final = 100 * 2**20  # bytes of data that go in unasked
_DECISION: Final = "SELECT 1 FROM entries WHERE type = 'approval.recorded' AND entry ->> 'envelopeSha256' = ?"
_MEDIA: Final = {
    ".ipynb": "application/x-ipynb+json",
    ".json": "application/json",
    ".txt": "text/plain",
    ".html": "text/html",
    ".parquet": "application/vnd.apache.parquet",
    ".yaml": "application/yaml",
}


@dataclass(frozen=True)
class Bundled:
    """A bundle that was made: where, of what, and what verification said of it at once."""

    path: Path
    report_id: str
    version: int
    signed_now: bool  # false if the signature of an earlier packing was taken again
    root_sha256: str
    data_left_out: int  # bytes of data that were too large to go in unasked
    degraded: str  # why the outside time authority did not stamp, if one was asked
    verdict: Verdict


def bundle_run(
    custody: Custody,
    run: Run,
    *,
    passphrase: str,
    with_data: bool | None = None,
    approvals_required: int | None = None,
    outside: ExternalAuthority | None = None,
    target: Path | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> Bundled:
    """Make the evidence bundle of ``run``: ``reports/<run id>-v<n>.evidence.zip``, unless ``target`` says otherwise.

    ``with_data`` puts the input datasets in (by default if they are small); ``approvals_required`` is how many people
    must approve (by default as in the version before, 0 at first); ``outside`` is a time authority that stamps the
    ledger's checkpoint; if it fails, that is logged and told, and the bundle is made without it.

    Raises ``InputError`` for a run that is not over, ``IntegrityError`` if the run's files are not those that the
    ledger recorded, ``KeyFileError``, ``LedgerError``, ``StorageError``.
    """
    if run.status is Status.RUNNING:
        raise InputError(f"run {run.id} is still running: its bundle can be made when it has ended")
    if target is not None and target.is_dir():
        raise InputError(f"{str(target)!r} is a folder: name a file for the bundle")
    workspace = custody.workspace
    result = _logged(custody, run)
    progress("gathering files")
    files = _result_files(run, result)
    files += _context_files(workspace)
    data, left_out = _data_files(workspace, run, with_data)
    files += data
    progress("unlocking the keys")
    sealers = custody.unlock(passphrase)
    custody.log_keys()
    home = workspace.evidence / run.id
    kept = _Kept.latest(home, custody)
    policy = _policy(kept, approvals_required)
    if kept is None or kept.content != _content(files, policy):
        progress("signing")
        kept = _sign(custody, sealers, home, kept, run, result, files, policy)
        signed_now = True
    else:
        signed_now = False
    progress("stamping the ledger")
    stored = custody.checkpoint(sealers)
    external, degraded = _stamp_outside(custody, stored, outside)
    extract = LogExtract(
        custody.ledger.entries(0, stored.checkpoint.size), stored.note, stored.timestamp or b"", external
    )
    progress("packing")
    bundle = pack(
        files, kept.report, log=extract, certificates=custody.certificates(), approvals=kept.approvals, policy=policy
    )
    root = fingerprint(custody.store.root)
    verdict = verify_bytes(bundle, root, name=f"{run.id}-v{kept.version}.evidence.zip", clock=custody.clock)
    _refuse_broken(verdict)
    path = target or workspace.reports / f"{run.id}-v{kept.version}.evidence.zip"
    write_atomic(path, bundle, make_folder=True)
    return Bundled(path, run.id, kept.version, signed_now, root, left_out, degraded, verdict)


def record_approval(custody: Custody, report_id: str, envelope: bytes, *, actor: str) -> None:
    """Log a decision on a signed report and keep it, so that the next packing brings it. Twice is as once.

    Raises ``IntegrityError`` if it is on a report that was not signed here, and ``EvidenceError`` if it is not signed
    by an approval key of this workspace.
    """
    with custody.ledger.transaction() as transaction:
        record_within(transaction, custody, report_id, envelope, actor=actor)


def record_within(transaction: Transaction, custody: Custody, report_id: str, envelope: bytes, *, actor: str) -> None:
    """``record_approval`` inside a transaction that is open already. Raises as it does."""
    fields = approval_fields(envelope)
    home = custody.workspace.evidence / report_id / f"v{fields['reportVersion']}"
    known = home / "report.dsse.json"
    if not known.is_file() or sha256_bytes(Envelope.read(known.read_bytes()).payload) != fields["payloadSha256"]:
        raise IntegrityError(f"the decision is not on version {fields['reportVersion']} of {report_id} as signed here")
    signer = next((info for info in custody.store.issued() if info.sha256 == fields["certSha256"]), None)
    if signer is None or signer.role is not Role.APPROVAL:
        raise EvidenceError(f"the decision on {report_id} is not signed by an approval key of this workspace")
    Envelope.read(envelope).verify(signer.certificate)
    # Kept first: a file that no entry names counts for nothing, an entry without its file is a decision left out.
    write_atomic(home / f"approval-{fields['envelopeSha256'][:16]}.dsse.json", envelope)
    if not transaction.query(_DECISION, [fields["envelopeSha256"]]):
        transaction.append("approval.recorded", actor, fields=fields)


# What goes in


def _logged(custody: Custody, run: Run) -> RunResult:
    """What the ledger recorded of the run's end, held against the run's folder."""
    rows = custody.ledger.query(
        "SELECT seq, entry FROM entries WHERE type = 'run.finished' AND entry ->> 'runId' = ?", [run.id]
    )
    if not rows:
        raise InputError(
            f"the ledger has no record of run {run.id}: it was made before there was one. Run the experiment again"
        )
    outputs: dict[str, str] = read_object(str(rows[0]["entry"]).encode(), what="the entry")["outputs"]
    for name, digest in outputs.items():
        path = run.path / name
        if not path.is_file():
            raise IntegrityError(f"{name} of run {run.id} is gone; the ledger recorded it when the run ended")
        if sha256_file(path) != digest:
            raise IntegrityError(
                f"{name} of run {run.id} is not the file that the ledger recorded when the run ended: "
                f"expected {digest[:16]}, found {sha256_file(path)[:16]}. Run the experiment again"
            )
    added = [name for name in OUTPUTS if name not in outputs and (run.path / name).exists()]
    if added:
        raise IntegrityError(f"{added[0]} of run {run.id} was added after the run; the ledger does not know it")
    return RunResult(run.id, int(rows[0]["seq"]), outputs)


def _result_files(run: Run, result: RunResult) -> list[BundleFile]:
    files = [
        BundleFile(f"payload/runs/{run.id}/{name}", (run.path / name).read_bytes(), _media(name), "result", run.id)
        for name in result.outputs
    ]
    return [BundleFile("payload/report.html", report_html(run).encode(), "text/html", "report"), *files]


def _context_files(workspace: Workspace) -> list[BundleFile]:
    lock = workspace.root / "requirements.lock"
    if not lock.is_file():
        return []
    return [BundleFile("payload/environment/requirements.lock", lock.read_bytes(), "text/plain", "lock")]


def _data_files(workspace: Workspace, run: Run, with_data: bool | None) -> tuple[list[BundleFile], int]:
    """Manifests of the input datasets always; their rows as asked, or if they are small. And the bytes left out."""
    snapshots: dict[str, Dataset | LabelSet] = {}
    for given in run.record["inputs"].values():
        dataset = open_dataset(workspace, given["dataset_sha256"])
        snapshots[f"payload/data/{dataset.digest[:16]}"] = dataset
        if given["labels_sha256"] is not None:
            labels = dataset.labels(given["labels_sha256"])
            snapshots[f"payload/data/{labels.digest[:16]}"] = labels
    size = sum(file["size"] for snapshot in snapshots.values() for file in snapshot.manifest["files"])
    taken = with_data if with_data is not None else size <= DATA_LIMIT
    files = []
    for folder, snapshot in snapshots.items():
        if taken:
            snapshot.verify()
        names = ["manifest.json", *(file["path"] for file in snapshot.manifest["files"] if taken)]
        files += [
            BundleFile(f"{folder}/{name}", (snapshot.path / name).read_bytes(), _media(name), "data") for name in names
        ]
    return files, 0 if taken else size


def _media(name: str) -> str:
    return _MEDIA.get(Path(name).suffix, "application/octet-stream")


# The signature


@dataclass(frozen=True)
class _Kept:
    """A signed report of this workspace, with the decisions on it."""

    version: int
    report: SignedReport
    predicate: ReportPredicate
    subjects: dict[str, Subject]
    approvals: list[bytes]

    @classmethod
    def latest(cls, home: Path, custody: Custody) -> "_Kept | None":
        """The newest one that the ledger knows; one that was never logged counts for nothing."""
        rows = custody.ledger.query("SELECT version, payload_sha256 FROM reports WHERE report_id = ?", [home.name])
        if not rows:
            return None
        newest = max(rows, key=lambda row: row["version"])
        kept = cls.read(home / f"v{newest['version']}")
        # A decision that was kept and then not logged counts for nothing.
        logged = [one for one in kept.approvals if custody.ledger.query(_DECISION, [sha256_bytes(one)])]
        kept = replace(kept, approvals=logged)
        if sha256_bytes(Envelope.read(kept.report.envelope).payload) != newest["payload_sha256"]:
            raise IntegrityError(f"the signed report {home.name}, version {newest['version']}, was changed")
        return kept

    @classmethod
    def read(cls, folder: Path) -> "_Kept":
        try:
            report = SignedReport(
                *((folder / name).read_bytes() for name in ("report.dsse.json", "report.tsr", "provenance.dsse.json"))
            )
            approvals = [path.read_bytes() for path in sorted(folder.glob("approval-*.dsse.json"))]
        except OSError as error:
            raise IntegrityError(f"the signed report in {folder.parent.name}/{folder.name} is gone") from error
        subjects, predicate = read_report(Envelope.read(report.envelope).statement())
        return cls(predicate.reportVersion, report, predicate, subjects, approvals)

    @property
    def content(self) -> dict[str, str]:
        """What the signature covers: digests by name, and the rules."""
        return {name: subject.sha256 for name, subject in self.subjects.items()}


def _content(files: list[BundleFile], policy: Policy) -> dict[str, str]:
    digests = {file.name: sha256_bytes(file.content) for file in files}
    return {**digests, "payload/policy.json": sha256_bytes(bytes(policy)), README_NAME: sha256_bytes(readme())}


def _policy(kept: _Kept | None, approvals_required: int | None) -> Policy:
    if approvals_required is None:
        approvals_required = 0 if kept is None else kept.predicate.policy.approvalsRequired
    if not 0 <= approvals_required <= 20:
        raise InputError(f"--approvals {approvals_required}: expected 0 to 20 people")
    return Policy("open" if approvals_required == 0 else f"approvals-{approvals_required}", approvals_required)


def _sign(
    custody: Custody,
    sealers: Sealers,
    home: Path,
    before: _Kept | None,
    run: Run,
    result: RunResult,
    files: list[BundleFile],
    policy: Policy,
) -> _Kept:
    version = 1 if before is None else before.version + 1
    checkpoints = custody.ledger.checkpoints()
    report = sign_report(
        files,
        report_id=run.id,
        version=version,
        runs=[result],
        signer=sealers.report,
        stamp=sealers.authority.stamp,
        policy=policy,
        previous=checkpoints[-1].checkpoint if checkpoints else None,
        supersedes=None if before is None else before.report.payload_sha256,
        provenance=_provenance(run),
        clock=custody.clock,
    )
    folder = home / f"v{version}"
    if folder.exists():  # signed and never logged: nobody has seen it
        shutil.rmtree(folder)
    for name, content in (
        ("report.dsse.json", report.envelope),
        ("report.tsr", report.timestamp),
        ("provenance.dsse.json", report.provenance),
    ):
        write_atomic(folder / name, content, make_folder=True)
    with custody.ledger.transaction() as transaction:
        taken = transaction.query("SELECT 1 FROM reports WHERE report_id = ? AND version = ?", [run.id, version])
        if taken:
            raise InputError(f"version {version} of {run.id} was signed by somebody else meanwhile: try again")
        transaction.append("report.signed", fields=report.log_fields())
    return _Kept.read(folder)


def _provenance(run: Run) -> dict[str, Any]:
    """How the results came about, as SLSA v1 says it."""
    record = run.record
    code, inputs = record["code"], record["inputs"]
    dependencies = [
        {"name": f"dataset {name}", "digest": {"sha256": given["dataset_sha256"]}} for name, given in inputs.items()
    ]
    dependencies.append({"name": record["spec"]["notebook"], "digest": {"sha256": record["notebook_sha256"]}})
    if record["lock_sha256"]:
        dependencies.append({"name": "requirements.lock", "digest": {"sha256": record["lock_sha256"]}})
    if code["commit"]:
        dependencies.append({"name": "workspace", "digest": {"gitCommit": code["commit"]}})
    return {
        "buildDefinition": {
            "buildType": "urn:workbench:run:v1",
            "externalParameters": {"experiment": record["experiment"], "parameters": record["parameters"]},
            "internalParameters": {
                "specSha256": record["spec_sha256"],
                "uncommittedChanges": bool(code["dirty"]),
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {
                "id": "urn:workbench:runner:v1",
                "version": {"workbench": code["workbench"]},
                "builderDependencies": [{"name": "workbench", "digest": {"sha256": code["package_sha256"]}}],
            },
            "metadata": {
                "invocationId": record["id"],
                "startedOn": record["started"],
                "finishedOn": record["ended"],
            },
            "byproducts": [
                {"name": "environment", "digest": {"sha256": record["environment_sha256"]}}
            ] if record["environment_sha256"] else [],
        },
    }  # fmt: skip


# Time from outside, and the last look


def _stamp_outside(
    custody: Custody, stored: StoredCheckpoint, outside: ExternalAuthority | None
) -> tuple[list[bytes], str]:
    """The outside authority's token over the checkpoint, if one was asked and gave one; else why not."""
    if outside is None:
        return [], ""
    was_open = outside.breaker.state is BreakerState.OPEN
    try:
        token = outside.stamp(hashlib.sha256(stored.checkpoint.body).digest())
    except TimestampError as error:
        invalid = isinstance(error, TokenInvalidError | TokenMismatchError)
        trouble = "open" if was_open else "invalid" if invalid else "unreachable"
        custody.ledger.append("tsa.degraded", fields={"trouble": trouble})
        return [], str(error)
    fields = {
        "size": stored.checkpoint.size,
        "root": base64.b64encode(stored.checkpoint.root).decode(),
        "authority": "external",
        "timestampSha256": sha256_bytes(token),
    }
    custody.ledger.append("checkpoint.anchored", fields=fields)
    return [token], ""


def _refuse_broken(verdict: Verdict) -> None:
    """A bundle that would not verify is not handed out. Approvals still missing are no reason: they come later."""
    serious = [finding for finding in verdict.findings if finding.code != "E_APPROVALS"]
    if verdict.outcome is Outcome.INVALID and any(finding.kind.gravity == "invalid" for finding in serious):
        listed = "; ".join(f"{finding.code} {finding.subject}: {finding.text}" for finding in serious)
        raise IntegrityError(f"the bundle would not verify, and was not written: {listed}")
