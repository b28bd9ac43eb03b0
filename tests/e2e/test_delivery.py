"""From the pinned IP to the next hop: routes, MX hosts, TLS, connections, and what a failure costs whom."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.domain.changes import Put, SetRoutes
from relay.domain.events import Bounce, Delay, Delivery, Event
from relay.domain.ids import IpAddress, NodeName
from relay.domain.message import Message, State
from relay.domain.reply import Phase, Reply
from relay.domain.route import SmarthostRoute, TlsPolicy
from relay.net.tls import ensure_self_signed, server_context
from relay.ports.outbound import MxResolver
from relay.ports.queue import MailFilter
from relay.sink.fake_mta import FakeMta
from relay.testing.fake_dns import FakeDns
from relay.testing.harness import RelayHarness
from relay.testing.lab import lab_directory
from relay.testing.waiting import eventually

TO = "bob@gmail.example"
POOL = "receipts"
POOL_IP = "127.0.0.13"
RESOLVER_DOWN = Reply(451, "4.4.3 [internal] DNS does not answer", Phase.INTERNAL)


@asynccontextmanager
async def _relay(
    folder: Path,
    mta: FakeMta,
    route: str = "",
    *,
    resolver: MxResolver | None = None,
    settings: Mapping[str, Mapping[str, object]] | None = None,
) -> AsyncIterator[RelayHarness]:
    """A relay whose mail takes this route; without one, everything goes to mta."""
    directory = lab_directory() + (f"\n[[route]]\n{route}\n" if route else "")
    async with RelayHarness(folder, mta, directory=directory, resolver=resolver, settings=settings) as relay:
        yield relay


def _mx(mta: FakeMta) -> str:
    return f'domains = ["*"]\nmx = true\nport = {mta.port}\nallow_private = true\ntls = "off"'


async def _fate(relay: RelayHarness, to: str = TO, *, ip_pool: str = POOL) -> tuple[Event, list[Message]]:
    """Inject; the last event of the message once it is quiet, and what waits."""
    injected = await relay.inject(to, ip_pool=ip_pool)
    waiting = await relay.quiet()
    return (await relay.story(injected.message_id))[-1].event, waiting


# ── MX routes ────────────────────────────────────────────────────────────────────────────


async def test_the_best_exchanger_that_can_be_reached_gets_the_mail(tmp_path: Path, mta: FakeMta) -> None:
    dns = FakeDns(
        {"gmail.example": ["dead.mx.example", "live.mx.example", "spare.mx.example"]},
        {"dead.mx.example": ["127.0.0.77"], "live.mx.example": ["127.0.0.1"], "spare.mx.example": []},
    )
    async with _relay(tmp_path, mta, _mx(mta), resolver=dns) as relay:
        event, waiting = await _fate(relay)
        assert isinstance(event, Delivery)
        assert waiting == []
        assert [attempt.peer_ip for attempt in mta.attempts] == [POOL_IP]
        assert "A spare.mx.example" not in dns.asked


async def test_a_host_with_several_addresses_is_tried_at_each(tmp_path: Path, mta: FakeMta) -> None:
    dns = FakeDns({"gmail.example": ["mx.example"]}, {"mx.example": ["::1", "127.0.0.77", "127.0.0.1"]})
    async with _relay(tmp_path, mta, _mx(mta), resolver=dns) as relay:
        assert isinstance((await _fate(relay))[0], Delivery)


async def test_a_domain_without_mx_is_its_own_exchanger(tmp_path: Path, mta: FakeMta) -> None:
    async with _relay(
        tmp_path, mta, _mx(mta), resolver=FakeDns({}, {"gmail.example": ["127.0.0.1"]})
    ) as relay:
        assert isinstance((await _fate(relay))[0], Delivery)


async def test_an_address_literal_is_connected_to_as_it_is(tmp_path: Path, mta: FakeMta) -> None:
    async with _relay(tmp_path, mta, _mx(mta), resolver=FakeDns()) as relay:
        assert isinstance((await _fate(relay, "bob@[127.0.0.1]"))[0], Delivery)


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        pytest.param(
            Reply(556, "5.1.10 [internal] domain takes no mail", Phase.INTERNAL),
            Bounce,
            "556 5.1.10",
            id="null MX",
        ),
        pytest.param(None, Delay, "454 4.4.4 [internal] no MX or A for domain", id="no such domain"),
        pytest.param(RESOLVER_DOWN, Delay, "451 4.4.3 [internal]", id="the resolver does not answer"),
    ],
)
async def test_what_dns_says_is_the_outcome_of_all_the_domains_mail(
    tmp_path: Path, mta: FakeMta, answer: Reply | None, kind: type, reason: str
) -> None:
    dns = FakeDns({} if answer is None else {"gmail.example": answer})
    async with _relay(tmp_path, mta, _mx(mta), resolver=dns) as relay:
        stories = [(await relay.inject(f"r{n}@gmail.example", ip_pool=POOL)).message_id for n in range(5)]
        waiting = await relay.quiet()
        assert len(waiting) == (5 if kind is Delay else 0)
        for message in stories:
            event = (await relay.story(message))[-1].event
            assert isinstance(event, Bounce | Delay)
            assert type(event) is kind
            assert event.raw_reason.startswith(reason)
        assert mta.connections == 0


async def test_a_site_of_the_other_address_family_is_a_deferral_that_names_the_cause(
    tmp_path: Path, mta: FakeMta
) -> None:
    dns = FakeDns({"gmail.example": ["six.example"]}, {"six.example": ["::1"]})
    async with _relay(tmp_path, mta, _mx(mta), resolver=dns) as relay:
        event, (waiting,) = await _fate(relay)
        assert isinstance(event, Delay)
        assert "six.example has no address of the family of 127.0.0.13" in event.raw_reason
        assert waiting.due == relay.clock.now() + timedelta(minutes=20)


async def test_a_route_that_ends_at_a_listener_of_ours_is_a_loop(tmp_path: Path, mta: FakeMta) -> None:
    route = 'domains = ["elsewhere.example"]\nsmarthost = "127.0.0.1:1"\ntls = "off"'
    async with _relay(tmp_path, mta, route, resolver=FakeDns({}, {"gmail.example": ["127.0.0.1"]})) as relay:
        host, port = relay.smtp_address
        snapshot = relay.inside.directory.snapshot
        (listed,) = snapshot.routes
        target = SmarthostRoute(host, port, TlsPolicy.OFF)
        await relay.apply(SetRoutes((replace(listed, patterns=("*",), target=target),)))
        event, waiting = await _fate(relay)
        assert isinstance(event, Bounce)
        assert event.raw_reason == "554 5.4.6 mail loop detected"
        assert waiting == []


async def test_a_sink_on_another_port_of_our_address_is_no_loop(relay: RelayHarness, mta: FakeMta) -> None:
    assert mta.address.partition(":")[0] == relay.smtp_address[0]
    assert isinstance((await _fate(relay))[0], Delivery)


async def test_an_exchanger_that_is_ourselves_ends_the_list(tmp_path: Path, mta: FakeMta) -> None:
    """RFC 5321 §5.1: worse exchangers than ourselves would send it back."""
    async with _relay(tmp_path, mta) as first:
        port = first.smtp_address[1]
        dns = FakeDns(
            {"gmail.example": [(10, "dead.example"), (20, "us.example"), (30, "worse.example")]},
            {"dead.example": ["127.0.0.77"], "us.example": ["127.0.0.1"], "worse.example": ["127.0.0.78"]},
        )
        route = f'domains = ["*"]\nmx = true\nport = {port}\nallow_private = true\ntls = "off"'
        settings = {"smtp": {"listen": [f"127.0.0.1:{port}"]}}
        await first.stop()
        other = tmp_path / "other"
        other.mkdir()
        async with _relay(other, mta, route, resolver=dns, settings=settings) as relay:
            event, _ = await _fate(relay)
            assert isinstance(event, Delay), "the better one may come back"
            assert "A worse.example" not in dns.asked


# ── TLS and AUTH ─────────────────────────────────────────────────────────────────────────


def _smarthost(mta: FakeMta, tls: str, more: str = "") -> str:
    return f'domains = ["*"]\nsmarthost = "{mta.address}"\ntls = "{tls}"\n{more}'


@pytest.mark.parametrize(
    ("offers", "tls", "outbound_tls"),
    [
        pytest.param(True, "opportunistic", 1, id="used when offered"),
        pytest.param(False, "opportunistic", 0, id="clear text when not offered"),
        pytest.param(True, "off", 0, id="not asked for"),
    ],
)
async def test_starttls_is_used_as_the_route_says(
    tmp_path: Path, offers: bool, tls: str, outbound_tls: int
) -> None:
    context = server_context(*ensure_self_signed(tmp_path, "mx.test")) if offers else None
    async with FakeMta(tls=context) as mta, _relay(tmp_path, mta, _smarthost(mta, tls)) as relay:
        event, _ = await _fate(relay)
        assert isinstance(event, Delivery)
        assert event.peer.outbound_tls == outbound_tls
        assert [attempt.tls for attempt in mta.attempts] == [outbound_tls == 1]


@pytest.mark.parametrize(
    "offers", [True, False], ids=["a certificate that nobody vouches for", "not offered"]
)
async def test_where_tls_is_required_mail_waits_rather_than_go_in_clear(tmp_path: Path, offers: bool) -> None:
    context = server_context(*ensure_self_signed(tmp_path, "mx.test")) if offers else None
    async with FakeMta(tls=context) as mta, _relay(tmp_path, mta, _smarthost(mta, "required")) as relay:
        event, (waiting,) = await _fate(relay)
        assert isinstance(event, Delay)
        assert event.raw_reason.startswith("454 4.7.")
        assert event.peer.outbound_tls == -1
        assert mta.attempts == []
        assert waiting.state is State.QUEUED


async def test_a_smarthost_gets_our_credentials(tmp_path: Path) -> None:
    login = 'username = "relay"\npassword = "s3cret"'
    async with (
        FakeMta(credentials={"relay": "s3cret"}) as mta,
        _relay(tmp_path, mta, _smarthost(mta, "off", login)) as relay,
    ):
        assert isinstance((await _fate(relay))[0], Delivery)
        assert mta.logins == [("relay", "s3cret")]


async def test_a_wrong_password_of_ours_is_never_the_recipients_bounce(tmp_path: Path) -> None:
    login = 'username = "relay"\npassword = "wr0ng"'
    async with (
        FakeMta(credentials={"relay": "s3cret"}) as mta,
        _relay(tmp_path, mta, _smarthost(mta, "off", login)) as relay,
    ):
        event, waiting = await _fate(relay)
        assert isinstance(event, Delay)
        assert event.error_code == 535
        assert "wr0ng" not in event.raw_reason
        assert len(waiting) == 1


# ── connections ──────────────────────────────────────────────────────────────────────────


async def test_a_session_is_used_again(relay: RelayHarness, mta: FakeMta) -> None:
    for number in range(5):
        await relay.inject(f"r{number}@gmail.example", ip_pool=POOL)
        await relay.quiet()
    assert len(mta.accepted) == 5
    assert mta.connections == 1


async def test_limits_of_a_path_hold(tmp_path: Path) -> None:
    limits = {"connections": 2, "deliveries_per_connection": 3, "recipients_per_transaction": 4}
    open_at_once: list[int] = []
    async with FakeMta(on_attempt=lambda _: open_at_once.append(mta.open_connections)) as mta:
        mta.restrict(delay_s=0.01)
        async with _relay(tmp_path, mta, settings={"limits": limits}) as relay:
            async with asyncio.TaskGroup() as tasks:
                for number in range(12):
                    tasks.create_task(relay.inject(f"r{number}@gmail.example", ip_pool=POOL))
            await relay.quiet(20)
            assert len(mta.accepted) == 12
            carried = [attempt.connection for attempt in mta.accepted]
            assert max(carried.count(connection) for connection in set(carried)) <= 3
            assert max(open_at_once) <= 2
            await relay.inject([f"s{number}@gmail.example" for number in range(9)], ip_pool=POOL)
            await relay.quiet(20)
            # Recipients of one transaction share its content, which the fake keeps once.
            contents = [id(attempt.content) for attempt in mta.accepted[12:]]
            assert sorted(map(contents.count, set(contents))) == [1, 4, 4]


async def test_recipients_of_one_message_share_a_transaction_and_have_a_reply_each(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.answer("later@gmail.example", "451 4.2.1 later")
    mta.answer("gone@gmail.example", "550 5.1.1 no such user")
    to = ["ok@gmail.example", "later@gmail.example", "gone@gmail.example"]
    injected = await relay.inject(to, ip_pool=POOL)
    waiting = await relay.quiet()
    assert [message.rcpt_to for message in waiting] == ["later@gmail.example"]
    last = [type((await relay.story(message))[-1].event) for message in injected.messages]
    assert last == [Delivery, Delay, Bounce]
    assert [attempt.recipient for attempt in mta.attempts] == [
        "later@gmail.example",
        "gone@gmail.example",
        to[0],
    ]
    assert mta.connections == 1


async def test_recipients_that_are_too_many_for_the_host_go_in_the_next_transaction_at_once(
    relay: RelayHarness, mta: FakeMta
) -> None:
    """RFC 5321 §4.5.3.1.10."""
    mta.restrict(recipients=4)
    await relay.inject([f"r{number}@gmail.example" for number in range(10)], ip_pool=POOL)
    assert await relay.quiet() == []
    assert len(mta.accepted) == 10


async def test_a_reused_session_that_died_unnoticed_is_replaced_at_once_and_uncounted(
    relay: RelayHarness, mta: FakeMta
) -> None:
    await relay.inject("first@gmail.example", ip_pool=POOL)
    await relay.quiet()
    mta.drop(Phase.MAIL, times=1)
    event, waiting = await _fate(relay)
    assert isinstance(event, Delivery)
    assert event.num_retries == 0
    assert waiting == []
    assert mta.connections == 2


async def test_a_message_lost_after_the_final_dot_is_deferred_and_marked(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.drop(Phase.BODY)
    event, (waiting,) = await _fate(relay)
    assert isinstance(event, Delay)
    assert event.is_ambiguous
    assert event.raw_reason == "451 4.4.2 [internal] connection closed by remote host"
    assert waiting.attempts == 1


# ── failures, and what they cost whom ────────────────────────────────────────────────────


async def _deferrals(relay: RelayHarness) -> list[str]:
    told = await relay.inside.store.events.recent(1000)
    return [one.event.about.rcpt_to for one in told if isinstance(one.event, Delay)]


@pytest.mark.parametrize("how", ["refused connection", "refused greeting", "421 to MAIL"])
async def test_what_speaks_of_the_host_rests_its_path_for_a_minute_then_two(
    relay: RelayHarness, mta: FakeMta, how: str
) -> None:
    if how == "refused greeting":
        mta.say(Phase.GREETING, "554 5.3.2 no service")
    elif how == "421 to MAIL":
        mta.say(Phase.MAIL, "421 4.3.2 shutting down")
    else:
        await mta.__aexit__(None, None, None)
    await relay.inject("first@gmail.example", ip_pool=POOL)
    (first,) = await relay.quiet()
    assert first.attempts == 1
    assert first.due == relay.clock.now() + timedelta(minutes=20)
    await _put_into_the_queue(relay, "second@gmail.example", "third@gmail.example")
    assert await _deferrals(relay) == ["first@gmail.example"], "mail behind a resting path is not tried"

    for seconds, deferred in ((60, 2), (60, 2), (60, 3)):
        relay.clock.advance(seconds=seconds)
        await eventually(lambda count=deferred: _has_deferred(relay, count))  # type: ignore[misc]  # bound at once
        assert len(await _deferrals(relay)) == deferred
    if how == "refused connection":
        await mta.__aenter__()
    mta.behave()
    relay.clock.advance(minutes=30)
    assert await relay.quiet() == []
    assert len(mta.accepted) == 3
    assert {attempt.peer_ip for attempt in mta.accepted} == {POOL_IP}


async def _put_into_the_queue(relay: RelayHarness, *recipients: str) -> None:
    """Inject mail that nobody tries now: it waits, due."""
    for to in recipients:
        await relay.inject(to, ip_pool=POOL)
    await relay.clock.settle()


async def _has_deferred(relay: RelayHarness, count: int) -> bool:
    return len(await _deferrals(relay)) >= count


@pytest.mark.parametrize("phase", [Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.BODY])
async def test_a_4xx_to_the_mail_rests_nothing(relay: RelayHarness, mta: FakeMta, phase: Phase) -> None:
    mta.say(phase, "451 4.7.1 not now", times=1)
    event, (waiting,) = await _fate(relay)
    assert isinstance(event, Delay)
    assert waiting.attempts == 1
    other, _ = await _fate(relay, "other@gmail.example")
    assert isinstance(other, Delivery)


async def test_a_dead_destination_costs_its_neighbours_nothing(tmp_path: Path, mta: FakeMta) -> None:
    dns = FakeDns({}, {"gmail.example": ["127.0.0.1"], "dead.example": ["127.0.0.77"]})
    async with _relay(tmp_path, mta, _mx(mta), resolver=dns) as relay:
        for number in range(20):
            await relay.inject(f"r{number}@dead.example", ip_pool=POOL)
        event, _ = await _fate_of_one(relay, "ok@gmail.example")
        assert isinstance(event, Delivery)
        assert len(await relay.queue()) == 20


async def _fate_of_one(relay: RelayHarness, to: str) -> tuple[Event, None]:
    """As `_fate`, while other mail is due and waits."""
    message = (await relay.inject(to, ip_pool=POOL)).message_id

    async def told() -> list[Event]:
        events = [one.event for one in await relay.story(message)]
        return events if len(events) > 1 else []

    return (await eventually(told))[-1], None


async def test_mail_behind_a_resting_path_expires_on_time(relay: RelayHarness, mta: FakeMta) -> None:
    mta.say(Phase.GREETING, "554 5.3.2 no service")
    await relay.inject("first@gmail.example", ip_pool=POOL)
    await relay.quiet()
    await relay.inject("second@gmail.example", ip_pool=POOL)
    accepted = relay.clock.now()
    relay.clock.advance(hours=72)

    async def bounced() -> list[Bounce]:
        told = await relay.inside.store.events.recent(1000)
        found = [one.event for one in told if isinstance(one.event, Bounce)]
        return found if len(found) == 2 else []

    for bounce in await eventually(bounced):
        assert bounce.at == accepted + timedelta(hours=72)
        assert bounce.raw_reason.startswith("554 5.4.7 [internal] message timeout (last transfail: ")


async def test_a_host_that_wants_one_connection_gets_all_mail_on_one(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.restrict(connections=1, delay_s=0.005)
    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(relay.inject(f"r{number}@gmail.example", ip_pool=POOL))
    assert await relay.quiet(20) == []
    assert len(mta.accepted) == 30
    assert await _deferrals(relay) == []


async def test_a_host_that_closes_after_each_message_gets_all_of_them(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.restrict(messages_per_connection=1)
    async with asyncio.TaskGroup() as tasks:
        for number in range(30):
            tasks.create_task(relay.inject(f"r{number}@gmail.example", ip_pool=POOL))
    assert await relay.quiet(20) == []
    assert len(mta.accepted) == 30


# ── the source address ───────────────────────────────────────────────────────────────────

_UNPLUMBED = "192.0.2.13"


async def test_an_ip_that_is_not_on_this_machine_defers_with_a_reason_and_counts_nothing(
    relay: RelayHarness, mta: FakeMta
) -> None:
    """Fails closed: no packet leaves from another address."""
    here = relay.inside.directory.snapshot.ips[IpAddress(POOL_IP)]
    await relay.apply(Put(replace(here, bind=IpAddress(_UNPLUMBED))))
    event, (waiting,) = await _fate(relay)
    assert not isinstance(event, Delay | Bounce | Delivery)
    assert waiting.attempts == 0
    assert waiting.state is State.QUEUED
    assert waiting.last_reply == (
        f"451 4.3.0 [internal] Sending IP temporarily suspended: {_UNPLUMBED} is not on this machine"
    )
    assert mta.connections == 0

    await relay.apply(Put(here))
    relay.clock.advance(seconds=60)
    assert await relay.quiet() == []
    assert [attempt.peer_ip for attempt in mta.accepted] == [POOL_IP]


async def test_the_bind_address_is_looked_up_again_and_the_ehlo_name_is_the_pinned_one(
    relay: RelayHarness, mta: FakeMta
) -> None:
    """A machine may be re-addressed behind its public address (ADR 1)."""
    mta.answer(TO, "451 4.2.1 later", then="250 2.0.0 Ok")
    await relay.inject(TO, ip_pool=POOL)
    await relay.quiet()
    here = relay.inside.directory.snapshot.ips[IpAddress(POOL_IP)]
    await relay.apply(Put(replace(here, bind=IpAddress("127.0.0.113"), hostname="new.relay.test")))
    relay.clock.advance(minutes=20)
    assert await relay.quiet() == []
    first, second = mta.attempts_for(TO)
    assert (first.peer_ip, second.peer_ip) == (POOL_IP, "127.0.0.113")
    assert first.ehlo == second.ehlo == "mta13.relay.test"


async def test_an_ip_of_another_node_is_left_to_that_node(relay: RelayHarness, mta: FakeMta) -> None:
    here = relay.inside.directory.snapshot.ips[IpAddress(POOL_IP)]
    await relay.restart()
    await relay.apply(Put(replace(here, node=NodeName("n2"))))
    await relay.restart()
    await relay.inject(TO, ip_pool=POOL)
    relay.clock.advance(minutes=30)
    await relay.clock.settle()
    (waiting,) = await relay.inside.store.queue.select(MailFilter(None), 10)
    assert (waiting.state, waiting.attempts) == (State.QUEUED, 0)
    assert mta.connections == 0
