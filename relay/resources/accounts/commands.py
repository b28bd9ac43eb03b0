"""`relay account`."""

from typing import Annotated

import typer

from relay.domain.billing import current_cycle
from relay.domain.changes import Put, first_put
from relay.domain.directory import Account, Plan, Snapshot, ip_limit
from relay.domain.ids import AccountId
from relay.frames.commands.consent import Foretelling, YesOption, asking, change_with_consent
from relay.frames.commands.printing import print_json, print_line, print_rows
from relay.frames.commands.session import ConfigOption, JsonOption, NameArgument, ShellSession, in_store
from relay.resources.accounts import rules

accounts = typer.Typer(help="Accounts: who sends, on which plan.")


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

    async def work(session: ShellSession) -> Account:
        made = await session.change(lambda found: rules.create_account(found, name, plan, number))
        return next(put.entry for put in made if isinstance(put, Put) and isinstance(put.entry, Account))

    account = in_store(config, work, may_create=True)
    if json:
        print_json(_account(account, 0))
    else:
        print_line(f"account {account.id} created: {account.name}, {account.plan}")


@accounts.command("list")
def list_accounts(json: JsonOption = False, config: ConfigOption = None) -> None:
    """List accounts with their plans, dedicated IPs, and octets in the queue of as many as they may have.

    Example: relay account list
    """

    async def work(session: ShellSession) -> tuple[Snapshot, dict[AccountId, int], int]:
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

    async def work(session: ShellSession) -> tuple[Account, Foretelling]:
        ledger = await session.store.billing.ledger(number)
        end = current_cycle(ledger, session.clock.now()).turns
        compute = Foretelling(lambda found: rules.set_plan(found, number, plan, limit, end))
        made = await change_with_consent(session, yes, compute)
        return first_put(made, Account), compute

    with asking():
        account, foretelling = in_store(config, work, may_create=True)
    foretelling.tell()
    if account.next_plan_at is None:
        print_line(f"account {number}: {plan}")
    else:
        print_line(f"account {number}: {account.plan}, and {plan} from {account.next_plan_at:%Y-%m-%d} on")


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

    async def work(session: ShellSession) -> Account:
        made = await session.change(lambda found: rules.set_terms(found, number, limit, cents, day))
        return first_put(made, Account)

    account = in_store(config, work, may_create=True)
    limited = "no limit" if ip_limit(account) is None else f"at most {ip_limit(account)}"
    print_line(
        f"account {number}: {limited}, {account.ip_price_cents / 100:.2f} USD for an IP and a month, "
        f"billed on day {account.bill_cycle_day}"
    )


def _account(account: Account, held: int) -> dict[str, object]:
    return {
        "id": account.id,
        "name": account.name,
        "plan": account.plan.value,
        "status": account.status.value,
        "dedicated_ips": held,
        "limit": ip_limit(account),
    }
