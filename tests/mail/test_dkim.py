"""DKIM signatures, judged by a verifier that is not ours, and the records that publish the keys."""

import base64
import hashlib
from datetime import UTC, datetime

import dkim  # type: ignore[import-untyped] # dkimpy 1.1 has no types
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.mail.dkim import (
    SIGNED_FIELDS,
    Signer,
    UnusableKey,
    body_hash,
    check_key,
    encode_key,
    is_record_of,
    record,
    signature_field,
)
from relay.mail.headers import split_message

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
KEY = rsa.generate_private_key(65537, 1024)
PRIVATE, PUBLIC = encode_key(KEY)
SIGNER = Signer("acme.test", "scph0126", PRIVATE)

PLAIN = (
    b"From: Acme <news@acme.test>\r\n"
    b"To: bob@b.example\r\n"
    b"Subject: hello\r\n"
    b"Date: Mon, 05 Jan 2026 12:00:00 +0000\r\n"
    b"\r\n"
    b"Hello.\r\n"
)


def sign(message: bytes) -> bytes:
    header, body = split_message(message)
    return signature_field(header, body_hash(body), SIGNER, NOW) + message


def is_valid(message: bytes, public: str = PUBLIC) -> bool:
    """RFC 6376, as dkimpy reads it; SMTP ends each message with CRLF."""
    if not message.endswith(b"\r\n"):
        message += b"\r\n"

    def lookup(name: bytes, timeout: float = 0) -> bytes:
        return record(public).encode() if name == b"scph0126._domainkey.acme.test." else b""

    return bool(dkim.verify(message, dnsfunc=lookup))


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(PLAIN.removesuffix(b"Hello.\r\n"), id="no body"),
        pytest.param(PLAIN + b"\r\n \r\n\t\r\n\r\n", id="empty lines at the end"),
        pytest.param(PLAIN + b"no line end", id="no CRLF at the end"),
        pytest.param(PLAIN + b"ends in a space ", id="a space at the end"),
        pytest.param(PLAIN + b"two  spaces,\ta tab and \t some at the end \t\r\n.\r\n", id="white space"),
        pytest.param(PLAIN + "grüß Gott\r\n".encode(), id="8 bits"),
        pytest.param(PLAIN.replace(b"hello", b"a  long\r\n\t subject \r\n  folded "), id="a folded subject"),
        pytest.param(PLAIN.replace(b"To: ", b"tO:\t  "), id="an odd spelling"),
        pytest.param(PLAIN.replace(b"Subject: hello", b"Subject:"), id="an empty field"),
        pytest.param(b"Reply-To: a@acme.test\r\nReply-To: b@acme.test\r\n" + PLAIN, id="a field twice"),
        pytest.param(b"Reply-To: a@acme.test\r\n" * 40 + PLAIN, id="a field many times"),
        pytest.param(b"Content-Type: text/plain;\r\n charset=utf-8\r\n" + PLAIN, id="MIME"),
        pytest.param(b"From: only@acme.test\r\n\r\nx\r\n", id="hardly any field"),
        pytest.param(PLAIN + b"x" * 600_000 + b"\r\n", id="a long line"),
        pytest.param(PLAIN + b"x" * 300_000 + b"\r\n" + b"y " * 300_000, id="two long lines"),
        pytest.param(PLAIN + b"words and  words\r\n" * 40_000, id="more than is looked at at once"),
        pytest.param(PLAIN + b"\r\n" * 300_000 + b"end\r\n", id="many empty lines"),
        pytest.param(PLAIN + b" \r\n" * 300_000, id="many empty lines at the end"),
    ],
)
def test_what_we_sign_verifies_elsewhere(message: bytes) -> None:
    """RFC 6376 §3.4.2, §3.4.4."""
    assert is_valid(sign(message))


BODIES = st.lists(
    st.sampled_from([b"\r\n", b" ", b"\t", b"a", b"Hello.", b"  ", "ü".encode(), b"."]), max_size=40
).map(b"".join)


