"""The directory as the store keeps it: nothing of an entry is lost."""

from hypothesis import given

from relay.domain.changes import entries_of
from relay.domain.directory import Snapshot
from relay.store.entries import ROUTES, entry_json, place, routes_json, snapshot
from tests.schema.test_export import directories


@given(stored=directories())
def test_a_directory_that_was_written_is_read_as_the_same(stored: Snapshot) -> None:
    rows = [(place(entry)[0], entry_json(entry)) for entry in entries_of(stored)]
    rows.append((ROUTES, routes_json(stored.routes)))
    assert snapshot(stored.revision, rows) == stored
