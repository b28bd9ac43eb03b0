"""Where clients speak from."""

from ipaddress import ip_address, ip_network

import pytest

from relay.domain.clients import client_address, client_behind, may_come_from
from relay.domain.directory import ApiKey
from relay.domain.ids import AccountId


@pytest.mark.parametrize(
    ("host", "address"),
    [
        pytest.param("192.0.2.7", "192.0.2.7", id="IPv4"),
        pytest.param("::ffff:192.0.2.7", "192.0.2.7", id="IPv4 by an IPv6 socket"),
        pytest.param("2001:db8::1", "2001:db8::1", id="IPv6"),
        pytest.param("fe80::1%lo", "fe80::1", id="with a zone"),
    ],
)
def test_an_address_is_that_of_the_client_itself(host: str, address: str) -> None:
    assert client_address(host) == ip_address(address)


@pytest.mark.parametrize(
    ("valid_ips", "may"),
    [
        pytest.param((), True, id="from anywhere"),
        pytest.param(("198.51.100.0/24", "192.0.2.0/24"), True, id="inside one of them"),
        pytest.param(("192.0.2.1/24",), True, id="a network with bits after its prefix"),
        pytest.param(("198.51.100.0/24",), False, id="outside"),
        pytest.param(("2001:db8::/32",), False, id="of the other family"),
        pytest.param(("office",), False, id="what is no network holds nobody"),
    ],
)
def test_a_key_is_good_from_its_networks(valid_ips: tuple[str, ...], may: bool) -> None:
    key = ApiKey("0" * 64, "0000", AccountId(1), "key", frozenset(), valid_ips=valid_ips)
    assert may_come_from(key, client_address("192.0.2.7")) is may


PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        pytest.param("203.0.113.9", "", "203.0.113.9", id="no proxy"),
        pytest.param("203.0.113.9", "192.0.2.7", "203.0.113.9", id="a stranger's word"),
        pytest.param("10.0.0.1", "192.0.2.7", "192.0.2.7", id="one proxy"),
        pytest.param(
            "10.0.0.1", "198.51.100.1, 192.0.2.7", "192.0.2.7", id="what the client made up before it"
        ),
        pytest.param("10.0.0.1", "192.0.2.7,10.0.0.2", "192.0.2.7", id="two proxies"),
        pytest.param("::ffff:10.0.0.1", "2001:db8::1, fd00::5", "2001:db8::1", id="both families"),
        pytest.param("10.0.0.1", "", "10.0.0.1", id="a proxy that tells nothing"),
        pytest.param("10.0.0.1", "10.0.0.2", "10.0.0.2", id="proxies alone"),
        pytest.param("10.0.0.1", "192.0.2.7, nonsense", "10.0.0.1", id="no address"),
        pytest.param("", "192.0.2.7", "", id="no peer"),
    ],
)
def test_the_client_is_the_last_that_a_trusted_proxy_speaks_of(peer: str, told: str, client: str) -> None:
    assert client_behind(peer, told, PROXIES) == client
