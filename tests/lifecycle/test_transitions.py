"""What may follow what, who may do it, and the sentences that say why not."""

from datetime import UTC, datetime

import pytest

from workbench.errors import (
    InputError,
    KeyFileError,
    LifecycleError,
    NotFoundError,
    NotPermittedError,
    OvertakenError,
)
from workbench.evidence.certificates import Role
from workbench.lifecycle import Action, State

YEAR_NS = 365 * 24 * 3600 * 10**9


@pytest.fixture
def refused(project):
    """``refused(subject, "approve", "ann")`` is the sentence of the refusal; nothing was recorded."""

    def refused(subject, action, person, kind=LifecycleError, **more):
        before = project.custody.ledger.size
        with pytest.raises(kind) as caught:
            project.act(subject, action, person, **more)
        assert project.custody.ledger.size == before
        assert type(caught.value) is kind
        return str(caught.value)

    return refused


def states(project):
    return {row["subject"]: row["state"] for row in project.custody.ledger.query("FROM states")}


def test_a_policy_goes_from_draft_to_retired(project, policy):
    assert project.lifecycle.state(policy) is State.DRAFT
    assert project.act(policy, "submit", "rita").state is State.REVIEW
    assert project.act(policy, "approve", "ann").state is State.ACTIVE
    assert project.lifecycle.active("policy", "bulk") == "policy:bulk@1"
    assert project.act(policy, "retire", "olga").state is State.RETIRED
    assert project.lifecycle.active("policy", "bulk") is None
    assert [row["action"] for row in project.lifecycle.history(policy)] == ["submit", "approve", "retire"]


def test_a_state_may_be_named_instead_of_the_action(project, policy):
    for state, person in (("REVIEW", "rita"), ("DRAFT", "ann"), (State.REVIEW, "rita"), ("ACTIVE", "ann")):
        assert project.act(policy, state, person).state == state
    with pytest.raises(InputError, match=r"'actve' is neither a state nor an action; did you mean 'active'|known: "):
        project.act(policy, "actve", "ann")


def test_a_rejected_policy_may_be_submitted_again_and_old_approvals_are_void(project, policy):
    project.lifecycle.people.require("policy", 2, by="olga", passphrase="the words of olga")
    project.act(policy, "submit", "rita")
    assert project.act(policy, "approve", "ann").state is State.REVIEW
    project.act(policy, "reject", "ben")
    project.act(policy, "submit", "rita")
    assert project.act(policy, "approve", "cara").proposal.approvers == ("p:cara",)
    assert project.act(policy, "approve", "ann").state is State.ACTIVE


def test_the_submitter_cannot_approve(project, policy, refused):
    project.act(policy, "submit", "rob")
    assert refused(policy, "approve", "rob", NotPermittedError) == (
        "p:rob submitted policy:bulk@1: somebody else must approve it"
    )


def test_an_author_cannot_approve(project, refused):
    theirs = project.kind.write("bulk", 1, authors="p:ann p:eve")
    project.act(theirs, "submit", "rita")
    assert refused(theirs, "approve", "ann", NotPermittedError) == (
        "p:ann is an author of policy:bulk@1: somebody else must approve it"
    )
    assert project.act(theirs, "approve", "ben").state is State.ACTIVE


@pytest.mark.parametrize(
    "action,person,sentence",
    [
        ("submit", "ann", "policy.submit_policy is what a researcher may do, and p:ann is reviewer"),
        ("submit", "eve", "policy.submit_policy is what a researcher may do, and p:eve is examiner"),
        ("approve", "rita", "policy.approve_policy is what a reviewer may do, and p:rita is researcher"),
        ("reject", "olga", "policy.reject_policy is what a reviewer may do, and p:olga is owner"),
        ("retire", "rita", "policy.retire_policy is what a reviewer or owner may do, and p:rita is researcher"),
        ("withdraw", "eve", "policy.approve_policy is what a reviewer may do, and p:eve is examiner"),
    ],
)
def test_without_the_permission_nothing_is_done(policy, refused, action, person, sentence):
    assert refused(policy, action, person, NotPermittedError) == sentence


