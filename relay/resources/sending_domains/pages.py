"""Account → Sending Domains: which From domains are the account's, as DNS proves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from starlette.responses import Response

from relay.domain.address import comparable_domain
from relay.domain.directory import Check, Origin, Plan, SendingDomain
from relay.domain.errors import RelayError
from relay.domain.ids import SubaccountId
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere, word_for_page
from relay.frames.console.forms import Form, fill, number_in
from relay.frames.console.lists import page_list
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.frames.rest.fault import Fault
from relay.mail.dkim import record
from relay.resources.sending_domains.rules import UNVERIFIED_FOR, Checks, DomainWish, Look, SendingDomains
from relay.resources.sending_domains.shapes import parse_domain

pages = Pages(__name__)

_LIST = "/account/sending-domains"
_NOBODY, _ALL = "", "all"
"""Who else may use a domain: neither is a subaccount's number."""
_CHECKS: Mapping[str, Checks] = {
    "dkim": Checks(dkim=True),
    "cname": Checks(cname=True),
    "mx": Checks(mx=True),
}


@dataclass(frozen=True, slots=True)
class DnsRecord:
    """A record that proves whose the domain is, and what else it does."""

    check: str
    type: str
    name: str
    value: str
    use: str
    status: Check


@pages.get(_LIST)
async def list_domains(visit: Visit) -> Response:
    asked = visit.query["q"].lower()
    owned = [
        entry
        for (owner, domain), entry in sorted(visit.snapshot.domains.items())
        if owner == visit.account.id and asked in domain
    ]
    return visit.page(
        "sending_domains/list.html",
        form=visit.query,
        domains=page_list(owned, visit.query),
        subaccounts=visit.subaccounts,
    )


@pages.get(_LIST + "/create", Right.CHANGE)
async def show_create(visit: Visit) -> Response:
    return _create_page(visit, fill(used_by=visit.query["subaccount"]))


@pages.post(_LIST + "/create")
async def create(visit: Visit) -> Response:
    form, domain, subaccount = visit.form, "", None
    used_by = form["used_by"]
    if not form["domain"]:
        form = form.wrong(domain="Required")
    else:
        try:
            domain = parse_domain(form["domain"])
        except Fault as fault:
            form = form.wrong(domain=f"{fault.detail}: expected a name such as mail.example.com")
    if used_by not in (_NOBODY, _ALL):
        subaccount = SubaccountId(number_in(used_by) or 0)
        if subaccount not in visit.subaccounts:
            form = form.wrong(used_by=f"There is no subaccount {used_by[:20]}")
    if form.errors:
        return _create_page(visit, form, 422)
    wish = DomainWish(shared_with_subaccounts=used_by == _ALL, generates_key=True)
    try:
        await visit.services.use_cases[SendingDomains].create(
            visit.account.id, subaccount, domain, wish, visit.actor
        )
    except RelayError as error:
        return _create_page(visit, form.wrong(domain=word_for_page(error)), 409)
    return visit.go(f"{_LIST}/edit/{domain}", f"Added {domain}. Now publish a record below, and verify it.")


@pages.get(_LIST + "/edit/{domain}")
async def show_domain(visit: Visit) -> Response:
    return _domain_page(visit, _domain(visit), None)


@pages.post(_LIST + "/edit/{domain}")
async def update(visit: Visit) -> Response:
    """Who may use it, and whether it takes the bounces."""
    entry, form = _domain(visit), visit.form
    is_bounce, was_bounce = form.has("is_default_bounce_domain"), _is_bounce_domain(visit, entry)
    wish = DomainWish(
        shared_with_subaccounts=form.has("shared") if entry.subaccount is None else None,
        is_default_bounce_domain=None if is_bounce == was_bounce else is_bounce,
    )
    try:
        await visit.services.use_cases[SendingDomains].change(
            visit.account.id, entry.domain, wish, visit.actor
        )
    except RelayError as error:
        return _domain_page(visit, entry, form.wrong(form_=word_for_page(error)), 409)
    return visit.go(f"{_LIST}/edit/{entry.domain}", f"Updated {entry.domain}.")


@pages.post(_LIST + "/edit/{domain}/verify")
async def verify(visit: Visit) -> Response:
    """Look for one record now. What is found there is told beside the record."""
    entry, check = _domain(visit), visit.form["check"]
    if check not in _CHECKS:
        form = visit.form.wrong(form_="Choose the record that is to be verified.")
        return _domain_page(visit, entry, form, 422)
    try:
        seen = await visit.services.use_cases[SendingDomains].verify(
            visit.account.id, entry.domain, _CHECKS[check], visit.actor
        )
    except RelayError as error:
        return _domain_page(visit, entry, visit.form.wrong(form_=word_for_page(error)), 409)
    look: Look | None = {"dkim": seen.dkim, "cname": seen.cname, "mx": seen.mx}[check]
    if look is not None and look.problem:
        form = visit.form.wrong(**{check: look.problem})
        return _domain_page(visit, seen.entry, form, 422, look.found)
    return visit.go(f"{_LIST}/edit/{entry.domain}", f"Verified {entry.domain}.")


