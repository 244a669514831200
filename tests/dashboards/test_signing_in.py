"""Passphrases, attempts and sessions, without a server."""

import stat

import pytest

from workbench.clock import VirtualClock
from workbench.dashboards.attempts import Attempts
from workbench.dashboards.sessions import LIFETIME, Sessions, cookie_secret, dashboard_folder
from workbench.dashboards.unlocking import Unlocking
from workbench.errors import KeyFileError, StorageError
from workbench.evidence.keyfile import KeyDerivation

SECOND = 1_000_000_000


@pytest.fixture
def clock():
    return VirtualClock(start_ns=1_777_800_000 * SECOND)


@pytest.fixture
def attempts(tmp_path, clock):
    return Attempts(tmp_path / "attempts.json", clock=clock)


def test_after_five_attempts_one_passes_every_ten_minutes(attempts, clock):
    passed = []
    for second in range(3_001):
        try:
            while True:
                attempts.begin("p:ann")
                passed.append(second)
        except KeyFileError as error:
            told = str(error)
        if second in {0, 500}:
            left = "10 minutes" if second == 0 else "100 seconds"
            assert told == f"too many wrong passphrases: wait {left} and try again"
        clock.advance_ns(SECOND)
    assert passed == [0] * 5 + [600, 1_200, 1_800, 2_400, 3_000]


def test_a_clock_set_back_locks_nobody_out_for_longer(attempts, tmp_path):
    for _ in range(5):
        attempts.begin("p:ann")
    clock = VirtualClock(start_ns=SECOND)
    earlier = Attempts(tmp_path / "attempts.json", clock=clock)
    with pytest.raises(KeyFileError, match="wait 10 minutes"):
        earlier.begin("p:ann")
    clock.advance_ns(600 * SECOND)
    earlier.begin("p:ann")


def test_other_processes_and_other_people_are_counted_apart_and_together(attempts, tmp_path, clock):
    for _ in range(5):
        Attempts(tmp_path / "attempts.json", clock=clock).begin("p:ann")
    with pytest.raises(KeyFileError):
        attempts.begin(" P:ANN ")
    attempts.begin("p:ben")


def test_a_flood_of_other_names_makes_nobody_s_attempts_forgotten(office, words_of, monkeypatch):
    """Whoever guesses must not reset the count by typing names that nobody has."""
    monkeypatch.setattr("workbench.dashboards.unlocking._STRANGERS", 20)
    unlocking = Unlocking(office.custody)
    for _ in range(5):
        with pytest.raises(KeyFileError, match="is not right"):
            unlocking.sign_in("ann", "guess")
    for number in range(30):
        office.clock.advance_ns(SECOND // 100)
        with pytest.raises(KeyFileError, match="is not right"):
            unlocking.sign_in(f"nobody {number}", "guess")
    for text in ("ann", "Ann Example", "p:ann"):
        with pytest.raises(KeyFileError, match=r"^too many wrong passphrases: wait 10 minutes and try again$"):
            unlocking.sign_in(text, words_of("ann"))
    assert "nobody" not in (dashboard_folder(office.workspace) / "strangers.json").read_text()


def test_a_stranger_s_passphrase_takes_as_long_to_be_wrong(office, monkeypatch):
    """By the time it takes nobody learns who is here; counted, not measured."""
    derived = []
    monkeypatch.setattr(KeyDerivation, "derive", lambda self, *_: derived.append(self) or bytes(32))
    unlocking = Unlocking(office.custody)
    for person in ("ann", "nobody"):
        with pytest.raises(KeyFileError, match="is not right"):
            unlocking.sign_in(person, "guess")
    assert derived == [office.custody.store.derivation] * 2


@pytest.mark.parametrize("person", ["ann", "nobody"])
def test_half_a_character_is_no_passphrase(office, person):
    with pytest.raises(KeyFileError, match="has a character that cannot be"):
        Unlocking(office.custody).sign_in(person, "half \ud83d")


def test_who_signs_in_again_and_again_ends_nobody_else_s_session(tmp_path, clock):
    sessions = Sessions(tmp_path / "sessions.json", clock=clock)
    ben = sessions.begin("p:ben", "cd" * 32)
    tokens = [sessions.begin("p:ann", "ab" * 32) for _ in range(25)]
    assert sessions.find(ben) is not None
    assert [sessions.find(token) is not None for token in tokens] == [False] * 5 + [True] * 20


def test_a_right_passphrase_clears_the_count_and_an_hour_forgets_it(attempts, clock):
    for _ in range(5):
        attempts.begin("p:ann")
    attempts.succeeded("p:ann")
    for _ in range(5):
        attempts.begin("p:ann")
    clock.advance_ns(3_600 * SECOND)
    for _ in range(5):
        attempts.begin("p:ann")


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"a": 1}', b"\xff", b'{"a": [1, "x"]}'])
def test_a_damaged_count_begins_anew(attempts, tmp_path, damage):
    (tmp_path / "attempts.json").write_bytes(damage)
    attempts.begin("p:ann")
    assert b"ann" not in (tmp_path / "attempts.json").read_bytes()


