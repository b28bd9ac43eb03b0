"""What a process died or hung at work on is counted, and after a while nobody takes it any more."""

from datetime import timedelta

import pytest

from relay.domain.classify import ADMIN_FAILURE
from relay.domain.events import GenerationFailure, Subject
from relay.domain.ids import AccountId
from relay.domain.transmission import TransmissionState
from relay.ports.transmissions import TransmissionStanding
from relay.store import Store
from tests.store.conftest import OpenStore
from tests.store.test_transmissions import HOLDER, ROUTING, build, held, made, progress, submitted
from tests.support.mail import ACCOUNT, NOW, build_message


async def tries(store: Store) -> int:
    found = await store.transmissions.find(build(1).id)
    assert found is not None
    return found.tries


async def begun(store: Store, holder: str, ttl_s: float = 0) -> TransmissionStanding:
    (standing,) = await held(store, holder, ttl_s)
    assert not standing.is_begun
    await store.transmissions.mark(standing.transmission.id, holder, is_begun=True)
    return standing


async def test_each_takeover_of_what_was_worked_on_counts(store: Store) -> None:
    """By the end of a lease, as a process that hangs loses it."""
    await submitted(store, build(1, 2), ROUTING)
    assert [(await begun(store, holder)).tries for holder in "abab"] == [0, 1, 2, 3]


async def test_a_holder_that_died_counts(store: Store, open_another: OpenStore) -> None:
    await submitted(store, build(1), ROUTING)
    other = await open_another("w2")
    await begun(other, "w2", ttl_s=3600)
    await other.close()
    (standing,) = await held(store)
    assert (standing.tries, standing.is_begun) == (1, False)


async def test_what_was_held_alone_given_up_or_left_for_later_does_not_count(store: Store) -> None:
    await submitted(store, build(1), ROUTING)
    for holder in "abc":
        assert len(await held(store, holder, ttl_s=0)) == 1
    await begun(store, "d")
    await store.transmissions.release("d")
    await begun(store, "e")
    await store.transmissions.mark(build(1).id, "e", is_begun=False)
    await held(store, "f", ttl_s=0)
    assert await tries(store) == 0


async def test_its_own_holder_counts_nothing_and_marks_once(store: Store) -> None:
    await submitted(store, build(1), ROUTING)
    await begun(store, HOLDER)
    (again,) = await held(store)
    assert (again.tries, again.is_begun) == (0, True)


async def test_a_stored_recipient_begins_the_count_anew(store: Store) -> None:
    await submitted(store, build(1, 3), ROUTING)
    await begun(store, "a")
    standing = await begun(store, "b")
    assert standing.tries == 1
    assert await store.transmissions.advance(made(standing.transmission, 0, 1), "b", NOW)
    assert await tries(store) == 0


def failure() -> GenerationFailure:
    about = Subject.of(build_message("r0@b.example", transmission=build(1).id))
    return GenerationFailure(NOW, about, ADMIN_FAILURE, 554, "554 5.3.0 [internal] set aside")


async def test_what_is_set_aside_is_told_and_nobody_takes_it_until_it_is_retried(store: Store) -> None:
    await submitted(store, build(1, 2), ROUTING)
    await begun(store, "a")
    await begun(store, "b")
    assert not await store.transmissions.set_aside(build(1).id, "a", failure(), NOW), "b has it"
    assert await store.transmissions.set_aside(build(1).id, "b", failure(), NOW)
    (told,) = await store.events.of_transmission(build(1).id)
    assert isinstance(told.event, GenerationFailure)
    assert told.event.about.rcpt_to == "r0@b.example"
    assert await held(store) == []
    (listed,) = await store.transmissions.all(ACCOUNT, 10, with_ended=False)
    assert listed.set_aside == NOW
    assert await store.transmissions.retry(build(1).id, NOW, "test")
    assert not await store.transmissions.retry(build(1).id, NOW, "test"), "it is not set aside any more"
    (again,) = await held(store)
    assert (again.tries, again.is_begun, again.set_aside, again.progress.position) == (0, False, None, 0)
    assert await store.transmissions.advance(made(again.transmission, 0, 2), HOLDER, NOW)


async def test_the_address_where_it_stands(store: Store) -> None:
    await submitted(store, build(1, 3), ROUTING)
    assert await store.transmissions.address_at(build(1).id, 1) == ("r1@b.example", "b.example")
    assert await store.transmissions.address_at(build(1).id, 3) == ("", "")
    assert await store.transmissions.address_at(build(2).id, 0) == ("", "")


@pytest.mark.parametrize("is_scheduled", [True, False])
async def test_an_operator_ends_it_wherever_it_stands(store: Store, is_scheduled: bool) -> None:
    await submitted(store, build(1, 3, is_scheduled=is_scheduled), ROUTING)
    (standing,) = await held(store)
    assert await store.transmissions.advance(made(standing.transmission, 0, 1), HOLDER, NOW)
    assert await store.transmissions.end(build(1).id, NOW + timedelta(seconds=1), "test")
    assert not await store.transmissions.end(build(1).id, NOW, "test")
    assert await store.transmissions.recipients(build(1).id, 1) == []
    assert not await store.transmissions.advance(made(standing.transmission, 1, 1), HOLDER, NOW)
    if is_scheduled:
        assert (await progress(store, build(1))).state is TransmissionState.CANCELED
    else:
        assert await store.transmissions.find(build(1).id) is None


async def test_all_are_listed_those_set_aside_first(store: Store) -> None:
    for number in (1, 2, 3):
        await submitted(store, build(number))
    await store.transmissions.cancel(build(1).id, NOW)
    await held(store)
    await store.transmissions.set_aside(build(3).id, HOLDER, failure(), NOW)
    for with_ended, expected in ((False, "32"), (True, "312")):
        found = await store.transmissions.all(None, 10, with_ended=with_ended)
        assert "".join(one.transmission.id[-1] for one in found) == expected
    assert len(await store.transmissions.all(None, 1, with_ended=True)) == 1
    assert await store.transmissions.all(AccountId(99), 10, with_ended=True) == []
