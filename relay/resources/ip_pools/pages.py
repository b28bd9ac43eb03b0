"""Account → IP Pools: list, create, edit, move IPs, delete (R15-R17)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import Response

from relay.domain.changes import Changes
from relay.domain.directory import Pool, SendingIp, Snapshot, pool_id_of
from relay.domain.errors import Conflict, MalformedOptions, OverCap, RelayError, StaleDirectory, UnknownObject
from relay.domain.ids import DEFAULT_POOL, IpAddress, PoolId
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere, word_for_page
from relay.frames.console.forms import Form, fill
from relay.frames.console.lists import page_list
from relay.frames.console.routing import Pages
from relay.frames.console.visit import Visit
from relay.ports.queue import MailFilter
from relay.resources.billing.rules import Billing
from relay.resources.ip_pools.rules import PoolEdit, create_pool_with, delete_pool, update_pool
from relay.resources.sending_ips.words import (
    NEW_FOR,
    POOLS,
    ips_of,
    is_overflow,
    overflow_options,
    overflowing_into,
    place_of,
    pool_on,
    pools_of,
    purchase_link,
    signing_options,
    title_of,
    when_empty,
)
from relay.resources.transmissions.rules import ScheduledMail

pages = Pages(__name__)

CARDS = f"{POOLS}?view=cards"
_IPS_PER_PAGE = 100
"""Rows of the table in which IPs are moved."""
_MOVE = "move:"
"""What the fields that move an IP begin with; the rest is its address."""
_FIELDS = ("name", "overflow", "signing_domain")
_DEFAULT = "You can not edit default pool."


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool with its IPs."""

    pool: Pool
    ips: tuple[SendingIp, ...]

    @property
    def resting(self) -> int:
        """How many of the IPs take no new mail."""
        return sum(not ip.takes_pins for ip in self.ips)


_ORDERS: Mapping[str, Callable[[PoolRow], tuple[str | int, ...]]] = {
    "name": lambda row: (row.pool.name.lower(), row.pool.id),
    "id": lambda row: (row.pool.id,),
    "ips": lambda row: (len(row.ips),),
}


@pages.get(POOLS)
async def show_pools(visit: Visit) -> Response:
    query, account = visit.query, visit.account
    rows = _rows(visit)
    wanted = query["q"].lower()
    found = [row for row in rows if wanted in row.pool.name.lower() or wanted in row.pool.id]
    sort = query["sort"] if query["sort"] in _ORDERS else "name"
    found.sort(key=_ORDERS[sort], reverse=query.has("down"))
    found.sort(key=lambda row: row.pool.id != DEFAULT_POOL)
    is_empty = (account.id, DEFAULT_POOL) not in visit.snapshot.members
    kept = {name: query[name] for name in ("q", "view") if query[name]}
    way = {"sort": sort, **({"down": "1"} if query.has("down") else {})}
    return visit.page(
        "ip_pools/list.html",
        form=query,
        rows=page_list(found, query),
        all_pools=len(rows),
        ips=sum(len(row.ips) for row in rows),
        sort=sort,
        down=query.has("down"),
        keep=_tail(kept),
        keep_all=_tail({**kept, **way}),
        cards=query["view"] == "cards",
        warning=when_empty(visit.snapshot, account, DEFAULT_POOL) if is_empty else "",
        is_shared=account.has_shared_pool and bool(visit.snapshot.shared),
        purchase=purchase_link(visit),
    )


def _tail(values: Mapping[str, str]) -> str:
    """What goes behind another parameter in an address."""
    return f"&{urlencode(values)}" if values else ""


def _rows(visit: Visit) -> list[PoolRow]:
    snapshot, held = visit.snapshot, dict[PoolId, list[SendingIp]]()
    for ip in ips_of(snapshot, visit.account.id):
        held.setdefault(place_of(ip), []).append(ip)
    return [PoolRow(pool, tuple(held.get(pool.id, ()))) for pool in pools_of(snapshot, visit.account.id)]


# ── create ───────────────────────────────────────────────────────────────────────────────


@pages.get(f"{POOLS}/create", Right.CHANGE)
async def show_create(visit: Visit) -> Response:
    return _create_page(visit, visit.query)


@pages.post(f"{POOLS}/create")
async def create(visit: Visit) -> Response:
    """The pool and the moves of the IPs chosen for it, in one transaction."""
    form, account = visit.form, visit.account.id
    if form.has("look"):
        return _create_page(visit, form)
    if not form["name"]:
        return _create_page(visit, form.wrong(name="Required"), 422)
    addresses = [IpAddress(address) for address in form.all("ips")]

    def compute(snapshot: Snapshot) -> Changes:
        return create_pool_with(snapshot, account, _edit_in(form), addresses)

    try:
        await visit.change(compute)
    except (MalformedOptions, OverCap, Conflict, UnknownObject, StaleDirectory) as error:
        return _create_page(visit, _placed(form, error), 422)
    return visit.go(POOLS, f"Created IP pool {form['name']}.")


def _create_page(visit: Visit, form: Form, status: int = 200) -> Response:
    snapshot, account = visit.snapshot, visit.account
    return visit.page(
        "ip_pools/create.html",
        status,
        form=form,
        resulting=pool_id_of(form["name"]),
        ips=ips_of(snapshot, account.id),
        chosen=form.all("ips"),
        names=_names(visit),
        place_of=place_of,
        overflows=overflow_options(snapshot, account, None),
        signings=signing_options(snapshot, account.id, None),
    )


