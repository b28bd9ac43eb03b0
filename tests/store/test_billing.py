"""The ledger that directory changes leave, released IPs, and answers kept for repeated requests."""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from relay.domain.billing import Holding, Terms
from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import Account, Entry, Plan, SendingIp, Snapshot
from relay.domain.errors import StaleDirectory, StaleRequest, UnknownObject
from relay.domain.ids import AccountId, IpAddress, PoolId, Revision
from relay.ports.idempotency import Answer, Answered, Begun, Standing, Ticket
from relay.ports.queue import Lane
from relay.store import Store, open_store
from relay.store.entries import entry_json, place
from relay.store.migrate import migrate, migrations
from relay.store.sqlite.wal import connect_wal
from tests.store.conftest import HOUR, MINUTE, OTHER_IP, SEEDED, claim, finish, put
from tests.support.mail import ACCOUNT, IP, NOW, build_message

DEFAULT = PoolId("default")
LATER = NOW + HOUR
TICKET = Ticket("1/0", "key-1", NOW)
ANSWER = Answer(200, b'{"results":{}}')


async def change(store: Store, *changes: Change, now: datetime = LATER) -> Snapshot:
    await store.directory.apply(changes, await store.directory.revision(), "ann", now)
    return await store.directory.snapshot()


async def ip_of(store: Store, address: IpAddress = IP) -> SendingIp:
    return (await store.directory.snapshot()).ips[address]


async def released(store: Store, address: IpAddress = IP) -> SendingIp:
    await change(store, Put(replace(await ip_of(store, address), account=None, pool=None)))
    return await ip_of(store, address)


async def holdings(store: Store, account: AccountId = ACCOUNT) -> Sequence[Holding]:
    return (await store.billing.ledger(account)).holdings


# ── the ledger ───────────────────────────────────────────────────────────────────────────


async def test_an_account_has_terms_and_holdings_from_its_first_change_on(store: Store) -> None:
    ledger = await store.billing.ledger(ACCOUNT)
    assert ledger.terms == (Terms(NOW, 2000, 1),)
    assert ledger.holdings == (Holding(IP, SEEDED, NOW), Holding(OTHER_IP, SEEDED, NOW))


async def test_what_is_no_account_has_no_ledger(store: Store) -> None:
    with pytest.raises(UnknownObject):
        await store.billing.ledger(AccountId(9))


async def test_new_terms_are_noted_and_other_changes_of_the_account_are_not(store: Store) -> None:
    account = (await store.directory.snapshot()).accounts[ACCOUNT]
    await change(store, Put(replace(account, name="Acme & Co", dedicated_ip_limit=14)))
    ends = LATER + 2 * HOUR
    await change(store, Put(replace(account, ip_price_cents=1500, bill_cycle_day=9)))
    pending = replace(account, ip_price_cents=1500, bill_cycle_day=9, next_plan=Plan.FREE, next_plan_at=ends)
    found = await change(store, Put(pending), now=LATER + HOUR)
    assert found.accounts[ACCOUNT] == pending
    assert (await store.billing.ledger(ACCOUNT)).terms == (
        Terms(NOW, 2000, 1),
        Terms(LATER, 1500, 9),
        Terms(LATER + HOUR, 1500, 9, ends),
    )


LEAVINGS = [
    pytest.param(lambda ip: Put(replace(ip, account=None, pool=None)), id="released"),
    pytest.param(lambda ip: Put(replace(ip, account=AccountId(2))), id="given to another"),
    pytest.param(lambda ip: Remove(ip), id="removed"),
    pytest.param(
        lambda ip: Put(replace(ip, account=None, pool=None, shared=True)), id="into the shared pool"
    ),
]


@pytest.mark.parametrize("leave", LEAVINGS)
@pytest.mark.parametrize("with_mail", [False, True], ids=["without mail", "with mail"])
async def test_a_holding_ends_when_the_ip_goes(
    store: Store, leave: Callable[[SendingIp], Change], with_mail: bool
) -> None:
    """A removed one that still carries mail is nobody's from then on, too."""
    if with_mail:
        await put(store, build_message())
    await change(store, Put(Account(AccountId(2), "Birch", Plan.SELF_SERVE)))
    await change(store, leave(await ip_of(store)))
    assert (await holdings(store))[0] == Holding(IP, SEEDED, NOW, LATER)
    found = await holdings(store, AccountId(2))
    assert [one.address for one in found] == [
        ip.address for ip in (await store.directory.snapshot()).ips.values() if ip.account == 2
    ]


