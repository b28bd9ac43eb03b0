"""Operate → Sending IPs: all of the installation, whose they are, and what waits for them."""

from collections.abc import Callable
from urllib.parse import urlencode

from starlette.responses import Response

from relay.config.values import parse_host_name, parse_node
from relay.domain.directory import MAX_WEIGHT, Account, SendingIp, Snapshot, in_order
from relay.domain.errors import Conflict, StaleDirectory, UnknownObject
from relay.domain.ids import SHARED_POOL, AccountId, IpAddress, NodeName, PoolId
from relay.frames.actor import Right
from relay.frames.console.errors import NotHere, word_for_page
from relay.frames.console.forms import Form, fill, number_in
from relay.frames.console.lists import page_list
from relay.frames.console.routing import Pages, local_path
from relay.frames.console.visit import Visit
from relay.frames.values import parse_address
from relay.ports.queue import MailFilter
from relay.ports.report import Facet
from relay.resources.audit.rules import AuditLog
from relay.resources.audit.words import change_of
from relay.resources.billing.rules import Billing
from relay.resources.sending_ips.rules import add_ip, assign_ip, drain_ip, release_ip, remove_ip
from relay.resources.sending_ips.words import (
    is_last_active,
    operators_slips,
    place_of,
    pools_of,
    standings,
    state_of,
    title_of,
    when_empty,
)

pages = Pages(__name__)

LIST = "/operate/ips"
_STATES = ("active", "shared", "inventory", "draining", "still carrying mail", "retired")
_HISTORY = 20


@pages.get(LIST, Right.OPERATE)
async def show_ips(visit: Visit) -> Response:
    query, snapshot = visit.query, visit.snapshot
    wanted, state = query["q"].lower(), query["state"]
    found = [
        ip
        for ip in in_order(snapshot.ips.values())
        if wanted in _searched(snapshot, ip) and state in ("", state_of(ip)[0])
    ]
    page = page_list(found, query)
    kept = {name: query[name] for name in ("q", "state") if query[name]}
    return visit.page(
        "sending_ips/all.html",
        form=query,
        page=page,
        standings=await standings(visit, page.items, None),
        accounts=snapshot.accounts,
        all_ips=len(snapshot.ips),
        states=_STATES,
        stranded=operators_slips(visit),
        keep=f"&{urlencode(kept)}" if kept else "",
        place_of=place_of,
    )


def _searched(snapshot: Snapshot, ip: SendingIp) -> str:
    """What the filter looks at."""
    owner = snapshot.accounts.get(ip.account) if ip.account is not None else None
    parts = (ip.address, ip.bind, ip.hostname, ip.node, ip.pool or "", owner.name if owner else "")
    return "\n".join(parts).lower()


# ── add ──────────────────────────────────────────────────────────────────────────────────


@pages.get(LIST + "/add", Right.OPERATE)
async def show_add(visit: Visit) -> Response:
    return visit.page("sending_ips/add.html", form=fill(weight="1"), max_weight=MAX_WEIGHT)


@pages.post(LIST + "/add", Right.OPERATE)
async def add(visit: Visit) -> Response:
    """To the inventory, or to the shared pool."""
    form = visit.form
    errors: dict[str, str] = {}

    def read(name: str, parse: Callable[[object], str]) -> str:
        try:
            return parse(form[name])
        except ValueError as error:
            errors[name] = f"Expected {error}" if form[name] else "Required"
            return ""

    address = read("address", parse_address)
    bind = read("bind", parse_address) if form["bind"] else address
    hostname = read("hostname", parse_host_name)
    node = read("node", parse_node) if form["node"] else ""
    weight = number_in(form["weight"])
    if weight is None or not 1 <= weight <= MAX_WEIGHT:
        errors["weight"] = f"Expected a number from 1 to {MAX_WEIGHT}"
    if address and bind and (":" in bind) != (":" in address):
        errors["bind"] = f"Expected an address of the same family as {address}"
    form = form.wrong(**errors)
    if not errors:
        ip = SendingIp(
            IpAddress(address), IpAddress(bind), hostname, NodeName(node), weight or 1, form.has("shared")
        )
        try:
            await visit.change(lambda snapshot: add_ip(snapshot, ip))
        except (Conflict, StaleDirectory) as error:
            form = form.wrong(address=word_for_page(error))
        else:
            place = "shared pool" if ip.shared else "inventory"
            return visit.go(f"{LIST}/{ip.address}", f"Added {ip.address} to the {place}.")
    return visit.page("sending_ips/add.html", 422, form=form, max_weight=MAX_WEIGHT)


# ── one of them ──────────────────────────────────────────────────────────────────────────


@pages.get(LIST + "/{ip}", Right.OPERATE)
async def show_ip(visit: Visit) -> Response:
    return await _page(visit, _ip_on(visit, with_retired=True), visit.query)


