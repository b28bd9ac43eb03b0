"""Accepting what was handed in: resolve, pin, store, and only then say yes."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Protocol, TypeVar

from relay.accept.copies import Handed, check_handed, generate
from relay.accept.ids import Ids
from relay.accept.sign import Signatures, hash_body, sending_domain_of, signing_of
from relay.accept.suppress import leave_out
from relay.accept.turns import Turns
from relay.domain.authority import SMTP_GRANT, check_sender
from relay.domain.directory import SendingIp, Snapshot
from relay.domain.errors import (
    IdTaken,
    NoFreeId,
    RecipientsSuppressed,
    Refused,
    StaleDirectory,
    StoreUnavailable,
)
from relay.domain.ids import Epoch, TransmissionId
from relay.domain.resolve import Decision, Moment, Resolution, Step, choose_ip, resolve_pool
from relay.domain.retry import RetryPolicy
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.outbound import Departures
from relay.ports.queue import Claimed, EnqueueBatch, QueueStore

What = TypeVar("What")
Stored = TypeVar("Stored")

_DECIDING_S = 20.0
"""How long a decision is taken again because the directory moved on under it."""
_MINTS = 5
"""How often an id is minted again because it is taken."""
_EXPRESS_DOMAINS = 8
"""Transactions to more domains than this go by the queue: each place reserved is one path's."""


class Accepting(Protocol):
    """What ingress and api ask of this module."""

    def accept(self, handed: Handed) -> Coroutine[object, None, TransmissionId]:
        """Store the mail, pinned; on return it survives power loss. Raises Refused and Unavailable."""


class Admission:
    """What every way in has in common: decided under a directory and stored under it, or decided again."""

    def __init__(self, directory: Directory, ids: Ids) -> None:
        self._directory, self._ids = directory, ids

    async def admit(
        self,
        attempt: Callable[[What, Snapshot, TransmissionId], Coroutine[object, None, Stored]],
        what: What,
        id_: TransmissionId,
    ) -> Stored:
        """What the attempt comes to that was stored under the newest directory, and under an id of its own.

        A refusal that an older directory caused is taken back: the directory is read again first.
        Raises what the attempt does, NoFreeId, StoreUnavailable.
        """
        loop = asyncio.get_running_loop()
        until_s, minted = loop.time() + _DECIDING_S, 0
        while loop.time() < until_s:
            snapshot = self._directory.snapshot
            try:
                return await attempt(what, snapshot, id_)
            except StaleDirectory:
                await self._directory.refresh()
            except IdTaken as error:
                minted += 1
                if minted >= _MINTS:
                    raise NoFreeId from error
                id_ = self._ids.transmission_id()
            except Refused:
                if (await self._directory.refresh()).revision == snapshot.revision:
                    raise
        raise StoreUnavailable


class Injector:
    """The door for SMTP."""

    def __init__(
        self,
        queue: QueueStore,
        directory: Directory,
        departures: Departures,
        clock: Clock,
        ids: Ids,
        policy: RetryPolicy,
        hostname: str,
        turns: Turns,
    ) -> None:
        self._queue, self._admission = queue, Admission(directory, ids)
        self._departures, self._clock, self._ids = departures, clock, ids
        self._policy, self._hostname, self._turns = policy, hostname, turns

    def accept(self, handed: Handed) -> Coroutine[object, None, TransmissionId]:
        """Decide under the newest directory and store all copies, or refuse and store none."""
        return self._admission.admit(self._attempt, handed, self._ids.transmission_id())

    async def _signatures(
        self, handed: Handed, snapshot: Snapshot, resolution: Resolution
    ) -> Signatures | None:
        """What signs the mail by DKIM; None when nobody does, as for most accounts without a domain."""
        domain = sending_domain_of(handed.fields)
        signing = signing_of(snapshot, handed.principal, domain, resolution.decision.pool)
        return None if signing is None else Signatures(signing, await hash_body(handed.body))

    async def _attempt(
        self, handed: Handed, snapshot: Snapshot, transmission_id: TransmissionId
    ) -> TransmissionId:
        """One turn of the pool, however often the suppression list has to be heard."""
        principal, asked = handed.principal, handed.options.ip_pool
        check_sender(snapshot, principal, SMTP_GRANT)
        check_handed(handed, snapshot)
        resolution = resolve_pool(snapshot, principal.account, principal.subaccount, asked, Moment.IMMEDIATE)
        signatures = None
        if snapshot.domains:
            signatures = await self._signatures(handed, snapshot, resolution)
        ip, decision = self._take_turn(handed, resolution)
        suppressed: dict[str, str] = {}
        while True:
            domains = [] if suppressed else _domains_of(handed)
            express = self._reserve(ip, domains, len(handed.body))
            reserved = domains if express is not None else []
            try:
                batch = generate(
                    handed,
                    snapshot,
                    decision,
                    ip,
                    transmission_id,
                    express,
                    self._clock.now(),
                    self._policy,
                    self._ids.message_entropy(),
                    self._hostname,
                    signatures,
                )
                if suppressed:
                    batch = leave_out(batch, suppressed)
            except BaseException:
                self._follow(ip, reserved, None, None)
                raise
            try:
                await self._queue.enqueue(batch, partial(self._follow, ip, reserved, batch))
            except RecipientsSuppressed as error:
                suppressed.update(error.found)
            else:
                return transmission_id

    def _take_turn(self, handed: Handed, resolution: Resolution) -> tuple[SendingIp, Decision]:
        """One turn a transaction (A33); a refused one came to no resolution and takes none."""
        pool = resolution.decision.pool
        turn = self._turns.take(handed.principal.account, pool)
        ip = choose_ip(resolution.candidates, turn)
        step = Step("A33", f"turn {turn} goes to {ip.address}")
        return ip, Decision(pool, (*resolution.decision.steps, step))

    def _reserve(self, ip: SendingIp, domains: Sequence[str], size_bytes: int) -> Epoch | None:
        """Places on the paths to all these domains, or none: copies of one lane start together."""
        if len(domains) > _EXPRESS_DOMAINS:
            return None
        epoch: Epoch | None = None
        for taken, domain in enumerate(domains):
            epoch = self._departures.reserve(ip.address, domain, size_bytes)
            if epoch is None:
                for given in domains[:taken]:
                    self._departures.depart(ip.address, given, ())
                return None
        return epoch

    def _follow(
        self, ip: SendingIp, reserved: Sequence[str], batch: EnqueueBatch | None, in_flight: bool | None
    ) -> None:
        """After the commit, whatever became of the client: mail departs, or its lane learns that it waits."""
        waiting = {} if batch is None or in_flight is None else _by_domain(batch)
        for domain in reserved:
            self._departures.depart(ip.address, domain, waiting.pop(domain, ()) if in_flight else ())
        for domain, mail in waiting.items():
            self._departures.queued(ip.address, domain, mail[0].message.due)


def _domains_of(handed: Handed) -> list[str]:
    """Those of all copies, in order."""
    options = handed.options
    domains = {mailbox.domain for mailbox in handed.envelope.recipients}
    domains.update(copy.mailbox.domain for copy in (*options.cc, *options.bcc, *options.archive))
    return sorted(domains)


def _by_domain(batch: EnqueueBatch) -> dict[str, list[Claimed]]:
    (body,) = batch.bodies
    found: dict[str, list[Claimed]] = {}
    for message in batch.messages:
        found.setdefault(message.domain, []).append(Claimed(message, body.content))
    return found
