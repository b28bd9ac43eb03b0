"""Where messages are composed and filled in: what is surely quick in the loop, what is counted in a thread
beside it, and the rest in the sandbox (ADR 14).
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from relay.accept.budget import BodyBudget
from relay.accept.chunk import Limit, make_messages
from relay.accept.ids import Ids
from relay.accept.plant import Plant, to_of, values_of
from relay.accept.suppress import kind_asked_of
from relay.domain.errors import OverCapacity, RelayError
from relay.domain.ids import AccountId, MessageId, TransmissionId, mint_message_id
from relay.domain.suppression import Source, key_of
from relay.domain.transmission import Content, Recipient, Rejection, Routing
from relay.mail.budget import OverBudget
from relay.mail.compose import Blueprint, Filled, compose
from relay.mail.weight import is_light
from relay.ports.ambient import Clock
from relay.ports.sandbox import Sandbox
from relay.ports.suppressions import SuppressionStore
from relay.ports.transmissions import Made

MAX_MESSAGE_BYTES = 20 << 20
"""What a composed message may have."""
_HEADER_BYTES = 1024
_VALUE_BYTES = 8
"""What a value costs that is handed over with others, told in octets of content."""
_QUICK_BYTES = 64 << 10
_QUICK = Limit(steps=10_000, steps_each=10_000, octets_each=_QUICK_BYTES, is_cut=False)
"""What is made in the loop itself: a few milliseconds."""
_BESIDE = Limit(steps=1_000_000, steps_each=100_000, octets_each=1 << 20, is_cut=True)
"""What is made in a thread beside it: a few tenths of a second. More goes to the sandbox, as does CSS."""


class Workshop:
    """Makes blueprints of contents, and messages of recipients."""

    def __init__(
        self,
        sandbox: Sandbox,
        suppressions: SuppressionStore,
        clock: Clock,
        ids: Ids,
        budget: BodyBudget,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        """budget: of which what is made takes its part until it is stored."""
        self._sandbox, self._suppressions, self._clock, self._ids = sandbox, suppressions, clock, ids
        self.budget = budget
        self.max_message_bytes = max_message_bytes

    async def compose(
        self,
        account: AccountId,
        content: Content,
        id_: TransmissionId,
        substitutes: bool,
        inlines_css: bool = False,
    ) -> Blueprint:
        """Raises BadPart, BadMime, NoSender, Busy, TooMuchWork."""
        composing = (content, boundary_of(id_), substitutes, inlines_css)
        if is_light(content) and not inlines_css:
            return compose(*composing)
        output = await self._sandbox.run(account, "compose", composing)
        if output.error is not None:
            raise output.error
        blueprint: Blueprint = await self._sandbox.read_large(output.pieces[0])
        return blueprint

    def message_id(self) -> MessageId:
        """For what is told of a recipient and never comes to be a message."""
        return mint_message_id(self._clock.now(), self._ids.message_entropy(), 0)

    @asynccontextmanager
    async def made(self, plant: Plant, recipients: Sequence[Recipient], position: int) -> AsyncIterator[Made]:
        """What the next recipients become, in memory until this is left. Raises OverCapacity, Busy."""
        self.check_room()
        size_bytes = plant.blueprint.estimated_bytes
        self.budget.count(size_bytes)
        try:
            made = await self._make(plant, recipients, position)
            rendered_bytes = sum(len(body.content) for body in made.bodies)
            self.budget.count(rendered_bytes)
            size_bytes += rendered_bytes
            yield made
        finally:
            self.budget.give_back(size_bytes)

    def check_room(self) -> None:
        """Raises OverCapacity while there is none for more bodies."""
        if not self.budget.room_bytes:
            raise OverCapacity

    async def _make(self, plant: Plant, recipients: Sequence[Recipient], position: int) -> Made:
        """Off the loop."""
        found: dict[str, Source] = {}
        transmission = plant.transmission
        kind = kind_asked_of(plant.account, transmission.options)
        if kind is not None and isinstance(plant.verdict, Routing):
            keys = {key_of(recipient.mailbox) for recipient in recipients}
            found.update(
                await self._suppressions.among(transmission.account, transmission.subaccount, kind, keys)
            )
        now, entropy = self._clock.now(), self._ids.message_entropy()
        blueprint = plant.blueprint
        size_bytes = len(recipients) * (blueprint.estimated_bytes + _HEADER_BYTES)
        size_bytes += _particular_bytes(plant, recipients)
        is_plain = blueprint.is_whole and (blueprint.is_constant or not transmission.options.inline_css)
        is_plain = is_plain or isinstance(plant.verdict, Rejection)
        if is_plain and size_bytes <= _QUICK_BYTES:
            with suppress(OverBudget):
                return make_messages(plant, recipients, position, found, now, entropy, _QUICK)
        if is_plain and (blueprint.is_constant or blueprint.estimated_bytes <= _QUICK_BYTES):
            with suppress(OverBudget):
                return await asyncio.to_thread(
                    make_messages, plant, recipients, position, found, now, entropy, _BESIDE
                )
        fills = await self._fills(plant, recipients)
        used = recipients[: len(fills)]
        return await asyncio.to_thread(
            make_messages, plant, used, position, found, now, entropy, _BESIDE, map(self._filled, fills)
        )

    async def _fills(self, plant: Plant, recipients: Sequence[Recipient]) -> list[bytes | RelayError]:
        """What the first of the recipients get, at least one, still to be read. Raises Busy."""
        transmission = plant.transmission
        options = transmission.options
        composing = (
            plant.content,
            boundary_of(transmission.id),
            transmission.substitutes,
            options.inline_css,
        )
        ingredients = [(values_of(plant, one), to_of(plant, one)) for one in recipients]
        output = await self._sandbox.run(
            transmission.account, "fill", (composing, ingredients, plant.max_message_bytes)
        )
        fills: list[bytes | RelayError] = [*output.pieces]
        if output.error is not None and len(fills) < len(recipients):
            # The one that was being made when it ended.
            fills.append(output.error)
        return fills

    def _filled(self, fill: bytes | RelayError) -> Filled | RelayError:
        read: Filled | RelayError = fill if isinstance(fill, RelayError) else self._sandbox.read(fill)
        return read


def boundary_of(id_: TransmissionId) -> str:
    """What stands between the parts of its messages, and in none of them."""
    return f"=_relay_{id_}_"


def _particular_bytes(plant: Plant, recipients: Sequence[Recipient]) -> int:
    """What names and values of these recipients weigh, beside the content."""
    names = sum(len(one.name) + len(one.header_to) for one in recipients)
    if plant.blueprint.is_constant:
        return names
    own = sum(len(one.metadata) + len(one.substitution_data) for one in recipients)
    common = len(plant.transmission.substitution_data) + len(plant.transmission.options.metadata)
    return names + _VALUE_BYTES * (own + len(recipients) * common)
