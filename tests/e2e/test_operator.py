"""The command line beside a running relay: the operator's verbs, and what they leave in a message's story."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from relay.domain.ids import TransmissionId
from relay.sink.fake_mta import FakeMta
from relay.testing.process import Printed, RelayProcess
from relay.testing.waiting import eventually

LATER = "451 4.2.1 Mailbox busy"
SCAN_S = 40
"""How long a lane may take to see what another process changed, with some room."""


@pytest_asyncio.fixture
async def running(tmp_path: Path, mta: FakeMta) -> AsyncIterator[RelayProcess]:
    async with RelayProcess(tmp_path, mta.address, settings={"queue": {"first_retry": "2h"}}) as process:
        yield process


async def _ok(running: RelayProcess, *arguments: str) -> Printed:
    printed = await running.run_cli(*arguments)
    assert printed.status == 0, printed
    return printed


async def _listed(running: RelayProcess, *filters: str) -> list[dict[str, object]]:
    entries = json.loads((await _ok(running, "queue", "list", *filters, "--json")).out)
    assert isinstance(entries, list)
    return entries


async def _inject_deferred(
    running: RelayProcess, mta: FakeMta, to: str, pool: str = "receipts"
) -> TransmissionId:
    """A message that the next hop put off until told otherwise, and that waits for two hours now."""
    mta.answer(to, LATER)
    transmission = await running.inject(to, ip_pool=pool)

    async def waits() -> bool:
        return any(to in entry.values() for entry in await _listed(running, "--state", "queued"))

    await eventually(waits, timeout_s=15)
    return transmission


async def _id_of(running: RelayProcess, to: str) -> str:
    (entry,) = [entry for entry in await _listed(running) if to in entry.values()]
    return str(entry["id"])


async def test_held_mail_stays_until_it_is_released(running: RelayProcess, mta: FakeMta) -> None:
    await _inject_deferred(running, mta, "held@gmail.example")
    await _inject_deferred(running, mta, "other@yahoo.example")
    message = await _id_of(running, "held@gmail.example")

    asked = await running.run_cli("queue", "hold", "--domain", "gmail.example")
    assert asked.status == 1
    assert "--yes" in asked.out + asked.err
    assert "1 " in asked.out + asked.err, "it says how many it would touch"
    assert await _listed(running, "--state", "held") == []

    await _ok(running, "queue", "hold", "--domain", "gmail.example", "--yes")
    (held,) = await _listed(running, "--state", "held")
    assert held["id"] == message
    await _ok(running, "queue", "retry", "--account", "1", "--yes")
    await _arrives(mta, "other@yahoo.example", 2)
    assert len(mta.attempts_for("held@gmail.example")) == 1

    mta.answer("held@gmail.example", "250 2.0.0 Ok")
    await _ok(running, "queue", "release", message)
    await _arrives(mta, "held@gmail.example", 2)
    story = await _shown(running, message, until="delivery")
    for word in ("injection", "delay", LATER, "hold", "release", "delivery", "127.0.0.13", "receipts"):
        assert word in story


async def test_cancelled_mail_ends_as_an_admin_bounce_without_another_attempt(
    running: RelayProcess, mta: FakeMta
) -> None:
    await _inject_deferred(running, mta, "bob@gmail.example")
    message = await _id_of(running, "bob@gmail.example")
    await _ok(running, "queue", "cancel", message)
    story = await _shown(running, message, until="bounce")
    assert "5.7.1 [internal]" in story
    assert len(mta.attempts_for("bob@gmail.example")) == 1
    told = json.loads((await running.run_cli("queue", "show", message, "--json")).out)
    assert [one["num_retries"] for one in told["events"] if one["event"] == "bounce"] == [1]
    assert await _listed(running) == []


async def test_repinned_mail_leaves_from_the_new_ip_and_the_story_says_who_did_it(
    running: RelayProcess, mta: FakeMta
) -> None:
    await _inject_deferred(running, mta, "bob@gmail.example")
    message = await _id_of(running, "bob@gmail.example")
    unknown = await running.run_cli("queue", "repin", "--ip", "127.0.0.13", "--to", "127.0.0.77", "--yes")
    assert unknown.status == 1
    await _ok(running, "queue", "repin", "--ip", "127.0.0.13", "--to", "127.0.0.11", "--yes")
    mta.answer("bob@gmail.example", "250 2.0.0 Ok")
    await _ok(running, "queue", "retry", message)
    await _arrives(mta, "bob@gmail.example", 2)
    assert [attempt.peer_ip for attempt in mta.attempts_for("bob@gmail.example")] == [
        "127.0.0.13",
        "127.0.0.11",
    ]
    story = await _shown(running, message, until="delivery")
    assert "repin" in story
    assert "127.0.0.11" in story


async def test_explain_prints_the_steps_of_the_decision_without_sending(
    running: RelayProcess, mta: FakeMta
) -> None:
    named = await _ok(running, "explain", "--account", "1", "--ip-pool", "Receipts")
    assert "R18" in named.out
    assert "127.0.0.13" in named.out
    bound = await _ok(running, "explain", "--account", "1", "--subaccount", "123")
    assert "R26" in bound.out
    assert "127.0.0.11" in bound.out
    refused = await running.run_cli("explain", "--account", "4")
    assert refused.status == 1
    assert "R22" in refused.out + refused.err
    scheduled = await _ok(running, "explain", "--account", "2", "--ip-pool", "nowhere", "--scheduled")
    assert "R31" in scheduled.out
    assert "R32" in scheduled.out
    assert mta.attempts == []


async def test_a_directory_change_by_the_command_line_holds_for_the_next_message(
    running: RelayProcess, mta: FakeMta
) -> None:
    await _ok(running, "ip", "move", "127.0.0.14", "--pool", "quiet")
    await running.inject("bob@gmail.example", ip_pool="quiet")
    await _arrives(mta, "bob@gmail.example", 1)
    assert mta.attempts_for("bob@gmail.example")[0].peer_ip == "127.0.0.14"


async def _arrives(mta: FakeMta, to: str, count: int) -> None:
    async def seen() -> bool:
        return len(mta.attempts_for(to)) >= count

    await eventually(seen, SCAN_S)


async def _shown(running: RelayProcess, message: str, until: str) -> str:
    """What `queue show` prints once the story has come as far as that event."""

    async def show() -> str:
        printed = await _ok(running, "queue", "show", message)
        return printed.out if until in printed.out else ""

    return await eventually(show, SCAN_S)
