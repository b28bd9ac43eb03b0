"""Transmissions: whose turn it is, and until when they can be cancelled (docs/rules.md#routing)."""

from datetime import UTC, datetime, timedelta

import pytest

from relay.domain.directory import SendingIp
from relay.domain.ids import IpAddress, PoolId
from relay.domain.message import Pin
from relay.domain.resolve import Decision
from relay.domain.transmission import NotCancellable, Progress, Routing, TransmissionState, check_cancellable

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)


def test_recipient_i_takes_the_ith_turn_from_the_first() -> None:
    ips = tuple(
        SendingIp(IpAddress(f"127.0.0.{n}"), IpAddress(f"10.0.0.{n}"), f"mta{n}", weight=w)
        for n, w in ((1, 2), (2, 1))
    )
    routing = Routing(Decision(PoolId("news"), ()), ips, 4)
    assert [routing.pin(index).ip for index in range(3)] == ["127.0.0.2", "127.0.0.1", "127.0.0.1"]
    assert routing.pin(0) == Pin(PoolId("news"), IpAddress("127.0.0.2"), "mta2", IpAddress("10.0.0.2"))


@pytest.mark.parametrize(
    ("state", "seconds", "is_too_close"),
    [
        (TransmissionState.SUBMITTED, 660, None),
        (TransmissionState.SUBMITTED, 659, True),
        (TransmissionState.SUBMITTED, -1, True),
        (TransmissionState.GENERATING, 1000, False),
        (TransmissionState.SUCCESS, 1000, False),
        (TransmissionState.CANCELED, 1000, False),
    ],
)
def test_it_can_be_cancelled_until_660_seconds_before_its_time(
    state: TransmissionState, seconds: int, is_too_close: bool | None
) -> None:
    start = NOW + timedelta(seconds=seconds)
    if is_too_close is None:
        check_cancellable(Progress(state), start, NOW)
        return
    with pytest.raises(NotCancellable) as caught:
        check_cancellable(Progress(state), start, NOW)
    assert (caught.value.state, caught.value.is_too_close) == (state, is_too_close)