@given(BODIES)
@settings(max_examples=200, deadline=None)
def test_any_body_verifies_elsewhere(body: bytes) -> None:
    assert is_valid(sign(PLAIN + body))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b"Hello.", b"Hullo.", id="the body"),
        pytest.param(b"Subject: hello", b"Subject: hullo", id="a signed field"),
        pytest.param(b"Subject: hello\r\n", b"", id="a signed field removed"),
        pytest.param(b"Subject: hello", b"Subject: buy\r\nSubject: hello", id="a second subject"),
        pytest.param(b"From: Acme", b"From: x@evil.test\r\nFrom: Acme", id="a second From"),
        pytest.param(b"To: bob", b"To: eve@evil.test\r\nTo: bob", id="a second To"),
        pytest.param(b"Date: ", b"Date: x\r\nDate: ", id="a second date"),
    ],
)
def test_nobody_can_change_what_is_signed(old: bytes, new: bytes) -> None:
    """RFC 6376 §8.15."""
    assert not is_valid(sign(PLAIN).replace(old, new))


@pytest.mark.parametrize(
    "name",
    [
        "From",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Reply-To",
        "Sender",
        "Content-Type",
        "MIME-Version",
        "List-Unsubscribe",
    ],
)
@pytest.mark.parametrize("has_one", [False, True])
def test_no_field_that_tells_readers_what_to_do_can_be_added(name: str, has_one: bool) -> None:
    """RFC 6376 §8.15: a replayed message must not answer to, or unsubscribe at, somebody else's."""
    field_ = f"{name}: <https://acme.test/>\r\n".encode()
    own = PLAIN if not has_one or field_.split(b":")[0] in PLAIN else field_ + PLAIN
    signed = sign(own)
    assert is_valid(signed)
    added = f"{name}: <https://evil.test/>\r\n".encode()
    assert not is_valid(added + signed)
    head, body = signed.split(b"\r\n\r\n", 1)
    assert not is_valid(head + b"\r\n" + added + b"\r\n" + body)


def test_another_key_does_not_verify() -> None:
    assert not is_valid(sign(PLAIN), encode_key(rsa.generate_private_key(65537, 1024))[1])


def test_fields_of_one_copy_may_stand_above_the_signature() -> None:
    """All copies share one signature: those for Bcc differ by a field that is not signed."""
    assert is_valid(b"Bcc: carol@c.example\r\n" + sign(PLAIN))
    assert is_valid(b"Received: from x by y\r\n" + sign(PLAIN))
    assert "bcc" not in SIGNED_FIELDS.split(":")


def test_two_signatures_stand_beside_each_other() -> None:
    other = Signer("loop.test", "scph0126", PRIVATE)
    header, body = split_message(PLAIN)
    both = signature_field(header, body_hash(body), other, NOW) + sign(PLAIN)

    def lookup(name: bytes, timeout: float = 0) -> bytes:
        return record(PUBLIC).encode()

    judge = dkim.DKIM(both)
    assert [judge.verify(number, dnsfunc=lookup) for number in (0, 1)] == [True, True]


def test_no_line_of_the_signature_is_long() -> None:
    """RFC 5322 §2.1.1: 78, and never more than 998."""
    message = b"Reply-To: a@acme.test\r\n" * 300 + PLAIN
    field = sign(message)[: -len(message)]
    assert max(map(len, field.split(b"\r\n"))) <= 78
    assert b"a=rsa-sha256; c=relaxed/relaxed; d=acme.test;\r\n s=scph0126; t=1767614400;" in field


