"""Events in SparkPost's words."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from relay.domain.events import EVENT_KINDS, Bounce, GenerationRejection, Injection, Operated, Subject
from relay.domain.ids import IpAddress
from relay.domain.message import Options, Particulars, RcptType, Submission
from relay.domain.outcome import Peer
from relay.domain.resolve import Decision
from relay.resources.events.documentation import documentation_in_classes, samples
from relay.resources.events.shapes import address_within, event_fields, iso, mask
from tests.support.mail import NOW, build_message

MESSAGE = build_message("Bob@b.example")
SUBMISSION = Submission(
    MESSAGE.transmission_id,
    MESSAGE.account,
    None,
    NOW,
    "rest",
    "192.0.2.1",
    "sender@acme.test",
    "For all",
    "Acme <news@acme.test>",
    "acme.test",
    Options(metadata={"a": 1, "b": 2}, tags=("all",)),
    Decision(MESSAGE.pin.pool, ()),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("550 <bob@b.example>: unknown", "550 <user@domain>: unknown"),
        ("550 bob+x@b.example, unknown", "550 user@domain, unknown"),
        ("550 blocked [192.0.2.7] and 192.0.2.8.", "550 blocked [a.b.c.d] and a.b.c.d."),
        ("550 5.7.1 version 1.2.3", "550 5.7.1 version 1.2.3"),
        ("550 from 2001:db8::17 today", "550 from a:b:c:d today"),
        ("550 at 12:30:15", "550 at 12:30:15"),
        ("250 ok", "250 ok"),
    ],
)
def test_reasons_are_masked(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    ("text", "address"),
    [("A <a@b.test>", "a@b.test"), ("a@b.test", "a@b.test"), ("", ""), ("what <ever>", "what <ever>")],
)
def test_the_address_of_from(text: str, address: str) -> None:
    assert address_within(text) == address


def test_times_are_utc_to_the_millisecond() -> None:
    assert iso(datetime(2026, 1, 5, 12, 0, 0, 999999, UTC)) == "2026-01-05T12:00:00.999Z"


def test_what_is_particular_to_a_recipient_goes_first() -> None:
    own = replace(MESSAGE, particulars=Particulars("Dear Bob", {"b": 3}, ("own",)), rcpt_type=RcptType.CC)
    fields = event_fields("7", Injection(NOW, Subject.of(own)), SUBMISSION.of_copy(own.particulars))
    assert fields["subject"] == "Dear Bob"
    assert fields["msg_from"] == "sender@acme.test"
    assert fields["rcpt_meta"] == {"a": 1, "b": 3}
    assert fields["rcpt_tags"] == ["own"]
    assert (fields["rcpt_type"], fields["recv_method"], fields["event_id"]) == ("cc", "rest", "7")
    common = event_fields("7", Injection(NOW, Subject.of(MESSAGE)), SUBMISSION)
    assert (common["subject"], common["rcpt_tags"]) == ("For all", ["all"])
    assert "rcpt_type" not in common


def test_events_tell_the_tracking_that_was_done() -> None:
    """None, whatever was asked for."""
    asked = replace(SUBMISSION, options=replace(SUBMISSION.options, open_tracking=True, click_tracking=True))
    fields = event_fields("7", Injection(NOW, Subject.of(MESSAGE)), asked)
    assert (fields["open_tracking"], fields["click_tracking"]) == (False, False)


def test_what_is_not_known_is_not_said() -> None:
    """A message that never came to be has no IP, and a trimmed submission no campaign."""
    about = replace(Subject.of(MESSAGE), sending_ip=IpAddress(""))
    fields = event_fields("1", GenerationRejection(NOW, about, 25, 550, "550 no"), None)
    assert {"sending_ip", "delv_method", "campaign_id", "subject"}.isdisjoint(fields)
    assert fields["raw_reason"] == "550 no"
    bounce = Bounce(NOW, Subject.of(MESSAGE), 0, 0, Peer(), 25, 554, "554 no")
    assert "ip_address" not in event_fields("1", bounce, SUBMISSION)


def test_what_operators_did_is_not_told() -> None:
    with pytest.raises(KeyError):
        event_fields("1", Operated(NOW, Subject.of(MESSAGE), "hold", "jane"), SUBMISSION)


def test_each_kind_that_is_told_has_a_sample_and_stands_in_its_class() -> None:
    told = [kind for kind in EVENT_KINDS if kind.is_public]
    assert [sample["type"] for sample in samples()] == [kind.name for kind in told]
    for name, about in documentation_in_classes().items():
        assert isinstance(about, dict)
        assert list(about["events"]) == [kind.name for kind in told if kind.group == name]
