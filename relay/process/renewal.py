"""SIGHUP: certificates are read again, unless it says that the terminal is gone."""

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence

from relay.net.tls import LivePair, UnusablePair

log = logging.getLogger("relay")


class Terminal:
    """What this process was started in, if a person watches it."""

    def __init__(self) -> None:
        # None: the process was started with it closed.
        outputs = (sys.stdout, sys.stderr)
        self._shown = [output for output in outputs if output is not None and output.isatty()]

    def is_gone(self) -> bool:
        """Whether there was one, and its window was closed."""
        return bool(self._shown) and not any(output.isatty() for output in self._shown)


def hold_hang_ups() -> None:
    """Until there is a listener whose certificate could be read again, SIGHUP does nothing."""
    signal.signal(signal.SIGHUP, lambda number, frame: None)


async def keep_renewed(pairs: Sequence[LivePair], asked: asyncio.Event) -> None:
    """Read the files whenever that is asked for; connections stay as they are.

    A pair that does not serve is told in the log, and the one before it stays.
    """
    while True:
        await asked.wait()
        asked.clear()
        for pair in pairs:
            try:
                await asyncio.to_thread(pair.reload)
            except UnusablePair as error:
                log.error("certificate=%s not reloaded, the old one stays: %s", pair.certificate, error)
            else:
                log.info("certificate=%s reloaded", pair.certificate)
