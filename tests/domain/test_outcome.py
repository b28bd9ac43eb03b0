"""What a reply means for a message, and for the path that brought it."""

import pytest

from relay.domain.outcome import Bounced, Deferred, Delivered, Peer, backs_off, judge
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
