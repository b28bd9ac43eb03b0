"""Whom the suppression list keeps mail from, at both doors: it is accepted, told of, and never queued."""

from dataclasses import replace

import pytest

from relay.accept.transmit import AT_ONCE
from relay.domain.address import parse_mailbox
from relay.domain.changes import Put
from relay.domain.directory import Plan
from relay.domain.events import Bounce, Injection
from relay.domain.message import Options
from relay.domain.suppression import CUSTOMER_POLICY, SYSTEM_POLICY, Kind, Source, Suppression
from relay.domain.transmission import Recipient
from tests.service.test_transmit import ACME, World, draft
from tests.support.handing import hand_in, smtp_door

DOORS = ["smtp", "rest", "rest, step by step"]


async def _list(world: World, *recipients: str, kind: Kind, source: Source = Source.MANUALLY_ADDED) -> None:
    now = world.clock.now()
    await world.store.suppressions.put(
        [Suppression(ACME, None, one, kind, source, "", now, now) for one in recipients]
    )


async def _send(world: World, door: str, options: Options, *to: str) -> None:
    if door == "smtp":
        await smtp_door(world).accept(hand_in(*to, options=options))
        return
    recipients = [Recipient(parse_mailbox(one)) for one in to]
    if door == "rest":
        await world.transmitter().accept(draft(0, options=options, recipients=recipients))
        return
    others = draft(AT_ONCE).recipients
    await world.transmitter().accept(draft(0, options=options, recipients=[*recipients, *others]))
    await world.due().step(await world.held())


async def _queued(world: World) -> set[str]:
    return {one.rcpt_to for one in await world.messages() if not one.rcpt_to.startswith("r")}


async def _told(world: World, kind: type[Bounce] | type[Injection]) -> list[str]:
    found = [one.event for one in await world.store.events.recent(2_000)]
    return sorted(
        event.about.rcpt_to
        for event in found
        if isinstance(event, kind) and not event.about.rcpt_to.startswith("r")
    )


BULK, PRIVATE = Kind.NON_TRANSACTIONAL, Kind.TRANSACTIONAL


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("plan", "listed", "options", "leaves"),
    [
        pytest.param(Plan.SELF_SERVE, BULK, Options(), False, id="as it usually is"),
        pytest.param(Plan.SELF_SERVE, PRIVATE, Options(), True, id="an entry for the other kind of mail"),
        pytest.param(Plan.SELF_SERVE, PRIVATE, Options(transactional=True), False, id="transactional"),
        pytest.param(
            Plan.SELF_SERVE, BULK, Options(transactional=True), True, id="transactional, listed not"
        ),
        pytest.param(Plan.SELF_SERVE, BULK, Options(skip_suppression=True), False, id="skipping by no right"),
        pytest.param(Plan.ENTERPRISE, BULK, Options(skip_suppression=True), True, id="skipping by right"),
        pytest.param(Plan.ENTERPRISE, BULK, Options(), False, id="a right that is not used"),
    ],
)
async def test_a_listed_recipient_bounces_and_others_get_their_mail(
    world: World, door: str, plan: Plan, listed: Kind, options: Options, leaves: bool
) -> None:
    await world.live.apply([Put(replace(world.live.snapshot.accounts[ACME], plan=plan))], "t")
    await _list(world, "bob@b.example", kind=listed)
    await _send(world, door, options, "Bob@b.example", "carol@b.example")
    assert await _queued(world) == {"carol@b.example", *(["Bob@b.example"] if leaves else [])}
    assert await _told(world, Injection) == ["Bob@b.example", "carol@b.example"]
    assert await _told(world, Bounce) == ([] if leaves else ["Bob@b.example"])


@pytest.mark.parametrize("door", DOORS)
async def test_mail_to_listed_recipients_alone_leaves_nothing_in_the_queue(world: World, door: str) -> None:
    await _list(world, "bob@b.example", "carol@b.example", kind=BULK)
    await _send(world, door, Options(), "bob@b.example", "carol@b.example")
    assert await _queued(world) == set()
    assert await _told(world, Bounce) == await _told(world, Injection) == ["bob@b.example", "carol@b.example"]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Source.MANUALLY_ADDED, CUSTOMER_POLICY),
        (Source.SPAM_COMPLAINT, CUSTOMER_POLICY),
        (Source.COMPLIANCE, SYSTEM_POLICY),
    ],
)
async def test_the_bounce_says_whose_policy_it_was(
    world: World, door: str, source: Source, reason: str
) -> None:
    await _list(world, "bob@b.example", kind=BULK, source=source)
    await _send(world, door, Options(), "bob@b.example")
    bounces = [one.event for one in await world.store.events.recent(2_000) if isinstance(one.event, Bounce)]
    assert [(one.raw_reason, one.bounce_class, one.num_retries) for one in bounces] == [(reason, 25, 0)]
