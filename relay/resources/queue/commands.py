"""`relay queue`: unfinished mail, seen and steered."""

from typing import Annotated

import typer

from relay.domain.errors import UnknownObject
from relay.domain.ids import AccountId, IpAddress, MessageId, PoolId
from relay.domain.message import Message, State
from relay.frames.commands import parameters
from relay.frames.commands.printing import print_json, print_line, print_rows, warn
from relay.frames.commands.session import ConfigOption, JsonOption, ShellSession, in_store
from relay.ports.queue import MailFilter
from relay.resources.queue.bulk import Bulk, BulkOrder
from relay.resources.queue.rules import DEEDS, Operator, Verb
from relay.resources.queue.story import show_message

_TOLD_EVERY = 10_000
"""Messages, after which a word of progress is said."""

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
    what = _filter(None, ip, pool, account, domain, state)

    async def work(session: ShellSession) -> tuple[list[Message], int]:
        queue = session.store.queue
        return await queue.select(what, limit), await queue.count(what)

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


def _add(verb: Verb) -> None:
    def act(
        ids: IdsArgument = None,
        ip: IpOption = None,
        pool: PoolOption = None,
        account: AccountOption = None,
        domain: DomainOption = None,
        state: StateOption = None,
        yes: YesOption = False,
        config: ConfigOption = None,
    ) -> None:
        _operate(config, verb, _filter(ids, ip, pool, account, domain, state), yes)

    def act_with_target(
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
        _operate(config, verb, _filter(ids, ip, pool, account, domain, state), yes, IpAddress(to))

    text = f"{DEEDS[verb].meaning}\n\nExample: relay queue {DEEDS[verb].example}"
    app.command(verb.value, help=text)(act_with_target if verb is Verb.REPIN else act)


for _verb in Verb:
    _add(_verb)


def _filter(
    ids: list[str] | None,
    ip: str | None,
    pool: str | None,
    account: int | None,
    domain: str | None,
    state: State | None,
) -> MailFilter:
    return MailFilter(
        AccountId(account) if account else None,
        ip=IpAddress(ip) if ip else None,
        pool=PoolId(pool.lower()) if pool else None,
        domain=domain,
        state=state,
        ids=tuple(MessageId(id_) for id_ in ids or ()),
    )


def _operate(
    config: ConfigOption, verb: Verb, what: MailFilter, yes: bool, to: IpAddress | None = None
) -> None:
    """Do the verb to the ids given, or, with --yes, to all that the filters select."""

    async def work(session: ShellSession) -> int | None:
        store, clock, directory = session.store, session.clock, await session.directory()

        def operator(actor: str) -> Operator:
            policy = session.config.retry_policy
            return Operator(store.queue, store.wakeups, directory, clock, policy, actor)

        if what.ids:
            await _check_ids(session, what.ids)
            return await operator(session.actor).do(verb, what, to)
        bulk = Bulk(store.reports, operator, clock)
        order = BulkOrder(verb, what.account, what, session.actor, to)
        expected = (await bulk.count(order)).number
        if not yes:
            warn(f"{verb} would touch {_messages(expected)}: repeat it with --yes")
            return None
        progress = BulkProgress(expected)
        await bulk.work(order, progress)
        return progress.done

    done = in_store(config, work)
    if done is None:
        raise typer.Exit(1)
    print_line(f"{verb}: {_messages(done)}")


class BulkProgress:
    """Tells how far it is, of what takes long."""

    def __init__(self, expected: int) -> None:
        self._expected, self.done = expected, 0

    def __call__(self, touched: int) -> bool:
        before, self.done = self.done, self.done + touched
        if before // _TOLD_EVERY != self.done // _TOLD_EVERY:
            warn(f"{self.done:,} of {self._expected:,} messages")
        return True


async def _check_ids(session: ShellSession, ids: tuple[MessageId, ...]) -> None:
    """Raises UnknownObject for one that is not, or no longer, in the queue."""
    found = {message.id for message in await session.store.queue.select(MailFilter(None, ids=ids), len(ids))}
    for id_ in ids:
        if id_ not in found:
            raise UnknownObject("unfinished message", id_)


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
