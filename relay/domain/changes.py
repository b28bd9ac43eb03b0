"""Changes to the directory as values: computed against one snapshot, applied in one transaction."""

from dataclasses import dataclass

from relay.domain.directory import Entry
from relay.domain.route import Route


@dataclass(frozen=True, slots=True)
class Put:
    """Create the object or set it to this."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Remove:
    """Delete the object.

    Removing a pool moves its IPs to `default` (A31); an account takes all that is its own along.
    """

    entry: Entry


@dataclass(frozen=True, slots=True)
class SetRoutes:
    """Replace all routes."""

    routes: tuple[Route, ...]


Change = Put | Remove | SetRoutes
