"""In which order one attempt takes the hosts of a site (RFC 5321 §5.1)."""

from relay.domain.ids import IpAddress
from relay.domain.route import MxRoute
from relay.domain.site import PreferredHost, mx_site
from relay.egress.hosts import Hosts
from relay.ports.outbound import Addresses, Mx

IP = IpAddress("127.0.0.1")


class Resolver:
    """Every name is one host."""

    async def mx(self, domain: str) -> Mx:
        raise AssertionError(domain)

    async def addresses(self, name: str) -> Addresses:
        return Addresses((IpAddress("127.0.0.2"),))


async def order_of(*exchangers: PreferredHost) -> tuple[str, ...]:
    hosts = Hosts(mx_site(MxRoute(allow_private=True), exchangers), IP, Resolver(), lambda host: False)
    names = []
    while (host := await hosts.next()) is not None:
        names.append(host.name)
    return tuple(names)


async def test_hosts_of_equal_preference_come_first_by_chance() -> None:
    exchangers = [(10, name) for name in ("a.test", "b.test", "c.test", "d.test")]
    orders = {await order_of(*exchangers) for _ in range(60)}
    assert {tuple(sorted(order)) for order in orders} == {("a.test", "b.test", "c.test", "d.test")}
    assert {order[0] for order in orders} == {"a.test", "b.test", "c.test", "d.test"}


async def test_chance_puts_no_host_before_a_better_one() -> None:
    exchangers = [(30, "a.test"), (20, "b.test"), (20, "c.test"), (10, "d.test")]
    orders = {await order_of(*exchangers) for _ in range(60)}
    assert orders == {("d.test", "b.test", "c.test", "a.test"), ("d.test", "c.test", "b.test", "a.test")}
