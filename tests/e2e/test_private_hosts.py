"""Where strangers may have us connect to: a next hop by DNS or by literal is a host of the internet."""

from pathlib import Path

import pytest

from relay.domain.changes import SetRoutes
from relay.domain.events import Bounce, Delay, Delivery, Event
from relay.domain.route import MxRoute, Route, SmarthostRoute, TlsPolicy
from relay.sink.fake_mta import FakeMta
from relay.testing.fake_dns import FakeDns
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API, lab_directory

TO = "bob@gmail.example"
PUBLIC = "8.8.8.8"
"""Never reached: from a loopback address the kernel refuses before any packet leaves."""


def _relay(folder: Path, mta: FakeMta, dns: FakeDns, more: str = "") -> RelayHarness:
    port = mta.address.rpartition(":")[2]
    route = f'\n[[route]]\ndomains = ["*"]\nmx = true\nport = {port}\ntls = "off"\n{more}\n'
    return RelayHarness(folder, mta, directory=lab_directory() + route, resolver=dns, settings=WITH_API)


async def _fate(relay: RelayHarness, to: str = TO) -> Event:
    injected = await relay.inject(to, ip_pool="receipts")
    await relay.quiet()
    return (await relay.story(injected.message_id))[-1].event


def _refusal(host: str, address: str) -> str:
    return f"550 5.4.4 [internal] {host} is {address}: private (route setting allow_private)"


@pytest.mark.parametrize(
    ("dns", "to", "told"),
    [
        pytest.param(
            FakeDns({"gmail.example": ["mx.example"]}, {"mx.example": ["127.0.0.1"]}),
            TO,
            _refusal("mx.example", "127.0.0.1"),
            id="MX",
        ),
        pytest.param(
            FakeDns({}, {"gmail.example": ["127.0.0.1"]}),
            TO,
            _refusal("gmail.example", "127.0.0.1"),
            id="A alone",
        ),
        pytest.param(
            FakeDns({"gmail.example": ["127.0.0.1"]}),
            TO,
            _refusal("127.0.0.1", "127.0.0.1"),
            id="MX that is an address",
        ),
        pytest.param(
            FakeDns(),
            "root@[127.0.0.200]",
            _refusal("[127.0.0.200]", "127.0.0.200"),
            id="literal",
        ),
        pytest.param(
            FakeDns(
                {"gmail.example": [(10, "a.example"), (20, "b.example")]},
                {"a.example": ["10.0.0.1", "127.0.0.1"], "b.example": ["169.254.169.254"]},
            ),
            TO,
            _refusal("a.example", "10.0.0.1"),
            id="several: the first is named",
        ),
        pytest.param(
            FakeDns({}, {"gmail.example": ["::ffff:127.0.0.1", "::1"]}),
            TO,
            _refusal("gmail.example", "::ffff:127.0.0.1"),
            id="none of our family, and none that we might use",
        ),
        pytest.param(FakeDns(), "root@[IPv6:::1]", _refusal("[IPv6:::1]", "::1"), id="IPv6 literal"),
    ],
)
async def test_mail_to_private_hosts_alone_bounces(
    tmp_path: Path, mta: FakeMta, dns: FakeDns, to: str, told: str
) -> None:
    async with _relay(tmp_path, mta, dns) as relay:
        event = await _fate(relay, to)
        assert isinstance(event, Bounce)
        assert event.raw_reason.lower() == told.lower()
        assert event.bounce_class == 21
        assert mta.connections == 0


async def test_a_private_host_is_passed_over_for_the_next(tmp_path: Path, mta: FakeMta) -> None:
    dns = FakeDns(
        {"gmail.example": [(10, "in.example"), (20, "out.example")]},
        {"in.example": ["127.0.0.1"], "out.example": [PUBLIC]},
    )
    async with _relay(tmp_path, mta, dns) as relay:
        event = await _fate(relay)
        assert isinstance(event, Delay), "the public one may come back"
        assert "A out.example" in dns.asked
        assert mta.connections == 0


async def test_an_address_among_public_ones_is_passed_over(tmp_path: Path, mta: FakeMta) -> None:
    async with _relay(tmp_path, mta, FakeDns({}, {"gmail.example": ["127.0.0.1", PUBLIC]})) as relay:
        assert isinstance(await _fate(relay), Delay)
        assert mta.connections == 0


async def test_a_host_that_may_have_an_address_again_is_waited_for(tmp_path: Path, mta: FakeMta) -> None:
    dns = FakeDns(
        {"gmail.example": [(10, "in.example"), (20, "out.example")]},
        {"in.example": ["127.0.0.1"], "out.example": []},
    )
    async with _relay(tmp_path, mta, dns) as relay:
        assert isinstance(await _fate(relay), Delay)


async def test_a_route_can_allow_private_hosts(tmp_path: Path, mta: FakeMta) -> None:
    dns = FakeDns({}, {"gmail.example": ["127.0.0.1"]})
    async with _relay(tmp_path, mta, dns, "allow_private = true") as relay:
        assert isinstance(await _fate(relay), Delivery)
        assert isinstance(await _fate(relay, "root@[127.0.0.1]"), Delivery)


@pytest.mark.parametrize("is_http", [False, True])
async def test_a_listener_of_ours_is_never_a_next_hop(tmp_path: Path, mta: FakeMta, is_http: bool) -> None:
    async with _relay(tmp_path, mta, FakeDns(), "allow_private = true") as relay:
        _, port = relay.inside.http_address if is_http else relay.smtp_address
        await relay.apply(SetRoutes((Route(("*",), MxRoute(TlsPolicy.OFF, port, allow_private=True)),)))
        for host in ("[127.0.0.1]", "[0.0.0.0]"):
            event = await _fate(relay, f"root@{host}")
            assert isinstance(event, Bounce), host
            assert event.raw_reason == "554 5.4.6 mail loop detected"


async def test_a_stranger_does_not_share_the_way_to_a_private_smarthost(tmp_path: Path, mta: FakeMta) -> None:
    """Same host, same port: a connection that is open serves those who may use it."""
    host, port = mta.address.rsplit(":")
    smarthost = Route(("*.example",), SmarthostRoute(host, int(port), TlsPolicy.OFF))
    async with _relay(tmp_path, mta, FakeDns({"stranger.test": [host]})) as relay:
        await relay.apply(SetRoutes((smarthost, Route(("*",), MxRoute(TlsPolicy.OFF, int(port))))))
        assert isinstance(await _fate(relay), Delivery)
        assert isinstance(await _fate(relay, "bob@stranger.test"), Bounce)
