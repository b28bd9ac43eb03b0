"""Sending domains: registering them, proving whose they are, and the keys that sign for them."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from relay.domain.changes import Changes, Put, Remove, first_put
from relay.domain.directory import Check, DkimKey, Origin, Plan, SendingDomain, Snapshot
from relay.domain.errors import DomainElsewhere, RestrictedDomain, UnknownObject
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.lookup import account_of, subaccount_of
from relay.domain.refusals import BounceDomainOfPart, DomainExists, SharedAndOwned, UnverifiedBounceDomain
from relay.frames.actor import Actor
from relay.frames.change import change_directory
from relay.mail.dkim import is_record_of
from relay.ports.ambient import Clock
from relay.ports.directory import Directory
from relay.ports.domains import DkimKeys, DomainRecords, Records

UNVERIFIED_FOR = timedelta(days=14)
"""How long a domain may wait for its verification."""
RESTRICTED = frozenset(
    {
        *(
            "gmail.com",
            "googlemail.com",
            "yahoo.com",
            "ymail.com",
            "rocketmail.com",
            "aol.com",
            "hotmail.com",
        ),
        *("outlook.com", "live.com", "msn.com", "icloud.com", "me.com", "mac.com", "gmx.de", "gmx.net"),
        *("web.de", "mail.ru", "yandex.ru", "qq.com", "163.com", "proton.me", "protonmail.com"),
        *("sparkpost.com", "sparkpostmail.com", "sparkpostbox.com", "localhost"),
    }
)
"""Domains whose mailboxes are their provider's customers': nobody here can speak for them."""

_NO_KEY = "The domain has no DKIM key."
_NO_ANSWER = "DNS did not answer, try again later."


"""Whether a domain of the account is the caller's to see and to change."""


@dataclass(frozen=True, slots=True)
class OwnKey:
    """A key that the customer brings."""

    selector: str
    """Empty: ours."""
    private: str
    """PEM, or its base64."""


@dataclass(frozen=True, slots=True)
class DomainWish:
    """What is asked of a domain; None leaves as it is."""

    tracking_domain: str | None = None
    shared_with_subaccounts: bool | None = None
    is_default_bounce_domain: bool | None = None
    key: OwnKey | None = None
    generates_key: bool = False


@dataclass(frozen=True, slots=True)
class Checks:
    """What to look for in DNS."""

    dkim: bool = False
    cname: bool = False
    mx: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """One look into DNS."""

    found: str
    """What stands there, for people; empty: nothing."""
    status: Check | None
    """None: DNS did not answer, so what was known holds."""
    problem: str
    """Empty when it is valid."""


@dataclass(frozen=True, slots=True)
class Verification:
    """The domain after it was looked at, and what was seen; None where nobody asked."""

    entry: SendingDomain
    dkim: Look | None
    cname: Look | None
    mx: Look | None