@pytest.mark.parametrize(
    ("body", "canonical"),
    [
        pytest.param(b"", b"", id="empty"),
        pytest.param(b"\r\n\r\n", b"", id="empty lines"),
        pytest.param(b" \t\r\n", b"", id="white space alone"),
        pytest.param(b"a", b"a\r\n", id="no CRLF"),
        pytest.param(b"a \r\n \r\n", b"a\r\n", id="white space at ends"),
        pytest.param(b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n", id="the example of RFC 6376 §3.4.5"),
        pytest.param(b"a\r", b"a\r\r\n", id="a CR is no line end"),
        pytest.param(b"a\r\r\n\r\n", b"a\r\r\n", id="a CR before empty lines"),
    ],
)
def test_the_relaxed_body(body: bytes, canonical: bytes) -> None:
    """RFC 6376 §3.4.4."""
    assert body_hash(body) == base64.b64encode(hashlib.sha256(canonical).digest()).decode()


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        pytest.param(f"v=DKIM1; k=rsa; h=sha256; p={PUBLIC}", True, id="ours"),
        pytest.param(f"p={PUBLIC}", True, id="the key alone"),
        pytest.param(f" k = rsa ; p = {PUBLIC[:40]} {PUBLIC[40:]} ; t=s", True, id="white space"),
        pytest.param(f"v=DKIM1; h=sha1:sha256; p={PUBLIC}; n=a=b", True, id="more hashes"),
        pytest.param(f"v=DKIM1; h=sha1; p={PUBLIC}", False, id="another hash"),
        pytest.param(f"v=DKIM2; p={PUBLIC}", False, id="another version"),
        pytest.param(f"k=ed25519; p={PUBLIC}", False, id="another kind"),
        pytest.param(f"p={PUBLIC[:-8]}AAAAAAA=", False, id="another key"),
        pytest.param("v=DKIM1; p=", False, id="revoked"),
        pytest.param(f"p=x; p={PUBLIC}", False, id="twice"),
        pytest.param("v=spf1 -all", False, id="SPF"),
        pytest.param("", False, id="empty"),
    ],
)
def test_a_record_is_known_by_its_key(text: str, holds: bool) -> None:
    """RFC 6376 §3.6.1."""
    assert is_record_of(text, PUBLIC) is holds


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, shape: serialization.PrivateFormat) -> str:
    return key.private_bytes(serialization.Encoding.PEM, shape, serialization.NoEncryption()).decode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(pem(KEY, serialization.PrivateFormat.PKCS8), id="PKCS #8"),
        pytest.param(pem(KEY, serialization.PrivateFormat.TraditionalOpenSSL), id="PKCS #1"),
        pytest.param(PRIVATE, id="base64 alone"),
        pytest.param(f" {PRIVATE[:64]}\n{PRIVATE[64:]}\n", id="base64 in lines"),
    ],
)
def test_a_customers_key_is_taken_in_the_usual_forms(text: str) -> None:
    assert check_key(text) == (PRIVATE, PUBLIC)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "not a private key", id="nothing"),
        pytest.param("what?", "not a private key", id="no base64"),
        pytest.param("ü" * 40, "not a private key", id="no ASCII"),
        pytest.param("AAAA" * 40, "not a private key", id="no DER"),
        pytest.param(PUBLIC, "not a private key", id="the public half"),
        pytest.param(
            pem(ec.generate_private_key(ec.SECP256R1()), serialization.PrivateFormat.PKCS8),
            "not an RSA key",
            id="another kind",
        ),
        pytest.param(
            pem(rsa.generate_private_key(65537, 1024), serialization.PrivateFormat.PKCS8).replace(
                "PRIVATE", "ENCRYPTED PRIVATE"
            )[:400],
            "not a private key",
            id="cut off",
        ),
    ],
)
def test_what_is_no_key_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UnusableKey, match=problem):
        check_key(text)


def test_a_key_may_not_be_so_large_that_each_message_pays_for_it() -> None:
    with pytest.raises(UnusableKey, match="1024 and 4096 bits"):
        check_key(encode_key(rsa.generate_private_key(65537, 4104))[0])


def test_a_signer_does_not_tell_its_key() -> None:
    assert PRIVATE not in repr(SIGNER)
