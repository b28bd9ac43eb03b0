"""Operate → Accounts and Changes: whose mail the installation carries, and who changed what."""

from collections import Counter
from dataclasses import dataclass

from starlette.responses import Response

from relay.domain.changes import Changes, first_put
from relay.domain.directory import Account, Plan, Snapshot, Status, ip_limit
from relay.domain.errors import RelayError
from relay.domain.ids import AccountId
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere, word_for_page
from relay.frames.console.forms import Form, fill, number_in, read_name_in
from relay.frames.console.lists import page_list
from relay.frames.console.routing import Pages
from relay.frames.console.templating import plan_name
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.ports.report import Facet
from relay.resources.accounts.rules import change_account, create_account
from relay.resources.billing.rules import held_by
from relay.resources.sending_ips.words import operators_slips
from relay.resources.subaccounts.words import STATUSES

pages = Pages(__name__)

_LIST = "/operate/accounts"
_PLACES = frozenset({"/", "/account/billing", "/account/billing/plan", "/account/ip-pools"})
"""Where an operator may go on to with the account chosen."""
_PLANS = [(plan.value, plan_name(plan)) for plan in Plan]


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
    shown = page_list(found, visit.query)
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
    return visit.page("accounts/accounts.html", form=visit.query, accounts=shown, rows=rows, stranded=slips)


@pages.get(f"{_LIST}/create", Right.OPERATE)
async def show_create(visit: Visit) -> Response:
    return visit.page("accounts/create.html", form=fill(plan=Plan.SELF_SERVE.value), plans=_PLANS)


@pages.post(f"{_LIST}/create", Right.OPERATE)
async def create(visit: Visit) -> Response:
    name, form = read_name_in(visit.form, "name")
    if form["plan"] not in tuple(Plan):
        form = form.wrong(plan="Choose one of these")
    if form.errors:
        return visit.page("accounts/create.html", 422, form=form, plans=_PLANS)
    try:
        changes = await visit.change(lambda snapshot: create_account(snapshot, name, Plan(form["plan"])))
    except RelayError as error:
        return visit.page(
            "accounts/create.html", 409, form=form.wrong(form_=word_for_page(error)), plans=_PLANS
        )
    number = first_put(changes, Account).id
    return visit.go(f"{_LIST}/edit/{number}", f"Created account {name} ({number}).")


@pages.get(_LIST + "/edit/{id}", Right.OPERATE)
async def show_edit(visit: Visit) -> Response:
    account = _account(visit)
    return _edit_page(visit, account, fill(name=account.name, status=account.status.value))


@pages.post(_LIST + "/edit/{id}", Right.OPERATE)
async def edit(visit: Visit) -> Response:
    account = _account(visit)
    name, form = read_name_in(visit.form, "name")
    if form["status"] not in tuple(Status):
        form = form.wrong(status="Choose one of these")
    if form.errors:
        return _edit_page(visit, account, form, 422)

    def compute(snapshot: Snapshot) -> Changes:
        return change_account(snapshot, account.id, name, Status(form["status"]))

    try:
        await visit.change(compute)
    except RelayError as error:
        return _edit_page(visit, account, form.wrong(form_=word_for_page(error)), 409)
    return visit.go(f"{_LIST}/edit/{account.id}", f"Updated account {name}.")


@pages.post(_LIST + "/{id}/act-for", Right.OPERATE)
async def act_for(visit: Visit) -> Response:
    """Look at the account's things from now on."""
    account, place = _account(visit), visit.form["next"]
    await visit.services.sign_ins.act_for(visit.token, account.id)
    return visit.go(place if place in _PLACES else "/", f"You now act for {account.name}.")


def _account(visit: Visit) -> Account:
    account = visit.snapshot.accounts.get(AccountId(number_in(visit.path("id")) or 0))
    if account is None:
        raise NotHere("account")
    return account


def _edit_page(visit: Visit, account: Account, form: Form, status: int = 200) -> Response:
    return visit.page(
        "accounts/edit.html",
        status,
        account=account,
        form=form,
        statuses=STATUSES,
        held=held_by(visit.snapshot, account.id),
        limit=ip_limit(account),
    )