@pytest.mark.parametrize(
    "before,action,person,sentence",
    [
        ([], "approve", "ann", "policy:bulk@1 is a DRAFT: approve is possible from REVIEW only"),
        ([], "retire", "ann", "policy:bulk@1 is a DRAFT: retire is possible from ACTIVE only"),
        (
            [("submit", "rita")], "submit", "rob",
            "policy:bulk@1 is REVIEW (submit by p:rita, 2026-05-03 09:20 UTC): submit is possible from DRAFT only",
        ),
        (
            [("submit", "rita"), ("approve", "ann")], "approve", "ben",
            "policy:bulk@1 is ACTIVE (approve by p:ann, 2026-05-03 09:20 UTC): approve is possible from REVIEW only",
        ),
        (
            [("submit", "rita"), ("approve", "ann"), ("retire", "ann")], "submit", "rita",
            "policy:bulk@1 is RETIRED (retire by p:ann, 2026-05-03 09:20 UTC): submit is possible from DRAFT only",
        ),
        ([("submit", "rita")], "withdraw", "ann", "there is no approval of policy:bulk@1 by p:ann to withdraw"),
    ],
)  # fmt: skip
def test_a_step_that_the_table_does_not_have_says_where_the_policy_stands(
    project, policy, refused, before, action, person, sentence
):
    for one, who in before:
        project.act(policy, one, who)
    kind = NotPermittedError if action == "withdraw" else LifecycleError
    assert refused(policy, action, person, kind) == sentence


def test_a_reason_is_needed(policy, refused):
    assert (
        refused(policy, "submit", "rita", reason="  ")
        == "a reason is needed to submit policy:bulk@1: say it in a sentence"
    )
    assert refused(policy, "submit", "rita", reason="x" * 4001) == "a reason has at most 4,000 characters"


def test_metadata_is_kept_and_checked(project, policy, refused):
    decision = project.act(policy, "submit", "rita", metadata={"commit": "1f0c2d3", "ticket": "SEC-7"})
    assert decision.metadata == {"commit": "1f0c2d3", "ticket": "SEC-7"}
    (row,) = project.lifecycle.history(policy)
    assert (row["reason"], row["metadata"]) == ("because", {"commit": "1f0c2d3", "ticket": "SEC-7"})
    for metadata, sentence in (
        ({"Commit!": "1"}, "metadata 'Commit!': a key is of small letters, digits, '-' and '_'"),
        ({"commit": "1" * 501}, "metadata 'commit' is 501 characters long: at most 500 are kept"),
        ({f"k{n}": "1" for n in range(21)}, "21 items of metadata: at most 20 are kept"),
    ):
        assert refused(policy, "approve", "ann", InputError, metadata=metadata) == sentence


def test_what_is_not_fit_is_neither_submitted_nor_approved(project, policy, refused):
    project.kind.unfit.add("policy:bulk@1")
    sentence = "policy:bulk@1 is not fit to be used: it names no known control"
    assert refused(policy, "submit", "rita") == sentence
    project.kind.unfit.clear()
    project.act(policy, "submit", "rita")
    project.kind.unfit.add("policy:bulk@1")
    assert refused(policy, "approve", "ann") == sentence
    assert project.act(policy, "reject", "ann").state is State.DRAFT


def test_a_policy_that_was_changed_since_is_not_approved(project, policy, refused):
    project.act(policy, "submit", "rita")
    changed = project.kind.write("bulk", 1, "risk >= 0.1")
    sentence = "policy:bulk@1 is not what was submitted: its content was changed since. Make a new version"
    assert refused(changed, "approve", "ann") == sentence
    assert refused(policy, "approve", "ann") == sentence


