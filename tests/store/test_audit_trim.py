"""Audit lines go when they are old, or when an account has very many."""

from datetime import timedelta

from relay.domain.changes import Put
from relay.domain.directory import Account, Plan, Pool
from relay.domain.ids import AccountId, PoolId
from relay.store import Store
from relay.testing.clock import HandMovedClock

ACME, BIRCH = AccountId(1), AccountId(2)


async def test_old_lines_go_and_each_account_keeps_its_newest(store: Store) -> None:
    clock = HandMovedClock()
    start = clock.now()
    rows = store.directory

    async def put(*entries: Account | Pool, days: int) -> None:
        changes = [Put(entry) for entry in entries]
        await rows.apply(changes, await rows.revision(), "test", start + timedelta(days=days))

    await put(Account(ACME, "Acme", Plan.FREE), Account(BIRCH, "Birch", Plan.FREE), days=0)
    many = 520
    await put(*(Pool(ACME, PoolId(f"p{number}"), f"P{number}") for number in range(many)), days=1)
    await put(Pool(BIRCH, PoolId("news"), "News"), days=1)
    before = await rows.audit(5000)
    assert await rows.trim_audit(start - timedelta(days=1), many * 2) == 0
    old = [line for line in before if line.at == start]
    assert old
    assert await rows.trim_audit(start + timedelta(hours=1), many * 2) == len(old)
    held = len(await rows.audit_of(5000, account=ACME))
    assert await rows.trim_audit(start, 7) == held - 7
    assert len(await rows.audit_of(5000, account=ACME)) == 7
    assert await rows.audit_of(5000, account=BIRCH) == [line for line in before if "2/news" in line.what]
    assert await rows.audit_of(7, account=ACME) == [line for line in before if "pool 1/p" in line.what][:7]
