"""Sending domains as REST shows and takes them."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, WithJsonSchema

from relay.domain.address import normalise_domain
from relay.domain.directory import Check, DkimKey, SendingDomain
from relay.domain.errors import MalformedAddress
from relay.frames.rest.fault import Fault, take_typed
from relay.frames.rest.request import RequestBody
from relay.mail.dkim import SIGNED_FIELDS

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?)*")
_MAX_SELECTOR = 63
_MAX_KEY = 8192

Status = Annotated[str, WithJsonSchema({"type": "string", "enum": [check.value for check in Check]})]
Compliance = Annotated[str, WithJsonSchema({"type": "string", "enum": ["valid", "blocked"]})]


class DomainStatus(BaseModel):
    """What is known of a domain. Mailboxes are not written to here, and SPF decides nothing."""

    ownership_verified: bool
    dkim_status: Status
    cname_status: Status
    mx_status: Status
    spf_status: Status = Check.UNVERIFIED.value
    abuse_at_status: Status = Check.UNVERIFIED.value
    postmaster_at_status: Status = Check.UNVERIFIED.value
    verification_mailbox_status: Status = Check.UNVERIFIED.value
    compliance_status: Compliance = "valid"

    @classmethod
    def of(cls, entry: SendingDomain) -> Self:
        return cls(
            ownership_verified=entry.is_verified,
            dkim_status=entry.dkim_status.value,
            cname_status=entry.cname_status.value,
            mx_status=entry.mx_status.value,
        )


class DkimShape(BaseModel):
    """The public half of a key; the private one never leaves."""

    signing_domain: str
    public: str
    selector: str
    headers: str = SIGNED_FIELDS

    @classmethod
    def of(cls, entry: SendingDomain, key: DkimKey) -> Self:
        return cls(signing_domain=entry.domain, public=key.public, selector=key.selector)


class DomainShape(BaseModel):
    """A sending domain."""

    domain: str
    tracking_domain: str | None = None
    status: DomainStatus
    dkim: DkimShape | None = None
    shared_with_subaccounts: bool
    subaccount_id: int | None = None
    is_default_bounce_domain: bool
    creation_time: str | None = None

    @classmethod
    def of(cls, entry: SendingDomain, bounce_domain: str) -> Self:
        """bounce_domain: of the account."""
        return cls(
            domain=entry.domain,
            tracking_domain=entry.tracking_domain or None,
            status=DomainStatus.of(entry),
            dkim=None if entry.dkim is None else DkimShape.of(entry, entry.dkim),
            shared_with_subaccounts=entry.shared_with_subaccounts,
            subaccount_id=entry.subaccount,
            is_default_bounce_domain=entry.domain == bounce_domain,
            creation_time=None if entry.created is None else entry.created.isoformat(timespec="seconds"),
        )


class DomainCreated(BaseModel):
    message: str
    domain: str
    dkim: DkimShape | None = None


class DomainUpdated(BaseModel):
    message: str
    domain: str


class DnsSeen(BaseModel):
    """What stands in DNS, and what is wrong with it."""

    dkim_record: str | None = None
    cname_record: str | None = None
    mx_record: str | None = None
    dkim_error: str | None = None
    cname_error: str | None = None
    mx_error: str | None = None


class DomainVerified(DomainStatus):
    dns: DnsSeen


class DkimBody(RequestBody):
    """A key that the customer brings."""

    private: str
    selector: str | None = None


class DomainChangeBody(RequestBody):
    """What PUT /sending-domains/{domain} takes: for the description of the API alone."""

    tracking_domain: str | None = None
    shared_with_subaccounts: bool | None = None
    is_default_bounce_domain: bool | None = None
    generate_dkim: bool | None = None
    dkim: DkimBody | None = None


class DomainBody(DomainChangeBody):
    """What POST /sending-domains takes: for the description of the API alone."""

    domain: str


class VerifyBody(RequestBody):
    """What POST /sending-domains/{domain}/verify takes: for the description of the API alone."""

    dkim_verify: bool | None = None
    cname_verify: bool | None = None
    mx_verify: bool | None = None
    spf_verify: bool | None = None
    postmaster_at_verify: bool | None = None
    abuse_at_verify: bool | None = None
    verification_mailbox_verify: bool | None = None


class KeyGiven(BaseModel):
    """A key of the customer's, read."""

    private: str
    selector: str


