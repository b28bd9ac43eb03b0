"""Operate → Accounts and Changes: whose mail the installation carries, and who changed what."""

from collections import Counter
from dataclasses import dataclass

from starlette.responses import Response

from relay.domain.directory import Account, Plan, Snapshot, Status, ip_limit
from relay.domain.errors import RelayError
from relay.domain.ids import AccountId
from relay.ports import Facet, MailFilter
from relay.service import administer
from relay.service.administer import made
from relay.service.billing import held_by
from relay.web.audit import Change, change_of
from relay.web.errors import NotHere, sentence
from relay.web.forms import Form, filled, number_in, read_name
from relay.web.ips import operators_slips
from relay.web.lists import listed
from relay.web.routing import Pages
from relay.web.templating import plan_name
from relay.web.views.subaccounts import STATUSES
from relay.web.visit import Right, Visit

pages = Pages()

_LIST = "/operate/accounts"
_PLACES = frozenset({"/", "/account/billing", "/account/billing/plan", "/account/ip-pools"})
"""Where an operator may go on to with the account chosen."""
_PLANS = [(plan.value, plan_name(plan)) for plan in Plan]
_CHANGES = 50
_CHUNK, _MOST_LINES = 500, 2000
"""Audit lines that a search looks at, at a time and for one page."""


@dataclass(frozen=True, slots=True)
class AccountRow:
    """What an account has."""

    account: Account
    held: int
    limit: int | None
    pools: int
    subaccounts: int
    queued: int


@pages.get(_LIST, Right.OPERATE)
async def list_accounts(visit: Visit) -> Response:
    asked, snapshot = visit.query["q"].casefold(), visit.snapshot
    found = [one for one in visit.accounts if asked in one.name.casefold() or asked == str(one.id)]
    shown = listed(found, visit.query)
    most = max(1, len(snapshot.accounts))
    waiting = await visit.services.reports.waiting(MailFilter(None), (Facet.ACCOUNT,), most)
    queued = {group.account: group.counts.total for group in waiting.groups}
    pools = Counter(owner for owner, _ in snapshot.pools)
    subaccounts = Counter(owner for owner, _ in snapshot.subaccounts)
    rows = [
        AccountRow(
            one,
            held_by(snapshot, one.id),
            ip_limit(one),
            pools[one.id],
            subaccounts[one.id],
            queued.get(one.id, 0),
        )
        for one in shown.items
    ]
    slips = operators_slips(visit)
    return visit.page("operate/accounts.html", form=visit.query, accounts=shown, rows=rows, stranded=slips)


@pages.get(f"{_LIST}/create", Right.OPERATE)
async def show_create(visit: Visit) -> Response:
    return visit.page("operate/create.html", form=filled(plan=Plan.SELF_SERVE.value), plans=_PLANS)


@pages.post(f"{_LIST}/create", Right.OPERATE)
async def create(visit: Visit) -> Response:
    name, form = read_name(visit.form, "name")
    if form["plan"] not in tuple(Plan):
        form = form.wrong(plan="Choose one of these")
    if form.errors:
        return visit.page("operate/create.html", 422, form=form, plans=_PLANS)
    try:
        changes = await visit.change(
            lambda snapshot: administer.create_account(snapshot, name, Plan(form["plan"]))
        )
    except RelayError as error:
        return visit.page("operate/create.html", 409, form=form.wrong(form_=sentence(error)), plans=_PLANS)
    number = made(changes, Account).id
    return visit.go(f"{_LIST}/edit/{number}", f"Created account {name} ({number}).")


@pages.get(_LIST + "/edit/{id}", Right.OPERATE)
async def show_edit(visit: Visit) -> Response:
    account = _account(visit)
    return _edit_page(visit, account, filled(name=account.name, status=account.status.value))


@pages.post(_LIST + "/edit/{id}", Right.OPERATE)
async def edit(visit: Visit) -> Response:
    account = _account(visit)
    name, form = read_name(visit.form, "name")
    if form["status"] not in tuple(Status):
        form = form.wrong(status="Choose one of these")
    if form.errors:
        return _edit_page(visit, account, form, 422)

    def compute(snapshot: Snapshot) -> administer.Changes:
        return administer.change_account(snapshot, account.id, name, Status(form["status"]))

    try:
        await visit.change(compute)
    except RelayError as error:
        return _edit_page(visit, account, form.wrong(form_=sentence(error)), 409)
    return visit.go(f"{_LIST}/edit/{account.id}", f"Updated account {name}.")


@pages.post(_LIST + "/{id}/act-for", Right.OPERATE)
async def act_for(visit: Visit) -> Response:
    """Look at the account's things from now on."""
    account, place = _account(visit), visit.form["next"]
    await visit.services.sign_ins.act_for(visit.token, account.id)
    return visit.go(place if place in _PLACES else "/", f"You now act for {account.name}.")


@pages.get("/operate/changes", Right.OPERATE)
async def changes(visit: Visit) -> Response:
    """Newest first. A search looks at so many lines, and says where it stopped."""
    asked, after = visit.query["q"].casefold(), number_in(visit.query["after"])
    found, last, has_more = await _search(visit, asked, after)
    return visit.page(
        "operate/changes.html",
        form=visit.query,
        changes=found,
        last=last,
        has_more=has_more,
        is_cut=has_more and len(found) < _CHANGES,
        is_first=after is None,
        looked_at=_MOST_LINES,
    )


async def _search(visit: Visit, asked: str, after: int | None) -> tuple[list[Change], int | None, bool]:
    """Changes with that text in them, the line looked at last, and whether older ones are left."""
    found: list[Change] = []
    looked_at = 0
    while True:
        size = _CHUNK if asked else _CHANGES + 1
        lines = await visit.services.rows.audit_of(size, after=after)
        for line in lines:
            if len(found) == _CHANGES or looked_at == _MOST_LINES:
                return found, after, True
            change = change_of(line)
            after, looked_at = line.id, looked_at + 1
            if asked in change.text:
                found.append(change)
        if len(lines) < size:
            return found, after, False


def _account(visit: Visit) -> Account:
    account = visit.snapshot.accounts.get(AccountId(number_in(visit.path("id")) or 0))
    if account is None:
        raise NotHere("account")
    return account


def _edit_page(visit: Visit, account: Account, form: Form, status: int = 200) -> Response:
    return visit.page(
        "operate/edit.html",
        status,
        account=account,
        form=form,
        statuses=STATUSES,
        held=held_by(visit.snapshot, account.id),
        limit=ip_limit(account),
    )
