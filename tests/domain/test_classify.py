"""Bounce classes of replies as the world writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.classify import bounce_class
from relay.domain.reply import Phase, Reply

CLASSES = {1, 10, 20, 21, 22, 23, 24, 25, 30, 40, 50, 51, 52, 53, 54, 60, 70, 80, 90, 100}

GMAIL = {
    "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the "
    "recipient's email address for typos or unnecessary spaces.": 10,
    "550 5.2.1 The email account that you tried to reach is disabled. 5.2.1 - gsmtp": 10,
    "452 4.2.2 The recipient's inbox is out of storage space.": 22,
    "552 5.2.2 The email account that you tried to reach is over quota. 5.2.2 - gsmtp": 22,
    "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend later": 70,
    "450 4.2.1 The user you are trying to contact is receiving mail at a rate that …": 70,
    "552 5.3.4 Your message exceeded Google's message size limits. - gsmtp": 23,
    "552 5.7.0 This message was blocked because its content presents a potential security issue. - gsmtp": 53,
    "421 4.7.28 Our system has detected an unusual rate of unsolicited mail originating from your IP "
    "address. To protect our users from spam, mail sent from it has been temporarily rate limited.": 51,
    "550 5.7.1 Our system has detected that this message is likely suspicious due to the very low reputation "
    "of the sending domain. To best protect our users from spam, the message has been blocked.": 51,
    "550 5.7.1 Our system has detected that this message is likely unsolicited mail. To reduce the amount of "
    "spam sent to Gmail, this message has been blocked.": 52,
    "550 5.7.26 This mail is unauthenticated, which poses a security risk to the sender and Gmail users.": 50,
    "550 5.7.25 The IP address sending this message does not have a PTR record setup": 50,
    "550 5.4.5 Daily user sending limit exceeded. 5.4.5 - gsmtp": 70,
    "421 4.3.0 Temporary System Problem. Try again later. - gsmtp": 70,
}
MICROSOFT = {
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@example.com not found by SMTP": 10,
    "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).": 10,
    "550 5.4.1 Recipient address rejected: Access denied. AS(201806281)": 10,
    "550 5.4.1 All recipient addresses rejected : Access denied. AS(201806281)": 10,
    "550 5.4.1 All recipient addresses rejected": 10,
    "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. Please contact your Internet service "
    "provider since part of their network is on our block list (S3150).": 51,
    "451 4.7.500 Server busy. Please try again later from [192.0.2.1]. (S77719)": 70,
    "550 5.7.509 Access denied, sending domain example.com does not pass DMARC verification": 50,
    "550 5.7.23 The message was rejected because of Sender Policy Framework violation": 50,
    "552 5.2.2 STOREDRV.Deliver; mailbox full": 22,
    "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException": 22,
    "550 5.7.64 TenantAttribution; Relay Access Denied": 54,
    "554 5.4.14 Hop count exceeded - possible mail loop": 20,
    "550 5.7.520 Message blocked because it contains content identified as spam": 52,
    "421 4.7.0 Service unavailable": 50,
}
YAHOO = {
    "554 delivery error: dd This user doesn't have a yahoo.com account (bob@yahoo.example) [0]": 10,
    "552 1 Requested mail action aborted, mailbox not found": 10,
    "554 5.7.9 Message not accepted for policy reasons. See https://postmaster.example": 50,
    "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints": 51,
    "451 4.3.2 Internal error reading data": 70,
    "552 5.2.2 bob@yahoo.example over quota": 22,
    "421 4.7.1 [TS03] All messages from 192.0.2.1 will be temporarily deferred": 70,
}
OTHERS = {
    # Postfix, Exim, Sendmail, qmail and what sits before them.
    "550 5.1.1 <antispam@example.com>: Recipient address rejected: User unknown in virtual mailbox table": 10,
    "550 <spam-junk@example.com> no such user here": 10,
    "450 4.1.1 <bob@example.com>: Recipient address rejected: unverified address": 20,
    "550 Unrouteable address": 10,
    "553 sorry, that domain isn't in my list of allowed rcpthosts": 54,
    "553 sorry, no mailbox here by that name. (#5.1.1)": 10,
    "553 requested action not taken": 40,
    "550 5.4.1 No answer from host": 24,
    "550 5.1.0 Address rejected": 10,
    "550 5.1.3 Bad address syntax": 10,
    "550 5.1.6 Recipient has moved": 10,
    "550 Account inactive": 10,
    "450 4.2.0 <bob@example.com>: Recipient address rejected: Greylisted, see http://postgrey.example": 70,
    "451 4.7.1 Greylisting in action, please come back later": 70,
    "554 5.7.1 <bob@example.org>: Relay access denied": 54,
    "550 5.7.1 Relaying denied": 54,
    "550 not permitted to relay through this server": 54,
    "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.spamhaus.org": 51,
    "554 Your IP is on a blacklist": 51,
    "554 5.7.1 The message was rejected: SpamAssassin score 12.0": 52,
    "550 5.7.1 Content filter rejection": 52,
    "450 4.1.8 <alice@acme.test>: Sender address rejected: Domain not found": 50,
    "550 5.1.8 Sender is unknown to us": 50,
    "550 5.1.7 Malformed reverse-path": 50,
    "550 5.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.1]": 50,
    "550 SPF check failed": 50,
    "550 5.7.1 Command rejected": 50,
    "550 access denied": 50,
    "452 4.3.1 Insufficient system storage": 70,
    "552 5.3.4 Message size exceeds fixed limit": 23,
    "552 5.2.3 length limit": 23,
    "552 message too large": 23,
    "552 storage allocation": 22,
    "550 mailbox is full": 22,
    "554 5.6.1 media type not supported": 53,
    "550 the file was found to contain a virus": 53,
    "554 5.6.0 Lone CR or LF in body": 40,
    "550 5.1.2 bad destination system": 21,
    "550 Host or domain name not found": 21,
    "451 4.4.3 cannot be resolved now": 21,
    "452 4.5.3 Error: too many recipients": 70,
    "421 too many connections from your host": 70,
    "421 4.4.5 Service unavailable, concurrency limit reached.": 70,
    "554 5.5.1 Error: no valid recipients": 30,
    "503 5.5.1 need RCPT": 40,
    "550 5.5.1 need RCPT": 30,
    "450 no recipients for the moment": 20,
    "421 4.4.2 mx.example.com Error: timeout exceeded": 24,
    "421 4.4.2 connection lost": 20,
    "550 5.2.0 some mailbox trouble": 20,
    "450 4.2.0 some mailbox trouble": 70,
    "554 5.3.0 unspecified": 40,
    "500 5.5.2 Error: bad syntax": 40,
    "451 4.5.0 protocol trouble": 70,
    "502 unimplemented": 40,
    "554 5.4.6 mail loop detected": 40,
    "550 5.2.1 Out of office until Monday": 60,
    "550 please reply to the challenge we sent": 100,
    "250 subscription confirmation": 80,
    "550 Bob has unsubscribed": 90,
    "421 see you": 70,
    "550 no": 1,
    "554 5.0.0 something": 1,
    "451 4.0.0 something": 70,
    "550": 1,
    "250 fine": 1,
}
INTERNAL = {
    # Our own texts.
    "454 4.4.4 [internal] no MX or A for domain": 21,
    "451 4.4.1 [internal] No valid hosts (unable to make any connections)": 24,
    "451 4.4.2 [internal] connection closed by remote host": 20,
    "421 4.4.0 [internal] no adequate servers": 20,
    "451 4.3.0 [internal] Sending IP temporarily suspended": 70,
    "550 5.7.1 [internal] discarded by policy": 25,
    "554 5.7.1 [internal] Campaign cancelled": 25,
    "554 5.7.1 recipient address was suppressed due to customer policy": 25,
    "554 5.4.7 [internal] message timeout (last transfail: no attempt was possible)": 24,
    "556 5.1.10 [internal] recipient domain has a null MX": 21,
    "553 5.1.3 [internal] the recipient is no address": 40,
    "451 4.4.1 [internal] connect: 110": 24,
    "550 5.4.4 [internal] spam.rbl.example is 10.0.0.1: private (route setting allow_private)": 21,
}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(line, expected, id=f"{who}: {line[:48]}")
        for who, lines in {
            "gmail": GMAIL,
            "microsoft": MICROSOFT,
            "yahoo": YAHOO,
            "others": OTHERS,
            "ours": INTERNAL,
        }.items()
        for line, expected in lines.items()
    ],
)
def test_a_reply_has_the_class_that_its_reader_would_give_it(line: str, expected: int) -> None:
    code, _, text = line.partition(" ")
    phase = Phase.INTERNAL if "[internal]" in text else Phase.RCPT
    assert bounce_class(Reply(int(code), text, phase)) == expected


HARD = {10, 30, 90}
UNKNOWN = (
    "550 5.1.1 <b@x.test>: user unknown",
    "550 5.1.0 <s@x.test>: unknown user",
    "550 no such user",
    "553 5.1.3 bad address",
    "501 5.1.7 Invalid address",
    "553 5.1.8 <s@x.test>... Domain of sender address s@x.test does not exist",
    "554 5.5.1 no valid recipients",
    "550 Bob has unsubscribed",
)


@pytest.mark.parametrize("line", UNKNOWN)
@pytest.mark.parametrize("phase", [one for one in Phase if one not in {Phase.RCPT, Phase.BODY}])
def test_only_a_reply_to_rcpt_or_to_the_dot_is_about_a_mailbox(line: str, phase: Phase) -> None:
    code, _, text = line.partition(" ")
    found = bounce_class(Reply(int(code), text, phase))
    assert found not in HARD
    assert phase is not Phase.MAIL or found == 50


@pytest.mark.parametrize("line", UNKNOWN[:4])
def test_what_is_said_of_several_recipients_at_once_is_about_none_of_their_mailboxes(line: str) -> None:
    code, _, text = line.partition(" ")
    reply = Reply(int(code), text, Phase.BODY)
    assert (bounce_class(reply), bounce_class(reply, is_shared=True)) == (10, 40)
    assert bounce_class(Reply(int(code), text, Phase.RCPT), is_shared=True) == 10


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("<s@x.test>: Sender address rejected: user unknown", 50),
        ("sender verify failed: no such user", 50),
        ("sorry, your envelope sender is in my badmailfrom list", 50),
        ("Return-Path does not exist", 50),
        ("MAIL FROM domain not found", 50),
        ("your IP has no such mailbox", 50),
        ("Client host rejected: invalid user", 50),
        ("your address is unknown here", 50),
        ("user unknown, listed in our blocklist", 51),
        ("no such user: this looks like spam", 52),
        ("too many invalid recipients", 70),
        ("user unknown; rate exceeded", 70),
        ("mailbox unavailable: limit of messages per hour", 70),
        ("Your account has been suspended for sending abuse", 50),
        ("Your e-mail account is disabled", 50),
        ("Mail account disabled, contact support", 50),
        ("Outgoing mail for this account has been disabled", 50),
        ("account suspended for sending spam", 50),
        ("account disabled for abuse", 50),
        ("Invalid user or password", 50),
        ("Authenticated user's mailbox is disabled", 50),
        ("SMTP user not found", 50),
        ("invalid address: HELO argument", 50),
        ("EHLO name: unknown address", 50),
        ("The return address does not exist", 50),
        ("The address you are sending from does not exist", 50),
        ("unknown user in From", 50),
        ("Envelope-From: unknown user", 50),
        ("Your user is disabled", 50),
        ("You are not a valid user: user unknown", 50),
        ("SASL user not found", 50),
        ("user not found: not logged in", 50),
        ("no mailbox for your organization", 50),
        ("Verification failed for <s@x.test>: unrouteable address", 50),
        ("Callout verification failed: unknown user", 50),
        ("sorry, that domain isn't in my list of allowed rcpthosts: no such user", 50),
        ("address 192.0.2.1 not found in allow-list", 50),
        ("mailbox temporarily disabled", 70),
        ("unknown user: try again later", 70),
        ("no RCPT at this time, maximum connections reached", 70),
        ("Recipient rejected by policy", 50),
        ("mailbox disabled for mail that fails DMARC", 50),
        ("recipient not authorized", 50),
        ("unknown user; your server is blocked", 50),
    ],
)
@pytest.mark.parametrize("code", ["550 5.1.1", "550 5.1.10", "550 5.1.0", "553 5.2.1", "553", "550 5.4.1"])
@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.BODY])
def test_words_about_the_sender_a_rate_or_a_policy_are_not_about_the_mailbox(
    words: str, expected: int, code: str, phase: Phase
) -> None:
    digits, _, enhanced = code.partition(" ")
    found = bounce_class(Reply(int(digits), f"{enhanced} {words}".strip(), phase))
    assert found == expected or (found not in HARD and code not in {"550 5.1.1", "550 5.1.10"})


@pytest.mark.parametrize(
    "line",
    [
        "550 5.1.1 user unknown, see https://antispam.example/policy?sender=s",
        "550 5.1.1 <spam-policy@x.test>: no such user",
        "550 5.1.1 no such user; please inform the sender",
        "550 5.1.1 user unknown: the message is returned to sender",
        "550 5.1.1 The mailbox is blocked",
        "550 5.2.1 This account has been disabled",
        "550 5.4.1 Recipient address rejected: Access denied.",
        "550 5.1.1 your recipient's mailbox is disabled",
        "550 5.1.1 user unknown [outbound.acme.test (auth-smtp.acme.test, login.x.test)]",
        "550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the "
        "recipient's email address for typos",
        "550 5.1.1 <b@x.test>: Recipient address rejected: undeliverable address: host mx.x.test said: 550 "
        "No such user (in reply to RCPT TO command)",
        "550 5.1.1 The account is not found; check your message and try again",
        "554 your message: mailbox unavailable",
        "553 5.4.1 no such mailbox",
    ],
)
def test_words_that_only_look_like_it_leave_a_hard_bounce_hard(line: str) -> None:
    code, _, text = line.partition(" ")
    assert bounce_class(Reply(int(code), text, Phase.RCPT)) == 10


@pytest.mark.parametrize(
    "code",
    [
        "550 5.1.7",
        "550 5.1.8",
        "553 5.7.1",
        "550 5.7.133",
        "535",
        "530 5.1.1",
        "535 5.7.8",
        "503",
        "503 5.1.1",
    ],
)
@pytest.mark.parametrize("words", ["invalid address", "Domain of address does not exist", "user disabled"])
@pytest.mark.parametrize("phase", [Phase.RCPT, Phase.BODY])
def test_a_code_of_the_sender_or_of_the_session_is_about_no_mailbox(
    code: str, words: str, phase: Phase
) -> None:
    """RFC 3463 §3.2: X.1.7 and X.1.8 are the sender's; RFC 4954: 53y is about a login."""
    digits, _, enhanced = code.partition(" ")
    reply = Reply(int(digits), f"{enhanced} {words}".strip(), phase)
    assert bounce_class(reply) == (40 if digits == "503" else 50)
    qmail = Reply(550, f"sorry, {words} (#5.7.1)", phase)
    assert bounce_class(qmail) == 50


