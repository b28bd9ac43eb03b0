"""While the directory changes a hundred times a second, no mail hears 451."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from relay.domain.changes import Put
from relay.domain.ids import AccountId
from relay.net.ambient import SystemClock
from relay.sink.fake_mta import FakeMta
from relay.store import open_store
from relay.testing.injection import InjectionRefusedError
from relay.testing.lab import WITH_API, rest_key_of
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually

CHANGES = 500
EVERY_S = 0.01
"""As far as the machine can."""
CLIENTS = 4


@pytest.mark.parametrize("workers", [1, 2])
async def test_mail_is_taken_while_another_process_changes_the_directory(
    tmp_path: Path, mta: FakeMta, capsys: pytest.CaptureFixture[str], workers: int
) -> None:
    settings = {**WITH_API, "": {**WITH_API[""], "workers": workers}}
    replies, taken, over = Counter[str](), set[str](), asyncio.Event()
    async with RelayProcess(tmp_path, mta.address, settings=settings) as relay:
        host, port = relay.http_address
        headers = {"Authorization": rest_key_of(relay.directory, 1)}

        async def by_smtp(to: str) -> str:
            try:
                await relay.inject(to, ip_pool="marketing")
            except InjectionRefusedError as refusal:
                return f"SMTP {refusal}"
            return "SMTP 250"

        async def by_rest(to: str) -> str:
            body = {
                "content": {"from": "a@acme.test", "subject": "s", "text": "t"},
                "recipients": [{"address": to}],
            }
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}/api/v1", timeout=30) as http:
                answer = await http.post("/transmissions", json=body, headers=headers)
            return f"REST {answer.status_code}"

        async def send(name: str, door: Callable[[str], Awaitable[str]]) -> None:
            number = 0
            while not over.is_set():
                number += 1
                to = f"{name}{number}@b.example"
                reply = await door(to)
                replies[reply] += 1
                if reply in ("SMTP 250", "REST 200"):
                    taken.add(to)

        async with asyncio.TaskGroup() as tasks:
            for client in range(CLIENTS):
                tasks.create_task(send(f"s{client}x", by_smtp))
                tasks.create_task(send(f"r{client}x", by_rest))
            took_s = await _change(f"sqlite:///{tmp_path / 'relay.db'}")
            over.set()

        async def all_arrived() -> bool:
            return taken <= {attempt.recipient for attempt in mta.accepted}

        await eventually(all_arrived, timeout_s=30)
    with capsys.disabled():
        print(f"\n  {CHANGES} changes in {took_s:.0f} s: {dict(replies)}", end="")  # noqa: T201 - the figure
    assert replies.keys() == {"SMTP 250", "REST 200"}


async def _change(url: str) -> float:
    """One after another; how many seconds it took."""
    loop, clock = asyncio.get_running_loop(), SystemClock()
    async with await open_store(url) as store:
        snapshot = await store.directory.snapshot()
        account, revision = snapshot.accounts[AccountId(1)], snapshot.revision
        began = loop.time()
        for number in range(CHANGES):
            change = Put(replace(account, name=f"Acme {number}"))
            revision = await store.directory.apply([change], revision, "test", clock.now())
            await asyncio.sleep(max(0.0, began + number * EVERY_S - loop.time()))
    return loop.time() - began
