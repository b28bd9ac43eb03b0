"""Keys, user names and networks (docs/rules.md#mail-by-smtp), as values and on the wire."""

import base64
from ipaddress import ip_address

import pytest

from relay.domain.clients import client_address
from relay.domain.directory import Principal
from relay.domain.errors import NotAuthenticated, StoreUnavailable
from relay.domain.ids import SubaccountId
from relay.ingress.auth import Failures, credentials_of, decode_base64, decode_plain, principal_of
from tests.ingress.conftest import ACCOUNT, INJECT, Serve, Served, build_snapshot, hello, login, plain

HERE = ip_address("127.0.0.1")
REFUSED = "535 5.7.8 Sorry. *** No authentication type succeeded"
ACCEPTED = "235 2.0.0 Authed. Go on."
AS_123 = "SMTP_Injection:X-MSYS-SUBACCOUNT=123"


def principal(key: str, username: str = "SMTP_Injection", client: str = "127.0.0.1") -> Principal:
    shown = credentials_of(username.encode(), key.encode())
    return principal_of(build_snapshot(), shown, ip_address(client))


@pytest.mark.parametrize(
    ("key", "username", "subaccount"),
    [
        pytest.param("account-key", "SMTP_Injection", None, id="the account"),
        pytest.param("subaccount-key", "SMTP_Injection", 123, id="the key's subaccount"),
        pytest.param("account-key", AS_123, 123, id="a subaccount by name"),
        pytest.param("subaccount-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=125", 123, id="the key's own wins"),
        pytest.param("subaccount-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=999", 123, id="even over nobody"),
        pytest.param("local-key", "SMTP_Injection", None, id="a key for this address"),
    ],
)
def test_a_key_stands_for(key: str, username: str, subaccount: int | None) -> None:
    expected = None if subaccount is None else SubaccountId(subaccount)
    assert principal(key, username) == Principal(ACCOUNT, expected, INJECT)


@pytest.mark.parametrize(
    ("key", "username"),
    [
        pytest.param("wrong", "SMTP_Injection", id="no such key"),
        pytest.param("", "SMTP_Injection", id="an empty key"),
        pytest.param("account-key", "", id="no user name"),
        pytest.param("account-key", "smtp_injection", id="lower case"),
        pytest.param("account-key", "SMTP_Injection ", id="a space behind"),
        pytest.param("account-key", "SMTP_Injection\n", id="a line feed behind"),
        pytest.param("account-key", "SMTP_Injection:", id="a colon behind"),
        pytest.param("account-key", "SMTP_Injection:x-msys-subaccount=123", id="lower case subaccount"),
        pytest.param("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=", id="no number"),
        pytest.param("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=-1", id="negative"),
        pytest.param("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=0", id="zero"),
        pytest.param("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=１２３", id="digits of another script"),
        pytest.param("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=" + "1" * 5000, id="5000 digits"),
        pytest.param("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=999", id="no such subaccount"),
        pytest.param("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=124", id="a suspended subaccount"),
        pytest.param(
            "subaccount-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=x", id="no number, subaccount's key"
        ),
        pytest.param("rest-key", "SMTP_Injection", id="without the grant"),
        pytest.param("suspended-key", "SMTP_Injection", id="of a suspended account"),
        pytest.param("paused-key", "SMTP_Injection", id="of a suspended subaccount"),
        pytest.param("orphaned-key", "SMTP_Injection", id="of no account"),
        pytest.param("office-key", "SMTP_Injection", id="from elsewhere"),
        pytest.param("broken-key", "SMTP_Injection", id="a restriction that nobody can read"),
    ],
)
def test_a_key_stands_for_nobody(key: str, username: str) -> None:
    with pytest.raises(NotAuthenticated):
        principal(key, username)


@pytest.mark.parametrize(
    ("client", "is_allowed"),
    [
        ("10.1.2.3", True),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("::1", False),
        ("::ffff:10.1.2.3", True),
    ],
)
def test_valid_ips_are_addresses_and_networks(client: str, is_allowed: bool) -> None:
    shown = credentials_of(b"SMTP_Injection", b"office-key")
    try:
        principal_of(build_snapshot(), shown, client_address(client))
    except NotAuthenticated:
        assert not is_allowed
    else:
        assert is_allowed


def test_a_scoped_address_is_an_address() -> None:
    assert client_address("fe80::1%lo") == ip_address("fe80::1")


def test_credentials_keep_no_key() -> None:
    assert "account-key" not in repr(decode_plain(b"\0SMTP_Injection\0account-key"))


