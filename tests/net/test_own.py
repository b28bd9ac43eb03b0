"""Ourselves as a next hop, under every address by which a listener of ours is reached."""

import pytest

from relay.domain.ids import IpAddress
from relay.net.own import addresses_of, is_own


@pytest.mark.parametrize(
    ("listener", "address", "expected"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "::ffff:127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::", True),
        ("::1", "0:0::1", True),
        ("0.0.0.0", "127.0.0.200", True),
        ("0.0.0.0", "::ffff:127.0.0.200", True),
        ("::", "127.0.0.200", True),
        ("0.0.0.0", "203.0.113.7", False),
        ("::", "2001:db8::7", False),
    ],
)
def test_a_listener_answers_at_its_address(listener: str, address: str, expected: bool) -> None:
    assert is_own(IpAddress(address), 25, [("192.0.2.1", 26), (listener, 25)]) is expected
    assert not is_own(IpAddress(address), 27, [(listener, 25)])


def test_a_listener_by_name_is_known_by_its_addresses() -> None:
    assert ("127.0.0.1", 8025) in addresses_of("localhost", 8025)
    assert addresses_of("127.0.0.3", 8025) == [("127.0.0.3", 8025)]
