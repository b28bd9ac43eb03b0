"""Account → Subaccounts: parts of the account, and the pool that each is bound to (R23-R26)."""

from collections.abc import Callable, Mapping, Sequence

from starlette.responses import Response

from relay.domain.changes import Changes, first_put
from relay.domain.directory import SUBACCOUNT_GRANTS, ApiKey, Snapshot, Status, Subaccount
from relay.domain.errors import RelayError, UnknownPool
from relay.domain.ids import PoolId, SubaccountId
from relay.domain.resolve import Moment, resolve_pool
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere, word_for_page
from relay.frames.console.forms import Form, fill, number_in, read_name_in
from relay.frames.console.lists import page_list
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.resources.api_keys.rules import new_key, with_key
from relay.resources.api_keys.words import FOR_ALL, key_rows, key_secret, read_key
from relay.resources.subaccounts.rules import change_subaccount, create_subaccount
from relay.resources.subaccounts.words import STATUSES, pool_options

pages = Pages(__name__)
_LIST = "/account/subaccounts"

_ORDERS: Mapping[str, Callable[[Subaccount], tuple[str | int, int]]] = {
    "name": lambda entry: (entry.name.casefold(), entry.id),
    "id": lambda entry: (entry.id, entry.id),
    "status": lambda entry: (entry.status.value, entry.id),
    "pool": lambda entry: (entry.ip_pool or "", entry.id),
}


@pages.get(_LIST)
async def list_subaccounts(visit: Visit) -> Response:
    query = visit.query
    asked, sort = query["q"].casefold(), query["sort"] if query["sort"] in _ORDERS else "name"
    found = [
        entry
        for entry in visit.subaccounts.values()
        if asked in entry.name.casefold() or asked in str(entry.id)
    ]
    found.sort(key=_ORDERS[sort], reverse=query.has("down"))
    shown = page_list(found, query)
    return visit.page(
        "subaccounts/list.html",
        form=query,
        subaccounts=shown,
        refusals={entry.id: refusal_in(visit.snapshot, entry) for entry in shown.items},
        sort=sort,
        down=query.has("down"),
    )


@pages.get(f"{_LIST}/create", Right.CHANGE)
async def show_create(visit: Visit) -> Response:
    return _create_page(visit, fill(setup_api_key="on", permissions="all"))


@pages.post(f"{_LIST}/create")
async def create(visit: Visit) -> Response:
    """The subaccount and, unless the box is off, its first key, in one transaction."""
    name, form = read_name_in(visit.form, "name")
    pool, form = _pool_asked(visit, form, None)
    text, key = "", None
    if form.has("setup_api_key"):
        asked, form = read_key(form, SUBACCOUNT_GRANTS)
        text, key = new_key(visit.account.id, asked.label, asked.grants, valid_ips=asked.valid_ips)
    if form.errors:
        return _create_page(visit, form, 422)
    now = visit.services.clock.now()

    def compute(snapshot: Snapshot) -> Changes:
        changes = create_subaccount(snapshot, visit.account.id, name, pool=pool, now=now)
        return with_key(snapshot, changes, key, visit.actor)

    try:
        changes = await visit.change(compute)
    except RelayError as error:
        return _create_page(visit, form.wrong(form_=word_for_page(error)), 409)
    path, said = f"{_LIST}/edit/{first_put(changes, Subaccount).id}", f"Created subaccount {name}."
    if key is None:
        return visit.go(path, said)
    secret = key_secret(text, first_put(changes, ApiKey), path, name)
    return visit.go_to_secret(f"{_LIST}/created", secret, said)


@pages.get(_LIST + "/created/{name}", Right.CHANGE)
async def show_created(visit: Visit) -> Response:
    return visit.secret_page(_LIST, "Subaccounts")


@pages.get(_LIST + "/edit/{id}")
async def show_details(visit: Visit) -> Response:
    entry = _subaccount(visit)
    form = fill(name=entry.name, ip_pool=_listed_pool(visit, entry), status=entry.status.value)
    return _details_page(visit, entry, form)


