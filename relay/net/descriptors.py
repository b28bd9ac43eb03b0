"""How many more files and connections this process may open, and whom the last ones are kept for.

The kernel gives the lowest free number: one that is n says that n others are open.
"""

import errno
import logging
import os
import resource
import sys
import time

NONE_LEFT = frozenset({errno.EMFILE, errno.ENFILE})
"""What a system call says that needed one: of this process's, of the machine's."""
_TOLD_EVERY_S = 60.0
_LATELY_S = 5.0

log = logging.getLogger("relay")


class Descriptors:
    """As one of their users has to see them."""

    def __init__(self, kept_part: int, kept_most: int, what_happens: str) -> None:
        """kept_part: 8 for an eighth of all, at most kept_most, which is not for this user.

        what_happens: when only that is left, for the log.
        """
        self._part, self._most, self._what_happens = kept_part, kept_most, what_happens
        self._told_at = self._short_at = float("-inf")

    def run_short(self) -> bool:
        """Whether only what is kept for others is left; says so in the log, once a minute."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if _next() < limit - min(self._most, limit // self._part):
            return False
        now = self._short_at = time.monotonic()
        if now >= self._told_at + _TOLD_EVERY_S:
            self._told_at = now
            log.error(
                "almost all file descriptors are in use (limit=%d): %s until some are free again. A"
                " service gets more by LimitNOFILE, a shell by ulimit -n",
                limit,
                self._what_happens,
            )
        return True

    def ran_short(self) -> bool:
        """Whether that is so, or was within the last seconds: some are closed and opened all the time."""
        return self.run_short() or time.monotonic() < self._short_at + _LATELY_S


def for_clients() -> Descriptors:
    """Of SMTP: the store, connections out and HTTP come before more of them."""
    return Descriptors(8, 256, "new clients of SMTP hear 421")


def for_http() -> Descriptors:
    """It still tells how things are while clients of SMTP are refused."""
    return Descriptors(16, 128, "new clients of HTTP are hung up on")


def for_connections_out() -> Descriptors:
    return Descriptors(16, 128, "no more connections to next hops are opened for now")


def _next() -> int:
    """The number that would be opened next."""
    try:
        number = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return sys.maxsize
    os.close(number)
    return number
