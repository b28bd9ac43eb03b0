"""What is suppressed, and what becomes of mail to it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from relay.domain.address import parse_mailbox
from relay.domain.events import Bounce, Subject
from relay.domain.lifecycle import Finish, expire, settle
from relay.domain.outcome import Bounced, Peer
from relay.domain.reply import Phase, Reply
from relay.domain.retry import RetryPolicy
from relay.domain.suppression import Kind, Source, after_bounce, bounce_suppressed, key_of, key_of_message
from tests.support.mail import NOW, build_message

PEER = Peer("127.0.0.9")


@pytest.mark.parametrize(
    ("text", "key"),
    [
        pytest.param("Bob@B.Example", "bob@b.example", id="case"),
        pytest.param("bob@bücher.example", "bob@xn--bcher-kva.example", id="a U-label domain"),
        pytest.param('"A b"@b.example', '"a b"@b.example', id="quoted"),
        pytest.param('"Bob"@b.example', "bob@b.example", id="needless quotes"),
        pytest.param("B..b@b.example", '"b..b"@b.example', id="without the quotes that it needs"),
    ],
)
def test_recipients_are_told_apart_by_their_key(text: str, key: str) -> None:
    mailbox = parse_mailbox(text)
    message = replace(build_message(), rcpt_to=mailbox.text, domain=mailbox.domain)
    assert key_of(mailbox) == key_of_message(message) == key


@pytest.mark.parametrize("text", ['"Bob"@b.example', '"b\\ob"@b.example', "bob@b.example"])
def test_mail_that_an_older_relay_queued_is_to_the_same_recipient(text: str) -> None:
    message = replace(build_message(), rcpt_to=text, domain="b.example")
    bounce = Bounce(NOW, Subject.of(message), 0, 0, PEER, 10, 550, "550 5.1.1 no such user")
    assert key_of_message(message) == "bob@b.example"
    assert {entry.recipient for entry in after_bounce(bounce)} == {"bob@b.example"}


@pytest.mark.parametrize(
    ("option", "kind"),
    [(True, Kind.TRANSACTIONAL), (False, Kind.NON_TRANSACTIONAL), (None, Kind.NON_TRANSACTIONAL)],
)
def test_mail_is_not_transactional_unless_it_says_so(option: bool | None, kind: Kind) -> None:
    assert Kind.of(option) is kind


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Source.BOUNCE_RULE, "554 5.7.1 recipient address was suppressed due to customer policy"),
        (Source.MANUALLY_ADDED, "554 5.7.1 recipient address was suppressed due to customer policy"),
        (Source.COMPLIANCE, "554 5.7.1 recipient address was suppressed due to system policy"),
    ],
)
def test_a_suppressed_recipient_bounces_with_the_literal_reason(source: Source, reason: str) -> None:
    message = build_message()
    bounce = bounce_suppressed(message, source, NOW)
    assert bounce == Bounce(NOW, Subject.of(message), 0, 0, Peer(), 25, 554, reason)


@pytest.mark.parametrize(
    ("bounce_class", "is_hard"), [(10, True), (30, True), (90, True), (25, False), (50, False), (1, False)]
)
def test_a_hard_bounce_stops_mail_of_both_kinds(bounce_class: int, is_hard: bool) -> None:
    message = build_message("Bob@b.example")
    bounce = Bounce(NOW, Subject.of(message), 0, 0, PEER, bounce_class, 550, "550 5.1.1 no such user")
    entries = after_bounce(bounce)
    assert {entry.kind for entry in entries} == (set(Kind) if is_hard else set())
    for entry in entries:
        assert (entry.account, entry.subaccount, entry.recipient) == (1, None, "bob@b.example")
        assert (entry.source, entry.description) == (Source.BOUNCE_RULE, "550 5.1.1 no such user")
        assert entry.created == entry.updated == NOW


def bounced(mail_from: str) -> Finish:
    message = replace(build_message(), mail_from=mail_from, attempts=1)
    outcome = Bounced(Reply(550, "5.1.1 no such user", Phase.RCPT), PEER)
    finish = settle(message, outcome, RetryPolicy(), NOW)
    assert isinstance(finish, Finish)
    return finish


def test_the_end_of_a_message_carries_what_it_suppresses() -> None:
    assert len(bounced("sender@acme.test").suppress) == 2


def test_a_notice_that_nobody_takes_suppresses_nobody() -> None:
    """It goes to the account's own sender."""
    assert bounced("").suppress == ()


def test_a_message_that_waited_too_long_suppresses_nobody() -> None:
    message = replace(build_message(), last_reply="450 4.2.1 try later")
    assert expire(message, NOW + timedelta(hours=72)).suppress == ()
