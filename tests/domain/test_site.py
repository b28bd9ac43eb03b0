"""Sites: which hosts a route ends at, and which of them a sending IP may use (RFC 5321 §5.1)."""

import pytest

from relay.domain.ids import IpAddress
from relay.domain.route import MxRoute, SmarthostRoute, TlsPolicy
from relay.domain.site import SINK, Site, mx_site, smarthost_site, usable_addresses

HOSTS = ((5, "mx1.example"), (10, "mx2.example"), (10, "mx3.example"), (20, "mx4.example"))


def test_a_smarthost_is_a_site_of_one_host() -> None:
    route = SmarthostRoute("Smart.Example", 587, TlsPolicy.REQUIRED, "relay", "s3cret")
    assert smarthost_site(route) == Site(
        ((0, "smart.example"),), 587, TlsPolicy.REQUIRED, "relay", "s3cret", True
    )


def test_a_login_makes_opportunistic_tls_required_and_leaves_the_rest() -> None:
    for asked, meant in (("opportunistic", "required"), ("required", "required"), ("off", "off")):
        assert SmarthostRoute("s.example", 25, TlsPolicy(asked), "us", "secret").tls == meant
    assert SmarthostRoute("s.example", 25).tls is TlsPolicy.OPPORTUNISTIC


def test_what_a_route_does_not_believe_of_its_hosts_is_its_sites() -> None:
    ignored = ("PIPELINING", "8BITMIME")
    assert mx_site(MxRoute(ehlo_ignore=ignored), [(0, "a.example")]).ehlo_ignore == ignored
    assert smarthost_site(SmarthostRoute("a.example", 25, ehlo_ignore=ignored)).ehlo_ignore == ignored


def test_a_password_is_in_no_text_of_a_site() -> None:
    site = smarthost_site(SmarthostRoute("smart.example", 587, username="relay", password="s3cret"))
    assert "s3cret" not in f"{site} {site!r}"


def test_sites_that_log_in_differently_are_different() -> None:
    one, other = (smarthost_site(SmarthostRoute("s.example", 25, username=name)) for name in "ab")
    assert one != other


def test_domains_with_the_same_exchangers_share_a_site_in_whatever_order_and_case_dns_answers() -> None:
    first = mx_site(MxRoute(), [(10, "b.example"), (5, "c.example"), (10, "a.example")])
    second = mx_site(MxRoute(), [(10, "A.Example."), (10, "b.example"), (5, "c.EXAMPLE")])
    assert first == second
    assert hash(first) == hash(second)
    assert first.hosts == ((5, "c.example"), (10, "a.example"), (10, "b.example"))
    assert (first.port, first.tls) == (25, TlsPolicy.OPPORTUNISTIC)


def test_a_route_that_allows_private_hosts_has_sites_of_its_own() -> None:
    assert mx_site(MxRoute(allow_private=True), [(0, "a.example")]).allow_private
    assert not mx_site(MxRoute(), [(0, "a.example")]).allow_private
    smarthost = smarthost_site(SmarthostRoute("a.example", 25))
    assert smarthost != mx_site(MxRoute(), [(0, "a.example")])


def test_the_sink_is_a_site_of_its_own_that_logs_can_name() -> None:
    assert str(SINK) == "sink"
    assert mx_site(MxRoute(TlsPolicy.OFF, 0), []) != SINK


def test_an_exchanger_named_twice_counts_once_at_its_best_preference() -> None:
    assert mx_site(MxRoute(), [(20, "a.example"), (10, "A.example.")]).hosts == ((10, "a.example"),)


@pytest.mark.parametrize(
    ("hosts", "text"),
    [
        ((), "nowhere:25"),
        (((0, "a.example"),), "a.example:25"),
        (HOSTS, "mx1.example+3:25"),
    ],
)
def test_a_site_is_logged_by_its_best_host(hosts: tuple[tuple[int, str], ...], text: str) -> None:
    assert str(Site(hosts, 25, TlsPolicy.OFF)) == text


def test_a_source_address_reaches_only_its_own_family() -> None:
    mixed = [IpAddress(text) for text in ("192.0.2.1", "2001:db8::1", "192.0.2.2", "::ffff:192.0.2.3")]
    assert usable_addresses(mixed, IpAddress("127.0.0.11")) == ("192.0.2.1", "192.0.2.2")
    assert usable_addresses(mixed, IpAddress("::1")) == ("2001:db8::1", "::ffff:192.0.2.3")
    assert usable_addresses(mixed[:1], IpAddress("::1")) == ()