async def test_a_move_between_pools_is_no_new_holding(store: Store) -> None:
    await change(store, Put(replace(await ip_of(store), pool=PoolId("news"), weight=3)))
    assert (await holdings(store))[0] == Holding(IP, SEEDED, NOW)


async def test_a_refused_change_leaves_no_trace_in_the_ledger(store: Store) -> None:
    gone = Put(replace(await ip_of(store), account=None, pool=None))
    with pytest.raises(StaleDirectory):
        await store.directory.apply([gone], Revision(0), "ann", LATER)
    assert (await holdings(store))[0].until is None


async def test_an_account_with_a_number_used_before_does_not_see_the_invoices_of_the_former(
    store: Store,
) -> None:
    account = (await store.directory.snapshot()).accounts[ACCOUNT]
    await change(store, Remove(account))
    await change(store, Put(account), now=LATER + HOUR)
    ledger = await store.billing.ledger(ACCOUNT)
    assert (ledger.terms, ledger.holdings) == ((Terms(LATER + HOUR, 2000, 1),), ())


async def test_what_an_older_store_holds_is_charged_from_the_migration_on(tmp_path: Path) -> None:
    path = tmp_path / "relay.db"
    all_steps = migrations("relay.store.sqlite")
    account = Account(ACCOUNT, "Acme", Plan.SELF_SERVE, ip_price_cents=1500)
    ips = [
        SendingIp(IP, IP, "mta1", account=ACCOUNT, pool=DEFAULT),
        SendingIp(OTHER_IP, OTHER_IP, "mta2", account=ACCOUNT, pool=DEFAULT, is_retired=True),
        SendingIp(IpAddress("127.0.0.13"), IpAddress("127.0.0.13"), "mta3"),
    ]
    with closing(connect_wal(path)) as connection:
        migrate(connection, {1: all_steps[1]})
        entries: list[Entry] = [account, *ips]
        for entry in entries:
            connection.execute(
                "INSERT INTO directory_entry VALUES (?, ?, ?)", (*place(entry), entry_json(entry))
            )
    async with await open_store(f"sqlite:///{path}") as store:
        ledger = await store.billing.ledger(ACCOUNT)
    assert [(terms.price_cents, terms.ends) for terms in ledger.terms] == [(1500, None)]
    (held,) = ledger.holdings
    assert (held.address, held.until) == (IP, None)
    with closing(sqlite3.connect(":memory:")) as connection:
        (seconds,) = connection.execute("SELECT unixepoch('now')").fetchone()
    assert abs(datetime.fromtimestamp(seconds, UTC) - held.since) < MINUTE


