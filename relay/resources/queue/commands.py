"""`relay queue`: unfinished mail, seen and steered."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Annotated

import typer

from relay.domain.errors import UnknownObject
from relay.domain.ids import AccountId, IpAddress, MessageId, PoolId
from relay.domain.message import Message, State
from relay.frames.commands import parameters
from relay.frames.commands.printing import print_json, print_rows, say, warn
from relay.frames.commands.session import ConfigOption, JsonOption, Session, in_store
from relay.frames.live import LiveDirectory
from relay.ports.queue import Selection
from relay.resources.queue.rules import TOUCHES, Operator
from relay.resources.queue.story import show_message

app = typer.Typer(help="Unfinished mail: see it, steer it.")

IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Message ids; else filters.")]
IpOption = Annotated[str | None, typer.Option("--ip", parser=parameters.address, help="Pinned to this IP.")]
PoolOption = Annotated[str | None, typer.Option("--pool", help="Of this pool, by its id.")]
AccountOption = Annotated[int | None, typer.Option("--account", min=1, help="Of this account.")]
DomainOption = Annotated[
    str | None, typer.Option("--domain", parser=parameters.host_name, help="To this recipient domain.")
]
StateOption = Annotated[State | None, typer.Option("--state", help="In this state.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do it to all that the filters select.")]


@app.command("list")
def list_(
    ip: IpOption = None,
    pool: PoolOption = None,
    account: AccountOption = None,
    domain: DomainOption = None,
    state: StateOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 100,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List unfinished mail, the oldest first.

    Example: relay queue list --domain gmail.com --state queued
    """
    selection = _selection(None, ip, pool, account, domain, state)

    async def work(session: Session) -> tuple[list[Message], int]:
        queue = session.store.queue
        return await queue.select(selection, limit), await queue.count(selection)

    found, total = in_store(config, work)
    if json:
        print_json([_told(message) for message in found])
    else:
        print_rows([_row(message) for message in found], False, "no unfinished mail")
    if total > len(found):
        warn(f"{total - len(found)} more: use filters or --limit")


