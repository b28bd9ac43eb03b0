"""Work whose cost nobody can count beforehand, done where it can be ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from relay.domain.errors import RelayError
from relay.domain.ids import AccountId


@dataclass(frozen=True, slots=True)
class Output:
    """What a job gave, piece by piece, and the error with which it ended, if it did not come to its end."""

    pieces: Sequence[bytes]
    """To be read by `Sandbox.read` when their turn has come: that takes time too."""
    error: RelayError | None = None
    """The job's own, or TooMuchWork when it took more time or memory than there is for one piece."""


class Sandbox(Protocol):
    """Processes with bounds on time and memory, and without secrets. Accounts share their places."""

    async def run(
        self, account: AccountId, job: str, argument: object, octets: Sequence[bytes] = ()
    ) -> Output:
        """What the job of that name gives for argument and octets.

        Cancelling the caller ends the job. Raises Busy when no place became free in time.
        """

    def read(self, piece: bytes) -> Any: ...

    async def read_large(self, piece: bytes) -> Any:
        """As `read`, beside the loop: for a piece that may have a whole content in it."""
