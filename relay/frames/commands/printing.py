"""What commands print: tables for people, JSON for programs, one sentence for what went wrong."""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import typer

from relay.domain.errors import RelayError
from relay.domain.resolve import Step
from relay.domain.words import Door
from relay.domain.words import say as say_in_words
from relay.frames.commands.session import NoStore


def make_plain(value: object) -> str:
    """The text without what a terminal would obey: queue and directory hold what strangers sent."""
    return "".join(char if char.isprintable() else "�" for char in str(value))


def write_moment(at: datetime) -> str:
    """To the millisecond, UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}Z"


def print_line(text: str) -> None:
    typer.echo(text)


def print_steps(steps: Sequence[Step]) -> None:
    """Of a decision, each with its rule, and where the rules are."""
    for step in steps:
        print_line(f"  {step.rule:<8}{make_plain(step.finding)}")
    if steps:
        print_line("  what each rule says: docs/rules.md, or Rules in the console")


def warn(text: str) -> None:
    """To standard error, beside what a program reads."""
    typer.echo(text, err=True)


def print_json(value: object) -> None:
    """Times as ISO 8601. Escaped to ASCII: it is safe in a terminal too."""
    typer.echo(json.dumps(value, indent=2, default=_as_json))


def print_rows(rows: Sequence[Mapping[str, object]], as_json: bool, none: str = "none") -> None:
    """Rows with the same keys: a JSON list, or a table; none is said instead of an empty table."""
    if as_json:
        print_json(rows)
        return
    if not rows:
        print_line(none)
        return
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(row[at]) for row in [columns, *cells]) for at in range(len(columns))]
    for row in [[column.upper() for column in columns], *cells]:
        print_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_pairs(pairs: Sequence[tuple[str, object]], indent: str = "  ") -> None:
    """Name and value, a line each; without those that say nothing."""
    told = [(name, make_plain(value)) for name, value in pairs if value not in ("", None)]
    width = max((len(name) for name, _ in told), default=0)
    for name, value in told:
        print_line(f"{indent}{name.ljust(width)}  {value}")


def word_for_shell(error: RelayError) -> str:
    """What went wrong, for the operator."""
    if isinstance(error, NoStore):
        return f"no store at {error.path}: start the relay once, or run `relay migrate`"
    return say_in_words(error, Door.SHELL) or str(error) or type(error).__name__


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}Z"
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list | tuple):
        return make_plain(", ".join(str(item) for item in value))
    return make_plain(value)


def _as_json(value: object) -> str:
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(type(value).__name__)
