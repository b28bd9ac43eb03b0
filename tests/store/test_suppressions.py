"""The suppression lists, and what they do to mail that is being stored."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from relay.domain.errors import ComplianceEntry, RecipientsSuppressed
from relay.domain.events import Bounce, Subject
from relay.domain.ids import AccountId, SubaccountId, to_us
from relay.domain.lifecycle import Finish
from relay.domain.suppression import Kind, Source, Suppression, after_bounce
from relay.ports.queue import EnqueueBatch, Lane, ListCheck
from relay.ports.suppressions import SuppressionQuery
from relay.store import Store, open_store
from relay.store.migrate import migrate, migrations
from tests.store.conftest import PEER, build_batch, claim, copies, put, stored
from tests.support.mail import ACCOUNT, NOW, build_message

OTHERS = AccountId(2)
PART = SubaccountId(7)
MARKETING, RECEIPTS = Kind.NON_TRANSACTIONAL, Kind.TRANSACTIONAL


def entry(
    recipient: str = "bob@b.example",
    kind: Kind = MARKETING,
    *,
    account: AccountId = ACCOUNT,
    subaccount: SubaccountId | None = None,
    source: Source = Source.MANUALLY_ADDED,
    description: str = "",
    days: int = 0,
    list_id: str = "",
) -> Suppression:
    at = NOW + timedelta(days=days)
    return Suppression(account, subaccount, recipient, kind, source, description, at, at, list_id)


async def found(store: Store, query: SuppressionQuery) -> list[Suppression]:
    return list((await store.suppressions.find(query, 100)).entries)


EVERYTHING = SuppressionQuery(ACCOUNT, all_subaccounts=True)


async def test_an_entry_is_added_and_then_changed(store: Store) -> None:
    await store.suppressions.put([entry()])
    await store.suppressions.put([entry(description="again", days=1)])
    (changed,) = await found(store, EVERYTHING)
    assert (changed.description, changed.created, changed.updated) == ("again", NOW, NOW + timedelta(days=1))


async def test_an_entry_for_compliance_is_not_the_accounts_to_change(store: Store) -> None:
    await store.suppressions.put([entry(source=Source.COMPLIANCE), entry(kind=RECEIPTS)])
    await store.suppressions.put([entry(description="mine")])
    with pytest.raises(ComplianceEntry):
        await store.suppressions.remove(ACCOUNT, None, "bob@b.example", [MARKETING, RECEIPTS])
    assert [(one.source, one.description) for one in await found(store, EVERYTHING)] == [
        (Source.COMPLIANCE, ""),
        (Source.MANUALLY_ADDED, ""),
    ]


@pytest.mark.parametrize(
    ("account", "subaccount", "recipient", "kinds", "left"),
    [
        pytest.param(ACCOUNT, None, "bob@b.example", [MARKETING], 1, id="one kind"),
        pytest.param(ACCOUNT, None, "bob@b.example", [MARKETING, RECEIPTS], 0, id="both"),
        pytest.param(ACCOUNT, PART, "bob@b.example", [MARKETING, RECEIPTS], 2, id="another list"),
        pytest.param(OTHERS, None, "bob@b.example", [MARKETING, RECEIPTS], 2, id="another account"),
        pytest.param(ACCOUNT, None, "eve@b.example", [MARKETING, RECEIPTS], 2, id="another recipient"),
    ],
)
async def test_entries_are_removed_where_they_are(
    store: Store,
    account: AccountId,
    subaccount: SubaccountId | None,
    recipient: str,
    kinds: list[Kind],
    left: int,
) -> None:
    await store.suppressions.put([entry(), entry(kind=RECEIPTS)])
    assert await store.suppressions.remove(account, subaccount, recipient, kinds) is (left < 2)
    assert len(await found(store, EVERYTHING)) == left


LISTED = [
    entry("a@b.example", description="Said STOP", days=1),
    entry("a@b.example", RECEIPTS, source=Source.COMPLIANCE),
    entry("z@sub.b.example", source=Source.BOUNCE_RULE, days=2),
    entry("m@c.example", subaccount=PART, days=3),
    entry("x@b.example", account=OTHERS),
]


@pytest.mark.parametrize(
    ("query", "recipients"),
    [
        pytest.param(SuppressionQuery(ACCOUNT), "a a z", id="the account's own"),
        pytest.param(EVERYTHING, "a a z m", id="with subaccounts"),
        pytest.param(SuppressionQuery(ACCOUNT, subaccount=PART), "m", id="a subaccount's"),
        pytest.param(SuppressionQuery(ACCOUNT, recipient="a@b.example"), "a a", id="a recipient"),
        pytest.param(SuppressionQuery(ACCOUNT, domain="b.example"), "a a", id="a domain and not below it"),
        pytest.param(SuppressionQuery(ACCOUNT, kinds=frozenset({RECEIPTS})), "a", id="a kind"),
        pytest.param(SuppressionQuery(ACCOUNT, sources=frozenset({Source.BOUNCE_RULE})), "z", id="a source"),
        pytest.param(SuppressionQuery(ACCOUNT, description="stop"), "a", id="a word"),
        pytest.param(SuppressionQuery(ACCOUNT, description="%"), "", id="no pattern"),
        pytest.param(SuppressionQuery(ACCOUNT, since=NOW + timedelta(days=1)), "a z", id="since"),
        pytest.param(SuppressionQuery(ACCOUNT, until=NOW + timedelta(days=1)), "a", id="until"),
    ],
)
async def test_a_search_finds_what_fits(store: Store, query: SuppressionQuery, recipients: str) -> None:
    await store.suppressions.put(LISTED)
    assert " ".join(one.recipient[0] for one in await found(store, query)) == recipients


async def test_a_list_is_read_page_by_page(store: Store) -> None:
    await store.suppressions.put(LISTED)
    first = await store.suppressions.find(EVERYTHING, 3)
    rest = await store.suppressions.find(EVERYTHING, 3, after=first.entries[-1])
    assert (len(first.entries), first.total, first.has_more) == (3, 4, True)
    assert (len(rest.entries), rest.total, rest.has_more) == (1, 4, False)
    skipped = await store.suppressions.find(EVERYTHING, 3, offset=3)
    assert skipped.entries == rest.entries
    assert first.entries + rest.entries == tuple(await found(store, EVERYTHING))


async def test_entries_are_counted_by_source(store: Store) -> None:
    await store.suppressions.put([*LISTED, entry("a@b.example", list_id="news.example")])
    assert await store.suppressions.count(EVERYTHING) == {
        Source.MANUALLY_ADDED: 3,
        Source.COMPLIANCE: 1,
        Source.BOUNCE_RULE: 1,
    }
    assert await store.suppressions.count(SuppressionQuery(AccountId(9))) == {}


async def test_of_the_entries_of_several_lists_that_for_compliance_says_why(store: Store) -> None:
    entries = [entry(list_id=list_id, source=Source.MANUALLY_ADDED) for list_id in ("a.example", "z.example")]
    await store.suppressions.put([*entries, entry(list_id="m.example", source=Source.COMPLIANCE)])
    why = await store.suppressions.among(ACCOUNT, None, MARKETING, ["bob@b.example"])
    assert why == {"bob@b.example": Source.COMPLIANCE}
    assert await store.suppressions.remove(ACCOUNT, None, "bob@b.example", [MARKETING], "A.example")
    with pytest.raises(ComplianceEntry):
        await store.suppressions.remove(ACCOUNT, None, "bob@b.example", [MARKETING])
    assert [one.list_id for one in await found(store, EVERYTHING)] == ["m.example", "z.example"]


async def test_some_of_many_recipients_are_on_the_list(store: Store) -> None:
    await store.suppressions.put([entry(), entry("eve@b.example", RECEIPTS, source=Source.COMPLIANCE)])
    asked = ["bob@b.example", "eve@b.example", "\udcff@b.example"]
    ask = store.suppressions.among
    assert await ask(ACCOUNT, None, MARKETING, asked) == {"bob@b.example": Source.MANUALLY_ADDED}
    assert await ask(ACCOUNT, None, RECEIPTS, asked) == {"eve@b.example": Source.COMPLIANCE}
    assert await ask(ACCOUNT, PART, RECEIPTS, asked) == {}


async def test_entries_from_before_there_were_lists_are_of_none(tmp_path: Path) -> None:
    steps = {version: text for version, text in migrations("relay.store.sqlite").items() if version < 13}
    with closing(sqlite3.connect(tmp_path / "relay.db")) as connection:
        migrate(connection, steps)
        row = (ACCOUNT, 7, "bob@b.example", "transactional", "Compliance", "why", to_us(NOW), to_us(NOW))
        connection.execute(f"INSERT INTO suppression VALUES ({', '.join('?' * 8)})", row)
        connection.commit()
    async with await open_store(f"sqlite:///{tmp_path / 'relay.db'}") as store:
        (kept,) = await found(store, EVERYTHING)
        await store.suppressions.put([replace(kept, list_id="news.example", source=Source.MANUALLY_ADDED)])
        assert len(await found(store, EVERYTHING)) == 2
    assert kept == Suppression(
        ACCOUNT, PART, "bob@b.example", RECEIPTS, Source.COMPLIANCE, "why", NOW, NOW, list_id=""
    )


# ── mail that is being stored ────────────────────────────────────────────────────────────


def checked(batch: EnqueueBatch, kind: Kind = MARKETING, *known: str) -> EnqueueBatch:
    return replace(batch, list_check=ListCheck(kind, frozenset(known)))


async def test_mail_to_suppressed_recipients_is_handed_back_whole(store: Store) -> None:
    await store.suppressions.put([entry("r1@b.example")])
    with pytest.raises(RecipientsSuppressed) as caught:
        await store.queue.enqueue(checked(build_batch(*copies(3))))
    assert caught.value.found == {"r1@b.example": "Manually Added"}
    assert await stored(store) == []


@pytest.mark.parametrize(
    ("batch", "number"),
    [
        pytest.param(checked(build_batch(*copies(3)), MARKETING, "r1@b.example"), 3, id="known already"),
        pytest.param(checked(build_batch(*copies(3)), RECEIPTS), 3, id="mail of the other kind"),
        pytest.param(build_batch(*copies(3)), 3, id="nobody asks"),
        pytest.param(checked(build_batch(build_message("eve@b.example"))), 1, id="others"),
    ],
)
async def test_other_mail_is_stored(store: Store, batch: EnqueueBatch, number: int) -> None:
    await store.suppressions.put([entry("r1@b.example")])
    await store.queue.enqueue(batch)
    assert len(await stored(store)) == number


async def test_neighbours_in_one_commit_are_not_hurt(store: Store) -> None:
    await store.suppressions.put([entry()])
    refused = store.queue.enqueue(checked(build_batch()))
    await put(store, build_message("eve@b.example"))
    with pytest.raises(RecipientsSuppressed):
        await refused
    assert [message.rcpt_to for message in await stored(store)] == ["eve@b.example"]


async def test_a_batch_of_nobody_leaves_its_events(store: Store) -> None:
    """All its recipients are suppressed: accepted and bounced, and nothing is queued."""
    message = build_message()
    batch = build_batch(message)
    await store.queue.enqueue(replace(batch, messages=[]))
    assert await stored(store) == []
    (told,) = await store.events.story(message.id)
    assert told.submission == batch.submission


async def test_a_hard_bounce_puts_its_recipient_on_the_list_and_nobody_twice(
    store: Store, lane: Lane
) -> None:
    first, second = await put(store, build_message("Bob@b.example"), build_message("bob@b.example"))
    await claim(store, lane)
    ends = []
    for message in (first, second):
        bounce = Bounce(NOW, Subject.of(message), 0, 0, PEER, 10, 550, "550 5.1.1 unknown")
        ends.append(Finish(message.id, message.body_id, bounce, suppress=after_bounce(bounce)))
    await store.queue.settle(lane, ends)
    entries = await found(store, EVERYTHING)
    assert [(one.recipient, one.kind, one.source) for one in entries] == [
        ("bob@b.example", MARKETING, Source.BOUNCE_RULE),
        ("bob@b.example", RECEIPTS, Source.BOUNCE_RULE),
    ]
