"""The hash tree against the definition in RFC 6962, section 2.1, written down anew, and against published vectors."""

import hashlib
from functools import cache

import hypothesis
import pytest
from hypothesis import strategies as st

from workbench.evidence.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

# The reference leaves, roots and proofs of Certificate Transparency (github.com/google/certificate-transparency).
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (2, 8): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
}

MOST = 70
ENTRIES = tuple(b"entry %d" % number for number in range(MOST))
HASHES = [leaf_hash(entry) for entry in ENTRIES]


# The definition, as it stands in the RFC: D[a:b] is a list of entries, k the largest power of two smaller than n.
def power(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@cache
def mth(entries: tuple[bytes, ...]) -> bytes:
    n = len(entries)
    if n == 0:
        return hashlib.sha256().digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = power(n)
    return hashlib.sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


def path(m: int, entries: tuple[bytes, ...]) -> list[bytes]:
    n = len(entries)
    if n == 1:
        return []
    k = power(n)
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def subproof(m: int, entries: tuple[bytes, ...], known: bool) -> list[bytes]:
    n = len(entries)
    if m == n:
        return [] if known else [mth(entries)]
    k = power(n)
    if m <= k:
        return [*subproof(m, entries[:k], known), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], False), mth(entries[:k])]


def flipped(node: bytes) -> bytes:
    return bytes([node[0] ^ 1]) + node[1:]


def wrong_proofs(proof: list[bytes]) -> list[list[bytes]]:
    """The proof with one hash flipped, dropped, doubled, shortened, one added, two neighbours exchanged."""
    wrong = [[*proof, bytes(32)], [bytes(32), *proof], [*proof, EMPTY_ROOT]]
    for place, node in enumerate(proof):
        before, after = proof[:place], proof[place + 1 :]
        wrong += [[*before, flipped(node), *after], [*before, *after], [*before, node, node, *after]]
        wrong += [[*before, node[:31], *after], [*before, node + b"\0", *after], [*before, b"", *after]]
        if after:
            wrong.append([*before, after[0], node, *after[1:]])
    return wrong


@pytest.fixture(scope="module")
def tree() -> Tree:
    return Tree(HASHES)


@pytest.fixture(scope="module")
def roots() -> list[bytes]:
    return [mth(ENTRIES[:size]) for size in range(MOST + 1)]


def test_leaves_and_nodes_are_hashed_apart():
    assert leaf_hash(b"").hex() == ROOTS[1]
    assert leaf_hash(b"ab") == hashlib.sha256(b"\x00ab").digest()
    assert node_hash(leaf_hash(LEAVES[0]), leaf_hash(LEAVES[1])).hex() == ROOTS[2]
    assert node_hash(b"a" * 32, b"b" * 32) != leaf_hash(b"a" * 32 + b"b" * 32)


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size):
    tree, frontier = Tree(map(leaf_hash, LEAVES[:size])), Frontier()
    for leaf in LEAVES[:size]:
        frontier.append(leaf_hash(leaf))
    assert tree.root().hex() == frontier.root.hex() == mth(tuple(LEAVES[:size])).hex() == ROOTS[size]
    assert Tree(map(leaf_hash, LEAVES)).root(size).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_certificate_transparency(index, size):
    proof = Tree(map(leaf_hash, LEAVES)).inclusion_proof(index, size)
    assert [node.hex() for node in proof] == INCLUSION[index, size]
    assert verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_are_those_of_certificate_transparency(first, second):
    proof = Tree(map(leaf_hash, LEAVES)).consistency_proof(first, second)
    assert [node.hex() for node in proof] == CONSISTENCY[first, second]
    assert verify_consistency(first, second, bytes.fromhex(ROOTS[first]), bytes.fromhex(ROOTS[second]), proof)


