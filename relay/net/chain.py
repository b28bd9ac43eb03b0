"""What stands between a certificate and a root that clients know, judged from its file alone."""

import datetime
import ssl
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_Subject = tuple[tuple[tuple[str, str], ...], ...]
_SERVES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)


def doubts_of_chain(path: Path, now: datetime.datetime) -> Iterator[str]:
    """Why clients will not believe a certificate that is right by itself. Raises OSError, ValueError."""
    leaf, *others = x509.load_pem_x509_certificates(path.read_bytes())
    if not _is_for_servers(leaf):
        yield "is not for servers (extendedKeyUsage without serverAuth): clients refuse it"
    current = leaf
    while current.issuer != current.subject:
        issuer = next((one for one in others if _issued(one, current)), None)
        if issuer is None:
            break
        others.remove(issuer)
        if issuer.not_valid_after_utc <= now:
            what = f"its issuer behind it, {_name(issuer.subject)}, expired"
            yield f"{what} on {issuer.not_valid_after_utc:%Y-%m-%d}: put the renewed one there"
        if issuer.not_valid_before_utc > now:
            begins = f"{issuer.not_valid_before_utc:%Y-%m-%d %H:%M} UTC"
            yield f"its issuer behind it, {_name(issuer.subject)}, is not valid before {begins}"
        current = issuer
    if current is leaf and leaf.issuer != leaf.subject and not _is_known(leaf):
        yield _incomplete(leaf, others)


def _incomplete(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> str:
    remedy = "put that behind it, as in fullchain.pem"
    if others:
        found = ", ".join(_name(one.subject) for one in others[:3])
        return f"was issued by {_name(leaf.issuer)}, and behind it stands {found}, which did not: {remedy}"
    what = f"is there without its issuer, {_name(leaf.issuer)}"
    return f"{what}, so that clients cannot go back to a root: {remedy}"


def _is_for_servers(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return any(purpose in usage for purpose in _SERVES)


def _issued(issuer: x509.Certificate, issued: x509.Certificate) -> bool:
    try:
        issued.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_known(leaf: x509.Certificate) -> bool:
    """Whether a root of this machine is called as its issuer is."""
    return _name(leaf.issuer) in _roots()


@lru_cache(maxsize=1)
def _roots() -> frozenset[str]:
    """The common names of those that this machine trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    names = [cast(_Subject, root["subject"]) for root in context.get_ca_certs()]
    parts = [pair for name in names for part in name for pair in part]
    return frozenset(value for kind, value in parts if kind == "commonName")


def _name(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
