"""Users of the console: names, passwords, roles, and when a session has ended."""

import unicodedata
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.ids import AccountId
from relay.domain.users import (
    IDLE,
    LIFE,
    MAX_NAME,
    MAX_PASSWORD,
    Role,
    Session,
    SessionId,
    UnfitName,
    UnfitPassword,
    UnfitRole,
    User,
    UserId,
    address_of_client,
    check_role,
    client_network,
    ends_at,
    is_live,
    name_key,
    normal_password,
    parse_password,
    parse_user_name,
    shorten,
)

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
SECOND = timedelta(seconds=1)
E_ACUTE, E_AND_ACUTE = "\u00e9", "e\u0301"


def _session(last_seen: datetime = NOW) -> Session:
    return Session(SessionId("s1"), UserId(1), "0" * 64, NOW, last_seen, "Firefox", "127.0.0.1")


# ── names ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "name"),
    [
        pytest.param("jane@example.com", "jane@example.com", id="an e-mail address"),
        pytest.param("  Jane Doe ", "Jane Doe", id="spaces around"),
        pytest.param(f"Ren{E_AND_ACUTE}", f"Ren{E_ACUTE}", id="composed"),
        pytest.param("x" * 128, "x" * 128, id="the longest"),
        pytest.param("李雷", "李雷", id="another script"),
    ],
)
def test_a_name_is_an_address_or_a_plain_name(text: str, name: str) -> None:
    assert parse_user_name(text) == name


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "0 characters", id="empty"),
        pytest.param("   ", "0 characters", id="spaces"),
        pytest.param("x" * 129, "129 characters: expected 1 to 128", id="too long"),
        pytest.param("a\nb", "do not print", id="a line end"),
        pytest.param("a\0b", "do not print", id="NUL"),
        pytest.param("a\u202eb", "do not print", id="written backwards"),
        pytest.param("a\u200bb", "do not print", id="a space of no width"),
        pytest.param("a\udcffb", "do not print", id="an octet that is no UTF-8"),
    ],
)
def test_a_name_that_people_cannot_tell_from_another_is_refused(text: str, words: str) -> None:
    with pytest.raises(UnfitName, match=words) as caught:
        parse_user_name(text)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("Jane@Example.COM", "jane@example.com", id="case"),
        pytest.param("STRASSE", "straße", id="case of more than one letter"),
        pytest.param(f"REN{E_AND_ACUTE.upper()}", f"ren{E_ACUTE}", id="composition"),
        pytest.param(" jane", "jane", id="spaces"),
    ],
)
def test_names_that_differ_in_case_alone_are_one(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@given(st.text(max_size=140))
def test_a_name_is_refused_or_is_its_own_best_form(text: str) -> None:
    try:
        name = parse_user_name(text)
    except UnfitName:
        return
    assert parse_user_name(name) == name
    assert unicodedata.is_normalized("NFC", name)
    assert name_key(name) == name_key(text)


# ── passwords ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "password", ["x" * 12, "x" * 256, " " * 12, "pass\0word pass", "p\u00e4ssw\u00f6rter!!"]
)
def test_a_password_may_have_any_characters(password: str) -> None:
    assert parse_password(password, "jane") == password


@pytest.mark.parametrize(
    ("password", "words"),
    [
        pytest.param("x" * 11, "11 characters: expected 12 to 256", id="too short"),
        pytest.param("x" * 257, "257 characters: expected 12 to 256", id="too long"),
        pytest.param(E_AND_ACUTE * 11, "11 characters", id="too short when composed"),
        pytest.param("JANE@Example.com", "is the user's name", id="the name"),
    ],
)
def test_a_password_that_is_easily_guessed_is_refused(password: str, words: str) -> None:
    with pytest.raises(UnfitPassword, match=words):
        parse_password(password, "jane@example.com")


def test_a_password_is_the_same_however_a_keyboard_composes_it() -> None:
    assert parse_password(E_AND_ACUTE * 12, "jane") == parse_password(E_ACUTE * 12, "jane")


def test_a_text_too_long_for_a_name_or_a_password_is_not_composed() -> None:
    """It would take as long as the square of the length, for anybody who asks."""
    marks = "a" + "\u0301\u0323" * 2000
    assert normal_password(marks) == marks
    with pytest.raises(UnfitName):
        parse_user_name(marks)
    longest = "\u1fa7" * MAX_PASSWORD
    assert normal_password(unicodedata.normalize("NFD", longest)) == longest
    assert parse_user_name(unicodedata.normalize("NFD", longest[:MAX_NAME])) == longest[:MAX_NAME]


def test_no_hash_is_shown_with_a_user_or_a_session() -> None:
    user = User(UserId(1), "jane", Role.OPERATOR, None, "$argon2id$secret", False, NOW)
    assert "secret" not in repr(user)
    assert "0" * 64 not in repr(_session())


# ── roles ────────────────────────────────────────────────────────────────────────────────


def test_operators_have_no_account_and_all_others_have_one() -> None:
    check_role(Role.OPERATOR, None)
    check_role(Role.ADMIN, AccountId(1))
    check_role(Role.READER, AccountId(1))
    with pytest.raises(UnfitRole, match="an operator has no account"):
        check_role(Role.OPERATOR, AccountId(1))
    for role in (Role.ADMIN, Role.READER):
        with pytest.raises(UnfitRole, match=f"the role {role} belongs to an account"):
            check_role(role, None)


# ── sessions ─────────────────────────────────────────────────────────────────────────────


def test_a_session_ends_when_it_is_not_used_for_twelve_hours() -> None:
    assert is_live(_session(), NOW + timedelta(hours=12) - SECOND)
    assert not is_live(_session(), NOW + timedelta(hours=12))


def test_a_session_ends_after_seven_days_however_busy() -> None:
    last = NOW + timedelta(days=7) - SECOND
    assert ends_at(_session(last)) == NOW + LIFE
    assert is_live(_session(last), last)
    assert not is_live(_session(last), NOW + LIFE)
    assert ends_at(_session(NOW + SECOND)) == NOW + SECOND + IDLE


@pytest.mark.parametrize(
    ("client", "network"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="IPv4"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", id="IPv4 by an IPv6 socket"),
        pytest.param("2001:DB8::1", "2001:db8::/64", id="IPv6"),
        pytest.param("2001:db8:0:0:ffff::2", "2001:db8::/64", id="IPv6, the same household"),
        pytest.param("fe80::1%eth0", "fe80::/64", id="a link-local address"),
        pytest.param("", "", id="unknown"),
        pytest.param("a\nunix socket", "a unix socket", id="no address"),
    ],
)
def test_one_client_is_an_ipv4_address_or_the_64_of_an_ipv6_one(client: str, network: str) -> None:
    assert client_network(client) == network


def test_addresses_are_kept_in_canonical_form() -> None:
    assert address_of_client("2001:DB8:0::1") == "2001:db8::1"
    assert address_of_client("::ffff:192.0.2.1") == "192.0.2.1"
    assert len(address_of_client("x" * 1000)) == 64


def test_what_a_browser_says_of_itself_is_one_short_line() -> None:
    assert shorten("Firefox\r\n\x1b[31mred") == "Firefox   [31mred"
    assert len(shorten("x" * 1000)) == 200
