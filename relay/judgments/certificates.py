"""Certificates: pairs that do not belong together, and those that clients will not believe."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from relay.judgments.case import Case, Finding, Judgment
from relay.net.tls import Certificate, UnusablePair, read_certificate, self_signed_in, server_context
from relay.schema.config import HttpSettings, SmtpSettings

_SOON = timedelta(days=14)


def _pairs(case: Case) -> Iterator[Finding]:
    config = case.config
    public_host = host_of_url(config.http.public_url)
    if "smtp" in config.roles:
        yield from _of_section(case, "smtp", config.smtp, config.hostname)
    if case.answers_http:
        yield from _of_section(case, "http", config.http, public_host or config.hostname)
    pair = self_signed_in(Path(config.store.removeprefix("sqlite:///")).parent)
    if all(file.exists() for file in pair):
        try:
            server_context(*pair)
        except UnusablePair as error:
            what = f"{error}; the relay made them itself: remove both, and the next start makes a new pair"
            yield case.found("store", what, refuses=True)


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
    for what in _doubts(read_certificate(files.certificate), host, case):
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


def host_of_url(url: str) -> str:
    """Of a URL without a path; empty for none."""
    authority = url.partition("//")[2].rstrip("/")
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0]


CERTIFICATES: tuple[Judgment, ...] = (_pairs,)
