"""Why an address cannot be listened on, and what to do about it."""

import errno

BACKLOG = 512
"""Connections that the system keeps until they are accepted."""


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


def by_setting(key: str, host: str, port: int, is_list: bool) -> str:
    """Another port for a setting, as a line to begin the command with."""
    other = port + 1000 if port + 1000 <= 65535 else port - 1000
    at = f"[{host}]:{other}" if ":" in host else f"{host}:{other}"
    value = f"""'["{at}"]'""" if is_list else at
    return (
        f"choose another ({key}), such as RELAY_{key.upper().replace('.', '__')}={value} before the command"
    )