class SendingDomains:
    """What customers do with their sending domains."""

    def __init__(
        self,
        directory: Directory,
        records: DomainRecords,
        keys: DkimKeys,
        clock: Clock,
        hostname: str,
    ) -> None:
        """hostname: what the CNAME or the MX of a bounce domain must name."""
        self._directory, self._records, self._keys = directory, records, keys
        self._clock, self._hostname = clock, hostname.lower().rstrip(".")

    async def create(
        self,
        account: AccountId,
        subaccount: SubaccountId | None,
        domain: str,
        wish: DomainWish,
        actor: Actor,
    ) -> SendingDomain:
        """A new domain, unverified, and its key. domain: lower-case A-labels.

        Raises RestrictedDomain, OverCap, DomainElsewhere, Conflict, MalformedOptions.
        """
        self._check_new(self._directory.snapshot, account, subaccount, domain)
        key = await self._key(wish)
        entry = SendingDomain(
            account, domain, subaccount, origin=Origin.LIVE, dkim=key, created=self._clock.now()
        )

        def compute(snapshot: Snapshot) -> Changes:
            self._check_new(snapshot, account, subaccount, domain)
            return _wished(snapshot, entry, wish)

        return first_put(await change_directory(self._directory, compute, actor), SendingDomain)

    async def change(
        self,
        account: AccountId,
        domain: str,
        wish: DomainWish,
        actor: Actor,
    ) -> SendingDomain:
        """Raises UnknownObject, MalformedOptions, Conflict."""
        sending_domain_on(self._directory.snapshot, account, domain, actor)
        key = await self._key(wish)

        def compute(snapshot: Snapshot) -> Changes:
            entry = sending_domain_on(snapshot, account, domain, actor)
            if key is not None and key != entry.dkim:
                entry = replace(entry, dkim=key, dkim_status=Check.UNVERIFIED)
            return _wished(snapshot, entry, wish)

        return first_put(await change_directory(self._directory, compute, actor), SendingDomain)

    async def remove(self, account: AccountId, domain: str, actor: Actor) -> None:
        """Mail in the queue keeps its signature. Raises UnknownObject."""

        def compute(snapshot: Snapshot) -> Changes:
            entry = sending_domain_on(snapshot, account, domain, actor)
            owner = snapshot.accounts[account]
            bounces = [Put(replace(owner, bounce_domain=""))] if owner.bounce_domain == domain else []
            return (Remove(entry), *bounces)

        await change_directory(self._directory, compute, actor)

    async def verify(
        self,
        account: AccountId,
        domain: str,
        checks: Checks,
        actor: Actor,
    ) -> Verification:
        """Look into DNS and remember what is there. Raises UnknownObject, DomainElsewhere."""
        entry = sending_domain_on(self._directory.snapshot, account, domain, actor)
        dkim = await self._look_at_dkim(entry) if checks.dkim else None
        cname = self._compared("CNAME", await self._records.cname(domain)) if checks.cname else None
        mx = self._compared("MX", await self._records.mx(domain)) if checks.mx else None

        def compute(snapshot: Snapshot) -> Changes:
            now = sending_domain_on(snapshot, account, domain, actor)
            seen = dkim if now.dkim == entry.dkim else None
            changed = replace(
                now,
                dkim_status=_status(seen, now.dkim_status),
                cname_status=_status(cname, now.cname_status),
                mx_status=_status(mx, now.mx_status),
            )
            if changed.is_verified and not now.is_verified and _is_verified_elsewhere(snapshot, changed):
                raise DomainElsewhere(domain)
            return (Put(changed),)

        changes = await change_directory(self._directory, compute, actor)
        return Verification(first_put(changes, SendingDomain), dkim, cname, mx)

    # ── parts ────────────────────────────────────────────────────────────────────────────

    def _check_new(
        self, snapshot: Snapshot, account: AccountId, subaccount: SubaccountId | None, domain: str
    ) -> None:
        account_of(snapshot, account)
        if subaccount is not None:
            subaccount_of(snapshot, account, subaccount)
        if domain in RESTRICTED or domain == self._hostname:
            raise RestrictedDomain(domain)
        if (account, domain) in snapshot.domains:
            raise DomainExists(domain)
        if _is_verified_elsewhere(snapshot, SendingDomain(account, domain)):
            raise DomainElsewhere(domain)

    async def _key(self, wish: DomainWish) -> DkimKey | None:
        selector = f"scph{self._clock.now():%m%y}"
        if wish.key is not None:
            return await self._keys.take(wish.key.selector or selector, wish.key.private)
        return await self._keys.generate(selector) if wish.generates_key else None

    async def _look_at_dkim(self, entry: SendingDomain) -> Look:
        if entry.dkim is None:
            return Look("", Check.INVALID, _NO_KEY)
        name = f"{entry.dkim.selector}._domainkey.{entry.domain}"
        records = await self._records.txt(name)
        if records.has_failed:
            return Look("", None, _NO_ANSWER)
        for text in records.values:
            if is_record_of(text, entry.dkim.public):
                return Look(text, Check.VALID, "")
        found = next(iter(records.values), "")
        problem = f"The TXT record of {name} has another key." if found else f"{name} has no TXT record."
        return Look(found, Check.INVALID, problem)

    def _compared(self, kind: str, records: Records) -> Look:
        """A record that must name this installation."""
        if records.has_failed:
            return Look("", None, _NO_ANSWER)
        found = ", ".join(records.values)
        if self._hostname in records.values:
            return Look(found, Check.VALID, "")
        names = f"names {found}, not" if found else "does not exist; it must name"
        return Look(found, Check.INVALID, f"The {kind} record {names} {self._hostname}.")


def sending_domain_on(snapshot: Snapshot, account: AccountId, domain: str, actor: Actor) -> SendingDomain:
    """Raises UnknownObject."""
    entry = snapshot.domains.get((account, domain))
    if entry is None or not actor.sees(entry.subaccount):
        raise UnknownObject("Domain", f"'{domain}'")
    return entry


def remove_expired(snapshot: Snapshot, now: datetime) -> Changes:
    """Removes what was registered two weeks ago and that nobody verified since."""
    return tuple(
        Remove(entry)
        for entry in snapshot.domains.values()
        if not entry.is_verified and entry.created is not None and entry.created + UNVERIFIED_FOR <= now
    )


def _wished(snapshot: Snapshot, entry: SendingDomain, wish: DomainWish) -> Changes:
    """The domain, and the account when its bounce domain changes. Raises MalformedOptions."""
    if wish.tracking_domain is not None:
        entry = replace(entry, tracking_domain=wish.tracking_domain)
    if wish.shared_with_subaccounts is not None:
        if wish.shared_with_subaccounts and entry.subaccount is not None:
            raise SharedAndOwned()
        entry = replace(entry, shared_with_subaccounts=wish.shared_with_subaccounts)
    account = account_of(snapshot, entry.account)
    bounce_domain = account.bounce_domain
    if wish.is_default_bounce_domain:
        if entry.subaccount is not None:
            raise BounceDomainOfPart()
        by_mx = entry.mx_status is Check.VALID and account.plan is Plan.ENTERPRISE
        if entry.cname_status is not Check.VALID and not by_mx:
            raise UnverifiedBounceDomain()
        bounce_domain = entry.domain
    elif wish.is_default_bounce_domain is False and bounce_domain == entry.domain:
        bounce_domain = ""
    if bounce_domain == account.bounce_domain:
        return (Put(entry),)
    return (Put(entry), Put(replace(account, bounce_domain=bounce_domain)))


def _status(look: Look | None, known: Check) -> Check:
    return known if look is None or look.status is None else look.status


def _is_verified_elsewhere(snapshot: Snapshot, entry: SendingDomain) -> bool:
    return any(
        other.is_verified
        for (owner, domain), other in snapshot.domains.items()
        if domain == entry.domain and owner != entry.account
    )
