"""`relay transmission`: submissions by REST that are not yet all made into messages, seen and steered."""

from typing import Annotated

import typer

from relay.domain.errors import Conflict, UnknownObject
from relay.domain.ids import AccountId, TransmissionId
from relay.domain.refusals import NotSetAside, TransmissionEnded
from relay.domain.transmission import Rejection
from relay.frames.commands.printing import make_plain, print_json, print_line, print_pairs, print_rows, warn
from relay.frames.commands.session import ConfigOption, JsonOption, ShellSession, in_store
from relay.ports.transmissions import TransmissionStanding

app = typer.Typer(help="Transmissions by REST that are not yet all made into messages: see them, steer them.")

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Of the transmission.")]
_SOON_S = 30
"""When a running relay looks again."""


@app.command("list")
def list_(
    account: Annotated[int | None, typer.Option("--account", min=1, help="Of this account.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also those that ended within a day.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="At most so many.")] = 100,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List unfinished transmissions, those set aside first, then the oldest.

    Example: relay transmission list --account 1
    """
    part = AccountId(account) if account else None

    async def work(session: ShellSession) -> list[TransmissionStanding]:
        return await session.store.transmissions.all(part, limit + 1, with_ended=all_)

    found = in_store(config, work)
    shown = found[:limit]
    if json:
        print_json([_told(standing) for standing in shown])
    else:
        print_rows([_row(standing) for standing in shown], False, "no unfinished transmissions")
    if len(found) > limit:
        warn("there are more: use --account or --limit")


@app.command()
def show(id_: IdArgument, json: JsonOption = False, config: ConfigOption = None) -> None:
    """Show how far a transmission has come, and why it goes no further.

    Example: relay transmission show 7230913112045191178
    """
    standing = in_store(config, lambda session: _find(session, id_))
    if json:
        print_json(_told(standing))
        return
    print_line(f"transmission {make_plain(standing.transmission.id)}")
    print_pairs(list(_told(standing).items())[1:])
    if standing.set_aside is not None:
        print_line(
            f"\n{standing.tries} processes died or hung at work on it, at the same recipient or those after."
        )
        id_ = make_plain(id_)
        print_line(f"Once the reason is mended: relay transmission retry {id_}; else: cancel {id_}")


@app.command()
def cancel(id_: IdArgument, config: ConfigOption = None) -> None:
    """End a transmission at any time: no further message is made of it.

    Messages that were made already stay in the queue.

    Example: relay transmission cancel 7230913112045191178
    """

    async def work(session: ShellSession) -> TransmissionStanding:
        standing = await _find(session, id_)
        if not await session.store.transmissions.end(
            standing.transmission.id, session.clock.now(), session.actor
        ):
            raise _ended(standing)
        return standing

    standing = in_store(config, work)
    progress, number = standing.progress, standing.transmission.num_rcpts
    print_line(f"cancelled: {number - progress.position} of {_recipients(number)} get no message")
    if progress.num_generated:
        print_line(
            f"{progress.num_generated} were made before, and leave unless they have: `relay queue list` "
            "shows those that wait, `relay queue cancel ID` ends them"
        )


@app.command()
def retry(id_: IdArgument, config: ConfigOption = None) -> None:
    """Work again on a transmission that was set aside, from where it stood.

    Example: relay transmission retry 7230913112045191178
    """

    async def work(session: ShellSession) -> TransmissionStanding:
        standing = await _find(session, id_)
        if not await session.store.transmissions.retry(
            standing.transmission.id, session.clock.now(), session.actor
        ):
            if standing.progress.ended is not None:
                raise _ended(standing)
            raise NotSetAside(id_)
        return standing

    standing = in_store(config, work)
    progress, number = standing.progress, standing.transmission.num_rcpts
    print_line(
        f"retry: goes on at recipient {progress.position + 1} of {number}, "
        f"within {_SOON_S} s of a running relay"
    )


async def _find(session: ShellSession, id_: str) -> TransmissionStanding:
    """Raises UnknownObject."""
    standing = await session.store.transmissions.find(TransmissionId(id_))
    if standing is None:
        raise UnknownObject("transmission", id_)
    return standing


def _ended(standing: TransmissionStanding) -> Conflict:
    transmission, state = standing.transmission, standing.progress.state
    return TransmissionEnded(transmission.id, state.value)


def _recipients(number: int) -> str:
    return f"{number} recipient{'' if number == 1 else 's'}"


def _state(standing: TransmissionStanding) -> str:
    return "set aside" if standing.set_aside is not None else standing.progress.state.value


def _row(standing: TransmissionStanding) -> dict[str, object]:
    transmission, progress = standing.transmission, standing.progress
    return {
        "id": transmission.id,
        "state": _state(standing),
        "account": transmission.account,
        "start": transmission.start,
        "used": f"{progress.position}/{transmission.num_rcpts}",
        "failed": progress.num_failed,
        "tries": standing.tries,
    }


def _told(standing: TransmissionStanding) -> dict[str, object]:
    transmission, progress, verdict = standing.transmission, standing.progress, standing.verdict
    return {
        "id": transmission.id,
        "state": _state(standing),
        "account": transmission.account,
        "subaccount": transmission.subaccount,
        "campaign_id": transmission.options.campaign_id,
        "description": transmission.description,
        "pool": verdict.decision.pool if verdict is not None else transmission.options.ip_pool,
        "refused": verdict.reason if isinstance(verdict, Rejection) else "",
        "accepted": transmission.accepted,
        "start": transmission.start,
        "is_scheduled": transmission.is_scheduled,
        "num_rcpts": transmission.num_rcpts,
        "position": progress.position,
        "num_generated": progress.num_generated,
        "num_failed": progress.num_failed,
        "began": progress.began,
        "ended": progress.ended,
        "tries": standing.tries,
        "set_aside": standing.set_aside,
    }