@pytest.mark.parametrize("line", ["553", "553 5.4.1", "550 5.4.1 No answer from host", "553 not allowed"])
@pytest.mark.parametrize("phase", Phase)
def test_553_and_5_4_1_are_about_a_mailbox_only_where_words_say_so(line: str, phase: Phase) -> None:
    code, _, text = line.partition(" ")
    assert bounce_class(Reply(int(code), text, phase)) not in HARD


def test_every_class_of_the_contract_but_none_else_is_given() -> None:
    tables = (GMAIL, MICROSOFT, YAHOO, OTHERS, INTERNAL)
    assert {expected for table in tables for expected in table.values()} == CLASSES


@given(st.integers(400, 599), st.text(max_size=80), st.sampled_from(Phase))
def test_any_reply_has_a_class_and_a_temporary_one_is_never_hard(code: int, text: str, phase: Phase) -> None:
    found = bounce_class(Reply(code, text, phase))
    assert found in CLASSES
    assert code >= 500 or found not in {10, 30, 90}


def test_a_long_text_is_read_in_no_time() -> None:
    """Patterns must not backtrack without end on what a stranger answers."""
    for piece in ("mailbox ", "a@", "a", "<", "size ", "over ", "[internal] "):
        assert bounce_class(Reply(550, piece * 20_000, Phase.BODY)) in CLASSES
