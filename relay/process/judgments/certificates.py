"""Certificates: pairs that do not belong together, and those that clients will not believe."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from relay.config.config import HttpSettings, SmtpSettings
from relay.net.chain import doubts_of_chain
from relay.net.tls import (
    Certificate,
    UnusablePair,
    check_self_signed,
    read_certificate,
    self_signed_in,
    server_context,
)
from relay.process.judgments.case import Case, Finding, Judgment
from relay.process.judgments.hosts import host_of_url

_SOON = timedelta(days=14)
_MADE_AGAIN = "remove both files of the pair, and the next start makes a new one"


def _pairs(case: Case) -> Iterator[Finding]:
    config = case.config
    public_host = host_of_url(config.http.public_url)
    if "smtp" in config.roles:
        yield from _of_section(case, "smtp", config.smtp, config.hostname)
    if case.answers_http:
        yield from _of_section(case, "http", config.http, public_host or config.hostname)
    if _is_self_signed_used(case):
        yield from _of_own(case, config.store_file.parent)


def _of_own(case: Case, folder: Path) -> Iterator[Finding]:
    """The pair that the relay makes, which may not be there yet."""
    try:
        check_self_signed(folder)
    except UnusablePair as error:
        yield case.found("store", str(error), refuses=True)
        return
    certificate, key = self_signed_in(folder)
    if certificate.exists() and key.exists():
        for what in _doubts(read_certificate(certificate), case.config.hostname, case):
            yield case.found("store", f"{certificate}: {what}; the relay made it itself: {_MADE_AGAIN}")


def _is_self_signed_used(case: Case) -> bool:
    smtp, http = case.config.smtp, case.config.http
    is_by_http = case.answers_http and http.certificate is None and bool(http.listen_tls)
    return ("smtp" in case.config.roles and smtp.certificate is None) or is_by_http


def _of_section(case: Case, section: str, files: SmtpSettings | HttpSettings, host: str) -> Iterator[Finding]:
    """host: what clients call us there."""
    if files.certificate is None or files.key is None:
        return
    missing = False
    for name, path in (("certificate", files.certificate), ("key", files.key)):
        if not os.access(path, os.R_OK):
            missing = True
            yield case.found(f"{section}.{name}", f"{path}: expected a readable file", refuses=True)
    if missing:
        return
    try:
        server_context(files.certificate, files.key)
    except UnusablePair as error:
        yield case.found(f"{section}.certificate", str(error), refuses=True)
        return
    doubts = _doubts(read_certificate(files.certificate), host, case)
    for what in (*doubts, *doubts_of_chain(files.certificate, case.now)):
        yield case.found(f"{section}.certificate", f"{files.certificate}: {what}")


def _doubts(certificate: Certificate, host: str, case: Case) -> Iterator[str]:
    if certificate.ends <= case.now:
        yield f"expired on {certificate.ends:%Y-%m-%d}: clients refuse it; renew it"
    elif certificate.ends - case.now < _SOON:
        yield f"expires on {certificate.ends:%Y-%m-%d %H:%M} UTC: renew it"
    if certificate.begins > case.now:
        yield f"is not valid before {certificate.begins:%Y-%m-%d %H:%M} UTC: clients refuse it until then"
    if not certificate.is_for(host):
        known = ", ".join(certificate.names[:5]) or "no name"
        yield f"is for {known}, and clients come to {host}: expected one for that name"


CERTIFICATES: tuple[Judgment, ...] = (_pairs,)