def test_tree_and_frontier_agree_with_the_definition_at_every_size(tree, roots):
    grown, frontier = Tree(), Frontier()
    for size in range(MOST + 1):
        built = Tree(HASHES[:size])
        of_built = built.frontier()
        assert len(grown) == len(built) == frontier.size == of_built.size == size
        assert grown.root() == built.root() == tree.root(size) == frontier.root == of_built.root == roots[size]
        assert of_built.subtrees == frontier.subtrees == grown.frontier().subtrees
        assert len(frontier.subtrees) == size.bit_count()
        if size < MOST:
            grown.append(HASHES[size])
            frontier.append(HASHES[size])


def test_a_tree_that_was_appended_to_proves_as_one_built_at_once(tree):
    grown = Tree(HASHES[:13])
    for leaf in HASHES[13:]:
        grown.append(leaf)
    for size in range(1, MOST + 1):
        assert grown.inclusion_proof(size // 2, size) == tree.inclusion_proof(size // 2, size)
        assert grown.consistency_proof(size // 2, size) == tree.consistency_proof(size // 2, size)


def test_a_frontier_goes_on_where_it_was_stored(roots):
    for size in range(MOST):
        stored = Frontier(size, Tree(HASHES[:size]).frontier().subtrees)
        copy = stored.copy()
        stored.append(HASHES[size])
        assert (stored.size, stored.root) == (size + 1, roots[size + 1])
        assert (copy.size, copy.root) == (size, roots[size])


@pytest.mark.parametrize(
    ("size", "subtrees"),
    [
        (0, [bytes(32)]),
        (1, []),
        (3, [bytes(32)]),
        (4, [bytes(32)] * 2),
        (1, [bytes(31)]),
        (1, [bytes(33)]),
        (-1, [bytes(32)]),
    ],
)
def test_a_frontier_that_cannot_be_is_refused(size, subtrees):
    with pytest.raises(ValueError, match=f"a frontier of {size} entries has"):
        Frontier(size, subtrees)


def test_every_inclusion_proof_is_the_defined_one_and_accepted(tree, roots):
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            assert proof == path(index, ENTRIES[:size])
            assert verify_inclusion(HASHES[index], index, size, proof, roots[size])


def test_every_inclusion_proof_made_wrong_is_refused(tree, roots):
    for size in range(1, MOST + 1):
        root = roots[size]
        for index in range(size):
            leaf, proof = HASHES[index], tree.inclusion_proof(index, size)
            assert not verify_inclusion(flipped(leaf), index, size, proof, root)
            for other in {0, size // 2, size - 1, index - 1, index + 1, index ^ 1, index ^ 2, size, -1, index + size}:
                assert other == index or not verify_inclusion(leaf, other, size, proof, root)
            for other_root in (flipped(root), roots[size - 1], root[:31], b"", leaf if size > 1 else bytes(32)):
                assert not verify_inclusion(leaf, index, size, proof, other_root)
            for wrong in wrong_proofs(proof):
                assert not verify_inclusion(leaf, index, size, wrong, root)


def test_an_inclusion_proof_for_another_size_needs_the_root_of_that_size(tree, roots):
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = tree.inclusion_proof(index, size)
            for other in {size - 1, size + 1, 2 * size, 0, -size}:
                # A size of the same shape around this entry would accept the same path, but not under its own root.
                root = roots[other] if 0 <= other <= MOST else bytes(32)
                assert not verify_inclusion(HASHES[index], index, other, proof, root)
                if other <= index or len(proof) != len(path(index, ENTRIES[: min(other, MOST)])):
                    assert not verify_inclusion(HASHES[index], index, other, proof, roots[size])


def test_every_consistency_proof_is_the_defined_one_and_accepted(tree, roots):
    for second in range(MOST + 1):
        assert tree.consistency_proof(0, second) == []
        assert verify_consistency(0, second, EMPTY_ROOT, roots[second], [])
        for first in range(1, second + 1):
            proof = tree.consistency_proof(first, second)
            assert proof == subproof(first, ENTRIES[:second], True)
            assert verify_consistency(first, second, roots[first], roots[second], proof)


def test_every_consistency_proof_made_wrong_is_refused(tree, roots):
    for second in range(MOST + 1):
        new = roots[second]
        for first in range(second + 1):
            old, proof = roots[first], tree.consistency_proof(first, second)
            assert not verify_consistency(first, second, flipped(old), new, proof)
            if first:  # every tree is consistent with the empty one, whatever its root
                assert not verify_consistency(first, second, old, flipped(new), proof)
            if first != second:
                assert not verify_consistency(second, first, new, old, proof)
                assert not verify_consistency(first, second, new, old, proof)
            for other in {first - 1, first + 1, 0, second, -1, -first} - {first}:
                assert not verify_consistency(other, second, old, new, proof)
            for other in {second - 1, second + 1, first, -second} - {second}:
                root = roots[other] if 0 <= other <= MOST else flipped(new)
                if first:
                    assert not verify_consistency(first, other, old, root, proof)
            for wrong in wrong_proofs(proof):
                assert not verify_consistency(first, second, old, new, wrong)


def test_an_edited_history_is_not_consistent(tree, roots):
    for first in range(1, MOST):
        edited = Tree([*HASHES[: first - 1], leaf_hash(b"edited"), *HASHES[first:]])
        proof = edited.consistency_proof(first)
        assert not verify_consistency(first, MOST, roots[first], edited.root(), proof)


def test_what_a_tree_does_not_have_cannot_be_asked_for(tree):
    for asking, message in [
        (lambda: tree.root(MOST + 1), "the tree has 70 entries, not 71"),
        (lambda: tree.root(-1), "the tree has 70 entries, not -1"),
        (lambda: tree.inclusion_proof(0, 71), "the tree has 70 entries, not 71"),
        (lambda: tree.inclusion_proof(5, 5), "entry 5 is not among the first 5"),
        (lambda: tree.inclusion_proof(-1), "entry -1 is not among the first 70"),
        (lambda: tree.consistency_proof(6, 5), "6 entries are not a beginning of 5"),
        (lambda: tree.consistency_proof(-1, 5), "-1 entries are not a beginning of 5"),
        (lambda: tree.consistency_proof(0, 71), "the tree has 70 entries, not 71"),
        (lambda: Tree().inclusion_proof(0), "entry 0 is not among the first 0"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            asking()


def test_claims_about_enormous_logs_are_answered_at_once():
    for size in (2**53, 2**200):
        assert not verify_inclusion(bytes(32), size - 1, size, [bytes(32)] * 64, bytes(32))
        assert not verify_consistency(size - 1, size, bytes(32), bytes(32), [bytes(32)] * 64)


@hypothesis.given(st.lists(st.binary(max_size=8), max_size=200), st.data())
def test_any_log_proves_what_it_holds_and_that_it_only_grew(entries, data):
    tree, frontier = Tree(map(leaf_hash, entries)), Frontier()
    for entry in entries:
        frontier.append(leaf_hash(entry))
    assert tree.root() == frontier.root == mth(tuple(entries))
    first = data.draw(st.integers(0, len(entries)))
    proof = tree.consistency_proof(first)
    assert verify_consistency(first, len(entries), tree.root(first), tree.root(), proof)
    assert verify_consistency(first, len(entries), mth(tuple(entries[:first])), mth(tuple(entries)), proof)
    if entries:
        index = data.draw(st.integers(0, len(entries) - 1))
        proof = tree.inclusion_proof(index)
        assert verify_inclusion(leaf_hash(entries[index]), index, len(entries), proof, tree.root())
        other = data.draw(st.binary(max_size=8).filter(lambda entry: entry != entries[index]))
        assert not verify_inclusion(leaf_hash(other), index, len(entries), proof, tree.root())


@hypothesis.given(
    st.integers(-2, 80),
    st.integers(-2, 80),
    st.lists(st.binary(max_size=40) | st.binary(min_size=32, max_size=32), max_size=9),
    st.binary(max_size=40),
)
def test_invented_proofs_are_refused_and_raise_nothing(first, second, proof, root):
    hypothesis.assume(root != HASHES[0])
    assert not verify_inclusion(HASHES[0], first, second, proof, root)
    hypothesis.assume(root != EMPTY_ROOT)
    assert not verify_consistency(first, second, root, HASHES[0], proof)
