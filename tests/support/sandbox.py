"""The sandbox's jobs without its processes, for tests of what comes before and after them."""

from collections.abc import Sequence
from typing import Any

from relay.domain.errors import RelayError
from relay.domain.ids import AccountId
from relay.ports.sandbox import Output
from relay.process.children.jobs import JOBS
from relay.process.children.wire import pack, unpack


class Here:
    """`Sandbox`, in this process."""

    async def run(
        self, account: AccountId, job: str, argument: object, octets: Sequence[bytes] = ()
    ) -> Output:
        pieces: list[bytes] = []
        try:
            for piece in JOBS[job](unpack(pack(argument)), list(map(bytearray, octets))):
                pieces.append(pack(piece))  # noqa: PERF401 - those before an error count
        except RelayError as error:
            return Output(pieces, unpack(pack(error)))
        return Output(pieces)

    def read(self, piece: bytes) -> Any:
        return unpack(piece)

    async def read_large(self, piece: bytes) -> Any:
        return unpack(piece)