def test_a_session_lasts_eight_hours_or_until_it_is_ended(tmp_path, clock):
    sessions = Sessions(tmp_path / "sessions.json", clock=clock)
    token, other = sessions.begin("p:ann", "ab" * 32), sessions.begin("p:ben", "cd" * 32)
    found = Sessions(tmp_path / "sessions.json", clock=clock).find(token)  # as after a restart
    assert found is not None and (found.person, found.certificate_sha256) == ("p:ann", "ab" * 32)
    assert sessions.find(token[:-1]) is None
    assert token.encode() not in (tmp_path / "sessions.json").read_bytes()
    assert stat.S_IMODE((tmp_path / "sessions.json").stat().st_mode) == 0o600
    sessions.end(found)
    assert sessions.find(token) is None and sessions.find(other) is not None
    clock.advance_ns(LIFETIME * SECOND)
    assert sessions.find(other) is None and sessions.living() == frozenset()


@pytest.mark.parametrize("damage", [b"", b"{}", b"[[1]]", b"null", b'[["a", "b", "c", "x"]]'])
def test_of_damaged_sessions_none_is_left(tmp_path, clock, damage):
    sessions = Sessions(tmp_path / "sessions.json", clock=clock)
    token = sessions.begin("p:ann", "ab" * 32)
    (tmp_path / "sessions.json").write_bytes(damage)
    assert sessions.find(token) is None


def test_the_cookie_secret_is_made_once_and_is_nobody_else_s_to_read(workspace):
    folder = dashboard_folder(workspace)
    secret = cookie_secret(folder)
    assert (len(secret), cookie_secret(folder)) == (64, secret)
    path = folder / "cookie-secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(folder.stat().st_mode) == 0o700
    path.write_bytes(b"short")
    with pytest.raises(StorageError, match="is damaged: remove it"):
        cookie_secret(folder)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="open to other users"):
        cookie_secret(folder)


def test_one_signs_in_by_name_or_pseudonym_with_one_s_own_passphrase(office, words_of):
    unlocking = Unlocking(office.custody)
    for text in ("ann", "p:ann", "Ann Example", " ann example "):
        person, signer = unlocking.sign_in(text, words_of("ann"))
        assert (person.pseudonym, signer.identity) == ("p:ann", "ann")


def test_a_stranger_and_a_wrong_passphrase_are_told_alike(office, words_of):
    unlocking = Unlocking(office.custody)
    told = set()
    for person, passphrase in (("nobody", "x"), ("ann", "x"), ("ann", words_of("ben")), ("ann", words_of("ann") + " ")):
        with pytest.raises(KeyFileError) as caught:
            unlocking.sign_in(person, passphrase)
        told.add(str(caught.value))
    assert told == {"the person or the passphrase is not right"}


@pytest.mark.parametrize(
    ("person", "passphrase", "told"),
    [
        ("", "x", "say who you are"),
        ("ann", "", "type your passphrase"),
        ("ann", "x" * 1_001, "at most 1,000 characters"),
    ],
)
def test_what_cannot_be_right_is_said_and_not_counted(office, words_of, person, passphrase, told):
    unlocking = Unlocking(office.custody)
    for _ in range(9):
        with pytest.raises(KeyFileError, match=told):
            unlocking.sign_in(person, passphrase)
    unlocking.sign_in("ann", words_of("ann"))


def test_signing_in_and_signing_share_one_count(office, words_of):
    unlocking = Unlocking(office.custody)
    for _ in range(5):
        with pytest.raises(KeyFileError, match="wrong passphrase; nothing was signed"):
            unlocking.unlock("p:ann", "wrong")
    with pytest.raises(KeyFileError, match="wait 10 minutes"):
        unlocking.sign_in("ann", words_of("ann"))
    office.clock.advance_ns(600 * SECOND)
    unlocking.sign_in("ann", words_of("ann"))


def test_a_key_past_its_time_does_not_sign_in(office, words_of):
    office.clock.advance_ns(20 * 365 * 86_400 * SECOND)
    with pytest.raises(KeyFileError, match="may not sign now"):
        Unlocking(office.custody).sign_in("ann", words_of("ann"))


def test_of_two_people_with_one_name_each_signs_in_by_pseudonym(office, words_of):
    root = office.custody.root_signer("root passphrase")
    office.lifecycle.people.enrol(
        "Ann Example", passphrase="the words of another", root=root, roles=("reviewer",), pseudonym="ann-2", by="olga",
        by_passphrase=words_of("olga"),
    )  # fmt: skip
    unlocking = Unlocking(office.custody)
    with pytest.raises(KeyFileError, match="several people have this name"):
        unlocking.sign_in("Ann Example", words_of("ann"))
    assert unlocking.sign_in("ann-2", "the words of another")[0].pseudonym == "p:ann-2"
