"""Log lines that strangers can provoke: each client's first are written, the rest of a minute counted."""

import asyncio
import logging

from relay.domain.clients import ClientAddress, party_of

PERIOD_S = 60.0
WRITTEN = 10
"""Refused credentials of one client that are written one by one: who bans counts lines."""
MOST_CLIENTS = 1000
"""Clients that are told apart within a minute."""


class LogTally:
    """Lines of one kind. Its memory and what it writes are bounded, whatever the number of clients."""

    def __init__(self, log: logging.Logger, level: int = logging.INFO, written: int = 1) -> None:
        """written: lines of one client (a /64 of IPv6 is one) that are written within a minute."""
        self._log, self._level, self._written = log, level, written
        self._seen: dict[tuple[int, str], tuple[ClientAddress, int]] = {}
        self._others = 0
        self._timer: asyncio.TimerHandle | None = None

    def tell(self, client: ClientAddress, what: str, detail: str = "", level: int | None = None) -> None:
        """`client=… what detail`, now or counted. what: one of few. Neither holds anything a client said.

        level: of the line, another than that of its kind.
        """
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self.sum_up)
        key = party_of(client), what
        count = self._seen.get(key, (client, 0))[1] + 1
        if count == 1 and len(self._seen) >= MOST_CLIENTS:
            self._others += 1
            return
        self._seen[key] = client, count
        if count <= self._written:
            self._log.log(
                level or self._level, "client=%s %s%s", client, what, f" {detail}" if detail else ""
            )

    def writes(self, client: ClientAddress, what: str) -> bool:
        """Whether the next such line would be written, not only counted."""
        key = party_of(client), what
        count = self._seen.get(key, (client, 0))[1]
        return count < self._written and (count > 0 or len(self._seen) < MOST_CLIENTS)

    def sum_up(self) -> None:
        """Write how many more there were, and begin anew: after a minute by itself, and at the end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        seen, self._seen = self._seen, {}
        others, self._others = self._others, 0
        for (_, what), (client, count) in seen.items():
            if count > self._written:
                self._log.log(self._level, "client=%s %s more=%d", client, what, count - self._written)
        if others:
            self._log.log(self._level, "other clients more=%d", others)


def tally_refusals() -> LogTally:
    """Of credentials, as the filter in docs/operations.md reads them; one for all doors of a process.

    what is `door=smtp`, `rest` or `console`.
    """
    return LogTally(logging.getLogger("relay.refused"), logging.WARNING, WRITTEN)
