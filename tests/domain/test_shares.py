"""Connections by client: in one process and in several, with bounded memory."""

import ipaddress

from relay.domain.clients import ClientAddress, client_address
from relay.domain.shares import Shares, memory_for


def _client(text: str) -> ClientAddress:
    return client_address(text)


def test_a_client_holds_its_share_and_gets_a_place_again_when_it_gives_one_back() -> None:
    shares = Shares(2)
    client, other = _client("192.0.2.1"), _client("192.0.2.2")
    assert [shares.take(client) for _ in range(3)] == [True, True, False]
    assert shares.take(other)
    shares.give_back(client)
    assert [shares.take(client) for _ in range(2)] == [True, False]


def test_a_network_of_ipv6_is_one_client_and_ipv4_is_itself_however_it_came() -> None:
    shares = Shares(1)
    assert shares.take(_client("2001:db8:0:1::1"))
    assert not shares.take(_client("2001:db8:0:1:ffff::2"))
    assert shares.take(_client("2001:db8:0:2::1"))
    assert shares.take(_client("::ffff:192.0.2.1"))
    assert not shares.take(_client("192.0.2.1"))
    assert shares.take(_client("::192.0.2.1"))


def test_exempt_networks_hold_any_number() -> None:
    shares = Shares(1, [ipaddress.ip_network("10.0.0.0/8")])
    inside, outside = _client("10.1.2.3"), _client("11.1.2.3")
    assert all(shares.take(inside) for _ in range(10))
    shares.give_back(inside)
    assert [shares.take(outside) for _ in range(2)] == [True, False]


def test_workers_count_together_and_what_a_dead_one_held_falls_away() -> None:
    memory = memoryview(bytearray(memory_for(2)))
    first, second = (Shares(4, memory=memory, worker=number) for number in range(2))
    client = _client("192.0.2.1")
    assert [first.take(client) for _ in range(3)] == [True] * 3
    assert [second.take(client) for _ in range(2)] == [True, False]
    assert not first.take(client)
    replaced = Shares(4, memory=memory, worker=0)
    assert [replaced.take(client) for _ in range(4)] == [True] * 3 + [False]


def test_a_crowd_of_addresses_takes_nobodys_share() -> None:
    """More at a time than one process can hold; all given back, nothing is left."""
    memory = memoryview(bytearray(memory_for(1)))
    shares = Shares(50, memory=memory)
    crowd = [client_address(str(ipaddress.IPv4Address(0x0A000000 + number))) for number in range(50_000)]
    assert all(shares.take(client) for client in crowd)
    for client in crowd:
        shares.give_back(client)
    assert not any(memory)
