"""Who is enrolled, who holds which role, and who said so."""

from datetime import UTC, datetime

import pytest

from workbench.errors import InputError, KeyFileError, LifecycleError, NotFoundError, NotPermittedError

ROOT = "root passphrase"


def words(person):
    return f"the words of {person}"


@pytest.fixture
def people(project):
    return project.lifecycle.people


@pytest.fixture
def enrol(empty):
    def enrol(name, *roles, **more):
        root = empty.custody.root_signer(ROOT)
        return empty.lifecycle.people.enrol(name, passphrase="a good passphrase", root=root, roles=roles, **more)

    return enrol


def test_the_first_person_is_made_an_owner_by_the_root(empty, enrol):
    first = enrol("Olga  Example", "owner", "reviewer")
    assert (first.pseudonym, first.name, first.roles) == ("p:owner-1", "Olga Example", ("reviewer", "owner"))
    rows = empty.custody.ledger.query("SELECT role, granted_by, until FROM grants ORDER BY role")
    assert rows == [
        {"role": "owner", "granted_by": "p:local", "until": None},
        {"role": "reviewer", "granted_by": "p:owner-1", "until": None},
    ]
    assert empty.lifecycle.audit() == []


def test_the_ledger_knows_only_the_pseudonym(empty, enrol):
    enrol("Olga Example", "owner")
    assert b"Olga" not in b"".join(empty.custody.ledger.entries())
    (row,) = empty.custody.ledger.query("FROM people")
    assert (row["person"], row["roles"], row["enrolled_by"]) == ("p:owner-1", ["owner"], "p:local")
    assert empty.lifecycle.people.find("olga example").pseudonym == "p:owner-1"


def test_later_roles_are_granted_by_an_owner(empty, enrol):
    with pytest.raises(
        NotPermittedError, match=r"^there is no owner yet: the first person is enrolled with the role owner$"
    ):
        enrol("Ann Example", "reviewer")
    enrol("Olga Example", "owner")
    with pytest.raises(
        NotPermittedError, match=r"^roles are granted by an owner: say who \(--as\), or enrol without a role$"
    ):
        enrol("Ann Example", "reviewer")
    ann = enrol("Ann Example", "reviewer", by="owner-1", by_passphrase="a good passphrase")
    assert (ann.pseudonym, ann.roles) == ("p:reviewer-1", ("reviewer",))
    plain = enrol("Ben Example")
    assert (plain.pseudonym, plain.roles) == ("p:person-1", ())
    with pytest.raises(
        NotPermittedError, match=r"^people.grant is what an owner may do, and p:reviewer-1 is reviewer$"
    ):
        enrol("Cara Example", "reviewer", by="reviewer-1", by_passphrase="a good passphrase")
    assert [one.pseudonym for one in empty.lifecycle.people.all()] == ["p:owner-1", "p:reviewer-1", "p:person-1"]
    assert empty.lifecycle.audit() == []