@pages.get(_LIST + "/edit/{domain}/key", Right.CHANGE)
async def show_new_key(visit: Visit) -> Response:
    return visit.page("sending_domains/new_key.html", entry=_domain(visit), form=Form())


@pages.post(_LIST + "/edit/{domain}/key")
async def make_new_key(visit: Visit) -> Response:
    entry = _domain(visit)
    try:
        await visit.services.use_cases[SendingDomains].change(
            visit.account.id, entry.domain, DomainWish(generates_key=True), visit.actor
        )
    except RelayError as error:
        form = visit.form.wrong(form_=word_for_page(error))
        return visit.page("sending_domains/new_key.html", 409, entry=entry, form=form)
    return visit.go(f"{_LIST}/edit/{entry.domain}", "Made a new DKIM key. Publish its record, and verify it.")


@pages.get(_LIST + "/edit/{domain}/remove", Right.CHANGE)
async def show_remove(visit: Visit) -> Response:
    return _remove_page(visit, _domain(visit), Form())


@pages.post(_LIST + "/edit/{domain}/remove")
async def remove(visit: Visit) -> Response:
    entry = _domain(visit)
    try:
        await visit.services.use_cases[SendingDomains].remove(visit.account.id, entry.domain, visit.actor)
    except RelayError as error:
        return _remove_page(visit, entry, visit.form.wrong(form_=word_for_page(error)), 409)
    return visit.go(_LIST, f"Removed {entry.domain}.")


def _domain(visit: Visit) -> SendingDomain:
    entry = visit.snapshot.domains.get((visit.account.id, comparable_domain(visit.path("domain"))))
    if entry is None:
        raise NotHere("sending domain")
    return entry


def _is_bounce_domain(visit: Visit, entry: SendingDomain) -> bool:
    return visit.snapshot.accounts[entry.account].bounce_domain == entry.domain


def _records(visit: Visit, entry: SendingDomain) -> list[DnsRecord]:
    host = visit.services.entrance.hostname.lower().rstrip(".")
    found = []
    if entry.dkim is not None:
        name = f"{entry.dkim.selector}._domainkey.{entry.domain}"
        use = "Mail from this domain is signed with it. The one to begin with."
        found.append(DnsRecord("dkim", "TXT", name, record(entry.dkim.public), use, entry.dkim_status))
    use = "For a domain that takes bounces. No other record may stand at the same name."
    found.append(DnsRecord("cname", "CNAME", entry.domain, host, use, entry.cname_status))
    use = "For a domain whose mail comes to this relay."
    found.append(DnsRecord("mx", "MX", entry.domain, f"10 {host}", use, entry.mx_status))
    return found


def _expires(entry: SendingDomain) -> datetime | None:
    """When it is removed unless it is verified before."""
    return None if entry.is_verified or entry.created is None else entry.created + UNVERIFIED_FOR


def _create_page(visit: Visit, form: Form, status: int = 200) -> Response:
    owned = sorted(visit.subaccounts.values(), key=lambda entry: entry.name.casefold())
    users = [(_NOBODY, "The account alone"), (_ALL, "The account and all its subaccounts")]
    users += [(str(entry.id), f"Subaccount {entry.name} ({entry.id}) alone") for entry in owned]
    return visit.page("sending_domains/create.html", status, form=form, users=users, has_subaccounts=owned)


def _domain_page(
    visit: Visit, entry: SendingDomain, form: Form | None, status: int = 200, found: str = ""
) -> Response:
    """form: None shows what is so. found: what stands in DNS instead of what is expected."""
    if form is None or not form.has("settings"):
        values = {"shared": "on"} if entry.shared_with_subaccounts else {}
        if _is_bounce_domain(visit, entry):
            values["is_default_bounce_domain"] = "on"
        form = Form(fill(**values).values, form.errors if form else {})
    by_mx = entry.mx_status is Check.VALID and visit.account.plan is Plan.ENTERPRISE
    return visit.page(
        "sending_domains/domain.html",
        status,
        entry=entry,
        form=form,
        found=found,
        records=_records(visit, entry),
        subaccounts=visit.subaccounts,
        expires=_expires(entry),
        is_of_file=entry.origin is Origin.FILE,
        is_bounce_domain=_is_bounce_domain(visit, entry),
        may_take_bounces=entry.cname_status is Check.VALID or by_mx,
        now=visit.services.clock.now(),
    )


def _remove_page(visit: Visit, entry: SendingDomain, form: Form, status: int = 200) -> Response:
    signed = [
        pool
        for (owner, _), pool in visit.snapshot.pools.items()
        if owner == visit.account.id and entry.domain in (pool.signing_domain, pool.fbl_signing_domain)
    ]
    return visit.page(
        "sending_domains/remove.html",
        status,
        entry=entry,
        form=form,
        pools=signed,
        is_bounce_domain=_is_bounce_domain(visit, entry),
    )
