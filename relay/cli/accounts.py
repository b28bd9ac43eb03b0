"""`relay account`, `relay subaccount` and `relay key`: who may send."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated

import typer

from relay.cli import parameters
from relay.cli.consent import Foretelling, YesOption, asking, change_with_consent, with_consent
from relay.cli.printing import print_json, print_rows, say, warn
from relay.cli.session import AccountOption, AnyAccountOption, ConfigOption, JsonOption, Session, in_store
from relay.domain.billing import current_cycle
from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import GRANTS, Account, ApiKey, Plan, Snapshot, Subaccount, ip_limit
from relay.domain.ids import AccountId, SubaccountId
from relay.service import administer
from relay.service.consequences import of_key

accounts = typer.Typer(help="Accounts: who sends, on which plan.")
subaccounts = typer.Typer(help="Parts of an account, and their pools.")
keys = typer.Typer(help="API keys, which are SMTP passwords too.")

NameArgument = Annotated[str, typer.Argument(metavar="NAME", parser=parameters.name)]


# ── accounts ─────────────────────────────────────────────────────────────────────────────


@accounts.command("create")
def create_account(
    name: NameArgument,
    plan: Annotated[Plan, typer.Option("--plan", help="Decides on dedicated IPs and the shared pool.")],
    id_: Annotated[int | None, typer.Option("--id", min=1, help="Else the next free number.")] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Create an account; it gets its default pool.

    Example: relay account create Acme --plan self_serve
    """
    number = AccountId(id_) if id_ else None

    async def work(session: Session) -> Account:
        made = await session.change(lambda found: administer.create_account(found, name, plan, number))
        return next(put.entry for put in made if isinstance(put, Put) and isinstance(put.entry, Account))

    account = in_store(config, work, may_create=True)
    if json:
        print_json(_account(account, 0))
    else:
        say(f"account {account.id} created: {account.name}, {account.plan}")


