"""One rule at all doors: who may send and change what, and from when on they may not any more."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest

from relay.domain.changes import Change, Put, Remove
from relay.domain.directory import GRANTS, ApiKey, Snapshot, Status
from relay.domain.ids import AccountId, SubaccountId
from relay.resources.api_keys.rules import hash_key
from relay.resources.subaccounts.rules import change_subaccount
from relay.sink.fake_mta import FakeMta
from relay.testing.harness import RelayHarness
from relay.testing.wire import Wire, connect_wire
from tests.support.rest import refusal, results

DENIED = "550 5.7.1 relaying denied"
ACCOUNT, PART = AccountId(1), SubaccountId(123)
STEPS = (b"MAIL FROM:<a@acme.test>", b"RCPT TO:<b@gmail.example>", b"DATA", b"Subject: x\r\n\r\nx\r\n.")


def _key(snapshot: Snapshot, text: str) -> ApiKey:
    return snapshot.keys[hash_key(text)]


def _with(snapshot: Snapshot, text: str, **more: object) -> Sequence[Change]:
    return (Put(replace(_key(snapshot, text), **more)),)  # type: ignore[arg-type]  # fields by name


def _account(status: Status) -> Callable[[Snapshot, str], Sequence[Change]]:
    return lambda snapshot, text: (Put(replace(snapshot.accounts[ACCOUNT], status=status)),)


def _part(status: Status) -> Callable[[Snapshot, str], Sequence[Change]]:
    return lambda snapshot, text: change_subaccount(snapshot, ACCOUNT, PART, status=status)


CAUSES: dict[str, Callable[[Snapshot, str], Sequence[Change]]] = {
    "revoked": lambda snapshot, text: (Remove(_key(snapshot, text)),),
    "grant": lambda snapshot, text: _with(snapshot, text, grants=frozenset({"account/view"})),
    "address": lambda snapshot, text: _with(snapshot, text, valid_ips=("192.0.2.1",)),
    "account suspended": _account(Status.SUSPENDED),
    "account terminated": _account(Status.TERMINATED),
    "subaccount suspended": _part(Status.SUSPENDED),
    "subaccount terminated": _part(Status.TERMINATED),
}


@asynccontextmanager
async def _logged_in(relay: RelayHarness, key: str) -> AsyncIterator[Wire]:
    async with connect_wire(relay.smtp_address) as wire:
        await wire.reply()
        assert (await wire.ask(b"EHLO client.test"))[:3] == "250"
        shown = base64.b64encode(b"\0SMTP_Injection\0" + key.encode())
        assert (await wire.ask(b"AUTH PLAIN " + shown))[:3] == "235"
        yield wire


@pytest.mark.parametrize("step", range(4), ids=["MAIL", "RCPT", "DATA", "end of DATA"])
@pytest.mark.parametrize("cause", CAUSES)
async def test_an_open_transaction_ends_with_the_right_to_send(
    relay: RelayHarness, cause: str, step: int
) -> None:
    key = await relay.make_key(subaccount=123, grants=["smtp/inject"])
    async with _logged_in(relay, key) as wire:
        for line in STEPS[:step]:
            assert (await wire.ask(line))[:1] in "23"
        await relay.apply(*CAUSES[cause](relay.inside.directory.snapshot, key))
        assert await wire.ask(STEPS[step]) == DENIED
    assert not await relay.queue()


@pytest.mark.parametrize("cause", CAUSES)
async def test_a_right_that_another_process_took_is_missed_at_the_end_of_data(
    relay: RelayHarness, cause: str
) -> None:
    """This process has not heard of it: the store has."""
    key = await relay.make_key(subaccount=123, grants=["smtp/inject"])
    async with _logged_in(relay, key) as wire:
        for line in STEPS[:3]:
            assert (await wire.ask(line))[:1] in "23"
        inside = relay.inside
        snapshot = inside.directory.snapshot
        changes = CAUSES[cause](snapshot, key)
        await inside.store.directory.apply(changes, snapshot.revision, "other", relay.clock.now())
        assert await wire.ask(STEPS[3]) == DENIED
    assert not await relay.queue()


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.TERMINATED])
async def test_an_account_that_is_not_active_reads_and_an_operator_acts(
    relay: RelayHarness, status: Status
) -> None:
    own, operator = await relay.make_key(), await relay.make_key(is_operator=True)
    await relay.change_account(1, lambda account: replace(account, status=status))
    body = {"label": "x", "grants": ["account/view"]}
    async with relay.api(key=own) as api:
        results(await api.get("/api-keys"))
        assert refusal(await api.post("/api-keys", json=body)) == (403, "Forbidden.")
    async with relay.api(key=operator) as api:
        results(await api.post("/api-keys", json=body))


@pytest.mark.parametrize(
    ("maker", "made", "why"),
    [
        pytest.param({}, {}, "", id="the same"),
        pytest.param({}, {"grants": sorted(GRANTS)}, "grants exceed", id="grants"),
        pytest.param({"valid_ips": ["127.0.0.0/8"]}, {}, "valid_ips exceed", id="no addresses"),
        pytest.param(
            {"valid_ips": ["127.0.0.0/8"]}, {"valid_ips": ["126.0.0.0/7"]}, "valid_ips exceed", id="wider"
        ),
        pytest.param(
            {"valid_ips": ["127.0.0.0/8"]},
            {"valid_ips": ["127.0.0.1", "::1"]},
            "valid_ips exceed",
            id="one outside",
        ),
        pytest.param(
            {"valid_ips": ["127.0.0.0/8"]}, {"valid_ips": ["127.0.0.0/9", "127.0.0.1"]}, "", id="narrower"
        ),
    ],
)
async def test_a_key_makes_and_revokes_none_that_may_do_more(
    relay: RelayHarness, maker: dict[str, list[str]], made: dict[str, list[str]], why: str
) -> None:
    grants = ["api_keys/manage", "subaccount/manage", "smtp/inject"]
    key = await relay.make_key(1, grants, valid_ips=maker.get("valid_ips", ()))
    stronger = await relay.make_key(1, made.get("grants", grants), valid_ips=made.get("valid_ips", ()))
    body = {"label": "x", "grants": made.get("grants", grants), "valid_ips": made.get("valid_ips", [])}
    part = {
        "name": "Shop",
        "key_label": "x",
        "key_grants": ["smtp/inject", *(["webhooks/view"] if "grants" in made else [])],
        "key_valid_ips": made.get("valid_ips", []),
    }
    async with relay.api(key=key) as api:
        shown = results(await api.get("/api-keys"))
        (victim,) = [one["id"] for one in shown if hash_key(stronger).startswith(one["id"])]
        answers = [
            await api.post("/api-keys", json=body),
            await api.post("/subaccounts", json=part),
            await api.delete(f"/api-keys/{victim}"),
        ]
    assert [answer.status_code for answer in answers] == ([403] * 3 if why else [200, 200, 204])
    for answer in answers if why else ():
        (problem,) = answer.json()["errors"]
        assert problem["message"] == "Forbidden."
        assert problem["description"].startswith(why)


async def test_a_key_without_the_grant_gives_it_to_no_subaccount(relay: RelayHarness) -> None:
    key = await relay.make_key(1, ["subaccount/manage"])
    part = {"name": "Shop", "key_label": "x", "key_grants": ["smtp/inject"]}
    async with relay.api(key=key) as api:
        answer = await api.post("/subaccounts", json=part)
        assert refusal(answer) == (403, "Forbidden.")
        assert answer.json()["errors"][0]["description"].endswith("key in use: smtp/inject")
    assert SubaccountId(126) not in {number for _, number in relay.inside.directory.snapshot.subaccounts}


async def test_mail_is_taken_while_the_directory_never_rests(relay: RelayHarness, mta: FakeMta) -> None:
    """Each change makes a decision that is not stored yet one of the past."""
    changes, is_over = 0, asyncio.Event()

    async def change() -> None:
        nonlocal changes
        while not is_over.is_set():
            changes += 1
            await relay.change_account(1, partial(replace, name=f"Acme {changes}"))
            await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(change())
        for _ in range(40):
            await relay.inject("bob@gmail.example")
        is_over.set()
    assert changes > 40
