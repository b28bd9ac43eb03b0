"""Every row of docs/rules.md#routing that SMTP can reach, with the source IP that the next hop saw."""

import pytest

from relay.domain.ids import AccountId, SubaccountId
from relay.domain.resolve import Moment
from relay.ingress.replies import reply_for
from relay.resources.routes.rules import Explanation, explain
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import LAB_IPS, lab_directory

TO = "bob@gmail.example"

SENT = [
    pytest.param(1, None, "receipts", "receipts", id="R18 a named pool that has IPs sends"),
    pytest.param(1, None, "RECEIPTS", "receipts", id="R18 A25 pool ids compare without case"),
    pytest.param(3, None, "promo", "promo", id="R18 on Enterprise too"),
    pytest.param(1, None, None, "default", id="R20 nothing named, the default pool has IPs"),
    pytest.param(1, None, "", "default", id="R20 an empty name is no name"),
    pytest.param(1, None, "default", "default", id="R20 the default pool by its name"),
    pytest.param(3, None, None, "default", id="R20 on Enterprise too"),
    pytest.param(2, None, None, "sp_shared", id="R21 self-serve, the default pool is empty"),
    pytest.param(6, None, None, "sp_shared", id="R21 manual, the default pool is empty"),
    pytest.param(5, None, None, "sp_shared", id="R21 free, no dedicated IP anywhere"),
    pytest.param(2, None, "default", "sp_shared", id="R21 A7 an empty default pool by its name"),
    pytest.param(1, None, "sp_shared", "sp_shared", id="A6 the shared pool by its name"),
    pytest.param(1, 124, None, "default", id="R25 a subaccount without a pool uses the account's default"),
    pytest.param(1, 124, "receipts", "receipts", id="R25 a subaccount without a pool may name one"),
    pytest.param(1, 123, None, "marketing", id="R26 a bound subaccount uses its pool without naming it"),
    pytest.param(1, 123, "Marketing", "marketing", id="R26 A5 a bound subaccount may name its own pool"),
]

REFUSED = [
    pytest.param(4, None, None, "IP Pool 'default' is empty", id="R22 Enterprise, the default pool is empty"),
    pytest.param(4, None, "default", "IP Pool 'default' is empty", id="R22 A7 by its name"),
    pytest.param(1, None, "nowhere", "IP Pool 'nowhere' does not exist", id="A8 unknown, self-serve"),
    pytest.param(4, None, "nowhere", "IP Pool 'nowhere' does not exist", id="A8 unknown, Enterprise"),
    pytest.param(5, None, "marketing", "IP Pool 'marketing' does not exist", id="A8 another account's, free"),
    pytest.param(1, None, "quiet", "IP Pool 'quiet' is empty", id="A8 empty, self-serve"),
    pytest.param(4, None, "quiet", "IP Pool 'quiet' is empty", id="A8 empty, Enterprise"),
    pytest.param(3, None, "sp_shared", "sp_shared is not a valid customer ip pool", id="A6 Enterprise"),
    pytest.param(1, 123, "receipts", "", id="R26 A5 a bound subaccount may not name another pool"),
    pytest.param(1, 123, "sp_shared", "", id="R26 A5 nor the shared pool"),
    pytest.param(1, 125, None, "IP Pool 'quiet' is empty", id="R26 a subaccount bound to an empty pool"),
]


def _explain(relay: RelayHarness, account: int, subaccount: int | None, asked: str | None) -> Explanation:
    """What `relay explain` shows on the directory as it is."""
    part = SubaccountId(subaccount) if subaccount else None
    snapshot = relay.inside.directory.snapshot
    return explain(snapshot, AccountId(account), part, asked, Moment.IMMEDIATE)


@pytest.mark.parametrize(("account", "subaccount", "asked", "pool"), SENT)
async def test_mail_leaves_from_an_ip_of_the_pool_that_the_table_names(
    relay: RelayHarness, mta: FakeMta, account: int, subaccount: int | None, asked: str | None, pool: str
) -> None:
    injected = await relay.inject(TO, account=account, subaccount=subaccount, ip_pool=asked)
    await relay.quiet()
    (attempt,) = mta.attempts_for(TO)
    assert attempt.is_accepted
    assert attempt.peer_ip in relay.ips_of(pool, account)
    assert attempt.ehlo == f"mta{attempt.peer_ip.rpartition('.')[2]}.relay.test"
    told = await relay.story(injected.message_id)
    assert {one.event.about.sending_ip for one in told if hasattr(one.event, "about")} == {attempt.peer_ip}
    submission = told[0].submission
    assert submission is not None
    foretold = _explain(relay, account, subaccount, asked)
    *steps, turn = submission.decision.steps
    assert tuple(steps) == foretold.steps, "relay explain takes the same steps"
    assert turn.finding.endswith(attempt.peer_ip)


