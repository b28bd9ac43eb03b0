"""What one request asks to be sent, and why it may not be."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import accumulate
from typing import overload

from relay.domain.directory import Principal
from relay.domain.errors import RelayError
from relay.domain.message import Options
from relay.domain.transmission import CHUNK, Content, Recipient
from relay.ports.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Draft:
    """What was asked by one request, parsed and authenticated, before anything is decided."""

    principal: Principal
    remote_addr: str
    options: Options
    content: Content
    recipients: Sequence[Recipient]
    start: datetime | None = None
    """None: at once."""
    description: str = ""
    return_path: str = ""
    substitution_data: dict[str, object] = field(default_factory=dict)
    substitutes: bool = True
    asked_options: dict[str, object] = field(default_factory=dict)


@dataclass
class EstimateTooLarge(RelayError):
    """The composed message would exceed the limit."""

    limit_bytes: int


@dataclass
class CannotGenerate(RelayError):
    """The message for the only recipient cannot be made (code 1901)."""

    reason: str


class Packed(Sequence[Recipient]):
    """Recipients as the sandbox hands them over: list by list, each read when it is its turn."""

    def __init__(self, sandbox: Sandbox, lists: Sequence[bytes], counts: Sequence[int]) -> None:
        self._sandbox, self._lists = sandbox, lists
        self._starts = list(accumulate(counts, initial=0))

    def __len__(self) -> int:
        return self._starts[-1]

    def parts(self) -> Iterator[tuple[int, Sequence[Recipient]]]:
        """The lists, each with the index of its first."""
        for start, one in zip(self._starts, self._lists, strict=False):
            yield start, self._sandbox.read(one)

    @overload
    def __getitem__(self, index: int) -> Recipient: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Recipient]: ...

    def __getitem__(self, index: int | slice) -> Recipient | Sequence[Recipient]:
        return [one for _, part in self.parts() for one in part][index]


def parts_of(recipients: Sequence[Recipient]) -> Iterator[tuple[int, Sequence[Recipient]]]:
    """Recipients in numbers that one transaction takes, each part with the index of its first."""
    if isinstance(recipients, Packed):
        yield from recipients.parts()
    else:
        for first in range(0, len(recipients), CHUNK):
            yield first, recipients[first : first + CHUNK]