@accounts.command("list")
def list_accounts(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List accounts with their plans, dedicated IPs, and octets in the queue of as many as they may have.

    Example: relay account list
    """

    async def work(session: Session) -> tuple[Snapshot, dict[AccountId, int], int]:
        reports = session.store.reports
        return await session.store.directory.snapshot(), await reports.holdings(), reports.share_bytes

    snapshot, in_queue, share_bytes = in_store(config, work)
    rows = []
    for account in sorted(snapshot.accounts.values(), key=lambda account: account.id):
        held = sum(ip.account == account.id and not ip.is_retired for ip in snapshot.ips.values())
        octets = {"queue_bytes": in_queue.get(account.id, 0), "queue_share_bytes": share_bytes}
        rows.append({**_account(account, held), **octets})
    print_rows(rows, json, "no accounts")


@accounts.command("set-plan")
def set_plan(
    id_: Annotated[int, typer.Argument(metavar="ID", min=1)],
    plan: Annotated[Plan, typer.Argument(metavar="PLAN")],
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, max=100_000, help="Most dedicated IPs at a time.")
    ] = None,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Set the plan of an account.

    At once, and refused while it has more dedicated IPs than that plan allows. Down to free
    takes effect at the end of the billing cycle, and releases its dedicated IPs. A lower plan needs --yes.

    Example: relay account set-plan 1 enterprise
    """
    number = AccountId(id_)

    async def work(session: Session) -> tuple[Account, Foretelling]:
        ledger = await session.store.billing.ledger(number)
        end = current_cycle(ledger, session.clock.now()).turns
        compute = Foretelling(lambda found: administer.set_plan(found, number, plan, limit, end))
        made = await change_with_consent(session, yes, compute)
        return administer.made(made, Account), compute

    with asking():
        account, foretelling = in_store(config, work, may_create=True)
    foretelling.tell()
    if account.next_plan_at is None:
        say(f"account {number}: {plan}")
    else:
        say(f"account {number}: {account.plan}, and {plan} from {account.next_plan_at:%Y-%m-%d} on")


@accounts.command("set-terms")
def set_terms(
    id_: Annotated[int, typer.Argument(metavar="ID", min=1)],
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, max=100_000, help="Most dedicated IPs at a time.")
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price", min=0, max=1_000_000, help="USD for an IP and a month.")
    ] = None,
    day: Annotated[
        int | None,
        typer.Option("--bill-cycle-day", min=1, max=28, help="Of the month; from its next one on."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Set what an account may have and what it pays.

    Example: relay account set-terms 1 --limit 14 --price 15
    """
    number, cents = AccountId(id_), None if price is None else round(price * 100)
    if limit is None and price is None and day is None:
        raise typer.BadParameter("expected --limit, --price or --bill-cycle-day")

    async def work(session: Session) -> Account:
        made = await session.change(lambda found: administer.set_terms(found, number, limit, cents, day))
        return administer.made(made, Account)

    account = in_store(config, work, may_create=True)
    limited = "no limit" if ip_limit(account) is None else f"at most {ip_limit(account)}"
    say(
        f"account {number}: {limited}, {account.ip_price_cents / 100:.2f} USD for an IP and a month, "
        f"billed on day {account.bill_cycle_day}"
    )


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

    async def work(session: Session) -> tuple[Subaccount, Snapshot]:
        made = await session.change(
            lambda found: administer.create_subaccount(
                found, owner, name, number, ip_pool, session.clock.now()
            )
        )
        entry = next(put.entry for put in made if isinstance(put, Put) and isinstance(put.entry, Subaccount))
        return entry, await session.store.directory.snapshot()

    subaccount, snapshot = in_store(config, work, may_create=True)
    _warn_of_pool(snapshot, subaccount)
    if json:
        print_json(_subaccount(subaccount))
    else:
        say(f"subaccount {subaccount.id} of account {account} created: {subaccount.name}")


@subaccounts.command("list")
def list_subaccounts(
    account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List subaccounts with the pools they are bound to.

    Example: relay subaccount list --account 1
    """
    snapshot = in_store(config, _snapshot)
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

    async def work(session: Session) -> Snapshot:
        await session.change(lambda found: administer.set_subaccount_pool(found, owner, number, pool))
        return await session.store.directory.snapshot()

    snapshot = in_store(config, work, may_create=True)
    _warn_of_pool(snapshot, snapshot.subaccounts[owner, number])
    say(f"subaccount {number} of account {account}: {f'pool {pool}' if pool else 'no pool of its own'}")


# ── keys ─────────────────────────────────────────────────────────────────────────────────


@keys.command("create")
def create_key(
    account: AccountOption,
    label: Annotated[str, typer.Option("--label", parser=parameters.name, help="To know it by.")],
    subaccount: Annotated[int | None, typer.Option("--subaccount", min=1, help="For it alone.")] = None,
    grant: Annotated[
        list[str] | None, typer.Option("--grant", help="A right; may be given often. [default: smtp/inject]")
    ] = None,
    valid_ip: Annotated[
        list[str] | None,
        typer.Option("--valid-ip", parser=parameters.client, help="A client's address or network; often."),
    ] = None,
    operator: Annotated[bool, typer.Option("--operator", help="May administer all accounts.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Create a key and show it, this once.

    Only its hash is kept.

    Example: relay key create --account 1 --label newsletter --grant smtp/inject
    """
    text = secrets.token_hex(20)
    usual = GRANTS if operator else {"smtp/inject"}
    key = ApiKey(
        administer.hash_key(text),
        text[:4],
        AccountId(account),
        label,
        frozenset(grant or usual),
        SubaccountId(subaccount) if subaccount else None,
        tuple(valid_ip or ()),
        operator,
    )

    async def work(session: Session) -> None:
        await session.change(lambda found: administer.create_key(found, key))

    in_store(config, work, may_create=True)
    if json:
        print_json({"key": text, **_key(key)})
    else:
        say(text)
        warn("This is the only time that the key is shown.")


@keys.command("list")
def list_keys(
    account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List keys by label, first four characters and hash, with the day of their last use (UTC).

    Example: relay key list --account 1
    """

    async def work(session: Session) -> tuple[Snapshot, Mapping[str, date]]:
        return await session.store.directory.snapshot(), await session.store.directory.key_uses()

    snapshot, uses = in_store(config, work)
    listed = [key for key in snapshot.keys.values() if account in (None, key.account)]
    listed.sort(key=lambda key: (key.account, key.subaccount or 0, key.label, key.sha256))
    rows = [{**_key(key), "last_used": uses.get(key.sha256)} for key in listed]
    print_rows(rows, json, "no keys")


@keys.command("revoke")
def revoke_key(
    which: Annotated[str, typer.Argument(metavar="KEY", help="Label, first four characters, or hash.")],
    account: AccountOption,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Revoke a key.

    One that was used within the last 30 days needs --yes: `relay key list` tells the day.

    Example: relay key revoke newsletter --account 1
    """

    async def used(session: Session, snapshot: Snapshot, changes: Sequence[Change]) -> list[str]:
        uses, today = await session.store.directory.key_uses(), session.clock.now().date()
        gone = [change.entry for change in changes if isinstance(change, Remove)]
        keys = [key for key in gone if isinstance(key, ApiKey)]
        return [told for key in keys for told in of_key(key, uses.get(key.sha256), today)]

    with_consent(config, yes, lambda found: administer.revoke_key(found, AccountId(account), which), used)
    say(f"key {which} of account {account} revoked")


async def _snapshot(session: Session) -> Snapshot:
    return await session.store.directory.snapshot()


def _warn_of_pool(snapshot: Snapshot, subaccount: Subaccount) -> None:
    """Its mail is refused while there is no such pool (A9)."""
    pool = subaccount.ip_pool
    if pool is not None and (subaccount.account, pool.lower()) not in snapshot.pools:
        warn(f"warning: account {subaccount.account} has no pool {pool}; the subaccount's mail is refused")


def _account(account: Account, held: int) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "plan": account.plan.value,
        "status": account.status.value,
        "dedicated_ips": held,
        "limit": ip_limit(account),
    }


def _subaccount(subaccount: Subaccount) -> dict[str, object]:
    return {
        "account": subaccount.account,
        "id": subaccount.id,
        "name": subaccount.name,
        "ip_pool": subaccount.ip_pool,
        "status": subaccount.status.value,
    }


def _key(key: ApiKey) -> dict[str, object]:
    return {
        "account": key.account,
        "subaccount": key.subaccount,
        "label": key.label,
        "short": key.short,
        "sha256": key.sha256[:12],
        "grants": sorted(key.grants),
        "valid_ips": list(key.valid_ips),
        "operator": key.is_operator,
    }
