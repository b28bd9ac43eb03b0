"""Where a domain's mail goes: remembered as long as DNS says, and what routes say until they change."""

from relay.domain.directory import Snapshot
from relay.domain.ids import IpAddress
from relay.domain.route import Route, SmarthostRoute
from relay.domain.site import SINK, Site
from relay.egress.sites import Sites
from relay.ports.outbound import Addresses, Mx
from tests.ingress.conftest import HandMadeDirectory


class Resolver:
    """One answer, that holds for lasts_s."""

    def __init__(self, lasts_s: float) -> None:
        self.lasts_s = lasts_s
        self.host = "mx.test"
        self.asked = 0

    async def mx(self, domain: str) -> Mx:
        self.asked += 1
        return Mx(((10, self.host),), lasts_s=self.lasts_s)

    async def addresses(self, name: str) -> Addresses:
        return Addresses((IpAddress("127.0.0.1"),))


def directory_of(*routes: Route) -> HandMadeDirectory:
    directory = HandMadeDirectory()
    directory.snapshot = Snapshot(routes=routes)
    return directory


async def test_an_answer_of_dns_is_kept_as_long_as_it_holds() -> None:
    resolver = Resolver(lasts_s=86_400)
    sites = Sites(directory_of(), resolver, ())
    site = await sites.find("a.test")
    assert isinstance(site, Site)
    resolver.host = "other.test"
    assert await sites.find("a.test") is site
    assert sites.known("a.test") is site
    assert resolver.asked == 1


async def test_an_answer_that_holds_no_longer_is_asked_for_again() -> None:
    resolver = Resolver(lasts_s=0)
    sites = Sites(directory_of(), resolver, ())
    await sites.find("a.test")
    assert sites.known("a.test") is None
    resolver.host = "other.test"
    again = await sites.find("a.test")
    assert isinstance(again, Site)
    assert again.hosts == ((10, "other.test"),)


async def test_what_a_route_says_holds_until_the_routes_are_others() -> None:
    directory = directory_of(Route(("*",), SmarthostRoute("smart.test", 25)))
    sites = Sites(directory, Resolver(lasts_s=0), ("sink.test",))
    site = sites.known("a.test")
    assert site is not None
    assert site.hosts == ((0, "smart.test"),)
    assert sites.known("a.test") is site
    assert sites.known("b.sink.test") is SINK
    directory.snapshot = Snapshot(routes=(Route(("*",), SmarthostRoute("next.test", 25)),))
    site = sites.known("a.test")
    assert site is not None
    assert site.hosts == ((0, "next.test"),)
