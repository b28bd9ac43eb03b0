"""What a process finds done before it listens: how it stands, the store's first directory, a certificate."""

import asyncio
import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from relay.ambient import SystemClock
from relay.domain.directory import SendingIp, Snapshot
from relay.domain.errors import Conflict
from relay.judgments import Book, Case, judge
from relay.judgments.directory import missing_of
from relay.net.tls import ensure_self_signed
from relay.ports import Clock
from relay.schema.config import Config, source_of
from relay.schema.directory import DirectoryFile, load_directory
from relay.schema.problems import ConfigError
from relay.service.directory import changes_to, entries_of
from relay.store import Store, UnusableStore, open_store
from relay.store.peek import peek

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Standing:
    """How an installation stands before it starts."""

    case: Case
    difference: str = ""
    """What lies between the directory file and the store, in a sentence; empty: nothing."""
    differences: int = 0
    refused: str = ""
    """Why the store cannot be read; empty: it can, or there is none."""

    @property
    def missing(self) -> list[str]:
        """Sending IPs in force that should be on this machine, and are not."""
        return missing_of(self.ips, self.case.config.node)

    @property
    def ips(self) -> list[SendingIp]:
        book = self.case.in_force
        return [] if book is None else [ip for ip in book.of(SendingIp) if not ip.is_retired]

    def refuse(self) -> None:
        """Raises ConfigError when nothing may start like this."""
        refusals = tuple(str(finding) for finding in judge(self.case) if finding.refuses)
        if refusals:
            raise ConfigError(refusals)


def standing_of(config: Config, path: Path, listed: DirectoryFile | None) -> Standing:
    """Before anything is opened. path: of relay.toml. listed: the directory file, where it can be read."""
    snapshot, refused = None, ""
    try:
        snapshot = peek(Path(config.store.removeprefix("sqlite:///")))
    except (UnusableStore, OSError) as error:
        refused = str(error)
    file = None if listed is None else Book(str(config.directory), listed.entries, listed.routes)
    stored = None if snapshot is None else Book("the store", tuple(entries_of(snapshot)), snapshot.routes)
    source = partial(source_of, environ=os.environ, path=path)
    case = Case(config, source, file, stored, SystemClock().now())
    difference, number = "", 0
    if snapshot is not None and listed is not None:
        difference, number = _difference(snapshot, listed, config.directory)
    return Standing(case, difference, number, refused)


def directory_file(config: Config) -> DirectoryFile | None:
    """What the directory file says; None when it is not there, or wrong."""
    try:
        return load_directory(config.directory)
    except ConfigError:
        return None


def _difference(snapshot: Snapshot, listed: DirectoryFile, path: Path) -> tuple[str, int]:
    """As `relay directory diff` counts."""
    try:
        number = len(changes_to(snapshot, listed.entries, listed.routes).changes)
    except Conflict as error:
        return f"the store is not as {path} says, which cannot be applied: {error.detail}", 1
    if number == 0:
        return "", 0
    changes = "1 change" if number == 1 else f"{number} changes"
    return f"the store differs from {path} by {changes}; see `relay directory diff {path}`", number


async def prepare(config: Config) -> int:
    """What several workers should find done: the store, its first directory, the certificate. 0."""
    async with await open_store(config.store) as store:
        await first_directory(store, config, SystemClock())
    if "smtp" in config.roles:
        await asyncio.to_thread(smtp_pair, config)
    if {"api", "web"} & config.roles:
        await asyncio.to_thread(http_pair, config)
    return 0


async def first_directory(store: Store, config: Config, clock: Clock) -> None:
    """A store without a directory takes that of the file (I §3)."""
    if await store.directory.revision() > 0:
        return
    if not config.directory.exists():
        log.warning(
            "%s is not there: the store begins without accounts, and nobody may send", config.directory
        )
        return
    wanted = load_directory(config.directory)
    snapshot = await store.directory.snapshot()
    plan = changes_to(snapshot, wanted.entries, wanted.routes, prune=False)
    await store.directory.apply(plan.changes, snapshot.revision, "start", clock.now())
    log.info("applied %s to the empty store", config.directory)


def smtp_pair(config: Config) -> tuple[Path, Path]:
    """The configured PEM files, or the self-signed pair beside the store, made when missing."""
    if config.smtp.certificate is not None and config.smtp.key is not None:
        return config.smtp.certificate, config.smtp.key
    return _self_signed(config)


def http_pair(config: Config) -> tuple[Path, Path] | None:
    """The same of HTTP; None when it speaks clear text alone."""
    if config.http.certificate is not None and config.http.key is not None:
        return config.http.certificate, config.http.key
    return _self_signed(config) if config.http.listen_tls else None


def _self_signed(config: Config) -> tuple[Path, Path]:
    beside = Path(config.store.removeprefix("sqlite:///")).parent
    return ensure_self_signed(beside, config.hostname, *_THIS_MACHINE)
