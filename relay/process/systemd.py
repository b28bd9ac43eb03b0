"""Telling the service manager how we stand, for units of `Type=notify` (sd_notify(3))."""

import logging
import os
import socket

READY = "READY=1"
"""Mail is taken: what was ordered after us may start."""
STOPPING = "STOPPING=1"
"""We were asked to end, and are about to."""

ALIVE = "WATCHDOG=1"
"""We are not hung; due before the time of `WatchdogSec=` has passed again."""

_TIMEOUT_S = 1.0

log = logging.getLogger("relay")


def watchdog_every_s() -> float | None:
    """How often ALIVE is to be said: at half of the time that is given us; None when nobody waits for it."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not (usec.isascii() and usec.isdigit() and int(usec)) or pid not in {"", str(os.getpid())}:
        return None
    return int(usec) / 2_000_000


def notify(state: str) -> None:
    """Send state to $NOTIFY_SOCKET, a path or an abstract address; without one, nothing.

    What goes wrong is logged: nobody is worse off for it but the service manager.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        # The abstract namespace (unix(7)).
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(_TIMEOUT_S)
            sock.sendto(state.encode(), address)
    except (OSError, ValueError) as error:
        log.warning("service manager not told %s: %s", state, error)
