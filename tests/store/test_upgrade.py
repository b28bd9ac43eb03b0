"""A store of an older version gets its read models from the mail and the events that it has."""

import sqlite3
from contextlib import closing
from datetime import timedelta
from importlib.resources import files
from pathlib import Path

from relay.domain.ids import AccountId
from relay.ports.eventlog import EventQuery
from relay.ports.queue import MailFilter
from relay.ports.report import Facet
from relay.ports.suppressions import SuppressionQuery
from relay.store import open_store
from relay.store.migrate import migrate, migrations
from relay.store.sqlite.wal import connect_wal
from tests.support.crowded import NEEDLE, crowd


async def test_an_older_store_is_counted_when_it_is_upgraded(tmp_path: Path) -> None:
    made = await crowd(tmp_path / "relay.db", 3000, 3000)
    with closing(sqlite3.connect(tmp_path / "relay.db")) as connection:
        mail = connection.execute(
            "SELECT account, ip, pool, domain, sum(state = 'queued'), sum(state = 'in_flight'),"
            " sum(state = 'held') FROM message GROUP BY 1, 2, 3, 4"
        ).fetchall()
        (newest,) = connection.execute("SELECT max(id) FROM message").fetchone()
        events = connection.execute("SELECT kind, count(*) FROM event GROUP BY kind ORDER BY kind").fetchall()
    since, until = made.now - timedelta(days=3), made.now + timedelta(days=1)
    async with await open_store(made.url) as store:
        page = await store.reports.waiting(MailFilter(None), list(Facet), 3000)
        tallies = await store.reports.tallies(None, since, until, timedelta(days=7))
        found = await store.events.find(EventQuery(None, since, until, subjects=(NEEDLE,)), 10)
        assert await store.queue.last_ungated() == newest
    counted = {
        (
            group.account,
            group.ip,
            group.pool,
            group.domain,
            group.counts.queued,
            group.counts.in_flight,
            group.counts.held,
        )
        for group in page.groups
    }
    assert counted == set(mail)
    assert page.counts.total == 3000
    numbers: dict[str, int] = {}
    for tally in tallies:
        numbers[tally.kind] = numbers.get(tally.kind, 0) + tally.count
    assert sorted(numbers.items()) == events
    assert [told.id for told in found.told] == ["2", "1"]


async def test_quotes_that_a_suppressed_recipient_does_not_need_are_taken_away(tmp_path: Path) -> None:
    path, all_steps = tmp_path / "relay.db", migrations("relay.store.sqlite")
    before = ['"bob"@b.example', '"b.ob+x"@b.example', '"b..b"@b.example', '"b b"@b.example', "eve@b.example"]
    before += ['"."@b.example', '"b\\"@"@b.example', '"eve"@b.example', '".x"@b.example', '"x."@b.example']
    with closing(connect_wal(path)) as connection:
        migrate(connection, {version: step for version, step in all_steps.items() if version < 12})
        for recipient in before:
            row = (1, 0, recipient, "transactional", "Manually Added", "", 1, 1)
            connection.execute("INSERT INTO suppression VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
    async with await open_store(f"sqlite:///{path}") as store:
        found = await store.suppressions.find(SuppressionQuery(AccountId(1)), 100)
    assert {entry.recipient for entry in found.entries} == {
        *("bob@b.example", "b.ob+x@b.example", "eve@b.example"),
        *('"b..b"@b.example', '"b b"@b.example', '"."@b.example', '"b\\"@"@b.example'),
        *('".x"@b.example', '"x."@b.example'),
    }
    assert len(found.entries) == 9


def test_each_version_is_one_step_and_none_is_left_out() -> None:
    folder = files("relay.store.sqlite").joinpath("migrations")
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