async def test_entries_of_an_older_relay_still_load(store: Store, store_url: str) -> None:
    with closing(sqlite3.connect(store_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute(
            "UPDATE directory_entry SET value = "
            "json_remove(value, '$.next_plan', '$.next_plan_at', '$.released_from')"
        )
    found = await store.directory.snapshot()
    assert (found.accounts[ACCOUNT].next_plan, found.accounts[ACCOUNT].next_plan_at) == (None, None)
    assert found.ips[IP].released_from is None


# ── released IPs ─────────────────────────────────────────────────────────────────────────


async def test_a_released_ip_without_mail_is_free_at_once(store: Store) -> None:
    assert (await released(store)).is_free


async def test_a_released_ip_is_not_free_before_its_lane_is_empty(store: Store, lane: Lane) -> None:
    """Nobody else buys an address that still carries the old owner's mail (R27)."""
    await put(store, build_message())
    ip = await released(store)
    assert (ip.account, ip.released_from, ip.is_free) == (None, ACCOUNT, False)
    assert await store.directory.reap_ips(LATER) == 0
    mail = await claim(store, lane)
    assert await store.directory.reap_ips(LATER) == 0, "in flight"
    await store.queue.settle(lane, [finish(message) for message in mail])
    assert await store.directory.reap_ips(LATER) == 1
    assert (await ip_of(store)).is_free
    assert await store.directory.reap_ips(LATER) == 0


async def test_releasing_again_forgets_nothing_and_giving_it_back_does(store: Store) -> None:
    before = await ip_of(store)
    await put(store, build_message())
    free = await released(store)
    assert await released(store) == free
    await change(store, Put(replace(free, is_draining=True)))
    assert (await ip_of(store)).released_from == ACCOUNT
    assert (await change(store, Put(before))).ips[IP] == before


async def test_a_former_shared_ip_and_a_revived_one_are_not_free_before_their_mail_has_gone(
    store: Store,
) -> None:
    before = await ip_of(store)
    await put(store, build_message())
    await change(store, Put(replace(before, account=None, pool=None, shared=True)))
    shared = await ip_of(store)
    await change(store, Put(replace(shared, shared=False)))
    assert (await ip_of(store)).released_from == 0
    await change(store, Put(before))
    await change(store, Remove(await ip_of(store)))
    assert (await ip_of(store)).is_retired
    await change(store, Put(SendingIp(IP, IP, "mta.again")))
    assert (await ip_of(store)).released_from == ACCOUNT


# ── answers ──────────────────────────────────────────────────────────────────────────────


async def begin(
    store: Store, ticket: Ticket = TICKET, fingerprint: str = "f", now: datetime = NOW
) -> Begun | Standing:
    return await store.idempotency.begin(
        ticket, fingerprint, expired=now - 24 * HOUR, given_up=now - 10 * MINUTE
    )


def again(after: timedelta) -> Ticket:
    return replace(TICKET, began=NOW + after)


async def test_a_key_is_taken_once_and_then_tells_what_was_answered(store: Store) -> None:
    assert await begin(store) == Begun(TICKET)
    assert await begin(store, again(MINUTE), "g") == Standing("f", None)
    await store.idempotency.answer(Answered(TICKET, ANSWER))
    assert await begin(store, again(MINUTE)) == Standing("f", ANSWER)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(TICKET, scope="2/0"), id="another account"),
        pytest.param(replace(TICKET, scope="1/7"), id="a subaccount"),
        pytest.param(replace(TICKET, key="key-2"), id="another key"),
        pytest.param(replace(TICKET, key="KEY-1"), id="other letters"),
    ],
)
async def test_keys_of_others_are_others(store: Store, other: Ticket) -> None:
    await begin(store)
    assert await begin(store, other) == Begun(other)


async def test_an_answer_is_kept_for_its_time_and_then_forgotten(store: Store) -> None:
    await begin(store)
    await store.idempotency.answer(Answered(TICKET, ANSWER))
    day, more = NOW + 24 * HOUR, NOW + 24 * HOUR + timedelta(microseconds=1)
    assert await begin(store, again(24 * HOUR), now=day) == Standing("f", ANSWER)
    assert await store.idempotency.forget(NOW) == 0
    late = again(25 * HOUR)
    assert await begin(store, late, "g", more) == Begun(late)
    assert await begin(store, late, "g", more) == Standing("g", None)
    assert await store.idempotency.forget(late.began + HOUR) == 1


async def test_a_request_that_was_cut_off_may_be_repeated_later_and_then_cannot_answer_itself(
    store: Store,
) -> None:
    await begin(store)
    late = again(11 * MINUTE)
    assert await begin(store, late, now=late.began) == Begun(late)
    with pytest.raises(StaleRequest):
        await store.idempotency.answer(Answered(TICKET, ANSWER))
    await store.idempotency.give_up(TICKET)
    assert await begin(store, late, now=late.began) == Standing("f", None), "only its own ticket frees a key"
    await store.idempotency.give_up(late)
    assert await begin(store, late, now=late.began) == Begun(late)


async def test_what_was_answered_is_not_given_up(store: Store) -> None:
    await begin(store)
    await store.idempotency.answer(Answered(TICKET, ANSWER))
    await store.idempotency.give_up(TICKET)
    assert await begin(store) == Standing("f", ANSWER)


async def test_changes_and_their_answer_are_stored_both_or_neither(store: Store) -> None:
    await begin(store)
    gone = Put(replace(await ip_of(store), account=None, pool=None))
    stale = Answered(replace(TICKET, began=NOW - MINUTE), ANSWER)
    with pytest.raises(StaleRequest):
        await store.directory.apply([gone], SEEDED, "ann", LATER, stale)
    assert (await ip_of(store)).account == ACCOUNT
    with pytest.raises(StaleDirectory):
        await store.directory.apply([gone], Revision(0), "ann", LATER, Answered(TICKET, ANSWER))
    assert await begin(store) == Standing("f", None)
    await store.directory.apply([gone], SEEDED, "ann", LATER, Answered(TICKET, ANSWER))
    assert (await ip_of(store)).account is None
    assert await begin(store) == Standing("f", ANSWER)
