"""Recipients that the sandbox hands over in lists."""

import pytest

from relay.accept.draft import Packed, parts_of
from relay.accept.transmit import AT_ONCE
from relay.domain.transmission import CHUNK
from relay.process.children.wire import pack
from tests.service.test_transmit import World, draft
from tests.support.sandbox import Here


def _packed(*counts: int) -> Packed:
    """Of recipients in order, so many in each list."""
    recipients = list(draft(sum(counts)).recipients)
    lists = [recipients[sum(counts[:index]) :][:count] for index, count in enumerate(counts)]
    return Packed(Here(), list(map(pack, lists)), counts)


def test_packed_recipients_are_as_those_in_one_list() -> None:
    packed, plain = _packed(3, 2), draft(5).recipients
    assert len(packed) == 5
    assert (packed[0], packed[4], packed[-1]) == (plain[0], plain[4], plain[4])
    assert packed[1:4] == plain[1:4]
    assert list(packed) == list(plain)
    with pytest.raises(IndexError):
        packed[5]


def test_packed_recipients_go_to_the_store_list_by_list() -> None:
    assert [(start, len(part)) for start, part in parts_of(_packed(3, 2))] == [(0, 3), (3, 2)]


def test_other_recipients_go_to_the_store_in_numbers_that_a_transaction_takes() -> None:
    parts = list(parts_of(draft(CHUNK + 1).recipients))
    assert [(start, len(part)) for start, part in parts] == [(0, CHUNK), (CHUNK, 1)]


@pytest.mark.parametrize("counts", [(AT_ONCE,), (AT_ONCE, 1)], ids=["at once", "step by step"])
async def test_packed_recipients_get_their_mail(world: World, counts: tuple[int, ...]) -> None:
    id_ = await world.transmitter().accept(draft(0, recipients=_packed(*counts)))
    while await world.store.transmissions.find(id_) is not None:
        await world.due().step(await world.held())
    expected = {one.mailbox.text for one in draft(sum(counts)).recipients}
    assert {message.rcpt_to for message in await world.messages()} == expected
