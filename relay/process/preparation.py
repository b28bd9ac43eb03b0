"""What a process finds done before it listens: how it stands, the store's first directory, a certificate."""

import asyncio
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import assert_never

from relay.config.config import Config, source_of
from relay.config.problems import ConfigError
from relay.domain.changes import Put, Remove, SetRoutes, entries_of, identity
from relay.domain.directory import SendingIp, Snapshot
from relay.domain.errors import Conflict
from relay.net.ambient import SystemClock
from relay.net.tls import ensure_self_signed
from relay.ports.ambient import Clock
from relay.process.directory.changes import Difference, changes_to
from relay.process.directory.file import DirectoryFile, load_directory
from relay.process.judgments import judge_case
from relay.process.judgments.case import STORE, Book, Case, Finding
from relay.process.judgments.directory import missing_of
from relay.process.judgments.published import PUBLISHED
from relay.store import Store, open_store, wide_folders
from relay.store.migrate import UnusableStore
from relay.store.peek import UnreadableForNow, peek

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")

log = logging.getLogger("relay")


@dataclass(frozen=True, slots=True)
class Preparedness:
    """How an installation stands before it starts."""

    case: Case
    comparison: "Comparison"
    problems: tuple[str, ...] = ()
    """Why the directory file cannot be read; empty: it can."""
    refused: str = ""
    """Why the store cannot be read; empty: it can, or there is none."""
    is_passing: bool = False
    """The store may be read all the same in a moment: it was busy."""

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
        findings = list(judge_case(self.case))
        if refusals := self.refusals(findings, or_passing=False):
            raise ConfigError(refusals)
        if self.problems and self.case.stored is None and not self.refused:
            raise ConfigError(self.problems)

    def refusals(self, findings: Iterable[Finding], *, or_passing: bool) -> tuple[str, ...]:
        """Those of the findings, else that the store cannot be read."""
        refusals = tuple(str(finding) for finding in findings if finding.refuses)
        if self.refused and not refusals and (or_passing or not self.is_passing):
            refusals = (f"{self.case.source('store')}: store: {self.refused}",)
        return refusals


@dataclass(frozen=True, slots=True)
class Comparison:
    """The directory file against the store."""

    difference: str = ""
    """What lies between them, in a sentence; empty: nothing."""
    number: int | None = 0
    """Changes, as `relay directory diff` counts; None: nobody knows."""
    applied: Book | None = None
    """The store as it will be once the file is applied; None: it cannot be."""


def standing_of(config: Config, path: Path) -> Preparedness:
    """Before anything is opened. path: of relay.toml."""
    listed, snapshot = None, None
    problems: tuple[str, ...] = ()
    refused, is_passing = "", False
    try:
        listed = load_directory(config.directory)
    except ConfigError as error:
        problems = error.problems
    try:
        snapshot = peek(config.store_file)
    except (UnusableStore, OSError) as error:
        refused, is_passing = str(error), isinstance(error, OSError | UnreadableForNow)
    file = (
        None
        if listed is None
        else Book(str(config.directory), listed.entries, listed.routes, idle=listed.idle)
    )
    stored = None if snapshot is None else Book(STORE, tuple(entries_of(snapshot)), snapshot.routes)
    source = partial(source_of, environ=os.environ, path=path)
    compared = _compare(snapshot, listed, config.directory, problems, refused)
    is_applied = compared.number == 0
    now, wide = SystemClock().now(), tuple(wide_folders(config.store))
    case = Case(config, source, file, stored, now, compared.applied, is_applied, wide)
    return Preparedness(case, compared, problems, refused, is_passing)


def refuse_published(config: Config, path: Path, place: Path, listed: DirectoryFile) -> None:
    """Raises ConfigError when the file lists keys with which no start takes the store.

    path: of relay.toml. place: of the directory file.
    """
    source = partial(source_of, environ=os.environ, path=path)
    case = Case(config, source, Book(str(place), listed.entries, listed.routes), None, SystemClock().now())
    found = [finding for judgment in PUBLISHED for finding in judgment(case)]
    if refusals := tuple(str(finding) for finding in found if finding.refuses):
        raise ConfigError(refusals)


def _compare(
    snapshot: Snapshot | None,
    listed: DirectoryFile | None,
    path: Path,
    problems: tuple[str, ...],
    refused: str,
) -> Comparison:
    if refused:
        return Comparison(f"the store cannot be compared with {path}: {refused}", None)
    if snapshot is None:
        return Comparison()
    if listed is None:
        more = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
        what = f"{problems[0]}{more}; the store is in force, and whether it differs is unknown"
        return Comparison(f"{what}: put {path} right, and see `relay check`", None)
    try:
        difference = changes_to(snapshot, listed.entries, listed.routes)
    except Conflict as error:
        return Comparison(f"the store is not as {path} says, which cannot be applied: {error!s}", 1)
    number, applied = len(difference.changes), _applied(snapshot, difference, listed, str(path))
    if number == 0:
        return Comparison("", 0, applied)
    changes = "1 change" if number == 1 else f"{number} changes"
    what = f"the store differs from {path} by {changes}; see `relay directory diff {path}`"
    return Comparison(what, number, applied)


def _applied(snapshot: Snapshot, difference: Difference, listed: DirectoryFile, place: str) -> Book:
    entries = {identity(entry): entry for entry in entries_of(snapshot)}
    for change in difference.changes:
        match change:
            case Put(entry):
                entries[identity(entry)] = entry
            case Remove(entry):
                entries.pop(identity(entry), None)
            case SetRoutes():
                pass
            case _:
                assert_never(change)
    return Book(place, tuple(entries.values()), listed.routes, frozenset(difference.kept))


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
    """A store without a directory takes that of the file."""
    if await store.directory.revision() > 0:
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
    beside = config.store_file.parent
    return ensure_self_signed(beside, config.hostname, *_THIS_MACHINE)