@pytest.mark.parametrize(
    "name,roles,more,sentence",
    [
        ("", (), {}, "a person's name has 1 to 200 characters"),
        ("A", ("boss",), {}, "'boss' is not a role; known: examiner, owner, researcher, reviewer"),
        ("A", ("ownr",), {}, "'ownr' is not a role; did you mean 'owner'?"),
        (
            "A",
            ("owner",),
            {"pseudonym": "Anna B"},
            "'Anna B' cannot be a pseudonym: small letters, digits and '-', at most 40",
        ),
        (
            "A",
            ("owner",),
            {"pseudonym": "local"},
            "'local' cannot be a pseudonym: small letters, digits and '-', at most 40",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(empty, enrol, name, roles, more, sentence):
    before = empty.custody.ledger.size
    with pytest.raises(InputError) as caught:
        enrol(name, *roles, **more)
    assert str(caught.value) == sentence
    assert empty.custody.ledger.size == before
    assert [info.role for info in empty.custody.store.issued() if info.role == "approval"] == []


def test_a_passphrase_that_is_too_short_makes_nobody(empty):
    root = empty.custody.root_signer(ROOT)
    with pytest.raises(InputError, match=r"^a passphrase has at least 8 characters"):
        empty.lifecycle.people.enrol("A", passphrase="short", root=root, roles=["owner"])
    assert empty.lifecycle.people.all() == []


def test_a_pseudonym_is_taken_once(project, people):
    root = project.custody.root_signer(ROOT)
    with pytest.raises(InputError, match=r"^p:ann is enrolled already$"):
        people.enrol("Another", passphrase=words("x" * 9), root=root, pseudonym="ann")


def test_a_role_is_granted_and_taken_and_the_grants_keep_both(project, people):
    assert people.grant("Eve Example", "reviewer", by="olga", passphrase=words("olga")).roles == (
        "reviewer",
        "examiner",
    )
    project.clock.advance_ns(10**9)
    assert people.revoke("eve", "reviewer", by="olga", passphrase=words("olga")).roles == ("examiner",)
    (row,) = project.custody.ledger.query("FROM grants WHERE person = 'p:eve' AND role = 'reviewer'")
    assert (row["granted_by"], row["granted"], row["revoked_by"], row["until"]) == (
        "p:olga", "2026-05-03T09:20:00.000Z", "p:olga", "2026-05-03T09:20:01.000Z",
    )  # fmt: skip
    assert project.lifecycle.audit() == []


@pytest.mark.parametrize(
    "step,person,role,by,kind,sentence",
    [
        ("grant", "ann", "reviewer", "olga", LifecycleError, "p:ann holds the role reviewer already"),
        ("revoke", "ann", "owner", "olga", LifecycleError, "p:ann does not hold the role owner"),
        ("revoke", "olga", "owner", "olga", LifecycleError, "p:olga is the only owner: make somebody else one first"),
        ("grant", "eve", "reviewer", "ann", NotPermittedError, "people.grant is what an owner may do, and p:ann is reviewer"),
        ("revoke", "ann", "reviewer", "ben", NotPermittedError, "people.revoke is what an owner may do, and p:ben is reviewer"),
        ("grant", "nobody", "reviewer", "olga", NotFoundError, "nobody here is 'nobody'; known: p:ann, p:ben, p:cara, p:eve, p:olga, p:rita, p:rob"),
        ("grant", "ann", "boss", "olga", InputError, "'boss' is not a role; known: examiner, owner, researcher, reviewer"),
    ],
)  # fmt: skip
def test_a_change_of_roles_that_cannot_be_is_refused(project, people, step, person, role, by, kind, sentence):
    before = project.custody.ledger.size
    with pytest.raises(kind) as caught:
        getattr(people, step)(person, role, by=by, passphrase=words(by))
    assert (str(caught.value), type(caught.value)) == (sentence, kind)
    assert project.custody.ledger.size == before


def test_a_wrong_passphrase_of_the_owner_grants_nothing(people):
    with pytest.raises(KeyFileError, match=r"^wrong passphrase for the approval key 'olga'$"):
        people.grant("eve", "reviewer", by="olga", passphrase="guess")


def test_signing_in_is_unlocking_ones_key(people):
    assert people.signer("Ann Example", words("ann")).identity == "ann"
    with pytest.raises(KeyFileError, match=r"^wrong passphrase for the approval key 'ann'$"):
        people.signer("ann", words("ben"))


def test_a_name_that_fits_several_asks_which(project, people):
    root = project.custody.root_signer(ROOT)
    people.enrol("Ann Example", passphrase=words("other ann"), root=root)
    with pytest.raises(
        InputError, match=r"^'ann example' is the name of several people: say which of p:ann, p:person-1$"
    ):
        people.find("ann example")


def test_a_revoked_reviewer_decides_no_more_and_what_they_decided_stands(project, people, policy):
    project.activate(policy)
    people.revoke("ann", "reviewer", by="olga", passphrase=words("olga"))
    with pytest.raises(
        NotPermittedError, match=r"^policy.retire_policy is what a reviewer or owner may do, and p:ann has no role$"
    ):
        project.act(policy, "retire", "ann")
    assert project.lifecycle.state(policy) == "ACTIVE"
    assert project.lifecycle.audit() == []


def test_where_no_owner_has_a_key_the_root_makes_one_again(project, people):
    root = project.custody.root_signer(ROOT)
    with pytest.raises(NotPermittedError, match=r"^there is an owner, p:olga: roles are granted by an owner$"):
        people.make_owner("ann", root=root)
    project.clock.advance_ns(10**9)  # what she granted before stands
    at = datetime.fromtimestamp(project.clock.time_ns() / 1e9, tz=UTC)
    project.custody.revoke(people.find("olga").certificate_sha256, "cessationOfOperation", at, root=root)
    assert people.make_owner("ann", root=root).roles == ("reviewer", "owner")


def test_the_number_of_approvals_is_an_owner_s_to_say(project, people):
    for number in (0, 21):
        with pytest.raises(InputError, match=f"^{number} approvals: expected 1 to 20$"):
            people.require("policy", number, by="olga", passphrase=words("olga"))
    with pytest.raises(NotPermittedError, match=r"^approvals.require is what an owner may do, and p:ann is reviewer$"):
        people.require("policy", 2, by="ann", passphrase=words("ann"))
    people.require("policy", 2, by="olga", passphrase=words("olga"))
    (row,) = project.custody.ledger.query("FROM rules")
    assert (row["kind"], row["required"], row["set_by"]) == ("policy", 2, "p:olga")
    assert project.lifecycle.audit() == []
