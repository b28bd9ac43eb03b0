"""Events as rows: what was stored years ago is read, and what is stored now can be."""

from dataclasses import replace
from typing import get_args

import pytest

from relay.domain.events import (
    Bounce,
    Delay,
    Delivery,
    Event,
    GenerationFailure,
    GenerationRejection,
    Injection,
    Operated,
    PolicyRejection,
    Subject,
)
from relay.domain.ids import IpAddress, SubaccountId
from relay.domain.message import Particulars
from relay.domain.outcome import Peer
from relay.store.codec import SUBMISSION_COLUMNS, event_row, read_told
from tests.support.mail import ACCOUNT, NOW, build_message

MESSAGE = build_message()
ABOUT = replace(Subject.of(MESSAGE), subaccount=SubaccountId(3), rcpt_type="bcc")
OWN = replace(ABOUT, particulars=Particulars("Dear Bob", {"b": 3}, ("own",)))
NO_IP = replace(ABOUT, sending_ip=IpAddress(""))
PEER = Peer("127.0.0.99", -1)
FAILED = '"bounce_class":25,"error_code":550,"raw_reason":"550 n\\u00f6"'
SUBJECT = (
    '"subaccount":3,"rcpt_to":"bob@b.example","domain":"b.example",'
    '"rcpt_type":"bcc","size_bytes":100,"ip_pool":"default"'
)
ROWS: list[tuple[Event, str, str]] = [
    (Injection(NOW, ABOUT), "injection", SUBJECT),
    (Injection(NOW, OWN), "injection", f'{SUBJECT},"particulars":["Dear Bob",{{"b":3}},["own"]]'),
    (
        Delivery(NOW, ABOUT, 1, 2, PEER, "250 Ok"),
        "delivery",
        f'"num_retries":1,"queue_time_ms":2,"peer":["127.0.0.99",-1],"reply":"250 Ok",{SUBJECT}',
    ),
    (
        Delay(NOW, ABOUT, 1, 2, PEER, 21, 451, "451 sp\udce4ter", True),
        "delay",
        '"num_retries":1,"queue_time_ms":2,"peer":["127.0.0.99",-1],"bounce_class":21,"error_code":451,'
        f'"raw_reason":"451 sp\\udce4ter","is_ambiguous":true,{SUBJECT}',
    ),
    (
        Bounce(NOW, ABOUT, 1, 2, Peer(), 25, 550, "550 nö"),
        "bounce",
        f'"num_retries":1,"queue_time_ms":2,"peer":["",0],{FAILED},{SUBJECT}',
    ),
    (GenerationFailure(NOW, NO_IP, 25, 550, "550 nö"), "generation_failure", f"{FAILED},{SUBJECT}"),
    (GenerationRejection(NOW, NO_IP, 25, 550, "550 nö"), "generation_rejection", f"{FAILED},{SUBJECT}"),
    (
        Operated(NOW, ABOUT, "hold", "ann"),
        "operated",
        f'"verb":"hold","actor":"ann","detail":"",{SUBJECT}',
    ),
    (
        PolicyRejection(
            NOW,
            ACCOUNT,
            SubaccountId(3),
            "127.0.0.1",
            "a@b.test",
            "c@Bücher.test",
            25,
            550,
            "550 nö",
            "News",
            "rest",
        ),
        "policy_rejection",
        '"subaccount":3,"remote_addr":"127.0.0.1","mail_from":"a@b.test","rcpt_to":"c@B\\u00fccher.test",'
        f'{FAILED},"ip_pool_raw":"News","recv_method":"rest","domain":"xn--bcher-kva.test"',
    ),
]


def test_there_is_a_row_of_each_kind() -> None:
    assert {type(event) for event, _, _ in ROWS} == set(get_args(Event))


@pytest.mark.parametrize(("event", "kind", "fields"), ROWS)
def test_an_event_is_stored_as_it_always_was_and_comes_back(event: Event, kind: str, fields: str) -> None:
    row = event_row(event)
    assert (row[1], row[6]) == (kind, f"{{{fields}}}")
    if isinstance(event, PolicyRejection):
        assert row[2:6] == (None, None, ACCOUNT, None)
    else:
        about = event.about
        assert row[2:6] == (about.message_id, about.transmission_id, ACCOUNT, about.sending_ip or None)
    assert read_told((7, *row, *(None for _ in SUBMISSION_COLUMNS))).event == event