@pages.post(LIST + "/{ip}/assign", Right.OPERATE)
async def assign(visit: Visit) -> Response:
    """Give a free IP to an account (R4)."""
    ip, form = _ip_on(visit), visit.form
    account = _account(visit.snapshot, form["account"])
    if form.has("look"):
        return await _page(visit, ip, form)
    if account is None:
        return await _page(visit, ip, form.wrong(account="Required"), 422)
    pool = PoolId(form["pool"].lower())
    if (account.id, pool) not in visit.snapshot.pools:
        return await _page(visit, ip, form.wrong(pool=f"Choose a pool of {account.name}"), 422)
    try:
        await visit.change(lambda snapshot: assign_ip(snapshot, ip.address, account.id, pool))
    except (Conflict, UnknownObject, StaleDirectory) as error:
        return await _page(visit, ip, form.wrong(form_=word_for_page(error)), 422)
    return visit.go(f"{LIST}/{ip.address}", f"Gave {ip.address} to {account.name}, pool {pool}.")


@pages.post(LIST + "/{ip}/drain", Right.OPERATE)
async def drain(visit: Visit) -> Response:
    """Whether it takes no new mail; what is queued for it leaves from it all the same."""
    ip, is_draining = _ip_on(visit), visit.form.has("draining")
    await visit.change(lambda snapshot: drain_ip(snapshot, ip.address, is_draining))
    said = f"{ip.address} is draining." if is_draining else f"{ip.address} takes new mail again."
    back = local_path(visit.form["next"])
    return visit.go(f"{LIST}/{ip.address}" if back == "/" else back, said)


@pages.get(LIST + "/{ip}/release", Right.OPERATE)
async def show_release(visit: Visit) -> Response:
    return await _confirm(visit, _ip_on(visit), "release")


@pages.post(LIST + "/{ip}/release", Right.OPERATE)
async def release(visit: Visit) -> Response:
    """Take it from its account or the shared pool; queued mail keeps it (R27)."""
    ip = _ip_on(visit)
    await visit.change(lambda snapshot: release_ip(snapshot, ip.address))
    stored = visit.services.directory.snapshot.ips.get(ip.address)
    waits = stored is not None and stored.released_from is not None
    said = "It is free when its queued mail has left." if waits else "It is in the inventory."
    return visit.go(f"{LIST}/{ip.address}", f"Released {ip.address}. {said}")


@pages.get(LIST + "/{ip}/remove", Right.OPERATE)
async def show_remove(visit: Visit) -> Response:
    return await _confirm(visit, _ip_on(visit), "remove")


@pages.post(LIST + "/{ip}/remove", Right.OPERATE)
async def remove(visit: Visit) -> Response:
    """Out of the installation, as soon as no queued mail is pinned to it."""
    ip = _ip_on(visit)
    await visit.change(lambda snapshot: remove_ip(snapshot, ip.address))
    waits = ip.address in visit.services.directory.snapshot.ips
    said = "Removed {}, once its queued mail has left." if waits else "Removed {}."
    return visit.go(LIST, said.format(ip.address))


def _ip_on(visit: Visit, *, with_retired: bool = False) -> SendingIp:
    """Any of the installation. Raises NotHere."""
    ip = visit.snapshot.ips.get(IpAddress(visit.path("ip")))
    if ip is None or (ip.is_retired and not with_retired):
        raise NotHere("sending IP")
    return ip


def _account(snapshot: Snapshot, text: str) -> Account | None:
    number = number_in(text)
    return None if number is None else snapshot.accounts.get(AccountId(number))


def _owner(snapshot: Snapshot, ip: SendingIp) -> Account | None:
    return None if ip.account is None else snapshot.accounts.get(ip.account)


async def _page(visit: Visit, ip: SendingIp, form: Form, status: int = 200) -> Response:
    snapshot, services = visit.snapshot, visit.services
    chosen = _account(snapshot, form["account"])
    waiting = await services.reports.waiting(MailFilter(None, ip=ip.address), (Facet.ACCOUNT,), 100)
    history = await services.use_cases[AuditLog].latest(_HISTORY, about=f"sending_ip {ip.address}")
    pools = [] if chosen is None else [(pool.id, title_of(pool)) for pool in pools_of(snapshot, chosen.id)]
    return visit.page(
        "sending_ips/ip.html",
        status,
        ip=ip,
        form=form,
        state=state_of(ip),
        owner=_owner(snapshot, ip),
        accounts=snapshot.accounts,
        place=place_of(ip),
        is_last=is_last_active(snapshot, ip),
        pools=pools,
        waiting=waiting,
        now=services.clock.now(),
        changes=[change_of(line) for line in history],
    )


async def _confirm(visit: Visit, ip: SendingIp, verb: str) -> Response:
    """What releasing or removing the IP does, before it is done."""
    snapshot, services = visit.snapshot, visit.services
    owner = _owner(snapshot, ip)
    waiting = await services.reports.waiting(MailFilter(None, ip=ip.address), (), 1)
    emptied = ""
    if is_last_active(snapshot, ip):
        pool = SHARED_POOL if ip.shared else place_of(ip)
        emptied = when_empty(snapshot, owner or visit.account, pool)
    return visit.page(
        "sending_ips/confirm.html",
        ip=ip,
        verb=verb,
        owner=owner,
        counts=waiting.counts,
        emptied=emptied,
        place=place_of(ip),
        cycle=None if owner is None else (await services.use_cases[Billing].subscription(owner.id)).cycle,
    )
