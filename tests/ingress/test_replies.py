"""Each error that an SMTP client can meet has its sentence (docs/rules.md#smtp-replies)."""

import pytest

from relay.domain import errors
from relay.domain.errors import (
    BadOptions,
    MailLoop,
    NoFreeId,
    NoSharedPool,
    PoolEmpty,
    PoolNotAllowed,
    Refused,
    RelayError,
    SharedNotAllowed,
    StaleDirectory,
    StoreUnavailable,
    Unavailable,
    UnconfiguredDomain,
    UnknownDkimKey,
    UnknownPool,
    UnverifiedDkimKey,
)
from relay.domain.words import ROWS, find_words
from relay.ingress.replies import internal_reply, printable, reply_for

SENTENCES = {kind: row.smtp for kind, row in ROWS.items() if row.smtp}
ELSEWHERE = {
    *(errors.Conflict, errors.SourceUnplumbed, errors.PeerUnreachable),
    *(
        errors.RestrictedDomain,
        errors.DomainElsewhere,
        errors.OverCap,
        errors.BeyondMaker,
        errors.ComplianceEntry,
    ),
    *(errors.NoIpsOnPlan, errors.IpsByRequest, errors.OverIpLimit, errors.NoFreeIps),
    errors.BeyondMaker,
}
"""Of operators, of delivery, of billing and of lists: no client of ours can cause them by SMTP."""


def leaves(kind: type[RelayError]) -> set[type[RelayError]]:
    """Those defined in the tree itself; other modules may refine them for their own use."""
    below = {found for found in kind.__subclasses__() if found.__module__ == errors.__name__}
    return set().union(*map(leaves, below)) if below else {kind}


def test_every_error_that_a_client_can_meet_has_a_sentence() -> None:
    told = {kind for kind in leaves(Refused) | leaves(Unavailable) if find_words(kind, "smtp")}
    assert told | ELSEWHERE == leaves(Refused) | leaves(Unavailable)
    assert not told & ELSEWHERE


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.__name__) for kind in SENTENCES])
def test_what_may_succeed_later_is_never_refused_for_good(kind: type[RelayError]) -> None:
    assert SENTENCES[kind][0] == ("4" if issubclass(kind, Unavailable) else "5")


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (UnknownPool("Nowhere"), "550 5.7.1 IP Pool 'Nowhere' does not exist"),
        (PoolEmpty("default"), "550 5.7.1 IP Pool 'default' is empty"),
        (PoolNotAllowed(7, "a", "b"), "550 5.7.1 Subaccount 7 is restricted to IP Pool 'a'"),
        (SharedNotAllowed(), "550 5.7.1 sp_shared is not a valid customer ip pool"),
        (BadOptions("X-MSYS-API 'tags'"), "550 5.6.0 X-MSYS-API 'tags'"),
        (UnconfiguredDomain("e.test"), "550 5.7.1 Unconfigured Sending Domain <e.test>"),
        (
            UnknownDkimKey("k", "e.test"),
            "550 5.6.0 X-MSYS-API Invalid DKIM key ID 'k' for sending domain 'e.test'",
        ),
        (
            UnverifiedDkimKey("k", "e.test"),
            "550 5.6.0 X-MSYS-API DKIM key 'k' is not verified for sending domain 'e.test'",
        ),
        (MailLoop(), "554 5.4.6 mail loop detected"),
        (NoFreeId(), "421 4.3.3 [internal] smtpapi unable to generate unique transmission id"),
        (NoSharedPool(), "451 4.3.0 No shared IP pool is configured, try again later"),
        (StoreUnavailable(), "451 4.3.0 Queue unavailable, try again later"),
        (UnknownPool("{0.__class__}"), "550 5.7.1 IP Pool '{0.__class__}' does not exist"),
        (UnknownPool("a\r\n250 OK ü"), "550 5.7.1 IP Pool 'a??250 OK ?' does not exist"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RelayError) else "",
)
def test_the_sentence_is_the_contracts(error: RelayError, reply: str) -> None:
    assert reply_for(error) == reply


def test_an_error_without_a_sentence_is_ours() -> None:
    assert reply_for(StaleDirectory()) is None
    assert internal_reply("0a1b") == "451 4.3.0 Internal error, try again later; reference 0a1b"


def test_what_a_client_made_us_quote_fills_no_more_than_a_line() -> None:
    """RFC 5321 §4.5.3.1.5."""
    assert len(reply_for(UnknownPool("x" * 10_000)) or "") < 510
    assert printable("a\0b\x1b\u202e") == "a?b??"
