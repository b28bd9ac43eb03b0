"""What is due to be told of an end, by what the client asked (RFC 3461 §5.2)."""

from dataclasses import replace

import pytest

from relay.domain.dsn import DsnRequest, Report
from relay.domain.lifecycle import Finish, discard, expire, settle
from relay.domain.message import Message
from relay.domain.outcome import Bounced, Deferred, Delivered, NotTried, judge
from relay.domain.reply import Phase, Reply
from tests.domain.test_lifecycle import LATER, MESSAGE, PEER, POLICY, T0

TAKEN = Reply(250, "2.0.0 Ok", Phase.BODY)
REFUSED = Reply(550, "5.1.1 no such user", Phase.RCPT)


def asking(asked: DsnRequest | None) -> Message:
    return replace(MESSAGE, dsn_request=asked)


def report_of(message: Message, outcome: Delivered | Bounced) -> Report | None:
    settled = settle(message, outcome, POLICY, T0)
    assert isinstance(settled, Finish)
    return settled.report


@pytest.mark.parametrize(
    ("asked", "of_failure", "of_success"),
    [
        pytest.param(None, True, False, id="nobody asked"),
        pytest.param(DsnRequest("FULL", "x", orcpt="rfc822;a"), True, False, id="not of events"),
        pytest.param(DsnRequest(notify="NEVER"), False, False, id="NEVER"),
        pytest.param(DsnRequest(notify="FAILURE"), True, False, id="FAILURE"),
        pytest.param(DsnRequest(notify="DELAY,FAILURE"), True, False, id="FAILURE among others"),
        pytest.param(DsnRequest(notify="DELAY"), False, False, id="DELAY"),
        pytest.param(DsnRequest(notify="SUCCESS"), False, True, id="SUCCESS"),
        pytest.param(DsnRequest(notify="SUCCESS,FAILURE"), True, True, id="both"),
    ],
)
def test_an_end_is_reported_as_was_asked(
    asked: DsnRequest | None, of_failure: bool, of_success: bool
) -> None:
    message, failed = asking(asked), Report.FAILED if of_failure else None
    assert report_of(message, Bounced(REFUSED, PEER)) is failed
    assert expire(message, T0).report is failed
    assert discard(message, "5.7.1 [internal] cancelled", T0).report is failed
    assert report_of(message, Delivered(TAKEN, PEER)) is (Report.RELAYED if of_success else None)


def test_a_hop_with_dsn_reports_success_itself_and_leaves_us_the_failures() -> None:
    message = asking(DsnRequest(notify="SUCCESS,FAILURE"))
    taken = judge(TAKEN, PEER, is_reporting=True)
    refused = judge(REFUSED, PEER, is_reporting=True)
    assert isinstance(taken, Delivered)
    assert isinstance(refused, Bounced)
    assert report_of(message, taken) is None
    assert report_of(message, refused) is Report.FAILED


@pytest.mark.parametrize("outcome", [Deferred(LATER, PEER), NotTried(T0, "")])
def test_what_is_tried_again_is_no_end(outcome: Deferred | NotTried) -> None:
    settled = settle(asking(DsnRequest(notify="SUCCESS,FAILURE,DELAY")), outcome, POLICY, T0)
    assert not isinstance(settled, Finish)


def test_a_request_is_told_as_the_commands_say_it() -> None:
    assert str(DsnRequest()) == ""
    assert str(DsnRequest("HDRS", notify="NEVER")) == "RET=HDRS NOTIFY=NEVER"
    assert str(DsnRequest("FULL", "x", "DELAY", "rfc822;a")) == "RET=FULL ENVID=x NOTIFY=DELAY ORCPT=rfc822;a"
