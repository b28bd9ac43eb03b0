"""`relay pool`."""

from collections.abc import Sequence
from typing import Annotated

import typer

from relay.domain.changes import Change, Put
from relay.domain.directory import Pool, Snapshot
from relay.domain.ids import AccountId, PoolId
from relay.frames.commands.consent import YesOption, change, with_consent
from relay.frames.commands.printing import print_json, print_line, print_rows
from relay.frames.commands.session import (
    AccountOption,
    AnyAccountOption,
    ConfigOption,
    JsonOption,
    ShellSession,
    in_store,
    read_snapshot,
)
from relay.ports.queue import MailFilter
from relay.resources.ip_pools import rules
from relay.resources.ip_pools.rules import PoolEdit, change_pool

pools = typer.Typer(help="Named sets of an account's sending IPs.")

PoolArgument = Annotated[str, typer.Argument(metavar="ID", help="The pool's id.")]


# ── pools ────────────────────────────────────────────────────────────────────────────────


@pools.command("create")
def create_pool(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 20 letters, digits and single spaces.")],
    account: AccountOption,
    overflow: Annotated[
        str, typer.Option("--overflow", help='Where warm-up overflows to: a pool id, or "shared pool".')
    ] = "",
    signing_domain: Annotated[
        str, typer.Option("--signing-domain", help="A verified sending domain: signs mail that none does.")
    ] = "",
    fbl_signing_domain: Annotated[
        str, typer.Option("--fbl-signing-domain", help="As --signing-domain, for a second signature.")
    ] = "",
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Create a pool.

    Its id, which mail names, is made from the name.

    Example: relay pool create "Marketing News" --account 1
    """
    owner = AccountId(account)
    edit = PoolEdit(name, overflow, signing_domain, fbl_signing_domain)

    async def work(session: ShellSession) -> Pool:
        made = await session.change(lambda found: rules.create_pool(found, owner, edit))
        return next(put.entry for put in made if isinstance(put, Put) and isinstance(put.entry, Pool))

    pool = in_store(config, work, may_create=True)
    if json:
        print_json({"account": pool.account, "id": pool.id, "name": pool.name})
    else:
        print_line(f"pool {pool.id} of account {account} created")


@pools.command("list")
def list_pools(
    account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List pools with their sending IPs.

    Example: relay pool list --account 1
    """
    snapshot = in_store(config, read_snapshot)
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
    change(config, lambda found: change_pool(found, owner, pool, PoolEdit(name)))
    print_line(f"pool {pool} of account {account} is called {name}")


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

    async def queued(session: ShellSession, snapshot: Snapshot, changes: Sequence[Change]) -> list[str]:
        number = await session.store.queue.count(MailFilter(owner, pool=pool))
        mail = "message of it leaves" if number == 1 else "messages of it leave"
        return [f"{number} queued {mail} from where it would, all the same"] if number else []

    with_consent(config, yes, lambda found: rules.delete_pool(found, owner, pool), queued)
    print_line(f"pool {pool} of account {account} deleted")
