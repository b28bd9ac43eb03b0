"""What children do: read bodies, compose contents, fill them in. Values and octets in, values out."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from relay.domain.errors import NoSender
from relay.domain.transmission import CHUNK, Content, Recipient
from relay.mail.budget import BadTemplate, Budget
from relay.mail.compose import Blueprint, compose
from relay.mail.headers import split_message
from relay.mail.restyle import restyle
from relay.mail.scan import MAX_VALUES, read_object
from relay.mail.seven_bit import rewrite
from relay.mail.to import To
from relay.resources.suppression_list.body import wanted_of_bulk
from relay.resources.transmissions.body import parse_transmission
from relay.resources.transmissions.preview import parse_preview, preview_for

Job = Callable[[Any, list[bytearray]], Iterator[object]]

_PIECE_BYTES = 256 * 1024
"""About what is read in the relay at once; a recipient may have 200 kB."""
_ENOUGH_S = 2.0
_ENOUGH_BYTES = 16 << 20
"""CPU time and octets after which recipients that are left wait for their next turn."""


def read_transmission(argument: tuple[datetime, bool], octets: list[bytearray]) -> Iterator[object]:
    """`Asked` without its recipients, with how many there are in each of the lists that follow.

    argument: now, and whether tracking is refused.
    """
    now, refuses_tracking = argument
    asked = parse_transmission(bytes(octets.pop()), now, refuses_tracking=refuses_tracking)
    recipients, asked.recipients = asked.recipients, []
    counts = list(_counts(recipients))
    yield asked, counts
    first = 0
    for count in counts:
        yield recipients[first : first + count]
        first += count


def _counts(recipients: Sequence[Recipient]) -> Iterator[int]:
    """Of lists that are read in a few milliseconds each."""
    count = size = 0
    for one in recipients:
        count += 1
        if one.metadata or one.substitution_data:
            size += len(repr((one.metadata, one.substitution_data)))
        if count == CHUNK or size > _PIECE_BYTES:
            yield count
            count = size = 0
    if count:
        yield count


def read_suppressions(argument: None, octets: list[bytearray]) -> Iterator[object]:
    """Lists of `Wanted`."""
    found = wanted_of_bulk(read_object(bytes(octets.pop()), MAX_VALUES))
    for first in range(0, len(found), CHUNK):
        yield found[first : first + CHUNK]


def compose_content(argument: "ToCompose", octets: list[bytearray]) -> Iterator[Blueprint]:
    """The blueprint, without what only filling it in needs unless that can be handed over."""
    yield compose(*argument).portable()


def fill_content(
    argument: tuple["ToCompose", Sequence[tuple[Mapping[str, Any], To | None]], int],
    octets: list[bytearray],
) -> Iterator[object]:
    """For each recipient, from the first on, what it gets or why nothing; some are left when time is up."""
    composing, recipients, max_octets = argument
    blueprint, began, size = compose(*composing), time.process_time(), 0
    for data, to in recipients:
        try:
            filled = blueprint.fill(data, to, Budget(octets=max_octets))
        except (BadTemplate, NoSender) as error:
            yield error
        else:
            size += len(filled.body or b"")
            yield filled
        if time.process_time() - began > _ENOUGH_S or size > _ENOUGH_BYTES:
            return


def preview_content(max_octets: int, octets: list[bytearray]) -> Iterator[bytes]:
    """The answer to whoever wants to see a content."""
    yield preview_for(parse_preview(bytes(octets.pop())), Budget(octets=max_octets), max_octets)


def restyle_message(max_octets: int, octets: list[bytearray]) -> Iterator[tuple[bytes, bytes] | None]:
    """Header section and body of the message that the pieces make, with rules in its elements.

    None: it is as it came.
    """
    message = restyle(b"".join(octets), max_octets)
    yield None if message is None else split_message(message)


def convert_message(argument: tuple[bool, bool, bool], octets: list[bytearray]) -> Iterator[bytes]:
    """What a host gets instead of the message that the pieces make; nothing: as it came.

    argument: of `rewritten`.
    """
    header, body, keeps_header = argument
    message = b"".join(octets)
    octets.clear()
    yield from rewrite(message, header=header, body=body, keeps_header=keeps_header)


ToCompose = tuple[Content, str, bool, bool]
"""The arguments of `compose`."""

JOBS: Mapping[str, Job] = {
    "read transmission": read_transmission,
    "read suppressions": read_suppressions,
    "compose": compose_content,
    "fill": fill_content,
    "preview": preview_content,
    "restyle": restyle_message,
    "convert": convert_message,
}
