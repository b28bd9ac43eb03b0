"""`relay pool` and `relay ip`: what mail leaves from."""

from collections.abc import Sequence
from typing import Annotated

import typer

from relay.cli import parameters
from relay.cli.consent import Compute, Foretelling, YesOption, with_consent
from relay.cli.printing import print_json, print_rows, say
from relay.cli.session import AccountOption, AnyAccountOption, ConfigOption, JsonOption, Session, in_store
from relay.domain.changes import Change, Put
from relay.domain.directory import MAX_WEIGHT, Pool, SendingIp, Snapshot
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, NodeName, PoolId
from relay.ports import Selection
from relay.service import administer

pools = typer.Typer(help="Named sets of an account's sending IPs.")
ips = typer.Typer(help="Sending IPs, and whom they are given to.")

PoolArgument = Annotated[str, typer.Argument(metavar="ID", help="The pool's id.")]
AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", parser=parameters.address)]


# ── pools ────────────────────────────────────────────────────────────────────────────────


@pools.command("create")
def create_pool(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 20 letters, digits and single spaces.")],
    account: AccountOption,
    overflow: Annotated[
        str, typer.Option("--overflow", help='Where warm-up overflows to: a pool id, or "shared pool".')
    ] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Create a pool.

    Its id, which mail names, is made from the name.

    Example: relay pool create "Marketing News" --account 1
    """
    owner = AccountId(account)

    async def work(session: Session) -> Pool:
        made = await session.change(lambda found: administer.create_pool(found, owner, name, overflow))
        return next(put.entry for put in made if isinstance(put, Put) and isinstance(put.entry, Pool))

    pool = in_store(config, work, may_create=True)
    if json:
        print_json({"account": pool.account, "id": pool.id, "name": pool.name})
    else:
        say(f"pool {pool.id} of account {account} created")


@pools.command("list")
def list_pools(
    account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List pools with their sending IPs.

    Example: relay pool list --account 1
    """
    snapshot = in_store(config, _snapshot)
    rows = [
        {
            "account": pool.account,
            "id": pool.id,
            "name": pool.name,
            "ips": [ip.address for ip in snapshot.members.get((pool.account, pool.id), ())],
            "overflow": pool.overflow_pool,
        }
        for _, pool in sorted(snapshot.pools.items())
        if account in (None, pool.account)
    ]
    print_rows(rows, json, "no pools")


@pools.command("rename")
def rename_pool(
    id_: PoolArgument,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    account: AccountOption,
    config: ConfigOption = None,
) -> None:
    """Give a pool another name; its id stays.

    Example: relay pool rename marketing "Marketing EU" --account 1
    """
    owner, pool = AccountId(account), PoolId(id_.lower())
    _change(config, lambda found: administer.change_pool(found, owner, pool, name))
    say(f"pool {pool} of account {account} is called {name}")


@pools.command("delete")
def delete_pool(
    id_: PoolArgument, account: AccountOption, yes: YesOption = False, config: ConfigOption = None
) -> None:
    """Delete a pool.

    Its IPs go to the default pool. Queued mail keeps its sending IPs. One that has IPs, subaccounts or
    mail needs --yes.

    Example: relay pool delete marketing --account 1
    """
    owner, pool = AccountId(account), PoolId(id_.lower())

    async def queued(session: Session, snapshot: Snapshot, changes: Sequence[Change]) -> list[str]:
        number = await session.store.queue.count(Selection(account=owner, pool=pool))
        mail = "message of it leaves" if number == 1 else "messages of it leave"
        return [f"{number} queued {mail} from where it would, all the same"] if number else []

    with_consent(config, yes, lambda found: administer.delete_pool(found, owner, pool), queued)
    say(f"pool {pool} of account {account} deleted")


# ── sending IPs ──────────────────────────────────────────────────────────────────────────


@ips.command("add")
def add_ip(
    address: AddressArgument,
    hostname: Annotated[
        str, typer.Option("--hostname", parser=parameters.host_name, help="Its EHLO name, as DNS has it.")
    ],
    bind: Annotated[
        str | None,
        typer.Option("--bind", parser=parameters.address, help="The local address, where NAT changes it."),
    ] = None,
    node: Annotated[
        str, typer.Option("--node", parser=parameters.node, help="The machine that has it.")
    ] = "",
    weight: Annotated[
        int, typer.Option("--weight", min=1, max=MAX_WEIGHT, help="Its share of a pool's mail.")
    ] = 1,
    shared: Annotated[bool, typer.Option("--shared", help="Into the shared pool.")] = False,
    config: ConfigOption = None,
) -> None:
    """Add an address to the inventory, or to the shared pool.

    Example: relay ip add 192.0.2.11 --hostname mta11.example.com
    """
    if bind and (":" in bind) != (":" in address):
        raise typer.BadParameter(f"{bind!r}: expected an address of the same family as {address}")
    public = IpAddress(address)
    ip = SendingIp(public, IpAddress(bind or address), hostname, NodeName(node), weight, shared)
    _change(config, lambda found: administer.add_ip(found, ip))
    say(f"sending IP {address} added to the {'shared pool' if shared else 'inventory'}")


@ips.command("assign")
def assign_ip(
    address: AddressArgument,
    account: AccountOption,
    pool: Annotated[str, typer.Option("--pool", help="The pool's id.")] = DEFAULT_POOL,
    config: ConfigOption = None,
) -> None:
    """Give a free sending IP to an account.

    Example: relay ip assign 192.0.2.11 --account 1 --pool marketing
    """
    public, owner, target = IpAddress(address), AccountId(account), PoolId(pool.lower())
    _change(config, lambda found: administer.assign_ip(found, public, owner, target))
    say(f"sending IP {address} given to account {account}, pool {target}")


@ips.command("move")
def move_ip(
    address: AddressArgument,
    pool: Annotated[str | None, typer.Option("--pool", help="To this pool of its account.")] = None,
    node: Annotated[
        str | None, typer.Option("--node", parser=parameters.node, help='To this machine; "" is any.')
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Move a sending IP to another pool or machine.

    Example: relay ip move 192.0.2.11 --pool receipts
    """
    if pool is None and node is None:
        raise typer.BadParameter("expected --pool or --node")
    public, target = IpAddress(address), PoolId(pool.lower()) if pool is not None else None
    machine = NodeName(node) if node is not None else None
    compute = Foretelling(lambda found: administer.move_ip(found, public, target, machine))
    _change(config, compute)
    compute.tell()
    places = [f"pool {target}" if target else "", f"node {machine or 'any'}" if node is not None else ""]
    say(f"sending IP {address} moved to {' and '.join(place for place in places if place)}")


@ips.command("release")
def release_ip(address: AddressArgument, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Take a sending IP from whoever has it.

    From its account, or from the shared pool. Queued mail still leaves from it, and only then
    does anybody else get it. The last one of a pool needs --yes.

    Example: relay ip release 192.0.2.11
    """
    public = IpAddress(address)
    with_consent(config, yes, lambda found: administer.release_ip(found, public))
    ip = in_store(config, _snapshot).ips[public]
    waits = ip.released_from is not None
    say(f"sending IP {address} released{', and free when its queued mail has left' if waits else ''}")


@ips.command("drain")
def drain_ip(
    address: AddressArgument,
    undo: Annotated[bool, typer.Option("--undo", help="Let it take new mail again.")] = False,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Let a sending IP take no more mail.

    What is queued for it still leaves from it. The last one of a pool needs --yes.

    Example: relay ip drain 192.0.2.11
    """
    public = IpAddress(address)
    with_consent(config, yes, lambda found: administer.drain_ip(found, public, not undo))
    say(f"sending IP {address} {'takes new mail again' if undo else 'is draining'}")


@ips.command("remove")
def remove_ip(address: AddressArgument, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Remove a sending IP from the installation.

    Mail that is queued for it still leaves from it, and until the last has left it is listed as retired.
    The last one of a pool needs --yes.

    Example: relay ip remove 192.0.2.11
    """
    public = IpAddress(address)
    with_consent(config, yes, lambda found: administer.remove_ip(found, public))
    waits = public in in_store(config, _snapshot).ips
    how = ", and listed as retired until its queued mail has left" if waits else ""
    say(f"sending IP {address} removed{how}")


@ips.command("list")
def list_ips(account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List sending IPs and whose they are.

    Example: relay ip list
    """
    snapshot = in_store(config, _snapshot)
    listed = [ip for ip in snapshot.ips.values() if account in (None, ip.account)]
    listed.sort(key=lambda ip: (ip.account is None, ip.account or 0, ip.shared, ip.pool or "", ip.address))
    print_rows([_row(ip) for ip in listed], json, "no sending IPs")


def _change(config: ConfigOption, compute: Compute) -> None:
    async def work(session: Session) -> None:
        await session.change(compute)

    in_store(config, work, may_create=True)


async def _snapshot(session: Session) -> Snapshot:
    return await session.store.directory.snapshot()


def _row(ip: SendingIp) -> dict[str, object]:
    states = {
        "retired": ip.is_retired,
        "draining": ip.is_draining,
        "shared": ip.shared,
        "released": ip.released_from is not None,
        "free": not ip.account,
    }
    return {
        "address": ip.address,
        "hostname": ip.hostname,
        "account": ip.account,
        "pool": ip.pool,
        "state": next((state for state, is_so in states.items() if is_so), "dedicated"),
        "node": ip.node,
        "weight": ip.weight,
        "bind": ip.bind if ip.bind != ip.address else "",
    }
