"""`relay`: the entry point, and the commands that stand alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from relay import __version__
from relay.config.problems import ConfigError
from relay.config.values import Endpoint
from relay.domain.directory import SendingIp, Snapshot
from relay.domain.errors import RelayError
from relay.domain.ids import AccountId, SubaccountId
from relay.domain.resolve import Moment
from relay.frames.commands.printing import (
    make_plain,
    print_json,
    print_line,
    print_rows,
    print_steps,
    warn,
    word_for_shell,
)
from relay.frames.commands.session import ConfigOption, JsonOption, ShellSession, config_at, in_store
from relay.process.check import check
from relay.process.directory import commands as directory
from relay.process.preparation import standing_of
from relay.resources.accounts.commands import accounts
from relay.resources.api_keys.commands import keys
from relay.resources.ip_pools.commands import pools
from relay.resources.queue import commands as queue
from relay.resources.routes.rules import Explanation, explain
from relay.resources.sending_ips.commands import ips
from relay.resources.subaccounts.commands import subaccounts
from relay.resources.transmissions import commands as transmissions
from relay.resources.users import commands as users
from relay.sink.script import SCRIPT_HELP
from relay.store import migrate_store

_AS_IS = "\b\n"
"""Begins a paragraph of help whose lines are not filled."""

app = typer.Typer(
    help="A self-hosted SMTP relay with dedicated IP pools. Options stand after the last verb.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    no_args_is_help=True,
)
for group, name in (
    (directory.app, "directory"),
    (queue.app, "queue"),
    (transmissions.app, "transmission"),
    (accounts, "account"),
    (subaccounts, "subaccount"),
    (pools, "pool"),
    (ips, "ip"),
    (keys, "key"),
    (users.users, "user"),
):
    app.add_typer(group, name=name, no_args_is_help=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0 ok, 1 refused or failed, 2 wrong usage or configuration."""
    try:
        app(args=list(arguments) if arguments is not None else None, prog_name="relay")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseExceptionGroup as group:
        expected, bug = group.split((RelayError, OSError))
        if bug is not None or expected is None:
            raise
        return max(_tell(error) for error in _leaves(expected))
    except (RelayError, OSError) as error:
        return _tell(error)
    return 0


def _tell(error: BaseException) -> int:
    """One line for a problem, without a traceback; the exit status that it means."""
    if isinstance(error, ConfigError):
        for problem in error.problems:
            warn(make_plain(problem))
        return 2
    warn(f"relay: {make_plain(word_for_shell(error) if isinstance(error, RelayError) else error)}")
    return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        print_line(f"relay {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Processes, instead of the file's number.")
    ] = None,
    with_sink: Annotated[
        bool, typer.Option("--with-sink", help="Also start a next hop that takes all mail, for trying out.")
    ] = False,
    show_link: Annotated[
        bool, typer.Option("--show-link", help="Print the first operator's link, terminal or not.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Run the relay until Ctrl-C or SIGTERM.

    While nobody has signed in to the console yet, a link that lets the first operator in is printed to a
    terminal. A log keeps what it is told: without a terminal `relay user first-link` is named instead.

    What `relay check` calls wrong, and not only probably so, ends it with 2 before anything listens.

    Example: relay run --with-sink
    """
    from relay.process.serve import serve

    settings, file = config_at(config)
    if workers is not None:
        settings = settings.model_copy(update={"workers": workers})
    standing = standing_of(settings, file)
    standing.refuse()
    raise typer.Exit(serve(settings, standing, with_sink=with_sink, shows_link=show_link))


app.command()(check)


@app.command("explain")
def explain_(
    account: Annotated[int, typer.Option("--account", min=1, help="Who would send.")],
    subaccount: Annotated[int | None, typer.Option("--subaccount", min=1, help="A part of it.")] = None,
    ip_pool: Annotated[str | None, typer.Option("--ip-pool", help="What options.ip_pool would say.")] = None,
    scheduled: Annotated[bool, typer.Option("--scheduled", help="As for scheduled mail.")] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show step by step where mail would leave from.

    On the live directory, without sending anything.

    Example: relay explain --account 1 --ip-pool marketing
    """
    moment = Moment.SCHEDULED if scheduled else Moment.IMMEDIATE
    part = SubaccountId(subaccount) if subaccount else None

    async def work(session: ShellSession) -> Snapshot:
        return await session.store.directory.snapshot()

    found = explain(in_store(config, work), AccountId(account), part, ip_pool, moment)
    if json:
        print_json(_explained(found))
    else:
        print_steps(found.steps)
        if found.decision:
            print_line(f"\npool {found.decision.pool}, one of:")
            print_rows([_candidate(ip) for ip in found.candidates], False)
    if found.refusal is not None:
        raise found.refusal


def _explained(found: Explanation) -> dict[str, object]:
    return {
        "steps": [{"rule": step.rule, "finding": step.finding} for step in found.steps],
        "pool": found.decision.pool if found.decision else None,
        "candidates": [_candidate(ip) for ip in found.candidates],
        "refusal": word_for_shell(found.refusal) if found.refusal else None,
    }


def _candidate(ip: SendingIp) -> dict[str, object]:
    return {"address": ip.address, "hostname": ip.hostname, "weight": ip.weight}


_SINK_HELP = f"""Run a fake next hop.

It takes, defers or refuses mail, and prints a line of JSON for each recipient of each attempt.
Nothing is stored or sent on.

{SCRIPT_HELP.replace("[[rule]]", f"{_AS_IS}[[rule]]", 1)}
Example: relay sink --listen 127.0.0.1:2526 --script later.toml
"""


@app.command(help=_SINK_HELP)
def sink(
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Where.")] = "127.0.0.1:2526",
    script: Annotated[Path | None, typer.Option("--script", metavar="FILE", help="What to answer.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="PATH", help="Not read.")] = None,
) -> None:
    from relay.sink.program import run_program as run_sink

    try:
        Endpoint.parse(listen)
    except ValueError as error:
        raise typer.BadParameter(f"{listen!r}: expected {error}") from error
    raise typer.Exit(run_sink(listen, script))


@app.command()
def migrate(config: ConfigOption = None) -> None:
    """Bring the store to this version, or make it.

    `relay run` does so too.

    Example: relay migrate
    """
    settings, _ = config_at(config)
    before, now = migrate_store(settings.store)
    steps = {0: f"made, version {now}", now: f"is at version {now}"}
    print_line(f"store {settings.store}: {steps.get(before, f'version {before} → {now}')}")
