"""Listeners: two at one place, on addresses that are not here, and what strangers hear and read there."""

import errno
from collections.abc import Iterator
from itertools import combinations

from relay.net.listening import by_setting, cannot_listen, may_listen
from relay.process.judgments.case import Case, Finding, Judgment, Listener
from relay.process.judgments.hosts import (
    address_of,
    host_of_url,
    is_here,
    is_loopback,
    is_number,
    is_unknown_to_the_internet,
    is_wildcard,
)


def public_listeners(case: Case, *keys: str) -> list[Listener]:
    """Those that others than this machine may reach; of those settings, or of all."""
    return [
        listener
        for listener in case.listeners
        if (not keys or listener.key in keys) and not is_loopback(listener.endpoint.host)
    ]


def _two_at_one_place(case: Case) -> Iterator[Finding]:
    for first, second in combinations(case.listeners, 2):
        if _overlap(first, second):
            what = f"{second.endpoint} is {first} already: expected another port"
            if str(first.endpoint) != str(second.endpoint):
                what = f"{second.endpoint} is within {first}, or the other way round: expected another port"
            yield case.found(second.key, what, refuses=True)


def _overlap(first: Listener, second: Listener) -> bool:
    one, other = first.endpoint, second.endpoint
    if one.port != other.port or one.port == 0:
        return False
    at_one, at_other = address_of(one.host), address_of(other.host)
    if at_one is None or at_other is None:
        is_same_name = one.host.lower() == other.host.lower()
        return is_same_name or is_wildcard(one.host) or is_wildcard(other.host)
    if at_one == at_other:
        return True
    if (":" in at_one) == (":" in at_other):
        return is_wildcard(one.host) or is_wildcard(other.host)
    # Of HTTP, [::] takes IPv4 too; of SMTP it does not.
    return any(
        at == "::" and key.startswith("http.") for at, key in ((at_one, first.key), (at_other, second.key))
    )


def _not_on_this_machine(case: Case) -> Iterator[Finding]:
    for listener in case.listeners:
        address = address_of(listener.endpoint.host)
        if address is not None and not is_here(address):
            what = f"{listener.endpoint}: {address} is not on this machine: expected an address of its own"
            yield case.found(listener.key, f"{what}, or 0.0.0.0 for all of them", refuses=True)


def _not_everybodys_port(case: Case) -> Iterator[Finding]:
    """A warning: a service manager may give the relay what this user has not."""
    for listener in case.listeners:
        host, port = listener.endpoint.host, listener.endpoint.port
        if not may_listen(port):
            elsewhere = by_setting(listener.key, host, port, is_list=listener.key != "http.listen")
            refused = cannot_listen(str(listener.endpoint), PermissionError(errno.EACCES, ""), elsewhere)
            yield case.found(listener.key, str(refused))


def _nameless_to_others(case: Case) -> Iterator[Finding]:
    public = public_listeners(case, "smtp.listen", "smtp.listen_tls")
    if public and is_unknown_to_the_internet(case.config.hostname):
        what = f'"{case.config.hostname}" is no name of the internet, and {public[0]} is open to others'
        yield case.found("hostname", f'{what}: expected this machine\'s own, such as "mail.example.com"')
    elif is_number(case.config.hostname):
        what = f'"{case.config.hostname}" is no name: expected this machine\'s own'
        yield case.found("hostname", f'{what}, such as "mail.example.com"')


def _secrets_in_clear(case: Case) -> Iterator[Finding]:
    by_smtp = public_listeners(case, "smtp.listen")
    if case.config.smtp.auth_without_tls and by_smtp:
        what = f"true lets keys cross the network in clear text, to {by_smtp[0]}: leave it out"
        yield case.found("smtp.auth_without_tls", what)
    http = case.config.http
    by_http = public_listeners(case, "http.listen")
    scheme, host = http.public_url.partition("://")[0], host_of_url(http.public_url)
    # A proxy that others reach is not called localhost.
    is_behind_tls = scheme == "https" and not is_loopback(host)
    if by_http and http.certificate is None and not is_behind_tls:
        what = f"{http.listen} answers others in clear text, keys and passwords too: name http.certificate"
        yield case.found("http.listen", f"{what} and http.key, or http.public_url where a proxy speaks TLS")
    if case.answers_http and scheme == "http" and not is_loopback(host):
        what = f"{http.public_url}: keys and passwords cross the network to {host} in clear text"
        yield case.found("http.public_url", f"{what}; expected https:// and TLS there")


LISTENERS: tuple[Judgment, ...] = (
    _two_at_one_place,
    _not_on_this_machine,
    _not_everybodys_port,
    _nameless_to_others,
    _secrets_in_clear,
)
