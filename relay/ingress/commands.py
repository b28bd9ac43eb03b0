"""Command lines, and the arguments of MAIL and RCPT (RFC 5321 §4.1.2, RFC 1870, 3461, 6152, 6531, 4954)."""

import re
from collections.abc import Mapping

from relay.domain.address import Mailbox, parse_mailbox, plain_local
from relay.domain.dsn import DsnRequest
from relay.domain.errors import MalformedAddress
from relay.domain.value import value
from relay.ingress.dsn import Parameters, request_of_mail, request_of_rcpt
from relay.ingress.replies import Complaint
from relay.mail.xtext import embed

MAIL_SYNTAX = "501 5.5.2 syntax error MAIL FROM"
RCPT_SYNTAX = "501 5.5.2 RCPT TO syntax error"
BAD_LINE = "500 5.5.2 Syntax error, command lines are UTF-8 text that ends in CRLF"
_NEEDS_SMTPUTF8 = "553 5.6.7 A non-ASCII address needs SMTPUTF8"
_UNKNOWN_PARAMETER = "555 5.5.4 Parameter not recognised"
_BAD_PARAMETER = "501 5.5.4 Invalid parameter {}"

_LINE_OCTETS = 512
_LINE_OCTETS_OF: Mapping[str, int] = {"MAIL": 1024, "RCPT": 1100, "AUTH": 12_288}
_CONTROL = re.compile(rb"[\0-\x1f\x7f]")
_AT_DOMAIN = r"@(?:\[[^<>\s\[\]]++\]|[^<>\s@,:\[\]]++)"
_PATH = rf'<(?:{_AT_DOMAIN}(?:,{_AT_DOMAIN})*+:(?!>))?((?:[^<>"\s]|"(?:[^"\\]|\\.)*+")*+)>'
"""Where a route stands before the mailbox, it is passed over (RFC 5321 §4.1.1.3, appendix C)."""
_MAIL = re.compile(rf"FROM: *{_PATH}(?: +(.+))?", re.IGNORECASE)
_RCPT = re.compile(rf"TO: *{_PATH}(?: +(.+))?", re.IGNORECASE)
_KEYWORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]{0,63}")
_VALUE = re.compile("[!-<>-~]+")
_BODY = {"7BIT": False, "8BITMIME": True}


@value
class Mail:
    """What MAIL said."""

    path: str
    """The address; empty for the null reverse-path."""
    size_bytes: int = 0
    """0: not declared."""
    smtputf8: bool = False
    eight_bit: bool = False
    dsn_request: DsnRequest | None = None
    """RET and ENVID, which are for all recipients; None: neither."""


def read_line(line: bytes) -> tuple[str, str]:
    """The verb, upper-case, and the argument of a command line. Raises Complaint."""
    if not line:
        raise Complaint("500 5.5.6 Command line too long")
    if not line.endswith(b"\r\n") or _CONTROL.search(line, 0, len(line) - 2):
        raise Complaint(BAD_LINE)
    try:
        verb, _, argument = line[:-2].decode().partition(" ")
    except UnicodeDecodeError:
        raise Complaint(BAD_LINE) from None
    verb = verb.upper()
    if len(line) > _LINE_OCTETS and len(line) > _LINE_OCTETS_OF.get(verb, _LINE_OCTETS):
        raise Complaint("500 5.5.6 Command line too long")
    return verb, argument


def parse_mail(argument: str, is_extended: bool) -> Mail:
    """The argument of MAIL. is_extended: after EHLO, parameters are allowed. Raises Complaint."""
    parts = _MAIL.fullmatch(argument.rstrip(" "))
    if parts is None:
        raise Complaint(MAIL_SYNTAX)
    parameters = _parameters(parts[2], is_extended) if parts[2] else {}
    size = parameters.pop("SIZE", "0")
    body = parameters.pop("BODY", "7BIT")
    smtputf8 = "SMTPUTF8" in parameters
    if parameters.pop("SMTPUTF8", None) is not None:
        raise Complaint(_BAD_PARAMETER.format("SMTPUTF8"))
    # Whom the client vouches for (RFC 4954 §5). We trust nobody's word for it and pass none on.
    if parameters.pop("AUTH", "<>") is None:
        raise Complaint(_BAD_PARAMETER.format("AUTH"))
    if size is None or not re.fullmatch("[0-9]{1,20}", size):
        raise Complaint(_BAD_PARAMETER.format("SIZE"))
    if body is None or body.upper() not in _BODY:
        raise Complaint(_BAD_PARAMETER.format("BODY"))
    dsn_request = request_of_mail(parameters)
    if parameters:
        raise Complaint(_UNKNOWN_PARAMETER)
    path = _mailbox(parts[1], smtputf8, MAIL_SYNTAX).text if parts[1] else ""
    return Mail(path, int(size), smtputf8, _BODY[body.upper()], dsn_request)


def parse_rcpt(
    argument: str,
    is_extended: bool,
    smtputf8: bool,
    postmaster: Mailbox,
    of_mail: DsnRequest | None = None,
) -> tuple[Mailbox, DsnRequest | None]:
    """The argument of RCPT, with what MAIL asked for already. Raises Complaint.

    postmaster: who is meant by the one mailbox that needs no domain, in any case (RFC 5321 §4.5.1).
    """
    parts = _RCPT.fullmatch(argument.rstrip(" "))
    if parts is None:
        raise Complaint(RCPT_SYNTAX)
    dsn_request = of_mail
    if parts[2]:
        parameters = _parameters(parts[2], is_extended)
        dsn_request = request_of_rcpt(parameters, of_mail, smtputf8=smtputf8)
        if parameters:
            raise Complaint(_UNKNOWN_PARAMETER)
    is_postmaster = "@" not in parts[1] and (plain_local(parts[1]) or "").lower() == "postmaster"
    mailbox = postmaster if is_postmaster else _mailbox(parts[1], smtputf8, RCPT_SYNTAX)
    return mailbox, dsn_request


def address_in(argument: str) -> str:
    """What stands where the address of MAIL or RCPT should be, however wrong it is."""
    path = argument.partition(":")[2].strip(" ")
    return path[1:].partition(">")[0] if path.startswith("<") else path.partition(" ")[0]


def _mailbox(path: str, smtputf8: bool, complaint: str) -> Mailbox:
    try:
        mailbox = parse_mailbox(path)
    except MalformedAddress:
        raise Complaint(complaint) from None
    if not (smtputf8 or path.isascii()):
        raise Complaint(_NEEDS_SMTPUTF8)
    return mailbox


def _parameters(text: str, is_extended: bool) -> Parameters:
    if not is_extended:
        raise Complaint(_UNKNOWN_PARAMETER)
    found: Parameters = {}
    for word in filter(None, text.split(" ")):
        keyword, equals, value = word.partition("=")
        if not _KEYWORD.fullmatch(keyword):
            raise Complaint(_BAD_PARAMETER.format("").rstrip())
        keyword = keyword.upper()
        # Of all values only that of ORCPT may go beyond ASCII (RFC 6533 §3).
        octets = embed(value) if keyword == "ORCPT" else value
        if keyword in found or (equals and not _VALUE.fullmatch(octets)):
            raise Complaint(_BAD_PARAMETER.format(keyword))
        found[keyword] = value if equals else None
    return found
