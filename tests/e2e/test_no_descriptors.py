"""A process that may open no more files: clients hear 421, the log says why, mail leaves, and it passes."""

import asyncio
import resource
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from pathlib import Path

import httpx

from relay.sink.fake_mta import FakeMta
from relay.testing.lab import WITH_API
from relay.testing.process import RelayProcess
from relay.testing.waiting import eventually
from relay.testing.wire import connect_wire
from tests.support.volumes import answer

MOST = 200
SAID = "almost all file descriptors are in use"


def _relay(folder: Path, mta: FakeMta) -> RelayProcess:
    settings: dict[str, dict[str, object]] = {
        "": {**WITH_API[""]},
        "smtp": {"max_connections_per_client": 1000},
        "queue": {"first_retry": "1s", "max_retry_gap": "2s"},
    }
    return RelayProcess(folder, mta.address, settings=settings)


@contextmanager
def _only(relay: RelayProcess, most: int) -> Iterator[None]:
    """It may have so many open; with fewer than it has, no more."""
    before = resource.prlimit(relay.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, (most, before[1]))
    yield
    resource.prlimit(relay.pid, resource.RLIMIT_NOFILE, before)


async def _arrives(mta: FakeMta, *recipients: str) -> None:
    async def has_arrived() -> bool:
        return {attempt.recipient for attempt in mta.accepted} >= set(recipients)

    await eventually(has_arrived, 25)


async def test_clients_that_take_all_hear_421_while_mail_leaves_and_readyz_tells(
    tmp_path: Path, mta: FakeMta
) -> None:
    async with _relay(tmp_path, mta) as relay:
        host, port = relay.http_address
        mta.limit(first=0)
        assert await answer(relay, "waits@gmail.example") == 250
        async with AsyncExitStack() as stack, httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
            stack.enter_context(_only(relay, MOST))
            greetings = []
            for _ in range(MOST):
                wire = await stack.enter_async_context(connect_wire((relay.host, relay.port)))
                greetings.append(await wire.reply())
            assert {greeting[:9] for greeting in greetings} == {"220 2.0.0", "421 4.4.5"}
            assert greetings[-1].startswith("421")
            ready = await client.get("/readyz")
            assert ready.status_code == 503
            assert "file descriptors" in ready.text
            mta.limit()
            await _arrives(mta, "waits@gmail.example")
        assert relay.log.read_text().count(SAID) == 1

        async def is_ready() -> bool:
            async with httpx.AsyncClient(base_url=f"http://{host}:{port}") as client:
                return (await client.get("/readyz")).status_code == 200

        await eventually(is_ready, 10)
        assert await answer(relay, "after@gmail.example") == 250
        await _arrives(mta, "after@gmail.example")
        assert await relay.stop() == 0
    assert "Traceback" not in relay.log.read_text()


async def test_without_any_nothing_is_lost_and_all_goes_on_once_there_are_some(
    tmp_path: Path, mta: FakeMta
) -> None:
    """No client is greeted; what waits is tried again soon after, and counts no attempt."""
    async with _relay(tmp_path, mta) as relay:
        mta.limit(first=0)
        assert await answer(relay, "waits@gmail.example") == 250
        with _only(relay, 16):
            # What is being opened already ends.
            await asyncio.sleep(1)
            mta.limit()
            await asyncio.sleep(3)
            async with connect_wire((relay.host, relay.port)) as wire:
                with suppress(TimeoutError):
                    assert not (await wire.reply(2)).startswith("220")
            assert not mta.accepted
        # Of the connection out or of the store, whichever needed one first.
        assert " ERROR " in relay.log.read_text()
        await _arrives(mta, "waits@gmail.example")
        assert await answer(relay, "after@gmail.example") == 250
        await _arrives(mta, "after@gmail.example")
        assert await relay.stop() == 0
    assert "Traceback" not in relay.log.read_text()
