"""One account cannot fill the queue: who is over the share is told to wait, whichever way mail comes."""

from datetime import timedelta

import pytest

from relay.domain.ids import AccountId
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import WITH_API
from relay.testing.waiting import eventually
from tests.e2e.test_scheduled import finished, schedule, state

SHARE = 60_000
LARGE = "x" * 70 + "\r\n"
SENTENCE = f"The account has reached its share of the queue, {SHARE} bytes of mail, try again later"


@pytest.fixture
def relay_settings() -> dict[str, dict[str, object]]:
    return {
        **{name: dict(values) for name, values in WITH_API.items()},
        "limits": {"account_queue_bytes": SHARE},
    }


async def fill(relay: RelayHarness, mta: FakeMta) -> None:
    """Mail that is deferred, until there is room for no more of its kind."""
    mta.answer("slow@gmail.example", "451 4.2.1 later")
    refused = None
    for _ in range(20):
        try:
            await relay.inject("slow@gmail.example", text=LARGE * 150)
        except InjectionRefusedError as error:
            refused = error
            break
    assert refused is not None
    assert f"452 4.3.1 {SENTENCE}" in str(refused)


async def test_smtp_and_rest_are_told_to_wait_and_others_are_not(relay: RelayHarness, mta: FakeMta) -> None:
    await fill(relay, mta)
    large = {"from": "news@acme.test", "subject": "Hello", "text": "x" * 20_000}
    body = {"content": large, "recipients": [{"address": "bob@gmail.example"}]}
    async with relay.api() as api:
        now = await api.post("/transmissions", json=body)
        start = (relay.clock.now() + timedelta(hours=1)).isoformat(timespec="seconds")
        later = await api.post("/transmissions", json={**body, "options": {"start_time": start}})
    for answer in (now, later):
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert SENTENCE in answer.text
    await relay.inject("ann@gmail.example", text=LARGE * 150, account=3)
    held = await relay.inside.store.reports.holdings()
    assert held[AccountId(1)] <= SHARE
    mta.answer("slow@gmail.example", "250 2.0.0 Ok")
    relay.clock.advance(minutes=20)
    await relay.quiet()
    assert (await relay.inside.store.reports.holdings())[AccountId(1)] == 0
    await relay.inject("bob@gmail.example", text=LARGE * 150)


async def test_what_is_under_way_waits_for_room_and_goes_on(relay: RelayHarness, mta: FakeMta) -> None:
    """The first five hundred fill the share, and the others wait until some have left."""
    to = [f"r{number}@gmail.example" for number in range(600)]
    content = {"from": "news@acme.test", "subject": "Hello {{email}}", "text": "Hello {{email}}."}
    for one in to[:500]:
        mta.answer(one, "451 4.2.1 later", then="250 2.1.5 Ok")
    id_ = await schedule(relay, *to, in_=timedelta(minutes=1), content=content)
    relay.clock.advance(minutes=1)

    async def made() -> bool:
        return len(await relay.queue()) >= 500

    await eventually(made, 20)
    await relay.quiet(20)
    relay.clock.advance(seconds=30)
    assert len(await relay.quiet(20)) == 500
    assert (await state(relay, id_))["state"] == "Generating"
    assert (await relay.inside.store.reports.holdings())[AccountId(1)] > SHARE
    relay.clock.advance(minutes=20)

    async def gone() -> bool:
        return len(await relay.queue()) <= 100

    await eventually(gone, 20)
    relay.clock.advance(seconds=30)
    assert (await finished(relay, id_))["num_generated"] == 600
    assert {attempt.recipient for attempt in mta.accepted} == set(to)
