"""Ids, routes, replies and the small rules of the directory."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.directory import SendingIp, Snapshot, pool_id_of
from relay.domain.errors import TooMuchWork
from relay.domain.ids import (
    AccountId,
    IpAddress,
    canonical_ip,
    from_us,
    mint_message_id,
    mint_transmission_id,
    to_us,
)
from relay.domain.reply import Phase, Reply
from relay.domain.route import MxRoute, Route, SmarthostRoute, ends_in_sink, route_for

T0 = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "::ffff:a00:1"),
        ("0:0:0:0:0:FFFF:0a00:0001", "::ffff:a00:1"),
        ("::ffff:0:0", "::ffff:0:0"),
        ("::ffff:10.0.0.1%eth0", "::ffff:a00:1%eth0"),
        ("::10.0.0.1", "::a00:1"),
        ("64:ff9b::10.0.0.1", "64:ff9b::a00:1"),
    ],
)
def test_an_address_has_one_form_under_every_python(text: str, canonical: str) -> None:
    assert canonical_ip(text) == canonical


@given(st.datetimes(datetime(1990, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - bounds
def test_a_time_survives_storage_to_the_microsecond(moment: datetime) -> None:
    assert from_us(to_us(moment)) == moment


def test_message_ids_are_20_hex_digits_sorted_by_time_and_distinct_within_one_moment() -> None:
    ids = [mint_message_id(T0, b"\xff\xff\xff\xff", index) for index in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(id_) == 20 and int(id_, 16) for id_ in ids)
    assert max(ids) < mint_message_id(T0.replace(second=1), bytes(4))


def test_transmission_ids_are_numeric_strings_that_fit_64_bits() -> None:
    assert mint_transmission_id(T0, b"\xff\xff").isdecimal()
    assert int(mint_transmission_id(T0.replace(year=2200), b"\xff\xff")) < 2**63


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("Marketing IP Pool", "marketing_ip_pool"),
        ("Above Ground", "above_ground"),
        ("Olympic", "olympic"),
        ("Default", "default"),
        (" a--b__C ", "a_b_c"),
        ("ÄÖ", ""),
    ],
)
def test_pool_ids_derive_from_names_as_at_sparkpost(name: str, pool: str) -> None:
    assert pool_id_of(name) == pool


def test_only_ips_that_take_pins_are_members() -> None:
    def ip(address: str, **facts: bool) -> SendingIp:
        return SendingIp(IpAddress(address), IpAddress(address), "mta", account=AccountId(1), **facts)  # type: ignore[arg-type]  # the flags under test

    ips = [
        ip("127.0.0.12"),
        ip("127.0.0.9"),
        ip("127.0.0.3", is_draining=True),
        ip("127.0.0.4", is_retired=True),
    ]
    snapshot = Snapshot(ips={each.address: each for each in ips})
    members = snapshot.members[AccountId(1), pool_id_of("default")]
    assert [member.address for member in members] == ["127.0.0.9", "127.0.0.12"]


SMART = SmarthostRoute("127.0.0.1", 2526, username="u", password="secret")
ROUTES = (
    Route(("example.com", "*.example.com"), SMART),
    Route(("*.test",), MxRoute(port=2527)),
    Route(("*",), MxRoute()),
)


@pytest.mark.parametrize(
    ("domain", "target"),
    [
        ("example.com", SMART),
        ("a.b.example.com", SMART),
        ("notexample.com", MxRoute()),
        ("x.test", MxRoute(port=2527)),
        ("test", MxRoute()),
    ],
)
def test_the_first_route_that_covers_a_domain_wins(domain: str, target: object) -> None:
    assert route_for(ROUTES, domain) == target
    assert route_for(ROUTES[:1], "other.org") is None


@pytest.mark.parametrize(
    ("domain", "ends"),
    [
        ("sink.test", True),
        ("a.b.sink.test", True),
        ("other.test", True),
        ("notsink.test", False),
        ("test", False),
        ("sink.test.example", False),
        ("[127.0.0.1]", False),
    ],
)
def test_a_sink_takes_its_domain_and_all_below_it(domain: str, ends: bool) -> None:
    assert ends_in_sink(("sink.test", "other.test"), domain) is ends
    assert not ends_in_sink((), domain)


def test_a_route_never_shows_its_password() -> None:
    assert "secret" not in repr(ROUTES)


@pytest.mark.parametrize(
    ("reply", "enhanced", "positive", "permanent", "text"),
    [
        (Reply(250, "2.0.0 ok", Phase.BODY), "2.0.0", True, False, "250 2.0.0 ok"),
        (Reply(550, "5.1.1", Phase.RCPT), "5.1.1", False, True, "550 5.1.1"),
        (Reply(451, "later 4.2.0", Phase.MAIL), "", False, False, "451 later 4.2.0"),
        (Reply(221, "", Phase.MAIL), "", True, False, "221"),
    ],
)
def test_a_reply_is_judged_by_its_first_digit(
    reply: Reply, enhanced: str, positive: bool, permanent: bool, text: str
) -> None:
    assert (reply.enhanced, reply.is_positive, reply.is_permanent, str(reply)) == (
        enhanced,
        positive,
        permanent,
        text,
    )


def test_too_much_work_says_what_of_and_in_which_unit() -> None:
    assert (TooMuchWork("memory", 384).unit, TooMuchWork("CPU time", 5).unit) == ("MB", "s")