def _edit_in(form: Form) -> PoolEdit:
    """What the form has a field for; what it leaves out stays."""
    return PoolEdit(**{name: form[field] for name, field in _PLACES.items() if form.has(field)})


def _names(visit: Visit) -> Mapping[PoolId, str]:
    return {pool.id: title_of(pool) for pool in pools_of(visit.snapshot, visit.account.id)}


# ── edit and move ────────────────────────────────────────────────────────────────────────


@pages.get(POOLS + "/edit/{pool}")
async def show_edit(visit: Visit) -> Response:
    pool = pool_on(visit)
    typed = fill(name=pool.name, overflow=pool.overflow_pool, signing_domain=pool.signing_domain)
    return await _edit_page(visit, pool, typed)


@pages.post(POOLS + "/edit/{pool}")
async def edit(visit: Visit) -> Response:
    """Name, signing domain, overflow and all moves in one transaction (R17)."""
    pool, form, account = pool_on(visit), visit.form, visit.account.id
    moves = {
        IpAddress(name.removeprefix(_MOVE)): PoolId(form[name])
        for name in form.values
        if name.startswith(_MOVE) and form[name]
    }
    if pool.id == DEFAULT_POOL and (_edit_in(form).given or not moves):
        return await _edit_page(visit, pool, form.wrong(form_=_DEFAULT), 422)
    if form.has("name") and not form["name"]:
        return await _edit_page(visit, pool, form.wrong(name="Required"), 422)

    def compute(snapshot: Snapshot) -> Changes:
        return update_pool(snapshot, account, pool.id, _edit_in(form), moves)

    try:
        await visit.change(compute)
    except (MalformedOptions, Conflict, UnknownObject, StaleDirectory) as error:
        return await _edit_page(visit, pool, _placed(form, error), 422)
    path = CARDS if form["view"] == "cards" else f"{POOLS}/edit/{pool.id}"
    return visit.go(path, f"Updated IP pool {pool.id}.")


async def _edit_page(visit: Visit, pool: Pool, form: Form, status: int = 200) -> Response:
    snapshot, account = visit.snapshot, visit.account
    ips = ips_of(snapshot, account.id, pool.id)
    since = visit.services.clock.now() - NEW_FOR
    fresh = await visit.services.use_cases[Billing].come_since(account.id, since) if ips else frozenset()
    others = [(one.id, title_of(one)) for one in pools_of(snapshot, account.id) if one.id != pool.id]
    return visit.page(
        "ip_pools/edit.html",
        status,
        pool=pool,
        title=title_of(pool),
        form=form,
        is_default=pool.id == DEFAULT_POOL,
        ips=page_list(ips, visit.query, _IPS_PER_PAGE),
        fresh=[ip for ip in ips if ip.address in fresh],
        others=others,
        is_overflow=is_overflow(snapshot, pool),
        overflows=overflow_options(snapshot, account, pool),
        signings=signing_options(snapshot, account.id, pool),
        warning="" if (account.id, pool.id) in snapshot.members else when_empty(snapshot, account, pool.id),
        purchase=purchase_link(visit),
    )


_PLACES = {"name": "name", "signing_domain": "signing_domain", "overflow_pool": "overflow"}
"""Of the directory, as the form calls them."""


def _placed(form: Form, error: RelayError) -> Form:
    """The form with the error's sentence beside the field that it is about."""
    return form.wrong(**{_PLACES.get(error.field, "form_"): word_for_page(error)})


# ── delete ───────────────────────────────────────────────────────────────────────────────


@pages.get(POOLS + "/edit/{pool}/delete", Right.CHANGE)
async def show_delete(visit: Visit) -> Response:
    return await _delete_page(visit, pool_on(visit), Form())


@pages.post(POOLS + "/edit/{pool}/delete")
async def delete(visit: Visit) -> Response:
    """Its IPs go to Default; mail in the queue keeps the IP that it has (R16, R29)."""
    pool, account = pool_on(visit), visit.account.id
    try:
        await visit.change(lambda snapshot: delete_pool(snapshot, account, pool.id))
    except UnknownObject as error:
        raise NotHere("pool") from error
    except MalformedOptions as error:
        return await _delete_page(visit, pool, Form().wrong(form_=word_for_page(error)), 422)
    return visit.go(POOLS, f"Deleted IP pool {pool.id}.")


async def _delete_page(visit: Visit, pool: Pool, form: Form, status: int = 200) -> Response:
    """With all that it affects, counted."""
    snapshot, account, services = visit.snapshot, visit.account, visit.services
    bound = [
        subaccount
        for subaccount in visit.subaccounts.values()
        if (subaccount.ip_pool or "").lower() == pool.id
    ]
    pinned = await services.reports.waiting(MailFilter(account.id, pool=pool.id), (), 1)
    return visit.page(
        "ip_pools/delete.html",
        status,
        pool=pool,
        title=title_of(pool),
        form=form,
        is_default=pool.id == DEFAULT_POOL,
        ips=ips_of(snapshot, account.id, pool.id),
        bound=bound,
        scheduled=await services.use_cases[ScheduledMail].count_for(
            account.id, pool.id, [one.id for one in bound]
        ),
        overflowing=overflowing_into(snapshot, pool),
        pinned=pinned.counts,
    )