@pytest.mark.parametrize("text", ["a", "ab==c", "YQ", "Y Q==", "YQ=\n=", "YQ==YQ==", "ä"])
def test_base64_is_canonical(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of whatever kind
        decode_base64(text)


class TestFailures:
    def test_an_address_has_twenty_a_minute(self) -> None:
        failures = Failures()
        for _ in range(20):
            assert not failures.is_over(HERE, 0)
            failures.count(HERE, 0)
        assert failures.is_over(HERE, 59)
        assert not failures.is_over(ip_address("127.0.0.2"), 59)
        assert not failures.is_over(HERE, 60)
        failures.count(HERE, 61)
        assert not failures.is_over(HERE, 62)

    def test_a_network_of_ipv6_is_one_party(self) -> None:
        failures = Failures()
        for host in range(20):
            failures.count(ip_address(f"2001:db8::{host}"), 0)
        assert failures.is_over(ip_address("2001:db8::ffff"), 0)
        assert not failures.is_over(ip_address("2001:db8:0:1::1"), 0)

    def test_memory_is_bounded(self) -> None:
        failures = Failures()
        for number in range(25_000):
            failures.count(ip_address(number), number / 1000)
        assert not failures.is_over(ip_address(24_999), 25)
        for _ in range(20):
            failures.count(HERE, 25)
        assert failures.is_over(HERE, 25)

    def test_what_is_past_makes_room_first(self) -> None:
        failures = Failures()
        for number in range(9_999):
            failures.count(ip_address(number), 0)
        for _ in range(20):
            failures.count(HERE, 61)
        failures.count(ip_address(20_000), 61)
        assert failures.is_over(HERE, 62)


# ── on the wire ──────────────────────────────────────────────────────────────────────────


def b64(text: str) -> bytes:
    return base64.b64encode(text.encode())


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"AUTH PLAIN " + plain("account-key")], id="PLAIN"),
        pytest.param([b"auth plain " + plain("account-key")], id="lower case"),
        pytest.param([b"AUTH PLAIN " + plain("account-key", authzid="SMTP_Injection")], id="authzid"),
        pytest.param([b"AUTH PLAIN", plain("account-key")], id="PLAIN, asked"),
        pytest.param([b"AUTH LOGIN", b64("SMTP_Injection"), b64("account-key")], id="LOGIN"),
        pytest.param([b"AUTH LOGIN " + b64("SMTP_Injection"), b64("account-key")], id="LOGIN with the name"),
    ],
)
async def test_a_key_lets_in(smtp: Served, lines: list[bytes]) -> None:
    async with smtp.connect() as wire:
        await hello(wire)
        *asked, last = [await wire.ask(line) for line in lines]
        assert last == ACCEPTED
        assert (
            asked
            == {
                0: [],
                1: ["334 "] if b"PLAIN" in lines[0] else ["334 UGFzc3dvcmQ6"],
                2: ["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6"],
            }[len(asked)]
        )
        assert (await wire.ask(b"MAIL FROM:<a@acme.test>"))[:3] == "250"


async def test_a_subaccount_injects_as_itself(smtp: Served) -> None:
    async with smtp.connect() as wire:
        await hello(wire)
        assert await login(wire, username=AS_123) == ACCEPTED
        await wire.send(b"MAIL FROM:<>", b"RCPT TO:<b@gmail.example>", b"DATA", b".")
        assert [(await wire.reply())[:3] for _ in range(4)] == ["250", "250", "354", "250"]
    assert smtp.core.handed[0].principal == Principal(ACCOUNT, SubaccountId(123), INJECT)


@pytest.mark.parametrize("key", ["wrong", "rest-key", "suspended-key", "paused-key", "office-key"])
async def test_a_key_that_may_not_is_told_the_one_sentence(smtp: Served, key: str) -> None:
    """Whatever the reason."""
    async with smtp.connect() as wire:
        await hello(wire)
        assert await login(wire, key) == REFUSED
        assert await wire.ask(b"MAIL FROM:<a@acme.test>") == "550 5.7.1 relaying denied"


async def test_a_key_made_a_moment_ago_is_found(smtp: Served) -> None:
    smtp.directory.snapshot = build_snapshot(1, "rest-key")
    smtp.directory.newest = build_snapshot(2)
    async with smtp.connect() as wire:
        await hello(wire)
        assert await login(wire) == ACCEPTED
    assert smtp.directory.refreshed == 1


async def test_a_store_that_does_not_answer_is_no_refusal(smtp: Served) -> None:
    smtp.directory.failure = StoreUnavailable()
    async with smtp.connect() as wire:
        await hello(wire)
        assert (await login(wire, "wrong"))[:9] == "454 4.7.0"
        assert await login(wire) == ACCEPTED


async def test_three_failures_are_enough_for_a_connection(smtp: Served) -> None:
    async with smtp.connect() as wire:
        await hello(wire)
        assert [await login(wire, "wrong") for _ in range(3)] == [REFUSED] * 3
        assert (await login(wire))[:9] == "421 4.7.0"
        assert await wire.reply() == ""