@app.command()
def show(
    id_: Annotated[str, typer.Argument(metavar="ID")], json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Tell the whole story of a message.

    Its pin and why, every attempt and reply; also after it left the queue.

    Example: relay queue show 000646d2a1b3c4d5e6f7
    """
    in_store(config, lambda session: show_message(session, MessageId(id_), json))


@app.command()
def hold(
    ids: IdsArgument = None,
    ip: IpOption = None,
    pool: PoolOption = None,
    account: AccountOption = None,
    domain: DomainOption = None,
    state: StateOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Stop attempts until the mail is released.

    Its expiry waits too.

    Example: relay queue hold --domain gmail.com --yes
    """
    selection = _selection(ids, ip, pool, account, domain, state)
    _operate(config, "hold", selection, yes, lambda operator: operator.hold(selection))


@app.command()
def release(
    ids: IdsArgument = None,
    ip: IpOption = None,
    pool: PoolOption = None,
    account: AccountOption = None,
    domain: DomainOption = None,
    state: StateOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """End a hold: the mail is due at once.

    Example: relay queue release --account 1 --yes
    """
    selection = _selection(ids, ip, pool, account, domain, state)
    _operate(config, "release", selection, yes, lambda operator: operator.release(selection))


@app.command()
def retry(
    ids: IdsArgument = None,
    ip: IpOption = None,
    pool: PoolOption = None,
    account: AccountOption = None,
    domain: DomainOption = None,
    state: StateOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Try waiting mail again now.

    Example: relay queue retry --ip 192.0.2.11 --yes
    """
    selection = _selection(ids, ip, pool, account, domain, state)
    _operate(config, "retry", selection, yes, lambda operator: operator.retry(selection))


@app.command()
def cancel(
    ids: IdsArgument = None,
    ip: IpOption = None,
    pool: PoolOption = None,
    account: AccountOption = None,
    domain: DomainOption = None,
    state: StateOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """End mail without delivery, as an administrative bounce.

    Example: relay queue cancel 000646d2a1b3c4d5e6f7
    """
    selection = _selection(ids, ip, pool, account, domain, state)
    _operate(config, "cancel", selection, yes, lambda operator: operator.cancel(selection))


@app.command()
def repin(
    to: Annotated[
        str, typer.Option("--to", parser=parameters.address, help="The sending IP to use instead.")
    ],
    ids: IdsArgument = None,
    ip: IpOption = None,
    pool: PoolOption = None,
    account: AccountOption = None,
    domain: DomainOption = None,
    state: StateOption = None,
    yes: YesOption = False,
    config: ConfigOption = None,
) -> None:
    """Give waiting mail another sending IP.

    Mail in flight is left alone.

    Example: relay queue repin --ip 192.0.2.11 --to 192.0.2.12 --yes
    """
    selection, target = _selection(ids, ip, pool, account, domain, state), IpAddress(to)
    _operate(config, "repin", selection, yes, lambda operator: operator.repin(selection, target), target)


def _selection(
    ids: list[str] | None,
    ip: str | None,
    pool: str | None,
    account: int | None,
    domain: str | None,
    state: State | None,
) -> Selection:
    return Selection(
        tuple(MessageId(id_) for id_ in ids or ()),
        IpAddress(ip) if ip else None,
        PoolId(pool.lower()) if pool else None,
        AccountId(account) if account else None,
        domain,
        state,
    )


def _operate(
    config: ConfigOption,
    verb: str,
    selection: Selection,
    yes: bool,
    act: Callable[[Operator], Awaitable[int]],
    to: IpAddress | None = None,
) -> None:
    """Do the verb to the ids given, or, with --yes, to all that the filters select."""

    async def work(session: Session) -> int | None:
        if selection.ids:
            await _check_ids(session, selection.ids)
        elif not yes:
            number = await _count(session, verb, selection, to)
            warn(f"{verb} would touch {_messages(number)}: repeat it with --yes")
            return None
        snapshot = await session.store.directory.snapshot()
        directory = LiveDirectory(session.store.directory, snapshot, session.clock)
        policy = session.config.retry_policy
        store = session.store
        operator = Operator(store.queue, store.wakeups, directory, session.clock, policy, session.actor)
        return await act(operator)

    done = in_store(config, work)
    if done is None:
        raise typer.Exit(1)
    say(f"{verb}: {_messages(done)}")


async def _check_ids(session: Session, ids: tuple[MessageId, ...]) -> None:
    """Raises UnknownObject for one that is not, or no longer, in the queue."""
    found = {message.id for message in await session.store.queue.select(Selection(ids=ids), len(ids))}
    for id_ in ids:
        if id_ not in found:
            raise UnknownObject("unfinished message", id_)


async def _count(session: Session, verb: str, selection: Selection, to: IpAddress | None) -> int:
    total = 0
    for state in TOUCHES[verb]:
        if selection.state in (None, state):
            chosen = replace(selection, state=state)
            total += await session.store.queue.count(chosen)
            if to is not None and selection.ip in (None, to):
                total -= await session.store.queue.count(replace(chosen, ip=to))
    return total


def _messages(number: int) -> str:
    return f"{number} message{'' if number == 1 else 's'}"


def _row(message: Message) -> dict[str, object]:
    return {
        "id": message.id,
        "state": message.state.value,
        "to": message.rcpt_to,
        "ip": message.pin.ip,
        "pool": message.pin.pool,
        "account": message.account,
        "due": message.due,
        "attempts": message.attempts,
        "last reply": message.last_reply[:60],
    }


def _told(message: Message) -> dict[str, object]:
    return {
        "id": message.id,
        "transmission_id": message.transmission_id,
        "account": message.account,
        "subaccount": message.subaccount,
        "mail_from": message.mail_from,
        "rcpt_to": message.rcpt_to,
        "rcpt_type": message.rcpt_type.value,
        "domain": message.domain,
        "state": message.state.value,
        "wish": message.wish.value,
        "pool": message.pin.pool,
        "ip": message.pin.ip,
        "bind": message.pin.bind,
        "hostname": message.pin.hostname,
        "accepted": message.accepted,
        "due": message.due,
        "expires": message.expires,
        "attempts": message.attempts,
        "size_bytes": message.size_bytes,
        "last_reply": message.last_reply,
    }
