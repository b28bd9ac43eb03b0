"""Changes that take something from mail: told first, and made only with --yes."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from relay.domain.changes import Change
from relay.domain.directory import Snapshot
from relay.frames.commands.printing import make_plain, warn
from relay.frames.commands.session import ConfigOption, ShellSession, in_store
from relay.frames.consequences import consequences, foretell

YesOption = Annotated[bool, typer.Option("--yes", help="Do it, with the consequences that it tells without.")]

Compute = Callable[[Snapshot], Sequence[Change]]
More = Callable[[ShellSession, Snapshot, Sequence[Change]], Awaitable[list[str]]]


@dataclass
class Unconfirmed(Exception):
    """What would become of mail; nothing was changed."""

    consequences: list[str]


async def nothing_more(session: ShellSession, snapshot: Snapshot, changes: Sequence[Change]) -> list[str]:
    return []


async def change_with_consent(
    session: ShellSession, yes: bool, compute: Compute, more: More = nothing_more
) -> Sequence[Change]:
    """The changes, made. more: consequences that the directory alone does not show.

    Raises Unconfirmed unless yes, and what `Session.change` raises.
    """
    if not yes:
        snapshot = await session.store.directory.snapshot()
        if told := await more(session, snapshot, compute(snapshot)):
            raise Unconfirmed(consequences(snapshot, compute(snapshot)) + told)

    def judged(found: Snapshot) -> Sequence[Change]:
        changes = compute(found)
        if not yes and (told := consequences(found, changes)):
            raise Unconfirmed(told)
        return changes

    return await session.change(judged)


def with_consent(config: ConfigOption, yes: bool, compute: Compute, more: More = nothing_more) -> None:
    """Make the changes; without yes tell what they do to mail, change nothing and end with 1."""

    async def work(session: ShellSession) -> None:
        await change_with_consent(session, yes, compute, more)

    with asking():
        in_store(config, work, may_create=True)


@dataclass
class Foretelling:
    """Computes changes, and keeps in mind what becomes of mail by those that were computed last."""

    compute: Compute
    consequences: Sequence[str] = ()

    def __call__(self, found: Snapshot) -> Sequence[Change]:
        changes = self.compute(found)
        self.consequences = foretell(found, changes)
        return changes

    def tell(self) -> None:
        """Beside the answer: it is done."""
        for told in self.consequences:
            warn(make_plain(told))


@contextmanager
def asking() -> Iterator[None]:
    """Tells what was not confirmed, and ends with 1."""
    try:
        yield
    except Unconfirmed as error:
        for told in error.consequences:
            warn(make_plain(told))
        warn("nothing was changed: repeat it with --yes")
        raise typer.Exit(1) from error


def change(config: ConfigOption, compute: Compute) -> None:
    async def work(session: ShellSession) -> None:
        await session.change(compute)

    in_store(config, work, may_create=True)
