"""The door into the queue when ids run out: all or nothing, and the client may come again."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from relay.accept.copies import Handed
from relay.accept.door import Injector
from relay.accept.ids import Ids
from relay.accept.turns import Turns
from relay.domain.address import parse_mailbox
from relay.domain.changes import Put
from relay.domain.directory import Account, Check, Plan, Principal, SendingDomain, SendingIp
from relay.domain.errors import NoFreeId, UnknownDkimKey, UnverifiedDkimKey
from relay.domain.ids import AccountId, Epoch, IpAddress, TransmissionId
from relay.domain.message import Envelope, Options
from relay.domain.retry import RetryPolicy
from relay.frames.live import LiveDirectory
from relay.mail.headers import fields_of
from relay.net.ambient import SystemEntropy
from relay.net.records import RsaKeys
from relay.ports.queue import MailFilter
from relay.store import Store, open_store
from relay.testing.clock import HandMovedClock

ACME = AccountId(1)
IP = IpAddress("127.0.0.11")


class Repeating(Ids):
    """Mints the same transmission id a number of times before it goes on to others."""

    def __init__(self, times: int) -> None:
        super().__init__(HandMovedClock(), SystemEntropy())
        self._times = times

    def transmission_id(self) -> TransmissionId:
        self._times -= 1
        return TransmissionId("100000000000000001") if self._times >= 0 else super().transmission_id()


class NoLane:
    """`Departures` of a process without egress."""

    def reserve(self, ip: IpAddress, domain: str, size_bytes: int) -> Epoch | None:
        return None

    def depart(self, ip: IpAddress, domain: str, mail: object) -> None: ...

    def queued(self, ip: IpAddress, domain: str, due: object) -> None: ...


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with await open_store(f"sqlite:///{tmp_path}/relay.db") as store:
        yield store


@pytest.fixture
async def injector(store: Store) -> Callable[[Ids], Injector]:
    """A function: what mints ids → the door, to an account with one shared IP to send from."""
    clock = HandMovedClock()
    live = LiveDirectory(store.directory, await store.directory.snapshot(), clock)
    await live.apply([Put(Account(ACME, "Acme", Plan.FREE)), Put(SendingIp(IP, IP, "mta", shared=True))], "t")
    return lambda ids: Injector(store.queue, live, NoLane(), clock, ids, RetryPolicy(), "relay.test", Turns())


def _handed(fields: bytes = b"", options: Options = Options()) -> Handed:  # noqa: B008 - a value
    principal = Principal(ACME, None, frozenset({"smtp/inject"}))
    envelope = Envelope("a@acme.test", (parse_mailbox("bob@gmail.example"),))
    read = tuple(fields_of(fields))
    return Handed(principal, envelope, read, b"x\r\n", options, "esmtp", "127.0.0.1", "client", "ESMTPA")


async def test_an_id_that_is_taken_is_minted_again(store: Store, injector: Callable[[Ids], Injector]) -> None:
    door = injector(Repeating(3))
    first, second = await door.accept(_handed()), await door.accept(_handed())
    assert first != second
    assert {message.transmission_id for message in await store.queue.select(MailFilter(None), 10)} == {
        first,
        second,
    }


async def test_without_a_free_id_nothing_is_stored(store: Store, injector: Callable[[Ids], Injector]) -> None:
    door = injector(Repeating(100))
    await door.accept(_handed())
    with pytest.raises(NoFreeId):
        await door.accept(_handed())
    assert await store.queue.count(MailFilter(None)) == 1


async def test_a_dkim_key_must_be_the_one_that_the_from_domain_signs_with(
    store: Store, injector: Callable[[Ids], Injector]
) -> None:
    """Over SMTP too."""
    door = injector(Ids(HandMovedClock(), SystemEntropy()))
    live = LiveDirectory(store.directory, await store.directory.snapshot(), HandMovedClock())
    key = await RsaKeys().generate("k1")
    good = SendingDomain(ACME, "acme.test", dkim=key, dkim_status=Check.VALID)
    await live.apply([Put(good), Put(replace(good, domain="new.test", dkim_status=Check.INVALID))], "t")
    await door.accept(_handed(b"From: a@acme.test\r\n", Options(dkim_key="K1")))
    refusals = ((b"acme.test", "k2", UnknownDkimKey), (b"new.test", "k1", UnverifiedDkimKey))
    for domain, asked, refusal in refusals:
        with pytest.raises(refusal):
            await door.accept(_handed(b"From: a@%s\r\n" % domain, Options(dkim_key=asked)))
    with pytest.raises(UnknownDkimKey):
        await door.accept(_handed(b"", Options(dkim_key="k1")))
    assert await store.queue.count(MailFilter(None)) == 1
