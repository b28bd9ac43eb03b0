"""The short way of fresh mail by SMTP: a place on each path, used once or given back, whatever happens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from relay.accept.door import Injector
from relay.accept.turns import Turns
from relay.domain.address import parse_mailbox
from relay.domain.changes import Put
from relay.domain.directory import Account, Plan
from relay.domain.errors import MailLoop, NoFreeId, Unsendable
from relay.domain.ids import AccountId, Epoch, IpAddress, NodeName, WorkerId
from relay.domain.message import Copy, Options, State
from relay.domain.retry import RetryPolicy
from relay.domain.suppression import Kind, Source, Suppression
from relay.frames.live import LiveDirectory
from relay.ports.queue import Claimed
from tests.service.test_inject import Repeating
from tests.service.test_transmit import ACME, World
from tests.support.handing import hand_in


@dataclass
class Lane:
    """Egress with lanes held under this epoch; these domains have no free place."""

    epoch: Epoch
    full: frozenset[str] = frozenset()
    places: list[str] = field(default_factory=list)
    """Reserved and not yet used or given back."""
    departed: list[str] = field(default_factory=list)
    """Whose mail is on its way."""
    told: list[str] = field(default_factory=list)
    """Domains for which mail waits in the lane."""
    asked: int = 0

    def reserve(self, ip: IpAddress, domain: str, size_bytes: int) -> Epoch | None:
        self.asked += 1
        if domain in self.full:
            return None
        self.places.append(domain)
        return self.epoch

    def depart(self, ip: IpAddress, domain: str, mail: Sequence[Claimed]) -> None:
        self.places.remove(domain)
        self.departed += [one.message.rcpt_to for one in mail]

    def queued(self, ip: IpAddress, domain: str, due: datetime) -> None:
        self.told.append(domain)


@pytest.fixture
async def lane(world: World) -> Lane:
    """All of the account's lanes are ours."""
    held = await world.store.queue.hold_lanes(WorkerId("w"), NodeName("n"), 60, 10)
    (epoch,) = {one.epoch for one in held}
    return Lane(epoch)


def _door(world: World, lane: Lane, ids: Repeating | None = None) -> Injector:
    policy, turns = RetryPolicy(), Turns()
    queue, live, clock = world.store.queue, world.live, world.clock
    return Injector(queue, live, lane, clock, ids or world.ids, policy, "relay.test", turns)


async def test_mail_with_a_place_on_its_path_is_stored_in_flight_and_departs(
    world: World, lane: Lane
) -> None:
    await _door(world, lane).accept(hand_in("bob@b.example", "carol@c.example"))
    messages = await world.messages()
    assert {(one.state, one.attempts, one.epoch) for one in messages} == {(State.IN_FLIGHT, 1, lane.epoch)}
    assert sorted(lane.departed) == ["bob@b.example", "carol@c.example"]
    assert (lane.places, lane.told) == ([], [])


async def test_copies_need_their_places_too(world: World, lane: Lane) -> None:
    options = Options(
        cc=(Copy(parse_mailbox("cc@c.example")),),
        bcc=(Copy(parse_mailbox("bcc@d.example")),),
        archive=(Copy(parse_mailbox("archive@e.example")),),
    )
    await _door(world, lane).accept(hand_in("bob@b.example", options=options))
    assert lane.asked == 4
    assert len(lane.departed) == 4
    assert lane.places == []


@pytest.mark.parametrize("full", ["b.example", "c.example", "d.example"])
async def test_when_one_path_is_full_all_copies_wait(world: World, lane: Lane, full: str) -> None:
    lane.full = frozenset({full})
    await _door(world, lane).accept(hand_in("bob@b.example", "carol@c.example", "dave@d.example"))
    assert {(one.state, one.attempts) for one in await world.messages()} == {(State.QUEUED, 0)}
    assert (lane.places, lane.departed) == ([], [])
    assert sorted(lane.told) == ["b.example", "c.example", "d.example"]


@pytest.mark.parametrize(("domains", "departs"), [(8, True), (9, False)])
async def test_mail_to_many_domains_goes_by_the_queue(
    world: World, lane: Lane, domains: int, departs: bool
) -> None:
    await _door(world, lane).accept(hand_in(*(f"bob@b{number}.example" for number in range(domains))))
    assert len(lane.departed) == domains * departs
    assert len(lane.told) == domains * (not departs)
    assert lane.places == []


async def test_under_a_lost_lane_mail_waits_for_whoever_has_it(world: World, lane: Lane) -> None:
    lane.epoch = Epoch(lane.epoch - 1)
    await _door(world, lane).accept(hand_in())
    assert [one.state for one in await world.messages()] == [State.QUEUED]
    assert (lane.places, lane.departed, lane.told) == ([], [], ["b.example"])


async def test_a_suppressed_recipient_gives_all_places_back_and_the_others_wait(
    world: World, lane: Lane
) -> None:
    now = world.clock.now()
    listed = Suppression(
        ACME, None, "bob@b.example", Kind.NON_TRANSACTIONAL, Source.MANUALLY_ADDED, "", now, now
    )
    await world.store.suppressions.put([listed])
    await _door(world, lane).accept(hand_in("bob@b.example", "carol@c.example"))
    assert [one.rcpt_to for one in await world.messages()] == ["carol@c.example"]
    assert (lane.places, lane.departed, lane.told) == ([], [], ["c.example"])


async def test_mail_that_is_decided_again_takes_new_places(world: World, lane: Lane) -> None:
    other = LiveDirectory(world.store.directory, await world.store.directory.snapshot(), world.clock)
    await other.apply([Put(Account(AccountId(2), "B", Plan.FREE))], "another process")
    await _door(world, lane).accept(hand_in())
    assert (lane.asked, lane.departed, lane.places) == (2, ["bob@b.example"], [])
    assert len(await world.messages()) == 1


async def test_without_a_free_id_all_places_are_given_back(world: World, lane: Lane) -> None:
    door = _door(world, lane, Repeating(100))
    await door.accept(hand_in())
    with pytest.raises(NoFreeId):
        await door.accept(hand_in())
    assert (lane.departed, lane.places) == (["bob@b.example"], [])


@pytest.mark.parametrize(
    ("fields", "refusal", "asked"),
    [
        pytest.param(b"From: a@acme.test\r\nX: a\nb\r\n", Unsendable, 1, id="a line that is no field"),
        pytest.param(b"Received: x\r\n" * 101, MailLoop, 0, id="mail that goes round"),
    ],
)
async def test_what_may_not_leave_keeps_no_place(
    world: World, lane: Lane, fields: bytes, refusal: type[Exception], asked: int
) -> None:
    with pytest.raises(refusal):
        await _door(world, lane).accept(hand_in(fields=fields))
    assert (lane.asked, lane.places, lane.departed, lane.told) == (asked, [], [], [])
    assert await world.messages() == []
