"""`relay directory`: the file against the store."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from relay.domain.changes import Change
from relay.domain.directory import Snapshot
from relay.frames.commands.consent import Unconfirmed, YesOption, asking
from relay.frames.commands.printing import print_line, print_rows, warn
from relay.frames.commands.session import ConfigOption, JsonOption, ShellSession, config_at, in_store
from relay.frames.consequences import consequences, of_removals
from relay.ports.directory import AuditLine
from relay.process.directory.changes import Difference, changes_to
from relay.process.directory.differences import Returning, print_difference, returning_ips
from relay.process.directory.export import export
from relay.process.directory.file import DirectoryFile, load_directory
from relay.process.preparation import refuse_published

app = typer.Typer(help="The directory file against the store.")

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A directory.toml.")]
PruneOption = Annotated[
    bool, typer.Option("--prune", help="Also remove what REST, console or command line made.")
]


@app.command()
def diff(
    file: FileArgument, prune: PruneOption = False, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Show what apply would change, and change nothing.

    Example: relay directory diff config/directory.toml
    """
    wanted = load_directory(file)

    async def work(session: ShellSession) -> tuple[Snapshot, Difference, Returning]:
        snapshot = await session.store.directory.snapshot()
        difference = changes_to(snapshot, wanted.entries, wanted.routes, prune)
        return snapshot, difference, await returning_ips(session.store.directory, snapshot, difference)

    print_difference(*in_store(config, work), json)


@app.command()
def apply(
    file: FileArgument,
    prune: PruneOption = False,
    yes: YesOption = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Set the store to what the file says.

    In one step, or not at all. A second time it changes nothing. When it would remove an account, a
    subaccount, a pool, a sending IP, a key or a sending domain, it says so and changes nothing, unless
    with --yes. Keys that everybody knows are refused while others may reach a listener.

    Example: relay directory apply config/directory.toml
    """
    wanted = load_directory(file)
    refuse_published(*config_at(config), file, wanted)
    with asking():
        done = in_store(
            config, lambda session: _apply(session, wanted, prune, yes, file.name), may_create=True
        )
    print_difference(*done, json)


@app.command()
def audit(
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="The latest so many.")] = 50,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """List who changed what, newest first.

    By the command line, REST, a file or the relay itself.

    Example: relay directory audit --limit 10
    """

    async def work(session: ShellSession) -> list[AuditLine]:
        return await session.store.directory.audit(limit)

    rows = [asdict(line) for line in in_store(config, work)]
    print_rows(rows, json, "no changes")


@app.command("export")
def export_(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Else standard output.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    config: ConfigOption = None,
) -> None:
    """Write the directory as a file that apply reads.

    Keys are named by their hashes; passwords of routes stand in clear text.

    Example: relay directory export backup.toml
    """
    text = in_store(config, _export)
    if file is None:
        print_line(text.rstrip("\n"))
        return
    # Route passwords stand in it: for nobody but its owner.
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError as error:
        warn(f"{file} exists already: name another file, or use --force")
        raise typer.Exit(1) from error


async def _export(session: ShellSession) -> str:
    return export(await session.store.directory.snapshot())


async def _apply(
    session: ShellSession, wanted: DirectoryFile, prune: bool, yes: bool, name: str
) -> tuple[Snapshot, Difference, Returning]:
    """What was changed, and the directory as it was before. Raises Unconfirmed."""
    done: list[tuple[Snapshot, Difference]] = []
    uses = await session.store.directory.key_uses()

    def compute(snapshot: Snapshot) -> Sequence[Change]:
        difference = changes_to(snapshot, wanted.entries, wanted.routes, prune)
        done.append((snapshot, difference))
        if not yes and (removed := of_removals(difference.changes, uses, name)):
            raise Unconfirmed(removed + consequences(snapshot, difference.changes))
        return difference.changes

    await session.change(compute)
    snapshot, difference = done[-1]
    return snapshot, difference, await returning_ips(session.store.directory, snapshot, difference)