def test_a_second_version_is_active_only_if_the_first_is_retired_in_the_same_step(project, policy, refused):
    project.activate(policy)
    second = project.kind.write("bulk", 2)
    project.act(second, "submit", "rita")
    assert refused(second, "approve", "ann") == (
        "policy:bulk@1 is ACTIVE, and only one version can be: agree to retire it in the same step (--retire-active)"
    )
    decision = project.act(second, "approve", "ann", retire_active=True)
    assert str(decision.proposal.retires) == "policy:bulk@1"
    assert decision.proposal.sentence.endswith(
        f"It goes from REVIEW to ACTIVE. policy:bulk@1 (SHA-256 {policy.sha256[:16]}…) goes from ACTIVE to RETIRED."
    )
    assert states(project) == {"policy:bulk@1": "RETIRED", "policy:bulk@2": "ACTIVE"}
    entries = project.custody.ledger.query("SELECT subject, action FROM subject_history ORDER BY seq DESC LIMIT 2")
    assert [(row["subject"], row["action"]) for row in entries] == [
        ("policy:bulk@2", "approve"),
        ("policy:bulk@1", "retire"),
    ]
    assert project.lifecycle.audit() == []


def test_two_of_three_must_approve_where_two_are_required(project, policy, refused):
    project.lifecycle.people.require("policy", 2, by="olga", passphrase="the words of olga")
    project.act(policy, "submit", "rita")
    first = project.act(policy, "approve", "ann")
    assert (first.state, first.proposal.sentence.endswith("It stays in REVIEW with 1 of 2 required approvals.")) == (
        "REVIEW",
        True,
    )
    assert refused(policy, "approve", "ann", NotPermittedError) == (
        "p:ann has approved policy:bulk@1 already: 2 different people are required"
    )
    project.act(policy, "withdraw", "ann")
    assert project.act(policy, "approve", "ben").state is State.REVIEW
    assert project.act(policy, "approve", "cara").state is State.ACTIVE
    assert project.lifecycle.audit() == []


def test_asking_says_the_same_as_doing(project, policy):
    life = project.lifecycle
    assert life.can_transition(policy, "REVIEW", "rita") == (True, "")
    assert life.can_transition(policy, "ACTIVE", "ann") == (
        False, "policy:bulk@1 is a DRAFT: approve is possible from REVIEW only",
    )  # fmt: skip
    assert [row.action for row in life.available_transitions(policy, "rita")] == [Action.SUBMIT]
    project.act(policy, "submit", "rob")
    assert [row.action for row in life.available_transitions(policy, "ann")] == [Action.APPROVE, Action.REJECT]
    assert [row.action for row in life.available_transitions(policy, "rob")] == [Action.REJECT]
    assert life.available_transitions(policy, "eve") == ()
    queue = life.waiting("Rob Example")
    assert [(row["subject"], row["may"], row["why_not"]) for row in queue] == [
        ("policy:bulk@1", ["reject"], "p:rob submitted policy:bulk@1: somebody else must approve it")
    ]


def test_whoever_is_slower_is_told_what_happened(project, policy, refused):
    project.act(policy, "submit", "rita")
    seen = project.lifecycle.propose(policy, "approve", "ben")
    project.act(policy, "reject", "ann")
    assert refused(policy, "approve", "ben", OvertakenError, proposal=seen) == (
        "somebody was faster: policy:bulk@1 is a DRAFT (reject by p:ann, 2026-05-03 09:20 UTC): "
        "approve is possible from REVIEW only; nothing was recorded"
    )


def test_a_proposal_that_no_longer_holds_is_not_signed(project, policy, refused):
    project.lifecycle.people.require("policy", 3, by="olga", passphrase="the words of olga")
    project.act(policy, "submit", "rita")
    seen = project.lifecycle.propose(policy, "approve", "ben")
    project.act(policy, "approve", "ann")
    assert "what was shown no longer holds (approve by p:ann, " in refused(
        policy, "approve", "ben", OvertakenError, proposal=seen
    )
    other = project.lifecycle.propose(policy, "approve", "cara")
    assert (
        refused(policy, "approve", "ben", InputError, proposal=other)
        == "the proposal is about something else: propose again"
    )


