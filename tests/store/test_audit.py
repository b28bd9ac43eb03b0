"""The history of one object and of one account, and nothing of others in it (R29)."""

from dataclasses import replace

import pytest

from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import Account, Plan, Pool, SendingIp
from relay.domain.ids import AccountId, PoolId
from relay.store import Store
from tests.support.mail import ACCOUNT, IP, NOW

OTHER = AccountId(2)
POOL = PoolId("default")


async def change(store: Store, *changes: Change) -> None:
    await store.directory.apply(changes, await store.directory.revision(), "jane", NOW)


@pytest.fixture
async def history(store: Store) -> Store:
    """IP goes from one account to the other."""
    sending = (await store.directory.snapshot()).ips[IP]
    news = Pool(ACCOUNT, PoolId("news"), "News")
    await change(store, Put(Account(OTHER, "Other", Plan.SELF_SERVE)), Put(news))
    await change(store, Put(replace(sending, pool=news.id)))
    await change(store, Put(replace(sending, account=None, pool=None)))
    await change(store, Put(replace(sending, account=OTHER, pool=POOL)))
    await change(store, Remove(news))
    return store


async def test_one_object_has_its_history(history: Store) -> None:
    lines = await history.directory.audit_of(10, about=f"sending_ip {IP}")
    assert {line.what for line in lines} == {f"put sending_ip {IP}"}
    assert len(lines) == 4
    assert lines[0].before == lines[1].after
    assert lines[-1].before is None
    pool = await history.directory.audit_of(10, about="pool 1/news")
    assert [line.what for line in pool] == ["remove pool 1/news", "put pool 1/news"]
    assert await history.directory.audit_of(10, about="pool 1/new") == []


async def test_an_account_sees_what_it_has_and_had_and_nothing_of_others(history: Store) -> None:
    lines = await history.directory.audit_of(10, account=OTHER)
    assert [line.what for line in lines] == [
        f"put sending_ip {IP}",
        "put pool 2/default",
        "put account 2",
    ]
    (got, *_) = lines
    assert got.before is None
    assert got.after is not None
    ours = await history.directory.audit_of(10, account=ACCOUNT, about=f"sending_ip {IP}")
    assert [(line.before is None, line.after is None) for line in ours] == [
        (False, True),
        (False, False),
        (True, False),
    ]


async def test_the_history_is_read_in_parts(history: Store) -> None:
    whole = await history.directory.audit_of(100, account=ACCOUNT)
    first = await history.directory.audit_of(3, account=ACCOUNT)
    rest = await history.directory.audit_of(100, account=ACCOUNT, after=first[-1].id)
    assert [*first, *rest] == whole
    assert [line.id for line in whole] == sorted((line.id for line in whole), reverse=True)
    assert (await history.directory.audit(2))[0] == (await history.directory.audit_of(1))[0]


async def test_a_history_is_found_by_its_index(history: Store) -> None:
    """However many lines others have."""
    await change(history, *[Put(Pool(OTHER, PoolId(f"p{number}"), f"P {number}")) for number in range(50)])
    assert len(await history.directory.audit_of(100, account=OTHER)) == 53
    assert isinstance((await history.directory.snapshot()).ips[IP], SendingIp)
