"""`relay directory`: the file against the store."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from relay.cli.printing import plain, print_json, print_rows, say, warn
from relay.cli.session import ConfigOption, JsonOption, Session, in_store
from relay.domain.changes import Change, Put, Remove, SetRoutes
from relay.domain.directory import Entry, Snapshot
from relay.domain.route import Route, SmarthostRoute
from relay.ports import AuditLine
from relay.schema.directory import DirectoryFile, export, load_directory
from relay.service.directory import Difference, changes_to, entries_of, identity

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

    async def work(session: Session) -> tuple[Snapshot, Difference]:
        snapshot = await session.store.directory.snapshot()
        return snapshot, changes_to(snapshot, wanted.entries, wanted.routes, prune)

    snapshot, difference = in_store(config, work)
    _print(snapshot, difference, json)


@app.command()
def apply(
    file: FileArgument, prune: PruneOption = False, json: JsonOption = False, config: ConfigOption = None
) -> None:
    """Set the store to what the file says.

    In one step, or not at all. A second time it changes nothing.

    Example: relay directory apply config/directory.toml
    """
    wanted = load_directory(file)
    snapshot, difference = in_store(config, lambda session: _apply(session, wanted, prune), may_create=True)
    _print(snapshot, difference, json)


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

    async def work(session: Session) -> list[AuditLine]:
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
        say(text.rstrip("\n"))
        return
    # Route passwords stand in it: for nobody but its owner.
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError as error:
        warn(f"{file} exists already: name another file, or use --force")
        raise typer.Exit(1) from error


async def _export(session: Session) -> str:
    return export(await session.store.directory.snapshot())


async def _apply(session: Session, wanted: DirectoryFile, prune: bool) -> tuple[Snapshot, Difference]:
    """What was changed, and the directory as it was before."""
    done: list[tuple[Snapshot, Difference]] = []

    def compute(snapshot: Snapshot) -> Sequence[Change]:
        difference = changes_to(snapshot, wanted.entries, wanted.routes, prune)
        done.append((snapshot, difference))
        return difference.changes

    await session.change(compute)
    return done[-1]


def _print(snapshot: Snapshot, difference: Difference, as_json: bool) -> None:
    stored = {identity(entry): entry for entry in entries_of(snapshot)}
    if as_json:
        print_json(
            {
                "changes": [_told(change, stored.get(_place(change))) for change in difference.changes],
                "kept": [_name(entry) for entry in difference.kept],
            }
        )
        return
    for change in difference.changes:
        say(plain(_line(change, stored.get(_place(change)))))
    for entry in difference.kept:
        say(plain(f"  {_name(entry)}: kept, not made by a file"))
    number = len(difference.changes)
    say(f"{number} change{'' if number == 1 else 's'}" if number else "nothing to change")


def _place(change: Change) -> tuple[str, str]:
    return ("", "") if isinstance(change, SetRoutes) else identity(change.entry)


def _line(change: Change, before: Entry | None) -> str:
    match change:
        case SetRoutes(routes):
            return f"~ routes: {'; '.join(map(_route, routes)) or 'none'}"
        case Remove(entry):
            return f"- {_name(entry)}"
        case Put(entry) if before is None:
            return f"+ {_name(entry)}: {', '.join(_facts(entry))}"
        case Put(entry):
            was, now = _fields(before), _fields(entry)
            differing = [f"{key}: {was[key]} → {now[key]}" for key in now if was[key] != now[key]]
            return f"~ {_name(entry)}: {', '.join(differing)}"


def _told(change: Change, before: Entry | None) -> dict[str, object]:
    match change:
        case SetRoutes(routes):
            return {"change": "set", "object": "routes", "routes": [_route(route) for route in routes]}
        case Remove(entry):
            return {"change": "remove", "object": _name(entry)}
        case Put(entry):
            verb = "create" if before is None else "update"
            return {"change": verb, "object": _name(entry), "fields": _fields(entry)}


def _route(route: Route) -> str:
    """All of it but the password."""
    target = route.target
    if isinstance(target, SmarthostRoute):
        where = f"{target.host}:{target.port}"
        more = f", as {target.username}" if target.username else ""
    else:
        where = f"MX, port {target.port}"
        more = ", private hosts allowed" if target.allow_private else ""
    if target.ehlo_ignore:
        more += f", without {' '.join(target.ehlo_ignore)}"
    return f"{', '.join(route.patterns)} to {where}, TLS {target.tls}{more}"


def _name(entry: Entry) -> str:
    kind, name = identity(entry)
    short = name[:12] if kind == "api_key" else name
    label = getattr(entry, "label", "") or getattr(entry, "name", "")
    return f"{kind} {short}" + (f" ({label})" if label else "")


def _facts(entry: Entry) -> Iterable[str]:
    """What is not empty."""
    return (
        f"{key} {value}"
        for key, value in _fields(entry).items()
        if key != "origin" and value not in (None, "", False)
    )


def _fields(entry: Entry) -> dict[str, object]:
    """Everything but what the entry is called by."""
    fields = asdict(entry)
    for key in ("id", "address", "sha256", "name", "label"):
        fields.pop(key, None)
    if "grants" in fields:
        fields["grants"] = " ".join(sorted(fields["grants"]))
        fields["valid_ips"] = " ".join(fields["valid_ips"])
    return fields
