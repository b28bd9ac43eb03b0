"""Copies for hosts that take 7 bits: where they are made, and what they hold of the memory for bodies."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from relay.accept.budget import BodyBudget
from relay.domain.directory import Snapshot
from relay.domain.errors import Busy
from relay.egress.seven_bit import Converter
from relay.mail.seven_bit import Unconvertible
from relay.process.children.pool import ChildPool
from tests.support.mail import NOW, build_message
from tests.support.sandboxes import are_gone, children

HEAD = b"From: a@x.test\r\nMIME-Version: 1.0\r\n"
TEXT = HEAD + b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
SHORT = TEXT + "café\r\n".encode()
LONG = TEXT + "café\r\n".encode() * 100_000
NESTED = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"


@pytest.fixture
async def pool() -> AsyncIterator[ChildPool]:
    await are_gone()
    pool = ChildPool(1, cpu_s=1)
    yield pool
    await pool.close()


def copy(
    converter: Converter, *chunks: bytes, header: bool = False, body: bool = True
) -> AbstractAsyncContextManager[Sequence[bytes]]:
    return converter.copy(build_message(), chunks, Snapshot(), NOW, header=header, body=body)


@pytest.mark.parametrize(
    ("message", "is_hard"),
    [
        pytest.param(SHORT, False, id="short"),
        pytest.param(LONG, True, id="long"),
        pytest.param(HEAD + "To: é@a.test".encode() + b",a@b" * 100 + b"\r\n\r\nx", True, id="mailboxes"),
        pytest.param(HEAD + NESTED % (1, 1) + "\r\né\r\n--b1--\r\n".encode(), True, id="parts"),
    ],
)
async def test_what_is_not_surely_quick_is_made_in_the_sandbox(
    pool: ChildPool, message: bytes, is_hard: bool
) -> None:
    try:
        async with copy(Converter(pool, BodyBudget(1 << 30)), message) as found:
            octets = b"".join(found)
            assert octets.isascii()
            assert octets != message
    except Unconvertible:
        assert b"To:" in message
    assert bool(children()) is is_hard


@pytest.mark.parametrize("message", [SHORT, LONG])
async def test_what_needs_no_change_leaves_as_it_came(pool: ChildPool, message: bytes) -> None:
    chunks = (b"Received: x\r\n", message)
    async with copy(Converter(pool, BodyBudget(1 << 30)), *chunks, header=True, body=False) as found:
        assert found == chunks


async def test_a_copy_comes_in_pieces_that_end_lines(pool: ChildPool) -> None:
    message = TEXT + "é".encode() * 2_000_000
    async with copy(Converter(pool, BodyBudget(1 << 30)), message) as found:
        assert len(found) > 3
        assert max(map(len, found)) < 3 << 20
        assert all(piece.endswith(b"\r\n") for piece in found[:-1])


async def test_copies_count_as_bodies_do_and_one_always_has_room(pool: ChildPool) -> None:
    budget = BodyBudget(4 * len(LONG))
    converter = Converter(pool, budget)
    async with copy(converter, LONG):
        assert budget.taken_bytes >= 3 * len(LONG)
        with pytest.raises(Busy):
            async with copy(converter, LONG):
                pass
        async with copy(converter, SHORT) as found:
            assert b"".join(found).isascii()
    assert budget.taken_bytes == 0
    budget.count(4 * len(LONG))
    async with copy(converter, LONG) as found:
        assert b"".join(found).isascii()
    assert budget.taken_bytes == 4 * len(LONG)


async def test_what_takes_too_much_cannot_be_converted(pool: ChildPool) -> None:
    part = HEAD + "".join(f"To: é@a{n}.test,a@b\r\n" for n in range(2500)).encode()
    message = HEAD + NESTED % (1, 1) + (part + b"\r\n\r\n--b1\r\n") * 200 + b"\r\nx\r\n--b1--\r\n"
    budget = BodyBudget(1 << 30)
    with pytest.raises(Unconvertible):
        async with copy(Converter(pool, budget), message):
            pass
    assert budget.taken_bytes == 0
