"""Every row of the routing table (docs/rules.md#routing), and the rotation."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.domain.directory import Plan, SendingIp, Snapshot, Status
from relay.domain.errors import (
    NoSharedPool,
    PoolEmpty,
    PoolNotAllowed,
    SharedNotAllowed,
    UnknownObject,
    UnknownPool,
)
from relay.domain.ids import AccountId, IpAddress, SubaccountId
from relay.domain.resolve import Moment, Resolution, Step, choose_ip, find_stranded, resolve_pool

BuildSnapshot = Callable[..., Snapshot]
Pools = dict[str, list[str]]
POOLS = {"default": ["127.0.0.11"], "news": ["127.0.0.12"], "empty": []}
NO_DEFAULT = {"news": ["127.0.0.12"], "empty": []}
NOTHING: Pools = {}
NOT_ENTERPRISE = [Plan.FREE, Plan.SELF_SERVE, Plan.MANUAL]
NOW, LATER = Moment.IMMEDIATE, Moment.SCHEDULED


def decide(
    snapshot: Snapshot, asked: str | None = None, subaccount: int | None = None, when: Moment = NOW
) -> Resolution:
    number = None if subaccount is None else SubaccountId(subaccount)
    return resolve_pool(snapshot, AccountId(1), number, asked, when)


ASKED: Mapping[str, tuple[tuple[Pools, str | None, str | None, Moment], ...]] = {
    "none named, `default` has IPs": ((POOLS, None, None, NOW), (POOLS, None, None, LATER)),
    "none named, `default` is empty": ((NO_DEFAULT, None, None, NOW), (NO_DEFAULT, None, None, LATER)),
    "a pool is named and has IPs": ((POOLS, "news", None, NOW), (POOLS, "news", None, LATER)),
    "a pool is named, empty or unknown": ((POOLS, "empty", None, NOW), (POOLS, "nowhere", None, NOW)),
    "the same, scheduled, at its time": ((POOLS, "empty", None, LATER), (NO_DEFAULT, "nowhere", None, LATER)),
    "bound to a pool that has IPs": ((POOLS, None, "news", NOW), (POOLS, None, "news", LATER)),
    "bound to a pool that is empty or unknown": ((POOLS, None, "empty", NOW), (POOLS, None, "gone", NOW)),
}
"""The cases of the table in docs/rules.md: pools, the one asked for, the one bound to, and the moment."""
MEANT = {"`default`": "default", "shared": "sp_shared", "that pool": "news"}


def test_the_table_of_the_document_says_what_is_decided(build_snapshot: BuildSnapshot) -> None:
    text = (Path(__file__).parents[2] / "docs/rules.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| Case | Free, self-serve, manually billed | Enterprise |\n|---|---|---|\n")
    rows = [line.strip("| ").split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    assert [row[0] for row in rows] == list(ASKED)
    for case, others, enterprise in rows:
        for plan in Plan:
            told = (enterprise if plan is Plan.ENTERPRISE else others).split(", else ")
            for at, (pools, asked, bound, when) in enumerate(ASKED[case]):
                snapshot = build_snapshot(plan, pools, {7: bound})
                try:
                    pool = decide(snapshot, asked, 7, when).decision.pool
                except (PoolEmpty, UnknownPool):
                    pool = None
                assert pool == MEANT.get(told[at % len(told)]), (case, plan, asked or bound)


@pytest.mark.parametrize("plan", list(Plan))
@pytest.mark.parametrize("asked", [None, "", "default", "DEFAULT"])
def test_r20_nothing_named_leaves_from_the_default_pool(
    build_snapshot: BuildSnapshot, plan: Plan, asked: str | None
) -> None:
    resolution = decide(build_snapshot(plan, POOLS), asked)
    assert resolution.decision.pool == "default"
    assert [ip.address for ip in resolution.candidates] == ["127.0.0.11"]


@pytest.mark.parametrize("plan", NOT_ENTERPRISE)
@pytest.mark.parametrize("pools", [NO_DEFAULT, NOTHING], ids=["default empty", "no dedicated IP"])
@pytest.mark.parametrize("asked", [None, "default"])
def test_r21_an_empty_default_pool_falls_back_to_the_shared_pool(
    build_snapshot: BuildSnapshot, plan: Plan, pools: dict[str, list[str]], asked: str | None
) -> None:
    resolution = decide(build_snapshot(plan, pools), asked)
    assert resolution.decision.pool == "sp_shared"
    assert [ip.address for ip in resolution.candidates] == ["127.0.0.2", "127.0.0.3"]


@pytest.mark.parametrize("pools", [NO_DEFAULT, NOTHING], ids=["default empty", "no dedicated IP"])
@pytest.mark.parametrize("asked", [None, "default"])
def test_r22_an_empty_default_pool_refuses_enterprise_mail(
    build_snapshot: BuildSnapshot, pools: dict[str, list[str]], asked: str | None
) -> None:
    with pytest.raises(PoolEmpty) as refused:
        decide(build_snapshot(Plan.ENTERPRISE, pools), asked)
    assert refused.value.pool == "default"


@pytest.mark.parametrize("plan", list(Plan))
@pytest.mark.parametrize("asked", ["news", "News", "NEWS"])
def test_r18_a_named_pool_with_ips_sends_whatever_the_case_a25(
    build_snapshot: BuildSnapshot, plan: Plan, asked: str
) -> None:
    assert decide(build_snapshot(plan, POOLS), asked).decision.pool == "news"


@pytest.mark.parametrize("plan", list(Plan))
def test_a8_an_unusable_named_pool_refuses_immediate_mail(build_snapshot: BuildSnapshot, plan: Plan) -> None:
    snapshot = build_snapshot(plan, POOLS)
    with pytest.raises(PoolEmpty) as empty:
        decide(snapshot, "empty")
    with pytest.raises(UnknownPool) as unknown:
        decide(snapshot, "Nowhere")
    assert (empty.value.pool, unknown.value.pool) == ("empty", "Nowhere")


@pytest.mark.parametrize("asked", ["empty", "nowhere"])
@pytest.mark.parametrize("plan", list(Plan))
def test_r31_a_scheduled_message_falls_back_to_the_default_pool(
    build_snapshot: BuildSnapshot, plan: Plan, asked: str
) -> None:
    assert decide(build_snapshot(plan, POOLS), asked, when=LATER).decision.pool == "default"


@pytest.mark.parametrize("asked", ["empty", "nowhere"])
@pytest.mark.parametrize("plan", NOT_ENTERPRISE)
def test_r32_a_scheduled_message_falls_back_to_the_shared_pool_last(
    build_snapshot: BuildSnapshot, plan: Plan, asked: str
) -> None:
    assert decide(build_snapshot(plan, NO_DEFAULT), asked, when=LATER).decision.pool == "sp_shared"


@pytest.mark.parametrize("asked", ["empty", "nowhere", None])
def test_r33_a_scheduled_enterprise_message_without_any_pool_is_refused(
    build_snapshot: BuildSnapshot, asked: str | None
) -> None:
    with pytest.raises(PoolEmpty):
        decide(build_snapshot(Plan.ENTERPRISE, NO_DEFAULT), asked, when=LATER)


@pytest.mark.parametrize("asked", [None, "news", "News"])
def test_r26_a_bound_subaccount_sends_from_its_pool(build_snapshot: BuildSnapshot, asked: str | None) -> None:
    snapshot = build_snapshot(pools=POOLS, subaccounts={7: "News"})
    assert decide(snapshot, asked, subaccount=7).decision.pool == "news"


@pytest.mark.parametrize("asked", ["default", "empty", "nowhere", "sp_shared"])
def test_a5_a_bound_subaccount_may_not_leave_its_pool(build_snapshot: BuildSnapshot, asked: str) -> None:
    with pytest.raises(PoolNotAllowed) as refused:
        decide(build_snapshot(pools=POOLS, subaccounts={7: "news"}), asked, subaccount=7)
    assert (refused.value.subaccount, refused.value.assigned, refused.value.asked) == (7, "news", asked)


def test_r25_a_subaccount_without_a_pool_follows_its_account(build_snapshot: BuildSnapshot) -> None:
    snapshot = build_snapshot(pools=POOLS, subaccounts={7: None})
    assert decide(snapshot, None, subaccount=7).decision.pool == "default"
    assert decide(snapshot, "news", subaccount=7).decision.pool == "news"


@pytest.mark.parametrize("plan", list(Plan))
@pytest.mark.parametrize(("bound", "error"), [("gone", UnknownPool), ("empty", PoolEmpty)])
def test_a9_a_dangling_or_empty_subaccount_pool_refuses_immediate_mail(
    build_snapshot: BuildSnapshot, plan: Plan, bound: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        decide(build_snapshot(plan, POOLS, subaccounts={7: bound}), None, subaccount=7)


def test_a9_a_dangling_subaccount_pool_falls_back_when_scheduled(build_snapshot: BuildSnapshot) -> None:
    snapshot = build_snapshot(pools=POOLS, subaccounts={7: "gone"})
    assert decide(snapshot, None, subaccount=7, when=LATER).decision.pool == "default"


def test_a6_sp_shared_goes_around_the_default_pool(build_snapshot: BuildSnapshot) -> None:
    assert decide(build_snapshot(pools=POOLS), "SP_SHARED").decision.pool == "sp_shared"


def test_a6_sp_shared_is_refused_for_enterprise(build_snapshot: BuildSnapshot) -> None:
    with pytest.raises(SharedNotAllowed):
        decide(build_snapshot(Plan.ENTERPRISE, POOLS), "sp_shared")


@pytest.mark.parametrize("asked", [None, "sp_shared"])
def test_no_shared_ip_configured_is_a_refusal_for_now(
    build_snapshot: BuildSnapshot, asked: str | None
) -> None:
    with pytest.raises(NoSharedPool):
        decide(build_snapshot(pools=NOTHING, shared=()), asked)


def test_unknown_accounts_and_subaccounts_are_named(build_snapshot: BuildSnapshot) -> None:
    snapshot = build_snapshot()
    with pytest.raises(UnknownObject) as account:
        resolve_pool(snapshot, AccountId(9), None, None, NOW)
    with pytest.raises(UnknownObject) as subaccount:
        decide(snapshot, None, subaccount=9)
    assert (account.value.kind, subaccount.value.name) == ("account", "9")


def test_a_refusal_leaves_its_steps_behind(build_snapshot: BuildSnapshot) -> None:
    steps: list[Step] = []
    with pytest.raises(PoolEmpty):
        resolve_pool(build_snapshot(pools=POOLS), AccountId(1), None, "empty", NOW, steps)
    assert [step.rule for step in steps] == ["R18", "A8"]


# ── rotation ─────────────────────────────────────────────────────────────────────────────


def weighted(*weights: int) -> list[SendingIp]:
    return [
        SendingIp(IpAddress(f"127.0.0.{n}"), IpAddress(f"127.0.0.{n}"), "mta", weight=weight)
        for n, weight in enumerate(weights)
    ]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 10_000), st.integers(1, 3))
def test_shares_are_exact_over_full_cycles_from_any_turn(weights: list[int], start: int, cycles: int) -> None:
    candidates = weighted(*weights)
    turns = range(start, start + sum(weights) * cycles)
    taken = Counter(choose_ip(candidates, turn).address for turn in turns)
    assert [taken[ip.address] for ip in candidates] == [weight * cycles for weight in weights]


@given(st.lists(st.integers(1, 30), min_size=2, max_size=6))
def test_no_ip_is_ever_two_messages_away_from_its_share(weights: list[int]) -> None:
    candidates = weighted(*weights)
    taken: Counter[str] = Counter()
    for turn in range(sum(weights)):
        taken[choose_ip(candidates, turn).address] += 1
        for ip in candidates:
            assert abs(taken[ip.address] - (turn + 1) * ip.weight / sum(weights)) < len(weights)


def test_equal_weights_take_turns() -> None:
    candidates = weighted(1, 1, 1)
    assert [choose_ip(candidates, turn).address[-1] for turn in range(6)] == ["0", "1", "2", "0", "1", "2"]


@pytest.mark.parametrize("plan", list(Plan))
@pytest.mark.parametrize("pools", [POOLS, NO_DEFAULT, NOTHING], ids=["filled", "default empty", "no IP"])
@pytest.mark.parametrize("has_shared", [True, False])
@pytest.mark.parametrize("takes_pins", [True, False])
@pytest.mark.parametrize("status", list(Status))
def test_an_account_is_stranded_when_mail_that_names_no_pool_is_refused(
    build_snapshot: BuildSnapshot,
    plan: Plan,
    pools: dict[str, list[str]],
    has_shared: bool,
    takes_pins: bool,
    status: Status,
) -> None:
    snapshot = build_snapshot(plan, pools)
    ips = {
        address: replace(ip, is_draining=not takes_pins)
        for address, ip in snapshot.ips.items()
        if has_shared or not ip.shared
    }
    accounts = {number: replace(one, status=status) for number, one in snapshot.accounts.items()}
    snapshot = replace(snapshot, ips=ips, accounts=accounts)
    try:
        decide(snapshot)
    except (PoolEmpty, NoSharedPool):
        is_refused = True
    else:
        is_refused = False
    found = {account.id for account in find_stranded(accounts.values(), ips.values())}
    assert (AccountId(1) in found) is (is_refused and status is Status.ACTIVE)
