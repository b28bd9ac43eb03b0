"""`relay subaccount`."""

from typing import Annotated

import typer

from relay.domain.changes import Put
from relay.domain.directory import Snapshot, Subaccount
from relay.domain.ids import AccountId, SubaccountId
from relay.frames.commands.printing import print_json, print_line, print_rows, warn
from relay.frames.commands.session import (
    AccountOption,
    AnyAccountOption,
    ConfigOption,
    JsonOption,
    NameArgument,
    ShellSession,
    in_store,
    read_snapshot,
)
from relay.resources.subaccounts import rules
from relay.resources.subaccounts.rules import set_subaccount_pool

subaccounts = typer.Typer(help="Parts of an account, and their pools.")


# ── subaccounts ──────────────────────────────────────────────────────────────────────────


@subaccounts.command("create")
def create_subaccount(
    name: NameArgument,
    account: AccountOption,
    id_: Annotated[int | None, typer.Option("--id", min=1, help="Else the account's next number.")] = None,
    ip_pool: Annotated[str | None, typer.Option("--ip-pool", help="Bind it to this pool.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Create a subaccount.

    Example: relay subaccount create "Joe's Garage" --account 1 --ip-pool marketing
    """
    owner, number = AccountId(account), SubaccountId(id_) if id_ else None

    async def work(session: ShellSession) -> tuple[Subaccount, Snapshot]:
        made = await session.change(
            lambda found: rules.create_subaccount(found, owner, name, number, ip_pool, session.clock.now())
        )
        entry = next(put.entry for put in made if isinstance(put, Put) and isinstance(put.entry, Subaccount))
        return entry, await session.store.directory.snapshot()

    subaccount, snapshot = in_store(config, work, may_create=True)
    _warn_of_pool(snapshot, subaccount)
    if json:
        print_json(_subaccount(subaccount))
    else:
        print_line(f"subaccount {subaccount.id} of account {account} created: {subaccount.name}")


@subaccounts.command("list")
def list_subaccounts(
    account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List subaccounts with the pools they are bound to.

    Example: relay subaccount list --account 1
    """
    snapshot = in_store(config, read_snapshot)
    listed = [entry for _, entry in sorted(snapshot.subaccounts.items()) if account in (None, entry.account)]
    print_rows([_subaccount(entry) for entry in listed], json, "no subaccounts")


@subaccounts.command("set-pool")
def set_pool(
    id_: Annotated[int, typer.Argument(metavar="ID", min=1)],
    account: AccountOption,
    pool: Annotated[str | None, typer.Argument(metavar="[POOL]", help="Left out: bind it to none.")] = None,
    config: ConfigOption = None,
) -> None:
    """Bind a subaccount to a pool, or to none.

    All mail of a bound one uses that pool and no other.

    Example: relay subaccount set-pool 123 marketing --account 1
    """
    owner, number = AccountId(account), SubaccountId(id_)

    async def work(session: ShellSession) -> Snapshot:
        await session.change(lambda found: set_subaccount_pool(found, owner, number, pool))
        return await session.store.directory.snapshot()

    snapshot = in_store(config, work, may_create=True)
    _warn_of_pool(snapshot, snapshot.subaccounts[owner, number])
    print_line(
        f"subaccount {number} of account {account}: {f'pool {pool}' if pool else 'no pool of its own'}"
    )


def _warn_of_pool(snapshot: Snapshot, subaccount: Subaccount) -> None:
    """Its mail is refused while there is no such pool (A9)."""
    pool = subaccount.ip_pool
    if pool is not None and (subaccount.account, pool.lower()) not in snapshot.pools:
        warn(f"warning: account {subaccount.account} has no pool {pool}; the subaccount's mail is refused")


def _subaccount(subaccount: Subaccount) -> dict[str, object]:
    return {
        "account": subaccount.account,
        "id": subaccount.id,
        "name": subaccount.name,
        "ip_pool": subaccount.ip_pool,
        "status": subaccount.status.value,
    }
