"""What operators do to the directory: each change on real rows, and each refusal in its own words."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from relay.domain.changes import Changes
from relay.domain.directory import ApiKey, Origin, Plan, SendingIp, Snapshot
from relay.domain.errors import Conflict, MalformedOptions, Refused, UnknownObject
from relay.domain.ids import AccountId, IpAddress, NodeName, PoolId, SubaccountId
from relay.frames.actor import SHELL
from relay.resources.accounts.rules import create_account, set_plan
from relay.resources.api_keys.rules import create_key, find_key, hash_key, revoke_key
from relay.resources.ip_pools.rules import PoolEdit, change_pool, create_pool, delete_pool
from relay.resources.sending_ips.rules import add_ip, assign_ip, drain_ip, move_ip, release_ip, remove_ip
from relay.resources.subaccounts.rules import create_subaccount, set_subaccount_pool
from relay.store import Store, open_store

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
ACME, CEDAR, ELM = AccountId(1), AccountId(2), AccountId(3)
NEWS, MORE, DEFAULT = PoolId("news"), PoolId("more"), PoolId("default")
SUB = SubaccountId(1)


def address(number: int) -> IpAddress:
    return IpAddress(f"127.0.0.{number}")


def free_ip(number: int) -> SendingIp:
    return SendingIp(address(number), address(number), f"mta{number}.example")


class Administered:
    """A store whose directory is changed step by step."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def __call__(self, compute: Callable[..., Changes], *arguments: object, **more: object) -> Snapshot:
        """The directory after compute(snapshot, …)."""
        snapshot = await self.snapshot()
        changes = compute(snapshot, *arguments, **more)
        await self._store.directory.apply(changes, snapshot.revision, "ann", NOW)
        return await self.snapshot()

    async def snapshot(self) -> Snapshot:
        return await self._store.directory.snapshot()


@pytest.fixture
async def change(tmp_path: Path) -> AsyncIterator[Administered]:
    """Acme (self-serve; pools news, more; IPs 1 in news, 2 to 4 in default), Cedar (Enterprise), Elm (free).

    IPs 11 to 13 are free, 21 is shared.
    """
    async with await open_store(f"sqlite:///{tmp_path}/relay.db") as store:
        change = Administered(store)
        for name, plan in (("Acme", Plan.SELF_SERVE), ("Cedar", Plan.ENTERPRISE), ("Elm", Plan.FREE)):
            await change(create_account, name, plan)
        for name in ("News", "More"):
            await change(create_pool, ACME, PoolEdit(name))
        await change(create_subaccount, ACME, "Sub")
        for number in (1, 2, 3, 4, 11, 12, 13):
            await change(add_ip, free_ip(number))
        await change(add_ip, replace(free_ip(21), shared=True))
        for number in (1, 2, 3, 4):
            await change(assign_ip, address(number), ACME, NEWS if number == 1 else DEFAULT)
        yield change


async def test_accounts_get_the_next_number_their_default_pool_and_the_limit_of_their_plan(
    change: Administered,
) -> None:
    found = await change.snapshot()
    assert [(account.id, account.name) for account in found.accounts.values()] == [
        (1, "Acme"),
        (2, "Cedar"),
        (3, "Elm"),
    ]
    assert [account.dedicated_ip_limit for account in found.accounts.values()] == [4, None, 4]
    assert all((number, DEFAULT) in found.pools for number in found.accounts)
    assert {account.origin for account in found.accounts.values()} == {Origin.LIVE}


async def test_a_plan_brings_its_limit(change: Administered) -> None:
    found = await change(set_plan, ACME, Plan.ENTERPRISE)
    assert (found.accounts[ACME].plan, found.accounts[ACME].dedicated_ip_limit) == (Plan.ENTERPRISE, None)
    found = await change(set_plan, ACME, Plan.MANUAL)
    assert found.accounts[ACME].dedicated_ip_limit == 4
    found = await change(set_plan, ACME, Plan.MANUAL, 14)
    assert found.accounts[ACME].dedicated_ip_limit == 14, "A11"


async def test_subaccounts_are_numbered_within_their_account_and_bound_to_any_name(
    change: Administered,
) -> None:
    await change(create_subaccount, ACME, "Two", None, "nowhere")
    found = await change(create_subaccount, CEDAR, "One")
    assert sorted(found.subaccounts) == [(1, 1), (1, 2), (2, 1)]
    assert found.subaccounts[ACME, SubaccountId(2)].ip_pool == "nowhere", "A9"
    found = await change(set_subaccount_pool, ACME, SUB, "news")
    assert found.subaccounts[ACME, SUB].ip_pool == "news", "R23"
    found = await change(set_subaccount_pool, ACME, SUB, None)
    assert found.subaccounts[ACME, SUB].ip_pool is None


