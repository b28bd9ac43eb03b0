"""DNS against a real name server of a few lines, on 127.0.0.1."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from relay.domain.reply import Phase, Reply
from relay.net.dns import DnsResolver
from relay.ports.outbound import Addresses, Mx
from relay.testing.fake_dns import FakeDns
from tests.support.name_server import NameServer

ZONE: dict[tuple[str, str], list[str]] = {
    ("two.test.", "MX"): ["20 mx2.two.test.", "10 MX1.two.test."],
    ("equal.test.", "MX"): [f"10 mx{number}.equal.test." for number in range(8)],
    ("many.test.", "MX"): [f"{100 - number} mx{number}.many.test." for number in range(60)],
    ("null.test.", "MX"): ["0 ."],
    ("null-and-more.test.", "MX"): ["0 .", "10 mx.two.test."],
    ("plain.test.", "A"): ["192.0.2.7"],
    ("alias.test.", "CNAME"): ["two.test."],
    ("mx1.two.test.", "A"): ["192.0.2.1", "192.0.2.2"],
    ("mx1.two.test.", "AAAA"): ["2001:DB8:0::1"],
    ("six.test.", "AAAA"): ["2001:db8::6"],
    ("text.test.", "TXT"): ['"nothing here"'],
    ("half.test.", "A"): ["192.0.2.9"],
    ("brief.test.", "A"): ["192.0.2.10"],
    ("long.test.", "MX"): ["10 mx1.two.test."],
}


@pytest_asyncio.fixture
async def server() -> AsyncIterator[NameServer]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameServer(ZONE), local_addr=("127.0.0.1", 0)
    )
    yield protocol
    transport.close()


@pytest.fixture
def resolver(server: NameServer) -> DnsResolver:
    return DnsResolver(nameservers=[server.address], lifetime_s=0.3)


async def test_of_many_mx_hosts_the_best_are_kept(resolver: DnsResolver) -> None:
    hosts = (await resolver.mx("many.test")).hosts
    assert [preference for preference, _ in hosts] == list(range(41, 73))


@pytest.mark.parametrize(
    ("domain", "hosts"),
    [
        pytest.param("two.test", [(10, "mx1.two.test"), (20, "mx2.two.test")], id="by preference"),
        pytest.param("TWO.test.", [(10, "mx1.two.test"), (20, "mx2.two.test")], id="any spelling"),
        pytest.param("alias.test", [(10, "mx1.two.test"), (20, "mx2.two.test")], id="by way of a CNAME"),
        pytest.param("plain.test", [(0, "plain.test")], id="A without MX"),
        pytest.param("six.test", [(0, "six.test")], id="AAAA without MX"),
        pytest.param("null-and-more.test", [(10, "mx.two.test")], id="a null MX among others is none"),
        pytest.param("[192.0.2.5]", [(0, "[192.0.2.5]")], id="literal"),
        pytest.param("[IPv6:2001:db8::5]", [(0, "[IPv6:2001:db8::5]")], id="IPv6 literal"),
    ],
)
async def test_mail_goes_to_the_mx_hosts_or_else_to_the_domain_itself(
    resolver: DnsResolver, domain: str, hosts: list[tuple[int, str]]
) -> None:
    """RFC 5321 §5.1."""
    assert await resolver.mx(domain) == Mx(tuple(hosts))


@pytest.mark.parametrize(
    ("domain", "code", "text"),
    [
        pytest.param("null.test", 556, "5.1.10 [internal] ", id="null MX, RFC 7505"),
        pytest.param("nowhere.test", 454, "4.4.4 [internal] no MX or A for domain", id="no such domain"),
        pytest.param("text.test", 454, "4.4.4 [internal] no MX or A for domain", id="neither MX nor A"),
        pytest.param("fail.test", 451, "4.4.3 [internal] ", id="SERVFAIL"),
        pytest.param("silent.test", 451, "4.4.3 [internal] ", id="no answer"),
        pytest.param("a..test", 454, "4.4.4 [internal] no MX or A for domain", id="an empty label"),
        pytest.param("x" * 64 + ".test", 454, "4.4.4 [internal] no MX or A for domain", id="a long label"),
        pytest.param("x." * 150 + "test", 454, "4.4.4 [internal] no MX or A for domain", id="a long name"),
    ],
)
async def test_a_domain_without_a_way_has_a_reply(
    resolver: DnsResolver, domain: str, code: int, text: str
) -> None:
    for found in (await resolver.mx(domain), await resolver.mx(domain)):
        assert found.hosts == ()
        assert found.failure is not None
        assert (found.failure.code, found.failure.phase) == (code, Phase.INTERNAL)
        assert found.failure.text.startswith(text)


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        pytest.param("mx1.two.test", ["192.0.2.1", "192.0.2.2", "2001:db8::1"], id="both families"),
        pytest.param("MX1.two.test", ["192.0.2.1", "192.0.2.2", "2001:db8::1"], id="any spelling"),
        pytest.param("half.test", ["192.0.2.9"], id="one family although the other failed"),
        pytest.param("192.0.2.5", ["192.0.2.5"], id="an address"),
        pytest.param("[192.0.2.5]", ["192.0.2.5"], id="literal"),
        pytest.param("[IPv6:2001:DB8:0:0::5]", ["2001:db8::5"], id="IPv6 literal"),
        pytest.param("2001:db8::5", ["2001:db8::5"], id="IPv6 address"),
    ],
)
async def test_a_host_has_its_addresses(resolver: DnsResolver, name: str, addresses: list[str]) -> None:
    found = await resolver.addresses(name)
    assert found.failure is None
    # The order of one family is the name server's, and it turns.
    assert sorted(found.addresses) == addresses
    assert ":" not in found.addresses[0] or ":" in addresses[0]


@pytest.mark.parametrize(("name", "code"), [("nowhere.test", 454), ("two.test", 454), ("fail.test", 451)])
async def test_a_host_without_addresses_has_a_reply(resolver: DnsResolver, name: str, code: int) -> None:
    found = await resolver.addresses(name)
    assert found.addresses == ()
    assert found.failure is not None
    assert found.failure.code == code


async def test_hosts_of_equal_preference_stay_in_the_order_of_the_answer(resolver: DnsResolver) -> None:
    """It is each attempt that takes them by chance."""
    answered = (await resolver.mx("equal.test")).hosts
    assert sorted(answered) == [(10, f"mx{number}.equal.test") for number in range(8)]
    for _ in range(3):
        assert (await resolver.mx("equal.test")).hosts == answered


@pytest.mark.parametrize("domain", ["two.test", "nowhere.test", "text.test", "fail.test", "brief.test"])
async def test_answers_good_or_bad_are_kept(resolver: DnsResolver, server: NameServer, domain: str) -> None:
    first = await resolver.mx(domain)
    asked = dict(server.asked)
    assert await resolver.mx(domain) == first
    assert server.asked == asked


@pytest.mark.parametrize(
    ("domain", "ttl"),
    [
        pytest.param("two.test", 300, id="the TTL of the exchangers"),
        pytest.param("plain.test", 60, id="no exchangers: the shorter of that and of the address"),
        pytest.param("brief.test", 5, id="at least five seconds"),
        pytest.param("long.test", 86_400, id="at most a day"),
    ],
)
async def test_an_answer_says_for_how_long_it_holds(resolver: DnsResolver, domain: str, ttl: float) -> None:
    for _ in range(2):
        lasts_s = (await resolver.mx(domain)).lasts_s
        assert ttl - 4 < lasts_s <= ttl
    assert (await resolver.mx("[127.0.0.9]")).lasts_s == math.inf


async def test_lookups_of_one_name_at_one_time_are_one(server: NameServer) -> None:
    # With the usual lifetime: a busy machine must not make it ask a second time.
    resolver = DnsResolver(nameservers=[server.address])
    async with asyncio.TaskGroup() as tasks:
        lookups = [tasks.create_task(resolver.mx("plain.test")) for _ in range(20)]
    assert {lookup.result() for lookup in lookups} == {Mx(((0, "plain.test"),))}
    assert set(server.asked.values()) == {1}


async def test_who_waits_for_anothers_lookup_does_not_die_with_it(server: NameServer) -> None:
    resolver = DnsResolver(nameservers=[server.address], lifetime_s=0.3)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(resolver.mx("silent.test"))
        second = tasks.create_task(resolver.mx("silent.test"))
        await server.silent.wait()
        first.cancel()
    assert first.cancelled()
    failure = second.result().failure
    assert failure is not None
    assert failure.code == 451


async def test_the_cache_is_bounded_and_forgets_what_was_not_used_for_longest(server: NameServer) -> None:
    resolver = DnsResolver(nameservers=[server.address], max_entries=2)
    for domain in ("two.test", "equal.test", "two.test", "null.test", "two.test"):
        await resolver.mx(domain)
    assert server.asked["two.test.", "MX"] == 1
    await resolver.mx("equal.test")
    assert server.asked["equal.test.", "MX"] == 2


async def test_a_machine_without_name_servers_fails_lookups_and_resolves_literals() -> None:
    resolver = DnsResolver(nameservers=[])
    found = await resolver.mx("two.test")
    assert found.failure is not None
    assert found.failure.code == 451
    assert (await resolver.addresses("[127.0.0.1]")).failure is None


async def test_the_fake_answers_as_it_was_told() -> None:
    broken = Reply(451, "4.4.3 [internal] broken", Phase.INTERNAL)
    fake = FakeDns(
        {
            "a.test": ["mx1.test", "mx2.test"],
            "b.test": [(20, "far.test"), (10, "near.test")],
            "c.test": broken,
        },
        {"mx1.test": ["127.0.0.1"], "mx2.test": broken, "d.test": ["127.0.0.2"]},
    )
    assert await fake.mx("a.test") == Mx(((10, "mx1.test"), (20, "mx2.test")))
    assert await fake.mx("b.test") == Mx(((10, "near.test"), (20, "far.test")))
    assert await fake.mx("c.test") == Mx(failure=broken)
    assert await fake.mx("d.test") == Mx(((0, "d.test"),))
    assert await fake.mx("[127.0.0.9]") == Mx(((0, "[127.0.0.9]"),))
    nothing = (await fake.mx("e.test")).failure
    assert nothing is not None
    assert nothing.code == 454
    assert (await fake.addresses("mx1.test")).addresses == ("127.0.0.1",)
    assert await fake.addresses("mx2.test") == Addresses(failure=broken)
    assert (await fake.addresses("127.0.0.3")).addresses == ("127.0.0.3",)
    assert fake.asked[:2] == ["MX a.test", "MX b.test"]