@pages.post(_LIST + "/edit/{id}")
async def update(visit: Visit) -> Response:
    """Name, pool (R23; an empty one unassigns) and status."""
    entry = _subaccount(visit)
    name, form = read_name_in(visit.form, "name")
    pool, form = _pool_asked(visit, form, entry)
    if form["status"] not in tuple(Status):
        form = form.wrong(status="Choose one of these")
    if form.errors:
        return _details_page(visit, entry, form, 422)

    def compute(snapshot: Snapshot) -> Changes:
        return change_subaccount(
            snapshot,
            visit.account.id,
            entry.id,
            name,
            pool,
            Status(form["status"]),
            visit.services.clock.now(),
        )

    try:
        await visit.change(compute)
    except RelayError as error:
        return _details_page(visit, entry, form.wrong(form_=word_for_page(error)), 409)
    return visit.go(f"{_LIST}/edit/{entry.id}", "Updated subaccount")


@pages.get(_LIST + "/edit/{id}/api-keys")
async def show_keys(visit: Visit) -> Response:
    entry = _subaccount(visit)
    keys = page_list(key_rows(visit, entry.id), visit.query)
    return visit.page("subaccounts/keys.html", entry=entry, tab="api-keys", keys=keys)


@pages.get(_LIST + "/edit/{id}/sending-domains")
async def show_domains(visit: Visit) -> Response:
    """Its own, and the account's that are shared."""
    entry = _subaccount(visit)
    domains = [
        domain
        for (owner, _), domain in sorted(visit.snapshot.domains.items())
        if owner == visit.account.id
        and (domain.subaccount == entry.id or (domain.subaccount is None and domain.shared_with_subaccounts))
    ]
    shown = page_list(domains, visit.query)
    return visit.page("subaccounts/domains.html", entry=entry, tab="sending-domains", domains=shown)


def refusal_in(snapshot: Snapshot, entry: Subaccount) -> str:
    """Why mail that the subaccount sends without naming a pool is refused (A9, R22); empty: it is not."""
    try:
        resolve_pool(snapshot, entry.account, entry.id, None, Moment.IMMEDIATE)
    except RelayError as error:
        return word_for_page(error)
    return ""


def _subaccount(visit: Visit) -> Subaccount:
    entry = visit.subaccounts.get(SubaccountId(number_in(visit.path("id")) or 0))
    if entry is None:
        raise NotHere("subaccount")
    return entry


def _listed_pool(visit: Visit, entry: Subaccount) -> str:
    """The value of the select: as the pool is listed, whatever case the subaccount names it in."""
    bound = entry.ip_pool or ""
    return bound.lower() if (visit.account.id, PoolId(bound.lower())) in visit.snapshot.pools else bound


def _pool_asked(visit: Visit, form: Form, entry: Subaccount | None) -> tuple[str | None, Form]:
    """The pool chosen, None without the select; and the form with what is wrong.

    What the subaccount has already may stay, whether or not there is such a pool.
    """
    if not form.has("ip_pool"):
        return None, form
    asked = form["ip_pool"]
    if entry is not None and asked == _listed_pool(visit, entry):
        return entry.ip_pool or "", form
    if asked and (visit.account.id, PoolId(asked)) not in visit.snapshot.pools:
        return None, form.wrong(ip_pool=word_for_page(UnknownPool(asked[:40])))
    return asked, form


def _create_page(visit: Visit, form: Form, status: int = 200) -> Response:
    return visit.page(
        "subaccounts/create.html",
        status,
        form=form,
        pools=_with_blank(pool_options(visit), ""),
        for_all=FOR_ALL,
    )


def _details_page(visit: Visit, entry: Subaccount, form: Form, status: int = 200) -> Response:
    return visit.page(
        "subaccounts/details.html",
        status,
        entry=entry,
        tab="",
        form=form,
        pools=_with_blank(pool_options(visit), _listed_pool(visit, entry)),
        statuses=STATUSES,
        refusal=refusal_in(visit.snapshot, entry),
    )


def _with_blank(options: Sequence[tuple[str, str]], bound: str) -> list[tuple[str, str]]:
    """bound: what the subaccount has, which is listed even when there is no such pool any more."""
    is_dangling = bool(bound) and bound != "default" and bound not in dict(options)
    if not options and not is_dangling:
        return []
    gone = [(bound, f"{bound} (no longer exists)")] if is_dangling else []
    return [("", "None: the account's rules"), *options, *gone]