class ChangeAsked(BaseModel):
    """A body of POST or PUT, read."""

    tracking_domain: str | None
    shared_with_subaccounts: bool | None
    is_default_bounce_domain: bool | None
    generates_key: bool | None
    key: KeyGiven | None


class ChecksAsked(BaseModel):
    """What POST …/verify asks to look for in DNS, and what it asks beside it."""

    dkim: bool
    cname: bool
    mx: bool
    mailbox: str
    """The first field that asks for a mailbox; empty when none does."""


BY_MAILBOX_NOTICE = "verification by mailbox is not available on this installation"
_MAILBOXES = ("postmaster_at", "abuse_at", "verification_mailbox")


def read_domain(given: Mapping[str, Any]) -> str:
    """`domain` of a new one, as DNS knows it. Raises Fault."""
    text = take_typed(given, "domain", str, None)
    if not text:
        raise Fault(1400, "field 'domain' is required")
    return parse_domain(text)


def parse_domain(text: str) -> str:
    """A name with a dot and no underscore. Raises Fault."""
    try:
        domain = normalise_domain(text.strip())
    except MalformedAddress:
        domain = ""
    if "." not in domain or domain.startswith("[") or "_" in domain or domain.rpartition(".")[2].isdigit():
        raise Fault(7001, f"'{text[:255]}' is not a valid domain")
    return domain


def read_change(given: Mapping[str, Any]) -> ChangeAsked:
    """What POST and PUT have in common. Raises Fault."""
    tracking = take_typed(given, "tracking_domain", str, None)
    return ChangeAsked(
        tracking_domain=parse_domain(tracking) if tracking else tracking,
        shared_with_subaccounts=take_typed(given, "shared_with_subaccounts", bool, None),
        is_default_bounce_domain=take_typed(given, "is_default_bounce_domain", bool, None),
        generates_key=take_typed(given, "generate_dkim", bool, None),
        key=_key(given),
    )


def read_checks(given: Mapping[str, Any]) -> ChecksAsked:
    """Raises Fault; also where mailboxes are all that is asked for: whoever asks would wait for a mail."""
    dkim, cname, mx, _ = (
        take_typed(given, f"{kind}_verify", bool, False) for kind in ("dkim", "cname", "mx", "spf")
    )
    take_typed(given, "verification_mailbox", str, "")
    asked = [name for box in _MAILBOXES if take_typed(given, name := f"{box}_verify", bool, False)]
    asked += [name for box in _MAILBOXES if take_typed(given, name := f"{box}_token", str, "")]
    if asked and not (dkim or cname or mx):
        raise Fault(1200, f"{asked[0]}: {BY_MAILBOX_NOTICE}")
    return ChecksAsked(dkim=dkim, cname=cname, mx=mx, mailbox=asked[0] if asked else "")


def _key(given: Mapping[str, Any]) -> KeyGiven | None:
    dkim = take_typed(given, "dkim", dict, None)
    if not dkim or not dkim.get("private"):
        return None
    private = take_typed(dkim, "private", str, "", "dkim.")
    selector = take_typed(dkim, "selector", str, "", "dkim.").lower()
    if len(private) > _MAX_KEY:
        raise Fault(1300, f"field 'dkim.private' is limited to {_MAX_KEY} characters")
    if selector and (len(selector) > _MAX_SELECTOR or not _SELECTOR.fullmatch(selector)):
        raise Fault(1300, "field 'dkim.selector' must be a DNS label")
    return KeyGiven(private=private, selector=selector)
