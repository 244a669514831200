"""The files: every one as it was signed, none more, none less; and results as their runs left them."""

from typing import Any, Final

from workbench.errors import MalformedError
from workbench.evidence.recipe import README_NAME, readme
from workbench.evidence.strict import read_object
from workbench.evidence.verify.examination import Examination
from workbench.evidence.verify.findings import sentence
from workbench.files import canonical_json, sha256_bytes

__all__ = ["ALWAYS", "check_files", "check_runs", "is_expected"]

# What every bundle has beside the payload.
ALWAYS: Final = (
    "attestations/report.dsse.json",
    "attestations/provenance.dsse.json",
    "timestamps/report.tsr",
    "timestamps/checkpoint.tsr",
    "log/checkpoint",
    "log/report.tlog-proof",
    "log/entries.jsonl",
    "log/consistency.json",
    "trust/certs.pem",
)


def is_expected(name: str) -> bool:
    """Whether a bundle may hold a file of this name without the statement naming it."""
    return (
        name in ALWAYS
        or (name.startswith("attestations/approval-") and name.endswith(".dsse.json") and name.count("/") == 1)
        or (
            name.startswith("timestamps/checkpoint-ext-")
            and name.endswith(".tsr")
            and name.removeprefix("timestamps/checkpoint-ext-").removesuffix(".tsr").isdecimal()
        )
    )


def check_files(examination: Examination) -> None:
    """Hold every file against the digest that was signed."""
    subjects, report = examination.subjects, examination.report
    if report is None:
        examination.not_checked.append("the files: there is no signed statement that can be believed")
        return
    when = f"on {examination.signed_at:%Y-%m-%d}" if examination.signed_at else "then"
    sizes = {file.name: file.size for file in report.files}
    for name, subject in subjects.items():
        content = examination.files.get(name)
        if content is None:
            examination.add("E_FILE_MISSING", name, "The file was signed, and is not in the bundle.")
            continue
        found = sha256_bytes(content)
        if found != subject.sha256 or len(content) != sizes[name]:
            intact = (
                "" if any(one.code == "E_SIG" for one in examination.findings) else " The signature itself is intact."
            )
            examination.add(
                "E_FILE_CHANGED",
                name,
                f"This is not the file that was signed {when}.{intact}",
                expected=subject.sha256,
                found=found,
            )
    for name in examination.files:
        if name not in subjects and not is_expected(name):
            examination.add("E_EXTRA", name, "The file was added, and nobody signed it.")
    for name in subjects:
        if name != README_NAME and not name.startswith("payload/"):
            examination.add("E_EXTRA", name, "The file was signed, and lies where bundles keep no signed files.")
    if README_NAME not in subjects:
        examination.add("E_FILE_MISSING", README_NAME, "The bundle has no instructions that were signed.")
    elif examination.files.get(README_NAME) not in (None, readme()):
        examination.not_checked.append(
            f"{README_NAME}: it is not the text of this version; take the steps from the documentation instead"
        )
    policy = examination.files.get("payload/policy.json")
    if policy is None or sha256_bytes(policy) != report.policy.sha256 or "payload/policy.json" not in subjects:
        examination.add(
            "E_POLICY",
            "payload/policy.json",
            "The rules in the bundle are not those that the statement names.",
            expected=report.policy.sha256,
            found=sha256_bytes(policy) if policy is not None else "",
        )
    else:
        _check_policy(examination, policy)


def _check_policy(examination: Examination, policy: bytes) -> None:
    assert examination.report is not None
    said = examination.report.policy
    try:
        content = read_object(policy, what="the policy")
    except MalformedError as error:
        examination.add("E_JSON", "payload/policy.json", sentence(error))
        return
    if content != {"v": 1, "id": said.id, "approvalsRequired": said.approvalsRequired}:
        examination.add(
            "E_POLICY",
            "payload/policy.json",
            "The statement asks for other approvals than the rules it names.",
            expected=str(content.get("approvalsRequired")),
            found=str(said.approvalsRequired),
        )


def check_runs(examination: Examination) -> None:
    """Hold every result against the digest that was logged when its run ended."""
    report = examination.report
    if report is None or not examination.entries:
        examination.not_checked.append("whether the results are those that the runs left")
        return
    logged: dict[str, dict[str, str]] = {}
    for run in report.runs:
        entry = examination.entries[run.leafIndex] if run.leafIndex < len(examination.entries) else None
        if entry is None or entry.type != "run.finished" or entry.fields["runId"] != run.runId:
            examination.add(
                "E_RUN_MISMATCH", run.runId, f"Entry {run.leafIndex} of the log is not the end of this run."
            )
            continue
        outputs: dict[str, str] = entry.fields["outputs"]
        logged[run.runId] = outputs
        if sha256_bytes(canonical_json(outputs)) != run.outputsSha256:
            examination.add("E_RUN_MISMATCH", run.runId, "The statement speaks of other results than the log.")
        if entry.fields["status"] != "COMPLETED":
            examination.add("L_RUN_ENDED", run.runId, f"The run ended {entry.fields['status']}.")
    given: dict[str, set[str]] = {run_id: set() for run_id in logged}
    for file in report.files:
        if file.role != "result":
            continue
        output = file.name.rpartition("/")[2]
        expected = logged.get(file.runId or "", {}).get(output)
        found = examination.subjects[file.name].sha256
        if expected is None:
            examination.add("E_RUN_MISMATCH", file.name, "No run that the report names has logged this result.")
            continue
        given[str(file.runId)].add(output)
        if expected != found:
            examination.add(
                "E_RUN_MISMATCH",
                file.name,
                f"The run {file.runId} left another {output} than the one that was signed.",
                expected=expected,
                found=found,
            )
        elif output == "values.json":
            _gather_values(examination, file.name, str(file.runId))
    for run_id, outputs in logged.items():
        for output in sorted(set(outputs) - given[run_id]):
            examination.add("E_RUN_MISMATCH", run_id, f"The run left {output!r}, and the report leaves it out.")


def _gather_values(examination: Examination, name: str, run_id: str) -> None:
    """The numbers that a run recorded, for readers who want the proven ones."""
    try:
        recorded: list[dict[str, Any]] = read_object(examination.files[name], what=f"{name!r}")["values"]
        examination.values += [
            {"run": run_id, **{key: value[key] for key in ("name", "value", "low", "high", "cell")}}
            for value in recorded
        ]
    except (MalformedError, KeyError, TypeError):
        examination.not_checked.append(f"the values in {name}: they are not written as this version reads them")