async def test_r9_a_pool_gets_its_id_from_its_name_and_keeps_it(change: Administered) -> None:
    found = await change(create_pool, ACME, PoolEdit("Marketing IP Pool"))
    pool = PoolId("marketing_ip_pool")
    assert found.pools[ACME, pool].name == "Marketing IP Pool"
    found = await change(change_pool, ACME, pool, PoolEdit("Ads", "news"))
    assert (found.pools[ACME, pool].name, found.pools[ACME, pool].overflow_pool) == ("Ads", "news")


async def test_a31_deleting_a_pool_sends_its_ips_to_default_and_ends_overflow_into_it(
    change: Administered,
) -> None:
    await change(change_pool, ACME, MORE, PoolEdit(overflow_pool="news"))
    found = await change(delete_pool, ACME, NEWS)
    assert found.ips[address(1)].pool == DEFAULT
    assert found.pools[ACME, MORE].overflow_pool == ""


async def test_an_ip_goes_from_the_inventory_to_an_account_and_back(change: Administered) -> None:
    found = await change(assign_ip, address(11), CEDAR)
    assert (found.ips[address(11)].account, found.ips[address(11)].pool) == (CEDAR, DEFAULT)
    found = await change(release_ip, address(11))
    assert (found.ips[address(11)].account, found.ips[address(11)].pool) == (None, None)
    found = await change(release_ip, address(21))
    assert found.shared == ()


async def test_r17_an_ip_moves_between_pools_and_machines(change: Administered) -> None:
    found = await change(move_ip, address(1), MORE, NodeName("n2"))
    assert (found.ips[address(1)].pool, found.ips[address(1)].node) == (MORE, "n2")
    found = await change(move_ip, address(1), None, NodeName(""))
    assert (found.ips[address(1)].pool, found.ips[address(1)].node) == (MORE, "")


async def test_an_ip_drains_comes_back_and_leaves(change: Administered) -> None:
    found = await change(drain_ip, address(1))
    assert (ACME, NEWS) not in found.members
    found = await change(drain_ip, address(1), False)
    assert (ACME, NEWS) in found.members
    assert address(1) not in (await change(remove_ip, address(1))).ips


async def test_r14_enterprise_has_no_limit(change: Administered) -> None:
    for number in (11, 12, 13):
        await change(assign_ip, address(number), CEDAR)
    for number in (1, 2, 3):
        await change(release_ip, address(number))
        found = await change(assign_ip, address(number), CEDAR)
    assert len(found.members[CEDAR, DEFAULT]) == 6


async def test_keys_come_and_go_by_label_first_characters_or_hash(change: Administered) -> None:
    texts = ["a" * 40, "b" * 40, "bbbb" + "c" * 36]
    for text, label in zip(texts, ("one", "two", "three"), strict=True):
        key = ApiKey(hash_key(text), text[:4], ACME, label, frozenset({"smtp/inject"}))
        found = await change(create_key, key, SHELL)
    assert len(found.keys) == 3
    with pytest.raises(Conflict, match="bbbb names 2 keys"):
        find_key(found, ACME, "bbbb")
    for which in ("aaaa", "two", hash_key(texts[2])[:12].upper()):
        found = await change(revoke_key, find_key(found, ACME, which), SHELL)
    assert found.keys == {}


def key(grants: set[str], subaccount: int | None = None, operator: bool = False) -> ApiKey:
    part = SubaccountId(subaccount) if subaccount else None
    return ApiKey("0" * 64, "0000", ACME, "label", frozenset(grants), part, (), operator)