def test_what_follows_from_a_decision_happens_with_it_or_not_at_all(project, policy, refused):
    project.act(policy, "submit", "rita")
    project.act(policy, "approve", "ann")
    size = project.custody.ledger.size
    assert project.kind.told == [
        ("policy:bulk@1", "submit", size - 2, "rita", size - 1),
        ("policy:bulk@1", "approve", size - 1, "ann", size),
    ]
    project.kind.fail = True
    assert refused(policy, "retire", "ann", NotFoundError) == "what follows from the decision is not possible"
    assert project.lifecycle.state(policy) is State.ACTIVE


def test_a_wrong_passphrase_does_nothing(project, policy, refused):
    before = project.custody.ledger.size
    with pytest.raises(KeyFileError, match=r"^wrong passphrase for the approval key 'rita'$"):
        project.lifecycle.transition(policy, "submit", "rita", reason="because", passphrase="another one")
    assert project.custody.ledger.size == before


def test_the_key_of_somebody_else_does_nothing(project, policy):
    project.act(policy, "submit", "rita")
    signer = project.lifecycle.people.signer("ben", "the words of ben")
    with pytest.raises(KeyFileError, match=r"^this is the approval key 'ben', not that of p:ann$"):
        project.lifecycle.transition(policy, "approve", "ann", reason="because", signer=signer)
    report = project.custody.unlock("working passphrase").report
    with pytest.raises(KeyFileError, match=r"^this is the report key '[0-9a-f]{8}', not that of p:ann$"):
        project.lifecycle.transition(policy, "approve", "ann", reason="because", signer=report)


def test_an_expired_key_signs_nothing(project, policy):
    project.act(policy, "submit", "rita")
    project.clock.advance_ns(YEAR_NS)
    with pytest.raises(KeyFileError) as caught:
        project.act(policy, "approve", "ann")
    assert str(caught.value).startswith("the key of p:ann may not sign now: the key of the certificate ")
    assert str(caught.value).endswith("; `workbench keys rotate approval --name ann` replaces it")
    root = project.custody.root_signer("root passphrase")
    old = project.custody.store.unlock(Role.APPROVAL, "the words of ann", "ann")
    project.custody.rotate(old, "the words of ann", root=root)
    assert project.act(policy, "approve", "ann").state is State.ACTIVE
    assert project.lifecycle.check(policy) == []


def test_a_withdrawn_key_signs_nothing_and_what_it_signed_since_does_not_count(project, policy):
    project.activate(policy)
    sha256 = project.lifecycle.people.find("ann").certificate_sha256
    root = project.custody.root_signer("root passphrase")
    project.custody.revoke(sha256, "keyCompromise", datetime(2026, 5, 3, 9, 20, tzinfo=UTC), root=root)
    second = project.kind.write("other", 1)
    project.act(second, "submit", "rita")
    with pytest.raises(KeyFileError) as caught:
        project.act(second, "approve", "ann")
    assert str(caught.value) == (
        "the key of p:ann was withdrawn on 2026-05-03: `workbench keys add approval --person ann` makes one"
    )
    (found,) = project.lifecycle.check(policy)
    assert found.endswith("was withdrawn: it does not count from 2026-05-03 09:20 UTC on")
    assert project.lifecycle.state(policy) is State.REVIEW


def test_a_stranger_is_pointed_to_the_nearest(project, policy):
    with pytest.raises(NotFoundError, match=r"^nobody here is 'rit'; did you mean 'p:rita'\?$"):
        project.act(policy, "submit", "rit")


def test_a_kind_that_is_not_plugged_in_is_named(project):
    with pytest.raises(InputError, match=r"^nothing here knows subjects of the kind 'polcy'; did you mean 'policy'\?$"):
        project.lifecycle.find("polcy:bulk@1")
    with pytest.raises(
        InputError, match=r"is not a subject: expected one like policy:NAME@VERSION, model:v3 or report:ID"
    ):
        project.lifecycle.find("bulk")
