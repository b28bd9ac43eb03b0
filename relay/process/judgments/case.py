"""What is judged, and what a judgment finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from relay.config.config import Config
from relay.config.values import Endpoint
from relay.domain.directory import Entry
from relay.domain.route import Route

Kind = TypeVar("Kind", bound=Entry)
STORE = "the store"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or probably is."""

    where: str
    """File or variable, and the key in it; "the store"."""
    what: str
    """A sentence that names the remedy."""
    refuses: bool = False
    """Nothing may start like this; otherwise it runs."""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.where, self.what) if part)


@dataclass(frozen=True, slots=True)
class Book:
    """One directory: that of the file, or that of the store, or the store's once the file is applied."""

    place: str
    entries: tuple[Entry, ...]
    routes: tuple[Route, ...]
    kept: frozenset[Entry] = frozenset()
    """Those that the file does not list, and that stay in the store when it is applied."""

    idle: tuple[str, ...] = ()
    """Keys of the file that have no effect."""

    def place_of(self, entry: Entry) -> str:
        return STORE if entry in self.kept else self.place

    def of(self, kind: type[Kind]) -> Iterator[Kind]:
        return (entry for entry in self.entries if isinstance(entry, kind))


@dataclass(frozen=True, slots=True)
class Listener:
    """An address that this installation listens on."""

    key: str
    """`smtp.listen`."""
    endpoint: Endpoint

    def __str__(self) -> str:
        return f"{self.key} {self.endpoint}"


@dataclass(frozen=True, slots=True)
class Case:
    """One installation, as it would start now."""

    config: Config
    source: Callable[[str], str]
    """Where a setting comes from: the file, or a variable of the environment."""
    file: Book | None
    """None: it is not there, or is no directory."""
    stored: Book | None
    """None: there is no store, or it has no directory yet."""
    now: datetime
    applied: Book | None = None
    """What the store says once the file is applied; None: it cannot be, or there is no store."""
    is_applied: bool = False
    """It says so already."""
    wide: tuple[tuple[Path, int], ...] = ()
    """Folders of the store into which others on this machine can look, and their modes."""

    @property
    def books(self) -> tuple[Book, ...]:
        return tuple(book for book in (self.file, self.stored) if book is not None)

    @property
    def outlooks(self) -> tuple[Book, ...]:
        """Whole directories: what will be in force by the file, and what is now where that differs."""
        if self.applied is None:
            return self.books
        now = () if self.is_applied or self.stored is None else (self.stored,)
        return (self.applied, *now)

    @property
    def in_force(self) -> Book | None:
        """What a start goes by: the file only while the store is empty."""
        return self.stored or self.file

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """Of the roles that run."""
        config, found = self.config, []
        if "smtp" in config.roles:
            found += [Listener("smtp.listen", endpoint) for endpoint in config.smtp.listen]
            found += [Listener("smtp.listen_tls", endpoint) for endpoint in config.smtp.listen_tls]
        if self.answers_http:
            found.append(Listener("http.listen", config.http.listen))
            found += [Listener("http.listen_tls", endpoint) for endpoint in config.http.listen_tls]
        return tuple(found)

    @property
    def answers_http(self) -> bool:
        return bool({"api", "web"} & set(self.config.roles))

    def found(self, key: str, what: str, refuses: bool = False) -> Finding:
        """Of a setting."""
        return Finding(f"{self.source(key)}: {key}", what, refuses)


Judgment = Callable[[Case], Iterator[Finding]]
