"""Versions: immutable, numbered by the ledger, named by their content."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.errors import InputError, IntegrityError, NotFoundError
from workbench.ledger import open_ledger
from workbench.policies import PolicyStore


@pytest.fixture
def store(workspace):
    return PolicyStore(workspace)


def test_a_change_is_a_new_version_and_the_same_content_is_the_same_one(store, policy):
    first, again = store.add(policy(), author="p:ada")
    assert (str(first), first.authors, again) == ("night-export@1", ("p:ada",), False)
    second, again = store.add(policy("off_hours"), author="p:bob")
    assert (str(second), again) == ("night-export@2", False)
    same, again = store.add(policy(), author="p:eve")
    assert (same, again) == (first, True)
    other, _ = store.add(policy(name="other"))
    assert str(other) == "other@1"
    assert {name: len(several) for name, several in store.versions().items()} == {"night-export": 2, "other": 1}


def test_the_ledger_says_who_added_what(store, workspace, policy):
    version, _ = store.add(policy(), author="p:ada")
    store.add(policy(), author="p:bob")
    rows = open_ledger(workspace).query("SELECT type, actor, entry ->> 'policySha256' AS sha256 FROM entries")
    assert rows == [{"type": "policy.changed", "actor": "p:ada", "sha256": version.sha256}]


@pytest.mark.parametrize("reference", ["night-export@1", "night-export@v1", "DIGEST"])
def test_a_version_is_found_by_number_and_by_digest(store, policy, reference):
    first, _ = store.add(policy())
    newest, _ = store.add(policy("off_hours"))
    assert store.open(reference.replace("DIGEST", first.sha256[:8])) == first
    assert store.open("night-export") == newest
    assert store.open(reference.replace("DIGEST", first.sha256[:8])).policy == policy()


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("nigt-export", "there is no policy 'nigt-export'; did you mean 'night-export'?"),
        ("night-export@3", "there is no night-export@3; the newest is night-export@1"),
        ("night-export@x", "night-export@x is no version: expected a number after the @"),
        ("abcdef123", "'abcdef123' begins the digest of 0 policies"),
    ],
)
def test_what_is_not_there_is_told(store, policy, reference, says):
    store.add(policy())
    with pytest.raises(InputError) as refused:
        store.open(reference)
    assert says in str(refused.value)


def test_an_empty_workspace_says_how_to_add_one(store):
    with pytest.raises(NotFoundError, match="there is none yet: `workbench policy add FILE` adds one"):
        store.open("night-export")


def test_an_expression_that_cannot_be_used_and_a_name_are_not_added(store, policy):
    with pytest.raises(InputError, match="no column 'hours'"):
        store.add(policy("hours > 3"))
    with pytest.raises(InputError, match="'Ada Lovelace' is no pseudonym"):
        store.add(policy(), author="Ada Lovelace")
    assert store.versions() == {} and not store.home.exists()


def test_a_changed_or_missing_file_is_noticed(store, policy):
    version, _ = store.add(policy())
    data = version.path.read_bytes()
    version.path.write_bytes(data.replace(b'"high"', b'"lows"'))
    with pytest.raises(IntegrityError, match=r"night-export@1 .* was changed"):
        store.open("night-export")
    version.path.unlink()
    with pytest.raises(IntegrityError, match="its file is gone: restore a backup"):
        store.open("night-export@1")
    store.add(policy())  # the same content again mends it
    assert store.open("night-export@1") == version


def test_many_at_once_each_get_a_number_of_their_own(workspace, policy):
    def add(number):
        return PolicyStore(workspace).add(policy(f"events_24h > {number % 6}"))[0].number

    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(add, range(12)))
    assert sorted(numbers) == sorted([1, 2, 3, 4, 5, 6] * 2)