@pytest.mark.parametrize(("account", "subaccount", "asked", "sentence"), REFUSED)
async def test_mail_without_a_usable_pool_is_refused_for_good_and_nothing_is_queued(
    relay: RelayHarness,
    mta: FakeMta,
    account: int,
    subaccount: int | None,
    asked: str | None,
    sentence: str,
) -> None:
    with pytest.raises(InjectionRefusedError) as refused:
        await relay.inject(TO, account=account, subaccount=subaccount, ip_pool=asked)
    assert refused.value.code == 550
    assert refused.value.text.startswith(f"5.7.1 {sentence}")
    foretold = _explain(relay, account, subaccount, asked)
    assert foretold.refusal is not None
    assert reply_for(foretold.refusal) == str(refused.value)
    assert foretold.steps
    assert await relay.queue() == []
    assert mta.attempts_for(TO) == []


async def test_a9_a_subaccount_whose_pool_was_deleted_is_refused_until_a_pool_of_that_id_is_back(
    relay: RelayHarness, mta: FakeMta
) -> None:
    await relay.delete_pool("marketing")
    with pytest.raises(InjectionRefusedError, match=r"^550 5\.7\.1 IP Pool 'marketing' does not exist"):
        await relay.inject(TO, subaccount=123)
    assert await relay.create_pool("Marketing") == "marketing"
    await relay.move_ip("127.0.0.12", "marketing")
    await relay.inject(TO, subaccount=123)
    await relay.quiet()
    assert [attempt.peer_ip for attempt in mta.attempts_for(TO)] == ["127.0.0.12"]


async def test_r24_r26_the_pool_assigned_last_is_the_subaccounts_pool(
    relay: RelayHarness, mta: FakeMta
) -> None:
    await relay.assign_pool(123, "receipts")
    await relay.inject(TO, subaccount=123)
    await relay.quiet()
    assert [attempt.peer_ip for attempt in mta.attempts_for(TO)] == ["127.0.0.13"]


async def test_r18_the_ips_of_a_pool_take_exact_turns(relay: RelayHarness, mta: FakeMta) -> None:
    for number in range(6):
        await relay.inject(f"bob{number}@gmail.example", ip_pool="marketing")
        with pytest.raises(InjectionRefusedError):
            await relay.inject(TO, ip_pool="marketing", msys={"campaign_id": "x" * 65})
    await relay.quiet()
    turns = [mta.attempts_for(f"bob{number}@gmail.example")[0].peer_ip for number in range(6)]
    assert turns[0] != turns[1]
    assert turns == turns[:2] * 3, "A33: a refused injection takes no turn"


class TestWithoutSharedIps:
    """A34: an installation without shared IPs loses nothing by a configuration slip."""

    @pytest.fixture
    def relay_directory(self) -> str:
        return lab_directory(LAB_IPS, shared=())

    @pytest.mark.parametrize("account", [2, 5, 6])
    async def test_mail_for_the_shared_pool_is_refused_for_now(
        self, relay: RelayHarness, mta: FakeMta, account: int
    ) -> None:
        with pytest.raises(InjectionRefusedError, match=r"^451 4\.3\.0 "):
            await relay.inject(TO, account=account)
        assert await relay.queue() == []
        assert mta.attempts_for(TO) == []

    async def test_mail_of_a_filled_pool_is_not_touched_by_it(
        self, relay: RelayHarness, mta: FakeMta
    ) -> None:
        await relay.inject(TO, account=2, ip_pool="news")
        await relay.quiet()
        assert [attempt.peer_ip for attempt in mta.attempts_for(TO)] == ["127.0.0.21"]

    async def test_enterprise_is_refused_for_good_all_the_same(self, relay: RelayHarness) -> None:
        with pytest.raises(InjectionRefusedError, match=r"^550 5\.7\.1 IP Pool 'default' is empty"):
            await relay.inject(TO, account=4)
