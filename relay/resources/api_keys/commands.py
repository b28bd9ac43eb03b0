"""`relay key`."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated

import typer

from relay.domain.changes import Change, Changes, Remove
from relay.domain.directory import GRANTS, ApiKey, Snapshot
from relay.domain.ids import AccountId, SubaccountId
from relay.frames.actor import SHELL
from relay.frames.commands import parameters
from relay.frames.commands.consent import YesOption, with_consent
from relay.frames.commands.printing import print_json, print_line, print_rows, warn
from relay.frames.commands.session import (
    AccountOption,
    AnyAccountOption,
    ConfigOption,
    JsonOption,
    ShellSession,
    in_store,
)
from relay.frames.consequences import of_key
from relay.resources.api_keys import rules
from relay.resources.api_keys.rules import find_key, hash_key

keys = typer.Typer(help="API keys, which are SMTP passwords too.")


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
        hash_key(text),
        text[:4],
        AccountId(account),
        label,
        frozenset(grant or usual),
        SubaccountId(subaccount) if subaccount else None,
        tuple(valid_ip or ()),
        operator,
    )

    async def work(session: ShellSession) -> None:
        await session.change(lambda found: rules.create_key(found, key, SHELL))

    in_store(config, work, may_create=True)
    if json:
        print_json({"key": text, **_key(key)})
    else:
        print_line(text)
        warn("This is the only time that the key is shown.")


@keys.command("list")
def list_keys(
    account: AnyAccountOption = None, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """List keys by label, first four characters and hash, with the day of their last use (UTC).

    Example: relay key list --account 1
    """

    async def work(session: ShellSession) -> tuple[Snapshot, Mapping[str, date]]:
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

    async def used(session: ShellSession, snapshot: Snapshot, changes: Sequence[Change]) -> list[str]:
        uses, today = await session.store.directory.key_uses(), session.clock.now().date()
        gone = [change.entry for change in changes if isinstance(change, Remove)]
        keys = [key for key in gone if isinstance(key, ApiKey)]
        return [told for key in keys for told in of_key(key, uses.get(key.sha256), today)]

    def compute(found: Snapshot) -> Changes:
        return rules.revoke_key(found, find_key(found, AccountId(account), which), SHELL)

    with_consent(config, yes, compute, used)
    print_line(f"key {which} of account {account} revoked")


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