async def test_an_address_that_guesses_is_let_go_but_not_one_that_knows(smtp: Served) -> None:
    for _ in range(7):
        async with smtp.connect() as wire:
            await hello(wire)
            said = [await login(wire, "wrong") for _ in range(3)]
    assert said == [REFUSED, REFUSED, "421 4.7.0 Too many failed authentications, try again later"]
    refreshed = smtp.directory.refreshed
    async with smtp.connect() as wire:
        await hello(wire)
        assert (await login(wire, "wrong"))[:9] == "421 4.7.0"
    assert smtp.directory.refreshed == refreshed == 20, "the store is not asked for those"
    async with smtp.connect() as wire:
        await hello(wire)
        assert await login(wire) == ACCEPTED


async def test_in_clear_no_key_is_asked_for_unless_configured(serve: Serve) -> None:
    async with serve(auth_without_tls=False) as smtp, smtp.connect() as wire:
        assert "AUTH" not in await hello(wire)
        assert (await login(wire))[:10] == "538 5.7.11"
        assert (await wire.ask(b"AUTH LOGIN"))[:10] == "538 5.7.11"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param([b"AUTH PLAIN " + plain("nobodys-key")], "key", id="no such key"),
        pytest.param([b"AUTH PLAIN " + plain("gone-key")], "revoked_key", id="a key that was revoked"),
        pytest.param(
            [b"AUTH PLAIN " + plain("office-key")], "valid_ips account=1 key=offi", id="from another address"
        ),
        pytest.param(
            [b"AUTH PLAIN " + plain("rest-key")], "grant account=1 key=rest", id="without the grant"
        ),
        pytest.param(
            [b"AUTH PLAIN " + plain("suspended-key")],
            "account_suspended account=2 key=susp",
            id="of a suspended account",
        ),
        pytest.param(
            [b"AUTH PLAIN " + plain("orphaned-key")], "account_unknown account=9 key=orph", id="of no account"
        ),
        pytest.param(
            [b"AUTH PLAIN " + plain("paused-key")],
            "subaccount_suspended account=1 subaccount=124 key=paus",
            id="of a suspended subaccount",
        ),
        pytest.param(
            [b"AUTH PLAIN " + plain("account-key", "SMTP_Injection:X-MSYS-SUBACCOUNT=999")],
            "subaccount_unknown account=1 key=acco",
            id="for a subaccount that is not there",
        ),
        pytest.param(
            [b"AUTH PLAIN " + plain("account-key", "x\nclient=192.0.2.66")],
            "user_name account=1 key=acco",
            id="name",
        ),
        pytest.param([b"AUTH PLAIN " + plain("gone-key", "root")], "user_name,revoked_key", id="both"),
        pytest.param(
            [b"AUTH PLAIN " + plain("nobodys-key", "root")], "user_name,key", id="both, never there"
        ),
        pytest.param([b"AUTH PLAIN " + plain("account-key", authzid="root")], "malformed", id="for another"),
        pytest.param([b"AUTH PLAIN", b"no base64!"], "malformed", id="no base64"),
        pytest.param([b"AUTH LOGIN", b"U01UUF9JbmplY3Rpb24=", b"bm9ib2R5cy1rZXk="], "key", id="LOGIN"),
    ],
)
async def test_each_refused_credential_is_told_with_the_clients_address_and_no_word_of_its_own(
    smtp: Served, caplog: pytest.LogCaptureFixture, said: list[bytes], reason: str
) -> None:
    smtp.directory.revoked.add("gone-key")
    async with smtp.connect() as wire:
        await hello(wire)
        for line in said:
            reply = await wire.ask(line)
        assert reply[:3] in ("501", "535")
    assert caplog.messages == [f"client=127.0.0.1 door=smtp reason={reason}"]


async def test_what_is_no_guess_is_not_told(smtp: Served, caplog: pytest.LogCaptureFixture) -> None:
    async with smtp.connect() as wire:
        await hello(wire)
        await wire.ask(b"AUTH PLAIN")
        assert (await wire.ask(b"*"))[:3] == "501"
        assert (await wire.ask(b"AUTH GSSAPI"))[:3] == "504"
        assert await login(wire) == ACCEPTED
    assert caplog.messages == []


async def test_who_has_guessed_enough_is_told_on_and_counted(
    smtp: Served, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(25):
        async with smtp.connect() as wire:
            await hello(wire)
            assert (await login(wire, "nobodys-key"))[:3] in ("535", "421")
    assert caplog.messages == ["client=127.0.0.1 door=smtp reason=key"] * 10
    smtp.refused.sum_up()
    assert caplog.messages[10:] == ["client=127.0.0.1 door=smtp more=15"]
