"""RET, ENVID, NOTIFY and ORCPT as a client says them (RFC 3461 §4)."""

import re
from collections.abc import Callable
from dataclasses import replace

from relay.domain.dsn import DsnRequest
from relay.ingress.replies import Complaint
from relay.mail.xtext import decode_xtext, embed

Parameters = dict[str, str | None]
"""By upper-case keyword; None: without a value."""

_MAX_ENVID = 100
"""Characters, decoded (§4.4)."""
_MAX_ORCPT = 500
"""Characters as written (§4.2)."""
_EVENTS = frozenset({"SUCCESS", "FAILURE", "DELAY"})
_ADDRESS_TYPE = re.compile(r"[!#-'*+\-/-9?A-Z^-~]+")
"""An atom (RFC 822 §3.3)."""


def request_of_mail(parameters: Parameters) -> DsnRequest | None:
    """What RET and ENVID ask for, which are taken out; None: nothing. Raises Complaint."""
    if not parameters:
        return None
    ret = _take(parameters, "RET", _ret)
    envid = _take(parameters, "ENVID", _envid)
    return DsnRequest(ret, envid) if ret or envid else None


def request_of_rcpt(
    parameters: Parameters, of_mail: DsnRequest | None, *, smtputf8: bool
) -> DsnRequest | None:
    """The same with NOTIFY and ORCPT, which are taken out. Raises Complaint."""
    notify = _take(parameters, "NOTIFY", _notify)
    orcpt = _take(parameters, "ORCPT", lambda value: _orcpt(value, smtputf8=smtputf8))
    return replace(of_mail or DsnRequest(), notify=notify, orcpt=orcpt) if notify or orcpt else of_mail


def _take(parameters: Parameters, keyword: str, read: Callable[[str], str | None]) -> str:
    """The parameter as it is passed on; empty when it is not given."""
    if keyword not in parameters:
        return ""
    value = read(parameters.pop(keyword) or "")
    if not value:
        raise Complaint(f"501 5.5.4 Invalid {keyword}: {_EXPECTED[keyword]} expected")
    return value


def _ret(value: str) -> str | None:
    return value.upper() if value.upper() in {"FULL", "HDRS"} else None


def _envid(value: str) -> str | None:
    return value if len(decode_xtext(value) or "") in range(1, _MAX_ENVID + 1) else None


def _notify(value: str) -> str | None:
    words = dict.fromkeys(value.upper().split(","))
    return ",".join(words) if words.keys() == {"NEVER"} or words.keys() <= _EVENTS else None


def _orcpt(value: str, *, smtputf8: bool) -> str | None:
    """RFC 6533 §3 allows UTF-8 in an address of the type `utf-8`, with SMTPUTF8."""
    address_type, _, address = value.partition(";")
    if smtputf8 and address_type.lower() == "utf-8" and address.isprintable():
        address = embed(address)
    is_known = _ADDRESS_TYPE.fullmatch(address_type) and decode_xtext(address)
    return value if is_known and len(value) <= _MAX_ORCPT else None


_EXPECTED = {
    "RET": "FULL or HDRS",
    "ENVID": f"xtext of at most {_MAX_ENVID} printable ASCII characters",
    "NOTIFY": "NEVER, or SUCCESS, FAILURE, DELAY",
    "ORCPT": f"TYPE;XTEXT of at most {_MAX_ORCPT} printable ASCII characters",
}
