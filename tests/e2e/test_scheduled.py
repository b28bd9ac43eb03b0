"""Scheduled transmissions: decided when their time comes, whatever happened meanwhile (R30-R33)."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from relay.domain.changes import Put, Remove
from relay.domain.directory import Plan
from relay.domain.events import GenerationRejection, Injection
from relay.domain.ids import TransmissionId
from relay.domain.message import State
from relay.domain.reply import Phase
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.lab import WITH_API
from relay.testing.waiting import eventually

CONTENT = {"from": "news@acme.test", "subject": "Hello", "text": "Hello."}
NEWS, ALERTS = {"ip_pool": "news"}, {"ip_pool": "alerts"}


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {name: dict(values) for name, values in WITH_API.items()}


def stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


async def schedule(
    relay: RelayHarness,
    *to: str,
    account: int = 1,
    subaccount: int | None = None,
    in_: timedelta = timedelta(hours=1),
    **more: Any,
) -> str:
    """The id of a transmission to these, at that time from now."""
    options = {"start_time": stamp(relay.clock.now() + in_), **more.pop("options", {})}
    body = {"content": CONTENT, "recipients": [{"address": one} for one in to], "options": options, **more}
    async with relay.api(account, subaccount=subaccount) as api:
        answer = await api.post("/transmissions", json=body)
    assert answer.status_code == 200, answer.text
    id_: str = answer.json()["results"]["id"]
    return id_


async def state(relay: RelayHarness, id_: str, account: int = 1) -> dict[str, Any]:
    async with relay.api(account) as api:
        answer = await api.get(f"/transmissions/{id_}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["results"]["transmission"]
    return found


async def finished(relay: RelayHarness, id_: str, account: int = 1) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        found = await state(relay, id_, account)
        return found if found["state"] in {"Success", "Canceled"} else None

    found = await eventually(look)
    assert found is not None
    await relay.quiet()
    return found


async def rejections(relay: RelayHarness, id_: str) -> list[str]:
    told = await relay.inside.store.events.of_transmission(TransmissionId(id_))
    assert all(one.submission is not None for one in told)
    return [
        f"{one.event.about.rcpt_to}: {one.event.raw_reason}"
        for one in told
        if isinstance(one.event, GenerationRejection)
    ]


async def empty_pool(relay: RelayHarness, pool: str, account: int) -> None:
    for address in relay.ips_of(pool, account):
        await relay.unassign_ip(address)


async def test_r30_the_pool_is_examined_at_the_scheduled_time(relay: RelayHarness, mta: FakeMta) -> None:
    """Empty when it was submitted, filled when it is sent."""
    id_ = await schedule(relay, "bob@gmail.example", options={"ip_pool": "Quiet"})
    assert (await state(relay, id_))["state"] == "submitted"
    await relay.move_ip("127.0.0.13", "quiet")
    relay.clock.advance(minutes=59)
    await relay.quiet()
    assert mta.attempts_for("bob@gmail.example") == []
    relay.clock.advance(minutes=1)
    done = await finished(relay, id_)
    assert (done["state"], done["num_generated"], done["num_failed_gen"]) == ("Success", 1, 0)
    (attempt,) = mta.attempts_for("bob@gmail.example")
    assert attempt.peer_ip == "127.0.0.13"


@pytest.mark.parametrize("how", ["deleted", "emptied"])
async def test_r31_an_unusable_pool_falls_back_to_the_default_pool(
    relay: RelayHarness, mta: FakeMta, how: str
) -> None:
    id_ = await schedule(relay, "bob@gmail.example", account=3, options={"ip_pool": "promo"})
    if how == "deleted":
        await relay.delete_pool("promo", account=3)
        await relay.unassign_ip("127.0.0.32")
    else:
        await relay.unassign_ip("127.0.0.32")
    relay.clock.advance(hours=1)
    await finished(relay, id_, 3)
    (attempt,) = mta.attempts_for("bob@gmail.example")
    assert attempt.peer_ip == "127.0.0.31"


async def test_r31_a_subaccounts_pool_falls_back_too(relay: RelayHarness, mta: FakeMta) -> None:
    id_ = await schedule(relay, "bob@gmail.example", subaccount=123)
    await empty_pool(relay, "marketing", 1)
    relay.clock.advance(hours=1)
    await finished(relay, id_)
    assert {one.peer_ip for one in mta.attempts_for("bob@gmail.example")} == relay.ips_of("default")


async def test_r32_without_a_default_pool_the_shared_pool_sends(relay: RelayHarness, mta: FakeMta) -> None:
    id_ = await schedule(
        relay, "bob@gmail.example", "eve@gmail.example", account=2, options={"ip_pool": "news"}
    )
    await empty_pool(relay, "news", 2)
    relay.clock.advance(hours=1)
    await finished(relay, id_, 2)
    sources = [one.peer_ip for to in ("bob", "eve") for one in mta.attempts_for(f"{to}@gmail.example")]
    assert sorted(sources) == ["127.0.0.91", "127.0.0.92"], "recipient i takes the i-th turn"


async def test_r33_enterprise_is_rejected_and_each_recipient_told(relay: RelayHarness, mta: FakeMta) -> None:
    id_ = await schedule(
        relay, "bob@gmail.example", "eve@x.example", account=4, options={"ip_pool": "alerts"}
    )
    await empty_pool(relay, "alerts", 4)
    relay.clock.advance(hours=1)
    done = await finished(relay, id_, 4)
    assert (done["state"], done["num_generated"], done["num_failed_gen"]) == ("Success", 0, 2)
    assert await rejections(relay, id_) == [
        "bob@gmail.example: 550 5.7.1 IP Pool 'default' is empty",
        "eve@x.example: 550 5.7.1 IP Pool 'default' is empty",
    ]
    assert await relay.queue() == []
    (told, _) = await relay.inside.store.events.of_transmission(TransmissionId(id_))
    assert told.submission is not None
    assert [step.rule for step in told.submission.decision.steps][-1] == "R33"


async def test_the_pool_is_examined_at_the_scheduled_time_across_a_restart(
    relay: RelayHarness, mta: FakeMta
) -> None:
    """What was stored before is decided after, by the directory as it is then."""
    id_ = await schedule(relay, "bob@gmail.example", options={"ip_pool": "marketing"})
    await empty_pool(relay, "marketing", 1)
    await relay.stop()
    relay.clock.advance(hours=2)
    await relay.restart()
    await finished(relay, id_)
    (attempt,) = mta.attempts_for("bob@gmail.example")
    assert attempt.peer_ip == "127.0.0.14"


async def test_without_any_shared_ip_it_waits_and_nothing_is_lost(relay: RelayHarness, mta: FakeMta) -> None:
    """A34: a slip of the configuration is no refusal."""
    id_ = await schedule(relay, "bob@gmail.example", account=5)
    shared = [ip for ip in relay.inside.directory.snapshot.ips.values() if ip.shared]
    await relay.apply(*map(Remove, shared))
    relay.clock.advance(hours=1)
    await relay.clock.settle()
    assert (await state(relay, id_, 5))["state"] == "submitted"
    await relay.apply(*map(Put, shared))

    async def look() -> bool:
        relay.clock.advance(seconds=30)
        return bool(mta.attempts_for("bob@gmail.example"))

    assert await eventually(look)


async def test_after_as_long_as_mail_waits_a_missing_shared_pool_is_a_rejection(relay: RelayHarness) -> None:
    id_ = await schedule(relay, "bob@gmail.example", account=5)
    await relay.apply(*(Remove(ip) for ip in relay.inside.directory.snapshot.ips.values() if ip.shared))
    relay.clock.steady = False
    relay.clock.advance(days=4)
    await relay.clock.settle()
    assert (await state(relay, id_, 5))["state"] == "submitted", "a clock that was set gives nothing up"
    relay.clock.steady = True
    relay.clock.advance(minutes=1)
    await finished(relay, id_, 5)
    assert await rejections(relay, id_) == ["bob@gmail.example: 550 5.7.1 No shared IP pool is configured"]


@pytest.mark.parametrize("when", ["submitted to another pool", "sp_shared of a former plan"])
async def test_a_choice_that_is_no_longer_allowed_is_a_rejection(relay: RelayHarness, when: str) -> None:
    if when.startswith("submitted"):
        id_ = await schedule(relay, "b@b.example", subaccount=124, options={"ip_pool": "receipts"})
        await relay.assign_pool(124, "marketing")
        reason = "Subaccount 124 is restricted to IP Pool 'marketing'"
    else:
        id_ = await schedule(relay, "b@b.example", options={"ip_pool": "sp_shared"})
        await relay.change_account(1, lambda account: replace(account, plan=Plan.ENTERPRISE))
        reason = "sp_shared is not a valid customer ip pool"
    relay.clock.advance(hours=1)
    await finished(relay, id_)
    assert await rejections(relay, id_) == [f"b@b.example: 550 5.7.1 {reason}"]


async def test_a_sending_domain_is_read_at_the_time(relay: RelayHarness) -> None:
    """A deleted sending domain rejects."""
    id_ = await schedule(relay, "b@b.example")
    await relay.change_account(1, lambda account: replace(account, require_sending_domain=True))
    relay.clock.advance(hours=1)
    await finished(relay, id_)
    assert await rejections(relay, id_) == ["b@b.example: 550 5.7.1 Unconfigured Sending Domain <acme.test>"]


# ── cancelling ───────────────────────────────────────────────────────────────────────────


async def cancel(relay: RelayHarness, id_: str, account: int = 1) -> tuple[int, dict[str, str]]:
    async with relay.api(account) as api:
        answer = await api.delete(f"/transmissions/{id_}")
    return answer.status_code, answer.json()["errors"][0] if answer.content else {}


async def test_it_can_be_cancelled_until_660_seconds_before(relay: RelayHarness, mta: FakeMta) -> None:
    ids = [await schedule(relay, f"{name}@b.example") for name in ("early", "late")]
    relay.clock.advance(minutes=49)
    assert await cancel(relay, ids[0]) == (204, {})
    relay.clock.advance(seconds=1)
    assert await cancel(relay, ids[1]) == (
        409,
        {
            "message": "too close to generation time to delete transmission",
            "description": "Deletion time window (660 seconds) doesn't permit transmission deletion",
            "code": "2003",
        },
    )
    relay.clock.advance(hours=1)
    await finished(relay, ids[1])
    assert (await state(relay, ids[0]))["state"] == "Canceled"
    assert mta.attempts_for("early@b.example") == []
    assert len(mta.attempts_for("late@b.example")) == 1
    for id_, word in ((ids[0], "Canceled"), (ids[1], "Success")):
        status, error = await cancel(relay, id_)
        assert (status, error["code"]) == (409, "2006")
        assert error["description"] == f"Unable to delete a transmission that has completed (state={word})"


async def test_another_accounts_transmission_is_not_there(relay: RelayHarness) -> None:
    id_ = await schedule(relay, "bob@b.example")
    status, error = await cancel(relay, id_, account=2)
    assert (status, error["code"]) == (404, "1600")
    assert error["description"] == f"Resource not found:transmission id {id_}"
    assert (await state(relay, id_))["state"] == "submitted"


async def test_a_cancelled_campaign_bounces_what_is_queued_and_stops_what_is_to_come(
    relay: RelayHarness, mta: FakeMta
) -> None:
    """By campaign, for all its messages, in the background."""
    for to in ("a@b.example", "b@b.example"):
        mta.answer(to, "451 4.2.1 later", then="250 2.0.0 Ok")
    msys = {"campaign_id": "autumn"}
    mine = await relay.inject("a@b.example", msys=msys)
    others = await relay.inject("b@b.example", msys={"campaign_id": "spring"})
    coming = await schedule(relay, "c@b.example", campaign_id="autumn")
    await relay.quiet()
    async with relay.api() as api:
        assert (await api.delete("/transmissions", params={"campaign_id": "autumn"})).status_code == 204
    assert (await state(relay, coming))["state"] == "Canceled"

    async def only_the_other() -> bool:
        return [message.id for message in await relay.queue()] == [others.message_id]

    assert await eventually(only_the_other)
    last = (await relay.story(mine.message_id))[-1].event
    assert type(last).__name__ == "Bounce"
    assert getattr(last, "raw_reason", "") == "554 5.7.1 [internal] Campaign cancelled"
    assert getattr(last, "bounce_class", 0) == 25
    relay.clock.advance(hours=2)
    await relay.quiet()
    assert mta.attempts_for("c@b.example") == []


async def test_a_message_of_a_cancelled_campaign_that_is_in_flight_goes_when_it_comes_back(
    relay: RelayHarness, mta: FakeMta
) -> None:
    mta.hang(Phase.BODY, times=1)
    injected = await relay.inject("a@b.example", msys={"campaign_id": "autumn"})
    await eventually(lambda: relay.queue(State.IN_FLIGHT))
    async with relay.api() as api:
        await api.delete("/transmissions", params={"campaign_id": "autumn"})

    async def looked_at() -> bool:
        return bool(await relay.inside.store.transmissions.cancellations())

    assert await eventually(looked_at)
    assert len(await relay.queue(State.IN_FLIGHT)) == 1
    mta.drop_all()

    async def gone() -> bool:
        relay.clock.advance(seconds=10)
        return await relay.queue() == []

    assert await eventually(gone)
    assert type((await relay.story(injected.message_id))[-1].event).__name__ == "Bounce"
    assert await relay.inside.store.transmissions.cancellations() == []


# ── large ones ───────────────────────────────────────────────────────────────────────────


async def test_restarts_neither_lose_nor_double_a_message(relay: RelayHarness, mta: FakeMta) -> None:
    number = 2600
    recipients = [{"address": f"r{index}@b.example"} for index in range(number)]
    async with relay.api() as api:
        answer = await api.post("/transmissions", json={"content": CONTENT, "recipients": recipients})
    id_ = TransmissionId(answer.json()["results"]["id"])
    for _ in range(3):
        await relay.restart()

    async def injected() -> list[str]:
        told = await relay.inside.store.events.of_transmission(id_)
        found = [one.event.about.rcpt_to for one in told if isinstance(one.event, Injection)]
        return found if len(found) >= number else []

    found = await eventually(injected, 30)
    assert Counter(found) == {f"r{index}@b.example": 1 for index in range(number)}

    async def all_there() -> bool:
        return len({one.recipient for one in mta.accepted}) == number

    assert await eventually(all_there, 30)


async def test_a_large_transmission_keeps_nobody_waiting(relay: RelayHarness, mta: FakeMta) -> None:
    """Others' mail is accepted between two of its transactions."""
    recipients = [{"address": f"r{index}@b.example"} for index in range(6000)]
    async with relay.api() as api:
        answer = await api.post("/transmissions", json={"content": CONTENT, "recipients": recipients})
    id_ = TransmissionId(answer.json()["results"]["id"])
    for number in range(3):
        await relay.inject(f"other{number}@c.example", ip_pool="receipts")
    standing = await relay.inside.store.transmissions.find(id_)
    assert standing is not None, "they were accepted while it was still being generated"
    assert standing.progress.position < len(recipients)
