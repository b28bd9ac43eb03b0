"""Routes that do not do what they say: domains of the sink, TLS that is not spoken, keywords of nobody."""

import difflib
from collections.abc import Iterator

from relay.domain.route import SmarthostRoute, TlsPolicy, ends_in_sink
from relay.process.judgments.case import Case, Finding, Judgment
from relay.process.judgments.hosts import is_unknown_to_the_internet

_IMPLICIT_TLS = 465
_KEYWORDS = frozenset(
    (
        *("8BITMIME", "ATRN", "AUTH", "BINARYMIME", "BURL", "CHECKPOINT", "CHUNKING", "CONNEG", "CONPERM"),
        *("DELIVERBY", "DSN", "ENHANCEDSTATUSCODES", "ETRN", "EXPN", "FUTURERELEASE", "HELP", "LIMITS"),
        *("MT-PRIORITY", "MTRK", "NO-SOLICITING", "PIPELINING", "REQUIRETLS", "RRVS", "SAML", "SEND"),
        *("SIZE", "SMTPUTF8", "SOML", "STARTTLS", "SUBMITTER", "TURN", "UTF8SMTP", "VERB", "VRFY"),
    )
)
"""Registered with IANA, or widespread; what begins with X is anybody's."""


def _for_sinks(case: Case) -> Iterator[Finding]:
    sinks = case.config.sink.domains
    for book in case.outlooks:
        for at, route in enumerate(book.routes, 1):
            for pattern in route.patterns:
                if pattern != "*" and ends_in_sink(sinks, pattern.removeprefix("*.")):
                    what = (
                        f'"{pattern}" is never used: sink.domains takes that mail first, and nothing leaves'
                    )
                    where = f"{book.place}: route[#{at}].domains"
                    yield Finding(where, f"{what}; remove it here or there")


def _swallows_all_below(case: Case) -> Iterator[Finding]:
    for sink in case.config.sink.domains:
        if "." not in sink and not is_unknown_to_the_internet(f"x.{sink}"):
            what = f'"{sink}": mail to every domain below .{sink} is swallowed, and counts as delivered'
            yield case.found("sink.domains", f"{what}; expected a domain of tests, such as sink.example.com")


def _implicit_tls(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        for at, route in enumerate(book.routes, 1):
            if route.target.port == _IMPLICIT_TLS:
                key = "smarthost" if isinstance(route.target, SmarthostRoute) else "port"
                what = f"port {_IMPLICIT_TLS} speaks TLS from the first octet, which this relay does not do"
                remedy = 'use port 587 with tls = "required", which is STARTTLS'
                yield Finding(
                    f"{book.place}: route[#{at}].{key}", f"{what}, so that its mail waits; {remedy}"
                )


def _ignored_keywords(case: Case) -> Iterator[Finding]:
    for book in case.outlooks:
        for at, route in enumerate(book.routes, 1):
            where, target = f"{book.place}: route[#{at}].ehlo_ignore", route.target
            for keyword in target.ehlo_ignore:
                if keyword not in _KEYWORDS and not keyword.startswith("X"):
                    near = difflib.get_close_matches(keyword, sorted(_KEYWORDS), 1)
                    hint = f"; did you mean {near[0]}?" if near else ""
                    yield Finding(where, f'"{keyword}" is no keyword that servers are known to offer{hint}')
            if "STARTTLS" in target.ehlo_ignore and target.tls is TlsPolicy.REQUIRED:
                yield Finding(where, '"STARTTLS" is ignored and TLS is required: all its mail waits')
            if "AUTH" in target.ehlo_ignore and isinstance(target, SmarthostRoute) and target.username:
                yield Finding(where, '"AUTH" is ignored and the route logs in: all its mail waits')


def _without_effect(case: Case) -> Iterator[Finding]:
    if case.file is not None:
        for key in case.file.idle:
            what = "has no effect beside a smarthost, which may be private anyway: leave it out"
            yield Finding(f"{case.file.place}: {key}", what)


ROUTES: tuple[Judgment, ...] = (
    _for_sinks,
    _swallows_all_below,
    _implicit_tls,
    _ignored_keywords,
    _without_effect,
)
