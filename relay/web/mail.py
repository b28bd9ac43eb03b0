"""What the pages about mail share: which mail a form means, ways to pools and IPs, words for events."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never
from urllib.parse import quote, urlencode

from relay.domain.address import normalise_domain
from relay.domain.directory import Account, Snapshot
from relay.domain.errors import MalformedAddress
from relay.domain.events import (
    Bounce,
    Delay,
    Delivery,
    Event,
    GenerationFailure,
    GenerationRejection,
    Injection,
    Operated,
    PolicyRejection,
)
from relay.domain.ids import SHARED_POOL, IpAddress, PoolId, SubaccountId, TransmissionId
from relay.domain.message import State
from relay.ports import MailFilter
from relay.service.operate import Verb
from relay.web.forms import Form
from relay.web.visit import Visit

ALL_ACCOUNTS = "all"
"""The box by which operators look at every account's mail."""
STATES: Mapping[State, str] = {State.QUEUED: "Queued", State.IN_FLIGHT: "In flight", State.HELD: "Held"}
_FILTERS = ("ip", "pool", "domain", "state", "transmission", "subaccount", ALL_ACCOUNTS)
_DEEDS: Mapping[str, str] = {
    Verb.HOLD: "held",
    Verb.RELEASE: "released",
    Verb.RETRY: "retried",
    Verb.CANCEL: "cancelled",
    Verb.REPIN: "re-pinned",
}
_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Asked:
    """Which unfinished mail a page is about."""

    form: Form
    """As typed, with what is wrong with it."""
    what: MailFilter

    @property
    def is_for_all(self) -> bool:
        return self.what.account is None

    @property
    def is_right(self) -> bool:
        return not self.form.errors

    @property
    def used(self) -> Mapping[str, str]:
        """The fields that say something."""
        return {name: self.form[name] for name in _FILTERS if self.form[name]}

    def query(self, **more: object) -> str:
        """For a link to the same mail; more: other fields, or further ones. None takes one away."""
        fields = {**self.used, **more}
        return urlencode({name: value for name, value in fields.items() if value not in (None, "")})


def read_filter(visit: Visit, form: Form) -> Asked:
    """The mail that the fields of form mean, within the account of the page."""
    wrong: dict[str, str] = {}
    what = MailFilter(None if visit.is_operator and form.has(ALL_ACCOUNTS) else visit.account.id)
    if text := form["ip"]:
        try:
            what = replace(what, ip=IpAddress(str(ipaddress.ip_address(text))))
        except ValueError:
            wrong["ip"] = f"“{_short(text)}” is not an IP address."
    if text := form["pool"]:
        what = replace(what, pool=PoolId(text.lower()))
    if text := form["domain"]:
        try:
            what = replace(what, domain=normalise_domain(text))
        except MalformedAddress:
            wrong["domain"] = f"“{_short(text)}” is not a domain."
    if text := form["state"]:
        try:
            what = replace(what, state=State(text))
        except ValueError:
            wrong["state"] = "Choose one of the states."
    if text := form["subaccount"]:
        if is_number(text):
            what = replace(what, subaccount=SubaccountId(int(text)))
        else:
            wrong["subaccount"] = f"“{_short(text)}” is not the number of a subaccount."
    if text := form["transmission"]:
        what = replace(what, transmission=TransmissionId(text))
    for name in ("pool", "transmission"):
        if "\0" in form[name]:
            wrong[name] = "This has a character that none can have."
    return Asked(form.wrong(**wrong), what)


def is_number(text: str) -> bool:
    """Whether it is one that a store can count."""
    return text.isascii() and text.isdigit() and len(text) < 11


def ip_path(visit: Visit, ip: str) -> str:
    """The page of a sending IP of the account; empty when it has none."""
    known = visit.snapshot.ips.get(IpAddress(ip))
    if known is None or known.account != visit.account.id or known.is_retired:
        return ""
    return f"/account/ip-pools/edit/{quote(known.pool or 'default', safe='')}/{quote(ip, safe='')}"


def pool_path(visit: Visit, pool: str) -> str:
    """The page of a pool of the account; empty when it has none."""
    is_known = (visit.account.id, PoolId(pool)) in visit.snapshot.pools
    return f"/account/ip-pools/edit/{quote(pool, safe='')}" if is_known else ""


def pools_of(snapshot: Snapshot, account: Account) -> list[tuple[str, str]]:
    """Id and name of what can be asked for, the default pool first."""
    pools = [pool for (owner, _), pool in snapshot.pools.items() if owner == account.id]
    named = [
        (str(pool.id), pool.name) for pool in sorted(pools, key=lambda one: (one.id != "default", one.id))
    ]
    return [*named, (SHARED_POOL, "Shared pool")] if account.has_shared_pool else named


def ips_of(snapshot: Snapshot, account: Account) -> list[str]:
    """Addresses of the account's own and of shared IPs, the own ones first."""
    ips = [ip for ip in snapshot.ips.values() if ip.account == account.id or ip.shared]
    return [
        ip.address for ip in sorted(ips, key=lambda ip: (ip.shared, ipaddress.ip_address(ip.address).packed))
    ]


def word_of(event: Event) -> tuple[str, str]:
    """What happened, in a word, and the kind of badge it stands on."""
    match event:
        case Injection():
            return "accepted", "still"
        case Delivery():
            return "delivered", "good"
        case Delay():
            return "deferred", "wait"
        case Bounce():
            return "bounced", "bad"
        case PolicyRejection():
            return "refused", "bad"
        case GenerationFailure():
            return "not generated", "bad"
        case GenerationRejection():
            return "rejected", "bad"
        case Operated(verb=verb):
            return _DEEDS.get(verb, verb), "still"
        case _:
            assert_never(event)


def reply_of(event: Event) -> str:
    """What the next hop said, or why it failed; empty where nothing was said."""
    match event:
        case Delivery(reply=reply):
            return reply
        case Injection():
            return ""
        case Operated(actor=actor, detail=detail):
            return f"by {actor}" + (f", {detail}" if detail else "")
        case _:
            return event.raw_reason


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
