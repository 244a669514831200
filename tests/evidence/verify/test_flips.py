"""Every byte of a bundle counts: none can change without the verdict changing, and nothing makes the verifier raise."""

import os
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.evidence.archive import read_archive, write_archive
from workbench.evidence.verify import CODES, Outcome

SEED = 20260503
CHANGES = 2_000


def test_no_changed_byte_is_accepted(made: Any, kit: Any) -> None:
    """Attack 93, four times over."""
    dice = random.Random(SEED)
    for _ in range(CHANGES):
        place, mask = dice.randrange(len(made.bundle)), dice.randrange(1, 256)

        verdict = made.world.verify(kit.flipped(made.bundle, place, mask))

        assert verdict.outcome is Outcome.INVALID, (place, mask, verdict.text())


def test_no_changed_byte_within_a_file_is_accepted(made: Any, kit: Any) -> None:
    """As before, in an archive that is closed again so that its checksums fit."""
    dice = random.Random(SEED)
    parts = kit.opened(made.bundle)
    for _ in range(CHANGES // 4):
        name = dice.choice(sorted(parts))
        changed = kit.flipped(parts[name], dice.randrange(len(parts[name])), dice.randrange(1, 256))

        verdict = made.world.verify(write_archive({**parts, name: changed}))

        assert verdict.outcome is Outcome.INVALID, (name, verdict.text())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_bit_outside_the_payload_may_change(made: Any, kit: Any) -> None:
    """Bytes with their lowest bit flipped; and once more, in every file, with the checksums put right.

    Every seventh byte; every one, in some minutes, with WORKBENCH_EVERY_BYTE=1.
    """
    step = 1 if os.environ.get("WORKBENCH_EVERY_BYTE") else 7
    parts = kit.opened(made.bundle)
    payload = set()
    for name, content in parts.items():
        if name.startswith("payload/"):
            begin = made.bundle.index(content)
            payload |= set(range(begin, begin + len(content)))
    for place in sorted(set(range(len(made.bundle))) - payload)[::step]:
        assert made.world.verify(kit.flipped(made.bundle, place)).outcome is Outcome.INVALID, place
    for name, content in parts.items():
        for place in range(0, len(content), step):
            bundle = write_archive({**parts, name: kit.flipped(content, place)})
            assert made.world.verify(bundle).outcome is Outcome.INVALID, (name, place)


def test_no_two_parts_may_change_places(made: Any, kit: Any) -> None:
    parts = kit.opened(made.bundle)
    names = sorted(parts)
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            swapped = write_archive({**parts, one: parts[other], other: parts[one]})
            assert made.world.verify(swapped).outcome is Outcome.INVALID, (one, other)


def test_no_part_may_be_missing_or_empty(made: Any, kit: Any) -> None:
    parts = kit.opened(made.bundle)
    for name in parts:
        assert made.world.verify(write_archive({**parts, name: b""})).outcome is Outcome.INVALID, name
        assert made.world.verify(kit.edited(made.bundle, {name: None})).outcome is Outcome.INVALID, name


quickly = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(data=st.data())
@quickly
def test_spliced_archives_never_raise(made: Any, data: st.DataObject) -> None:
    """Cut, double, move and overwrite pieces of the file."""
    bundle = made.bundle
    for _ in range(data.draw(st.integers(1, 3))):
        begin, end = sorted((data.draw(st.integers(0, len(bundle))), data.draw(st.integers(0, len(bundle)))))
        place = data.draw(st.integers(0, len(bundle)))
        piece = data.draw(
            st.sampled_from([b"", bundle[begin:end], bytes(end - begin), data.draw(st.binary(max_size=64))])
        )
        cut = data.draw(st.booleans())
        bundle = (bundle[:begin] + bundle[end:])[:place] + piece + bundle[end if cut else place :]
    judged(made, bundle)


@given(data=st.data())
@quickly
def test_spliced_parts_never_raise(made: Any, data: st.DataObject) -> None:
    """The same inside the files of a well-formed archive, where the readers of each format are reached."""
    parts, _ = read_archive(made.bundle)
    for name in data.draw(st.lists(st.sampled_from(sorted(parts)), min_size=1, max_size=3)):
        content, other = parts[name], parts[data.draw(st.sampled_from(sorted(parts)))]
        begin, end = sorted((data.draw(st.integers(0, len(content))), data.draw(st.integers(0, len(content)))))
        start = data.draw(st.integers(0, len(other)))
        piece = data.draw(
            st.sampled_from(
                [b"", other[start : start + end - begin], data.draw(st.binary(max_size=32)), b"[" * 5_000, b"9" * 40]
            )
        )
        parts[name] = content[:begin] + piece + content[end:]
    judged(made, write_archive(parts))


@given(data=st.data())
@quickly
def test_signed_nonsense_never_raises(made: Any, kit: Any, data: st.DataObject) -> None:
    """The report key's owner may sign anything that is JSON; the verifier reads it after the signature has passed."""
    nonsense: list[Any] = [
        None, True, 0, -1, 2**53 - 1, 1.5, "", "x" * 300, "\u202e", kit.ORIGIN, [], {}, [None], [[]], {"": {}},
        {"sha256": 1}, [{"name": None, "digest": {}}], {"size": -1, "root": "", "origin": kit.ORIGIN},
    ]  # fmt: skip
    # Everything is drawn beforehand: how much is drawn must not depend on what the statement holds.
    turns = data.draw(st.lists(st.tuples(st.integers(0, 99), st.booleans()), min_size=1, max_size=6))
    value = data.draw(st.sampled_from(nonsense))

    def change(statement: dict[str, Any]) -> None:
        where: Any = statement
        for number, (turn, deeper) in enumerate(turns, start=1):
            keys = list(where) if isinstance(where, dict) else list(range(len(where)))
            key = keys[turn % len(keys)]
            if deeper and number < len(turns) and isinstance(where[key], dict | list) and where[key]:
                where = where[key]
                continue
            where[key] = value
            return

    name, who = data.draw(
        st.sampled_from(
            [
                ("attestations/report.dsse.json", "report"),
                ("attestations/provenance.dsse.json", "report"),
                ("attestations/approval-alice.dsse.json", "alice"),
            ]
        )
    )
    signer = made.world.signers[who]
    judged(made, kit.edited(made.bundle, {name: lambda content: kit.resigned(content, signer, change)}))


@given(data=st.data())
@quickly
def test_logged_nonsense_never_raises(made: Any, kit: Any, data: st.DataObject) -> None:
    """The log key's owner may sign a log of anything, also of what makes sense: e.g. another actor of the last entry."""
    lines = kit.entry_lines(made.bundle)
    place = data.draw(st.integers(0, len(lines) - 1))
    line = lines[place]
    begin, end = sorted((data.draw(st.integers(0, len(line))), data.draw(st.integers(0, len(line)))))
    lines[place] = line[:begin] + data.draw(st.binary(max_size=12)).replace(b"\n", b"") + line[end:]
    world = made.world
    tree = kit.Tree(map(kit.leaf_hash, lines))
    checkpoint = kit.Checkpoint(kit.ORIGIN, len(lines), tree.root())
    bundle = kit.edited(made.bundle, {"log/entries.jsonl": kit.joined(lines)})
    judged(made, kit.reclosed(world, bundle, checkpoint), honest=True)


def judged(made: Any, bundle: bytes, *, honest: bool = False) -> None:
    """There is a verdict, in known words, with a text for people and one for programs."""
    verdict = made.world.verify(bundle)
    assert verdict.outcome is not Outcome.VALID
    assert {finding.code for finding in verdict.findings} <= set(CODES)
    if not honest and bundle != made.bundle:
        assert verdict.outcome in (Outcome.INVALID, Outcome.CANNOT_CHECK), verdict.text()
    assert verdict.text().splitlines()[0].startswith(verdict.outcome.word)
    assert verdict.as_dict()["exit_code"] == int(verdict.outcome)
