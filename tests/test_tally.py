"""Lines that strangers can provoke: which are written, and which are counted."""

import logging
from ipaddress import ip_address

import pytest

from relay.net.tally import MOST_CLIENTS, WRITTEN, LogTally, tally_refusals

HERE, THERE = ip_address("192.0.2.1"), ip_address("192.0.2.2")
log = logging.getLogger("relay.test_tally")


async def test_the_first_line_of_each_client_is_written_and_the_rest_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tally = LogTally(log)
    for number in range(5):
        tally.tell(HERE, "knocked", f"reason={number}")
    tally.tell(HERE, "rang")
    tally.tell(THERE, "knocked")
    assert caplog.messages == [
        "client=192.0.2.1 knocked reason=0",
        "client=192.0.2.1 rang",
        "client=192.0.2.2 knocked",
    ]
    caplog.clear()
    tally.sum_up()
    assert caplog.messages == ["client=192.0.2.1 knocked more=4"]
    caplog.clear()
    tally.sum_up()
    assert caplog.messages == []
    tally.tell(HERE, "knocked")
    assert caplog.messages == ["client=192.0.2.1 knocked"]
    tally.sum_up()


async def test_refused_credentials_are_written_often_enough_to_be_banned(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refused = tally_refusals()
    for number in range(WRITTEN + 3):
        assert refused.writes(HERE, "door=smtp") is (number < WRITTEN)
        refused.tell(HERE, "door=smtp", "reason=key")
    refused.tell(HERE, "door=rest", "reason=key")
    refused.sum_up()
    assert caplog.messages == [
        *["client=192.0.2.1 door=smtp reason=key"] * WRITTEN,
        "client=192.0.2.1 door=rest reason=key",
        "client=192.0.2.1 door=smtp more=3",
    ]
    assert {(record.name, record.levelno) for record in caplog.records} == {
        ("relay.refused", logging.WARNING)
    }


async def test_a_network_of_ipv6_is_one_client_of_which_the_last_address_is_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tally = LogTally(log)
    for number in range(1, 1000):
        tally.tell(ip_address(f"2001:db8:1:2::{number:x}"), "knocked")
    tally.tell(ip_address("2001:db8:1:3::1"), "knocked")
    tally.sum_up()
    assert caplog.messages == [
        "client=2001:db8:1:2::1 knocked",
        "client=2001:db8:1:3::1 knocked",
        "client=2001:db8:1:2::3e7 knocked more=998",
    ]


async def test_memory_and_lines_are_bounded_whatever_the_number_of_clients(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    tally = LogTally(log)
    for number in range(1, 50_001):
        for _ in range(2):
            tally.tell(ip_address((198 << 24) + number), "knocked")
    tally.sum_up()
    assert len(caplog.messages) == 2 * MOST_CLIENTS + 1
    assert caplog.messages[-1] == f"other clients more={2 * (50_000 - MOST_CLIENTS)}"
