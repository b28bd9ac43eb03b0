"""`relay ip`."""

from typing import Annotated

import typer

from relay.domain.directory import MAX_WEIGHT, SendingIp
from relay.domain.ids import DEFAULT_POOL, AccountId, IpAddress, NodeName, PoolId
from relay.frames.commands import parameters
from relay.frames.commands.consent import Foretelling, YesOption, change, with_consent
from relay.frames.commands.printing import print_line, print_rows
from relay.frames.commands.session import (
    AccountOption,
    AnyAccountOption,
    ConfigOption,
    JsonOption,
    in_store,
    read_snapshot,
)
from relay.resources.sending_ips import rules

ips = typer.Typer(help="Sending IPs, and whom they are given to.")
AddressArgument = Annotated[str, typer.Argument(metavar="ADDRESS", parser=parameters.address)]


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
    change(config, lambda found: rules.add_ip(found, ip))
    print_line(f"sending IP {address} added to the {'shared pool' if shared else 'inventory'}")


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
    change(config, lambda found: rules.assign_ip(found, public, owner, target))
    print_line(f"sending IP {address} given to account {account}, pool {target}")


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
    compute = Foretelling(lambda found: rules.move_ip(found, public, target, machine))
    change(config, compute)
    compute.tell()
    places = [f"pool {target}" if target else "", f"node {machine or 'any'}" if node is not None else ""]
    print_line(f"sending IP {address} moved to {' and '.join(place for place in places if place)}")


@ips.command("release")
def release_ip(address: AddressArgument, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Take a sending IP from whoever has it.

    From its account, or from the shared pool. Queued mail still leaves from it, and only then
    does anybody else get it. The last one of a pool needs --yes.

    Example: relay ip release 192.0.2.11
    """
    public = IpAddress(address)
    with_consent(config, yes, lambda found: rules.release_ip(found, public))
    ip = in_store(config, read_snapshot).ips[public]
    waits = ip.released_from is not None
    print_line(f"sending IP {address} released{', and free when its queued mail has left' if waits else ''}")


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
    with_consent(config, yes, lambda found: rules.drain_ip(found, public, not undo))
    print_line(f"sending IP {address} {'takes new mail again' if undo else 'is draining'}")


@ips.command("remove")
def remove_ip(address: AddressArgument, yes: YesOption = False, config: ConfigOption = None) -> None:
    """Remove a sending IP from the installation.

    Mail that is queued for it still leaves from it, and until the last has left it is listed as retired.
    The last one of a pool needs --yes.

    Example: relay ip remove 192.0.2.11
    """
    public = IpAddress(address)
    with_consent(config, yes, lambda found: rules.remove_ip(found, public))
    waits = public in in_store(config, read_snapshot).ips
    how = ", and listed as retired until its queued mail has left" if waits else ""
    print_line(f"sending IP {address} removed{how}")


@ips.command("list")
def list_ips(account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List sending IPs and whose they are.

    Example: relay ip list
    """
    snapshot = in_store(config, read_snapshot)
    listed = [ip for ip in snapshot.ips.values() if account in (None, ip.account)]
    listed.sort(key=lambda ip: (ip.account is None, ip.account or 0, ip.shared, ip.pool or "", ip.address))
    print_rows([_row(ip) for ip in listed], json, "no sending IPs")


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
