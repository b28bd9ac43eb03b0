"""What all commands share: finding the configuration, opening the store, changing the directory."""

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from relay.config.config import Config, load_config
from relay.config.problems import ConfigError
from relay.domain.changes import Change
from relay.domain.directory import Snapshot
from relay.domain.errors import RelayError
from relay.frames.actor import Actor
from relay.frames.change import change_directory
from relay.frames.commands import parameters
from relay.frames.live import LiveDirectory
from relay.frames.sign_in import SignIns
from relay.net.ambient import SystemClock, SystemEntropy
from relay.net.passwords import Argon2Hasher
from relay.store import Store, open_store

USUAL_PLACES = (Path("config/relay.toml"), Path("/etc/relay/relay.toml"))

Result = TypeVar("Result")

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="relay.toml; else RELAY_CONFIG, else the usual places."),
]
AccountOption = Annotated[int, typer.Option("--account", min=1, help="The account's number.")]
AnyAccountOption = Annotated[int | None, typer.Option("--account", min=1, help="Of this account alone.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass
class NoStore(RelayError):
    """There is nothing to read yet."""

    path: Path


@dataclass(frozen=True, slots=True)
class ShellSession:
    """One command at work on the open store."""

    config: Config
    store: Store
    clock: SystemClock
    actor: str

    async def change(self, compute: Callable[[Snapshot], Sequence[Change]]) -> Sequence[Change]:
        """Write what compute makes of the newest directory; it is asked again when somebody was quicker.

        Returns the changes; what is so already is not written. Raises what compute raises,
        Conflict, StaleDirectory.
        """
        return await change_directory(await self.directory(), compute, Actor(self.actor))

    async def directory(self) -> LiveDirectory:
        """As it is now, and as it can be changed."""
        rows = self.store.directory
        return LiveDirectory(rows, await rows.snapshot(), self.clock)

    async def sign_ins(self) -> SignIns:
        """Users and how they come in, as the console has them."""
        return SignIns(self.store.users, Argon2Hasher(), self.clock, SystemEntropy(), await self.directory())


def config_at(path: Path | None) -> tuple[Config, Path]:
    """The configuration, and where it was found. Raises ConfigError."""
    named = path or (Path(os.environ["RELAY_CONFIG"]) if os.environ.get("RELAY_CONFIG") else None)
    found = named or next((place for place in USUAL_PLACES if place.exists()), None)
    if found is None:
        places = " or ".join(str(place) for place in USUAL_PLACES)
        raise ConfigError((f"no configuration: expected {places}, RELAY_CONFIG or --config PATH",))
    return load_config(found, os.environ), found


def in_store(
    path: Path | None, work: Callable[[ShellSession], Awaitable[Result]], *, may_create: bool = False
) -> Result:
    """What work returns, with the store of that configuration open.

    Raises ConfigError, UnusableStore, NoStore unless the command may create it.
    """
    config, _ = config_at(path)
    if not may_create and not config.store_file.exists():
        raise NoStore(config.store_file)

    async def run() -> Result:
        async with await open_store(
            config.store, account_queue_bytes=config.limits.account_queue_bytes
        ) as store:
            return await work(ShellSession(config, store, SystemClock(), _actor()))

    return asyncio.run(run())


def _actor() -> str:
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a uid without a name, as in containers
        return f"cli:{os.getuid()}"


async def read_snapshot(session: ShellSession) -> Snapshot:
    return await session.store.directory.snapshot()


NameArgument = Annotated[str, typer.Argument(metavar="NAME", parser=parameters.name)]
