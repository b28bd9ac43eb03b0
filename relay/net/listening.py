"""Why an address cannot be listened on, and what to do about it."""

import errno
import re
from pathlib import Path

BACKLOG = 512
"""Connections that the system keeps until they are accepted."""


_CAP_NET_BIND_SERVICE = 1 << 10
_EFFECTIVE = re.compile(r"^CapEff:\s*([0-9a-f]+)$", re.MULTILINE)


class CannotListen(OSError):
    """An address that is taken, forbidden or not here; str() is a sentence that names it."""

    def __str__(self) -> str:
        return str(self.strerror)


def cannot_listen(where: str, error: OSError, elsewhere: str) -> CannotListen:
    """where: HOST:PORT. elsewhere: how another one is chosen."""
    match error.errno:
        case errno.EADDRINUSE:
            why = f"another program has that port, perhaps a relay: stop it, or {elsewhere}"
        case errno.EACCES:
            why = "ports below 1024 are not everybody's: give the relay CAP_NET_BIND_SERVICE"
            why += f" (docs/relay.service does), or {elsewhere}"
        case errno.EADDRNOTAVAIL:
            why = f"the address is not on this machine: `ip address add` it, or {elsewhere}"
        case _:
            why = f"{error.strerror or error}: {elsewhere}"
    return CannotListen(error.errno, f"cannot listen on {where}: {why}")


def may_listen(port: int) -> bool:
    """Whether this process may, as far as can be known without trying."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return True
    return is_allowed(port, first, status)


def is_allowed(port: int, first: int, status: str) -> bool:
    """first: the lowest port that is everybody's, of IPv6 too (ip(7)). status: as of proc(5)."""
    if port == 0 or port >= first:
        return True
    capabilities = _EFFECTIVE.search(status)
    return capabilities is None or bool(int(capabilities[1], 16) & _CAP_NET_BIND_SERVICE)


def by_setting(key: str, host: str, port: int, is_list: bool) -> str:
    """Another port for a setting, as a line to begin the command with."""
    other = port + 1000 if port + 1000 <= 65535 else port - 1000
    at = f"[{host}]:{other}" if ":" in host else f"{host}:{other}"
    value = f"""'["{at}"]'""" if is_list else at
    return (
        f"choose another ({key}), such as RELAY_{key.upper().replace('.', '__')}={value} before the command"
    )