REFUSALS: list[object] = [
    pytest.param(
        lambda found: create_account(found, "X", Plan.FREE, ACME),
        Conflict,
        "account 1 exists already: Acme",
        id="a number that is taken",
    ),
    pytest.param(lambda found: set_plan(found, AccountId(9), Plan.FREE), UnknownObject, "9", id="no account"),
    pytest.param(
        lambda found: set_plan(found, ACME, Plan.FREE),
        Conflict,
        "account 1 (Acme) would have 4 dedicated IPs; the free plan has none",
        id="R1: down to the free plan",
    ),
    pytest.param(
        lambda found: set_plan(found, ACME, Plan.MANUAL, 3),
        Conflict,
        "4 dedicated IPs; its limit is 3",
        id="a limit below what it holds",
    ),
    pytest.param(
        lambda found: assign_ip(found, address(11), ACME),
        Conflict,
        "account 1 (Acme) would have 5 dedicated IPs; its limit is 4",
        id="R13: a fifth IP",
    ),
    pytest.param(
        lambda found: assign_ip(found, address(11), ELM),
        Conflict,
        "the free plan has none",
        id="R1: an IP for a free account",
    ),
    pytest.param(
        lambda found: assign_ip(found, address(1), CEDAR),
        Conflict,
        "belongs to account 1: release it first",
        id="an IP of somebody else",
    ),
    pytest.param(
        lambda found: assign_ip(found, address(21), CEDAR),
        Conflict,
        "is in the shared pool",
        id="a shared IP",
    ),
    pytest.param(
        lambda found: assign_ip(found, address(11), CEDAR, NEWS),
        UnknownObject,
        "news in account 2, which has default",
        id="a pool of another account",
    ),
    pytest.param(lambda found: assign_ip(found, address(99), CEDAR), UnknownObject, "127.0.0.99", id="no IP"),
    pytest.param(
        lambda found: move_ip(found, address(11), NEWS),
        Conflict,
        "belongs to no account",
        id="moving a free IP",
    ),
    pytest.param(lambda found: add_ip(found, free_ip(1)), Conflict, "exists already", id="an IP twice"),
    pytest.param(
        lambda found: create_subaccount(found, ACME, "X", SUB),
        Conflict,
        "subaccount 1 of account 1 exists",
        id="a subaccount twice",
    ),
    pytest.param(
        lambda found: set_subaccount_pool(found, ACME, SUB, "x" * 21),
        MalformedOptions,
        "ip_pool must be 20 characters or less",
        id="a long pool id",
    ),
    pytest.param(
        lambda found: set_subaccount_pool(found, ACME, SUB, "a-b"),
        MalformedOptions,
        "ip_pool must be alphanumeric and underscore",
        id="a pool id with a hyphen",
    ),
    pytest.param(
        lambda found: create_pool(found, ACME, PoolEdit("x" * 21)),
        MalformedOptions,
        "name must be 20 characters or less",
        id="A1: a long name",
    ),
    pytest.param(
        lambda found: create_pool(found, ACME, PoolEdit("a!b")),
        MalformedOptions,
        "name must contain only letters, numbers and spaces",
        id="A1: other characters",
    ),
    pytest.param(
        lambda found: create_pool(found, ACME, PoolEdit("sp-shared")),
        MalformedOptions,
        "IP Pool sp_shared is reserved.",
        id="A6: a reserved id",
    ),
    pytest.param(
        lambda found: create_pool(found, ACME, PoolEdit("NEWS")),
        Conflict,
        "IP Pool news already exists.",
        id="an id that is taken",
    ),
    pytest.param(
        lambda found: create_pool(found, ACME, PoolEdit("X", "nowhere")),
        MalformedOptions,
        "Auto Warmup Overflow Pool nowhere does not exist.",
        id="an unknown overflow pool",
    ),
    pytest.param(
        lambda found: create_pool(found, CEDAR, PoolEdit("X", "shared pool")),
        MalformedOptions,
        "Auto Warmup Overflow Pool shared pool does not exist.",
        id="Enterprise has no shared pool",
    ),
    pytest.param(
        lambda found: change_pool(found, ACME, NEWS, PoolEdit(overflow_pool="news")),
        MalformedOptions,
        "news cannot be its own overflow pool",
        id="its own overflow pool",
    ),
    pytest.param(
        lambda found: change_pool(found, ACME, DEFAULT, PoolEdit("X")),
        MalformedOptions,
        "IP Pool default is reserved and cannot be updated.",
        id="renaming default",
    ),
    pytest.param(
        lambda found: delete_pool(found, ACME, DEFAULT),
        MalformedOptions,
        "IP Pool default is reserved.",
        id="deleting default",
    ),
    pytest.param(
        lambda found: create_key(found, key({"smtp/injct"}), SHELL),
        MalformedOptions,
        "unknown grants smtp/injct",
        id="an unknown grant",
    ),
    pytest.param(
        lambda found: create_key(found, key({"billing/manage"}, 1), SHELL),
        MalformedOptions,
        "unknown grants billing/manage",
        id="beyond a subaccount",
    ),
    pytest.param(
        lambda found: create_key(found, key(set(), 9), SHELL), UnknownObject, "9", id="no subaccount"
    ),
    pytest.param(
        lambda found: create_key(found, key(set(), 1, operator=True), SHELL),
        Conflict,
        "belongs to no subaccount",
        id="an operator within an account",
    ),
    pytest.param(lambda found: find_key(found, ACME, "x"), UnknownObject, "x in account 1", id="no key"),
]


@pytest.mark.parametrize(("compute", "error", "words"), REFUSALS)
async def test_what_cannot_be_is_refused_in_words(
    change: Administered, compute: Callable[[Snapshot], Changes], error: type[Refused], words: str
) -> None:
    snapshot = await change.snapshot()
    with pytest.raises(error) as caught:
        compute(snapshot)
    assert words in str(caught.value)


async def test_overflow_goes_one_step(change: Administered) -> None:
    found = await change(change_pool, ACME, MORE, PoolEdit(overflow_pool="news"))
    with pytest.raises(MalformedOptions, match="more has an overflow pool and cannot be an overflow pool"):
        create_pool(found, ACME, PoolEdit("X", "more"))
    with pytest.raises(MalformedOptions, match="news is an overflow pool and cannot have an overflow pool"):
        change_pool(found, ACME, NEWS, PoolEdit(overflow_pool="shared pool"))
    found = await change(create_pool, ACME, PoolEdit("X", "shared pool"))
    assert found.pools[ACME, PoolId("x")].overflow_pool == "shared pool"
