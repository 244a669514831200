"""Comparisons on disk: content-addressed JSON that a promotion's ledger entry refers to."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from workbench.errors import InputError, IntegrityError, MalformedError, NotFoundError
from workbench.events import Dataset, LabelSet, open_dataset
from workbench.evidence.strict import read_object
from workbench.features import build
from workbench.files import canonical_json, sha256_bytes, write_atomic
from workbench.risk.criteria import PromotionRules
from workbench.risk.promotion import COMPARISON_FORMAT, Promotion, compare
from workbench.risk.registry import Registry
from workbench.risk.version import Version
from workbench.workspace import Workspace

__all__ = [
    "Comparison",
    "accepted",
    "compare_versions",
    "keep_bytes",
    "keep_comparison",
    "kept_comparisons",
    "open_comparison",
    "repeat",
]


_LARGEST: Final = 1 << 20


@dataclass(frozen=True)
class Comparison:
    """A stored comparison: its digest, its bytes, and ``content``, which is ``Promotion.as_dict()`` read back."""

    sha256: str
    data: bytes
    content: dict[str, Any]


def _home(workspace: Workspace) -> Path:
    return workspace.models / "comparisons"


def keep_comparison(workspace: Workspace, promotion: Promotion) -> Path:
    """Store a comparison under its digest; storing it again changes nothing."""
    return keep_bytes(workspace, promotion.bytes)


def keep_bytes(workspace: Workspace, data: bytes) -> Path:
    """As ``keep_comparison``, for the bytes of a comparison made elsewhere."""
    path = _home(workspace) / f"{sha256_bytes(data)}.json"
    if not path.is_file():
        write_atomic(path, data, make_folder=True)
    return path


def open_comparison(workspace: Workspace, reference: str | Path) -> Comparison:
    """Read a stored comparison by its file, or by the first 6 or more digits of its digest.

    Raises ``NotFoundError`` or ``InputError`` if there is none or several, ``IntegrityError`` if it was changed,
    ``MalformedError`` if it is no comparison.
    """
    path = _find(workspace, str(reference))
    if path.stat().st_size > _LARGEST:
        raise MalformedError(f"{path.name!r} is not a comparison: it has {path.stat().st_size:,} bytes")
    data = path.read_bytes()
    content = read_object(data, what=f"comparison {path.name!r}")
    if (content.get("kind"), content.get("format")) != ("model-comparison", COMPARISON_FORMAT):
        raise MalformedError(f"{path.name!r} is not a comparison of a format this version reads")
    criteria = content.get("criteria")
    sound = isinstance(criteria, list) and all(
        isinstance(one, dict) and {"name", "passed"} <= one.keys() for one in criteria
    )
    if not sound or not {"champion", "challenger", "promoted"} <= content.keys():
        raise MalformedError(f"{path.name!r} is not a whole comparison")
    digest = sha256_bytes(data)
    if canonical_json(content) != data or (path.parent == _home(workspace) and path.stem != digest):
        raise IntegrityError(f"comparison {path.name!r} was changed after it was written: run `models compare` again")
    return Comparison(digest, data, content)


def kept_comparisons(workspace: Workspace, *, champion: str, challenger: str) -> list[Comparison]:
    """The kept comparisons of just these two models (SHA-256, 64 hex digits), the newest first; damaged ones are
    passed over."""
    found = []
    for path in sorted(_home(workspace).glob("*.json"), key=lambda path: (-path.stat().st_mtime_ns, path.name)):
        try:
            comparison = open_comparison(workspace, path.stem)
        except (InputError, IntegrityError, MalformedError):
            continue
        if (comparison.content["champion"], comparison.content["challenger"]) == (champion, challenger):
            found.append(comparison)
    return found


def _find(workspace: Workspace, reference: str) -> Path:
    if re.fullmatch("[0-9a-f]{6,64}", reference):
        found = sorted(_home(workspace).glob(f"{reference}*.json"))
        if len(found) > 1:
            raise InputError(f"{reference!r} could be any of {len(found)} comparisons: give more digits")
        if found:
            return found[0]
    path = Path(reference)
    if path.is_file():
        return path
    raise NotFoundError(f"no comparison {reference!r}: `workbench models compare` makes one and prints its digest")


def accepted(comparison: Comparison, *, champion: str, challenger: str) -> str:
    """The digest of ``comparison``, if it lets ``challenger`` take over from ``champion`` (SHA-256, 64 hex digits).

    Raises ``InputError`` where it is about other models, or does not.
    """
    content = comparison.content
    for role, wanted in (("champion", champion), ("challenger", challenger)):
        if content[role] != wanted:
            raise InputError(
                f"comparison {comparison.sha256[:12]} has {str(content[role])[:12]} as {role}, not {wanted[:12]}: "
                "compare these two with `workbench models compare`"
            )
    failed = [criterion["name"] for criterion in content["criteria"] if criterion["passed"] is False]
    if failed or content["promoted"] is not True:
        raise InputError(
            f"comparison {comparison.sha256[:12]} did not let the challenger take over"
            + (f": it failed on {', '.join(failed)}" if failed else "")
        )
    if not any(criterion["name"] == "parity" and criterion["passed"] is True for criterion in content["criteria"]):
        raise InputError(
            f"comparison {comparison.sha256[:12]} was made before the challenger was registered: repeat it"
        )
    return comparison.sha256


def compare_versions(
    champion: Version,
    challenger: Version,
    dataset: Dataset,
    labels: LabelSet,
    *,
    rules: PromotionRules,
    after_us: int | None = None,
    as_of_us: int | None = None,
) -> Promotion:
    """``compare`` for two registered models, each with the features that it takes, on a dataset. Raises as it does."""
    tables = {
        version.spec.sha256: build(dataset, labels, spec=version.spec)
        for version in {one.spec.sha256: one for one in (champion, challenger)}.values()
    }
    return compare(
        champion,
        challenger,
        tables[challenger.spec.sha256],
        champion_table=tables[champion.spec.sha256],
        rules=rules,
        after_us=after_us,
        as_of_us=as_of_us,
    )


def repeat(registry: Registry, comparison: Comparison) -> Promotion:
    """Make a comparison again, from the models, data and rules that it names, and hold the outcome against it.

    Raises ``IntegrityError`` where something else comes out, ``NotFoundError`` where the models or the data are not
    here any more, ``MalformedError`` where it does not say what it was made of.
    """
    content, what = comparison.content, f"comparison {comparison.sha256[:12]}"
    try:
        window, rules = content["window"], PromotionRules(**content["rules"])
        digests = str(window["dataset_sha256"]), str(window["labels_sha256"])
        after_us, as_of_us = int(window["after_us"]), int(window["as_of_us"])
        if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
            raise ValueError("not digests")
    except (KeyError, TypeError, ValueError, InputError) as error:
        raise MalformedError(f"{what} does not say what was compared") from error
    dataset = open_dataset(registry.workspace, digests[0])
    again = compare_versions(
        registry.open(str(content["champion"])),
        registry.open(str(content["challenger"])),
        dataset,
        dataset.labels(digests[1]),
        rules=rules,
        after_us=after_us,
        as_of_us=as_of_us,
    )
    if again.sha256 != comparison.sha256:
        raise IntegrityError(
            f"{what} does not come out again from the models and data that it names: something else was found here "
            f"({again.statement}); run `workbench models compare` and go by that"
        )
    return again
