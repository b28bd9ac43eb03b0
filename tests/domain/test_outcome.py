"""What a reply means for a message, and for the path that brought it."""

import pytest

from relay.domain.outcome import Bounced, Deferred, Delivered, Peer, backs_off, is_about_session, judge
from relay.domain.reply import Phase, Reply

PEER = Peer("127.0.0.99", 1)


@pytest.mark.parametrize(
    ("code", "phase", "kind"),
    [
        pytest.param(250, Phase.BODY, Delivered, id="the final dot's 250 delivers"),
        pytest.param(250, Phase.RCPT, Deferred, id="an earlier 250 does not"),
        pytest.param(354, Phase.BODY, Deferred, id="nor does a 3xx to the final dot"),
        pytest.param(550, Phase.MAIL, Bounced, id="5xx to MAIL"),
        pytest.param(550, Phase.RCPT, Bounced, id="5xx to RCPT"),
        pytest.param(554, Phase.DATA, Bounced, id="5xx to DATA"),
        pytest.param(554, Phase.BODY, Bounced, id="5xx to the final dot"),
        pytest.param(556, Phase.INTERNAL, Bounced, id="null MX"),
        pytest.param(554, Phase.GREETING, Deferred, id="a refused greeting is not about the mail"),
        pytest.param(550, Phase.EHLO, Deferred, id="nor a refused EHLO"),
        pytest.param(554, Phase.STARTTLS, Deferred, id="nor STARTTLS"),
        pytest.param(535, Phase.AUTH, Deferred, id="nor a wrong password of ours"),
        pytest.param(451, Phase.RCPT, Deferred, id="4xx"),
        pytest.param(999, Phase.BODY, Deferred, id="a code that no server should send"),
        pytest.param(150, Phase.BODY, Deferred, id="a 1xx"),
    ],
)
def test_a_reply_delivers_defers_or_bounces_by_code_and_phase(code: int, phase: Phase, kind: type) -> None:
    reply = Reply(code, "text", phase)
    outcome = judge(reply, PEER)
    assert type(outcome) is kind
    assert (outcome.reply, outcome.peer) == (reply, PEER)


def test_a_loss_after_the_final_dot_is_marked() -> None:
    outcome = judge(Reply(451, "4.4.2 lost", Phase.BODY), PEER, is_ambiguous=True)
    assert outcome == Deferred(Reply(451, "4.4.2 lost", Phase.BODY), PEER, is_ambiguous=True)


@pytest.mark.parametrize(
    ("code", "phase", "rests"),
    [
        pytest.param(451, Phase.CONNECT, True, id="no connection"),
        pytest.param(554, Phase.GREETING, True, id="a refused greeting"),
        pytest.param(421, Phase.MAIL, True, id="421 to MAIL"),
        pytest.param(421, Phase.BODY, True, id="421 to the final dot"),
        pytest.param(451, Phase.MAIL, False, id="4xx to MAIL"),
        pytest.param(452, Phase.RCPT, False, id="4xx to RCPT"),
        pytest.param(451, Phase.BODY, False, id="4xx to DATA"),
        pytest.param(535, Phase.AUTH, False, id="AUTH"),
    ],
)
def test_only_what_speaks_of_the_host_rests_its_path(code: int, phase: Phase, rests: bool) -> None:
    assert backs_off(Reply(code, "", phase)) == rests


@pytest.mark.parametrize(
    ("line", "phase", "is_lost", "expected"),
    [
        pytest.param("452 4.4.5 Maximum number of messages", Phase.MAIL, False, True, id="4xx to MAIL"),
        pytest.param("421 4.4.5 closing", Phase.RCPT, True, True, id="421"),
        pytest.param("451 4.4.2 [internal] no reply in time: DATA", Phase.DATA, True, True, id="silence"),
        pytest.param("503 5.5.1 MAIL again?", Phase.MAIL, False, True, id="503 to MAIL"),
        pytest.param("550 5.7.0 Too many messages", Phase.MAIL, False, True, id="5xx that names messages"),
        pytest.param("554 no more in this session", Phase.BODY, False, True, id="5xx that names the session"),
        pytest.param("450 4.2.0 greylisted", Phase.RCPT, False, False, id="4xx to RCPT"),
        pytest.param("553 5.1.8 unknown sender", Phase.MAIL, False, True, id="a refused sender"),
        pytest.param("554 5.7.0 Message limit reached", Phase.MAIL, False, True, id="5xx of a limit"),
        pytest.param("550 5.7.1 no", Phase.MAIL, True, True, id="5xx of nothing"),
        pytest.param("503 5.5.1 MAIL first", Phase.RCPT, False, True, id="503 to RCPT"),
        pytest.param("503 RCPT first", Phase.DATA, False, True, id="503 to DATA"),
        pytest.param(
            "450 4.7.1 Maximum messages per connect exceeded", Phase.RCPT, False, True, id="per connect"
        ),
        pytest.param("451 4.7.1 message limit reached", Phase.DATA, False, True, id="a limit at DATA"),
        pytest.param("550 limit of messages, reconnect", Phase.BODY, False, True, id="reconnect"),
        pytest.param("550 5.2.2 limit of the mailbox", Phase.RCPT, False, False, id="a mailbox's limit"),
        pytest.param("552 message size limit", Phase.BODY, False, False, id="a limit of the size"),
        pytest.param("550 5.1.1 unknown user", Phase.RCPT, True, False, id="a bounce, then the end"),
        pytest.param("250 2.0.0 Ok", Phase.BODY, True, False, id="acceptance, then the end"),
        pytest.param("552 5.3.4 [internal] too big", Phase.INTERNAL, False, False, id="our own"),
    ],
)
def test_a_refusal_by_a_session_that_was_used_may_be_about_it(
    line: str, phase: Phase, is_lost: bool, expected: bool
) -> None:
    code, _, text = line.partition(" ")
    assert is_about_session(Reply(int(code), text, phase), is_lost, False) == expected
    assert not is_about_session(Reply(int(code), text, phase), is_lost, is_ambiguous=True)
