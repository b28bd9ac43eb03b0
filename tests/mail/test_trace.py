"""Trace fields (RFC 5321 §4.4) and the two that a message must have."""

from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import parsedate_to_datetime

import pytest

from relay.mail.headers import fields_of
from relay.mail.trace import date_field, hop_count, message_id_field, received_field

NOW = datetime(2026, 1, 5, 9, 7, 3, 999_999, UTC)


def test_a_hop_is_a_received_field() -> None:
    assert hop_count(fields_of(b"Received: a\r\nreceived: b\r\nX-Received: c\r\nTo: d\r\n")) == 2
    assert hop_count(()) == 0


def test_received_tells_who_gave_it_to_whom_and_how() -> None:
    assert received_field("client.example", "192.0.2.7", "relay.test", "ESMTPSA", "42", NOW) == (
        b"Received: from client.example ([192.0.2.7])\r\n"
        b" by relay.test (relay) with ESMTPSA id 42;\r\n"
        b" Mon, 05 Jan 2026 09:07:03 +0000\r\n"
    )


def test_received_names_an_ipv6_address_as_a_literal() -> None:
    assert b"from [IPv6:::1] ([IPv6:::1])\r\n" in received_field(
        "[IPv6:::1]", "::1", "relay.test", "ESMTP", "1", NOW
    )


def test_received_without_an_address_speaks_of_this_machine() -> None:
    assert b"from [127.0.0.1] ([127.0.0.1])\r\n" in received_field("", "", "relay.test", "REST", "1", NOW)


@pytest.mark.parametrize(
    "helo",
    [
        pytest.param("a\r\nBcc: x@y", id="line break"),
        pytest.param("a b", id="space"),
        pytest.param("(comment", id="comment"),
        pytest.param("a;b", id="semicolon"),
        pytest.param("bücher.example", id="not ASCII"),
        pytest.param("x" * 300, id="too long"),
        pytest.param("-", id="hyphen"),
        pytest.param("[x(y]", id="no literal"),
    ],
)
def test_an_odd_helo_is_not_repeated(helo: str) -> None:
    field = received_field(helo, "192.0.2.7", "relay.test", "ESMTP", "1", NOW)
    assert field.startswith(b"Received: from [192.0.2.7] ([192.0.2.7])\r\n by ")


def test_date_is_read_back_by_the_standard_library() -> None:
    assert date_field(NOW) == b"Date: Mon, 05 Jan 2026 09:07:03 +0000\r\n"
    value = message_from_bytes(date_field(NOW))["Date"]
    assert parsedate_to_datetime(value) == NOW.replace(microsecond=0)


def test_message_id_is_made_of_id_and_host() -> None:
    assert message_id_field("42", "relay.test") == b"Message-ID: <42@relay.test>\r\n"
